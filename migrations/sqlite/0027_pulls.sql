-- A stream is pulled once, or again and again: each pull walks its slices anew. The number of the pull is sources.pull.
-- When the pull began, Unix ms UTC; NULL before the first.
ALTER TABLE sources ADD COLUMN pull_started_at INTEGER;

-- When it was over, whether or not slices failed, Unix ms UTC; NULL while it is on.
ALTER TABLE sources ADD COLUMN pull_ended_at INTEGER;

-- Whether the pull is one of everything: 1 for each pull of a stream that has no incremental field, and for a full refresh.
ALTER TABLE sources ADD COLUMN pull_full INTEGER NOT NULL DEFAULT 1;

-- When the last full pull began, Unix ms UTC; NULL before the first.
ALTER TABLE sources ADD COLUMN full_started_at INTEGER;

-- What the slices of this pull were made of, as a hash in hexadecimal, when all of them are in the file; NULL before. A run that goes
-- on need not make them again, and one whose configuration names other values does.
ALTER TABLE sources ADD COLUMN seeds TEXT;

CREATE VIEW streams AS
-- One row an API stream: its pull, and how far it is.
SELECT
    name AS stream,
    -- The number of the pull, and whether it is one of everything ('full') or of what is new ('incremental').
    pull,
    iif(pull_full, 'full', 'incremental') AS kind,
    -- When it began and when it was over, UTC; ended_at is NULL while it is on.
    strftime('%Y-%m-%d %H:%M:%S', pull_started_at / 1000, 'unixepoch') AS started_at,
    strftime('%Y-%m-%d %H:%M:%S', pull_ended_at / 1000, 'unixepoch') AS ended_at,
    -- Slices that are being walked, and that failed.
    n_slices_open AS walking,
    n_slices_failed AS failed,
    n_items AS records,
    source_id
FROM sources WHERE kind = 'api';
