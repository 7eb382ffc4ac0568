'use strict';

// What node-zookeeper-client, written in JavaScript alone, has to find in a server. It speaks the
// protocol of ZooKeeper 3.4: a handshake without the read-only flag, the first request has xid 0.

const assert = require('node:assert/strict');
const zk = require('node-zookeeper-client');
const {
  BRIEF_MS, CALM_MS, FRAME_BYTES_MAX, Journal, Link, control, eventually, server, sleep, test, within,
} = require('./harness');

const { Exception } = zk;
const ann = new zk.ACL(zk.Permission.ALL, new zk.Id('digest', 'u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ='));

/** The client with promises for callbacks, and with a journal of its session's states. */
class Client {
  static async connect(atEnd, address = server, sessionTimeout = CALM_MS) {
    const self = new Client();
    self.session = new Journal();
    self.client = zk.createClient(address, { sessionTimeout, spinDelay: 100 });
    self.client.on('state', (state) => self.session.note(state.name));
    self.client.connect();
    atEnd(() => self.client.close());
    await self.session.has('SYNC_CONNECTED');
    return self;
  }

  /** Ends the session and waits until it has ended. */
  async close() {
    const gone = new Promise((resolve) => this.client.once('disconnected', resolve));
    this.client.close();
    await within('the end of the session', gone);
  }

  get id() {
    return this.client.getSessionId().readBigInt64BE();
  }

  /** Calls a method; gives the one result, or the array of several. */
  call(method, ...args) {
    return within(method, new Promise((resolve, reject) => {
      this.client[method](...args, (error, ...results) => {
        if (error) reject(error);
        else resolve(results.length > 1 ? results : results[0]);
      });
    }));
  }

  create(path, data = '', mode = zk.CreateMode.PERSISTENT, acl = zk.ACL.OPEN_ACL_UNSAFE) {
    return this.call('create', path, Buffer.from(data), acl, mode);
  }

  async set(path, data, version = -1) {
    return plain(await this.call('setData', path, Buffer.from(data), version));
  }

  async get(path, watcher) {
    const [data, stat] = await this.call('getData', path, watcher);
    return [data === undefined ? undefined : data.toString(), plain(stat)];
  }

  async children(path, watcher) {
    const [names, stat] = await this.call('getChildren', path, watcher);
    return [names.sort(), plain(stat)];
  }

  async exists(path, watcher) {
    const stat = await this.call('exists', path, watcher);
    return stat && plain(stat);
  }

  remove(path, version = -1) {
    return this.call('remove', path, version);
  }

  async home(name) {
    await this.create(`/${name}`);
    return `/${name}`;
  }

  /** A watcher that notes what it hears, as "NODE_CREATED /path". */
  static watcher(journal) {
    return (event) => journal.note(`${event.getName()} ${event.getPath()}`);
  }
}

/** The client leaves 64-bit numbers as bytes. */
function plain(stat) {
  const long = (name) => stat[name].readBigInt64BE();
  const { version, cversion, aversion, dataLength, numChildren } = stat;
  return {
    czxid: long('czxid'), mzxid: long('mzxid'), pzxid: long('pzxid'), ctime: long('ctime'),
    mtime: long('mtime'), ephemeralOwner: long('ephemeralOwner'), version, cversion, aversion,
    dataLength, numChildren,
  };
}

const refuses = (promise, code) => assert.rejects(promise, (error) => {
  assert.equal(error.code, code, error.message);
  return true;
});

test('a handshake without the read-only flag is answered without it', async (atEnd) => {
  const link = await new Link().open(atEnd);
  const client = await Client.connect(atEnd, link.address);
  assert.equal(Link.first(link.sent).length, 44);
  const answer = Link.first(link.received);
  assert.equal(answer.length, 36);
  assert.equal(answer.readInt32BE(0), 0);
  assert.equal(answer.readBigInt64BE(8), client.id);
  assert.deepEqual(answer.subarray(20), client.client.getSessionPassword());
});

