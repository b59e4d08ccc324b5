//! Reading more jobs of one host, on a read-only connection.
//!
//! A host with narrow limit scopes has a queue for each of them, and one for the rest. The rest is read in rank order like a
//! whole host, and what belongs to the other queues is left out; where that is everything, the index by route tells where the
//! next job of the rest is, however many jobs of a closed scope lie before it.

use std::sync::Arc;

use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, SqlitePool};
use url::Url;

use crate::clock::Timestamp;
use crate::job::{Held, Job, JobId, JobKind, Origin, Priority, SliceId, SourceId, Walk, route_of};
use crate::store::{Loaded, Rank, Refill, RefillRequest, Routes, StoreError};

use super::db::sorted;

/// What is held of a job's last answer; all NULL for nearly all jobs, which were never answered.
macro_rules! held_columns {
    () => {
        "d.status, d.variant, d.basis, d.requested_at, d.answered_at, d.fetched_at, d.content, d.first_at, d.gone_at, \
         d.interval_ms, a.headers"
    };
}

macro_rules! held_join {
    () => {
        "LEFT JOIN holds AS d ON d.job_id = j.job_id LEFT JOIN responses AS a ON a.job_id = d.job_id "
    };
}

macro_rules! jobs_where {
    ($rest:literal) => {
        concat!(
            "SELECT j.job_id, j.kind, j.source_id, j.depth, j.priority, j.attempt, j.crashes, j.redirects, j.request, j.extra, ",
            "h.origin, s.slice_id, s.params, s.mark, s.restarts, s.started_at, j.walk, s.n_records, ",
            held_columns!(),
            " FROM jobs AS j CROSS JOIN hosts AS h ON h.host_id = j.host_id ",
            "LEFT JOIN slices AS s ON s.slice_id = j.slice_id ",
            held_join!(),
            "WHERE ",
            $rest
        )
    };
}

