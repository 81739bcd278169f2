// Which rows are meant, and looking further back than those that are loaded, page by page.
import { get } from "./api.js";
import { fieldOf } from "./format.js";
import { moment, momentOf } from "./route.js";
import { rowOf } from "./events.js";

const TEXTS = ["chat", "agent", "code"];
const TIMES = ["from", "to"];

/**
 * What the form asks for: `{chat, agent, code, from, to, changesOnly}`, texts without the blanks around them, times in
 * epoch milliseconds, NaN for none.
 */
export function read(form) {
  const field = (name) => form.querySelector(`#filter-${name}`);
  return {
    ...Object.fromEntries(TEXTS.map((name) => [name, field(name).value.trim()])),
    ...Object.fromEntries(TIMES.map((name) => [name, Date.parse(field(name).value)])),
    changesOnly: field("changes").checked,
  };
}

/** Make the form ask for what the query of an address does. */
export function write(form, query) {
  for (const name of TEXTS) form.querySelector(`#filter-${name}`).value = query.get(name) ?? "";
  for (const name of TIMES) form.querySelector(`#filter-${name}`).value = fieldOf(momentOf(query, name));
  form.querySelector("#filter-changes").checked = !query.has("all");
}

/** Which sequences an address is about, `{first, last}`; NaN for no such bound. */
export const sequences = (query) =>
  Object.fromEntries(["first", "last"].map((name) => [name, Number.parseInt(query.get(name) ?? "", 10)]));

/** The same as filters of an address. */
export const filters = ({ chat, agent, code, from, to, changesOnly }) => ({
  chat,
  agent,
  code,
  from: moment(from),
  to: moment(to),
  all: changesOnly ? null : 1,
});

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

/**
 * A predicate on rows. A gap has neither chat nor code: where one is asked for, none fits. `from` belongs to a stretch
 * of time, `to` does not.
 */
export function matcher({ chat, agent, code, from, to, first, last, changesOnly }) {
  const [fitsChat, fitsAgent, fitsCode] = [chat, agent, code].map(fits);
  return (row) => {
    if (row.at < from || row.at >= to || row.seq < first || row.seq > last) return false;
    if (row.kind === "gap") return !chat && !code && fitsAgent(row.account);
    if (changesOnly && row.change === "unchanged") return false;
    if (!fitsChat(row.chat)) return false;
    if (agent && !fitsAgent(row.account) && !row.agents.some(fitsAgent)) return false;
    return !code || fitsCode(row.code) || fitsCode(row.previous);
  };
}

/** Whether the form asks for anything at all. */
export const isEmpty = ({ chat, agent, code, from, to, first, last }) =>
  !(chat || agent || code || from || to || first || last);

/** The same question to the journal, whose patterns have `[` beside `*` and `?`; of a chat it wants the whole id. */
function query({ chat, agent, code }) {
  return { chat, agent: pattern(agent), disposition: pattern(code) };
}

function pattern(text) {
  const escaped = text.replaceAll("[", "[[]");
  return !text || /[*?]/.test(text) ? escaped : `*${escaped}*`;
}

const ENOUGH = 100;
const SLACK_MS = 60_000; // an event's time is that of the server where it tells it, the journal's order that of receipt

/** Below which sequence lies all that was received before `ms`; undefined for all of the journal. Halves what is left. */
async function sequenceAt(ms, signal) {
  const look = async (before) => {
    const { events, searchedThrough } = await get("/events.json", { before, limit: 1 }, signal);
    return events.length ? { sequence: Number(events[0].sequence), at: Date.parse(searchedThrough) } : null;
  };
  const newest = await look();
  if (newest === null || newest.at < ms) return undefined;
  let [below, above] = [0, newest.sequence];
  while (above - below > 1) {
    const middle = Math.floor((below + above) / 2);
    const found = await look(middle);
    if (found !== null && found.at >= ms) above = found.sequence;
    else below = middle;
  }
  return above;
}

/**
 * One search: `run` goes on until a hundred more are found, the journal's beginning is reached, or `stop`.
 *
 * Attributes: `filter`; `rows` found so far, newest first; `through`, how far it has looked, in epoch milliseconds,
 * null before the first answer; `ended`, whether the beginning was reached; `isPast`, whether all that is asked for
 * lies behind; `running`.
 */
export class Search {
  rows = [];
  through = null;
  ended = false;
  isPast = false;
  running = false;
  #before = undefined;
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
      const { from, to, first, last } = this.filter;
      if (this.through === null && last) this.#before = last + 1;
      else if (this.through === null && to) this.#before = await sequenceAt(to + SLACK_MS, signal);
      while (!this.ended && !this.isPast && this.rows.length < wanted && !signal.aborted) {
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
        this.isPast = this.through < from - SLACK_MS || this.#before <= first;
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
