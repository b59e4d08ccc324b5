//! What the gate of declared quotas does, as facts.

use super::*;
use crate::exchange::Headers;

/// Tue, 24 Nov 2026 08:49:37 GMT, on the server's clock as on ours.
const START: Timestamp = Timestamp(1_795_510_177_000);

fn hints(fields: &[(&str, &str)], now: Timestamp) -> Hints {
    Hints::read(&Headers::from_pairs(fields.iter().copied()), now)
}

/// The hints of a quota of requests that resets in `reset_ms`, to the millisecond.
fn quota(limit: u32, remaining: u32, reset_ms: u64, now: Timestamp) -> Hints {
    let (limit, remaining, reset) = (limit.to_string(), remaining.to_string(), format!("{reset_ms}ms"));
    hints(&[("x-ratelimit-limit", &limit), ("x-ratelimit-remaining", &remaining), ("x-ratelimit-reset", &reset)], now)
}

/// A scope and a clock.
struct Scope {
    declared: Declared,
    now: Timestamp,
}

impl Scope {
    fn new() -> Self {
        Self { declared: Declared::default(), now: START }
    }

    /// A scope that was told once what is left.
    fn told(limit: u32, remaining: u32, reset_ms: u64) -> Self {
        let mut scope = Self::new();
        let idx = scope.send();
        scope.answer(idx, &quota(limit, remaining, reset_ms, scope.now));
        scope
    }

    fn send(&mut self) -> u64 {
        self.declared.on_sent(self.now)
    }

    fn answer(&mut self, idx: u64, hints: &Hints) {
        self.declared.on_answer(idx, hints, self.now);
    }

    /// A request that is answered at once.
    fn ask(&mut self, limit: u32, remaining: u32, reset_ms: u64) {
        let idx = self.send();
        self.answer(idx, &quota(limit, remaining, reset_ms, self.now));
    }

    fn is_open(&self) -> bool {
        self.declared.next_at(self.now) <= self.now
    }

    /// How many requests may go before an answer comes.
    fn may_send(&mut self) -> u32 {
        let mut sent = 0;
        while self.is_open() && sent < 10_000 {
            self.send();
            sent += 1;
        }
        sent
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
    }

    fn rate(&self) -> Option<f64> {
        // Two digits are enough to see.
        self.declared.rate(self.now).map(|rate| (rate * 100.0).round() / 100.0)
    }

    fn words(&self) -> String {
        self.declared.words(self.now).join("; ")
    }
}

#[test]
fn where_nothing_is_declared_nothing_is_held_back() {
    let mut scope = Scope::new();
    let idx = scope.send();
    scope.answer(idx, &hints(&[("Retry-After", "3")], START));
    assert_eq!(scope.may_send(), 10_000);
    assert_eq!((scope.rate(), scope.declared.at_once(), scope.words()), (None, None, String::new()));
    assert!(!scope.declared.is_binding() && scope.declared.save().is_empty());
}

#[test]
fn requests_in_flight_are_charged_before_the_server_says_so() {
    let mut scope = Scope::told(10, 7, 3_600_000);
    assert_eq!(scope.may_send(), 7);
    // The first of them comes back: six are left, and six are in flight.
    scope.answer(1, &quota(10, 6, 3_600_000, scope.now));
    assert_eq!(scope.may_send(), 0);
    // An answer without a word about the quota was not charged.
    scope.answer(2, &Hints::default());
    assert_eq!(scope.may_send(), 1);
}

#[test]
fn of_answers_that_overlap_the_one_that_says_less_is_the_later() {
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1]] {
        let mut scope = Scope::told(10, 9, 3_600_000);
        for _ in 0..3 {
            scope.send();
        }
        // The server took them in the order 3, 1, 2.
        for idx in order {
            let remaining = [0, 7, 6, 8][usize::try_from(idx).unwrap_or_default()];
            scope.answer(idx, &quota(10, remaining, 3_600_000, scope.now));
        }
        assert_eq!(scope.may_send(), 6, "{order:?}");
    }
}

