//! One page of an API: its records and what comes after it.

use super::charset::{self, Syntax};
use super::json_path::JsonAt;
use super::notes::Notes;
use super::paginate::{Paginate, Seen};
use super::records::{self, Records};
use crate::exchange::{BodyEnd, Fetched};
use crate::job::{Call, NewItem};
use serde_json::Value;

/// How the pages of one stream are read.
#[derive(Clone, Debug, Default)]
pub struct StreamRules {
    /// Where the records are.
    pub records: Records,
    /// How a page leads to the next.
    pub paginate: Paginate,
    /// What makes a record the same when it comes again; empty: all of it.
    pub key: Vec<JsonAt>,
    /// Pages that are taken at most; 0 means all. Wins over everything that the answers say.
    pub pages_max: u32,
}

/// What one page of an API says.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiMeaning {
    /// Its records, in order.
    pub items: Vec<NewItem>,
    /// What comes after it.
    pub next: Next,
    /// Records on it, before anything is left out.
    pub records_seen: u64,
    /// What was odd, in words.
    pub notes: Vec<String>,
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
/// Never fails: what cannot be read becomes a [`Next::Stop`].
#[must_use]
pub fn api_page(fetched: &Fetched, rules: &StreamRules, call: &Call, page_ordinal: u32) -> ApiMeaning {
    let mut notes = Notes::default();
    let decoded = charset::decode(fetched, &fetched.body, Syntax::Json, &mut notes);
    let document: Value = match serde_json::from_str(&decoded.text) {
        Ok(document) => document,
        Err(error) => {
            let next = Next::Stop(not_json(fetched, &error));
            return ApiMeaning { items: Vec::new(), next, records_seen: 0, notes: notes.into_vec() };
        }
    };
    // Pagination looks at the whole document, and the records are moved out of it only then: a copy of them would double
    // the memory that a page takes.
    let located = rules.records.locate(&document, page_ordinal, &mut notes);
    let records_seen = located.as_ref().map_or(0, |located| located.count(&document));
    let (found, mut next) = match located {
        Ok(located) => {
            let seen = Seen { fetched, document: &document, call, page_ordinal, records: records_seen };
            let next = rules.paginate.next(&seen, &mut notes);
            (located.take(document), next)
        }
        Err(problem) => (Vec::new(), Next::Stop(problem)),
    };
    if rules.pages_max > 0 && page_ordinal.saturating_add(1) >= rules.pages_max && next != Next::End {
        notes.add(format!("ended by pages_max = {}: there is more", rules.pages_max));
        next = Next::End;
    }
    let items = records::with_keys(found, &rules.key, &mut notes);
    ApiMeaning { items, next, records_seen, notes: notes.into_vec() }
}

fn not_json(fetched: &Fetched, error: &serde_json::Error) -> String {
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
