//! Slices of API streams as a batch meets and leaves them.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;
use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::clock::Timestamp;
use crate::job::{JobId, NewSlice, SliceId, SliceKey, SourceId, later_mark};
use crate::store::hex::hex;
use crate::store::{PullStep, StoreError};

use super::db::{Db, sorted};

/// What tells a slice from all others.
pub(super) type SliceIdent = (SourceId, SliceKey);

/// How far a slice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SliceState {
    Walking,
    Complete,
    Failed,
}

impl SliceState {
    fn code(self) -> i64 {
        match self {
            Self::Walking => 0,
            Self::Complete => 1,
            Self::Failed => 2,
        }
    }
}

/// A slice while a batch is worked out.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct SliceNow {
    pub(super) id: SliceId,
    pub(super) pull: i64,
    pub(super) walk: u32,
    pub(super) restarts: u32,
    pub(super) state: SliceState,
    pub(super) first_job_id: Option<JobId>,
    pub(super) mark: Option<Value>,
    pub(super) mark_seen: Option<Value>,
    pub(super) n_pages: u64,
    pub(super) n_records: u64,
    /// Pages in a row of which the walk has had all records before.
    pub(super) n_idle: u32,
    /// Whether this walk leaves something out of what there is.
    pub(super) is_cut: bool,
    pub(super) started_at: Timestamp,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) reason: Option<String>,
    /// The pull of its stream, and whether that is one of everything.
    pub(super) pull_of_source: i64,
    pub(super) is_full_pull: bool,
    /// Whether it was inserted for this batch.
    pub(super) is_new: bool,
    /// Whether the batch changes it.
    pub(super) is_changed: bool,
}

impl SliceNow {
    /// Begins the next walk of the slice.
    pub(super) fn begin_walk(&mut self, now: Timestamp) {
        self.walk = self.walk.saturating_add(1);
        self.state = SliceState::Walking;
        self.mark_seen = None;
        (self.n_pages, self.n_records, self.n_idle, self.is_cut) = (0, 0, 0, false);
        (self.started_at, self.ended_at, self.reason) = (now, None, None);
        self.is_changed = true;
    }

    /// Goes on with a walk that failed.
    pub(super) fn go_on(&mut self) {
        self.state = SliceState::Walking;
        (self.ended_at, self.reason, self.n_idle) = (None, None, 0);
        self.is_changed = true;
    }

    /// Ends the walk; what it has met counts as stored when nothing of it is missing.
    pub(super) fn end_walk(&mut self, failed: Option<&str>, now: Timestamp) {
        self.state = if failed.is_some() { SliceState::Failed } else { SliceState::Complete };
        self.reason = failed.map(str::to_owned);
        self.ended_at = Some(now);
        if failed.is_none() {
            self.keep_mark();
        }
        self.is_changed = true;
    }

    /// Everything up to the greatest value met is stored.
    pub(super) fn keep_mark(&mut self) {
        self.mark = later_mark(self.mark.take(), self.mark_seen.clone());
    }
}

macro_rules! slices_from {
    ($rest:literal) => {
        concat!(
            "SELECT s.slice_id, s.source_id, s.key, s.pull, s.walk, s.restarts, s.state, s.first_job_id, s.mark, s.mark_seen, ",
            "s.n_pages, s.n_records, s.started_at, s.ended_at, s.reason, o.pull, o.pull_full, s.n_idle, s.is_cut FROM json_each($1) AS e CROSS JOIN slices AS s ",
            $rest,
            " JOIN sources AS o ON o.source_id = s.source_id"
        )
    };
}

pub(super) const BY_ID: &str = slices_from!("ON s.slice_id = e.value");

pub(super) const BY_KEY: &str = slices_from!("ON s.source_id = e.value ->> 0 AND s.key = unhex(e.value ->> 1)");

const NEW: &str = "
INSERT INTO slices (source_id, key, params, pull, started_at)
SELECT e.value ->> 0, unhex(e.value ->> 1), e.value ->> 2,
    (SELECT pull FROM sources WHERE source_id = e.value ->> 0), $2
FROM json_each($1) AS e WHERE true
RETURNING slice_id, source_id, key, pull";

const CHANGED: &str = "
UPDATE slices SET
    pull = c.value ->> 1, walk = c.value ->> 2, restarts = c.value ->> 3, state = c.value ->> 4, first_job_id = c.value ->> 5,
    mark = c.value ->> 6, mark_seen = c.value ->> 7, n_pages = c.value ->> 8, n_records = c.value ->> 9,
    started_at = c.value ->> 10, ended_at = c.value ->> 11, reason = c.value ->> 12,
    n_idle = c.value ->> 13, is_cut = c.value ->> 14
FROM json_each($1) AS c
WHERE slices.slice_id = c.value ->> 0";

/// The slices with these numbers.
pub(super) async fn by_id(db: &mut Db, ids: &BTreeSet<SliceId>) -> Result<HashMap<SliceIdent, SliceNow>, StoreError> {
    read(db, BY_ID, ids).await
}

