//! A host whose limits cover some routes and not others, and its client: queues as the engine has them, in virtual time.

use std::collections::{BTreeMap, VecDeque};

use super::super::*;
use crate::clock::Timestamp;

pub(super) const T0: Timestamp = Timestamp(1_000_000_000);

/// The user's ceiling keeps an unlimited route from being asked thousands of times a second, for hours.
pub(super) const RATE_MAX_PER_S: u32 = 20;

pub(super) fn settings() -> Settings {
    Settings { rate_max_per_s: Some(RATE_MAX_PER_S.into()), ..Settings::default() }
}

/// So many requests in each window, for the routes that it covers.
pub(super) struct Limit {
    pub(super) covers: Vec<&'static str>,
    pub(super) count_max: u32,
    pub(super) window_ms: u64,
    /// Whether a refusal says when the window ends.
    pub(super) announces: bool,
    /// The name that every answer of its routes carries.
    pub(super) resource: Option<&'static str>,
    pub(super) window: u64,
    pub(super) used: u32,
}

impl Limit {
    pub(super) fn new(covers: &[&'static str], count_max: u32, window_s: u64) -> Self {
        let covers = covers.to_vec();
        Self { covers, count_max, window_ms: window_s * 1_000, announces: true, resource: None, window: 0, used: 0 }
    }

    /// None when it lets a request pass; else how long its window goes on, in ms.
    pub(super) fn refuses(&mut self, now: Timestamp) -> Option<u64> {
        let now_ms = now.0.unsigned_abs();
        if now_ms / self.window_ms != self.window {
            (self.window, self.used) = (now_ms / self.window_ms, 0);
        }
        self.used += 1;
        (self.used > self.count_max).then(|| self.window_ms - now_ms % self.window_ms)
    }
}

/// A request on its way back.
pub(super) struct Flight {
    pub(super) asked: (&'static str, u64),
    pub(super) permits: Permits,
    pub(super) feedback: Feedback,
}

/// A host, its client, and what came of it.
pub(super) struct Web {
    pub(super) scopes: Scopes,
    pub(super) limits: Vec<Limit>,
    pub(super) now: Timestamp,
    pub(super) dice: fastrand::Rng,
    /// Work, the next first; the routes from which more of it is made, each as often as it is named.
    pub(super) ring: VecDeque<(&'static str, u64)>,
    pub(super) routes: Vec<&'static str>,
    pub(super) serial: u64,
    pub(super) last_lane: Option<ScopeId>,
    pub(super) in_flight: BTreeMap<(Timestamp, u64), Flight>,
    pub(super) passed: BTreeMap<&'static str, u32>,
    pub(super) refused: BTreeMap<&'static str, u32>,
    /// Until when each route was told to wait.
    pub(super) told: BTreeMap<&'static str, Timestamp>,
    /// Requests that were refused within a wait that the same limit had announced.
    pub(super) too_early: u32,
    pub(super) alone: Vec<u64>,
}

impl Web {
    pub(super) fn new(routes: &[&'static str], limits: Vec<Limit>, seed: u64) -> Self {
        Self {
            scopes: Scopes::new(settings(), None, Vec::new(), T0),
            limits,
            now: T0,
            dice: fastrand::Rng::with_seed(seed),
            ring: VecDeque::new(),
            routes: routes.to_vec(),
            serial: 0,
            last_lane: None,
            in_flight: BTreeMap::new(),
            passed: BTreeMap::new(),
            refused: BTreeMap::new(),
            told: BTreeMap::new(),
            too_early: 0,
            alone: Vec::new(),
        }
    }

    pub(super) fn run_s(&mut self, seconds: u64) {
        self.run_ms(seconds * 1_000);
    }

    pub(super) fn run_ms(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        while self.now < end {
            let wake_at = self.send();
            let back_at = self.in_flight.keys().next().map(|(at, _)| *at);
            let next = wake_at.into_iter().chain(back_at).min().expect("something happens");
            assert!(next > self.now, "it stands still");
            self.now = next.min(end);
            while let Some(entry) = self.in_flight.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let flight = entry.remove();
                self.back(flight);
            }
        }
    }

