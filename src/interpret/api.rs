//! One page of an API: its records and what comes after it.

use super::charset::{self, Syntax};
use super::json_path::JsonAt;
use super::notes::Notes;
use super::paging::{Connection, Ends, NestedAt, Paginate, Seen, note_inner};
use super::records::{self, Records};
use super::wide_integers;
use crate::exchange::{BodyEnd, Fetched};
use crate::job::{Call, NewItem, Params, Target};
use serde_json::Value;

/// How the pages of one stream are read.
#[derive(Clone, Debug, Default)]
pub struct StreamRules {
    /// Where the records are.
    pub records: Records,
    /// How a page leads to the next.
    pub paginate: Paginate,
    /// What ends the stream beside that.
    pub ends: Ends,
    /// Where the size of a page goes in each request; none: it is not sent.
    pub size_send: Option<Target>,
    /// What makes a record the same when it comes again; empty: all of it.
    pub key: Vec<JsonAt>,
    /// Pages that are taken at most; 0 means all. Wins over everything that the answers say.
    pub pages_max: u32,
    /// Connections within each record whose records are for other streams.
    pub nested: Vec<NestedAt>,
}

impl StreamRules {
    /// The request for the first page, from `call`, the stream's own: with the size of a page, and with the range, where the
    /// stream has them. What a page leads to has them by itself.
    #[must_use]
    pub fn first_call(&self, mut call: Call) -> Call {
        self.paginate.first(&mut call, &self.ends, self.size_send.as_ref());
        call
    }
}

/// What one page of an API says.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiMeaning {
    /// Its records.
    pub read: ReadRecords,
    /// What comes after it.
    pub next: Next,
    /// Records on it, before anything is left out.
    pub records_seen: u64,
    /// What was odd, in words.
    pub notes: Vec<String>,
}

/// Records as they are stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadRecords {
    /// The records, in order.
    pub items: Vec<NewItem>,
    /// What was taken out of each, in the order of the records and of [`StreamRules::nested`]; none for what was not there. Empty when
    /// there are no such rules.
    pub nested: Vec<Vec<Option<Connection>>>,
}

/// What comes after a page.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// Nothing: the stream is complete.
    End,
    /// Another page.
    Go {
        /// Its request; the address is absolute, http or https, without a fragment.
        call: Box<Call>,
        /// Whether it lies at another origin, where credentials must not go unless the user said so.
        off_origin: bool,
    },
    /// It cannot be known, and going on would lose records in silence: what is wrong, and the setting that is likely needed.
    Stop(String),
}

/// Reads one page of an API. `call` is the request that it answers, without what identifies us; `page_ordinal` is 0 for the first page of the stream.
/// `added` are members that each record gets. Never fails: what cannot be read becomes a [`Next::Stop`].
#[must_use]
pub fn api_page(fetched: &Fetched, rules: &StreamRules, call: &Call, page_ordinal: u32, added: &Params) -> ApiMeaning {
    let mut notes = Notes::default();
    if rules.paginate.takes_status(fetched.status) {
        return ApiMeaning::empty(Next::End, notes);
    }
    let decoded = charset::decode(fetched, &fetched.body, Syntax::Json, &mut notes);
    let wide = wide_integers::quoted(&decoded.text);
    let text = wide.as_ref().map_or(&*decoded.text, |(text, _)| text);
    let document: Value = match serde_json::from_str(text) {
        Ok(document) => document,
        Err(error) => return ApiMeaning::empty(Next::Stop(not_json(fetched, &error)), notes),
    };
    if let Some((_, count)) = wide {
        notes.add(format!("{count} whole numbers of more than 64 bits are stored as texts, so that no digit is lost"));
    }
    // Pagination looks at the whole document, and the records are moved out of it only then: a copy of them would double
    // the memory that a page takes.
    let located = rules.records.locate(&document, page_ordinal, &mut notes);
    let records_seen = located.as_ref().map_or(0, |located| located.count(&document));
    let (found, mut next) = match located {
        Ok(located) => {
            let seen =
                Seen { fetched, document: &document, call, page_ordinal, records: records_seen, located: &located };
            let next = rules.paginate.next(&seen, &rules.ends, &mut notes);
            (located.take(document), next)
        }
        Err(problem) => (Vec::new(), Next::Stop(problem)),
    };
    if rules.pages_max > 0 && page_ordinal.saturating_add(1) >= rules.pages_max && next != Next::End {
        notes.add(format!("ended by pages_max = {}: there is more", rules.pages_max));
        next = Next::End;
    }
    let read = read_records(found, rules, added, &mut notes);
    ApiMeaning { read, next, records_seen, notes: notes.into_vec() }
}

/// Makes of values that came within an answer to another stream the records that this one would have made of them, with notes.
#[must_use]
pub fn records_of(found: Vec<Value>, rules: &StreamRules, added: &Params) -> (ReadRecords, Vec<String>) {
    let mut notes = Notes::default();
    let read = read_records(found, rules, added, &mut notes);
    (read, notes.into_vec())
}

fn read_records(mut found: Vec<Value>, rules: &StreamRules, added: &Params, notes: &mut Notes) -> ReadRecords {
    let nulls = found.iter().filter(|record| record.is_null()).count();
    if nulls > 0 {
        notes.add(format!("{nulls} records are null and left out"));
        found.retain(|record| !record.is_null());
    }
    let mut nested = Vec::new();
    if !rules.nested.is_empty() {
        nested.extend(found.iter_mut().map(|record| rules.nested.iter().map(|at| at.take(record)).collect()));
    }
    note_inner(&rules.paginate, &found, notes);
    if !added.is_empty() {
        for members in found.iter_mut().filter_map(Value::as_object_mut) {
            members.extend(added.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
    }
    ReadRecords { items: records::with_keys(found, &rules.key, notes), nested }
}

impl ApiMeaning {
    fn empty(next: Next, notes: Notes) -> Self {
        Self { read: ReadRecords::default(), next, records_seen: 0, notes: notes.into_vec() }
    }
}

pub(super) fn not_json(fetched: &Fetched, error: &serde_json::Error) -> String {
    match &fetched.body_end {
        BodyEnd::TooLarge { bytes_max } => {
            format!("the answer is longer than the cap of {bytes_max} bytes: raise it, or ask for smaller pages")
        }
        BodyEnd::Cut { cause } => format!("the answer broke off: {cause}"),
        BodyEnd::Unwanted => "the answer was not read: its media type is not wanted".to_owned(),
        BodyEnd::Whole => {
            let media_type = fetched.headers.get("content-type").unwrap_or("no media type");
            format!("the answer is not JSON: {error} ({media_type})")
        }
    }
}
