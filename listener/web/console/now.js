// The first view: what is not well, the last hour, the sinks, and the accounts in trouble, from /summary.json.
import { running } from "./clock.js";
import { by, make, setList, setTerms, setText, show } from "./dom.js";
import { bytes, clock, count, counted, duration, setTime } from "./format.js";
import { fill, Grid, linkColumn, since } from "./grid.js";
import { Hour } from "./hour.js";
import { isShared, ownerColumn, Replicas } from "./replicas.js";
import { address } from "./route.js";
import { canResume, isWell, sinkState, waiting } from "./sink.js";

const TROUBLES = 8; // the most frequent ones
const NAMES = 4; // of the accounts with one trouble

export class Now {
  #actions;
  #ask;
  #hour = new Hour();
  #replicas = new Replicas();
  #health = new Grid(by("health"), healthColumns(), (one) => one.what);
  #troubles = new Grid(by("troubles"), troubleColumns(), (one) => one.what);
  #sinks = null;
  #shared = null;
  #summary = null;

  /** `ask` asks for a summary at once. */
  constructor(actions, ask) {
    this.#actions = actions;
    this.#ask = ask;
  }

  /** Show a summary. */
  draw(summary) {
    this.#summary = summary;
    this.#drawHealth(summary);
    this.#hour.show(summary.lastHour, summary.openGaps);
    setTerms(by("figures"), figures(summary));
    this.#drawAccounts(summary);
    this.#replicas.draw(summary);
    showConfiguration(summary.configuration);
    this.refresh();
  }

  /** What the daemon said last may hold no more: nobody is to be calmed by it. */
  unknown() {
    if (this.#summary === null) return;
    by("verdict").dataset.state = "unknown";
    setText(by("verdict-word"), "Not known");
    setText(
      by("verdict-more"),
      `The daemon does not answer. This is its state of ${clock(Date.parse(this.#summary.at))}.`,
    );
    document.title = "No answer · Disposition listener";
  }

  #drawHealth({ health, ready, instance }) {
    const isWell = health.length === 0;
    by("verdict").dataset.state = isWell ? "good" : ready ? "warn" : "bad";
    const word = isWell ? "All is well" : `${counted(health.length, "thing is", "things are")} not well`;
    setText(by("verdict-word"), word);
    setText(by("verdict-more"), isWell ? "Every account is subscribed, and every sink takes events." : "");
    show(by("health"), !isWell);
    this.#health.update(health);
    document.title = `${word} · ${instance || "Disposition listener"}`;
  }

  #drawAccounts({ accounts, troubles, openGaps }) {
    const { total, subscribed, troubled } = accounts;
    const trouble = troubled ? `, ${count(troubled)} in trouble` : "";
    setText(by("accounts-told"), `${count(subscribed)} of ${counted(total, "account")} subscribed${trouble}.`);
    show(by("troubles"), troubles.length > 0);
    this.#troubles.update(troubles.slice(0, TROUBLES), () => "wrong");
    show(by("troubles-more"), troubles.length > TROUBLES);
    const others = troubles.slice(TROUBLES).reduce((sum, one) => sum + one.count, 0);
    setText(by("troubles-more"), `${counted(others, "account has another trouble", "accounts have other troubles")}.`);
    show(by("gaps-open"), openGaps.count > 0);
    const rest = openGaps.count - openGaps.newest.length;
    const head = openGaps.oldestAt === null ? [] : [", the oldest for ", running(Date.parse(openGaps.oldestAt))];
    fill(by("gaps-open-told"), `${counted(openGaps.count, "gap is", "gaps are")} open`, ...head, ":");
    const chips = openGaps.newest.map(({ account, since: begun, why }) => {
      const href = address("accounts", null, { search: account });
      return make("li", {}, make("a", { href, title: why }, account), " ", running(Date.parse(begun)));
    });
    if (rest > 0) chips.push(make("li", {}, `and ${count(rest)} more`));
    fill(by("gaps-open-list"), ...chips);
  }

  /** Whether actions are allowed has changed, or the sinks have. */
  refresh() {
    if (this.#summary === null) return;
    const { sinks } = this.#summary;
    if (this.#shared !== isShared(this.#summary)) {
      this.#shared = isShared(this.#summary);
      this.#sinks = new Grid(by("sinks"), this.#sinkColumns(), (one) => one.sink);
    }
    const parked = sinks.some((one) => one.parked !== null);
    this.#actions.tell(by("no-actions"), parked);
    this.#sinks.update(sinks, (one) => (isWell(one) ? "" : "wrong"));
  }

  #sinkColumns() {
    return [
      linkColumn(
        "Sink",
        "lead",
        (one) => one.sink,
        (one) => address("sinks", one.sink),
      ),
      ...(this.#shared ? [ownerColumn()] : []),
      { label: "Kind", text: (one) => one.kind },
      { label: "State", class: "state long", text: sinkState },
      { label: "Waiting", class: "n", text: waiting },
      { label: "Delivered", class: "n", text: (one) => count(one.delivered) },
      linkColumn(
        "Dead letters",
        "n",
        letters,
        (one) => one.deadLetters && address("dead-letters", null, { sink: one.sink }),
      ),
      { label: "Last error", class: "long", text: (one) => (one.parked === null ? one.lastError : null) ?? "" },
      { label: "Action", class: "order", draw: (cell, one) => this.#button(cell, one) },
    ];
  }

  #button(cell, sink) {
    if (!cell.firstChild) {
      const resume = async () => {
        await this.#actions.resume(by("sinks-outcome"), sink.sink);
        this.#ask();
      };
      cell.append(
        make(
          "button",
          { type: "button", onclick: resume },
          "Resume",
          make("span", { class: "unseen" }, ` ${sink.sink}`),
        ),
      );
    }
    const shown = canResume(sink) && this.#actions.reason === null;
    show(cell.firstChild, shown);
    cell.classList.toggle("nothing", !shown);
  }
}