test("a session's timeout is moved into the server's range", async (atEnd) => {
  for (const [asked, expected] of [[100, 1000], [7000, 7000], [3600000, 30000]]) {
    const { client } = await Client.connect(atEnd, server, asked);
    assert.equal(client.getSessionTimeout(), expected);
  }
});

test('nodes are created, read, updated and deleted', async (atEnd) => {
  const client = await Client.connect(atEnd);
  const path = `${await client.home('crud')}/n`;
  assert.equal(await client.create(path, 'one'), path);
  const [data, born] = await client.get(path);
  assert.equal(data, 'one');
  assert.ok(born.czxid > 0n);
  assert.ok(Math.abs(Number(born.ctime) - Date.now()) < 60000);
  assert.deepEqual(born, {
    czxid: born.czxid, mzxid: born.czxid, pzxid: born.czxid, ctime: born.ctime, mtime: born.ctime,
    ephemeralOwner: 0n, version: 0, cversion: 0, aversion: 0, dataLength: 3, numChildren: 0,
  });

  const updated = await client.set(path, 'three', 0);
  assert.ok(updated.mzxid > born.mzxid && updated.mtime >= born.mtime);
  const { mzxid, mtime } = updated;
  assert.deepEqual(updated, { ...born, mzxid, mtime, version: 1, dataLength: 5 });
  assert.deepEqual(await client.exists(path), updated);

  await refuses(client.set(path, '', 0), Exception.BAD_VERSION);
  await refuses(client.remove(path, 0), Exception.BAD_VERSION);
  await client.remove(path, 1);
  assert.equal(await client.exists(path), null);
});

test('null and empty data differ', async (atEnd) => {
  const client = await Client.connect(atEnd);
  const path = await client.home('null');
  await client.call('create', `${path}/null`);
  await client.create(`${path}/empty`);
  const [absent] = await client.call('getData', `${path}/null`);
  const [empty] = await client.call('getData', `${path}/empty`);
  assert.equal(absent ?? null, null);
  assert.deepEqual(empty, Buffer.alloc(0));
});

test('a parent counts its children', async (atEnd) => {
  const client = await Client.connect(atEnd);
  const path = await client.home('parent');
  const empty = await client.exists(path);
  await client.create(`${path}/a`);
  await client.create(`${path}/b`);
  await client.set(`${path}/b`, 'no change to the parent');
  const two = await client.exists(path);
  await client.remove(`${path}/a`);
  const [names, one] = await client.children(path);
  assert.deepEqual(names, ['b']);
  assert.deepEqual([two.numChildren, two.cversion, one.numChildren, one.cversion], [2, 2, 1, 3]);
  assert.ok(empty.pzxid < two.pzxid && two.pzxid < one.pzxid);
  assert.deepEqual([one.mzxid, one.version], [empty.mzxid, 0]);
});

test('sequential names count every child ever created', async (atEnd) => {
  const client = await Client.connect(atEnd);
  const path = await client.home('sequential');
  const { PERSISTENT_SEQUENTIAL, EPHEMERAL_SEQUENTIAL } = zk.CreateMode;
  assert.equal(await client.create(`${path}/s-`, '', PERSISTENT_SEQUENTIAL), `${path}/s-0000000000`);
  await client.create(`${path}/plain`);
  await client.remove(`${path}/plain`);
  await refuses(client.create(`${path}/s-0000000000`), Exception.NODE_EXISTS);
  assert.equal(await client.create(`${path}/s-`, '', PERSISTENT_SEQUENTIAL), `${path}/s-0000000002`);
  assert.equal(await client.create(`${path}/e-`, '', EPHEMERAL_SEQUENTIAL), `${path}/e-0000000003`);
  assert.equal((await client.exists(`${path}/e-0000000003`)).ephemeralOwner, client.id);
});

