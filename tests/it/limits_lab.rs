//! The laboratory's own facts: its formulas against a client that sees into the limiter, and what the throttle makes of each
//! scenario.

use std::path::Path;

use trundle::clock::Timestamp;
use trundle::practice::limiter::{Arrival, Limiter};

use crate::lab::figures::{Figures, belief};
use crate::lab::optimum::{Best, Span, best, cold, warm};
use crate::lab::options::Options;
use crate::lab::runs;
use crate::lab::scenario::{LimiterSpec, Scenario};
use crate::lab::world::{Answer, Ask, Client, Network, Record, Sent, World};

fn scenarios() -> Vec<Scenario> {
    Scenario::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/limits"))
}

/// Some instant in November 2026, not on any edge, in microseconds.
const FROM_US: i64 = 1_795_507_217_300_000;

/// What a client gets that tries each request on a copy of the limiter first, and sends none that would be refused.
fn greedy(limiter: &mut Limiter, seconds: i64) -> u32 {
    // One that no interval of ours is a multiple of, so that no edge is always met.
    let step_us = 4_001;
    let mut accepted = 0;
    let mut at_us = FROM_US;
    while at_us < FROM_US + seconds * 1_000_000 {
        let arrival = Arrival::at_us(at_us);
        while limiter.clone().decide(&arrival).allowed {
            assert!(limiter.decide(&arrival).allowed, "a copy decides as its original");
            accepted += 1;
        }
        at_us += step_us;
    }
    accepted
}

#[test]
fn no_optimum_is_beaten_by_a_client_that_sees_into_the_limiter_and_each_is_reached() {
    let mut checked = 0;
    for scenario in scenarios() {
        // These are reached with requests that take their time, or grow beyond any bound within an instant.
        let has_no_end = scenario.limiter.counts_running() || matches!(scenario.limiter, LimiterSpec::Workers { .. });
        let is_shaper = matches!(scenario.limiter, LimiterSpec::Nginx { delay: Some(_), .. });
        // What others take and what chance gives are means.
        let is_mean = matches!(scenario.limiter, LimiterSpec::Noisy { .. } | LimiterSpec::Shared { .. });
        if has_no_end || is_shaper || is_mean {
            continue;
        }
        for seconds in [45, 130, 305] {
            let span = Span {
                from_us: FROM_US,
                since_start_s: 0.0,
                seconds: f64::from(seconds),
                jitter_s: 0.0,
                round_trip_s: 0.0,
                service_s: 0.0,
                seed: 3,
            };
            let best = best(&scenario.limiter, &span).accepted;
            let got = f64::from(greedy(&mut scenario.limiter.build(FROM_US, 3), seconds.into()));
            // The grid of 4 ms and clocks of whole milliseconds cost a little at a hundred milliseconds a request.
            assert!(got <= best + 1.0, "{}, {seconds} s: {got} of {best}", scenario.name);
            assert!(got >= best * 0.98 - 2.0, "{}, {seconds} s: {got} of {best}", scenario.name);
            checked += 1;
        }
    }
    assert!(checked >= 100, "{checked} spans were checked");
}

/// Five at once, each sent as another one comes back.
#[derive(Default)]
struct Five {
    in_flight: u32,
    refused: u32,
}

impl Client for Five {
    fn poll(&mut self, _now: Timestamp) -> Ask {
        if self.in_flight == 5 {
            return Ask::Full;
        }
        self.in_flight += 1;
        Ask::Go(0)
    }

    fn done(&mut self, _token: usize, answer: &Answer, _now: Timestamp) {
        self.in_flight -= 1;
        self.refused += u32::from(answer.status != 200);
    }

    fn describe(&self) -> String {
        String::new()
    }

    fn restart(&mut self, _now: Timestamp) {}
}

