// The view of the accounts: as many as fit on a page, found by name or trouble, from /accounts.json.
import { failureOf, get } from "./api.js";
import { running } from "./clock.js";
import { by, make, pageSize, setText, show } from "./dom.js";
import { count, counted, duration, setTime } from "./format.js";
import { fill, Grid, linkColumn } from "./grid.js";
import { Poll } from "./poll.js";
import { ownerColumn } from "./replicas.js";
import { address, amend } from "./route.js";

const EVERY_MS = 2000;
const TYPING_MS = 250;

export class Accounts {
  #grid = null;
  #shared = null;
  #query = new URLSearchParams();
  #typing = 0;
  #poll = new Poll((signal) => this.#look(signal), EVERY_MS);

  constructor() {
    by("accounts-form").addEventListener("submit", (event) => event.preventDefault());
    by("accounts-form").addEventListener("input", () => this.#typed());
  }

  open({ query }) {
    this.#query = query;
    clearTimeout(this.#typing);
    const { activeElement } = document;
    if (activeElement !== by("accounts-search")) by("accounts-search").value = query.get("search") ?? "";
    by("accounts-state").value = query.get("state") ?? "all";
    this.#poll.start();
  }

  close() {
    clearTimeout(this.#typing);
    this.#poll.stop();
  }

  /** The address follows what is typed, and what is shown follows the address. */
  #typed() {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => {
      const state = by("accounts-state").value;
      const target = address("accounts", null, {
        search: by("accounts-search").value.trim(),
        state: state === "all" ? null : state,
      });
      amend(target);
      this.#query = new URLSearchParams(target.split("?")[1]);
      this.#poll.start();
    }, TYPING_MS);
  }

  async #look(signal) {
    const [search, state, after] = ["search", "state", "after"].map((name) => this.#query.get(name));
    try {
      const answer = await get("/accounts.json", { search, state, after, limit: pageSize() }, signal);
      if (!signal.aborted) this.#draw(answer, { search, state, after });
    } catch (error) {
      if (!signal.aborted) setText(by("accounts-page-told"), failureOf(error));
    }
  }

  #draw({ accounts, next, total }, { search, state, after }) {
    const shared = accounts.some((one) => one.replica !== null);
    if (this.#grid === null || (this.#shared !== shared && accounts.length)) {
      this.#shared = shared;
      this.#grid = new Grid(by("accounts"), columns(shared ? [ownerColumn()] : []), (one) => one.account);
    }
    const isPart = after !== null || next !== null;
    setText(by("accounts-page-told"), `${isPart ? `${count(accounts.length)} of ` : ""}${counted(total, "account")}`);
    show(by("accounts"), accounts.length > 0);
    this.#grid.update(accounts, (one) => (one.trouble === null ? "" : "wrong"));
    const page = (cursor) => address("accounts", null, { search, state, after: cursor });
    const first = after === null ? [] : [make("a", { href: page(null) }, "First page"), " "];
    const more = next === null ? [] : [make("a", { href: page(next), rel: "next" }, "Next page")];
    fill(by("accounts-pages"), ...first, ...more);
  }
}

function columns(owner) {
  return [
    linkColumn(
      "Account",
      "lead",
      (one) => one.account,
      (one) => address("events", null, { agent: one.account }),
    ),
    ...owner,
    { label: "Session", class: "state", text: session },
    {
      label: "Since",
      class: "time",
      draw: (cell, one) => setTime(cell, Date.parse(one.troubleSince ?? one.subscribedAt ?? "")),
    },
    {
      label: "Gap open for",
      class: "n",
      draw: (cell, one) => fill(cell, ...(one.gapSince ? [running(Date.parse(one.gapSince))] : [])),
    },
    { label: "Gaps", class: "n", text: gaps },
    { label: "Trouble", class: "long", text: (one) => one.trouble ?? "" },
  ];
}

function session({ subscribed, team }) {
  const monitors = team ? `, monitors ${count(team.monitored)} of ${counted(team.wanted, "agent")}` : "";
  return `${subscribed ? "Subscribed" : "Not subscribed"}${monitors}`;
}

const gaps = (one) => (one.gaps.count ? `${count(one.gaps.count)} (${duration(one.gaps.seconds)})` : "0");
