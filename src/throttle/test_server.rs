//! Limiters as servers keep them, and a client that asks its throttle; an answer takes 5 ms. Those behind a network are in
//! `tests/limits`.

use crate::clock::Timestamp;

use super::{Admission, Feedback, Hints, News, Throttle};

/// 17 s into a minute.
pub(super) const START: Timestamp = Timestamp(1_700_000_057_000);

/// A limiter, as a server keeps it: whether it admits a request now.
pub(super) type Server = Box<dyn FnMut(Timestamp) -> bool>;

#[expect(clippy::cast_precision_loss, reason = "test times are small")]
pub(super) fn bucket(per_s: f64, burst: f64) -> Server {
    let (mut queue, mut at) = (0.0_f64, START);
    Box::new(move |now| {
        queue = (queue - now.since_ms(at) as f64 / 1_000.0 * per_s).max(0.0);
        at = now;
        let admits = queue + 1.0 <= burst;
        queue += f64::from(u8::from(admits));
        admits
    })
}

pub(super) fn window(quota: u32, window_ms: i64) -> Server {
    let (mut index, mut count) = (0, 0);
    Box::new(move |now| {
        if now.0 / window_ms != index {
            (index, count) = (now.0 / window_ms, 0);
        }
        count += 1;
        count <= quota
    })
}

/// What a run brought.
pub(super) struct Run {
    pub accepted: u32,
    pub refused: u32,
    pub news: Vec<News>,
    pub now: Timestamp,
}

/// Sends for `seconds`; an answer takes 5 ms.
pub(super) fn run(server: &mut Server, throttle: &mut Throttle, from: Timestamp, seconds: u64) -> Run {
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
