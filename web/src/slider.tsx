import { useEffect, useState } from "preact/hooks";
import type { Shown } from "./fleet";
import { moment, number } from "./format";
import type { Page } from "./types";

/** The whole page as it was at any position of the log. */
export function Slider({ fleet, page }: { fleet: Shown; page: Page }) {
  const past = fleet.at !== null;
  const position = fleet.at ?? page.position;
  // While it is dragged, the thumb is ahead of what was read.
  const [dragged, setDragged] = useState<number | null>(null);
  useEffect(() => {
    if (dragged === null) return;
    const timer = window.setTimeout(() => {
      fleet.go(dragged >= page.end ? null : dragged);
      setDragged(null);
    }, 60);
    return () => window.clearTimeout(timer);
  }, [dragged]);
  const shown = dragged ?? position;
  const step = (by: number) => {
    const to = Math.max(1, position + by);
    fleet.go(to >= page.end && by > 0 ? null : to);
  };
  return (
    <div class="time" role="group" aria-label="Time">
      <button class="icon" aria-label="One event back" disabled={position <= 1} onClick={() => step(-1)}>
        <Glyph path="M15 5v14L6 12zM5 5v14" />
      </button>
      <button
        class="icon"
        aria-label={fleet.playing ? "Stop playing" : "Play the log"}
        aria-pressed={fleet.playing}
        onClick={() => fleet.play(!fleet.playing)}
      >
        <Glyph path={fleet.playing ? "M7 5v14M17 5v14" : "M7 4.5v15L19 12z"} />
      </button>
      <button class="icon" aria-label="One event on" disabled={!past} onClick={() => step(1)}>
        <Glyph path="M9 5v14l9-7zM19 5v14" />
      </button>
      <input
        type="range"
        min={1}
        max={Math.max(page.end, 1)}
        value={shown}
        aria-label="Position in the log"
        aria-valuetext={`position ${shown} of ${page.end}, ${moment(page.at)}`}
        onInput={(event) => setDragged(Number(event.currentTarget.value))}
      />
      <span class="when">
        <time dateTime={page.at} data-testid="time">
          {moment(page.at)}
        </time>
        <span class="muted" data-testid="position">
          {number(shown)} / {number(page.end)}
        </span>
      </span>
      <button
        class={past ? "live primary" : "live on"}
        aria-pressed={!past}
        onClick={() => fleet.go(null)}
        data-testid="live"
      >
        {past ? "Back to live" : "Live"}
      </button>
    </div>
  );
}

function Glyph({ path }: { path: string }) {
  return (
    <svg viewBox="0 0 24 24" width="16" height="16" aria-hidden="true">
      <path d={path} fill="currentColor" stroke="currentColor" stroke-width="2" stroke-linejoin="round" />
    </svg>
  );
}
