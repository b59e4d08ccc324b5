//! Whether refusals fall on one route alone: the evidence that a limit is narrower than its host.
//!
//! Enters: each refusal and each good answer of the host's own scope. Leaves: the route that is convicted, with what the host's
//! throttle knew before it was misled. Deliberately absent: throttles, and waits; nothing is ever sent to find out.
//!
//! The evidence is a likelihood ratio: how probable the refusals are if all routes share the limit, against a limit of the
//! suspect's own behind half of them. Refusals in flight together are one *event*. With s for the suspect's share in the last
//! requests since the event before, an event of the suspect multiplies the ratio by 2s/(1+s), one of another route by 2, unless
//! that route is likely to have a limit of its own too. If
//! the refusal announced a wait of two seconds or more, and a request of another route that was sent after the refused one was
//! answered all the same, it is a fifth of that: it can only be shared if the announcement is wrong or the two overtook each
//! other. Where both routes are refused within one event, the limit is shared and the evidence is void. At one in fifty, and
//! after two events at least, the suspect is convicted.
//!
//! A route whose scope was joined with the host again needs that squared.
//!
//! A host that has learned to be slow is not refused any more, and would never tell. So once [`SHARE_OF`] requests of other
//! routes have passed after an event, the suspect is put on *trial*: it alone keeps to what its refusals taught, and the
//! others go at the pace of before. A wait that the server announces to the suspect still holds for all. If another route is
//! refused, the trial is lost, at the cost of that event, and the next one has to wait for twice as many events. If twice
//! as many requests pass as before the first refusal, in the same time, the others have no such limit.
//!
//! To make the shares tell, a suspect has a queue of its own, so that others are at hand, and they go first after an event
//! ([`Suspicion::goes_second`]).

use crate::clock::Timestamp;

use super::Snapshot;
use super::scopes::ScopeId;

/// Routes that are suspected at a time, and those that were and are remembered not to have a limit of their own.
const SUSPECTS_MAX: usize = 4;
const ACQUITTED_MAX: usize = 8;
/// The likelihood ratio at which a suspect is convicted. A host with two equal routes that share a limit gets there once in
/// fifty events at most, and the two scopes are joined again when they close together.
const CONVICTED: f64 = 1.0 / 50.0;
/// From here down a suspect is so likely to have a limit of its own that its events do not speak for others.
const STRONG: f64 = 0.25;
/// Events that it takes at least.
const EVENTS_MIN: u32 = 2;
/// What an answer to another route within an announced wait multiplies the ratio by.
const ANSWERED_MEANWHILE: f64 = 0.2;
/// An announced wait from which on such an answer tells, in ms: servers round up to whole seconds, so one second may stand
/// for none.
const TELLING_WAIT_MS: u64 = 2_000;
/// The last good answers of which the share of a suspect is taken.
const SHARE_OF: u32 = 19;
/// After so many good answers of others a suspect goes again, evenly drawn: 19 in the mean, so that its share is one in twenty.
/// A fixed number would beat with the size of a window, and the refusal would always fall on the same route.
const GAPS: std::ops::RangeInclusive<u32> = 10..=28;
/// From this share on an event of the suspect tells nothing: it may go in turn with others, and that beats too.
const SHARE_MAX: f64 = 0.25;
/// Requests of others that must pass in a trial: this many times those that passed before the refusal, and at least so many;
/// in the same time, without a refusal. Whatever a shared limit has saved up or begins anew meanwhile, it lets no more pass.
const TRIAL_PASSED: u32 = 2;
const TRIAL_PASSED_MIN: u32 = 50;
/// Refusals of one request, with good answers of its route between them, after which it is the request that is refused.
const REPEATS_MAX: u32 = 3;

/// A request, as the scopes of its host are told of it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'r> {
    /// Its route: see [`crate::job::route_of`].
    pub route: &'r str,
    /// A number that it alone has among the requests of its host.
    pub id: u64,
}

/// A refusal, or an answer that says that a quota is spent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit<'r> {
    pub(super) asked: Asked<'r>,
    pub(super) sent_at: Timestamp,
    /// When the server asked to come back.
    pub(super) announced_at: Option<Timestamp>,
    /// Other requests of the host that are in flight.
    pub(super) in_flight: u32,
    /// Good answers of the host since the event before, and in how many ms from the first of them on.
    pub(super) spent: u32,
    pub(super) took_ms: u64,
}

