// The view of dead letters: what sinks refused for good, by sink and reason, each one of a group, and another attempt.
import { failureOf, get } from "./api.js";
import { by, make, pageSize, setText, show } from "./dom.js";
import { count, counted, setTime } from "./format.js";
import { chatLink, fill, Grid, linkColumn, value } from "./grid.js";
import { address } from "./route.js";

const LOOK = 500; // letters of a sink that are looked through at once

export class Letters {
  #actions;
  #query = null; // of the address; null while the view is closed
  #groups = new Grid(by("letters-groups"), groupColumns(), (one) => `${one.sink} ${one.reason}`);
  #grid;
  #letters = [];
  #found = []; // groups
  #known = "";
  #cut = new AbortController();

  constructor(actions) {
    this.#actions = actions;
    this.#grid = new Grid(by("letters-table"), this.#columns(), (one) => `${one.sequence} ${one.sink}`);
  }

  open({ query }) {
    this.#query = query;
    setText(by("letters-outcome"), "");
    this.load();
  }

  close() {
    this.#cut.abort();
    this.#query = null;
  }

  /** A summary has come: ask for the letters where there are others, or some are under way. */
  note({ deadLetters }) {
    const known = JSON.stringify(deadLetters);
    const isMoving = [...this.#found, ...this.#letters].some((one) => one.replaying);
    if (this.#query !== null && (known !== this.#known || isMoving)) this.load();
    this.#known = known;
  }

  /** Ask for the letters now. */
  async load() {
    this.#cut.abort();
    this.#cut = new AbortController();
    const { signal } = this.#cut;
    try {
      if (this.#query.has("reason")) await this.#lookForLetters(signal);
      else await this.#lookForGroups(signal);
    } catch (error) {
      if (signal.aborted) return;
      setText(by("letters-told"), failureOf(error));
      this.#known = ""; // the next summary leads here again
    }
  }

  async #lookForGroups(signal) {
    const { groups } = await get("/dead-letters/groups", {}, signal);
    if (signal.aborted) return;
    const sink = this.#query.get("sink");
    const found = groups.filter((one) => sink === null || one.sink === sink);
    const all = found.reduce((sum, one) => sum + one.count, 0);
    const first = Math.max(0, Number.parseInt(this.#query.get("after") ?? "0", 10) || 0);
    this.#found = found.slice(first, first + pageSize());
    this.#letters = [];
    setText(
      by("letters-told"),
      all ? `${counted(all, "dead letter")} in ${counted(found.length, "group")}` : "There are none.",
    );
    const next = first + this.#found.length;
    this.#turn(first > 0, next < found.length ? next : null);
  }

  /** A group's reason has `…` where its letters differ: they are looked for among those of the sink. */
  async #lookForLetters(signal) {
    const [sink, reason] = ["sink", "reason"].map((name) => this.#query.get(name));
    const isMeant = alike(reason);
    const wanted = pageSize();
    const found = [];
    let after = this.#query.get("after");
    for (let more = true; more && found.length <= wanted;) {
      const answer = await get("/dead-letters.json", { sink, after, limit: LOOK }, signal);
      found.push(...answer.letters.filter((one) => isMeant(one.reason)));
      ({ more } = answer);
      after = answer.letters.at(-1)?.sequence;
    }
    this.#letters = found.slice(0, wanted);
    this.#found = [];
    setText(by("letters-told"), `${sink}: ${reason}`);
    this.#turn(this.#query.has("after"), found.length > wanted ? this.#letters.at(-1).sequence : null);
  }

  /** What leads to other pages: back to the first, and behind the sequence or place `next`. */
  #turn(hasFirst, next) {
    const given = Object.fromEntries(this.#query);
    const link = (text, filters) => [make("a", { href: address("dead-letters", null, filters) }, text), " "];
    const groups = "reason" in given ? link("All groups", {}) : [];
    const first = hasFirst ? link("First page", { ...given, after: null }) : [];
    fill(
      by("letters-pages"),
      ...groups,
      ...first,
      ...(next === null ? [] : link("Next page", { ...given, after: next })),
    );
    this.refresh();
  }

  /** Draw what is known. */
  refresh() {
    if (this.#query === null) return;
    const isThere = this.#letters.length + this.#found.length > 0;
    this.#actions.tell(by("letters-no-actions"), isThere);
    show(by("letters-groups"), this.#found.length > 0);
    show(by("letters-table"), this.#letters.length > 0);
    this.#groups.update(this.#found);
    this.#grid.update(this.#letters, (one) => (one.replaying ? "replaying" : ""));
    fill(by("letters-all"), ...(this.#actions.reason === null ? this.#orders() : []));
  }

  /** What can be replayed at once: all of a sink, or the letters that are shown. */
  #orders() {
    const button = (text, which) => make("button", { type: "button", onclick: () => this.#replay(which()) }, text);
    const sinks = [...new Set(this.#found.map((one) => one.sink))];
    const shown = this.#waiting.length;
    return [
      ...sinks.map((sink) => button(`Replay all of ${sink}`, () => ({ sink }))),
      ...(shown > 1
        ? [button(`Replay these ${count(shown)}`, () => ({ event_ids: this.#waiting, sink: this.#letters[0].sink }))]
        : []),
    ];
  }

  /** The events of the letters that are shown and not under way. */
  get #waiting() {
    return this.#letters.filter((one) => !one.replaying).map((one) => one.eventId);
  }

  async #replay(which) {
    const told = ({ letters }) => `${counted(letters, "letter")} of ${which.sink} will be delivered again.`;
    await this.#actions.order(by("letters-outcome"), "/dead-letters/replay", which, told);
    await this.load();
  }

  #columns() {
    return [
      { label: "Since", class: "time", draw: (cell, one) => setTime(cell, Date.parse(one.at)) },
      { label: "Chat", class: "chat", draw: drawChat },
      { label: "Disposition", class: "code", draw: drawCode },
      { label: "Attempts", class: "n", text: (one) => count(one.attempts) },
      { label: "Action", class: "order", draw: (cell, one) => this.#button(cell, one) },
    ];
  }

  #button(cell, letter) {
    if (!cell.firstChild) {
      const ask = () => this.#replay({ event_ids: [letter.eventId], sink: letter.sink });
      const button = make("button", { type: "button", onclick: ask }, make("span", {}, "Replay"));
      button.append(make("span", { class: "unseen" }, ` event ${letter.sequence} to ${letter.sink}`));
      cell.append(button);
    }
    const button = cell.firstChild;
    setText(button.firstChild, letter.replaying ? "Under way" : "Replay");
    button.disabled = letter.replaying;
    show(button, this.#actions.reason === null);
  }
}

/** Whether a text is the one of a group: `…` in that stands for anything. */
function alike(reason) {
  const [head, ...parts] = reason.split("…");
  if (!parts.length) return (text) => text === head;
  const tail = parts.pop();
  return (text) => {
    let at = text.startsWith(head) ? head.length : Infinity;
    for (const part of parts) {
      const found = text.indexOf(part, at);
      at = found < 0 ? Infinity : found + part.length;
    }
    return text.endsWith(tail) && at <= text.length - tail.length;
  };
}

function groupColumns() {
  const href = ({ sink, reason }) => address("dead-letters", null, { sink, reason });
  return [
    linkColumn("Reason", "lead long", (one) => one.reason, href),
    linkColumn(
      "Sink",
      "sink",
      (one) => one.sink,
      (one) => address("sinks", one.sink),
    ),
    { label: "Letters", class: "n", text: (one) => count(one.count) },
    { label: "Under way", class: "n", text: (one) => (one.replaying ? count(one.replaying) : "") },
    { label: "First", class: "time", draw: (cell, one) => setTime(cell, Date.parse(one.firstAt)) },
    { label: "Last", class: "time", draw: (cell, one) => setTime(cell, Date.parse(one.lastAt)) },
    { label: "Events", class: "n", text: (one) => `${one.firstSequence} to ${one.lastSequence}` },
  ];
}

function drawChat(cell, letter) {
  if (!cell.firstChild) cell.append(letter.chatId ? chatLink(letter.chatId) : "–");
}

function drawCode(cell, letter) {
  if (!cell.firstChild) cell.append(letter.chatId ? value(letter.disposition) : "a gap");
}
