//! The rules of a private cache (RFC 9111 and RFC 9110) for pages that are crawled again: whether to ask, how to ask, what an
//! answer means for what is held, and when to ask next.
//!
//! Enters: what is held of a page, the request as it would go out, its answer, `now` and dice. Leaves: [`Ask`], [`Verdict`] and
//! [`Recrawl`]. Deliberately absent: where bodies lie, and answers to others: nobody waits here for an answer that is held, so
//! `stale-while-revalidate`, parts of bodies, HEAD and several variants of one request have no rule. Only GET and POST that read
//! are sent, so nothing that is held becomes invalid by a request of our own.

mod ask;
mod control;
mod date;
mod fields;
mod freshness;
mod named_date;
mod recrawl;
mod settings;
mod stored;
#[cfg(test)]
mod suite_tests;
mod validators;
mod variant;
mod verdict;

pub(super) use control::CacheControl;

pub use ask::{Ask, InFull, Wish, ask};
pub use freshness::Freshness;
pub use named_date::NamedDate;
pub use recrawl::{Every, Recrawl, RecrawlSettings, due_when_named, recrawl};
pub use settings::{CacheMode, CacheSettings};
pub use stored::{Change, ContentHash, Stored};
pub use validators::Validators;
pub use variant::{Sent, Variant};
pub use verdict::{Verdict, judge};
