//! One limit scope: the three gates together.

mod handover;

use crate::clock::Timestamp;
use crate::exchange::Outcome;

use super::courtesy::Courtesy;
use super::doubt::{Ruling, is_doubtful};
use super::gate::{BREAKER_MS_MAX, BREAKER_SILENT_MS_MAX};
use super::learner::{Learner, STALE_MS};
use super::queue::Queue;
use super::window::Quick;
use super::{
    Belief, Ceiling, Declared, Doubt, Gate, Hints, News, Order, QuotaUnit, Settings, Snapshot, Suspicion, Window,
};

/// How often the wait that is known of a provider doubles at most; the gate bounds it anyway.
const DOUBLINGS_MAX: u32 = 10;

/// Resets that came too early after which the next ones are only the least wait, and the learner says how long it is.
const EARLY_RESETS_MAX: u8 = 2;

/// The right to send one request now. It must come back with what became of the request.
#[derive(Debug)]
#[must_use = "a permit that is not given back counts as a request in flight for ever"]
pub struct Permit {
    sent_at: Timestamp,
    in_flight: u32,
    number: u64,
    declared_idx: u64,
    is_canary: bool,
    /// When the last answer had come before it was sent.
    answered_at: Timestamp,
}

impl Permit {
    /// When the request was admitted.
    #[must_use]
    pub fn sent_at(&self) -> Timestamp {
        self.sent_at
    }

    /// Whether it is the first after a wait.
    pub(super) fn is_canary(&self) -> bool {
        self.is_canary
    }
}

/// May a request go now? `P` is the right to send it.
#[derive(Debug)]
#[must_use]
pub enum Admission<P = Permit> {
    /// Yes.
    Go(P),
    /// Not before this instant; ask again then.
    NotBefore(Timestamp),
    /// Not before one of the requests in flight has ended.
    Full,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// An answer that shows no sign of a limit, whatever its status. A `retry_at` in it is a wait that is not a refusal.
    Answered(Hints),
    /// The limit was hit.
    Refused(Hints),
    /// 503 and its kin without a word about when.
    Overloaded,
    /// The host could not be reached, with the reason.
    Unreachable(String),
    /// The host took the request and said nothing in time, with the reason.
    Silent(String),
    /// An error of the server's own, such as 500: the limit had let it pass and counted it, but nothing says that more would do.
    Failed,
    /// The connection broke, which tells nothing about limits.
    Broken,
    /// The crawl stopped first, which tells nothing at all.
    Stopped,
}

/// May a request go now? Without taking the right to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Readiness {
    /// Yes.
    Now,
    /// Not before this instant.
    NotBefore(Timestamp),
    /// Not before one of the requests in flight has ended.
    Full,
}

/// The throttle of one limit scope.
#[derive(Clone, Debug)]
pub struct Throttle {
    pub(super) settings: Settings,
    pub(super) gate: Gate,
    pub(super) ceiling: Ceiling,
    pub(super) window: Window,
    queue: Queue,
    pub(super) learner: Box<Learner>,
    courtesy: Courtesy,
    pub(super) declared: Declared,
    /// Resets that were told and came too early, less those that were right.
    pub(super) early_resets: u8,
    pub(super) in_flight: u32,
    /// When the last answer came; [`Timestamp::EPOCH`] before the first of this process.
    answered_at: Timestamp,
    pub(super) refused: u64,
    pub(super) doubt: Doubt,
    /// What was believed before refusals were taken for such on suspicion.
    pub(super) before_suspicion: Option<Box<(Learner, Window)>>,
    /// When the last answer came that says something about the limit.
    pub(super) seen_at: Timestamp,
    /// The belief that was told last.
    told: Option<Belief>,
    /// What was sent with a lower number taught a learner that is no more.
    taught_from: u64,
}