#[test]
fn a_burst_that_the_server_takes_in_any_order_never_exceeds_the_quota() {
    // Five at once, of which the server took the last first.
    let mut scope = Scope::new();
    for _ in 0..5 {
        scope.send();
    }
    scope.answer(4, &quota(10, 9, 3_600_000, scope.now));
    assert_eq!(scope.may_send(), 5);
}

#[test]
fn an_answer_to_a_later_request_may_say_more() {
    let mut scope = Scope::told(10, 3, 3_600_000);
    scope.ask(10, 8, 3_600_000);
    assert_eq!(scope.may_send(), 8);
}

#[test]
fn a_spent_quota_is_closed_until_its_reset_and_a_guard() {
    let mut scope = Scope::told(10, 0, 9_000);
    let opens_at = START.plus_ms(9_000 + GUARD_MS);
    assert_eq!(scope.declared.next_at(scope.now), opens_at);
    scope.now = Timestamp(opens_at.0 - 1);
    assert!(!scope.is_open());
    scope.now = opens_at;
    // Then one request goes: the window may be one that lets go of a few at a time.
    assert_eq!(scope.may_send(), 1);
}

#[test]
fn what_is_all_in_flight_is_asked_for_again_soon() {
    let mut scope = Scope::told(10, 2, 3_600_000);
    scope.may_send();
    assert_eq!(scope.declared.next_at(scope.now), scope.now.plus_ms(1_000));
}

#[test]
fn a_new_window_starts_anew_and_a_late_answer_of_the_old_one_is_old_news() {
    let mut scope = Scope::told(10, 1, 5_000);
    let late = scope.send();
    scope.pass(5_300);
    let first = scope.send();
    scope.answer(first, &quota(10, 9, 59_700, scope.now));
    assert_eq!(scope.may_send(), 8, "the late one may have been charged to this window");
    scope.answer(late, &quota(10, 0, 1, scope.now));
    assert_eq!(scope.may_send(), 1);
}

#[test]
fn a_reset_that_stays_is_a_window_and_what_is_left_is_spread_over_it() {
    let mut scope = Scope::told(60, 59, 60_000);
    // Not known to be a window yet: no faster than four times its limit over its length.
    assert_eq!(scope.rate(), Some(0.99));
    scope.pass(50_000);
    scope.ask(60, 58, 10_000);
    assert_eq!(scope.rate(), Some(5.95), "58 in the 9.75 s before the guard");
    scope.pass(4_000);
    scope.ask(60, 57, 6_000);
    assert_eq!(scope.rate(), Some(9.91));
}

#[test]
fn a_pace_is_no_naive_quotient_while_the_window_may_be_a_sliding_one() {
    let fields = [("RateLimit-Policy", "\"p\";q=60;w=60"), ("RateLimit", "\"p\";r=50;t=2")];
    let mut scope = Scope::new();
    let idx = scope.send();
    scope.answer(idx, &hints(&fields, scope.now));
    assert_eq!(scope.rate(), Some(4.0), "not 25");
}

#[test]
fn long_windows_are_not_spread() {
    let scope = Scope::told(5_000, 4_000, 3_600_000);
    assert_eq!(scope.rate(), None);
}

#[test]
fn a_reset_that_moves_on_is_a_buckets_and_tells_its_rate() {
    // 100 deep, 2/s; ten requests a second arrive.
    let mut scope = Scope::new();
    let mut left = 100.0_f64;
    for _ in 0..60 {
        left -= 1.0;
        let to_full_ms = ((100.0 - left) / 2.0 * 1_000.0).round();
        scope.ask(100, known::to_amount(left.floor()), u64::from(known::to_amount(to_full_ms)));
        scope.pass(100);
        left += 0.2;
    }
    let rate = scope.rate().unwrap_or_default();
    assert!((1.95..2.05).contains(&rate), "{rate}");
    assert_eq!(scope.words(), "51 of 100 left, refills 2.0/s");
    // A spent bucket has its next unit long before it is full.
    scope.ask(100, 0, 50_000);
    let wait_ms = scope.declared.next_at(scope.now).since_ms(scope.now);
    assert!((540..=570).contains(&wait_ms), "half a second, and a tenth of it for doubt: {wait_ms}");
    scope.pass(wait_ms);
    assert_eq!(scope.may_send(), 1);
}

