//! Ids that are asked for together: which go into one request, and what becomes of each when it has ended.
//!
//! Each id is a job of its own, and stays one: which of them share a request is chosen when it is sent, and is forgotten with its answer.

use std::sync::Arc;

use serde_json::Value;

use crate::clock::Timestamp;
use crate::job::text_of;
use crate::policy;
use crate::store::{JobMove, Loaded, Settlement};
use crate::stream::Missing;

use super::super::host::{Host, is_suspect};
use super::super::plan::Plan;
use super::super::report::{IdFate, Reading};
use super::finish::moved;

/// Takes the jobs out of a queue that go into the request of `leader`, so that there are at most `most` ids in it.
pub(super) fn members(plan: &Plan, host: &mut Host, lane: usize, leader: &Loaded, most: u32) -> Vec<Loaded> {
    let together_max = leader.together_max.min(most);
    let Some((batch, walk)) = plan.batch_of(&leader.job).filter(|_| !is_suspect(leader)) else { return Vec::new() };
    let fits = |other: &Loaded| {
        other.job.source == leader.job.source
            && other.together_max.min(most) == together_max
            && !is_suspect(other)
            && plan
                .batch_of(&other.job)
                .is_some_and(|(_, others)| batch.go_together(&walk.params, &others.params) && walk.mark == others.mark)
    };
    let candidates: Vec<Value> = std::iter::once(&walk.params)
        .chain(
            host.lane(lane)
                .ring
                .iter()
                .filter(|other| fits(other))
                .filter_map(|other| plan.batch_of(&other.job).map(|(_, walk)| &walk.params)),
        )
        .filter_map(|params| batch.id_of(params))
        .take(batch.size_max)
        .collect();
    let count = batch.fitting(candidates.iter(), together_max as usize);
    host.take_where(lane, fits, count.saturating_sub(1))
}

/// How many ids may be in each of two requests for the same.
pub(super) fn half(together: usize) -> u32 {
    u32::try_from(together.div_ceil(2)).unwrap_or(u32::MAX)
}

/// The ids of a request; empty for a job that goes alone in any case.
pub(super) fn ids(plan: &Plan, leader: &Loaded, members: &[Loaded]) -> Arc<[Value]> {
    let id = |loaded: &Loaded| {
        let (batch, walk) = plan.batch_of(&loaded.job)?;
        batch.id_of(&walk.params)
    };
    std::iter::once(leader).chain(members).filter_map(id).collect()
}

/// What becomes of the jobs of a request that has ended: of the one that led, whose own move would be `change`, and of the others, each
/// with its own. Moves of [`JobMove::Stay`] go back into the queue.
pub(super) fn settle(
    plan: &Plan,
    change: JobMove,
    leader: &Loaded,
    mut members: Vec<Loaded>,
    reading: &mut Reading,
    now: Timestamp,
    dice: &mut fastrand::Rng,
) -> (JobMove, Vec<(Loaded, JobMove)>) {
    let together = members.len() + 1;
    let is_redirect = reading.response.as_ref().is_some_and(|response| response.redirect_to.is_some());
    match change {
        // The address that it leads to may hold all ids: each follows its own.
        JobMove::Done if is_redirect && together > 1 => {
            *reading = Reading::default();
            for member in &mut members {
                member.together_max = 1;
            }
            (JobMove::Stay, members.into_iter().map(|member| (member, JobMove::Stay)).collect())
        }
        // One id among them may be to blame: they are asked for in halves until it stands alone.
        JobMove::Dead(_) | JobMove::Gone(_) if together > 1 => {
            *reading = Reading::default();
            let half = half(together);
            for member in &mut members {
                member.together_max = half;
            }
            (JobMove::Stay, members.into_iter().map(|member| (member, JobMove::Stay)).collect())
        }
        JobMove::Done => {
            let stream = plan.stream(leader.job.source);
            let missing = stream.and_then(|stream| stream.batch.as_ref()).map(|rule| rule.missing);
            let batch = stream.and_then(|stream| stream.first.batch.as_ref());
            let fates = std::mem::take(&mut reading.fates);
            // Those that are not on this page may be on the next.
            let present = reading.present.take().filter(|_| reading.next_page.is_none());
            let mut of = |loaded: &Loaded| {
                let id = batch.zip(loaded.job.walk.as_ref()).and_then(|(batch, walk)| batch.id_of(&walk.params));
                let (Some(id), Some(missing)) = (id.as_ref().map(text_of), missing) else { return JobMove::Done };
                let is_missing = present.as_ref().is_some_and(|present| !present.contains(&id));
                match fates.get(&id).cloned().or_else(|| is_missing.then_some(IdFate::Absent(None))) {
                    None => JobMove::Done,
                    Some(IdFate::Unsaid) => JobMove::Stay,
                    Some(IdFate::Failed(reason)) => moved(policy::charge(reason, &loaded.job, &plan.retry, now, dice)),
                    Some(IdFate::Absent(said)) => absent(missing, said, |reason| {
                        moved(policy::charge(reason, &loaded.job, &plan.retry, now, dice))
                    }),
                }
            };
            let leads = of(leader);
            (
                leads,
                members
                    .into_iter()
                    .map(|member| (of(&member), member))
                    .map(|(change, member)| (member, change))
                    .collect(),
            )
        }
        other => {
            let changes = members.into_iter().map(|member| (member, other.clone())).collect();
            (other, changes)
        }
    }
}

/// What becomes of an id by which there is nothing.
fn absent(missing: Missing, said: Option<String>, again: impl FnOnce(String) -> JobMove) -> JobMove {
    let no_record = || "the answer has no record with its id".to_owned();
    match missing {
        Missing::Done => said.map_or(JobMove::Done, JobMove::Gone),
        Missing::Retry => again(said.unwrap_or_else(no_record)),
        Missing::Fail => JobMove::Dead(said.unwrap_or_else(no_record)),
    }
}

/// Parts the other jobs of a request: those that stay open go back into their queue, before the one that led, which is put back last and
/// goes first; the rest is settled.
pub(super) fn part(host: &mut Host, members: Vec<(Loaded, JobMove)>) -> Vec<Settlement> {
    let mut settlements = Vec::new();
    for (member, change) in members.into_iter().rev() {
        match change {
            JobMove::Stay => host.put_back(member, true),
            change => settlements.push(Settlement::bare(member.job.id, change)),
        }
    }
    settlements
}