    /// Sends what may go, each queue in turn; when to ask again.
    pub(super) fn send(&mut self) -> Option<Timestamp> {
        loop {
            for _ in self.ring.len()..24 {
                let route = self.routes[self.dice.usize(..self.routes.len())];
                self.serial += 1;
                // A narrow scope has a queue of its own; here it only may not crowd out the others.
                let has_enough = self.ring.iter().filter(|(of, _)| *of == route).count() >= 4;
                if self.scopes.lane_of(route).is_none() || !has_enough {
                    self.ring.push_back((route, self.serial));
                }
            }
            let mut tried = Vec::new();
            let mut wake_at: Option<Timestamp> = None;
            let mut has_sent = false;
            // Those that go second after the others, and the queues in turn.
            let mut order: Vec<usize> = (0..self.ring.len()).collect();
            order.sort_by_key(|&index| {
                let route = self.ring[index].0;
                (self.scopes.goes_second(route), self.scopes.lane_of(route) == self.last_lane)
            });
            for index in order {
                let (route, id) = self.ring[index];
                let lane = self.scopes.lane_of(route);
                if tried.contains(&lane) {
                    continue;
                }
                tried.push(lane);
                match self.scopes.admit(self.now, route) {
                    Admission::Go(permits) => {
                        self.ring.remove(index);
                        self.last_lane = lane;
                        self.fly(route, id, permits);
                        has_sent = true;
                        break;
                    }
                    Admission::NotBefore(at) => wake_at = Some(wake_at.map_or(at, |known| known.min(at))),
                    Admission::Full => {}
                }
            }
            if !has_sent {
                return wake_at;
            }
        }
    }

    pub(super) fn fly(&mut self, route: &'static str, id: u64, permits: Permits) {
        assert!(self.told.get(route).is_none_or(|&told| self.now >= told), "{route} was told to wait");
        assert!(self.scopes.embargo(self.now, route).is_none());
        let arrives_at = self.now.plus_ms(self.dice.u64(5..15));
        let back_at = arrives_at.plus_ms(self.dice.u64(20..40));
        let mut hints = Hints::default();
        let mut is_refused = false;
        for limit in self.limits.iter_mut().filter(|limit| limit.covers.contains(&route)) {
            hints.resource = limit.resource.map(Box::from);
            if let Some(wait_ms) = limit.refuses(arrives_at) {
                is_refused = true;
                let wait_ms = wait_ms.div_ceil(1_000) * 1_000;
                hints.retry_at = limit.announces.then(|| back_at.plus_ms(wait_ms));
                let said = limit.covers.iter().filter_map(|covered| self.told.get(covered)).max();
                self.too_early += u32::from(said.is_some_and(|&said| self.now < said));
            }
        }
        let feedback = if is_refused { Feedback::Refused(hints) } else { Feedback::Answered(hints) };
        self.in_flight.insert((back_at, id), Flight { asked: (route, id), permits, feedback });
    }

    pub(super) fn back(&mut self, flight: Flight) {
        let Flight { asked: (route, id), permits, feedback } = flight;
        let blame = self.scopes.finish(permits, Asked { route, id }, &feedback, self.now, &mut self.dice);
        match &feedback {
            Feedback::Refused(hints) => {
                *self.refused.entry(route).or_default() += 1;
                match blame {
                    Blame::Scope => self.ring.push_front((route, id)),
                    Blame::ScopeAgain => self.ring.push_back((route, id)),
                    Blame::Request => self.alone.push(id),
                }
                if let Some(at) = hints.retry_at.filter(|_| blame != Blame::Request) {
                    let told = self.told.entry(route).or_default();
                    *told = (*told).max(at);
                    assert!(self.scopes.embargo(self.now, route).is_some_and(|(until, _)| until >= at));
                }
            }
            _ => *self.passed.entry(route).or_default() += 1,
        }
    }

    /// The narrow scopes.
    pub(super) fn found(&self) -> Vec<Box<str>> {
        self.scopes.lanes().into_iter().filter_map(|lane| lane.scope).collect()
    }

    pub(super) fn refused(&self) -> u32 {
        self.refused.values().sum()
    }

    pub(super) fn names(&mut self) -> Vec<String> {
        let changes = self.scopes.take_changes(self.now);
        changes.into_iter().map(|change| change.name.into()).collect()
    }
}
