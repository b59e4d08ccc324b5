//! Writing a plan: one statement for the bodies, one script for all other tables.

use std::collections::HashSet;

use serde::Serialize;
use sqlx::Row;

use crate::clock::Timestamp;
use crate::job::HostId;
use crate::store::hex::hex;
use crate::store::{StoreError, StoredBody};

use super::Trouble;
use super::rows::{HostDelta, Plan};
use crate::store::sqlite::db::{Db, Done, sorted};
use crate::store::sqlite::{hold_rows, scope_rows, slice_rows, views};

/// Every table but `bodies`.
pub(in crate::store::sqlite) const SCRIPT: &str = include_str!("write.sql");

/// All bodies of a batch lie end to end in $2; $1 says where each begins (from 1) and how long it is.
const BODIES: &str = "
INSERT INTO bodies (hash, len, zstd)
SELECT unhex(value ->> 0), value ->> 1, substr($2, value ->> 2, value ->> 3) FROM jsonb_each($1) WHERE true
ON CONFLICT (hash) DO NOTHING";

/// A robots.txt that has not changed: rare, so a statement of its own.
const ROBOTS_CONFIRMED: &str = "
UPDATE robots SET expires_at = e.value ->> 1, headers = e.value ->> 2 FROM json_each($1) AS e WHERE host_id = e.value ->> 0";

/// Bytes of bodies in one statement; beyond it there is another. SQLite's cap on one value is 10^9.
const BODIES_BYTES_MAX: usize = 64 << 20;

/// Where the statements stand in the script whose effect is checked.
const NEW_JOBS: usize = 0;
const MOVES: usize = 1;
const HOSTS: usize = 2;

#[derive(Serialize)]
struct HostRow<'p> {
    host_id: HostId,
    #[serde(flatten)]
    delta: &'p HostDelta,
}

/// Writes a plan and returns the number of items that were new.
pub(super) async fn write(
    db: &mut Db,
    plan: &Plan,
    run_id: i64,
    last_item_id: i64,
    now: Timestamp,
) -> Result<u64, Trouble> {
    write_bodies(db, &plan.bodies).await?;

    let moves: Vec<_> = plan.moves.iter().map(|(id, row)| (id, row.0, row.1, row.2, row.3, row.4, &row.5)).collect();
    let hosts: Vec<_> = plan.hosts.iter().map(|(&host_id, delta)| HostRow { host_id, delta }).collect();
    // A source may have new items without anything else that changes.
    let with_items = plan.items.iter().map(|item| crate::job::SourceId(item.0));
    let touched: HashSet<_> = plan.sources.keys().copied().chain(with_items).collect();
    let sources: Vec<_> = touched
        .into_iter()
        .map(|source| {
            let delta = plan.sources.get(&source).copied().unwrap_or_default();
            (source, delta.found, delta.pages_done, delta.slices_open, delta.slices_failed)
        })
        .collect();

    let script = sqlx::query(SCRIPT)
        .bind(now.0)
        .bind(run_id)
        .bind(json(&plan.new_jobs))
        .bind(json(&moves))
        .bind(json(&plan.settled))
        .bind(json(&plan.sent))
        .bind(json(&plan.responses))
        .bind(json(&plan.items))
        .bind(json(&plan.attempts))
        .bind(json(&plan.robots))
        .bind(json(&hosts))
        .bind(json(&sources))
        .bind(last_item_id)
        .bind(json(&plan.totals()))
        .bind(i64::try_from(plan.new_jobs.len()).unwrap_or(i64::MAX))
        .bind(json(&plan.events));
    let done = db.script(script).await.map_err(Trouble::of("write a batch"))?;

    let mut changed = Vec::new();
    let mut items_new: i64 = 0;
    for step in done {
        match step {
            Done::Changed(rows) => changed.push(rows),
            Done::Row(row) => items_new = row.try_get(0).map_err(sorted("count new items"))?,
        }
    }
    for (statement, table, expected) in
        [(NEW_JOBS, "jobs", plan.new_jobs.len()), (MOVES, "jobs", moves.len()), (HOSTS, "host_state", hosts.len())]
    {
        let found = changed.get(statement).copied();
        if found != u64::try_from(expected).ok() {
            let why = format!("a batch has {expected} rows for it, and {} were met", found.unwrap_or(0));
            return Err(Trouble::Store(StoreError::Inconsistent { table, row: "of a batch".into(), why }));
        }
    }
    if !plan.robots_confirmed.is_empty() {
        let query = sqlx::query(ROBOTS_CONFIRMED).bind(json(&plan.robots_confirmed));
        db.run(query).await.map_err(Trouble::of("confirm robots.txt"))?;
    }
    reopen(db, plan).await?;
    write_slices(db, plan).await?;
    hold_rows::write(db, &plan.holds).await.map_err(Trouble::of("write holds"))?;
    let columns = plan.columns.iter().map(|(&source, columns)| (source, columns));
    views::write(db, columns).await.map_err(Trouble::of("make the views of streams"))?;
    let changed: Vec<_> = plan.scopes.values().flatten().collect();
    let gone = plan.scopes.iter().filter(|(_, row)| row.is_none()).map(|((host_id, name), _)| (*host_id, &**name));
    scope_rows::write(db, &changed, &gone.collect::<Vec<_>>()).await.map_err(Trouble::of("write limit scopes"))?;
    Ok(items_new.unsigned_abs())
}

