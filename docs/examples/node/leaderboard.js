// SPDX-License-Identifier: BSD-3-Clause
// A leaderboard for each day, and one of the week put together from them.
const Redis = require('ioredis');

const redis = new Redis(process.env.SHOAL_URL || 'redis://127.0.0.1:6379');
const BOARD = 'example:board:';

const scored = (day, player, points) => redis.multi()
  .zincrby(BOARD + day, points, player)
  .expire(BOARD + day, 14 * 24 * 3600)
  .exec();

async function best(board, first, last) {
  const flat = await redis.zrevrange(BOARD + board, first, last, 'WITHSCORES');
  return flat.flatMap((name, i) => i % 2 ? [] : [`${name} ${flat[i + 1]}`]);
}

async function around(board, player, neighbours = 1) {
  const rank = await redis.zrevrank(BOARD + board, player);
  const first = Math.max(0, rank - neighbours);
  return (await best(board, first, rank + neighbours)).map((row, i) => `${first + i + 1}. ${row}`);
}

async function main() {
  await redis.unlink(BOARD + 'mon', BOARD + 'tue', BOARD + 'week');
  const games = [['mon', 'ann', 30], ['mon', 'bob', 20], ['mon', 'cem', 25], ['tue', 'bob', 15], ['tue', 'dia', 5], ['tue', 'ann', 1]];
  for (const [day, player, points] of games) await scored(day, player, points);
  // Some seconds old is good enough for a week, so it is put together now and then, not at each point.
  await redis.zunionstore(BOARD + 'week', 2, BOARD + 'mon', BOARD + 'tue');
  console.log('monday:', (await best('mon', 0, 1)).join(', '));
  console.log('the week:', (await best('week', 0, 1)).join(', '));
  console.log('around cem:', (await around('week', 'cem')).join(', '));
}

main().finally(() => redis.disconnect());
