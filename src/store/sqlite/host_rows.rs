//! Hosts as the dispatcher needs them.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::clock::Timestamp;
use crate::job::{HostId, Origin};
use crate::store::{HostRow, RobotsRecord, StoreError};

use super::db::{Db, sorted};
use super::scope_rows;

macro_rules! host_rows_where {
    ($condition:literal) => {
        concat!(
            "SELECT s.host_id, h.origin, h.private_ok, h.paused, s.n_ready, s.n_waiting, ",
            "(SELECT min(j.due_at) FROM jobs AS j WHERE j.host_id = s.host_id AND j.state = 1), ",
            "s.not_before_at, s.snapshot, ",
            "r.fetched_at, r.status, r.body, r.disallow_all, r.expires_at, r.headers ",
            "FROM host_state AS s CROSS JOIN hosts AS h ON h.host_id = s.host_id ",
            "LEFT JOIN robots AS r ON r.host_id = s.host_id WHERE ",
            $condition
        )
    };
}

/// Hosts with open jobs.
pub(super) const OPEN: &str = host_rows_where!("s.n_ready + s.n_waiting > 0");

/// Hosts by number: $1 is a JSON array.
pub(super) const BY_ID: &str = host_rows_where!("s.host_id IN (SELECT value FROM json_each($1))");

/// The hosts with open jobs.
pub(super) async fn open(db: &mut Db) -> Result<Vec<HostRow>, StoreError> {
    let rows = db.rows(sqlx::query(OPEN)).await.map_err(sorted("read hosts"))?;
    let scopes = db.rows(sqlx::query(scope_rows::OPEN)).await.map_err(sorted("read limit scopes"))?;
    with_scopes(&rows, &scopes)
}

/// The hosts with these numbers.
pub(super) async fn by_id(db: &mut Db, ids: &[HostId]) -> Result<Vec<HostRow>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids = serde_json::to_string(ids).expect("numbers are JSON");
    let rows = db.rows(sqlx::query(BY_ID).bind(ids.clone())).await.map_err(sorted("read hosts"))?;
    let scopes = db.rows(sqlx::query(scope_rows::BY_ID).bind(ids)).await.map_err(sorted("read limit scopes"))?;
    with_scopes(&rows, &scopes)
}

/// The hosts of rows of the queries above, with their narrow scopes.
pub(super) fn with_scopes(rows: &[SqliteRow], scopes: &[SqliteRow]) -> Result<Vec<HostRow>, StoreError> {
    let mut hosts = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    scope_rows::attach(&mut hosts, scopes)?;
    Ok(hosts)
}

/// A host from a row of one of the queries above.
fn read(row: &SqliteRow) -> Result<HostRow, StoreError> {
    read_columns(row).map_err(sorted("read hosts"))?
}

fn read_columns(row: &SqliteRow) -> Result<Result<HostRow, StoreError>, sqlx::Error> {
    let number: i64 = row.try_get(0)?;
    let text: String = row.try_get(1)?;
    let inconsistent = |why: String| StoreError::Inconsistent { table: "hosts", row: number.to_string(), why };
    let Ok(host_id) = u32::try_from(number).map(HostId) else {
        return Ok(Err(inconsistent("its number is out of range".into())));
    };
    let Some(origin) = url::Url::parse(&text).ok().as_ref().and_then(Origin::of).filter(|found| found.as_str() == text)
    else {
        return Ok(Err(inconsistent(format!("{text} is not an origin"))));
    };
    let robots = match row.try_get::<Option<i64>, _>(9)? {
        None => None,
        Some(fetched_at) => Some(RobotsRecord {
            host_id,
            status: row.try_get::<Option<i64>, _>(10)?.and_then(|status| u16::try_from(status).ok()),
            body: row.try_get(11)?,
            disallow_all: row.try_get(12)?,
            fetched_at: Timestamp(fetched_at),
            expires_at: Timestamp(row.try_get(13)?),
            // What cannot be read is asked for in full.
            headers: row
                .try_get::<Option<String>, _>(14)?
                .and_then(|json| serde_json::from_str(&json).ok())
                .unwrap_or_default(),
        }),
    };
    Ok(Ok(HostRow {
        host_id,
        origin,
        private_ok: row.try_get(2)?,
        paused: row.try_get(3)?,
        n_ready: row.try_get::<i64, _>(4)?.unsigned_abs(),
        n_waiting: row.try_get::<i64, _>(5)?.unsigned_abs(),
        next_due_at: row.try_get::<Option<i64>, _>(6)?.map(Timestamp),
        not_before_at: Timestamp(row.try_get::<Option<i64>, _>(7)?.unwrap_or(0)),
        // What cannot be read any more is learned anew.
        snapshot: row.try_get::<Option<String>, _>(8)?.and_then(|json| serde_json::from_str(&json).ok()),
        robots,
        scopes: Vec::new(),
    }))
}
