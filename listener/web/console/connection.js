// What is known of the daemon: whether it answers, since when not, and how old what is shown is.
import { by, setText } from "./dom.js";
import { clock, duration } from "./format.js";

const AWAY_AFTER_MS = 3000;

export class Connection {
  #feed = "waiting";
  #reason = "";
  #since = Date.now();
  #heard = null;
  #statusFails = false;

  constructor() {
    setInterval(() => this.#draw(), 1000);
  }

  /** Something came from the daemon. */
  sign() {
    this.#heard = Date.now();
  }

  /** The state of the stream: `waiting`, `live`, `broken`, `refused` with a reason, `unauthorized`. */
  feed(state, error) {
    if (state !== this.#feed && (state === "live" || this.#feed === "live" || this.#feed === "waiting"))
      this.#since = Date.now();
    this.#feed = state;
    this.#reason = error?.message ?? "";
    this.#draw();
  }

  /** Whether the last question for the status was answered. */
  status(answered) {
    this.#statusFails = !answered;
    if (answered) this.sign();
    this.#draw();
  }

  get #state() {
    if (this.#feed === "live" && !this.#statusFails) return "live";
    const away = this.#statusFails && this.#feed !== "live" && Date.now() - this.#since > AWAY_AFTER_MS;
    if (away) return "away";
    return this.#feed === "unauthorized" ? "locked" : "trying";
  }

  #word(state) {
    const since = clock(this.#since);
    switch (state) {
      case "live":
        return "Live";
      case "locked":
        return "Token required";
      case "away":
        return `The daemon has been away since ${since}`;
      default:
        if (this.#heard === null) return "Connecting";
        return this.#feed === "refused" ? `No stream since ${since}: ${this.#reason}` : `Reconnecting since ${since}`;
    }
  }

  #draw() {
    const state = this.#state;
    by("connection").dataset.state = state;
    setText(by("connection-word"), this.#word(state));
    const age = this.#heard === null ? "" : `as of ${duration(Math.round((Date.now() - this.#heard) / 1000))} ago`;
    setText(by("connection-age"), state === "locked" ? "" : age);
  }
}
