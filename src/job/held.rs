//! What is held of a job's last answer, as plain data: what the rules of a cache need to ask for it only if it changed; and what others
//! say of when it changed.

use crate::clock::Timestamp;

/// What is held of the last answer to a job that is asked once more. Its body lies in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The status of the answer, 200..=599; 404 and 410 are tombstones.
    pub status: u16,
    /// Its headers, as later 304 changed them; empty for a tombstone.
    pub headers: Vec<(String, String)>,
    /// Which requests it answers: JSON that the cache rules wrote.
    pub variant: String,
    /// Hash over the request as it was sent and the rules by which the answer was read.
    pub basis: [u8; 16],
    /// When the request was sent that last confirmed it.
    pub requested_at: Timestamp,
    /// When the headers of that answer had come.
    pub answered_at: Timestamp,
    /// When its body had come.
    pub fetched_at: Timestamp,
    /// BLAKE3 over the decoded body; none when it was not read whole.
    pub content: Option<[u8; 32]>,
    /// When the page was first there; none when it never was.
    pub first_at: Option<Timestamp>,
    /// Since when it is gone; none while it is there.
    pub gone_at: Option<Timestamp>,
    /// The learned time between two changes, in ms.
    pub interval_ms: Option<u64>,
    /// Whether its last 304 could not be used, so that it is asked for in full. Only in memory: after a restart it is found out again.
    pub in_full: bool,
}

/// What whoever named a page says of its last change: a sitemap, or a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastChange {
    /// When it changed; never later than when that was read.
    pub at: Timestamp,
    /// The page is not asked for again within this time of its last answer, in ms, whatever is said of it.
    pub least_wait_ms: u64,
}