macro_rules! jobs_of_routes {
    ($ids:literal, $order:literal) => {
        concat!(
            "SELECT j.job_id, j.kind, j.source_id, j.depth, j.priority, j.attempt, j.crashes, j.redirects, j.request, j.extra, ",
            "h.origin, s.slice_id, s.params, s.mark, s.restarts, s.started_at, j.walk, s.n_records, ",
            held_columns!(),
            " FROM json_each($2) AS r CROSS JOIN jobs AS j ON j.job_id IN (",
            $ids,
            ") CROSS JOIN hosts AS h ON h.host_id = j.host_id LEFT JOIN slices AS s ON s.slice_id = j.slice_id ",
            held_join!(),
            "ORDER BY ",
            $order
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

/// Ready jobs of the routes $2 (a JSON array) of host $1 after rank ($3, $4), at most $5. As many of each route are looked at.
pub(super) const READY_OF: &str = jobs_of_routes!(
    "SELECT job_id FROM (SELECT k.job_id FROM jobs AS k WHERE k.host_id = $1 AND k.state = 0 AND k.route = r.value \
     AND k.priority = $3 AND k.job_id > $4 ORDER BY k.job_id LIMIT $5) UNION ALL \
     SELECT job_id FROM (SELECT k.job_id FROM jobs AS k WHERE k.host_id = $1 AND k.state = 0 AND k.route = r.value \
     AND k.priority > $3 ORDER BY k.priority, k.job_id LIMIT $5)",
    "j.priority, j.job_id LIMIT $5"
);

/// The rank of the first ready job of the routes $2 (a JSON array) of host $1 after rank ($3, $4).
pub(super) const HEAD: &str = "
SELECT j.priority, j.job_id FROM json_each($2) AS r CROSS JOIN jobs AS j ON j.job_id = coalesce(
    (SELECT k.job_id FROM jobs AS k WHERE k.host_id = $1 AND k.state = 0 AND k.route = r.value
        AND k.priority = $3 AND k.job_id > $4 ORDER BY k.job_id LIMIT 1),
    (SELECT k.job_id FROM jobs AS k WHERE k.host_id = $1 AND k.state = 0 AND k.route = r.value
        AND k.priority > $3 ORDER BY k.priority, k.job_id LIMIT 1))
ORDER BY j.priority, j.job_id LIMIT 1";

/// The routes with ready jobs of host $1, the first $2 of them: each costs one step down the index, whatever lies below it.
pub(super) const ROUTES_READY: &str = "
WITH RECURSIVE met (route, n) AS (
    SELECT (SELECT min(k.route) FROM jobs AS k WHERE k.host_id = $1 AND k.state = 0), 1
    UNION ALL
    SELECT (SELECT min(k.route) FROM jobs AS k WHERE k.host_id = $1 AND k.state = 0 AND k.route > met.route), n + 1
    FROM met WHERE met.route IS NOT NULL AND n < $2
)
SELECT route FROM met WHERE route IS NOT NULL";

/// The same with waiting jobs.
pub(super) const ROUTES_WAITING: &str = "
WITH RECURSIVE met (route, n) AS (
    SELECT (SELECT min(k.route) FROM jobs AS k WHERE k.host_id = $1 AND k.state = 1), 1
    UNION ALL
    SELECT (SELECT min(k.route) FROM jobs AS k WHERE k.host_id = $1 AND k.state = 1 AND k.route > met.route), n + 1
    FROM met WHERE met.route IS NOT NULL AND n < $2
)
SELECT route FROM met WHERE route IS NOT NULL";

/// Waiting jobs of host $1 that are due at $2, at most $3. Read from `jobs_waiting` in its order.
pub(super) const DUE: &str =
    jobs_where!("j.host_id = $1 AND j.state = 1 AND j.due_at <= $2 ORDER BY j.due_at, j.job_id LIMIT $3");

/// The first due times of host $1 after the $2 that were read.
pub(super) const NEXT_DUE: &str =
    "SELECT due_at FROM jobs WHERE host_id = $1 AND state = 1 ORDER BY due_at LIMIT 1 OFFSET $2";

/// Waiting jobs of the routes $2 of host $1 that are due at $3, at most $4.
pub(super) const DUE_OF: &str = jobs_of_routes!(
    "SELECT k.job_id FROM jobs AS k WHERE k.host_id = $1 AND k.state = 1 AND k.route = r.value AND k.due_at <= $3 \
     ORDER BY k.due_at, k.job_id LIMIT $4",
    "j.due_at, j.job_id LIMIT $4"
);

/// When the first job of the routes $2 of host $1 is due after $3.
pub(super) const NEXT_DUE_OF: &str = "
SELECT min((SELECT min(k.due_at) FROM jobs AS k
    WHERE k.host_id = $1 AND k.state = 1 AND k.route = r.value AND k.due_at > $3)) FROM json_each($2) AS r";

/// Routes that are looked through at most, for a job that is not of a narrow scope. On a host with more, a refill may have to
/// read through the jobs of a closed scope, so many at a time as it was asked for.
const ROUTES_MAX: i64 = 4_096;

/// A row that cannot become a job, and why.
pub(super) type Unreadable = (JobId, String);

/// What the request asks for, and the rows that were left out of it because they cannot be read.
pub(super) async fn read(
    readers: &SqlitePool,
    request: &RefillRequest,
) -> Result<(Refill, Vec<Unreadable>), StoreError> {
    // One transaction, so that a job that a commit moves meanwhile is not seen twice or never.
    let mut transaction = readers.begin().await.map_err(sorted("read jobs"))?;
    let mut reading = Reading { conn: &mut transaction, request, unreadable: Vec::new() };
    let mut refill = Refill::default();
    reading.ready(&mut refill).await.map_err(sorted("read ready jobs"))?;
    reading.due(&mut refill).await.map_err(sorted("read waiting jobs"))?;
    let unreadable = reading.unreadable;
    transaction.rollback().await.map_err(sorted("read jobs"))?;
    Ok((refill, unreadable))
}

struct Reading<'r> {
    conn: &'r mut SqliteConnection,
    request: &'r RefillRequest,
    unreadable: Vec<Unreadable>,
}

impl Reading<'_> {
    async fn ready(&mut self, refill: &mut Refill) -> Result<(), sqlx::Error> {
        let RefillRequest { host_id, routes, after, limit, .. } = self.request;
        let host_id = i64::from(host_id.0);
        let except = match routes {
            Routes::All => &[],
            Routes::Except(routes) => &**routes,
            Routes::Only(routes) => {
                let (priority, job_id) = bound(*after);
                let query = sqlx::query(READY_OF).bind(host_id).bind(json(routes)).bind(priority).bind(job_id);
                let rows = query.bind(i64::from(*limit)).fetch_all(&mut *self.conn).await?;
                (refill.more, refill.read_to) = (is_full(&rows, *limit), last_rank(&rows)?);
                refill.ready = self.load(&rows)?;
                return Ok(());
            }
        };
        let rows = self.rank_order(*after).await?;
        (refill.more, refill.read_to) = (is_full(&rows, *limit), last_rank(&rows)?);
        refill.ready = self.load(&rows)?;
        refill.ready.retain(|loaded| !is_of(except, loaded));
        if except.is_empty() || !refill.ready.is_empty() || !refill.more {
            return Ok(());
        }
        // Nothing but jobs of other queues, and perhaps a million more of them: where does the rest go on?
        let known = self.routes(ROUTES_READY).await?;
        if i64::try_from(known.len()).is_ok_and(|count| count >= ROUTES_MAX) {
            return Ok(());
        }
        let others: Vec<&str> = known.iter().map(String::as_str).filter(|route| !contains(except, route)).collect();
        let (priority, job_id) = bound(refill.read_to);
        let head = sqlx::query(HEAD).bind(host_id).bind(json(&others)).bind(priority).bind(job_id);
        let Some(row) = head.fetch_optional(&mut *self.conn).await? else {
            refill.more = false;
            return Ok(());
        };
        let head = rank(&row, 0, 1)?;
        let rows = self.rank_order(Some(Rank { job_id: JobId(head.job_id.0 - 1), ..head })).await?;
        (refill.more, refill.read_to) = (is_full(&rows, *limit), last_rank(&rows)?);
        refill.ready = self.load(&rows)?;
        refill.ready.retain(|loaded| !is_of(except, loaded));
        Ok(())
    }

    /// The next ready jobs of the host after a rank, of whatever route.
    async fn rank_order(&mut self, after: Option<Rank>) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let (priority, job_id) = bound(after);
        let query = sqlx::query(READY).bind(i64::from(self.request.host_id.0)).bind(priority).bind(job_id);
        query.bind(i64::from(self.request.limit)).fetch_all(&mut *self.conn).await
    }

    async fn due(&mut self, refill: &mut Refill) -> Result<(), sqlx::Error> {
        let RefillRequest { host_id, routes, limit, now, .. } = self.request;
        let host_id = i64::from(host_id.0);
        let routes = match routes {
            Routes::All => {
                let query = sqlx::query(DUE).bind(host_id).bind(now.0).bind(i64::from(*limit));
                let rows = query.fetch_all(&mut *self.conn).await?;
                let read = i64::try_from(rows.len()).unwrap_or(i64::MAX);
                let next = sqlx::query(NEXT_DUE).bind(host_id).bind(read).fetch_optional(&mut *self.conn).await?;
                refill.next_due_at = next.map(|row| row.try_get(0)).transpose()?.map(Timestamp);
                refill.due = self.load(&rows)?;
                return Ok(());
            }
            Routes::Only(routes) => json(routes),
            Routes::Except(except) => {
                let mut known = self.routes(ROUTES_WAITING).await?;
                known.retain(|route| !contains(except, route));
                json(&known)
            }
        };
        let query = sqlx::query(DUE_OF).bind(host_id).bind(routes.clone()).bind(now.0).bind(i64::from(*limit));
        let rows = query.fetch_all(&mut *self.conn).await?;
        refill.next_due_at = if is_full(&rows, *limit) {
            // There may be more of those that are due.
            Some(*now)
        } else {
            let query = sqlx::query(NEXT_DUE_OF).bind(host_id).bind(routes).bind(now.0);
            query.fetch_one(&mut *self.conn).await?.try_get::<Option<i64>, _>(0)?.map(Timestamp)
        };
        refill.due = self.load(&rows)?;
        Ok(())
    }

    async fn routes(&mut self, sql: &'static str) -> Result<Vec<String>, sqlx::Error> {
        let query = sqlx::query(sql).bind(i64::from(self.request.host_id.0)).bind(ROUTES_MAX);
        query.fetch_all(&mut *self.conn).await?.iter().map(|row| row.try_get(0)).collect()
    }

    fn load(&mut self, rows: &[SqliteRow]) -> Result<Vec<Loaded>, sqlx::Error> {
        let mut loaded = Vec::with_capacity(rows.len());
        for row in rows {
            match load(row)? {
                Ok(job) => loaded.push(job),
                Err(bad) => self.unreadable.push(bad),
            }
        }
        Ok(loaded)
    }
}

