// SPDX-License-Identifier: BSD-3-Clause
// Queues, locks and limits that are scripts of Lua: each program runs a workload to its end, and what came of it is counted, with
// one shard and with four. What must come to pass is waited for.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import BeeQueue from 'bee-queue';
import Bull from 'bull';
import { FlowProducer, Queue, QueueEvents, Worker } from 'bullmq';
import { GlideClient, Script } from '@valkey/valkey-glide';
import Redis from 'ioredis';
import limits from 'rate-limiter-flexible';
import { createClient } from 'redis';
import Redlock from 'redlock';
import { isShoal, startServer } from './server.mjs';

const { RateLimiterQueue, RateLimiterRedis } = limits;
const numbers = (n) => Array.from({ length: n }, (_, i) => i);
const ascending = (list) => [...list].sort((a, b) => a - b);

async function until(condition) {
  for (let i = 0; i < 6000; i++) {
    if (await condition()) return;
    await sleep(10);
  }
  assert.fail('it did not come to pass');
}

for (const shards of isShoal ? [1, 4] : [1]) {
  describe(`with ${shards} shard${shards > 1 ? 's' : ''}`, () => {
    let server;
    let redis;
    let connection; // what the programs ask for
    const toClose = [];
    // Closed behind the test, the last first.
    const closing = (thing) => {
      toClose.push(thing);
      return thing;
    };

    before(async () => {
      server = isShoal ? await startServer('--shards', String(shards)) : await startServer();
      redis = new Redis(server.port, '127.0.0.1');
      connection = { host: '127.0.0.1', port: server.port, maxRetriesPerRequest: null };
    });
    after(async () => {
      await redis?.quit();
      await server?.stop();
    });
    beforeEach(() => redis.flushall());
    async function close() {
      while (toClose.length > 0) await toClose.pop().close();
    }

    describe('BullMQ', () => {
      const queueOf = (name, options) => closing(new Queue(name, { connection, ...options })).setMaxListeners(50);
      const workerOf = (name, work, options) => {
        const worker = closing(new Worker(name, work, { connection, ...options }));
        worker.on('error', () => {});
        return worker;
      };

      test('workers do each job once, and try again what fails', async () => {
        try {
          const queue = queueOf('jobs');
          await queue.addBulk(numbers(200).map((i) => ({ name: 'job', data: { i }, opts: { attempts: 3, backoff: { type: 'fixed', delay: 1 } } })));
          const done = new Map();
          const work = async (job) => {
            if (job.data.i % 20 === 0 && job.attemptsMade === 0) throw new Error('not yet');
            done.set(job.data.i, (done.get(job.data.i) ?? 0) + 1);
            return job.data.i * 2;
          };
          numbers(3).forEach(() => workerOf('jobs', work, { concurrency: 10 }));
          await until(async () => (await queue.getCompletedCount()) === 200);
          assert.deepEqual(ascending(done.keys()), numbers(200));
          assert.ok([...done.values()].every((times) => times === 1));
          const jobs = await queue.getCompleted(0, 300);
          for (const job of jobs) {
            assert.equal(job.returnvalue, job.data.i * 2);
            assert.equal(job.attemptsMade, job.data.i % 20 === 0 ? 2 : 1);
          }
          assert.deepEqual(await queue.getJobCounts('active', 'delayed', 'failed', 'prioritized'), { active: 0, delayed: 0, failed: 0, prioritized: 0 });

          await queue.obliterate({ force: true });
          assert.deepEqual(await redis.keys('bull:jobs:*'), []);
        } finally {
          await close();
        }
      });

      test('jobs of one worker come by their priority', async () => {
        try {
          const queue = queueOf('urgent');
          for (const i of numbers(30)) await queue.add('job', { i }, { priority: 30 - i });
          const order = [];
          workerOf('urgent', async (job) => void order.push(job.data.i));
          await until(async () => (await queue.getCompletedCount()) === 30);
          assert.deepEqual(order, numbers(30).reverse());
        } finally {
          await close();
        }
      });

      test('jobs wait for their time, and some come again and again', async () => {
        try {
          const queue = queueOf('later');
          const seen = [];
          for (const i of numbers(20)) await queue.add('late', { i, at: Date.now() + 20 * (20 - i) }, { delay: 20 * (20 - i) });
          const worker = workerOf('later', async (job) => void seen.push({ ...job.data, name: job.name, now: Date.now() }));
          await until(async () => (await queue.getCompletedCount()) === 20);
          assert.deepEqual(ascending(seen.map(({ i }) => i)), numbers(20));
          assert.ok(seen.every(({ at, now }) => now >= at - 1));

          await queue.upsertJobScheduler('every', { every: 30, limit: 5 }, { name: 'tick', data: { i: 'tick' } });
          await until(() => seen.filter(({ name }) => name === 'tick').length === 5);
          await queue.upsertJobScheduler('forever', { every: 20 }, { name: 'tock', data: {} });
          await until(() => seen.filter(({ name }) => name === 'tock').length >= 4);
          assert.equal(await queue.removeJobScheduler('forever'), true);
          await worker.pause();
          await until(async () => (await queue.getDelayedCount()) === 0);
        } finally {
          await close();
        }
      });

      test('flows: parents come after all their children, with what those gave', async () => {
        try {
          const queue = queueOf('parents');
          const order = [];
          workerOf('children', async (job) => {
            order.push(job.name);
            return job.data.value;
          }, { concurrency: 5 });
          workerOf('parents', async (job) => {
            order.push(job.name);
            return Object.values(await job.getChildrenValues()).reduce((a, b) => a + b, 0);
          }, { concurrency: 5 });
          const flow = closing(new FlowProducer({ connection }));
          const trees = await flow.addBulk(numbers(5).map((t) => ({
            name: `top${t}`, queueName: 'parents',
            children: numbers(3).map((m) => ({
              name: `middle${t}`, queueName: 'parents',
              children: numbers(4).map((c) => ({ name: `leaf${t}`, queueName: 'children', data: { value: 100 * t + 10 * m + c } })),
            })),
          })));
          await until(async () => (await queue.getCompletedCount()) === 20);
          for (const [t, tree] of trees.entries()) {
            const job = await queue.getJob(tree.job.id);
            assert.equal(job.returnvalue, 1200 * t + 138);
            const mine = order.filter((name) => name.endsWith(String(t))).map((name) => name.slice(0, -1));
            assert.equal(mine.at(-1), 'top');
            assert.deepEqual([mine.filter((n) => n === 'leaf').length, mine.filter((n) => n === 'middle').length], [12, 3]);
          }
        } finally {
          await close();
        }
      });

      test('no more jobs begin than their limit lets through', async () => {
        try {
          const queue = queueOf('limited');
          await queue.addBulk(numbers(30).map((i) => ({ name: 'job', data: { i } })));
          const begun = [];
          numbers(2).forEach(() => workerOf('limited', async () => void begun.push(Date.now()), { concurrency: 5, limiter: { max: 10, duration: 300 } }));
          await until(async () => (await queue.getCompletedCount()) === 30);
          assert.equal(begun.length, 30);
          assert.ok(Math.max(...begun) - Math.min(...begun) >= 300, 'two windows have passed at least');
        } finally {
          await close();
        }
      });

      test('what a worker that died had begun is done by another', async () => {
        try {
          const queue = queueOf('stalled');
          const events = closing(new QueueEvents('stalled', { connection }));
          await events.waitUntilReady();
          const stalled = new Set();
          events.on('stalled', ({ jobId }) => stalled.add(jobId));
          await queue.addBulk(numbers(10).map((i) => ({ name: 'job', data: { i } })));
          const dead = new Worker('stalled', null, { connection, lockDuration: 50, skipLockRenewal: true });
          const taken = new Set();
          for (const i of numbers(4)) taken.add((await dead.getNextJob(`token${i}`)).id);
          const done = [];
          workerOf('stalled', async (job) => void done.push(job.data.i), { stalledInterval: 50, maxStalledCount: 5, concurrency: 3 });
          await until(async () => (await queue.getCompletedCount()) === 10);
          await until(() => stalled.size >= 4);
          assert.deepEqual(ascending(done), numbers(10));
          assert.deepEqual([...stalled].sort(), [...taken].sort());
          await dead.close(true);
        } finally {
          await close();
        }
      });

      test('events tell of each job, and who added it can wait for it', async () => {
        try {
          const queue = queueOf('told');
          const events = closing(new QueueEvents('told', { connection }));
          await events.waitUntilReady();
          const completed = [];
          events.on('completed', ({ jobId, returnvalue }) => completed.push([jobId, returnvalue]));
          workerOf('told', async (job) => {
            await job.updateProgress(50);
            if (job.data.i === 7) throw new Error('seven');
            return `done ${job.data.i}`;
          });
          const jobs = await queue.addBulk(numbers(20).map((i) => ({ name: 'job', data: { i } })));
          const results = await Promise.allSettled(jobs.map((job) => job.waitUntilFinished(events, 60_000)));
          assert.deepEqual(results.map((r) => r.value ?? r.reason.message), numbers(20).map((i) => (i === 7 ? 'seven' : `done ${i}`)));
          await until(() => completed.length === 19);
          assert.equal(await queue.getFailedCount(), 1);
        } finally {
          await close();
        }
      });
    });

    test('Bull: jobs at once, later, by priority, that fail and that come again', async () => {
      const queue = closing(new Bull('old', { redis: connection }));
      try {
        const done = [];
        queue.process('*', 8, async (job) => {
          if (job.data.i === 5 && job.attemptsMade === 0) throw new Error('again');
          done.push(job.data.i);
          return job.data.i;
        });
        await queue.addBulk(numbers(100).map((i) => ({ name: 'job', data: { i }, opts: { attempts: 2, priority: 1 + (i % 3) } })));
        for (const i of numbers(10)) await queue.add('later', { i: 100 + i }, { delay: 20 * i });
        await until(async () => (await queue.getCompletedCount()) === 110);
        assert.deepEqual(ascending(done), numbers(110));
        await queue.add('tick', { i: 'tick' }, { repeat: { every: 50, limit: 3 } });
        await until(() => done.filter((i) => i === 'tick').length === 3);
        await until(async () => (await queue.getCompletedCount()) === 113);
        const job = await queue.add('waited', { i: 999 });
        assert.equal(await job.finished(), 999);
        assert.equal((await queue.getJobCounts()).failed, 0);
        await queue.clean(0, 'completed');
        assert.equal(await queue.getCompletedCount(), 0);
      } finally {
        await close();
      }
    });

    test('bee-queue: jobs, tries, delays and progress', async () => {
      const redisOptions = { host: '127.0.0.1', port: server.port };
      const queue = new BeeQueue('bees', { redis: redisOptions, activateDelayedJobs: true, nearTermWindow: 60_000 });
      const worker = new BeeQueue('bees', { redis: redisOptions, activateDelayedJobs: true });
      try {
        await Promise.all([queue.ready(), worker.ready()]);
        const done = [];
        const failedOnce = new Set();
        worker.process(5, async (job) => {
          if (job.data.i % 10 === 0 && !failedOnce.has(job.data.i)) {
            failedOnce.add(job.data.i);
            throw new Error('again');
          }
          done.push(job.data.i);
          return job.data.i + 1;
        });
        const results = new Map();
        queue.on('job succeeded', (id, result) => results.set(id, result));
        const jobs = numbers(100).map((i) => queue.createJob({ i }).retries(2));
        for (const job of jobs.slice(0, 50)) await job.save();
        assert.equal((await queue.saveAll(jobs.slice(50))).size, 0);
        for (const i of numbers(5)) await queue.createJob({ i: 100 + i }).retries(2).delayUntil(Date.now() + 30 * (i + 1)).save();
        await until(() => results.size === 105);
        assert.deepEqual(ascending(done), numbers(105));
        const health = await queue.checkHealth();
        assert.deepEqual([health.waiting, health.active, health.succeeded, health.failed, health.delayed], [0, 0, 105, 0, 0]);
      } finally {
        await Promise.all([queue.close(), worker.close()]);
      }
    });

    test('redlock: one holder at a time, of several resources together', async () => {
      const clients = numbers(5).map(() => new Redis(server.port, '127.0.0.1'));
      try {
        const locks = clients.map((client) => new Redlock([client], { retryCount: -1, retryDelay: 5, retryJitter: 5 }));
        let inside = 0;
        let total = 0;
        await Promise.all(locks.flatMap((redlock, who) => numbers(2).map(async () => {
          for (const round of numbers(10)) {
            const what = (who + round) % 2 ? ['account:a', 'account:b'] : ['account:b', 'account:c'];
            const lock = await redlock.lock(what, 60_000);
            assert.equal(++inside, 1, 'all ask for account:b');
            const before = total;
            await sleep(0);
            total = before + 1;
            inside--;
            await lock.unlock();
          }
        })));
        assert.equal(total, 100);
        assert.deepEqual(await redis.keys('account:*'), []);
        const held = await locks[0].lock('one', 60_000);
        const other = new Redlock([clients[1]], { retryCount: 0 });
        await assert.rejects(other.lock('one', 1000), { name: 'LockError' });
        const longer = await held.extend(120_000);
        assert.ok((await redis.pttl('one')) > 60_000);
        await longer.unlock();
        await (await other.lock('one', 60_000)).unlock();
        await assert.rejects(longer.unlock(), { name: 'LockError' });
      } finally {
        clients.forEach((client) => client.disconnect());
      }
    });

    for (const kind of ['ioredis', 'node-redis']) {
      test(`rate-limiter-flexible with its script, ${kind}`, async () => {
        const client = kind === 'ioredis' ? new Redis(server.port, '127.0.0.1') : createClient({ url: `redis://127.0.0.1:${server.port}` });
        if (kind !== 'ioredis') await client.connect();
        try {
          const options = { storeClient: client, useRedisPackage: kind !== 'ioredis', points: 50, duration: 1000 };
          const limiter = new RateLimiterRedis({ ...options, keyPrefix: 'each' });
          for (const who of numbers(5)) {
            const answers = await Promise.allSettled(numbers(80).map(() => limiter.consume(`user${who}`)));
            const passed = answers.filter(({ status }) => status === 'fulfilled').map(({ value }) => value.remainingPoints);
            assert.deepEqual(ascending(passed), numbers(50));
            assert.ok(answers.filter(({ status }) => status === 'rejected').every(({ reason }) => reason.msBeforeNext > 0));
          }
          const blocking = new RateLimiterRedis({ ...options, keyPrefix: 'block', points: 2, blockDuration: 5000 });
          await blocking.consume('a', 2);
          const refused = await blocking.consume('a').catch((e) => e);
          assert.ok(refused.msBeforeNext > 4_000_000);
          const queue = new RateLimiterQueue(new RateLimiterRedis({ ...options, keyPrefix: 'queue', points: 5, duration: 1 }), { maxQueueSize: 100 });
          assert.equal((await Promise.all(numbers(10).map(() => queue.removeTokens(1)))).length, 10);
        } finally {
          if (kind === 'ioredis') client.disconnect();
          else client.destroy();
        }
      });
    }

    test('valkey-glide: pipelines of thousands, scripts, many keys', async () => {
      const client = await GlideClient.createClient({ addresses: [{ host: '127.0.0.1', port: server.port }], requestTimeout: 60_000 });
      try {
        // No more than a thousand may be on their way.
        for (const from of [0, 900, 1800]) await Promise.all(numbers(900).map((i) => client.set(`glide:${from + i}`, String(from + i))));
        assert.deepEqual(await client.mget(numbers(100).map((i) => `glide:${i}`)), numbers(100).map(String));
        assert.equal(await client.del(numbers(2700).map((i) => `glide:${i}`)), 2700);
        const script = new Script("redis.call('HINCRBY', KEYS[1], ARGV[1], 1) return redis.call('INCR', KEYS[2])");
        const counts = await Promise.all(numbers(200).map((i) => client.invokeScript(script, { keys: ['by', 'all'], args: [`f${i % 4}`] })));
        assert.deepEqual(ascending(counts), numbers(200).map((i) => i + 1));
        assert.deepEqual(Object.fromEntries((await client.hgetall('by')).map(({ field, value }) => [field, value])), { f0: '50', f1: '50', f2: '50', f3: '50' });
        script.release();
      } finally {
        client.close();
      }
    });

    test('and no client is left behind', async () => {
      await until(async () => Number((await redis.info('clients')).match(/^connected_clients:(\d+)\r$/m)[1]) === 1);
    });
  });
}
