/** Figures as people read them: one spelling on the whole page. Percentages are floored, as on the command line. */

export const NONE = "–";

export function number(value: number | null | undefined): string {
  return value === null || value === undefined ? NONE : value.toLocaleString("en-US");
}

/** 1.2M; three digits or so. */
export function compact(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE;
  const size = Math.abs(value);
  for (const [unit, letter] of [
    [1e9, "B"],
    [1e6, "M"],
    [1e3, "k"],
  ] as const) {
    if (size >= unit) {
      const scaled = value / unit;
      return `${Math.abs(scaled) >= 100 ? Math.trunc(scaled) : Math.trunc(scaled * 10) / 10}${letter}`;
    }
  }
  return String(value);
}

/** Dollars to the cent, half up; the server's exact text is read digit by digit, so that nothing is lost before. */
export function dollars(value: string | number | null | undefined): string {
  if (value === null || value === undefined) return NONE;
  const text = typeof value === "number" ? value.toFixed(9) : value;
  const negative = text.startsWith("-");
  const [whole = "0", fraction = ""] = text.replace("-", "").split(".");
  const padded = fraction.padEnd(3, "0");
  let cents = BigInt(whole) * 100n + BigInt(padded.slice(0, 2));
  if (padded.charCodeAt(2) >= 53) cents += 1n;
  const shown = `${(cents / 100n).toLocaleString("en-US")}.${(cents % 100n).toString().padStart(2, "0")}`;
  return `${negative && cents ? "−" : ""}$${shown}`;
}

export function percent(ratio: number): string {
  return `${Math.floor(ratio * 100 + 1e-9)} %`;
}

export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d`;
}

export function clock(at: string | null | undefined): string {
  return at ? at.slice(11, 19) : NONE;
}

export function moment(at: string): string {
  return `${at.slice(0, 10)} ${at.slice(11, 19)} UTC`;
}

export function words(name: string): string {
  return name.replace(/[-_]/g, " ");
}
