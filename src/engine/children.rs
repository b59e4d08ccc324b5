//! What the records of a page are to the streams that hang on theirs: slices to walk, and records that came within them.
//!
//! Enters: the records of a page, with the connections that were taken out of them. Leaves: [`Offspring`], of these streams and of those
//! that hang on them in turn. Deliberately absent: jobs and walks, which the store makes of slices.

use serde_json::Value;

use crate::clock::Timestamp;
use crate::interpret::{Connection, ReadRecords, records_of};
use crate::job::{Job, NewItem, NewSlice, Params, SourceId};
use crate::stream::RenderError;

use super::plan::{ChildRule, FieldOf, Plan, StreamPlan};
use super::streams::{continued, slices_of};

/// What records bring to other streams.
#[derive(Default)]
pub(super) struct Offspring {
    /// Slices to walk.
    pub slices: Vec<NewSlice>,
    /// Records that came within these.
    pub nested: Vec<(SourceId, Vec<NewItem>)>,
    /// What was odd, in words.
    pub notes: Vec<String>,
}

/// The members that each record of a slice with these values gets.
pub(super) fn included(stream: &StreamPlan, params: &Params) -> Params {
    let value = |param: &String| params.get(param).cloned().unwrap_or(Value::Null);
    stream.include.iter().map(|(name, param)| (name.clone(), value(param))).collect()
}

/// What the records of `job`'s page, in a slice with the values `params`, are to the streams that hang on theirs.
pub(super) fn offspring(
    plan: &Plan,
    stream: &StreamPlan,
    job: &Job,
    params: &Params,
    read: &ReadRecords,
    now: Timestamp,
) -> Offspring {
    let mut all = Offspring::default();
    for rule in &stream.children {
        if let Some(child) = plan.stream(rule.source) {
            of_stream(plan, rule, child, job, params, read, now, &mut all);
        }
    }
    all
}

#[expect(clippy::too_many_arguments, reason = "what records are to a stream depends on all of it")]
fn of_stream(
    plan: &Plan,
    rule: &ChildRule,
    child: &StreamPlan,
    job: &Job,
    params: &Params,
    read: &ReadRecords,
    now: Timestamp,
    all: &mut Offspring,
) {
    let mut left_out = 0_u64;
    let mut why = String::new();
    let mut not_there = 0_u64;
    for (nth, item) in read.items.iter().enumerate() {
        if rule.filter.as_ref().is_some_and(|filter| !filter.passes(&item.data)) {
            continue;
        }
        let values: Params =
            rule.fields.iter().map(|(name, field)| (name.clone(), value_of(field, params, &item.data))).collect();
        let connection = rule.nested.map(|at| read.nested.get(nth).and_then(|taken| taken.get(at)?.as_ref()));
        not_there += u64::from(connection == Some(None));
        let made = match connection.flatten() {
            Some(connection) => within(plan, rule.source, child, job, &values, connection, now, all),
            None => slices_of(child, rule.source, &values, Some(job), now),
        };
        match made {
            Ok(slices) => all.slices.extend(slices),
            Err(error) => {
                left_out += 1;
                why = error.to_string();
            }
        }
    }
    if left_out > 0 {
        all.notes.push(format!("{left_out} records make no slice of {}: {why}", child.name));
    }
    if not_there > 0 {
        all.notes.push(format!(
            "{not_there} records have no list of {} with its pageInfo {{ hasNextPage endCursor }}: each is asked for by itself",
            child.name
        ));
    }
}

/// Takes in the records of a connection, and makes the slice that brings the rest of them; no slice when they are all.
#[expect(clippy::too_many_arguments, reason = "what records are to a stream depends on all of it")]
fn within(
    plan: &Plan,
    source: SourceId,
    child: &StreamPlan,
    job: &Job,
    values: &Params,
    connection: &Connection,
    now: Timestamp,
    all: &mut Offspring,
) -> Result<Vec<NewSlice>, RenderError> {
    let rest = match &connection.cursor {
        Some(cursor) => vec![continued(child, source, values.clone(), job, cursor)?],
        None => Vec::new(),
    };
    let (mut read, notes) = records_of(connection.records.clone(), &child.rules, &included(child, values));
    all.notes.extend(notes);
    keep(child, &mut read);
    let below = offspring(plan, child, job, values, &read, now);
    all.slices.extend(below.slices);
    all.nested.extend(below.nested);
    all.notes.extend(below.notes);
    match all.nested.iter_mut().find(|(known, _)| *known == source) {
        Some((_, items)) => items.extend(read.items),
        None if read.items.is_empty() => {}
        None => all.nested.push((source, read.items)),
    }
    Ok(rest)
}

/// Drops the records that the user's filter of the stream does not let pass.
pub(super) fn keep(stream: &StreamPlan, read: &mut ReadRecords) {
    let Some(filter) = &stream.filter else { return };
    let passes: Vec<bool> = read.items.iter().map(|item| filter.passes(&item.data)).collect();
    let mut each = passes.iter();
    read.items.retain(|_| each.next().copied().unwrap_or(true));
    let mut each = passes.iter();
    read.nested.retain(|_| each.next().copied().unwrap_or(true));
}

fn value_of(field: &FieldOf, params: &Params, record: &Value) -> Value {
    let found = match field {
        FieldOf::Record(at) => at.find(record),
        FieldOf::Slice(name) => params.get(name),
    };
    found.cloned().unwrap_or(Value::Null)
}
