//! The limit scopes of one host: its own, and narrower ones as they are found.
//!
//! Enters: `now`, dice, and what came of each request, with its route. Leaves: [`Admission`]s that every scope of the request
//! has agreed to, and the scopes that a store must remember. Deliberately absent: queues; the engine keeps one for each scope.
//!
//! A request passes its host's scope and those of its route. A refusal closes
//! - the scope of the resource that its answer names (`x-ratelimit-resource`), if other routes are known to lie elsewhere,
//! - else the scopes that its route has,
//! - else the host. Then [`Suspicion`] gathers evidence that the limit belongs to the route alone. Once it is convicted, the
//!   route gets a scope of its own that takes over the embargo and what was learned, and the host goes back to what it knew
//!   before.
//!
//! So nothing is ever sent within an announced wait to find out whom it binds: what may have been meant is closed, until the
//! evidence is there. A route of which it is not known whether it shares a resource that is closed waits with it.
//!
//! A scope that was found by evidence, and that closes together with another one three times in a row, is joined with it.

use crate::clock::Timestamp;
use crate::exchange::Outcome;

use super::narrow::{Joined, Narrow, Targets};
use super::resting::Slot;
use super::scope::{Admission, Feedback, Permit, Readiness, Throttle};
use super::suspicion::{Asked, Limit};
use super::{Hints, News, Order, Settings, Snapshot, Suspicion};

/// A narrow scope of a host, or a queue of it, while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeId(pub(super) u32);

/// The scopes of one host. Hosts without narrow ones, which are nearly all, pay sixteen bytes for the rest. The throttle of the
/// host rests while nothing is sent; it must be awake for all but what says otherwise.
#[derive(Clone, Debug)]
pub struct Scopes {
    host: Slot,
    narrow: Option<Box<Narrow>>,
    /// Good answers since the last refusal of the host, and when the first of them was sent: seconds since the epoch, 0 when there
    /// is none.
    passed: u32,
    since_s: u32,
}

/// The right to send one request now: a permit of each scope that it passes.
#[derive(Debug)]
#[must_use = "a permit that is not given back counts as a request in flight for ever"]
pub struct Permits {
    host: Permit,
    narrow: Vec<(ScopeId, Permit)>,
}

impl Permits {
    /// The permit of the whole.
    pub(super) fn host(&self) -> &Permit {
        &self.host
    }
}

/// Whose limit an outcome was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// No limit was hit, or it was that of a scope, which has taken it in.
    Scope,
    /// The same, and this request was refused before: others of its route should go first, to see whether it is only this one.
    ScopeAgain,
    /// This request alone: its route was answered between its refusals. No scope is closed.
    Request,
}

/// A queue of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneOf {
    /// Its number, which is that of its scope, if it gets one later too.
    pub id: ScopeId,
    /// The name of its scope; none for a suspect.
    pub scope: Option<Box<str>>,
    /// The routes that queue here.
    pub routes: Vec<Box<str>>,
}

/// What is to be remembered of a narrow scope.
#[derive(Clone, Debug, PartialEq)]
pub struct ScopeMemory {
    /// Its name: a route such as `/search`, or `resource search`.
    pub name: Box<str>,
    /// The routes that it limits.
    pub routes: Vec<Box<str>>,
    /// Nothing may be sent before this instant; [`Timestamp::EPOCH`] when nothing forbids it.
    pub not_before_at: Timestamp,
    /// Why, in words, when it is in the future.
    pub not_before_why: Option<String>,
    /// When a limit was last hit.
    pub refused_at: Timestamp,
    /// Refusals in all.
    pub refused: u64,
    /// What was learned, in words for people; none before the first answer.
    pub words: Option<String>,
    /// Its throttle's memory.
    pub snapshot: Snapshot,
}

/// A narrow scope that a store must write, or forget when it has no memory.
#[derive(Clone, Debug, PartialEq)]
pub struct ScopeChange {
    /// Its name.
    pub name: Box<str>,
    /// What is known of it; none when it is no more.
    pub memory: Option<ScopeMemory>,
}

