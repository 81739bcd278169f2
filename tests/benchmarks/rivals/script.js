// The same with the official JavaScript client on Node.
'use strict';
const fs = require('fs');
require('cometd-nodejs-client').adapt();
const { CometD } = require('cometd');

const [url, path] = process.argv.slice(2);
const file = fs.openSync(path, 'a');
const client = new CometD();
client.unregisterTransport('websocket');
client.configure({ url });
client.handshake((reply) => {
  if (!reply.successful) process.exit(1);
  client.subscribe('/v2/me/chats', ({ data }) => {
    if (data.notificationType !== 'PropertiesUpdated') return;
    fs.writeSync(file, `${JSON.stringify({ chatId: data.chat.id, disposition: data.chat.userData.DispositionCode })}\n`);
  });
});
