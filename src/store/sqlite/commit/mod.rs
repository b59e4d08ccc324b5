//! The commit: one transaction for a whole batch, or nothing.
//!
//! First it is read what the batch meets (which jobs are still open, which hosts and requests are known), then it is worked
//! out in memory what changes ([`plan`]), then it is written, each table in one statement. A batch that breaks a
//! constraint is rolled back and searched by halves, in transactions that are rolled back, until the one outcome that does
//! it is found; its job is marked dead, and the rest is committed.

mod gather;
mod holds;
mod items;
mod known;
mod plan;
mod read;
mod rows;
mod walks;
mod write;

pub(super) use known::Known;
#[cfg(test)]
pub(super) use {holds::CONFIRMED, items::IDLE, items::STORED, read::KNOWN_REQUESTS, read::OPEN_JOBS, write::SCRIPT};

use std::collections::BTreeMap;

use sqlx::Row;

use crate::clock::Timestamp;
use crate::job::{HashKey, JobId};
use crate::store::{Ack, Batch, JobMove, RecrawlStep, Settlement, SlicesAck, StoreError};

use super::db::{Db, refusal, sorted};
use super::{Writer, hold_rows, host_rows, slice_rows};
use known::Learned;

/// What a batch is made of, for the search for the one that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Unit {
    /// `batch.found[i]`
    Found(usize),
    /// `batch.slices[i]`
    Slice(usize),
    /// `batch.settlements[i]`
    Settlement(usize),
}

/// Why a transaction did not come to its end.
#[derive(Debug)]
enum Trouble {
    /// Nothing about this batch: the file, the disk, another process.
    Store(StoreError),
    /// The database refused a row; which one is not known.
    Refused(String),
    /// This one cannot be stored.
    RefusedUnit(Unit, String),
}

impl Trouble {
    /// Sorts what a statement that writes rows of the batch returned.
    fn of(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |error| match refusal(&error) {
            Some(why) => Self::Refused(why),
            None => Self::Store(sorted(doing)(error)),
        }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The part of a batch that a transaction is about.
struct Part<'b> {
    batch: &'b Batch,
    units: &'b [Unit],
    /// Those that are known to be refused, and why: a settlement only marks its job dead, a found job is left out.
    bad: &'b BTreeMap<Unit, String>,
    /// Whether what belongs to no unit (sent jobs, what was learned without an outcome) is written too.
    rest: bool,
}

/// How a transaction ends when nothing is wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    /// It was only to see whether it could be.
    Rollback,
}

/// Commits a batch. After an error nothing of it is in the file.
pub(super) async fn commit(writer: &mut Writer, hash_key: &HashKey, batch: &Batch) -> Result<Ack, StoreError> {
    let units = units(batch);
    let mut bad = BTreeMap::new();
    loop {
        let part = Part { batch, units: &units, bad: &bad, rest: true };
        match transact(writer, hash_key, &part, End::Commit).await {
            Ok(ack) => return Ok(ack),
            Err(Trouble::Store(error)) => return Err(error),
            Err(Trouble::RefusedUnit(unit, why)) => {
                bad.insert(unit, why);
            }
            Err(Trouble::Refused(why)) => {
                let (unit, why) = isolate(writer, hash_key, batch, &units, &bad, why).await?;
                bad.insert(unit, why);
            }
        }
    }
}

fn units(batch: &Batch) -> Vec<Unit> {
    let found = (0..batch.found.len()).map(Unit::Found);
    let slices = (0..batch.slices.len()).map(Unit::Slice);
    found.chain(slices).chain((0..batch.settlements.len()).map(Unit::Settlement)).collect()
}

