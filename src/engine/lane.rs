//! One queue of a host: the few jobs of it in memory, and what is known of those in the store.
//!
//! Enters: refills, acknowledgements, and jobs that go or come back. Leaves: the question of the next refill, and the next job.
//! Deliberately absent: whether the job may be sent.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::job::{JobId, JobKind, Priority};
use crate::store::{HostAck, Loaded, Rank, Refill, Routes};
use crate::throttle::ScopeId;

use super::host::is_suspect;

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own; no two of them make a state")]
/// A queue: that of a narrow scope, or that of the rest of its host.
pub(super) struct Lane {
    /// Whose jobs it holds; none are those of no narrow scope.
    pub scope: Option<ScopeId>,
    /// Its routes; for the rest of the host, those of all other lanes.
    pub routes: Arc<[Box<str>]>,
    /// Jobs in memory that may go.
    pub ring: VecDeque<Loaded>,
    /// Whether its scope is no more; it only waits for the end of its refill.
    pub is_leaving: bool,
    /// Jobs that were released while a refill was running: it may have read an older state of the file, in which they are
    /// still open.
    released_meanwhile: HashSet<JobId>,
    refilling: bool,
    /// Whether the refill that is running is only for the job of robots.txt, since the ring is full.
    robots_only: bool,
    /// Whether the routes have changed while a refill was running: it says nothing of those that came.
    changed_meanwhile: bool,
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
    /// When the last refill began, if it brought nothing.
    empty_since_at: Option<Timestamp>,
}

/// How long a queue that had nothing leaves the store alone, in ms, on a host with several: each commit may have brought it
/// something, but most bring something to the others only.
const EMPTY_MS: u64 = 100;

/// Where a lane goes on that came of others: nothing that one of them has not read is passed over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    after: Option<Rank>,
    next_due_at: Option<Timestamp>,
}

impl Place {
    /// The place before both.
    pub fn before(self, other: Self) -> Self {
        Self { after: self.after.min(other.after), next_due_at: earlier(self.next_due_at, other.next_due_at) }
    }
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

impl Lane {
    pub fn new(scope: Option<ScopeId>, next_due_at: Option<Timestamp>) -> Self {
        Self {
            scope,
            routes: Arc::from([]),
            ring: VecDeque::new(),
            is_leaving: false,
            released_meanwhile: HashSet::new(),
            refilling: false,
            robots_only: false,
            changed_meanwhile: false,
            inserted_meanwhile: None,
            due_meanwhile: None,
            after: None,
            more: true,
            robots_found: false,
            left_behind: false,
            due_blocked: false,
            next_due_at,
            empty_since_at: None,
        }
    }

    /// Whether there is nothing left to do here, but for jobs that are held.
    pub fn is_idle(&self) -> bool {
        !self.refilling && !self.more && !self.left_behind && self.next_due_at.is_none() && self.ring.is_empty()
    }

    /// Whether a refill is running.
    pub fn is_refilling(&self) -> bool {
        self.refilling
    }

    /// Whether a refill should run now: the ring is low, and the store has something to give. Or the ring is full of jobs that
    /// wait for robots.txt, whose own job is in the store: low it would never become. `robots_asked` is whether it was asked for.
    pub fn wants_refill(&self, now: Timestamp, low: usize, robots_asked: bool) -> bool {
        let is_due = self.next_due_at.is_some_and(|at| at <= now);
        let is_low = self.ring.len() < low && (self.more || self.left_behind || is_due);
        let awaits_robots = || robots_asked && !self.ring.iter().any(|loaded| loaded.job.kind == JobKind::Robots);
        !self.refilling && (is_low || ((self.robots_found || is_due) && awaits_robots()))
    }

    /// Until when it leaves the store alone, if it does: it had nothing a moment ago, and the host has other queues.
    pub fn rests_until(&self, now: Timestamp) -> Option<Timestamp> {
        let is_bare = self.ring.is_empty() && !self.refilling && self.more;
        let until = self.empty_since_at.filter(|_| is_bare)?.plus_ms(EMPTY_MS);
        (until > now).then_some(until)
    }

    /// When a job that backs off makes this lane worth a look; none while a refill is running, whose end will tell.
    pub fn next_due_at(&self) -> Option<Timestamp> {
        if self.refilling { None } else { self.next_due_at }
    }

    /// A refill starts; where it goes on, and of which routes.
    pub fn begin_refill(&mut self, low: usize, now: Timestamp) -> (Option<Rank>, Routes) {
        debug_assert!(!self.refilling, "one refill of a lane at a time");
        self.refilling = true;
        self.empty_since_at = Some(now);
        self.robots_found = false;
        self.changed_meanwhile = false;
        self.inserted_meanwhile = None;
        self.due_meanwhile = None;
        self.released_meanwhile.clear();
        self.robots_only = self.ring.len() >= low;
        self.left_behind &= self.robots_only;
        let routes = match (self.scope, self.routes.is_empty()) {
            (None, true) => Routes::All,
            (None, false) => Routes::Except(Arc::clone(&self.routes)),
            (Some(_), _) => Routes::Only(Arc::clone(&self.routes)),
        };
        // The job of robots.txt has the first rank.
        (if self.robots_only { None } else { self.after }, routes)
    }

