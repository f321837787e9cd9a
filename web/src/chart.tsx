import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { compact, dollars } from "./format";
import type { Page } from "./types";

type Of = "cost_usd" | "tokens";

/** How much the chart is high at least: a day of which next to nothing is used has an axis that can be read. */
const LEAST = { cost_usd: 0.01, tokens: 10 };
/** Its time is written to the minute, so that no two lines of the grid are closer, in seconds. */
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720, 1440].map((minutes) => minutes * 60);

/** The day so far, its limit, and where it will probably end, as a band. */
export function DayChart({ page }: { page: Page }) {
  const [of, setOf] = useState<Of>("cost_usd");
  const box = useRef<HTMLDivElement>(null);
  const [theme, setTheme] = useState(0);
  const plot = useRef<uPlot | null>(null);
  const { data, domain, top } = points(page, of);
  const bounds = useRef({ domain, top });
  bounds.current = { domain, top };

  useEffect(() => {
    const media = matchMedia("(prefers-color-scheme: dark)");
    const changed = () => setTheme((before) => before + 1);
    media.addEventListener("change", changed);
    return () => media.removeEventListener("change", changed);
  }, []);

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const made = new uPlot(options(element, of, bounds), data, element);
    plot.current = made;
    const sized = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: 190 }));
    sized.observe(element);
    return () => {
      sized.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [of, theme]);

  useEffect(() => plot.current?.setData(data), [page.position, page.now, of]);

  const gauge = of === "cost_usd" ? page.dashboard.cost : page.dashboard.tokens;
  const end = page.forecast.day[of];
  const shown = (value: number | string | null) => (of === "cost_usd" ? dollars(value) : compact(value === null ? null : Number(value)));
  const summary = [
    `${shown(gauge.used)} used on ${page.dashboard.date || "no day yet"}`,
    gauge.limit === null ? "no limit" : `limit ${shown(gauge.limit)}`,
    end && end.expected !== null ? `at the end of the day ${shown(end.expected)}, ${shown(end.low)} to ${shown(end.high)}` : "its end cannot be projected yet",
  ];
  return (
    <section class="card" aria-labelledby="day-title">
      <div class="head">
        <h2 id="day-title">Today</h2>
        <span class="muted">{page.dashboard.date}</span>
        <div class="switch" role="group" aria-label="What the chart shows">
          {(["cost_usd", "tokens"] as const).map((one) => (
            <button key={one} aria-pressed={of === one} onClick={() => setOf(one)}>
              {one === "tokens" ? "tokens" : "cost"}
            </button>
          ))}
        </div>
      </div>
      <div class="chart" ref={box} role="img" aria-label={summary.join("; ")} />
      <p class="note" data-testid="projection">
        {summary.slice(1).join("; ")}
      </p>
    </section>
  );
}

interface Points {
  data: uPlot.AlignedData;
  domain: [number, number];
  top: number;
}

function points(page: Page, of: Of): Points {
  const { day, forecast, dashboard } = page;
  const limitText = (of === "cost_usd" ? dashboard.cost : dashboard.tokens).limit;
  const limit = limitText === null ? null : Number(limitText);
  if (day.begins_at === null || day.ends_at === null) return { data: [[], [], [], [], [], []], domain: [0, 1], top: 1 };
  const begins = Date.parse(day.begins_at) / 1000;
  const ends = Date.parse(day.ends_at) / 1000;
  const now = Math.max(begins, Math.min(ends, Date.parse(page.now) / 1000));
  const total = day[of].reduce((sum, one) => sum + one, 0);
  const xs: number[] = [begins];
  const used: (number | null)[] = [0];
  const minutes = day.minutes.map((one) => [Date.parse(one.at) / 1000, one[of]] as const).filter(([at]) => at >= begins);
  const finer = minutes.length ? Math.min(...minutes.map(([at]) => at)) : now;
  let sum = 0;
  day[of].forEach((one, hour) => {
    const at = begins + (hour + 1) * 3600;
    sum += one;
    if (at <= Math.min(finer, now)) {
      xs.push(at);
      used.push(sum);
    }
  });
  // From here on by the minute, counted back from what is used now.
  let left = minutes.reduce((whole, [, one]) => whole + one, 0);
  for (const [at, one] of minutes) {
    if (at > (xs.at(-1) ?? 0) && at < now) {
      xs.push(at);
      used.push(Math.max(0, total - left));
    }
    left -= one;
  }
  if (now > (xs.at(-1) ?? 0)) {
    xs.push(now);
    used.push(total);
  }
  const line: (number | null)[] = xs.map(() => null);
  const low = [...line];
  const high = [...line];
  const found = forecast.day[of];
  const projected = found && found.expected !== null && found.low !== null && found.high !== null && now < ends;
  if (projected) {
    const last = xs.length - 1;
    line[last] = low[last] = high[last] = total;
    xs.push(ends);
    used.push(null);
    line.push(Number(found.expected));
    low.push(Number(found.low));
    high.push(Number(found.high));
  }
  const firstUse = used.findIndex((one) => (one ?? 0) > 0);
  const from = firstUse > 0 ? (xs[firstUse - 1] ?? begins) : begins;
  const domain: [number, number] = projected ? [begins, ends] : [Math.min(from, now - 60), now + Math.max(60, (now - from) * 0.1)];
  const limits = xs.map(() => limit);
  const greatest = Math.max(total, projected ? Number(found.high) : 0);
  // A limit that is far away would flatten the day: it is drawn once the day is near it.
  const near = limit !== null && limit <= 4 * Math.max(greatest, 1e-9);
  return { data: [xs, used, limits, line, low, high], domain, top: Math.max(near ? limit : 0, greatest, LEAST[of]) * 1.08 };
}

function options(element: HTMLElement, of: Of, bounds: { current: { domain: [number, number]; top: number } }): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  return {
    width: element.clientWidth,
    height: 190,
    legend: { show: false },
    cursor: { show: false },
    tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "UTC"),
    scales: { x: { time: true, range: () => bounds.current.domain }, y: { range: () => [0, bounds.current.top] } },
    axes: [
      { ...axis, size: 26, space: 60, incrs: STEPS, values: "{HH}:{mm}" },
      { ...axis, size: 52, space: 28, values: (_, values) => values.map((one) => (of === "cost_usd" ? `$${one}` : compact(one))) },
    ],
    series: [
      {},
      { stroke: colour("--accent"), width: 2, fill: colour("--accent-faint"), points: { show: false } },
      { stroke: colour("--red"), width: 1.5, dash: [6, 4], points: { show: false } },
      { stroke: colour("--accent"), width: 1.5, dash: [3, 3], points: { show: false } },
      { stroke: "transparent", points: { show: false } },
      { stroke: "transparent", points: { show: false } },
    ],
    bands: [{ series: [5, 4], fill: colour("--accent-band") }],
  };
}
