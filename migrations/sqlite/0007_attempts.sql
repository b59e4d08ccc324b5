CREATE TABLE attempts (
    -- One row a request that was sent: the audit trail. Appended by the committer; clustered by host through job_id.
    -- Whose.
    job_id INTEGER NOT NULL,
    -- When it was sent, Unix ms UTC.
    sent_at INTEGER NOT NULL,
    -- 0, or more when one job was sent twice within a millisecond.
    nth INTEGER NOT NULL,
    -- Until the body had come or the attempt had failed, ms.
    took_ms INTEGER NOT NULL,
    -- The HTTP status; NULL when no answer came.
    status INTEGER,
    -- What came of it, in one word: served, redirected, refused, overloaded, gone, rejected, broken, unreachable, ...
    outcome TEXT NOT NULL,
    -- Bytes of the body after decoding.
    body_bytes INTEGER NOT NULL,
    -- When it may be tried again, Unix ms UTC: the embargo of a refusal or the backoff of a failure; NULL when not at all.
    retry_at INTEGER,
    -- What went wrong, in words.
    error TEXT,
    -- Serves: the attempts of one job in order (`trundle why`).
    PRIMARY KEY (job_id, sent_at, nth),
    CONSTRAINT attempts_status_has_three_digits CHECK (status BETWEEN 100 AND 999),
    CONSTRAINT attempts_sizes_count CHECK (took_ms >= 0 AND body_bytes >= 0)
) STRICT, WITHOUT ROWID;