/// Makes settled jobs ready once more: rare, so a statement of its own.
async fn reopen(db: &mut Db, plan: &Plan) -> Result<(), Trouble> {
    if plan.reopened.is_empty() {
        return Ok(());
    }
    let sql = "UPDATE jobs SET state = 0, due_at = NULL, attempt = 0, settled_at = NULL, reason = NULL, \
               walk = coalesce(r.value ->> 1, walk) FROM json_each($1) AS r \
               WHERE job_id = r.value ->> 0 AND state NOT IN (0, 1)";
    let changed = db.run(sqlx::query(sql).bind(json(&plan.reopened))).await.map_err(Trouble::of("reopen jobs"))?;
    if changed != u64::try_from(plan.reopened.len()).unwrap_or(u64::MAX) {
        let why = format!("{} jobs were to be reopened, and {changed} were settled", plan.reopened.len());
        return Err(Trouble::Store(StoreError::Inconsistent { table: "jobs", row: "of a batch".into(), why }));
    }
    Ok(())
}

/// What becomes of the slices of API streams.
async fn write_slices(db: &mut Db, plan: &Plan) -> Result<(), Trouble> {
    let inconsistent = |table: &'static str, expected: usize, found: u64| {
        let why = format!("a batch has {expected} rows for it, and {found} were met");
        Trouble::Store(StoreError::Inconsistent { table, row: "of a batch".into(), why })
    };
    if !plan.rewalked.is_empty() {
        let sql = "UPDATE jobs SET walk = r.value ->> 1 FROM json_each($1) AS r \
                   WHERE job_id = r.value ->> 0 AND state IN (0, 1)";
        let met = db.run(sqlx::query(sql).bind(json(&plan.rewalked))).await.map_err(Trouble::of("move pages"))?;
        if met != plan.rewalked.len() as u64 {
            return Err(inconsistent("jobs", plan.rewalked.len(), met));
        }
    }
    let changed: Vec<_> = plan.slices.values().filter(|slice| slice.is_changed).collect();
    if !changed.is_empty() {
        let met = slice_rows::write(db, &changed).await.map_err(Trouble::of("write slices"))?;
        if met != changed.len() as u64 {
            return Err(inconsistent("slices", changed.len(), met));
        }
    }
    Ok(())
}

/// Takes rows out of the inbox whose jobs are in this batch.
pub(super) async fn take(db: &mut Db, taken: &[i64]) -> Result<(), Trouble> {
    if taken.is_empty() {
        return Ok(());
    }
    let sql = "DELETE FROM inbox WHERE inbox_id IN (SELECT value FROM json_each($1))";
    db.run(sqlx::query(sql).bind(json(&taken))).await.map_err(Trouble::of("take from the inbox"))?;
    Ok(())
}

fn json<T: Serialize>(rows: &T) -> String {
    serde_json::to_string(rows).expect("rows of numbers and text are JSON")
}

async fn write_bodies(db: &mut Db, bodies: &[StoredBody]) -> Result<(), Trouble> {
    for (rows, bytes) in chunks(bodies) {
        let query = sqlx::query(BODIES).bind(json(&rows)).bind(bytes);
        db.run(query).await.map_err(Trouble::of("write bodies"))?;
    }
    Ok(())
}

/// hash, length, where it begins, how long it is
type BodyRow = (String, u64, usize, usize);

/// The distinct bodies, laid end to end; in one piece unless there are very many bytes.
fn chunks(bodies: &[StoredBody]) -> Vec<(Vec<BodyRow>, Vec<u8>)> {
    let mut met = HashSet::new();
    let mut chunks: Vec<(Vec<BodyRow>, Vec<u8>)> = Vec::new();
    for body in bodies {
        if !met.insert(body.hash) {
            continue;
        }
        if chunks.last().is_none_or(|(_, bytes)| bytes.len() + body.zstd.len() > BODIES_BYTES_MAX) {
            chunks.push((Vec::new(), Vec::new()));
        }
        if let Some((rows, bytes)) = chunks.last_mut() {
            rows.push((hex(&body.hash), body.len, bytes.len() + 1, body.zstd.len()));
            bytes.extend_from_slice(&body.zstd);
        }
    }
    chunks
}
