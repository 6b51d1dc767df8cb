// SPDX-License-Identifier: BSD-3-Clause
// A load test of app.js: each visitor logs in, reads and writes by turns, and logs out. It fails if a session was lost, or is slow.
//
//   npm install autocannon
//   node load.js http://127.0.0.1:3000 [SECONDS] [VISITORS]
const autocannon = require('autocannon');

const [url = 'http://127.0.0.1:3000', seconds = '10', visitors = '50'] = process.argv.slice(2);
const P99_MS = Number(process.env.P99_MS || 500);
const json = { 'content-type': 'application/json' };
let lost = 0;

// What a visitor knows is in `me`; autocannon gives each connection one of its own.
const withCookie = (request, me) => ({ ...request, headers: { ...json, cookie: me.cookie } });
const login = {
  method: 'POST',
  path: '/login',
  headers: json,
  body: JSON.stringify({ user: 'ann' }),
  onResponse(status, body, me, headers) {
    const cookie = Object.entries(headers).find(([name]) => name.toLowerCase() === 'set-cookie');
    me.cookie = String(cookie?.[1]).split(';')[0];
    me.notes = 0;
  },
};
const read = {
  method: 'GET',
  path: '/notes',
  setupRequest: withCookie,
  onResponse(status, body, me) {
    if (status !== 200 || JSON.parse(body).notes !== me.notes) lost++;
  },
};
const write = {
  method: 'POST',
  path: '/notes',
  setupRequest: withCookie,
  onResponse(status, body, me) {
    me.notes++;
    if (status !== 200 || JSON.parse(body).notes !== me.notes) lost++;
  },
};
const logout = { method: 'POST', path: '/logout', setupRequest: withCookie };

async function main() {
  const result = await autocannon({
    url,
    duration: Number(seconds),
    connections: Number(visitors),
    timeout: 60,
    requests: [login, read, write, read, write, logout],
  });
  const failed = result.errors + result.timeouts + result.non2xx;
  console.log(`${result['2xx']} answers, ${failed} failed, ${lost} sessions were not what they should be`);
  console.log(`latency: p50 ${result.latency.p50} ms, p99 ${result.latency.p99} ms; ${Math.round(result.requests.average)} requests a second`);
  const slow = result.latency.p99 > P99_MS;
  if (slow) console.log(`p99 is over ${P99_MS} ms`);
  process.exitCode = failed || lost || slow || !result['2xx'] ? 1 : 0;
}

main();
