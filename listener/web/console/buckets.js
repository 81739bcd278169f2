// The distribution of codes over time: which bar a change belongs to, and which colour.
import { isChange } from "./events.js";

export const SERIES = 6;
export const OTHER = "other";
export const CLEARED = "(cleared)";
const MOST_BARS = 48;
const WIDTHS_S = [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 10800, 21600, 43200, 86400, 604800];

/** What a change counts as. */
const nameOf = (row) => row.code ?? CLEARED;

/** Seconds that a bar holds, for a stretch of so many milliseconds. */
export function widthOf(ms) {
  return (
    WIDTHS_S.find((width) => ms / 1000 / width < MOST_BARS - 1) ?? Math.ceil(ms / 1000 / MOST_BARS / 604800) * 604800
  );
}

/**
 * The most frequent codes, at most six, each in the slot that it had before if it had one: colours do not jump.
 *
 * @param totals a Map of counts by code.
 * @param before the slots as they were, codes or null.
 */
export function slotsFor(totals, before = []) {
  const ranked = [...totals].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).map(([code]) => code);
  const named = ranked.slice(0, SERIES);
  const slots = Array.from({ length: SERIES }, (_, at) => (named.includes(before[at]) ? before[at] : null));
  for (const code of named) {
    if (!slots.includes(code)) slots[slots.indexOf(null)] = code;
  }
  return slots;
}

/**
 * `{widthMs, slots, totals, counted, bars}`; a bar is `{from, to, counts, sum, gap}` with a count for each slot and,
 * last, for all other codes. Bars begin at round times of the viewer's zone. Only changes count; gaps mark the bars
 * that they touch.
 */
export function distribution(rows, before = []) {
  const changes = rows.filter(isChange);
  const gaps = rows.filter((row) => row.kind === "gap");
  const totals = new Map();
  for (const row of changes) totals.set(nameOf(row), (totals.get(nameOf(row)) ?? 0) + 1);
  const slots = slotsFor(totals, before);
  if (!changes.length) return { widthMs: 0, slots, totals, counted: 0, bars: [] };
  const times = changes.map((row) => row.at);
  const [first, last] = [times.reduce((a, b) => Math.min(a, b)), times.reduce((a, b) => Math.max(a, b))];
  const widthMs = widthOf(last - first) * 1000;
  const shift = new Date(first).getTimezoneOffset() * 60_000;
  const origin = Math.floor((first - shift) / widthMs) * widthMs + shift;
  const bars = Array.from({ length: Math.floor((last - origin) / widthMs) + 1 }, (_, at) => {
    const from = origin + at * widthMs;
    return { from, to: from + widthMs, counts: Array(SERIES + 1).fill(0), sum: 0, gap: false };
  });
  const place = new Map(slots.map((code, at) => [code, at]));
  for (const row of changes) {
    const bar = bars[Math.floor((row.at - origin) / widthMs)];
    bar.counts[place.get(nameOf(row)) ?? SERIES] += 1;
    bar.sum += 1;
  }
  for (const bar of bars) bar.gap = gaps.some((gap) => gap.from < bar.to && gap.to >= bar.from);
  return { widthMs, slots, totals, counted: changes.length, bars };
}

/** Round whole numbers from 0 to the first that is not below `most`; six at most. */
export function ticks(most) {
  let step = 1;
  while (most > step * 5) step = String(step).startsWith("2") ? (step * 5) / 2 : step * 2;
  return Array.from({ length: Math.max(1, Math.ceil(most / step)) + 1 }, (_, at) => at * step);
}
