// Dead letters: what sinks refused for good, and another attempt for them.
import { get, post } from "./api.js";
import { by, make, setText, show } from "./dom.js";
import { count, counted, setTime } from "./format.js";
import { chatLink, Grid, value } from "./grid.js";

const PAGE = 100;

export class Letters {
  #actions;
  #grid;
  #letters = [];
  #pages = 1;
  #known = "";
  #asking = false;
  #again = false;

  constructor(actions) {
    this.#actions = actions;
    this.#grid = new Grid(by("letters-table"), this.#columns(), keyOf);
    by("letters-more").addEventListener("click", () => {
      this.#pages += 1;
      this.load();
    });
  }

  /** Ask for the letters where the status says that there are others, or some are under way. */
  noteStatus({ deadLetters }) {
    const known = JSON.stringify(deadLetters);
    if (known === this.#known && !this.#letters.some((one) => one.replaying)) return;
    this.#known = known;
    this.load();
  }

  /** Ask for the letters now. */
  async load() {
    this.#again = true;
    if (this.#asking) return;
    this.#asking = true;
    try {
      while (this.#again) {
        this.#again = false;
        await this.#ask();
      }
    } catch {
      this.#known = ""; // the next status leads here again
    } finally {
      this.#asking = false;
    }
  }

  async #ask() {
    const letters = [];
    let more = true;
    for (let page = 0; page < this.#pages && more; page += 1) {
      const answer = await get("/dead-letters.json", { limit: PAGE, after: letters.at(-1)?.sequence });
      letters.push(...answer.letters);
      more = answer.more;
    }
    this.#letters = letters;
    show(by("letters-more"), more);
    this.refresh();
  }

  /** Draw what is known. */
  refresh() {
    const { reason } = this.#actions;
    const sinks = [...new Set(this.#letters.map((one) => one.sink))];
    show(by("letters-none"), !this.#letters.length);
    show(by("letters-table"), this.#letters.length > 0);
    this.#actions.tell(by("letters-no-actions"), this.#letters.length > 0);
    this.#grid.update(this.#letters, (one) => (one.replaying ? "replaying" : ""));
    const there = [...by("letters-all").children];
    for (const button of there) {
      if (!sinks.includes(button.dataset.sink)) button.remove();
    }
    for (const sink of sinks) {
      if (there.some((button) => button.dataset.sink === sink)) continue;
      const ask = () => this.#replay({ sink });
      by("letters-all").append(
        make("button", { type: "button", "data-sink": sink, onclick: ask }, `Replay all of ${sink}`),
      );
    }
    for (const button of by("letters-all").children) button.disabled = reason !== null;
  }

  async #replay(which) {
    const outcome = by("letters-outcome");
    try {
      const { letters } = await post("/dead-letters/replay", which);
      setText(outcome, `${counted(letters, "letter")} of ${which.sink} will be delivered again.`);
      await this.load();
    } catch (error) {
      setText(outcome, this.#actions.failed(error));
    }
  }

  #columns() {
    return [
      { label: "Since", class: "time", draw: (cell, one) => setTime(cell, Date.parse(one.at)) },
      { label: "Sink", class: "lead", text: (one) => one.sink },
      { label: "Chat", class: "chat", draw: drawChat },
      { label: "Disposition", class: "code", draw: drawCode },
      { label: "Reason", class: "long", text: (one) => one.reason },
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
    button.disabled = letter.replaying || this.#actions.reason !== null;
  }
}

const keyOf = (letter) => `${letter.sequence} ${letter.sink}`;

function drawChat(cell, letter) {
  if (!cell.firstChild) cell.append(letter.chatId ? chatLink(letter.chatId) : "–");
}

function drawCode(cell, letter) {
  if (!cell.firstChild) cell.append(letter.chatId ? value(letter.disposition) : "a gap");
}
