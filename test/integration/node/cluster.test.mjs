// SPDX-License-Identifier: BSD-3-Clause
// What programs that use a cluster do, with ioredis and node-redis, which know one node of it and find the others: on three primaries
// and a replica, all of one kind, and with a Valkey among them.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import calculateSlot from 'cluster-key-slot';
import Redis from 'ioredis';
import { createCluster, defineScript } from 'redis';
import { calls, Cluster, errors, findValkey, keysOfAllSlots, waitFor } from './cluster.mjs';

const APPEND = "redis.call('RPUSH', KEYS[1], ARGV[1]); return redis.call('LRANGE', KEYS[1], 0, -1)";

// How each client is opened by one node's address, and what is called otherwise in one than in the other.
const CLIENTS = {
  ioredis: {
    async open(port, { replicas = false, sharded = false } = {}) {
      const client = new Redis.Cluster([{ host: '127.0.0.1', port }], {
        scaleReads: replicas ? 'slave' : 'master',
        shardedSubscribers: sharded,
        slotsRefreshTimeout: 10000,
        scripts: { appendTo: { lua: APPEND, numberOfKeys: 1 } },
      });
      client.on('error', () => {});
      if (client.status !== 'ready') await new Promise((done) => client.once('ready', done));
      return client;
    },
    close: (client) => client.disconnect(),
    async multi(client, sets, keys) {
      const multi = client.multi();
      for (const [key, value] of sets) multi.set(key, value);
      for (const key of keys) multi.get(key);
      return (await multi.exec()).map(([error, reply]) => error ?? reply);
    },
    async pipeline(client, sets, keys) {
      const pipeline = client.pipeline();
      for (const [key, value] of sets) pipeline.set(key, value);
      for (const key of keys) pipeline.get(key);
      return (await pipeline.exec()).map(([error, reply]) => error ?? reply);
    },
    async subscribe(client, channel, heard) {
      client.on('message', (_, message) => heard(message));
      await client.subscribe(channel);
    },
    async ssubscribe(client, channels, heard) {
      client.on('smessage', (_, message) => heard(message));
      for (const channel of channels) await client.ssubscribe(channel);
    },
    spublish: (client, channel, message) => client.spublish(channel, message),
  },
  'node-redis': {
    async open(port, { replicas = false } = {}) {
      const client = createCluster({
        rootNodes: [{ url: `redis://127.0.0.1:${port}` }],
        useReplicas: replicas,
        scripts: {
          appendTo: defineScript({
            SCRIPT: APPEND,
            NUMBER_OF_KEYS: 1,
            parseCommand: (parser, key, value) => (parser.pushKey(key), parser.push(value)),
            transformReply: undefined,
          }),
        },
      });
      client.on('error', () => {});
      await client.connect();
      return client;
    },
    close: (client) => client.destroy(),
    multi(client, sets, keys) {
      const multi = client.multi();
      for (const [key, value] of sets) multi.set(key, value);
      for (const key of keys) multi.get(key);
      return multi.exec();
    },
    // What is sent at once goes as a pipeline to each node.
    pipeline: (client, sets, keys) => Promise.all([...sets.map(([key, value]) => client.set(key, value)), ...keys.map((key) => client.get(key))]),
    subscribe: (client, channel, heard) => client.subscribe(channel, heard),
    async ssubscribe(client, channels, heard) {
      for (const channel of channels) await client.sSubscribe(channel, heard);
    },
    spublish: (client, channel, message) => client.sPublish(channel, message),
  },
};

const MIXES = { 'of one kind': ['', '', '', ''], 'with a Valkey whose replica is ours': ['valkey', '', '', ''] };

