import { useEffect, useRef, useState } from "preact/hooks";
import { Problem, view } from "./api";
import type { Order } from "./controls";
import { Bar } from "./figures";
import { compact, dollars, duration, moment, NONE, percent, words } from "./format";
import { named, tone } from "./lists";
import type { Agent, Amounts, Behind, Happened } from "./types";

const PAGE = 100;

interface Props {
  behind: Behind;
  at: number | null;
  past: boolean;
  /** Grows when the fleet was read anew, and when an order was given. */
  version: number;
  orders: number;
  close: () => void;
  order: (what: Order) => void;
}

/** The events behind a number: newest first, each with all that it says. */
export function EventsPanel({ behind, at, past, version, orders, close, order }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [events, setEvents] = useState<Happened[] | null>(null);
  const [more, setMore] = useState(false);
  const [agent, setAgent] = useState<Agent | null>(null);
  const [problem, setProblem] = useState("");

  useEffect(() => dialog.current?.showModal(), []);
  useEffect(() => {
    const asking = new AbortController();
    view<Happened[]>("events", { ...behind.asked, at, limit: PAGE }, asking.signal)
      .then((found) => {
        setEvents(found.reverse());
        setMore(found.length === PAGE);
      })
      .catch((error: unknown) => asking.signal.aborted || setProblem(error instanceof Problem ? error.message : String(error)));
    return () => asking.abort();
  }, [behind, at, orders]);
  useEffect(() => {
    if (behind.agent === undefined) return;
    const asking = new AbortController();
    view<Agent>("status", { agent: behind.agent, at }, asking.signal)
      .then(setAgent)
      .catch(() => asking.signal.aborted || setAgent(null)); // Not every task has an account.
    return () => asking.abort();
  }, [behind, at, version]);

  const earlier = async () => {
    const last = events?.at(-1);
    if (!last) return;
    const found = await view<Happened[]>("events", { ...behind.asked, at, limit: PAGE, before: last.position });
    setEvents([...(events ?? []), ...found.reverse()]);
    setMore(found.length === PAGE);
  };

  return (
    <dialog class="panel" ref={dialog} onClose={close} aria-labelledby="panel-title">
      <div class="head">
        <h2 id="panel-title">{behind.title}</h2>
        <button class="icon" aria-label="Close" onClick={() => dialog.current?.close()}>
          ×
        </button>
      </div>
      {agent && <Account agent={agent} past={past} order={order} />}
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      {events === null ? (
        <p class="empty">Reading the log…</p>
      ) : events.length === 0 ? (
        <p class="empty">There are no such events up to here.</p>
      ) : (
        <ol class="rows happened" reversed>
          {events.map((event) => (
            <li key={event.position} class={tone(event)}>
              <details>
                <summary>
                  <span class="text">{event.text}</span>
                  <small>
                    {event.position.toLocaleString("en-US")} · {moment(event.at)} · {words(named(event))} · by {event.by}
                  </small>
                </summary>
                <pre>{JSON.stringify(event.event, null, 1)}</pre>
              </details>
            </li>
          ))}
        </ol>
      )}
      {more && (
        <button class="wide" onClick={() => void earlier()}>
          Earlier events
        </button>
      )}
    </dialog>
  );
}

function Account({ agent, past, order }: { agent: Agent; past: boolean; order: (what: Order) => void }) {
  const stopped = agent.action === "stop" || agent.state === "stopped";
  return (
    <div class="account">
      <p>
        <span class={`chip level ${agent.status}`}>
          <i aria-hidden="true" />
          {agent.status}
        </span>
        {agent.action && <span class="chip">{agent.action}</span>}
        <span class="muted">
          {[agent.state, agent.priority, agent.agent_type, agent.product].filter(Boolean).join(", ")}
        </span>
      </p>
      <Bar part={agent.percentage} level={agent.status} />
      <dl>
        <Term name="used">{percent(agent.percentage)}</Term>
        <Term name="consumed">{amounts(agent.consumed)}</Term>
        <Term name="allocated">{amounts(agent.allocated)}</Term>
        <Term name="held">{amounts(agent.held)}</Term>
        <Term name="remaining">{amounts(agent.remaining)}</Term>
        {agent.burn && <Term name="burn rate">{`${dollars(agent.burn.cost_usd_per_hour)}/h, ${compact(agent.burn.tokens_per_hour)} tokens/h`}</Term>}
        {agent.burn && <Term name="empty in">{duration(agent.burn.empty_in_seconds)}</Term>}
        {agent.parent && <Term name="parent">{agent.parent}</Term>}
        <Term name="decided by">{agent.decided_by ?? NONE}</Term>
      </dl>
      {agent.obstacles && agent.obstacles.length > 0 && (
        <p class="warned">{agent.obstacles.map((one) => one.detail).join("; ")}</p>
      )}
      {agent.released_at === null && !past && (
        <div class="orders">
          <button class="danger" onClick={() => order("stop")} disabled={stopped}>
            Stop agent
          </button>
          <button onClick={() => order("continue")} disabled={agent.action === "continue"}>
            Resume agent
          </button>
        </div>
      )}
    </div>
  );
}

function Term({ name, children }: { name: string; children: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function amounts(found: Amounts): string {
  const parts = [];
  if (found.tokens !== undefined) parts.push(`${compact(found.tokens)} tokens`);
  if (found.time_seconds !== undefined) parts.push(duration(found.time_seconds));
  if (found.cost_usd !== undefined) parts.push(dollars(found.cost_usd));
  return parts.join(", ") || NONE;
}
