//! What the learner makes of limiters that answer at once. Those behind a network are in `tests/limits`.

use crate::clock::Timestamp;
use crate::throttle::test_server::{Run, START, bucket, run, window};
use crate::throttle::{Admission, Feedback, Hints, Order, Readiness, Said, Settings, Shape, Snapshot, Throttle};

fn throttle(snapshot: Option<&Snapshot>, now: Timestamp) -> Throttle {
    Throttle::new(Settings { rate_max_per_s: None, ..Settings::default() }, snapshot, now)
}

#[track_caller]
fn finds_bucket(per_s: f64, burst: f64, seconds: u64, best: u32) {
    let mut throttle = throttle(None, START);
    let Run { accepted, refused, now, .. } = run(&mut bucket(per_s, burst), &mut throttle, START, seconds);
    let words = throttle.describe();
    assert!(words.starts_with("token bucket"), "{words}");
    let limit = throttle.snapshot(now).limit_per_s;
    assert!((limit / per_s - 1.0).abs() < 0.01, "{limit}/s for {per_s}/s: {words}");
    assert!(f64::from(accepted) >= 0.97 * f64::from(best), "{accepted} of {best}");
    assert!(refused <= 14 + accepted / 200, "{refused} refused of {accepted}: {words}");
}

#[test]
fn a_bucket_is_found_by_its_refusals() {
    finds_bucket(10.0, 20.0, 300, 3_020);
    finds_bucket(2.0, 50.0, 900, 1_850);
}

#[test]
fn a_window_of_the_servers_clock_is_found_by_its_refusals() {
    let mut throttle = throttle(None, START);
    let Run { accepted, refused, .. } = run(&mut window(100, 60_000), &mut throttle, START, 900);
    let words = throttle.describe();
    assert!(words.starts_with("fixed window, 100 in 60 s (1.67/s)"), "{words}");
    assert!(accepted >= 1_552, "{accepted} of 1,600");
    // That a window of half the length is not the truth it never finds out here, and asks once a window.
    assert!(refused <= 14 + accepted / 100, "{refused} refused of {accepted}: {words}");
}

#[test]
fn what_was_learned_comes_back_from_the_database() {
    for mut server in [bucket(10.0, 20.0), window(100, 60_000)] {
        let mut throttle = throttle(None, START);
        let Run { now, .. } = run(&mut server, &mut throttle, START, 200);
        let saved = throttle.snapshot(now);
        let json = serde_json::to_string(&saved).expect("a snapshot is JSON");
        assert_eq!(serde_json::from_str::<Snapshot>(&json).expect("and comes back"), saved, "{json}");
    }
}

#[test]
fn a_bucket_that_is_known_costs_no_second_lesson() {
    let mut server = bucket(10.0, 20.0);
    let mut first = throttle(None, START);
    let Run { now, .. } = run(&mut server, &mut first, START, 300);
    let mut second = throttle(Some(&first.snapshot(now)), now);
    let Run { accepted, refused, .. } = run(&mut server, &mut second, now, 120);
    assert!(accepted >= 1_164, "{accepted} of 1,200");
    assert!(refused * 100 <= accepted, "{refused} refused of {accepted}: {}", second.describe());
}

#[test]
fn most_of_a_window_that_is_known_is_spent_at_once_after_a_restart() {
    let mut server = window(100, 60_000);
    let mut first = throttle(None, START);
    let Run { now, .. } = run(&mut server, &mut first, START, 300);
    assert!(first.is_settled(), "{}", first.describe());
    // A second into the next window but one.
    let later = Timestamp((now.0 / 60_000 + 2) * 60_000 + 1_000);
    let mut second = throttle(Some(&first.snapshot(now)), later);
    let Run { accepted, refused, .. } = run(&mut server, &mut second, later, 8);
    // At four times its rate it would be 54.
    assert!(accepted >= 80, "{accepted} of 100: {}", second.describe());
    assert_eq!(refused, 0);
}

#[test]
fn a_clock_that_went_back_does_not_close_a_scope_until_it_is_there_again() {
    for mut server in [bucket(10.0, 20.0), window(100, 60_000)] {
        let mut first = throttle(None, START.plus_ms(86_400_000));
        let Run { now: late, .. } = run(&mut server, &mut first, START.plus_ms(86_400_000), 300);
        // The last run's clock was a day ahead. Its embargo is the gate's affair.
        let saved = Snapshot { not_before_at: Timestamp::EPOCH, ..first.snapshot(late) };
        let mut second = throttle(Some(&saved), START);
        let mut now = START;
        for _ in 0..10 {
            if let Admission::NotBefore(at) = second.admit(now) {
                now = at;
            }
        }
        assert!(now.since_ms(START) < 120_000, "closed for {} ms", now.since_ms(START));
    }
}

