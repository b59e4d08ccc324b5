//! What people see of a throttle, and what they say to it, against limiters that answer at once.

use crate::clock::Timestamp;

use super::{Admission, Feedback, Hints, News, Order, Said, Settings, Shape, Throttle};

const START: Timestamp = Timestamp(1_700_000_057_000);

/// A limiter, as a server keeps it: whether it admits a request now.
type Server = Box<dyn FnMut(Timestamp) -> bool>;

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

fn throttle() -> Throttle {
    Throttle::new(Settings { rate_max_per_s: None, ..Settings::default() }, None, START)
}

/// What a run brought.
struct Run {
    accepted: u32,
    refused: u32,
    news: Vec<News>,
    now: Timestamp,
}

/// Sends for `seconds`; an answer takes 5 ms.
fn run(server: &mut Server, throttle: &mut Throttle, from: Timestamp, seconds: u64) -> Run {
    let mut dice = fastrand::Rng::with_seed(11);
    let mut run = Run { accepted: 0, refused: 0, news: Vec::new(), now: from };
    while run.now < from.plus_ms(seconds * 1_000) {
        match throttle.admit(run.now) {
            Admission::Go(permit) => {
                let admits = server(run.now);
                run.now = run.now.plus_ms(5);
                let feedback =
                    if admits { Feedback::Answered(Hints::default()) } else { Feedback::Refused(Hints::default()) };
                run.accepted += u32::from(admits);
                run.refused += u32::from(!admits);
                throttle.finish(permit, &feedback, run.now, &mut dice);
                run.news.extend(throttle.take_news());
            }
            Admission::NotBefore(at) => run.now = at,
            Admission::Full => unreachable!("one request at a time"),
        }
    }
    run
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
