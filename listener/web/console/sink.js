// The view of one sink: its state, its last attempts, and what can be ordered of it.
import { failureOf, get } from "./api.js";
import { by, pageSize, setTerms, setText, show } from "./dom.js";
import { clock, count, counted, duration, fieldOf, setTime, took } from "./format.js";
import { Grid, linkColumn } from "./grid.js";
import { Poll } from "./poll.js";
import { address, momentOf } from "./route.js";

const EVERY_MS = 2000;

/** The state of a sink in a few words. */
export function sinkState(sink) {
  if (sink.parked !== null) return `Parked: ${sink.parked}`;
  if (sink.quietSeconds) return `Paused for ${duration(sink.quietSeconds)}, as its destination asked`;
  const { nextAttemptSeconds: next, stalledSeconds: stalled } = sink;
  const wait = next === null ? "" : `, next attempt in ${duration(next)}`;
  if (sink.failingSeconds !== null) return `Failing for ${duration(sink.failingSeconds)}${wait}`;
  return stalled ? `Has taken nothing for ${duration(stalled)}` : "Running";
}

/** Whether a sink does what it should. */
export const isWell = (sink) => sink.parked === null && sink.failingSeconds === null && !sink.stalledSeconds;

/** Whether it waits for a person, or for its next attempt after a failure. */
export const canResume = (sink) => sink.parked !== null || sink.nextAttemptSeconds !== null;

/** How many events wait for a sink, and for how long. */
export const waiting = (sink) => (sink.lagEvents ? `${count(sink.lagEvents)} (${duration(sink.lagSeconds)})` : "0");

export class Sink {
  #actions;
  #ask;
  #name = null;
  #onlyFailed = false;
  #sinks = null; // of the newest summary
  #attempts = new Grid(
    by("attempts"),
    columns(),
    (one) => `${one.at} ${one.firstSequence} ${one.outcome} ${one.seconds}`,
  );
  #poll = new Poll((signal) => this.#look(signal), EVERY_MS);

  /** `ask` asks for a summary at once. */
  constructor(actions, ask) {
    this.#actions = actions;
    this.#ask = ask;
    by("sink-resume").addEventListener("click", async () => {
      await actions.resume(by("sink-outcome"), this.#name);
      this.#again();
    });
    by("sink-test").addEventListener("click", async () => {
      const answer = await this.#order("test", {}, tested);
      const exchanges = answer?.exchanges ?? [];
      show(by("exchange"), exchanges.length > 0);
      setText(by("exchange-text"), exchanges.flatMap((one) => [one.request, one.answer]).join("\n\n"));
      this.#again();
    });
    by("resend").addEventListener("submit", (event) => this.#resend(event));
    by("resend-cancel").addEventListener("click", async () => {
      await this.#order(
        "resend/cancel",
        {},
        ({ left }) => `${counted(left, "event")} will not be delivered once more.`,
      );
      this.#again();
    });
    by("confirm").addEventListener("close", () => this.#confirmed());
  }

  open({ name, query }) {
    if (name !== this.#name) {
      for (const id of ["sink-outcome", "attempts-told"]) setText(by(id), "");
      this.#attempts.update([]);
      by("resend").reset();
      show(by("exchange"), false);
    }
    for (const name of ["from", "to"]) {
      if (query.has(name)) by(`resend-${name}`).value = fieldOf(momentOf(query, name));
    }
    this.#name = name;
    this.#onlyFailed = query.has("failed");
    by("attempts-filter").href = address("sinks", name, { failed: this.#onlyFailed ? null : 1 });
    setText(by("attempts-filter"), this.#onlyFailed ? "All attempts" : "Only those that failed");
    setText(by("sink-title"), `Sink ${name}`);
    this.refresh();
    this.#poll.start();
  }

  close() {
    this.#poll.stop();
    by("confirm").close();
  }

  /** A summary has come. */
  note({ sinks }) {
    this.#sinks = sinks;
    this.refresh();
  }

  /** Draw what is known. */
  refresh() {
    if (this.#name === null || this.#sinks === null) return;
    const sink = this.#sinks.find((one) => one.sink === this.#name);
    show(by("sink-unknown"), sink === undefined);
    show(by("sink-parts"), sink !== undefined);
    if (sink === undefined) return;
    const allowed = this.#actions.reason === null;
    this.#actions.tell(by("sink-no-actions"), true);
    show(by("sink-orders"), allowed);
    show(by("resend"), allowed && sink.kind !== "file"); // in a file everything is there already
    show(by("resend-left"), sink.resendLeft > 0);
    setText(by("resend-left-told"), `${counted(sink.resendLeft, "event")} still to be delivered again.`);
    show(by("sink-resume"), canResume(sink));
    by("sink-state").dataset.state = isWell(sink) ? "good" : "bad";
    setText(by("sink-state-word"), sinkState(sink));
    setTerms(by("sink-figures"), figures(sink));
    by("sink-letters").href = address("dead-letters", null, { sink: sink.sink });
  }

  get #path() {
    return `/sinks/${encodeURIComponent(this.#name)}`;
  }

  #order(what, body, told) {
    return this.#actions.order(by("sink-outcome"), `${this.#path}/${what}`, body, told);
  }

  /** An order was carried out: what it led to is looked for at once. */
  #again() {
    this.#ask();
    this.#poll.start();
  }

  async #look(signal) {
    try {
      const limit = this.#onlyFailed ? undefined : pageSize();
      const { attempts: made, here, replica } = await get(`${this.#path}/attempts`, { limit }, signal);
      if (signal.aborted) return;
      const attempts = made.filter((one) => !this.#onlyFailed || one.outcome !== "delivered").slice(0, pageSize());
      const none = here ? "None since the daemon started" : `Known to ${replica ?? "no replica"} alone`;
      setText(by("attempts-told"), attempts.length ? `The last ${count(attempts.length)}, newest first` : none);
      show(by("attempts"), attempts.length > 0);
      this.#attempts.update(attempts, (one) => (one.outcome === "delivered" ? "" : "failed"));
    } catch (error) {
      if (!signal.aborted) setText(by("attempts-told"), failureOf(error));
    }
  }

  get #range() {
    const [fromTime, toTime] = ["resend-from", "resend-to"].map((id) => new Date(by(id).value).toISOString());
    return { fromTime, toTime };
  }

  /** Ask how many events a resend would be, and whether it is meant. */
  async #resend(event) {
    event.preventDefault();
    const answer = await this.#order("resend", { ...this.#range, dryRun: true }, () => "");
    if (answer === null) return;
    const { fromTime, toTime } = this.#range;
    const span = `from ${clock(Date.parse(fromTime))} to ${clock(Date.parse(toTime))}`;
    setText(by("confirm-text"), warning(answer, span));
    by("confirm-yes").disabled = answer.events === 0;
    by("confirm").returnValue = "";
    by("confirm").showModal();
  }

  async #confirmed() {
    if (by("confirm").returnValue !== "yes") return;
    await this.#order(
      "resend",
      this.#range,
      ({ events }) => `${counted(events, "event")} will be delivered once more.`,
    );
    this.#again();
  }
}

