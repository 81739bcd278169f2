// Stacked bars of codes over time, in SVG, with a legend and as a table; which bar a change belongs to.
import { assign, paint, patterns, swatch } from "./codes.js";
import { draw, make, setText } from "./dom.js";
import { isChange } from "./events.js";
import { clock, count, counted, duration, minute } from "./format.js";

const SERIES = 6;
const OTHER = "other";
const CLEARED = "(cleared)";
const MOST_BARS = 48;
const WIDTHS_S = [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 10800, 21600, 43200, 86400, 604800];

/** What a change counts as. */
const nameOf = (row) => row.code ?? CLEARED;

/** Seconds that a bar holds, for a stretch of so many milliseconds. */
function widthOf(ms) {
  return (
    WIDTHS_S.find((width) => ms / 1000 / width < MOST_BARS - 1) ?? Math.ceil(ms / 1000 / MOST_BARS / 604800) * 604800
  );
}

/** `[code, count]` of each code, the most frequent ones first. */
function totalsOf(changes) {
  const totals = new Map();
  for (const row of changes) totals.set(nameOf(row), (totals.get(nameOf(row)) ?? 0) + 1);
  return [...totals].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
}

/**
 * `{widthMs, series, counted, bars}`. `series` is `[code, count]` of the six most frequent codes and, where there are
 * more, of all others together, whose code is null; a bar is `{from, to, counts, sum, gap}` with a count for each of
 * them. Bars begin at round times of the viewer's zone. Only changes count; gaps mark the bars that they touch.
 */
export function distribution(rows) {
  const changes = rows.filter(isChange);
  const gaps = rows.filter((row) => row.kind === "gap");
  const totals = totalsOf(changes);
  const series = totals.slice(0, SERIES);
  const rest = totals.slice(SERIES).reduce((sum, [, total]) => sum + total, 0);
  if (rest) series.push([null, rest]);
  if (!changes.length) return { widthMs: 0, series, counted: 0, bars: [] };
  const times = changes.map((row) => row.at);
  const [first, last] = [times.reduce((a, b) => Math.min(a, b)), times.reduce((a, b) => Math.max(a, b))];
  const widthMs = widthOf(last - first) * 1000;
  const shift = new Date(first).getTimezoneOffset() * 60_000;
  const origin = Math.floor((first - shift) / widthMs) * widthMs + shift;
  const bars = Array.from({ length: Math.floor((last - origin) / widthMs) + 1 }, (_, at) => {
    const from = origin + at * widthMs;
    return { from, to: from + widthMs, counts: Array(series.length).fill(0), sum: 0, gap: false };
  });
  const place = new Map(series.map(([code], at) => [code, at]));
  for (const row of changes) {
    const bar = bars[Math.floor((row.at - origin) / widthMs)];
    bar.counts[place.get(nameOf(row)) ?? SERIES] += 1;
    bar.sum += 1;
  }
  for (const bar of bars) bar.gap = gaps.some((gap) => gap.from < bar.to && gap.to >= bar.from);
  return { widthMs, series, counted: changes.length, bars };
}

/** Round whole numbers from 0 to the first that is not below `most`; six at most. */
function ticks(most) {
  let step = 1;
  while (most > step * 5) step = String(step).startsWith("2") ? (step * 5) / 2 : step * 2;
  return Array.from({ length: Math.max(1, Math.ceil(most / step)) + 1 }, (_, at) => at * step);
}

const HEIGHT = 190;
const [LEFT, RIGHT, TOP, FOOT] = [44, 8, 10, 30];
const WIDEST_BAR = 56;
const LABEL_ROOM = 76;

/** Draws into `figure`, `legend`, and, while `details` is open, into `table`; `range` says what is counted. */
export class Chart {
  #parts;
  #shown = null;

