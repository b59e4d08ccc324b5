//! What people see of a throttle, and what they say to it, against limiters that answer at once.

use crate::clock::Timestamp;

use super::test_server::{START, Server, bucket, run, window};
use super::{Admission, Feedback, Hints, News, Order, Said, Settings, Shape, Throttle};

fn throttle() -> Throttle {
    courteous(1.0)
}

fn courteous(courtesy: f64) -> Throttle {
    Throttle::new(Settings { rate_max_per_s: None, courtesy, ..Settings::default() }, None, START)
}

#[test]
fn a_host_that_never_answered_has_nothing_to_show() {
    let mut dice = fastrand::Rng::with_seed(1);
    let mut throttle = throttle();
    let Admission::Go(permit) = throttle.admit(START) else { panic!("the first request goes") };
    throttle.finish(permit, &Feedback::Unreachable("no such host".into()), START.plus_ms(5), &mut dice);
    let snapshot = throttle.snapshot(START.plus_ms(5));
    assert_eq!((snapshot.rate_per_s, snapshot.concurrency), (0.0, 0.0));
    assert_eq!((throttle.learned(), throttle.seen_at()), (None, None));

    let at = START.plus_ms(10_000);
    let Admission::Go(permit) = throttle.admit(at) else { panic!("the wait is over") };
    throttle.finish(permit, &Feedback::Answered(Hints::default()), at, &mut dice);
    assert!(throttle.snapshot(at).rate_per_s > 0.0);
    assert_eq!((throttle.learned().as_deref(), throttle.seen_at()), (Some("no limit met"), Some(at)));
}

#[test]
fn a_limit_is_news_when_it_is_found_and_when_it_changes() {
    let mut throttle = throttle();
    let first = run(&mut bucket(10.0, 20.0), &mut throttle, START, 300);
    let found = first.news.iter().filter(|news| **news != News::Renamed).count();
    assert_eq!((first.news[0], found), (News::Found, 1), "{:?}", first.news);
    let words = throttle.learned().expect("it has answered");
    assert!(words.starts_with("token bucket, 10.0/s, burst 2"), "{words}");

    let second = run(&mut bucket(4.0, 20.0), &mut throttle, first.now, 300);
    assert!(second.news.contains(&News::Changed), "{:?}", second.news);
    assert!(second.news.len() <= 4, "{:?}", second.news);

    // A restart is no news.
    let mut again = Throttle::new(Settings::default(), Some(&throttle.snapshot(second.now)), second.now);
    assert_eq!(again.take_news(), None);
}

fn set(rate_per_s: f64, shape: Shape) -> Order {
    Order::Set(Said { rate_per_s, shape })
}

#[test]
fn what_is_forgotten_leaves_the_embargo_and_what_is_in_flight_teaches_nothing() {
    let mut dice = fastrand::Rng::with_seed(1);
    let mut throttle = throttle();
    let learned = run(&mut bucket(10.0, 20.0), &mut throttle, START, 300);
    let mut now = learned.now;
    let mut permits = Vec::new();
    while permits.len() < 2 {
        match throttle.admit(now) {
            Admission::Go(permit) => permits.push(permit),
            Admission::NotBefore(at) => now = at,
            Admission::Full => panic!("two may be in flight"),
        }
    }
    let refusal = Feedback::Refused(Hints { retry_at: Some(now.plus_ms(60_000)), ..Hints::default() });
    throttle.finish(permits.pop().expect("two were admitted"), &refusal, now.plus_ms(5), &mut dice);
    let embargo_at = throttle.embargo(now.plus_ms(5)).expect("the server asked for it").0;
    throttle.obey(&Order::Forget, now.plus_ms(6));
    throttle.finish(permits.pop().expect("and one is left"), &refusal, now.plus_ms(7), &mut dice);
    assert_eq!(throttle.belief(), None);
    assert!(matches!(throttle.admit(now.plus_ms(8)), Admission::NotBefore(at) if at >= embargo_at));

    // It is found again.
    let again = run(&mut bucket(10.0, 20.0), &mut throttle, embargo_at, 300);
    assert!(again.news.contains(&News::Found), "{:?}", again.news);
    let limit = throttle.snapshot(again.now).limit_per_s;
    assert!((limit - 10.0).abs() < 0.2, "{limit}");
}

