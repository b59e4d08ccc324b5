//! Which settlements apply, and which jobs they and the seeds name. Pure.

use std::collections::{HashMap, HashSet};

use crate::job::{DedupKey, HashKey, JobId, NewJob, NewSlice, Origin, SliceKey};
use crate::store::JobMove;

use super::known::KnownHost;
use super::read::OpenJob;
use super::{Part, Trouble, Unit};
use crate::store::sqlite::slice_rows::SliceIdent;

/// What a found job is to the unit that brings it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// One of those that it names.
    Named,
    /// The page after its own, in this slice if its job has one.
    Next(Option<SliceIdent>),
    /// The first page of this slice.
    First {
        /// The slice.
        slice: SliceIdent,
        /// Whether a walk that is on or over in this pull does without it.
        is_late: bool,
    },
}

impl Role {
    /// The slice whose page it is.
    pub(super) fn slice(self) -> Option<SliceIdent> {
        match self {
            Self::Named => None,
            Self::Next(slice) => slice,
            Self::First { slice, .. } => Some(slice),
        }
    }
}

/// A job that is new unless its key is known.
pub(super) struct Found<'b> {
    pub(super) unit: Unit,
    pub(super) role: Role,
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
    /// Slices that are to be walked.
    pub(super) slices: Vec<&'b NewSlice>,
    /// Settlements that have no effect, or only mark their job dead, and why.
    pub(super) dropped: Vec<(usize, String)>,
}

impl<'b> Gathered<'b> {
    fn first(&mut self, unit: Unit, slice: &'b NewSlice, hash_key: &HashKey) -> Result<(), Trouble> {
        let role = Role::First { slice: (slice.source, SliceKey::of(&slice.params)), is_late: slice.is_late };
        self.found.push(found(unit, role, &slice.first, hash_key)?);
        self.slices.push(slice);
        Ok(())
    }
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
                    gathered.found.push(found(unit, Role::Named, &part.batch.found[i], hash_key)?);
                }
            }
            Unit::Slice(i) => {
                if !part.bad.contains_key(&unit) {
                    gathered.first(unit, &part.batch.slices[i], hash_key)?;
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
                    let role = Role::Next(jobs.get(&job_id).and_then(|open| open.slice).map(|place| place.ident));
                    gathered.found.push(found(unit, role, &next_page.0, hash_key)?);
                }
                for slice in &settlement.slices {
                    gathered.first(unit, slice, hash_key)?;
                }
                for job in &settlement.discovered {
                    gathered.found.push(found(unit, Role::Named, job, hash_key)?);
                }
            }
        }
    }
    Ok(gathered)
}

/// What is said of the last change of found jobs: host, key, section, when they changed, least wait.
pub(super) fn named(found: &[Found<'_>], origins: &HashMap<Origin, KnownHost>) -> Vec<(u32, i64, u32, i64, u64)> {
    let named = found.iter().filter_map(|found| {
        let changed = found.job.changed?;
        let host_id = origins.get(&found.origin)?.id;
        Some((host_id.0, found.key.0, found.job.source.0, changed.at.0, changed.least_wait_ms))
    });
    named.collect()
}

fn found<'b>(unit: Unit, role: Role, job: &'b NewJob, hash_key: &HashKey) -> Result<Found<'b>, Trouble> {
    let Some(origin) = Origin::of(&job.url) else {
        return Err(Trouble::RefusedUnit(unit, format!("{} is not an address on the web", job.url)));
    };
    if job.priority.0 > 9 {
        return Err(Trouble::RefusedUnit(unit, format!("{} has the priority {}, beyond 9", job.url, job.priority.0)));
    }
    let slice = role.slice().map(|(_, key)| key);
    Ok(Found { unit, role, job, origin, key: job.dedup_key(hash_key, slice.as_ref()) })
}
