'use strict';

// What the package zookeeper has to find in a server: the single-threaded C client, driven by Node's
// event loop, with which it sends and receives while a program does other things.

const assert = require('node:assert/strict');
const { FRAME_BYTES_MAX, Journal, eventually, server, test } = require('./harness');
const { Client, codes } = require('./zookeeper-client');

const ann = { perms: codes.ZOO_PERM_ALL, scheme: 'digest', auth: 'u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=' };

const refuses = (promise, code) => assert.rejects(promise, (error) => {
  assert.equal(error.code, code, error.message);
  return true;
});

test("a session has an id, a password and a timeout in the server's range", async (atEnd) => {
  for (const [asked, expected] of [[100, 1000], [7000, 7000], [3600000, 30000]]) {
    const { client } = await Client.connect(atEnd, server, asked);
    assert.match(client.client_id, /^[0-9a-f]{1,16}$/);
    assert.match(client.client_password, /^[0-9a-f]{32}$/i);
    assert.equal(client.timeout, expected);
  }
});

test('nodes are created, read, updated and deleted', async (atEnd) => {
  const client = await Client.connect(atEnd);
  const path = `${await client.home('crud')}/n`;
  assert.equal(await client.create(path, 'one'), path);
  const [data, born] = await client.get(path);
  assert.equal(data, 'one');
  assert.deepEqual([born.mzxid, born.pzxid, born.mtime], [born.czxid, born.czxid, born.ctime]);
  assert.deepEqual([born.version, born.cversion, born.aversion, born.numChildren], [0, 0, 0, 0]);
  assert.ok(Math.abs(born.ctime - Date.now()) < 60000);
  const updated = await client.set(path, Buffer.from('three'), 0);
  assert.ok(updated.mzxid > born.mzxid);
  assert.deepEqual([updated.version, updated.dataLength, updated.czxid], [1, 5, born.czxid]);
  assert.deepEqual(await client.stat(path), updated);

  await refuses(client.set(path, '', 0), codes.ZBADVERSION);
  await refuses(client.remove(path, 0), codes.ZBADVERSION);
  await client.remove(path, 1);
  await refuses(client.stat(path), codes.ZNONODE);
});

test('every mode of creation', async (atEnd) => {
  const client = await Client.connect(atEnd);
  const path = await client.home('modes');
  const { ZOO_EPHEMERAL_SEQUENTIAL, ZOO_PERSISTENT_SEQUENTIAL } = codes;
  assert.equal(await client.create(`${path}/s-`, '', ZOO_PERSISTENT_SEQUENTIAL), `${path}/s-0000000000`);
  assert.equal(await client.create(`${path}/e-`, '', ZOO_EPHEMERAL_SEQUENTIAL), `${path}/e-0000000001`);
  assert.equal((await client.stat(`${path}/e-0000000001`)).ephemeralOwner, client.id);
  await client.create(`${path}/e`, '', codes.ZOO_EPHEMERAL);
  await refuses(client.create(`${path}/e/child`), codes.ZNOCHILDRENFOREPHEMERALS);

  const journal = new Journal();
  const watch = (node) => client.call('aw_exists', `${path}/${node}`, Client.watcher(journal));
  await client.create(`${path}/c`, '', codes.ZOO_CONTAINER);
  await client.create(`${path}/c/child`);
  await client.call('a_createTtl', `${path}/t`, '', codes.ZOO_PERSISTENT_WITH_TTL, 1500);
  const long = codes.ZOO_PERSISTENT_SEQUENTIAL_WITH_TTL;
  const name = await client.call('a_createTtl', `${path}/s-`, '', long, 3600000);
  assert.equal(name, `${path}/s-0000000005`);
  assert.equal((await watch('c')).ephemeralOwner, '0');
  assert.equal((await watch('t')).ephemeralOwner, '0');
  await client.remove(`${path}/c/child`);
  await journal.has(`deleted ${path}/c`);
  await journal.has(`deleted ${path}/t`);
  assert.deepEqual((await client.children(path))[0], ['e', 'e-0000000001', 's-0000000000', 's-0000000005']);
});

test('refusals have their own codes', async (atEnd) => {
  const client = await Client.connect(atEnd);
  const path = await client.home('errors');
  const none = `${path}/none`;
  await client.create(`${path}/child`);
  await refuses(client.call('a_get', none, false), codes.ZNONODE);
  await refuses(client.set(none, ''), codes.ZNONODE);
  await refuses(client.children(none), codes.ZNONODE);
  await refuses(client.remove(none), codes.ZNONODE);
  await refuses(client.create(`${none}/child`), codes.ZNONODE);
  await refuses(client.create(path), codes.ZNODEEXISTS);
  await refuses(client.remove(path), codes.ZNOTEMPTY);
  await refuses(client.remove('/zookeeper/quota'), codes.ZBADARGUMENTS);
  await refuses(client.call('a_reconfig', null, '1', null, -1), -123);
  assert.equal(await client.call('a_sync', path), path);
  assert.equal((await client.call('a_getconfig', false))[1].length, 0);
});

