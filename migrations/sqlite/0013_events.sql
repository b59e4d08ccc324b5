CREATE TABLE events (
    -- What a person would want to know later, in order. Written by the committer and at the start of a run; rare.
    event_id INTEGER NOT NULL PRIMARY KEY,
    -- When, Unix ms UTC.
    at INTEGER NOT NULL,
    -- The host that it is about; NULL when it is about the crawl.
    host_id INTEGER,
    -- The job that it is about; NULL when it is about none.
    job_id INTEGER,
    -- What, in a word or two: 'circle', 'isolated', 'unreadable', 'crash', 'clock went back'.
    what TEXT NOT NULL,
    -- The rest, in words.
    detail TEXT
) STRICT;
