//! What is known about the records of a batch: parts of records that are stored already, and pages that bring nothing.
//!
//! A page costs one look-up of its first record, unless its walk has had that one before. The records of a stream that merges are
//! all looked up.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::job::{ItemKey, JobId, Merge, SliceId, SourceId, merge_deep};
use crate::store::hex::hex;
use crate::store::sqlite::db::{Db, sorted};
use crate::store::sqlite::slice_rows::{SliceIdent, SliceNow};
use crate::store::{JobMove, Settlement, StoreError};

use super::Part;
use super::gather::Gathered;
use super::read::OpenJob;

/// What a batch meets of its records.
#[derive(Default)]
pub(super) struct MetItems {
    /// By the number of the settlement: its records as they are to be stored, for streams that merge.
    pub(super) merged: HashMap<usize, Vec<Value>>,
    /// Settlements of pages that have a next one, and of which the walk has had every record before.
    pub(super) idle: HashSet<usize>,
}

/// Pages ($1: number, source, slice, walk, pull, job, keys) all of whose records another page of the same walk has brought.
pub(in crate::store::sqlite) const IDLE: &str = "
SELECT p.value ->> 0 FROM json_each($1) AS p WHERE NOT EXISTS (
    SELECT 1 FROM json_each(p.value -> 6) AS k WHERE NOT EXISTS (
        SELECT 1 FROM items AS i CROSS JOIN jobs AS j ON j.job_id = i.job_id
        WHERE i.source_id = p.value ->> 1 AND i.key = unhex(k.value) AND i.pull >= p.value ->> 4
            AND i.job_id <> p.value ->> 5 AND j.slice_id = p.value ->> 2 AND j.walk = p.value ->> 3))";

/// Records that are stored ($1: source, key), with the walk of their page.
pub(in crate::store::sqlite) const STORED: &str = "
SELECT e.value ->> 0, i.key, i.data, i.pull, i.job_id, j.slice_id, j.walk
FROM json_each($1) AS e CROSS JOIN items AS i ON i.source_id = e.value ->> 0 AND i.key = unhex(e.value ->> 1)
LEFT JOIN jobs AS j ON j.job_id = i.job_id";

/// number, source, slice, walk, pull, job, keys
type PageRow = (usize, SourceId, SliceId, u32, i64, JobId, Vec<String>);

/// A record as it is stored, or as the batch leaves it so far.
struct Stored {
    data: Value,
    pull: i64,
    job_id: JobId,
    slice: Option<(SliceId, u32)>,
}

/// A page of a walk, with its records.
#[derive(Clone, Copy)]
struct Page<'b> {
    /// The number of its settlement.
    i: usize,
    settlement: &'b Settlement,
    source: SourceId,
    /// Its slice and walk; none for an API page of before there were slices.
    slice: Option<(SliceId, u32)>,
    pull: Option<i64>,
}

impl Page<'_> {
    fn may_stall(&self) -> bool {
        self.slice.is_some() && self.settlement.next_page.is_some() && self.settlement.change == JobMove::Done
    }

    fn row(&self, keys: &[ItemKey]) -> Option<PageRow> {
        let (slice, walk) = self.slice?;
        let keys = keys.iter().map(|key| hex(&key.0)).collect();
        Some((self.i, self.source, slice, walk, self.pull?, self.settlement.job_id, keys))
    }
}

/// Looks up what must be known about the records of a batch.
pub(super) async fn met(
    db: &mut Db,
    part: &Part<'_>,
    gathered: &Gathered<'_>,
    jobs: &HashMap<JobId, OpenJob>,
    slices: &HashMap<SliceIdent, SliceNow>,
) -> Result<MetItems, StoreError> {
    let pages = gathered.applied.iter().filter_map(|&i| {
        let settlement = &part.batch.settlements[i];
        let open = jobs.get(&settlement.job_id)?;
        let slice = open.slice.and_then(|place| Some((slices.get(&place.ident)?, place.walk)));
        let page = Page {
            i,
            settlement,
            source: open.source,
            slice: slice.map(|(slice, walk)| (slice.id, walk)),
            pull: slice.map(|(slice, _)| slice.pull),
        };
        let is_page = slice.is_some() || settlement.walk.merge == Merge::Deep;
        (is_page && !settlement.items.is_empty()).then_some(page)
    });
    let (deep, plain): (Vec<Page<'_>>, Vec<Page<'_>>) =
        pages.partition(|page| page.settlement.walk.merge == Merge::Deep);
    let mut met = MetItems { idle: idle(db, &plain).await?, ..MetItems::default() };
    if !deep.is_empty() {
        let mut stored = stored(db, &deep).await?;
        for page in deep {
            merge(page, &mut stored, &mut met);
        }
    }
    Ok(met)
}