test('watches fire once and tell what happened', async (atEnd) => {
  const client = await Client.connect(atEnd);
  const other = await Client.connect(atEnd);
  const path = await client.home('watches');
  const node = `${path}/n`;
  const journal = new Journal();
  await refuses(client.call('aw_exists', node, Client.watcher(journal)), codes.ZNONODE);
  await client.call('aw_get_children', path, Client.watcher(journal));
  await other.create(node);
  await journal.has(`child ${path}`);
  await client.call('aw_get', node, Client.watcher(journal));
  await other.set(node, '1');
  await journal.has(`changed ${node}`);
  await other.set(node, 'nobody watches any more');
  await journal.staysSilent();
  await client.call('aw_get', node, Client.watcher(journal));
  await client.call('aw_get_children2', path, Client.watcher(journal));
  await other.remove(node);
  await eventually('both events of the deletion', () => journal.entries.length === 5);
  assert.deepEqual(journal.entries, [
    `created ${node}`, `child ${path}`, `changed ${node}`, `deleted ${node}`, `child ${path}`,
  ]);
});

test("a notification comes before the write's reply", async (atEnd) => {
  const client = await Client.connect(atEnd);
  const path = await client.home('before-reply');
  for (let i = 0; i < 50; i++) {
    const journal = new Journal();
    await client.call('aw_get', path, Client.watcher(journal));
    await client.set(path, '', i).then(() => journal.note('reply'));
    assert.deepEqual(journal.entries, [`changed ${path}`, 'reply']);
  }
});

test('a digest ACL admits its user only', async (atEnd) => {
  const owner = await Client.connect(atEnd);
  const stranger = await Client.connect(atEnd);
  const path = `${await owner.home('digest')}/secret`;
  await owner.call('add_auth', 'digest', 'u:p');
  await owner.create(path, 'data');
  const creator = { perms: codes.ZOO_PERM_ALL, scheme: 'auth', auth: '' };
  await refuses(stranger.call('a_set_acl', path, -1, [creator]), codes.ZINVALIDACL);
  await owner.call('a_set_acl', path, 0, [creator]);
  const [acl, stat] = await owner.call('a_get_acl', path);
  assert.deepEqual(acl.map((entry) => ({ ...entry })), [ann]);
  assert.equal(stat.aversion, 1);

  for (const credentials of [null, 'u:wrong']) {
    if (credentials) await stranger.call('add_auth', 'digest', credentials);
    await refuses(stranger.call('a_get', path, false), codes.ZNOAUTH);
    await refuses(stranger.stat(path), codes.ZNOAUTH);
    await refuses(stranger.children(path), codes.ZNOAUTH);
    await refuses(stranger.set(path, ''), codes.ZNOAUTH);
    await refuses(stranger.call('a_set_acl', path, -1, [ann]), codes.ZNOAUTH);
    await refuses(stranger.create(`${path}/child`), codes.ZNOAUTH);
  }
  await stranger.call('add_auth', 'digest', 'u:p');
  assert.equal((await stranger.get(path))[0], 'data');
});

test('values of up to a mebibyte come back as written', async (atEnd) => {
  const client = await Client.connect(atEnd);
  const path = await client.home('big');
  // The largest frame, less the header, the path and its length, the data's length and the version.
  const bytesMax = FRAME_BYTES_MAX - (8 + 4 + path.length + 4 + 4);
  for (const bytes of [1, 1 << 10, 64 << 10, 1000 << 10, bytesMax]) {
    const data = Buffer.from(Uint8Array.from({ length: bytes }, (_, i) => i % 251));
    assert.equal((await client.set(path, data)).dataLength, bytes);
    const [, read] = await client.call('a_get', path, false);
    assert.ok(read.equals(data), `${bytes} bytes`);
  }
});

test('a thousand children are listed', async (atEnd) => {
  const client = await Client.connect(atEnd);
  const path = await client.home('thousand');
  const expected = Array.from({ length: 1000 }, (_, i) => `child-${String(i).padStart(4, '0')}`);
  await Promise.all(expected.map((name) => client.create(`${path}/${name}`)));
  const [names, stat] = await client.children(path);
  assert.deepEqual(names, expected);
  assert.deepEqual([stat.numChildren, stat.cversion], [1000, 1000]);
});

test('pipelined requests are done in order', async (atEnd) => {
  const client = await Client.connect(atEnd);
  const path = await client.home('pipelined');
  const node = await client.create(`${path}/n`);
  const journal = new Journal();
  const expected = [];
  for (let i = 0; i < 300; i++) {
    // Nothing is awaited before the last request is under way.
    client.client.a_create(`${path}/s-`, '', codes.ZOO_SEQUENCE, (rc, _, name) => journal.note(name));
    client.client.a_set(node, `${i}`, i, (rc, _, stat) => journal.note(stat?.version));
    client.client.a_get(node, false, (rc, _, stat, data) => journal.note(`${data}`));
    expected.push(`${path}/s-${String(i + 1).padStart(10, '0')}`, i + 1, `${i}`);
  }
  await eventually('the replies', () => journal.entries.length === expected.length);
  const wrong = expected.findIndex((entry, i) => journal.entries[i] !== entry);
  assert.equal(journal.entries[wrong], expected[wrong], `reply ${wrong}`);
});
