//! Everything that a server can say about its limits, and the gate of what it declared: what must hold whatever it says.
//!
//! Used by the fuzz target `hints` and by `tests/it/hints.rs`.
//!
//! The input is text: the header fields of one answer after the other, with a blank line between two answers. A first line
//! `@K N` says what became of the answer, N ms after the one before: `+` answered, `-` refused, `<` answered before an older
//! request, `!` lost, `r` answered after a restart.

use trundle::clock::Timestamp;
use trundle::exchange::Headers;
use trundle::throttle::{
    Admission, Declared, Feedback, Hints, Profile, ProfileChoice, QUOTAS_MAX, RESET_MS_MAX, RETRY_MS_MAX, Settings,
    Throttle, profiles,
};

/// Tue, 24 Nov 2026 08:49:37 GMT.
const START: Timestamp = Timestamp(1_795_510_177_000);
/// Beyond a reset: the guard, and a second for servers that cut fractions off.
const GUARD_MS_MAX: u64 = 1_250;
/// Quotas that the gate keeps.
const KNOWN_MAX: usize = 4;

/// Beyond the longest wait that the user obeys: what keeps scopes apart that were told the same instant.
const SPREAD_MS_MAX: u64 = 1_000;

/// Reads `data` as answers and panics when something does not hold.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut gate = Declared::default();
    let mut open: Vec<u64> = Vec::new();
    let mut now = START;
    for answer in text.split("\n\n").take(64) {
        let (what, after_ms) = head(answer);
        now = now.plus_ms(after_ms);
        for _ in 0..=after_ms % 3 {
            open.push(gate.on_sent(now));
        }
        let fields = answer.lines().filter_map(|line| line.split_once(':')).take(64);
        let headers = Headers::from_pairs(fields);
        let hints = Hints::read(&headers, now);
        check_hints(&hints, now);
        check_profiles(&headers, answer.as_bytes());
        if what == b'r' {
            let saved = serde_json::to_string(&gate.save()).expect("it is plain data");
            gate = Declared::restore(&serde_json::from_str(&saved).expect("what was written can be read"), now);
            open = vec![gate.on_sent(now)];
        }
        let idx = if what == b'<' { open.pop() } else { Some(open.remove(0)) };
        let idx = idx.expect("at least one was sent");
        match what {
            b'-' => gate.on_refusal(idx, &hints, now),
            b'!' => gate.on_lost(idx),
            _ => gate.on_answer(idx, &hints, now),
        }
        check_gate(&gate, now);
        check_throttle(&hints, what == b'-', now);
    }
}

/// What became of an answer, and how many ms after the one before.
fn head(answer: &str) -> (u8, u64) {
    let Some(line) = answer.lines().next().and_then(|line| line.strip_prefix('@')) else { return (b'+', 100) };
    let (what, ms) = line.split_once(' ').unwrap_or((line, ""));
    (what.bytes().next().unwrap_or(b'+'), ms.trim().parse::<u64>().unwrap_or(100).min(RESET_MS_MAX))
}

fn check_hints(hints: &Hints, now: Timestamp) {
    let within = |at: Timestamp, most_ms: u64| at >= now && at.since_ms(now) <= most_ms;
    assert!(hints.retry_at.is_none_or(|at| at > now && within(at, RETRY_MS_MAX)), "{hints:?}");
    assert!(hints.retry_after.is_none_or(|said| said.wait_ms <= RETRY_MS_MAX), "{hints:?}");
    assert!(hints.quota_spent.as_ref().is_none_or(|spent| within(spent.reset_at, RESET_MS_MAX)), "{hints:?}");
    assert!(hints.quotas.len() <= QUOTAS_MAX, "{hints:?}");
    for quota in &hints.quotas {
        assert!(quota.reset_at.is_none_or(|at| within(at, RESET_MS_MAX)), "{quota:?}");
        assert!(quota.window_ms.is_none_or(|window_ms| (1..=RESET_MS_MAX).contains(&window_ms)), "{quota:?}");
        assert!(quota.limit.is_some() || quota.remaining.is_some(), "{quota:?}");
        check_text(&quota.name);
        check_text(&quota.header);
        check_text(quota.partition.as_deref().unwrap_or_default());
    }
    check_text(hints.resource.as_deref().unwrap_or_default());
    check_text(hints.reason.as_deref().unwrap_or_default());
}

/// A throttle waits no longer than the user lets servers ask for, whatever they ask for.
fn check_throttle(hints: &Hints, is_refused: bool, now: Timestamp) {
    for retry_after_max_ms in [0, 60_000, RETRY_MS_MAX] {
        let settings = Settings { retry_after_max_ms, rate_max_per_s: None, ..Settings::default() };
        let mut throttle = Throttle::new(settings, None, now);
        let Admission::Go(permit) = throttle.admit(now) else { panic!("nothing was sent yet") };
        let hints = hints.clone();
        let feedback = if is_refused { Feedback::Refused(hints) } else { Feedback::Answered(hints) };
        throttle.finish(permit, &feedback, now, &mut fastrand::Rng::with_seed(1));
        let wait_ms = throttle.embargo(now).map_or(0, |(at, _)| at.since_ms(now));
        assert!(wait_ms <= retry_after_max_ms.max(SPREAD_MS_MAX) + SPREAD_MS_MAX, "{wait_ms} ms, {feedback:?}");
    }
}

fn check_text(text: &str) {
    assert!(text.len() <= 64 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text:?}");
}

fn check_profiles(headers: &Headers, body: &[u8]) {
    let found = ProfileChoice::Auto.for_answer("api.example.org", headers);
    for profile in Profile::names().filter_map(Profile::named).chain(found) {
        for status in [200, 400, 403, 429, 503] {
            let refusal = profiles::classify(profile, status, headers, body);
            assert!(refusal.is_some() || status != 429);
        }
    }
}

fn check_gate(gate: &Declared, now: Timestamp) {
    let next_at = gate.next_at(now);
    assert!(next_at >= Timestamp::EPOCH && next_at.since_ms(now) <= RESET_MS_MAX + GUARD_MS_MAX, "{gate:?}");
    assert!(gate.rate(now).is_none_or(|rate| rate.is_finite() && rate > 0.0), "{gate:?}");
    assert!(gate.at_once().is_none_or(|at_once| at_once > 0), "{gate:?}");
    let words = gate.words(now).join("; ");
    assert!(words.len() <= 20 + KNOWN_MAX * 200 && words.is_ascii(), "{words}");
    // Some time later it may be closed for no longer than it was.
    let later = now.plus_ms(RESET_MS_MAX + GUARD_MS_MAX);
    assert!(gate.next_at(later).since_ms(later) <= 60_000, "{gate:?}");
}
