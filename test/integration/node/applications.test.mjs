// SPDX-License-Identifier: BSD-3-Clause
// Applications that keep their state in a server, through the packages that they use for it and no script: sessions of Express, rate
// limits, caches, rooms of socket.io over several processes. Time is given in spans that no slow machine overruns; what must come to
// pass is waited for.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAdapter as createPubSubAdapter } from '@socket.io/redis-adapter';
import { createAdapter as createStreamAdapter } from '@socket.io/redis-streams-adapter';
import autocannon from 'autocannon';
import { createCache } from 'cache-manager';
import { RedisStore } from 'connect-redis';
import express from 'express';
import session from 'express-session';
import Redis from 'ioredis';
import Keyv from 'keyv';
import KeyvRedis from '@keyv/redis';
import limits from 'rate-limiter-flexible';
import { createClient } from 'redis';
import { Server } from 'socket.io';
import { io } from 'socket.io-client';
import { startServer } from './server.mjs';

const { RateLimiterRedisNonAtomic, RLWrapperBlackAndWhite } = limits;

let server;
let redis;
before(async () => {
  server = await startServer();
  redis = createClient({ url: `redis://127.0.0.1:${server.port}` });
  await redis.connect();
});
after(async () => {
  await redis?.close();
  await server?.stop();
});
beforeEach(() => redis.flushAll());

async function until(condition) {
  for (let i = 0; i < 6000; i++) {
    if (await condition()) return;
    await sleep(10);
  }
  assert.fail('it did not come to pass');
}

describe('sessions of express in connect-redis', () => {
  let http;
  let base;
  let store;

  before(async () => {
    store = new RedisStore({ client: redis, prefix: 'sess:', ttl: 1000 });
    const app = express();
    app.use(express.json());
    app.use(session({ store, secret: 'a secret', resave: false, saveUninitialized: false, name: 'sid' }));
    app.post('/login', (req, res) => {
      req.session.user = req.body.user;
      req.session.visits = 0;
      res.json({ ok: true });
    });
    app.get('/visits', (req, res) => {
      if (!req.session.user) return res.status(401).json({ error: 'who are you?' });
      req.session.visits++;
      return res.json({ user: req.session.user, visits: req.session.visits });
    });
    app.post('/logout', (req, res) => req.session.destroy(() => res.json({ ok: true })));
    http = app.listen(0, '127.0.0.1');
    await once(http, 'listening');
    base = `http://127.0.0.1:${http.address().port}`;
  });
  after(() => http?.close());

  async function login(user) {
    const body = JSON.stringify({ user });
    const answer = await fetch(`${base}/login`, { method: 'POST', body, headers: { 'content-type': 'application/json' } });
    await answer.json();
    return answer.headers.get('set-cookie').split(';')[0];
  }
  const visit = async (cookie) => (await fetch(`${base}/visits`, { headers: cookie ? { cookie } : {} })).json();

  test('are kept between requests, and each user has his own', async () => {
    assert.deepEqual(await visit(), { error: 'who are you?' });
    const [ada, bob] = [await login('ada'), await login('bob')];
    for (let i = 1; i <= 3; i++) assert.deepEqual(await visit(ada), { user: 'ada', visits: i });
    assert.deepEqual(await visit(bob), { user: 'bob', visits: 1 });
    assert.equal(await store.length(), 2);
    assert.deepEqual((await store.all()).map((one) => one.user).sort(), ['ada', 'bob']);
  });

  test('live for their time, which each request begins anew', async () => {
    const cookie = await login('ada');
    const [key] = await redis.keys('sess:*');
    assert.ok((await redis.ttl(key)) > 900);
    await redis.expire(key, 100);
    await visit(cookie);
    assert.ok((await redis.ttl(key)) > 900);
    await redis.pExpire(key, 1);
    await until(async () => (await redis.exists(key)) === 0);
    assert.deepEqual(await visit(cookie), { error: 'who are you?' });
  });

  test('end with a logout, or all at once', async () => {
    const cookie = await login('ada');
    await (await fetch(`${base}/logout`, { method: 'POST', headers: { cookie } })).json();
    assert.deepEqual(await visit(cookie), { error: 'who are you?' });
    assert.deepEqual(await redis.keys('*'), []);
    await Promise.all(Array.from({ length: 250 }, (_, i) => login(`user${i}`)));
    assert.equal((await store.ids()).length, 250);
    await store.clear();
    assert.equal(await store.length(), 0);
  });

  // Each connection logs in, comes four times, and is somebody else then.
  test('are kept under the fire of autocannon', async () => {
    const [connections, users, visits] = [20, 5, 4];
    const wrong = [];
    const login = {
      method: 'POST',
      path: '/login',
      body: JSON.stringify({ user: 'ada' }),
      headers: { 'content-type': 'application/json' },
      onResponse: (status, body, user, headers) => {
        const cookie = Object.entries(headers).find(([name]) => name.toLowerCase() === 'set-cookie');
        user.cookie = String(cookie?.[1]).split(';')[0];
        user.visits = 0;
      },
    };
    const visit = {
      method: 'GET',
      path: '/visits',
      setupRequest: (request, user) => ({ ...request, headers: { cookie: user.cookie } }),
      onResponse: (status, body, user) => {
        const said = JSON.parse(body);
        if (status !== 200 || said.visits !== ++user.visits) wrong.push({ status, said, wanted: user.visits });
      },
    };
    const requests = [login, ...Array(visits).fill(visit)];
    const amount = connections * users * requests.length;
    const result = await autocannon({ url: base, connections, amount, requests, timeout: 100 });
    assert.deepEqual(wrong, []);
    assert.deepEqual([result['2xx'], result.non2xx, result.errors, result.timeouts], [amount, 0, 0, 0]);
    const all = await store.all();
    assert.equal(all.length, connections * users);
    assert.ok(all.every((one) => one.user === 'ada' && one.visits === visits));
  });
});

