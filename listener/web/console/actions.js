// Whether the daemon allows actions from this page, and what to say if it does not.
import { failureOf, Refused, token } from "./api.js";
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

  /** What to say about a failed action. */
  failed(error) {
    if (error instanceof Refused && error.status === 403) this.#set(NO_TOKEN);
    return failureOf(error);
  }

  /** Say in this element why there are no actions, if there is something to act on. */
  tell(element, isWanted) {
    setText(element, this.reason ?? "");
    show(element, isWanted && this.reason !== null);
  }

  #set(reason) {
    if (this.reason === reason) return;
    this.reason = reason;
    this.onChange();
  }
}
