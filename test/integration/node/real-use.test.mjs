// SPDX-License-Identifier: BSD-3-Clause
// What programs keep in a server, written as their authors write it: with ioredis and its Valkey edition iovalkey, and with
// node-redis in both protocols. Keys lie on all shards. What must come to pass is waited for.

import assert from 'node:assert/strict';
import { on, once } from 'node:events';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import Redis from 'ioredis';
import Valkey from 'iovalkey';
import { createClient } from 'redis';
import { startServer } from './server.mjs';

let server;
before(async () => {
  server = await startServer();
});
after(() => server?.stop());

async function until(condition) {
  for (let i = 0; i < 6000; i++) {
    if (await condition()) return;
    await sleep(10);
  }
  assert.fail('it did not come to pass');
}

const numbers = (n) => Array.from({ length: n }, (_, i) => i);

for (const [name, Client] of [['ioredis', Redis], ['iovalkey', Valkey]]) {
  describe(`real use with ${name}`, () => {
    let redis;
    before(() => {
      redis = new Client(server.port, '127.0.0.1');
    });
    after(() => redis?.quit());
    beforeEach(() => redis.flushall());

    // A client of its own, gone when the test is over.
    async function withClient(use) {
      const own = new Client(server.port, '127.0.0.1');
      try {
        return await use(own);
      } finally {
        own.disconnect();
      }
    }

    // Until so many clients wait for a key.
    const waiting = (count) => until(async () => (await redis.info('clients')).includes(`blocked_clients:${count}\r`));

    test('sessions in hashes that end, and fields of them that end earlier', async () => {
      for (const i of numbers(30)) {
        await redis.multi().hset(`session:${i}`, { user: `user${i % 5}`, hits: 0 }).expire(`session:${i}`, 1800).sadd(`of:${i % 5}`, i).exec();
      }
      assert.equal(await redis.hincrby('session:3', 'hits', 2), 2);
      assert.deepEqual(await redis.hgetall('session:3'), { user: 'user3', hits: '2' });
      const ttl = await redis.ttl('session:3');
      assert.ok(ttl > 1700 && ttl <= 1800);
      assert.deepEqual((await redis.smembers('of:3')).map(Number).sort((a, b) => a - b), [3, 8, 13, 18, 23, 28]);
      await redis.hset('session:3', 'code', '1234');
      assert.deepEqual(await redis.call('HPEXPIRE', 'session:3', 1, 'FIELDS', 1, 'code'), [1]);
      await until(async () => (await redis.hget('session:3', 'code')) === null);
      await until(async () => (await redis.hlen('session:3')) === 2);
      assert.deepEqual(await redis.call('HTTL', 'session:3', 'FIELDS', 2, 'user', 'code'), [-1, -2]);
      await redis.pexpire('session:3', 1);
      await until(async () => (await redis.exists('session:3')) === 0);
      assert.deepEqual(await redis.hgetall('session:3'), {});
    });

    test('leaderboards', async () => {
      await redis.zadd('board', ...numbers(200).flatMap((i) => [(i * 7) % 200, `player${i}`]));
      await redis.zincrby('board', 1000, 'player5');
      assert.deepEqual(await redis.zrevrange('board', 0, 1, 'WITHSCORES'), ['player5', '1035', 'player57', '199']);
      assert.equal(await redis.zrank('board', 'player5'), 199);
      assert.equal(await redis.zrevrank('board', 'player57'), 1);
      assert.equal(await redis.zrank('board', 'nobody'), null);
      assert.equal(await redis.zcount('board', 100, '+inf'), 101);
      assert.deepEqual(await redis.zrangebyscore('board', '(0', 2, 'LIMIT', 0, 5), ['player143', 'player86']);
      const seen = new Set();
      for await (const part of redis.zscanStream('board')) part.forEach((word, i) => i % 2 === 0 && seen.add(word));
      assert.equal(seen.size, 200);
    });

    test('task queues with BRPOP: each task is done once, in order, and a worker that goes takes nothing along', async () => {
      const done = [];
      const workers = [];
      for (const w of numbers(3)) {
        workers.push(withClient(async (own) => {
          for (;;) {
            const [queue, task] = await own.brpop('urgent', 'tasks', 0);
            if (task === 'stop') return;
            done.push([w, queue, Number(task)]);
          }
        }));
      }
      const quitter = new Client(server.port, '127.0.0.1');
      quitter.brpop('tasks', 0).catch(() => {});
      await waiting(4);
      quitter.disconnect();
      await waiting(3);
      for (const i of numbers(100)) await redis.lpush(i % 10 ? 'tasks' : 'urgent', i);
      await until(() => done.length === 100);
      await redis.lpush('tasks', 'stop', 'stop', 'stop');
      await Promise.all(workers);
      assert.deepEqual(done.map(([, , task]) => task).sort((a, b) => a - b), numbers(100));
      assert.ok(done.every(([, queue, task]) => queue === (task % 10 ? 'tasks' : 'urgent')));
      assert.equal(await redis.exists('tasks', 'urgent'), 0);
      assert.equal(await redis.brpop('tasks', 0.01), null);
    });

    test('tags', async () => {
      await Promise.all(numbers(60).flatMap((i) => [2, 3, 5].filter((n) => i % n === 0).map((n) => redis.sadd(`by:${n}`, i))));
      assert.deepEqual((await redis.sinter('by:2', 'by:3', 'by:5')).map(Number).sort((a, b) => a - b), [0, 30]);
      assert.equal(await redis.sinterstore('both', 'by:2', 'by:3'), 10);
      assert.equal((await redis.sunion('by:2', 'by:3')).length, 40);
      assert.equal(await redis.sismember('both', 36), 1);
      const seen = new Set();
      for await (const part of redis.sscanStream('by:2', { count: 5 })) part.forEach((word) => seen.add(word));
      assert.equal(seen.size, 30);
    });

    test('unique visitors, active users, counters in buckets of time', async () => {
      for (const day of numbers(3)) await redis.pfadd(`visitors:${day}`, ...numbers(500).map((i) => `user${i + day * 250}`));
      const all = await redis.pfcount('visitors:0', 'visitors:1', 'visitors:2');
      assert.ok(Math.abs(all - 1000) < 60, `${all} visitors`);
      await redis.pfmerge('visitors', 'visitors:0', 'visitors:1', 'visitors:2');
      assert.equal(await redis.pfcount('visitors'), all);

      const bits = redis.pipeline();
      for (const i of numbers(900)) bits.setbit('mon', i * 2, 1).setbit('tue', i * 3, 1);
      await bits.exec();
      await redis.bitop('AND', 'both', 'mon', 'tue');
      assert.equal(await redis.bitcount('both'), 300);
      assert.deepEqual([await redis.getbit('both', 6), await redis.getbit('both', 4), await redis.bitpos('both', 1, 1)], [1, 0, 12]);

      const hits = redis.pipeline();
      for (const second of numbers(300)) hits.incr(`hits:${Math.floor(second / 60)}`).expire(`hits:${Math.floor(second / 60)}`, 3600);
      assert.ok((await hits.exec()).every(([error]) => error === null));
      assert.deepEqual(await redis.mget(...numbers(6).map((i) => `hits:${i}`)), ['60', '60', '60', '60', '60', null]);
    });

    test('sliding windows', async () => {
      const allowed = async (now) => {
        const key = 'window:ada';
        const replies = await redis.multi().zremrangebyscore(key, 0, now - 1000).zcard(key).zadd(key, now, `${now}`).expire(key, 10).exec();
        return replies[1][1] < 5;
      };
      const answers = [];
      for (const i of numbers(8)) answers.push(await allowed(50_000 + i * 100));
      assert.deepEqual(answers, [true, true, true, true, true, false, false, false]);
      assert.equal(await allowed(60_000), true);
      assert.equal(await redis.zcard('window:ada'), 1);
    });

    test('what is near', async () => {
      await redis.geoadd('cities', 13.361389, 38.115556, 'Palermo', 15.087269, 37.502669, 'Catania', 2.349, 48.864, 'Paris');
      assert.equal(await redis.geodist('cities', 'Palermo', 'Catania', 'km'), '166.2742');
      const near = await redis.geosearch('cities', 'FROMLONLAT', 15, 37, 'BYRADIUS', 200, 'km', 'ASC', 'WITHDIST');
      assert.deepEqual(near, [['Catania', '56.4413'], ['Palermo', '190.4424']]);
      assert.equal(await redis.geosearchstore('near', 'cities', 'FROMMEMBER', 'Palermo', 'BYBOX', 400, 400, 'km'), 2);
      assert.deepEqual(await redis.zrange('near', 0, -1), ['Palermo', 'Catania']);
    });

    test('event streams whose groups get over the death of a consumer', async () => {
      await redis.xgroup('CREATE', 'events', 'mail', '$', 'MKSTREAM');
      const dying = new Client(server.port, '127.0.0.1');
      const last = dying.xreadgroup('GROUP', 'mail', 'dying', 'COUNT', 3, 'BLOCK', 0, 'STREAMS', 'events', '>');
      await waiting(1);
      for (const i of numbers(10)) await redis.xadd('events', '*', 'n', i);
      const [[stream, entries]] = await last;
      assert.equal(stream, 'events');
      const taken = entries.length; // it was served by the first entry
      dying.disconnect();
      const seen = [];
      for (;;) {
        const more = await redis.xreadgroup('GROUP', 'mail', 'living', 'COUNT', 4, 'STREAMS', 'events', '>');
        if (more === null) break;
        for (const [id, [, n]] of more[0][1]) {
          seen.push(Number(n));
          assert.equal(await redis.xack('events', 'mail', id), 1);
        }
      }
      assert.deepEqual(seen, numbers(10).slice(taken));
      assert.equal((await redis.xpending('events', 'mail'))[0], taken);
      const [next, claimed, gone] = await redis.xautoclaim('events', 'mail', 'living', 0, '0-0');
      assert.deepEqual([next, claimed, gone], ['0-0', entries, []]);
      assert.equal((await redis.xpending('events', 'mail', '-', '+', 10, 'living')).length, taken);
      await redis.xack('events', 'mail', ...claimed.map(([id]) => id));
      assert.deepEqual(await redis.xpending('events', 'mail'), [0, null, null, null]);
      assert.equal(await redis.xgroup('DELCONSUMER', 'events', 'mail', 'dying'), 0);
      assert.equal(await redis.xtrim('events', 'MAXLEN', 4), 6);
      assert.equal(await redis.xlen('events'), 4);
    });

    test('reads a stream as it comes', async () => {
      await withClient(async (own) => {
        const first = own.xread('BLOCK', 0, 'STREAMS', 'log:a', 'log:b', '$', '$');
        await waiting(1);
        const id = await redis.xadd('log:b', '*', 'line', 'one');
        assert.deepEqual(await first, [['log:b', [[id, ['line', 'one']]]]]);
        assert.equal(await own.xread('BLOCK', 1, 'STREAMS', 'log:b', id), null);
      });
    });

    test('publishes, and tells what happens to keys', async () => {
      await redis.config('SET', 'notify-keyspace-events', 'KEA');
      await withClient(async (own) => {
        await own.subscribe('news');
        await own.psubscribe('__keyspace@0__:watched:*');
        const messages = on(own, 'message', { signal: AbortSignal.timeout(60_000) });
        const events = on(own, 'pmessage', { signal: AbortSignal.timeout(60_000) });
        for (const i of numbers(5)) assert.equal(await redis.publish('news', `n${i}`), 1);
        for (const i of numbers(5)) assert.deepEqual((await messages.next()).value, ['news', `n${i}`]);
        await redis.set('watched:s', 1);
        await redis.zadd('watched:z', 1, 'a');
        await redis.pexpire('watched:s', 1);
        const told = [];
        while (told.length < 4) told.push((await events.next()).value.slice(1).join(' ').replace('__keyspace@0__:watched:', ''));
        assert.deepEqual(told.filter((text) => text.startsWith('s')), ['s set', 's expire', 's expired']);
        assert.deepEqual(told.filter((text) => text.startsWith('z')), ['z zadd']);
        assert.deepEqual(await redis.pubsub('NUMSUB', 'news'), ['news', 1]);
      });
      await redis.config('SET', 'notify-keyspace-events', '');
    });
  });
}

