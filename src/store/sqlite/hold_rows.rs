//! What is held of answers, and the pages that are due again, as a batch meets and leaves them.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::Row;

use crate::clock::Timestamp;
use crate::job::{JobId, JobState, SourceId};
use crate::policy::cache::due_when_named;
use crate::store::{RecrawlStep, StoreError};

use super::db::{Db, sorted};

/// A row of `holds`; the names are those that the statement reads.
#[derive(Clone, Debug, Serialize)]
pub(super) struct HoldRow {
    pub(super) job: JobId,
    pub(super) source: SourceId,
    pub(super) status: u16,
    pub(super) variant: String,
    pub(super) basis: String,
    pub(super) requested: i64,
    pub(super) answered: i64,
    pub(super) fetched: i64,
    pub(super) content: Option<String>,
    pub(super) first: Option<i64>,
    pub(super) changed: Option<i64>,
    pub(super) gone: Option<i64>,
    pub(super) interval: Option<u64>,
    pub(super) next: Option<i64>,
    pub(super) next_job: Option<JobId>,
    pub(super) records: u64,
    pub(super) newest: Option<String>,
}

/// What a batch leaves of what is held.
#[derive(Default)]
pub(super) struct HoldRows {
    pub(super) held: Vec<HoldRow>,
    /// Headers of answers that a 304 has confirmed.
    pub(super) headers: Vec<(JobId, String)>,
    /// Pages of which nothing may be kept.
    pub(super) forgotten: Vec<JobId>,
    /// Pages that are due at another time, with nothing else that changes; none takes them off the schedule.
    pub(super) later: Vec<(JobId, Option<i64>)>,
    /// at, job, what, content
    pub(super) changes: Vec<(i64, JobId, u8, Option<String>)>,
}

const HELD: &str = "
INSERT INTO holds
    (job_id, source_id, status, variant, basis, requested_at, answered_at, fetched_at, content, first_at, changed_at, gone_at,
     interval_ms, next_at, next_job_id, records, newest)
SELECT value ->> 'job', value ->> 'source', value ->> 'status', value ->> 'variant', unhex(value ->> 'basis'),
    value ->> 'requested', value ->> 'answered', value ->> 'fetched', unhex(value ->> 'content'), value ->> 'first',
    value ->> 'changed', value ->> 'gone', value ->> 'interval', value ->> 'next', value ->> 'next_job', value ->> 'records',
    value ->> 'newest'
FROM jsonb_each($1) WHERE true
ON CONFLICT (job_id) DO UPDATE SET
    status = excluded.status, variant = excluded.variant, basis = excluded.basis, requested_at = excluded.requested_at,
    answered_at = excluded.answered_at, fetched_at = excluded.fetched_at, content = excluded.content,
    first_at = coalesce(holds.first_at, excluded.first_at), changed_at = coalesce(excluded.changed_at, holds.changed_at),
    gone_at = excluded.gone_at, interval_ms = excluded.interval_ms, next_at = excluded.next_at,
    next_job_id = excluded.next_job_id, records = excluded.records, newest = excluded.newest";

const HEADERS: &str = "
UPDATE responses SET headers = e.value ->> 1 FROM json_each($1) AS e
WHERE responses.job_id = e.value ->> 0 AND responses.headers <> e.value ->> 1";

const FORGOTTEN: &str = "
UPDATE responses SET headers = '[]', title = NULL, body_hash = NULL, body_bytes = NULL
WHERE job_id IN (SELECT value FROM json_each($1))";

const LATER: &str =
    "UPDATE holds SET next_at = e.value ->> 1 FROM json_each($1) AS e WHERE holds.job_id = e.value ->> 0";

const CHANGES: &str = "
INSERT INTO page_changes (at, job_id, what, content)
SELECT value ->> 0, value ->> 1, value ->> 2, unhex(value ->> 3) FROM json_each($1)";

/// Writes what a batch leaves, after its responses.
pub(super) async fn write(db: &mut Db, rows: &HoldRows) -> Result<(), sqlx::Error> {
    let steps = [
        (HELD, json(&rows.held), rows.held.len()),
        (HEADERS, json(&rows.headers), rows.headers.len()),
        (FORGOTTEN, json(&rows.forgotten), rows.forgotten.len()),
        (LATER, json(&rows.later), rows.later.len()),
        (CHANGES, json(&rows.changes), rows.changes.len()),
    ];
    for (sql, rows, count) in steps {
        if count > 0 {
            db.run(sqlx::query(sql).bind(rows)).await?;
        }
    }
    Ok(())
}

/// A page that is due again.
#[derive(Clone, Copy, Debug)]
pub(super) struct DuePage {
    pub(super) source: SourceId,
    pub(super) job_id: JobId,
    pub(super) state: JobState,
    pub(super) priority: u8,
    /// `JobKind::code`
    pub(super) kind: i64,
}

pub(super) const DUE_PAGES: &str = "
SELECT h.job_id, j.state, j.priority, j.kind FROM holds AS h CROSS JOIN jobs AS j ON j.job_id = h.job_id
WHERE h.source_id = $1 AND h.next_at <= $2 ORDER BY h.next_at LIMIT $3";

pub(super) const NEXT_DUE_PAGE: &str = "SELECT min(next_at) FROM holds WHERE source_id = $1 AND next_at IS NOT NULL";