#[test]
fn a_limit_that_was_said_is_kept_from_the_first_request_on_and_over_a_restart() {
    let mut throttle = throttle();
    throttle.obey(&set(100.0 / 60.0, Shape::WindowMs(60_000.0)), START);
    assert_eq!(throttle.learned().as_deref(), Some("sliding window, 100 in 60 s (1.67/s), said by hand"));
    let mut server = bucket(1_000.0, 1_000.0);
    let first = run(&mut server, &mut throttle, START, 10);
    let mut again = Throttle::new(Settings::default(), Some(&throttle.snapshot(first.now)), first.now);
    let second = run(&mut server, &mut again, first.now, 40);
    assert!(first.accepted >= 30 && first.now < START.plus_ms(15_000), "{}", first.accepted);
    assert!((90..=100).contains(&(first.accepted + second.accepted)), "{} and {}", first.accepted, second.accepted);
    assert_eq!(again.learned().as_deref(), Some("sliding window, 100 in 60 s (1.67/s), said by hand"));

    let mut even = self::throttle();
    even.obey(&set(10.0, Shape::Burst(1.0)), START);
    let run = run(&mut bucket(10.0, 2.0), &mut even, START, 20);
    assert!(run.refused == 0 && run.accepted >= 190, "{} refused of {}", run.refused, run.accepted);
}

#[test]
fn evidence_overrules_what_was_said() {
    let mut too_fast = throttle();
    too_fast.obey(&set(20.0, Shape::Burst(5.0)), START);
    let after = run(&mut bucket(5.0, 5.0), &mut too_fast, START, 300);
    let limit = too_fast.snapshot(after.now).limit_per_s;
    assert!((limit - 5.0).abs() < 0.1, "{limit}: {}", too_fast.describe());
    assert!(after.news.contains(&News::Changed), "{:?}", after.news);

    let mut too_slow = throttle();
    too_slow.obey(&set(2.0, Shape::Burst(5.0)), START);
    let mut server = bucket(10.0, 20.0);
    let first = run(&mut server, &mut too_slow, START, 400);
    let second = run(&mut server, &mut too_slow, first.now, 100);
    assert!(second.accepted >= 900, "{} in 100 s: {}", second.accepted, too_slow.describe());
}

/// Learns for `learning_s`, then counts what is accepted in `seconds`, of which a restart lies in the middle.
#[track_caller]
fn takes(server: &mut Server, courtesy: f64, learning_s: u64, seconds: u64, expected: std::ops::RangeInclusive<u32>) {
    let mut throttle = courteous(courtesy);
    let learned = run(server, &mut throttle, START, learning_s);
    let words = throttle.describe();
    let first = run(server, &mut throttle, learned.now, seconds / 2);
    let settings = Settings { rate_max_per_s: None, courtesy, ..Settings::default() };
    let mut again = Throttle::new(settings, Some(&throttle.snapshot(first.now)), first.now);
    let second = run(server, &mut again, first.now, seconds / 2);
    let accepted = first.accepted + second.accepted;
    assert!(expected.contains(&accepted), "{accepted} at {courtesy} of {words}");
    assert!(first.refused + second.refused <= 1, "{} and {} refused of {words}", first.refused, second.refused);
    let per_s = again.snapshot(second.now).rate_per_s;
    assert!(
        (per_s * f64::from(u32::try_from(seconds).unwrap_or(0)) / f64::from(accepted) - 1.0).abs() < 0.15,
        "{per_s}/s is told"
    );
}

#[test]
fn gentle_takes_half_of_a_bucket() {
    takes(&mut bucket(10.0, 20.0), 0.5, 300, 400, 1_900..=2_010);
    takes(&mut bucket(10.0, 20.0), 0.8, 300, 400, 3_040..=3_210);
    takes(&mut bucket(4.0, 1.2), 0.5, 300, 400, 760..=810);
}

#[test]
fn gentle_takes_half_of_a_window() {
    takes(&mut window(100, 60_000), 0.5, 900, 1_200, 900..=1_050);
    takes(&mut window(20, 1_000), 0.5, 300, 200, 1_850..=2_010);
}

#[test]
fn gentle_goes_slower_before_it_knows_anything() {
    let mut server: Server = Box::new(|_| true);
    let close = run(&mut server, &mut courteous(1.0), START, 3).accepted;
    let gentle = run(&mut server, &mut courteous(0.5), START, 3).accepted;
    assert!(gentle * 3 < close * 2, "{gentle} and {close}");
}