/// The slices that are to be walked and are in the file.
pub(super) async fn by_key(db: &mut Db, asked: &[&NewSlice]) -> Result<HashMap<SliceIdent, SliceNow>, StoreError> {
    let rows: Vec<(u32, String)> =
        asked.iter().map(|slice| (slice.source.0, hex(&SliceKey::of(&slice.params).0))).collect();
    read(db, BY_KEY, &rows).await
}

async fn read<T: Serialize + ?Sized>(
    db: &mut Db,
    sql: &'static str,
    asked: &T,
) -> Result<HashMap<SliceIdent, SliceNow>, StoreError> {
    let doing = "read the slices of a batch";
    let rows = db.rows(sqlx::query(sql).bind(json(asked))).await.map_err(sorted(doing))?;
    rows.iter().map(|row| read_row(row).map_err(sorted(doing))?).collect()
}

/// Puts slices into the file that are not there. `Err` of the inner kind when the database refuses one of them.
pub(super) async fn insert(
    db: &mut Db,
    fresh: &[&NewSlice],
    now: Timestamp,
) -> Result<HashMap<SliceIdent, SliceNow>, sqlx::Error> {
    let rows: Vec<(u32, String, String)> = fresh
        .iter()
        .map(|slice| {
            let params = serde_json::to_string(&slice.params).expect("values of JSON are JSON");
            (slice.source.0, hex(&SliceKey::of(&slice.params).0), params)
        })
        .collect();
    let mut slices = HashMap::with_capacity(rows.len());
    for row in db.rows(sqlx::query(NEW).bind(json(&rows)).bind(now.0)).await? {
        let (ident, pull) = ((SourceId(row.try_get(1)?), key_of(&row)?), row.try_get(3)?);
        let slice = SliceNow {
            id: SliceId(row.try_get(0)?),
            pull,
            walk: 1,
            restarts: 0,
            state: SliceState::Walking,
            first_job_id: None,
            mark: None,
            mark_seen: None,
            n_pages: 0,
            n_records: 0,
            n_idle: 0,
            is_cut: false,
            started_at: now,
            ended_at: None,
            reason: None,
            pull_of_source: pull,
            is_full_pull: true,
            is_new: true,
            is_changed: false,
        };
        slices.insert(ident, slice);
    }
    Ok(slices)
}

/// Writes those that have changed; the number that was met.
pub(super) async fn write(db: &mut Db, changed: &[&SliceNow]) -> Result<u64, sqlx::Error> {
    let text = |value: &Option<Value>| value.as_ref().map(Value::to_string);
    let rows: Vec<_> = changed
        .iter()
        .map(|slice| {
            (
                slice.id,
                slice.pull,
                slice.walk,
                slice.restarts,
                slice.state.code(),
                slice.first_job_id,
                text(&slice.mark),
                text(&slice.mark_seen),
                slice.n_pages,
                slice.n_records,
                slice.started_at.0,
                slice.ended_at.map(|at| at.0),
                &slice.reason,
                slice.n_idle,
                u8::from(slice.is_cut),
            )
        })
        .collect();
    db.run(sqlx::query(CHANGED).bind(json(&rows))).await
}

/// The first pull of a stream has the number that its row was made with.
const BEGIN: &str = "
UPDATE sources SET
    pull = iif(pull_started_at IS NULL, pull, pull + 1), pull_started_at = $2, pull_ended_at = NULL, seeds = NULL,
    pull_full = e.value ->> 1, full_started_at = iif(e.value ->> 1, $2, full_started_at)
FROM json_each($1) AS e WHERE sources.source_id = e.value ->> 0";

const SEEDED: &str = "
UPDATE sources SET seeds = e.value ->> 1, pull_ended_at = NULL FROM json_each($1) AS e WHERE sources.source_id = e.value ->> 0";

const END: &str = "
UPDATE sources SET pull_ended_at = $2 FROM json_each($1) AS e WHERE sources.source_id = e.value ->> 0 AND pull_ended_at IS NULL";

/// Begins pulls, before the slices of a batch are read.
pub(super) async fn begin_pulls(db: &mut Db, steps: &[PullStep], now: Timestamp) -> Result<(), StoreError> {
    let begun: Vec<(u32, u8)> = steps
        .iter()
        .filter_map(|step| match step {
            PullStep::Begin { source, full } => Some((source.0, u8::from(*full))),
            PullStep::Seeded { .. } | PullStep::End { .. } => None,
        })
        .collect();
    pull_rows(db, BEGIN, &begun, begun.len(), now).await
}

/// The other steps of pulls, after all else of a batch is written.
pub(super) async fn step_pulls(db: &mut Db, steps: &[PullStep], now: Timestamp) -> Result<(), StoreError> {
    let mut seeded: Vec<(u32, &str)> = Vec::new();
    let mut ended: Vec<(u32,)> = Vec::new();
    let mut swept: Vec<u32> = Vec::new();
    for step in steps {
        match step {
            PullStep::Begin { .. } => {}
            PullStep::Seeded { source, seeds } => seeded.push((source.0, seeds)),
            PullStep::End { source, sweep } => {
                ended.push((source.0,));
                swept.extend(sweep.then_some(source.0));
            }
        }
    }
    if !swept.is_empty() {
        sweep(db, &ended, &swept, now).await?;
    }
    pull_rows(db, SEEDED, &seeded, seeded.len(), now).await?;
    pull_rows(db, END, &ended, ended.len(), now).await
}

