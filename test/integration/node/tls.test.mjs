// SPDX-License-Identifier: BSD-3-Clause
// ioredis, iovalkey and node-redis over TLS, with a certificate of their own and without.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import Redis from 'ioredis';
import Valkey from 'iovalkey';
import { createClient } from 'redis';
import { freePort, startServer } from './server.mjs';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'shoal-node-tls-'));
const file = (name) => path.join(dir, name);
const openssl = (...args) => execFileSync('openssl', args, { stdio: 'pipe' });

function sign(name) {
  openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', file(`${name}.key`), '-out',
    file(`${name}.csr`), '-subj', `/CN=${name}`);
  fs.writeFileSync(file('ext'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
  openssl('x509', '-req', '-in', file(`${name}.csr`), '-CA', file('ca.crt'), '-CAkey', file('ca.key'), '-CAcreateserial', '-days', '30',
    '-extfile', file('ext'), '-out', file(`${name}.crt`));
}

describe('TLS', () => {
  let server;
  let port;
  let trusted;
  let known;

  before(async () => {
    openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', file('ca.key'), '-out',
      file('ca.crt'), '-days', '30', '-subj', '/CN=ca');
    sign('server');
    sign('client');
    port = await freePort();
    server = await startServer('--tls-port', String(port), '--tls-cert-file', file('server.crt'), '--tls-key-file', file('server.key'),
      '--tls-ca-cert-file', file('ca.crt'), '--tls-auth-clients', 'yes');
    trusted = { ca: fs.readFileSync(file('ca.crt')) };
    known = { ...trusted, cert: fs.readFileSync(file('client.crt')), key: fs.readFileSync(file('client.key')) };
  });
  after(async () => {
    await server?.stop();
    fs.rmSync(dir, { recursive: true, force: true });
  });

  for (const [name, Client] of [['ioredis', Redis], ['iovalkey', Valkey]]) {
    test(`${name} gets and sets, in a pipeline and in large`, async () => {
      const client = new Client({ host: '127.0.0.1', port, tls: known });
      const bytes = Buffer.alloc(1_000_000, 'ab');
      assert.equal(await client.set('large', bytes), 'OK');
      assert.deepEqual(await client.getBuffer('large'), bytes);
      const pipeline = client.pipeline();
      for (let i = 0; i < 2000; i++) pipeline.set(`k:${i}`, i);
      for (let i = 0; i < 2000; i++) pipeline.get(`k:${i}`);
      const replies = await pipeline.exec();
      assert.equal(replies.length, 4000);
      assert.deepEqual(replies[3999], [null, '1999']);
      await client.quit();
    });
  }

  test('ioredis without a certificate is not let in', async () => {
    const client = new Redis({ host: '127.0.0.1', port, tls: trusted, retryStrategy: null, maxRetriesPerRequest: 0 });
    client.on('error', () => {});
    await assert.rejects(client.ping());
    client.disconnect();
  });

  test('node-redis by rediss:// subscribes and publishes', async () => {
    const options = { url: `rediss://127.0.0.1:${port}`, socket: { tls: true, ...known } };
    const client = await createClient(options).connect();
    const listener = await createClient(options).connect();
    const heard = new Promise((done) => listener.subscribe('news', done));
    while ((await client.publish('news', 'hello')) === 0);
    assert.equal(await heard, 'hello');
    assert.deepEqual(await Promise.all(Array.from({ length: 1000 }, (_, i) => client.incrBy('n', i))).then((r) => r.at(-1)), 499500);
    await listener.close();
    await client.close();
  });
});
