//! The one place that decides what is sent when: a state machine without I/O.
//!
//! Enters: [`Event`]s with `now`. Leaves: [`Action`]s, and the instant at which it wants to be asked again. It owns the
//! throttles, so there are no locks around what was learned. Deliberately absent: tasks, channels, clocks, the store.
//!
//! A job is in exactly one of four places: in the store alone, in the ring of its host, in flight, or settled and not
//! committed yet. The last three are the host's `held` set, which filters what a refill brings.

mod orders;
mod outlook;
mod weight;

pub use weight::weight_bytes;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::exchange::Outcome;
use crate::job::{HostId, Job, JobId, JobKind, NewJob, Priority, SourceId};
use crate::policy::{self, Robots, RobotsAnswer, RobotsVerdict, Verdict};
use crate::store::{self, Ack, HostRow, JobMove, Loaded, Refill, RefillRequest, RobotsRecord, Settlement, SourceRow};
use crate::throttle::{Admission, Permit, Suspicion, Throttle};

use super::host::{Host, RobotsState, is_suspect};
use super::plan::Plan;
use super::ready::Ready;
use super::report::{Report, RobotsReading};
use super::resting::Rests;
use super::teaching;

/// Jobs of one host that are settled without a request before other hosts get their turn.
const LOCAL_VERDICTS_MAX: usize = 64;

/// One in so many of the places in flight is kept for hosts that have nothing in flight.
const KEPT_SHARE: usize = 4;

/// When to look again at a page that `max_pages` may leave out, once it is known what becomes of the pages in flight, in ms.
const BUDGET_LOOK_MS: u64 = 100;

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A refill has been read.
    Refilled {
        /// Whose.
        host_id: HostId,
        /// What the store had.
        refill: Refill,
    },
    /// A worker has ended.
    Finished {
        /// Its job.
        job_id: JobId,
        /// What it brings; boxed, since it is by far the largest event.
        report: Box<Report>,
    },
    /// A batch is on disk.
    Committed {
        /// The jobs whose settlements were in it, with the weight of each in bytes.
        jobs: Vec<(JobId, usize)>,
        /// How many [`Action::Found`], [`Action::Obeyed`] and looks into the inbox were in it.
        awaited: usize,
        /// What the commit did.
        ack: Ack,
    },
    /// Jobs that were added from outside have been handed to the committer.
    InboxTaken,
    /// A person says something about the limit of a host, in this row of the inbox.
    Ordered(i64, Box<store::HostOrder>),
    /// All seeds have been handed to the committer and are on disk.
    Seeded,
    /// Time has passed.
    Tick,
    /// Send nothing more; finish what is in flight.
    Stop,
}

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// Read more jobs of a host.
    Refill(RefillRequest),
    /// Send the request of a job.
    Send {
        /// The job.
        job: Job,
        /// Whether its host may lie at a private address.
        private_ok: bool,
    },
    /// Commit what came of a job.
    Settle(Box<Settlement>),
    /// Put jobs into the store.
    Found(Vec<NewJob>),
    /// Store what is known about a host after the order in this row of the inbox, which is done with it.
    Obeyed(i64, Box<store::HostLearned>),
}

struct InFlight {
    loaded: Loaded,
    permit: Permit,
}

/// Jobs of a site that were done or are on their way to it, against `max_pages`.
#[derive(Clone, Copy, Debug, Default)]
struct Budget {
    done: u64,
    in_flight: u64,
}

