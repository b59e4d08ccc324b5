//! The verbs that every store has.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::job::{HashKey, HostId, Job, JobId, NewJob, Origin, Priority, RunId, SourceId};
use crate::throttle;
use url::Url;

use super::{Batch, RobotsRecord, StoreError};

/// A section of `crawl.toml` as the store numbers it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SourceName {
    /// `site` or `api`.
    pub kind: SourceKind,
    /// The section's name: `docs` for `[site.docs]`, `gh.issues` for `[api.gh.stream.issues]`.
    pub name: String,
}

/// The two kinds of section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// `[site.NAME]`
    Site,
    /// `[api.NAME]`
    Api,
}

/// A source with its counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRow {
    /// Its number.
    pub id: SourceId,
    /// Its section.
    pub source: SourceName,
    /// Pages and API pages that are done, for `max_pages`.
    pub n_done: u64,
    /// For a stream, how far its pull is.
    pub pull: PullState,
    /// For a site, the schedule by which its pages are due, in words; none for no schedule.
    pub recrawl: Option<String>,
    /// When its next page is due; none when there is none.
    pub due_at: Option<Timestamp>,
}

impl SourceRow {
    /// A section of which the store knows nothing but its number.
    #[must_use]
    pub fn new(id: SourceId, source: SourceName) -> Self {
        Self { id, source, n_done: 0, pull: PullState::default(), recrawl: None, due_at: None }
    }
}

/// How far the pull of a stream is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullState {
    /// When it began; none before the first.
    pub started_at: Option<Timestamp>,
    /// When it was over; none while it is on.
    pub ended_at: Option<Timestamp>,
    /// When the last pull of everything began.
    pub full_started_at: Option<Timestamp>,
    /// What its first slices were made of, once all of them are in the store.
    pub seeds: Option<String>,
    /// Slices that are being walked.
    pub n_open: i64,
}

/// What a commit did to the slices of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlicesAck {
    /// Slices that are being walked now, less those that were before.
    pub opened: i64,
}

/// What a run starts from: O(hosts with work), never O(jobs).
#[derive(Debug)]
pub struct OpenRun {
    /// This start.
    pub run_id: RunId,
    /// The store's secret for dedup keys.
    pub hash_key: HashKey,
    /// Whether the run before ended without saying so (a crash or kill -9).
    pub unclean: bool,
    /// Jobs that were in flight then; each had its crash counted.
    pub crashed_in_flight: u64,
    /// The sources asked for, in the order of the question.
    pub sources: Vec<SourceRow>,
    /// Hosts with open jobs.
    pub hosts: Vec<HostRow>,
    /// Where redirects of seeds have led, by source: their scope has grown by these.
    pub seed_redirects: Vec<(SourceId, Url)>,
}

/// A host as the dispatcher needs it.
#[derive(Clone, Debug)]
pub struct HostRow {
    /// Its number.
    pub host_id: HostId,
    /// Scheme, host, port.
    pub origin: Origin,
    /// Whether requests may go to private and loopback addresses under this name.
    pub private_ok: bool,
    /// Whether the user paused it.
    pub paused: bool,
    /// Open jobs that may go now.
    pub n_ready: u64,
    /// Open jobs that back off.
    pub n_waiting: u64,
    /// When the first of the waiting ones is due.
    pub next_due_at: Option<Timestamp>,
    /// The embargo that was last committed.
    pub not_before_at: Timestamp,
    /// What was learned before; none for a new host, or when it cannot be read any more.
    pub snapshot: Option<throttle::Snapshot>,
    /// What robots.txt said before.
    pub robots: Option<RobotsRecord>,
    /// What was learned before about limits that are narrower than the host; those that were hit last first.
    pub scopes: Vec<throttle::ScopeMemory>,
}

/// Order within a host: priority first, then order of discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Lower goes first.
    pub priority: Priority,
    /// Then the older.
    pub job_id: JobId,
}

/// Which jobs of a host are asked for, by their routes ([`crate::job::route_of`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Routes {
    /// All of them: the host has one queue.
    #[default]
    All,
    /// Those of these routes, which have a queue of their own.
    Only(Arc<[Box<str>]>),
    /// Those of all other routes.
    Except(Arc<[Box<str>]>),
}

/// A question for more jobs of one host.
#[derive(Clone, Debug)]
pub struct RefillRequest {
    /// Whose.
    pub host_id: HostId,
    /// Of which routes.
    pub routes: Routes,
    /// Ready jobs ranked after this one; none starts at the front.
    pub after: Option<Rank>,
    /// At most so many ready jobs, and as many waiting ones that are due.
    pub limit: u32,
    /// Now, for the waiting ones.
    pub now: Timestamp,
}

/// More jobs of one host.
#[derive(Clone, Debug, Default)]
pub struct Refill {
    /// Ready jobs in rank order.
    pub ready: Vec<Loaded>,
    /// The rank where the next question goes on; none leaves it where this one began.
    pub read_to: Option<Rank>,
    /// Whether there may be ready jobs behind that rank.
    pub more: bool,
    /// Waiting jobs whose time has come, the longest due first.
    pub due: Vec<Loaded>,
    /// When the next waiting job is due that is not in `due`.
    pub next_due_at: Option<Timestamp>,
}

