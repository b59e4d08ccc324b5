//! One host as the dispatcher keeps it: its limit scopes with a queue for each, and what it still owes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::exchange::{AuthId, Outcome};
use crate::job::{Held, HostId, JobId, Origin, route_of};
use crate::policy::Robots;
use crate::store::{HostAck, Loaded, Refill, RefillRequest};
use crate::throttle::{LaneOf, Limits, Readiness, ScopeId};

use super::lane::{Lane, Place};

/// Deaths of the process with a job in flight after which the job is sent alone. A kill -9 from outside and a job that kills
/// the process look alike; what tells them apart is whether it happens again with nothing else in flight.
const SUSPECT_CRASHES: u32 = 3;

/// Whether the process died so often with this job in flight that it is only sent with nothing else in flight.
pub(super) fn is_suspect(loaded: &Loaded) -> bool {
    loaded.crashes >= SUSPECT_CRASHES
}

/// Refusals in a row, at least, before a host is given up for them: one that names days to wait must not be given up for the second.
const REFUSALS_MIN: u32 = 10;

/// A Crawl-delay above this is worth a word, in ms. Source: Heritrix obeys none that is longer.
const LONG_DELAY_MS: u64 = 300_000;

/// Refusals without any other answer between them.
#[derive(Clone, Copy, Debug, Default)]
struct Refusals {
    count: u32,
    first_at: Timestamp,
}

/// What is known of a host's robots.txt.
pub(super) enum RobotsState {
    /// Nothing, and it was not asked for.
    Unknown,
    /// Its job is on the way; jobs that need it wait. With what it said before, if it did.
    Asked(Option<Box<KnownRobots>>),
    /// What it said, until it expires.
    Known(Box<KnownRobots>),
}

/// What a host's robots.txt said.
pub(super) struct KnownRobots {
    pub rules: Robots,
    /// When it must be asked for again.
    pub expires_at: Timestamp,
    /// What is held of the answer, to ask for it only if it changed.
    pub held: Option<Arc<Held>>,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own; no two of them make a state")]
/// A host with open jobs, or with effects that are not committed yet.
pub(super) struct Host {
    pub origin: Origin,
    pub private_ok: bool,
    pub paused: bool,
    pub limits: Limits,
    pub robots: RobotsState,
    /// The queue of all that no narrow scope has: for nearly all hosts, the only one.
    rest: Lane,
    narrow: Option<Box<NarrowLanes>>,
    /// Every job that the store must not hand out again: in a ring, in flight, or settled and not committed.
    held: HashSet<JobId>,
    /// Why none of its pages is fetched: its robots.txt asks for a longer delay than a crawl waits for anything.
    pub absurd_delay: Option<String>,
    refusals: Refusals,
    /// Why it was given up for its refusals; the throttle knows of those that nobody can reach.
    refused_for_ever: Option<String>,
    /// Settlements that are not committed yet.
    pub uncommitted: usize,
    /// When the dispatcher looks at this host next, and the entry of the heap that is valid.
    pub wake: Option<(Timestamp, u64)>,
    /// Whether it stands among those that wait for a place in flight.
    pub waits_for_room: bool,
    /// Whether the dispatcher counts it as busy.
    pub counted_busy: bool,
}

/// The queues of the narrow scopes.
#[derive(Default)]
struct NarrowLanes {
    lanes: Vec<Lane>,
    /// The names of their scopes, to tell of those that come and go.
    names: HashMap<ScopeId, Box<str>>,
    /// The lane that is asked first next time: 0 is the rest.
    turn: usize,
    /// The version of the scopes that they are made for.
    version: u32,
}

/// How many jobs are read at a time. The queues of narrow scopes are slow by nature, and a host may have many.
fn limit_of(scope: Option<ScopeId>, ring: u32) -> u32 {
    if scope.is_some() { (ring / 4).max(4) } else { ring }
}

impl Host {
    pub fn new(origin: Origin, private_ok: bool, paused: bool, limits: Limits, next_due_at: Option<Timestamp>) -> Self {
        let mut host = Self {
            origin,
            private_ok,
            paused,
            limits,
            robots: RobotsState::Unknown,
            rest: Lane::new(None, next_due_at),
            narrow: None,
            held: HashSet::new(),
            absurd_delay: None,
            refusals: Refusals::default(),
            refused_for_ever: None,
            uncommitted: 0,
            wake: None,
            waits_for_room: false,
            counted_busy: false,
        };
        host.follow_limits(false);
        host
    }

    fn lanes(&self) -> impl Iterator<Item = &Lane> {
        std::iter::once(&self.rest).chain(self.narrow.iter().flat_map(|narrow| &narrow.lanes))
    }

    fn lanes_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        std::iter::once(&mut self.rest).chain(self.narrow.iter_mut().flat_map(|narrow| &mut narrow.lanes))
    }

