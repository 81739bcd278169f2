// The console: its parts put together, the view that the address names, and the token asked for where one is needed.
import { Accounts } from "./accounts.js";
import { Actions } from "./actions.js";
import { get, token, Unauthorized } from "./api.js";
import { Chart } from "./chart.js";
import { set as setClock } from "./clock.js";
import { Connection } from "./connection.js";
import { by, setText, show } from "./dom.js";
import { Store } from "./events.js";
import { Feed } from "./feed.js";
import { count } from "./format.js";
import { History } from "./history.js";
import { Letters } from "./letters.js";
import { Live } from "./live.js";
import { Now } from "./now.js";
import { Poll } from "./poll.js";
import { address, read, replace } from "./route.js";
import { Sink } from "./sink.js";

const EVERY_MS = 2000;

const connection = new Connection();
const store = new Store();
const actions = new Actions(() => [now, sink, letters].forEach((one) => one.refresh()));
const chart = new Chart({
  figure: by("chart"),
  legend: by("legend"),
  range: by("codes-range"),
  details: by("codes-details"),
  table: by("codes-table"),
});
const live = new Live({ store, chart, failed: asksForToken });
const summaries = new Poll(lookAround, EVERY_MS);
const ask = () => summaries.start();
const now = new Now(actions, ask);
const sink = new Sink(actions, ask);
const letters = new Letters(actions);
const accounts = new Accounts();
const feed = new Feed({
  last: () => store.last,
  onRows: take,
  onAnew: () => {
    store.clear();
    live.anew();
  },
  onState: (word, error) => connection.feed(word, error),
  onSign: () => connection.sign(),
});
const VIEWS = { now, events: live, accounts, "dead-letters": letters, sinks: sink };
let shown = { view: null, hash: null };
let failures = 0;
let opener = null;
const chats = new History((dialog) => {
  if (read().view === "chats") replace(shown.hash ?? ""); // it was closed by hand
  const { activeElement, body } = document;
  const isLost = activeElement === body || dialog.contains(activeElement); // the browser could not lead it back
  if (isLost) live.focus(opener);
});

function take(rows) {
  const taken = store.add(rows);
  live.note(taken);
  chats.note(taken);
}

async function lookAround(signal) {
  try {
    const summary = await get("/summary.json", {}, signal);
    if (signal.aborted) return;
    failures = 0;
    connection.status(true);
    setClock(Date.parse(summary.at));
    if (by("content").hidden) open();
    actions.answered();
    showHead(summary);
    now.draw(summary);
    sink.note(summary);
    letters.note(summary);
  } catch (error) {
    if (signal.aborted) return;
    failures += 1;
    if (failures > 1) now.unknown();
    connection.status(error instanceof Unauthorized);
    asksForToken(error);
  }
}

/** What stands above each view. */
function showHead({ instance, server, replica, health, accounts: all, deadLetters, build }) {
  setText(by("where"), [instance, server, replica && `replica ${replica}`].filter(Boolean).join(" · "));
  setText(by("nav-health"), health.length ? count(health.length) : "");
  setText(by("nav-accounts"), count(all.total));
  setText(by("nav-letters"), deadLetters === null ? "" : count(deadLetters.total));
  setText(by("build"), `Disposition listener ${build.version} · Python ${build.python}`);
}

/** Show what the address says: a view, or the history of a chat over the one that is open. */
function follow() {
  const route = read();
  const isChat = route.view === "chats";
  if (isChat && shown.view === null)
    shift({ view: "events", name: null, query: new URLSearchParams() }, address("events"));
  if (!isChat && location.hash !== shown.hash) shift(route, location.hash);
  chats.follow(isChat ? route.name : null);
}

function shift(route, hash) {
  const view = route.view in VIEWS ? route.view : "now";
  const isOther = view !== shown.view;
  if (isOther && shown.view !== null) VIEWS[shown.view].close?.();
  for (const one of document.querySelectorAll("main .view")) show(one, one.id === `view-${view}`);
  for (const link of document.querySelectorAll("#views a")) {
    if (link.hash === address(view)) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const isFirst = shown.view === null;
  shown = { view, hash };
  VIEWS[view].open?.(route);
  if (!isOther || isFirst) return;
  scrollTo(0, 0);
  by(`view-${view}`).querySelector("h2").focus({ preventScroll: true });
}

/** The daemon has answered: everything may be seen. */
function open() {
  for (const id of ["content", "views"]) show(by(id), true);
  show(by("token"), false);
  show(by("forget"), token.get() !== null);
  if (token.get() !== null) actions.permitted();
  feed.start();
  follow();
}

/** The daemon wants a token, or another one: nothing is shown until it has it. */
function asksForToken(error) {
  if (!(error instanceof Unauthorized)) return;
  summaries.stop();
  feed.stop();
  if (shown.view !== null) VIEWS[shown.view].close?.();
  shown = { view: null, hash: null };
  connection.feed("unauthorized");
  for (const id of ["content", "views"]) show(by(id), false);
  setText(by("where"), "");
  show(by("token"), true);
  show(by("forget"), token.get() !== null);
  by("history").close();
  setText(by("token-problem"), error.shown ? "This is not the daemon's token." : "");
  by("token-field").focus();
}

by("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = by("token-field").value.trim();
  by("token-field").value = "";
  if (!token.canBe(given)) {
    setText(by("token-problem"), "A token has only letters, digits and punctuation, no spaces.");
    return;
  }
  token.set(given);
  summaries.start();
});

by("forget").addEventListener("click", () => {
  token.forget();
  location.reload(); // with the token everything that it opened is gone
});

by("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names the view
  by("content").focus();
});

document.addEventListener("click", (event) => {
  const row = event.target.closest("#rows tr");
  if (row && event.target.closest("a.id")) opener = Number(row.dataset.seq);
});

window.addEventListener("hashchange", ({ oldURL }) => {
  if (by("content").hidden) return;
  const left = new URL(oldURL).hash;
  if (read(left).view !== "chats") shown.hash = left; // filters may have changed it since
  follow();
});
summaries.start();