test('an ephemeral lives as long as its session', async (atEnd) => {
  const owner = await Client.connect(atEnd);
  const witness = await Client.connect(atEnd);
  const path = await witness.home('ephemeral');
  await owner.create(`${path}/e`, 'mine', zk.CreateMode.EPHEMERAL);
  await refuses(witness.create(`${path}/e/child`), Exception.NO_CHILDREN_FOR_EPHEMERALS);

  const journal = new Journal();
  const found = await witness.exists(`${path}/e`, Client.watcher(journal));
  assert.equal(found.ephemeralOwner, owner.id);
  await witness.children(path, Client.watcher(journal));
  await owner.close();
  await journal.has(`NODE_CHILDREN_CHANGED ${path}`);
  assert.deepEqual(journal.entries, [`NODE_DELETED ${path}/e`, `NODE_CHILDREN_CHANGED ${path}`]);
  assert.equal(await witness.exists(`${path}/e`), null);
});

test('refusals have their own codes', async (atEnd) => {
  const client = await Client.connect(atEnd);
  const path = await client.home('errors');
  const none = `${path}/none`;
  await client.create(`${path}/child`);
  await refuses(client.get(none), Exception.NO_NODE);
  await refuses(client.set(none, ''), Exception.NO_NODE);
  await refuses(client.children(none), Exception.NO_NODE);
  await refuses(client.call('getACL', none), Exception.NO_NODE);
  await refuses(client.call('setACL', none, zk.ACL.OPEN_ACL_UNSAFE, -1), Exception.NO_NODE);
  await refuses(client.remove(none), Exception.NO_NODE);
  await refuses(client.create(`${none}/child`), Exception.NO_NODE);
  await refuses(client.create(path), Exception.NODE_EXISTS);
  await refuses(client.remove(path), Exception.NOT_EMPTY);
  await refuses(client.remove('/zookeeper/quota'), Exception.BAD_ARGUMENTS);
  const nonsense = [new zk.ACL(zk.Permission.ALL, new zk.Id('nonsense', 'x'))];
  await refuses(client.create(none, '', zk.CreateMode.PERSISTENT, nonsense), Exception.INVALID_ACL);
});

test('watches fire once and tell what happened', async (atEnd) => {
  const client = await Client.connect(atEnd);
  const other = await Client.connect(atEnd);
  const path = await client.home('watches');
  const node = `${path}/n`;
  const journal = new Journal();
  const watcher = () => Client.watcher(journal);

  assert.equal(await client.exists(node, watcher()), null);
  await client.children(path, watcher());
  await other.create(node);
  await journal.has(`NODE_CHILDREN_CHANGED ${path}`);
  await client.get(node, watcher());
  await other.set(node, '1');
  await journal.has(`NODE_DATA_CHANGED ${node}`);
  await other.set(node, 'nobody watches any more');
  await journal.staysSilent();

  await client.get(node, watcher());
  await client.children(path, watcher());
  await other.call('setACL', node, zk.ACL.OPEN_ACL_UNSAFE, -1);
  await other.remove(node);
  await eventually('both events of the deletion', () => journal.entries.length === 5);
  await journal.staysSilent();
  assert.deepEqual(journal.entries, [
    `NODE_CREATED ${node}`, `NODE_CHILDREN_CHANGED ${path}`, `NODE_DATA_CHANGED ${node}`,
    `NODE_DELETED ${node}`, `NODE_CHILDREN_CHANGED ${path}`,
  ]);
});

test("a notification comes before the write's reply", async (atEnd) => {
  const client = await Client.connect(atEnd);
  const path = await client.home('before-reply');
  for (let i = 0; i < 50; i++) {
    const journal = new Journal();
    await client.get(path, Client.watcher(journal));
    await client.set(path, '', i).then(() => journal.note('reply'));
    assert.deepEqual(journal.entries, [`NODE_DATA_CHANGED ${path}`, 'reply']);
  }
});

test('a reader hears of a change before it sees it', async (atEnd) => {
  const reader = await Client.connect(atEnd);
  const writer = await Client.connect(atEnd);
  const path = await writer.home('reader');
  for (let i = 0; i < 50; i++) {
    const journal = new Journal();
    await reader.get(path, Client.watcher(journal));
    await writer.set(path, `${i}`);
    const [data] = await reader.get(path);
    journal.note(data);
    assert.deepEqual(journal.entries, [`NODE_DATA_CHANGED ${path}`, `${i}`]);
  }
});