/// Whether the pulls of these streams are of everything, and brought all that there is.
const IS_WHOLE: &str = "
SELECT count(*) FROM json_each($1) AS e CROSS JOIN sources AS o ON o.source_id = e.value ->> 0
WHERE NOT o.pull_full OR EXISTS (
    SELECT 1 FROM slices AS s WHERE s.source_id = o.source_id AND s.pull = o.pull AND (s.state <> 1 OR s.is_cut))";

/// One read of all records of the stream, a second for a million or two, once in a pull of everything.
const SWEEP: &str = "
UPDATE items SET gone_at = $2 FROM sources AS o
WHERE items.source_id = $1 AND o.source_id = $1 AND items.pull < o.pull AND items.gone_at IS NULL";

/// Marks the records as gone that the pulls of a tree, the streams `ended`, did not bring; only where they lack nothing.
async fn sweep(db: &mut Db, ended: &[(u32,)], swept: &[u32], now: Timestamp) -> Result<(), StoreError> {
    let doing = "sweep the records that are gone";
    let rows = db.rows(sqlx::query(IS_WHOLE).bind(json(ended))).await.map_err(sorted(doing))?;
    let lacking: i64 = rows.first().map_or(Ok(1), |row| row.try_get(0)).map_err(sorted(doing))?;
    if lacking > 0 {
        tracing::info!("a pull that was not of everything, or lacks something, says of no record that it is gone");
        return Ok(());
    }
    for source in swept {
        let gone = db.run(sqlx::query(SWEEP).bind(source).bind(now.0)).await.map_err(sorted(doing))?;
        if gone > 0 {
            tracing::info!(source, "{gone} records that this pull did not bring are gone");
        }
    }
    Ok(())
}

async fn pull_rows<T: Serialize + ?Sized>(
    db: &mut Db,
    sql: &'static str,
    rows: &T,
    expected: usize,
    now: Timestamp,
) -> Result<(), StoreError> {
    if expected == 0 {
        return Ok(());
    }
    let met = db.run(sqlx::query(sql).bind(json(rows)).bind(now.0)).await.map_err(sorted("write pulls"))?;
    if usize::try_from(met) == Ok(expected) {
        return Ok(());
    }
    let why = format!("{expected} pulls have a step, and {met} were met");
    Err(StoreError::Inconsistent { table: "sources", row: "of a batch".into(), why })
}

fn json<T: Serialize + ?Sized>(rows: &T) -> String {
    serde_json::to_string(rows).expect("numbers and text are JSON")
}

fn key_of(row: &SqliteRow) -> Result<SliceKey, sqlx::Error> {
    let bytes: Vec<u8> = row.try_get(2)?;
    // The table holds no key of another length.
    Ok(SliceKey(bytes.try_into().unwrap_or([0; 16])))
}

fn read_row(row: &SqliteRow) -> Result<Result<(SliceIdent, SliceNow), StoreError>, sqlx::Error> {
    let id: i64 = row.try_get(0)?;
    let inconsistent =
        |why: &str| StoreError::Inconsistent { table: "slices", row: id.to_string(), why: why.to_owned() };
    let value = |column: usize| -> Result<Option<Value>, sqlx::Error> {
        // What a person broke by hand counts as not known: the slice is then pulled from its start.
        Ok(row.try_get::<Option<String>, _>(column)?.and_then(|text| serde_json::from_str(&text).ok()))
    };
    let state = match row.try_get::<i64, _>(6)? {
        0 => SliceState::Walking,
        1 => SliceState::Complete,
        2 => SliceState::Failed,
        _ => return Ok(Err(inconsistent("its state is not known"))),
    };
    let slice = SliceNow {
        id: SliceId(id),
        pull: row.try_get(3)?,
        walk: row.try_get(4)?,
        restarts: row.try_get(5)?,
        state,
        first_job_id: row.try_get::<Option<i64>, _>(7)?.map(JobId),
        mark: value(8)?,
        mark_seen: value(9)?,
        n_pages: row.try_get::<i64, _>(10)?.unsigned_abs(),
        n_records: row.try_get::<i64, _>(11)?.unsigned_abs(),
        n_idle: row.try_get(17)?,
        is_cut: row.try_get(18)?,
        started_at: Timestamp(row.try_get(12)?),
        ended_at: row.try_get::<Option<i64>, _>(13)?.map(Timestamp),
        reason: row.try_get(14)?,
        pull_of_source: row.try_get(15)?,
        is_full_pull: row.try_get(16)?,
        is_new: false,
        is_changed: false,
    };
    Ok(Ok(((SourceId(row.try_get(1)?), key_of(row)?), slice)))
}