/// A rank as the queries compare it; before all of them when there is none.
fn bound(after: Option<Rank>) -> (i64, i64) {
    after.map_or((-1, 0), |rank| (i64::from(rank.priority.0), rank.job_id.0))
}

fn is_full(rows: &[SqliteRow], limit: u32) -> bool {
    rows.len() >= limit as usize
}

fn last_rank(rows: &[SqliteRow]) -> Result<Option<Rank>, sqlx::Error> {
    rows.last().map(|row| rank(row, 4, 0)).transpose()
}

fn rank(row: &SqliteRow, priority: usize, job_id: usize) -> Result<Rank, sqlx::Error> {
    Ok(Rank {
        // One that is out of range makes its row unreadable, which is told elsewhere.
        priority: Priority(u8::try_from(row.try_get::<i64, _>(priority)?).unwrap_or(u8::MAX)),
        job_id: JobId(row.try_get(job_id)?),
    })
}

fn contains(routes: &[Box<str>], route: &str) -> bool {
    routes.iter().any(|known| **known == *route)
}

fn is_of(routes: &[Box<str>], loaded: &Loaded) -> bool {
    contains(routes, route_of(&loaded.job.url))
}

fn json<T: Serialize + ?Sized>(routes: &T) -> String {
    serde_json::to_string(routes).expect("text is JSON")
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
    let extra: Option<String> = row.try_get(9)?;
    let origin: String = row.try_get(10)?;
    let walk = walk(row)?;
    let held = held(row)?;
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
                extra: extra
                    .map(|json| serde_json::from_str(&json))
                    .transpose()
                    .map_err(|error| format!("what its request has beside its address: {error}"))?,
                kind: JobKind::from_code(kind).ok_or_else(|| format!("its kind {kind} is not known"))?,
                source: SourceId(u32::try_from(source).map_err(|_| number("source_id"))?),
                depth: u32::try_from(depth).map_err(|_| number("depth"))?,
                priority: Priority(u8::try_from(priority).map_err(|_| number("priority"))?),
                attempt: u32::try_from(attempt).map_err(|_| number("attempt"))?,
                redirects,
                walk,
                batch: Arc::default(),
                held,
            },
            crashes: u32::try_from(crashes).map_err(|_| number("crashes"))?,
            together_max: u32::MAX,
        })
    };
    Ok(parse().map_err(|why| (id, why)))
}