/// Finds one unit that is refused, with at most log2(units) transactions that are rolled back.
async fn isolate(
    writer: &mut Writer,
    hash_key: &HashKey,
    batch: &Batch,
    units: &[Unit],
    bad: &BTreeMap<Unit, String>,
    mut why: String,
) -> Result<(Unit, String), StoreError> {
    let suspects: Vec<Unit> = units.iter().copied().filter(|unit| !bad.contains_key(unit)).collect();
    let mut suspects = suspects.as_slice();
    loop {
        let (half, rest) = suspects.split_at(suspects.len().div_ceil(2));
        if half.is_empty() {
            // Nothing of the batch is left that could be left out.
            return Err(StoreError::Inconsistent { table: "batch", row: "all".into(), why });
        }
        match transact(writer, hash_key, &Part { batch, units: half, bad, rest: false }, End::Rollback).await {
            Err(Trouble::Store(error)) => return Err(error),
            Err(Trouble::RefusedUnit(unit, why)) => return Ok((unit, why)),
            Err(Trouble::Refused(found)) => {
                why = found;
                suspects = half;
            }
            // With no other half, the unit is only refused together with what is in `rest`; it is given up all the same.
            Ok(_) if rest.is_empty() => {}
            Ok(_) => suspects = rest,
        }
        if let [unit] = suspects {
            return Ok((*unit, why));
        }
    }
}

async fn transact(writer: &mut Writer, hash_key: &HashKey, part: &Part<'_>, end: End) -> Result<Ack, Trouble> {
    let doing = "commit a batch";
    writer.db.begin().await.map_err(sorted(doing))?;
    let run_id = writer.run_id;
    match inside(writer, run_id, hash_key, part).await {
        Ok((ack, learned)) if end == End::Commit => {
            if let Err(error) = writer.db.commit().await {
                let _ = writer.db.rollback().await;
                return Err(sorted(doing)(error).into());
            }
            writer.known.remember(learned);
            Ok(ack)
        }
        Ok((ack, _)) => {
            writer.db.rollback().await.map_err(sorted(doing))?;
            Ok(ack)
        }
        Err(trouble) => {
            // The next transaction rolls back anyway; what failed first is what matters.
            let _ = writer.db.rollback().await;
            Err(trouble)
        }
    }
}

/// Applies a batch inside a transaction that is open already.
pub(super) async fn apply_inside(
    writer: &mut Writer,
    run_id: i64,
    hash_key: &HashKey,
    batch: &Batch,
) -> Result<(), StoreError> {
    let units = units(batch);
    let part = Part { batch, units: &units, bad: &BTreeMap::new(), rest: true };
    match inside(writer, run_id, hash_key, &part).await {
        Ok(_) => Ok(()),
        Err(Trouble::Store(error)) => Err(error),
        Err(Trouble::Refused(why) | Trouble::RefusedUnit(_, why)) => {
            Err(StoreError::Inconsistent { table: "jobs", row: "of a batch".into(), why })
        }
    }
}

/// Marks jobs dead whose rows cannot be read.
pub(super) async fn bury(
    writer: &mut Writer,
    hash_key: &HashKey,
    unreadable: &[(JobId, String)],
    now: Timestamp,
) -> Result<(), StoreError> {
    let settlements = unreadable
        .iter()
        .map(|(job_id, why)| {
            Settlement::bare(*job_id, JobMove::Dead(format!("its row in the database cannot be read: {why}")))
        })
        .collect();
    for (job_id, why) in unreadable {
        tracing::error!("job {job_id} cannot be read and was given up: {why}");
    }
    commit(writer, hash_key, &Batch { settlements, now, ..Batch::default() }).await.map(|_| ())
}

/// Fails when another process took the file over; the highest item number otherwise.
pub(super) async fn check_owner(db: &mut Db, ours: i64) -> Result<i64, StoreError> {
    let doing = "check whose file it is";
    let sql = "SELECT run_epoch, (SELECT coalesce(max(item_id), 0) FROM items) FROM meta";
    let rows = db.rows(sqlx::query(sql)).await.map_err(sorted(doing))?;
    let found: i64 = rows.first().map_or(Ok(-1), |row| row.try_get(0)).map_err(sorted(doing))?;
    if found != ours {
        return Err(StoreError::TakenOver { ours, found });
    }
    rows.first().map_or(Ok(0), |row| row.try_get(1)).map_err(sorted(doing))
}

