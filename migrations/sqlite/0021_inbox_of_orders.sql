-- The inbox takes more than addresses: also what a person says about the limit of a host. And what is added after all else was
-- taken gets a number of its own, or a crawl that runs would not see it.
CREATE TABLE inbox_2 (
    -- One row a thing that another process than the crawl asks for (`trundle add`, `trundle hosts forget`, `trundle hosts set`),
    -- until the committer has done it. The only table that another process writes. A number is never used again: a crawl that
    -- runs has looked at all the numbers before.
    inbox_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    -- 'add': make a job of the address. 'forget': drop what was learned about the limit of a host. 'set': start from a limit that
    -- is known by hand.
    what TEXT NOT NULL,
    -- The section that an address is for, as in sources.kind and sources.name; NULL unless it is to be added.
    kind TEXT,
    name TEXT,
    -- The address to add: absolute, canonical; else the host, as in hosts.origin.
    url TEXT NOT NULL,
    -- The limit to set, requests a second.
    rate_per_s REAL,
    -- Requests that it takes at once; NULL when it counts in windows.
    burst REAL,
    -- The length of its windows, ms; NULL when it drains evenly.
    window_ms INTEGER,
    -- When it was asked for, Unix ms UTC.
    added_at INTEGER NOT NULL,
    CONSTRAINT inbox_what_is_known CHECK (what IN ('add', 'forget', 'set')),
    CONSTRAINT inbox_kind_is_known CHECK (kind IN ('site', 'api')),
    CONSTRAINT inbox_section_iff_add CHECK ((what = 'add') = (kind IS NOT NULL AND name IS NOT NULL)),
    CONSTRAINT inbox_rate_iff_set CHECK ((what = 'set') = (rate_per_s IS NOT NULL)),
    CONSTRAINT inbox_shape_iff_set CHECK ((what = 'set') = ((burst IS NULL) <> (window_ms IS NULL))),
    CONSTRAINT inbox_sizes_are_positive CHECK (rate_per_s > 0 AND burst >= 1 AND window_ms > 0)
) STRICT;

INSERT INTO inbox_2 (inbox_id, what, kind, name, url, added_at)
SELECT inbox_id, 'add', kind, name, url, added_at FROM inbox;

DROP TABLE inbox;

ALTER TABLE inbox_2 RENAME TO inbox;