/// Something that was asked for from outside. When it asks for nothing that can be done any more, it is only taken out.
#[derive(Clone, Debug)]
pub struct InboxRow {
    /// Its number, for [`Batch::taken`].
    pub inbox_id: i64,
    /// The job that it becomes.
    pub job: Option<NewJob>,
    /// The job that was given up and is to be done once more.
    pub retry: Option<JobId>,
    /// What is to be done with what was learned about a host.
    pub order: Option<Box<HostOrder>>,
}

/// Jobs that were given up, for `trundle retry`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// These.
    Jobs(Vec<JobId>),
    /// All that all of this is true of.
    Matching {
        /// They were answered 404 or 410; else they are dead.
        gone: bool,
        /// They belong to one of these sections; none for all.
        sections: Vec<SourceName>,
        /// Their reason has this in it.
        reason: Option<String>,
    },
}

/// An order about the limit of one host.
#[derive(Clone, Debug)]
pub struct HostOrder {
    /// The host as the store has it, for a run that does not know it.
    pub host: HostRow,
    /// What is to be done.
    pub order: throttle::Order,
}

/// A job as the queue hands it out.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The job.
    pub job: Job,
    /// Times that the process died while this job was in flight.
    pub crashes: u32,
    /// How many ids may be in the request that it goes with: less than all after one with more has failed. Only in memory: after a
    /// restart it is found out again.
    pub together_max: u32,
}

/// What a commit did; everything in it is on disk.
#[derive(Clone, Debug, Default)]
pub struct Ack {
    /// Effects per host, hosts that had none left out.
    pub hosts: HashMap<HostId, HostAck>,
    /// Hosts that this commit met for the first time, or that had no open job before.
    pub new_hosts: Vec<HostRow>,
    /// Settlements that were not applied: `(position in the batch, why)`. The job was not open any more, or its row broke a
    /// constraint and it was isolated and marked dead.
    pub dropped: Vec<(usize, String)>,
    /// Jobs whose move was turned into `Dead` because their stream goes in a circle.
    pub circles: Vec<JobId>,
    /// Items that were new.
    pub items_new: u64,
    /// Jobs that were new, per source.
    pub found_by_source: HashMap<SourceId, u64>,
    /// Slices that were opened and closed, per stream.
    pub slices: HashMap<SourceId, SlicesAck>,
    /// What it did to the pages that are fetched again, per site.
    pub recrawls: HashMap<SourceId, RecrawlAck>,
}

/// What a commit did to the pages of one site that are fetched again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecrawlAck {
    /// When the first of those is due again that were answered; none when none of them is.
    pub due_at: Option<Timestamp>,
    /// What became of a [`super::RecrawlStep`]; none when there was none.
    pub reopened: Option<Reopened>,
}

/// Pages that were due and are ready once more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reopened {
    /// How many.
    pub pages: u64,
    /// Pages among them that counted as done until now.
    pub done: u64,
    /// When the next one is due; none when there is none.
    pub next_at: Option<Timestamp>,
}

/// What a commit did to one host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostAck {
    /// Ready jobs that were inserted.
    pub inserted: u64,
    /// The rank of the first of them.
    pub first_rank: Option<Rank>,
    /// The earliest due time of the jobs that went to `waiting`.
    pub first_due_at: Option<Timestamp>,
}

/// The coarse verbs. Two implementations are planned with SQL of their own; this trait and its conformance tests are what
/// they share.
pub trait Store: Send + Sync + 'static {
    /// Opens a run: counts the crash of jobs that were in flight in a run that did not end, numbers the sources, and loads
    /// the hosts that have work.
    fn begin_run(
        &self,
        sources: &[SourceName],
        now: Timestamp,
    ) -> impl Future<Output = Result<OpenRun, StoreError>> + Send;

    /// Reads more jobs of one host. Reads only; a job handed out stays open in the store until it is settled.
    fn refill(&self, request: RefillRequest) -> impl Future<Output = Result<Refill, StoreError>> + Send;

    /// Commits a batch whole and durably. On return the effects are on disk; after an error nothing is, and the same batch
    /// may be tried again.
    fn commit(&self, batch: &Batch) -> impl Future<Output = Result<Ack, StoreError>> + Send;

    /// Reads what was added from outside, behind the row `after`, at most `limit` rows.
    fn inbox(&self, after: i64, limit: u32) -> impl Future<Output = Result<Vec<InboxRow>, StoreError>> + Send;

    /// Adds jobs outside a run's flow (seeds of a large file in chunks); true for each that was new.
    fn add(&self, jobs: Vec<NewJob>, now: Timestamp) -> impl Future<Output = Result<Ack, StoreError>> + Send;

    /// Ends the run in order: says that it ended clean and folds the log into the file.
    fn end_run(&self, now: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send;
}
