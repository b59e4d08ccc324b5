//! The limit scopes that are narrower than their host: reading them with the host, writing those that changed.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::clock::Timestamp;
use crate::job::HostId;
use crate::store::{HostRow, StoreError};
use crate::throttle::ScopeMemory;

use super::db::{Db, sorted};

macro_rules! scopes_of {
    ($hosts:literal) => {
        concat!(
            "SELECT l.host_id, l.name, l.routes, l.not_before_at, l.not_before_why, l.n_refused, l.last_refused_at, l.snapshot ",
            "FROM ",
            $hosts,
            " ORDER BY l.host_id, l.last_refused_at DESC"
        )
    };
}

/// Those of the hosts with open jobs.
pub(super) const OPEN: &str = scopes_of!(
    "host_state AS s CROSS JOIN limit_scopes AS l ON l.host_id = s.host_id WHERE s.n_ready + s.n_waiting > 0"
);

/// Those of the hosts with these numbers: $1 is a JSON array.
pub(super) const BY_ID: &str = scopes_of!("json_each($1) AS e CROSS JOIN limit_scopes AS l ON l.host_id = e.value");

/// Changed rows: $1 is a JSON array of [`ScopeRow`]s.
const UPSERT: &str = "
INSERT INTO limit_scopes
    (host_id, name, routes, not_before_at, not_before_why, n_refused, last_refused_at, rate_per_s, limit_per_s, concurrency,
     snapshot, learned, seen_at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8,
    value ->> 9, value ->> 10, value ->> 11, value ->> 12
FROM jsonb_each($1) WHERE true
ON CONFLICT (host_id, name) DO UPDATE SET
    routes = excluded.routes, not_before_at = excluded.not_before_at, not_before_why = excluded.not_before_why,
    n_refused = excluded.n_refused, last_refused_at = excluded.last_refused_at, rate_per_s = excluded.rate_per_s,
    limit_per_s = excluded.limit_per_s, concurrency = excluded.concurrency, snapshot = excluded.snapshot, learned = excluded.learned, seen_at = excluded.seen_at";

/// Rows of scopes that are no more.
const DELETE: &str = "
DELETE FROM limit_scopes WHERE (host_id, name) IN (SELECT value ->> 0, value ->> 1 FROM jsonb_each($1))";

/// host, name, routes, not before, why, refused, last refused, rate, limit, concurrency, snapshot, learned, seen at
pub(super) type ScopeRow = (
    HostId,
    Box<str>,
    String,
    Option<i64>,
    Option<String>,
    u64,
    i64,
    Option<f64>,
    Option<f64>,
    Option<f64>,
    String,
    Option<String>,
    Option<i64>,
);

/// The row of a memory; `short` cuts what the network says.
pub(super) fn row(host_id: HostId, memory: &ScopeMemory, short: impl Fn(&str) -> String + Copy) -> ScopeRow {
    let ScopeMemory { name, routes, not_before_at, not_before_why, refused_at, refused, words, snapshot } = memory;
    let known = |value: f64| (value > 0.0).then_some(value);
    (
        host_id,
        name.clone(),
        json(routes),
        (*not_before_at > Timestamp::EPOCH).then_some(not_before_at.0),
        not_before_why.as_deref().map(short),
        *refused,
        refused_at.0,
        known(snapshot.rate_per_s),
        known(snapshot.limit_per_s),
        known(snapshot.concurrency),
        json(snapshot),
        words.as_deref().map(short),
        (snapshot.seen_at > Timestamp::EPOCH).then_some(snapshot.seen_at.0),
    )
}

/// Writes the rows that changed and removes those that are no more. Nearly all batches have none of either.
pub(super) async fn write(db: &mut Db, changed: &[&ScopeRow], gone: &[(HostId, &str)]) -> Result<(), sqlx::Error> {
    if !changed.is_empty() {
        db.run(sqlx::query(UPSERT).bind(json(&changed))).await?;
    }
    if !gone.is_empty() {
        db.run(sqlx::query(DELETE).bind(json(&gone))).await?;
    }
    Ok(())
}

/// Puts the scopes of `rows` into the hosts that they belong to. What cannot be read any more is learned anew, but for an
/// embargo, which holds in any case.
pub(super) fn attach(hosts: &mut [HostRow], rows: &[SqliteRow]) -> Result<(), StoreError> {
    let mut by_host: HashMap<HostId, Vec<ScopeMemory>> = HashMap::new();
    for row in rows {
        let (host_id, memory) = read(row).map_err(sorted("read limit scopes"))?;
        by_host.entry(host_id).or_default().push(memory);
    }
    for host in hosts {
        host.scopes = by_host.remove(&host.host_id).unwrap_or_default();
    }
    Ok(())
}

fn read(row: &SqliteRow) -> Result<(HostId, ScopeMemory), sqlx::Error> {
    let routes: &str = row.try_get(2)?;
    let snapshot: &str = row.try_get(7)?;
    let memory = ScopeMemory {
        name: row.try_get::<&str, _>(1)?.into(),
        routes: serde_json::from_str(routes).unwrap_or_default(),
        not_before_at: Timestamp(row.try_get::<Option<i64>, _>(3)?.unwrap_or(0)),
        not_before_why: row.try_get(4)?,
        refused: row.try_get::<i64, _>(5)?.unsigned_abs(),
        refused_at: Timestamp(row.try_get(6)?),
        // It is worked out from the memory.
        words: None,
        snapshot: serde_json::from_str(snapshot).unwrap_or_default(),
    };
    Ok((HostId(row.try_get(0)?), memory))
}

fn json<T: Serialize + ?Sized>(rows: &T) -> String {
    serde_json::to_string(rows).expect("numbers and text are JSON")
}
