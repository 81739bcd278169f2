// The stream of events: its text taken apart (HTML Living Standard, 9.2.6), watched over, taken up where it broke off.
import { open, Refused, Unauthorized } from "./api.js";
import { CAPACITY, rowOf } from "./events.js";

class Parser {
  #rest = "";
  #event = "";
  #data = [];

  /** The messages that are complete with this text: `{event, data}` each, or `{retry}`. */
  feed(text) {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    return lines.flatMap((line) => this.#line(line.endsWith("\r") ? line.slice(0, -1) : line));
  }

  #line(line) {
    if (line === "") return this.#dispatch();
    if (line.startsWith(":")) return [];
    const [, field, value] = /^([^:]*):? ?(.*)$/su.exec(line);
    if (field === "event") this.#event = value;
    if (field === "data") this.#data.push(value);
    return field === "retry" && /^\d+$/.test(value) ? [{ retry: Number(value) }] : [];
  }

  #dispatch() {
    const message = { event: this.#event || "message", data: this.#data.join("\n") };
    const there = this.#data.length > 0;
    this.#event = "";
    this.#data = [];
    return there ? [message] : [];
  }
}

const SILENCE_MS = 25_000; // the daemon says something every 10 s
const RECENT = 1000;
const FIRST_PAUSE_MS = 250;

/**
 * Reads `/events` until it is stopped.
 *
 * @param last tells the newest sequence that is known, 0 for none.
 * @param onRows takes the rows of a message, oldest first.
 * @param onAnew is called where what is known is of no use: another journal, or too much has happened since.
 * @param onState takes `live`, `refused` with a reason, or `broken`; and `unauthorized`, which ends the reading.
 * @param onSign is called whenever something came from the daemon.
 */
export class Feed {
  #tell;
  #cut = new AbortController();
  #retryMs = 2000;
  #recent = RECENT;
  #round = null; // of reading; null while nothing is read

  constructor(tell) {
    this.#tell = tell;
  }

  /** Read, unless it is being read already. */
  async start() {
    if (this.#round !== null) return;
    const round = Symbol("round");
    this.#round = round;
    while (this.#round === round) {
      const lived = await this.#attempt(round);
      const pauseMs = (lived ? FIRST_PAUSE_MS : this.#retryMs) * (1 + Math.random() / 4);
      if (this.#round === round) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  /** Read no more, until it is started again. */
  stop() {
    this.#round = null;
    this.#cut.abort();
  }

  /** Whether a stream was there, now that it is not any more. */
  async #attempt(round) {
    let lived = false;
    const onLive = () => {
      lived = true;
      this.#tell.onState("live");
    };
    const error = await this.#read(onLive).catch((reason) => reason);
    if (this.#round !== round) return lived;
    if (error instanceof Unauthorized) this.#round = null;
    this.#tell.onState(stateOf(error), error);
    return lived;
  }

  async #read(onLive) {
    const cut = new AbortController();
    this.#cut = cut;
    let silence = this.#watch();
    try {
      const last = this.#tell.last();
      const query = last ? `after=${last}` : `recent=${this.#recent}`;
      const response = await open(`/events?${query}`, { signal: cut.signal });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new Parser();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(silence);
        silence = this.#watch();
        this.#tell.onSign();
        for (const message of parser.feed(value)) {
          if (message.event === "hello") onLive();
          if (!this.#take(message)) return;
        }
      }
    } finally {
      clearTimeout(silence);
      cut.abort(); // also where the reading ended by itself: the connection is let go
    }
  }

  #watch() {
    return setTimeout(() => this.#cut.abort(), SILENCE_MS);
  }

  /** Whether to read on. */
  #take({ event, data, retry }) {
    if (retry) this.#retryMs = retry;
    if (event === "events") this.#tell.onRows(JSON.parse(data).map(rowOf));
    return event !== "hello" || this.#greet(JSON.parse(data));
  }

  #greet({ reset, lastSequence, firstSequence }) {
    const last = this.#tell.last();
    if (reset || (last && firstSequence > last + 1)) this.#tell.onAnew(); // or what came next is deleted already
    if (reset || lastSequence - last <= CAPACITY || !last) return true;
    this.#recent = CAPACITY;
    this.#tell.onAnew();
    return false;
  }
}

function stateOf(error) {
  if (error instanceof Unauthorized) return "unauthorized";
  return error instanceof Refused ? "refused" : "broken";
}