for (const kind of ['ioredis', 'node-redis']) {
  describe(`limits of rate-limiter-flexible with ${kind}`, () => {
    let client;
    let options;

    before(async () => {
      client = kind === 'ioredis' ? new Redis(server.port, '127.0.0.1') : redis;
      options = { storeClient: client, useRedisPackage: kind !== 'ioredis', points: 5, duration: 1000 };
    });
    after(() => (kind === 'ioredis' ? client?.quit() : undefined));

    test('let so many through, and no more', async () => {
      const limiter = new RateLimiterRedisNonAtomic(options);
      for (let left = 4; left >= 0; left--) assert.equal((await limiter.consume('ip')).remainingPoints, left);
      const refused = await limiter.consume('ip').catch((error) => error);
      assert.equal(refused.remainingPoints, 0);
      assert.ok(refused.msBeforeNext > 0 && refused.msBeforeNext <= 1000_000);
      assert.equal((await limiter.consume('other')).consumedPoints, 1);
    });

    test('are known, given back, and lifted', async () => {
      const limiter = new RateLimiterRedisNonAtomic({ ...options, keyPrefix: 'api' });
      await limiter.consume('ip', 3);
      assert.equal((await limiter.get('ip')).consumedPoints, 3);
      await limiter.reward('ip', 2);
      assert.equal((await limiter.get('ip')).consumedPoints, 1);
      await limiter.penalty('ip', 4);
      await assert.rejects(() => limiter.consume('ip').catch((refused) => Promise.reject(new Error(refused.consumedPoints))));
      assert.equal(await limiter.delete('ip'), true);
      assert.equal(await limiter.get('ip'), null);
      await limiter.block('ip', 1000);
      assert.ok((await limiter.get('ip')).consumedPoints > 5);
    });

    test('end with their time', async () => {
      const limiter = new RateLimiterRedisNonAtomic({ ...options, points: 1, keyPrefix: 'short' });
      await limiter.consume('ip');
      await redis.pExpire('short:ip', 1);
      // Not by asking the limiter: it looks and then counts, and what ran out in between would count without an end.
      await until(async () => (await redis.exists('short:ip')) === 0);
      assert.equal((await limiter.consume('ip')).consumedPoints, 1);
    });

    test('stand under lists of who is let through and who is not', async () => {
      const limiter = new RLWrapperBlackAndWhite({
        limiter: new RateLimiterRedisNonAtomic({ ...options, keyPrefix: 'lists', points: 1 }),
        whiteList: ['friend'],
        blackList: ['foe'],
        runActionAnyway: true,
      });
      for (let i = 0; i < 3; i++) await limiter.consume('friend');
      await limiter.consume('foe').then(() => assert.fail('let through'), () => true);
    });
  });
}

describe('a cache in keyv', () => {
  test('keeps values for their time, in namespaces of their own', async () => {
    const url = `redis://127.0.0.1:${server.port}`;
    const [pages, users] = ['pages', 'users'].map((namespace) => new Keyv({ store: new KeyvRedis(url), namespace }));
    try {
      assert.equal(await pages.set('a', { title: 'olá', tags: [1, 2] }, 100_000), true);
      await users.set('a', 'ada');
      assert.deepEqual(await pages.get('a'), { title: 'olá', tags: [1, 2] });
      assert.equal(await users.get('a'), 'ada');
      const [key] = await redis.keys('*pages*');
      const left = await redis.pTTL(key);
      assert.ok(left > 0 && left <= 100_000);
      await pages.set('soon', 1, 1);
      await until(async () => (await pages.get('soon')) === undefined);
      assert.deepEqual(await users.get(['a', 'b']), ['ada', undefined]);
      await Promise.all(Array.from({ length: 300 }, (_, i) => pages.set(`page${i}`, i)));
      assert.equal(await pages.get('page299'), 299);
      assert.equal(await pages.delete('page299'), true);
      assert.equal(await pages.has('page299'), false);
      await pages.clear();
      assert.deepEqual(await redis.keys('*pages*'), []);
      assert.equal(await users.get('a'), 'ada');
    } finally {
      await Promise.all([pages.disconnect(), users.disconnect()]);
    }
  });
});

