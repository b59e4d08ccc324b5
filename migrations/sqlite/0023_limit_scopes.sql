CREATE TABLE limit_scopes (
    -- One row a limit that is narrower than its host: a path, or a resource that the server names. Written by the committer with
    -- the answer that taught it. The limit of a host as a whole is in host_state.
    -- Whose.
    host_id INTEGER NOT NULL,
    -- What shares it: a route (jobs.route) such as '/search', or 'resource ' and the server's own name for it.
    name TEXT NOT NULL,
    -- The routes that are subject to it: JSON array of text.
    routes TEXT NOT NULL,
    -- The embargo: nothing of these routes is sent before this instant, Unix ms UTC; NULL when there is none.
    not_before_at INTEGER,
    -- Why, in words.
    not_before_why TEXT,
    -- Requests that it refused.
    n_refused INTEGER NOT NULL,
    -- When it was hit last, Unix ms UTC. A scope that was not for a week is forgotten.
    last_refused_at INTEGER NOT NULL,
    -- The pace that was learned, requests a second; NULL when nothing was.
    rate_per_s REAL,
    -- The limit as it was measured, requests a second; NULL when it was not.
    limit_per_s REAL,
    -- Requests at once that were found to be fine; NULL when nothing was.
    concurrency REAL,
    -- What was learned, in words; NULL before the first answer.
    learned TEXT,
    -- When an answer last said something about it, Unix ms UTC; NULL when none did.
    seen_at INTEGER,
    -- The throttle's memory, JSON.
    snapshot TEXT NOT NULL,
    PRIMARY KEY (host_id, name),
    CONSTRAINT limit_scopes_refusals_count CHECK (n_refused >= 0)
) STRICT, WITHOUT ROWID;

DROP VIEW limits;

CREATE VIEW limits AS
-- One row a limit scope: what was learned about its limit, and until when it is left alone. Costs one read a scope. A request
-- is subject to the row of its whole host, and to those of its route.
SELECT
    h.host_id,
    h.origin AS host,
    -- What of the host it is about: 'host' for all of it, a path, or a resource that the server names.
    s.scope,
    -- What was learned, in words, and when an answer last said something about it (UTC).
    s.learned,
    strftime('%Y-%m-%d %H:%M:%S', s.seen_at / 1000, 'unixepoch') AS seen_at,
    -- Requests a second, to four digits that count: the pace that was learned, and the limit where it was measured.
    CASE WHEN s.rate_per_s IS NOT NULL THEN CAST(format('%.4g', s.rate_per_s) AS REAL) END AS rate_per_s,
    CASE WHEN s.limit_per_s IS NOT NULL THEN CAST(format('%.4g', s.limit_per_s) AS REAL) END AS limit_per_s,
    -- Requests at once that were found to be fine.
    round(s.concurrency, 1) AS concurrency,
    -- Nothing is sent before this instant (UTC), and why; NULL when there is none.
    strftime('%Y-%m-%d %H:%M:%S', s.not_before_at / 1000, 'unixepoch') AS not_before_at,
    s.not_before_why,
    -- Refusals so far, of a host those by its narrower limits too; in percent of the requests for a host; and when the last one
    -- came (UTC).
    s.n_refused AS refused,
    round(100.0 * s.n_refused / max(1, s.n_requests), 2) AS refused_percent,
    strftime('%Y-%m-%d %H:%M:%S', s.last_refused_at / 1000, 'unixepoch') AS last_refused_at,
    -- 1 when the user paused the host.
    h.paused
FROM (
    SELECT host_id, 'host' AS scope, rate_per_s, limit_per_s, concurrency, not_before_at, not_before_why, n_refused, n_requests,
        last_refused_at, learned, seen_at
    FROM host_state
    UNION ALL
    SELECT host_id, name, rate_per_s, limit_per_s, concurrency, not_before_at, not_before_why, n_refused, NULL, last_refused_at,
        learned, seen_at
    FROM limit_scopes
) AS s JOIN hosts AS h ON h.host_id = s.host_id;
