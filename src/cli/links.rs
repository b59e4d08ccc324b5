//! How streams hang on each other: what each record gets of its slice, and what each slice holds of a record.
//!
//! Enters: the configuration. Leaves: rules for the children of each stream. Deliberately absent: the slices themselves.

use std::collections::HashMap;

use anyhow::Context as _;

use crate::config::{Config, Stream};
use crate::engine::{ChildRule, FieldOf, Source};
use crate::interpret::{JsonAt, NestedAt};
use crate::job::SourceId;
use crate::store::SourceRow;

/// The member that a record gets for a name of `include`, and the value of the slice that it holds: `number` of the parent `issues`
/// becomes `_issues_number`, `each` becomes `_each`.
fn included(stream: &Stream, name: &str) -> (String, String) {
    match &stream.keys.parent {
        Some(parent) => (format!("_{}_{}", parent.stream, name.replace('.', "_")), format!("{}.{name}", parent.stream)),
        None => (format!("_{name}"), name.to_owned()),
    }
}

/// What of its slice each record of a stream gets. One that comes within a record of another stream has at least that one's key, and the
/// fields that its own requests need of a record without one.
pub(super) fn includes(config: &Config, stream: &Stream) -> Vec<(String, String)> {
    let names = &stream.keys.include;
    let parent = stream.keys.parent.as_ref().filter(|_| names.is_empty() && stream.paginate.nested.is_some());
    let Some(parent) = parent else { return names.iter().map(|name| included(stream, name)).collect() };
    let above = config.apis.iter().find(|other| other.name == format!("{}.{}", api_of(stream), parent.stream));
    let key = above.map_or(&[][..], |above| &above.key);
    let mut names: Vec<String> = key.iter().map(|at| at.as_str().trim_start_matches("$.").to_owned()).collect();
    if names.is_empty() {
        let used = stream.first.names_used();
        let fields = used.iter().filter_map(|name| name.strip_prefix(&parent.stream)?.strip_prefix('.'));
        names.extend(fields.map(str::to_owned));
    }
    names.iter().map(|name| included(stream, name)).collect()
}

/// The name of the API that a stream belongs to.
fn api_of(stream: &Stream) -> &str {
    stream.name.split('.').next().unwrap_or_default()
}

/// Tells each stream which others hang on its records, and what of them those need.
pub(super) fn link_children(
    config: &Config,
    sources: &mut HashMap<SourceId, Source>,
    rows: &[SourceRow],
) -> anyhow::Result<()> {
    let siblings: Vec<(&Stream, SourceId)> = config.apis.iter().zip(rows.iter().map(|row| row.id)).collect();
    let parent_of = |stream: &Stream| {
        let parent = format!("{}.{}", api_of(stream), stream.keys.parent.as_ref()?.stream);
        siblings.iter().find(|(other, _)| other.name == parent)
    };
    // What a stream's slices must hold: what it uses itself, and what those below it take from its slices.
    let mut needed: HashMap<&str, Vec<String>> = HashMap::new();
    for (stream, _) in &siblings {
        let of_include = includes(config, stream).into_iter().map(|(_, value)| value);
        needed.insert(&stream.name, stream.first.names_used().into_iter().chain(of_include).collect());
    }
    // As deep as streams can hang on each other.
    for _ in 0..siblings.len() {
        for (stream, _) in &siblings {
            let (Some((above, _)), Some(link)) = (parent_of(stream), &stream.keys.parent) else { continue };
            let passed: Vec<String> = needed[stream.name.as_str()]
                .iter()
                .filter_map(|name| name.strip_prefix(&link.stream)?.strip_prefix('.'))
                .filter(|field| is_of_slice(above, field))
                .map(str::to_owned)
                .collect();
            let names = needed.entry(&above.name).or_default();
            names.extend(passed);
            names.sort();
            names.dedup();
        }
    }
    for (stream, id) in &siblings {
        let (Some((above, above_id)), Some(link)) = (parent_of(stream), &stream.keys.parent) else { continue };
        let mut fields = Vec::new();
        for name in &needed[stream.name.as_str()] {
            let Some(field) = name.strip_prefix(&link.stream).and_then(|rest| rest.strip_prefix('.')) else { continue };
            let from = if is_of_slice(above, field) {
                FieldOf::Slice(field.to_owned())
            } else {
                FieldOf::Record(JsonAt::parse(field).with_context(|| format!("[api.{}]: {{{name}}}", stream.name))?)
            };
            fields.push((name.clone(), from));
        }
        if let Some(Source::Stream(plan)) = sources.get_mut(id) {
            plan.schedule.parent = Some(*above_id);
        }
        if let Some(Source::Stream(plan)) = sources.get_mut(above_id) {
            let nested = stream.paginate.nested.as_ref().map(|at| {
                plan.rules.nested.push(NestedAt::new(at.clone(), &stream.records));
                plan.rules.nested.len() - 1
            });
            plan.children.push(ChildRule { source: *id, filter: link.filter.clone(), nested, fields });
        }
    }
    Ok(())
}

/// Whether a field of a parent is a value of its slice, and not of its records: `{issues.each}`, `{comments.issues.number}`.
fn is_of_slice(parent: &Stream, field: &str) -> bool {
    let is_each = field == "each" && (!parent.keys.each.is_empty() || parent.keys.each_file.is_some());
    let is_above = parent
        .keys
        .parent
        .as_ref()
        .is_some_and(|above| field.strip_prefix(&above.stream).is_some_and(|rest| rest.starts_with('.')));
    is_each || is_above
}
