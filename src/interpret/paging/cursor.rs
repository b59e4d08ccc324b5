//! A token that is sent back.

use serde_json::Value;

use super::seen::{Seen, is_end, is_web_address, kind_of};
use crate::interpret::answer_at::AnswerAt;
use crate::interpret::api::Next;
use crate::interpret::notes::Notes;
use crate::job::Target;

/// A token of the answer that goes into the next request: a text or a number; or an object or a list, which goes into a JSON
/// body as it is (DynamoDB's `LastEvaluatedKey`, Elasticsearch's `search_after`) and elsewhere as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Where it comes from. At the end it is null, empty, false, 0 or missing. A header's value that is an address is taken
    /// as the next address (Kinto's `Next-Page`).
    pub from: AnswerAt,
    /// Where it goes.
    pub send: Target,
}

impl Cursor {
    pub(super) fn next(&self, seen: &Seen<'_>, notes: &mut Notes) -> Next {
        let token = match self.from.value(seen.fetched, seen.document) {
            value if is_end(value.as_ref()) => return Next::End,
            // The first page has no cursor, so none leads to 0 but the last (Redis' SCAN and its kin).
            Some(Value::Number(number)) if number.as_f64() == Some(0.0) => return Next::End,
            Some(token @ Value::Bool(_)) => {
                return Next::Stop(format!("the cursor at {} is {}, which is no cursor", self.from, kind_of(&token)));
            }
            Some(token) => token,
            None => return Next::End,
        };
        if let (AnswerAt::Header(_), Value::String(token)) = (&self.from, &token)
            && is_web_address(token)
        {
            return seen.go_to(token);
        }
        if seen.records == 0 && seen.is_sent(&self.send, &token) {
            notes.add("the last page is empty and repeats its cursor: taken as the end");
            return Next::End;
        }
        seen.go_with(&self.send, &token)
    }
}
