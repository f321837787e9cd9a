import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { view } from "./api";
import { Bar } from "./figures";
import { compact, dollars, duration, NONE, number, percent } from "./format";
import type { Agent, Behind, Level, Page, Window } from "./types";

const ROW = 34;
const CHUNK = 50;
const LEVELS: Level[] = ["green", "yellow", "orange", "red", "black"];
const ORDERS = [
  ["use", "most used"],
  ["empty", "empty first"],
  ["burn", "burn rate"],
  ["cost", "cost"],
  ["tokens", "tokens"],
  ["name", "name"],
] as const;
const COLUMNS = ["agent", "level", "action", "used", "tokens", "cost", "burn rate", "empty in"];

interface Props {
  at: number | null;
  version: number;
  page: Page;
  show: (what: Behind) => void;
}

/** All open agents, however many: only the rows in sight are asked for and drawn. */
export function Agents({ at, version, page, show }: Props) {
  const [order, setOrder] = useState("use");
  const [tree, setTree] = useState(true);
  const [search, setSearch] = useState("");
  const [level, setLevel] = useState("");
  const [folded, setFolded] = useState<string[]>([]);
  const [first, setFirst] = useState(0);
  const [height, setHeight] = useState(420);
  const [active, setActive] = useState(0);
  const [found, setFound] = useState<Window | null>(null);
  const box = useRef<HTMLDivElement>(null);

  const chunk = Math.max(0, Math.floor(first / CHUNK) * CHUNK - CHUNK / 2);
  const count = Math.min(200, Math.ceil(height / ROW / CHUNK) * CHUNK + 2 * CHUNK);
  useEffect(() => {
    const asking = new AbortController();
    // Of the present, the page's own position would be a question about the past.
    view<Window>("agents", { at, order, tree: tree ? null : "false", search, level, folded, after: chunk, count }, asking.signal)
      .then(setFound)
      .catch(() => undefined);
    return () => asking.abort();
  }, [at, version, order, tree, search, level, folded, chunk, count]);

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const seen = new ResizeObserver(() => setHeight(element.clientHeight));
    seen.observe(element);
    return () => seen.disconnect();
  }, []);

  const rows = found?.rows ?? 0;
  const at_ = Math.min(active, Math.max(0, rows - 1));
  const from = Math.max(0, first - 4);
  const to = Math.min(rows, first + Math.ceil(height / ROW) + 4);
  const row = useCallback((index: number): Agent | undefined => found?.shown[index - found.after], [found]);

  const open = (agent: Agent) =>
    show({ title: agent.agent, asked: { agent: agent.agent }, agent: agent.agent });
  const fold = (agent: Agent, is: boolean) =>
    setFolded((before) => (is ? [...before.filter((one) => one !== agent.agent), agent.agent] : before.filter((one) => one !== agent.agent)));

  const reveal = (index: number) => {
    setActive(index);
    const element = box.current;
    if (!element) return;
    const top = index * ROW;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + ROW > element.scrollTop + element.clientHeight - ROW) {
      element.scrollTop = top + 2 * ROW - element.clientHeight;
    }
  };

  const typed = (event: KeyboardEvent) => {
    const page_ = Math.max(1, Math.floor(height / ROW) - 2);
    const agent = row(at_);
    const moves: Record<string, () => void> = {
      ArrowDown: () => reveal(Math.min(rows - 1, at_ + 1)),
      ArrowUp: () => reveal(Math.max(0, at_ - 1)),
      PageDown: () => reveal(Math.min(rows - 1, at_ + page_)),
      PageUp: () => reveal(Math.max(0, at_ - page_)),
      Home: () => reveal(0),
      End: () => reveal(Math.max(0, rows - 1)),
      ArrowLeft: () => agent && agent.children > 0 && fold(agent, true),
      ArrowRight: () => agent && agent.children > 0 && fold(agent, false),
      Enter: () => agent && open(agent),
    };
    const move = moves[event.key];
    if (move && rows) {
      event.preventDefault();
      move();
    }
  };

  const shown = [];
  for (let index = from; index < to; index += 1) {
    const agent = row(index);
    shown.push(
      <Row
        key={index}
        index={index}
        agent={agent}
        active={index === at_}
        folded={agent ? folded.includes(agent.agent) : false}
        open={() => {
          setActive(index);
          if (agent) open(agent);
        }}
        fold={(is) => agent && fold(agent, is)}
      />,
    );
  }
  const counts = page.status.agents_by_level;
  return (
    <section class="card" aria-labelledby="agents-title">
      <div class="head">
        <h2 id="agents-title">Agents</h2>
        <span class="muted" data-testid="agent-count">
          {number(page.status.agent_count)}
        </span>
        <div class="levels" role="group" aria-label="Levels">
          {LEVELS.map((one) => (
            <button
              key={one}
              class={`chip level ${one}`}
              aria-pressed={level === one}
              onClick={() => setLevel(level === one ? "" : one)}
              title={`Only agents that are ${one}`}
            >
              <i aria-hidden="true" />
              {counts[one]} {one}
            </button>
          ))}
        </div>
        <div class="choices">
          <label>
            <span class="hidden">Search agents</span>
            <input
              type="search"
              placeholder="search"
              value={search}
              onInput={(event) => setSearch(event.currentTarget.value.slice(0, 100))}
            />
          </label>
          <label>
            <span class="hidden">Order of agents</span>
            <select value={order} onChange={(event) => setOrder(event.currentTarget.value)}>
              {ORDERS.map(([name, text]) => (
                <option key={name} value={name}>
                  {text}
                </option>
              ))}
            </select>
          </label>
          <label class="check">
            <input type="checkbox" checked={tree} onChange={(event) => setTree(event.currentTarget.checked)} /> tree
          </label>
        </div>
      </div>
      {/* Its rows scroll below a head that stays: the head is part of the same grid. */}
      <div
        class={found && !rows ? "grid none" : "grid"}
        role="treegrid"
        aria-labelledby="agents-title"
        aria-rowcount={rows + 1}
        aria-colcount={COLUMNS.length}
        aria-activedescendant={rows && at_ >= from && at_ < to ? `agent-${at_}` : undefined}
        tabIndex={0}
        onKeyDown={typed}
        ref={box}
        onScroll={(event) => setFirst(Math.floor(event.currentTarget.scrollTop / ROW))}
      >
        <div class="line headline" role="row" aria-rowindex={1}>
          {COLUMNS.map((name) => (
            <span key={name} role="columnheader" class={`c-${name.replace(" ", "-")}`}>
              {name}
            </span>
          ))}
        </div>
        {/* A drawing as high as all rows makes the scroll bar, without a style of its own. */}
        <svg class="height" width="1" height={rows * ROW} aria-hidden="true" />
        {shown}
      </div>
      {found && !rows && <p class="empty">{search || level ? "No agent fits." : "No agent has a budget now."}</p>}
    </section>
  );
}

