/**
 * faye (long-polling and websocket, no ack extension), under the remote control of control.js.
 *
 *   node faye_server.js [--port 0] [--timeout-ms 3000]
 *
 * It answers on /bayeux. Orders of its own: `cut` {} destroys every websocket.
 */
'use strict';

const { parseArgs } = require('node:util');
const faye = require('faye');
const { Faults, createServer, grouped, serve } = require('./control');

const { values: options } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    'timeout-ms': { type: 'string', default: '3000' },
  },
});

const faults = new Faults();
const sessions = new Set();
const subscriptions = {};
const sockets = new Set();
const bayeux = new faye.NodeAdapter({ mount: '/bayeux', timeout: Number(options['timeout-ms']) / 1000 });

bayeux.addExtension({
  incoming: (message, callback) => {
    if (message.channel === '/meta/handshake' && faults.deny) message.error = '403::Handshake denied';
    callback(message);
  },
});
bayeux.on('handshake', (id) => {
  faults.handshakes += 1;
  sessions.add(id);
});
bayeux.on('disconnect', (id) => sessions.delete(id));
bayeux.on('subscribe', (id, channel) => { subscriptions[channel] = (subscriptions[channel] ?? 0) + 1; });
bayeux.on('unsubscribe', (id, channel) => { subscriptions[channel] -= 1; });

/**
 * Hand messages to the server as its own code does. The public getClient() would open a session of its own, which
 * then stands among those under test; and there is no public call that forgets a session.
 */
function inside(messages) {
  return new Promise((resolve) => { bayeux._server.process(messages, null, resolve); });
}

const server = createServer();
bayeux.attach(server);
server.on('upgrade', (req, socket) => {
  sockets.add(socket);
  socket.once('close', () => sockets.delete(socket));
});

serve({
  server,
  faults,
  port: Number(options.port),
  orders: {
    publish: async ({ channel, ...order }) => {
      let published = 0;
      for (const group of grouped(order)) {
        await inside(group.map((data) => ({ channel, data })));
        published += group.length;
      }
      return { published, subscribers: subscriptions[channel] ?? 0 };
    },
    expire: async () => {
      const all = [...sessions];
      if (all.length > 0) await inside(all.map((clientId) => ({ channel: '/meta/disconnect', clientId })));
      return { ended: all.length };
    },
    cut: () => {
      for (const socket of sockets) socket.destroy();
      return { ended: sockets.size };
    },
    state: () => ({ ...faults.counters, sessions: [...sessions], subscriptions }),
  },
});
