DROP VIEW limits;

CREATE VIEW limits AS
-- One row a limit scope: what was learned about its limit, and until when it is left alone. Costs one read a scope. A request
-- is subject to the row of its whole host, to those of its route, and to those of the token and the proxy that it goes by.
SELECT
    h.host_id,
    h.origin AS host,
    -- What of the host it is about: 'host' for all of it, a path, or a resource that the server names. Or by what it is asked:
    -- 'api.gh token 2' for the second of a pool, 'proxy 10.0.0.1:3128', and these with a path or a resource behind them. A row
    -- 'api.gh tokens' or 'proxies' says that all of them share one limit, which is that of the host, or of the proxy.
    s.scope,
    -- What was learned, in words, and when an answer last said something about it (UTC).
    s.learned,
    strftime('%Y-%m-%d %H:%M:%S', s.seen_at / 1000, 'unixepoch') AS seen_at,
    -- The quotas that the server declares, in words: what was left of each when it was last told, requests in flight taken off,
    -- and when it resets (UTC). NULL when it declares none.
    (
        SELECT group_concat(
            iif(coalesce(q.value ->> 'name', '') = '', '', q.value ->> 'name' || ' ')
            || CASE
                WHEN q.value ->> 'remaining' IS NOT NULL AND q.value ->> 'unit' <> 'concurrent'
                    THEN replace(format('%,d', q.value ->> 'remaining'), ',', ' ')
                        || coalesce(' of ' || replace(format('%,d', q.value ->> 'limit'), ',', ' '), '')
                        || iif(q.value ->> 'unit' = 'requests', '', ' ' || (q.value ->> 'unit')) || ' left'
                WHEN q.value ->> 'limit' IS NOT NULL
                    THEN replace(format('%,d', q.value ->> 'limit'), ',', ' ')
                        || CASE q.value ->> 'unit'
                            WHEN 'requests' THEN '' WHEN 'concurrent' THEN ' at once' ELSE ' ' || (q.value ->> 'unit')
                        END
                ELSE 'unknown'
            END
            || CASE
                WHEN q.value ->> 'reset_at' IS NOT NULL
                    THEN ', resets ' || strftime('%Y-%m-%d %H:%M:%S', (q.value ->> 'reset_at') / 1000, 'unixepoch')
                WHEN q.value ->> 'is_span_declared' THEN ' in ' || format('%g', (q.value ->> 'span_ms') / 1000.0) || ' s'
                ELSE ''
            END,
            '; ' ORDER BY q.key
        )
        FROM json_each(s.snapshot, '$.declared.quotas') AS q
    ) AS declared,
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
        last_refused_at, learned, seen_at, snapshot
    FROM host_state
    UNION ALL
    SELECT host_id, name, rate_per_s, limit_per_s, concurrency, not_before_at, not_before_why, n_refused, NULL, last_refused_at,
        learned, seen_at, snapshot
    FROM limit_scopes
) AS s JOIN hosts AS h ON h.host_id = s.host_id;
