// The last hour in one line: events a minute, the longest delay of each minute, and the gaps as marks below.
import { now } from "./clock.js";
import { by, draw, setText } from "./dom.js";
import { clock, count, counted, minute, took } from "./format.js";
import { address, moment } from "./route.js";

const HEIGHT = 106;
const [LEFT, RIGHT] = [92, 4];
const EVENTS = { name: "events", label: "Events", top: 4, bottom: 40 };
const DELAY = { name: "delayMs", label: "Delay", top: 46, bottom: 70 };
const GAPS = { top: 80, height: 6 };
const TIMES = 102;
const MOST_GAPS = 100; // that a summary tells of
const LABEL_ROOM = 56; // of a time below, every 15 or 30 minutes

export class Hour {
  #shown = null;
  #figure = by("hour");

  constructor() {
    new ResizeObserver(() => this.#draw()).observe(this.#figure);
    this.#figure.addEventListener("click", (event) => this.#follow(event));
  }

  /** Show `lastHour` of a summary, and the gaps that are open. */
  show(lastHour, openGaps) {
    const from = Date.parse(lastHour.since);
    const stepMs = lastHour.stepSeconds * 1000;
    const closed = lastHour.gaps.map((gap) => ({
      account: gap.account,
      from: Date.parse(gap.from),
      to: Date.parse(gap.to),
    }));
    const open = openGaps.newest.map((gap) => ({ account: gap.account, from: Date.parse(gap.since), to: null }));
    this.#shown = {
      ...lastHour,
      from,
      stepMs,
      to: from + stepMs * lastHour.events.length,
      marks: [...closed, ...open],
    };
    setText(by("hour-told"), told(this.#shown));
    this.#draw();
  }

  #draw() {
    if (this.#shown === null) return;
    const width = Math.max(240, Math.floor(this.#figure.clientWidth));
    const title = draw("title", { id: "hour-name" }, "The last hour, minute by minute");
    const attributes = { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img" };
    const svg = draw("svg", { ...attributes, "aria-labelledby": "hour-name", "aria-describedby": "hour-told" }, title);
    svg.append(...this.#unknown(width), ...this.#series(EVENTS, width), ...this.#series(DELAY, width));
    svg.append(...this.#gaps(width), ...this.#times(width));
    this.#figure.replaceChildren(svg);
  }

  #x(ms, width) {
    const { from, to } = this.#shown;
    return LEFT + ((Math.min(Math.max(ms, from), to) - from) / (to - from)) * (width - LEFT - RIGHT);
  }

  /** The stretch before the daemon was there. */
  #unknown(width) {
    const { events, from, stepMs } = this.#shown;
    const steps = events.findIndex((number) => number !== null);
    if (steps <= 0) return [];
    const place = {
      x: LEFT,
      y: EVENTS.top,
      width: this.#x(from + steps * stepMs, width) - LEFT,
      height: DELAY.bottom - EVENTS.top,
    };
    const name = place.width < 80 ? [] : [says(LEFT + 8, EVENTS.bottom - 12, "not known")];
    return [draw("rect", { class: "not-known", ...place }), ...name];
  }

  #series({ name, label, top, bottom }, width) {
    const numbers = this.#shown[name];
    const { from, stepMs } = this.#shown;
    const most = numbers.reduce((a, b) => Math.max(a, b ?? 0), 0);
    const thick = Math.max(1, ((width - LEFT - RIGHT) / numbers.length) * 0.75);
    const told = name === "events" ? (number) => counted(number, "event") : (number) => `delay ${took(number / 1000)}`;
    const bars = numbers.flatMap((number, at) => {
      if (!number) return [];
      const height = Math.max(1, (number / most) * (bottom - top));
      const place = { x: this.#x(from + at * stepMs, width), y: bottom - height, width: thick, height };
      const title = draw("title", {}, `${minute(from + at * stepMs)}: ${told(number)}`);
      return draw("rect", { class: `bar ${name}`, ...place }, title);
    });
    const line = draw("line", { class: "rule", x1: LEFT, x2: width - RIGHT, y1: bottom, y2: bottom });
    const amount = name === "events" ? count(most) : took(most / 1000);
    return [line, ...bars, says(0, bottom, label), says(LEFT - 8, top + 9, most ? amount : "", "end")];
  }

  #gaps(width) {
    const { marks } = this.#shown;
    const drawn = marks.map((gap) => {
      const x = this.#x(gap.from, width);
      const length = Math.max(2, this.#x(gap.to ?? now(), width) - x);
      const until = gap.to === null ? "open" : `to ${clock(gap.to)}`;
      const text = draw("title", {}, `Gap of ${gap.account}: ${clock(gap.from)} ${until}`);
      return draw("rect", { class: "gap-mark", x, y: GAPS.top, width: length, height: GAPS.height }, text);
    });
    return [says(0, GAPS.top + GAPS.height + 1, "Gaps"), ...drawn];
  }

  #times(width) {
    const { from, stepMs, events } = this.#shown;
    const every = (width - LEFT - RIGHT) / 4 < LABEL_ROOM ? 30 : 15;
    const texts = [];
    for (let at = (every - (new Date(from).getMinutes() % every)) % every; at < events.length; at += every) {
      const x = this.#x(from + at * stepMs, width);
      if (x < width - 34) texts.push(says(x, TIMES, minute(from + at * stepMs)));
    }
    return texts;
  }

  /** A minute leads to what was recorded in it. */
  #follow(event) {
    if (this.#shown === null) return;
    const { left, width } = this.#figure.getBoundingClientRect();
    const { from, to, stepMs } = this.#shown;
    const share = (event.clientX - left - LEFT) / (width - LEFT - RIGHT);
    if (share < 0 || share > 1) return;
    const begun = from + Math.floor(((to - from) * share) / stepMs) * stepMs;
    location.hash = address("events", null, { from: moment(begun), to: moment(begun + stepMs), journal: 1 });
  }
}

const says = (x, y, text, anchor = "start") => draw("text", { class: "says", x, y, "text-anchor": anchor }, text);

function told({ events, delayMs, from, stepMs, gaps, replica }) {
  const all = events.reduce((a, b) => a + (b ?? 0), 0);
  const most = events.reduce((a, b) => Math.max(a, b ?? 0), 0);
  const busiest = most
    ? `, ${most === all ? "all" : count(most)} of them at ${minute(from + events.indexOf(most) * stepMs)}`
    : "";
  const longest = delayMs.reduce((a, b) => Math.max(a, b ?? 0), 0);
  const slow = delayMs.some((one) => one !== null)
    ? `; at most ${took(longest / 1000)} from receipt to delivery, at ${minute(from + delayMs.indexOf(longest) * stepMs)}`
    : "";
  return `${replica ? `On ${replica}: ` : ""}${counted(all, "event")}${busiest}${slow}; ${counted(gaps.length, "gap")}${gaps.length >= MOST_GAPS ? " at least" : ""}.`;
}
