// Every question to the daemon. The token lives in this tab's session storage and travels in a header only.

const KEY = "disposition-listener.token";
const LIMIT_MS = 10_000;
const ORDER_LIMIT_MS = 60_000; // a test event waits for what its destination says
const SENDABLE = /^[\x21-\x7e]+$/; // what a header can hold

/** The daemon wants a token, or another one. `shown` tells whether one was sent. */
export class Unauthorized extends Error {
  constructor(shown) {
    super(shown ? "wrong token" : "no token");
    this.shown = shown;
  }
}

/** The daemon answered, and said no. */
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
  canBe: (value) => SENDABLE.test(value),
};

/** What to say of a question that failed. */
export function failureOf(error) {
  if (error instanceof Refused) return `Refused: ${error.message}.`;
  return error instanceof Unauthorized ? "Refused: the token is not accepted." : "The daemon did not answer.";
}

/**
 * A response whose status is a success. Raises Unauthorized, Refused, and whatever `fetch` raises where no answer came.
 * No cookie and no login of the browser's goes along.
 */
export async function open(path, { method = "GET", body, signal } = {}) {
  const shown = token.get();
  const headers = {};
  if (shown !== null) headers.Authorization = `Bearer ${shown}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const response = await fetch(path, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal,
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
    referrerPolicy: "no-referrer",
  });
  if (response.status === 401) throw new Unauthorized(shown !== null);
  if (!response.ok) throw new Refused(response.status, await reasonOf(response));
  return response;
}

async function reasonOf(response) {
  try {
    return String((await response.json()).error);
  } catch {
    return `answered ${response.status}`;
  }
}

/** What a GET answers as JSON. `signal` ends it; by itself it ends after 10 s. */
export async function get(path, query = {}, signal = undefined) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const words = new URLSearchParams(given).toString();
  const limit = AbortSignal.timeout(LIMIT_MS);
  const ends = signal ? AbortSignal.any([signal, limit]) : limit;
  return (await open(words ? `${path}?${words}` : path, { signal: ends })).json();
}

/** What a POST answers. */
export async function post(path, body) {
  return (await open(path, { method: "POST", body, signal: AbortSignal.timeout(ORDER_LIMIT_MS) })).json();
}
