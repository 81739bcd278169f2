// Stacked bars of codes over time, in SVG, with a legend and as a table.
import { distribution, OTHER, SERIES, ticks } from "./buckets.js";
import { draw, make, setText } from "./dom.js";
import { clock, count, counted, duration, minute } from "./format.js";

const HEIGHT = 190;
const [LEFT, RIGHT, TOP, FOOT] = [44, 8, 10, 30];
const WIDEST_BAR = 56;
const LABEL_ROOM = 76;

// What tells the series apart without colour, over the colour, on a tile of 8 by 8.
const HATCHES = [
  "",
  "M-2,2 l4,-4 M0,8 l8,-8 M6,10 l4,-4",
  "M0,4 h8",
  "M2,2 h2 v2 h-2 z M6,6 h2 v2 h-2 z",
  "M-2,6 l4,4 M0,0 l8,8 M6,-2 l4,4",
  "M4,0 v8",
  "M0,4 h8 M4,0 v8",
];

/** Draws into `figure`, `legend`, and, while `details` is open, into `table`; `range` says what is counted. */
export class Chart {
  #parts;
  #slots = [];
  #shown = null;

  constructor(parts) {
    this.#parts = parts;
    parts.details.addEventListener("toggle", () => this.#tabulate());
    new ResizeObserver(() => this.#shown && this.#draw()).observe(parts.figure);
  }

  /** Show the distribution of these rows, oldest first. */
  show(rows) {
    this.#shown = distribution(rows, this.#slots);
    this.#slots = this.#shown.slots;
    setText(this.#parts.range, rangeOf(rows, this.#shown));
    this.#draw();
    this.#tabulate();
  }

  /** `[slot, name, total]` of what is there, named codes in the order of their totals. */
  #series() {
    const { slots, totals, counted: all } = this.#shown;
    const named = slots.flatMap((code, slot) => (code === null ? [] : [[slot, code, totals.get(code)]]));
    named.sort((a, b) => b[2] - a[2]);
    const rest = all - named.reduce((sum, one) => sum + one[2], 0);
    return rest ? [...named, [SERIES, OTHER, rest]] : named;
  }

  #draw() {
    const width = Math.max(240, Math.floor(this.#parts.figure.clientWidth));
    const series = this.#series();
    const title = draw("title", { id: "chart-title" }, "Codes over time");
    const told = draw("desc", { id: "chart-told" }, this.#told(series));
    const attributes = { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img" };
    const svg = draw("svg", { ...attributes, "aria-labelledby": "chart-title chart-told" }, title, told, hatches());
    svg.append(...this.#scale(width), ...this.#bars(width, series));
    this.#parts.figure.replaceChildren(svg);
    this.#parts.legend.replaceChildren(...series.map(legendItem), ...(this.#hasGaps ? [gapItem()] : []));
  }

  get #hasGaps() {
    return this.#shown.bars.some((bar) => bar.gap);
  }

  #told(series) {
    if (!series.length) return "No changes are loaded.";
    const { bars, widthMs } = this.#shown;
    const span = `from ${clock(bars[0].from)} to ${clock(bars.at(-1).to)}`;
    const sums = series.map(([, name, total]) => `${name} ${count(total)}`).join(", ");
    return `Stacked bars, one for each ${duration(widthMs / 1000)}, ${span}: ${sums}.`;
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

  #bars(width, series) {
    const { bars } = this.#shown;
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
      if (at % every === 0) parts.push(label(bar, { x: middle, y: HEIGHT - 6, widthMs: this.#shown.widthMs, width }));
      return parts;
    });
  }

  #tabulate() {
    if (!this.#parts.details.open || !this.#shown) return;
    const series = this.#series();
    const heads = ["From", ...series.map(([, name]) => name), "All"];
    const head = make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text))));
    const rows = this.#shown.bars
      .filter((bar) => bar.sum || bar.gap)
      .map((bar) => {
        const cells = [...series.map(([slot]) => bar.counts[slot]), bar.sum];
        const from = `${clock(bar.from)}${bar.gap ? " (gap)" : ""}`;
        return make(
          "tr",
          {},
          make("th", { scope: "row" }, from),
          ...cells.map((one) => make("td", { class: "n" }, count(one))),
        );
      });
    const caption = make("caption", {}, `Changes for each ${duration(this.#shown.widthMs / 1000)}`);
    this.#parts.table.replaceChildren(caption, head, make("tbody", {}, ...rows));
  }
}

function rangeOf(rows, { counted: changes, widthMs }) {
  if (!rows.length) return "No rows are loaded";
  const span = `${clock(rows[0].at)} to ${clock(rows.at(-1).at)}`;
  const bars = widthMs ? `, a bar for each ${duration(widthMs / 1000)}` : "";
  return `${counted(changes, "change")} among ${counted(rows.length, "loaded row")}, ${span}${bars}`;
}

function hatches() {
  const patterns = HATCHES.map((path, slot) => {
    const tile = [draw("rect", { class: `ink${slot}`, width: 8, height: 8 })];
    if (path) tile.push(draw("path", { class: "hatch", d: path }));
    return draw("pattern", { id: `hatch${slot}`, width: 8, height: 8, patternUnits: "userSpaceOnUse" }, ...tile);
  });
  return draw("defs", {}, ...patterns);
}

function stack(bar, series, { x, bottom, thick, perEvent }) {
  let y = bottom;
  return series
    .filter(([slot]) => bar.counts[slot])
    .map(([slot, name]) => {
      const height = bar.counts[slot] * perEvent;
      y -= height;
      const seam = height > 3 ? 1 : 0;
      const told = draw("title", {}, `${clock(bar.from)}, ${name}: ${count(bar.counts[slot])}`);
      return draw("rect", { x, y: y + seam, width: thick, height: height - seam, fill: `url(#hatch${slot})` }, told);
    });
}

function gapMark(bar, place) {
  const told = draw("title", {}, `${clock(bar.from)}: a gap, in which a disposition may have been missed`);
  return draw("rect", { class: "gap-mark", height: 5, ...place }, told);
}

function label(bar, { x, y, widthMs, width }) {
  const text = widthMs < 60_000 ? clock(bar.from) : minute(bar.from);
  const fits = x + text.length * 3.5 < width - RIGHT;
  return draw(
    "text",
    {
      class: "says",
      x: fits ? Math.max(x, text.length * 3.5) : width - RIGHT,
      y,
      "text-anchor": fits ? "middle" : "end",
    },
    text,
  );
}

function legendItem([slot, name, total]) {
  const swatch = draw("rect", { width: 14, height: 14, fill: `url(#hatch${slot})` });
  const key = draw("svg", { width: 14, height: 14, "aria-hidden": "true" }, swatch);
  return make("li", {}, key, make("span", { class: "name" }, name), " ", make("span", { class: "n" }, count(total)));
}

function gapItem() {
  const key = draw(
    "svg",
    { width: 14, height: 14, "aria-hidden": "true" },
    draw("rect", { class: "gap-mark", y: 5, width: 14, height: 5 }),
  );
  return make("li", {}, key, make("span", {}, "a gap lies here"));
}
