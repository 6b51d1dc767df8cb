// SPDX-License-Identifier: BSD-3-Clause
// A stream with a group of workers: each entry goes to one of them, and stays with him until he says that it is done.
const { setTimeout: sleep } = require('node:timers/promises');
const Redis = require('ioredis');

const url = process.env.SHOAL_URL || 'redis://127.0.0.1:6379';
const redis = new Redis(url);
const [STREAM, GROUP] = ['example:orders', 'billing'];

async function work(name, bills, stop) {
  const own = new Redis(url); // who waits needs a connection of his own
  while (!stop.aborted) {
    const reply = await own.xreadgroup('GROUP', GROUP, name, 'COUNT', 5, 'BLOCK', 100, 'STREAMS', STREAM, '>');
    for (const [, entries] of reply ?? []) {
      for (const [number, [, order]] of entries) {
        bills.push(order);
        // After the work. Who dies in between has it done twice: the work must bear that.
        await own.xack(STREAM, GROUP, number);
      }
    }
  }
  own.disconnect();
}

// What somebody has had for so long that he must be gone.
async function takeOver(name, idleMs) {
  const taken = [];
  let start = '0-0';
  do {
    const [next, entries] = await redis.xautoclaim(STREAM, GROUP, name, idleMs, start, 'COUNT', 100);
    for (const [number, [, order]] of entries) {
      taken.push(order);
      await redis.xack(STREAM, GROUP, number);
    }
    start = next;
  } while (start !== '0-0');
  return taken;
}

async function main() {
  await redis.unlink(STREAM);
  await redis.xgroup('CREATE', STREAM, GROUP, '0', 'MKSTREAM');
  for (let n = 0; n < 20; n++) await redis.xadd(STREAM, 'MAXLEN', '~', 10000, '*', 'number', n);
  await redis.xreadgroup('GROUP', GROUP, 'dead', 'COUNT', 3, 'STREAMS', STREAM, '>'); // and never comes back
  const [bills, stop] = [[], new AbortController()];
  const workers = [work('worker-0', bills, stop.signal), work('worker-1', bills, stop.signal)];
  while (bills.length < 17) await sleep(10);
  stop.abort();
  await Promise.all(workers);
  console.log('done by two workers:', new Set(bills).size);
  console.log('left with the dead one:', (await redis.xpending(STREAM, GROUP))[0]);
  console.log('taken over:', (await takeOver('worker-0', 0)).join(', '));
  console.log('left:', (await redis.xpending(STREAM, GROUP))[0]);
}

main().finally(() => redis.disconnect());