for (const RESP of [2, 3]) {
  describe(`real use with node-redis, RESP${RESP}`, () => {
    let client;
    const connect = () => createClient({ RESP, socket: { host: '127.0.0.1', port: server.port } }).connect();
    before(async () => {
      client = await connect();
    });
    after(() => client?.close());
    beforeEach(() => client.flushAll());

    async function withClient(use) {
      const own = await connect();
      try {
        return await use(own);
      } finally {
        own.destroy();
      }
    }

    const waiting = (count) => until(async () => (await client.info('clients')).includes(`blocked_clients:${count}\r`));
    const pairs = (list) => list.map(({ value, score }) => [value, score]);

    test('sessions in hashes that end, and fields of them that end earlier', async () => {
      await client.multi().hSet('session:a', { user: 'ada', hits: '0' }).expire('session:a', 1800).exec();
      assert.equal(await client.hIncrBy('session:a', 'hits', 2), 2);
      assert.deepEqual({ ...(await client.hGetAll('session:a')) }, { user: 'ada', hits: '2' });
      await client.hSet('session:a', 'code', '1234');
      assert.deepEqual(await client.hExpire('session:a', 'code', 100), [1]);
      const [left] = await client.hpTTL('session:a', 'code');
      assert.ok(left > 90_000 && left <= 100_000);
      assert.deepEqual(await client.hPersist('session:a', ['code', 'none']), [1, -2]);
      assert.deepEqual(await client.hpExpire('session:a', 'code', 1), [1]);
      await until(async () => (await client.hGet('session:a', 'code')) === null);
      await until(async () => (await client.hLen('session:a')) === 2);
      const fields = {};
      for await (const part of client.hScanIterator('session:a')) for (const { field, value } of part) fields[field] = value;
      assert.deepEqual(fields, { user: 'ada', hits: '2' });
    });

    test('leaderboards', async () => {
      await client.zAdd('board', numbers(200).map((i) => ({ score: (i * 7) % 200, value: `player${i}` })));
      assert.equal(await client.zIncrBy('board', 1000.5, 'player5'), 1035.5);
      assert.deepEqual(pairs(await client.zRangeWithScores('board', 0, 1, { REV: true })), [['player5', 1035.5], ['player57', 199]]);
      assert.deepEqual([await client.zRank('board', 'player5'), await client.zRevRank('board', 'player57')], [199, 1]);
      assert.equal(await client.zScore('board', 'nobody'), null);
      assert.deepEqual(await client.zmScore('board', ['player0', 'nobody']), [0, null]);
      await client.zAdd('other', [{ score: 5, value: 'player0' }]);
      assert.equal(await client.zUnionStore('sum', ['board', 'other']), 200);
      assert.equal(await client.zScore('sum', 'player0'), 5);
      assert.deepEqual(await client.zPopMax('board'), { value: 'player5', score: 1035.5 });
    });

    test('task queues: workers that wait, and tasks that are kept until they are done', async () => {
      const done = [];
      const workers = numbers(3).map((w) =>
        withClient(async (own) => {
          for (;;) {
            const task = await own.blMove('tasks', `doing:${w}`, 'RIGHT', 'LEFT', 0);
            if (task === 'stop') return;
            done.push(Number(task));
            await own.lRem(`doing:${w}`, 1, task);
          }
        }),
      );
      await waiting(3);
      for (const i of numbers(60)) await client.lPush('tasks', String(i));
      await until(() => done.length === 60);
      await client.lPush('tasks', ['stop', 'stop', 'stop']);
      await Promise.all(workers);
      assert.deepEqual(done.sort((a, b) => a - b), numbers(60));
      for (const w of numbers(3)) assert.deepEqual(await client.lRange(`doing:${w}`, 0, -1), ['stop']);
      await withClient(async (own) => {
        const popped = own.brPop(['urgent', 'tasks'], 0);
        await waiting(1);
        await client.lPush('urgent', 'now');
        assert.deepEqual({ ...(await popped) }, { key: 'urgent', element: 'now' });
        assert.equal(await own.blPop('tasks', 0.01), null);
        const least = own.bzPopMin(['low', 'high'], 0);
        await waiting(1);
        await client.zAdd('high', { score: 1.5, value: 'm' });
        assert.deepEqual({ ...(await least) }, { key: 'high', value: 'm', score: 1.5 });
      });
    });

    test('tags, visitors, active users, what is near', async () => {
      await Promise.all(numbers(60).flatMap((i) => [2, 3].filter((n) => i % n === 0).map((n) => client.sAdd(`by:${n}`, String(i)))));
      assert.equal((await client.sInter(['by:2', 'by:3'])).length, 10);
      assert.equal(await client.sInterCard(['by:2', 'by:3'], 4), 4);
      assert.deepEqual(await client.smIsMember('by:2', ['4', '5']), [1, 0]);
      await client.pfAdd('v:1', ['a', 'b']);
      await client.pfAdd('v:2', ['b', 'c']);
      assert.equal(await client.pfCount(['v:1', 'v:2']), 3);
      await Promise.all(numbers(50).flatMap((i) => [client.setBit('mon', i * 2, 1), client.setBit('tue', i * 3, 1)]));
      await client.bitOp('AND', 'both', ['mon', 'tue']);
      assert.equal(await client.bitCount('both'), 17);
      await client.geoAdd('cities', [
        { longitude: 13.361389, latitude: 38.115556, member: 'Palermo' },
        { longitude: 15.087269, latitude: 37.502669, member: 'Catania' },
      ]);
      assert.deepEqual(await client.geoSearch('cities', { longitude: 15, latitude: 37 }, { radius: 100, unit: 'km' }), ['Catania']);
      const [catania] = await client.geoPos('cities', 'Catania');
      assert.ok(Math.abs(catania.longitude - 15.087269) < 1e-5);
    });

    test('event streams whose groups get over the death of a consumer', async () => {
      await client.xGroupCreate('events', 'mail', '0', { MKSTREAM: true });
      const ids = [];
      for (const i of numbers(6)) ids.push(await client.xAdd('events', '*', { n: String(i) }));
      // In RESP3 node-redis hands on what it got, in RESP2 it makes objects.
      const read = async (own, consumer, COUNT) => {
        const reply = await own.xReadGroup('mail', consumer, { key: 'events', id: '>' }, { COUNT });
        return RESP === 3 ? reply.events.map(([, [, n]]) => n) : reply[0].messages.map(({ message }) => message.n);
      };
      await withClient(async (own) => assert.deepEqual(await read(own, 'dying', 2), ['0', '1']));
      assert.deepEqual(await read(client, 'living', 10), ['2', '3', '4', '5']);
      assert.equal(await client.xAck('events', 'mail', ids.slice(2)), 4);
      assert.deepEqual((await client.xPendingRange('events', 'mail', '-', '+', 9)).map(({ id, consumer }) => [id, consumer]), [[ids[0], 'dying'], [ids[1], 'dying']]);
      await client.xDel('events', ids[1]);
      const { nextId, messages, deletedMessages } = await client.xAutoClaim('events', 'mail', 'living', 0, '0-0');
      assert.deepEqual([nextId, messages.map(({ id }) => id), deletedMessages], ['0-0', [ids[0]], [ids[1]]]);
      const [group] = await client.xInfoGroups('events');
      assert.deepEqual([group.name, group.consumers, group.pending, group.lag], ['mail', 2, 1, 0]);
      assert.deepEqual((await client.xInfoConsumers('events', 'mail')).map(({ name, pending }) => [name, pending]), [['dying', 0], ['living', 1]]);
    });

    test('publishes, and tells what happens to keys', async () => {
      await client.configSet('notify-keyspace-events', 'Egxl$');
      await withClient(async (own) => {
        const told = [];
        await own.subscribe('news', (message, channel) => told.push([channel, message]));
        await own.pSubscribe('__keyevent@0__:*', (message, channel) => told.push([channel.slice(15), message]));
        assert.equal(await client.publish('news', 'hello'), 1);
        await client.set('s', '1', { expiration: { type: 'PX', value: 1 } });
        await until(async () => (await client.exists('s')) === 0);
        await client.rPush('l', ['a', 'b']);
        await client.lPop('l');
        await client.del('l');
        await until(() => told.length >= 7);
        assert.deepEqual(told.filter(([, key]) => key === 'l').map(([event]) => event), ['rpush', 'lpop', 'del']);
        assert.deepEqual(told.filter(([, key]) => key === 's').map(([event]) => event), ['set', 'expire', 'expired']);
        assert.deepEqual(told[0], ['news', 'hello']);
        await own.unsubscribe('news');
        assert.equal(await client.publish('news', 'nobody'), 0);
        await own.pUnsubscribe();
      });
      await client.configSet('notify-keyspace-events', '');
    });

    test('sends many commands with one that waits on another connection in between', async () => {
      await withClient(async (own) => {
        const first = own.blPop('q', 0);
        const after = Promise.all(numbers(50).map((i) => own.incr(`after:${i % 7}`)));
        await waiting(1);
        await client.rPush('q', 'x');
        assert.equal((await first).element, 'x');
        assert.equal((await after).length, 50);
      });
    });
  });
}
