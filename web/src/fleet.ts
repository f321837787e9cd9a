/** What is shown: the newest state, which follows the log, or the one at a position. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { follow, type ParentAnswered, Problem, wholePage } from "./api";
import type { Page } from "./types";

/** Events come in groups. */
const SOON_MS = 20;
/** From one answer to the next question, at least; it is as long as the last answer took, where that is longer. */
const LEAST_MS = 150;
const CLOCK_MS = 5000;
const PLAY_MS = 200;

export interface Shown {
  page: Page | null;
  /** How many seconds the page is behind the writer, where a standby has answered. */
  behind: number | null;
  parent: ParentAnswered | null;
  /** The position that was asked for; null: the newest. */
  at: number | null;
  /** Grows whenever the page was read anew. */
  version: number;
  problem: Problem | null;
  connected: boolean;
  playing: boolean;
  every: boolean;
  setEvery: (every: boolean) => void;
  go: (at: number | null) => void;
  play: (on: boolean) => void;
  refresh: () => void;
}

export function useFleet(): Shown {
  const [at, setAt] = useState<number | null>(fromAddress);
  const [page, setPage] = useState<Page | null>(null);
  const [behind, setBehind] = useState<number | null>(null);
  const [parent, setParent] = useState<ParentAnswered | null>(null);
  const [version, setVersion] = useState(0);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [connected, setConnected] = useState(true);
  const [playing, setPlaying] = useState(false);
  const [every, setEvery] = useState(false);
  const reading = useRef<AbortController | null>(null);
  const wanted = useRef(false);

  const read = useCallback(async (): Promise<number> => {
    reading.current?.abort();
    const mine = new AbortController();
    reading.current = mine;
    const began = performance.now();
    try {
      const found = await wholePage({ at, every }, mine.signal);
      if (mine.signal.aborted) return 0;
      setPage(found.page);
      setBehind(found.behind);
      setParent(found.parent);
      setVersion((before) => before + 1);
      setProblem(null);
    } catch (error) {
      if (mine.signal.aborted) return 0;
      setProblem(error instanceof Problem ? error : new Problem(0, "internal_error", String(error)));
    } finally {
      if (reading.current === mine) reading.current = null;
    }
    return performance.now() - began;
  }, [at, every]);

  // The present: read again when something was recorded, at most as often as the server can well answer.
  useEffect(() => {
    if (at !== null) return;
    let timer: number | undefined;
    let next = 0;
    let over = false;
    const again = async () => {
      timer = undefined;
      wanted.current = false;
      const took = await read();
      next = performance.now() + Math.max(LEAST_MS, took);
      if (wanted.current && !over) soon();
    };
    const soon = () => {
      wanted.current = true;
      if (timer === undefined && reading.current === null) timer = window.setTimeout(() => void again(), Math.max(SOON_MS, next - performance.now()));
    };
    void again();
    const stop = follow(soon, (is) => {
      setConnected(is);
      if (is) soon();
    });
    const ticking = window.setInterval(() => document.hidden || soon(), CLOCK_MS);
    return () => {
      over = true;
      window.clearTimeout(timer);
      window.clearInterval(ticking);
      stop();
    };
  }, [at, read]);

  // The past: it stays as it is.
  useEffect(() => {
    if (at !== null) void read();
  }, [at, read]);

  const go = useCallback((to: number | null) => {
    setAt(to);
    history.replaceState(null, "", to === null ? "#" : `#at=${to}`);
  }, []);

  useEffect(() => {
    const moved = () => setAt(fromAddress());
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);

  // Playing shows the whole log in about a minute, and ends with the present.
  useEffect(() => {
    if (!playing || !page || at === null || page.position !== at) return;
    const step = Math.max(1, Math.round(page.end / (60_000 / PLAY_MS)));
    const timer = window.setTimeout(() => {
      if (at + step >= page.end) {
        setPlaying(false);
        go(null);
      } else go(at + step);
    }, PLAY_MS);
    return () => window.clearTimeout(timer);
  }, [playing, page, at, go]);

  const play = useCallback(
    (on: boolean) => {
      if (on && at === null) go(1);
      setPlaying(on);
    },
    [at, go],
  );

  return {
    page,
    behind,
    parent,
    at,
    version,
    problem,
    connected,
    playing,
    every,
    setEvery,
    go: useCallback(
      (to: number | null) => {
        setPlaying(false);
        go(to);
      },
      [go],
    ),
    play,
    refresh: () => void read(),
  };
}

function fromAddress(): number | null {
  const found = /^#at=(\d{1,15})$/.exec(location.hash);
  return found ? Math.max(1, Number(found[1])) : null;
}
