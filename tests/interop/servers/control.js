/**
 * The remote control and the faults that stand in front of a Bayeux server under test.
 *
 * Every order is `POST /control/<name>` with a JSON object; the answer is a JSON object. Common to all servers:
 *
 *   publish  {channel, data, count = 1, first = 1, batch = 1}
 *            `count` messages, in groups of `batch` that a server may send in one response. In `data`, the string
 *            "{n}" becomes the running number (from `first`), and {n} within a longer string its digits.
 *   drop     {count = 1, only = "any" | "messages"}   the server acts, but the answer never leaves: the socket is
 *            destroyed. `messages` spares answers and frames that hold nothing but /meta/ channels.
 *   fail     {status = 503, count = 1, body = "", headers = {}}   answered before the server sees the request
 *   delay    {ms = 0}                  hold each answer back
 *   deny     {deny = true}             refuse handshakes
 *   expire   {}                        forget every session, as a sweep does
 *   state    {}                        the counters, the sessions and who is subscribed to what
 */
'use strict';

const http = require('node:http');

const CARRIES_EVENTS = /"channel":"\/(?!meta\/)/;

/** The messages of one `publish` order. */
function* numbered({ data, count = 1, first = 1 }) {
  const template = JSON.stringify(data);
  for (let n = first; n < first + count; n += 1) {
    yield JSON.parse(template.replaceAll('"{n}"', n).replaceAll('{n}', n));
  }
}

/** The same, in groups of `order.batch`. */
function* grouped(order) {
  let group = [];
  for (const message of numbered(order)) {
    group.push(message);
    if (group.length >= (order.batch ?? 1)) {
      yield group;
      group = [];
    }
  }
  if (group.length > 0) yield group;
}

/** What goes wrong at the edge of the server, and what has been counted there. */
class Faults {
  requests = 0;
  dropped = 0;
  handshakes = 0;
  deny = false;
  #drops = 0;
  #only = 'any';
  #failures = [];
  #delayMs = 0;
  #webSockets = new Set();

  get orders() {
    return {
      drop: ({ count = 1, only = 'any' }) => { this.#drops = count; this.#only = only; },
      fail: ({ count = 1, ...failure }) => { this.#failures.push(...Array(count).fill(failure)); },
      delay: ({ ms = 0 }) => { this.#delayMs = ms; },
      deny: ({ deny = true }) => { this.deny = deny; },
    };
  }

  get counters() {
    const { requests, dropped, handshakes, deny } = this;
    return { requests, dropped, handshakes, deny, web_sockets: this.#webSockets.size };
  }

  /** Whether this answer is to be lost; counts it when it is. */
  #loses(payload) {
    if (this.#drops === 0) return false;
    if (this.#only === 'messages' && !CARRIES_EVENTS.test(String(payload ?? ''))) return false;
    this.#drops -= 1;
    this.dropped += 1;
    return true;
  }

  /** Put the faults around one request; true when it has been answered here. */
  request(req, res) {
    this.requests += 1;
    const failure = this.#failures.shift();
    if (failure) {
      req.resume();
      res.writeHead(failure.status ?? 503, failure.headers ?? {}).end(failure.body ?? '');
      return true;
    }
    const end = res.end.bind(res);
    res.end = (payload, ...rest) => {
      if (this.#loses(payload)) req.socket.destroy();
      else if (this.#delayMs > 0) setTimeout(end, this.#delayMs, payload, ...rest);
      else end(payload, ...rest);
      return res;
    };
    return false;
  }

  /** Put the faults around one websocket. Its first write is the 101 answer, which is no frame. */
  upgrade(socket) {
    this.#webSockets.add(socket);
    socket.once('close', () => this.#webSockets.delete(socket));
    const write = socket.write.bind(socket);
    let upgraded = false;
    socket.write = (payload, ...rest) => {
      if (upgraded && this.#loses(payload)) {
        socket.destroy();
        return false;
      }
      upgraded = true;
      return write(payload, ...rest);
    };
  }
}

async function bodyOf(req) {
  let text = '';
  for await (const chunk of req) text += chunk;
  return text === '' ? {} : JSON.parse(text);
}

async function obey(orders, req, res) {
  const order = orders[req.url.slice('/control/'.length)];
  let status = 200;
  let answer;
  try {
    if (!order) status = 404;
    answer = order ? await order(await bodyOf(req)) : { error: `no such order: ${req.url}` };
  } catch (error) {
    status = 500;
    answer = { error: error.stack };
  }
  res.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(answer ?? {}));
}

/**
 * Put `faults` and `orders` before the listeners that `server` already has, listen on the loopback and say so in one
 * line. The process ends with its standard input, so that it cannot outlive the test run that holds the other end.
 */
function serve({ server, faults, orders, port }) {
  const handlers = server.listeners('request');
  const known = { ...faults.orders, ...orders };
  server.removeAllListeners('request');
  server.on('request', (req, res) => {
    if (req.url.startsWith('/control/')) obey(known, req, res);
    else if (!faults.request(req, res)) for (const handle of handlers) handle.call(server, req, res);
  });
  server.prependListener('upgrade', (req, socket) => {
    faults.requests += 1;
    faults.upgrade(socket);
  });
  server.listen(port, '127.0.0.1', () => console.log(JSON.stringify({ ready: server.address().port })));
  process.stdin.resume().on('end', () => process.exit(0));
}

module.exports = { Faults, grouped, serve, createServer: http.createServer };
