// Server-sent events out of a stream of text (HTML Living Standard, 9.2.6).

export class Parser {
  #rest = "";
  #event = "";
  #data = [];

  /** The messages that are complete with this text: `{event, data}` each, or `{retry}`. */
  feed(text) {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    return lines.flatMap((line) => this.#line(line.endsWith("\r") ? line.slice(0, -1) : line));
  }

  #line(line) {
    if (line === "") return this.#dispatch();
    if (line.startsWith(":")) return [];
    const [, field, value] = /^([^:]*):? ?(.*)$/su.exec(line);
    if (field === "event") this.#event = value;
    if (field === "data") this.#data.push(value);
    return field === "retry" && /^\d+$/.test(value) ? [{ retry: Number(value) }] : [];
  }

  #dispatch() {
    const message = { event: this.#event || "message", data: this.#data.join("\n") };
    const there = this.#data.length > 0;
    this.#event = "";
    this.#data = [];
    return there ? [message] : [];
  }
}
