// SPDX-License-Identifier: BSD-3-Clause
// What users of node-redis do every day, in both protocol versions.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { createClient, createClientPool, WatchError } from 'redis';
import { startServer } from './server.mjs';

for (const RESP of [2, 3]) {
  describe(`node-redis, RESP${RESP}`, () => {
    let server;
    let client;
    const socket = () => ({ host: '127.0.0.1', port: server.port });

    before(async () => {
      server = await startServer();
      client = await createClient({ RESP, socket: socket() }).connect();
    });
    after(async () => {
      await client?.close();
      await server?.stop();
    });
    beforeEach(() => client.flushAll());

    test('sets and gets', async () => {
      assert.equal(await client.set('a', 'one'), 'OK');
      assert.equal(await client.get('a'), 'one');
      assert.equal(await client.get('none'), null);
      assert.equal(await client.set('a', 'two', { condition: 'NX' }), null);
      assert.equal(await client.set('a', 'three', { GET: true }), 'one');
      assert.equal(await client.getDel('a'), 'three');
    });

    test('knows times to live', async () => {
      await client.set('t', '1', { expiration: { type: 'EX', value: 100 } });
      assert.ok((await client.ttl('t')) > 90);
      assert.equal(await client.persist('t'), 1);
      assert.equal(await client.ttl('t'), -1);
      assert.equal(await client.pExpire('t', 50), 1);
      await new Promise((done) => setTimeout(done, 100));
      assert.equal(await client.exists('t'), 0);
    });

    test('counts and measures', async () => {
      assert.equal(await client.incrBy('n', 7), 7);
      assert.equal(await client.append('s', 'abc'), 3);
      assert.equal(await client.setRange('s', 1, 'XX'), 3);
      assert.equal(await client.getRange('s', 0, -1), 'aXX');
      assert.equal(Number(await client.incrByFloat('f', 1.25)), 1.25);
    });

    test('answers commands of one tick in order', async () => {
      const wanted = Array.from({ length: 2000 }, (_, i) => `v${i}`);
      const replies = await Promise.all(wanted.flatMap((value, i) => [client.set(`k${i}`, value), client.get(`k${i}`)]));
      wanted.forEach((value, i) => assert.equal(replies[2 * i + 1], value));
      assert.equal(await client.dbSize(), 2000);
    });

    test('scans with an iterator', async () => {
      await Promise.all(Array.from({ length: 1500 }, (_, i) => client.set(`it:${i}`, '')));
      const seen = new Set();
      for await (const keys of client.scanIterator({ MATCH: 'it:*', COUNT: 50 })) keys.forEach((key) => seen.add(key));
      assert.equal(seen.size, 1500);
    });

    test('gets maps as maps', async () => {
      const config = await client.configGet('maxclients');
      assert.deepEqual({ ...config }, { maxclients: config.maxclients });
      const hello = await client.sendCommand(['HELLO']);
      if (RESP === 3) assert.equal(hello.proto, 3);
      else assert.ok(hello.includes('proto'));
    });

    test('knows who it is', async () => {
      const info = await client.clientInfo();
      assert.equal(info.resp, RESP);
      assert.equal(info.libName, 'node-redis');
      await client.clientSetName('me');
      assert.equal(await client.clientGetName(), 'me');
    });

    test('gives typed errors', async () => {
      await client.set('s', 'x');
      await assert.rejects(client.incr('s'), /ERR value is not an integer or out of range/);
      await assert.rejects(client.sendCommand(['NOSUCH', 'a']), /unknown command 'NOSUCH'/);
      await assert.rejects(client.sendCommand(['GET']), /wrong number of arguments for 'get' command/);
    });

    test('copies and renames within one hash tag', async () => {
      await client.set('{x}1', 'v');
      assert.equal(await client.copy('{x}1', '{x}2'), 1);
      assert.equal(await client.rename('{x}2', '{x}3'), 'OK');
      assert.deepEqual(await client.mGet(['{x}1', '{x}2', '{x}3']), ['v', null, 'v']);
    });

    test('runs a multi over all shards', async () => {
      const keys = Array.from({ length: 20 }, (_, i) => `m${i}`);
      const multi = client.multi();
      keys.forEach((key, i) => multi.set(key, i).incr(key));
      const replies = await multi.mGet(keys).exec();
      assert.equal(replies.length, 41);
      assert.deepEqual(replies[40], keys.map((_, i) => String(i + 1)));
      await assert.rejects(client.multi().set('m0', 'text').incr('m0').exec());
      assert.equal(await client.get('m0'), 'text');
    });

    test('loses no update with watch loops over two keys', async () => {
      await client.mSet({ from: '1000', to: '0' });
      const clients = await Promise.all(Array.from({ length: 4 }, () => createClient({ RESP, socket: socket() }).connect()));
      let conflicts = 0;
      await Promise.all(
        clients.map(async (mine) => {
          for (let done = 0; done < 25; ) {
            await mine.watch(['from', 'to']);
            const [from, to] = await mine.mGet(['from', 'to']);
            try {
              await mine.multi().set('from', Number(from) - 1).set('to', Number(to) + 1).exec();
              done++;
            } catch (error) {
              if (error.constructor.name !== 'WatchError') throw error;
              conflicts++;
            }
          }
        }),
      );
      assert.deepEqual(await client.mGet(['from', 'to']), ['900', '100']);
      assert.ok(conflicts > 0, 'nobody met anybody');
      await Promise.all(clients.map((mine) => mine.close()));
    });

    test('serves a pool', async () => {
      const pool = await createClientPool({ RESP, socket: socket() }, { minimum: 4, maximum: 8 }).connect();
      await Promise.all(Array.from({ length: 400 }, (_, i) => pool.set(`p${i}`, i)));
      assert.equal(await client.dbSize(), 400);
      await pool.close();
    });

    test('names the commands of a multi() that failed', async () => {
      const failed = await client.multi().set('a', 'text').incr('a').set('b', '2').exec().catch((error) => error);
      assert.deepEqual(failed.errorIndexes, [1]);
      assert.match(failed.replies[1].message, /value is not an integer/);
      assert.deepEqual(await client.mGet(['a', 'b']), ['text', '2']);
    });

    test('runs nothing of a multi() with a command that cannot be queued', async () => {
      await assert.rejects(client.multi().set('a', '1').addCommand(['NOSUCH']).exec());
      assert.equal(await client.exists('a'), 0);
      assert.deepEqual(await client.multi().set('a', '1').exec(), ['OK']);
    });

    test('sends a multi() as a pipeline', async () => {
      const replies = await client.multi().set('a', '1').incr('a').get('b').execAsPipeline();
      assert.deepEqual(replies, ['OK', 2, null]);
    });

    test('throws WatchError in a multi() whose key has changed', async () => {
      const other = await createClient({ RESP, socket: socket() }).connect();
      await client.watch(['a', 'b', 'c']);
      await other.set('c', 'x');
      await assert.rejects(client.multi().set('a', '1').exec(), WatchError);
      assert.equal(await client.exists('a'), 0);
      await client.watch('a');
      await other.set('a', 'x');
      await client.unwatch();
      assert.deepEqual(await client.multi().get('a').exec(), ['x']);
      await other.close();
    });

    test('isolates WATCH of each user of a pool', async () => {
      const pool = await createClientPool({ RESP, socket: socket() }, { minimum: 4, maximum: 8 }).connect();
      await pool.mSet({ left: '100', right: '100' });
      const move = (source, target) =>
        pool.execute(async (own) => {
          for (;;) {
            await own.watch([source, target]);
            const [have, other] = await own.mGet([source, target]);
            try {
              return await own.multi().set(source, String(have - 1)).set(target, String(Number(other) + 1)).exec();
            } catch (error) {
              if (!(error instanceof WatchError)) throw error;
            }
          }
        });
      await Promise.all(Array.from({ length: 40 }, (_, i) => (i % 4 ? move('left', 'right') : move('right', 'left'))));
      assert.deepEqual(await client.mGet(['left', 'right']), ['80', '120']);
      await pool.close();
    });

    test('lists commands', async () => {
      const count = await client.commandCount();
      assert.ok(count > 50);
      const [get] = await client.commandInfo(['get']);
      assert.equal(get.name, 'get');
      assert.equal(get.arity, 2);
      assert.deepEqual(await client.commandGetKeys(['SET', 'k', 'v']), ['k']);
    });

    test('selects a database', async () => {
      const other = await createClient({ RESP, socket: socket(), database: 5 }).connect();
      await other.set('here', '5');
      assert.equal(await client.exists('here'), 0);
      await other.close();
    });
  });
}

// Its cache uses CLIENT TRACKING.
test('node-redis, client-side caching', async () => {
  const server = await startServer();
  const socket = { host: '127.0.0.1', port: server.port };
  const cached = createClient({ RESP: 3, socket, clientSideCache: { ttl: 0, maxEntries: 0 } });
  const writer = createClient({ socket });
  try {
    await cached.connect();
    await writer.connect();
    const keys = Array.from({ length: 16 }, (_, i) => `key:${i}`);
    for (let round = 1; round <= 20; round++) {
      await Promise.all(keys.map((key) => writer.set(key, `${round}`)));
      await cached.ping(); // what was told before it has been heard
      for (let again = 0; again < 2; again++) {
        const values = await Promise.all(keys.map((key) => cached.get(key)));
        assert.deepEqual(values, keys.map(() => `${round}`));
      }
    }
    const info = await writer.info('commandstats');
    const calls = Number(/cmdstat_get:calls=(\d+)/.exec(info)[1]);
    assert.equal(calls, 20 * keys.length); // each second time it came from the cache
    await writer.flushAll();
    await cached.ping();
    assert.equal(await cached.get('key:1'), null);
  } finally {
    cached.destroy();
    writer.destroy();
    await server.stop();
  }
});
