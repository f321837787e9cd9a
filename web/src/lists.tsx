import { Bar } from "./figures";
import { clock, compact, dollars, NONE, number, percent, words } from "./format";
import type { Behind, Happened, Page } from "./types";

interface Props {
  page: Page;
  show: (what: Behind) => void;
}

export function Alerts({ page, show }: Props) {
  return (
    <section class="card" aria-labelledby="alerts-title">
      <div class="head">
        <h2 id="alerts-title">Alerts</h2>
        <span class="muted">{number(page.status.alerts)}</span>
      </div>
      {page.alerts.length === 0 ? (
        <p class="empty">No alerts.</p>
      ) : (
        <ul class="rows scroll short" tabIndex={0} aria-label="Alerts, the newest first">
          {page.alerts.map((alert) => (
            <li key={alert.position}>
              <time dateTime={alert.at}>{clock(alert.at)}</time>
              <span>
                <button
                  class="link"
                  onClick={() =>
                    show(
                      alert.agent === null
                        ? { title: words(alert.code), asked: { type: ["alert-raised"] } }
                        : { title: alert.agent, asked: { agent: alert.agent }, agent: alert.agent },
                    )
                  }
                >
                  {alert.message}
                </button>
                <small>{words(alert.code)}</small>
              </span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

export function Events({ page, show, every, setEvery }: Props & { every: boolean; setEvery: (is: boolean) => void }) {
  return (
    <section class="card" aria-labelledby="events-title">
      <div class="head">
        <h2 id="events-title">Events</h2>
        <label class="check">
          <input type="checkbox" checked={every} onChange={(event) => setEvery(event.currentTarget.checked)} /> also
          routine
        </label>
      </div>
      {page.events.length === 0 ? (
        <p class="empty">No news in the last few thousand events.</p>
      ) : (
        <ul class="rows scroll" tabIndex={0} aria-label="Events, the newest first">
          {page.events.map((event) => (
            <li key={event.position} class={tone(event)}>
              <time dateTime={event.at}>{clock(event.at)}</time>
              <button
                class="link"
                onClick={() =>
                  show(
                    event.about
                      ? { title: event.about, asked: { task: event.about }, agent: event.about }
                      : { title: words(named(event)), asked: { type: [named(event)] } },
                  )
                }
              >
                {event.text}
              </button>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

const BAD = /^(agent-stopped|breaker-tripped|fleet-paused|pool-exhausted|lease-lost|task-cancelled|task-given-up)/;
const WARN = /^(level-changed|exhaustion-warned|fleet-response-changed|task-overdue|token-budget-passed|task-preempted|covered|alert)/;
const GOOD = /^(task-started|breaker-closed|fleet-resumed|agent-resumed)/;

/** How an event stands out; what it says is in its text. */
export function tone(event: Happened): string {
  return BAD.test(event.type) ? "bad" : WARN.test(event.type) ? "warn" : GOOD.test(event.type) ? "good" : "";
}

export function named(event: Happened): string {
  return event.type.replace(/\.v\d+$/, "");
}

const OF_LIMITS = ["limit-line", "limit-raised", "limit-windows-began", "limit-approved", "request-refused"];

export function Limits({ page, show }: Props) {
  const { limits } = page.limits;
  return (
    <section class="card" aria-labelledby="limits-title">
      <div class="head">
        <h2 id="limits-title">Limits</h2>
        <span class="muted">nearest to exhaustion first</span>
      </div>
      {limits.length === 0 ? (
        <p class="empty">No limits are configured.</p>
      ) : (
        <ul class="rows limits scroll short" tabIndex={0} aria-label="Limits">
          {limits.map((limit) => (
            <li key={`${limit.limit} ${limit.value}`}>
              <span class="what">
                <button
                  class="link"
                  onClick={() => show({ title: "What was refused, and what became of limits", asked: { type: OF_LIMITS } })}
                >
                  {limit.limit}
                </button>
                {limit.value !== null && limit.value !== "fleet" && <span class="muted"> of {limit.value}</span>}
                <small>
                  per {limit.window}; when it is used up: {words(limit.then)}
                </small>
              </span>
              <span class="much">
                <Bar part={limit.percentage} level={limit.percentage >= 1 ? "red" : limit.percentage >= 0.8 ? "orange" : "green"} />
                <small>
                  {percent(limit.percentage)} of {Object.entries(limit.max).map(([name, value]) => measure(name, value)).join(", ")}
                </small>
              </span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function measure(name: string, value: number | string): string {
  if (name === "cost_usd") return dollars(value);
  return `${compact(Number(value))} ${name === "time_seconds" ? "s" : words(name)}`;
}

export function Models({ page, show }: Props) {
  const { models } = page.dashboard;
  return (
    <section class="card" aria-labelledby="models-title">
      <div class="head">
        <h2 id="models-title">Models</h2>
      </div>
      {models.length === 0 ? (
        <p class="empty">None was used today.</p>
      ) : (
        <ul class="rows plain">
          {models.map((one) => (
            <li key={one.model}>
              <button class="link" onClick={() => show({ title: one.model, asked: { model: one.model } })}>
                {one.model}
              </button>
              <span class="muted">
                {number(one.tasks)} {one.tasks === 1 ? "task" : "tasks"}
                {one.critical && " (critical)"}
              </span>
              <b>{dollars(one.cost_usd)}</b>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

export function Products({ page, show }: Props) {
  const { products } = page.dashboard;
  return (
    <section class="card" aria-labelledby="products-title">
      <div class="head">
        <h2 id="products-title">Products</h2>
      </div>
      {products.length === 0 ? (
        <p class="empty">None used tokens today.</p>
      ) : (
        <ul class="rows plain">
          {products.map((one) => (
            <li key={one.product ?? ""}>
              {one.product === null ? (
                <span>(no product)</span>
              ) : (
                <button
                  class="link"
                  onClick={() => show({ title: one.product ?? "", asked: { product: one.product ?? "" } })}
                >
                  {one.product}
                </button>
              )}
              <span class="muted">{compact(one.tokens)} tokens</span>
              <b>{one.percent} %</b>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

export function Forecasts({ page, show }: Props) {
  const { agents, together, open, finished } = page.forecast;
  const cost = together.cost_usd;
  const tokens = together.tokens;
  return (
    <section class="card" aria-labelledby="forecasts-title">
      <div class="head">
        <h2 id="forecasts-title">Forecasts</h2>
        <span class="muted">when budgets will be used up, soonest first</span>
      </div>
      {open > 0 && cost?.expected != null && (
        <p class="note">
          When {open === 1 ? "the open agent has" : `the ${number(open)} open agents have`} finished as{" "}
          {finished === 1 ? "the one" : `the ${number(finished)}`} before: {dollars(cost.expected)}, between{" "}
          {dollars(cost.low)} and {dollars(cost.high)}
          {tokens?.expected != null && `; ${compact(Number(tokens.expected))} tokens`}.
        </p>
      )}
      {agents.length === 0 ? (
        <p class="empty">There is no forecast for an open agent.</p>
      ) : (
        <div class="scroll short" tabIndex={0} role="region" aria-label="Forecasts of agents">
          <table>
            <thead>
              <tr>
                <th scope="col">agent</th>
                <th scope="col" class="phone-hide">
                  budget
                </th>
                <th scope="col" class="n">
                  steps so far
                </th>
                <th scope="col" class="n">
                  used up at step
                </th>
                <th scope="col" class="n small-hide">
                  80 % interval
                </th>
                <th scope="col" class="n small-hide">
                  right at this stage
                </th>
                <th scope="col" class="small-hide">
                  method
                </th>
              </tr>
            </thead>
            <tbody>
              {agents.flatMap((one) =>
                one.predictions.map((p) => (
                  <tr key={`${one.agent} ${p.dimension}`}>
                    <td>
                      <button
                        class="link"
                        onClick={() => show({ title: one.agent, asked: { agent: one.agent }, agent: one.agent })}
                      >
                        {one.agent}
                      </button>
                    </td>
                    <td class="phone-hide">{p.dimension === "cost_usd" ? "cost" : p.dimension === "time_seconds" ? "time" : "tokens"}</td>
                    <td class="n">{one.steps}</td>
                    <td class="n">{p.predicted.toFixed(1)}</td>
                    <td class="n small-hide muted">
                      {p.low === undefined ? NONE : `${p.low.toFixed(1)} to ${p.high.toFixed(1)}`}
                    </td>
                    <td class="n small-hide muted">
                      {p.confidence === null ? "not measured yet" : percent(p.confidence)}
                    </td>
                    <td class="small-hide muted">{words(p.method)}</td>
                  </tr>
                )),
              )}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
