// Whether the daemon takes orders from this page, and what to say where it does not.
import { failureOf, Refused, token } from "./api.js";
import { setText, show } from "./dom.js";

const NO_TOKEN =
  "Nothing can be ordered here: the daemon takes orders with a token only, and none is configured " +
  "(http.token or http.token_file).";

export class Orders {
  /** Why nothing can be ordered; null where it can. */
  reason = null;

  constructor(onChange) {
    this.onChange = onChange;
  }

  /** The daemon has answered a question: where that needed no token, there is none that an order could come with. */
  answered() {
    if (token.get() === null) this.#set(NO_TOKEN);
  }

  /** A token has been taken. */
  permitted() {
    this.#set(null);
  }

  /** What to say of an order that failed. */
  failed(error) {
    if (error instanceof Refused && error.status === 403) this.#set(NO_TOKEN);
    return failureOf(error);
  }

  /** Say in this element why nothing can be ordered, where there is something to order. */
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
