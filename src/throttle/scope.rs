//! One limit scope: the three gates together.

use crate::clock::Timestamp;

use super::gate::{BREAKER_MS_MAX, BREAKER_SILENT_MS_MAX};
use super::{Gate, Hints, Pace, Settings, Snapshot, Window};

/// The right to send one request now. It must come back with what became of the request.
#[derive(Debug)]
#[must_use = "a permit that is not given back counts as a request in flight for ever"]
pub struct Permit {
    sent_at: Timestamp,
    in_flight: u32,
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

/// The throttle of one limit scope.
#[derive(Clone, Debug)]
pub struct Throttle {
    settings: Settings,
    gate: Gate,
    pace: Pace,
    window: Window,
    in_flight: u32,
    refused: u64,
}

impl Throttle {
    /// A throttle within the ceilings of `settings`, going on from `snapshot` if there is one.
    #[must_use]
    pub fn new(settings: Settings, snapshot: Option<&Snapshot>, now: Timestamp) -> Self {
        Self {
            gate: Gate::new(snapshot),
            pace: Pace::new(&settings, snapshot, now),
            window: Window::new(&settings, snapshot),
            settings,
            in_flight: 0,
            refused: 0,
        }
    }

    /// What robots.txt asks for; a ceiling like the user's own.
    pub fn set_crawl_delay(&mut self, crawl_delay_ms: Option<u64>) {
        self.pace.set_crawl_delay(crawl_delay_ms);
    }

    /// Asks for the right to send one request now.
    pub fn admit(&mut self, now: Timestamp) -> Admission {
        let not_before_at = self.gate.not_before_at().max(self.pace.next_at());
        if now < not_before_at {
            return Admission::NotBefore(not_before_at);
        }
        let at_once = if self.gate.is_doubtful() || self.pace.is_serial() { 1 } else { self.window.size() };
        if self.in_flight >= at_once {
            return Admission::Full;
        }
        self.in_flight += 1;
        self.pace.on_sent(now);
        Admission::Go(Permit { sent_at: now, in_flight: self.in_flight })
    }

    /// Gives a permit back with what became of its request.
    #[expect(clippy::needless_pass_by_value, reason = "a permit is used up")]
    pub fn finish(&mut self, permit: Permit, feedback: &Feedback, now: Timestamp, dice: &mut fastrand::Rng) {
        let Permit { sent_at, in_flight } = permit;
        self.in_flight = self.in_flight.checked_sub(1).expect("each permit is given back once");
        self.pace.on_finished(now);
        match feedback {
            Feedback::Answered(hints) => {
                self.gate.on_served(sent_at);
                self.pace.on_served();
                self.window.on_served(in_flight);
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
                let retry_at = hints.retry_at.map(|at| (at, "retry-after")).or(quota_at);
                self.on_refused(sent_at, in_flight, retry_at, now, dice);
            }
            Feedback::Overloaded => self.on_refused(sent_at, in_flight, None, now, dice),
            Feedback::Unreachable(why) => {
                self.gate.on_unreachable(sent_at, why, BREAKER_MS_MAX, now, &self.settings, dice);
            }
            Feedback::Silent(why) => {
                self.gate.on_unreachable(sent_at, why, BREAKER_SILENT_MS_MAX, now, &self.settings, dice);
            }
            Feedback::Broken => self.gate.on_answered(),
            Feedback::Stopped => {}
        }
    }

    fn on_refused(
        &mut self,
        sent_at: Timestamp,
        in_flight: u32,
        retry_at: Option<(Timestamp, &'static str)>,
        now: Timestamp,
        dice: &mut fastrand::Rng,
    ) {
        self.refused += 1;
        if self.gate.on_refused(sent_at, retry_at, now, &self.settings, dice) {
            self.pace.on_refused(now);
            self.window.on_refused(in_flight, retry_at.is_some());
        }
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
        self.pace.save(&mut snapshot);
        self.window.save(&mut snapshot);
        snapshot
    }

    /// What was learned, in words: `19.6/s, 8 at once, limit measured at 20.1/s, 14 refusals in this run`.
    #[must_use]
    pub fn describe(&self) -> String {
        let rate = self.pace.rate_per_s();
        let mut words = if rate >= 1_000.0 { "no pace needed".to_owned() } else { format!("{rate:.1}/s") };
        words.push_str(&format!(", {} at once", self.window.size()));
        if let Some(limit) = self.pace.limit_per_s() {
            words.push_str(&format!(", limit measured at {limit:.1}/s"));
        }
        if self.refused > 0 {
            words.push_str(&format!(", {} refused in this run", self.refused));
        }
        words
    }
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