impl Throttle {
    /// A throttle within the ceilings of `settings`, going on from `snapshot` if there is one.
    #[must_use]
    pub fn new(settings: Settings, snapshot: Option<&Snapshot>, now: Timestamp) -> Self {
        let is_known =
            snapshot.is_some_and(|snapshot| snapshot.rate_per_s > 0.0 || snapshot.saved_at > Timestamp::EPOCH);
        let mut throttle = Self {
            gate: Gate::new(snapshot)
                .by_our_clock(snapshot.map_or(Timestamp::EPOCH, |snapshot| snapshot.saved_at), now),
            ceiling: Ceiling::new(&settings, is_known, now),
            window: Window::new(&settings, snapshot),
            queue: Queue::default(),
            courtesy: Courtesy::new(settings.courtesy),
            learner: Box::new(
                match snapshot.and_then(|snapshot| snapshot.learned.as_ref().zip(Some(snapshot.saved_at))) {
                    Some((memory, saved_at)) => Learner::restored(memory, to_f64(saved_at), to_f64(now)),
                    None => Learner::new(),
                }
                .with_share(settings.courtesy),
            ),
            declared: snapshot.map(|snapshot| Declared::restore(&snapshot.declared, now)).unwrap_or_default(),
            settings,
            early_resets: 0,
            in_flight: 0,
            answered_at: Timestamp::EPOCH,
            refused: 0,
            doubt: snapshot.map(|snapshot| snapshot.doubt.clone()).unwrap_or_default(),
            before_suspicion: None,
            seen_at: snapshot.map_or(Timestamp::EPOCH, |snapshot| snapshot.seen_at),
            told: None,
            taught_from: 0,
        };
        throttle.doubt_if_old(now);
        throttle.told = throttle.belief();
        throttle
    }

    /// The user's ceilings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What robots.txt asks for; a ceiling like the user's own.
    pub fn set_crawl_delay(&mut self, crawl_delay_ms: Option<u64>) {
        self.ceiling.set_crawl_delay(crawl_delay_ms);
    }

    /// What was not seen for a week is measured anew, however often the process started meanwhile, or if it never ended.
    fn doubt_if_old(&mut self, now: Timestamp) {
        if self.seen_at > Timestamp::EPOCH && now.since_ms(self.seen_at) >= STALE_MS {
            self.learner.doubt();
        }
    }

    /// Whether a request may go now, without taking the right to.
    pub fn ready(&mut self, now: Timestamp) -> Readiness {
        self.doubt_if_old(now);
        let closed_until = self.gate.not_before_at().max(self.ceiling.next_at()).max(self.declared.next_at(now));
        if now < closed_until {
            return Readiness::NotBefore(closed_until);
        }
        if self.gate.is_doubtful() {
            return if self.in_flight > 0 { Readiness::Full } else { Readiness::Now };
        }
        let queue_at = from_f64(self.queue.next_ms());
        if now < queue_at {
            return Readiness::NotBefore(queue_at);
        }
        let mut next_ms = self.learner.next_ms(to_f64(now));
        if !self.courtesy.is_idle() {
            self.courtesy.follow(self.learner.limits(), to_f64(now));
            next_ms = next_ms.max(self.courtesy.next_ms(to_f64(now)));
        }
        let next_at = from_f64(next_ms);
        if now < next_at && self.window.cap().is_none() {
            return Readiness::NotBefore(next_at);
        }
        let is_serial = self.ceiling.is_serial() || self.learner.is_serial(to_f64(now));
        let at_once = if is_serial { 1 } else { self.at_once().min(self.declared.at_once().unwrap_or(u32::MAX)) };
        if self.in_flight >= at_once { Readiness::Full } else { Readiness::Now }
    }

    /// Asks for the right to send one request now.
    pub fn admit(&mut self, now: Timestamp) -> Admission {
        match self.ready(now) {
            Readiness::NotBefore(at) => return Admission::NotBefore(at),
            Readiness::Full => return Admission::Full,
            Readiness::Now => {}
        }
        self.in_flight += 1;
        self.ceiling.on_sent(now);
        self.window.on_sent(self.in_flight);
        self.courtesy.on_sent(to_f64(now));
        self.queue.on_sent(to_f64(now));
        let is_canary = self.gate.is_doubtful();
        let number = self.learner.on_sent(to_f64(now), is_canary);
        let declared_idx = self.declared.on_sent(now);
        Admission::Go(Permit {
            sent_at: now,
            in_flight: self.in_flight,
            number,
            declared_idx,
            is_canary,
            answered_at: self.answered_at,
        })
    }

