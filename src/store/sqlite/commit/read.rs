//! What a batch meets in the file, each kind in one statement.

use std::collections::{BTreeSet, HashMap, HashSet};

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::clock::Timestamp;
use crate::job::{DedupKey, HostId, JobId, JobKind, JobState, NewSlice, Origin, SliceId, SliceKey, SourceId};
use crate::store::{RobotsStep, Settlement, StoreError};

use super::gather::{Found, Gathered};
use super::known::{Known, KnownHost};
use super::{Part, Trouble, Unit};
use crate::store::sqlite::db::{Db, sorted};
use crate::store::sqlite::slice_rows::{self, SliceIdent, SliceNow};
use crate::store::sqlite::views;

/// A job that may still move.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenJob {
    pub(super) state: JobState,
    /// `JobKind::code`; not decoded, so that a job with an unknown one can be given up.
    pub(super) kind: i64,
    pub(super) source: SourceId,
    pub(super) attempt: i64,
    /// For a page of an API, where it stands.
    pub(super) slice: Option<SlicePlace>,
}

/// The slice of a page, and the walk that it is fetched for.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlicePlace {
    pub(super) ident: SliceIdent,
    pub(super) walk: u32,
}

/// A page of a slice that is in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownPage {
    pub(super) job_id: JobId,
    pub(super) state: JobState,
    pub(super) priority: u8,
    pub(super) walk: u32,
}

/// A job that was given up and is to be done once more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retried {
    pub(super) page: KnownPage,
    /// The slice that it is a page of; none for what is no page of a slice.
    pub(super) slice: Option<SliceIdent>,
}

/// A host before the batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HostBefore {
    pub(super) seq: i64,
    pub(super) n_open: i64,
}

pub(in crate::store::sqlite) const OPEN_JOBS: &str = "
SELECT j.job_id, j.state, j.kind, j.source_id, j.attempt, j.slice_id, j.walk
FROM json_each($1) AS e CROSS JOIN jobs AS j ON j.job_id = e.value WHERE j.state IN (0, 1)";

/// Pages of slices by what they request, whatever their state.
const KNOWN_PAGES: &str = "
SELECT j.job_id, j.state, j.priority, j.key, j.walk
FROM jsonb_each($1) AS e CROSS JOIN jobs AS j ON j.host_id = e.value ->> 0 AND j.key = e.value ->> 1";

/// The same by number.
const PAGES_BY_ID: &str = "
SELECT j.job_id, j.state, j.priority, j.key, j.walk FROM json_each($1) AS e CROSS JOIN jobs AS j ON j.job_id = e.value";

/// Those of these jobs that were given up: gone, dead, skipped.
const GIVEN_UP: &str = "
SELECT j.job_id, j.state, j.priority, j.key, j.walk, j.slice_id
FROM json_each($1) AS e CROSS JOIN jobs AS j ON j.job_id = e.value WHERE j.state IN (3, 4, 5)";

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

