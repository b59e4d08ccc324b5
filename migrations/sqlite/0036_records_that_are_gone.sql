-- Records that a pull of everything did not bring are gone, where the user wants that (`sweep`).

-- When that was found, Unix ms UTC; NULL for a record that is there. One that comes again is there again.
ALTER TABLE items ADD COLUMN gone_at INTEGER;

-- 1 when the walk leaves something out of what there is: it ended by max_pages or skipped a page, or it was on when its pull began. Then
-- the pull says of no record that it is gone.
ALTER TABLE slices ADD COLUMN is_cut INTEGER NOT NULL DEFAULT 0;

DROP VIEW records;

CREATE VIEW records AS
-- One row an item, with the section of crawl.toml that it belongs to and the address that it came from.
SELECT
    i.item_id,
    s.name AS source,
    -- The record, JSON.
    i.data,
    -- The address that brought this version of it.
    h.origin || j.request AS url,
    -- When it was first stored, when it last changed, and when it was found to be gone (NULL while it is there), UTC.
    strftime('%Y-%m-%d %H:%M:%S', i.first_at / 1000, 'unixepoch') AS first_at,
    strftime('%Y-%m-%d %H:%M:%S', i.updated_at / 1000, 'unixepoch') AS updated_at,
    strftime('%Y-%m-%d %H:%M:%S', i.gone_at / 1000, 'unixepoch') AS gone_at
FROM items AS i
CROSS JOIN sources AS s ON s.source_id = i.source_id
CROSS JOIN jobs AS j ON j.job_id = i.job_id
CROSS JOIN hosts AS h ON h.host_id = j.host_id;
