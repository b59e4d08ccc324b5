//! That the gate keeps what servers of several kinds declare: a client that asks nothing but the gate is never refused.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::exchange::Headers;

/// A quarter of a second into a second, on our clock.
const START: Timestamp = Timestamp(1_795_510_177_250);

/// How a server counts.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Windows aligned to its clock.
    Aligned,
    /// A window begins with the first request after the last has ended.
    FirstHit,
    /// A bucket that is full again after the window.
    Bucket,
}

/// How it says when.
#[derive(Clone, Copy, Debug)]
enum Form {
    EpochS,
    EpochMs,
    Iso,
    HttpDate,
    WholeSeconds,
    Duration,
    Draft7,
    Draft8,
}

#[derive(Clone, Debug)]
struct Server {
    kind: Kind,
    form: Form,
    limit: i64,
    window_ms: i64,
    /// Its clock minus ours.
    skew_ms: i64,
    /// Where the window ends, and what was used of it; for a bucket when it will be full.
    until_ms: i64,
    used: i64,
}

impl Server {
    /// Takes a request at this instant of our clock: whether it was accepted, and what it says.
    fn take(&mut self, now: Timestamp) -> (bool, Vec<(&'static str, String)>) {
        let now_ms = now.0 + self.skew_ms;
        let accepted = match self.kind {
            Kind::Bucket => {
                let unit_ms = self.window_ms / self.limit;
                let full_ms = self.until_ms.max(now_ms) + unit_ms;
                let accepted = full_ms - now_ms <= unit_ms * self.limit;
                if accepted {
                    self.until_ms = full_ms;
                }
                // What is missing is what it takes to be full, rounded up.
                self.used = (self.until_ms - now_ms + unit_ms - 1) / unit_ms;
                accepted
            }
            Kind::Aligned | Kind::FirstHit => {
                if now_ms >= self.until_ms {
                    self.used = 0;
                    self.until_ms = match self.kind {
                        Kind::FirstHit => now_ms + self.window_ms,
                        _ => (now_ms / self.window_ms + 1) * self.window_ms,
                    };
                }
                let accepted = self.used < self.limit;
                self.used += i64::from(accepted);
                accepted
            }
        };
        (accepted, self.fields(now_ms))
    }

    fn fields(&self, now_ms: i64) -> Vec<(&'static str, String)> {
        let (limit, left) = (self.limit, self.limit - self.used);
        let wait_s = (self.until_ms - now_ms + 999) / 1_000;
        let date_of = |ms: i64| {
            let since = Duration::from_millis(u64::try_from(ms).expect("the epoch was long ago"));
            httpdate::fmt_http_date(UNIX_EPOCH + since)
        };
        let reset = match self.form {
            Form::EpochS => ((self.until_ms + 999) / 1_000).to_string(),
            Form::EpochMs => self.until_ms.to_string(),
            Form::Iso => chrono::DateTime::from_timestamp_millis(self.until_ms).expect("a date").to_rfc3339(),
            Form::HttpDate => date_of(self.until_ms + 999),
            Form::WholeSeconds => wait_s.to_string(),
            Form::Duration => format!("{}ms", self.until_ms - now_ms),
            Form::Draft7 => {
                let value = format!("limit={limit}, remaining={left}, reset={wait_s}");
                return vec![("date", date_of(now_ms)), ("ratelimit", value)];
            }
            Form::Draft8 => {
                let policy = format!("\"p\";q={limit};w={}", (self.window_ms + 999) / 1_000);
                let value = format!("\"p\"; r={left}; t={wait_s}");
                return vec![("date", date_of(now_ms)), ("ratelimit-policy", policy), ("ratelimit", value)];
            }
        };
        vec![
            ("date", date_of(now_ms)),
            ("x-ratelimit-limit", limit.to_string()),
            ("x-ratelimit-remaining", left.to_string()),
            ("x-ratelimit-reset", reset),
        ]
    }
}

/// What is under way.
enum Event {
    Arrives(u64),
    Answered(u64, bool, Vec<(&'static str, String)>),
}

/// What became of a client that sends whenever the gate is open.
#[derive(Debug)]
struct Ran {
    refused: u32,
    took_ms: u64,
    /// Whether anything went while the server had said that nothing is left.
    early: bool,
}

/// Sends `wanted` requests, at most `at_once` at a time, with ways of up to `way_ms` there and back.
fn run(mut server: Server, wanted: u64, at_once: u32, way_ms: u64, seed: u64) -> Ran {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut declared = Declared::default();
    let mut events: BTreeMap<(Timestamp, u64), Event> = BTreeMap::new();
    let (mut now, mut order, mut served, mut refused, mut in_flight) = (START, 0, 0_u64, 0, 0_u32);
    let mut is_known = false;
    let (mut spent_until, mut early) = (Timestamp::EPOCH, false);
    while served < wanted && now.since_ms(START) < 20_000_000 {
        let open_at = declared.next_at(now);
        // Nothing is known before the first answer, so one request goes first.
        let room = if is_known { at_once } else { 1 };
        if open_at <= now && in_flight < room {
            // A snapshot and a restart in the midst of it changes nothing when nothing is in flight.
            if in_flight == 0 && is_known && dice.u8(..) < 8 {
                declared = Declared::restore(&declared.save(), now);
            }
            early |= now < spent_until;
            let idx = declared.on_sent(now);
            in_flight += 1;
            order += 1;
            events.insert((now.plus_ms(dice.u64(0..=way_ms)), order), Event::Arrives(idx));
            continue;
        }
        let next_event = events.first_key_value().map(|(&(at, _), _)| at);
        if next_event.is_none_or(|at| open_at < at) && in_flight < room {
            now = open_at.max(now.plus_ms(1));
            continue;
        }
        let Some(((at, _), event)) = events.pop_first() else { break };
        now = now.max(at);
        match event {
            Event::Arrives(idx) => {
                let (accepted, fields) = server.take(now);
                if server.used == server.limit && !matches!(server.kind, Kind::Bucket) && in_flight == 1 {
                    spent_until = Timestamp(server.until_ms - server.skew_ms);
                }
                order += 1;
                let back_at = now.plus_ms(dice.u64(0..=way_ms));
                events.insert((back_at, order), Event::Answered(idx, accepted, fields));
            }
            Event::Answered(idx, accepted, fields) => {
                in_flight -= 1;
                is_known = true;
                let hints = Hints::read(&Headers::from_pairs(fields), now);
                if accepted {
                    served += 1;
                    declared.on_answer(idx, &hints, now);
                } else {
                    refused += 1;
                    declared.on_refusal(idx, &hints, now);
                }
            }
        }
    }
    Ran { refused, took_ms: now.since_ms(START), early }
}

fn kinds() -> impl Strategy<Value = Kind> {
    proptest::sample::select(vec![Kind::Aligned, Kind::FirstHit, Kind::Bucket])
}

fn forms() -> impl Strategy<Value = Form> {
    proptest::sample::select(vec![
        Form::EpochS,
        Form::EpochMs,
        Form::Iso,
        Form::HttpDate,
        Form::WholeSeconds,
        Form::Duration,
        Form::Draft7,
        Form::Draft8,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_client_that_asks_the_gate_is_never_refused_and_never_early(
        kind in kinds(),
        form in forms(),
        limit in 1_i64..60,
        window_s in 1_i64..120,
        skew_ms in -90_000_i64..90_000,
        at_once in 1_u32..12,
        way_ms in 0_u64..400,
        seed: u64,
    ) {
        let server = Server { kind, form, limit, window_ms: window_s * 1_000, skew_ms, until_ms: 0, used: 0 };
        let wanted = 150;
        let ran = run(server, wanted, at_once, way_ms, seed);
        prop_assert_eq!((ran.refused, ran.early), (0, false), "{:?}", ran);
        // And it gets on: no window is left out. A second of each is lost to whole seconds, and the guard.
        let windows = wanted / u64::try_from(limit).unwrap_or(1) + 2;
        let window_ms = u64::try_from(window_s).unwrap_or(1) * 1_000;
        prop_assert!(ran.took_ms <= windows * (window_ms + 2_300 + 2 * way_ms) + wanted * 2 * way_ms, "{:?}", ran);
    }
}