function healthColumns() {
  return [
    { ...linkColumn("What is not well", "lead long", (one) => sentence(one.what), linkOf) },
    { label: "Since", class: "since", draw: (cell, one) => fill(cell, ...since(Date.parse(one.since ?? ""))) },
    {
      label: "What helps",
      class: "help",
      draw: (cell, one) => fill(cell, ...(one.help ? [make("code", {}, one.help)] : [])),
    },
  ];
}

const linkOf = ({ link }) => (link?.startsWith("#/") ? link : null);

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function troubleColumns() {
  const href = ({ what }) => address("accounts", null, { search: what, state: "troubled" });
  return [
    linkColumn("Trouble", "lead long", (one) => sentence(one.what), href),
    { label: "Accounts", class: "n", text: (one) => count(one.count) },
    { label: "Which", class: "long", draw: (cell, one) => fill(cell, ...names(one)) },
    { label: "First seen", class: "time", draw: (cell, one) => setTime(cell, Date.parse(one.firstAt ?? "")) },
    { label: "Last seen", class: "time", draw: (cell, one) => setTime(cell, Date.parse(one.lastAt ?? "")) },
  ];
}

function names({ accounts, count: all }) {
  const told = accounts.slice(0, all > NAMES ? NAMES - 1 : NAMES);
  const links = told.flatMap((name) => [", ", make("a", { href: address("accounts", null, { search: name }) }, name)]);
  return all > told.length ? [...links.slice(1), ` and ${count(all - told.length)} more`] : links.slice(1);
}

const letters = (one) => (one.deadLetters === null ? "–" : count(one.deadLetters));

function showConfiguration({ refusedAt, loadedAt, problems }) {
  show(by("configuration"), refusedAt !== null);
  if (refusedAt === null) return;
  const when = `It was read at ${clock(Date.parse(refusedAt))}; the one of ${clock(Date.parse(loadedAt))} stays in force.`;
  setText(by("configuration-when"), when);
  setList(by("configuration-problems"), problems);
}

function figures({ rates, gaps, deadLetters, journal, build, at }) {
  const bySink = Object.entries(deadLetters?.bySink ?? {}).map(([sink, number]) => `${sink} ${count(number)}`);
  const stored = journal.stored
    ? `${counted(journal.stored.events, "event")}, ${bytes(journal.bytes)}`
    : bytes(journal.bytes);
  const lastGap = gaps.last
    ? `${duration(gaps.seconds)} in all, the last until ${clock(Date.parse(gaps.last.to))}`
    : "since the start";
  const waits = journal.depthEvents ? `the oldest for ${duration(journal.oldestAgeSeconds)}` : "nothing waits";
  const uptime = (Date.parse(at) - Date.parse(build.startedAt)) / 1000;
  return [
    ["Events a second", perSecond(rates.eventsPerSecond), `${perSecond(rates.deliveriesPerSecond)} delivered`],
    ["Waiting for delivery", count(journal.depthEvents), waits],
    ["Gaps", count(gaps.count), lastGap],
    [
      "Dead letters",
      deadLetters === null ? "–" : count(deadLetters.total),
      bySink.join(", ") || "no sink rejected anything",
    ],
    ["Journal", journal.failing === null ? "Commits" : "Fails", journal.failing ?? stored],
    ["Running for", duration(uptime), `since ${clock(Date.parse(build.startedAt))}`],
  ];
}

const perSecond = (number) => (number < 10 ? number.toFixed(1) : count(Math.round(number)));
