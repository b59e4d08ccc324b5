//! What the gates do together.

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

#[test]
fn a_limit_that_counts_server_errors_is_found_at_its_own_rate() {
    let mut throttle =
        Throttle::new(Settings { rate_max_per_s: None, ..Settings::default() }, None, Timestamp(1_000_000));
    let (mut dice, mut now, mut level, mut filled_at) =
        (fastrand::Rng::with_seed(3), Timestamp(1_000_000), 40.0_f64, 1_000_000);
    // A bucket of 40/s; one in ten of what it lets pass is answered 500.
    for sent in 0..2_000 {
        let permit = loop {
            match throttle.admit(now) {
                Admission::Go(permit) => break permit,
                Admission::NotBefore(at) => now = at,
                Admission::Full => unreachable!("answers come at once"),
            }
        };
        level = (level + f64::from(i32::try_from(now.0 - filled_at).expect("a short run")) * 0.04).min(40.0);
        filled_at = now.0;
        let feedback = if level < 1.0 {
            Feedback::Refused(Hints::default())
        } else {
            level -= 1.0;
            if sent % 10 == 9 { Feedback::Failed } else { Feedback::Answered(Hints::default()) }
        };
        throttle.finish(permit, &feedback, now, &mut dice);
        now = now.plus_ms(1);
    }
    let limit = throttle.snapshot(now).limit_per_s;
    assert!((limit / 40.0 - 1.0).abs() < 0.02, "{limit}: {}", throttle.describe());
}