/// The state machine.
pub struct Dispatcher {
    plan: Arc<Plan>,
    hosts: HashMap<HostId, Host>,
    ready: Ready,
    rests: Rests,
    in_flight: HashMap<JobId, InFlight>,
    /// Hosts with a request in flight that wait for one of the places that are not kept for others, in turn.
    waits_for_room: VecDeque<HostId>,
    /// Hosts whose suspects wait until nothing else is in flight.
    with_suspects: HashSet<HostId>,
    has_suspect_in_flight: bool,
    /// Settlements of a job that are not committed yet: more than one when its host refused it a moment ago.
    settling: HashMap<JobId, u32>,
    budgets: HashMap<SourceId, Budget>,
    uncommitted: usize,
    uncommitted_bytes: usize,
    /// Found jobs on their way to the store, in batches.
    awaited: usize,
    busy_hosts: usize,
    seeded: bool,
    stopping: bool,
    dice: fastrand::Rng,
}

impl Dispatcher {
    /// A dispatcher that goes on from what the store has. `seed` makes its dice.
    #[must_use]
    pub fn new(plan: Arc<Plan>, sources: &[SourceRow], hosts: Vec<HostRow>, now: Timestamp, seed: u64) -> Self {
        let budgets = sources.iter().map(|row| (row.id, Budget { done: row.n_done, in_flight: 0 })).collect();
        let mut dispatcher = Self {
            plan,
            hosts: HashMap::new(),
            ready: Ready::default(),
            rests: Rests::default(),
            in_flight: HashMap::new(),
            waits_for_room: VecDeque::new(),
            with_suspects: HashSet::new(),
            has_suspect_in_flight: false,
            settling: HashMap::new(),
            budgets,
            uncommitted: 0,
            uncommitted_bytes: 0,
            awaited: 0,
            busy_hosts: 0,
            seeded: false,
            stopping: false,
            dice: fastrand::Rng::with_seed(seed),
        };
        for row in hosts {
            dispatcher.meet(row, now);
        }
        dispatcher
    }