const commit = (transaction) => within('the transaction', new Promise((resolve) => {
  transaction.commit((error, results) => resolve([error, results]));
}));

test('a transaction does all', async (atEnd) => {
  const client = await Client.connect(atEnd);
  const path = await client.home('multi');
  await client.create(`${path}/old`);
  const [error, results] = await commit(client.client.transaction()
    .create(`${path}/new`, Buffer.from('1'))
    .create(`${path}/s-`, Buffer.from(''), zk.CreateMode.PERSISTENT_SEQUENTIAL)
    .setData(`${path}/new`, Buffer.from('two'))
    .check(`${path}/new`, 1)
    .remove(`${path}/old`));

  assert.equal(error ?? null, null);
  assert.deepEqual(results.map(({ type }) => type), [1, 1, 5, 13, 2]);
  assert.equal(results[0].path, `${path}/new`);
  assert.equal(results[1].path, `${path}/s-0000000002`);
  const stat = await client.exists(`${path}/new`);
  assert.deepEqual(plain(results[2].stat), stat);
  assert.deepEqual([stat.version, stat.czxid], [1, stat.mzxid]);
  const [names, parent] = await client.children(path);
  assert.deepEqual(names, ['new', 's-0000000002']);
  assert.equal(parent.pzxid, stat.czxid);
});

test('a failed transaction does nothing', async (atEnd) => {
  const client = await Client.connect(atEnd);
  const path = await client.home('multi-failed');
  const before = await client.exists(path);
  const journal = new Journal();
  await client.get(path, Client.watcher(journal));
  const [error, results] = await commit(client.client.transaction()
    .create(`${path}/s-`, Buffer.from(''), zk.CreateMode.PERSISTENT_SEQUENTIAL)
    .setData(path, Buffer.from('changed'))
    .check(path, 9)
    .remove(`${path}/never`));

  assert.equal(error.code, Exception.BAD_VERSION);
  const { OK, BAD_VERSION, RUNTIME_INCONSISTENCY } = Exception;
  assert.deepEqual(results.map(({ type }) => type), [-1, -1, -1, -1]);
  assert.deepEqual(results.map(({ err }) => err), [OK, OK, BAD_VERSION, RUNTIME_INCONSISTENCY]);
  await journal.staysSilent();
  assert.deepEqual(await client.exists(path), before);
  const name = await client.create(`${path}/s-`, '', zk.CreateMode.PERSISTENT_SEQUENTIAL);
  assert.equal(name, `${path}/s-0000000000`, 'no number is lost');
});

test('a digest ACL admits its user only', async (atEnd) => {
  const owner = await Client.connect(atEnd);
  const stranger = await Client.connect(atEnd);
  const path = `${await owner.home('digest')}/secret`;
  owner.client.addAuthInfo('digest', Buffer.from('u:p'));
  await owner.create(path, 'data', zk.CreateMode.PERSISTENT, [ann]);
  const [acl] = await owner.call('getACL', path);
  assert.deepEqual(acl, [ann]);

  for (const credentials of [null, 'u:wrong']) {
    if (credentials) stranger.client.addAuthInfo('digest', Buffer.from(credentials));
    await refuses(stranger.get(path), Exception.NO_AUTH);
    await refuses(stranger.exists(path), Exception.NO_AUTH);
    await refuses(stranger.children(path), Exception.NO_AUTH);
    await refuses(stranger.set(path, ''), Exception.NO_AUTH);
    await refuses(stranger.call('getACL', path), Exception.NO_AUTH);
    await refuses(stranger.call('setACL', path, [ann], -1), Exception.NO_AUTH);
    await refuses(stranger.create(`${path}/child`), Exception.NO_AUTH);
  }
  stranger.client.addAuthInfo('digest', Buffer.from('u:p'));
  assert.equal((await stranger.get(path))[0], 'data');
});

