// SPDX-License-Identifier: BSD-3-Clause
// cluster: starts some nodes of one cluster for a test file, moves slots among them as tools do, and waits until all see the same.

import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import calculateSlot from 'cluster-key-slot';
import Redis from 'ioredis';
import { program, root, startProgram } from './server.mjs';

const BUS = 10000; // its port is so far above
const SLOTS = 16384;

// The valkey-server to have beside ours, or null: as test/integration/server.py looks for it.
export function findValkey() {
  const named = [process.env.SHOAL_VALKEY, path.join(root, '.cache/peers/bin/valkey-server')].filter(Boolean);
  const found = named.find((file) => fs.existsSync(file));
  if (found) return found;
  try {
    return execFileSync('which', ['valkey-server']).toString().trim() || null;
  } catch {
    return null;
  }
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// Until it is true, or what it throws is the reason why not.
export async function waitFor(condition, what, seconds = 60) {
  const end = Date.now() + seconds * 1000;
  let last;
  while (Date.now() < end) {
    try {
      if (await condition()) return;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await sleep(20);
  }
  throw new Error(`waited in vain: ${typeof what === 'function' ? what() : what}`, { cause: last });
}

async function isFree(port) {
  const probe = net.createServer();
  try {
    probe.listen(port, '127.0.0.1');
    await once(probe, 'listening');
    probe.close();
    await once(probe, 'close');
    return true;
  } catch {
    return false;
  }
}

// Free with its bus, and neither among those that the system gives to who connects.
async function pickPort() {
  const first = Number(process.env.SHOAL_TEST_PORT_FIRST ?? 21000);
  const last = Math.min(Number(process.env.SHOAL_TEST_PORT_LAST ?? 23999), 32767 - BUS);
  for (let i = 0; i < 1000; i++) {
    // The last of nine shares: the others are for tests in Python (test/integration/server.py).
    const port = first + 8 + 9 * Math.floor(Math.random() * Math.floor((last - first + 1) / 9));
    if ((await isFree(port)) && (await isFree(port + BUS))) return port;
  }
  throw new Error('no port is free with its bus');
}

// A node: { port, id, admin (a connection of its own), stop() }.
async function startNode(file) {
  for (let tries = 0; ; tries++) {
    const port = await pickPort();
    try {
      const node = await startProgram(file, port, ['--cluster-enabled', 'yes', '--repl-diskless-sync-delay', '0']);
      node.admin = new Redis(port, '127.0.0.1', { retryStrategy: null });
      node.admin.on('error', () => {});
      node.id = await node.admin.call('CLUSTER', 'MYID');
      return node;
    } catch (error) {
      if (tries > 5) throw error; // somebody else was faster
    }
  }
}

async function infoOf(node, section) {
  const text = await node.admin.info(section);
  return Object.fromEntries(text.split('\r\n').filter((line) => line.includes(':')).map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]));
}

// How many errors of that kind clients of the node have been answered.
export async function errors(node, code) {
  const line = (await infoOf(node, 'errorstats'))[`errorstat_${code}`];
  return line ? Number(line.split('=')[1]) : 0;
}

// How often clients have called it there.
export async function calls(node, command) {
  const line = (await infoOf(node, 'commandstats'))[`cmdstat_${command}`];
  return line ? Number(/calls=(\d+)/.exec(line)[1]) : 0;
}

// A key of each slot, that begins with the prefix.
export function keysOfAllSlots(prefix) {
  const keys = new Array(SLOTS);
  for (let i = 0, found = 0; found < SLOTS; i++) {
    const key = `${prefix}:${i}`;
    const slot = calculateSlot(key);
    if (keys[slot] === undefined) {
      keys[slot] = key;
      found++;
    }
  }
  return keys;
}

// Three primaries that have all slots, and a replica of the first.
export class Cluster {
  static async start(kinds) {
    const cluster = new Cluster();
    const files = kinds.map((kind) => (kind === 'valkey' ? findValkey() : program));
    cluster.nodes = [];
    for (const file of files) cluster.nodes.push(await startNode(file));
    [cluster.primaries, cluster.replica] = [cluster.nodes.slice(0, 3), cluster.nodes[3]];
    await cluster.join();
    return cluster;
  }

  async join() {
    const [first, ...others] = this.nodes;
    for (const [i, node] of this.primaries.entries()) {
      await node.admin.call('CLUSTER', 'SET-CONFIG-EPOCH', i + 1);
      await node.admin.call('CLUSTER', 'ADDSLOTSRANGE', Math.ceil((i * SLOTS) / 3), Math.ceil(((i + 1) * SLOTS) / 3) - 1);
    }
    for (const node of others) await node.admin.call('CLUSTER', 'MEET', '127.0.0.1', first.port);
    await waitFor(async () => (await this.replica.admin.call('CLUSTER', 'NODES')).includes(first.id), 'the replica knows its primary');
    await waitFor(async () => (await this.replica.admin.call('CLUSTER', 'REPLICATE', first.id)) === 'OK', 'it is a replica');
    await this.agree();
    await waitFor(async () => (await infoOf(this.replica, 'replication')).master_link_status === 'up', 'the replica has its data');
  }

  // Who has which slots, in the eyes of a node, and which replicas.
  async view(node) {
    const rows = await node.admin.call('CLUSTER', 'SLOTS');
    return JSON.stringify(rows.map(([begin, end, ...nodes]) => [begin, end, nodes[0][1], nodes.slice(1).map((n) => n[1]).sort()]).sort((a, b) => a[0] - b[0]));
  }

  async agree() {
    let views;
    await waitFor(async () => {
      views = await Promise.all(this.nodes.map((node) => this.view(node)));
      const states = await Promise.all(this.nodes.map((node) => node.admin.call('CLUSTER', 'INFO')));
      const replicas = views[0].includes(String(this.replica.port));
      return replicas && views.every((view) => view === views[0]) && states.every((text) => text.includes('cluster_state:ok'));
    }, () => `all nodes see the same: ${views.join('\n')}`);
  }

  // A slot on its way: then some of its keys are moved, and at last it is another's.
  async open(slot, source, target) {
    await target.admin.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', source.id);
    await source.admin.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', target.id);
  }

  async moveKeys(source, target, keys) {
    await source.admin.call('MIGRATE', '127.0.0.1', target.port, '', 0, 10000, 'KEYS', ...keys);
  }

  async close(slot, source, target) {
    await target.admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', target.id);
    await source.admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', target.id);
  }

  // The replica has all that its primary has.
  async replicated() {
    const { master_repl_offset: offset } = await infoOf(this.primaries[0], 'replication');
    await waitFor(async () => Number((await infoOf(this.replica, 'replication')).slave_repl_offset) >= Number(offset), 'the replica has all');
  }

  async stop() {
    for (const node of this.nodes) {
      node.admin.disconnect();
      await node.stop();
    }
  }
}
