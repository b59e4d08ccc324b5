CREATE TABLE meta (
    -- One row: what makes this file ours, and who owns it now.
    one INTEGER NOT NULL PRIMARY KEY,
    -- Secret of the dedup keys, 16 bytes, drawn when the file is made and never changed.
    hash_key BLOB NOT NULL,
    -- Number of the run that owns the file; raised by every start, checked by every commit. 0 before the first run.
    run_epoch INTEGER NOT NULL,
    -- When the file was made, Unix ms UTC, to the second.
    made_at INTEGER NOT NULL,
    CONSTRAINT meta_has_one_row CHECK (one = 1),
    CONSTRAINT meta_hash_key_has_16_bytes CHECK (length(hash_key) = 16),
    CONSTRAINT meta_run_epoch_counts CHECK (run_epoch >= 0)
) STRICT;

INSERT INTO meta (one, hash_key, run_epoch, made_at) VALUES (1, randomblob(16), 0, unixepoch() * 1000);
