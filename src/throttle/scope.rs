//! One limit scope: the three gates together.

use crate::clock::Timestamp;
use crate::exchange::Outcome;

use super::doubt::{Ruling, is_doubtful};
use super::gate::{BREAKER_MS_MAX, BREAKER_SILENT_MS_MAX};
use super::learner::Learner;
use super::{Ceiling, Declared, Doubt, Gate, Hints, Settings, Snapshot, Suspicion, Window};

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
}

impl Permit {
    /// When the request was admitted.
    #[must_use]
    pub fn sent_at(&self) -> Timestamp {
        self.sent_at
    }
}

/// May a request go now?
#[derive(Debug)]
#[must_use]
pub enum Admission {
    /// Yes.
    Go(Permit),
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
    pub(super) learner: Box<Learner>,
    pub(super) declared: Declared,
    /// Resets that were told and came too early, less those that were right.
    pub(super) early_resets: u8,
    pub(super) in_flight: u32,
    pub(super) refused: u64,
    pub(super) doubt: Doubt,
    /// What was believed before refusals were taken for such on suspicion.
    pub(super) before_suspicion: Option<Box<(Learner, Window)>>,
}

impl Throttle {
    /// A throttle within the ceilings of `settings`, going on from `snapshot` if there is one.
    #[must_use]
    pub fn new(settings: Settings, snapshot: Option<&Snapshot>, now: Timestamp) -> Self {
        Self {
            gate: Gate::new(snapshot),
            ceiling: Ceiling::new(&settings, snapshot.is_some_and(|snapshot| snapshot.rate_per_s > 0.0), now),
            window: Window::new(&settings, snapshot),
            learner: Box::new(
                match snapshot.and_then(|snapshot| snapshot.learned.as_ref().zip(Some(snapshot.saved_at))) {
                    Some((memory, saved_at)) => Learner::restored(memory, to_f64(saved_at), to_f64(now)),
                    None => Learner::new(),
                },
            ),
            declared: snapshot.map(|snapshot| Declared::restore(&snapshot.declared, now)).unwrap_or_default(),
            settings,
            early_resets: 0,
            in_flight: 0,
            refused: 0,
            doubt: snapshot.map(|snapshot| snapshot.doubt.clone()).unwrap_or_default(),
            before_suspicion: None,
        }
    }

    /// What robots.txt asks for; a ceiling like the user's own.
    pub fn set_crawl_delay(&mut self, crawl_delay_ms: Option<u64>) {
        self.ceiling.set_crawl_delay(crawl_delay_ms);
    }

