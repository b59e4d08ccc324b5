-- One batch, every table in one statement. $1 now, $2 run, $13 the highest item number before; the others are JSON arrays
-- of rows, read by position. Run as one script; the positions of its statements are known to write.rs.
INSERT INTO jobs
    (job_id, host_id, key, kind, state, priority, parent_id, source_id, depth, request, redirects, extra, slice_id,
     walk, found_at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, 0, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
    value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, $1
FROM jsonb_each($3);

-- The guard: a job leaves only the queue. write.rs checks that every row was met.
UPDATE jobs SET
    state = m.value ->> 1, due_at = m.value ->> 2, attempt = m.value ->> 3,
    status = coalesce(m.value ->> 4, jobs.status), settled_at = m.value ->> 5, reason = m.value ->> 6
FROM jsonb_each($4) AS m
WHERE jobs.job_id = m.value ->> 0 AND jobs.state IN (0, 1);

UPDATE host_state SET
    seq = d.value ->> 'seq',
    n_ready = n_ready + (d.value ->> 'ready'),
    n_waiting = n_waiting + (d.value ->> 'waiting'),
    n_done = n_done + (d.value ->> 'done'),
    n_gone = n_gone + (d.value ->> 'gone'),
    n_dead = n_dead + (d.value ->> 'dead'),
    n_skipped = n_skipped + (d.value ->> 'skipped'),
    n_requests = n_requests + (d.value ->> 'requests'),
    n_refused = n_refused + (d.value ->> 'refused'),
    n_failed = n_failed + (d.value ->> 'failed'),
    bytes = bytes + (d.value ->> 'bytes'),
    last_refused_at = coalesce(d.value ->> 'last_refused_at', last_refused_at),
    not_before_at = iif(d.value ->> 'learned' IS NULL, not_before_at, d.value ->> '$.learned.not_before_at'),
    not_before_why = iif(d.value ->> 'learned' IS NULL, not_before_why, d.value ->> '$.learned.not_before_why'),
    rate_per_s = iif(d.value ->> 'learned' IS NULL, rate_per_s, d.value ->> '$.learned.rate_per_s'),
    limit_per_s = iif(d.value ->> 'learned' IS NULL, limit_per_s, d.value ->> '$.learned.limit_per_s'),
    concurrency = iif(d.value ->> 'learned' IS NULL, concurrency, d.value ->> '$.learned.concurrency'),
    learned = iif(d.value ->> 'learned' IS NULL, learned, d.value ->> '$.learned.words'),
    seen_at = iif(d.value ->> 'learned' IS NULL, seen_at, d.value ->> '$.learned.seen_at'),
    snapshot = iif(d.value ->> 'learned' IS NULL, snapshot, d.value ->> '$.learned.snapshot')
FROM jsonb_each($11) AS d
WHERE host_state.host_id = d.value ->> 'host_id';

DELETE FROM inflight WHERE job_id IN (SELECT value FROM json_each($5));

INSERT INTO inflight (job_id, run_id, sent_at)
SELECT value ->> 0, $2, value ->> 1 FROM jsonb_each($6) WHERE true
ON CONFLICT (job_id) DO UPDATE SET run_id = excluded.run_id, sent_at = excluded.sent_at;

INSERT INTO responses
    (job_id, fetched_at, status, content_type, charset, title, redirect_to, canonical, headers, notes, links,
     body_hash, body_bytes)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
    value ->> 8, value ->> 9, value ->> 10, unhex(value ->> 11), value ->> 12
FROM jsonb_each($7) WHERE true
ON CONFLICT (job_id) DO UPDATE SET
    fetched_at = excluded.fetched_at, status = excluded.status, content_type = excluded.content_type,
    charset = excluded.charset, title = excluded.title, redirect_to = excluded.redirect_to,
    canonical = excluded.canonical, headers = excluded.headers, notes = excluded.notes, links = excluded.links,
    body_hash = excluded.body_hash, body_bytes = excluded.body_bytes;

-- An item that is met again unchanged is not written, unless it is the first time in a later pull.
INSERT INTO items (source_id, key, job_id, data, first_at, updated_at, pull)
SELECT value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3, $1, $1,
    coalesce(value ->> 4, (SELECT pull FROM sources WHERE source_id = value ->> 0), 1)
FROM jsonb_each($8) WHERE true
ON CONFLICT (source_id, key) DO UPDATE SET
    job_id = excluded.job_id, data = excluded.data, pull = max(items.pull, excluded.pull),
    updated_at = iif(items.data = excluded.data, items.updated_at, excluded.updated_at)
    WHERE items.data <> excluded.data OR items.pull < excluded.pull;

INSERT INTO attempts (job_id, sent_at, nth, took_ms, status, outcome, body_bytes, retry_at, error)
SELECT value ->> 0, value ->> 1,
    (value ->> 2) + (SELECT count(*) FROM attempts AS a WHERE a.job_id = value ->> 0 AND a.sent_at = value ->> 1),
    value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8
FROM jsonb_each($9);

INSERT INTO robots (host_id, status, body, disallow_all, fetched_at, expires_at, headers)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6 FROM jsonb_each($10) WHERE true
ON CONFLICT (host_id) DO UPDATE SET
    status = excluded.status, body = excluded.body, disallow_all = excluded.disallow_all,
    fetched_at = excluded.fetched_at, expires_at = excluded.expires_at, headers = excluded.headers;

-- Items are counted after they were written: the new ones have the highest numbers. The + keeps SQLite from grouping by
-- the index on source_id, which would read all items.
UPDATE sources SET
    n_found = n_found + coalesce((SELECT s.value ->> 1 FROM jsonb_each($12) AS s WHERE s.value ->> 0 = source_id), 0),
    n_done = n_done + coalesce((SELECT s.value ->> 2 FROM jsonb_each($12) AS s WHERE s.value ->> 0 = source_id), 0),
    n_slices_open = n_slices_open
        + coalesce((SELECT s.value ->> 3 FROM jsonb_each($12) AS s WHERE s.value ->> 0 = source_id), 0),
    n_slices_failed = n_slices_failed
        + coalesce((SELECT s.value ->> 4 FROM jsonb_each($12) AS s WHERE s.value ->> 0 = source_id), 0),
    n_items = n_items + coalesce(new_items.n, 0)
FROM (SELECT value ->> 0 AS touched FROM jsonb_each($12)) AS t
LEFT JOIN (SELECT source_id AS of_source, count(*) AS n FROM items WHERE item_id > $13 GROUP BY +source_id) AS new_items
    ON new_items.of_source = t.touched
WHERE sources.source_id = t.touched;

UPDATE totals SET
    n_ready = n_ready + ($14 ->> 'ready'),
    n_waiting = n_waiting + ($14 ->> 'waiting'),
    n_done = n_done + ($14 ->> 'done'),
    n_gone = n_gone + ($14 ->> 'gone'),
    n_dead = n_dead + ($14 ->> 'dead'),
    n_skipped = n_skipped + ($14 ->> 'skipped'),
    n_requests = n_requests + ($14 ->> 'requests'),
    n_refused = n_refused + ($14 ->> 'refused'),
    n_failed = n_failed + ($14 ->> 'failed'),
    n_items = n_items + (SELECT count(*) FROM items WHERE item_id > $13),
    bytes = bytes + ($14 ->> 'bytes'),
    updated_at = $1;

INSERT INTO ticks (at, done, requests, refused, failed, found, items, bytes)
VALUES ($1 - $1 % 60000, $14 ->> 'done', $14 ->> 'requests', $14 ->> 'refused', $14 ->> 'failed', $15,
    (SELECT count(*) FROM items WHERE item_id > $13), $14 ->> 'bytes')
ON CONFLICT (at) DO UPDATE SET
    done = done + excluded.done, requests = requests + excluded.requests, refused = refused + excluded.refused,
    failed = failed + excluded.failed, found = found + excluded.found, items = items + excluded.items,
    bytes = bytes + excluded.bytes;

INSERT INTO events (at, host_id, job_id, what, detail)
SELECT $1, value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM jsonb_each($16);

SELECT count(*) FROM items WHERE item_id > $13;
