-- Which requests of a host a server is likely to limit together: the path up to and including its first segment that tells,
-- as in '/search' for '/search?q=x' and '/api/v2/users' for '/api/v2/users/7'; empty for what lies at the top of the site.
-- Worked out by SQLite, so that it is there for jobs of any age and whoever moves them; job::route_of says the same in Rust.
ALTER TABLE jobs ADD COLUMN route TEXT GENERATED ALWAYS AS (
    CASE WHEN substr(request, 2, 1) NOT IN ('a', 'r', 'v') THEN
        -- Nothing but the first segment, which is most requests.
        iif(instr(replace(substr(request, 2), '?', '/'), '/') > 1,
            substr(request, 1, min(48, instr(replace(substr(request, 2), '?', '/'), '/'))), '')
    ELSE
        -- Behind what only says that an API follows; the CASE is where the telling segment begins.
        iif(instr(replace(substr(request, CASE
                WHEN request GLOB '/api/v[0-9]/*' THEN 9 WHEN request GLOB '/api/v[0-9][0-9]/*' THEN 10
                WHEN request GLOB '/api/*' THEN 6 WHEN request GLOB '/rest/*' THEN 7
                WHEN request GLOB '/v[0-9]/*' THEN 5 WHEN request GLOB '/v[0-9][0-9]/*' THEN 6 ELSE 2 END), '?', '/'), '/') > 1,
            substr(request, 1, min(48, CASE
                WHEN request GLOB '/api/v[0-9]/*' THEN 7 WHEN request GLOB '/api/v[0-9][0-9]/*' THEN 8
                WHEN request GLOB '/api/*' THEN 4 WHEN request GLOB '/rest/*' THEN 5
                WHEN request GLOB '/v[0-9]/*' THEN 3 WHEN request GLOB '/v[0-9][0-9]/*' THEN 4 ELSE 0 END
                + instr(replace(substr(request, CASE
                WHEN request GLOB '/api/v[0-9]/*' THEN 9 WHEN request GLOB '/api/v[0-9][0-9]/*' THEN 10
                WHEN request GLOB '/api/*' THEN 6 WHEN request GLOB '/rest/*' THEN 7
                WHEN request GLOB '/v[0-9]/*' THEN 5 WHEN request GLOB '/v[0-9][0-9]/*' THEN 6 ELSE 2 END), '?', '/'), '/'))), '')
    END
) VIRTUAL;

CREATE INDEX jobs_ready_by_route
    -- Serves: the next ready jobs of a route after a rank, and which routes have any (refill of a host with narrow scopes).
    ON jobs (host_id, route, priority) WHERE state = 0;

CREATE INDEX jobs_waiting_by_route
    -- Serves: the waiting jobs of a route that are due, and which routes have any (the same).
    ON jobs (host_id, route, due_at) WHERE state = 1;
