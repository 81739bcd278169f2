// The one-glance state, from /status.json.
import { get, post } from "./api.js";
import { by, make, setList, setTerms, setText, show } from "./dom.js";
import { bytes, clock, count, counted, duration, setTime } from "./format.js";
import { Grid } from "./grid.js";
import { isShared, ownerColumn, Replicas, troubles } from "./replicas.js";

const EVERY_MS = 2000;

/** Polls the status and shows it. `tell` has onStatus and onError; `actions` knows whether they are allowed. */
export class State {
  #tell;
  #replicas = new Replicas();
  #shared = null;
  #accounts;
  #sinks;
  #timer = null;
  #status = null;
  #failures = 0;
  #actions;

  constructor(tell, actions) {
    this.#tell = tell;
    this.#actions = actions;
  }

  /** Only where there are replicas a column names them. */
  #build(shared) {
    this.#shared = shared;
    const owner = shared ? [ownerColumn()] : [];
    this.#accounts = new Grid(by("accounts"), accountColumns(owner), (one) => one.account);
    this.#sinks = new Grid(
      by("sinks"),
      sinkColumns(owner, (cell, sink) => this.#button(cell, sink)),
      (one) => one.sink,
    );
  }

  /** Ask now, and every two seconds from now on. */
  async start() {
    this.stop();
    const round = Symbol("round");
    this.#timer = round;
    while (this.#timer === round) {
      await this.#look();
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
  }

  stop() {
    this.#timer = null;
  }

  async #look() {
    try {
      const status = await get("/status.json");
      this.#status = status;
      this.#failures = 0;
      this.#tell.onStatus(status);
      this.#draw(status);
    } catch (error) {
      this.#failures += 1;
      if (this.#failures > 1 && this.#status) showUnknown(this.#status);
      this.#tell.onError(error);
    }
  }

  #draw(status) {
    if (this.#shared !== isShared(status)) this.#build(isShared(status));
    showVerdict(troubles(status));
    this.#replicas.draw(status);
    showConfiguration(status.configuration);
    setTerms(by("figures"), figures(status));
    this.#accounts.update(status.accounts, (one) => (one.subscribed && !one.silentSeconds ? "" : "wrong"));
    this.#drawSinks();
    setText(by("build"), `Disposition listener ${status.build.version} · Python ${status.build.python}`);
  }

  #drawSinks() {
    const { sinks } = this.#status;
    this.#actions.tell(
      by("no-actions"),
      sinks.some((one) => one.parked !== null),
    );
    this.#sinks.update(sinks, (one) => (one.parked === null && !one.stalledSeconds ? "" : "wrong"));
  }

  /** Whether actions are allowed has changed. */
  refresh() {
    if (this.#status) this.#drawSinks();
  }

  #button(cell, sink) {
    if (!cell.firstChild) {
      const button = make("button", { type: "button", onclick: () => this.#resume(sink.sink) }, "Resume");
      button.append(make("span", { class: "unseen" }, ` ${sink.sink}`));
      cell.append(button);
    }
    show(cell.firstChild, sink.parked !== null);
    cell.firstChild.disabled = this.#actions.reason !== null;
    cell.classList.toggle("nothing", sink.parked === null);
  }

  async #resume(sink) {
    const outcome = by("sinks-outcome");
    try {
      const { resumed } = await post(`/sinks/${encodeURIComponent(sink)}/resume`, {});
      setText(outcome, resumed ? `${sink} resumed.` : `${sink} was not parked.`);
      await this.#look();
    } catch (error) {
      setText(outcome, this.#actions.failed(error));
    }
  }
}

function showVerdict(problems) {
  const ready = problems.length === 0;
  by("verdict").dataset.state = ready ? "good" : "bad";
  setText(by("verdict-word"), ready ? "Ready" : "Not ready");
  setList(
    by("problems"),
    ready ? ["Every account is subscribed, and every sink takes events."] : problems.map(sentence),
  );
  document.title = `${ready ? "Ready" : counted(problems.length, "problem")} · Disposition listener`;
}

/** What the daemon said last may hold no more: nobody is to be calmed by it. */
function showUnknown({ at }) {
  by("verdict").dataset.state = "unknown";
  setText(by("verdict-word"), "Not known");
  setList(by("problems"), [`The daemon does not answer. This is its state of ${clock(Date.parse(at))}.`]);
  document.title = "No answer · Disposition listener";
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function showConfiguration({ refusedAt, loadedAt, problems }) {
  show(by("configuration"), refusedAt !== null);
  if (refusedAt === null) return;
  const when = `It was read at ${clock(Date.parse(refusedAt))}; the one of ${clock(Date.parse(loadedAt))} stays in force.`;
  setText(by("configuration-when"), when);
  setList(by("configuration-problems"), problems);
}

function figures(status) {
  const { gaps, deadLetters, journal, build } = status;
  const lastGap = gaps.last
    ? `${duration(gaps.seconds)} in all, the last until ${clock(Date.parse(gaps.last.to))}`
    : "since the start";
  const letters = deadLetters === null ? "–" : count(deadLetters.total);
  const bySink = Object.entries(deadLetters?.bySink ?? {}).map(([sink, number]) => `${sink} ${count(number)}`);
  const stored = journal.stored
    ? `${counted(journal.stored.events, "event")}, ${bytes(journal.bytes)}`
    : bytes(journal.bytes);
  const uptime = (Date.parse(status.at) - Date.parse(build.startedAt)) / 1000;
  return [
    ["Gaps", count(gaps.count), lastGap],
    ["Dead letters", letters, bySink.join(", ") || "no sink rejected anything"],
    [
      "Waiting for delivery",
      count(journal.depthEvents),
      journal.depthEvents ? `the oldest for ${duration(journal.oldestAgeSeconds)}` : "nothing waits",
    ],
    ["Journal", journal.failing === null ? "Commits" : "Fails", journal.failing ?? stored],
    ["Running for", duration(uptime), `since ${clock(Date.parse(build.startedAt))}`],
  ];
}

function accountColumns(owner) {
  return [
    { label: "Account", class: "lead", text: (one) => one.account },
    ...owner,
    { label: "Session", class: "state", text: (one) => (one.subscribed ? "Subscribed" : "Not subscribed") },
    { label: "Since", draw: (cell, one) => setTime(cell, Date.parse(one.subscribedAt ?? "")) },
    { label: "Silent for", class: "n", text: (one) => (one.silentSeconds ? duration(one.silentSeconds) : "") },
    {
      label: "Gaps",
      class: "n",
      text: (one) => (one.gaps.count ? `${count(one.gaps.count)} (${duration(one.gaps.seconds)})` : "0"),
    },
    { label: "Last error", class: "long", text: (one) => one.lastError ?? "" },
  ];
}

function sinkColumns(owner, button) {
  return [
    { label: "Sink", class: "lead", text: (one) => one.sink },
    ...owner,
    { label: "Kind", text: (one) => one.kind },
    { label: "State", class: "state long", text: sinkState },
    {
      label: "Lag",
      class: "n",
      text: (one) => (one.lagEvents ? `${count(one.lagEvents)} (${duration(one.lagSeconds)})` : "0"),
    },
    { label: "Delivered", class: "n", text: (one) => count(one.delivered) },
    { label: "Dead letters", class: "n", text: (one) => (one.deadLetters === null ? "–" : count(one.deadLetters)) },
    { label: "Last error", class: "long", text: (one) => (one.parked === null ? one.lastError : null) ?? "" },
    { label: "Action", class: "order", draw: button },
  ];
}

function sinkState(sink) {
  if (sink.parked !== null) return `Parked: ${sink.parked}`;
  if (sink.quietSeconds) return `Paused for ${duration(sink.quietSeconds)}, as its destination asked`;
  return sink.stalledSeconds ? `Has taken nothing for ${duration(sink.stalledSeconds)}` : "Running";
}
