// Which rows are meant, and looking further back than those that are loaded, page by page.
import { get } from "./api.js";
import { rowOf } from "./events.js";

/** What the form asks for: `{chat, agent, code, changesOnly}`, texts without the blanks around them. */
export function read(form) {
  const text = (name) => form.querySelector(`#filter-${name}`).value.trim();
  return {
    chat: text("chat"),
    agent: text("agent"),
    code: text("code"),
    changesOnly: form.querySelector("#filter-changes").checked,
  };
}

/** Whether a text fits: a pattern with `*` and `?` as a whole, anything else as a part. Case does not matter. */
function fits(wanted) {
  if (!wanted) return () => true;
  if (/[*?]/.test(wanted)) {
    const escaped = wanted
      .replace(/[.+^${}()|[\]\\]/g, "\\$&")
      .replaceAll("*", ".*")
      .replaceAll("?", ".");
    const pattern = new RegExp(`^${escaped}$`, "isu");
    return (text) => pattern.test(text ?? "");
  }
  const part = wanted.toLowerCase();
  return (text) => (text ?? "").toLowerCase().includes(part);
}

/** A predicate on rows. A gap has neither chat nor code: where one is asked for, none fits. */
export function matcher({ chat, agent, code, changesOnly }) {
  const [fitsChat, fitsAgent, fitsCode] = [chat, agent, code].map(fits);
  return (row) => {
    if (row.kind === "gap") return !chat && !code && fitsAgent(row.account);
    if (changesOnly && row.change === "unchanged") return false;
    if (!fitsChat(row.chat)) return false;
    if (agent && !fitsAgent(row.account) && !row.agents.some(fitsAgent)) return false;
    return !code || fitsCode(row.code) || fitsCode(row.previous);
  };
}

/** Whether the form asks for anything at all. */
export const isEmpty = (filter) => !filter.chat && !filter.agent && !filter.code;

/** The same question to the journal, whose patterns have `[` beside `*` and `?`; of a chat it wants the whole id. */
function query({ chat, agent, code }) {
  return { chat, agent: pattern(agent), disposition: pattern(code) };
}

function pattern(text) {
  const escaped = text.replaceAll("[", "[[]");
  return !text || /[*?]/.test(text) ? escaped : `*${escaped}*`;
}

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
