//! The one place that decides what is sent when: a state machine without I/O.
//!
//! Enters: [`Event`]s with `now`. Leaves: [`Action`]s, and the instant at which it wants to be asked again. It owns the
//! throttles, so there are no locks around what was learned. Deliberately absent: tasks, channels, clocks, the store.
//!
//! A job is in exactly one of four places: in the store alone, in a ring of its host, in flight, or settled and not
//! committed yet. The last three are the host's `held` set, which filters what a refill brings.

mod batches;
mod elsewhere;
mod finish;
mod orders;
mod outlook;
mod serve;
mod weight;

pub use weight::weight_bytes;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::exchange::{Proxies, Via};
use crate::job::{HostId, Job, JobId, NewJob, Origin, SourceId};
use crate::policy::Robots;
use crate::store::{
    self, Ack, HostRow, Loaded, RecrawlStep, Refill, RefillRequest, RobotsRecord, Settlement, SourceRow,
};
use crate::throttle::{Grant, Limits, PoolKind, PoolOf, ScopeId};

use super::asking;
use super::host::{Host, KnownRobots, RobotsState};
use super::plan::{Plan, Source};
use super::pulls::{PullOrder, Pulls};
use super::ready::Ready;
use super::recrawls::Recrawls;
use super::report::Report;
use super::resting::Rests;

/// One in so many of the places in flight is kept for hosts that have nothing in flight.
const KEPT_SHARE: usize = 4;

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A refill has been read.
    Refilled {
        /// Whose.
        host_id: HostId,
        /// For which of its queues, as in [`Action::Refill`].
        lane: Option<ScopeId>,
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
    /// All slices that the tree of this stream begins with are on disk.
    StreamSeeded(SourceId),
    /// Time has passed.
    Tick,
    /// Send nothing more; finish what is in flight.
    Stop,
}

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// Read more jobs of a host.
    Refill {
        /// The narrow scope whose queue it is for; none is the rest of the host.
        lane: Option<ScopeId>,
        /// The question.
        request: RefillRequest,
    },
    /// Send the request of a job.
    Send {
        /// The job.
        job: Job,
        /// Whether its host may lie at a private address.
        private_ok: bool,
        /// The token and the proxy that it goes by, where there is a choice.
        via: Via,
    },
    /// Commit what came of a job.
    Settle(Box<Settlement>),
    /// Put jobs into the store.
    Found(Vec<NewJob>),
    /// Begin the pull of a tree of streams, or go on with it: make its first slices.
    Pull(PullOrder),
    /// Store that the pulls of these streams are over.
    EndPulls(Vec<SourceId>),
    /// Store what happens to pages that are fetched again on a schedule.
    Recrawl(Vec<RecrawlStep>),
    /// Store what is known about a host after the order in this row of the inbox, which is done with it.
    Obeyed(i64, Box<store::HostLearned>),
}