#[test]
fn gentle_leaves_half_of_a_quota_that_the_server_declares() {
    let mut dice = fastrand::Rng::with_seed(1);
    let mut throttle = courteous(0.5);
    let (mut now, mut sent) = (START, 0_u32);
    // 17 s into the minute; the quota is for whole ones.
    let reset_at = Timestamp(START.0 / 60_000 * 60_000 + 60_000);
    let closed_until = loop {
        match throttle.admit(now) {
            Admission::Go(permit) => {
                sent += 1;
                now = now.plus_ms(5);
                let headers = [
                    ("x-ratelimit-limit", "40".to_owned()),
                    ("x-ratelimit-remaining", (40 - sent).to_string()),
                    ("x-ratelimit-reset", (reset_at.0 / 1_000).to_string()),
                ];
                let pairs: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let hints = Hints::read(&crate::exchange::Headers::from_pairs(pairs), now);
                throttle.finish(permit, &Feedback::Answered(hints), now, &mut dice);
            }
            Admission::NotBefore(at) if at.since_ms(now) > 1_000 => break at,
            Admission::NotBefore(at) => now = at,
            Admission::Full => panic!("one at a time"),
        }
    };
    assert_eq!((sent, closed_until), (20, reset_at));
    let why = throttle.embargo(now).expect("it is closed").1;
    assert_eq!(why, "x-ratelimit-remaining said that our share of the quota is spent (courtesy)");
}

#[test]
fn gentle_takes_half_of_a_cap_on_concurrency() {
    let snapshot =
        super::Snapshot { cap: 9.0, concurrency: 9.0, saved_at: START, seen_at: START, ..Default::default() };
    let settings = Settings { concurrency_max: 32, courtesy: 0.5, ..Settings::default() };
    assert_eq!(Throttle::new(settings, Some(&snapshot), START).at_once(), 4);
    assert_eq!(Throttle::new(Settings { courtesy: 1.0, ..settings }, Some(&snapshot), START).at_once(), 9);
}

const DAY_MS: u64 = 24 * 3_600_000;

/// What a bucket of `per_s` is found to be after one of 10/s was learned, and nothing was sent for eight days.
#[track_caller]
fn measures_anew(per_s: f64, restarts: bool) {
    let mut throttle = throttle();
    let learned = run(&mut bucket(10.0, 20.0), &mut throttle, START, 300);
    let later = learned.now.plus_ms(8 * DAY_MS);
    if restarts {
        // Written anew in the meantime by a run that could not reach the host.
        let seen = throttle.snapshot(learned.now.plus_ms(7 * DAY_MS));
        let settings = Settings { rate_max_per_s: None, ..Settings::default() };
        throttle = Throttle::new(settings, Some(&seen), later);
    }
    assert!(matches!(throttle.ready(later), super::Readiness::Now));
    let words = throttle.describe();
    assert!(words.starts_with("token bucket, 10.0/s, burst 2") && words.contains("too old to be sure"), "{words}");
    assert!(throttle.snapshot(later).limit_per_s <= 0.0, "it is not known any more");
    let after = run(&mut bucket(per_s, 20.0), &mut throttle, later, 300);
    let limit = throttle.snapshot(after.now).limit_per_s;
    assert!((limit / per_s - 1.0).abs() < 0.03, "{limit} for {per_s}: {}", throttle.describe());
    assert!(f64::from(after.accepted) > 0.85 * 300.0 * per_s, "{} accepted at {per_s}", after.accepted);
    assert!(after.refused <= 14 + after.accepted / 100, "{} refused at {per_s}", after.refused);
}

#[test]
fn what_is_older_than_a_week_is_measured_anew() {
    for per_s in [5.0, 10.0, 20.0] {
        measures_anew(per_s, true);
        measures_anew(per_s, false);
    }
}

#[test]
fn what_is_younger_than_a_week_is_relied_on() {
    let mut throttle = throttle();
    let learned = run(&mut bucket(10.0, 20.0), &mut throttle, START, 300);
    let later = learned.now.plus_ms(6 * DAY_MS);
    let settings = Settings { rate_max_per_s: None, ..Settings::default() };
    let mut again = Throttle::new(settings, Some(&throttle.snapshot(learned.now)), later);
    assert!(again.is_settled() && again.snapshot(later).limit_per_s > 9.9);
    // But with more room for what may have changed.
    assert!(again.snapshot(later).rate_per_s < 0.96 * throttle.snapshot(learned.now).rate_per_s);
    assert!(matches!(again.ready(later), super::Readiness::Now));
}