    /// The order in which the queues are asked: in turn, but for one whose route was just refused, which goes last.
    pub fn turns(&self) -> impl Iterator<Item = usize> + use<> {
        let (count, first) = self.narrow.as_ref().map_or((1, 0), |narrow| {
            let count = narrow.lanes.len() + 1;
            (count, narrow.turn % count)
        });
        let is_last = |lane: usize| {
            let lane = self.lane(lane);
            lane.scope.is_some() && lane.routes.iter().any(|route| self.limits.goes_second(route))
        };
        let last = if count > 1 { (1..count).find(|&lane| is_last(lane)) } else { None };
        (first..count).chain(0..first).filter(move |&lane| Some(lane) != last).chain(last)
    }

    /// A job of this queue was sent: the next one is asked first.
    pub fn pass_turn(&mut self, lane: usize) {
        if let Some(narrow) = &mut self.narrow {
            narrow.turn = lane + 1;
        }
    }

    /// Whether it has more queues than one.
    pub fn has_lanes(&self) -> bool {
        self.narrow.as_ref().is_some_and(|narrow| !narrow.lanes.is_empty())
    }

    /// The queue at a place: 0 is the rest.
    pub fn lane(&self, lane: usize) -> &Lane {
        match (&self.narrow, lane.checked_sub(1)) {
            (Some(narrow), Some(index)) => &narrow.lanes[index],
            _ => &self.rest,
        }
    }

    fn lane_mut(&mut self, lane: usize) -> &mut Lane {
        match (&mut self.narrow, lane.checked_sub(1)) {
            (Some(narrow), Some(index)) => &mut narrow.lanes[index],
            _ => &mut self.rest,
        }
    }

    /// The queue of a scope; the rest for one that has none.
    fn lane_of(&mut self, scope: Option<ScopeId>) -> &mut Lane {
        let narrow = self.narrow.iter_mut().flat_map(|narrow| &mut narrow.lanes);
        let own = scope.and_then(|id| narrow.into_iter().find(|lane| lane.scope == Some(id) && !lane.is_leaving));
        own.unwrap_or(&mut self.rest)
    }

    /// The queue that a job belongs to.
    fn lane_of_job(&mut self, loaded: &Loaded) -> &mut Lane {
        let scope = self.limits.lane_of(route_of(&loaded.job.url));
        self.lane_of(scope)
    }

    /// Gives each narrow scope its queue, and takes away those of scopes that are no more. Costs nothing while none comes or
    /// goes. `tell` is whether people should know.
    pub fn follow_limits(&mut self, tell: bool) {
        let version = self.limits.version();
        if version == self.narrow.as_ref().map_or(0, |narrow| narrow.version) {
            return;
        }
        let places: Vec<Place> = self.lanes().filter(|lane| !lane.is_leaving).map(Lane::place).collect();
        let place = places.into_iter().reduce(Place::before).expect("there is always the rest");
        let jobs: Vec<Loaded> = self.lanes_mut().flat_map(|lane| std::mem::take(&mut lane.ring)).collect();
        let wanted = self.limits.lanes();
        let narrow = self.narrow.get_or_insert_default();
        narrow.version = version;
        for lane in &mut narrow.lanes {
            lane.is_leaving |= !wanted.iter().any(|wanted| lane.scope == Some(wanted.id));
        }
        narrow.lanes.retain(|lane| !lane.is_leaving || lane.is_refilling());
        let mut names = HashMap::new();
        let mut all_routes: Vec<Box<str>> = Vec::new();
        for LaneOf { id, scope, routes } in wanted {
            if let Some(name) = scope {
                if tell && !narrow.names.contains_key(&id) {
                    tracing::info!("{}: {name} has a limit of its own", self.origin);
                }
                names.insert(id, name);
            }
            all_routes.extend(routes.iter().cloned());
            let index = narrow.lanes.iter().position(|lane| lane.scope == Some(id)).unwrap_or_else(|| {
                narrow.lanes.push(Lane::new(Some(id), None));
                narrow.lanes.len() - 1
            });
            narrow.lanes[index].go_on_at(place, routes.into());
        }
        for (id, name) in std::mem::replace(&mut narrow.names, names) {
            if !narrow.names.contains_key(&id) {
                tracing::info!("{}: {name} has no limit of its own any more", self.origin);
            }
        }
        self.rest.go_on_at(place, all_routes.into());
        for loaded in jobs {
            self.lane_of_job(&loaded).push(loaded);
        }
    }

    /// Whether there is nothing left to do here, in memory or in the store.
    pub fn is_idle(&self) -> bool {
        self.held.is_empty() && self.uncommitted == 0 && self.lanes().all(Lane::is_idle)
    }