/// The jobs of the settlements that are open, with the slices of those that are pages of one: decided first, since the others
/// have no effect at all.
pub(super) async fn open_jobs(
    db: &mut Db,
    part: &Part<'_>,
) -> Result<(HashMap<JobId, OpenJob>, HashMap<SliceIdent, SliceNow>), StoreError> {
    let doing = "read the jobs of a batch";
    let ids: BTreeSet<JobId> = part
        .units
        .iter()
        .filter_map(|unit| match unit {
            Unit::Settlement(i) => Some(part.batch.settlements[*i].job_id),
            Unit::Found(_) | Unit::Slice(_) => None,
        })
        .collect();
    if ids.is_empty() {
        return Ok((HashMap::new(), HashMap::new()));
    }
    let rows = db.rows(sqlx::query(OPEN_JOBS).bind(json(&ids))).await.map_err(sorted(doing))?;
    let mut jobs = HashMap::with_capacity(rows.len());
    let mut pages: Vec<(JobId, SliceId, u32)> = Vec::new();
    for row in rows {
        let read = || -> Result<_, sqlx::Error> {
            Ok((JobId(row.try_get(0)?), row.try_get::<i64, _>(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?))
        };
        let (job_id, state, kind, source, attempt) = read().map_err(sorted(doing))?;
        if let Some(slice) = row.try_get::<Option<i64>, _>(5).map_err(sorted(doing))? {
            pages.push((job_id, SliceId(slice), row.try_get(6).map_err(sorted(doing))?));
        }
        let state = if state == JobState::Ready.code() { JobState::Ready } else { JobState::Waiting };
        jobs.insert(job_id, OpenJob { state, kind, source: SourceId(source), attempt, slice: None });
    }
    if pages.is_empty() {
        return Ok((jobs, HashMap::new()));
    }
    let slices = slice_rows::by_id(db, &pages.iter().map(|(_, slice, _)| *slice).collect()).await?;
    let idents: HashMap<SliceId, SliceIdent> = slices.iter().map(|(ident, slice)| (slice.id, *ident)).collect();
    for (job_id, slice, walk) in pages {
        if let (Some(job), Some(&ident)) = (jobs.get_mut(&job_id), idents.get(&slice)) {
            job.slice = Some(SlicePlace { ident, walk });
        }
    }
    Ok((jobs, slices))
}

/// Adds the slices that are to be walked to `slices`; those that are new are inserted.
pub(super) async fn slices(
    db: &mut Db,
    asked: &[&NewSlice],
    slices: &mut HashMap<SliceIdent, SliceNow>,
    now: Timestamp,
) -> Result<(), Trouble> {
    let is_known = |slices: &HashMap<SliceIdent, SliceNow>, slice: &NewSlice| {
        slices.contains_key(&(slice.source, SliceKey::of(&slice.params)))
    };
    let mut met = HashSet::new();
    let mut unknown: Vec<&NewSlice> = asked.iter().copied().filter(|slice| !is_known(slices, slice)).collect();
    unknown.retain(|slice| met.insert((slice.source, SliceKey::of(&slice.params))));
    if unknown.is_empty() {
        return Ok(());
    }
    slices.extend(slice_rows::by_key(db, &unknown).await?);
    unknown.retain(|slice| !is_known(slices, slice));
    if !unknown.is_empty() {
        slices.extend(slice_rows::insert(db, &unknown, now).await.map_err(Trouble::of("insert slices"))?);
    }
    Ok(())
}

/// The pages of slices among the found jobs that are in the file, and the first pages of slices that begin again.
pub(super) async fn known_pages(
    db: &mut Db,
    part: &Part<'_>,
    gathered: &Gathered<'_>,
    jobs: &HashMap<JobId, OpenJob>,
    slices: &HashMap<SliceIdent, SliceNow>,
    origins: &HashMap<Origin, KnownHost>,
) -> Result<(HashMap<(HostId, DedupKey), KnownPage>, HashMap<JobId, KnownPage>), StoreError> {
    let asked: BTreeSet<(u32, i64)> = gathered
        .found
        .iter()
        .filter(|found| found.role.slice().is_some())
        .filter_map(|found| Some((origins.get(&found.origin)?.id.0, found.key.0)))
        .collect();
    let first_page = |settlement: &Settlement| {
        settlement.walk.restart.as_ref()?;
        slices.get(&jobs.get(&settlement.job_id)?.slice?.ident)?.first_job_id
    };
    let firsts: BTreeSet<JobId> =
        gathered.applied.iter().filter_map(|&i| first_page(&part.batch.settlements[i])).collect();
    let by_request = pages(db, KNOWN_PAGES, &asked, asked.is_empty()).await?;
    let by_id = pages(db, PAGES_BY_ID, &firsts, firsts.is_empty()).await?;
    Ok((
        by_request.into_iter().map(|(key, page)| ((page.job_id.host_id(), key), page)).collect(),
        by_id.into_iter().map(|(_, page)| (page.job_id, page)).collect(),
    ))
}

/// The jobs that are to be done once more and were given up, with the slices of those that are pages of one.
pub(super) async fn retried(
    db: &mut Db,
    asked: &[JobId],
    slices: &mut HashMap<SliceIdent, SliceNow>,
) -> Result<Vec<Retried>, StoreError> {
    let doing = "read the jobs to retry";
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let asked: BTreeSet<JobId> = asked.iter().copied().collect();
    let rows = db.rows(sqlx::query(GIVEN_UP).bind(json(&asked))).await.map_err(sorted(doing))?;
    let mut retried = Vec::with_capacity(rows.len());
    for row in &rows {
        let (_, page) = page_of(row)?;
        retried.push((page, row.try_get::<Option<i64>, _>(5).map_err(sorted(doing))?.map(SliceId)));
    }
    let missing: BTreeSet<SliceId> = retried.iter().filter_map(|(_, slice)| *slice).collect();
    if !missing.is_empty() {
        for (ident, slice) in slice_rows::by_id(db, &missing).await? {
            slices.entry(ident).or_insert(slice);
        }
    }
    let idents: HashMap<SliceId, SliceIdent> = slices.iter().map(|(ident, slice)| (slice.id, *ident)).collect();
    let with_ident = |(page, slice): (KnownPage, Option<SliceId>)| match slice {
        None => Some(Retried { page, slice: None }),
        Some(slice) => Some(Retried { page, slice: Some(*idents.get(&slice)?) }),
    };
    Ok(retried.into_iter().filter_map(with_ident).collect())
}

async fn pages<T: serde::Serialize>(
    db: &mut Db,
    sql: &'static str,
    asked: &T,
    is_empty: bool,
) -> Result<Vec<(DedupKey, KnownPage)>, StoreError> {
    let doing = "read the pages of slices";
    if is_empty {
        return Ok(Vec::new());
    }
    let mut pages = Vec::new();
    for row in db.rows(sqlx::query(sql).bind(json(asked))).await.map_err(sorted(doing))? {
        pages.push(page_of(&row)?);
    }
    Ok(pages)
}

/// A row of job, state, priority, key, walk.
fn page_of(row: &SqliteRow) -> Result<(DedupKey, KnownPage), StoreError> {
    let read = || -> Result<_, sqlx::Error> {
        let walk = row.try_get::<Option<u32>, _>(4)?.unwrap_or(0);
        Ok((JobId(row.try_get(0)?), row.try_get::<i64, _>(1)?, row.try_get(2)?, DedupKey(row.try_get(3)?), walk))
    };
    let (job_id, state, priority, key, walk) = read().map_err(sorted("read the pages of slices"))?;
    Ok((key, KnownPage { job_id, state: state_of(job_id, state)?, priority, walk }))
}

pub(super) fn state_of(job_id: JobId, code: i64) -> Result<JobState, StoreError> {
    JobState::from_code(code).ok_or_else(|| StoreError::Inconsistent {
        table: "jobs",
        row: job_id.to_string(),
        why: format!("its state is {code}"),
    })
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
    row: &SqliteRow,
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
    slices: &HashMap<SliceIdent, SliceNow>,
    reopened: impl Iterator<Item = JobId>,
) -> Result<HashMap<HostId, HostBefore>, StoreError> {
    let doing = "read the hosts of a batch";
    let mut ids: BTreeSet<HostId> = origins.values().map(|host| host.id).collect();
    for &i in &gathered.applied {
        let settlement = &part.batch.settlements[i];
        ids.insert(settlement.job_id.host_id());
        ids.extend(settlement.learned.as_ref().map(|learned| learned.host_id));
        ids.extend(settlement.robots.as_ref().map(RobotsStep::host_id));
    }
    ids.extend(reopened.map(JobId::host_id));
    // A slice that begins again may have its first page elsewhere.
    ids.extend(slices.values().filter_map(|slice| slice.first_job_id).map(JobId::host_id));
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
    for found in found.iter().filter(|found| found.role.slice().is_none()) {
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

/// Makes sure that the columns of the streams are known whose records are in the batch.
pub(super) async fn columns(
    db: &mut Db,
    known: &mut Known,
    part: &Part<'_>,
    gathered: &Gathered<'_>,
    jobs: &HashMap<JobId, OpenJob>,
) -> Result<(), StoreError> {
    let with_items = gathered.applied.iter().map(|&i| &part.batch.settlements[i]).filter(|it| !it.items.is_empty());
    let pages = with_items.filter_map(|settlement| jobs.get(&settlement.job_id));
    let pages = pages.filter(|open| open.kind == JobKind::ApiPage.code());
    let nested = gathered.applied.iter().flat_map(|&i| &part.batch.settlements[i].nested).map(|(source, _)| *source);
    let unknown: BTreeSet<SourceId> =
        pages.map(|open| open.source).chain(nested).filter(|source| !known.columns.contains_key(source)).collect();
    if !unknown.is_empty() {
        known.columns.extend(views::load(db, &unknown.into_iter().collect::<Vec<_>>()).await?);
    }
    Ok(())
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
        let state = state_of(job_id, state)?;
        again.insert((job_id.host_id(), key), Again { job_id, state, priority });
    }
    Ok(again)
}
