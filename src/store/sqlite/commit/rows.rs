//! The rows that a batch writes, and the differences of the counters that it moves.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::clock::Timestamp;
use crate::job::{HostId, JobId, JobState, SliceId, SourceId};
use crate::store::sqlite::columns::Columns;
use crate::store::sqlite::hold_rows::HoldRows;
use crate::store::sqlite::scope_rows::ScopeRow;
use crate::store::sqlite::slice_rows::{SliceIdent, SliceNow};
use crate::store::{Ack, StoredBody};

use super::Unit;

/// Rows to write, each as the JSON array that its statement reads.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) new_jobs: Vec<NewJobRow>,
    pub(super) moves: BTreeMap<JobId, MoveRow>,
    /// Settled jobs that become ready once more, with the walk of those that are pages.
    pub(super) reopened: Vec<(JobId, Option<u32>)>,
    /// Pages that are still open from an earlier walk, with the walk that they are now for.
    pub(super) rewalked: Vec<(JobId, u32)>,
    /// Slices that the batch meets.
    pub(super) slices: HashMap<SliceIdent, SliceNow>,
    /// What is left held of answers.
    pub(super) holds: HoldRows,
    /// The job of the page that follows, for each unit that names one.
    pub(super) next_pages: HashMap<Unit, JobId>,
    pub(super) settled: Vec<JobId>,
    pub(super) sent: Vec<(JobId, i64)>,
    pub(super) responses: Vec<ResponseRow>,
    pub(super) bodies: Vec<StoredBody>,
    /// source, key, job, data, pull
    pub(super) items: Vec<(u32, String, JobId, String, Option<i64>)>,
    /// The columns of the streams that get new ones.
    pub(super) columns: HashMap<SourceId, Columns>,
    pub(super) attempts: Vec<AttemptRow>,
    pub(super) robots: Vec<RobotsRow>,
    /// host, expires at, headers
    pub(super) robots_confirmed: Vec<(HostId, i64, Option<String>)>,
    pub(super) hosts: BTreeMap<HostId, HostDelta>,
    /// Narrow limit scopes by host and name; none for one that is no more.
    pub(super) scopes: BTreeMap<(HostId, Box<str>), Option<ScopeRow>>,
    pub(super) sources: BTreeMap<SourceId, SourceDelta>,
    pub(super) events: Vec<(Option<HostId>, Option<JobId>, &'static str, String)>,
    pub(super) new_hosts: Vec<HostId>,
    /// Attempts of one job within one millisecond, for their numbers.
    pub(super) sent_times: HashMap<(JobId, Timestamp), u32>,
    pub(super) ack: Ack,
}

/// id, host, key, kind, priority, parent, source, depth, request, redirects, extra, slice, walk
pub(super) type NewJobRow = (
    i64,
    u32,
    i64,
    i64,
    u8,
    Option<i64>,
    u32,
    u32,
    String,
    Option<String>,
    Option<String>,
    Option<SliceId>,
    Option<u32>,
);
/// host, status, text, disallow all, fetched at, expires at, headers
pub(super) type RobotsRow = (HostId, Option<u16>, String, u8, i64, i64, Option<String>);
/// state, due at, attempt, status, settled at, reason
pub(super) type MoveRow = (i64, Option<i64>, i64, Option<u16>, Option<i64>, Option<String>);
/// job, sent at, n-th, took ms, status, outcome, body bytes, retry at, error
pub(super) type AttemptRow = (i64, i64, u32, u64, Option<u16>, &'static str, u64, Option<i64>, Option<String>);
/// job, fetched at, status, content type, charset, title, redirect to, canonical, headers, notes, links, body (hash, bytes)
pub(super) type ResponseRow = (
    i64,
    i64,
    u16,
    Option<String>,
    Option<&'static str>,
    Option<String>,
    Option<String>,
    Option<String>,
    String,
    Option<String>,
    u32,
    Option<String>,
    Option<u64>,
);

/// What changes about a host; the names are those that `write.sql` reads.
#[derive(Default, Serialize)]
pub(super) struct HostDelta {
    pub(super) seq: i64,
    #[serde(skip)]
    pub(super) n_open_before: i64,
    #[serde(flatten)]
    pub(super) counts: Counts,
    pub(super) last_refused_at: Option<i64>,
    pub(super) learned: Option<LearnedColumns>,
}

/// Differences of counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub(super) ready: i64,
    pub(super) waiting: i64,
    pub(super) done: i64,
    pub(super) gone: i64,
    pub(super) dead: i64,
    pub(super) skipped: i64,
    pub(super) requests: i64,
    pub(super) refused: i64,
    pub(super) failed: i64,
    pub(super) bytes: i64,
}

#[derive(Serialize)]
pub(super) struct LearnedColumns {
    pub(super) not_before_at: Option<i64>,
    pub(super) not_before_why: Option<String>,
    pub(super) rate_per_s: Option<f64>,
    pub(super) limit_per_s: Option<f64>,
    pub(super) concurrency: Option<f64>,
    pub(super) words: Option<String>,
    pub(super) seen_at: Option<i64>,
    pub(super) snapshot: String,
}

/// What changes about a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SourceDelta {
    pub(super) found: i64,
    pub(super) pages_done: i64,
    pub(super) slices_open: i64,
    pub(super) slices_failed: i64,
}

impl Counts {
    pub(super) fn of_state(&mut self, state: JobState) -> &mut i64 {
        match state {
            JobState::Ready => &mut self.ready,
            JobState::Waiting => &mut self.waiting,
            JobState::Done => &mut self.done,
            JobState::Gone => &mut self.gone,
            JobState::Dead => &mut self.dead,
            JobState::Skipped => &mut self.skipped,
        }
    }

    fn plus(&mut self, other: &Self) {
        self.ready += other.ready;
        self.waiting += other.waiting;
        self.done += other.done;
        self.gone += other.gone;
        self.dead += other.dead;
        self.skipped += other.skipped;
        self.requests += other.requests;
        self.refused += other.refused;
        self.failed += other.failed;
        self.bytes += other.bytes;
    }
}

impl Plan {
    /// The sums over all hosts.
    pub(super) fn totals(&self) -> Counts {
        let mut totals = Counts::default();
        self.hosts.values().for_each(|host| totals.plus(&host.counts));
        totals
    }
}