#[test]
fn the_optimum_of_a_cap_is_what_as_many_at_once_get_with_the_way_there_and_back() {
    let scenario = scenarios().into_iter().find(|scenario| scenario.name == "concurrency_5").expect("it exists");
    for network in [Network { latency_ms: 20, jitter_ms: 0 }, Network { latency_ms: 300, jitter_ms: 20 }] {
        let words = ["--seconds", "600"].map(str::to_owned).into_iter();
        let options = Options::parse(words).expect("the words are known");
        let optimum = runs::one(&scenario, "oracle", network, 1, &options).best;
        let mut five = Five::default();
        let record = World::new(&scenario, network, 1).run(&mut five, 0, 600.0, None);
        assert_eq!(five.refused, 0, "{network:?}");
        let got: f64 = record.sent.iter().map(|sent| f64::from(u8::from(sent.accepted))).sum();
        assert!((0.98..1.02).contains(&(got / optimum)), "{network:?}: {got} of {optimum}");
    }
}

#[test]
fn what_can_be_reached_in_a_minute_is_less_only_where_a_touch_ends_it_or_the_limit_rose_meanwhile() {
    let span = Span {
        from_us: 0,
        since_start_s: 0.0,
        seconds: 60.0,
        jitter_s: 0.0,
        round_trip_s: 0.08,
        service_s: 0.0,
        seed: 1,
    };
    let mut less = Vec::new();
    for scenario in scenarios() {
        let limiter = &scenario.limiter;
        let all = best(limiter, &span).accepted;
        let reached = [cold(limiter, &span, runs::is_mute(&scenario)), warm(limiter, &span, 900.0)];
        assert!(reached.iter().all(|&reached| reached <= all), "{}: {reached:?} of {all}", scenario.name);
        if reached.iter().any(|&reached| reached < all) {
            less.push((scenario.name, reached[0] < all, reached[1] < all));
        }
    }
    let less: Vec<(&str, bool, bool)> = less.iter().map(|(name, cold, warm)| (name.as_str(), *cold, *warm)).collect();
    assert!(
        less.contains(&("ban_60_mute", true, false)) && less.contains(&("ban_evasive_403", true, false)),
        "{less:?}"
    );
    assert!(
        less.iter().all(|(name, ..)| name.contains("ban") || ["drop", "rise", "oscillate"].contains(name)),
        "{less:?}"
    );
    // Twenty at once, and what ten a second drip while fifteen seconds are spent on all paces from ten a minute to eighty a second.
    let ban = LimiterSpec::Ban {
        seconds: 60.0,
        hammering: trundle::practice::limiter::Hammering::default(),
        limiter: Box::new(LimiterSpec::Bucket { per_s: 10.0, burst: 20.0 }),
    };
    let [silent, told] = [cold(&ban, &span, true), cold(&ban, &span, false)];
    assert!((silent - 40.0).abs() < 1e-9 && (told - 620.0).abs() < 1e-9, "{silent} and {told}");
}

#[test]
fn learning_costs_the_refusals_until_the_limit_is_taken_for_known() {
    let sent = |second: i64, refused: bool| Sent {
        arrived_us: second * 1_000_000,
        took_us: 80_000,
        accepted: !refused,
        refused,
    };
    let refused_at = [1, 2, 50, 90];
    let sent: Vec<Sent> = (0..100).map(|second| sent(second, refused_at.contains(&second))).collect();
    let best = Best { accepted: 100.0, rates: vec![(0.0, 1.0)], window_s: 0.0 };
    let learning = |settled_us: Option<i64>| {
        let record = Record { sent: sent.clone(), settled_us, ..Record::default() };
        Figures::read(&record, &best, best.accepted, 1.0, 100.0, 0.08).learning
    };
    assert_eq!(learning(Some(3_000_000)), 2);
    assert_eq!(learning(Some(0)), 0, "it knew before");
    assert_eq!(learning(Some(i64::MAX)), 4, "it never knew");
    // Nine in ten of what is possible over thirty seconds are first reached after 2 s and before 50.
    assert_eq!(learning(None), 2, "it does not say");
}

fn quick(name: &str, client: &str, words: &[&str]) -> Figures {
    let scenario = scenarios().into_iter().find(|scenario| scenario.name == name).expect("the scenario exists");
    let options = Options::parse(words.iter().map(|&word| word.to_owned())).expect("the words are known");
    runs::one(&scenario, client, Network { latency_ms: 80, jitter_ms: 2 }, 1, &options)
}

