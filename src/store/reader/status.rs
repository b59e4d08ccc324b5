//! How far the crawl is.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::clock::Timestamp;
use crate::job::{HostId, JobId, RunId, SourceId};
use crate::store::sqlite::sorted;
use crate::store::{SourceKind, SourceName, StoreError};
use crate::throttle::DeclaredSnapshot;

use super::Reader;
use super::scopes::{self, ScopeReport};

/// The whole crawl.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ProgressReport {
    /// Jobs that may go now.
    pub n_ready: u64,
    /// Jobs that back off.
    pub n_waiting: u64,
    /// Jobs that are answered.
    pub n_done: u64,
    /// Jobs that were answered 404 or 410.
    pub n_gone: u64,
    /// Jobs that were given up.
    pub n_dead: u64,
    /// Jobs that were left out.
    pub n_skipped: u64,
    /// Requests that were sent.
    pub n_requests: u64,
    /// Of these: refused.
    pub n_refused: u64,
    /// Of these: failed.
    pub n_failed: u64,
    /// Items that are stored.
    pub n_items: u64,
    /// Bytes of bodies after decoding.
    pub bytes: u64,
    /// Jobs in flight at the last commit.
    pub n_in_flight: u64,
    /// When the last commit was made; the epoch before the first.
    pub updated_at: Timestamp,
}

/// One host.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct HostReport {
    /// Its number.
    pub host_id: HostId,
    /// Its origin.
    pub origin: String,
    /// Whether the user paused it.
    pub paused: bool,
    /// Jobs that may go now.
    pub n_ready: u64,
    /// Jobs that back off.
    pub n_waiting: u64,
    /// Jobs that are answered.
    pub n_done: u64,
    /// Jobs that were answered 404 or 410.
    pub n_gone: u64,
    /// Jobs that were given up.
    pub n_dead: u64,
    /// Jobs that were left out.
    pub n_skipped: u64,
    /// Requests that were sent.
    pub n_requests: u64,
    /// Of these: refused.
    pub n_refused: u64,
    /// Of these: failed.
    pub n_failed: u64,
    /// Bytes of bodies after decoding.
    pub bytes: u64,
    /// The embargo.
    pub not_before_at: Option<Timestamp>,
    /// Why.
    pub not_before_why: Option<String>,
    /// When the last refusal came.
    pub last_refused_at: Option<Timestamp>,
    /// The pace that was learned, requests a second.
    pub rate_per_s: Option<f64>,
    /// The host's own limit as it was measured, requests a second.
    pub limit_per_s: Option<f64>,
    /// Requests at once that were found to be fine.
    pub concurrency: Option<f64>,
    /// What was learned about its limit, in words.
    pub learned: Option<String>,
    /// When it last gave an answer that says something about its limit.
    pub seen_at: Option<Timestamp>,
    /// The quotas that it declared last; told in words, which depend on the time.
    #[serde(skip)]
    pub declared: DeclaredSnapshot,
    /// Its limits that are narrower than the host.
    pub narrow: Vec<ScopeReport>,
}

/// One section of `crawl.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceReport {
    /// Its number.
    pub id: SourceId,
    /// The section.
    pub source: SourceName,
    /// Jobs that were found for it.
    pub n_found: u64,
    /// Pages that are done.
    pub n_done: u64,
    /// Items that are stored.
    pub n_items: u64,
    /// The view that shows them as rows, for a stream.
    pub view: Option<String>,
}

/// A job that was given up.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Failure {
    /// Which.
    pub job_id: JobId,
    /// Its address.
    pub url: String,
    /// What its answer would have been read as.
    pub kind: String,
    /// The last status, if an answer came.
    pub status: Option<u16>,
    /// Failed attempts.
    pub attempt: u32,
    /// Why it was given up.
    pub reason: String,
    /// When.
    pub settled_at: Timestamp,
}

/// A start of the program.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LastRun {
    /// Its number.
    pub run_id: RunId,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended in order; none while it runs, and after a crash.
    pub ended_at: Option<Timestamp>,
    /// The process.
    pub pid: u32,
    /// The version of the program.
    pub version: String,
    /// Jobs that were in flight when the run before it died.
    pub crashed_in_flight: u64,
}

const PROGRESS: &str = "
SELECT n_ready, n_waiting, n_done, n_gone, n_dead, n_skipped, n_requests, n_refused, n_failed, n_items, bytes,
    (SELECT count(*) FROM inflight), updated_at FROM totals";

