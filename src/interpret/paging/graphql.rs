//! By the `pageInfo` of a GraphQL connection (Relay's specification of cursor connections).
//!
//! One connection is walked. Connections within its records (the comments of each issue) need a query of their own for each
//! record, which is a stream of its own; where such a one goes on beyond what came, a note says so.

use serde_json::{Map, Value};

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
        let mut inner = 0_u64;
        let mut found = Vec::new();
        collect(seen.document, false, &mut found, &mut inner);
        if inner > 0 {
            notes.add(format!(
                "{inner} lists within the records go on beyond what came: pull those as a stream of their own"
            ));
        }
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
        seen.go_with(&Target::Body(vec!["variables".to_owned(), self.variable.clone()]), cursor)
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

fn has_next(info: &Map<String, Value>) -> bool {
    truth_of(info.get("hasNextPage"))
}

/// The `pageInfo` objects outside of lists, in order of their names, and how many within lists go on.
fn collect<'v>(value: &'v Value, in_list: bool, found: &mut Vec<&'v Map<String, Value>>, inner: &mut u64) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::Object(info) if name == "pageInfo" && in_list => *inner += u64::from(has_next(info)),
                    Value::Object(info) if name == "pageInfo" => found.push(info),
                    _ => collect(member, in_list, found, inner),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|element| collect(element, true, found, inner)),
        _ => {}
    }
}