/// What is known about the routes of a scope that were refused.
#[derive(Clone, Debug, Default)]
pub(super) struct Suspicion {
    suspects: Vec<Suspect>,
    event: Event,
    /// Good answers since the event opened, to requests that were sent after it.
    passed: u32,
    /// Routes that were convicted wrongly.
    acquitted: Vec<Box<str>>,
    /// How often a suspect has come or gone.
    version: u32,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
/// Refusals that were in flight together.
#[derive(Clone, Debug, Default)]
struct Event {
    /// When the first of them came. What was sent by then belongs to the event.
    opened_at: Timestamp,
    /// When the first refused request was sent.
    refused_sent_at: Timestamp,
    route: Box<str>,
    /// Whether it announced a wait that is long enough to tell.
    is_telling: bool,
    /// Good answers of the host before it, and in how many ms, with the wait that followed.
    spent: u32,
    took_ms: u64,
    /// Requests that were in flight when it opened and are not back.
    awaited: u32,
    is_judged: bool,
    /// What came of those that were sent after the first refused one.
    own_passed: bool,
    others_passed: bool,
    others_refused: bool,
}

/// A route that was refused.
#[derive(Clone, Debug)]
pub(super) struct Suspect {
    /// The number of its queue, and of its scope if it gets one.
    pub(super) id: ScopeId,
    pub(super) route: Box<str>,
    /// What the host's throttle knew before the first event of the present evidence.
    pub(super) before: Box<Snapshot>,
    /// The likelihood ratio, at most 1.
    ratio: f64,
    /// Whether the host's own limit explained all of it since: what was learned until then is about the host.
    is_cleared: bool,
    /// Events of it so far.
    pub(super) events: u32,
    /// Which of the last good answers were to it: a bit each, the lowest is the latest.
    own: u32,
    /// Good answers to others since the last event.
    others: u32,
    /// Good answers of others before it goes again.
    gap: u32,
    repeats: Repeats,
    trial: Option<Trial>,
    /// Trials that it lost, and the events that it takes until the next.
    lost: u32,
    trial_from: u32,
}

/// A time in which only the suspect keeps to what its refusals taught.
#[derive(Clone, Copy, Debug)]
struct Trial {
    started_at: Timestamp,
    /// Requests of others that have passed since, and that must.
    passed: u32,
    needed: u32,
    within_ms: u64,
}

impl Suspect {
    pub(super) fn is_on_trial(&self) -> bool {
        self.trial.is_some()
    }
}

/// How often one and the same request was refused.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Repeats {
    id: u64,
    count: u32,
    sibling_passed: bool,
}

impl Repeats {
    /// A refusal of the request `id`. Whether it was refused before.
    pub(super) fn on_refused(&mut self, id: u64) -> bool {
        let again = self.count > 0 && self.id == id;
        if !again {
            *self = Self { id, count: 1, sibling_passed: false };
        } else if std::mem::take(&mut self.sibling_passed) {
            self.count += 1;
        }
        again
    }

    /// A good answer to another request of the route.
    pub(super) fn on_passed(&mut self, id: u64) {
        self.sibling_passed |= self.id != id;
    }

    /// Whether one more refusal of `id` is about that request, and not about its route.
    pub(super) fn is_alone(&self, id: u64) -> bool {
        self.id == id && self.sibling_passed && self.count + 1 >= REPEATS_MAX
    }
}

impl Suspicion {
    /// When the last event opened.
    pub(super) fn opened_at(&self) -> Timestamp {
        self.event.opened_at
    }

    pub(super) fn version(&self) -> u32 {
        self.version
    }

    /// The suspects that have queues of their own. What lies at the top of a site has none: it is no part that could be set apart.
    pub(super) fn queues(&self) -> impl Iterator<Item = &Suspect> {
        self.suspects.iter().filter(|suspect| !suspect.route.is_empty())
    }

    /// Whether one more refusal of `asked` is about that request alone.
    pub(super) fn is_alone(&self, asked: Asked<'_>) -> bool {
        self.suspects.iter().any(|suspect| *suspect.route == *asked.route && suspect.repeats.is_alone(asked.id))
    }

    /// Whether requests of other routes are to go before this one, if there are any: some ([`GAPS`]) after an event, and between
    /// two of a suspect on trial.
    pub(super) fn goes_second(&self, route: &str) -> bool {
        let suspect = self.suspects.iter().find(|suspect| *suspect.route == *route);
        suspect.is_some_and(|suspect| {
            let is_fresh = *self.event.route == *route && self.passed < suspect.gap;
            is_fresh || (suspect.is_on_trial() && suspect.own & ((1 << suspect.gap) - 1) != 0)
        })
    }