    /// Takes in whether the request of `job` was let through; what its answer is taken for where the status leaves a doubt, else
    /// none. To be asked for each answer before its permit is given back. `job` stays the same when it is tried again.
    pub fn judge(
        &mut self,
        permit: &Permit,
        job: i64,
        outcome: &Outcome,
        status: Option<u16>,
        now: Timestamp,
    ) -> Option<Suspicion> {
        let (suspicion, ruling) = match (outcome, status) {
            (Outcome::Served | Outcome::Redirected | Outcome::Gone, _) => {
                (None, self.doubt.on_accepted(job, permit.sent_at))
            }
            (outcome, Some(status)) if is_doubtful(outcome, Some(status)) => {
                let is_told = *outcome == Outcome::Overloaded;
                let (suspicion, ruling) = self.doubt.on_doubtful(job, status, is_told, permit.sent_at, now);
                (Some(suspicion), ruling)
            }
            _ => (None, Ruling::None),
        };
        match ruling {
            Ruling::None => {}
            Ruling::Suspected => {
                let before = (&*self.learner, &self.window);
                self.before_suspicion.get_or_insert_with(|| Box::new((before.0.clone(), before.1.clone())));
            }
            Ruling::Proved => self.before_suspicion = None,
            Ruling::Refuted => {
                if let Some(before) = self.before_suspicion.take() {
                    (*self.learner, self.window) = *before;
                }
                self.gate.on_served(Timestamp::NEVER);
            }
        }
        suspicion
    }

    /// Gives a permit back with what became of its request.
    #[expect(clippy::needless_pass_by_value, reason = "a permit is used up")]
    pub fn finish(&mut self, permit: Permit, feedback: &Feedback, now: Timestamp, dice: &mut fastrand::Rng) {
        let Permit { sent_at, in_flight, number, declared_idx, is_canary, .. } = permit;
        self.in_flight = self.in_flight.checked_sub(1).expect("each permit is given back once");
        self.ceiling.on_finished(now);
        if let Feedback::Answered(Hints { server_offset_ms: Some(offset_ms), .. })
        | Feedback::Refused(Hints { server_offset_ms: Some(offset_ms), .. }) = feedback
        {
            self.learner.on_clock(to_ms(*offset_ms));
        }
        if matches!(feedback, Feedback::Answered(_) | Feedback::Refused(_) | Feedback::Overloaded) {
            self.seen_at = now;
            self.answered_at = now;
        }
        match feedback {
            Feedback::Answered(hints) => self.declared.on_answer(declared_idx, hints, now),
            Feedback::Refused(hints) => self.declared.on_refusal(declared_idx, hints, now),
            // Nobody counted it.
            Feedback::Unreachable(_) => self.declared.on_answer(declared_idx, &Hints::default(), now),
            _ => self.declared.on_lost(declared_idx),
        }
        match feedback {
            Feedback::Answered(hints) => {
                self.gate.on_served(sent_at);
                self.learner.on_accepted(number, to_f64(sent_at), to_f64(now), is_canary);
                self.window.on_accepted(in_flight, to_f64(now));
                if let Some(enough) = self.queue.on_answered(in_flight, self.in_flight, to_f64(sent_at), to_f64(now)) {
                    self.window.on_queued(enough);
                }
                if is_canary {
                    self.window.on_reopened();
                    self.early_resets = self.early_resets.saturating_sub(1);
                }
                self.leave_some(hints, now);
                if let Some(quota) = &hints.quota_spent {
                    self.gate.on_quota_spent(quota.reset_at, quota.header, now, &self.settings);
                }
                if let Some(retry_at) = hints.retry_at {
                    self.gate.on_told_to_wait(retry_at, now, &self.settings);
                }
            }
            Feedback::Refused(hints) => {
                let quota_at = hints.quota_spent.as_ref().map(|quota| (quota.reset_at, quota.header));
                // Retry-After takes precedence (draft-ietf-httpapi-ratelimit-headers, section on Retry-After).
                let retry_at = hints.retry_at.map(|at| (at, "retry-after"));
                if is_canary && retry_at.is_none() && quota_at.is_some() {
                    self.early_resets = (self.early_resets + 1).min(EARLY_RESETS_MAX);
                }
                let is_believed = self.early_resets < EARLY_RESETS_MAX;
                let known_ms =
                    hints.known_wait_ms.map_or(0, |wait_ms| wait_ms << self.gate.backoff_step().min(DOUBLINGS_MAX));
                let least_at = quota_at.map_or(now, |(at, _)| at).max(now.plus_ms(known_ms));
                self.on_refused(&permit, retry_at.or(quota_at.filter(|_| is_believed)), least_at, now, dice);
            }
            Feedback::Overloaded => self.on_refused(&permit, None, now, now, dice),
            Feedback::Unreachable(why) => {
                self.learner.on_lost(number);
                self.gate.on_unreachable(sent_at, why, BREAKER_MS_MAX, now, &self.settings, dice);
            }
            Feedback::Silent(why) => {
                self.learner.on_lost(number);
                self.gate.on_unreachable(sent_at, why, BREAKER_SILENT_MS_MAX, now, &self.settings, dice);
            }
            // A canary that fails says nothing of whether it is open again.
            Feedback::Failed if !is_canary => {
                self.learner.on_counted(number);
                self.gate.on_answered();
            }
            Feedback::Broken | Feedback::Failed => {
                self.learner.on_lost(number);
                self.gate.on_answered();
            }
            Feedback::Stopped => self.learner.on_lost(number),
        }
    }

