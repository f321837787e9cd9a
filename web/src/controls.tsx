import { useEffect, useRef, useState } from "preact/hooks";
import { newId, Problem, send } from "./api";
import { words } from "./format";
import type { Page } from "./types";

export type Order = "pause" | "resume" | "stop" | "continue" | "approve" | "override" | "reserve" | "breaker";

interface Kind {
  title: string;
  says: string;
  button: string;
  endpoint: string;
  danger: boolean;
  reason: boolean;
}

const KINDS: Record<Order, Kind> = {
  pause: {
    title: "Pause the fleet",
    says: "Every agent is answered stop to its next message, and no hold is granted, until the fleet is resumed.",
    button: "Pause fleet",
    endpoint: "pause-all",
    danger: true,
    reason: true,
  },
  resume: {
    title: "Resume the fleet",
    says: "Agents go on as their budgets allow.",
    button: "Resume fleet",
    endpoint: "resume-all",
    danger: false,
    reason: false,
  },
  stop: {
    title: "Stop an agent",
    says: "It and all agents below it are answered stop, until they are resumed.",
    button: "Stop agent",
    endpoint: "stop",
    danger: true,
    reason: true,
  },
  continue: {
    title: "Resume an agent",
    says: "An order to stop or throttle it is lifted. Its budget still counts.",
    button: "Resume agent",
    endpoint: "resume",
    danger: false,
    reason: false,
  },
  approve: {
    title: "Approve a limit",
    says: "Limits of the day are raised until it ends. What is left empty stays as it is.",
    button: "Approve limit",
    endpoint: "approve-limit",
    danger: false,
    reason: true,
  },
  override: {
    title: "Override a priority",
    says: "All tasks of the product count as of this priority, whatever they name.",
    button: "Override priority",
    endpoint: "override-priority",
    danger: false,
    reason: true,
  },
  reserve: {
    title: "Release the reserve",
    says: "Critical agents may draw on the emergency reserve, as in a crisis.",
    button: "Release reserve",
    endpoint: "release-reserve",
    danger: true,
    reason: true,
  },
  breaker: {
    title: "Reset the breaker",
    says: "The circuit breaker closes. A condition that still holds trips it no more today.",
    button: "Reset breaker",
    endpoint: "reset-breaker",
    danger: true,
    reason: true,
  },
};

interface Props {
  order: Order;
  agent: string | undefined;
  page: Page;
  close: () => void;
  done: () => void;
}

/** An operator's order, with its reason, confirmed before it is sent. */
export function Control({ order, agent, page, close, done }: Props) {
  const kind = KINDS[order];
  const dialog = useRef<HTMLDialogElement>(null);
  const [id] = useState(newId);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => dialog.current?.showModal(), []);

  const confirm = async (event: SubmitEvent) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string) => String(given.get(name) ?? "").trim();
    const message: Record<string, unknown> = { id };
    if (kind.reason) message.reason = text("reason");
    if (order === "stop" || order === "continue") message.agent = agent;
    if (order === "override") {
      message.product = text("product");
      message.priority = text("priority") || null;
    }
    if (order === "approve") {
      if (text("cost")) message.max_cost_usd = text("cost");
      if (text("tokens")) message.max_tokens_total = Number(text("tokens"));
    }
    setBusy(true);
    try {
      await send(kind.endpoint, message);
      done();
    } catch (error) {
      setProblem(error instanceof Problem ? error : new Problem(0, "internal_error", String(error)));
    } finally {
      setBusy(false);
    }
  };

  return (
    <dialog class="control" ref={dialog} onClose={close} aria-labelledby="control-title">
      <form onSubmit={(event) => void confirm(event)}>
        <h2 id="control-title">
          {kind.title}
          {agent && (order === "stop" || order === "continue") ? `: ${agent}` : ""}
        </h2>
        <p>{kind.says}</p>
        {order === "approve" && (
          <div class="fields">
            <label>
              Dollars a day
              <input name="cost" type="number" min="0" step="0.01" inputMode="decimal" placeholder={String(page.dashboard.cost.limit ?? "no limit")} />
            </label>
            <label>
              Tokens a day
              <input name="tokens" type="number" min="0" step="1" inputMode="numeric" placeholder={String(page.dashboard.tokens.limit ?? "no limit")} />
            </label>
          </div>
        )}
        {order === "override" && (
          <div class="fields">
            <label>
              Product
              <input name="product" required list="products" maxLength={200} />
              <datalist id="products">
                {page.products.map((one) => (
                  <option key={one} value={one} />
                ))}
              </datalist>
            </label>
            <label>
              Priority
              <select name="priority">
                {["critical", "high", "normal", "low"].map((one) => (
                  <option key={one}>{one}</option>
                ))}
                <option value="">none: end the override</option>
              </select>
            </label>
          </div>
        )}
        {kind.reason && (
          <label>
            Reason
            <input name="reason" required maxLength={500} autoComplete="off" autoFocus />
          </label>
        )}
        {problem && (
          <p class="problem" role="alert">
            <strong>{words(problem.code)}</strong> {problem.message}
          </p>
        )}
        <div class="orders">
          <button type="button" onClick={() => dialog.current?.close()}>
            Cancel
          </button>
          <button class={kind.danger ? "danger" : "primary"} disabled={busy}>
            {kind.button}
          </button>
        </div>
      </form>
    </dialog>
  );
}
