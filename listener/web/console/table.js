// The live table: of any number of rows only those that can be seen are in the document.
import { make } from "./dom.js";
import { timeOf, zone } from "./format.js";
import { agentsText, changeMark, chatLink, gapText, values } from "./grid.js";

const BEYOND = 8; // rows that are drawn above and below what can be seen
const COLUMNS = ["time", "chat", "key", "change", "code", "agents", "account", "origin"];
const LABELS = ["Time", "Chat", "Key", "Change", "Previous → disposition", "Agents", "Account", "Origin"];

/**
 * @param scroller what scrolls.
 * @param table an empty `table` in it.
 */
export class LiveTable {
  #scroller;
  #table;
  #body = make("tbody", { role: "rowgroup" });
  #above = spacer();
  #below = spacer();
  #probe = make("div", { class: "row-height", "aria-hidden": "true" });
  #rows = [];
  #drawn = new Map();
  #current = null;
  #several = null;

  constructor(scroller, table) {
    this.#scroller = scroller;
    this.#table = table;
    const heads = COLUMNS.map((name, at) =>
      make("th", { scope: "col", role: "columnheader", class: name }, LABELS[at]),
    );
    heads[0].append(make("span", { class: "zone" }, ` ${zone()}`));
    table.setAttribute("role", "table");
    table.append(
      make("thead", { role: "rowgroup" }, make("tr", { role: "row", "aria-rowindex": "1" }, ...heads)),
      this.#body,
    );
    scroller.append(this.#probe);
    scroller.addEventListener("scroll", () => this.#draw(), { passive: true });
    scroller.addEventListener("keydown", (event) => this.#steer(event));
    this.#body.addEventListener("focusin", (event) => this.#choose(event.target.closest("tr")));
    new ResizeObserver(() => this.#draw()).observe(scroller);
  }

  /** Show these rows, the first one at the top. */
  show(rows) {
    this.#rows = rows;
    this.#tellKeys(new Set(rows.map((row) => row.key).filter(Boolean)).size > 1);
    this.#table.setAttribute("aria-rowcount", rows.length + 1);
    this.#draw();
  }

  /** The column of keys is there where there are several; a gap spans what lies between its time and its account. */
  #tellKeys(several) {
    if (this.#several === several) return;
    this.#several = several;
    this.#table.classList.toggle("one-key", !several);
    for (const element of this.#drawn.values()) element.remove();
    this.#drawn.clear();
  }

  /** Whether somebody is in the middle of it, so that the rows must not move away. */
  get isBusy() {
    return this.#scroller.scrollTop > 4 || this.#body.contains(document.activeElement);
  }

  /** Back to the newest row. */
  toTop() {
    this.#scroller.scrollTop = 0;
    this.#current = null;
    this.#scroller.focus({ preventScroll: true });
    this.#draw();
  }

  /** Put the focus on the row of this sequence, or on the table where it is not drawn any more. */
  focus(seq) {
    const target = this.#drawn.get(seq)?.querySelector("[data-target]");
    (target ?? this.#scroller).focus({ preventScroll: Boolean(target) });
  }

  get #height() {
    return this.#probe.getBoundingClientRect().height || 32;
  }

  #draw() {
    const height = this.#height;
    const { scrollTop, clientHeight } = this.#scroller;
    const end = Math.min(this.#rows.length, Math.ceil((scrollTop + clientHeight) / height) + BEYOND);
    const start = Math.max(0, Math.min(end, Math.floor(scrollTop / height) - BEYOND));
    this.#above.style.height = `${start * height}px`;
    this.#below.style.height = `${(this.#rows.length - end) * height}px`;
    this.#put(this.#rows.slice(start, end), start);
    this.#rove(this.#rows.slice(start, end)); // asks for places: only now the whole has its height again
  }

  #put(rows, start) {
    const wanted = new Set(rows.map((row) => row.seq));
    const hadFocus = this.#body.contains(document.activeElement);
    for (const [seq, element] of this.#drawn) {
      if (wanted.has(seq)) continue;
      element.remove();
      this.#drawn.delete(seq);
    }
    if (!this.#above.isConnected) this.#body.append(this.#above, this.#below);
    let before = this.#above.nextSibling;
    rows.forEach((row, at) => {
      const element = this.#drawn.get(row.seq) ?? this.#add(row);
      if (element === before) before = before.nextSibling;
      else this.#body.insertBefore(element, before);
      element.setAttribute("aria-rowindex", start + at + 2);
    });
    if (hadFocus && !this.#body.contains(document.activeElement)) this.#scroller.focus({ preventScroll: true });
  }

  #add(row) {
    const element = row.kind === "gap" ? gapRow(row, this.#several ? 5 : 4) : dispositionRow(row);
    element.dataset.seq = row.seq;
    this.#drawn.set(row.seq, element);
    return element;
  }

  /** One row at a time can be reached with Tab; from there the arrows lead on. */
  #rove(rows) {
    const there = rows.some((row) => row.seq === this.#current);
    const current = there ? this.#current : rows[Math.min(rows.length - 1, this.#firstSeen(rows))]?.seq;
    for (const [seq, element] of this.#drawn) {
      element.querySelector("[data-target]").tabIndex = seq === current ? 0 : -1;
    }
  }

  #firstSeen(rows) {
    const first = Math.ceil(this.#scroller.scrollTop / this.#height);
    return Math.max(0, first - this.#rows.indexOf(rows[0]));
  }

  #choose(row) {
    if (!row) return;
    this.#current = Number(row.dataset.seq);
    for (const [seq, element] of this.#drawn) {
      element.querySelector("[data-target]").tabIndex = seq === this.#current ? 0 : -1;
    }
  }

  #steer(event) {
    if (!this.#body.contains(event.target) || event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(this.#scroller.clientHeight / this.#height) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const at = this.#rows.findIndex((row) => row.seq === this.#current);
    const to = Math.max(0, Math.min(this.#rows.length - 1, at + steps[event.key]));
    this.#bringIntoView(to);
    this.focus(this.#rows[to].seq);
  }

  #bringIntoView(at) {
    const height = this.#height;
    const head = this.#table.tHead.offsetHeight;
    const { scrollTop, clientHeight } = this.#scroller;
    const top = at * height;
    if (top < scrollTop) this.#scroller.scrollTop = top;
    else if (top + height + head > scrollTop + clientHeight)
      this.#scroller.scrollTop = top + height + head - clientHeight;
    this.#draw();
  }
}

const spacer = () => make("tr", { class: "spacer", role: "presentation", "aria-hidden": "true" });

function cell(name, title, ...children) {
  const at = COLUMNS.indexOf(name);
  return make("td", { role: "cell", class: name, "data-label": LABELS[at], title }, ...children);
}

function dispositionRow(row) {
  const [before, after] = [row.previous, row.code].map((code) => code ?? "none");
  return make(
    "tr",
    { role: "row", class: row.change },
    cell("time", null, timeOf(row.at)),
    cell("chat", null, chatLink(row.chat, { "data-target": "" })),
    cell("key", row.key, row.key),
    cell("change", null, changeMark(row.change)),
    cell("code", `${before} → ${after}`, ...values(row)),
    cell("agents", agentsText(row), agentsText(row)),
    cell("account", row.account, row.account),
    cell("origin", null, make("span", { class: row.origin }, row.origin)),
  );
}

function gapRow(gap, columns) {
  const words = gapText(gap);
  const target = make("strong", { "data-target": "", tabindex: "-1" }, "Gap");
  return make(
    "tr",
    { role: "row", class: "gap" },
    cell("time", null, timeOf(gap.at)),
    make("td", { role: "cell", class: "gap", colspan: columns, title: words }, target, ` ${words}`),
    cell("account", gap.account, gap.account),
    cell("origin"),
  );
}
