//! What a worker brings back: a value, with nothing written yet.

use std::collections::{HashMap, HashSet};

use url::Url;

use crate::exchange::{Headers, Outcome};
use crate::job::{JobId, NewItem, NewJob, NewSlice, SourceId};
use crate::policy::{self, RobotsAnswer, Verdict};
use crate::store::{AttemptRecord, HoldStep, JobMove, NewResponse, NextPage, Settlement, WalkNews};
use crate::throttle::Hints;

/// What came of one attempt, with what was read out of the answer.
#[derive(Debug)]
pub struct Report {
    /// What the answer means for scheduling.
    pub outcome: Outcome,
    /// What the retry rule says of the job, not knowing what its host is up to.
    pub verdict: Verdict,
    /// What the headers say about limits.
    pub hints: Hints,
    /// The request as the audit trail has it.
    pub attempt: AttemptRecord,
    /// What was read.
    pub reading: Reading,
}

/// What was read out of an answer.
#[derive(Debug, Default)]
pub struct Reading {
    /// What becomes of the job for a reason that lies in the answer's meaning; none leaves it to the verdict.
    pub change: Option<JobMove>,
    /// The answer as it is kept.
    pub response: Option<NewResponse>,
    /// Jobs that it names.
    pub discovered: Vec<NewJob>,
    /// The next page of a stream.
    pub next_page: Option<NextPage>,
    /// Slices of streams that its records make.
    pub slices: Vec<NewSlice>,
    /// What it says of the walk through its slice.
    pub walk: WalkNews,
    /// The ids that its records have, as text; none when nobody looks which of a batch have come.
    pub present: Option<HashSet<String>>,
    /// What became of ids that did not get what they asked for, by their text, where the answer says it of each.
    pub fates: HashMap<String, IdFate>,
    /// Whether the server said that this was too much at once.
    pub is_too_much: bool,
    /// Records.
    pub items: Vec<NewItem>,
    /// Records of other streams that came within these.
    pub nested: Vec<(SourceId, Vec<NewItem>)>,
    /// What becomes of what is held of the page.
    pub hold: Option<Box<HoldStep>>,
    /// Whether the job stays and is asked for in full, since its 304 cannot be used.
    pub ask_in_full: bool,
    /// Where a robots.txt redirects from and to, when that is another host: it is to be asked for a permit first.
    pub robots_at: Option<(Url, Url)>,
    /// What robots.txt says.
    pub robots: Option<RobotsReading>,
}

/// What became of one of several ids that were asked for together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdFate {
    /// There is nothing by it, and why, if the server says so.
    Absent(Option<String>),
    /// The server failed at it, and why.
    Failed(String),
    /// Another one spoiled the answer.
    Unsaid,
}

impl Reading {
    /// All that it changes, with the move of its job and the request that brought it.
    pub(super) fn into_settlement(self, job_id: JobId, change: JobMove, attempt: AttemptRecord) -> Settlement {
        Settlement {
            attempt: Some(attempt),
            response: self.response,
            discovered: self.discovered,
            next_page: self.next_page,
            slices: self.slices,
            walk: self.walk,
            items: self.items,
            nested: self.nested,
            ..Settlement::bare(job_id, change)
        }
    }
}

/// What robots.txt says, as the store keeps it; the host is known to the dispatcher.
#[derive(Clone, Debug)]
pub struct RobotsReading {
    /// The status that decided; none when the host could not be reached.
    pub status: Option<u16>,
    /// The text; none when it is what it was.
    pub body: Option<String>,
    /// Whether nothing may be fetched, since the file could not be had.
    pub disallow_all: bool,
    /// How long it holds, in ms.
    pub lifetime_ms: u64,
    /// The fields by which it is asked for the next time.
    pub headers: Headers,
}

impl RobotsReading {
    /// A 304: the rules stand, with these fields from now on.
    #[must_use]
    pub fn confirmed(status: u16, headers: &Headers) -> Self {
        let lifetime_ms = policy::robots_lifetime_ms(headers);
        let headers = policy::robots_validators(headers);
        Self { status: Some(status), body: None, disallow_all: false, lifetime_ms, headers }
    }
}

impl From<RobotsAnswer> for RobotsReading {
    fn from(answer: RobotsAnswer) -> Self {
        let RobotsAnswer { status, body, disallow_all, lifetime_ms, headers } = answer;
        Self { status, body: Some(body), disallow_all: disallow_all.is_some(), lifetime_ms, headers }
    }
}
