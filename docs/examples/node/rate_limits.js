// SPDX-License-Identifier: BSD-3-Clause
// Three limiters: a counter for each window, a log of the last ones, a bucket of tokens.
const crypto = require('node:crypto');
const Redis = require('ioredis');

const redis = new Redis(process.env.SHOAL_URL || 'redis://127.0.0.1:6379');

// The cheapest. A window begins with its first request; around its end twice the limit may pass in a short time.
async function window(who, limit, seconds) {
  const [[, count]] = await redis.multi()
    .incr('example:window:' + who)
    .expire('example:window:' + who, seconds, 'NX')
    .exec();
  return count <= limit;
}

// Exact, for what it costs: an element for each request of the last seconds, refused ones included.
async function log(who, limit, seconds) {
  const [key, now] = ['example:log:' + who, Date.now() / 1000];
  const replies = await redis.multi()
    .zremrangebyscore(key, 0, now - seconds)
    .zadd(key, now, crypto.randomBytes(8).toString('hex'))
    .zcard(key)
    .expire(key, seconds)
    .exec();
  return replies[2][1] <= limit;
}

// Two numbers a key, bursts up to the bucket's size, and the server's own clock: a script, so that all of it is one step.
redis.defineCommand('exampleBucket', {
  numberOfKeys: 1,
  lua: `
    local size, per_second, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
    if now < 0 then
        local time = redis.call('TIME')
        now = time[1] + time[2] / 1000000
    end
    local had = redis.call('HMGET', KEYS[1], 'tokens', 'time')
    local tokens = math.min(size, (tonumber(had[1]) or size) + (now - (tonumber(had[2]) or now)) * per_second)
    local allowed = tokens >= 1
    if allowed then tokens = tokens - 1 end
    redis.call('HSET', KEYS[1], 'tokens', tokens, 'time', now)
    redis.call('EXPIRE', KEYS[1], math.ceil(size / per_second))
    return allowed and 1 or 0`
});

async function bucket(who, size, perSecond, now = -1) {
  return await redis.exampleBucket('example:bucket:' + who, size, perSecond, now) === 1;
}

async function passed(limiter) {
  let count = 0;
  for (let i = 0; i < 10; i++) count += await limiter() ? 1 : 0;
  return `${count} of 10`;
}

async function main() {
  await redis.unlink('example:window:ann', 'example:log:ann', 'example:bucket:ann');
  console.log('window:', await passed(() => window('ann', 5, 60)));
  console.log('log:', await passed(() => log('ann', 5, 60)));
  console.log('bucket:', await passed(() => bucket('ann', 5, 0.5, 1000)));
  console.log('bucket, four seconds later:', await passed(() => bucket('ann', 5, 0.5, 1004)));
}

main().finally(() => redis.disconnect());
