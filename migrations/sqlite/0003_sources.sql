CREATE TABLE sources (
    -- One row a section of crawl.toml. Numbered at the start of a run; counters by the committer.
    -- Its number in jobs and items; never reused.
    source_id INTEGER NOT NULL PRIMARY KEY,
    -- 'site' or 'api'.
    kind TEXT NOT NULL,
    -- The section's name, as in [site.NAME] or [api.NAME].
    name TEXT NOT NULL,
    -- Jobs of all kinds that were found for it.
    n_found INTEGER NOT NULL DEFAULT 0,
    -- Pages (kind 0) that are done; what max_pages is measured against.
    n_done INTEGER NOT NULL DEFAULT 0,
    -- Items that are stored for it.
    n_items INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT sources_kind_is_known CHECK (kind IN ('site', 'api')),
    CONSTRAINT sources_id_fits_31_bits CHECK (source_id BETWEEN 1 AND 2147483647),
    CONSTRAINT sources_name_is_unique UNIQUE (kind, name)
) STRICT;
