// SPDX-License-Identifier: BSD-3-Clause
// A queue in a list. Who takes a job puts it into a list of his own in the same step: if he dies it is found there.
const Redis = require('ioredis');

const redis = new Redis(process.env.SHOAL_URL || 'redis://127.0.0.1:6379');
const QUEUE = 'example:queue';

const put = job => redis.lpush(QUEUE, JSON.stringify(job));

// Waits for a job up to so many seconds; null if none came.
const take = (worker, seconds) => redis.blmove(QUEUE, QUEUE + ':' + worker, 'RIGHT', 'LEFT', seconds);

const done = (worker, job) => redis.lrem(QUEUE + ':' + worker, 1, job);

// For a worker of whom it is known that he is gone. His oldest job is the next one again.
async function bringBack(worker) {
  let count = 0;
  while (await redis.lmove(QUEUE + ':' + worker, QUEUE, 'LEFT', 'RIGHT')) count++;
  return count;
}

async function main() {
  await redis.unlink(QUEUE, QUEUE + ':one', QUEUE + ':two');
  for (let n = 0; n < 3; n++) await put({ mail: n });
  let job = await take('one', 1);
  console.log('one does', job);
  await done('one', job);
  console.log('one takes', await take('one', 1), 'and dies');
  console.log('brought back:', await bringBack('one'));
  while ((job = await take('two', 0.1)) !== null) {
    console.log('two does', job);
    await done('two', job);
  }
  console.log('left:', await redis.llen(QUEUE) + await redis.llen(QUEUE + ':one') + await redis.llen(QUEUE + ':two'));
}

main().finally(() => redis.disconnect());
