'use strict';

// The package zookeeper on a connection that breaks. When it drops a connection it may deafen another
// socket of the process that has got the same number since; so all else is done by an aide.

const assert = require('node:assert/strict');
const { Aide, BRIEF_MS, Journal, sleep, test } = require('./harness');
const { Client, codes } = require('./zookeeper-client');

test('a session goes on after a restart, and its watches fire for what it missed', async (atEnd) => {
  const aide = new Aide(atEnd);
  // After a refused connection the package waits for its timer, up to a third of the time-out.
  const client = await Client.connect(atEnd, await aide.call('openLink'), 9000);
  const path = await client.home('restart');
  for (const name of ['changed', 'gone', 'untouched', 'parent']) await client.create(`${path}/${name}`);
  await client.create(`${path}/e`, '', codes.ZOO_EPHEMERAL);
  const session = client.id;
  const journal = new Journal();
  const watcher = () => Client.watcher(journal);
  for (const name of ['changed', 'gone', 'untouched']) {
    await client.call('aw_get', `${path}/${name}`, watcher());
  }
  await assert.rejects(client.call('aw_exists', `${path}/appeared`, watcher()));
  await client.call('aw_get_children', `${path}/parent`, watcher());

  await aide.call('control', 'stop');
  await aide.call('cutLink');
  await aide.call('control', 'start');
  await aide.call('set', `${path}/changed`);
  await aide.call('remove', `${path}/gone`);
  await aide.call('create', `${path}/appeared`);
  await aide.call('create', `${path}/parent/child`);
  await aide.call('mendLink');

  await journal.has(`changed ${path}/changed`);
  await journal.has(`deleted ${path}/gone`);
  await journal.has(`created ${path}/appeared`);
  await journal.has(`child ${path}/parent`);
  await journal.staysSilent();
  assert.equal(client.id, session);
  assert.equal((await client.stat(`${path}/e`)).ephemeralOwner, session);
  await aide.call('set', `${path}/untouched`);
  await journal.has(`changed ${path}/untouched`);
});

test('a silent session expires', async (atEnd) => {
  const aide = new Aide(atEnd);
  const client = await Client.connect(atEnd, await aide.call('openLink'), BRIEF_MS);
  const path = await client.home('expired');
  await client.create(`${path}/e`, '', codes.ZOO_EPHEMERAL);
  await sleep(2 * BRIEF_MS); // The client's pings keep it alive.
  assert.equal((await client.stat(`${path}/e`)).ephemeralOwner, client.id);

  const gone = aide.call('awaitDeletion', `${path}/e`);
  const start = Date.now();
  await aide.call('cutLink');
  await gone;
  assert.ok(Date.now() - start >= BRIEF_MS / 2, `it lived for ${Date.now() - start} ms only`);
  await aide.call('mendLink');
  await client.session.has(`close ${codes.ZOO_EXPIRED_SESSION_STATE}`);
});
