// SPDX-License-Identifier: BSD-3-Clause
// Cache-aside: what was read from the database is kept for a while; who changes it there takes it out of the cache.
const Redis = require('ioredis');

const redis = new Redis(process.env.SHOAL_URL || 'redis://127.0.0.1:6379');
const database = { 42: { name: 'lamp', price: 30 } };
const SECONDS = 300;

async function product(number) {
  const key = 'example:product:' + number;
  const cached = await redis.get(key);
  if (cached !== null) return [JSON.parse(cached), 'the cache'];
  const row = database[number];
  // Not all at once: what was cached together must not run out together.
  await redis.set(key, JSON.stringify(row), 'EX', SECONDS + Math.floor(Math.random() * SECONDS / 10));
  return [row, 'the database'];
}

async function changePrice(number, price) {
  database[number] = { ...database[number], price };
  // Behind the database, never ahead of it. A reader who fetched the old row just before may still put it back: it is old
  // for SECONDS at most. Where that is too long, see tags.js: a version in the key's value is looked at by each read.
  await redis.unlink('example:product:' + number);
}

async function main() {
  await redis.unlink('example:product:42');
  for (const what of ['first read', 'second read', 'after the change']) {
    if (what === 'after the change') await changePrice('42', 25);
    const [row, where] = await product('42');
    console.log(`${what}: ${row.price}, from ${where}`);
  }
}

main().finally(() => redis.disconnect());
