CREATE TABLE runs (
    -- One row a start of the program on this file. Written by the start and by the orderly end of a run.
    -- The number of the start: meta.run_epoch of that time.
    run_id INTEGER NOT NULL PRIMARY KEY,
    -- When it started, Unix ms UTC.
    started_at INTEGER NOT NULL,
    -- When it ended in order, Unix ms UTC; NULL while it runs, and for ever after a crash or kill -9.
    ended_at INTEGER,
    -- The process that ran it.
    pid INTEGER NOT NULL,
    -- The version of trundle that ran it.
    version TEXT NOT NULL,
    -- Jobs that were in flight when the run before this one died.
    crashed_in_flight INTEGER NOT NULL DEFAULT 0
) STRICT;
