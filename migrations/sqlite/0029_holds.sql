-- What is held of a page's last answer beside the answer itself, so that the page can be asked for only if it changed, and again when
-- it is due.
CREATE TABLE holds (
    -- One row a page, sitemap, feed or page of an API that was answered. Written by the committer with the settlement of the job. The
    -- fields of the answer are in responses.headers, its body in bodies; both stay when a page is gone.
    -- Whose.
    job_id INTEGER NOT NULL PRIMARY KEY,
    -- The section that it serves, as in jobs; here again for the index.
    source_id INTEGER NOT NULL,
    -- The status of the answer that is held; 404 and 410 while the page is gone.
    status INTEGER NOT NULL,
    -- Which requests it answers, JSON object: the name of the credential (never the credential), and what was sent in the fields that
    -- Vary names.
    variant TEXT NOT NULL,
    -- 16 bytes of BLAKE3 over the request as it was sent and the rules by which the answer was read: what is held under another basis
    -- is fetched in full.
    basis BLOB NOT NULL,
    -- When the request was sent that last confirmed it, when its headers had come, and when the body had come, Unix ms UTC.
    requested_at INTEGER NOT NULL,
    answered_at INTEGER NOT NULL,
    fetched_at INTEGER NOT NULL,
    -- BLAKE3 over the decoded body, whether or not that is kept; NULL when it was not read whole.
    content BLOB,
    -- When the page was first there, when its content last changed (NULL before the first change), and since when it is gone (NULL
    -- while it is there), Unix ms UTC. first_at is NULL for what never was there.
    first_at INTEGER,
    changed_at INTEGER,
    gone_at INTEGER,
    -- The learned time between two changes, ms; NULL where nothing is fetched again by itself.
    interval_ms INTEGER,
    -- When it is due again, Unix ms UTC; NULL for never, and while its job is open.
    next_at INTEGER,
    -- For a page of an API: the job of the page that followed it (NULL for the last), its records, and the greatest value of the
    -- incremental field among them (JSON). With a 304 the walk goes on by these.
    next_job_id INTEGER,
    records INTEGER NOT NULL DEFAULT 0,
    newest TEXT,
    CONSTRAINT holds_basis_has_16_bytes CHECK (length(basis) = 16),
    CONSTRAINT holds_content_has_32_bytes CHECK (length(content) = 32),
    CONSTRAINT holds_variant_is_an_object CHECK (json_type(variant) = 'object'),
    CONSTRAINT holds_status_has_three_digits CHECK (status BETWEEN 100 AND 999)
) STRICT;

CREATE INDEX holds_due
    -- Serves: the pages of a section that are due, and when the next one will be.
    ON holds (source_id, next_at) WHERE next_at IS NOT NULL;

-- The schedule by which the pages of a site are due (holds.next_at), in words; NULL for none. Another one moves them all.
ALTER TABLE sources ADD COLUMN recrawl TEXT;

CREATE TABLE page_changes (
    -- One row a change of a page after it was first there: that is in holds.first_at. Appended by the committer.
    change_id INTEGER NOT NULL PRIMARY KEY,
    -- When its answer had come, Unix ms UTC.
    at INTEGER NOT NULL,
    -- Whose.
    job_id INTEGER NOT NULL,
    -- 0 changed, 1 gone, 2 there again.
    what INTEGER NOT NULL,
    -- BLAKE3 over the body that came: bodies.hash where it was kept; NULL for a page that is gone.
    content BLOB,
    CONSTRAINT page_changes_what_is_known CHECK (what BETWEEN 0 AND 2)
) STRICT;

CREATE VIEW changes AS
-- One row a page that is new, has changed, is gone, or is there again: times are UTC.
-- Costs a read of all pages and all changes; records of APIs have their times in the view records.
SELECT
    strftime('%Y-%m-%d %H:%M:%S', c.at / 1000, 'unixepoch') AS at,
    c.what,
    h.origin || j.request AS url,
    -- The body that came: bodies.hash, where it is kept.
    c.content,
    j.source_id, j.job_id
FROM (
    SELECT first_at AS at, 'new' AS what, NULL AS content, job_id FROM holds WHERE first_at IS NOT NULL
    UNION ALL
    SELECT at, CASE what WHEN 0 THEN 'changed' WHEN 1 THEN 'gone' ELSE 'back' END, content, job_id FROM page_changes
) AS c
CROSS JOIN jobs AS j ON j.job_id = c.job_id
CROSS JOIN hosts AS h ON h.host_id = j.host_id
WHERE j.kind = 0;

-- What was fetched before there were holds: nothing is known of how it was asked for, so it is fetched in full once more.
INSERT INTO holds
    (job_id, source_id, status, variant, basis, requested_at, answered_at, fetched_at, content, first_at)
SELECT r.job_id, j.source_id, r.status, '{}', zeroblob(16), r.fetched_at, r.fetched_at, r.fetched_at, r.body_hash, r.fetched_at
FROM responses AS r CROSS JOIN jobs AS j ON j.job_id = r.job_id
WHERE j.state = 2 AND j.kind <> 1;