describe('a cache in cache-manager', () => {
  test('asks for what it does not have, once', async () => {
    const cache = createCache({ stores: [new Keyv({ store: new KeyvRedis(`redis://127.0.0.1:${server.port}`) })] });
    try {
      let asked = 0;
      const page = () => cache.wrap('page', async () => ({ body: 'hello', asked: ++asked }), 100_000);
      assert.deepEqual([await page(), await page()], [{ body: 'hello', asked: 1 }, { body: 'hello', asked: 1 }]);
      await cache.del('page');
      assert.equal((await page()).asked, 2);
      await cache.mset([{ key: 'a', value: 1 }, { key: 'b', value: [2] }]);
      assert.deepEqual(await cache.mget(['a', 'b', 'c']), [1, [2], undefined]);
      assert.ok((await cache.ttl('page')) > Date.now());
      await cache.mdel(['a', 'b']);
      assert.equal(await cache.get('a'), undefined);
      await cache.clear();
      assert.deepEqual(await redis.keys('*'), []);
    } finally {
      await cache.disconnect();
    }
  });
});

// Two processes of a service, here in one: what is said in one of them reaches those in the room in both.
for (const kind of ['ioredis', 'node-redis']) {
  for (const [way, clientsEach] of [['publish and subscribe', 2], ['a stream', 1]]) {
    test(`rooms of socket.io by ${way}, with ${kind}`, async () => {
      const services = [];
      const clients = [];
      const people = [];
      const connected = async () => Number((await redis.info('clients')).match(/^connected_clients:(\d+)\r$/m)[1]);
      const others = await connected();
      const connect = async () => {
        const client = kind === 'ioredis' ? new Redis(server.port, '127.0.0.1') : createClient({ url: `redis://127.0.0.1:${server.port}` });
        if (kind !== 'ioredis') await client.connect();
        clients.push(client);
        return client;
      };
      try {
        for (let i = 0; i < 2; i++) {
          const mine = [];
          while (mine.length < clientsEach) mine.push(await connect());
          const http = createServer();
          const service = new Server(http, { adapter: clientsEach === 2 ? createPubSubAdapter(...mine) : createStreamAdapter(...mine, { heartbeatInterval: 200 }) });
          service.on('connection', (socket) => {
            socket.on('join', (room, done) => done(socket.join(room)));
            socket.on('say', (room, text) => service.to(room).emit('said', text));
          });
          http.listen(0, '127.0.0.1');
          await once(http, 'listening');
          services.push(service);
          for (let j = 0; j < 2; j++) {
            const heard = [];
            const socket = io(`http://127.0.0.1:${http.address().port}`, { transports: ['websocket'] });
            socket.on('said', (text) => heard.push(text));
            people.push({ socket, heard });
            if (!socket.connected) await once(socket, 'connect');
          }
        }
        for (const { socket } of [people[0], people[2]]) await socket.emitWithAck('join', 'room');
        // Each service has to hear of the other before it asks it anything.
        const inRoom = async (service) => (await service.in('room').fetchSockets().catch(() => [])).length;
        await until(async () => (await inRoom(services[0])) === 2 && (await inRoom(services[1])) === 2);
        for (let i = 0; i < 40; i++) people[i % 4].socket.emit('say', 'room', i);
        await until(() => people[0].heard.length >= 40 && people[2].heard.length >= 40);
        const all = Array.from({ length: 40 }, (_, i) => i);
        const [one, , two] = people.map(({ heard }) => heard);
        for (const heard of [one, two]) {
          assert.deepEqual([...heard].sort((a, b) => a - b), all);
          for (let speaker = 0; speaker < 4; speaker++) {
            const own = heard.filter((i) => i % 4 === speaker);
            assert.deepEqual(own, [...own].sort((a, b) => a - b));
          }
        }
        assert.deepEqual([people[1].heard, people[3].heard], [[], []]);
        assert.equal((await services[1].fetchSockets()).length, 4);
      } finally {
        people.forEach(({ socket }) => socket.close());
        await Promise.all(services.map((service) => service.close()));
        // The adapter of streams has a connection of its own, and ends it when the next entry comes.
        await redis.xAdd('socket.io', '*', { end: '' });
        await until(async () => (await connected()) <= others + clients.length);
        clients.forEach((client) => (kind === 'ioredis' ? client.disconnect() : client.destroy()));
      }
    });
  }
}