    /// A limit was hit. `before` is what the host's throttle knew until then, `id` the number of a new suspect. Whether this request
    /// was refused before.
    pub(super) fn on_limit(
        &mut self,
        limit: &Limit<'_>,
        id: ScopeId,
        before: impl FnOnce() -> Snapshot,
        now: Timestamp,
        dice: &mut fastrand::Rng,
    ) -> bool {
        let Limit { asked, sent_at, announced_at, in_flight, spent, took_ms } = *limit;
        let is_telling = announced_at.is_some_and(|at| at.since_ms(now) >= TELLING_WAIT_MS);
        if sent_at > self.event.opened_at {
            let event =
                Event { opened_at: now, refused_sent_at: sent_at, is_telling, awaited: in_flight, ..Event::default() };
            let has_passed = spent > 0 && (self.suspects.is_empty() || self.passed > 0);
            if self.event.opened_at > Timestamp::EPOCH && !has_passed {
                // Nothing passed since the event before: it goes on. Where another route is refused too, both share the limit.
                if *self.event.route != *asked.route {
                    self.clear();
                }
                let before = std::mem::take(&mut self.event);
                let (spent, took_ms) = (before.spent + spent, before.took_ms + took_ms);
                self.event = Event { route: before.route, spent, took_ms, ..event };
            } else {
                self.open(id, asked.route, before, dice);
                self.event = Event { route: asked.route.into(), spent, took_ms, ..event };
            }
        } else {
            self.back();
            self.event.others_refused |= *self.event.route != *asked.route;
            self.event.refused_sent_at = self.event.refused_sent_at.min(sent_at);
            self.event.is_telling |= is_telling;
        }
        let suspect = self.suspects.iter_mut().find(|suspect| *suspect.route == *asked.route);
        suspect.is_some_and(|suspect| suspect.repeats.on_refused(asked.id))
    }

    fn open(&mut self, id: ScopeId, route: &str, before: impl FnOnce() -> Snapshot, dice: &mut fastrand::Rng) {
        let passed = std::mem::take(&mut self.passed);
        let mut before = Some(before);
        let mut known_ratio = None;
        for suspect in self.suspects.iter_mut().filter(|suspect| *suspect.route == *route) {
            if std::mem::take(&mut suspect.is_cleared)
                && let Some(before) = before.take()
            {
                *suspect.before = before();
            }
            let last = passed.min(SHARE_OF);
            let share = f64::from((suspect.own & ((1 << last) - 1)).count_ones() + 1) / f64::from(last + 1);
            suspect.events += 1;
            suspect.gap = dice.u32(GAPS);
            if share <= SHARE_MAX {
                suspect.ratio *= 2.0 * share / (1.0 + share);
            }
            known_ratio = Some(suspect.ratio);
        }
        // What falls on another route that has a limit of its own, as it seems, says nothing about this one.
        let is_elsewhere = known_ratio.is_some_and(|ratio| ratio <= STRONG);
        for suspect in &mut self.suspects {
            (suspect.own, suspect.others) = (0, 0);
            if *suspect.route == *route || is_elsewhere {
                continue;
            }
            suspect.ratio = (suspect.ratio * 2.0).min(1.0);
            if suspect.trial.take().is_some() {
                suspect.ratio = 1.0;
                suspect.lost += 1;
                suspect.trial_from = suspect.events + (1 << suspect.lost.min(16));
            }
            suspect.is_cleared |= suspect.ratio >= 1.0;
        }
        if known_ratio.is_some() {
            return;
        }
        if self.suspects.len() >= SUSPECTS_MAX {
            let least =
                self.suspects.iter().enumerate().max_by(|(_, one), (_, other)| one.ratio.total_cmp(&other.ratio));
            if let Some((index, _)) = least {
                self.suspects.swap_remove(index);
            }
        }
        self.version += 1;
        // The route of a first event is not chosen by us, so that it was this one tells nothing.
        self.suspects.extend(before.take().map(|before| Suspect {
            id,
            route: route.into(),
            before: Box::new(before()),
            ratio: 1.0,
            is_cleared: false,
            events: 1,
            own: 0,
            others: 0,
            gap: dice.u32(GAPS),
            repeats: Repeats::default(),
            trial: None,
            lost: 0,
            trial_from: 1,
        }));
    }