    /// The refill that a queue should have now, if it should. `ring` is how many jobs are asked for.
    pub fn begin_refill(&mut self, lane: usize, host_id: HostId, ring: u32, now: Timestamp) -> Option<RefillRequest> {
        let limit = limit_of(self.lane(lane).scope, ring);
        let low = limit as usize / 4;
        let robots_asked = lane == 0 && matches!(self.robots, RobotsState::Asked(_));
        let lane = self.lane_mut(lane);
        if !lane.wants_refill(now, low, robots_asked) {
            return None;
        }
        let (after, routes) = lane.begin_refill(low, now);
        Some(RefillRequest { host_id, routes, after, limit, now })
    }

    /// The refill of a queue has ended; `ring` as when it began.
    pub fn end_refill(&mut self, scope: Option<ScopeId>, refill: Refill, ring: u32) {
        let limit = limit_of(scope, ring) as usize;
        let narrow = self.narrow.iter_mut().flat_map(|narrow| &mut narrow.lanes);
        let lane = match scope {
            None => Some(&mut self.rest),
            Some(_) => narrow.into_iter().find(|lane| lane.scope == scope),
        };
        let Some(lane) = lane else { return };
        let fresh = lane.end_refill(refill, limit, &mut self.held);
        if lane.is_leaving
            && let Some(narrow) = &mut self.narrow
        {
            narrow.lanes.retain(|lane| !lane.is_leaving || lane.is_refilling());
        }
        for loaded in fresh {
            self.lane_of_job(&loaded).ring.push_back(loaded);
        }
        self.lanes_mut().for_each(Lane::sort);
    }

    /// A commit has put new jobs, or jobs that back off, into the store.
    pub fn on_ack(&mut self, ack: HostAck) {
        self.lanes_mut().for_each(|lane| lane.on_ack(ack));
    }

    /// What its robots.txt says of the time between two requests. It is obeyed as it stands, but one that is longer than a host may be
    /// down until it is given up would never end.
    pub fn set_crawl_delay(&mut self, delay_ms: Option<u64>, give_up_ms: u64) {
        let words = |ms: u64| humantime::format_duration(std::time::Duration::from_secs(ms / 1_000)).to_string();
        self.absurd_delay = delay_ms.filter(|&delay_ms| delay_ms > give_up_ms).map(|delay_ms| {
            format!(
                "robots.txt: its Crawl-delay of {} is longer than give_up ({}); set a longer give_up, or robots = false and a \
                 delay of your own",
                words(delay_ms),
                words(give_up_ms)
            )
        });
        match (&self.absurd_delay, delay_ms) {
            (Some(why), _) => tracing::warn!("{}: {why}", self.origin),
            (None, Some(delay_ms)) if delay_ms > LONG_DELAY_MS => {
                let day = 24 * 3_600_000 / delay_ms;
                tracing::warn!(
                    "{}: robots.txt asks for a Crawl-delay of {}: {day} requests a day",
                    self.origin,
                    words(delay_ms)
                );
            }
            (None, _) => {}
        }
        self.limits.set_crawl_delay(delay_ms.map(|delay_ms| delay_ms.min(give_up_ms)));
    }

    /// Why it was given up, if it was. Only while it is awake.
    pub fn given_up(&self) -> Option<&str> {
        self.refused_for_ever.as_deref().or_else(|| self.limits.host().given_up())
    }

    /// Gives it up when it has refused all that it was sent for `give_up_ms`.
    pub fn count_refusals(&mut self, outcome: &Outcome, give_up_ms: u64, now: Timestamp) {
        match outcome {
            Outcome::Refused => {
                if self.refusals.count == 0 {
                    self.refusals.first_at = now;
                }
                self.refusals.count = self.refusals.count.saturating_add(1);
            }
            // No answer says nothing, and that a server has too much to do is no limit of ours.
            Outcome::Unreachable | Outcome::Silent | Outcome::Unsent | Outcome::Stopped | Outcome::Overloaded => {}
            _ => self.refusals = Refusals::default(),
        }
        let refused_ms = now.since_ms(self.refusals.first_at);
        if self.refused_for_ever.is_none() && self.refusals.count >= REFUSALS_MIN && refused_ms >= give_up_ms {
            let span = humantime::format_duration(std::time::Duration::from_secs(refused_ms / 1_000));
            let why = format!(
                "host given up: it refused all {} requests in {span} (429 and the like); run `trundle retry` later, or set a longer \
                 give_up",
                self.refusals.count
            );
            tracing::warn!("{}: {why}", self.origin);
            self.refused_for_ever = Some(why);
        }
    }

    /// It was given up and has work again: it is asked once more, for its robots.txt first if that was never had.
    pub fn ask_again(&mut self) {
        self.limits.ask_again();
        self.refusals = Refusals::default();
        self.refused_for_ever = None;
        if matches!(self.robots, RobotsState::Asked(_)) {
            self.robots = RobotsState::Unknown;
        }
    }

