//! How the walks through the slices of API streams go on with a batch. Pure.

use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::job::{JobId, JobState, later_mark};
use crate::store::sqlite::slice_rows::{SliceIdent, SliceNow, SliceState};
use crate::store::{JobMove, Settlement};

use super::Trouble;
use super::holds::Onward;
use super::plan::{Met, event, reopen_for, short};
use super::read::{KnownPage, OpenJob};
use super::rows::Plan;

/// A slice is to be walked: it is new, or its stream is pulled anew and it was walked for an earlier pull. One that is being walked
/// already goes on as it is. True when a walk begins.
pub(super) fn begin(plan: &mut Plan, ident: SliceIdent, now: Timestamp) -> bool {
    let Some(slice) = plan.slices.get_mut(&ident) else { return false };
    let delta = plan.sources.entry(ident.0).or_default();
    if slice.is_new {
        slice.is_new = false;
        delta.slices_open += 1;
        return true;
    }
    if slice.pull >= slice.pull_of_source {
        return false;
    }
    slice.pull = slice.pull_of_source;
    slice.is_changed = true;
    if slice.state == SliceState::Walking {
        return false;
    }
    delta.slices_open += 1;
    delta.slices_failed -= i64::from(slice.state == SliceState::Failed);
    slice.restarts = 0;
    if slice.is_full_pull {
        slice.mark = None;
    }
    slice.begin_walk(now);
    true
}

/// Whether the first page of the slice is known.
pub(super) fn has_first(plan: &Plan, ident: SliceIdent) -> bool {
    plan.slices.get(&ident).is_some_and(|slice| slice.first_job_id.is_some())
}

/// Its first page has this number.
pub(super) fn set_first(plan: &mut Plan, ident: SliceIdent, job_id: JobId) {
    if let Some(slice) = plan.slices.get_mut(&ident).filter(|slice| slice.first_job_id != Some(job_id)) {
        slice.first_job_id = Some(job_id);
        slice.is_changed = true;
    }
}

/// A page of a slice is named that is in the file: fetched once more when that was for an earlier walk. False when it was for this one.
pub(super) fn fetch_again(plan: &mut Plan, ident: SliceIdent, page: KnownPage) -> Result<bool, Trouble> {
    let Some(slice) = plan.slices.get(&ident) else { return Ok(false) };
    let walk = slice.walk;
    if page.walk >= walk || slice.state != SliceState::Walking {
        return Ok(false);
    }
    if page.state.is_open() {
        plan.rewalked.push((page.job_id, walk));
    } else {
        reopen_page(plan, ident, page, walk)?;
    }
    Ok(true)
}

/// A page that ended its walk is to be done once more, and the walk goes on with it. False when it is not that walk which failed.
pub(super) fn go_on(plan: &mut Plan, ident: SliceIdent, walk: u32) -> bool {
    let failed = |slice: &&mut SliceNow| slice.walk == walk && slice.state == SliceState::Failed;
    let Some(slice) = plan.slices.get_mut(&ident).filter(failed) else { return false };
    slice.go_on();
    let delta = plan.sources.entry(ident.0).or_default();
    delta.slices_open += 1;
    delta.slices_failed -= 1;
    true
}

/// Pages in a row that bring nothing after which a walk ends. One can be a page that has shifted while it was walked, two still; an
/// API that shows the same for the third time will do so for ever.
const IDLE_PAGES_MAX: u32 = 3;

/// Whether a page of which the walk has had all records before is one too many.
pub(super) fn is_stalled(slices: &HashMap<SliceIdent, SliceNow>, open: &OpenJob) -> bool {
    let slice = open.slice.and_then(|place| slices.get(&place.ident).filter(|slice| slice.walk == place.walk));
    slice.is_some_and(|slice| slice.n_idle.saturating_add(1) >= IDLE_PAGES_MAX)
}

/// What the move of a page means for the walk that it belongs to. A page of an earlier walk means nothing any more.
pub(super) fn step(
    plan: &mut Plan,
    settlement: &Settlement,
    open: &OpenJob,
    change: &JobMove,
    is_idle: bool,
    onward: Onward,
    now: Timestamp,
) {
    let Some(place) = open.slice else { return };
    let Some(slice) = plan.slices.get_mut(&place.ident).filter(|slice| slice.walk == place.walk) else { return };
    if slice.state != SliceState::Walking {
        return;
    }
    let failed = match change {
        JobMove::Stay | JobMove::Defer { .. } | JobMove::Retry { .. } => return,
        JobMove::Done | JobMove::Gone(_) | JobMove::Skipped(_) => None,
        JobMove::Dead(reason) => Some(reason.as_str()),
    };
    slice.is_changed = true;
    if *change == JobMove::Done {
        slice.n_pages += 1;
        // A page without records says nothing of the next.
        if !settlement.items.is_empty() {
            slice.n_idle = if is_idle { slice.n_idle.saturating_add(1) } else { 0 };
        }
        slice.n_records = slice.n_records.saturating_add(settlement.walk.records);
        slice.mark_seen = later_mark(slice.mark_seen.take(), settlement.walk.newest.clone());
        if settlement.walk.in_order {
            slice.keep_mark();
        }
        if settlement.next_page.is_some() || onward == Onward::On {
            return;
        }
    }
    let delta = plan.sources.entry(place.ident.0).or_default();
    delta.slices_open -= 1;
    delta.slices_failed += i64::from(failed.is_some());
    slice.end_walk(failed.map(short).as_deref(), now);
}

/// The walk begins again at the first page.
pub(super) fn restart(
    plan: &mut Plan,
    job_id: JobId,
    open: &OpenJob,
    why: &str,
    met: &Met<'_>,
    now: Timestamp,
) -> Result<(), Trouble> {
    let Some(place) = open.slice else { return Ok(()) };
    let Some(slice) = plan.slices.get_mut(&place.ident).filter(|slice| slice.walk == place.walk) else { return Ok(()) };
    let first = slice.first_job_id.and_then(|first| met.first_pages.get(&first)).copied();
    let first = first.filter(|page| page.job_id != job_id && !page.state.is_open());
    let Some(first) = first else {
        let delta = plan.sources.entry(place.ident.0).or_default();
        delta.slices_open -= 1;
        delta.slices_failed += 1;
        slice.end_walk(Some(&short(&format!("{why}, and its first page is not there to begin again with"))), now);
        return Ok(());
    };
    slice.restarts = slice.restarts.saturating_add(1);
    slice.begin_walk(now);
    let walk = slice.walk;
    event(plan, job_id, "restart", why);
    reopen_page(plan, place.ident, first, walk)
}

/// Makes a settled page ready for this walk; it counts as done no longer.
fn reopen_page(plan: &mut Plan, ident: SliceIdent, page: KnownPage, walk: u32) -> Result<(), Trouble> {
    if page.state == JobState::Done {
        plan.sources.entry(ident.0).or_default().pages_done -= 1;
    }
    reopen_for(plan, page.job_id, page.state, page.priority, Some(walk))
}
