// SPDX-License-Identifier: BSD-3-Clause
// server: starts one server for a test file, on a free port with a directory of its own, and stops it.
// SHOAL_SERVER names the program (a redis-server or valkey-server works too, so that a test can be checked against the original).

import { spawn, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
export const program = process.env.SHOAL_SERVER ?? path.join(root, 'build-release/server/shoal-server');

export const isShoal = execFileSync(program, ['--version']).toString().toLowerCase().startsWith('shoal');

export async function freePort() {
  const probe = net.createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  return port;
}

async function answers(port) {
  const socket = net.connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

// Resolves to { port, stop() } once the server takes connections.
export async function startProgram(file, port, settings) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'shoal-node-'));
  const own = file === program && isShoal ? ['--shards', process.env.SHOAL_SHARDS ?? '2', '--io-backend', process.env.SHOAL_IO_BACKEND ?? 'auto'] : [];
  const args = ['--port', String(port), '--dir', dir, '--save', '', ...own, ...settings];
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  child.stdout.on('data', (data) => (log += data));
  child.stderr.on('data', (data) => (log += data));
  const ended = once(child, 'exit');

  async function stop() {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), 60000);
      const [code, signal] = await ended;
      clearTimeout(late);
      if (signal === 'SIGKILL') throw new Error(`server did not stop within 60 s:\n${log}`);
      if (code !== 0 && signal !== 'SIGTERM') throw new Error(`server ended with ${code ?? signal}:\n${log}`);
    } else {
      throw new Error(`server ended before the test did, with ${child.exitCode ?? child.signalCode}:\n${log}`);
    }
    fs.rmSync(dir, { recursive: true, force: true });
  }

  for (let tries = 0; tries < 3000; tries++) {
    if (child.exitCode !== null) throw new Error(`server exited with ${child.exitCode} at start:\n${log}`);
    if (await answers(port)) return { port, stop };
    await new Promise((done) => setTimeout(done, 20));
  }
  child.kill('SIGKILL');
  throw new Error(`server took no connection within 60 s:\n${log}`);
}

export async function startServer(...settings) {
  for (let tries = 0; ; tries++) {
    try {
      return await startProgram(program, await freePort(), settings);
    } catch (error) {
      // Somebody's connection was given that port meanwhile.
      if (tries === 5 || !/ddress already in use/.test(error.message)) throw error;
    }
  }
}
