//! Facts about the limiters: what their sources do at the edges.

use std::fmt::Write as _;

use super::*;

/// Sends requests at these instants and writes down what came of them.
fn table(mut limiter: Limiter, at_ms: &[i64]) -> String {
    let mut table = String::new();
    for &at in at_ms {
        let words = match limiter.admit(Timestamp(at)) {
            Verdict::Allow { headers } => format!("allow {headers:?}"),
            Verdict::Refuse { retry_after_secs, headers } => format!("refuse {retry_after_secs:?} {headers:?}"),
        };
        writeln!(table, "{at} {words}").expect("a string takes all");
    }
    table
}

#[test]
fn a_token_bucket_gives_its_burst_and_then_its_rate() {
    let limiter = Limiter::TokenBucket(TokenBucket::new(2, 3));
    insta::assert_snapshot!(table(limiter, &[0, 0, 0, 0, 499, 500, 501, 999, 1_000, 9_000, 9_000, 9_000, 9_000]), @r#"
    0 allow []
    0 allow []
    0 allow []
    0 refuse Some(1) []
    499 refuse Some(1) []
    500 allow []
    501 refuse Some(1) []
    999 refuse Some(1) []
    1000 allow []
    9000 allow []
    9000 allow []
    9000 allow []
    9000 refuse Some(1) []
    "#);
}

#[test]
fn a_slow_token_bucket_rounds_its_wait_up_to_whole_seconds() {
    let mut limiter = Limiter::TokenBucket(TokenBucket::new(1, 1));
    assert_eq!(limiter.admit(Timestamp(0)), Verdict::Allow { headers: Vec::new() });
    for at in [0, 1, 999] {
        assert_eq!(
            limiter.admit(Timestamp(at)),
            Verdict::Refuse { retry_after_secs: Some(1), headers: Vec::new() },
            "{at}"
        );
    }
    assert_eq!(limiter.admit(Timestamp(1_000)), Verdict::Allow { headers: Vec::new() });
}

#[test]
fn a_fixed_window_starts_anew_at_its_edge_and_says_so_before() {
    let limiter = Limiter::FixedWindow(FixedWindow::new(2, 2));
    insta::assert_snapshot!(table(limiter, &[1_500, 1_600, 1_700, 1_999, 2_000, 2_001, 2_002, 7_000]), @r#"
    1500 allow [("x-ratelimit-limit", "2"), ("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "2")]
    1600 allow [("x-ratelimit-limit", "2"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "2")]
    1700 refuse None [("x-ratelimit-limit", "2"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "2")]
    1999 refuse None [("x-ratelimit-limit", "2"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "2")]
    2000 allow [("x-ratelimit-limit", "2"), ("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "4")]
    2001 allow [("x-ratelimit-limit", "2"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "4")]
    2002 refuse None [("x-ratelimit-limit", "2"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "4")]
    7000 allow [("x-ratelimit-limit", "2"), ("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "8")]
    "#);
}

#[test]
fn a_concurrency_cap_counts_what_is_not_answered_yet() {
    let mut limiter = Limiter::ConcurrencyCap(ConcurrencyCap::new(2));
    let mut allowed = || matches!(limiter.admit(Timestamp::EPOCH), Verdict::Allow { .. });
    assert_eq!([allowed(), allowed(), allowed(), allowed()], [true, true, false, false]);
    limiter.release();
    let mut allowed = || matches!(limiter.admit(Timestamp::EPOCH), Verdict::Allow { .. });
    assert_eq!([allowed(), allowed()], [true, false]);
}

proptest::proptest! {
    #[test]
    fn a_client_that_waits_as_told_is_never_refused_twice(
        rate in 1_u32..50, burst in 1_u32..50, gaps in proptest::collection::vec(0_u64..200, 1..200)
    ) {
        let mut limiter = Limiter::TokenBucket(TokenBucket::new(rate, burst));
        let mut now = Timestamp(1_000_000);
        for gap in gaps {
            now = now.plus_ms(gap);
            if let Verdict::Refuse { retry_after_secs, .. } = limiter.admit(now) {
                now = now.plus_ms(retry_after_secs.expect("a bucket says when") * 1_000);
                let allowed = matches!(limiter.admit(now), Verdict::Allow { .. });
                proptest::prop_assert!(allowed);
            }
        }
    }
}

/// Sends requests at these instants: `.` for each that passes, `x` for each that is refused.
fn passes(limiter: &mut Limiter, at_ms: &[i64]) -> String {
    let passes = |&at_ms: &i64| limiter.decide(&Arrival::at_us(at_ms * 1_000)).allowed;
    at_ms.iter().map(passes).map(|allowed| if allowed { '.' } else { 'x' }).collect()
}

fn epoch(limit: u32, window_s: i64) -> Limiter {
    Limiter::FixedWindow(FixedWindow::anchored(limit, window_s * 1_000_000, Anchor::Epoch { phase_us: 0 }))
}

fn first_hit(limit: u32, window_s: i64) -> Limiter {
    Limiter::FixedWindow(FixedWindow::anchored(limit, window_s * 1_000_000, Anchor::FirstHit))
}

fn counter(limit: u32, window_s: i64, anchor: Anchor, counts_refused: bool, floors: bool) -> Limiter {
    Limiter::SlidingCounter(SlidingCounter::new(limit, window_s * 1_000_000, anchor, counts_refused, floors))
}

#[test]
fn gcra_forgives_as_many_early_requests_as_its_burst_and_a_refusal_leaves_no_trace() {
    let mut limiter = Limiter::Gcra(Gcra::new(10.0, 3));
    assert_eq!(passes(&mut limiter, &[0, 0, 0, 0, 99, 100, 100, 199, 200]), "...xx.xx.");
}

#[test]
fn nginx_without_burst_refuses_what_comes_a_millisecond_early() {
    let mut limiter = Limiter::LeakyBucket(LeakyBucket::new(10.0, 0, None));
    assert_eq!(passes(&mut limiter, &[0, 99, 100, 199, 201, 300, 301]), ".x.x.x.");
}

#[test]
fn nginx_lets_one_more_than_its_burst_pass_at_once() {
    let mut limiter = Limiter::LeakyBucket(LeakyBucket::new(10.0, 2, None));
    assert_eq!(passes(&mut limiter, &[0, 0, 0, 0, 100, 100]), "...x.x");
}

#[test]
fn nginx_without_nodelay_holds_back_what_exceeds_the_rate_by_just_its_excess() {
    let mut limiter = Limiter::LeakyBucket(LeakyBucket::new(10.0, 3, Some(0)));
    let delays_ms: Vec<u64> =
        [0, 0, 0, 50].map(|at_ms| limiter.decide(&Arrival::at_us(at_ms * 1_000)).delay_us / 1_000).into();
    assert_eq!(delays_ms, [0, 100, 200, 250]);
    let mut limiter = Limiter::LeakyBucket(LeakyBucket::new(10.0, 3, Some(1)));
    let delays_ms: Vec<u64> = [0, 0, 0].map(|_| limiter.decide(&Arrival::at_us(0)).delay_us / 1_000).into();
    assert_eq!(delays_ms, [0, 0, 100], "`delay=1` lets one of them go undelayed");
}

#[test]
fn a_staircase_gains_nothing_between_two_ticks_of_its_timer() {
    let mut limiter = Limiter::Staircase(Staircase::new(2, 500_000, 3, 100_000));
    // Its timer fires at 600, 1,100 and so on.
    assert_eq!(
        passes(&mut limiter, &[300, 300, 300, 300, 599, 600, 600, 600, 9_000, 9_000, 9_000, 9_000]),
        "...xx..x...x"
    );
}

#[test]
fn a_window_of_the_first_hit_begins_with_the_first_request_after_the_last_one_ended() {
    let mut limiter = first_hit(2, 10);
    assert_eq!(passes(&mut limiter, &[3_000, 12_999, 12_999, 13_000, 13_001, 22_999, 23_000]), "..x..x.");
    // One by the clock has forgotten at 10,000 and 20,000.
    assert_eq!(passes(&mut epoch(2, 10), &[3_000, 9_999, 9_999, 10_000, 10_001, 10_002, 20_000]), "..x..x.");
}

#[test]
fn a_window_may_have_a_phase_of_its_own() {
    let mut limiter =
        Limiter::FixedWindow(FixedWindow::anchored(1, 60_000_000, Anchor::Epoch { phase_us: 23_000_000 }));
    assert_eq!(passes(&mut limiter, &[0, 22_999, 23_000, 82_999, 83_000]), ".x.x.");
}

#[test]
fn a_log_holds_the_last_window_and_no_refusals() {
    let log =
        |counts_refused, inclusive| Limiter::SlidingLog(SlidingLog::new(2, 10_000_000, counts_refused, inclusive));
    assert_eq!(passes(&mut log(false, false), &[0, 4_000, 5_000, 9_999, 10_000, 13_999, 14_000]), "..xx.x.");
    // `limits` still counts what is exactly one window old.
    assert_eq!(passes(&mut log(false, true), &[0, 4_000, 10_000, 10_001]), "..x.");
}

#[test]
fn a_log_that_counts_refusals_keeps_out_whoever_hammers() {
    let mut limiter = Limiter::SlidingLog(SlidingLog::new(2, 10_000_000, true, false));
    let hammering: Vec<i64> = (0..20).map(|number| number * 4_000).collect();
    assert_eq!(passes(&mut limiter, &hammering), "..xxxxxxxxxxxxxxxxxx");
    assert_eq!(
        passes(&mut limiter, &[86_001, 86_002, 86_003]),
        "..x",
        "ten seconds of peace, and the log is empty again"
    );
}

#[test]
fn a_counter_sees_the_share_of_the_last_window_that_is_not_yet_past() {
    // Four of four in the first window; at a quarter of the second three of them still count.
    let mut limiter = counter(4, 10, Anchor::FirstHit, false, false);
    assert_eq!(passes(&mut limiter, &[5_000, 6_000, 7_000, 8_000, 9_000, 15_000, 17_499, 17_500, 17_501]), "....xxx.x");
}

#[test]
fn a_counter_that_rounds_down_lets_the_next_one_pass_a_little_earlier() {
    let at = [5_000, 6_000, 7_000, 8_000, 15_000, 15_001];
    let epoch = Anchor::Epoch { phase_us: 5_000_000 };
    assert_eq!(passes(&mut counter(4, 10, epoch, false, true), &at), "....x.");
    assert_eq!(passes(&mut counter(4, 10, epoch, false, false), &at), "....xx");
}

#[test]
fn a_counter_that_counts_refusals_never_opens_to_whoever_hammers() {
    let mut limiter = counter(10, 10, Anchor::FirstHit, true, false);
    let hammering: Vec<i64> = (0..1_000).map(|number| number * 100).collect();
    let passed = passes(&mut limiter, &hammering).matches('.').count();
    assert_eq!(passed, 10);
    // Two windows without a request, and it starts anew.
    assert_eq!(passes(&mut limiter, &[120_000]), ".");
}

#[test]
fn a_pool_keeps_waiting_what_comes_when_all_workers_are_busy() {
    let mut limiter = Limiter::WorkerPool(WorkerPool::new(2));
    let delays: Vec<u64> = [0, 0, 0, 50, 150, 500]
        .map(|at_us| limiter.decide(&Arrival { service_us: 100, ..Arrival::at_us(at_us) }).delay_us)
        .into();
    assert_eq!(delays, [0, 0, 100, 50, 50, 0]);
}

#[test]
fn a_ban_ends_when_it_was_going_to_end_unless_hammering_extends_it() {
    let banned = |hammering| Limiter::Ban(Ban::new(epoch(1, 1), 10_000_000, hammering));
    let at = [0, 1, 5_000, 10_000, 10_001, 14_999, 15_000, 25_000];
    assert_eq!(passes(&mut banned(Hammering::Ignored), &at), ".xxx....");
    assert_eq!(passes(&mut banned(Hammering::Extends), &at), ".xxxxxx.");
    // 10 s, doubled at 5,000, at 10,000 and so on.
    assert_eq!(passes(&mut banned(Hammering::Doubles), &at), ".xxxxxxx");
    assert_eq!(passes(&mut banned(Hammering::Doubles), &[0, 1, 5_000, 24_999, 65_000]), ".xxx.");
}

#[test]
fn of_several_limits_one_that_is_refused_by_another_is_not_charged() {
    let mut both = Limiter::All(All::new(vec![epoch(2, 1), epoch(3, 60)], None));
    // The three refusals of the first second cost the minute nothing.
    assert_eq!(passes(&mut both, &[0, 0, 0, 0, 0, 1_000, 1_000, 2_000, 60_000]), "..xxx.xx.");
}

#[test]
fn what_is_told_may_be_the_quota_of_a_limit_that_does_not_bind() {
    let mut both = Limiter::All(All::new(vec![epoch(5_000, 3_600), epoch(1, 60)], Some(0)));
    assert!(both.decide(&Arrival::at_us(0)).allowed);
    let refused = both.decide(&Arrival::at_us(0));
    assert_eq!((refused.allowed, refused.quota.remaining, refused.quota.retry_us), (false, 4_999, 60_000_000));
}

#[test]
fn a_schedule_changes_the_rate_at_its_instant_and_keeps_what_the_bucket_holds() {
    let bucket = Limiter::TokenBucket(TokenBucket::new(1, 2));
    let change = Retune { per_s: Some(10.0), ..Retune::default() };
    let mut limiter = Limiter::Schedule(Schedule::new(bucket, vec![(1_500_000, change)]));
    // One second at 1/s gives one token, half a second more half of one, and then a tenth of a second each.
    assert_eq!(passes(&mut limiter, &[0, 0, 1_000, 1_500, 1_549, 1_550, 1_649, 1_650]), "...xx.x.");
}

#[test]
fn a_second_client_takes_its_part_before_ours_arrives() {
    let mut limiter = Limiter::Shared(Shared::new(epoch(4, 10), 1_000_000, 0, 3_000_000));
    assert_eq!(passes(&mut limiter, &[500, 600, 2_500, 10_000, 10_000, 10_000, 10_000, 10_000]), "..x....x");
}

#[test]
fn a_noisy_threshold_stays_within_its_share_and_holds_for_its_span() {
    let mut limiter = Limiter::Noisy(Noisy::new(epoch(100, 60), 0.05, 60_000_000, 7));
    let mut passed = Vec::new();
    for minute in 0..50 {
        let at: Vec<i64> = (0..120).map(|number| minute * 60_000 + number * 500).collect();
        let letters = passes(&mut limiter, &at);
        passed.push(letters.matches('.').count());
        assert!(!letters.contains("x."), "the threshold does not move within a minute: {letters}");
    }
    assert!(passed.iter().all(|passed| (94..=105).contains(passed)), "{passed:?}");
    assert!(passed.iter().any(|&passed| passed < 98) && passed.iter().any(|&passed| passed > 102), "{passed:?}");
}

#[test]
fn routes_are_limited_each_for_itself_and_together() {
    let mut limiter = Limiter::Routes(Routes::new(vec![epoch(1, 60)], epoch(3, 60)));
    let passed: Vec<bool> =
        [0, 0, 1, 1, 1].map(|route| limiter.decide(&Arrival { route, ..Arrival::at_us(0) }).allowed).into();
    assert_eq!(passed, [true, false, true, true, false]);
}

/// Every plain kind, at rest.
fn zoo() -> Vec<Limiter> {
    let first_hit = Anchor::FirstHit;
    let aligned = Anchor::Epoch { phase_us: 0 };
    vec![
        Limiter::TokenBucket(TokenBucket::new(7.3, 5.0)),
        Limiter::Gcra(Gcra::new(7.3, 5)),
        Limiter::LeakyBucket(LeakyBucket::new(7.3, 4, None)),
        Limiter::Staircase(Staircase::new(3, 400_000, 7, 12_345)),
        Limiter::FixedWindow(FixedWindow::anchored(9, 1_000_000, aligned)),
        Limiter::FixedWindow(FixedWindow::anchored(9, 1_000_000, first_hit)),
        Limiter::SlidingLog(SlidingLog::new(9, 1_000_000, false, false)),
        Limiter::SlidingLog(SlidingLog::new(9, 1_000_000, true, false)),
        Limiter::SlidingCounter(SlidingCounter::new(9, 1_000_000, first_hit, true, false)),
        Limiter::SlidingCounter(SlidingCounter::new(9, 1_000_000, aligned, false, true)),
        Limiter::Ban(Ban::new(Limiter::TokenBucket(TokenBucket::new(7.3, 5.0)), 3_000_000, Hammering::Extends)),
        Limiter::All(All::new(vec![epoch(4, 1), Limiter::Gcra(Gcra::new(3.0, 9))], None)),
    ]
}

proptest::proptest! {
    #[test]
    fn whoever_comes_back_when_a_refusal_says_passes_and_nobody_else_does(
        gaps_us in proptest::collection::vec(0_i64..300_000, 1..120)
    ) {
        for mut limiter in zoo() {
            let mut at_us = 1_795_507_200_000_000;
            for &gap_us in &gaps_us {
                at_us += gap_us;
                let decision = limiter.decide(&Arrival::at_us(at_us));
                if decision.allowed {
                    continue;
                }
                let retry_us = i64::try_from(decision.quota.retry_us).expect("a wait is short");
                proptest::prop_assert!(retry_us > 0, "{limiter:?}");
                // Sums of fractions and clocks of whole milliseconds are forgiven.
                let early = limiter.clone().decide(&Arrival::at_us(at_us + retry_us - 1_200)).allowed;
                let is_rounded = matches!(&limiter, Limiter::SlidingCounter(_));
                proptest::prop_assert!(retry_us <= 1_200 || !early || is_rounded, "{limiter:?}");
                at_us += retry_us + 1_000;
                proptest::prop_assert!(limiter.decide(&Arrival::at_us(at_us)).allowed, "{limiter:?}");
            }
        }
    }
}

/// What a server of this dialect tells of a refusal by a window of 100 in 60 s, 12.3 s before its end.
fn told(dialect: Dialect) -> String {
    let mut limiter = epoch(100, 60);
    // 08:00:47.7 by the server's clock.
    let at_us = 1_795_507_247_700_000;
    for _ in 0..100 {
        assert!(limiter.decide(&Arrival::at_us(at_us)).allowed);
    }
    let Told { fields, retry_after_ms } = dialect.tell(&limiter.decide(&Arrival::at_us(at_us)), at_us);
    let lines: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    format!("{retry_after_ms:?} | {}", lines.join(" | "))
}

#[test]
fn every_dialect_tells_of_the_same_refusal_in_its_own_words() {
    let forms =
        [RetryAfter::Absent, RetryAfter::Ceil, RetryAfter::Truncated, RetryAfter::Date, RetryAfter::Milliseconds];
    let mut table = String::new();
    for retry_after in forms {
        let date = retry_after == RetryAfter::Date;
        writeln!(table, "{}", told(Dialect { retry_after, date, ..Dialect::mute(429) })).expect("a string takes all");
    }
    for fields in [
        QuotaFields::Epoch,
        QuotaFields::EpochMs,
        QuotaFields::Iso,
        QuotaFields::OpenAi,
        QuotaFields::Twitter,
        QuotaFields::GitLab,
        QuotaFields::Delta,
        QuotaFields::Draft3,
        QuotaFields::Draft6,
        QuotaFields::Draft7,
        QuotaFields::Draft8,
        QuotaFields::Governor,
    ] {
        writeln!(table, "{}", told(Dialect { fields, ..Dialect::mute(429) })).expect("a string takes all");
    }
    let lie = Dialect { fields: QuotaFields::Draft6, lie: Lie::Reset, ..Dialect::mute(429) };
    writeln!(table, "{}", told(lie)).expect("a string takes all");
    insta::assert_snapshot!(table, @r#"
    None | 
    Some(13000) | retry-after: 13
    Some(12000) | retry-after: 12
    Some(13000) | date: Tue, 24 Nov 2026 08:00:47 GMT | retry-after: Tue, 24 Nov 2026 08:01:00 GMT
    Some(12300) | retry-after: 13 | retry-after-ms: 12300
    None | x-ratelimit-limit: 100 | x-ratelimit-remaining: 0 | x-ratelimit-reset: 1795507260
    None | x-ratelimit-limit: 100 | x-ratelimit-remaining: 0 | x-ratelimit-reset: 1795507260000
    None | x-ratelimit-limit: 100 | x-ratelimit-remaining: 0 | x-ratelimit-reset: 2026-11-24T08:01:00Z
    None | x-ratelimit-limit-requests: 100 | x-ratelimit-remaining-requests: 0 | x-ratelimit-reset-requests: 12.3s
    None | x-rate-limit-limit: 100 | x-rate-limit-remaining: 0 | x-rate-limit-reset: 1795507260
    None | ratelimit-limit: 100 | ratelimit-observed: 100 | ratelimit-remaining: 0 | ratelimit-reset: 1795507260 | ratelimit-resettime: Tue, 24 Nov 2026 08:01:00 GMT
    None | x-ratelimit-limit: 100 | x-ratelimit-remaining: 0 | x-ratelimit-reset: 13
    None | x-ratelimit-limit: 100, 100;w=60 | x-ratelimit-remaining: 0 | x-ratelimit-reset: 13
    None | ratelimit-policy: 100;w=60 | ratelimit-limit: 100 | ratelimit-remaining: 0 | ratelimit-reset: 13
    None | ratelimit-policy: 100;w=60 | ratelimit: limit=100, remaining=0, reset=13
    None | ratelimit-policy: "default"; q=100; w=60 | ratelimit: "default"; r=0; t=13
    None | x-ratelimit-limit: 100 | x-ratelimit-remaining: 0 | x-ratelimit-after: 12
    None | ratelimit-policy: 100;w=60 | ratelimit-limit: 100 | ratelimit-remaining: 0 | ratelimit-reset: 3
    "#);
}