    /// Waits for the reset of a quota of which only that is left which courtesy leaves to others.
    fn leave_some(&mut self, hints: &Hints, now: Timestamp) {
        for quota in &hints.quotas {
            if let (Some(limit), Some(remaining), Some(reset_at)) = (quota.limit, quota.remaining, quota.reset_at)
                && quota.unit != QuotaUnit::Concurrent
                && self.courtesy.is_spent(limit, remaining)
            {
                self.gate.on_share_spent(reset_at, &quota.header, now, &self.settings);
            }
        }
    }

    fn on_refused(
        &mut self,
        permit: &Permit,
        retry_at: Option<(Timestamp, &'static str)>,
        least_at: Timestamp,
        now: Timestamp,
        dice: &mut fastrand::Rng,
    ) {
        self.refused += 1;
        self.courtesy.on_refused(to_f64(permit.sent_at));
        let Permit { sent_at, in_flight, number, is_canary, .. } = *permit;
        let told_ms = retry_at.map(|(at, _)| to_f64(at));
        let (sent_ms, now_ms) = (to_f64(sent_at), to_f64(now));
        let is_news = self.gate.is_news(sent_at) && number >= self.taught_from;
        if is_news && !is_canary && told_ms.is_none() && self.is_of_too_many(permit, now_ms) {
            self.learner.on_lost(number);
            return;
        }
        let is_touch = is_news && !is_canary;
        let is_capped =
            is_touch && self.window.on_touched(in_flight, self.learner.is_at_a_loss(), self.learner.in_flight_needed());
        let ask_ms = if !is_news {
            self.learner.on_echo(number, sent_ms);
            now_ms
        } else if is_canary {
            self.learner.on_still_closed(number, sent_ms, now_ms, told_ms)
        } else {
            self.learner.on_touched(number, sent_ms, now_ms, told_ms)
        };
        // With a cap on concurrency nothing but an answer opens it again.
        let ask_ms = if is_capped { now_ms } else { ask_ms };
        let ask_at = from_f64(ask_ms).max(least_at);
        self.gate.on_refused(sent_at, retry_at, ask_at, now, &self.settings, dice);
    }

    /// Whether a refusal says no more than that there were too many at once.
    fn is_of_too_many(&mut self, permit: &Permit, now_ms: f64) -> bool {
        let Permit { sent_at, in_flight, answered_at, .. } = *permit;
        let sent_ms = to_f64(sent_at);
        let quick = Quick { in_flight, sent_ms, now_ms, answered_ms_ago: sent_ms - to_f64(answered_at) };
        self.learner.is_quick(now_ms - sent_ms) && self.window.on_quick_refusal(&quick)
    }

    /// Requests that have a permit and no feedback yet.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Whether the host cannot be reached, so that its jobs are not to blame.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.gate.is_down()
    }

    /// Why the host was given up in this run, if it was.
    #[must_use]
    pub fn given_up(&self) -> Option<&str> {
        self.gate.given_up()
    }

    /// A host that was given up has work again: the next probe says whether it is still down.
    pub fn ask_again(&mut self) {
        self.gate.ask_again();
    }

    /// The embargo: nothing may be sent before this instant, and why. None when it has passed.
    #[must_use]
    pub fn embargo(&self, now: Timestamp) -> Option<(Timestamp, &str)> {
        self.gate.closed_why(now).map(|why| (self.gate.not_before_at(), why))
    }

