// SPDX-License-Identifier: BSD-3-Clause
// The web application of docs/examples/web under its load tests: sessions are kept, and the test of load can fail.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, copyFileSync, readFileSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createClient } from 'redis';
import { startServer } from './server.mjs';

const web = new URL('../../../docs/examples/web/', import.meta.url).pathname;
const modules = new URL('node_modules', import.meta.url).pathname;
let server;
let redis;
let app;
let folder;
let url;

function run(file, words, env = {}) {
  const child = spawn(process.execPath, [join(folder, file), ...words], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  child.said = '';
  child.stdout.on('data', data => { child.said += data; });
  child.stderr.on('data', data => { child.said += data; });
  return child;
}

async function load(env = {}) {
  const child = run('load.js', [url, '2', '10'], { P99_MS: '60000', ...env });
  const [code] = await once(child, 'close');
  return { code, said: child.said };
}

before(async () => {
  server = await startServer();
  redis = await createClient({ url: `redis://127.0.0.1:${server.port}` }).connect();
  // Where who follows the first lines of the files has the packages: beside them.
  folder = mkdtempSync(join(tmpdir(), 'shoal-web-'));
  for (const name of readdirSync(web)) copyFileSync(join(web, name), join(folder, name));
  symlinkSync(modules, join(folder, 'node_modules'));
  app = run('app.js', [], { SHOAL_URL: `redis://127.0.0.1:${server.port}`, PORT: '0' });
  while (!/listening on \d+/.test(app.said)) await once(app.stdout, 'data');
  url = `http://127.0.0.1:${app.said.match(/listening on (\d+)/)[1]}`;
});
after(async () => {
  app?.kill();
  if (app && app.exitCode === null) await once(app, 'close');
  await redis?.close();
  await server?.stop();
  if (folder) rmSync(folder, { recursive: true });
});

test('visitors keep their sessions', async () => {
  const { code, said } = await load();
  assert.match(said, /^[1-9]\d* answers, 0 failed, 0 sessions were not what they should be$/m);
  assert.equal(code, 0, said);
});

test('a limit that is not kept fails', async () => {
  const { code, said } = await load({ P99_MS: '-1' });
  assert.match(said, /p99 is over -1 ms/);
  assert.equal(code, 1);
});

test('sessions that are lost fail', async () => {
  const loss = setInterval(() => redis.flushAll(), 5);
  const { code, said } = await load();
  clearInterval(loss);
  assert.doesNotMatch(said, / 0 failed, 0 sessions/);
  assert.equal(code, 1, said);
});

test('the script for k6 asks for what there is', () => {
  const script = readFileSync(join(web, 'k6.js'), 'utf8');
  const routes = readFileSync(join(web, 'app.js'), 'utf8').matchAll(/app\.(get|post)\('(\/\w+)'/g);
  const asked = new Set([...script.matchAll(/http\.(get|post)\(`\$\{url\}(\/\w+)`/g)].map(([, how, path]) => `${how} ${path}`));
  assert.deepEqual([...asked].sort(), [...routes].map(([, how, path]) => `${how} ${path}`).sort());
});
