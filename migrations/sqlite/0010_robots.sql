CREATE TABLE robots (
    -- What the robots.txt of a host said. Written by the committer when a robots job settles.
    -- Whose.
    host_id INTEGER NOT NULL PRIMARY KEY,
    -- The HTTP status that decided; NULL when the host could not be reached.
    status INTEGER,
    -- The text, capped; empty when everything is allowed or nothing is.
    body TEXT NOT NULL,
    -- 1 when nothing may be fetched: the file could not be had (RFC 9309 section 2.3.1.4).
    disallow_all INTEGER NOT NULL,
    -- When it was fetched, Unix ms UTC.
    fetched_at INTEGER NOT NULL,
    -- When it must be fetched again, Unix ms UTC.
    expires_at INTEGER NOT NULL,
    CONSTRAINT robots_disallow_all_is_a_flag CHECK (disallow_all IN (0, 1))
) STRICT;