    /// What is held of its robots.txt while that is asked for.
    pub fn held_of_robots(&self) -> Option<&Arc<Held>> {
        match &self.robots {
            RobotsState::Asked(before) => before.as_ref()?.held.as_ref(),
            RobotsState::Unknown | RobotsState::Known(_) => None,
        }
    }

    /// Its robots.txt is asked for in full: what is held could not be asked with.
    pub fn forget_robots_held(&mut self) {
        if let RobotsState::Asked(Some(before)) = &mut self.robots {
            before.held = None;
        }
    }

    /// Its robots.txt says what it said before.
    pub fn confirm_robots(&mut self, headers: &[(String, String)], expires_at: Timestamp) {
        self.robots = match std::mem::replace(&mut self.robots, RobotsState::Unknown) {
            RobotsState::Asked(Some(mut known)) => {
                known.expires_at = expires_at;
                if let Some(held) = &mut known.held {
                    Arc::make_mut(held).headers = headers.to_vec();
                }
                RobotsState::Known(known)
            }
            other => other,
        };
    }

    /// The effects of a job are on disk: the store may be asked about it again.
    pub fn release(&mut self, job_id: JobId) {
        self.held.remove(&job_id);
        self.lanes_mut().for_each(|lane| lane.release(job_id));
    }

    /// The first job at hand that this is true of.
    pub fn find(&self, is_it: impl Fn(&Loaded) -> bool) -> Option<&Loaded> {
        self.lanes().flat_map(|lane| &lane.ring).find(|loaded| is_it(loaded))
    }

    /// The next job of a queue that may go: see [`Lane::take_next`].
    pub fn take_next(
        &mut self,
        lane: usize,
        waits_for_robots: impl Fn(&Loaded) -> bool,
        auth_of: impl Fn(&Loaded) -> Option<AuthId>,
        alone: bool,
        now: Timestamp,
    ) -> Option<Loaded> {
        let limits = &mut self.limits;
        let goes_second = |loaded: &Loaded| {
            let route = route_of(&loaded.job.url);
            let auth = if limits.has_pools() { auth_of(loaded) } else { None };
            limits.goes_second(route) || limits.is_held(now, route, auth)
        };
        let lane = match (&mut self.narrow, lane.checked_sub(1)) {
            (Some(narrow), Some(index)) => &mut narrow.lanes[index],
            _ => &mut self.rest,
        };
        lane.take_next(waits_for_robots, goes_second, alone)
    }

    /// Until when nothing of the queue of a narrow scope can go, because of that or of the whole host. Not asked of the rest, which
    /// has jobs of any route.
    pub fn closed_until(&mut self, lane: usize, now: Timestamp) -> Option<Timestamp> {
        let lane = self.lane(lane);
        lane.scope?;
        let routes = Arc::clone(&lane.routes);
        match self.limits.ready(now, routes.first()?) {
            Readiness::NotBefore(at) => Some(at),
            Readiness::Now | Readiness::Full => None,
        }
    }

    /// Whether a suspect is at hand.
    pub fn has_suspect(&self) -> bool {
        self.find(is_suspect).is_some()
    }

    /// Takes the first jobs of a queue that `fits` holds of, at most `count`.
    pub fn take_where(&mut self, lane: usize, fits: impl Fn(&Loaded) -> bool, count: usize) -> Vec<Loaded> {
        let ring = &mut self.lane_mut(lane).ring;
        let mut taken = Vec::with_capacity(count);
        let mut place = 0;
        while taken.len() < count && place < ring.len() {
            if fits(&ring[place]) {
                taken.extend(ring.remove(place));
            } else {
                place += 1;
            }
        }
        taken
    }

    /// Puts a job back that was taken: to the front when its host refused, to the back when the host could not be reached,
    /// so that one address that hangs is not the only probe, and when others of its route should go first.
    pub fn put_back(&mut self, loaded: Loaded, front: bool) {
        debug_assert!(self.held.contains(&loaded.job.id), "a job that was taken stays held");
        self.lane_of_job(&loaded).put_back(loaded, front);
    }

    /// The instant at which the first of its queues with work could send again.
    pub fn next_send_at(&self, now: Timestamp) -> Timestamp {
        let busy = self.lanes().filter(|lane| !lane.is_idle());
        let at = busy.map(|lane| {
            let route = if lane.scope.is_some() { lane.routes.first().map(|route| &**route) } else { None };
            let embargo_at = self.limits.closed_until(now, route.unwrap_or_default()).unwrap_or(now);
            let due_at = if lane.ring.is_empty() { lane.next_due_at().unwrap_or(now) } else { now };
            embargo_at.max(due_at)
        });
        at.min().unwrap_or(now)
    }
}
