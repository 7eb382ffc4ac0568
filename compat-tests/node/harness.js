'use strict';

// What the tests of the Node clients share: the server, waits with a bound, and the link.

const assert = require('node:assert/strict');
const { execFile, fork } = require('node:child_process');
const net = require('node:net');
const nodeTest = require('node:test');
const { join } = require('node:path');
const { promisify } = require('node:util');

const PATIENCE_MS = 20000; // Bounds every wait for something that must happen.
const SILENCE_MS = 300; // How long a test listens for something that must not happen.
const CALM_MS = 30000; // A session time-out that no test outlives.
const BRIEF_MS = 2500; // A session time-out for tests that let one expire.
const TEST_LIMIT_MS = 60000;
const FRAME_BYTES_MAX = 0xfffff;

const port = Number(process.env.COMPAT_PORT);
const server = `127.0.0.1:${port}`;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** One test; its function gets `atEnd`, which takes what has to be done when the test is over. */
function test(name, body) {
  nodeTest(name, { timeout: TEST_LIMIT_MS }, async () => {
    const last = [];
    try {
      await body((action) => last.push(action));
    } finally {
      for (const action of last.reverse()) await action();
    }
  });
}

/** Stops or starts the server. */
async function control(what) {
  await promisify(execFile)(process.env.COMPAT_CONTROL, [what, process.env.COMPAT_DIR]);
}

async function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), PATIENCE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function eventually(what, holds) {
  for (const end = Date.now() + PATIENCE_MS; !holds(); await sleep(10)) {
    if (Date.now() > end) assert.fail(`waited in vain for ${what}`);
  }
}

/** What a client heard, in the order in which it heard it. */
class Journal {
  constructor() {
    this.entries = [];
  }

  note(entry) {
    this.entries.push(entry);
  }

  async has(entry) {
    await eventually(`"${entry}" among ${JSON.stringify(this.entries)}`, () =>
      this.entries.includes(entry),
    );
  }

  async staysSilent() {
    const before = [...this.entries];
    await sleep(SILENCE_MS);
    assert.deepEqual(this.entries, before);
  }
}

/**
 * A TCP connection that a test can cut and mend: the client dials the link, the link dials the
 * server. It keeps the bytes of the newest connection, so that a test can look at what the client
 * hides. While it is cut, connections are accepted and closed at once, as a dead route's would be.
 */
class Link {
  constructor() {
    this.isCut = false;
    this.sockets = new Set();
    this.listener = net.createServer((client) => this.join(client));
  }

  async open(atEnd) {
    await new Promise((resolve) => this.listener.listen(0, '127.0.0.1', resolve));
    atEnd(() => {
      this.cut();
      this.listener.close();
    });
    return this;
  }

  get address() {
    return `127.0.0.1:${this.listener.address().port}`;
  }

  join(client) {
    client.on('error', () => {});
    if (this.isCut) {
      client.destroy();
      return;
    }
    const upstream = net.connect(port, '127.0.0.1');
    upstream.on('error', () => {});
    this.sent = [];
    this.received = [];
    client.on('data', (chunk) => this.sent.push(chunk));
    upstream.on('data', (chunk) => this.received.push(chunk));
    client.pipe(upstream);
    upstream.pipe(client);
    for (const [one, other] of [[client, upstream], [upstream, client]]) {
      this.sockets.add(one);
      one.on('close', () => {
        this.sockets.delete(one);
        other.destroy();
      });
    }
  }

  cut() {
    this.isCut = true;
    for (const socket of this.sockets) socket.destroy();
  }

  mend() {
    this.isCut = false;
  }

  /** The first frame's payload of what the newest connection's client has sent or received. */
  static first(chunks) {
    const bytes = Buffer.concat(chunks);
    return bytes.subarray(4, 4 + bytes.readInt32BE(0));
  }
}

/** Another process, which does the tasks of aide.js. */
class Aide {
  constructor(atEnd) {
    this.waiting = new Map();
    this.process = fork(join(__dirname, 'aide.js'));
    this.process.on('message', ({ id, result, error }) => {
      const { resolve, reject } = this.waiting.get(id);
      if (error) reject(new Error(`aide: ${error}`));
      else resolve(result);
    });
    atEnd(() => this.process.disconnect());
  }

  call(task, ...args) {
    const id = this.waiting.size;
    return within(task, new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.process.send({ id, task, args });
    }));
  }
}

module.exports = {
  Aide, BRIEF_MS, CALM_MS, FRAME_BYTES_MAX, Journal, Link, control, eventually, server, sleep, test, within,
};
