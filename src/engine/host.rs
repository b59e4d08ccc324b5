//! One host as the dispatcher keeps it: its throttle, its few jobs in memory, and what it still owes.

use std::collections::{HashSet, VecDeque};

use crate::clock::Timestamp;
use crate::job::{JobId, JobKind, Origin, Priority};
use crate::policy::Robots;
use crate::store::{HostAck, Loaded, Rank, Refill};
use crate::throttle::Throttle;

use super::resting::Slot;

/// Deaths of the process with a job in flight after which the job is sent alone. A kill -9 from outside and a job that kills
/// the process look alike; what tells them apart is whether it happens again with nothing else in flight.
const SUSPECT_CRASHES: u32 = 3;

/// Whether the process died so often with this job in flight that it is only sent with nothing else in flight.
pub(super) fn is_suspect(loaded: &Loaded) -> bool {
    loaded.crashes >= SUSPECT_CRASHES
}

/// What is known of a host's robots.txt.
pub(super) enum RobotsState {
    /// Nothing, and it was not asked for.
    Unknown,
    /// Its job is on the way; jobs that need it wait.
    Asked,
    /// What it said, until it expires.
    Known {
        /// The rules.
        rules: Robots,
        /// When they must be fetched again.
        expires_at: Timestamp,
    },
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own; no two of them make a state")]
/// A host with open jobs, or with effects that are not committed yet.
pub(super) struct Host {
    pub origin: Origin,
    pub private_ok: bool,
    pub paused: bool,
    pub throttle: Slot,
    pub robots: RobotsState,
    /// Jobs in memory that may go.
    pub ring: VecDeque<Loaded>,
    /// Every job that the store must not hand out again: in the ring, in flight, or settled and not committed.
    held: HashSet<JobId>,
    /// Jobs that were released while a refill was running: it may have read an older state of the file, in which they are
    /// still open.
    released_meanwhile: HashSet<JobId>,
    refilling: bool,
    /// Whether the refill that is running is only for the job of robots.txt, since the ring is full.
    robots_only: bool,
    /// The first rank that was inserted while a refill was running.
    inserted_meanwhile: Option<Rank>,
    /// The first due time that was committed while a refill was running: the refill may not have seen it.
    due_meanwhile: Option<Timestamp>,
    /// Where the next refill goes on.
    after: Option<Rank>,
    /// Whether the store may have ready jobs behind `after`.
    more: bool,
    /// Whether a job of the first rank, which robots.txt alone has, was inserted since the last refill began.
    robots_found: bool,
    /// Whether a refill that was only for robots.txt met other jobs, for which there was no room.
    left_behind: bool,
    /// Whether a refill found jobs that are due and none that is not held already: the next one waits for a release.
    due_blocked: bool,
    /// When the first job that backs off is due.
    next_due_at: Option<Timestamp>,
    /// Settlements that are not committed yet.
    pub uncommitted: usize,
    /// When the dispatcher looks at this host next, and the entry of the heap that is valid.
    pub wake: Option<(Timestamp, u64)>,
    /// Whether it stands among those that wait for a place in flight.
    pub waits_for_room: bool,
    /// Whether the dispatcher counts it as busy.
    pub counted_busy: bool,
}

impl Host {
    pub fn new(
        origin: Origin,
        private_ok: bool,
        paused: bool,
        throttle: Throttle,
        next_due_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        Self {
            origin,
            private_ok,
            paused,
            throttle: Slot::new(throttle, now),
            robots: RobotsState::Unknown,
            ring: VecDeque::new(),
            held: HashSet::new(),
            released_meanwhile: HashSet::new(),
            refilling: false,
            robots_only: false,
            inserted_meanwhile: None,
            due_meanwhile: None,
            after: None,
            more: true,
            robots_found: false,
            left_behind: false,
            due_blocked: false,
            next_due_at,
            uncommitted: 0,
            wake: None,
            waits_for_room: false,
            counted_busy: false,
        }
    }

    /// Whether there is nothing left to do here, in memory or in the store.
    pub fn is_idle(&self) -> bool {
        self.held.is_empty()
            && !self.refilling
            && !self.more
            && !self.left_behind
            && self.next_due_at.is_none()
            && self.uncommitted == 0
    }

    /// Whether a refill should run now: the ring is low, and the store has something to give. Or the ring is full of jobs that
    /// wait for robots.txt, whose own job is in the store: low it would never become.
    pub fn wants_refill(&self, now: Timestamp, low: usize) -> bool {
        let is_due = self.next_due_at.is_some_and(|at| at <= now);
        let is_low = self.ring.len() < low && (self.more || self.left_behind || is_due);
        !self.refilling && (is_low || (self.awaits_robots() && (self.robots_found || is_due)))
    }

    /// Whether robots.txt was asked for and its job is not in the ring.
    fn awaits_robots(&self) -> bool {
        matches!(self.robots, RobotsState::Asked) && !self.ring.iter().any(|loaded| loaded.job.kind == JobKind::Robots)
    }

