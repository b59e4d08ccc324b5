//! What an answer is to be read as.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kinds of job. The numbers are stored; a landed one never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// A web page or any other document of a site.
    Page,
    /// A host's robots.txt; the pages of the host wait for it.
    Robots,
    /// A sitemap or an index of sitemaps, plain or gzip.
    Sitemap,
    /// An RSS, Atom or JSON feed.
    Feed,
    /// One page of an API stream; its next page commits with its records.
    ApiPage,
}

impl JobKind {
    /// All kinds, for tables and tests.
    pub const ALL: [Self; 5] = [Self::Page, Self::Robots, Self::Sitemap, Self::Feed, Self::ApiPage];

    /// The number in the store.
    #[must_use]
    pub fn code(self) -> i64 {
        match self {
            Self::Page => 0,
            Self::Robots => 1,
            Self::Sitemap => 2,
            Self::Feed => 3,
            Self::ApiPage => 4,
        }
    }

    /// The kind with this number; none for a number that this version does not know.
    #[must_use]
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Page => "page",
            Self::Robots => "robots",
            Self::Sitemap => "sitemap",
            Self::Feed => "feed",
            Self::ApiPage => "api page",
        })
    }
}
