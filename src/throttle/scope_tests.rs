//! What people see of a throttle, and what they say to it, against limiters that answer at once.

use crate::clock::Timestamp;

use super::{Admission, Feedback, Hints, News, Settings, Throttle};

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
