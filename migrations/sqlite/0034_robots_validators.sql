-- By which a robots.txt that has expired is asked for only if it changed.
-- The validators of the answer (ETag, Last-Modified), its Date and its Cache-Control, as later 304 changed them: JSON array of name and
-- value. NULL when the next question is in full: nothing may be fetched, the file lies behind a redirect, or its server gave nothing to
-- ask with. fetched_at is when the text came; a 304 moves only expires_at. Written by the committer.
ALTER TABLE robots ADD COLUMN headers TEXT;
