import type { ComponentChildren } from "preact";
import { compact, dollars, duration, NONE, number, words } from "./format";
import type { Amounts, Behind, Gauge, Page } from "./types";

const USAGE = ["usage-reported", "hold-settled", "hold-spent", "usage-corrected"];
type Show = (what: Behind) => void;

/** The first row: where the fleet stands, each with the events behind it. */
export function Figures({ page, show }: { page: Page; show: Show }) {
  const { status, dashboard, forecast } = page;
  const { burn } = status;
  const end = forecast.day.cost_usd;
  const usage = (title: string) => () => show({ title, asked: { type: USAGE } });
  return (
    <section class="figures" aria-label="The fleet at a glance">
      <Figure name="Cost today" value={dollars(dashboard.cost.used)} open={usage("What was used, and what it cost")} id="cost">
        <Meter gauge={dashboard.cost} text={dollars(dashboard.cost.limit)} />
        {end && end.expected !== null && (
          <small>
            end of day {dollars(end.expected)} ({dollars(end.low)} to {dollars(end.high)})
          </small>
        )}
      </Figure>
      <Figure name="Tokens today" value={compact(Number(dashboard.tokens.used))} open={usage("What was used")} id="tokens">
        <Meter
          gauge={dashboard.tokens}
          text={dashboard.tokens.limit === null ? NONE : compact(Number(dashboard.tokens.limit))}
        />
      </Figure>
      <Figure
        name="Burn rate"
        value={`${dollars(burn.cost_usd_per_hour)}/h`}
        open={usage(`Used in the last ${duration(burn.window_seconds)}`)}
        id="burn"
      >
        <small>{compact(burn.tokens_per_hour)} tokens/h</small>
        <small>
          {burn.empty_in_seconds === null
            ? "not used up at this rate"
            : `${burn.empty_first === "day" ? "today's limit" : "total"} used up in ${duration(burn.empty_in_seconds)}`}
        </small>
      </Figure>
      <Figure
        name="Slots"
        value={dashboard.slots === null ? number(dashboard.active) : `${dashboard.active} / ${number(dashboard.slots)}`}
        open={() =>
          show({
            title: "Tasks that started and ended",
            asked: { type: ["task-started", "task-completed", "task-preempted", "task-cancelled", "lease-lost"] },
          })
        }
        id="slots"
      >
        <small>
          {dashboard.waiting} waiting
          {dashboard.avg_wait_minutes !== null && `, ${dashboard.avg_wait_minutes} min on average`}
        </small>
        <small>{number(status.agent_count)} agents with a budget</small>
      </Figure>
      <Money
        name="Pool"
        amounts={status.pool_available}
        open={() =>
          show({
            title: "What went into the pool, and out of it",
            asked: {
              type: [
                "budget-allocated",
                "budget-released",
                "budget-drawn",
                "budget-returned",
                "unused-returned",
                "pool-exhausted",
              ],
            },
          })
        }
        id="pool"
      />
      <Money
        name="Reserve"
        amounts={status.reserve}
        open={() => show({ title: "The reserve", asked: { type: ["reserve-drawn", "reserve-released"] } })}
        id="reserve"
      />
      <Money
        name="Overdraft"
        amounts={status.overdraft}
        open={() =>
          show({
            title: "What others covered",
            asked: { type: ["covered", "cover-repaid", "overdraft-exceeded", "overdraft-repaid"] },
          })
        }
        id="overdraft"
      />
    </section>
  );
}

function Figure(props: { name: string; value: string; open: () => void; id: string; children?: ComponentChildren }) {
  return (
    <div class="figure">
      <h2>{props.name}</h2>
      <button class="value" onClick={props.open} data-testid={`figure-${props.id}`} title="Show the events behind it">
        {props.value}
      </button>
      {props.children}
    </div>
  );
}

function Money({ name, amounts, open, id }: { name: string; amounts: Amounts; open: () => void; id: string }) {
  const cost = amounts.cost_usd === undefined ? null : dollars(amounts.cost_usd);
  const tokens = amounts.tokens === undefined ? null : `${compact(amounts.tokens)} tokens`;
  return (
    <Figure name={name} value={cost ?? tokens ?? NONE} open={open} id={id}>
      <small>{cost === null ? (tokens === null ? "no total is set" : "") : tokens}</small>
    </Figure>
  );
}

function Meter({ gauge, text }: { gauge: Gauge; text: string }) {
  if (gauge.limit === null) return <small>no daily limit</small>;
  const part = gauge.percent ?? 0;
  return (
    <>
      <Bar part={part / 100} level={part >= 100 ? "red" : gauge.alert ? "orange" : "green"} />
      <small>
        {part} % of {text}
        {gauge.alert && <span class="warned"> {words("near_the_limit")}</span>}
      </small>
    </>
  );
}

/** How much is used, as a bar; the number stands beside it, so that it is decoration. */
export function Bar({ part, level }: { part: number; level: string }) {
  return (
    <svg class={`meter ${level}`} viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
      <rect class="whole" width="100" height="4" rx="2" />
      <rect class="part" width={Math.max(0, Math.min(1, part)) * 100} height="4" rx="2" />
    </svg>
  );
}
