//! Reads an answer to several ids that were asked for in one query of GraphQL, each under an alias.
//!
//! Enters: the answer, the job that led the request, with the values of all slices in it. Leaves: their records and those of the streams
//! that hang on these, and the [`IdFate`] of each id that did not get what it asked for. Deliberately absent: what becomes of the
//! jobs, which the dispatcher says.

use serde_json::Value;

use crate::clock::Timestamp;
use crate::exchange::Fetched;
use crate::interpret::{self, Aliased, records_of};
use crate::job::{Job, Params, text_of};
use crate::store::{JobMove, NewResponse, WalkNews};
use crate::stream::Alias;

use super::children::{included, keep, offspring};
use super::plan::{Plan, StreamPlan};
use super::report::{IdFate, Reading};

/// Reads such an answer.
pub(super) fn page(
    plan: &Plan,
    stream: &StreamPlan,
    job: &Job,
    fetched: &Fetched,
    mut response: NewResponse,
    now: Timestamp,
) -> Reading {
    // What a redirect leads to goes alone.
    let own = job.walk.iter().map(|walk| Value::Object((*walk.params).clone()));
    let slices: Vec<Value> = if job.batch.is_empty() { own.collect() } else { job.batch.to_vec() };
    let aliases: Vec<String> = (0..slices.len()).map(Alias::name).collect();
    let meaning = interpret::aliased(fetched, &stream.rules, &aliases);
    response.notes.extend(meaning.notes);
    let mut reading = Reading { walk: WalkNews { merge: stream.merge, ..WalkNews::default() }, ..Reading::default() };
    match meaning.each {
        Ok(each) => {
            for (slice, aliased) in slices.iter().zip(each) {
                let fate = match aliased {
                    Aliased::Records(found) => {
                        let none = Params::new();
                        let params = slice.as_object().unwrap_or(&none);
                        take(plan, stream, job, params, found, now, &mut reading, &mut response);
                        continue;
                    }
                    Aliased::Absent(reason) => IdFate::Absent(reason),
                    Aliased::Failed(reason) => IdFate::Failed(reason),
                    Aliased::Unsaid => IdFate::Unsaid,
                };
                reading.fates.insert(text_of(slice), fate);
            }
        }
        Err(problem) => reading.change = Some(JobMove::Dead(problem)),
    }
    response.links = u32::try_from(reading.walk.records).unwrap_or(u32::MAX);
    reading.response = Some(response);
    reading
}

/// Takes in the records of one slice.
#[expect(clippy::too_many_arguments, reason = "what records are to other streams depends on all of it")]
fn take(
    plan: &Plan,
    stream: &StreamPlan,
    job: &Job,
    params: &Params,
    found: Vec<Value>,
    now: Timestamp,
    reading: &mut Reading,
    response: &mut NewResponse,
) {
    reading.walk.records += u64::try_from(found.len()).unwrap_or(u64::MAX);
    let (mut read, notes) = records_of(found, &stream.rules, &included(stream, params));
    keep(stream, &mut read);
    let below = offspring(plan, stream, job, params, &read, now);
    for note in notes.into_iter().chain(below.notes) {
        if !response.notes.contains(&note) {
            response.notes.push(note);
        }
    }
    reading.slices.extend(below.slices);
    reading.nested.extend(below.nested);
    reading.items.extend(read.items);
}