async fn idle(db: &mut Db, pages: &[Page<'_>]) -> Result<HashSet<usize>, StoreError> {
    let key = |page: &Page<'_>| page.settlement.items[0].key;
    let first: Vec<PageRow> =
        pages.iter().filter(|page| page.may_stall()).filter_map(|page| page.row(&[key(page)])).collect();
    let suspects = ask_idle(db, &first).await?;
    let keys = |page: &Page<'_>| page.settlement.items.iter().map(|item| item.key).collect::<Vec<_>>();
    let whole: Vec<PageRow> =
        pages.iter().filter(|page| suspects.contains(&page.i)).filter_map(|page| page.row(&keys(page))).collect();
    ask_idle(db, &whole).await
}

async fn ask_idle(db: &mut Db, pages: &[PageRow]) -> Result<HashSet<usize>, StoreError> {
    let doing = "look for pages that bring nothing";
    if pages.is_empty() {
        return Ok(HashSet::new());
    }
    let asked = serde_json::to_string(pages).expect("numbers and text are JSON");
    let rows = db.rows(sqlx::query(IDLE).bind(asked)).await.map_err(sorted(doing))?;
    let number = |row: &SqliteRow| Ok(usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or(usize::MAX));
    rows.iter().map(number).collect::<Result<_, _>>().map_err(sorted(doing))
}

async fn stored(db: &mut Db, pages: &[Page<'_>]) -> Result<HashMap<(SourceId, ItemKey), Stored>, StoreError> {
    let doing = "read the records that a batch adds to";
    let keys = |page: &Page<'_>| {
        let source = page.source;
        page.settlement.items.iter().map(|item| (source, item.key)).collect::<Vec<_>>()
    };
    let distinct: HashSet<(SourceId, ItemKey)> = pages.iter().flat_map(keys).collect();
    let asked: Vec<(SourceId, String)> = distinct.iter().map(|(source, key)| (*source, hex(&key.0))).collect();
    let asked = serde_json::to_string(&asked).expect("numbers and text are JSON");
    let read = |row: &SqliteRow| -> Result<_, sqlx::Error> {
        let key: Vec<u8> = row.try_get(1)?;
        let slice = row.try_get::<Option<i64>, _>(5)?.zip(row.try_get::<Option<u32>, _>(6)?);
        let stored = Stored {
            // What a person broke by hand is replaced.
            data: serde_json::from_str(row.try_get(2)?).unwrap_or_default(),
            pull: row.try_get(3)?,
            job_id: JobId(row.try_get(4)?),
            slice: slice.map(|(slice, walk)| (SliceId(slice), walk)),
        };
        Ok(((SourceId(row.try_get(0)?), ItemKey(key.try_into().unwrap_or([0; 16]))), stored))
    };
    let rows = db.rows(sqlx::query(STORED).bind(asked)).await.map_err(sorted(doing))?;
    rows.iter().map(read).collect::<Result<_, _>>().map_err(sorted(doing))
}

/// Adds the records of a page to what is stored of them in this pull.
fn merge(page: Page<'_>, stored: &mut HashMap<(SourceId, ItemKey), Stored>, met: &mut MetItems) {
    let mut is_idle = page.may_stall();
    let mut merged = Vec::with_capacity(page.settlement.items.len());
    for item in &page.settlement.items {
        let known =
            stored.get(&(page.source, item.key)).filter(|known| page.pull.is_none_or(|pull| known.pull >= pull));
        let mut data = known.map_or(Value::Null, |known| known.data.clone());
        merge_deep(&mut data, &item.data);
        is_idle &= known.is_some_and(|known| {
            known.data == data && known.job_id != page.settlement.job_id && known.slice == page.slice
        });
        let pull = page.pull.or(known.map(|known| known.pull)).unwrap_or_default();
        let now = Stored { data: data.clone(), pull, job_id: page.settlement.job_id, slice: page.slice };
        stored.insert((page.source, item.key), now);
        merged.push(data);
    }
    if is_idle {
        met.idle.insert(page.i);
    }
    met.merged.insert(page.i, merged);
}