#[test]
fn what_others_use_is_left_to_them() {
    // Of 1,000 in a minute, others take ten a second; we take two.
    let mut scope = Scope::new();
    for second in 0..10 {
        for half in 0..2 {
            scope.ask(1_000, 999 - second * 12 - half, 60_000 - u64::from(second) * 1_000 - u64::from(half) * 500);
            scope.pass(500);
        }
    }
    // 880 are left for 50 s, of which others take 500.
    let rate = scope.rate().unwrap_or_default();
    assert!((7.6..8.6).contains(&rate), "{rate}");
}

#[test]
fn requests_of_our_own_are_not_taken_for_others() {
    let mut scope = Scope::told(1_000, 999, 60_000);
    let (mut open, mut left) = (Vec::new(), 999);
    for round in 0..40 {
        // Eight at once, answered in reverse.
        for _ in 0..8 {
            open.push(scope.send());
        }
        scope.pass(250);
        while let Some(idx) = open.pop() {
            left -= 1;
            scope.answer(idx, &quota(1_000, left, 60_000 - (round + 1) * 250, scope.now));
        }
    }
    // 679 are left for 49.75 s.
    assert_eq!(scope.rate(), Some(13.65));
}

#[test]
fn a_limit_alone_holds_nothing_back_and_with_a_window_it_is_a_pace() {
    let mut scope = Scope::new();
    let idx = scope.send();
    scope.answer(idx, &hints(&[("x-ratelimit-limit", "5")], scope.now));
    assert_eq!((scope.may_send(), scope.rate()), (10_000, None));
    let mut scope = Scope::new();
    let idx = scope.send();
    scope.answer(idx, &hints(&[("x-rate-limit-limit", "3"), ("x-rate-limit-interval", "1s")], scope.now));
    assert_eq!((scope.may_send(), scope.rate()), (10_000, Some(3.0)));
    assert_eq!(scope.words(), "3 in 1 s");
}

#[test]
fn a_quota_that_does_not_say_when_it_returns_is_asked_one_by_one() {
    // 40 at Shopify, all used.
    let used = |scope: &Scope, used: &str| hints(&[("x-shopify-shop-api-call-limit", used)], scope.now);
    let mut scope = Scope::new();
    let idx = scope.send();
    scope.answer(idx, &used(&scope, "40/40"));
    assert!(!scope.is_open());
    scope.pass(1_000);
    assert_eq!(scope.may_send(), 1);
    scope.answer(1, &used(&scope, "38/40"));
    assert_eq!(scope.may_send(), 2);
    // Where a window is declared, it is waited for.
    let spent = [("x-hubspot-ratelimit-remaining", "0"), ("x-hubspot-ratelimit-interval-milliseconds", "10000")];
    let mut scope = Scope::new();
    let idx = scope.send();
    scope.answer(idx, &hints(&spent, scope.now));
    assert_eq!(scope.declared.next_at(scope.now), scope.now.plus_ms(10_000));
}

#[test]
fn a_quota_that_has_something_left_when_we_are_refused_is_not_the_one_that_refuses() {
    let mut scope = Scope::told(5_000, 4_000, 3_600_000);
    assert!(scope.declared.is_binding());
    let refuse = |scope: &mut Scope, idx: u64, remaining: u32| {
        let said = quota(5_000, remaining, 3_600_000, scope.now);
        scope.declared.on_refusal(idx, &said, scope.now);
    };
    // A burst in flight is one event.
    let burst: Vec<u64> = (0..5).map(|_| scope.send()).collect();
    for idx in burst {
        refuse(&mut scope, idx, 3_990);
    }
    assert!(scope.declared.is_binding());
    let again = scope.send();
    refuse(&mut scope, again, 3_989);
    assert!(!scope.declared.is_binding());
    assert_eq!(scope.words(), "3 989 of 5 000 left, resets in 60 min, but another limit refuses");
    // It is obeyed all the same, and taken back when it is spent.
    let last = scope.send();
    refuse(&mut scope, last, 0);
    assert!(scope.declared.is_binding() && !scope.is_open());
}

