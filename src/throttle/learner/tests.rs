//! What the learner makes of limiters that answer at once. Those behind a network are in `tests/limits`.

use crate::clock::Timestamp;
use crate::throttle::{Admission, Feedback, Hints, Readiness, Settings, Snapshot, Throttle};

/// A limiter, as a server keeps it: whether it admits a request now.
type Server = Box<dyn FnMut(Timestamp) -> bool>;

/// 17 s into a minute.
const START: Timestamp = Timestamp(1_700_000_057_000);

#[expect(clippy::cast_precision_loss, reason = "test times are small")]
fn bucket(per_s: f64, burst: f64) -> Server {
    let (mut queue, mut at) = (0.0_f64, START);
    Box::new(move |now| {
        queue = (queue - now.since_ms(at) as f64 / 1_000.0 * per_s).max(0.0);
        at = now;
        let admits = queue + 1.0 <= burst;
        queue += f64::from(u8::from(admits));
        admits
    })
}

fn window(quota: u32, window_ms: i64) -> Server {
    let (mut index, mut count) = (0, 0);
    Box::new(move |now| {
        if now.0 / window_ms != index {
            (index, count) = (now.0 / window_ms, 0);
        }
        count += u32::from(count < quota) + u32::from(count == quota);
        count <= quota
    })
}

fn throttle(snapshot: Option<&Snapshot>, now: Timestamp) -> Throttle {
    Throttle::new(Settings { rate_max_per_s: None, ..Settings::default() }, snapshot, now)
}

/// Sends for `seconds`; `(accepted, refused, now)`. An answer takes 5 ms.
fn run(server: &mut Server, throttle: &mut Throttle, from: Timestamp, seconds: u64) -> (u32, u32, Timestamp) {
    let mut dice = fastrand::Rng::with_seed(11);
    let (mut now, mut accepted, mut refused) = (from, 0, 0);
    while now < from.plus_ms(seconds * 1_000) {
        match throttle.admit(now) {
            Admission::Go(permit) => {
                let admits = server(now);
                now = now.plus_ms(5);
                let feedback =
                    if admits { Feedback::Answered(Hints::default()) } else { Feedback::Refused(Hints::default()) };
                accepted += u32::from(admits);
                refused += u32::from(!admits);
                throttle.finish(permit, &feedback, now, &mut dice);
            }
            Admission::NotBefore(at) => now = at,
            Admission::Full => unreachable!("one request at a time"),
        }
    }
    (accepted, refused, now)
}

#[track_caller]
fn finds_bucket(per_s: f64, burst: f64, seconds: u64, best: u32) {
    let mut throttle = throttle(None, START);
    let (accepted, refused, now) = run(&mut bucket(per_s, burst), &mut throttle, START, seconds);
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
    let (accepted, refused, _) = run(&mut window(100, 60_000), &mut throttle, START, 900);
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
        let (_, _, now) = run(&mut server, &mut throttle, START, 200);
        let saved = throttle.snapshot(now);
        let json = serde_json::to_string(&saved).expect("a snapshot is JSON");
        assert_eq!(serde_json::from_str::<Snapshot>(&json).expect("and comes back"), saved, "{json}");
    }
}

#[test]
fn a_bucket_that_is_known_costs_no_second_lesson() {
    let mut server = bucket(10.0, 20.0);
    let mut first = throttle(None, START);
    let (_, _, now) = run(&mut server, &mut first, START, 300);
    let mut second = throttle(Some(&first.snapshot(now)), now);
    let (accepted, refused, _) = run(&mut server, &mut second, now, 120);
    assert!(accepted >= 1_164, "{accepted} of 1,200");
    assert!(refused * 100 <= accepted, "{refused} refused of {accepted}: {}", second.describe());
}

#[test]
fn a_clock_that_went_back_does_not_close_a_scope_until_it_is_there_again() {
    for mut server in [bucket(10.0, 20.0), window(100, 60_000)] {
        let mut first = throttle(None, START.plus_ms(86_400_000));
        let (_, _, late) = run(&mut server, &mut first, START.plus_ms(86_400_000), 300);
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
