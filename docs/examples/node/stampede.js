// SPDX-License-Identifier: BSD-3-Clause
// A stampede: many want what is not cached. One of them makes it, the others wait for him; if he dies another one does.
const crypto = require('node:crypto');
const { setTimeout: sleep } = require('node:timers/promises');
const Redis = require('ioredis');

const redis = new Redis(process.env.SHOAL_URL || 'redis://127.0.0.1:6379');
const KEY = 'example:report';
let made = 0;

async function make() {
  made++;
  await sleep(200); // what takes long
  return 'the report';
}

async function report() {
  for (;;) {
    let text = await redis.get(KEY);
    if (text !== null) return text;
    const token = crypto.randomBytes(8).toString('hex');
    if (await redis.set(KEY + ':lock', token, 'PX', 10000, 'NX')) {
      try {
        text = await redis.get(KEY); // somebody may have been through between the two looks
        if (text === null) {
          text = await make();
          await redis.set(KEY, text, 'EX', 60);
        }
        return text;
      } finally {
        await redis.call('DELIFEQ', KEY + ':lock', token);
      }
    }
    await sleep(20);
  }
}

async function main() {
  await redis.unlink(KEY, KEY + ':lock');
  const texts = await Promise.all(Array.from({ length: 20 }, report));
  console.log(`${texts.filter(t => t === 'the report').length} readers have it, it was made ${made} time`);
}

main().finally(() => redis.disconnect());
