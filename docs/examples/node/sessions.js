// SPDX-License-Identifier: BSD-3-Clause
// Sessions: a hash for each, which lives on as long as it is used; and a set of each user's, to end all of them at once.
const crypto = require('node:crypto');
const Redis = require('ioredis');

const redis = new Redis(process.env.SHOAL_URL || 'redis://127.0.0.1:6379');
const SECONDS = 1800;

async function logIn(user) {
  const token = crypto.randomBytes(24).toString('base64url');
  await redis.multi()
    .hset('example:session:' + token, { user, page: 'home' })
    .expire('example:session:' + token, SECONDS)
    .sadd('example:sessions:' + user, token)
    .expire('example:sessions:' + user, 30 * 24 * 3600)
    .exec();
  return token;
}

// The session's user, or null if it is over. GETEX has no hashes, so two commands: one trip.
async function visit(token, page) {
  const [[, there], [, user]] = await redis.multi()
    .expire('example:session:' + token, SECONDS)
    .hget('example:session:' + token, 'user')
    .exec();
  if (there) await redis.hset('example:session:' + token, 'page', page);
  return user;
}

async function logOutEverywhere(user) {
  const tokens = await redis.smembers('example:sessions:' + user);
  return await redis.unlink('example:sessions:' + user, ...tokens.map(t => 'example:session:' + t)) - 1;
}

async function main() {
  await redis.unlink('example:sessions:ann');
  const [phone, laptop] = [await logIn('ann'), await logIn('ann')];
  console.log('the phone is', await visit(phone, 'cart'));
  console.log('a made-up token is', await visit('x', 'cart') ?? 'nobody');
  console.log('ended everywhere:', await logOutEverywhere('ann'));
  console.log('the laptop is', await visit(laptop, 'cart') ?? 'nobody');
}

main().finally(() => redis.disconnect());
