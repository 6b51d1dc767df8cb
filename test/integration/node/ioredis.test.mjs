// SPDX-License-Identifier: BSD-3-Clause
// What users of ioredis do every day, on a server with several shards.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import Redis from 'ioredis';
import { startServer } from './server.mjs';

describe('ioredis', () => {
  let server;
  let redis;

  before(async () => {
    server = await startServer();
    redis = new Redis(server.port, '127.0.0.1');
  });
  after(async () => {
    await redis?.quit();
    await server?.stop();
  });
  beforeEach(() => redis.flushall());

  test('becomes ready by INFO', async () => {
    if (redis.status !== 'ready') await new Promise((done) => redis.once('ready', done));
    assert.equal(redis.status, 'ready');
    const info = await redis.info();
    assert.match(info, /^loading:0\r$/m);
    assert.match(info, /^(redis|server)_mode:standalone\r$/m);
  });

  test('sets and gets text and bytes', async () => {
    assert.equal(await redis.set('greeting', 'olá'), 'OK');
    assert.equal(await redis.get('greeting'), 'olá');
    const bytes = Buffer.from([0, 13, 10, 255, 0]);
    await redis.set('bytes', bytes);
    assert.deepEqual(await redis.getBuffer('bytes'), bytes);
    assert.equal(await redis.get('missing'), null);
  });

  test('sets with options', async () => {
    assert.equal(await redis.set('lock', 'a', 'EX', 100, 'NX'), 'OK');
    assert.equal(await redis.set('lock', 'b', 'EX', 100, 'NX'), null);
    assert.equal(await redis.set('lock', 'c', 'KEEPTTL', 'GET'), 'a');
    const ttl = await redis.pttl('lock');
    assert.ok(ttl > 90_000 && ttl <= 100_000, `pttl ${ttl}`);
  });

  test('counts', async () => {
    assert.equal(await redis.incr('n'), 1);
    assert.equal(await redis.incrby('n', 41), 42);
    assert.equal(await redis.decr('n'), 41);
    assert.equal(await redis.incrbyfloat('f', 0.5), '0.5');
    await redis.set('word', 'x');
    await assert.rejects(redis.incr('word'), /value is not an integer or out of range/);
  });

  test('expires on time', async () => {
    assert.deepEqual(await Promise.all([redis.set('soon', '1', 'PX', 500), redis.exists('soon')]), ['OK', 1]);
    await new Promise((done) => setTimeout(done, 600));
    assert.equal(await redis.exists('soon'), 0);
    assert.equal(await redis.ttl('soon'), -2);
  });

  test('answers a pipeline over all shards in order', async () => {
    const pipeline = redis.pipeline();
    for (let i = 0; i < 500; i++) pipeline.set(`key:${i}`, i).get(`key:${i}`);
    const results = await pipeline.exec();
    assert.equal(results.length, 1000);
    for (let i = 0; i < 500; i++) {
      assert.deepEqual(results[2 * i], [null, 'OK']);
      assert.deepEqual(results[2 * i + 1], [null, String(i)]);
    }
  });

  test('answers thousands of commands in flight, each with its own reply', async () => {
    const replies = await Promise.all(Array.from({ length: 5000 }, (_, i) => redis.set(`many:${i}`, i).then(() => redis.get(`many:${i}`))));
    replies.forEach((reply, i) => assert.equal(reply, String(i)));
    assert.equal(await redis.dbsize(), 5000);
  });

  test('pipelines on its own with enableAutoPipelining', async () => {
    const auto = new Redis(server.port, '127.0.0.1', { enableAutoPipelining: true });
    const replies = await Promise.all(Array.from({ length: 300 }, (_, i) => auto.set(`auto:${i}`, i)));
    assert.ok(replies.every((reply) => reply === 'OK'));
    await auto.quit();
  });

  test('reports an error inside a pipeline at its place', async () => {
    const results = await redis.pipeline().set('s', 'text').incr('s').get('s').exec();
    assert.equal(results[0][1], 'OK');
    assert.match(results[1][0].message, /not an integer/);
    assert.equal(results[2][1], 'text');
  });

  test('touches several keys of one hash tag', async () => {
    await redis.mset('{u}a', '1', '{u}b', '2');
    assert.deepEqual(await redis.mget('{u}a', '{u}b', '{u}c'), ['1', '2', null]);
    assert.equal(await redis.del('{u}a', '{u}b', '{u}c'), 2);
  });

  test('runs a multi over all shards as one', async () => {
    const multi = redis.multi();
    for (let i = 0; i < 50; i++) multi.set(`m:${i}`, i).incr(`m:${i}`);
    const results = await multi.exec();
    assert.equal(results.length, 100);
    for (let i = 0; i < 50; i++) {
      assert.deepEqual(results[2 * i], [null, 'OK']);
      assert.deepEqual(results[2 * i + 1], [null, i + 1]);
    }
    assert.deepEqual(await redis.mget('m:0', 'm:1', 'm:49'), ['1', '2', '50']);
  });

  test('runs a multi without a pipeline, and discards one', async () => {
    await redis.multi({ pipeline: false });
    assert.equal(await redis.set('alone', '1'), 'QUEUED');
    assert.equal(await redis.get('alone'), 'QUEUED');
    assert.deepEqual(await redis.exec(), [[null, 'OK'], [null, '1']]);
    await redis.multi({ pipeline: false });
    await redis.set('alone', '2');
    assert.equal(await redis.discard(), 'OK');
    assert.equal(await redis.get('alone'), '1');
  });

  test('rejects a multi with a command that cannot be queued', async () => {
    await assert.rejects(redis.multi().set('bad', '1').call('nosuch').exec(), /EXECABORT/);
    assert.equal(await redis.exists('bad'), 0);
  });

  test('answers null when a watched key has changed', async () => {
    const other = redis.duplicate();
    await redis.watch('w:1', 'w:2', 'w:3');
    await other.set('w:2', 'theirs');
    assert.equal(await redis.multi().set('w:1', 'mine').exec(), null);
    assert.equal(await redis.get('w:1'), null);
    await redis.watch('w:1', 'w:2', 'w:3');
    assert.deepEqual(await redis.multi().set('w:1', 'mine').exec(), [[null, 'OK']]);
    await other.quit();
  });

  test('runs what did not fail in multi()', async () => {
    const results = await redis.multi().set('one', 'text').incr('one').mset('two', '2', 'three', '3').exec();
    assert.deepEqual(results[0], [null, 'OK']);
    assert.match(results[1][0].message, /value is not an integer/);
    assert.deepEqual(results[2], [null, 'OK']);
    assert.deepEqual(await redis.mget('one', 'two', 'three'), ['text', '2', '3']);
  });

  test('puts a multi() in the middle of a pipeline', async () => {
    const results = await redis.pipeline([
      ['set', 'one', '1'],
      ['multi'],
      ['incr', 'one'],
      ['incr', 'two'],
      ['exec'],
      ['mget', 'one', 'two'],
    ]).exec();
    assert.deepEqual(results.map(([, reply]) => reply), ['OK', 'OK', 'QUEUED', 'QUEUED', [2, 1], ['2', '1']]);
  });

  test('loses no unit between keys that several clients move with watch', async () => {
    const keys = ['account:1', 'account:2', 'account:3', 'account:4'];
    await redis.mset(...keys.flatMap((key) => [key, 100]));
    const clients = Array.from({ length: 4 }, () => new Redis(server.port, '127.0.0.1'));
    const move = async (client, source, target) => {
      for (;;) {
        await client.watch(source, target);
        const [have, other] = await client.mget(source, target);
        const done = await client.multi().set(source, have - 1).set(target, Number(other) + 1).incr('moves').exec();
        if (done !== null) return;
      }
    };
    await Promise.all(
      clients.map(async (client, c) => {
        for (let i = 0; i < 20; i++) await move(client, keys[(c + i) % 4], keys[(c + i + 1 + (i % 3)) % 4]);
      }),
    );
    const values = await redis.mget(...keys);
    assert.equal(values.reduce((sum, value) => sum + Number(value), 0), 400);
    assert.equal(await redis.get('moves'), '80');
    await Promise.all(clients.map((client) => client.quit()));
  });

  test('scans every key once with scanStream', async () => {
    const pipeline = redis.pipeline();
    for (let i = 0; i < 2000; i++) pipeline.set(`scan:${i}`, '');
    await pipeline.exec();
    const seen = new Set();
    for await (const keys of redis.scanStream({ match: 'scan:*', count: 100 })) keys.forEach((key) => seen.add(key));
    assert.equal(seen.size, 2000);
  });

  test('keeps databases apart', async () => {
    const other = new Redis(server.port, '127.0.0.1', { db: 3 });
    await other.set('where', 'three');
    assert.equal(await redis.get('where'), null);
    assert.equal(await other.get('where'), 'three');
    assert.equal(await other.move('where', 0), 1);
    assert.equal(await redis.get('where'), 'three');
    await other.quit();
  });

  test('carries a large value', async () => {
    const value = 'x'.repeat(5_000_000);
    await redis.set('large', value);
    assert.equal(await redis.strlen('large'), 5_000_000);
    assert.equal(await redis.get('large'), value);
  });

  test('reads and changes the configuration', async () => {
    const [name, before] = await redis.config('GET', 'maxmemory-policy');
    assert.equal(name, 'maxmemory-policy');
    assert.equal(await redis.config('SET', 'maxmemory-policy', before), 'OK');
    await assert.rejects(redis.config('SET', 'no-such-thing', '1'), /Unknown option or number of arguments/);
  });

  test('connects again after its connection was killed', async () => {
    const victim = new Redis(server.port, '127.0.0.1', { retryStrategy: () => 10 });
    const id = await victim.client('ID');
    const again = new Promise((done) => victim.once('ready', done));
    assert.equal(await redis.client('KILL', 'ID', id), 1);
    await again;
    assert.notEqual(await victim.client('ID'), id);
    await victim.quit();
  });

  test('names its connection', async () => {
    const named = new Redis(server.port, '127.0.0.1', { connectionName: 'worker-7' });
    assert.equal(await named.client('GETNAME'), 'worker-7');
    const list = await redis.client('LIST');
    assert.match(list, /name=worker-7 /);
    assert.match(list, /lib-name=ioredis /);
    await named.quit();
  });
});

describe('ioredis with a password', () => {
  test('is refused without it and let in with it', async () => {
    const server = await startServer('--requirepass', 'secret');
    const stranger = new Redis(server.port, '127.0.0.1', { enableReadyCheck: false, retryStrategy: () => null });
    stranger.on('error', () => {});
    await assert.rejects(stranger.get('x'), /NOAUTH Authentication required\./);
    stranger.disconnect();
    const friend = new Redis(server.port, '127.0.0.1', { password: 'secret' });
    assert.equal(await friend.set('x', '1'), 'OK');
    await friend.quit();
    await server.stop();
  });
});
