//! What is committed: plain data, one [`Settlement`] an outcome.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::clock::Timestamp;
use crate::exchange::Headers;
use crate::job::{HostId, JobId, Merge, NewItem, NewJob, NewSlice, SourceId};
use crate::policy::cache::Stored;
use crate::throttle;

/// One transaction.
#[derive(Debug, Default)]
pub struct Batch {
    /// Seeds and other jobs that no answer brought.
    pub found: Vec<NewJob>,
    /// What happens to the pulls of API streams. One that begins does so before the slices of the batch, the rest comes after them.
    pub pulls: Vec<PullStep>,
    /// Slices of API streams that are to be walked. One that is known already changes nothing, unless its stream is being pulled
    /// anew.
    pub slices: Vec<NewSlice>,
    /// What happens to pages that are fetched again on a schedule.
    pub recrawls: Vec<RecrawlStep>,
    /// Jobs that were given up and are to be done once more. One that is open, done, or part of a walk that has ended otherwise or begun
    /// again stays as it is.
    pub retried: Vec<JobId>,
    /// Rows of the inbox whose jobs are in `found` or `retried`, or whose orders are done with what is in `learned`; they are taken out.
    pub taken: Vec<i64>,
    /// Outcomes, in the order in which they came.
    pub settlements: Vec<Settlement>,
    /// Jobs that were sent since the last batch, for the `inflight` table; best effort, never a lease.
    pub sent: Vec<(JobId, Timestamp)>,
    /// What is known about hosts without an outcome to ride on: a person said it. Later than all settlements of the batch.
    pub learned: Vec<HostLearned>,
    /// Now, for the rows that say when they were written.
    pub now: Timestamp,
}

/// A step of the pull of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullStep {
    /// It begins: the slices that are named from here on are walked anew.
    Begin {
        /// Whose.
        source: SourceId,
        /// Whether everything is pulled: marks are forgotten then.
        full: bool,
    },
    /// Its first slices are all in the store, or in this batch.
    Seeded {
        /// Whose.
        source: SourceId,
        /// What they were made of.
        seeds: String,
    },
    /// It is over.
    End {
        /// Whose.
        source: SourceId,
    },
}

/// A step of the schedule by which the pages of a site are fetched again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecrawlStep {
    /// The schedule is another one than before: all pages are due by it from now on.
    Schedule {
        /// Whose.
        source: SourceId,
        /// The schedule in words, by which the next run sees whether it has changed; none for no schedule.
        words: Option<String>,
        /// The least and the longest time from one answer to the next, in ms; none for no schedule.
        between_ms: Option<(u64, u64)>,
    },
    /// Pages that are due become ready once more.
    Reopen {
        /// Whose.
        source: SourceId,
        /// Those that are due at this instant.
        until: Timestamp,
        /// At most so many, the longest due first.
        limit: u32,
    },
}

impl RecrawlStep {
    /// Whose.
    #[must_use]
    pub fn source(&self) -> SourceId {
        match self {
            Self::Schedule { source, .. } | Self::Reopen { source, .. } => *source,
        }
    }
}

/// All that one outcome changes.
#[derive(Debug)]
pub struct Settlement {
    /// Whose outcome.
    pub job_id: JobId,
    /// What becomes of the job.
    pub change: JobMove,
    /// The request that was sent; none when the job was settled without one.
    pub attempt: Option<AttemptRecord>,
    /// What the answer was, when it is to be kept.
    pub response: Option<NewResponse>,
    /// Jobs that the answer named. Those that are known already are left out by the store.
    pub discovered: Vec<NewJob>,
    /// The next page of an API stream.
    pub next_page: Option<NextPage>,
    /// Slices of other streams that its records make, or smaller ones in the place of its own.
    pub slices: Vec<NewSlice>,
    /// What it says of the walk through its slice, for a page of an API.
    pub walk: WalkNews,
    /// The source whose items these are is the job's.
    pub items: Vec<NewItem>,
    /// Records of other sources, which came within these. They replace what is stored of them.
    pub nested: Vec<(SourceId, Vec<NewItem>)>,
    /// What robots.txt said; for robots jobs.
    pub robots: Option<RobotsStep>,
    /// What this outcome taught about the host.
    pub learned: Option<HostLearned>,
    /// What becomes of what is held of the page's answer; none leaves it as it is.
    pub hold: Option<Box<HoldStep>>,
}

