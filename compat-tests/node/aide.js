'use strict';

// A process that does for a test what the test's own process should not; see `Aide` in harness.js.

const zk = require('node-zookeeper-client');
const { Link, control, server, within } = require('./harness');

let link;
let client;

/** The client of this process. None is there while the server is down or starts. */
function connected() {
  if (!client) {
    client = zk.createClient(server);
    client.connect();
  }
  return client;
}

const call = (method, ...args) => within(method, new Promise((resolve, reject) => {
  connected()[method](...args, (error) => (error ? reject(error) : resolve()));
}));

const tasks = {
  async openLink() {
    link = await new Link().open(() => {});
    return link.address;
  },
  cutLink: () => link.cut(),
  mendLink: () => link.mend(),
  control: (what) => {
    client?.close();
    client = undefined;
    return control(what);
  },
  create: (path) => call('create', path),
  set: (path) => call('setData', path, Buffer.from('by the aide'), -1),
  remove: (path) => call('remove', path),
  awaitDeletion: (path) => within(`the end of ${path}`, new Promise((resolve, reject) => {
    const look = () => connected().exists(path, look, (error, stat) => {
      if (error) reject(error);
      else if (!stat) resolve();
    });
    look();
  })),
};

process.on('message', async ({ id, task, args }) => {
  try {
    process.send({ id, result: await tasks[task](...args) });
  } catch (error) {
    process.send({ id, error: error.message });
  }
});
process.on('disconnect', () => process.exit());
