// SPDX-License-Identifier: BSD-3-Clause
// Invalidation by tags: a cached page notes the versions of its tags, a change makes the tag's version another one. Nothing is searched
// for or deleted: what is out of date is not believed, and runs out by itself.
const Redis = require('ioredis');

const redis = new Redis(process.env.SHOAL_URL || 'redis://127.0.0.1:6379');

// One trip for the page and its tags' versions, which are of one moment, on however many shards they lie.
async function page(name, tags, make) {
  const [cached, ...versions] = await redis.mget('example:page:' + name, ...tags.map(t => 'example:tag:' + t));
  const now = versions.map(v => Number(v ?? 0));
  if (cached !== null) {
    const entry = JSON.parse(cached);
    if (entry.versions.join() === now.join()) return 'cached';
  }
  // The versions from before it was made: a change meanwhile makes it out of date at once.
  await redis.set('example:page:' + name, JSON.stringify({ versions: now, text: await make() }), 'EX', 3600);
  return 'made';
}

const changed = tag => redis.incr('example:tag:' + tag);

async function main() {
  await redis.unlink('example:page:home', 'example:page:about', 'example:tag:news', 'example:tag:staff');
  const home = () => page('home', ['news', 'staff'], () => 'welcome');
  const about = () => page('about', ['staff'], () => 'who we are');
  console.log(`home is ${await home()}, about is ${await about()}`);
  console.log(`home is ${await home()}, about is ${await about()}`);
  await changed('news');
  console.log(`after news: home is ${await home()}, about is ${await about()}`);
  await changed('staff');
  console.log(`after staff: home is ${await home()}, about is ${await about()}`);
}

main().finally(() => redis.disconnect());