    /// When a job that backs off makes this host worth a look; none while a refill is running, whose end will tell.
    pub fn next_due_at(&self) -> Option<Timestamp> {
        if self.refilling { None } else { self.next_due_at }
    }

    /// A refill starts; where it goes on.
    pub fn begin_refill(&mut self, low: usize) -> Option<Rank> {
        debug_assert!(!self.refilling, "one refill of a host at a time");
        self.refilling = true;
        self.robots_found = false;
        self.inserted_meanwhile = None;
        self.due_meanwhile = None;
        self.released_meanwhile.clear();
        self.robots_only = self.ring.len() >= low;
        self.left_behind &= self.robots_only;
        // The job of robots.txt has the first rank.
        if self.robots_only { None } else { self.after }
    }

    /// A refill has ended.
    pub fn end_refill(&mut self, refill: Refill, limit: usize) {
        self.refilling = false;
        let inserted = self.inserted_meanwhile.take();
        if !self.robots_only {
            self.more = refill.ready.len() >= limit || inserted.is_some();
            if let Some(last) = refill.ready.last() {
                self.after = Some(Rank { priority: last.job.priority, job_id: last.job.id });
            }
        }
        if let Some(rank) = inserted {
            self.more = true;
            self.step_back_before(rank);
        }
        self.next_due_at = match (refill.next_due_at, self.due_meanwhile.take()) {
            (Some(read_at), Some(committed_at)) => Some(read_at.min(committed_at)),
            (read_at, committed_at) => read_at.or(committed_at),
        };
        let released = std::mem::take(&mut self.released_meanwhile);
        let is_due_full = refill.due.len() >= limit;
        let in_ring = self.ring.len();
        for loaded in refill.ready.into_iter().chain(refill.due) {
            if self.robots_only && loaded.job.kind != JobKind::Robots {
                // No room; a later refill finds it again.
                self.left_behind |= !self.held.contains(&loaded.job.id);
                continue;
            }
            if released.contains(&loaded.job.id) || !self.held.insert(loaded.job.id) {
                continue;
            }
            self.ring.push_back(loaded);
        }
        if is_due_full && !self.robots_only && self.ring.len() == in_ring {
            // To ask again at once would bring the same jobs again, and again.
            self.due_blocked = true;
            self.next_due_at = None;
        }
        // The most urgent first: robots.txt must not wait behind the pages that wait for it.
        self.ring.make_contiguous().sort_by_key(|loaded| loaded.job.priority);
    }

    /// A commit has put new jobs, or jobs that back off, into the store.
    pub fn on_ack(&mut self, ack: HostAck) {
        if let Some(rank) = ack.first_rank {
            self.more = true;
            self.robots_found |= rank.priority == Priority::FIRST;
            if self.refilling {
                self.inserted_meanwhile = Some(self.inserted_meanwhile.map_or(rank, |known| known.min(rank)));
            }
            self.step_back_before(rank);
        }
        if let Some(due_at) = ack.first_due_at {
            let earlier = |known: Option<Timestamp>| Some(known.map_or(due_at, |known| known.min(due_at)));
            self.next_due_at = earlier(self.next_due_at);
            if self.refilling {
                self.due_meanwhile = earlier(self.due_meanwhile);
            }
        }
    }

    /// Makes the next refill find `rank`, which a job of a higher priority may have behind the place where it would go on.
    fn step_back_before(&mut self, rank: Rank) {
        if self.after.is_some_and(|after| rank <= after) {
            self.after = Some(Rank { priority: rank.priority, job_id: JobId(rank.job_id.0 - 1) });
        }
    }

    /// The effects of a job are on disk: the store may be asked about it again.
    pub fn release(&mut self, job_id: JobId) {
        self.held.remove(&job_id);
        if std::mem::take(&mut self.due_blocked) {
            self.next_due_at = Some(Timestamp::EPOCH);
        }
        if self.refilling {
            self.released_meanwhile.insert(job_id);
        }
    }

    /// The next job that may go: the first that does not wait for robots.txt. Suspects go last, and only when `alone`.
    pub fn take_next(&mut self, waits_for_robots: impl Fn(&Loaded) -> bool, alone: bool) -> Option<Loaded> {
        let first = |suspect: bool| {
            self.ring.iter().position(|loaded| is_suspect(loaded) == suspect && !waits_for_robots(loaded))
        };
        let position = first(false).or_else(|| if alone { first(true) } else { None })?;
        self.ring.remove(position)
    }

    /// Whether a suspect is in the ring.
    pub fn has_suspect(&self) -> bool {
        self.ring.iter().any(is_suspect)
    }

    /// Puts a job back that was taken: to the front when its host refused, to the back when the host could not be reached,
    /// so that one address that hangs is not the only probe.
    pub fn put_back(&mut self, loaded: Loaded, front: bool) {
        debug_assert!(self.held.contains(&loaded.job.id), "a job that was taken stays held");
        if front || loaded.job.kind == JobKind::Robots {
            self.ring.push_front(loaded);
        } else {
            self.ring.push_back(loaded);
        }
    }
}
