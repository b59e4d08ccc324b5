CREATE TABLE hosts (
    -- One row an origin: what seldom changes. Written when its first job is found.
    -- Its number: the high half of the job ids of its jobs.
    host_id INTEGER NOT NULL PRIMARY KEY,
    -- Scheme, host and port, as in https://example.org; lower case, default port left out.
    origin TEXT NOT NULL,
    -- 1 when requests may go to private and loopback addresses under this name: the user named it.
    private_ok INTEGER NOT NULL,
    -- 1 when the user paused it.
    paused INTEGER NOT NULL DEFAULT 0,
    -- When its first job was found, Unix ms UTC.
    first_seen_at INTEGER NOT NULL,
    -- Serves: which number has this origin. Asked by the committer for the origins of found jobs.
    CONSTRAINT hosts_origin_is_unique UNIQUE (origin),
    CONSTRAINT hosts_id_fits_31_bits CHECK (host_id BETWEEN 1 AND 2147483647),
    CONSTRAINT hosts_private_ok_is_a_flag CHECK (private_ok IN (0, 1)),
    CONSTRAINT hosts_paused_is_a_flag CHECK (paused IN (0, 1))
) STRICT;

CREATE TABLE host_state (
    -- One row a host: what changes with every commit. Written by the committer, one UPDATE for all hosts of a batch.
    -- Whose.
    host_id INTEGER NOT NULL PRIMARY KEY,
    -- Sequence number that the next found job of this host gets; at most 2^32.
    seq INTEGER NOT NULL DEFAULT 0,
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
    -- Of these: refused (429, or 503 and the like with a word about when to come back).
    n_refused INTEGER NOT NULL DEFAULT 0,
    -- Of these: failed (5xx, broken, no answer).
    n_failed INTEGER NOT NULL DEFAULT 0,
    -- Bytes of bodies after decoding.
    bytes INTEGER NOT NULL DEFAULT 0,
    -- The embargo: nothing is sent before this instant, Unix ms UTC; NULL when there is none.
    not_before_at INTEGER,
    -- Why, in words.
    not_before_why TEXT,
    -- When the last refusal came, Unix ms UTC.
    last_refused_at INTEGER,
    -- The pace that was learned, requests a second; NULL when nothing was.
    rate_per_s REAL,
    -- The host's own limit as it was measured, requests a second; NULL when it was not.
    limit_per_s REAL,
    -- Requests at once that were found to be fine; NULL when nothing was.
    concurrency REAL,
    -- The throttle's memory, JSON; the three columns above repeat what people want to read.
    snapshot TEXT,
    CONSTRAINT host_state_seq_fits_32_bits CHECK (seq BETWEEN 0 AND 4294967296),
    CONSTRAINT host_state_counters_count CHECK (
        n_ready >= 0 AND n_waiting >= 0 AND n_done >= 0 AND n_gone >= 0 AND n_dead >= 0 AND n_skipped >= 0
        AND n_requests >= 0 AND n_refused >= 0 AND n_failed >= 0 AND bytes >= 0
    )
) STRICT;

CREATE INDEX host_state_open
    -- Serves: the hosts with work, at the start of a run; so a resume does not read the hosts that are finished.
    ON host_state (host_id) WHERE n_ready + n_waiting > 0;
