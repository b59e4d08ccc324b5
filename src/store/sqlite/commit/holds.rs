//! What a batch changes of what is held of answers, and how a walk goes on with a page that has not changed.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;
use sqlx::Row;

use crate::clock::Timestamp;
use crate::job::{JobId, JobKind, JobState, later_mark};
use crate::store::hex::hex;
use crate::store::sqlite::db::{Db, sorted};
use crate::store::sqlite::hold_rows::{DuePage, HoldRow};
use crate::store::sqlite::slice_rows::SliceState;
use crate::store::{Hold, HoldStep, JobMove, PageChange, Settlement, StoreError};

use super::gather::Gathered;
use super::plan::{Met, reopen_for};
use super::read::{KnownPage, OpenJob, state_of};
use super::rows::Plan;
use super::{Part, Trouble, Unit, walks};

/// What is held of a page of an API that has not changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Confirmed {
    /// The page that followed it.
    pub(super) next: Option<KnownPage>,
    records: u64,
    newest: Option<Value>,
}

pub(in crate::store::sqlite) const CONFIRMED: &str = "
SELECT h.job_id, h.records, h.newest, j.job_id, j.state, j.priority, j.walk
FROM json_each($1) AS e CROSS JOIN holds AS h ON h.job_id = e.value LEFT JOIN jobs AS j ON j.job_id = h.next_job_id";

fn is_confirmed(settlement: &Settlement) -> bool {
    matches!(settlement.hold.as_deref(), Some(HoldStep::Confirm(_))) && settlement.change == JobMove::Done
}

/// What is held of the pages of APIs that the batch confirms.
pub(super) async fn confirmed(
    db: &mut Db,
    part: &Part<'_>,
    gathered: &Gathered<'_>,
    jobs: &HashMap<JobId, OpenJob>,
) -> Result<HashMap<JobId, Confirmed>, StoreError> {
    let doing = "read the pages that have not changed";
    let settlements = gathered.applied.iter().map(|&i| &part.batch.settlements[i]).filter(|it| is_confirmed(it));
    let pages: BTreeSet<JobId> = settlements
        .map(|settlement| settlement.job_id)
        .filter(|job_id| jobs.get(job_id).is_some_and(|open| open.slice.is_some()))
        .collect();
    let mut confirmed = HashMap::new();
    if pages.is_empty() {
        return Ok(confirmed);
    }
    let asked = serde_json::to_string(&pages).expect("numbers are JSON");
    for row in db.rows(sqlx::query(CONFIRMED).bind(asked)).await.map_err(sorted(doing))? {
        let read = || -> Result<_, sqlx::Error> {
            let newest: Option<String> = row.try_get(2)?;
            let next = row.try_get::<Option<i64>, _>(3)?.map(|id| -> Result<_, sqlx::Error> {
                let walk = row.try_get::<Option<u32>, _>(6)?.unwrap_or(0);
                Ok((JobId(id), row.try_get::<i64, _>(4)?, row.try_get(5)?, walk))
            });
            Ok((JobId(row.try_get(0)?), row.try_get::<i64, _>(1)?.unsigned_abs(), newest, next.transpose()?))
        };
        let (job_id, records, newest, next) = read().map_err(sorted(doing))?;
        let next = match next {
            None => None,
            Some((id, code, priority, walk)) => {
                Some(KnownPage { job_id: id, state: state_of(id, code)?, priority, walk })
            }
        };
        let newest = newest.and_then(|json| serde_json::from_str(&json).ok());
        confirmed.insert(job_id, Confirmed { next, records, newest });
    }
    Ok(confirmed)
}

/// Where the walk goes from a page that has not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Onward {
    /// To what the settlement names, if anything.
    AsNamed,
    /// To the page that followed it the last time.
    On,
    /// To a page where this walk was before.
    Circle,
}

/// Lets the walk go on with the page that followed a page that has not changed.
pub(super) fn onward(
    plan: &mut Plan,
    settlement: &Settlement,
    open: &OpenJob,
    confirmed: &HashMap<JobId, Confirmed>,
) -> Result<Onward, Trouble> {
    let (Some(place), Some(known)) = (open.slice, confirmed.get(&settlement.job_id)) else {
        return Ok(Onward::AsNamed);
    };
    let Some(slice) = plan.slices.get_mut(&place.ident) else { return Ok(Onward::AsNamed) };
    if !is_confirmed(settlement) || slice.walk != place.walk || slice.state != SliceState::Walking {
        return Ok(Onward::AsNamed);
    }
    slice.n_records = slice.n_records.saturating_add(known.records);
    slice.mark_seen = later_mark(slice.mark_seen.take(), known.newest.clone());
    let Some(next) = known.next else { return Ok(Onward::AsNamed) };
    let is_met = plan.reopened.iter().any(|(job_id, _)| *job_id == next.job_id);
    if !is_met && walks::fetch_again(plan, place.ident, next)? { Ok(Onward::On) } else { Ok(Onward::Circle) }
}

