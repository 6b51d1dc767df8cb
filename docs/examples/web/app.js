// SPDX-License-Identifier: BSD-3-Clause
// A web application whose sessions are in Shoal: log in, read, write, log out.
//
//   npm install express express-session connect-redis redis
//   SHOAL_URL=redis://127.0.0.1:6379 PORT=3000 node app.js
const express = require('express');
const session = require('express-session');
const { RedisStore } = require('connect-redis');
const { createClient } = require('redis');

async function main() {
  const client = createClient({ url: process.env.SHOAL_URL || 'redis://127.0.0.1:6379' });
  client.on('error', error => console.error('shoal:', error.message));
  await client.connect();

  const app = express();
  app.use(express.json());
  app.use(session({
    store: new RedisStore({ client, prefix: 'sess:', ttl: 1800 }),
    secret: process.env.SESSION_SECRET || 'change me',
    resave: false,
    saveUninitialized: false,
    name: 'sid',
  }));
  const known = (req, res, next) => (req.session.user ? next() : res.status(401).json({ error: 'log in first' }));

  app.post('/login', (req, res) => {
    req.session.user = String(req.body.user);
    req.session.notes = 0;
    res.json({ user: req.session.user });
  });
  app.get('/notes', known, (req, res) => res.json({ user: req.session.user, notes: req.session.notes }));
  app.post('/notes', known, (req, res) => {
    req.session.notes++;
    res.json({ notes: req.session.notes });
  });
  app.post('/logout', known, (req, res) => req.session.destroy(() => res.json({ bye: true })));

  const server = app.listen(process.env.PORT || 3000, () => console.log('listening on', server.address().port));
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => server.close(() => client.close()) && server.closeAllConnections());
  }
}

main();