#[test]
fn a_run_is_fixed_by_its_seed() {
    let run = || format!("{:?}", quick("noisy_window", "cubic", &[]));
    assert_eq!(run(), run());
}

#[test]
fn who_knows_the_rate_reaches_it_without_a_refusal_and_who_ignores_retry_after_is_caught() {
    let oracle = quick("bucket_10_20_mute", "oracle", &[]);
    assert_eq!(oracle.refused, 0);
    assert!((0.98..0.99).contains(&oracle.goodput), "{}", oracle.goodput);
    // botocore does not read Retry-After, and neither does AutoThrottle.
    for client in ["cubic", "autothrottle"] {
        assert!(quick("log_100_60_ceil", client, &[]).violations > 0, "{client}");
    }
    assert_eq!(quick("log_100_60_ceil", "aimd", &[]).violations, 0);
}

#[test]
fn a_second_run_is_measured_against_its_own_optimum() {
    // A minute of 100 per minute by the clock touches two of its windows, or just one; the two runs begin at other phases.
    for name in ["window_100_60_ceil", "bucket_1_100_mute", "drop"] {
        let first = quick(name, "oracle", &["--seconds", "60"]);
        let second = quick(name, "oracle", &["--seconds", "60", "--warm"]);
        assert_eq!((first.refused, second.refused), (0, 0), "{name}");
        assert!(second.best > 0.0 && second.goodput <= 1.0, "{name}: {}", second.goodput);
    }
    // The rate has fallen from 10 to 4 in between.
    let [first, second] =
        [&["--seconds", "60"][..], &["--seconds", "60", "--warm"]].map(|words| quick("drop", "oracle", words));
    assert_eq!((first.best.round(), second.best.round()), (620.0, 260.0));
}

/// How near a rate is to the true one; in steps, so that not each change of a constant moves it.
fn nearness(error: Option<f64>) -> String {
    match error.map(f64::abs) {
        None => "no rate".to_owned(),
        Some(error) => {
            let within = [0.01, 0.03, 0.1, 0.3, 1.0].into_iter().find(|&within| error <= within);
            within.map_or("wrong".to_owned(), |within| format!("rate within {:.0} %", within * 100.0))
        }
    }
}

/// What the learner takes each limiter for, a line each; what stands there is what it reaches, not what it should. A change of
/// the learner that moves a line is seen in its diff: `TRUNDLE_REWRITE_GOLDEN=1 cargo test --test it taken_for` writes it anew.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/limits/golden.txt");
/// Two hours show what is believed; the rest of a long run only shows that it stays so.
const SECONDS_MAX: u32 = 7_200;

