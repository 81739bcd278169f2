// The address of what is shown: #/VIEW/NAME?FILTER=…. Whatever can be seen can be sent to somebody, and led back to.

/** What an address leads to: `{view, name, query}`; `name` is null where the view is not that of one thing. */
export function read(hash = location.hash) {
  if (!hash.startsWith("#/")) {
    const chat = new URLSearchParams(hash.slice(1)).get("chat"); // how links to a chat's history began
    return { view: chat === null ? "now" : "chats", name: chat, query: new URLSearchParams() };
  }
  const [path, query] = hash.slice(2).split(/\?(.*)/s);
  const [view, name] = path.split("/").map(decoded);
  return { view: view || "now", name: name || null, query: new URLSearchParams(query ?? "") };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // somebody has cut it off within a letter
  }
}

/** The address of a view; filters that ask for nothing are left out. */
export function address(view, name = null, filters = {}) {
  const path = name === null ? view : `${view}/${encodeURIComponent(name)}`;
  const given = Object.entries(filters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(given).toString();
  return `#/${path === "now" ? "" : path}${query ? `?${query}` : ""}`;
}

/** The address becomes this one without a further step for the browser's back button. */
export const replace = (target) => history.replaceState(null, "", location.pathname + location.search + target);

/** The same, unless another view was gone to meanwhile. */
export function amend(target) {
  if (read().view === read(target).view) replace(target);
}

/** A moment of the address, RFC 3339, in epoch milliseconds; NaN where there is none. */
export const momentOf = (query, name) => Date.parse(query.get(name) ?? "");

/** A moment as it stands in an address; null for none. */
export const moment = (ms) => (Number.isFinite(ms) ? new Date(ms).toISOString() : null);
