CREATE TABLE jobs (
    -- One row a request that we owe or owed. Inserted and moved by the committer alone.
    -- host_id << 32 | sequence number: the jobs of a host lie together, in order of discovery.
    job_id INTEGER NOT NULL PRIMARY KEY,
    -- Whose host; the high half of job_id, again here for the indexes.
    host_id INTEGER NOT NULL,
    -- Keyed 64-bit hash of what the request is; unique within the host.
    key INTEGER NOT NULL,
    -- What the answer is read as: 0 page, 1 robots, 2 sitemap, 3 feed, 4 api page.
    kind INTEGER NOT NULL,
    -- 0 ready, 1 waiting, 2 done, 3 gone, 4 dead, 5 skipped. A job in flight is still ready or waiting.
    state INTEGER NOT NULL,
    -- Rank within the host, 0 first, 9 last; equal ranks in order of job_id.
    priority INTEGER NOT NULL,
    -- When it may go again, Unix ms UTC; set exactly while it is waiting.
    due_at INTEGER,
    -- Failed attempts so far; a refusal does not count.
    attempt INTEGER NOT NULL DEFAULT 0,
    -- Times that the process died while this job was in flight; written at the start of a run.
    crashes INTEGER NOT NULL DEFAULT 0,
    -- The job whose answer named it; NULL for a seed.
    parent_id INTEGER,
    -- The section that it serves: sources.source_id.
    source_id INTEGER NOT NULL,
    -- Links followed from a seed to here; for an API page, the pages before it.
    depth INTEGER NOT NULL,
    -- Path and query; scheme, host and port are in hosts.origin.
    request TEXT NOT NULL,
    -- The addresses that redirected to this one, oldest first, JSON array of text; NULL for most.
    redirects TEXT,
    -- The HTTP status of the last answer; NULL before the first.
    status INTEGER,
    -- When it was found, Unix ms UTC.
    found_at INTEGER NOT NULL,
    -- When it left the queue, Unix ms UTC; NULL while it is ready or waiting.
    settled_at INTEGER,
    -- Why it waits, or why it is gone, dead or skipped, in words.
    reason TEXT,
    -- Serves: is this request known. Asked by the committer for found jobs, and by `trundle why`.
    CONSTRAINT jobs_key_is_unique_in_host UNIQUE (host_id, key),
    CONSTRAINT jobs_id_holds_host CHECK (job_id >> 32 = host_id),
    CONSTRAINT jobs_kind_is_known CHECK (kind BETWEEN 0 AND 4),
    CONSTRAINT jobs_state_is_known CHECK (state BETWEEN 0 AND 5),
    CONSTRAINT jobs_priority_is_one_digit CHECK (priority BETWEEN 0 AND 9),
    CONSTRAINT jobs_due_at_iff_waiting CHECK ((state = 1) = (due_at IS NOT NULL)),
    CONSTRAINT jobs_settled_at_iff_settled CHECK ((state >= 2) = (settled_at IS NOT NULL)),
    CONSTRAINT jobs_attempt_counts CHECK (attempt >= 0 AND crashes >= 0),
    CONSTRAINT jobs_depth_fits_32_bits CHECK (depth BETWEEN 0 AND 4294967295),
    CONSTRAINT jobs_status_has_three_digits CHECK (status BETWEEN 100 AND 999),
    CONSTRAINT jobs_request_is_a_path CHECK (request GLOB '/*')
) STRICT;

CREATE INDEX jobs_ready
    -- Serves: the next ready jobs of a host after a rank (refill).
    ON jobs (host_id, priority) WHERE state = 0;

CREATE INDEX jobs_waiting
    -- Serves: the waiting jobs of a host that are due, and when the next one will be (refill, start of a run).
    ON jobs (host_id, due_at) WHERE state = 1;

CREATE INDEX jobs_gone
    -- Serves: the view broken_links.
    ON jobs (host_id) WHERE state = 3;

CREATE INDEX jobs_dead
    -- Serves: the view failures.
    ON jobs (host_id) WHERE state = 4;

CREATE INDEX jobs_of_moved_seeds
    -- Serves: where redirects of seeds have led, by which scopes have grown (start of a run).
    ON jobs (source_id) WHERE depth = 0 AND kind = 0 AND redirects IS NOT NULL;
