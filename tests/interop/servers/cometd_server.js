/**
 * The CometD project's own server for Node (long-polling), under the remote control of control.js.
 *
 *   node cometd_server.js [--port 0] [--timeout-ms 3000] [--max-interval-ms 2000] [--no-ack]
 *
 * It answers on every path. Orders of its own: `disconnect` {} ends every session from the server's side.
 */
'use strict';

const { parseArgs } = require('node:util');
const cometd = require('cometd-nodejs-server');
const { AcknowledgedMessagesExtension } = require('cometd-nodejs-server/ack-extension');
const { Faults, createServer, grouped, serve } = require('./control');

const { values: options } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    'timeout-ms': { type: 'string', default: '3000' },
    'max-interval-ms': { type: 'string', default: '2000' },
    'no-ack': { type: 'boolean', default: false },
  },
});

const faults = new Faults();
const sessions = new Map();
const bayeux = cometd.createCometDServer({
  timeout: Number(options['timeout-ms']),
  maxInterval: Number(options['max-interval-ms']),
  sweepPeriod: 100,
});
if (!options['no-ack']) bayeux.addExtension(new AcknowledgedMessagesExtension());
bayeux.policy = { canHandshake: (session, message, callback) => callback(undefined, !faults.deny) };
bayeux.addListener('sessionAdded', (session) => {
  faults.handshakes += 1;
  sessions.set(session.id, session);
});
bayeux.addListener('sessionRemoved', (session) => sessions.delete(session.id));

/** Run `act` so that each session sends what it produces in one response. */
function inOneResponse(act) {
  const wrap = (inner, session) => () => session.batch(inner);
  [...sessions.values()].reduce(wrap, act)();
}

function subscriptions() {
  const counts = {};
  for (const session of sessions.values()) {
    for (const { name } of session.subscriptions) counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

function end(how) {
  const all = [...sessions.values()];
  all.forEach(how);
  return { ended: all.length };
}

serve({
  server: createServer(bayeux.handle),
  faults,
  port: Number(options.port),
  orders: {
    publish: ({ channel, ...order }) => {
      const target = bayeux.createServerChannel(channel);
      let published = 0;
      for (const group of grouped(order)) {
        inOneResponse(() => group.forEach((data) => target.publish(null, data)));
        published += group.length;
      }
      return { published, subscribers: target.subscribers.length };
    },
    // What the server's own sweeper calls; the public disconnect() would tell the client.
    expire: () => end((session) => bayeux._removeServerSession(session, true)),
    disconnect: () => end((session) => session.disconnect()),
    state: () => ({ ...faults.counters, sessions: [...sessions.keys()], subscriptions: subscriptions() }),
  },
});
