//! What is sent next: host by host in turn, and queue by queue of each.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::job::{HostId, Job, JobKind, NewJob, Priority, route_of};
use crate::policy::{RobotsVerdict, ScopeVerdict};
use crate::store::{JobMove, Loaded, Settlement};
use crate::throttle::{Admission, Bearing};

use super::super::host::{RobotsState, is_suspect};
use super::super::plan::Plan;
use super::super::{asking, worker};
use super::{Action, Dispatcher, InFlight, batches};

/// Jobs of one host that are settled without a request before other hosts get their turn.
const LOCAL_VERDICTS_MAX: usize = 64;

/// When to look again at a page that `max_pages` may leave out, once it is known what becomes of the pages in flight, in ms.
const BUDGET_LOOK_MS: u64 = 100;

/// The queue of a narrow scope that is closed for longer than this is left alone, in ms: time enough for its refill.
const LANE_AHEAD_MS: u64 = 1_000;

/// How the turn of one queue ended.
enum Turn {
    /// The host has had its turn: a request was sent, or enough was settled without one.
    Over,
    /// Nothing went; look again then.
    Look(Timestamp),
    /// Nothing went; an event will tell.
    Event,
}

impl Dispatcher {
    /// Sends what may be sent, host by host in turn, until nothing is due or a bound of the run is reached.
    pub(super) fn pump(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
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
        let host = self.hosts.get_mut(&host_id)?;
        if host.paused {
            return None;
        }
        self.rests.wake(host_id, host, now);
        let turns = host.turns();
        let mut verdicts_left = LOCAL_VERDICTS_MAX;
        let mut look_at: Option<Timestamp> = None;
        for lane in turns {
            match self.serve_lane(host_id, lane, &mut verdicts_left, now, actions) {
                Turn::Over => return Some(now),
                Turn::Look(at) => look_at = Some(look_at.map_or(at, |known| known.min(at))),
                Turn::Event => {}
            }
        }
        look_at
    }