/// The walk that a page of an API belongs to.
fn walk(row: &SqliteRow) -> Result<Option<Box<Walk>>, sqlx::Error> {
    let Some(slice) = row.try_get::<Option<i64>, _>(11)? else { return Ok(None) };
    let params: String = row.try_get(12)?;
    let mark: Option<String> = row.try_get(13)?;
    Ok(Some(Box::new(Walk {
        slice: SliceId(slice),
        number: row.try_get(16)?,
        restarts: row.try_get(14)?,
        // The table holds nothing but objects, and a mark that cannot be read means that all is pulled.
        params: Arc::new(serde_json::from_str(&params).unwrap_or_default()),
        mark: mark.and_then(|json| serde_json::from_str(&json).ok()),
        records: row.try_get::<i64, _>(17)?.unsigned_abs(),
        started_at: Timestamp(row.try_get(15)?),
    })))
}

/// What is held of its last answer. What a person broke by hand counts as nothing: the page is then fetched in full.
fn held(row: &SqliteRow) -> Result<Option<Arc<Held>>, sqlx::Error> {
    let Some(status) = row.try_get::<Option<u16>, _>(18)? else { return Ok(None) };
    let basis: Vec<u8> = row.try_get(20)?;
    let content: Option<Vec<u8>> = row.try_get(24)?;
    let at = |column: usize| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(Timestamp));
    let gone_at = at(26)?;
    // What the tombstone came with is not kept; these are of what was there before.
    let headers = if gone_at.is_none() { row.try_get::<Option<String>, _>(28)? } else { None };
    let interval_ms: Option<i64> = row.try_get(27)?;
    Ok(Some(Arc::new(Held {
        status,
        headers: headers.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default(),
        variant: row.try_get(19)?,
        basis: basis.try_into().unwrap_or_default(),
        requested_at: Timestamp(row.try_get(21)?),
        answered_at: Timestamp(row.try_get(22)?),
        fetched_at: Timestamp(row.try_get(23)?),
        content: content.and_then(|bytes| bytes.try_into().ok()),
        first_at: at(25)?,
        gone_at,
        interval_ms: interval_ms.map(i64::unsigned_abs),
        in_full: false,
    })))
}
