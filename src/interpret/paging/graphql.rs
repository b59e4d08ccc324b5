//! By the `pageInfo` of a GraphQL connection (Relay's specification of cursor connections).
//!
//! One connection is walked. Connections within its records (the comments of each issue) are streams of their own; where one goes on
//! beyond what came and no stream is for it, a note says so.

use serde_json::{Map, Value};

use super::Paginate;
use super::seen::{Seen, is_end, truth_of};
use crate::interpret::api::Next;
use crate::interpret::json_path::JsonAt;
use crate::interpret::notes::Notes;
use crate::job::{Payload, Target};

/// `endCursor` goes into a variable of the query while `hasNextPage` is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphqlCursor {
    /// Where the `pageInfo` is; none for the only one that is not within a list.
    pub page_info: Option<JsonAt>,
    /// The variable, without its `$`; `endCursor` by custom.
    pub variable: String,
}

impl GraphqlCursor {
    pub(super) fn next(&self, seen: &Seen<'_>, notes: &mut Notes) -> Next {
        if let Some(errors) = seen.document.get("errors").filter(|errors| truth_of(Some(errors))) {
            notes.add(format!("the answer has errors beside its data: {errors}"));
        }
        let mut found = Vec::new();
        collect(seen.document, &mut found);
        let info = match self.page_info(seen.document, &found) {
            Ok(info) => info,
            Err(words) => return Next::Stop(words),
        };
        if !has_next(info) {
            return Next::End;
        }
        let Some(cursor) = info.get("endCursor").filter(|cursor| !is_end(Some(cursor))) else {
            return Next::Stop(
                "hasNextPage is true, but there is no endCursor: ask for pageInfo { hasNextPage endCursor } in the query"
                    .to_owned(),
            );
        };
        if !matches!(seen.call.extra.body, Some(Payload::Json(_))) {
            return Next::Stop("the request has no JSON body whose variables could take the cursor".to_owned());
        }
        seen.go_with(&self.target(), cursor)
    }

    /// Where the cursor goes.
    #[must_use]
    pub fn target(&self) -> Target {
        Target::Body(vec!["variables".to_owned(), self.variable.clone()])
    }

    /// The `pageInfo` to go by; `found` are those of the document.
    fn page_info<'v>(
        &self,
        document: &'v Value,
        found: &[&'v Map<String, Value>],
    ) -> Result<&'v Map<String, Value>, String> {
        if let Some(at) = &self.page_info {
            let info = at.first(document).and_then(Value::as_object);
            return info.ok_or_else(|| format!("no pageInfo is at {at}: check `paginate.page_info`"));
        }
        let mut going_on = found.iter().filter(|info| has_next(info));
        let first = going_on.next();
        if going_on.next().is_some() {
            return Err(
                "several lists of the answer go on: set `paginate.page_info` to the pageInfo of the one to walk"
                    .to_owned(),
            );
        }
        let info = first.or_else(|| found.first()).copied();
        info.ok_or_else(|| {
            "the answer has no pageInfo: ask for pageInfo { hasNextPage endCursor } in the query".to_owned()
        })
    }
}

pub(super) fn has_next(info: &Map<String, Value>) -> bool {
    truth_of(info.get("hasNextPage"))
}

/// The `pageInfo` objects outside of lists, in order of their names.
fn collect<'v>(value: &'v Value, found: &mut Vec<&'v Map<String, Value>>) {
    let Value::Object(members) = value else { return };
    for (name, member) in members {
        match member {
            Value::Object(info) if name == "pageInfo" => found.push(info),
            _ => collect(member, found),
        }
    }
}

/// Tells of lists within records that go on beyond what came.
pub(in crate::interpret) fn note_inner(paginate: &Paginate, records: &[Value], notes: &mut Notes) {
    // Other schemes are not those of GraphQL; where there is but one page, nobody knows.
    if !matches!(paginate, Paginate::Graphql(_) | Paginate::None) {
        return;
    }
    let inner: u64 = records.iter().map(going_on).sum();
    if inner > 0 {
        notes.add(format!(
            "{inner} lists within the records go on beyond what came: pull those as a stream of their own, with `nested`"
        ));
    }
}

/// How many lists within a value go on.
fn going_on(value: &Value) -> u64 {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| match member {
                Value::Object(info) if name == "pageInfo" => u64::from(has_next(info)),
                _ => going_on(member),
            })
            .sum(),
        Value::Array(list) => list.iter().map(going_on).sum(),
        _ => 0,
    }
}