#[test]
fn a_raise_is_followed_by_no_more_than_the_double_in_a_window() {
    let mut scope = Scope::told(100, 0, 300_000);
    for (declared, followed) in [(1_000, 200), (1_000, 400), (300, 300), (301, 301)] {
        scope.pass(300_300);
        scope.ask(declared, declared - 1, 300_000);
        // The same again within the window raises nothing.
        scope.ask(declared, declared - 2, 300_000);
        assert_eq!(scope.declared.clone().known().map(|quota| quota.limit).next(), Some(Some(followed)));
        let mut spend = Scope { declared: scope.declared.clone(), now: scope.now };
        assert_eq!(spend.may_send(), followed - 2);
    }
}

#[test]
fn what_points_a_request_costs_is_learned() {
    let told = |scope: &mut Scope, remaining: u32| {
        let idx = scope.send();
        let remaining = remaining.to_string();
        let fields = [
            ("x-ratelimit-resource", "graphql"),
            ("x-ratelimit-limit", "5000"),
            ("x-ratelimit-remaining", remaining.as_str()),
            ("x-ratelimit-reset", "3600"),
        ];
        let said = hints(&fields, scope.now);
        scope.answer(idx, &said);
    };
    let mut scope = Scope::new();
    for left in [100, 80, 60] {
        told(&mut scope, left);
    }
    assert_eq!(scope.may_send(), 3);
    assert_eq!(scope.words(), "graphql 0 of 5 000 points left, resets in 60 min");
}

#[test]
fn a_number_at_once_is_told() {
    let mut scope = Scope::new();
    let idx = scope.send();
    let fields = [("RateLimit-Policy", "\"peak\";q=5;qu=\"concurrent-requests\""), ("RateLimit", "\"peak\";r=0")];
    scope.answer(idx, &hints(&fields, scope.now));
    assert_eq!((scope.declared.at_once(), scope.rate(), scope.may_send()), (Some(5), None, 10_000));
    assert_eq!(scope.words(), "peak 5 at once");
}

#[test]
fn a_lost_request_counts_as_charged_until_the_server_says_otherwise() {
    let mut scope = Scope::told(10, 5, 3_600_000);
    let lost = scope.send();
    scope.declared.on_lost(lost);
    scope.ask(10, 4, 3_600_000);
    assert_eq!(scope.may_send(), 4);
    let mut scope = Scope::told(10, 5, 3_600_000);
    let lost = scope.send();
    scope.declared.on_lost(lost);
    assert_eq!(scope.may_send(), 4);
}

#[test]
fn the_best_of_many_dates_judges_an_instant() {
    // The server's clock is 40 s ahead; its `Date` has whole seconds, and so has the reset, 30 s after the start.
    let mut scope = Scope::new();
    let reset = (START.0 + 40_000 + 30_000) / 1_000;
    for step in 0..10 {
        let idx = scope.send();
        scope.pass(90);
        let date = std::time::UNIX_EPOCH
            + std::time::Duration::from_millis(u64::try_from(scope.now.0 + 40_000 - 40).unwrap_or_default());
        let (date, left) = (httpdate::fmt_http_date(date), (9 - step).to_string());
        let fields = [
            ("Date", date.as_str()),
            ("x-ratelimit-limit", "10"),
            ("x-ratelimit-remaining", left.as_str()),
            ("x-ratelimit-reset", &reset.to_string()),
        ];
        let said = hints(&fields, scope.now);
        scope.answer(idx, &said);
    }
    let opens_ms = scope.declared.next_at(scope.now).since_ms(START);
    let least_ms = 30_000 + GUARD_MS;
    assert!((least_ms..least_ms + 200).contains(&opens_ms), "{opens_ms}");
}