    /// What outlives the process.
    #[must_use]
    pub fn snapshot(&self, now: Timestamp) -> Snapshot {
        let mut snapshot = Snapshot { saved_at: now, seen_at: self.seen_at, ..Snapshot::default() };
        self.gate.save(&mut snapshot);
        snapshot.doubt = self.doubt.clone();
        snapshot.declared = self.declared.save();
        if self.knows_something() {
            self.window.save(&mut snapshot);
            snapshot.rate_per_s = self.learner.rate_per_s().min(self.settings.rate_max_per_s.unwrap_or(f64::INFINITY));
        }
        snapshot.limit_per_s = self.learner.limit_per_s();
        snapshot.learned = Some(Box::new(self.learner.memory(self.in_flight + 1)));
        snapshot
    }

    /// Requests that may be in flight at once.
    #[must_use]
    pub fn at_once(&self) -> u32 {
        let size = self.queue.at_once().map_or(self.window.size(), |enough| self.window.size().min(enough));
        if self.courtesy.is_idle() || self.window.cap().is_none() {
            return size;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a size above 0")]
        let shared = (f64::from(size) * self.courtesy.share()) as u32;
        shared.max(1)
    }

    /// Whether the limit behind this scope is known.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.learner.is_tight() || self.window.cap().is_some()
    }

    /// Whether it is known what this scope bears, be it measured or told.
    pub(super) fn is_explored(&self) -> bool {
        self.is_settled() || self.declared.is_binding()
    }

    /// Does what a person says about the limit. The embargo stays, and so do the user's ceilings.
    pub fn obey(&mut self, order: &Order, now: Timestamp) {
        let said = match order {
            Order::Forget => None,
            Order::Set(said) => Some(said),
        };
        *self.learner = self.learner.anew(said, self.in_flight, to_f64(now));
        self.window = Window::new(&self.settings, None);
        self.before_suspicion = None;
        self.early_resets = 0;
        self.taught_from = self.learner.next_number();
        self.seen_at = Timestamp::EPOCH;
        self.told = self.belief();
    }

    /// Whether there is anything to tell: before the first answer the pace is only where every host starts.
    fn knows_something(&self) -> bool {
        self.seen_at > Timestamp::EPOCH || self.learner.has_model()
    }

    /// What is known of the limit; none while it is not known well.
    #[must_use]
    pub fn belief(&self) -> Option<Belief> {
        if let Some(cap) = self.window.cap() {
            return Some(Belief { kind: "cap on concurrency", size: cap });
        }
        let kind = self.learner.kind_name()?;
        Some(Belief { kind, size: self.learner.limit_per_s() })
    }

    /// What is new in the belief since this was asked last.
    pub fn take_news(&mut self) -> Option<News> {
        let belief = self.belief()?;
        let news = belief.news(self.told.as_ref())?;
        self.told = Some(belief);
        Some(news)
    }

    /// What the server declares of its quotas, in words, if there is one that was not told yet.
    pub fn take_declared(&mut self, now: Timestamp) -> Option<String> {
        self.declared.take_news(now)
    }

    /// What was learned, in words for people; none before the first answer.
    #[must_use]
    pub fn learned(&self) -> Option<String> {
        self.knows_something().then(|| self.describe())
    }

    /// When the last answer came that says something about the limit; none when none ever did.
    #[must_use]
    pub fn seen_at(&self) -> Option<Timestamp> {
        (self.seen_at > Timestamp::EPOCH).then_some(self.seen_at)
    }

    /// What was learned, in words: `token bucket, 10.0/s, burst 20, known to ±1 %, from 3 refusals`.
    #[must_use]
    pub fn describe(&self) -> String {
        if let Some(cap) = self.window.cap() {
            return format!("at most {cap} at once");
        }
        self.learner.describe()
    }
}

pub(super) fn to_f64(at: Timestamp) -> f64 {
    to_ms(at.0)
}

#[expect(clippy::cast_precision_loss, reason = "instants in ms are below 2^53")]
fn to_ms(ms: i64) -> f64 {
    ms as f64
}

/// Rounded up: never a fraction of a millisecond early.
#[expect(clippy::cast_possible_truncation, reason = "instants in ms are below 2^53")]
fn from_f64(ms: f64) -> Timestamp {
    Timestamp(ms.clamp(0.0, 9e15).ceil() as i64)
}

#[cfg(test)]
mod tests;