/// A page whose job is open becomes due with its next answer. What was never asked for on a schedule has the longest that an interval
/// begins with: a day.
const SCHEDULE: &str = "
UPDATE holds SET next_at = iif($2 IS NULL, NULL, answered_at + min(max(coalesce(interval_ms, 86400000), $2), $3))
FROM jobs WHERE jobs.job_id = holds.job_id AND jobs.state NOT IN (0, 1) AND holds.source_id = $1";

const SCHEDULED: &str = "UPDATE sources SET recrawl = $2 WHERE source_id = $1";

/// Brings the pages of sections onto the schedules that have changed, and reads those that are due.
pub(super) async fn due(db: &mut Db, steps: &[RecrawlStep]) -> Result<Vec<DuePage>, StoreError> {
    let doing = "read the pages that are due";
    let mut due = Vec::new();
    for step in steps {
        match step {
            RecrawlStep::Schedule { source, words, between_ms } => {
                let bound = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX / 2);
                let (min_ms, max_ms) = between_ms.unzip();
                let query = sqlx::query(SCHEDULE).bind(source.0).bind(min_ms.map(bound)).bind(max_ms.map(bound));
                db.run(query).await.map_err(sorted(doing))?;
                db.run(sqlx::query(SCHEDULED).bind(source.0).bind(words.clone())).await.map_err(sorted(doing))?;
            }
            RecrawlStep::Reopen { source, until, limit } => {
                let query = sqlx::query(DUE_PAGES).bind(source.0).bind(until.0).bind(i64::from(*limit));
                for row in db.rows(query).await.map_err(sorted(doing))? {
                    let read = || -> Result<_, sqlx::Error> {
                        Ok((JobId(row.try_get(0)?), row.try_get::<i64, _>(1)?, row.try_get(2)?, row.try_get(3)?))
                    };
                    let (job_id, code, priority, kind) = read().map_err(sorted(doing))?;
                    let state = JobState::from_code(code).ok_or_else(|| StoreError::Inconsistent {
                        table: "jobs",
                        row: job_id.to_string(),
                        why: format!("its state is {code}"),
                    })?;
                    due.push(DuePage { source: *source, job_id, state, priority, kind });
                }
            }
        }
    }
    Ok(due)
}

/// A page that was answered before it is said to have changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct NamedPage {
    pub(super) job_id: JobId,
    pub(super) source: SourceId,
    /// When it is due now.
    pub(super) next_at: Timestamp,
}

/// Those of these requests whose answers are older than what is said of their last change: host, key, section, when they changed, least
/// wait. What the sitemap of a section says moves no page of another one, whose schedule is another.
pub(super) const NAMED_PAGES: &str = "
SELECT h.job_id, h.source_id, h.next_at, h.answered_at, h.interval_ms, e.value ->> 3, e.value ->> 4
FROM jsonb_each($1) AS e
    CROSS JOIN jobs AS j ON j.host_id = e.value ->> 0 AND j.key = e.value ->> 1
    CROSS JOIN holds AS h ON h.job_id = j.job_id
WHERE h.source_id = e.value ->> 2 AND h.answered_at < e.value ->> 3 AND h.next_at IS NOT NULL";

/// The pages that are due sooner than they were, by what is said of their last change. `named` has the members that the statement reads.
pub(super) async fn named(db: &mut Db, named: &[(u32, i64, u32, i64, u64)]) -> Result<Vec<NamedPage>, StoreError> {
    let doing = "read the pages that are said to have changed";
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let mut pages = Vec::new();
    for row in db.rows(sqlx::query(NAMED_PAGES).bind(json(named))).await.map_err(sorted(doing))? {
        let read = || -> Result<_, sqlx::Error> {
            let due_at = Timestamp(row.try_get(2)?);
            let interval_ms = row.try_get::<Option<i64>, _>(4)?.map(i64::unsigned_abs);
            let (answered_at, changed_at) = (Timestamp(row.try_get(3)?), Timestamp(row.try_get(5)?));
            let least_ms = row.try_get::<i64, _>(6)?.unsigned_abs();
            let next_at = due_when_named(due_at, answered_at, interval_ms, changed_at, least_ms);
            let page = NamedPage { job_id: JobId(row.try_get(0)?), source: SourceId(row.try_get(1)?), next_at };
            Ok((next_at < due_at).then_some(page))
        };
        pages.extend(read().map_err(sorted(doing))?);
    }
    Ok(pages)
}

/// When the next page of each of these sections is due.
pub(super) async fn next_due(
    db: &mut Db,
    sources: impl Iterator<Item = SourceId>,
) -> Result<HashMap<SourceId, Option<Timestamp>>, StoreError> {
    let doing = "read when a page is due";
    let mut next = HashMap::new();
    for source in sources {
        let rows = db.rows(sqlx::query(NEXT_DUE_PAGE).bind(source.0)).await.map_err(sorted(doing))?;
        let at: Option<i64> = rows.first().map_or(Ok(None), |row| row.try_get(0)).map_err(sorted(doing))?;
        next.insert(source, at.map(Timestamp));
    }
    Ok(next)
}

fn json<T: Serialize + ?Sized>(rows: &T) -> String {
    serde_json::to_string(rows).expect("numbers and text are JSON")
}
