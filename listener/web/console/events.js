// Events as the page keeps them: only what it shows, so that no customer's data stays here, and so many of them.

/**
 * The row of a CloudEvent. A disposition has chat, key, change, previous, code, agents, account, origin; a gap has
 * account, from, to, reason, closedBy, of. Times are epoch milliseconds; `seq` is the journal's sequence.
 */
export function rowOf(event) {
  const { data } = event;
  const common = { seq: Number(event.sequence), at: Date.parse(event.time), account: data.account };
  if (event.type.endsWith(".gap")) {
    return {
      ...common,
      kind: "gap",
      from: Date.parse(data.from),
      to: Date.parse(data.to),
      reason: data.reason,
      closedBy: data.closedBy,
      of: [data.agent, data.mediaType].filter(Boolean).join(", "), // where one agent's, or one medium's, were not heard
    };
  }
  return {
    ...common,
    kind: "disposition",
    chat: event.subject, // data.chatId for a chat; with the medium before it for others
    state: data.chatState,
    key: data.key,
    change: data.change,
    previous: data.previous,
    code: data.disposition,
    agents: (data.participants ?? []).filter((party) => party.type === "Agent").map((party) => party.nickname ?? "?"),
    origin: data.origin,
  };
}

/** Whether a row changed something: a gap did not, nor did a notification that repeats the known value. */
export const isChange = (row) => row.kind === "disposition" && row.change !== "unchanged";

const REASONS = {
  restart: "the daemon was not running",
  session_expired: "the server had ended the session",
  network: "the server could not be reached",
  login: "the login was refused",
  no_ack_cut: "a response was cut off",
  subscription_lost: "the server had dropped the subscription",
  topic_refused: "the server had refused the topic of a medium",
  not_monitored: "the agents were not monitored",
  not_told: "the server did not tell the supervisor what was set",
  revoked: "what was set after an agent had left a chat was not told",
  journal_damaged: "the journal was damaged",
  journal_lost: "the journal was lost",
};

/** Whether a gap is one of a session that was subscribed: of some agents, or of one medium. */
export const isPartial = (gap) => gap.of !== "" || ["not_monitored", "not_told", "revoked"].includes(gap.reason);

/** Why there was a gap, in plain words. */
export const reasonOf = (gap) => REASONS[gap.reason] ?? gap.reason.replaceAll("_", " ");

export const CAPACITY = 10_000;

export class Store {
  rows = [];

  /** The newest sequence that was ever here; 0 for none. */
  last = 0;

  /** Take new rows, in their order; those that are here already are left out. Returns the ones that were taken. */
  add(rows) {
    const taken = [];
    for (const row of rows) {
      if (row.seq <= this.last) continue;
      this.last = row.seq;
      taken.push(row);
    }
    this.rows.push(...taken);
    if (this.rows.length > CAPACITY) this.rows.splice(0, this.rows.length - CAPACITY);
    return taken;
  }

  /** Take the rows from before `first` on, newest first, as far as there is room; none where it is first no more. */
  addOlder(rows, first) {
    if (first === this.first) this.rows.unshift(...rows.slice(0, this.room).reverse());
  }

  /** The oldest sequence here; infinite for none. */
  get first() {
    return this.rows.length ? this.rows[0].seq : Infinity;
  }

  /** How many more rows there may be. */
  get room() {
    return CAPACITY - this.rows.length;
  }

  /** Begin anew. */
  clear() {
    this.rows = [];
    this.last = 0;
  }
}