    /// One turn of one queue of a host.
    fn serve_lane(
        &mut self,
        host_id: HostId,
        lane: usize,
        verdicts_left: &mut usize,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) -> Turn {
        let plan = Arc::clone(&self.plan);
        while *verdicts_left > 0 {
            *verdicts_left -= 1;
            let alone = self.in_flight.is_empty();
            let Some(host) = self.hosts.get_mut(&host_id) else { return Turn::Event };
            // A host that was given up will not say what its robots.txt allows, and its pages are given up with it.
            let is_given_up = host.given_up().is_some();
            if let Some(at) = host.closed_until(lane, now).filter(|at| at.since_ms(now) > LANE_AHEAD_MS && !is_given_up)
            {
                // It reads nothing until then: its jobs would only lie in memory.
                return if host.lane(lane).is_idle() { Turn::Event } else { Turn::Look(at) };
            }
            if host.has_lanes()
                && let Some(at) = host.lane(lane).rests_until(now)
            {
                return Turn::Look(at);
            }
            if let Some(request) = host.begin_refill(lane, host_id, plan.bounds.ring, now) {
                actions.push(Action::Refill { lane: host.lane(lane).scope, request });
            }
            self.refresh_robots(host_id, now, actions);
            let Some(host) = self.hosts.get_mut(&host_id) else { return Turn::Event };
            let robots_pending = !is_given_up && !matches!(host.robots, RobotsState::Known(_));
            let waits = |loaded: &Loaded| robots_pending && needs_robots(&plan, &loaded.job);
            let Some(loaded) = host.take_next(lane, waits, |loaded| plan.auth_of(&loaded.job), alone, now) else {
                if host.has_suspect() {
                    self.with_suspects.insert(host_id);
                }
                // A refill, the answer of robots.txt or an acknowledgement will tell; a job that backs off needs a look.
                // One that is due already waits for room, and so for one of these events.
                return host.lane(lane).next_due_at().filter(|&at| at > now).map_or(Turn::Event, Turn::Look);
            };
            if let Some(change) = self.verdict_without_request(host_id, &loaded.job) {
                let hold = asking::settled(&plan, &loaded.job, &change, None, now);
                self.settle(Settlement { hold, ..Settlement::bare(loaded.job.id, change) }, actions);
                continue;
            }
            if loaded.job.held.is_some()
                && let Some(settlement) =
                    asking::fresh(&plan, &loaded.job, &worker::parts(&plan, &loaded.job), now, &mut self.dice)
            {
                if loaded.job.kind == JobKind::Page {
                    self.budgets.entry(loaded.job.source).or_default().done += 1;
                }
                self.settle(settlement, actions);
                continue;
            }
            let must_await_budget = self.must_await_budget(&loaded.job);
            let is_crowded = self.is_crowded();
            let Some(host) = self.hosts.get_mut(&host_id) else { return Turn::Event };
            if must_await_budget {
                host.put_back(loaded, true);
                return Turn::Look(now.plus_ms(BUDGET_LOOK_MS));
            }
            if is_crowded && host.limits.host().in_flight() > 0 {
                host.put_back(loaded, true);
                if !std::mem::replace(&mut host.waits_for_room, true) {
                    self.waits_for_room.push_back(host_id);
                }
                return Turn::Event;
            }
            if plan.batch_of(&loaded.job).is_some() && host.lane(lane).is_refilling() {
                // More ids for the same request are on their way.
                host.put_back(loaded, true);
                return Turn::Event;
            }
            let rests_until = |name: &str| self.proxies.rests_until(name, now);
            let by = if host.limits.has_pools() {
                Bearing { auth: plan.auth_of(&loaded.job), rests_until: Some(&rests_until) }
            } else {
                Bearing::default()
            };
            return match host.limits.admit(now, route_of(&loaded.job.url), &by) {
                Admission::Go(grant) => {
                    host.pass_turn(lane);
                    let most = self.together_max.get(&loaded.job.source).copied().unwrap_or(u32::MAX);
                    let members = batches::members(&plan, host, lane, &loaded, most);
                    let via = host.limits.via(&grant);
                    self.in_batches.extend(members.iter().map(|member| member.job.id));
                    let mut job = loaded.job.clone();
                    job.batch = batches::ids(&plan, &loaded, &members);
                    if job.kind == JobKind::Robots {
                        job.held = host.held_of_robots().cloned();
                    }
                    if job.kind == JobKind::Page {
                        self.budgets.entry(job.source).or_default().in_flight += 1;
                    }
                    actions.push(Action::Send { job: job.clone(), private_ok: host.private_ok, via });
                    self.has_suspect_in_flight = is_suspect(&loaded);
                    self.in_flight.insert(job.id, InFlight { loaded, grant, members, elsewhere: None });
                    Turn::Over
                }
                Admission::NotBefore(at) => {
                    host.put_back(loaded, true);
                    Turn::Look(at)
                }
                Admission::Full => {
                    host.put_back(loaded, true);
                    Turn::Event
                }
            };
        }
        Turn::Over
    }

    /// Asks for robots.txt when a job at hand needs it and it is not known, or no longer.
    fn refresh_robots(&mut self, host_id: HostId, now: Timestamp, actions: &mut Vec<Action>) {
        let Some(host) = self.hosts.get_mut(&host_id) else { return };
        if host.given_up().is_some() {
            return;
        }
        match &host.robots {
            RobotsState::Asked(_) => return,
            RobotsState::Known(known) if now < known.expires_at => return,
            RobotsState::Known(_) | RobotsState::Unknown => {}
        }
        let Some(first) = host.find(|loaded| needs_robots(&self.plan, &loaded.job)) else { return };
        let Ok(url) = host.origin.join("/robots.txt") else { return };
        let (source, parent) = (first.job.source, first.job.id);
        let before = match std::mem::replace(&mut host.robots, RobotsState::Unknown) {
            RobotsState::Known(known) => Some(known),
            RobotsState::Asked(_) | RobotsState::Unknown => None,
        };
        host.robots = RobotsState::Asked(before);
        self.awaited += 1;
        actions.push(Action::Found(vec![NewJob {
            priority: Priority::FIRST,
            parent: Some(parent),
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
        if let Some(why) = host.given_up() {
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
        // A page that is fetched again was found by the rules of an earlier run.
        if job.held.is_some()
            && job.kind == JobKind::Page
            && let ScopeVerdict::Out(why) = site.scope.judge(&job.url, job.depth)
        {
            return Some(JobMove::Skipped(why.into_owned()));
        }
        if site.robots
            && let RobotsState::Known(known) = &host.robots
            && let RobotsVerdict::Disallowed { rule } = known.rules.verdict(&job.url)
        {
            return Some(JobMove::Skipped(format!("robots.txt: {rule}")));
        }
        if site.robots
            && let Some(why) = &host.absurd_delay
        {
            return Some(JobMove::Skipped(why.clone()));
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
