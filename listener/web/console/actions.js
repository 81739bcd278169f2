// What can be ordered from this page: whether the daemon allows it, and what came of an order.
import { failureOf, post, Refused, token } from "./api.js";
import { setText, show } from "./dom.js";

const NO_TOKEN =
  "Actions are disabled: the daemon requires a token for them, and none is configured " +
  "(http.token or http.token_file).";

export class Actions {
  /** Why there are no actions; null if there are. */
  reason = null;

  constructor(onChange) {
    this.onChange = onChange;
  }

  /** The daemon has answered a question: if that needed no token, none is configured, and there are no actions. */
  answered() {
    if (token.get() === null) this.#set(NO_TOKEN);
  }

  /** A token was accepted. */
  permitted() {
    this.#set(null);
  }

  /** Say in this element why there are no actions, if there is something to act on. */
  tell(element, isWanted) {
    setText(element, this.reason ?? "");
    show(element, isWanted && this.reason !== null);
  }

  /** Give an order, and say in `element` what came of it, in the words of `told`. Returns the answer, null for none. */
  async order(element, path, body, told) {
    setText(element, "…");
    try {
      const answer = await post(path, body);
      setText(element, told(answer));
      return answer;
    } catch (error) {
      if (error instanceof Refused && error.status === 403) this.#set(NO_TOKEN);
      setText(element, failureOf(error));
      return null;
    }
  }

  /** Let a parked sink go on, or one that fails try at once. */
  resume(element, sink) {
    const told = ({ resumed, trying }) => {
      if (resumed) return `${sink} resumed.`;
      return trying ? `${sink} tries again at once.` : `${sink} was not parked.`;
    };
    return this.order(element, `/sinks/${encodeURIComponent(sink)}/resume`, {}, told);
  }

  #set(reason) {
    if (this.reason === reason) return;
    this.reason = reason;
    this.onChange();
  }
}