macro_rules! hosts {
    ($tables:literal) => {
        concat!(
            "SELECT s.host_id, h.origin, h.paused, s.n_ready, s.n_waiting, s.n_done, s.n_gone, s.n_dead, s.n_skipped, ",
            "s.n_requests, s.n_refused, s.n_failed, s.bytes, s.not_before_at, s.not_before_why, s.last_refused_at, ",
            "s.rate_per_s, s.limit_per_s, s.concurrency, s.learned, s.seen_at, s.snapshot -> '$.declared' FROM ",
            $tables
        )
    };
}

/// Hosts with work first; of these the ones that are blocked longest, then the ones that need longest.
pub(in crate::store) const HOSTS: &str = hosts!(
    "host_state AS s CROSS JOIN hosts AS h ON h.host_id = s.host_id \
     ORDER BY s.n_ready + s.n_waiting = 0, s.not_before_at DESC NULLS LAST, \
     (s.n_ready + s.n_waiting) / coalesce(s.rate_per_s, 1.0) DESC, s.host_id LIMIT $1"
);

/// The hosts whose origin is $1, with or without its scheme.
pub(in crate::store) const HOSTS_NAMED: &str = hosts!(
    "hosts AS h CROSS JOIN host_state AS s ON s.host_id = h.host_id \
     WHERE h.origin IN ($1, 'http://' || $1, 'https://' || $1) ORDER BY h.host_id"
);

pub(in crate::store) const FAILURES: &str = "
SELECT j.job_id, h.origin || j.request, v.kind, j.status, j.attempt, coalesce(j.reason, ''), j.settled_at
FROM jobs AS j CROSS JOIN hosts AS h ON h.host_id = j.host_id CROSS JOIN all_jobs AS v ON v.job_id = j.job_id
WHERE j.state = 4 LIMIT $1";

const LAST_RUN: &str = "
SELECT run_id, started_at, ended_at, pid, version, crashed_in_flight FROM runs ORDER BY run_id DESC LIMIT 1";

pub(super) fn count(row: &SqliteRow, column: usize) -> Result<u64, sqlx::Error> {
    Ok(row.try_get::<i64, _>(column)?.unsigned_abs())
}

pub(super) fn instant(row: &SqliteRow, column: usize) -> Result<Option<Timestamp>, sqlx::Error> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp))
}

impl Reader {
    /// How far the crawl is: one row.
    pub async fn progress(&self) -> Result<ProgressReport, StoreError> {
        let mut conn = self.conn.lock().await;
        let row = sqlx::query(PROGRESS).fetch_one(&mut *conn).await.map_err(sorted("read the progress"))?;
        let read = || -> Result<_, sqlx::Error> {
            Ok(ProgressReport {
                n_ready: count(&row, 0)?,
                n_waiting: count(&row, 1)?,
                n_done: count(&row, 2)?,
                n_gone: count(&row, 3)?,
                n_dead: count(&row, 4)?,
                n_skipped: count(&row, 5)?,
                n_requests: count(&row, 6)?,
                n_refused: count(&row, 7)?,
                n_failed: count(&row, 8)?,
                n_items: count(&row, 9)?,
                bytes: count(&row, 10)?,
                n_in_flight: count(&row, 11)?,
                updated_at: Timestamp(row.try_get(12)?),
            })
        };
        read().map_err(sorted("read the progress"))
    }

    /// At most `limit` hosts: those with work first, the blocked and the slow before the others.
    pub async fn hosts(&self, limit: u32) -> Result<Vec<HostReport>, StoreError> {
        let doing = "read the hosts";
        let mut conn = self.conn.lock().await;
        let rows = sqlx::query(HOSTS).bind(limit).fetch_all(&mut *conn).await.map_err(sorted(doing))?;
        with_narrow(&mut conn, &rows).await.map_err(sorted(doing))
    }

    /// The hosts that `name` stands for: an origin, or the part of it behind the scheme.
    pub async fn hosts_named(&self, name: &str) -> Result<Vec<HostReport>, StoreError> {
        let doing = "read the hosts";
        let mut conn = self.conn.lock().await;
        let rows = sqlx::query(HOSTS_NAMED).bind(name).fetch_all(&mut *conn).await.map_err(sorted(doing))?;
        with_narrow(&mut conn, &rows).await.map_err(sorted(doing))
    }

    /// Orders about hosts that no crawl has taken yet.
    pub async fn orders_waiting(&self) -> Result<u64, StoreError> {
        let doing = "read the inbox";
        let mut conn = self.conn.lock().await;
        let row = sqlx::query("SELECT count(*) FROM inbox WHERE what <> 'add'").fetch_one(&mut *conn);
        count(&row.await.map_err(sorted(doing))?, 0).map_err(sorted(doing))
    }

