CREATE VIEW failures AS
-- One row a job that was given up, with its reason. Costs one read a dead job.
SELECT url, kind, status, attempt, crashes, reason, settled_at, job_id, parent_id FROM all_jobs WHERE state_code = 4;

CREATE VIEW broken_links AS
-- One row a job that was answered 404 or 410, with the page that named it (NULL for a seed). Costs two reads a row. A missing
-- /sitemap.xml that nothing names, but that was looked for, is no broken link.
SELECT
    a.url, a.status,
    -- The page that named it.
    ph.origin || p.request AS named_by,
    a.reason, a.settled_at, a.job_id
FROM all_jobs AS a
LEFT JOIN jobs AS p ON p.job_id = a.parent_id
LEFT JOIN hosts AS ph ON ph.host_id = p.host_id
WHERE a.state_code = 3 AND (a.kind <> 'sitemap' OR a.parent_id IS NOT NULL);

CREATE VIEW pages AS
-- One row a page that is done, with what its answer was.
SELECT
    h.origin || j.request AS url,
    r.status, r.title, r.content_type, r.charset, r.redirect_to, r.canonical, r.links,
    -- The body: bodies.hash (BLAKE3) and its length in bytes; NULL when it is not kept.
    r.body_hash, r.body_bytes,
    -- When the answer had come, UTC.
    strftime('%Y-%m-%d %H:%M:%S', r.fetched_at / 1000, 'unixepoch') AS fetched_at,
    j.depth, j.source_id, j.job_id
FROM responses AS r CROSS JOIN jobs AS j ON j.job_id = r.job_id JOIN hosts AS h ON h.host_id = j.host_id
WHERE j.kind = 0 AND j.state = 2;

CREATE VIEW records AS
-- One row an item, with the section of crawl.toml that it belongs to and the address that it came from.
SELECT
    i.item_id,
    s.name AS source,
    -- The record, JSON.
    i.data,
    -- The address that brought this version of it.
    h.origin || j.request AS url,
    -- When it was first stored and when it last changed, UTC.
    strftime('%Y-%m-%d %H:%M:%S', i.first_at / 1000, 'unixepoch') AS first_at,
    strftime('%Y-%m-%d %H:%M:%S', i.updated_at / 1000, 'unixepoch') AS updated_at
FROM items AS i
CROSS JOIN sources AS s ON s.source_id = i.source_id
CROSS JOIN jobs AS j ON j.job_id = i.job_id
CROSS JOIN hosts AS h ON h.host_id = j.host_id;
