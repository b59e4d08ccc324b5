CREATE TABLE inbox (
    -- One row an address that `trundle add` was given, until the committer has made a job of it. The only table that another
    -- process than the crawl writes.
    inbox_id INTEGER NOT NULL PRIMARY KEY,
    -- The section that it is for, as in sources.kind and sources.name.
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    -- The address: absolute, canonical.
    url TEXT NOT NULL,
    -- When it was added, Unix ms UTC.
    added_at INTEGER NOT NULL,
    CONSTRAINT inbox_kind_is_known CHECK (kind IN ('site', 'api'))
) STRICT;
