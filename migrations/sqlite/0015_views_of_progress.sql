CREATE VIEW progress AS
-- One row: how far the crawl is. Costs one read, however many jobs there are. Read by `trundle status`.
SELECT
    -- Jobs that are settled, of all that are known, in percent.
    round(100.0 * (n_done + n_gone + n_dead + n_skipped)
        / max(1, n_done + n_gone + n_dead + n_skipped + n_ready + n_waiting), 2) AS percent,
    -- Jobs by state.
    n_ready AS ready, n_waiting AS waiting, n_done AS done, n_gone AS gone, n_dead AS dead, n_skipped AS skipped,
    -- Requests that were sent, those of them that were refused or failed, and bytes that came.
    n_requests AS requests, n_refused AS refused, n_failed AS failed, bytes,
    -- Records that are stored.
    n_items AS items,
    -- Jobs in flight at the last commit.
    (SELECT count(*) FROM inflight) AS in_flight,
    -- Jobs done in the last ten minutes in which anything was committed, a minute.
    (SELECT round(avg(done), 1) FROM (SELECT done FROM ticks ORDER BY at DESC LIMIT 10)) AS done_per_minute,
    -- When the last commit was made, UTC.
    strftime('%Y-%m-%d %H:%M:%S', updated_at / 1000, 'unixepoch') AS updated_at
FROM totals;

CREATE VIEW host_progress AS
-- One row a host: how far it is. Costs one read a host.
SELECT
    h.host_id,
    h.origin AS host,
    -- Jobs that are settled, of all that are known, in percent.
    round(100.0 * (s.n_done + s.n_gone + s.n_dead + s.n_skipped)
        / max(1, s.n_done + s.n_gone + s.n_dead + s.n_skipped + s.n_ready + s.n_waiting), 2) AS percent,
    -- Jobs by state.
    s.n_ready AS ready, s.n_waiting AS waiting, s.n_done AS done, s.n_gone AS gone, s.n_dead AS dead, s.n_skipped AS skipped,
    -- Requests that were sent, those of them that were refused or failed, and bytes that came.
    s.n_requests AS requests, s.n_refused AS refused, s.n_failed AS failed, s.bytes,
    -- Time that its open jobs take at the learned pace, in seconds; NULL when no pace was learned.
    CASE WHEN s.rate_per_s > 0 THEN round((s.n_ready + s.n_waiting) / s.rate_per_s) END AS eta_s
FROM hosts AS h JOIN host_state AS s ON s.host_id = h.host_id;

CREATE VIEW limits AS
-- One row a host: what was learned about its limit, and until when it is left alone. Costs one read a host.
SELECT
    h.host_id,
    h.origin AS host,
    -- Requests a second: the pace that was learned, and the host's own limit where it was measured.
    s.rate_per_s,
    s.limit_per_s,
    -- Requests at once that were found to be fine.
    s.concurrency,
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

CREATE VIEW timeline AS
-- One row a minute in which something was committed, the latest first.
SELECT
    strftime('%Y-%m-%d %H:%M', at / 1000, 'unixepoch') AS minute,
    -- Jobs that became done, requests that were sent and those of them that were refused or failed, jobs that were found,
    -- items that were new, bytes that came.
    done, requests, refused, failed, found, items, bytes
FROM ticks ORDER BY at DESC;

CREATE VIEW running AS
-- One row a request on its way, as of the last commit: what runs now.
SELECT
    a.url, a.kind, a.attempt, a.job_id,
    -- When it was sent, UTC.
    strftime('%Y-%m-%d %H:%M:%S', i.sent_at / 1000, 'unixepoch') AS since,
    i.run_id
FROM inflight AS i CROSS JOIN all_jobs AS a ON a.job_id = i.job_id;
