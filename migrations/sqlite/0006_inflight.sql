CREATE TABLE inflight (
    -- One row a job whose request is on its way. Written by the committer after the fact: it shows what runs now and counts
    -- jobs that crash the process. Never a lease: a job in flight is still ready or waiting in jobs.
    job_id INTEGER NOT NULL PRIMARY KEY,
    -- The run that sent it.
    run_id INTEGER NOT NULL,
    -- When it was sent, Unix ms UTC.
    sent_at INTEGER NOT NULL
) STRICT;
