// The history of one chat, in a dialogue over the view that is open: #/chats/ID.
import { failureOf, get } from "./api.js";
import { by, setTerms, setText, show } from "./dom.js";
import { rowOf } from "./events.js";
import { clock, counted, setTime } from "./format.js";
import { agentsText, changeMark, Grid, values } from "./grid.js";

const PAGE = 100;

export class History {
  #dialog = by("history");
  #grid = new Grid(by("history-table"), columns(), (row) => row.seq);
  #chat = null;
  #rows = [];
  #before = null;
  #through = null;
  #cut = null;
  #waiting = null; // rows that have come while the first page is asked for; null behind it
  #onClose;

  /** `onClose` gets the dialogue when it has closed. */
  constructor(onClose) {
    this.#onClose = onClose;
    by("history-close").addEventListener("click", () => this.#dialog.close());
    by("history-more").addEventListener("click", () => this.#look(PAGE));
    this.#dialog.addEventListener("close", () => this.#closed());
  }

  /** Show this chat; for null, none. */
  follow(chat) {
    if (chat === this.#chat) return;
    if (chat) this.#open(chat);
    else this.#dialog.close();
  }

  /** Rows that are new; those of the chat are added. */
  note(rows) {
    const more = rows.filter((row) => row.chat === this.#chat);
    if (this.#chat === null || !more.length) return;
    if (this.#waiting === null) this.#addNewer(more);
    else this.#waiting.push(...more);
  }

  #open(chat) {
    this.#cut?.abort();
    this.#chat = chat;
    this.#rows = [];
    this.#before = null;
    this.#through = null;
    this.#waiting = [];
    setText(by("history-title"), `Chat ${chat}`);
    this.#draw();
    if (!this.#dialog.open) this.#dialog.showModal();
    by("history-title").focus();
    this.#look(PAGE);
  }

  #closed() {
    this.#cut?.abort();
    this.#chat = null;
    this.#onClose(this.#dialog);
  }

  /** Look back until so many more are found, or the beginning is reached. */
  async #look(more) {
    this.#cut = new AbortController();
    const { signal } = this.#cut;
    const wanted = this.#rows.length + more;
    show(by("history-more"), false);
    try {
      do {
        this.#told(true);
        const query = { chat: this.#chat, before: this.#before, limit: PAGE };
        const answer = await get("/events.json", query, signal);
        if (signal.aborted) return;
        this.#before = answer.before;
        if (answer.searchedThrough) this.#through = Date.parse(answer.searchedThrough);
        this.#add(answer.events.map(rowOf));
        this.#addNewer(this.#waiting ?? []);
        this.#waiting = null;
      } while (this.#before !== null && this.#rows.length < wanted);
      this.#told(false);
      show(by("history-more"), this.#before !== null);
    } catch (error) {
      if (signal.aborted) return;
      setText(by("history-status"), failureOf(error));
      show(by("history-more"), true);
    }
  }

  #told(looking) {
    const far = this.#through === null ? "" : `, searched back to ${clock(this.#through)}`;
    const end = this.#before === null ? ", to the beginning of the journal" : far;
    setText(
      by("history-status"),
      looking ? `Searching${far} …` : `${counted(this.#rows.length, "disposition")}${end}.`,
    );
  }

  #add(older) {
    this.#rows.push(...older);
    this.#draw();
  }

  /** Rows in the order of the journal, of which some may be here. */
  #addNewer(rows) {
    const newest = this.#rows[0]?.seq ?? 0;
    this.#rows.unshift(...rows.filter((row) => row.seq > newest).reverse());
    this.#draw();
  }

  #draw() {
    const newest = new Map();
    for (const row of this.#rows) if (!newest.has(row.key)) newest.set(row.key, row);
    const terms = [...newest].map(([key, row]) => [key, row.code ?? "none", `since ${clock(row.at)}`]);
    setTerms(by("history-values"), terms);
    show(by("history-values"), terms.length > 0);
    show(by("history-table"), this.#rows.length > 0);
    this.#grid.update(this.#rows, (row) => row.change);
  }
}

function once(draw) {
  return (cell, row) => cell.firstChild || cell.append(...[draw(row)].flat());
}

function columns() {
  return [
    { label: "Time", class: "time", draw: (cell, row) => setTime(cell, row.at) },
    { label: "Key", class: "key", text: (row) => row.key },
    { label: "Change", class: "change", draw: once((row) => changeMark(row.change)) },
    { label: "Previous → disposition", class: "code", draw: once(values) },
    { label: "Agents", class: "agents", text: agentsText },
    { label: "Account", class: "account", text: (row) => row.account },
    { label: "Origin", class: "origin", text: (row) => row.origin },
  ];
}