/** What a resend will do. */
function warning({ sink, events, waiting: undelivered, oldestAt }, span) {
  const told = [`${counted(events, "event")} received ${span} will be delivered to ${sink} once more.`];
  if (undelivered) told.push(`${counted(undelivered, "event")} of that time will come in their turn.`);
  if (oldestAt !== null) told.push(`What was received before ${clock(Date.parse(oldestAt))} is deleted.`);
  return told.join(" ");
}

function tested({ verdict, reason, answer }) {
  if (verdict === "taken") return "The test event was taken.";
  return `The test event was not taken (${verdict}): ${[reason, answer].filter(Boolean).join("; ")}`;
}

function figures(sink) {
  return [
    ["Kind", sink.kind, sink.replica ? `on ${sink.replica}` : ""],
    ["Waiting", waiting(sink), sink.lastError ?? ""],
    ["Delivered", count(sink.delivered), `up to event ${count(sink.cursor)}`],
    ["Failed attempts", count(sink.failures), "since the daemon started"],
    ["Dead letters", sink.deadLetters === null ? "–" : count(sink.deadLetters), ""],
  ];
}

function columns() {
  return [
    { label: "Time", class: "time", draw: (cell, one) => setTime(cell, Date.parse(one.at)) },
    { label: "Outcome", class: "state", text: (one) => OUTCOMES[one.outcome] ?? one.outcome },
    { label: "Taken", class: "n", text: (one) => `${count(one.taken)} of ${count(one.events)}` },
    linkColumn("Events", "n", sequences, carried),
    { label: "Took", class: "n", text: (one) => took(one.seconds) },
    { label: "What was said", class: "long", text: (one) => one.said ?? "" },
  ];
}

const OUTCOMES = { delivered: "Delivered", retry: "To be retried", park: "Parked", reject: "Rejected" };

function sequences({ firstSequence: first, lastSequence: last }) {
  if (first === null) return ""; // a test event has none
  return first === last ? `${first}` : `${first} to ${last}`;
}

/** What leads to the events of an attempt. */
const carried = ({ firstSequence: first, lastSequence: last }) =>
  first === null ? null : address("events", null, { first, last, all: 1, journal: 1 });
