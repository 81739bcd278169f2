// The console: its parts put together, and the token asked for where one is needed.
import { token, Unauthorized } from "./api.js";
import { Chart } from "./chart.js";
import { Connection } from "./connection.js";
import { by, setText, show } from "./dom.js";
import { Store } from "./events.js";
import { Feed } from "./feed.js";
import { History } from "./history.js";
import { Letters } from "./letters.js";
import { Live } from "./live.js";
import { Actions } from "./actions.js";
import { State } from "./state.js";

const connection = new Connection();
const store = new Store();
const actions = new Actions(() => {
  state.refresh();
  letters.refresh();
});
const chart = new Chart({
  figure: by("chart"),
  legend: by("legend"),
  range: by("codes-range"),
  details: by("codes-details"),
  table: by("codes-table"),
});
const live = new Live({ store, chart, failed: asksForToken });
const letters = new Letters(actions);
const state = new State({ onStatus, onError }, actions);
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
let opener = null;
const chats = new History((dialog) => {
  const { activeElement, body } = document;
  const isLost = activeElement === body || dialog.contains(activeElement); // the browser could not lead it back
  if (isLost) live.focus(opener);
});

function take(rows) {
  const taken = store.add(rows);
  live.note(taken);
  chats.note(taken);
}

function onStatus(status) {
  connection.status(true);
  if (by("content").hidden) open();
  actions.answered();
  letters.noteStatus(status);
}

function onError(error) {
  connection.status(error instanceof Unauthorized);
  asksForToken(error);
}

/** The daemon has answered: everything may be seen. */
function open() {
  show(by("token"), false);
  show(by("content"), true);
  show(by("forget"), token.get() !== null);
  if (token.get() !== null) actions.permitted();
  feed.start();
  chats.follow();
}

/** The daemon wants a token, or another one: nothing is shown until it has it. */
function asksForToken(error) {
  if (!(error instanceof Unauthorized)) return;
  state.stop();
  feed.stop();
  connection.feed("unauthorized");
  show(by("content"), false);
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
  state.start();
});

by("forget").addEventListener("click", () => {
  token.forget();
  location.reload(); // with the token everything that it opened is gone
});

document.addEventListener("click", (event) => {
  const row = event.target.closest("#rows tr");
  if (row && event.target.closest("a.id")) opener = Number(row.dataset.seq);
});

state.start();