impl Settlement {
    /// A move without any effect beside it: no request was sent.
    #[must_use]
    pub fn bare(job_id: JobId, change: JobMove) -> Self {
        Self {
            job_id,
            change,
            attempt: None,
            response: None,
            discovered: Vec::new(),
            next_page: None,
            slices: Vec::new(),
            walk: WalkNews::default(),
            items: Vec::new(),
            nested: Vec::new(),
            robots: None,
            learned: None,
            hold: None,
        }
    }

    /// How many records it brings.
    #[must_use]
    pub fn n_items(&self) -> usize {
        self.items.len() + self.nested.iter().map(|(_, items)| items.len()).sum::<usize>()
    }
}

/// What becomes of what is held of a page's answer. The fields and the body of the answer are a matter of [`NewResponse`].
#[derive(Clone, Debug, PartialEq)]
pub enum HoldStep {
    /// The answer takes the place of what was held.
    Replace(Hold),
    /// Nothing has changed: body, title, links and notes stay, the headers are updated. For a page of an API the walk goes on with the
    /// page that followed it the last time.
    Confirm(Hold),
    /// The page is gone: what was there stays.
    Gone(Hold),
    /// Nothing of the answer may be kept but that it was there, and when it is due again.
    Forget(Hold),
    /// What is held stays as it is, and the page is due again at this instant.
    Later(Timestamp),
}

/// What is held of a page's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    /// What the rules of the cache need.
    pub stored: Stored,
    /// Hash over the request as it was sent and the rules by which the answer was read.
    pub basis: [u8; 16],
    /// What has become of the page.
    pub change: PageChange,
    /// The learned time between two changes, in ms; none when the page is not fetched again by itself.
    pub interval_ms: Option<u64>,
    /// When it is due again; none for never.
    pub next_at: Option<Timestamp>,
}

/// What has become of a page with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageChange {
    /// It is there for the first time.
    New,
    /// It is there again after it was gone.
    Back,
    /// Its content is another.
    Changed,
    /// It was there, and is gone.
    Gone,
    /// Nothing.
    Unchanged,
}

/// What becomes of the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobMove {
    /// Stays as it is: the host refused, was down, or the crawl stopped. No job row is written.
    Stay,
    /// To `done`.
    Done,
    /// To `gone`, with the reason.
    Gone(String),
    /// To `dead`, with the reason; the attempt that came with it, if one did, counts as failed.
    Dead(String),
    /// To `skipped`, with the reason.
    Skipped(String),
    /// To `waiting` until `due_at`, with the reason; no attempt is used up: a limit that is this job's alone.
    Defer {
        /// When it may go again.
        due_at: Timestamp,
        /// What it waits for.
        reason: String,
    },
    /// To `waiting` until `due_at`, one attempt used up, with the reason.
    Retry {
        /// When it may go again.
        due_at: Timestamp,
        /// What failed.
        reason: String,
    },
}

/// What a page says of the walk through its slice. How the walk goes on is told by the move of the job: it ends complete with a page
/// that is done and has no next one, and failed with one that is dead.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WalkNews {
    /// Records on the page.
    pub records: u64,
    /// The greatest value of the incremental field on it.
    pub newest: Option<Value>,
    /// Whether the records come in the order of that field, so that all that is older than this page is stored with it.
    pub in_order: bool,
    /// What becomes of records that are stored already.
    pub merge: Merge,
    /// The walk begins again at the slice's first page, and why: its cursor has expired.
    pub restart: Option<String>,
}

/// The page after this one. If the store knows its request already, the stream goes in a circle: the store then turns the
/// job's move into `Dead` with that reason, and keeps the items.
#[derive(Debug)]
pub struct NextPage(pub NewJob);

