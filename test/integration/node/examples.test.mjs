// SPDX-License-Identifier: BSD-3-Clause
// The programs of docs/examples/node print what docs/handbook/patterns.md says that those in Python print.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { startServer } from './server.mjs';

const docs = new URL('../../../docs/', import.meta.url);
const page = readFileSync(new URL('handbook/patterns.md', docs), 'utf8');
const names = readdirSync(new URL('examples/node/', docs)).filter(name => name.endsWith('.js'));
let server;

before(async () => { server = await startServer() });
after(() => server.stop());

for (const name of names) {
  test(name, async () => {
    const said = page.match(new RegExp(`^\\$ python3 examples/python/${name.replace('.js', '')}\\.py\n((?:[^$\`].*\n)+)`, 'm'));
    assert.ok(said, 'not on the page');
    const env = { ...process.env, SHOAL_URL: `redis://127.0.0.1:${server.port}`, NODE_PATH: new URL('node_modules', import.meta.url).pathname };
    const { stdout } = await promisify(execFile)(process.execPath, [new URL('examples/node/' + name, docs).pathname], { env, timeout: 60000 });
    assert.equal(stdout, said[1]);
  });
}