impl ScopeMemory {
    /// Whether it is about a part of its host: a path, or a resource that the server names.
    pub(super) fn is_part(&self) -> bool {
        self.name.starts_with('/') || self.name.starts_with("resource ")
    }

    /// With the embargo in the throttle's memory. The column is what a person may have changed by hand; the later of the two holds.
    pub(super) fn with_embargo(mut self) -> Self {
        if self.not_before_at > self.snapshot.not_before_at {
            self.snapshot.not_before_at = self.not_before_at;
            self.snapshot.not_before_why = self.not_before_why.clone().unwrap_or_default();
        }
        self
    }
}

impl Scopes {
    /// The scopes of a host as they were remembered; `settings` are ceilings for each of them.
    #[must_use]
    pub fn new(settings: Settings, snapshot: Option<&Snapshot>, narrow: Vec<ScopeMemory>, now: Timestamp) -> Self {
        let narrow = (!narrow.is_empty()).then(|| Box::new(Narrow::remembered(settings, narrow, now)));
        Self { host: Slot::new(Throttle::new(settings, snapshot, now), now), narrow, passed: 0, since_s: 0 }
    }

    /// Unfolds the throttle of the host if it rests, and true then.
    pub fn wake(&mut self, now: Timestamp) -> bool {
        self.host.wake(now)
    }

    /// Folds the throttle of the host if nothing has come through it for long enough; whether it rests.
    pub fn rest(&mut self, now: Timestamp) -> bool {
        self.host.rest(now)
    }

    /// Whether the throttle of the host is folded.
    #[must_use]
    pub fn is_resting(&self) -> bool {
        self.host.is_resting()
    }

    /// Goes back to what was known before refusals that were about another limit.
    pub(super) fn take_back(&mut self, before: &Snapshot, now: Timestamp) {
        self.host.restore(before, now);
    }

    /// Until when requests of a route are under an embargo, awake or not.
    #[must_use]
    pub fn closed_until(&self, now: Timestamp, route: &str) -> Option<Timestamp> {
        let narrow = self.narrow.as_ref().and_then(|narrow| narrow.embargo(now, route)).map(|(at, _)| at);
        self.host.closed_until(now).max(narrow)
    }

    /// The scope of the whole host.
    #[must_use]
    pub fn host(&self) -> &Throttle {
        &self.host
    }

    /// What is new in the belief about the host's own limit.
    pub fn take_news(&mut self) -> Option<News> {
        self.host.take_news()
    }

    /// What the server declares that was not told yet, in words: of the host, or of the narrow scope that is named.
    pub fn take_declared(&mut self, now: Timestamp) -> Vec<(Option<Box<str>>, String)> {
        let mut news: Vec<_> = self.host.take_declared(now).into_iter().map(|words| (None, words)).collect();
        if let Some(narrow) = &mut self.narrow {
            news.extend(narrow.take_declared(now).map(|(name, words)| (Some(name), words)));
        }
        news
    }

    /// A host that was given up has work again: the next probe says whether it is still down.
    pub fn ask_again(&mut self) {
        self.host.ask_again();
    }

    /// Does what a person says about the limit of the host. What is to be forgotten is forgotten of its parts too.
    pub fn obey(&mut self, order: &Order, now: Timestamp) {
        self.host.obey(order, now);
        if let (Order::Forget, Some(narrow)) = (order, &mut self.narrow) {
            narrow.obey(order, now);
        }
    }

    /// What robots.txt asks for; a ceiling like the user's own.
    pub fn set_crawl_delay(&mut self, crawl_delay_ms: Option<u64>) {
        self.host.set_crawl_delay(crawl_delay_ms);
    }

