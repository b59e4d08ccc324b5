CREATE VIEW all_jobs AS
-- Every job with its full address and with words for its codes. Filter by job_id, host_id or state_code: these use an index.
SELECT
    j.job_id,
    j.host_id,
    -- The address that is fetched.
    h.origin || j.request AS url,
    -- What the answer is read as.
    CASE j.kind WHEN 0 THEN 'page' WHEN 1 THEN 'robots' WHEN 2 THEN 'sitemap' WHEN 3 THEN 'feed' WHEN 4 THEN 'api page' END AS kind,
    -- Where it stands, in a word and as jobs.state.
    CASE j.state
        WHEN 0 THEN 'ready' WHEN 1 THEN 'waiting' WHEN 2 THEN 'done' WHEN 3 THEN 'gone' WHEN 4 THEN 'dead' WHEN 5 THEN 'skipped'
    END AS state,
    j.state AS state_code,
    j.priority,
    -- Failed attempts, and times that the process died with it.
    j.attempt,
    j.crashes,
    j.status,
    j.reason,
    -- Links followed from a seed, and the job that named it.
    j.depth,
    j.parent_id,
    j.source_id,
    -- Times as UTC text; due_at only while it waits, settled_at only when it is settled.
    strftime('%Y-%m-%d %H:%M:%S', j.due_at / 1000, 'unixepoch') AS due_at,
    strftime('%Y-%m-%d %H:%M:%S', j.found_at / 1000, 'unixepoch') AS found_at,
    strftime('%Y-%m-%d %H:%M:%S', j.settled_at / 1000, 'unixepoch') AS settled_at
FROM jobs AS j JOIN hosts AS h ON h.host_id = j.host_id;