    /// A refill has ended: the jobs that are new here, which are `held` from now on. `limit` is how many were asked for.
    pub fn end_refill(&mut self, refill: Refill, limit: usize, held: &mut HashSet<JobId>) -> Vec<Loaded> {
        self.refilling = false;
        let inserted = self.inserted_meanwhile.take();
        if self.changed_meanwhile {
            self.more = true;
        } else if !self.robots_only {
            self.more = refill.more || inserted.is_some();
            self.after = refill.read_to.or(self.after);
        }
        if let Some(rank) = inserted {
            self.more = true;
            self.step_back_before(rank);
        }
        let committed_at = self.due_meanwhile.take();
        let known_at = if self.changed_meanwhile { self.next_due_at } else { None };
        self.next_due_at = earlier(earlier(refill.next_due_at, committed_at), known_at);
        let released = std::mem::take(&mut self.released_meanwhile);
        let is_due_full = refill.due.len() >= limit;
        let mut fresh = Vec::new();
        for loaded in refill.ready.into_iter().chain(refill.due) {
            if self.robots_only && loaded.job.kind != JobKind::Robots {
                // No room; a later refill finds it again.
                self.left_behind |= !held.contains(&loaded.job.id);
                continue;
            }
            if !released.contains(&loaded.job.id) && held.insert(loaded.job.id) {
                fresh.push(loaded);
            }
        }
        if !fresh.is_empty() || self.more {
            self.empty_since_at = None;
        }
        if is_due_full && !self.robots_only && fresh.is_empty() {
            // To ask again at once would bring the same jobs again, and again.
            self.due_blocked = true;
            self.next_due_at = None;
        }
        fresh
    }

    /// A commit has put new jobs of the host, or jobs that back off, into the store; some of them may belong here.
    pub fn on_ack(&mut self, ack: HostAck) {
        if let Some(rank) = ack.first_rank {
            self.more = true;
            self.robots_found |= rank.priority == Priority::FIRST;
            if self.refilling {
                self.inserted_meanwhile = Some(self.inserted_meanwhile.map_or(rank, |known| known.min(rank)));
            }
            self.step_back_before(rank);
        }
        if ack.first_due_at.is_some() {
            self.next_due_at = earlier(self.next_due_at, ack.first_due_at);
            if self.refilling {
                self.due_meanwhile = earlier(self.due_meanwhile, ack.first_due_at);
            }
        }
    }

    /// Makes the next refill find `rank`, which a job of a higher priority may have behind the place where it would go on.
    fn step_back_before(&mut self, rank: Rank) {
        if self.after.is_some_and(|after| rank <= after) {
            self.after = Some(Rank { priority: rank.priority, job_id: JobId(rank.job_id.0 - 1) });
        }
    }

    /// The effects of a job of the host are on disk: the store may be asked about it again.
    pub fn release(&mut self, job_id: JobId) {
        if std::mem::take(&mut self.due_blocked) {
            self.next_due_at = Some(Timestamp::EPOCH);
        }
        if self.refilling {
            self.released_meanwhile.insert(job_id);
        }
    }

    /// Where it stands in the store.
    pub fn place(&self) -> Place {
        let blocked_at = self.due_blocked.then_some(Timestamp::EPOCH);
        Place { after: self.after, next_due_at: earlier(self.next_due_at, blocked_at) }
    }

    /// The lanes of its host have changed: it goes on at `place` with these routes.
    pub fn go_on_at(&mut self, place: Place, routes: Arc<[Box<str>]>) {
        self.routes = routes;
        (self.after, self.next_due_at) = (place.after, place.next_due_at);
        self.more = true;
        self.due_blocked = false;
        self.changed_meanwhile = self.refilling;
    }

    /// Puts a job where it stands by its priority: behind those of its own.
    pub fn push(&mut self, loaded: Loaded) {
        let place = self.ring.partition_point(|other| other.job.priority <= loaded.job.priority);
        self.ring.insert(place, loaded);
    }

    /// The most urgent first: robots.txt must not wait behind the pages that wait for it.
    pub fn sort(&mut self) {
        self.ring.make_contiguous().sort_by_key(|loaded| loaded.job.priority);
    }

    /// The next job that may go: the first that does not wait for robots.txt; of these, those that do not go second. Suspects go
    /// last, and only when `alone`.
    pub fn take_next(
        &mut self,
        waits_for_robots: impl Fn(&Loaded) -> bool,
        mut goes_second: impl FnMut(&Loaded) -> bool,
        alone: bool,
    ) -> Option<Loaded> {
        let may_go = |loaded: &Loaded| !waits_for_robots(loaded);
        let first = self.ring.iter().position(|loaded| !is_suspect(loaded) && may_go(loaded) && !goes_second(loaded));
        let second = || self.ring.iter().position(|loaded| !is_suspect(loaded) && may_go(loaded));
        let last = || self.ring.iter().position(|loaded| alone && is_suspect(loaded) && may_go(loaded));
        let position = first.or_else(second).or_else(last)?;
        self.ring.remove(position)
    }

    /// Puts a job back that was taken: to the front when its host refused, to the back when another one should go first.
    pub fn put_back(&mut self, loaded: Loaded, front: bool) {
        if front || loaded.job.kind == JobKind::Robots {
            self.ring.push_front(loaded);
        } else {
            self.ring.push_back(loaded);
        }
    }
}
