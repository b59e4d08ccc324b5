//! Reading more jobs of one host, on a read-only connection.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlitePool};
use url::Url;

use crate::clock::Timestamp;
use crate::job::{Job, JobId, JobKind, Origin, Priority, SourceId};
use crate::store::{Loaded, Refill, RefillRequest, StoreError};

use super::db::sorted;

macro_rules! jobs_where {
    ($rest:literal) => {
        concat!(
            "SELECT j.job_id, j.kind, j.source_id, j.depth, j.priority, j.attempt, j.crashes, j.redirects, j.request, ",
            "h.origin FROM jobs AS j CROSS JOIN hosts AS h ON h.host_id = j.host_id WHERE ",
            $rest
        )
    };
}

/// Ready jobs of host $1 after rank ($2, $3), at most $4. Read from `jobs_ready` in its order, in two pieces: as one
/// comparison of pairs, SQLite would read the priority's entries from their start.
pub(super) const READY: &str = concat!(
    "SELECT * FROM (",
    jobs_where!("j.host_id = $1 AND j.state = 0 AND j.priority = $2 AND j.job_id > $3 ORDER BY j.job_id LIMIT $4"),
    ") UNION ALL SELECT * FROM (",
    jobs_where!("j.host_id = $1 AND j.state = 0 AND j.priority > $2 ORDER BY j.priority, j.job_id LIMIT $4"),
    ") LIMIT $4"
);

/// Waiting jobs of host $1 that are due at $2, at most $3. Read from `jobs_waiting` in its order.
pub(super) const DUE: &str =
    jobs_where!("j.host_id = $1 AND j.state = 1 AND j.due_at <= $2 ORDER BY j.due_at, j.job_id LIMIT $3");

/// The first due times of host $1 after the $2 that were read.
pub(super) const NEXT_DUE: &str =
    "SELECT due_at FROM jobs WHERE host_id = $1 AND state = 1 ORDER BY due_at LIMIT 1 OFFSET $2";

/// A row that cannot become a job, and why.
pub(super) type Unreadable = (JobId, String);

/// What the request asks for, and the rows that were left out of it because they cannot be read.
pub(super) async fn read(
    readers: &SqlitePool,
    request: RefillRequest,
) -> Result<(Refill, Vec<Unreadable>), StoreError> {
    // One transaction, so that a job that a commit moves meanwhile is not seen twice or never.
    let mut transaction = readers.begin().await.map_err(sorted("read jobs"))?;
    let host_id = i64::from(request.host_id.0);
    let after = request.after.map_or((-1, 0), |rank| (i64::from(rank.priority.0), rank.job_id.0));
    let ready = sqlx::query(READY)
        .bind(host_id)
        .bind(after.0)
        .bind(after.1)
        .bind(i64::from(request.limit))
        .fetch_all(&mut *transaction)
        .await
        .map_err(sorted("read ready jobs"))?;
    let due = sqlx::query(DUE)
        .bind(host_id)
        .bind(request.now.0)
        .bind(i64::from(request.limit))
        .fetch_all(&mut *transaction)
        .await
        .map_err(sorted("read waiting jobs"))?;
    let next_due_at = sqlx::query(NEXT_DUE)
        .bind(host_id)
        .bind(i64::try_from(due.len()).unwrap_or(i64::MAX))
        .fetch_optional(&mut *transaction)
        .await
        .and_then(|row| row.map(|row| row.try_get(0)).transpose())
        .map_err(sorted("read due times"))?
        .map(Timestamp);
    transaction.rollback().await.map_err(sorted("read jobs"))?;

    let mut unreadable = Vec::new();
    let mut load = |rows: Vec<SqliteRow>| -> Result<Vec<Loaded>, StoreError> {
        let mut loaded = Vec::with_capacity(rows.len());
        for row in &rows {
            match load(row).map_err(sorted("read jobs"))? {
                Ok(job) => loaded.push(job),
                Err(bad) => unreadable.push(bad),
            }
        }
        Ok(loaded)
    };
    let refill = Refill { ready: load(ready)?, due: load(due)?, next_due_at };
    Ok((refill, unreadable))
}

fn load(row: &SqliteRow) -> Result<Result<Loaded, Unreadable>, sqlx::Error> {
    let id = JobId(row.try_get(0)?);
    let kind: i64 = row.try_get(1)?;
    let source: i64 = row.try_get(2)?;
    let depth: i64 = row.try_get(3)?;
    let priority: i64 = row.try_get(4)?;
    let attempt: i64 = row.try_get(5)?;
    let crashes: i64 = row.try_get(6)?;
    let redirects: Option<String> = row.try_get(7)?;
    let request: String = row.try_get(8)?;
    let origin: String = row.try_get(9)?;
    let parse = || -> Result<Loaded, String> {
        let number = |name: &str| format!("{name} is out of range");
        let url = Url::parse(&format!("{origin}{request}")).map_err(|error| format!("its address: {error}"))?;
        if Origin::of(&url).is_none_or(|found| found.as_str() != origin) {
            return Err(format!("its request {request} leads away from {origin}"));
        }
        let redirects = match redirects {
            None => Vec::new(),
            Some(json) => serde_json::from_str::<Vec<String>>(&json)
                .map_err(|error| format!("its redirects: {error}"))?
                .iter()
                .map(|text| Url::parse(text).map_err(|error| format!("its redirects: {error}")))
                .collect::<Result<_, _>>()?,
        };
        Ok(Loaded {
            job: Job {
                id,
                url,
                kind: JobKind::from_code(kind).ok_or_else(|| format!("its kind {kind} is not known"))?,
                source: SourceId(u32::try_from(source).map_err(|_| number("source_id"))?),
                depth: u32::try_from(depth).map_err(|_| number("depth"))?,
                priority: Priority(u8::try_from(priority).map_err(|_| number("priority"))?),
                attempt: u32::try_from(attempt).map_err(|_| number("attempt"))?,
                redirects,
            },
            crashes: u32::try_from(crashes).map_err(|_| number("crashes"))?,
        })
    };
    Ok(parse().map_err(|why| (id, why)))
}
