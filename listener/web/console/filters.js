// Which rows are meant: by chat, agent and code, and whether only changes.

/** What the form asks for: `{chat, agent, code, changesOnly}`, texts without the blanks around them. */
export function read(form) {
  const text = (name) => form.querySelector(`#filter-${name}`).value.trim();
  return {
    chat: text("chat"),
    agent: text("agent"),
    code: text("code"),
    changesOnly: form.querySelector("#filter-changes").checked,
  };
}

/** Whether a text fits: a pattern with `*` and `?` as a whole, anything else as a part. Case does not matter. */
export function fits(wanted) {
  if (!wanted) return () => true;
  if (/[*?]/.test(wanted)) {
    const escaped = wanted
      .replace(/[.+^${}()|[\]\\]/g, "\\$&")
      .replaceAll("*", ".*")
      .replaceAll("?", ".");
    const pattern = new RegExp(`^${escaped}$`, "isu");
    return (text) => pattern.test(text ?? "");
  }
  const part = wanted.toLowerCase();
  return (text) => (text ?? "").toLowerCase().includes(part);
}

/** A predicate on rows. A gap has neither chat nor code: where one is asked for, none fits. */
export function matcher({ chat, agent, code, changesOnly }) {
  const [fitsChat, fitsAgent, fitsCode] = [chat, agent, code].map(fits);
  return (row) => {
    if (row.kind === "gap") return !chat && !code && fitsAgent(row.account);
    if (changesOnly && row.change === "unchanged") return false;
    if (!fitsChat(row.chat)) return false;
    if (agent && !fitsAgent(row.account) && !row.agents.some(fitsAgent)) return false;
    return !code || fitsCode(row.code) || fitsCode(row.previous);
  };
}

/** Whether the form asks for anything at all. */
export const isEmpty = (filter) => !filter.chat && !filter.agent && !filter.code;

/** The same question to the journal, whose patterns have `[` beside `*` and `?`; of a chat it wants the whole id. */
export function query({ chat, agent, code }) {
  return { chat, agent: pattern(agent), disposition: pattern(code) };
}

function pattern(text) {
  const escaped = text.replaceAll("[", "[[]");
  return !text || /[*?]/.test(text) ? escaped : `*${escaped}*`;
}
