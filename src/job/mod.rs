//! The noun: one request that we owe, with all that is needed to send it.
//!
//! Enters: nothing from outside. Leaves: plain data that every room above speaks in. Deliberately absent: I/O, and rules
//! about what to do with a job (`policy` has those).

mod call;
mod held;
mod id;
mod item;
mod kind;
mod order;
mod origin;
mod route;
mod state;
mod walk;

pub use call::{Call, Extra, Method, NoTarget, Payload, Target, text_of};
pub use held::{Held, LastChange};
pub use id::{DedupKey, HashKey, HostId, JobId, RunId, SourceId};
pub use item::{ItemKey, Merge, NewItem, merge_deep};
pub use kind::JobKind;
pub use order::{is_ordered_by_meaning, order_of};
pub use origin::Origin;
pub use route::{ROUTE_BYTES_MAX, route_of};
pub use state::{IllegalMove, JobState};
pub use walk::{NewSlice, Params, SliceId, SliceKey, Walk, later_mark};

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use url::Url;

/// Rank of a job among the jobs of its host: lower goes first, equal ranks in order of discovery. 0..=9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Priority(pub u8);

impl Priority {
    /// robots.txt: nothing else of its host may go before it.
    pub const FIRST: Self = Self(0);
    /// Redirect targets and API cursors, which can expire while they wait.
    pub const SOON: Self = Self(3);
    /// Everything else.
    pub const NORMAL: Self = Self(5);
}

/// One request that we owe, as the queue hands it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its key in the store: host and sequence number.
    pub id: JobId,
    /// What to fetch: absolute, canonical, without a fragment.
    pub url: Url,
    /// What the request has beside its address; none for a plain GET, which nearly all are.
    pub extra: Option<Box<Extra>>,
    /// What the answer is to be read as.
    pub kind: JobKind,
    /// The section of `crawl.toml` that it serves.
    pub source: SourceId,
    /// Links followed from a seed to here; a seed has 0. For an API page, the pages before it: real APIs have millions.
    pub depth: u32,
    /// Rank within its host.
    pub priority: Priority,
    /// Failed attempts so far. A refusal (429, host down) does not count.
    pub attempt: u32,
    /// The addresses that redirected to this one, oldest first; empty for most jobs.
    pub redirects: Vec<Url>,
    /// For a page of an API, its slice and the walk through it.
    pub walk: Option<Box<Walk>>,
    /// The ids that are asked for together with its own, that one first; empty for a job that goes alone.
    pub batch: Arc<[serde_json::Value]>,
    /// What is held of its last answer; none for one that was never answered.
    pub held: Option<Arc<Held>>,
}

impl Job {
    /// Its request.
    #[must_use]
    pub fn call(&self) -> Call {
        Call { url: self.url.clone(), extra: self.extra.as_deref().cloned().unwrap_or_default() }
    }
}

/// A job that was found and not stored yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// What to fetch: absolute, canonical, without a fragment.
    pub url: Url,
    /// What the request has beside its address; none for a plain GET.
    pub extra: Option<Box<Extra>>,
    /// What the answer is to be read as.
    pub kind: JobKind,
    /// The section of `crawl.toml` that it serves.
    pub source: SourceId,
    /// Links followed from a seed to here; for an API page, the pages before it.
    pub depth: u32,
    /// Rank within its host.
    pub priority: Priority,
    /// The job whose answer named it; none for a seed.
    pub parent: Option<JobId>,
    /// The addresses that redirected to this one, oldest first.
    pub redirects: Vec<Url>,
    /// Whether a host that is first met through this job may lie at a private or loopback address. True only for what the
    /// user named, and for what pages at
    /// private addresses, or of the same domain, link to.
    pub private_ok: bool,
    /// Whether a job of this key that is settled becomes `ready` once more: robots.txt that has expired.
    pub again: bool,
    /// What whoever names it says of its last change, for a page that is fetched again on a schedule: one that was answered before is
    /// due then.
    pub changed: Option<LastChange>,
}

impl NewJob {
    /// A seed: what the user asked for by name.
    #[must_use]
    pub fn seed(url: Url, kind: JobKind, source: SourceId) -> Self {
        Self {
            url,
            extra: None,
            kind,
            source,
            depth: 0,
            priority: Priority::NORMAL,
            parent: None,
            redirects: Vec::new(),
            private_ok: true,
            again: false,
            changed: None,
        }
    }

    /// The key that makes this job unique among those of its host. Pages, sitemaps, feeds and robots.txt share one name
    /// space, so that an address is fetched once however it was found; an API page belongs to its stream, and there to `slice`.
    #[must_use]
    pub fn dedup_key(&self, hash_key: &HashKey, slice: Option<&SliceKey>) -> DedupKey {
        match self.kind {
            JobKind::ApiPage => {
                let source = self.source.0.to_string();
                let extra = self.extra.as_ref().map(|extra| serde_json::to_string(extra).expect("it is plain JSON"));
                let mut parts: Vec<&[u8]> = vec![source.as_bytes(), self.url.as_str().as_bytes()];
                parts.extend(extra.as_ref().map(String::as_bytes));
                // A text of JSON never has 16 bytes behind a "slice": no request reads like another one with its slice.
                parts.extend(slice.iter().flat_map(|key| [b"slice".as_slice(), &key.0]));
                hash_key.dedup_key(&parts)
            }
            JobKind::Page | JobKind::Robots | JobKind::Sitemap | JobKind::Feed => {
                hash_key.dedup_key(&[self.url.as_str().as_bytes()])
            }
        }
    }
}
