// One page at any path below /p/, behind express-rate-limit, whose windows start with the first request after the last one.
// A line in the log for each request: when its answer had gone and how long that took, in seconds, path, status, Retry-After.
//
// node express.js PORT LIMIT WINDOW_MS HEADERS LOG, where HEADERS is "legacy" or a draft of the IETF such as "draft-8".
'use strict';

const fs = require('node:fs');
const express = require('express');
const { rateLimit } = require('express-rate-limit');

const [port, limit, windowMs, headers, log] = process.argv.slice(2);
const page = fs.readFileSync(`${__dirname}/page.html`, 'utf8');
const file = fs.openSync(log, 'a');
const seconds = (ms) => (ms / 1000).toFixed(3);

const app = express();
app.use((request, response, next) => {
  const arrivedAt = Date.now();
  response.on('finish', () => {
    const endedAt = Date.now();
    const retryAfter = response.get('retry-after') ?? '-';
    const fields = [seconds(endedAt), seconds(endedAt - arrivedAt), request.originalUrl, response.statusCode, retryAfter];
    fs.writeSync(file, `${fields.join('\t')}\n`);
  });
  next();
});
app.use(
  '/p',
  rateLimit({
    limit: Number(limit),
    windowMs: Number(windowMs),
    legacyHeaders: headers === 'legacy',
    standardHeaders: headers === 'legacy' ? false : headers,
  }),
);
app.get('/p/:name', (request, response) => response.send(page));
app.listen(Number(port), '127.0.0.1');
