//! What a client that asks nothing but the gate gets out of a window that moves, as Flask-Limiter's does.

use std::collections::VecDeque;

use super::*;
use crate::exchange::Headers;

/// A third of a second into a second.
const START: Timestamp = Timestamp(1_795_510_177_333);

/// Flask-Limiter with `limit` in `window_ms`: its reset is that of the oldest request, in whole seconds, rounded up.
struct Server {
    limit: usize,
    window_ms: u64,
    taken: VecDeque<Timestamp>,
}

impl Server {
    fn take(&mut self, now: Timestamp) -> (bool, Hints) {
        while self.taken.front().is_some_and(|&at| now.since_ms(at) > self.window_ms) {
            self.taken.pop_front();
        }
        let is_accepted = self.taken.len() < self.limit;
        if is_accepted {
            self.taken.push_back(now);
        }
        let reset_s = self.taken.front().map_or(now, |&at| at).plus_ms(self.window_ms).0 / 1_000 + 1;
        let (limit, left) = (self.limit.to_string(), (self.limit - self.taken.len()).to_string());
        let reset = reset_s.to_string();
        let date = httpdate::fmt_http_date(
            std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(now.0).expect("after 1970") / 1_000),
        );
        let fields = [
            ("date", date.as_str()),
            ("x-ratelimit-limit", &limit),
            ("x-ratelimit-remaining", &left),
            ("x-ratelimit-reset", &reset),
        ];
        (is_accepted, Hints::read(&Headers::from_pairs(fields), now))
    }
}

/// Sends one after the other, each with a way of 4 ms, no faster than every `gap_ms`; accepted and refused in `ms`.
fn run(server: &mut Server, declared: &mut Declared, gap_ms: u64, from: Timestamp, ms: u64) -> (u32, u32) {
    let (mut now, mut accepted, mut refused) = (from, 0, 0);
    while now < from.plus_ms(ms) {
        let open_at = declared.next_at(now);
        if open_at > now {
            now = open_at;
            continue;
        }
        let idx = declared.on_sent(now);
        let (is_accepted, hints) = server.take(now.plus_ms(2));
        now = now.plus_ms(4);
        if is_accepted {
            accepted += 1;
            declared.on_answer(idx, &hints, now);
        } else {
            refused += 1;
            declared.on_refusal(idx, &hints, now);
        }
        now = now.plus_ms(gap_ms - 4);
    }
    (accepted, refused)
}

#[test]
fn a_window_that_moves_is_used_evenly_and_not_waited_for() {
    // Spent in three seconds, in one and in less: then all of it comes back at once, as with a window that begins anew.
    for gap_ms in [30, 10, 5] {
        let mut server = Server { limit: 100, window_ms: 5_000, taken: VecDeque::new() };
        let mut declared = Declared::default();
        let (accepted, refused) = run(&mut server, &mut declared, gap_ms, START, 40_000);
        assert!(accepted >= 715, "{accepted} of 800 at {gap_ms} ms");
        assert_eq!(refused, 0);
        // And from the start in the next run.
        let start = START.plus_ms(60_000);
        let mut declared = Declared::restore(&declared.save(), start);
        let (accepted, refused) = run(&mut server, &mut declared, gap_ms, start, 40_000);
        assert!(accepted >= 768, "{accepted} of 800 at {gap_ms} ms");
        assert_eq!(refused, 0);
    }
}

#[test]
fn a_window_that_begins_anew_is_not_taken_for_one_that_moves() {
    let mut declared = Declared::default();
    let (mut now, mut left, mut begun_at) = (START, 100_u32, START);
    for _ in 0..1_000 {
        now = now.max(declared.next_at(now));
        let idx = declared.on_sent(now);
        if now.since_ms(begun_at) >= 5_000 {
            (left, begun_at) = (100, now);
        }
        left -= 1;
        let reset = format!("{}ms", 5_000 - now.since_ms(begun_at));
        let left = left.to_string();
        let fields =
            [("x-ratelimit-limit", "100"), ("x-ratelimit-remaining", left.as_str()), ("x-ratelimit-reset", &reset)];
        declared.on_answer(idx, &Hints::read(&Headers::from_pairs(fields), now), now);
        now = now.plus_ms(10);
    }
    // Ten windows of 5 s and their guards, each spent in a second but for the one that is used evenly to find out.
    assert!(now.since_ms(START) <= 48_500, "{} ms", now.since_ms(START));
}