async fn inside(
    writer: &mut Writer,
    run_id: i64,
    hash_key: &HashKey,
    part: &Part<'_>,
) -> Result<(Ack, Learned), Trouble> {
    let Writer { db, known, .. } = writer;
    let last_item_id = check_owner(db, run_id).await?;
    if part.rest {
        slice_rows::begin_pulls(db, &part.batch.pulls, part.batch.now).await?;
    }
    let due = if part.rest { hold_rows::due(db, &part.batch.recrawls).await? } else { Vec::new() };
    let (jobs, mut slices) = read::open_jobs(db, part).await?;
    let gathered = gather::gather(part, &jobs, hash_key)?;
    let retried = if part.rest { read::retried(db, &part.batch.retried, &mut slices).await? } else { Vec::new() };
    let confirmed = holds::confirmed(db, part, &gathered, &jobs).await?;
    let origins = read::origins(db, known, &gathered.found, part.batch.now).await?;
    read::slices(db, &gathered.slices, &mut slices, part.batch.now).await?;
    let reopened = confirmed.values().filter_map(|page| Some(page.next?.job_id));
    let reopened = reopened.chain(due.iter().map(|page| page.job_id)).chain(retried.iter().map(|job| job.page.job_id));
    let hosts = read::hosts(db, part, &gathered, &origins, &slices, reopened).await?;
    let known_requests = read::known_requests(db, known, &gathered.found, &origins).await?;
    let again = read::settled_again(db, &gathered.found, &origins).await?;
    let (pages, first_pages) = read::known_pages(db, part, &gathered, &jobs, &slices, &origins).await?;
    let named = hold_rows::named(db, &gather::named(&gathered.found, &origins)).await?;
    let items = items::met(db, part, &gathered, &jobs, &slices).await?;
    read::columns(db, known, part, &gathered, &jobs).await?;
    let met = plan::Met {
        jobs: &jobs,
        origins: &origins,
        hosts: &hosts,
        known_requests: &known_requests,
        again: &again,
        pages: &pages,
        first_pages: &first_pages,
        confirmed: &confirmed,
        due: &due,
        named: &named,
        retried: &retried,
        columns: &known.columns,
        items: &items,
    };
    let mut plan = plan::plan(part, &gathered, &met, slices)?;
    let items_new = write::write(db, &plan, run_id, last_item_id, part.batch.now).await?;
    if part.rest {
        write::take(db, &part.batch.taken).await?;
        slice_rows::step_pulls(db, &part.batch.pulls, part.batch.now).await?;
    }

    let slices_acks = plan.sources.iter().filter(|(_, delta)| delta.slices_open != 0);
    let slices_acks = slices_acks.map(|(&id, delta)| (id, SlicesAck { opened: delta.slices_open })).collect();
    let mut ack = plan.ack;
    ack.slices = slices_acks;
    ack.items_new = items_new;
    if part.rest {
        let asked = part.batch.recrawls.iter().map(RecrawlStep::source);
        for (source, next_at) in hold_rows::next_due(db, asked).await? {
            let reopened = ack.recrawls.entry(source).or_default().reopened.get_or_insert_default();
            reopened.next_at = next_at;
        }
    }
    ack.new_hosts = host_rows::by_id(db, &plan.new_hosts).await?;
    let learned = Learned {
        jobs: gathered
            .found
            .iter()
            .filter(|found| found.role.slice().is_none())
            .filter_map(|found| Some((origins.get(&found.origin)?.id, found.key)))
            .collect(),
        origins,
        columns: std::mem::take(&mut plan.columns),
    };
    Ok((ack, learned))
}
