// Events as the page keeps them: only what it shows, so that no customer's data stays here.

/**
 * The row of a CloudEvent. A disposition has chat, key, change, previous, code, agents, account, origin; a gap has
 * account, from, to, reason, closedBy. Times are epoch milliseconds; `seq` is the journal's sequence.
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
    };
  }
  return {
    ...common,
    kind: "disposition",
    chat: data.chatId,
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
  no_ack_cut: "an answer was cut off on its way",
  journal_damaged: "the journal was damaged",
};

/** Why there was a gap, in plain words. */
export const reasonOf = (gap) => REASONS[gap.reason] ?? gap.reason.replaceAll("_", " ");