#[test]
fn a_server_that_cuts_fractions_off_is_given_a_second_more() {
    let mut scope = Scope::told(10, 0, 5_000);
    scope.pass(5_000 + GUARD_MS);
    assert!(scope.is_open());
    // It was early: the server tells of another moment.
    let idx = scope.send();
    let said =
        hints(&[("x-ratelimit-limit", "10"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "0.4")], scope.now);
    scope.declared.on_refusal(idx, &said, scope.now);
    assert_eq!(scope.declared.next_at(scope.now), scope.now.plus_ms(400 + GUARD_MS + 1_000));
}

#[test]
fn what_is_declared_outlives_the_process() {
    let mut scope = Scope::told(10, 4, 60_000);
    scope.send();
    let text = serde_json::to_string(&scope.declared.save()).expect("it is plain data");
    insta::assert_snapshot!(text, @r#"
    {"quotas":[{"key":4237580818,"unit":"requests","limit":10,"remaining":3,"report_at":1795510177000,"reset_at":1795510237000,"span_ms":60000}]}
    "#);
    let saved = serde_json::from_str(&text).expect("what was written can be read");
    let restore = |now: Timestamp| Scope { declared: Declared::restore(&saved, now), now };
    // The request in flight may have been charged.
    assert_eq!(restore(START.plus_ms(100)).may_send(), 3);
    assert_eq!(restore(START.plus_ms(60_300)).may_send(), 1);
    // A clock that stood in another year: then, it has its own length from now; now, it is forgotten.
    assert_eq!(restore(Timestamp(START.0 / 2)).words(), "3 of 10 left, resets in 60 s");
    assert_eq!(restore(START.plus_ms(40 * 86_400_000)).words(), "");
    let spent = Scope::told(10, 0, 60_000).declared.save();
    assert_eq!(Declared::restore(&spent, START.plus_ms(9)).next_at(START.plus_ms(9)), START.plus_ms(60_000 + GUARD_MS));
}

#[test]
fn a_quota_is_news_once_and_not_again_after_a_restart() {
    let mut scope = Scope::new();
    assert_eq!(scope.declared.take_news(scope.now), None);
    scope.ask(5_000, 4_999, 3_600_000);
    assert_eq!(scope.declared.take_news(scope.now).as_deref(), Some("4 999 of 5 000 left, resets in 60 min"));
    scope.ask(5_000, 4_998, 3_599_000);
    assert_eq!(scope.declared.take_news(scope.now), None);
    let mut again = Declared::restore(&scope.declared.save(), scope.now);
    assert_eq!(again.take_news(scope.now), None);
    let idx = scope.send();
    scope.answer(idx, &hints(&[("RateLimit", "\"daily\";r=9;t=60")], scope.now));
    assert_eq!(scope.declared.take_news(scope.now).as_deref(), Some("daily 9 left, resets in 60 s"));
}

#[test]
fn a_quota_whose_window_is_over_is_told_without_what_was_left() {
    let mut scope = Scope::told(80, 3, 2_000);
    scope.pass(10_000);
    assert_eq!(scope.words(), "80 in about 2 s");
    assert_eq!(scope.declared.save().words(scope.now), ["80 in about 2 s"]);
}

#[test]
fn of_many_quotas_the_tightest_four_are_kept() {
    let mut scope = Scope::new();
    let members: Vec<String> = (0..16).map(|n| format!("\"q{n}\";r={};t=60", 100 - n)).collect();
    let idx = scope.send();
    scope.answer(idx, &hints(&[("RateLimit", &members.join(","))], scope.now));
    assert_eq!(scope.declared.known().count(), 4);
    assert_eq!(scope.may_send(), 85, "the tightest of all sixteen is among them");
}

#[test]
fn a_scope_at_rest_is_small() {
    assert_eq!(size_of::<Declared>(), 24);
    let one = size_of::<Declared>() + size_of::<Book>() + size_of::<Known>();
    assert!(one <= 168, "{one} bytes");
}

#[test]
fn a_limit_of_none_closes_until_its_reset_and_is_no_pace_of_none() {
    let scope = Scope::told(0, 0, 64_000);
    assert_eq!(scope.rate(), Some(0.02));
    assert!(!scope.is_open());
}