    /// All sections of `crawl.toml` that ever had a run.
    pub async fn sources(&self) -> Result<Vec<SourceReport>, StoreError> {
        let doing = "read the sources";
        let mut conn = self.conn.lock().await;
        let sql = "SELECT source_id, kind, name, n_found, n_done, n_items, view FROM sources ORDER BY source_id";
        let rows = sqlx::query(sql).fetch_all(&mut *conn).await.map_err(sorted(doing))?;
        let read = |row: &SqliteRow| -> Result<_, sqlx::Error> {
            let kind = if row.try_get::<&str, _>(1)? == "api" { SourceKind::Api } else { SourceKind::Site };
            Ok(SourceReport {
                id: SourceId(row.try_get(0)?),
                source: SourceName { kind, name: row.try_get(2)? },
                n_found: count(row, 3)?,
                n_done: count(row, 4)?,
                n_items: count(row, 5)?,
                view: row.try_get(6)?,
            })
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(sorted(doing))
    }

    /// At most `limit` jobs that were given up, by host.
    pub async fn failures(&self, limit: u32) -> Result<Vec<Failure>, StoreError> {
        let doing = "read the failures";
        let mut conn = self.conn.lock().await;
        let rows = sqlx::query(FAILURES).bind(limit).fetch_all(&mut *conn).await.map_err(sorted(doing))?;
        let read = |row: &SqliteRow| -> Result<_, sqlx::Error> {
            Ok(Failure {
                job_id: JobId(row.try_get(0)?),
                url: row.try_get(1)?,
                kind: row.try_get::<Option<String>, _>(2)?.unwrap_or_default(),
                status: row.try_get(3)?,
                attempt: row.try_get(4)?,
                reason: row.try_get(5)?,
                settled_at: Timestamp(row.try_get(6)?),
            })
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(sorted(doing))
    }

    /// The latest start of the program; none when only seeds were added.
    pub async fn last_run(&self) -> Result<Option<LastRun>, StoreError> {
        let doing = "read the last run";
        let mut conn = self.conn.lock().await;
        let row = sqlx::query(LAST_RUN).fetch_optional(&mut *conn).await.map_err(sorted(doing))?;
        let read = |row: &SqliteRow| -> Result<_, sqlx::Error> {
            Ok(LastRun {
                run_id: RunId(row.try_get(0)?),
                started_at: Timestamp(row.try_get(1)?),
                ended_at: instant(row, 2)?,
                pid: row.try_get(3)?,
                version: row.try_get(4)?,
                crashed_in_flight: count(row, 5)?,
            })
        };
        row.as_ref().map(read).transpose().map_err(sorted(doing))
    }
}

async fn with_narrow(conn: &mut SqliteConnection, rows: &[SqliteRow]) -> Result<Vec<HostReport>, sqlx::Error> {
    let mut hosts = rows.iter().map(host).collect::<Result<Vec<_>, _>>()?;
    let ids: Vec<HostId> = hosts.iter().map(|host| host.host_id).collect();
    for scope in scopes::of_hosts(conn, &ids).await? {
        if let Some(host) = hosts.iter_mut().find(|host| host.host_id == scope.host_id) {
            host.narrow.push(scope);
        }
    }
    Ok(hosts)
}

fn host(row: &SqliteRow) -> Result<HostReport, sqlx::Error> {
    Ok(HostReport {
        host_id: HostId(row.try_get(0)?),
        origin: row.try_get(1)?,
        paused: row.try_get(2)?,
        n_ready: count(row, 3)?,
        n_waiting: count(row, 4)?,
        n_done: count(row, 5)?,
        n_gone: count(row, 6)?,
        n_dead: count(row, 7)?,
        n_skipped: count(row, 8)?,
        n_requests: count(row, 9)?,
        n_refused: count(row, 10)?,
        n_failed: count(row, 11)?,
        bytes: count(row, 12)?,
        not_before_at: instant(row, 13)?,
        not_before_why: row.try_get(14)?,
        last_refused_at: instant(row, 15)?,
        rate_per_s: row.try_get(16)?,
        limit_per_s: row.try_get(17)?,
        concurrency: row.try_get(18)?,
        learned: row.try_get(19)?,
        seen_at: instant(row, 20)?,
        declared: scopes::declared(row, 21)?,
        narrow: Vec::new(),
    })
}
