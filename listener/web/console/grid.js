// Small tables whose rows stay the same elements, and how the parts of a row are shown wherever rows are.
import { running } from "./clock.js";
import { swatch } from "./codes.js";
import { make, setText } from "./dom.js";
import { isPartial, reasonOf } from "./events.js";
import { clock, duration, timeOf } from "./format.js";
import { address } from "./route.js";

/** A link to the history of a chat. */
export function chatLink(chat, properties = {}) {
  const href = address("chats", chat);
  return make("a", { href, class: "id", title: `History of chat ${chat}`, ...properties }, chat);
}

/** Put these parts into a cell; nothing is drawn anew, and no focus is lost, while they say the same. */
export function fill(cell, ...parts) {
  const drawn = make("td", {}, ...parts);
  const same = [...cell.childNodes].map(still);
  if (same.length === drawn.childNodes.length && same.every((one, at) => one.isEqualNode(still(drawn.childNodes[at]))))
    return;
  cell.replaceChildren(...drawn.childNodes);
}

/** A node without what its clock shows at the moment. */
function still(node) {
  const copy = node.cloneNode(true);
  if (copy.dataset?.since) copy.textContent = "";
  return copy;
}

/** Since when, and how long that is by now. */
export const since = (ms) => (Number.isFinite(ms) ? [timeOf(ms), ", ", running(ms)] : []);

/** A column of links: `text` and `href` of an item. */
export const linkColumn = (label, style, text, href) => ({
  label,
  class: style,
  draw: (cell, item) => fill(cell, href(item) ? make("a", { href: href(item) }, text(item)) : text(item)),
});

/** What happened to the value, as a word with a shape of its own. */
export const changeMark = (change) => make("span", { class: `change ${change}` }, change);

/** A disposition's value; where there is none, a word that cannot be taken for one. */
export function value(code) {
  return code === null || code === undefined ? make("span", { class: "none" }, "none") : make("b", {}, code);
}

/** `previous → value`, the value with the colour that it has in the chart. */
export function values(row) {
  return [
    make("span", { class: "previous" }, value(row.previous)),
    " ",
    make("span", { role: "img", "aria-label": "became" }, "→"),
    " ",
    ...(row.code === null ? [] : [swatch(row.code)]),
    value(row.code),
  ];
}

/** A gap in one sentence. */
export function gapText(gap) {
  const length = duration((gap.to - gap.from) / 1000);
  const what = isPartial(gap) ? `not heard${gap.of ? ` (${gap.of})` : ""}` : "not subscribed";
  return `${length} ${what}, ${clock(gap.from)} to ${clock(gap.to)}: ${reasonOf(gap)}`;
}

/** The names of the agents in a chat. */
export const agentsText = (row) => row.agents.join(", ");

/**
 * A table of all its items.
 *
 * @param table an empty `table`.
 * @param columns `{label, class, text}` or `{label, class, draw}` each: `text` gives what a cell says of an item,
 *   `draw` gets the cell and the item, and again whenever the item may have changed.
 * @param key tells items apart.
 */
export class Grid {
  #body;
  #columns;
  #key;
  #rows = new Map();

  constructor(table, columns, key) {
    this.#columns = columns;
    this.#key = key;
    this.#body = make("tbody", { role: "rowgroup" });
    const heads = columns.map((one) => make("th", { scope: "col", role: "columnheader", class: one.class }, one.label));
    table.setAttribute("role", "table"); // on a phone its parts are blocks, which would take the meaning away
    table.replaceChildren(make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...heads)), this.#body);
  }

  /** Show these items, in this order. */
  update(items, classOf = () => "") {
    const kept = new Set(items.map(this.#key));
    for (const [key, row] of this.#rows) {
      if (kept.has(key)) continue;
      row.remove();
      this.#rows.delete(key);
    }
    let before = this.#body.firstChild;
    for (const item of items) {
      const row = this.#rows.get(this.#key(item)) ?? this.#add(item);
      if (row === before) before = before.nextSibling;
      else this.#body.insertBefore(row, before);
      row.className = classOf(item);
      this.#columns.forEach((column, at) => write(column, row.children[at], item));
    }
  }

  #add(item) {
    const cells = this.#columns.map((one) => make("td", { role: "cell", class: one.class, "data-label": one.label }));
    const row = make("tr", { role: "row" }, ...cells);
    this.#rows.set(this.#key(item), row);
    return row;
  }
}

function write(column, cell, item) {
  if (column.draw) column.draw(cell, item);
  else setText(cell, column.text(item));
  cell.classList.toggle("nothing", cell.textContent === "" && !cell.firstElementChild);
}
