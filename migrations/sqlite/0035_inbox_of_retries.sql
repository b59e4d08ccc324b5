-- The inbox takes jobs that are to be done once more: `trundle retry`.
CREATE TABLE inbox_3 (
    -- One row a thing that another process than the crawl asks for (`trundle add`, `trundle retry`, `trundle hosts forget`,
    -- `trundle hosts set`), until the committer has done it. The only table that another process writes. A number is never used
    -- again: a crawl that runs has looked at all the numbers before.
    inbox_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    -- 'add': make a job of the address. 'retry': make a job ready again that was given up. 'forget': drop what was learned about the
    -- limit of a host. 'set': start from a limit that is known by hand.
    what TEXT NOT NULL,
    -- The section that an address is for, as in sources.kind and sources.name; NULL unless it is to be added.
    kind TEXT,
    name TEXT,
    -- The address to add: absolute, canonical; that of the job to retry; else the host, as in hosts.origin.
    url TEXT NOT NULL,
    -- The job to retry: jobs.job_id; NULL for all else.
    job_id INTEGER,
    -- The limit to set, requests a second.
    rate_per_s REAL,
    -- Requests that it takes at once; NULL when it counts in windows.
    burst REAL,
    -- The length of its windows, ms; NULL when it drains evenly.
    window_ms INTEGER,
    -- When it was asked for, Unix ms UTC.
    added_at INTEGER NOT NULL,
    CONSTRAINT inbox_what_is_known CHECK (what IN ('add', 'retry', 'forget', 'set')),
    CONSTRAINT inbox_kind_is_known CHECK (kind IN ('site', 'api')),
    CONSTRAINT inbox_section_iff_add CHECK ((what = 'add') = (kind IS NOT NULL AND name IS NOT NULL)),
    CONSTRAINT inbox_job_iff_retry CHECK ((what = 'retry') = (job_id IS NOT NULL)),
    CONSTRAINT inbox_rate_iff_set CHECK ((what = 'set') = (rate_per_s IS NOT NULL)),
    CONSTRAINT inbox_shape_iff_set CHECK ((what = 'set') = ((burst IS NULL) <> (window_ms IS NULL))),
    CONSTRAINT inbox_sizes_are_positive CHECK (rate_per_s > 0 AND burst >= 1 AND window_ms > 0)
) STRICT;

INSERT INTO inbox_3 (inbox_id, what, kind, name, url, rate_per_s, burst, window_ms, added_at)
SELECT inbox_id, what, kind, name, url, rate_per_s, burst, window_ms, added_at FROM inbox;

-- The numbers that were used stay used.
INSERT INTO sqlite_sequence (name, seq)
SELECT 'inbox_3', seq FROM sqlite_sequence WHERE name = 'inbox' AND NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'inbox_3');

UPDATE sqlite_sequence SET seq = (SELECT seq FROM sqlite_sequence WHERE name = 'inbox') WHERE name = 'inbox_3';

DROP TABLE inbox;

ALTER TABLE inbox_3 RENAME TO inbox;
