//! Response to meaning: what an answer says, read out of its bytes.
//!
//! Enters: a whole [`Fetched`](crate::exchange::Fetched) and the rules of its source. Leaves: links, titles and directives of
//! pages ([`page`]), entries of sitemaps and feeds ([`sitemap`], [`feed`]), records and the next request of APIs
//! ([`api_page`]). Whatever the bytes are, reading them never fails: what is broken or too large becomes a note beside what
//! could be read, or, where going on would lose records in silence, a [`Next::Stop`] with its reason.
//! Deliberately absent: I/O, time, and rules about whether a link is worth a job (`policy` has those).

mod aliases;
mod answer_at;
mod api;
mod canonical_json;
mod charset;
mod directives;
mod entities;
mod errors;
mod feed;
mod filter;
mod gunzip;
mod html;
mod items;
mod json_path;
mod kind;
mod link_header;
mod markup;
mod notes;
mod page;
#[cfg(test)]
mod page_tests;
mod paging;
mod records;
mod sitemap;
#[cfg(test)]
mod testing;
mod tree_cost;
mod wide_integers;

pub use aliases::{Aliased, AliasesMeaning, aliased};
pub use answer_at::AnswerAt;
pub use api::{ApiMeaning, Next, ReadRecords, StreamRules, api_page, records_of};
pub use directives::Directives;
pub use errors::{ErrorAction, ErrorRule, error_rule, speaks_of_a_limit};
pub use feed::{FeedEntry, FeedMeaning, feed};
pub use filter::RecordFilter;
pub use items::{ItemRuleError, ItemRules, ItemSpec, Take};
pub use json_path::{JsonAt, JsonAtError};
pub use kind::{DocumentKind, document_kind};
pub use page::{Link, LinkKind, PageMeaning, PageRules, page};
pub use paging::{
    Connection, Continuation, Cursor, Ends, GraphqlCursor, ItemRange, Keyset, KeysetOrder, NestedAt, Offset,
    PageNumber, Paginate, StopSign,
};
pub use records::Records;
pub use sitemap::{SitemapEntry, SitemapMeaning, sitemap};