struct InFlight {
    loaded: Loaded,
    grant: Grant,
    /// The jobs whose ids are in the same request.
    members: Vec<Loaded>,
    /// The other host that it was sent to, with the request, when a robots.txt redirects there.
    elsewhere: Option<(HostId, Box<Job>)>,
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
    proxies: Arc<dyn Proxies>,
    hosts: HashMap<HostId, Host>,
    by_origin: HashMap<Origin, HostId>,
    ready: Ready,
    rests: Rests,
    in_flight: HashMap<JobId, InFlight>,
    /// Jobs whose ids are in the request of another one that is in flight.
    in_batches: HashSet<JobId>,
    /// How many ids a stream's server takes at once, where it has said of more that they are too many.
    together_max: HashMap<SourceId, u32>,
    /// Hosts with a request in flight that wait for one of the places that are not kept for others, in turn.
    waits_for_room: VecDeque<HostId>,
    /// Hosts whose suspects wait until nothing else is in flight.
    with_suspects: HashSet<HostId>,
    has_suspect_in_flight: bool,
    /// Settlements of a job that are not committed yet: more than one when its host refused it a moment ago.
    settling: HashMap<JobId, u32>,
    budgets: HashMap<SourceId, Budget>,
    pulls: Pulls,
    recrawls: Recrawls,
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
    pub fn new(
        plan: Arc<Plan>,
        proxies: Arc<dyn Proxies>,
        sources: &[SourceRow],
        hosts: Vec<HostRow>,
        now: Timestamp,
        seed: u64,
    ) -> Self {
        let budgets = sources.iter().map(|row| (row.id, Budget { done: row.n_done, in_flight: 0 })).collect();
        let pulls = pulls_of(&plan, sources);
        let recrawls = recrawls_of(&plan, sources, now);
        let mut dispatcher = Self {
            plan,
            proxies,
            hosts: HashMap::new(),
            by_origin: HashMap::new(),
            ready: Ready::default(),
            rests: Rests::default(),
            in_flight: HashMap::new(),
            in_batches: HashSet::new(),
            together_max: HashMap::new(),
            waits_for_room: VecDeque::new(),
            with_suspects: HashSet::new(),
            has_suspect_in_flight: false,
            settling: HashMap::new(),
            budgets,
            pulls,
            recrawls,
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
            Event::Refilled { host_id, lane, refill } => {
                let ring = self.plan.bounds.ring;
                if let Some(host) = self.hosts.get_mut(&host_id) {
                    host.end_refill(lane, refill, ring);
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
            Event::StreamSeeded(root) => self.pulls.on_seeded(root),
            Event::Tick => {}
            Event::Stop => self.stopping = true,
        }
        self.pull(now, &mut actions);
        self.pump(now, &mut actions);
        self.rests.look(&mut self.hosts, now);
        actions
    }

    /// When [`Event::Tick`] is due; none while only other events can change anything.
    #[must_use]
    pub fn wake_at(&self) -> Option<Timestamp> {
        if self.stopping {
            return None;
        }
        let next_send_at = if self.is_full() { None } else { self.ready.next_at() };
        next_send_at.into_iter().chain(self.pulls.next_at()).chain(self.recrawls.next_at()).min()
    }

    /// Ends the pulls that are over and begins those that are due.
    fn pull(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let ended = self.pulls.ended();
        if !ended.is_empty() {
            self.awaited += 1;
            actions.push(Action::EndPulls(ended));
        }
        if !self.stopping {
            actions.extend(self.pulls.due(now).into_iter().map(Action::Pull));
            let steps = self.recrawls.due(now);
            if !steps.is_empty() {
                self.awaited += 1;
                actions.push(Action::Recrawl(steps));
            }
        }
    }

    /// Whether everything is done and on disk, or (after a stop) nothing is in flight and everything is on disk.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let quiet = self.in_flight.is_empty() && self.uncommitted == 0 && self.awaited == 0;
        let none_is_due = || {
            let next_at = self.pulls.next_at().or(self.recrawls.next_at());
            !self.pulls.is_busy() && !self.recrawls.is_busy() && next_at.is_none()
        };
        let is_done = || self.seeded && self.busy_hosts == 0 && none_is_due();
        quiet && (self.stopping || is_done())
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
        let HostRow {
            host_id, origin, private_ok, paused, next_due_at, snapshot, robots, not_before_at, scopes, ..
        } = row;
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
            let settings = (self.plan.throttle_for)(&origin);
            let limits = Limits::new(settings, snapshot.as_ref(), scopes, &self.pools_of(&origin), now);
            let mut host = Host::new(origin, private_ok, paused, limits, next_due_at);
            if let Some(record) = robots {
                self.learn_robots(&mut host, &record);
            }
            self.by_origin.insert(host.origin.clone(), host_id);
            self.hosts.insert(host_id, host);
            self.rests.enter(host_id, now);
        }
        self.look_at(host_id, now);
    }