    /// Changes whenever a route gets another queue.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.narrow.as_ref().map_or(0, |narrow| narrow.version())
    }

    /// The queues that a host has beside the one for the rest: for each narrow scope, and for each route that is suspected to need
    /// one. What lies at the top of the site queues for the rest, whatever its scopes.
    #[must_use]
    pub fn lanes(&self) -> Vec<LaneOf> {
        self.narrow.as_ref().map(|narrow| narrow.lanes()).unwrap_or_default()
    }

    /// Where requests of a route queue; none is the rest.
    #[must_use]
    pub fn lane_of(&self, route: &str) -> Option<ScopeId> {
        self.narrow.as_ref()?.lane_of(route)
    }

    /// Whether a request may go now, for all its scopes.
    pub fn ready(&mut self, now: Timestamp, route: &str) -> Readiness {
        let ready = self.host.ready(now);
        match &mut self.narrow {
            None => ready,
            Some(narrow) => narrow.ready(now, route, ready),
        }
    }

    /// Whether requests of other routes are to go before those of this one, if there are any: a route that was just refused.
    #[must_use]
    pub fn goes_second(&self, route: &str) -> bool {
        self.narrow.as_ref().is_some_and(|narrow| narrow.suspicion.goes_second(route))
    }

    /// Whether a request has to wait while others of its host need not.
    #[must_use]
    pub fn is_held(&mut self, now: Timestamp, route: &str) -> bool {
        self.narrow.as_mut().is_some_and(|narrow| narrow.ready(now, route, Readiness::Now) != Readiness::Now)
    }

    /// Asks all scopes of a request for the right to send it now. All are asked before one is taken from.
    pub fn admit(&mut self, now: Timestamp, route: &str) -> Admission<Permits> {
        match self.ready(now, route) {
            Readiness::Now => {}
            Readiness::NotBefore(at) => return Admission::NotBefore(at),
            Readiness::Full => return Admission::Full,
        }
        let host = match self.host.admit(now) {
            Admission::Go(permit) => permit,
            Admission::NotBefore(at) => return Admission::NotBefore(at),
            Admission::Full => return Admission::Full,
        };
        let narrow = self.narrow.as_mut().map(|narrow| narrow.admit(now, route)).unwrap_or_default();
        Admission::Go(Permits { host, narrow })
    }

    /// What an answer is taken for whose status leaves a doubt whether it is a refusal: see [`Throttle::judge`].
    pub fn judge(
        &mut self,
        permits: &Permits,
        job: i64,
        outcome: &Outcome,
        status: Option<u16>,
        now: Timestamp,
    ) -> Option<Suspicion> {
        self.host.judge(&permits.host, job, outcome, status, now)
    }

    /// Gives permits back with what became of their request.
    pub fn finish(
        &mut self,
        permits: Permits,
        asked: Asked<'_>,
        feedback: &Feedback,
        now: Timestamp,
        dice: &mut fastrand::Rng,
    ) -> Blame {
        let Permits { host: permit, narrow: permits } = permits;
        if matches!(feedback, Feedback::Answered(_)) {
            self.passed = self.passed.saturating_add(1);
            if self.since_s == 0 {
                self.since_s = seconds(permit.sent_at());
            }
        }
        if self.narrow.is_none() && !tells_of_scopes(feedback) {
            self.host.finish(permit, feedback, now, dice);
            return Blame::Scope;
        }
        let narrow = self.narrow.get_or_insert_default();
        narrow.learn_route(asked.route, feedback);
        let blame = if is_limit(feedback) {
            self.on_limit(permit, permits, asked, feedback, now, dice)
        } else {
            let sent_at = permit.sent_at();
            if narrow.is_split_by(feedback) {
                self.host.forget_declared();
            }
            // What is declared of a part of the host is no quota of the whole.
            let of_part = !permits.is_empty() || narrow.is_of_part(feedback);
            let told = if of_part { &without_quotas(feedback) } else { feedback };
            self.host.finish(permit, told, now, dice);
            narrow.give_back(permits, asked, feedback, now, dice);
            match feedback {
                // Closed by a redirect, which says nothing of limits.
                Feedback::Answered(hints) if hints.retry_at.is_some() => narrow.suspicion.forget(),
                Feedback::Answered(_) => narrow.on_passed(asked, sent_at, dice),
                _ => narrow.suspicion.on_back(sent_at),
            }
            Blame::Scope
        };
        self.settle_suspects(now);
        blame
    }

    /// A limit was hit, or said that it is used up.
    fn on_limit(
        &mut self,
        permit: Permit,
        permits: Vec<(ScopeId, Permit)>,
        asked: Asked<'_>,
        feedback: &Feedback,
        now: Timestamp,
        dice: &mut fastrand::Rng,
    ) -> Blame {
        let narrow = self.narrow.get_or_insert_default();
        let sent_at = permit.sent_at();
        let targets = narrow.targets(asked.route, feedback, self.host.settings(), now);
        let is_refused = !matches!(feedback, Feedback::Answered(_));
        if is_refused && narrow.is_alone(&targets, asked) {
            self.host.finish(permit, &beside(feedback), now, dice);
            narrow.give_back(permits, asked, &beside(feedback), now, dice);
            narrow.suspicion.on_back(sent_at);
            return Blame::Request;
        }
        let is_event = sent_at > narrow.suspicion.opened_at();
        let limit = Limit {
            asked,
            sent_at,
            announced_at: announced_at(feedback),
            in_flight: self.host.in_flight() - 1,
            spent: self.passed,
            took_ms: if self.since_s == 0 {
                0
            } else {
                u64::from(seconds(now).saturating_sub(self.since_s) + 1) * 1_000
            },
        };
        let before = || self.host.snapshot(now);
        let id = narrow.next_id();
        let (again, is_counted) = match targets {
            Targets::Host => {
                let again = narrow.suspicion.on_limit(&limit, id, before, now, dice);
                self.host.finish(permit, feedback, now, dice);
                narrow.give_back(permits, asked, &beside(feedback), now, dice);
                if is_event {
                    narrow.on_event(None, sent_at, now);
                }
                (again, is_event)
            }
            Targets::Narrow(ids) => {
                let is_on_trial = narrow.are_on_trial(&ids);
                if is_on_trial {
                    narrow.suspicion.on_limit(&limit, id, before, now, dice);
                } else {
                    narrow.suspicion.on_back(sent_at);
                }
                self.host.finish(permit, &beside(feedback), now, dice);
                let again = narrow.on_limit(&ids, permits, asked, (feedback, sent_at), now, dice);
                if is_on_trial && limit.announced_at.is_some() {
                    narrow.suspend_with(&ids, now);
                }
                (again, is_on_trial && is_event)
            }
        };
        if is_counted {
            (self.passed, self.since_s) = (0, 0);
        }
        while let Some(joined) = self.narrow.as_mut().and_then(|narrow| narrow.take_one_of_a_pair()) {
            self.join(&joined, now);
        }
        if again { Blame::ScopeAgain } else { Blame::Scope }
    }

    /// Acts on what is known about suspects by now.
    fn settle_suspects(&mut self, now: Timestamp) {
        let Some(narrow) = &mut self.narrow else { return };
        let settings = *self.host.settings();
        if let Some(suspect) = narrow.suspicion.convicted(now)
            && !narrow.confirm(suspect.id)
            && narrow.set_apart(&suspect, settings, &self.host.snapshot(now), now)
        {
            // Its embargo and what its refusals taught were what the host's throttle had.
            self.host.restore(&suspect.before, now);
        }
        if let Some(suspect) = narrow.suspicion.put_on_trial(now) {
            let suspect = suspect.clone();
            if narrow.set_apart(&suspect, settings, &self.host.snapshot(now), now) {
                self.host.restore(&suspect.before, now);
            }
        }
        while let Some((joined, learned)) = self.narrow.as_mut().and_then(|narrow| narrow.take_acquitted()) {
            // The limit is the host's after all, and so is what was learned of it.
            if learned.is_settled() {
                let closed = self.host.snapshot(now);
                self.host.restore(&learned.closed_as(&closed), now);
            }
            self.join(&joined, now);
        }
    }

    /// Takes over from a scope that is no more: its embargo holds for what it was joined with.
    fn join(&mut self, joined: &Joined, now: Timestamp) {
        let Some((at, why)) = joined.throttle.embargo(now) else { return };
        let narrow = self.narrow.as_mut();
        let kept = match joined.into.and_then(|id| narrow?.throttle_mut(id)) {
            Some(throttle) => throttle,
            None => &mut self.host,
        };
        if kept.embargo(now).is_none_or(|(kept_at, _)| kept_at < at) {
            let memory = Snapshot { not_before_at: at, not_before_why: why.to_owned(), ..kept.snapshot(now) };
            kept.restore(&memory, now);
        }
    }

    /// The longest embargo that a request of a route is under: nothing may be sent before this instant, and why.
    #[must_use]
    pub fn embargo(&self, now: Timestamp, route: &str) -> Option<(Timestamp, &str)> {
        let narrow = self.narrow.as_ref().and_then(|narrow| narrow.embargo(now, route));
        self.host.embargo(now).into_iter().chain(narrow).max_by_key(|(at, _)| *at)
    }

    /// The embargo of the whole host.
    #[must_use]
    pub fn embargo_of_all(&self, now: Timestamp) -> Option<(Timestamp, &str)> {
        let suspended = self.narrow.as_ref().and_then(|narrow| narrow.suspended(now));
        self.host.embargo(now).into_iter().chain(suspended).max_by_key(|(at, _)| *at)
    }

    /// The narrow scope that closes a route longest; none when it is the host.
    #[must_use]
    pub fn closed_by(&self, now: Timestamp, route: &str) -> Option<&str> {
        let (at, name) = self.narrow.as_ref()?.closed_by(now, route)?;
        self.embargo_of_all(now).is_none_or(|(host_at, _)| host_at < at).then_some(name)
    }

    /// The narrow scopes that have changed since this was last asked, for the store.
    pub fn take_changes(&mut self, now: Timestamp) -> Vec<ScopeChange> {
        self.narrow.as_mut().map(|narrow| narrow.take_changes(now)).unwrap_or_default()
    }
}

