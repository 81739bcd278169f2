// A question that is asked again and again, while somebody looks at what it answers.

/** Asks with `ask`, which gets a signal and must not raise, waits for so many milliseconds, and asks anew. */
export class Poll {
  #ask;
  #everyMs;
  #round = null; // of questions; null while none are asked

  constructor(ask, everyMs) {
    this.#ask = ask;
    this.#everyMs = everyMs;
  }

  /** Ask now, and go on from now on; what is under way is given up. */
  async start() {
    this.stop();
    const round = new AbortController();
    this.#round = round;
    while (!round.signal.aborted) {
      await this.#ask(round.signal);
      await new Promise((resolve) => setTimeout(resolve, this.#everyMs));
    }
  }

  stop() {
    this.#round?.abort();
    this.#round = null;
  }
}
