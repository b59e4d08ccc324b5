//! What a batch meets in the file, each kind in one statement.

use std::collections::{BTreeSet, HashMap, HashSet};

use sqlx::Row;

use crate::clock::Timestamp;
use crate::job::{DedupKey, HostId, JobId, JobState, Origin, SourceId};
use crate::store::StoreError;

use super::gather::{Found, Gathered};
use super::known::{Known, KnownHost};
use super::{Part, Trouble, Unit};
use crate::store::sqlite::db::{Db, sorted};

/// A job that may still move.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenJob {
    pub(super) state: JobState,
    /// `JobKind::code`; not decoded, so that a job with an unknown one can be given up.
    pub(super) kind: i64,
    pub(super) source: SourceId,
    pub(super) attempt: i64,
}

/// A host before the batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HostBefore {
    pub(super) seq: i64,
    pub(super) n_open: i64,
}

pub(in crate::store::sqlite) const OPEN_JOBS: &str = "
SELECT j.job_id, j.state, j.kind, j.source_id, j.attempt
FROM json_each($1) AS e CROSS JOIN jobs AS j ON j.job_id = e.value WHERE j.state IN (0, 1)";

/// Settled jobs that are asked for again.
const SETTLED_AGAIN: &str = "
SELECT j.job_id, j.state, j.priority, j.key
FROM jsonb_each($1) AS e CROSS JOIN jobs AS j ON j.host_id = e.value ->> 0 AND j.key = e.value ->> 1
WHERE j.state NOT IN (0, 1)";

const ORIGINS: &str = "
SELECT h.origin, h.host_id, h.private_ok FROM json_each($1) AS e CROSS JOIN hosts AS h ON h.origin = e.value";

const NEW_ORIGINS: &str = "
INSERT INTO hosts (origin, private_ok, first_seen_at)
SELECT value ->> 0, value ->> 1, $2 FROM json_each($1) WHERE true RETURNING origin, host_id, private_ok";

const NEW_STATES: &str = "INSERT INTO host_state (host_id) SELECT value FROM json_each($1)";

const LIFT_PRIVATE: &str = "UPDATE hosts SET private_ok = 1 WHERE host_id IN (SELECT value FROM json_each($1))";

const HOSTS: &str = "
SELECT s.host_id, s.seq, s.n_ready + s.n_waiting
FROM json_each($1) AS e CROSS JOIN host_state AS s ON s.host_id = e.value";

pub(in crate::store::sqlite) const KNOWN_REQUESTS: &str = "
SELECT j.host_id, j.key
FROM jsonb_each($1) AS e CROSS JOIN jobs AS j ON j.host_id = e.value ->> 0 AND j.key = e.value ->> 1";

fn json<T: serde::Serialize>(rows: &T) -> String {
    serde_json::to_string(rows).expect("numbers and text are JSON")
}