/// One request that was sent, for the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    /// When it was sent.
    pub sent_at: Timestamp,
    /// Until the body had come or the attempt had failed, in ms.
    pub took_ms: u64,
    /// The status, if an answer came.
    pub status: Option<u16>,
    /// `served`, `refused`, ...: the outcome in one word.
    pub outcome: &'static str,
    /// Bytes of the body after decoding.
    pub body_bytes: u64,
    /// When it may be tried again, if that was decided with it (the embargo of a refusal, the backoff of a retry).
    pub retry_at: Option<Timestamp>,
    /// What went wrong, in words; none when nothing did.
    pub error: Option<String>,
}

/// The answer that is kept for a job; a later one replaces it.
#[derive(Clone, Debug)]
pub struct NewResponse {
    /// When the answer had come.
    pub fetched_at: Timestamp,
    /// Its status.
    pub status: u16,
    /// `type/subtype` in lower case.
    pub content_type: Option<String>,
    /// The encoding by which its text was read.
    pub charset: Option<&'static str>,
    /// The title of a page.
    pub title: Option<String>,
    /// Where a redirect led, absolute.
    pub redirect_to: Option<String>,
    /// What `rel=canonical` said, absolute.
    pub canonical: Option<String>,
    /// All headers as they came.
    pub headers: Headers,
    /// What was odd, in words: a cap that was hit, a charset that was broken, links that were left out. Empty for most.
    pub notes: Vec<String>,
    /// Links that were found, known ones included.
    pub links: u32,
    /// The body, if it is kept.
    pub body: Option<StoredBody>,
}

/// A body, compressed and hashed by the worker so that the committer need not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBody {
    /// BLAKE3 over the decoded body.
    pub hash: [u8; 32],
    /// Length of the decoded body in bytes.
    pub len: u64,
    /// The body as one zstd frame.
    pub zstd: Bytes,
}

/// What an answer says of a host's robots.txt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RobotsStep {
    /// This.
    Said(RobotsRecord),
    /// What it said before.
    Confirmed {
        /// Whose.
        host_id: HostId,
        /// The fields by which it is asked for the next time, as in [`RobotsRecord::headers`].
        headers: Vec<(String, String)>,
        /// When it must be asked for again.
        expires_at: Timestamp,
    },
}

impl RobotsStep {
    /// Whose.
    #[must_use]
    pub fn host_id(&self) -> HostId {
        match self {
            Self::Said(record) => record.host_id,
            Self::Confirmed { host_id, .. } => *host_id,
        }
    }
}

/// What a host's robots.txt said.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RobotsRecord {
    /// Whose.
    pub host_id: HostId,
    /// The status that decided; none when the host could not be reached.
    pub status: Option<u16>,
    /// The text, capped as RFC 9309 section 2.5 allows; empty when everything is allowed or nothing is.
    pub body: String,
    /// Whether nothing may be fetched: the file could not be had (RFC 9309 section 2.3.1.4).
    pub disallow_all: bool,
    /// When the text came.
    pub fetched_at: Timestamp,
    /// When it must be asked for again.
    pub expires_at: Timestamp,
    /// The fields of the answer by which it is then asked for only if it changed; empty when it is asked for in full.
    pub headers: Vec<(String, String)>,
}

/// What is known about a host's limits after an outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct HostLearned {
    /// Whose.
    pub host_id: HostId,
    /// Nothing may be sent before this instant; [`Timestamp::EPOCH`] when nothing forbids it.
    pub not_before_at: Timestamp,
    /// Why, in words, when it is in the future.
    pub not_before_why: Option<String>,
    /// What was learned, in words for people; none before the first answer.
    pub words: Option<String>,
    /// When the host last gave an answer that says something about its limit; none when it never did.
    pub seen_at: Option<Timestamp>,
    /// The throttle's memory, whole. Only the last one of a host in a batch is written.
    pub snapshot: Arc<throttle::Snapshot>,
    /// The narrower scopes that changed; empty for nearly all.
    pub scopes: Vec<throttle::ScopeChange>,
}