  constructor(parts) {
    this.#parts = parts;
    parts.details.addEventListener("toggle", () => this.#tabulate());
    new ResizeObserver(() => this.#shown && this.#draw()).observe(parts.figure);
  }

  /** Show the distribution of these rows, oldest first. */
  show(rows) {
    this.#shown = distribution(rows);
    assign(this.#shown.series.flatMap(([code]) => code ?? []));
    setText(this.#parts.range, rangeOf(rows, this.#shown));
    this.#draw();
    this.#tabulate();
  }

  #draw() {
    const width = Math.max(240, Math.floor(this.#parts.figure.clientWidth));
    const { series, bars } = this.#shown;
    const title = draw("title", { id: "chart-title" }, "Codes over time");
    const told = draw("desc", { id: "chart-status" }, this.#told());
    const attributes = { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img" };
    const defs = patterns(series.map(([code]) => code));
    const svg = draw("svg", { ...attributes, "aria-labelledby": "chart-title chart-status" }, title, told, defs);
    svg.append(...this.#scale(width), ...this.#bars(width));
    this.#parts.figure.replaceChildren(svg);
    const gap = bars.some((bar) => bar.gap) ? [gapItem()] : [];
    this.#parts.legend.replaceChildren(...series.map(legendItem), ...gap);
  }

  #told() {
    const { series, bars, widthMs } = this.#shown;
    if (!series.length) return "No changes are loaded.";
    const span = `from ${clock(bars[0].from)} to ${clock(bars.at(-1).to)}`;
    const sums = series.map(([code, total]) => `${code ?? OTHER} ${count(total)}`).join(", ");
    return `Stacked bars, one per ${duration(widthMs / 1000)}, ${span}: ${sums}.`;
  }

  get #top() {
    return ticks(this.#shown.bars.reduce((most, bar) => Math.max(most, bar.sum), 0));
  }

  #scale(width) {
    const steps = this.#top;
    const plot = HEIGHT - TOP - FOOT;
    return steps.flatMap((step) => {
      const y = TOP + plot * (1 - step / steps.at(-1));
      const line = draw("line", { class: "rule", x1: LEFT, x2: width - RIGHT, y1: y, y2: y });
      return [line, draw("text", { class: "says", x: LEFT - 8, y: y + 4, "text-anchor": "end" }, count(step))];
    });
  }

  #bars(width) {
    const { bars, series, widthMs } = this.#shown;
    const bottom = HEIGHT - FOOT;
    if (!bars.length) {
      const middle = { x: (LEFT + width) / 2, y: HEIGHT / 2, "text-anchor": "middle" };
      return [draw("text", { class: "says", ...middle }, "no changes are loaded")];
    }
    const room = (width - LEFT - RIGHT) / bars.length;
    const thick = Math.min(room * 0.8, WIDEST_BAR);
    const perEvent = (bottom - TOP) / this.#top.at(-1);
    const every = Math.ceil(LABEL_ROOM / room);
    return bars.flatMap((bar, at) => {
      const middle = LEFT + room * (at + 0.5);
      const parts = stack(bar, series, { x: middle - thick / 2, bottom, thick, perEvent });
      if (bar.gap) parts.push(gapMark(bar, { x: middle - room / 2, y: bottom + 2, width: room }));
      if (at % every === 0) parts.push(label(bar, { x: middle, y: HEIGHT - 6, widthMs, width }));
      return parts;
    });
  }

  #tabulate() {
    if (!this.#parts.details.open || !this.#shown) return;
    const { series, bars, widthMs } = this.#shown;
    const heads = ["From", ...series.map(([code]) => code ?? OTHER), "All"];
    const head = make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text))));
    const rows = bars
      .filter((bar) => bar.sum || bar.gap)
      .map((bar) => {
        const from = `${clock(bar.from)}${bar.gap ? " (gap)" : ""}`;
        const cells = [...bar.counts, bar.sum].map((one) => make("td", { class: "n" }, count(one)));
        return make("tr", {}, make("th", { scope: "row" }, from), ...cells);
      });
    const caption = make("caption", {}, `Changes per ${duration(widthMs / 1000)}`);
    this.#parts.table.replaceChildren(caption, head, make("tbody", {}, ...rows));
  }
}

function rangeOf(rows, { counted: changes, widthMs }) {
  if (!rows.length) return "No rows are loaded";
  const span = `${clock(rows[0].at)} to ${clock(rows.at(-1).at)}`;
  const bars = widthMs ? `, one bar per ${duration(widthMs / 1000)}` : "";
  return `${counted(changes, "change")} among ${counted(rows.length, "loaded row")}, ${span}${bars}`;
}

function stack(bar, series, { x, bottom, thick, perEvent }) {
  let y = bottom;
  return series.flatMap(([code], at) => {
    if (!bar.counts[at]) return [];
    const height = bar.counts[at] * perEvent;
    y -= height;
    const seam = height > 3 ? 1 : 0;
    const told = draw("title", {}, `${clock(bar.from)}, ${code ?? OTHER}: ${count(bar.counts[at])}`);
    return draw("rect", { x, y: y + seam, width: thick, height: height - seam, fill: paint(code) }, told);
  });
}

function gapMark(bar, place) {
  const told = draw("title", {}, `${clock(bar.from)}: a gap, a disposition may have been missed`);
  return draw("rect", { class: "gap-mark", height: 5, ...place }, told);
}

function label(bar, { x, y, widthMs, width }) {
  const text = widthMs < 60_000 ? clock(bar.from) : minute(bar.from);
  const fits = x + text.length * 3.5 < width - RIGHT;
  const at = fits ? Math.max(x, text.length * 3.5) : width - RIGHT;
  return draw("text", { class: "says", x: at, y, "text-anchor": fits ? "middle" : "end" }, text);
}

function legendItem([code, total]) {
  const name = make("span", { class: "name" }, code ?? OTHER);
  return make("li", {}, swatch(code), name, " ", make("span", { class: "n" }, count(total)));
}

const gapItem = () =>
  make("li", {}, make("span", { class: "swatch gap", "aria-hidden": "true" }), make("span", {}, "a gap"));
