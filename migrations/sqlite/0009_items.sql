CREATE TABLE items (
    -- One row a record that was extracted. Written by the committer in the transaction that settles its job.
    -- In order of first sight.
    item_id INTEGER NOT NULL PRIMARY KEY,
    -- The section that it belongs to: sources.source_id.
    source_id INTEGER NOT NULL,
    -- 16 bytes of BLAKE3 over what makes it the same record when it is met again.
    key BLOB NOT NULL,
    -- The job that brought this version of it.
    job_id INTEGER NOT NULL,
    -- The record, JSON.
    data TEXT NOT NULL,
    -- When it was first stored, Unix ms UTC.
    first_at INTEGER NOT NULL,
    -- When data last changed, Unix ms UTC.
    updated_at INTEGER NOT NULL,
    -- Serves: the upsert of the committer; an item met again replaces itself.
    CONSTRAINT items_key_is_unique_in_source UNIQUE (source_id, key),
    CONSTRAINT items_key_has_16_bytes CHECK (length(key) = 16)
) STRICT;
