-- What a request has beside its address, for APIs that are asked by POST or by a header: JSON with any of
-- "method" ("POST"; GET is left out), "headers" ([[name, value], ..]; never a secret) and "body" ({"json": ..} or
-- {"form": [[name, value], ..]}). NULL for a plain GET, which nearly all are. Part of what makes a request the same. Written by
-- the committer when the job is found.
ALTER TABLE jobs ADD COLUMN extra TEXT CONSTRAINT jobs_extra_is_json CHECK (extra IS NULL OR json_valid(extra));
