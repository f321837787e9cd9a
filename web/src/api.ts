/** The server, under the address that the page came from, and nothing else. */

import type { Page } from "./types";

export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
  ) {
    super(detail);
  }
}

export type Asked = Record<string, string | number | boolean | null | undefined | readonly string[]>;

export async function view<T>(name: string, asked: Asked, signal?: AbortSignal): Promise<T> {
  return answer<T>(await viewed(name, asked, signal));
}

/** How long ago the fleet's parent answered it last, where it has one; `away`: it did not when it was asked last. */
export interface ParentAnswered {
  asked: number | null;
  away: number | null;
}

export interface Answered {
  page: Page;
  /** A standby has answered, which is so many seconds behind the writer. */
  behind: number | null;
  parent: ParentAnswered;
}

/** All that is shown at once. */
export async function wholePage(asked: Asked, signal?: AbortSignal): Promise<Answered> {
  const response = await viewed("page", asked, signal);
  const seconds = (header: string) => {
    const found = response.headers.get(header);
    return found === null ? null : Number(found);
  };
  return {
    page: await answer<Page>(response),
    behind: seconds("x-tallystick-age-seconds"),
    parent: { asked: seconds("x-tallystick-parent-asked-seconds"), away: seconds("x-tallystick-parent-away-seconds") },
  };
}

async function viewed(name: string, asked: Asked, signal?: AbortSignal): Promise<Response> {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(asked)) {
    if (Array.isArray(value)) for (const one of value) query.append(key, one);
    else if (value !== null && value !== undefined && value !== "" && value !== false) query.set(key, String(value));
  }
  return reach(`v1/views/${name}?${query}`, { signal, credentials: "same-origin" });
}

/** Send one message of the wire contract; an id makes it harmless to send it twice. */
export async function send(kind: string, message: object): Promise<unknown> {
  return answer(
    await reach(`v1/${kind}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(message),
      credentials: "same-origin",
    }),
  );
}

export async function login(key: string): Promise<unknown> {
  return send("session", { key });
}

export interface Session {
  open: boolean;
  role: string | null;
  name: string | null;
}

/** Who looks at the page; an open server lets everyone do everything. */
export async function session(): Promise<Session> {
  return answer<Session>(await reach("v1/session", { credentials: "same-origin" }));
}

export async function logout(): Promise<void> {
  await reach("v1/session", { method: "DELETE", credentials: "same-origin" });
}

async function reach(path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(path, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(0, "unreachable", "the server does not answer");
  }
}

async function answer<T>(response: Response): Promise<T> {
  if (response.ok) {
    const text = await response.text();
    return (text ? JSON.parse(text) : null) as T;
  }
  let code = "internal_error";
  let detail = response.statusText;
  try {
    const problem = (await response.json()) as { code?: string; detail?: string };
    code = problem.code ?? code;
    detail = problem.detail ?? detail;
  } catch {
    // What answered was no server of ours: its status is all there is.
  }
  throw new Problem(response.status, code, detail);
}

/** A new id for a message; random, also where the page was not loaded over a secure connection. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return `ui-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** Calls `heard` when something was recorded; the browser comes back by itself when the connection is cut. */
export function follow(heard: () => void, connected: (is: boolean) => void): () => void {
  const source = new EventSource("v1/stream");
  source.onopen = () => connected(true);
  source.onmessage = heard;
  let again: number | undefined;
  let inner: (() => void) | undefined;
  source.onerror = () => {
    connected(false);
    if (source.readyState === EventSource.CLOSED && again === undefined) {
      // It was refused, and the browser gives up: perhaps there is room later.
      again = window.setTimeout(() => (inner = follow(heard, connected)), 3000);
    }
  };
  return () => {
    source.close();
    window.clearTimeout(again);
    inner?.();
  };
}