/// The jobs of the settlements that are open: decided first, since the others have no effect at all.
pub(super) async fn open_jobs(db: &mut Db, part: &Part<'_>) -> Result<HashMap<JobId, OpenJob>, StoreError> {
    let doing = "read the jobs of a batch";
    let ids: BTreeSet<JobId> = part
        .units
        .iter()
        .filter_map(|unit| match unit {
            Unit::Settlement(i) => Some(part.batch.settlements[*i].job_id),
            Unit::Found(_) => None,
        })
        .collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = db.rows(sqlx::query(OPEN_JOBS).bind(json(&ids))).await.map_err(sorted(doing))?;
    let mut jobs = HashMap::with_capacity(rows.len());
    for row in rows {
        let read = || -> Result<_, sqlx::Error> {
            Ok((JobId(row.try_get(0)?), row.try_get::<i64, _>(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?))
        };
        let (job_id, state, kind, source, attempt) = read().map_err(sorted(doing))?;
        let state = if state == JobState::Ready.code() { JobState::Ready } else { JobState::Waiting };
        jobs.insert(job_id, OpenJob { state, kind, source: SourceId(source), attempt });
    }
    Ok(jobs)
}

/// The hosts of the found jobs; those that are new are inserted.
pub(super) async fn origins(
    db: &mut Db,
    known: &mut Known,
    found: &[Found<'_>],
    now: Timestamp,
) -> Result<HashMap<Origin, KnownHost>, Trouble> {
    let doing = "read the hosts of found jobs";
    let mut origins: HashMap<Origin, KnownHost> = HashMap::new();
    // Whether the first job that names it, or any seed, allows private addresses.
    let mut missing: HashMap<&Origin, bool> = HashMap::new();
    let mut order: Vec<&Origin> = Vec::new();
    let mut allowed: HashSet<&Origin> = HashSet::new();
    for found in found {
        let is_seed_of_user = found.job.parent.is_none() && found.job.private_ok;
        if is_seed_of_user {
            allowed.insert(&found.origin);
        }
        if origins.contains_key(&found.origin) {
            continue;
        }
        if let Some(private_ok) = missing.get_mut(&found.origin) {
            *private_ok |= is_seed_of_user;
        } else if let Some(host) = known.host(&found.origin) {
            origins.insert(found.origin.clone(), host);
        } else {
            missing.insert(&found.origin, found.job.private_ok);
            order.push(&found.origin);
        }
    }
    let asked: HashMap<&str, &Origin> = order.iter().map(|&origin| (origin.as_str(), origin)).collect();
    if !missing.is_empty() {
        for row in db.rows(sqlx::query(ORIGINS).bind(json(&order))).await.map_err(sorted(doing))? {
            insert_origin(&mut origins, &asked, &row).map_err(sorted(doing))?;
        }
        order.retain(|origin| !origins.contains_key(*origin));
    }
    if !order.is_empty() {
        let rows: Vec<(&Origin, i64)> = order.iter().map(|&origin| (origin, i64::from(missing[origin]))).collect();
        let inserted = db
            .rows(sqlx::query(NEW_ORIGINS).bind(json(&rows)).bind(now.0))
            .await
            .map_err(Trouble::of("insert hosts"))?;
        let mut ids = Vec::with_capacity(inserted.len());
        for row in inserted {
            ids.push(insert_origin(&mut origins, &asked, &row).map_err(sorted(doing))?);
        }
        db.run(sqlx::query(NEW_STATES).bind(json(&ids))).await.map_err(Trouble::of("insert hosts"))?;
    }
    let mut lifted = Vec::new();
    for origin in allowed {
        if let Some(host) = origins.get_mut(origin).filter(|host| !host.private_ok) {
            host.private_ok = true;
            lifted.push(host.id);
        }
    }
    if !lifted.is_empty() {
        db.run(sqlx::query(LIFT_PRIVATE).bind(json(&lifted))).await.map_err(sorted(doing))?;
    }
    Ok(origins)
}

fn insert_origin(
    origins: &mut HashMap<Origin, KnownHost>,
    asked: &HashMap<&str, &Origin>,
    row: &sqlx::sqlite::SqliteRow,
) -> Result<HostId, sqlx::Error> {
    let text: &str = row.try_get(0)?;
    let id = HostId(row.try_get(1)?);
    let private_ok = row.try_get(2)?;
    if let Some(&origin) = asked.get(text) {
        origins.insert(origin.clone(), KnownHost { id, private_ok });
    }
    Ok(id)
}

/// All hosts that the batch touches. One that is not in the file is left out.
pub(super) async fn hosts(
    db: &mut Db,
    part: &Part<'_>,
    gathered: &Gathered<'_>,
    origins: &HashMap<Origin, KnownHost>,
) -> Result<HashMap<HostId, HostBefore>, StoreError> {
    let doing = "read the hosts of a batch";
    let mut ids: BTreeSet<HostId> = origins.values().map(|host| host.id).collect();
    for &i in &gathered.applied {
        let settlement = &part.batch.settlements[i];
        ids.insert(settlement.job_id.host_id());
        ids.extend(settlement.learned.as_ref().map(|learned| learned.host_id));
        ids.extend(settlement.robots.as_ref().map(|robots| robots.host_id));
    }
    if part.rest {
        ids.extend(part.batch.learned.iter().map(|learned| learned.host_id));
    }
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let mut hosts = HashMap::with_capacity(ids.len());
    for row in db.rows(sqlx::query(HOSTS).bind(json(&ids))).await.map_err(sorted(doing))? {
        let read = || -> Result<_, sqlx::Error> {
            Ok((HostId(row.try_get(0)?), HostBefore { seq: row.try_get(1)?, n_open: row.try_get(2)? }))
        };
        let (id, before) = read().map_err(sorted(doing))?;
        hosts.insert(id, before);
    }
    Ok(hosts)
}

/// The requests of the found jobs that are in the file.
pub(super) async fn known_requests(
    db: &mut Db,
    known: &mut Known,
    found: &[Found<'_>],
    origins: &HashMap<Origin, KnownHost>,
) -> Result<HashSet<(HostId, DedupKey)>, StoreError> {
    let doing = "read which requests are known";
    let mut known_requests = HashSet::new();
    let mut unsure = BTreeSet::new();
    for found in found {
        let Some(host) = origins.get(&found.origin) else { continue };
        if known.has_job(host.id, found.key) {
            known_requests.insert((host.id, found.key));
        } else {
            unsure.insert((host.id, found.key));
        }
    }
    if unsure.is_empty() {
        return Ok(known_requests);
    }
    // In the order of the index, so that neighbours are read together.
    let rows: Vec<(u32, i64)> = unsure.into_iter().map(|(host_id, key)| (host_id.0, key.0)).collect();
    for row in db.rows(sqlx::query(KNOWN_REQUESTS).bind(json(&rows))).await.map_err(sorted(doing))? {
        let read = || -> Result<_, sqlx::Error> { Ok((HostId(row.try_get(0)?), DedupKey(row.try_get(1)?))) };
        known_requests.insert(read().map_err(sorted(doing))?);
    }
    Ok(known_requests)
}

/// A settled job that becomes ready once more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again {
    pub(super) job_id: JobId,
    pub(super) state: JobState,
    pub(super) priority: u8,
}

/// The settled jobs that the batch asks for again, by what they request.
pub(super) async fn settled_again(
    db: &mut Db,
    found: &[Found<'_>],
    origins: &HashMap<Origin, KnownHost>,
) -> Result<HashMap<(HostId, DedupKey), Again>, StoreError> {
    let doing = "read the settled jobs of a batch";
    let asked = found.iter().filter(|found| found.job.again);
    let rows: BTreeSet<(u32, i64)> =
        asked.filter_map(|found| Some((origins.get(&found.origin)?.id.0, found.key.0))).collect();
    let mut again = HashMap::new();
    if rows.is_empty() {
        return Ok(again);
    }
    for row in db.rows(sqlx::query(SETTLED_AGAIN).bind(json(&rows))).await.map_err(sorted(doing))? {
        let read = || -> Result<_, sqlx::Error> {
            Ok((JobId(row.try_get(0)?), row.try_get::<i64, _>(1)?, row.try_get(2)?, DedupKey(row.try_get(3)?)))
        };
        let (job_id, state, priority, key) = read().map_err(sorted(doing))?;
        let state = JobState::from_code(state).ok_or_else(|| StoreError::Inconsistent {
            table: "jobs",
            row: job_id.to_string(),
            why: format!("its state is {state}"),
        })?;
        again.insert((job_id.host_id(), key), Again { job_id, state, priority });
    }
    Ok(again)
}