for (const [mix, kinds] of Object.entries(MIXES)) {
  const skip = kinds.includes('valkey') && !findValkey() ? 'no Valkey to have beside: ./dev test installs it' : false;

  describe(`a cluster ${mix}`, { skip }, () => {
    let cluster;
    const open = {};

    before(async () => {
      cluster = await Cluster.start(kinds);
      for (const name of Object.keys(CLIENTS)) open[name] = await CLIENTS[name].open(cluster.nodes[1].port);
    });
    after(async () => {
      for (const name of Object.keys(open)) CLIENTS[name].close(open[name]);
      await cluster?.stop();
    });

    for (const [name, kind] of Object.entries(CLIENTS)) {
      test(`${name} sets and gets in slots of all nodes`, async () => {
        const client = open[name];
        const keys = keysOfAllSlots(`all:${name}`).filter((_, slot) => slot % 8 === 0 || slot === 16383);
        await Promise.all(keys.map((key, i) => client.set(key, `v${i}`)));
        assert.deepEqual(await Promise.all(keys.map((key) => client.get(key))), keys.map((_, i) => `v${i}`));
      });

      test(`${name} follows a slot while it moves, and after that`, async () => {
        const client = open[name];
        const [source, target] = cluster.primaries;
        const tag = keysOfAllSlots(`move:${name}`)[100 + name.length];
        const slot = calculateSlot(tag);
        const [stays, goes, isNew] = ['stays', 'goes', 'new'].map((word) => `{${tag}}${word}`);
        await client.set(stays, '1');
        await client.set(goes, '2');
        const [asked, moved] = [await errors(source, 'ASK'), await errors(source, 'MOVED')];

        await cluster.open(slot, source, target);
        await cluster.moveKeys(source, target, [goes]);
        assert.equal(await client.get(stays), '1');
        assert.equal(await client.get(goes), '2');
        assert.equal(await client.set(isNew, '3'), 'OK');
        assert.equal(await client.get(isNew), '3');
        assert.equal(await errors(source, 'ASK'), asked + 3);
        assert.equal(await errors(source, 'MOVED'), moved);
        assert.equal(await target.admin.call('CLUSTER', 'COUNTKEYSINSLOT', slot), 2);

        await cluster.moveKeys(source, target, await source.admin.call('CLUSTER', 'GETKEYSINSLOT', slot, 10));
        await cluster.close(slot, source, target);
        assert.equal(await client.get(stays), '1');
        assert.equal(await errors(source, 'MOVED'), moved + 1);
        assert.deepEqual(await kind.pipeline(client, [[isNew, '4']], [stays, goes, isNew]), ['OK', '1', '2', '4']);
        await cluster.agree();
      });

      test(`${name} sends pipelines and transactions of keys with one tag`, async () => {
        const client = open[name];
        for (let i = 0; i < 20; i++) {
          const keys = Array.from({ length: 10 }, (_, n) => `{${name}:${i}}${n}`);
          const sets = keys.map((key, n) => [key, `${n}`]);
          const replies = [...keys.map(() => 'OK'), ...keys.map((_, n) => `${n}`)];
          assert.deepEqual(await kind.pipeline(client, sets, keys), replies);
          assert.deepEqual(await kind.multi(client, sets, keys), replies);
        }
        await assert.rejects(async () => {
          const replies = await kind.multi(client, [['a', '1'], ['b', '2']], []);
          throw replies.find((reply) => reply instanceof Error);
        }, /CROSSSLOT|EXECABORT|MOVED|same slot/);
      });

      test(`${name} runs a script where its key is, known there or not`, async () => {
        const client = open[name];
        for (const i of [1, 2, 3]) {
          for (let k = 0; k < 12; k++) {
            const said = await client.appendTo(`script:${name}:${k}`, `${i}`);
            assert.deepEqual(said, ['1', '2', '3'].slice(0, i));
          }
        }
      });

      test(`${name} hears what is published at any node`, async () => {
        const subscriber = await kind.open(cluster.nodes[2].port);
        const heard = new Set();
        const channel = `news:${name}`;
        await kind.subscribe(subscriber, channel, (message) => heard.add(message));
        for (const [i, node] of cluster.nodes.entries()) {
          // The client subscribes at a node of its choice, and what is published before the bus' links stand may be lost.
          await waitFor(async () => (await node.admin.publish(channel, `n${i}`), heard.has(`n${i}`)), `n${i} is heard`);
        }
        await kind.close(subscriber);
      });

      test(`${name} hears shards' channels, each at the node that has its slot`, async () => {
        const subscriber = await kind.open(cluster.nodes[0].port, { sharded: true });
        const heard = [];
        const channels = Array.from({ length: 6 }, (_, i) => `shard:${name}:${i}`);
        await kind.ssubscribe(subscriber, channels, (message) => heard.push(message));
        for (const channel of channels) await kind.spublish(open[name], channel, channel);
        await waitFor(() => heard.length >= 6, 'all channels are heard');
        assert.deepEqual([...heard].sort(), channels);
        await kind.close(subscriber);
      });

      test(`${name} reads from replicas`, async () => {
        const client = await kind.open(cluster.nodes[2].port, { replicas: true });
        const keys = keysOfAllSlots(`read:${name}`).slice(1000, 1100);
        await Promise.all(keys.map((key) => open[name].set(key, key)));
        await cluster.replicated();
        const before = await calls(cluster.replica, 'get');
        assert.deepEqual(await Promise.all(keys.map((key) => client.get(key))), keys);
        const atReplica = (await calls(cluster.replica, 'get')) - before;
        assert.ok(atReplica > 0, `${atReplica} reads at the replica`);
        assert.ok(await calls(cluster.replica, 'readonly'));
        await kind.close(client);
      });
    }
  });
}
