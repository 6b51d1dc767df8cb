// SPDX-License-Identifier: BSD-3-Clause
// A lock with a deadline, and why that alone is not enough: who was held up too long believes that he still has it.
const crypto = require('node:crypto');
const { setTimeout: sleep } = require('node:timers/promises');
const Redis = require('ioredis');

const redis = new Redis(process.env.SHOAL_URL || 'redis://127.0.0.1:6379');

// { token to give it back with, fence: a number that grows from holder to holder }, or null.
async function lock(name, milliseconds) {
  const token = crypto.randomBytes(16).toString('hex');
  // In one step: a number that is drawn later could be later than the next holder's.
  const [[, fence], [, got]] = await redis.multi()
    .incr('example:fence:' + name)
    .set('example:lock:' + name, token, 'PX', milliseconds, 'NX')
    .exec();
  return got ? { token, fence } : null;
}

// Only what is still one's own: one command compares and deletes.
async function unlock(name, token) {
  return await redis.call('DELIFEQ', 'example:lock:' + name, token) === 1;
}

// What is protected takes part: it refuses whoever comes with an older number than it has seen.
class Account {
  newest = 0;
  write(fence) {
    if (fence < this.newest) return 'refused';
    this.newest = fence;
    return 'written';
  }
}

async function main() {
  await redis.unlink('example:lock:account', 'example:fence:account');
  const account = new Account();
  const first = await lock('account', 2000);
  console.log('a second one gets it meanwhile:', await lock('account', 10000) ? 'yes' : 'no');
  while (await redis.exists('example:lock:account')) await sleep(10); // the first one is held up: a pause, a slow disk
  const second = await lock('account', 10000);
  console.log('the second one:', account.write(second.fence));
  console.log('the first one, too late:', account.write(first.fence));
  console.log('the first one gives it back:', await unlock('account', first.token) ? 'yes' : 'no');
  console.log('the second one gives it back:', await unlock('account', second.token) ? 'yes' : 'no');
}

main().finally(() => redis.disconnect());
