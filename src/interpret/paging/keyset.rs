//! By the last value of a field that the records are sorted by: `since=`, `after_id=`, `max_id=`.

use std::cmp::Ordering;

use serde_json::Value;

use super::ends::{Done, Ends};
use super::seen::{Seen, Sign};
use crate::interpret::api::Next;
use crate::interpret::json_path::JsonAt;
use crate::interpret::notes::Notes;
use crate::job::{Target, is_ordered_by_meaning, order_of, text_of};

/// The next page starts at, or after, the last value of this one.
///
/// Servers differ in whether they give the records of that very value again. Both are walked: what comes again is the same
/// record by its key, and a page of nothing but what was asked for is the end where it is not full. A full page of one value
/// alone cannot be passed either way (the next would be the same one, or leave out what did not fit), so that it stops the
/// stream. Of a server that gives only what lies behind the value, no page can show that records of equal value were cut
/// apart: such a one is to be paged by a field whose values differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyset {
    /// The field of a record. Must be what the server sorts by.
    pub field: JsonAt,
    /// Where its value goes.
    pub send: Target,
    /// How the server sorts.
    pub order: KeysetOrder,
}

/// How a server sorts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeysetOrder {
    /// The least value first.
    #[default]
    Asc,
    /// The greatest value first.
    Desc,
}

impl Keyset {
    pub(super) fn next(&self, seen: &Seen<'_>, ends: &Ends, notes: &mut Notes) -> Next {
        match ends.of_counted(seen, Done::default(), notes) {
            Sign::End => return Next::End,
            Sign::Torn(words) => return Next::Stop(words),
            Sign::More | Sign::Open => {}
        }
        let values: Option<Vec<Value>> = seen.field_of_each(&self.field).into_iter().collect();
        let Some(values) = values.filter(|values| values.iter().all(|value| !value.is_null())) else {
            return Next::Stop(format!("a record lacks {}, the field of the keyset", self.field));
        };
        let (Some(first), Some(last)) = (values.first(), values.last()) else {
            return Next::Stop(
                "the page is empty, so that no value leads on: name what ends the stream in `stop`".to_owned(),
            );
        };
        if let Some((one, other)) = values.iter().zip(&values[1..]).find(|(one, other)| self.is_astray(one, other)) {
            return Next::Stop(format!(
                "{} goes from {} to {}, which is not the order of the keyset: have the server sort by it, or set `order`",
                self.field,
                text_of(one),
                text_of(other)
            ));
        }
        let sent = seen.call.value_at(&self.send);
        let is_sent = |value: &Value| sent.as_ref().is_some_and(|sent| is_same(sent, value));
        if is_same(first, last) {
            return match (values.len(), ends.size) {
                // The one record that led here, given again.
                (1, None) if is_sent(last) => Next::End,
                (1, None) => seen.go_with(&self.send, last),
                (len, size) => Next::Stop(self.tie(last, len, size)),
            };
        }
        if sent.as_ref().is_some_and(|sent| is_sent(last) || self.is_astray(sent, last)) {
            return Next::Stop(format!(
                "the page does not get past {}, which was sent: the server does not heed {}",
                text_of(last),
                self.send
            ));
        }
        seen.go_with(&self.send, last)
    }

    /// Whether two values that follow each other are in the wrong order. How a server sorts plain text is its own matter.
    fn is_astray(&self, one: &Value, other: &Value) -> bool {
        let wrong = match self.order {
            KeysetOrder::Asc => Ordering::Greater,
            KeysetOrder::Desc => Ordering::Less,
        };
        is_ordered_by_meaning(one) && is_ordered_by_meaning(other) && order_of(one, other) == Some(wrong)
    }

    fn tie(&self, value: &Value, len: usize, size: Option<u32>) -> String {
        let value = text_of(value);
        let field = &self.field;
        match size {
            Some(size) => format!(
                "a full page of {size} records has {field} = {value} alone, so that what follows cannot be asked for: \
                 ask for larger pages, or page by a field whose values differ"
            ),
            None => format!(
                "all {len} records of the page have {field} = {value}, and whether it is full is not known: set `size` to \
                 the records of a full page, or page by a field whose values differ"
            ),
        }
    }
}

fn is_same(one: &Value, other: &Value) -> bool {
    order_of(one, other) == Some(Ordering::Equal)
}