test("the auth scheme stands for the creator's identities", async (atEnd) => {
  const client = await Client.connect(atEnd);
  const path = await client.home('auth');
  const creator = zk.ACL.CREATOR_ALL_ACL;
  await refuses(client.create(`${path}/n`, '', 0, creator), Exception.INVALID_ACL);
  client.client.addAuthInfo('digest', Buffer.from('u:p'));
  await client.create(`${path}/n`, '', 0, creator);
  assert.deepEqual((await client.call('getACL', `${path}/n`))[0], [ann]);

  const stat = plain(await client.call('setACL', `${path}/n`, zk.ACL.READ_ACL_UNSAFE, 0));
  assert.deepEqual([stat.aversion, stat.version], [1, 0]);
  await refuses(client.call('setACL', `${path}/n`, creator, -1), Exception.NO_AUTH);
  await refuses(client.set(`${path}/n`, ''), Exception.NO_AUTH);
});

test('an unknown scheme fails the authentication', async (atEnd) => {
  const client = await Client.connect(atEnd);
  client.client.addAuthInfo('nonsense', Buffer.from('x'));
  await client.session.has('AUTH_FAILED');
});

test('values of up to a mebibyte come back as written', async (atEnd) => {
  const client = await Client.connect(atEnd);
  const path = await client.home('big');
  // The largest frame, less the header, the path and its length, the data's length and the version.
  const bytesMax = FRAME_BYTES_MAX - (8 + 4 + path.length + 4 + 4);
  for (const bytes of [1, 1 << 10, 64 << 10, 1000 << 10, bytesMax]) {
    const data = Buffer.from(Uint8Array.from({ length: bytes }, (_, i) => i % 251));
    assert.equal((await client.set(path, data)).dataLength, bytes);
    const [read] = await client.call('getData', path);
    assert.ok(read.equals(data), `${bytes} bytes`);
  }
  await refuses(client.set(path, Buffer.alloc(bytesMax + 1)), Exception.CONNECTION_LOSS);
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
  const note = (value) => (error, result) => journal.note(error ? error.message : value(result));
  const { PERSISTENT_SEQUENTIAL } = zk.CreateMode;
  const expected = [];
  for (let i = 0; i < 300; i++) {
    // Nothing is awaited before the last request is under way.
    client.client.create(`${path}/s-`, PERSISTENT_SEQUENTIAL, note((name) => name));
    client.client.setData(node, Buffer.from(`${i}`), i, note((stat) => stat.version));
    client.client.getData(node, note((data) => data.toString()));
    expected.push(`${path}/s-${String(i + 1).padStart(10, '0')}`, i + 1, `${i}`);
  }
  await eventually('the replies', () => journal.entries.length === expected.length);
  const wrong = expected.findIndex((entry, i) => journal.entries[i] !== entry);
  assert.equal(journal.entries[wrong], expected[wrong], `reply ${wrong}`);
});

test('a chroot is transparent', async (atEnd) => {
  const client = await Client.connect(atEnd);
  const path = await client.home('chroot');
  const inner = await Client.connect(atEnd, server + path);
  const journal = new Journal();
  assert.equal(await inner.exists('/n', Client.watcher(journal)), null);
  await client.create(`${path}/n`, 'data');
  await journal.has('NODE_CREATED /n');
  assert.equal((await inner.get('/n'))[0], 'data');
  assert.equal(await inner.call('mkdirp', '/n/a/b'), '/n/a/b');
  await inner.call('removeRecursive', '/n/a');
  assert.deepEqual(await inner.children('/n').then(([names]) => names), []);
});