    /// The pools of tokens and proxies that a host is asked by.
    fn pools_of(&self, origin: &Origin) -> Vec<PoolOf> {
        let mut pools = self.plan.token_pools(origin);
        let proxies = self.proxies.choice_for(origin);
        if proxies.len() > 1 {
            let members = proxies.iter().map(|name| format!("proxy {name}").into()).collect();
            pools.push(PoolOf { kind: PoolKind::Proxies, name: "proxies".into(), members, marks: Vec::new() });
        }
        pools
    }

    fn learn_robots(&self, host: &mut Host, record: &RobotsRecord) {
        let rules = if record.disallow_all {
            Robots::disallow_all("robots.txt could not be had")
        } else {
            Robots::parse(&record.body, &self.plan.agent)
        };
        let give_up_ms = (self.plan.throttle_for)(&host.origin).down_max_ms;
        host.set_crawl_delay(rules.crawl_delay_ms(), give_up_ms);
        let held = asking::held_of_robots(record);
        host.robots = RobotsState::Known(Box::new(KnownRobots { rules, expires_at: record.expires_at, held }));
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
                let is_open_here = self.in_flight.contains_key(&job_id)
                    || self.in_batches.contains(&job_id)
                    || host.find(|loaded| loaded.job.id == job_id).is_some();
                if left == 0 && !is_open_here {
                    host.release(job_id);
                }
            }
            self.look_at(host_id, now);
        }
        self.pulls.on_ack(&ack.slices);
        for (source, reopened) in ack.recrawls.iter().filter_map(|(source, ack)| Some((*source, ack.reopened?))) {
            let budget = self.budgets.entry(source).or_default();
            budget.done = budget.done.saturating_sub(reopened.done);
        }
        self.recrawls.on_ack(&ack.recrawls);
        for row in ack.new_hosts {
            let host_id = row.host_id;
            self.meet(row, now);
            if let Some(host) = self.hosts.get_mut(&host_id) {
                // It may have rested since its last work was done, and is about to be served.
                self.rests.wake(host_id, host, now);
                if host.given_up().is_some() {
                    host.ask_again();
                }
            }
        }
        for (host_id, host_ack) in ack.hosts {
            if let Some(host) = self.hosts.get_mut(&host_id) {
                host.on_ack(host_ack);
            }
            self.look_at(host_id, now);
        }
    }

    fn settle(&mut self, settlement: Settlement, actions: &mut Vec<Action>) {
        self.uncommitted += 1;
        self.uncommitted_bytes += weight_bytes(&settlement);
        let host = self.hosts.get_mut(&settlement.job_id.host_id()).expect("a settled job's host is kept");
        host.uncommitted += 1;
        *self.settling.entry(settlement.job_id).or_default() += 1;
        actions.push(Action::Settle(Box::new(settlement)));
    }
}

/// The schedules of the sites that the store knows.
fn recrawls_of(plan: &Plan, rows: &[SourceRow], now: Timestamp) -> Recrawls {
    let sites = rows.iter().filter_map(|row| {
        let site = plan.site(row.id)?;
        let schedule = site.recrawl.map(|settings| (format!("{settings:?}"), settings.between_ms()));
        Some((row.id, schedule, row.recrawl.clone(), row.due_at))
    });
    Recrawls::new(sites, plan.wishes.once.then_some(now))
}

/// The pulls of the streams that the store knows.
fn pulls_of(plan: &Plan, rows: &[SourceRow]) -> Pulls {
    let mut states = HashMap::new();
    let mut schedules = Vec::new();
    for row in rows {
        if let Some(Source::Stream(stream)) = plan.sources.get(&row.id) {
            states.insert(row.id, row.pull.clone());
            schedules.push((row.id, stream.schedule.clone()));
        }
    }
    Pulls::new(&schedules, &states, plan.wishes)
}
