-- An API stream is pulled in slices: parts with pages of their own, one after another, such as one for each repository or for each
-- week. What is known about a slice outlives its pages: how far it is pulled, and whether all of it is.
CREATE TABLE slices (
    -- One row a slice of a stream. Written by the committer with the pages of the slice.
    slice_id INTEGER NOT NULL PRIMARY KEY,
    -- The stream: sources.source_id.
    source_id INTEGER NOT NULL,
    -- 16 bytes of BLAKE3 over params.
    key BLOB NOT NULL,
    -- The values that tell it from the other slices of its stream, JSON object: {"each": "a", "issues.number": 7}.
    params TEXT NOT NULL,
    -- The pull (sources.pull) for which it was last walked, or is.
    pull INTEGER NOT NULL,
    -- The number of its last walk, from 1: a slice that begins again begins another one.
    walk INTEGER NOT NULL DEFAULT 1,
    -- How often it had to begin again in this pull.
    restarts INTEGER NOT NULL DEFAULT 0,
    -- 0 walking, 1 complete, 2 failed.
    state INTEGER NOT NULL DEFAULT 0,
    -- Its first page: jobs.job_id.
    first_job_id INTEGER,
    -- The greatest value of the incremental field up to which everything is stored, JSON; NULL before the first complete walk, and
    -- for streams without such a field.
    mark TEXT,
    -- The greatest value that this walk has met, JSON; becomes the mark when the walk is complete.
    mark_seen TEXT,
    -- Pages and records of this walk.
    n_pages INTEGER NOT NULL DEFAULT 0,
    n_records INTEGER NOT NULL DEFAULT 0,
    -- When this walk began, and when it ended (NULL while it is on), Unix ms UTC.
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    -- Why it failed, in words.
    reason TEXT,
    -- Serves: is this slice known. Asked by the committer for each slice that is found.
    CONSTRAINT slices_key_is_unique_in_source UNIQUE (source_id, key),
    CONSTRAINT slices_key_has_16_bytes CHECK (length(key) = 16),
    CONSTRAINT slices_params_are_an_object CHECK (json_type(params) = 'object'),
    CONSTRAINT slices_state_is_known CHECK (state BETWEEN 0 AND 2),
    CONSTRAINT slices_ended_at_iff_ended CHECK ((state >= 1) = (ended_at IS NOT NULL)),
    CONSTRAINT slices_counters_count CHECK (walk >= 1 AND pull >= 1 AND restarts >= 0 AND n_pages >= 0 AND n_records >= 0)
) STRICT;

CREATE INDEX slices_failed
    -- Serves: the slices that failed (view streams, `trundle why`).
    ON slices (source_id) WHERE state = 2;

-- The slice that a page belongs to; NULL for what is no page of an API, and for such pages of before there were slices.
ALTER TABLE jobs ADD COLUMN slice_id INTEGER;

-- The walk of its slice for which it was last to be fetched. A next page that was fetched in the same walk closes a circle.
ALTER TABLE jobs ADD COLUMN walk INTEGER;

-- The number of the pull that is on or was last, from 1: a stream with a schedule is pulled again and again.
ALTER TABLE sources ADD COLUMN pull INTEGER NOT NULL DEFAULT 1;

-- Slices that are being walked, and that failed, in all pulls; kept by the committer.
ALTER TABLE sources ADD COLUMN n_slices_open INTEGER NOT NULL DEFAULT 0;

ALTER TABLE sources ADD COLUMN n_slices_failed INTEGER NOT NULL DEFAULT 0;