#[test]
fn each_limiter_is_taken_for_what_it_was_taken_for_before() {
    let words = ["--quick", "--seed", "1"].map(str::to_owned).into_iter();
    let options = Options::parse(words).expect("the words are known");
    let mut scenarios = scenarios();
    for scenario in &mut scenarios {
        scenario.seconds = scenario.seconds.min(SECONDS_MAX);
    }
    let mut table = String::new();
    for case in runs::all(&scenarios, &["touch"], &options) {
        let Figures { violations, family, rate_error, .. } = &case.figures;
        let name = &scenarios[case.scenario].name;
        assert_eq!(*violations, 0, "{name}: sends inside a Retry-After");
        table.push_str(&format!("{name:<28} {family}, {}\n", nearness(*rate_error)));
    }
    if std::env::var_os("TRUNDLE_REWRITE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &table).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(GOLDEN).expect("the golden file is there");
    let moved: Vec<String> = golden
        .lines()
        .zip(table.lines())
        .filter(|(before, now)| before != now)
        .map(|(before, now)| format!("- {before}\n+ {now}"))
        .collect();
    let advice = "TRUNDLE_REWRITE_GOLDEN=1 writes the file anew";
    assert!(moved.is_empty(), "{advice}\n{}", moved.join("\n"));
    assert_eq!(golden.lines().count(), table.lines().count(), "scenarios came or went: {advice}");
}

/// The accuracy that words claim, as a share.
fn claimed(words: &str) -> Option<f64> {
    let (_, claim) = words.split_once("known to ±")?;
    claim.split_once(' ')?.0.parse::<f64>().ok().map(|percent| percent / 100.0)
}

#[test]
fn a_claim_of_accuracy_contains_the_true_rate_in_95_of_100_runs() {
    let mut scenarios = scenarios();
    for scenario in &mut scenarios {
        // As many refusals as it takes until most claim something.
        scenario.seconds = scenario.seconds.min(600);
    }
    let words = ["--quick", "--seeds", "2"].map(str::to_owned).into_iter();
    let options = Options::parse(words).expect("the words are known");
    let (mut claims, mut wrong) = (0, Vec::new());
    for case in runs::all(&scenarios, &["touch"], &options) {
        let Figures { words, rate_error, .. } = &case.figures;
        let (Some(share), Some(error)) = (claimed(words), rate_error) else { continue };
        claims += 1;
        // The error is a share of the true rate, the claim one of the rate that is told.
        if (error / (1.0 + error)).abs() > share + 1e-9 {
            wrong.push(format!("{}: {words}, off by {:.1} %", scenarios[case.scenario].name, error * 100.0));
        }
    }
    assert!(claims >= 24, "only {claims} claims");
    assert!(wrong.len() * 20 <= claims, "{} of {claims} claims:\n{}", wrong.len(), wrong.join("\n"));
}

/// Runs that went wrong once, each for a reason of its own.
#[test]
fn what_misled_the_learner_once_does_not_again() {
    for (name, seed, latency_ms, jitter_ms, goodput_min, refused_max) in [
        // Each canary that was refused moved the end of the wait on by a little, so that it was hammered for ever.
        ("counter_600_60_counting", 2, 20, 20, 0.90, 0.01),
        // A ban was asked at instants that windows have, and never at the end of the last one.
        ("ban_60_mute", 1, 20, 20, 0.90, 0.001),
        // Its canaries came at the instants of windows too, and each began the ban anew.
        ("ban_evasive_403", 3, 300, 20, 0.85, 0.001),
        // And since each of them began it anew, no two spells were closed for the same time.
        ("ban_evasive_403", 5, 20, 20, 0.85, 0.001),
        // What was refused before the requests began that are still kept was held against every kind but a bucket.
        ("noisy_bucket", 2, 80, 2, 0.95, 0.006),
        // Without a clock the phase of a counter was known to seconds only, so that its own refusals spoke against it.
        ("counter_100_60_floor", 3, 80, 2, 0.90, 0.01),
        // After a rise the level of the bucket was taken for empty although it was not, and the first guess of its burst held
        // for good: the rate was never right again.
        ("rise", 5, 20, 20, 0.97, 0.005),
        ("oscillate", 3, 300, 20, 0.90, 0.007),
        // The same, in each life anew.
        ("restart_ban_60", 1, 80, 2, 0.90, 0.005),
    ] {
        let scenario = scenarios().into_iter().find(|scenario| scenario.name == name).expect("the scenario exists");
        let options = Options::parse(std::iter::empty()).expect("no words are fine");
        let Figures { goodput, refused_share, words, .. } =
            runs::one(&scenario, "touch", Network { latency_ms, jitter_ms }, seed, &options);
        assert!(goodput >= goodput_min, "{name}: {goodput:.3}: {words}");
        assert!(refused_share <= refused_max, "{name}: {refused_share:.4}: {words}");
    }
}

#[test]
fn the_rate_that_counts_is_the_least_that_the_words_name() {
    for (words, expected) in [
        ("token bucket, 10.0012/s, burst 20.1, known to ±0.1 %, from 3 refusals", ("token bucket", Some(10.0012))),
        ("fixed window, 100 in 60 s (1.667/s), not sure yet, from 1 refusal", ("fixed window", Some(1.667))),
        (
            "fixed window, 10 in 1 s (10.000/s) and fixed window, 300 in 60 s (5.000/s)",
            ("fixed window + fixed window", Some(5.0)),
        ),
        ("at most 5 at once", ("at most 5 at once", None)),
        ("no limit met", ("no limit met", None)),
    ] {
        assert_eq!(belief(words), (expected.0.to_owned(), expected.1), "{words}");
    }
}
