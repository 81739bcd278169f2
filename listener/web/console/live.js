// The section of dispositions: live rows, filters, a search in the journal, and when the rows stand still.
import { failureOf, get } from "./api.js";
import { by, setText, show } from "./dom.js";
import { CAPACITY, rowOf } from "./events.js";
import { clock, count, counted } from "./format.js";
import { address, amend } from "./route.js";
import { filters, isEmpty, matcher, read, Search, sequences, write } from "./search.js";
import { LiveTable } from "./table.js";

const CHART_MS = 1000;
const TYPING_MS = 250;
const OLDER_PAGE = 500;
const OLDER_ROWS = 1000;

/** `store` holds the rows, `chart` shows their distribution; `failed` is told of questions that failed. */
export class Live {
  #store;
  #chart;
  #failed;
  #table = new LiveTable(by("scroller"), by("rows"));
  #filter = read(by("filters"));
  #search = null;
  #fresh = 0; // matching rows that came while the shown ones stood still
  #charted = 0;
  #paused = false;
  #reachedStart = false;
  #timer = 0;
  #typing = 0;

  constructor({ store, chart, failed }) {
    this.#store = store;
    this.#chart = chart;
    this.#failed = failed;
    by("filters").addEventListener("input", () => this.#refilter());
    by("filters").addEventListener("submit", (event) => this.#submit(event));
    by("pause").addEventListener("click", () => this.#pause(!this.#paused));
    by("show-new").addEventListener("click", () => this.#showNew());
    by("older").addEventListener("click", () => this.#loadOlder());
    by("search-stop").addEventListener("click", () => this.#search?.stop());
    by("search-on").addEventListener("click", () => this.#runSearch());
    by("search-end").addEventListener("click", () => {
      location.hash = address("events", null, filters(this.#filter));
      by("search-start").focus();
    });
    const left = () => setTimeout(() => this.#catchUp());
    for (const moved of ["scroll", "focusout"]) by("scroller").addEventListener(moved, left);
  }

  /** Show what an address asks for. */
  open({ query }) {
    clearTimeout(this.#typing);
    write(by("filters"), query);
    this.#filter = read(by("filters"));
    by("scroller").scrollTop = 0;
    if (query.has("journal")) this.#beginSearch(sequences(query));
    else this.#endSearch();
  }

  /** Nobody holds the rows any more: show those that have come meanwhile. */
  #catchUp() {
    if (this.#fresh && this.#search === null && !this.#stands) this.#redraw();
  }

  /** Rows have come. */
  note(rows) {
    if (this.#search === null && !this.#stands) this.#redraw();
    else this.#fresh += rows.filter(matcher(this.#filter)).length;
    this.#tell();
    this.#drawChart();
  }

  /** All rows have gone: what is shown goes too. */
  anew() {
    this.#reachedStart = false;
    if (this.#search === null) this.#redraw();
  }

  /** Put the focus back where it was before a dialogue. */
  focus(seq) {
    this.#table.focus(seq);
  }

  get #stands() {
    return this.#paused || this.#table.isBusy;
  }

  #redraw() {
    this.#fresh = 0;
    this.#table.show(this.#store.rows.filter(matcher(this.#filter)).reverse());
    this.#tell();
    this.#drawChart();
  }

  #drawChart() {
    if (this.#paused) return;
    const wait = this.#charted + CHART_MS - Date.now();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => {
        this.#charted = Date.now();
        this.#chart.show(this.#store.rows.filter(matcher(this.#filter)));
      },
      Math.max(0, wait),
    );
  }

  #tell() {
    const shown = Number(by("rows").getAttribute("aria-rowcount")) - 1;
    const { rows } = this.#store;
    const all = `${counted(rows.length, "row")} loaded`;
    const text = shown === rows.length ? all : `${count(shown)} of ${all}`;
    setText(by("rows-status"), this.#paused ? `${text}, paused` : text);
    show(by("rows-status"), this.#search === null);
    show(by("show-new"), this.#fresh > 0 && this.#search === null);
    setText(by("show-new"), `${count(this.#fresh)} new, show`);
    show(by("older"), this.#search === null && !this.#reachedStart && rows.length > 0 && this.#store.room > 0);
    show(by("older-status"), this.#search === null);
  }

  #pause(paused) {
    this.#paused = paused;
    by("pause").setAttribute("aria-pressed", paused);
    if (paused || this.#search !== null) this.#tell();
    else if (!this.#stands) this.#redraw();
    this.#drawChart();
  }

  #showNew() {
    this.#pause(false);
    this.#table.toTop();
    this.#redraw();
  }

  #refilter() {
    this.#filter = read(by("filters"));
    if (this.#search !== null) return;
    by("scroller").scrollTop = 0;
    this.#redraw();
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => amend(address("events", null, filters(this.#filter))), TYPING_MS);
  }

  async #loadOlder() {
    const told = by("older-status");
    const wanted = Math.min(CAPACITY, this.#store.rows.length + OLDER_ROWS);
    by("older").disabled = true;
    try {
      while (this.#store.rows.length < wanted && !this.#reachedStart) {
        setText(told, "Loading …");
        const limit = Math.min(OLDER_PAGE, wanted - this.#store.rows.length);
        const { first } = this.#store;
        const { events, before } = await get("/events.json", { before: first, limit });
        this.#store.addOlder(events.map(rowOf), first);
        this.#reachedStart = before === null;
      }
      setText(
        told,
        this.#reachedStart ? "The journal begins here." : `Loaded back to ${clock(this.#store.rows[0].at)}.`,
      );
    } catch (error) {
      setText(told, failureOf(error));
      this.#failed(error);
    }
    by("older").disabled = false;
    this.#redrawKeepingPlace();
  }

  /** Older rows go to the end; nothing above them moves. */
  #redrawKeepingPlace() {
    if (this.#search !== null) return;
    const place = by("scroller").scrollTop;
    this.#redraw();
    by("scroller").scrollTop = place;
  }

  /** A search is an address of its own: it can be sent to somebody, and left with the browser's back button. */
  #submit(event) {
    event.preventDefault();
    clearTimeout(this.#typing);
    const target = address("events", null, { ...filters(read(by("filters"))), journal: 1 });
    if (location.hash === target) this.#beginSearch({});
    else location.hash = target;
  }

  #beginSearch(only) {
    this.#search?.stop();
    this.#filter = read(by("filters"));
    this.#search = new Search({ ...this.#filter, ...only }, () => this.#tellSearch());
    by("scroller").scrollTop = 0;
    this.#runSearch();
  }

  async #runSearch() {
    const search = this.#search;
    try {
      await search.run();
    } catch (error) {
      if (search === this.#search) setText(by("search-status"), `The search failed. ${failureOf(error)}`);
      this.#failed(error);
    }
  }

  #tellSearch() {
    const search = this.#search;
    if (search === null) return;
    const { rows, running, ended, isPast, through } = search;
    const what = isEmpty(search.filter) ? "Every row of the journal" : "Matching rows";
    const far = through === null ? "" : `; searched back to ${clock(through)}`;
    const end = ended ? "; the journal begins there" : "";
    setText(
      by("search-status"),
      `${running ? "Searching the journal" : what}: ${count(rows.length)} found${far}${end}.`,
    );
    show(by("searching"), true);
    show(by("search-stop"), running);
    show(by("search-on"), !running && !ended && !isPast);
    this.#table.show([...rows]);
    this.#tell();
  }

  #endSearch() {
    this.#search?.stop();
    this.#search = null;
    show(by("searching"), false);
    this.#redraw();
  }
}