test('a session goes on after a restart, and its watches fire for what it missed', async (atEnd) => {
  const link = await new Link().open(atEnd);
  const client = await Client.connect(atEnd, link.address);
  client.client.addAuthInfo('digest', Buffer.from('u:p'));
  const path = await client.home('restart');
  for (const name of ['changed', 'gone', 'untouched', 'parent', 'quiet']) {
    await client.create(`${path}/${name}`);
  }
  await client.create(`${path}/e`, '', zk.CreateMode.EPHEMERAL);
  await client.create(`${path}/mine`, 'secret', zk.CreateMode.PERSISTENT, [ann]);
  const session = client.id;
  const journal = new Journal();
  const watcher = () => Client.watcher(journal);
  for (const name of ['changed', 'gone', 'untouched']) await client.get(`${path}/${name}`, watcher());
  assert.equal(await client.exists(`${path}/appeared`, watcher()), null);
  for (const name of ['parent', 'quiet']) await client.children(`${path}/${name}`, watcher());

  await control('stop');
  link.cut();
  await control('start');
  const other = await Client.connect(atEnd);
  await other.set(`${path}/changed`, 'while it was away');
  await other.remove(`${path}/gone`);
  await other.create(`${path}/appeared`);
  await other.create(`${path}/parent/child`);
  link.mend();

  await journal.has(`NODE_DATA_CHANGED ${path}/changed`);
  await journal.has(`NODE_DELETED ${path}/gone`);
  await journal.has(`NODE_CREATED ${path}/appeared`);
  await journal.has(`NODE_CHILDREN_CHANGED ${path}/parent`);
  await journal.staysSilent();
  assert.equal(client.id, session);
  assert.equal((await other.exists(`${path}/e`)).ephemeralOwner, session);
  assert.equal((await client.get(`${path}/mine`))[0], 'secret');

  await other.set(`${path}/untouched`, '');
  await other.create(`${path}/quiet/child`);
  await journal.has(`NODE_CHILDREN_CHANGED ${path}/quiet`);
  assert.deepEqual(journal.entries.slice(4), [
    `NODE_DATA_CHANGED ${path}/untouched`, `NODE_CHILDREN_CHANGED ${path}/quiet`,
  ]);
});

test('a session moves to a second connection and ends with it', async (atEnd) => {
  const link = await new Link().open(atEnd);
  const witness = await Client.connect(atEnd);
  const first = await Client.connect(atEnd, link.address);
  const path = await witness.home('moved');
  await first.create(`${path}/e`, '', zk.CreateMode.EPHEMERAL);
  link.cut();

  // The client has these options, though its documentation does not say so.
  const resume = async (password) => {
    const session = new Journal();
    const client = zk.createClient(server, {
      sessionTimeout: CALM_MS, sessionId: first.client.getSessionId(), sessionPassword: password,
    });
    client.on('state', (state) => session.note(state.name));
    client.connect();
    return { client, session };
  };
  const password = first.client.getSessionPassword();
  const forged = Buffer.from(password);
  forged[0] ^= 1;
  await (await resume(forged)).session.has('EXPIRED');
  assert.notEqual(await witness.exists(`${path}/e`), null);

  const second = await resume(password);
  await second.session.has('SYNC_CONNECTED');
  assert.equal(second.client.getSessionId().readBigInt64BE(), first.id);
  const journal = new Journal();
  await witness.exists(`${path}/e`, Client.watcher(journal));
  second.client.close();
  await journal.has(`NODE_DELETED ${path}/e`);
  link.mend();
  await first.session.has('EXPIRED');
});

test('a silent session expires', async (atEnd) => {
  const link = await new Link().open(atEnd);
  const witness = await Client.connect(atEnd);
  const client = await Client.connect(atEnd, link.address, BRIEF_MS);
  const path = await witness.home('expired');
  await client.create(`${path}/e`, '', zk.CreateMode.EPHEMERAL);
  const journal = new Journal();
  await witness.exists(`${path}/e`, Client.watcher(journal));
  await sleep(2 * BRIEF_MS); // The client's pings keep it alive.
  assert.deepEqual(journal.entries, []);

  link.cut();
  const start = Date.now();
  await journal.has(`NODE_DELETED ${path}/e`);
  assert.ok(Date.now() - start >= BRIEF_MS / 2, `it lived for ${Date.now() - start} ms only`);
  link.mend();
  await client.session.has('EXPIRED');
  assert.equal(await witness.exists(`${path}/e`), null);
});
