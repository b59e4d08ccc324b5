//! What a perfect crawl finds.

use std::collections::{BTreeMap, BTreeSet};

/// Everything that the practice web knows about itself: absolute addresses, spelled as a crawler's canonical form spells
/// them (no fragment, no tracking parameters).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// HTML pages that answer 200, at the latest on the third try, and that links, redirects, meta refreshes or sitemaps lead to.
    pub pages: BTreeSet<String>,
    /// What links or robots.txt lead to and answers 200, but is no page: robots.txt, sitemaps, feeds, downloads.
    pub documents: BTreeSet<String>,
    /// Addresses that are linked and answer 404 or 410.
    pub gone: BTreeSet<String>,
    /// Addresses that are linked and answer 500 for ever.
    pub dead: BTreeSet<String>,
    /// Addresses that are linked or redirected to and answer with a redirect; those of the loop lead nowhere.
    pub redirects: BTreeSet<String>,
    /// Addresses that are linked and that robots.txt forbids; they would answer 200.
    pub disallowed: BTreeSet<String>,
    /// Addresses that only links with `rel="nofollow"` lead to; they would answer 200.
    pub nofollowed: BTreeSet<String>,
    /// Records of each API, by the address of its first page.
    pub records: BTreeMap<String, u32>,
}
