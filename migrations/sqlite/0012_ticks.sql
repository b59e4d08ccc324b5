CREATE TABLE ticks (
    -- One row a minute in which something was committed: the history of the crawl. Written by the committer.
    -- The start of the minute, Unix ms UTC.
    at INTEGER NOT NULL PRIMARY KEY,
    -- Jobs that became done.
    done INTEGER NOT NULL,
    -- Requests that were sent.
    requests INTEGER NOT NULL,
    -- Of these: refused.
    refused INTEGER NOT NULL,
    -- Of these: failed.
    failed INTEGER NOT NULL,
    -- Jobs that were found.
    found INTEGER NOT NULL,
    -- Items that were new.
    items INTEGER NOT NULL,
    -- Bytes of bodies after decoding.
    bytes INTEGER NOT NULL
) STRICT;