/// Rows of what a settlement leaves held.
pub(super) fn keep(
    plan: &mut Plan,
    unit: Unit,
    settlement: &Settlement,
    open: &OpenJob,
    confirmed: &HashMap<JobId, Confirmed>,
) {
    let job_id = settlement.job_id;
    let hold = match settlement.hold.as_deref() {
        None => return,
        Some(HoldStep::Later(at)) => {
            plan.holds.later.push((job_id, Some(at.0)));
            plan.due_at(open.source, *at);
            return;
        }
        Some(HoldStep::Forget(hold)) => {
            plan.holds.forgotten.push(job_id);
            hold
        }
        Some(HoldStep::Confirm(hold)) => {
            let headers: Vec<(&str, &str)> = hold.stored.headers.iter().collect();
            plan.holds.headers.push((job_id, serde_json::to_string(&headers).expect("text is JSON")));
            hold
        }
        Some(HoldStep::Replace(hold) | HoldStep::Gone(hold)) => hold,
    };
    if let Some(at) = hold.next_at {
        plan.due_at(open.source, at);
    }
    let mut row = row(job_id, open, hold);
    if let Some(known) = confirmed.get(&job_id).filter(|_| is_confirmed(settlement)) {
        row.next_job = known.next.map(|page| page.job_id);
        row.records = known.records;
        row.newest = known.newest.as_ref().map(Value::to_string);
    } else {
        row.next_job = plan.next_pages.get(&unit).copied();
        row.records = settlement.walk.records;
        row.newest = settlement.walk.newest.as_ref().map(Value::to_string);
    }
    plan.holds.held.push(row);
    let what = match hold.change {
        PageChange::Changed => 0,
        PageChange::Gone => 1,
        PageChange::Back => 2,
        PageChange::New | PageChange::Unchanged => return,
    };
    if open.kind == JobKind::Page.code() {
        let content = hold.stored.content.filter(|_| hold.change != PageChange::Gone);
        let at = hold.stored.answered_at.0;
        plan.holds.changes.push((at, job_id, what, content.map(|content| hex(&content))));
    }
}

fn row(job_id: JobId, open: &OpenJob, hold: &Hold) -> HoldRow {
    let stored = &hold.stored;
    let answered = stored.answered_at.0;
    HoldRow {
        job: job_id,
        source: open.source,
        status: stored.status,
        variant: serde_json::to_string(&stored.variant).expect("text is JSON"),
        basis: hex(&hold.basis),
        requested: stored.requested_at.0,
        answered,
        fetched: stored.fetched_at.0,
        content: stored.content.map(|content| hex(&content)),
        first: stored.gone_at.is_none().then_some(answered),
        changed: matches!(hold.change, PageChange::Changed | PageChange::Gone | PageChange::Back).then_some(answered),
        gone: stored.gone_at.map(|at| at.0),
        interval: hold.interval_ms,
        next: hold.next_at.map(|at| at.0),
        next_job: None,
        records: 0,
        newest: None,
    }
}

/// Makes pages that are due ready once more; they count as done no longer.
pub(super) fn reopen_due(plan: &mut Plan, due: &[DuePage]) -> Result<(), Trouble> {
    for page in due {
        plan.holds.later.push((page.job_id, None));
        if page.state.is_open() {
            continue;
        }
        let counts = [JobKind::Page.code(), JobKind::ApiPage.code()].contains(&page.kind);
        let ack = plan.ack.recrawls.entry(page.source).or_default().reopened.get_or_insert_default();
        ack.pages += 1;
        if page.state == JobState::Done && counts {
            plan.sources.entry(page.source).or_default().pages_done -= 1;
            ack.done += u64::from(page.kind == JobKind::Page.code());
        }
        reopen_for(plan, page.job_id, page.state, page.priority, None)?;
    }
    Ok(())
}

/// Makes pages due sooner that are said to have changed. What the batch itself reopens or answers is newer than what was read.
pub(super) fn move_named(plan: &mut Plan, met: &Met<'_>) {
    let held = plan.holds.held.iter().map(|row| row.job);
    let mut moved: HashSet<JobId> = held.chain(plan.holds.later.iter().map(|(job_id, _)| *job_id)).collect();
    moved.extend(plan.reopened.iter().map(|(job_id, _)| *job_id));
    for page in met.named {
        // A sitemap may name a page more than once.
        if moved.insert(page.job_id) {
            plan.holds.later.push((page.job_id, Some(page.next_at.0)));
            plan.due_at(page.source, page.next_at);
        }
    }
}

impl Plan {
    /// A page of this section is due then.
    fn due_at(&mut self, source: crate::job::SourceId, at: Timestamp) {
        let ack = self.ack.recrawls.entry(source).or_default();
        ack.due_at = Some(ack.due_at.map_or(at, |known| known.min(at)));
    }
}
