// How the parts of a row are shown, wherever rows are.
import { make } from "./dom.js";
import { reasonOf } from "./events.js";
import { clock, duration } from "./format.js";

/** A link to the history of a chat. */
export function chatLink(chat, properties = {}) {
  const href = `#chat=${encodeURIComponent(chat)}`;
  return make("a", { href, class: "id", title: `History of chat ${chat}`, ...properties }, chat);
}

/** What happened to the value, as a word with a shape of its own. */
export const changeMark = (change) => make("span", { class: `change ${change}` }, change);

/** A disposition's value; where there is none, a word that cannot be taken for one. */
export function value(code) {
  return code === null || code === undefined ? make("span", { class: "none" }, "none") : make("b", {}, code);
}

/** `previous → value`. */
export function values(row) {
  return [
    make("span", { class: "previous" }, value(row.previous)),
    " ",
    make("span", { role: "img", "aria-label": "became" }, "→"),
    " ",
    value(row.code),
  ];
}

/** A gap in one sentence. */
export function gapText(gap) {
  const length = duration((gap.to - gap.from) / 1000);
  return `${length} without certainty, ${clock(gap.from)} to ${clock(gap.to)}: ${reasonOf(gap)}`;
}

/** The names of the agents in a chat. */
export const agentsText = (row) => row.agents.join(", ");
