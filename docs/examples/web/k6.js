// SPDX-License-Identifier: BSD-3-Clause
// The same load test for who has k6 (https://k6.io):
//
//   k6 run -e URL=http://127.0.0.1:3000 k6.js
import http from 'k6/http';
import { check, sleep } from 'k6';

const url = __ENV.URL || 'http://127.0.0.1:3000';
const json = { headers: { 'content-type': 'application/json' } };

export const options = {
  stages: [
    { duration: '10s', target: 50 },
    { duration: '30s', target: 50 },
    { duration: '5s', target: 0 },
  ],
  thresholds: {
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
    'http_req_duration{step:login}': ['p(99)<500'],
    'http_req_duration{step:read}': ['p(99)<250'],
    'http_req_duration{step:write}': ['p(99)<250'],
  },
};

// k6 keeps each visitor's cookies.
export default function visit() {
  const login = http.post(`${url}/login`, JSON.stringify({ user: `user${__VU}` }), { ...json, tags: { step: 'login' } });
  check(login, { 'logged in': r => r.status === 200 });
  for (let n = 1; n <= 3; n++) {
    const wrote = http.post(`${url}/notes`, '{}', { ...json, tags: { step: 'write' } });
    check(wrote, { 'the write counts': r => r.status === 200 && r.json('notes') === n });
    const read = http.get(`${url}/notes`, { tags: { step: 'read' } });
    check(read, { 'it can be read': r => r.status === 200 && r.json('notes') === n });
  }
  check(http.post(`${url}/logout`, '{}', json), { 'logged out': r => r.status === 200 });
  sleep(0.1);
}
