// The same with the official JavaScript client on Node: `node script.js URL PATH [ack] [fsync]`. One write for each answer.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
require('cometd-nodejs-client').adapt();
const { AckExtension, CometD } = require('cometd');

const [url, path, ...options] = process.argv.slice(2);
const file = fs.openSync(path, 'a');
const client = new CometD();
const last = new Map();
let number = 0;
let lines = '';

function event(data) {
  const { chat } = data;
  const code = chat.userData.DispositionCode;
  const before = last.get(chat.id) ?? null;
  last.set(chat.id, code);
  number += 1;
  return {
    specversion: '1.0',
    type: 'script.chat.disposition',
    source: 'http://127.0.0.1/v2/me/chats',
    id: crypto.randomUUID(),
    subject: chat.id,
    time: new Date(data.metrics.eventProcessing.serverGenerationTimestamp).toISOString(),
    datacontenttype: 'application/json',
    sequence: String(number),
    data: {
      change: before === null ? 'set' : before === code ? 'unchanged' : 'changed',
      key: 'DispositionCode',
      disposition: code,
      previous: before,
      chatId: chat.id,
      chatState: chat.state,
      chatUri: chat.uri,
      referenceId: data.referenceId,
      account: 'listener',
      participants: chat.participants.filter((party) => party.type === 'Agent'),
      userData: {},
      receivedAt: new Date().toISOString(),
      origin: 'notification',
    },
  };
}

if (options.includes('ack')) client.registerExtension('ack', new AckExtension());
client.unregisterTransport('websocket');
client.configure({ url });
client.addListener('/meta/connect', () => {
  if (lines === '') return;
  fs.writeSync(file, lines);
  if (options.includes('fsync')) fs.fsyncSync(file);
  lines = '';
});
client.handshake((reply) => {
  if (!reply.successful) process.exit(1);
  client.subscribe('/v2/me/chats', ({ data }) => {
    if (data.notificationType === 'PropertiesUpdated') lines += `${JSON.stringify(event(data))}\n`;
  });
});
