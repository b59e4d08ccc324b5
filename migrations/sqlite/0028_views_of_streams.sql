-- The records of each API stream as a view with a column for each member: SELECT * FROM gh_issues.
CREATE TABLE item_columns (
    -- One row a column of such a view. Written by the committer with the first record that has the member.
    -- The stream: sources.source_id.
    source_id INTEGER NOT NULL,
    -- In order of first sight, from 0.
    position INTEGER NOT NULL,
    -- The name of the column.
    name TEXT NOT NULL,
    -- The member whose value it holds: JSON array with its name, or with the name of an object and that of a member of it.
    path TEXT NOT NULL,
    CONSTRAINT item_columns_path_has_a_name_or_two
        CHECK (json_type(path) = 'array' AND json_array_length(path) BETWEEN 1 AND 2),
    -- Serves: the columns of a stream (the first commit of a process with records of it).
    PRIMARY KEY (source_id, position)
) STRICT, WITHOUT ROWID;

-- The name of the view with the records of a stream; NULL for sites, and until the view is made.
ALTER TABLE sources ADD COLUMN view TEXT;

-- The pull (sources.pull) in which the record was last met. With its first sighting in a later pull, job_id becomes the job that
-- showed it.
ALTER TABLE items ADD COLUMN pull INTEGER NOT NULL DEFAULT 1;

-- Pages in a row of which the walk has had all records before: an API whose cursor does not move on.
ALTER TABLE slices ADD COLUMN n_idle INTEGER NOT NULL DEFAULT 0;
