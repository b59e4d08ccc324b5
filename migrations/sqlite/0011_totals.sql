CREATE TABLE totals (
    -- One row: the sums of host_state, kept by the committer so that progress costs one read.
    one INTEGER NOT NULL PRIMARY KEY,
    -- Jobs that may go now.
    n_ready INTEGER NOT NULL DEFAULT 0,
    -- Jobs that back off after a failed attempt.
    n_waiting INTEGER NOT NULL DEFAULT 0,
    -- Jobs that are answered.
    n_done INTEGER NOT NULL DEFAULT 0,
    -- Jobs that were answered 404 or 410.
    n_gone INTEGER NOT NULL DEFAULT 0,
    -- Jobs that were given up.
    n_dead INTEGER NOT NULL DEFAULT 0,
    -- Jobs that a rule or the user left out.
    n_skipped INTEGER NOT NULL DEFAULT 0,
    -- Requests that were sent.
    n_requests INTEGER NOT NULL DEFAULT 0,
    -- Of these: refused.
    n_refused INTEGER NOT NULL DEFAULT 0,
    -- Of these: failed.
    n_failed INTEGER NOT NULL DEFAULT 0,
    -- Items that are stored.
    n_items INTEGER NOT NULL DEFAULT 0,
    -- Bytes of bodies after decoding.
    bytes INTEGER NOT NULL DEFAULT 0,
    -- When the last commit was made, Unix ms UTC; a start before it means that the clock went back.
    updated_at INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT totals_has_one_row CHECK (one = 1),
    CONSTRAINT totals_counters_count CHECK (
        n_ready >= 0 AND n_waiting >= 0 AND n_done >= 0 AND n_gone >= 0 AND n_dead >= 0 AND n_skipped >= 0
    )
) STRICT;

INSERT INTO totals (one) VALUES (1);