    /// Whether a request may go now, without taking the right to.
    pub fn ready(&mut self, now: Timestamp) -> Readiness {
        let closed_until = self.gate.not_before_at().max(self.ceiling.next_at()).max(self.declared.next_at(now));
        if now < closed_until {
            return Readiness::NotBefore(closed_until);
        }
        if self.gate.is_doubtful() {
            return if self.in_flight > 0 { Readiness::Full } else { Readiness::Now };
        }
        let next_at = from_f64(self.learner.next_ms(to_f64(now)));
        if now < next_at && self.window.cap().is_none() {
            return Readiness::NotBefore(next_at);
        }
        let is_serial = self.ceiling.is_serial() || self.learner.is_serial(to_f64(now));
        let at_once = if is_serial { 1 } else { self.window.size().min(self.declared.at_once().unwrap_or(u32::MAX)) };
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
        let is_canary = self.gate.is_doubtful();
        let number = self.learner.on_sent(to_f64(now), is_canary);
        let declared_idx = self.declared.on_sent(now);
        Admission::Go(Permit { sent_at: now, in_flight: self.in_flight, number, declared_idx, is_canary })
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
        let Permit { sent_at, in_flight, number, declared_idx, is_canary } = permit;
        self.in_flight = self.in_flight.checked_sub(1).expect("each permit is given back once");
        self.ceiling.on_finished(now);
        if let Feedback::Answered(Hints { server_offset_ms: Some(offset_ms), .. })
        | Feedback::Refused(Hints { server_offset_ms: Some(offset_ms), .. }) = feedback
        {
            self.learner.on_clock(to_ms(*offset_ms));
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
                if is_canary {
                    self.window.on_reopened();
                    self.early_resets = self.early_resets.saturating_sub(1);
                }
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
            Feedback::Broken => {
                self.learner.on_lost(number);
                self.gate.on_answered();
            }
            Feedback::Stopped => self.learner.on_lost(number),
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
        let Permit { sent_at, in_flight, number, is_canary, .. } = *permit;
        let told_ms = retry_at.map(|(at, _)| to_f64(at));
        let (sent_ms, now_ms) = (to_f64(sent_at), to_f64(now));
        let is_touch = self.gate.is_news(sent_at) && !is_canary;
        let is_capped =
            is_touch && self.window.on_touched(in_flight, self.learner.is_at_a_loss(), self.learner.in_flight_needed());
        let ask_ms = if !self.gate.is_news(sent_at) {
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

    /// The embargo: nothing may be sent before this instant, and why. None when it has passed.
    #[must_use]
    pub fn embargo(&self, now: Timestamp) -> Option<(Timestamp, &str)> {
        self.gate.closed_why(now).map(|why| (self.gate.not_before_at(), why))
    }

    /// What outlives the process.
    #[must_use]
    pub fn snapshot(&self, now: Timestamp) -> Snapshot {
        let mut snapshot = Snapshot { saved_at: now, ..Snapshot::default() };
        self.gate.save(&mut snapshot);
        self.window.save(&mut snapshot);
        snapshot.doubt = self.doubt.clone();
        snapshot.declared = self.declared.save();
        snapshot.rate_per_s = self.learner.rate_per_s().min(self.settings.rate_max_per_s.unwrap_or(f64::INFINITY));
        snapshot.limit_per_s = self.learner.limit_per_s();
        snapshot.learned = Some(Box::new(self.learner.memory(self.in_flight + 1)));
        snapshot
    }

    /// Requests that may be in flight at once.
    #[must_use]
    pub fn at_once(&self) -> u32 {
        self.window.size()
    }

    /// Whether the limit behind this scope is known.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.learner.is_tight() || self.window.cap().is_some()
    }

    /// What was learned, in words: `token bucket, 10.0/s, burst 20, known to ±1 %, 8 at once`.
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
mod tests {
    use super::*;

    /// A token bucket, as servers keep it.
    struct Bucket {
        tokens: f64,
        per_s: f64,
        burst: f64,
        at: Timestamp,
    }

    impl Bucket {
        #[expect(clippy::cast_precision_loss, reason = "test times are small")]
        fn admits(&mut self, now: Timestamp) -> bool {
            self.tokens = (self.tokens + now.since_ms(self.at) as f64 / 1_000.0 * self.per_s).min(self.burst);
            self.at = now;
            let admits = self.tokens >= 1.0;
            if admits {
                self.tokens -= 1.0;
            }
            admits
        }
    }

    /// Sends `wanted` requests through a throttle to a bucket; `(ms, refused)`. Answers come at once.
    fn run(bucket: &mut Bucket, throttle: &mut Throttle, retry_after_ms: Option<u64>, wanted: u32) -> (u64, u32) {
        let mut dice = fastrand::Rng::with_seed(3);
        let start = bucket.at;
        let (mut now, mut served, mut refused) = (start, 0, 0);
        while served < wanted {
            match throttle.admit(now) {
                Admission::Go(permit) => {
                    let feedback = if bucket.admits(now) {
                        served += 1;
                        Feedback::Answered(Hints::default())
                    } else {
                        refused += 1;
                        let retry_at = retry_after_ms.map(|wait_ms| now.plus_ms(wait_ms));
                        Feedback::Refused(Hints { retry_at, ..Hints::default() })
                    };
                    throttle.finish(permit, &feedback, now, &mut dice);
                }
                Admission::NotBefore(at) => {
                    assert!(at > now);
                    now = at;
                }
                Admission::Full => unreachable!("answers come at once"),
            }
        }
        (now.since_ms(start), refused)
    }

    #[test]
    fn four_hundred_pages_from_twenty_a_second_take_little_longer_than_they_must() {
        let mut bucket = Bucket { tokens: 20.0, per_s: 20.0, burst: 20.0, at: Timestamp(1_000_000) };
        let settings = Settings { rate_max_per_s: None, ..Settings::default() };
        let mut throttle = Throttle::new(settings, None, bucket.at);
        let (took_ms, refused) = run(&mut bucket, &mut throttle, Some(2_000), 400);
        assert!(refused <= 10, "{refused} refusals");
        assert!(took_ms <= 45_000, "{took_ms} ms; nineteen seconds are the least");
    }

    #[test]
    fn an_unlimited_host_is_asked_as_fast_as_it_answers_within_three_seconds() {
        let settings = Settings { rate_max_per_s: None, ..Settings::default() };
        let mut bucket = Bucket { tokens: 1e9, per_s: 1e9, burst: 1e9, at: Timestamp(1_000_000) };
        let mut throttle = Throttle::new(settings, None, bucket.at);
        let (took_ms, refused) = run(&mut bucket, &mut throttle, None, 5_000);
        assert_eq!(refused, 0);
        assert!(took_ms < 3_000, "5,000 requests that are answered at once took {took_ms} ms");
    }

    #[test]
    fn one_canary_goes_after_an_embargo_and_the_rest_wait_for_its_answer() {
        let settings = Settings { rate_max_per_s: None, concurrency: 8, ..Settings::default() };
        let mut dice = fastrand::Rng::with_seed(1);
        let mut throttle = Throttle::new(settings, None, Timestamp(0));
        let now = Timestamp(1_000_000);
        let Admission::Go(first) = throttle.admit(now) else { panic!("a new scope admits") };
        let hints = Hints { retry_at: Some(now.plus_ms(2_000)), ..Hints::default() };
        throttle.finish(first, &Feedback::Refused(hints), now, &mut dice);
        let Admission::NotBefore(at) = throttle.admit(now) else { panic!("an embargo holds") };
        assert!(at >= now.plus_ms(2_000));
        let Admission::Go(canary) = throttle.admit(at) else { panic!("the embargo has passed") };
        let later = at.plus_ms(1_000);
        assert!(matches!(throttle.admit(later), Admission::Full));
        throttle.finish(canary, &Feedback::Answered(Hints::default()), later, &mut dice);
        assert!(matches!(throttle.admit(later), Admission::Go(_)));
    }

    #[test]
    fn the_wait_that_is_known_of_a_provider_is_kept_and_doubles_while_it_refuses() {
        let mut dice = fastrand::Rng::with_seed(1);
        let mut throttle = Throttle::new(Settings::default(), None, Timestamp(0));
        let mut now = Timestamp(1_000_000);
        for wait_ms in [60_000, 120_000, 240_000] {
            let Admission::Go(permit) = throttle.admit(now) else { panic!("it is open") };
            let hints = Hints { known_wait_ms: Some(60_000), ..Hints::default() };
            throttle.finish(permit, &Feedback::Refused(hints), now, &mut dice);
            let (at, why) = throttle.embargo(now).expect("it is closed");
            assert!(at >= now.plus_ms(wait_ms) && !why.contains("retry-after"), "{why}");
            now = at;
        }
    }

    #[test]
    fn a_spent_quota_closes_the_scope_before_it_is_refused() {
        let mut dice = fastrand::Rng::with_seed(1);
        let mut throttle = Throttle::new(Settings::default(), None, Timestamp(0));
        let now = Timestamp(1_000_000);
        let Admission::Go(permit) = throttle.admit(now) else { panic!("a new scope admits") };
        let quota = super::super::QuotaSpent { reset_at: now.plus_ms(9_000), header: "x-ratelimit-remaining" };
        let hints = Hints { quota_spent: Some(quota), ..Hints::default() };
        throttle.finish(permit, &Feedback::Answered(hints), now, &mut dice);
        assert_eq!(throttle.embargo(now).map(|(at, _)| at), Some(now.plus_ms(9_000)));
    }

    fn told(remaining: u32, now: Timestamp) -> Hints {
        let fields = [
            ("x-ratelimit-limit", "10".to_owned()),
            ("x-ratelimit-remaining", remaining.to_string()),
            ("x-ratelimit-reset", "60".to_owned()),
        ];
        Hints::read(&crate::exchange::Headers::from_pairs(fields), now)
    }

    #[test]
    fn what_is_in_flight_counts_against_a_declared_quota_over_a_restart_too() {
        let mut dice = fastrand::Rng::with_seed(1);
        let settings = Settings { rate_max_per_s: None, ..Settings::default() };
        let mut throttle = Throttle::new(settings, None, Timestamp(0));
        let mut now = Timestamp(1_000_000);
        let Admission::Go(permit) = throttle.admit(now) else { panic!("a new scope admits") };
        throttle.finish(permit, &Feedback::Answered(told(2, now)), now, &mut dice);
        let mut sent = 0;
        for _ in 0..100 {
            now = now.plus_ms(20);
            if let Admission::Go(_permit) = throttle.admit(now) {
                sent += 1;
            }
        }
        assert_eq!(sent, 2);
        let text = serde_json::to_string(&throttle.snapshot(now)).expect("a snapshot is plain data");
        let snapshot = serde_json::from_str(&text).expect("what was written can be read");
        let mut throttle = Throttle::new(settings, Some(&snapshot), now);
        assert!(matches!(throttle.ready(now.plus_ms(50_000)), Readiness::NotBefore(_)));
        assert_eq!(throttle.ready(now.plus_ms(61_000)), Readiness::Now);
    }

    #[test]
    fn resets_that_come_too_early_again_and_again_are_only_the_least_wait() {
        let mut dice = fastrand::Rng::with_seed(1);
        let mut throttle = Throttle::new(Settings::default(), None, Timestamp(0));
        let mut now = Timestamp(1_000_000);
        let mut waits_ms = Vec::new();
        for _ in 0..6 {
            let Admission::Go(permit) = throttle.admit(now) else { panic!("the wait has passed") };
            let quota = super::super::QuotaSpent { reset_at: now.plus_ms(1_000), header: "x-ratelimit-remaining" };
            let hints = Hints { quota_spent: Some(quota), ..Hints::default() };
            throttle.finish(permit, &Feedback::Refused(hints), now, &mut dice);
            let (at, _) = throttle.embargo(now).expect("it is closed");
            waits_ms.push(at.since_ms(now));
            now = at;
        }
        assert!(waits_ms[..2].iter().all(|wait_ms| (1_000..1_050).contains(wait_ms)), "{waits_ms:?}");
        assert!(waits_ms[2..].iter().all(|&wait_ms| wait_ms >= 1_000), "{waits_ms:?}");
        assert!(waits_ms[5] > 10_000, "{waits_ms:?}");
    }

    #[test]
    fn the_crawl_delay_makes_requests_serial() {
        let mut dice = fastrand::Rng::with_seed(1);
        let mut throttle = Throttle::new(Settings::default(), None, Timestamp(0));
        throttle.set_crawl_delay(Some(3_000));
        let now = Timestamp(1_000_000);
        let Admission::Go(permit) = throttle.admit(now) else { panic!("a new scope admits") };
        assert!(matches!(throttle.admit(now.plus_ms(500)), Admission::Full));
        throttle.finish(permit, &Feedback::Answered(Hints::default()), now.plus_ms(600), &mut dice);
        let Admission::NotBefore(at) = throttle.admit(now.plus_ms(700)) else { panic!("the delay holds") };
        assert_eq!(at, now.plus_ms(3_600));
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_back_nothing_goes_before_the_embargo_or_beyond_the_window(
            seed in 0_u64..1_000,
            steps in proptest::collection::vec((0_u8..7, 0_u64..5_000), 1..200),
        ) {
            let settings = Settings { rate_max_per_s: None, concurrency_max: 5, ..Settings::default() };
            let mut dice = fastrand::Rng::with_seed(seed);
            let mut now = Timestamp(1_000_000);
            let mut throttle = Throttle::new(settings, None, now);
            let mut out: Vec<Permit> = Vec::new();
            let mut announced = Timestamp::EPOCH;
            for (what, ms) in steps {
                now = now.plus_ms(ms / 10);
                if what < 3 {
                    if let Admission::Go(permit) = throttle.admit(now) {
                        proptest::prop_assert!(now >= announced);
                        out.push(permit);
                        proptest::prop_assert!(out.len() <= 5);
                    }
                } else if !out.is_empty() {
                    let permit = out.swap_remove(dice.usize(0..out.len()));
                    let feedback = match what {
                        3 => {
                            announced = announced.max(now.plus_ms(ms + 1));
                            Feedback::Refused(Hints { retry_at: Some(now.plus_ms(ms + 1)), ..Hints::default() })
                        }
                        4 => Feedback::Overloaded,
                        5 if ms % 2 == 0 => Feedback::Silent("nothing came".to_owned()),
                        5 => Feedback::Unreachable("refused".to_owned()),
                        _ => Feedback::Answered(Hints::default()),
                    };
                    throttle.finish(permit, &feedback, now, &mut dice);
                }
                proptest::prop_assert_eq!(throttle.in_flight() as usize, out.len());
            }
        }
    }
}
