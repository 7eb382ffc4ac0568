'use strict';

// The package zookeeper with bounded calls, and with a journal of its session's states.

const ZooKeeper = require('zookeeper');
const { CALM_MS, Journal, server, within } = require('./harness');

const codes = ZooKeeper.constants;
const events = new Map([
  [codes.ZOO_CREATED_EVENT, 'created'], [codes.ZOO_DELETED_EVENT, 'deleted'],
  [codes.ZOO_CHANGED_EVENT, 'changed'], [codes.ZOO_CHILD_EVENT, 'child'],
]);

class Client {
  static async connect(atEnd, address = server, timeout = CALM_MS) {
    const self = new Client();
    self.session = new Journal();
    self.client = new ZooKeeper({
      connect: address,
      timeout,
      debug_level: 0,
      // By default the package gives up a connection on which a large reply comes in pieces.
      response_counter_limit: 1000000,
    });
    self.client.on('connect', () => self.session.note('connect'));
    self.client.on('close', (client, code) => self.session.note(`close ${code}`));
    self.client.init({});
    atEnd(() => self.client.close());
    await self.session.has('connect');
    return self;
  }

  get id() {
    return this.client.client_id;
  }

  /** Calls an asynchronous method; gives its one result, or the array of several. */
  call(method, ...args) {
    return within(method, new Promise((resolve, reject) => {
      const done = (code, text, ...results) => {
        if (code !== codes.ZOK) reject(Object.assign(new Error(`${method}: ${text}`), { code }));
        else resolve(results.length > 1 ? results : results[0]);
      };
      const code = this.client[method](...args, done);
      if (code !== codes.ZOK) done(code, 'not even sent');
    }));
  }

  create(path, data = '', flags = codes.ZOO_PERSISTENT) {
    return this.call('a_create', path, data, flags);
  }

  set(path, data, version = -1) {
    return this.call('a_set', path, data, version);
  }

  /** The data as text, and the stat. */
  async get(path) {
    const [stat, data] = await this.call('a_get', path, false);
    return [data.toString(), stat];
  }

  stat(path) {
    return this.call('a_exists', path, false);
  }

  remove(path, version = -1) {
    return this.call('a_delete_', path, version);
  }

  async children(path) {
    const [names, stat] = await this.call('a_get_children2', path, false);
    return [names.sort(), stat];
  }

  async home(name) {
    await this.create(`/${name}`);
    return `/${name}`;
  }

  /** A watcher that notes what it hears, as "created /path". */
  static watcher(journal) {
    return (type, state, path) => {
      if (events.has(type)) journal.note(`${events.get(type)} ${path}`);
    };
  }
}

module.exports = { Client, codes };