    /// A good answer to a request that was sent at `sent_at`.
    pub(super) fn on_passed(&mut self, asked: Asked<'_>, sent_at: Timestamp, dice: &mut fastrand::Rng) {
        if self.suspects.is_empty() {
            return;
        }
        if sent_at > self.event.opened_at {
            self.passed = self.passed.saturating_add(1);
            if self.passed == 1 {
                self.event.took_ms += sent_at.since_ms(self.event.opened_at);
            }
            for suspect in &mut self.suspects {
                let is_own = *suspect.route == *asked.route;
                if let Some(trial) = suspect.trial.as_mut().filter(|trial| !is_own && sent_at > trial.started_at) {
                    trial.passed += 1;
                }
                suspect.own = suspect.own << 1 | u32::from(is_own);
                suspect.others = suspect.others.saturating_add(u32::from(!is_own));
                if is_own {
                    suspect.gap = dice.u32(GAPS);
                    suspect.repeats.on_passed(asked.id);
                }
            }
            return;
        }
        if sent_at > self.event.refused_sent_at {
            let is_own = *self.event.route == *asked.route;
            self.event.own_passed |= is_own;
            self.event.others_passed |= !is_own;
        }
        self.back();
    }

    /// A request that was sent at `sent_at` is back and tells nothing.
    pub(super) fn on_back(&mut self, sent_at: Timestamp) {
        if sent_at <= self.event.opened_at {
            self.back();
        }
    }

    fn clear(&mut self) {
        self.version += u32::from(!self.suspects.is_empty());
        self.suspects.clear();
    }

    fn back(&mut self) {
        self.event.awaited = self.event.awaited.saturating_sub(1);
    }

    /// The host was closed for a reason that is no limit of a route: what it knew before must not come back.
    pub(super) fn forget(&mut self) {
        self.clear();
        self.event.is_judged = true;
    }

    /// A route was convicted, and shares the limit of the host after all.
    pub(super) fn acquit(&mut self, route: Box<str>) {
        self.clear();
        if self.acquitted.len() < ACQUITTED_MAX && !self.acquitted.contains(&route) {
            self.acquitted.push(route);
        }
    }

    /// The suspect that should be put on trial now, and what the host's throttle knew before.
    pub(super) fn put_on_trial(&mut self, now: Timestamp) -> Option<&Suspect> {
        let Event { spent, took_ms, is_judged, .. } = self.event;
        let suspect = self.suspects.iter_mut().find(|suspect| *suspect.route == *self.event.route)?;
        let is_due = is_judged
            && suspect.others >= SHARE_OF
            && suspect.trial.is_none()
            && suspect.events >= suspect.trial_from
            && !suspect.route.is_empty()
            && !self.acquitted.contains(&suspect.route);
        if !is_due {
            return None;
        }
        suspect.trial_from = suspect.events + 1;
        suspect.trial = Some(Trial {
            started_at: now,
            passed: 0,
            needed: spent.saturating_mul(TRIAL_PASSED).max(TRIAL_PASSED_MIN),
            within_ms: took_ms,
        });
        Some(suspect)
    }

    /// Whether the suspect with this number is on trial.
    pub(super) fn is_on_trial(&self, id: ScopeId) -> bool {
        self.suspects.iter().any(|suspect| suspect.id == id && suspect.is_on_trial())
    }

    /// The suspect that is convicted by what passed in its trial.
    fn convicted_by_trial(&mut self, now: Timestamp) -> Option<Suspect> {
        let has_passed = |suspect: &Suspect| suspect.trial.is_some_and(|trial| trial.passed >= trial.needed);
        let index = self.suspects.iter().position(has_passed)?;
        let suspect = &mut self.suspects[index];
        let trial = suspect.trial.as_mut()?;
        if now.since_ms(trial.started_at) > trial.within_ms {
            // Too slow to tell: others had little to do for a while.
            (trial.started_at, trial.passed) = (now, 0);
            return None;
        }
        self.version += 1;
        Some(self.suspects.swap_remove(index))
    }

    /// The suspect that is convicted: by its trial, or by the evidence once all requests are back that were in flight with its
    /// refusal.
    pub(super) fn convicted(&mut self, now: Timestamp) -> Option<Suspect> {
        if self.event.is_judged || self.event.awaited > 0 {
            return self.convicted_by_trial(now);
        }
        self.event.is_judged = true;
        if self.event.others_refused {
            self.clear();
            return None;
        }
        let index = self.suspects.iter().position(|suspect| *suspect.route == *self.event.route)?;
        let suspect = &mut self.suspects[index];
        if self.event.is_telling && self.event.others_passed && !self.event.own_passed {
            suspect.ratio *= ANSWERED_MEANWHILE;
        }
        let bar = if self.acquitted.contains(&suspect.route) { CONVICTED * CONVICTED } else { CONVICTED };
        // What lies at the top of a site is no part that could be set apart.
        let is_convicted = suspect.ratio <= bar && suspect.events >= EVENTS_MIN && !suspect.route.is_empty();
        self.version += u32::from(is_convicted);
        is_convicted.then(|| self.suspects.swap_remove(index))
    }
}
