//! Which settlements apply, and which jobs they and the seeds name. Pure.

use std::collections::{HashMap, HashSet};

use crate::job::{DedupKey, HashKey, JobId, NewJob, Origin};
use crate::store::JobMove;

use super::read::OpenJob;
use super::{Part, Trouble, Unit};

/// A job that is new unless its key is known.
pub(super) struct Found<'b> {
    pub(super) unit: Unit,
    /// Whether it is the page after that of its unit.
    pub(super) is_next_page: bool,
    pub(super) job: &'b NewJob,
    pub(super) origin: Origin,
    pub(super) key: DedupKey,
}

/// The parts of a batch that have effects.
#[derive(Default)]
pub(super) struct Gathered<'b> {
    /// Found jobs in order, those that are known included; the next page of a settlement before its other jobs.
    pub(super) found: Vec<Found<'b>>,
    /// Settlements whose job is open, in order.
    pub(super) applied: Vec<usize>,
    /// Settlements that have no effect, or only mark their job dead, and why.
    pub(super) dropped: Vec<(usize, String)>,
}

/// Sorts out the settlements of jobs that are not open, and names the origin and the key of each found job.
pub(super) fn gather<'b>(
    part: &Part<'b>,
    jobs: &HashMap<JobId, OpenJob>,
    hash_key: &HashKey,
) -> Result<Gathered<'b>, Trouble> {
    let mut gathered = Gathered::default();
    let mut closed = HashSet::new();
    for &unit in part.units {
        match unit {
            Unit::Found(i) => {
                if !part.bad.contains_key(&unit) {
                    gathered.found.push(found(unit, false, &part.batch.found[i], hash_key)?);
                }
            }
            Unit::Settlement(i) => {
                let settlement = &part.batch.settlements[i];
                let job_id = settlement.job_id;
                if !jobs.contains_key(&job_id) || closed.contains(&job_id) {
                    gathered.dropped.push((i, format!("job {job_id} was not open any more")));
                    continue;
                }
                gathered.applied.push(i);
                if let Some(why) = part.bad.get(&unit) {
                    gathered.dropped.push((i, why.clone()));
                    closed.insert(job_id);
                    continue;
                }
                if !matches!(settlement.change, JobMove::Stay | JobMove::Defer { .. } | JobMove::Retry { .. }) {
                    closed.insert(job_id);
                }
                if let Some(next_page) = &settlement.next_page {
                    gathered.found.push(found(unit, true, &next_page.0, hash_key)?);
                }
                for job in &settlement.discovered {
                    gathered.found.push(found(unit, false, job, hash_key)?);
                }
            }
        }
    }
    Ok(gathered)
}

fn found<'b>(unit: Unit, is_next_page: bool, job: &'b NewJob, hash_key: &HashKey) -> Result<Found<'b>, Trouble> {
    let Some(origin) = Origin::of(&job.url) else {
        return Err(Trouble::RefusedUnit(unit, format!("{} is not an address on the web", job.url)));
    };
    if job.priority.0 > 9 {
        return Err(Trouble::RefusedUnit(unit, format!("{} has the priority {}, beyond 9", job.url, job.priority.0)));
    }
    Ok(Found { unit, is_next_page, job, origin, key: job.dedup_key(hash_key) })
}
