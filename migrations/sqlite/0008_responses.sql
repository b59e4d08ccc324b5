CREATE TABLE responses (
    -- The answer that is kept for a job; a later one replaces it. Written by the committer.
    -- Whose.
    job_id INTEGER NOT NULL PRIMARY KEY,
    -- When the answer had come, Unix ms UTC.
    fetched_at INTEGER NOT NULL,
    -- Its HTTP status.
    status INTEGER NOT NULL,
    -- type/subtype in lower case.
    content_type TEXT,
    -- The encoding by which its text was read.
    charset TEXT,
    -- The title of a page.
    title TEXT,
    -- Where a redirect led, absolute.
    redirect_to TEXT,
    -- What rel=canonical said, absolute.
    canonical TEXT,
    -- All headers as they came: JSON array of [name, value].
    headers TEXT NOT NULL,
    -- What was odd, in words: JSON array of text; NULL for most.
    notes TEXT,
    -- Links that were found, known ones included.
    links INTEGER NOT NULL,
    -- The body: bodies.hash; NULL when it is not kept.
    body_hash BLOB,
    -- Bytes of the body after decoding; NULL when it is not kept.
    body_bytes INTEGER,
    CONSTRAINT responses_status_has_three_digits CHECK (status BETWEEN 100 AND 999),
    CONSTRAINT responses_body_hash_has_32_bytes CHECK (length(body_hash) = 32)
) STRICT;

CREATE TABLE bodies (
    -- One row a distinct body, whoever sent it. Written by the committer.
    body_id INTEGER NOT NULL PRIMARY KEY,
    -- BLAKE3 over the decoded body, 32 bytes.
    hash BLOB NOT NULL,
    -- Bytes of the decoded body.
    len INTEGER NOT NULL,
    -- The decoded body as one zstd frame.
    zstd BLOB NOT NULL,
    -- Serves: the body of a response, and whether a body is known.
    CONSTRAINT bodies_hash_is_unique UNIQUE (hash),
    CONSTRAINT bodies_hash_has_32_bytes CHECK (length(hash) = 32)
) STRICT;
