// Looking further back than the rows that are loaded, page by page.
import { get } from "./api.js";
import { rowOf } from "./events.js";
import { matcher, query } from "./filters.js";

const ENOUGH = 100;

/**
 * One search: `run` goes on until a hundred more are found, the journal's beginning is reached, or `stop`.
 *
 * Attributes: `filter`; `rows` found so far, newest first; `through`, how far it has looked, in epoch milliseconds,
 * null before the first answer; `ended`, whether the beginning was reached; `running`.
 */
export class Search {
  rows = [];
  through = null;
  ended = false;
  running = false;
  #before = null;
  #signal = null;
  #onProgress;

  constructor(filter, onProgress) {
    this.filter = filter;
    this.#onProgress = onProgress;
  }

  async run() {
    const wanted = this.rows.length + ENOUGH;
    const fits = matcher({ ...this.filter, chat: "" }); // of chats the journal has compared the whole id
    this.#signal = new AbortController();
    const { signal } = this.#signal;
    this.running = true;
    this.#onProgress();
    try {
      while (!this.ended && this.rows.length < wanted && !signal.aborted) {
        const answer = await get(
          "/events.json",
          { ...query(this.filter), before: this.#before, limit: ENOUGH },
          signal,
        );
        if (signal.aborted) return;
        this.rows.push(...answer.events.map(rowOf).filter(fits));
        this.#before = answer.before;
        this.ended = answer.before === null;
        this.through = answer.searchedThrough ? Date.parse(answer.searchedThrough) : this.through;
        this.#onProgress();
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      this.running = false;
      this.#onProgress();
    }
  }

  stop() {
    this.#signal?.abort();
  }
}
