//! Limits that are narrower than their host, and what servers declare of limits.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::clock::Timestamp;
use crate::job::{HostId, JobId};
use crate::throttle::DeclaredSnapshot;

use super::status::{count, instant};

/// A limit that is narrower than its host.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ScopeReport {
    /// Whose; it is told with its host.
    #[serde(skip)]
    pub host_id: HostId,
    /// What shares it: a path, or a resource that the server names; or the token or the proxy that it is asked by.
    pub scope: String,
    /// The embargo.
    pub not_before_at: Option<Timestamp>,
    /// Why.
    pub not_before_why: Option<String>,
    /// Requests that it refused.
    pub n_refused: u64,
    /// The pace that was learned, requests a second.
    pub rate_per_s: Option<f64>,
    /// What was learned about it, in words.
    pub learned: Option<String>,
    /// When an answer last said something about it.
    pub seen_at: Option<Timestamp>,
    /// The quotas that the server declared last; told in words, which depend on the time.
    #[serde(skip)]
    pub declared: DeclaredSnapshot,
}

macro_rules! scopes {
    ($tables:literal) => {
        concat!(
            "SELECT l.host_id, l.name, l.not_before_at, l.not_before_why, l.n_refused, l.rate_per_s, l.learned, l.seen_at, ",
            "l.snapshot -> '$.declared' FROM ",
            $tables
        )
    };
}

/// Those of the hosts with these numbers: $1 is a JSON array.
pub(in crate::store) const NARROW_OF_HOSTS: &str =
    scopes!("json_each($1) AS e CROSS JOIN limit_scopes AS l ON l.host_id = e.value ORDER BY l.host_id, l.name");

/// Those of host $1 that job $2 passes; the longest embargo first.
pub(in crate::store) const NARROW: &str = scopes!(
    "limit_scopes AS l CROSS JOIN jobs AS j ON j.job_id = $2 \
     WHERE l.host_id = $1 AND j.route IN (SELECT value FROM json_each(l.routes)) \
     ORDER BY l.not_before_at DESC NULLS LAST, l.name"
);

/// The narrow scopes of hosts.
pub(super) async fn of_hosts(conn: &mut SqliteConnection, hosts: &[HostId]) -> Result<Vec<ScopeReport>, sqlx::Error> {
    let ids = serde_json::to_string(hosts).expect("numbers are JSON");
    sqlx::query(NARROW_OF_HOSTS).bind(ids).fetch_all(conn).await?.iter().map(scope).collect()
}

/// The narrow scopes of a job.
pub(super) async fn of_job(
    conn: &mut SqliteConnection,
    host_id: HostId,
    job_id: JobId,
) -> Result<Vec<ScopeReport>, sqlx::Error> {
    sqlx::query(NARROW).bind(host_id.0).bind(job_id.0).fetch_all(conn).await?.iter().map(scope).collect()
}

/// What was declared, out of the memory of a throttle; nothing where a newer version wrote it in another form.
pub(super) fn declared(row: &SqliteRow, column: usize) -> Result<DeclaredSnapshot, sqlx::Error> {
    let json: Option<&str> = row.try_get(column)?;
    Ok(json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default())
}

fn scope(row: &SqliteRow) -> Result<ScopeReport, sqlx::Error> {
    Ok(ScopeReport {
        host_id: HostId(row.try_get(0)?),
        scope: row.try_get(1)?,
        not_before_at: instant(row, 2)?,
        not_before_why: row.try_get(3)?,
        n_refused: count(row, 4)?,
        rate_per_s: row.try_get(5)?,
        learned: row.try_get(6)?,
        seen_at: instant(row, 7)?,
        declared: declared(row, 8)?,
    })
}