#[test]
fn refusals_before_the_first_answer_teach_nothing() {
    let mut dice = fastrand::Rng::with_seed(1);
    let mut throttle = throttle(None, START);
    let mut now = START;
    for attempt in 0..6 {
        while let Readiness::NotBefore(at) = throttle.ready(now) {
            now = at;
        }
        let Admission::Go(permit) = throttle.admit(now) else { panic!("it is time") };
        let feedback = if attempt < 5 { Feedback::Overloaded } else { Feedback::Answered(Hints::default()) };
        throttle.finish(permit, &feedback, now.plus_ms(5), &mut dice);
        now = now.plus_ms(5);
    }
    assert_eq!(throttle.describe(), "no limit met");
}

#[test]
fn an_unfinished_search_goes_on_over_a_restart() {
    let (mut server, mut first) = (bucket(10.0, 20.0), throttle(None, START));
    let (mut now, mut met) = (START, 0);
    while met == 0 {
        let Run { refused, now: later, .. } = run(&mut server, &mut first, now, 1);
        (now, met) = (later, refused);
    }
    assert!(!first.is_settled());
    let saved = first.snapshot(now);
    let json = serde_json::to_string(&saved).expect("a snapshot is JSON");
    let restored = serde_json::from_str(&json).expect("and comes back");
    let mut second = throttle(Some(&restored), now);
    let Run { refused, now, .. } = run(&mut server, &mut second, now, 60);
    assert!(second.is_settled(), "{}", second.describe());
    let limit = second.snapshot(now).limit_per_s;
    assert!((limit - 10.0).abs() < 0.2, "{limit}");
    assert!(refused <= 6, "{refused} refused");
}

#[test]
fn what_was_seen_before_the_limit_is_known_is_seen_after_a_restart() {
    let mut learner = super::Learner::new();
    for step in 0..40 {
        let number = learner.on_sent(1e12 + f64::from(step) * 100.0, false);
        learner.on_accepted(number, 1e12 + f64::from(step) * 100.0, 1e12 + f64::from(step) * 100.0, false);
    }
    let number = learner.on_sent(1e12 + 4_000.0, false);
    learner.on_touched(number, 1e12 + 4_000.0, 1e12 + 4_000.0, None);
    let restored = super::Learner::restored(&learner.memory(0), 1e12 + 4_000.0, 1e12 + 4_000.0);
    let seen = |learner: &super::Learner| {
        let shots = learner.evidence.known();
        (shots.iter().map(|shot| shot.count).sum::<u32>(), learner.evidence.closures().len(), learner.is_closed)
    };
    assert_eq!((seen(&restored), seen(&learner)), ((41, 1, true), (41, 1, true)));
}

#[test]
fn an_outage_that_comes_again_after_a_few_requests_speaks_against_the_limit() {
    // Who goes faster than ten a second is shut out for twenty seconds, and told each time to come back in one.
    let (mut server, mut dice) = (bucket(10.0, 20.0), fastrand::Rng::with_seed(1));
    let mut throttle = throttle(None, START);
    throttle.obey(&Order::Set(Said { rate_per_s: 30.0, shape: Shape::Burst(20.0) }), START);
    let (mut now, mut shut_until, mut late) = (START, START, 0);
    while now.since_ms(START) < 3_600_000 {
        match throttle.admit(now) {
            Admission::Go(permit) => {
                let admits = now >= shut_until && server(now);
                if !admits && now >= shut_until {
                    shut_until = now.plus_ms(20_000);
                }
                now = now.plus_ms(5);
                let hints = Hints { retry_at: Some(now.plus_ms(1_000)), ..Hints::default() };
                let feedback = if admits { Feedback::Answered(Hints::default()) } else { Feedback::Refused(hints) };
                late += u32::from(!admits && now.since_ms(START) >= 1_800_000);
                throttle.finish(permit, &feedback, now, &mut dice);
            }
            Admission::NotBefore(at) => now = at,
            Admission::Full => unreachable!("one request at a time"),
        }
    }
    let words = throttle.describe();
    assert!(!words.contains("said by hand"), "{words}");
    assert!(late <= 30, "{late} refused in the second half: {words}");
}
