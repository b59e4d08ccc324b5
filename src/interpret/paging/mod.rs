//! Pagination: from one page of an API to the request for the next.
//!
//! Enters: an answer, the request that it answers, and how the stream is paged. Leaves: [`Next`]. Each way of paging has a file
//! of its own; what ends a stream beside their own signs is in [`Ends`]. Deliberately absent: memory of earlier pages. All that
//! a page needs to know of them stands in its own request, so that a walk goes on after a crash from any page; circles over
//! several pages (A, B, A) are found where jobs are stored.

mod auto;
mod continuation;
mod counted;
mod cursor;
mod ends;
mod graphql;
mod item_range;
mod keyset;
mod nested;
mod seen;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk_tests;

pub use continuation::Continuation;
pub use counted::{Offset, PageNumber};
pub use cursor::Cursor;
pub use ends::{Ends, StopSign};
pub use graphql::GraphqlCursor;
pub use item_range::ItemRange;
pub use keyset::{Keyset, KeysetOrder};
pub use nested::{Connection, NestedAt};

pub(super) use graphql::note_inner;
pub(super) use seen::{Seen, truth_of};

use serde_json::Value;

use super::api::Next;
use super::json_path::JsonAt;
use super::notes::Notes;
use crate::job::{Call, Target};
use seen::{Sign, is_end, kind_of, link_target};

/// How a stream leads to its next page. Records are counted as they came, before any filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Paginate {
    /// By the two forms that say themselves what to do: a `Link` header with `rel=next`, or a next address in the body.
    /// Signs of any other form stop the stream with the setting that is likely needed.
    #[default]
    Auto,
    /// One page is all.
    None,
    /// By the `Link` header (RFC 8288).
    Link {
        /// The relation type; `next` for nearly all.
        rel: String,
    },
    /// By an address in the body: absolute or relative; null, empty, false or missing at the end.
    NextUrl {
        /// Where it is.
        path: JsonAt,
    },
    /// By a token that is sent back.
    Cursor(Cursor),
    /// By number: 1, 2, 3.
    Page(PageNumber),
    /// By position: 0, 100, 200.
    Offset(Offset),
    /// By the last value of a field that the records are sorted by.
    Keyset(Keyset),
    /// By an object whose members all go into the next request (MediaWiki's `continue`).
    Params(Continuation),
    /// By `Range` and `Content-Range` (RFC 9110 section 14) in units of records.
    Range(ItemRange),
    /// By the `pageInfo` of a GraphQL connection (Relay's specification of cursor connections).
    Graphql(GraphqlCursor),
}

impl Paginate {
    /// Whether a page is asked for by a token that the server may forget.
    #[must_use]
    pub fn has_cursor(&self) -> bool {
        match self {
            Self::Auto
            | Self::Link { .. }
            | Self::NextUrl { .. }
            | Self::Cursor(_)
            | Self::Params(_)
            | Self::Graphql(_) => true,
            Self::None | Self::Page(_) | Self::Offset(_) | Self::Keyset(_) | Self::Range(_) => false,
        }
    }

    /// Makes the request for the first page out of the stream's own, which says nothing of pages yet.
    pub(super) fn first(&self, call: &mut Call, ends: &Ends, size_send: Option<&Target>) {
        if let (Some(target), Some(size)) = (size_send, ends.size) {
            call.set(target, &Value::from(size));
        }
        if let Self::Range(range) = self {
            range.ask(call, 0, ends.size);
        }
    }

    /// What comes after this page.
    pub(super) fn next(&self, seen: &Seen<'_>, ends: &Ends, notes: &mut Notes) -> Next {
        match self {
            Self::None => return Next::End,
            Self::Page(page) => return page.next(seen, ends, notes),
            Self::Offset(offset) => return offset.next(seen, ends, notes),
            Self::Range(range) => return range.next(seen, ends, notes),
            Self::Keyset(keyset) => return keyset.next(seen, ends, notes),
            _ => {}
        }
        // The others follow what the answer gives them.
        let sign = ends.of_led(seen, notes);
        if sign == Sign::End {
            return Next::End;
        }
        let next = match self {
            Self::Auto => auto::next(seen),
            Self::Link { rel } => link_target(seen.fetched, rel).map_or(Next::End, |target| seen.go_to(&target)),
            Self::NextUrl { path } => next_url(seen, path),
            Self::Cursor(cursor) => cursor.next(seen, notes),
            Self::Params(params) => params.next(seen),
            Self::Graphql(graphql) => graphql.next(seen, notes),
            Self::None | Self::Page(_) | Self::Offset(_) | Self::Range(_) | Self::Keyset(_) => Next::End,
        };
        if sign == Sign::More && next == Next::End {
            return Next::Stop(
                "`has_more` says that there is more, but nothing in the answer leads there: check `paginate`"
                    .to_owned(),
            );
        }
        next
    }

    /// Whether an answer of this status, no success elsewhere, is one to this way of asking.
    pub(super) fn takes_status(&self, status: u16) -> bool {
        matches!(self, Self::Range(_)) && status == item_range::NOT_SATISFIABLE
    }
}

fn next_url(seen: &Seen<'_>, path: &JsonAt) -> Next {
    match path.first(seen.document) {
        value if is_end(value) => Next::End,
        Some(Value::String(target)) => seen.go_to(target),
        Some(other) => Next::Stop(format!("{} at `paginate.path` ({path}) is not an address", kind_of(other))),
        None => Next::End,
    }
}