fn seconds(at: Timestamp) -> u32 {
    u32::try_from(at.0 / 1_000).unwrap_or(u32::MAX)
}

/// Whether a host without narrow scopes must look at this more closely.
fn tells_of_scopes(feedback: &Feedback) -> bool {
    is_limit(feedback) || matches!(feedback, Feedback::Answered(hints) if hints.resource.is_some())
}

/// Whether it says that a limit is used up.
pub(super) fn is_limit(feedback: &Feedback) -> bool {
    match feedback {
        Feedback::Refused(_) | Feedback::Overloaded => true,
        Feedback::Answered(hints) => hints.quota_spent.is_some(),
        Feedback::Unreachable(_) | Feedback::Silent(_) | Feedback::Broken | Feedback::Failed | Feedback::Stopped => {
            false
        }
    }
}

/// Until when the server asked to wait.
pub(super) fn announced_at(feedback: &Feedback) -> Option<Timestamp> {
    let (Feedback::Refused(hints) | Feedback::Answered(hints)) = feedback else { return None };
    hints.retry_at.or(hints.quota_spent.as_ref().map(|quota| quota.reset_at))
}

/// An answer that declares nothing.
pub(super) fn without_quotas(feedback: &Feedback) -> Feedback {
    match feedback {
        Feedback::Answered(hints) => Feedback::Answered(Hints { quotas: Vec::new(), ..hints.clone() }),
        other => other.clone(),
    }
}

/// What a scope is told of a limit that is not its own: a good answer whose quota is another's, or nothing but that the host
/// answers.
pub(super) fn beside(feedback: &Feedback) -> Feedback {
    match feedback {
        Feedback::Answered(_) => Feedback::Answered(Hints::default()),
        Feedback::Refused(_) | Feedback::Overloaded => Feedback::Broken,
        other => other.clone(),
    }
}