    /// Takes in what happened and says what is to be done now.
    #[must_use = "an action that is not carried out loses a job of this run"]
    pub fn step(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Refilled { host_id, refill } => {
                let limit = self.plan.bounds.ring as usize;
                if let Some(host) = self.hosts.get_mut(&host_id) {
                    host.end_refill(refill, limit);
                }
                self.look_at(host_id, now);
            }
            Event::Finished { job_id, report } => self.on_finished(job_id, *report, now, &mut actions),
            Event::Committed { jobs, awaited, ack } => {
                self.awaited -= awaited;
                self.on_committed(&jobs, ack, now);
            }
            Event::InboxTaken => self.awaited += 1,
            Event::Ordered(inbox_id, order) => self.on_ordered(inbox_id, *order, now, &mut actions),
            Event::Seeded => self.seeded = true,
            Event::Tick => {}
            Event::Stop => self.stopping = true,
        }
        self.pump(now, &mut actions);
        self.rests.look(&mut self.hosts, now);
        actions
    }

    /// When [`Event::Tick`] is due; none while only other events can change anything.
    #[must_use]
    pub fn wake_at(&self) -> Option<Timestamp> {
        if self.stopping || self.is_full() { None } else { self.ready.next_at() }
    }

    /// Whether everything is done and on disk, or (after a stop) nothing is in flight and everything is on disk.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let quiet = self.in_flight.is_empty() && self.uncommitted == 0 && self.awaited == 0;
        quiet && (self.stopping || (self.seeded && self.busy_hosts == 0))
    }

    fn is_full(&self) -> bool {
        let bounds = &self.plan.bounds;
        self.has_suspect_in_flight
            || self.in_flight.len() >= bounds.in_flight_max
            || self.uncommitted >= bounds.uncommitted_max
            || self.uncommitted_bytes >= bounds.uncommitted_bytes_max
    }

    /// Whether the places that are left are kept for hosts that have nothing in flight: else slow hosts, which hold their
    /// places longest, would fill them all, and a fast one would wait for them.
    fn is_crowded(&self) -> bool {
        let in_flight_max = self.plan.bounds.in_flight_max;
        self.busy_hosts > 1 && self.in_flight.len() >= in_flight_max - in_flight_max / KEPT_SHARE
    }

    /// A host that the store tells of: new, or with work again.
    fn meet(&mut self, row: HostRow, now: Timestamp) {
        let HostRow { host_id, origin, private_ok, paused, next_due_at, snapshot, robots, not_before_at, .. } = row;
        if let Some(host) = self.hosts.get_mut(&host_id) {
            host.private_ok |= private_ok;
        } else {
            // The column of the embargo is what a person may have changed by hand; the later of the two holds.
            // It holds also when the rest of the memory cannot be read any more.
            let mut snapshot = snapshot;
            if not_before_at > snapshot.as_ref().map_or(Timestamp::EPOCH, |memory| memory.not_before_at) {
                let memory = snapshot.get_or_insert_default();
                memory.not_before_at = not_before_at;
                "an earlier run was told to wait".clone_into(&mut memory.not_before_why);
            }
            let throttle = Throttle::new((self.plan.throttle_for)(&origin), snapshot.as_ref(), now);
            let mut host = Host::new(origin, private_ok, paused, throttle, next_due_at, now);
            if let Some(record) = robots {
                self.learn_robots(&mut host, &record);
            }
            self.hosts.insert(host_id, host);
            self.rests.enter(host_id, now);
        }
        self.look_at(host_id, now);
    }

    fn learn_robots(&self, host: &mut Host, record: &RobotsRecord) {
        let rules = if record.disallow_all {
            Robots::disallow_all("robots.txt could not be had")
        } else {
            Robots::parse(&record.body, &self.plan.agent)
        };
        host.throttle.set_crawl_delay(rules.crawl_delay_ms());
        host.robots = RobotsState::Known { rules, expires_at: record.expires_at };
    }

    /// Enters a host for a look at `at`, unless an earlier look is entered already, and keeps the count of busy hosts.
    fn look_at(&mut self, host_id: HostId, at: Timestamp) {
        let Some(host) = self.hosts.get_mut(&host_id) else { return };
        let busy = !host.is_idle();
        if busy != host.counted_busy {
            host.counted_busy = busy;
            if busy {
                self.busy_hosts += 1;
            } else {
                self.busy_hosts -= 1;
            }
        }
        if busy && !host.paused && host.wake.is_none_or(|(wake_at, _)| at < wake_at) {
            let ticket = self.ready.enter(host_id, at);
            host.wake = Some((at, ticket));
        }
    }

    fn on_committed(&mut self, jobs: &[(JobId, usize)], ack: Ack, now: Timestamp) {
        for &(job_id, bytes) in jobs {
            self.uncommitted -= 1;
            self.uncommitted_bytes -= bytes;
            let host_id = job_id.host_id();
            let left = self.settling.get_mut(&job_id).map_or(0, |count| {
                *count -= 1;
                *count
            });
            if left == 0 {
                self.settling.remove(&job_id);
            }
            if let Some(host) = self.hosts.get_mut(&host_id) {
                host.uncommitted -= 1;
                // A job that stays open is back in the ring, or in flight again; its last settlement releases it.
                let is_open_here =
                    self.in_flight.contains_key(&job_id) || host.ring.iter().any(|loaded| loaded.job.id == job_id);
                if left == 0 && !is_open_here {
                    host.release(job_id);
                }
            }
            self.look_at(host_id, now);
        }
        for row in ack.new_hosts {
            self.meet(row, now);
        }
        for (host_id, host_ack) in ack.hosts {
            if let Some(host) = self.hosts.get_mut(&host_id) {
                host.on_ack(host_ack);
            }
            self.look_at(host_id, now);
        }
    }

    fn on_finished(&mut self, job_id: JobId, report: Report, now: Timestamp, actions: &mut Vec<Action>) {
        let InFlight { loaded, permit } = self.in_flight.remove(&job_id).expect("only a job in flight can finish");
        if self.in_flight.is_empty() {
            self.has_suspect_in_flight = false;
            for host_id in std::mem::take(&mut self.with_suspects) {
                self.look_at(host_id, now);
            }
        }
        let host_id = job_id.host_id();
        let host = self.hosts.get_mut(&host_id).expect("a host with a job in flight is kept");
        let Report { outcome, verdict, hints, mut attempt, mut reading } = report;

        let embargo_before_at = host.throttle.embargo(now).map(|(at, _)| at);
        let suspicion = teaching::suspicion(&mut host.throttle, &permit, &loaded.job, &outcome, attempt.status, now);
        let feedback = teaching::feedback(&outcome, suspicion, &attempt, hints);
        host.throttle.finish(permit, &feedback, now, &mut self.dice);
        teaching::tell(&host.origin, host.throttle.embargo(now), embargo_before_at, now);
        teaching::tell_learned(&host.origin, &mut host.throttle);

        // A job is not to blame for a limit, nor for a host that nobody can reach.
        let stays = matches!(outcome, Outcome::Refused | Outcome::Stopped)
            || suspicion == Some(Suspicion::Sure)
            || (outcome == Outcome::Unreachable && host.throttle.is_down() && host.throttle.given_up().is_none());
        let change = if stays {
            JobMove::Stay
        } else if let (Outcome::Unreachable | Outcome::Silent, Some(why)) = (&outcome, host.throttle.given_up()) {
            JobMove::Dead(why.to_owned())
        } else if let Some(change) = reading.change.take() {
            change
        } else {
            let verdict = match verdict {
                // It may be no fault of the page: its attempts bound how often that is tried.
                Verdict::Dead(reason) if outcome == Outcome::Rejected && suspicion.is_some() => {
                    policy::charge(reason, &loaded.job, &self.plan.retry, now, &mut self.dice)
                }
                verdict => verdict,
            };
            match verdict {
                Verdict::Settle => JobMove::Done,
                Verdict::Gone(reason) => JobMove::Gone(reason),
                Verdict::Dead(reason) => JobMove::Dead(reason),
                Verdict::RetryAt { at, reason } => JobMove::Retry { due_at: at, reason },
                Verdict::Hold => JobMove::Stay,
            }
        };
        attempt.retry_at = match &change {
            JobMove::Retry { due_at, .. } => Some(*due_at),
            JobMove::Stay => host.throttle.embargo(now).map(|(at, _)| at),
            _ => None,
        };

        // While the host is down or refuses, nothing is known of its robots.txt, whatever the worker concludes from its attempts.
        let is_answered =
            loaded.job.kind == JobKind::Robots && !matches!(change, JobMove::Stay | JobMove::Retry { .. });
        let unreadable = || {
            // However its job ended, its pages must not wait for ever; what cannot be had closes the host (RFC 9309 2.3.1.4).
            let answer = RobotsAnswer::closed(attempt.status, String::new());
            (is_answered && host.throttle.given_up().is_none()).then(|| RobotsReading::from(answer))
        };
        let robots = reading.robots.take().filter(|_| !stays).or_else(unreadable).map(|robots| RobotsRecord {
            host_id,
            status: robots.status,
            body: robots.body,
            disallow_all: robots.disallow_all,
            fetched_at: now,
            expires_at: now.plus_ms(robots.lifetime_ms),
        });
        let budget = self.budgets.entry(loaded.job.source).or_default();
        if loaded.job.kind == JobKind::Page {
            budget.in_flight -= 1;
            if change == JobMove::Done {
                budget.done += 1;
            }
        }
        let is_settled = change != JobMove::Stay;
        let settlement = Settlement {
            job_id,
            change,
            attempt: Some(attempt),
            response: reading.response.take(),
            discovered: std::mem::take(&mut reading.discovered),
            next_page: reading.next_page.take(),
            items: std::mem::take(&mut reading.items),
            robots: robots.clone(),
            learned: Some(teaching::learned(host_id, &host.throttle, now)),
        };
        if !is_settled {
            // A job that alone gets a doubtful status must not be the one that asks whether the host is open again.
            let front = outcome != Outcome::Unreachable && suspicion.is_none();
            host.put_back(loaded, front);
        }
        if let Some(record) = robots {
            let mut host = self.hosts.remove(&host_id).expect("looked up above");
            self.learn_robots(&mut host, &record);
            self.hosts.insert(host_id, host);
        }
        self.settle(settlement, actions);
        self.look_at(host_id, now);
    }

    fn settle(&mut self, settlement: Settlement, actions: &mut Vec<Action>) {
        self.uncommitted += 1;
        self.uncommitted_bytes += weight_bytes(&settlement);
        let host = self.hosts.get_mut(&settlement.job_id.host_id()).expect("a settled job's host is kept");
        host.uncommitted += 1;
        *self.settling.entry(settlement.job_id).or_default() += 1;
        actions.push(Action::Settle(Box::new(settlement)));
    }

    /// Sends what may be sent, host by host in turn, until nothing is due or a bound of the run is reached.
    fn pump(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        while !self.stopping && !self.is_full() {
            if !self.is_crowded()
                && let Some(host_id) = self.waits_for_room.pop_front()
            {
                if let Some(host) = self.hosts.get_mut(&host_id) {
                    host.waits_for_room = false;
                }
                self.look_at(host_id, now);
            }
            let Some((host_id, ticket)) = self.ready.take_due(now) else { break };
            let Some(host) = self.hosts.get_mut(&host_id) else { continue };
            if host.wake.is_none_or(|(_, valid)| valid != ticket) {
                continue;
            }
            host.wake = None;
            if let Some(at) = self.serve(host_id, now, actions) {
                self.look_at(host_id, at);
            }
        }
    }

    /// One turn of one host: at most one request. When to look again; none when an event will tell.
    fn serve(&mut self, host_id: HostId, now: Timestamp, actions: &mut Vec<Action>) -> Option<Timestamp> {
        for _ in 0..LOCAL_VERDICTS_MAX {
            let ring = self.plan.bounds.ring;
            let host = self.hosts.get_mut(&host_id)?;
            if host.paused {
                return None;
            }
            self.rests.wake(host_id, host, now);
            let low = ring as usize / 4;
            if host.wants_refill(now, low) {
                let after = host.begin_refill(low);
                actions.push(Action::Refill(RefillRequest { host_id, after, limit: ring, now }));
            }
            self.refresh_robots(host_id, now, actions);
            let host = self.hosts.get_mut(&host_id)?;
            let plan = Arc::clone(&self.plan);
            // A host that was given up will not say what its robots.txt allows, and its pages are given up with it.
            let is_given_up = host.throttle.given_up().is_some();
            let robots_pending = !is_given_up && !matches!(host.robots, RobotsState::Known { .. });
            let waits = |loaded: &Loaded| robots_pending && needs_robots(&plan, &loaded.job);
            let alone = self.in_flight.is_empty();
            let Some(loaded) = host.take_next(waits, alone) else {
                if host.has_suspect() {
                    self.with_suspects.insert(host_id);
                }
                // A refill, the answer of robots.txt or an acknowledgement will tell; a job that backs off needs a look.
                // One that is due already waits for room, and so for one of these events.
                return host.next_due_at().filter(|&at| at > now);
            };
            if let Some(change) = self.verdict_without_request(host_id, &loaded.job) {
                self.settle(Settlement::bare(loaded.job.id, change), actions);
                continue;
            }
            if self.must_await_budget(&loaded.job) {
                self.hosts.get_mut(&host_id)?.put_back(loaded, true);
                return Some(now.plus_ms(BUDGET_LOOK_MS));
            }
            let is_crowded = self.is_crowded();
            let host = self.hosts.get_mut(&host_id)?;
            if is_crowded && host.throttle.in_flight() > 0 {
                host.put_back(loaded, true);
                if !std::mem::replace(&mut host.waits_for_room, true) {
                    self.waits_for_room.push_back(host_id);
                }
                return None;
            }
            return match host.throttle.admit(now) {
                Admission::Go(permit) => {
                    let job = loaded.job.clone();
                    if job.kind == JobKind::Page {
                        self.budgets.entry(job.source).or_default().in_flight += 1;
                    }
                    actions.push(Action::Send { job: job.clone(), private_ok: host.private_ok });
                    self.has_suspect_in_flight = is_suspect(&loaded);
                    self.in_flight.insert(job.id, InFlight { loaded, permit });
                    Some(now)
                }
                Admission::NotBefore(at) => {
                    host.put_back(loaded, true);
                    Some(at)
                }
                Admission::Full => {
                    host.put_back(loaded, true);
                    None
                }
            };
        }
        Some(now)
    }

    /// Asks for robots.txt when a job at hand needs it and it is not known, or no longer.
    fn refresh_robots(&mut self, host_id: HostId, now: Timestamp, actions: &mut Vec<Action>) {
        let Some(host) = self.hosts.get_mut(&host_id) else { return };
        if host.throttle.given_up().is_some() {
            return;
        }
        match host.robots {
            RobotsState::Asked => return,
            RobotsState::Known { expires_at, .. } if now < expires_at => return,
            RobotsState::Known { .. } | RobotsState::Unknown => {}
        }
        let Some(first) = host.ring.iter().find(|loaded| needs_robots(&self.plan, &loaded.job)) else { return };
        let Ok(url) = host.origin.join("/robots.txt") else { return };
        let source = first.job.source;
        host.robots = RobotsState::Asked;
        self.awaited += 1;
        actions.push(Action::Found(vec![NewJob {
            priority: Priority::FIRST,
            parent: Some(first.job.id),
            private_ok: host.private_ok,
            again: true,
            ..NewJob::seed(url, JobKind::Robots, source)
        }]));
    }

    /// Whether the pages in flight may use up `max_pages`, so that this one can be neither sent nor left out yet.
    fn must_await_budget(&self, job: &Job) -> bool {
        let Some(site) = self.plan.site(job.source) else { return false };
        if job.kind != JobKind::Page || site.pages_max == 0 {
            return false;
        }
        let budget = self.budgets.get(&job.source).copied().unwrap_or_default();
        budget.done + budget.in_flight >= site.pages_max
    }

    /// What becomes of a job that need not be sent.
    fn verdict_without_request(&self, host_id: HostId, job: &Job) -> Option<JobMove> {
        let host = self.hosts.get(&host_id)?;
        if let Some(why) = host.throttle.given_up() {
            return Some(JobMove::Dead(why.to_owned()));
        }
        // robots.txt belongs to its host, not to the section that asked first; the pages of others wait for it.
        if job.kind == JobKind::Robots {
            return None;
        }
        if !self.plan.sources.contains_key(&job.source) {
            return Some(JobMove::Skipped("its section is no longer in the configuration".to_owned()));
        }
        let site = self.plan.site(job.source)?;
        if site.robots
            && let RobotsState::Known { rules, .. } = &host.robots
            && let RobotsVerdict::Disallowed { rule } = rules.verdict(&job.url)
        {
            return Some(JobMove::Skipped(format!("robots.txt: {rule}")));
        }
        if job.kind == JobKind::Page && site.pages_max > 0 {
            let budget = self.budgets.get(&job.source).copied().unwrap_or_default();
            if budget.done >= site.pages_max {
                return Some(JobMove::Skipped(format!("max_pages = {} is reached", site.pages_max)));
            }
        }
        None
    }
}

/// Whether a job may only be sent when its host's robots.txt is known.
fn needs_robots(plan: &Plan, job: &Job) -> bool {
    job.kind != JobKind::Robots && plan.site(job.source).is_some_and(|site| site.robots)
}