interface RowProps {
  index: number;
  agent: Agent | undefined;
  active: boolean;
  folded: boolean;
  open: () => void;
  fold: (is: boolean) => void;
}

function Row({ index, agent, active, folded, open, fold }: RowProps) {
  const style = { top: `${(index + 1) * ROW}px` };
  if (!agent) {
    return (
      <div class="line" role="row" id={`agent-${index}`} aria-rowindex={index + 2} style={style}>
        <span role="gridcell" class="c-agent muted">
          …
        </span>
      </div>
    );
  }
  const { consumed, allocated, burn } = agent;
  return (
    <div
      class={active ? "line active" : "line"}
      role="row"
      id={`agent-${index}`}
      aria-rowindex={index + 2}
      aria-level={agent.depth + 1}
      aria-expanded={agent.children ? !folded : undefined}
      aria-selected={active}
      style={style}
      onClick={open}
      data-agent={agent.agent}
    >
      <span role="gridcell" class="c-agent" style={{ paddingLeft: `${10 + Math.min(agent.depth, 8) * 16}px` }}>
        {agent.children > 0 ? (
          <span
            class={folded ? "twist" : "twist open"}
            aria-hidden="true"
            onClick={(event) => {
              event.stopPropagation();
              fold(!folded);
            }}
          >
            ▸
          </span>
        ) : (
          <span class="twist" aria-hidden="true" />
        )}
        <span class="name" title={agent.agent}>
          {agent.agent}
        </span>
        {agent.child && (
          <span class="chip" title={`the total of ${agent.child.fleet === null ? "another fleet" : `the fleet ${agent.child.fleet}`}, which alone takes from it`}>
            fleet
          </span>
        )}
      </span>
      <span role="gridcell" class={`c-level level ${agent.status}`}>
        <i aria-hidden="true" />
        {agent.status}
      </span>
      <span role="gridcell" class="c-action" title={agent.decided_by ?? undefined}>
        {agent.action ?? agent.state}
      </span>
      <span role="gridcell" class="c-used">
        <Bar part={agent.percentage} level={agent.status} />
        <b>{percent(agent.percentage)}</b>
      </span>
      <span role="gridcell" class="c-tokens">
        {compact(consumed.tokens)}
        {allocated.tokens !== undefined && <span class="muted"> / {compact(allocated.tokens)}</span>}
      </span>
      <span role="gridcell" class="c-cost">
        {dollars(consumed.cost_usd)}
        {allocated.cost_usd !== undefined && <span class="muted"> / {dollars(allocated.cost_usd)}</span>}
      </span>
      <span role="gridcell" class="c-burn-rate">
        {burn && burn.tokens_per_hour ? `${compact(burn.tokens_per_hour)}/h` : NONE}
      </span>
      <span role="gridcell" class="c-empty-in">
        {duration(burn?.empty_in_seconds)}
      </span>
    </div>
  );
}
