import { useCallback, useEffect, useState } from "preact/hooks";
import { Agents } from "./agents";
import { EventsPanel } from "./behind";
import { logout, session, type ParentAnswered, type Session } from "./api";
import { DayChart } from "./chart";
import { Control, type Order } from "./controls";
import { Figures } from "./figures";
import { useFleet } from "./fleet";
import { clock, duration, moment } from "./format";
import { Login } from "./login";
import { Alerts, Events, Forecasts, Limits, Models, Products } from "./lists";
import { Queue } from "./queue";
import { Slider } from "./slider";
import type { Behind, Page } from "./types";

export function App() {
  const fleet = useFleet();
  const [behind, setBehind] = useState<Behind | null>(null);
  const [orders, setOrders] = useState(0);
  const [order, setOrder] = useState<Order | null>(null);
  const { page, problem, at } = fleet;
  const [who, setWho] = useState<Session | null>(null);
  const known = page !== null;
  const denied = !known && problem?.status === 403;
  useEffect(() => {
    if (known || denied) session().then(setWho, () => setWho(null));
  }, [known, denied]);
  const show = useCallback((what: Behind) => setBehind(what), []);

  if (problem?.status === 401) return <Login />;
  const status = page?.status;
  const past = at !== null;
  // What the server would refuse in any case is not offered.
  const watching = past || !page || (who !== null && !who.open && who.role !== "operator");
  return (
    <>
      <a class="skip" href="#main">
        Skip to the fleet
      </a>
      <header class={past ? "top past" : "top"}>
        <div class="bar">
          <h1>
            <img src="icon.svg" alt="" width="22" height="22" /> tallystick
          </h1>
          <p class="state" role="status">
            {status && <State page={page} />}
            {known && !past && fleet.behind !== null && (
              <span class="chip" title="Another server is the writer. What you order here is passed on to it.">
                standby, {fleet.behind.toFixed(1)} s behind
              </span>
            )}
            {known && !past && !fleet.connected && <span class="chip warn">connecting again…</span>}
          </p>
          <div class="orders">
            {status?.paused ? (
              <button class="primary" disabled={watching} onClick={() => setOrder("resume")}>
                Resume fleet
              </button>
            ) : (
              <button class="danger" disabled={watching} onClick={() => setOrder("pause")}>
                Pause fleet
              </button>
            )}
            <details class="menu">
              <summary>More</summary>
              <div>
                {(
                  [
                    ["approve", "Approve a limit"],
                    ["override", "Override a priority"],
                    ["reserve", "Release the reserve"],
                    ["breaker", "Reset the breaker"],
                  ] as const
                ).map(([what, text]) => (
                  <button
                    key={what}
                    disabled={watching}
                    onClick={(event) => {
                      (event.currentTarget.closest("details") as HTMLDetailsElement).open = false;
                      setOrder(what);
                    }}
                  >
                    {text}…
                  </button>
                ))}
                {who !== null && !who.open && (
                  <>
                    <p class="muted">
                      {who.name}, {who.role}
                    </p>
                    <button onClick={leave}>Log out</button>
                  </>
                )}
              </div>
            </details>
          </div>
        </div>
        {page?.status.delegation && <Parent page={page} answered={past ? null : fleet.parent} />}
        {page && <Slider fleet={fleet} page={page} />}
      </header>
      {problem && (
        <p class="problem" role="alert">
          <strong>{problem.code.replaceAll("_", " ")}</strong> {problem.message}
          {page && !past && problem.code === "unreachable" && "; the page shows what it said last, and goes on by itself once it answers"}
          {denied && (
            <button class="link" onClick={leave}>
              Log in with another key
            </button>
          )}
          {past && (
            <button class="link" onClick={() => fleet.go(null)}>
              Show the present
            </button>
          )}
        </p>
      )}
      <main id="main" tabIndex={-1}>
        {!page && !problem && <p class="empty">Reading the log…</p>}
        {!page && !past && problem?.code === "unknown_position" && (
          <p class="empty">Nothing has been recorded yet. The page comes alive with the fleet's first event.</p>
        )}
        {page && (
          <>
            <Figures page={page} show={show} />
            <div class="columns">
              <div class="wide">
                <Agents at={at} version={fleet.version} page={page} show={show} />
                <Queue page={page} show={show} />
                <Forecasts page={page} show={show} />
              </div>
              <div class="narrow">
                <DayChart page={page} />
                <Alerts page={page} show={show} />
                <Events page={page} show={show} every={fleet.every} setEvery={fleet.setEvery} />
              </div>
            </div>
            <div class="three">
              <Limits page={page} show={show} />
              <Models page={page} show={show} />
              <Products page={page} show={show} />
            </div>
            <footer>
              <span data-testid="as-of">
                as of position {page.position.toLocaleString("en-US")}, {moment(page.at)}
              </span>
            </footer>
          </>
        )}
      </main>
      {behind && (
        <EventsPanel
          behind={behind}
          at={at}
          past={watching}
          version={fleet.version}
          orders={orders}
          close={() => setBehind(null)}
          order={(what) => setOrder(what)}
        />
      )}
      {order && page && (
        <Control
          order={order}
          agent={behind?.agent}
          page={page}
          close={() => setOrder(null)}
          done={() => {
            setOrder(null);
            setOrders((before) => before + 1);
            fleet.refresh();
          }}
        />
      )}
    </>
  );
}

/** Where the total comes from, where that is an account of another fleet. */
function Parent({ page, answered }: { page: Page; answered: ParentAnswered | null }) {
  const { account, stopped } = page.status.delegation!;
  const asked = answered?.asked ?? null;
  const away = answered?.away ?? null;
  return (
    <p class="parent" data-testid="parent">
      the total is from {page.parent.join(", ")}, account {account}
      {asked !== null && `; asked ${duration(asked)} ago`}
      {away !== null && (
        <span class="warned">
          ; away since {clock(new Date(Date.parse(page.now) - away * 1000).toISOString())} UTC
          {!stopped && ": this fleet goes on within what it has"}
        </span>
      )}
      {stopped && <span class="warned">; nothing may go on: {stopped}</span>}
    </p>
  );
}

function leave(): void {
  void logout().then(() => location.reload());
}

function State({ page }: { page: NonNullable<ReturnType<typeof useFleet>["page"]> }) {
  const { status } = page;
  const pressure = `pressure ${Math.floor(status.pressure * 100)} %`;
  return (
    <>
      {status.paused ? (
        <span class="chip bad">paused</span>
      ) : status.response === "none" ? (
        <span class="chip good">at ease</span>
      ) : (
        <span class="chip warn">{status.response.replaceAll("_", " ")}</span>
      )}
      {status.breaker !== null && <span class="chip bad">breaker open: {status.breaker}</span>}
      <span class="muted pressure">{pressure}</span>
    </>
  );
}
