-- What was learned about a host's limit, for people. Written by the committer with each outcome that teaches something.
ALTER TABLE host_state ADD COLUMN
    -- In words, as in 'token bucket, 10.0/s, burst 20, known to ±1 %, from 3 refusals'; NULL before the first answer.
    learned TEXT;

ALTER TABLE host_state ADD COLUMN
    -- When the host last gave an answer that says something about its limit, Unix ms UTC; NULL when it never did.
    seen_at INTEGER;

DROP VIEW limits;

CREATE VIEW limits AS
-- One row a host: what was learned about its limit, and until when it is left alone. Costs one read a host.
SELECT
    h.host_id,
    h.origin AS host,
    -- What was learned, in words, and when the host last gave an answer that says something about it (UTC).
    s.learned,
    strftime('%Y-%m-%d %H:%M:%S', s.seen_at / 1000, 'unixepoch') AS seen_at,
    -- Requests a second, to four digits that count: the pace that was learned, and the host's own limit where it was measured.
    CASE WHEN s.rate_per_s IS NOT NULL THEN CAST(format('%.4g', s.rate_per_s) AS REAL) END AS rate_per_s,
    CASE WHEN s.limit_per_s IS NOT NULL THEN CAST(format('%.4g', s.limit_per_s) AS REAL) END AS limit_per_s,
    -- Requests at once that were found to be fine.
    round(s.concurrency, 1) AS concurrency,
    -- Nothing is sent before this instant (UTC), and why; NULL when there is none.
    strftime('%Y-%m-%d %H:%M:%S', s.not_before_at / 1000, 'unixepoch') AS not_before_at,
    s.not_before_why,
    -- Refusals so far, in percent of the requests too, and when the last one came (UTC).
    s.n_refused AS refused,
    round(100.0 * s.n_refused / max(1, s.n_requests), 2) AS refused_percent,
    strftime('%Y-%m-%d %H:%M:%S', s.last_refused_at / 1000, 'unixepoch') AS last_refused_at,
    -- 1 when the user paused it.
    h.paused
FROM hosts AS h JOIN host_state AS s ON s.host_id = h.host_id;
