//! What the throttle costs: an admission, a re-fit on the fullest evidence, a scope at rest; each against its bound.
//!
//! `cargo bench --bench throttle`, or `-- admission` for those with this word in their name. It ends with an error when a bound is
//! missed. The scopes come from the laboratory: each has run against a limiter of `tests/limits` for two hours of virtual time.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "counts and virtual times are far below 2^53; what is measured here are nanoseconds of this machine"
)]

#[path = "../tests/lab/mod.rs"]
#[expect(dead_code, reason = "rivals, figures and the table are for the other bench")]
mod lab;

use std::alloc::System;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tempfile::TempDir;
use trundle::clock::Timestamp;
use trundle::throttle::{Admission, Feedback, Hints, Permit, Resting, Throttle};

use lab::scenario::Scenario;
use lab::touch::Touch;
use lab::world::{Answer, Ask, Client, Network, World};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// An admission in the steady state, in ns.
const ADMISSION_NS_MAX: f64 = 1_000.0;
/// A re-fit, in ns.
const REFIT_NS_MAX: f64 = 10_000_000.0;
/// A scope at rest, in bytes; each of so many.
const RESTING_BYTES_MAX: f64 = 400.0;
const SCOPES: usize = 100_000;

/// A limiter of each kind that the learner knows.
const FAMILIES: [&str; 7] = [
    "bucket_50_100_mute",
    "window_100_60_ceil",
    "window_first_hit_draft8",
    "log_600_60_counting",
    "counter_600_60_counting",
    "two_limits",
    "concurrency_5",
];
const NETWORK: Network = Network { latency_ms: 80, jitter_ms: 2 };
/// Virtual time until a limit is known, in s.
const SETTLED_S: f64 = 7_200.0;
/// Virtual time between two looks, in s.
const STRETCH_S: f64 = 600.0;
/// Looks at each scenario for the costliest re-fit: evidence is full at some of them, and just cut at others.
const LOOKS: u32 = 12;

fn main() -> ExitCode {
    let scenarios = Scenario::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/limits"));
    let folder = TempDir::new().expect("a folder for the figures");
    let criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .output_directory(folder.path())
        .configure_from_args();
    let mut bench = Bench { criterion, folder: folder.path().to_owned(), verdicts: Vec::new() };
    for name in FAMILIES {
        bench.admission(find(&scenarios, name));
    }
    bench.refit(&scenarios);
    bench.resting(&scenarios);
    println!();
    for Verdict { what, figure, bound, unit } in &bench.verdicts {
        let word = if figure <= bound { "ok" } else { "MISSED" };
        println!("{what:<52} {figure:>12.1} {unit:<5} of {bound:>12.1}  {word}");
    }
    ExitCode::from(u8::from(bench.verdicts.iter().any(|verdict| verdict.figure > verdict.bound)))
}

fn find<'s>(scenarios: &'s [Scenario], name: &str) -> &'s Scenario {
    scenarios.iter().find(|scenario| scenario.name == name).unwrap_or_else(|| panic!("no scenario is called {name}"))
}

struct Bench {
    criterion: Criterion,
    folder: PathBuf,
    verdicts: Vec<Verdict>,
}

struct Verdict {
    what: String,
    figure: f64,
    bound: f64,
    unit: &'static str,
}

impl Bench {
    /// Takes down what criterion has measured; nothing if it was not asked to.
    fn judge(&mut self, name: &str, words: &str, bound: f64) {
        let Ok(text) = std::fs::read_to_string(self.folder.join(name).join("new/estimates.json")) else { return };
        let estimates: serde_json::Value = serde_json::from_str(&text).expect("criterion writes JSON");
        let figure = estimates["median"]["point_estimate"].as_f64().expect("a median");
        self.verdicts.push(Verdict { what: format!("{name}: {words}"), figure, bound, unit: "ns" });
    }

    /// Asking a settled scope for the right to send, and being told yes or when.
    fn admission(&mut self, scenario: &Scenario) {
        let mut world = World::new(scenario, NETWORK, 1);
        let touch = Touch::new(world.at(0), 1, false);
        let mut client = Timed { touch, admitting: Duration::ZERO, asked: 0 };
        world.run(&mut client, 0, SETTLED_S, None);
        let words = client.describe();
        let mut from_s = SETTLED_S;
        let mut group = self.criterion.benchmark_group("admission");
        group.bench_function(&scenario.name, |bencher| {
            bencher.iter_custom(|count| {
                (client.admitting, client.asked) = (Duration::ZERO, 0);
                while u64::from(client.asked) < count {
                    world.run(&mut client, us(from_s), STRETCH_S, None);
                    from_s += STRETCH_S;
                }
                client.admitting.mul_f64(count as f64 / f64::from(client.asked))
            });
        });
        group.finish();
        self.judge(
            &format!("admission/{}", scenario.name),
            words.split(',').next().unwrap_or_default(),
            ADMISSION_NS_MAX,
        );
    }

    /// A refusal that makes the learner weigh limiters anew, in the scope of all in which that takes longest.
    fn refit(&mut self, scenarios: &[Scenario]) {
        let mut worst: Option<(Duration, &str, Throttle, Timestamp)> = None;
        for scenario in scenarios {
            let mut world = World::new(scenario, NETWORK, 1);
            let mut touch = Touch::new(world.at(0), 1, false);
            world.run(&mut touch, 0, SETTLED_S, None);
            for look in 1..=LOOKS {
                let from_s = SETTLED_S + f64::from(look) * STRETCH_S;
                world.run(&mut touch, us(from_s), STRETCH_S, None);
                let now = world.at(us(from_s + STRETCH_S));
                let throttle = touch.throttle();
                let took = (0..3).map(|_| refusal(throttle, now)).min().expect("three times");
                if worst.as_ref().is_none_or(|(most, ..)| took > *most) {
                    worst = Some((took, &scenario.name, throttle.clone(), now));
                }
            }
        }
        let (_, name, throttle, now) = worst.expect("there are scenarios");
        self.criterion.bench_function("re-fit", |bencher| {
            bencher.iter_batched(
                || admitted(&throttle, now),
                |(throttle, permit, now)| refuse(throttle, permit, now),
                BatchSize::LargeInput,
            );
        });
        self.judge("re-fit", &format!("the costliest, of {name}"), REFIT_NS_MAX);
    }

    /// What is kept of a scope that nothing is sent through.
    fn resting(&mut self, scenarios: &[Scenario]) {
        let awake: Vec<(Throttle, Timestamp)> = scenarios
            .iter()
            .map(|scenario| {
                let mut world = World::new(scenario, NETWORK, 1);
                let mut touch = Touch::new(world.at(0), 1, false);
                world.run(&mut touch, 0, SETTLED_S, None);
                let throttle = touch.throttle().clone();
                let now = world.at(us(SETTLED_S)).plus_ms(throttle.rests_after_ms());
                (throttle, now)
            })
            .collect();
        let region = Region::new(ALLOCATOR);
        let copies: Vec<Throttle> = awake.iter().map(|(throttle, _)| throttle.clone()).collect();
        println!("awake: {:.0} bytes each of {} scopes", held(&region) / copies.len() as f64, copies.len());
        drop(copies);
        let fold = |(throttle, now): &(Throttle, Timestamp)| throttle.fold(*now).expect("nothing is in flight");
        let mut region = Region::new(ALLOCATOR);
        let mut resting: Vec<Resting> = Vec::with_capacity(SCOPES);
        resting.extend((0..SCOPES).map(|index| fold(&awake[index % awake.len()])));
        let what = format!("{SCOPES} scopes at rest, each");
        self.verdicts.push(Verdict {
            what,
            figure: held(&region) / SCOPES as f64,
            bound: RESTING_BYTES_MAX,
            unit: "bytes",
        });
        drop(resting);
        let mut most = (0.0, "");
        for (one, scenario) in awake.iter().zip(scenarios) {
            region.reset();
            let resting = Box::new(fold(one));
            most = if held(&region) > most.0 { (held(&region), &scenario.name) } else { most };
            drop(resting);
        }
        let what = format!("the largest scope at rest, of {}", most.1);
        self.verdicts.push(Verdict { what, figure: most.0, bound: RESTING_BYTES_MAX, unit: "bytes" });
        let (throttle, now) = awake.first().expect("there are scenarios");
        self.criterion.bench_function("rest and wake", |bencher| {
            bencher.iter(|| throttle.fold(*now).map(|resting| resting.unfold(*now)));
        });
    }
}

/// Bytes that were allocated since the region began and are still held.
fn held(region: &Region<'_, System>) -> f64 {
    let change = region.change();
    change.bytes_allocated as f64 - change.bytes_deallocated as f64
}

fn us(seconds: f64) -> i64 {
    (seconds * 1e6) as i64
}

/// The product, with the time that admissions take it.
struct Timed {
    touch: Touch,
    admitting: Duration,
    asked: u32,
}

impl Client for Timed {
    fn poll(&mut self, now: Timestamp) -> Ask {
        let started = Instant::now();
        let ask = self.touch.poll(now);
        self.admitting += started.elapsed();
        self.asked += 1;
        ask
    }

    fn done(&mut self, token: usize, answer: &Answer, now: Timestamp) {
        self.touch.done(token, answer, now);
    }

    fn describe(&self) -> String {
        self.touch.describe()
    }

    fn restart(&mut self, now: Timestamp) {
        self.touch.restart(now);
    }
}

/// A copy of `throttle` with a request in flight, and when its answer comes.
fn admitted(throttle: &Throttle, mut now: Timestamp) -> (Throttle, Permit, Timestamp) {
    let mut throttle = throttle.clone();
    loop {
        match throttle.admit(now) {
            Admission::Go(permit) => return (throttle, permit, now.plus_ms(NETWORK.latency_ms.into())),
            Admission::NotBefore(at) => now = at,
            Admission::Full => panic!("nothing is in flight"),
        }
    }
}

/// Refuses the request without a word about when.
fn refuse(mut throttle: Throttle, permit: Permit, now: Timestamp) -> Throttle {
    throttle.finish(permit, &Feedback::Refused(Hints::default()), now, &mut fastrand::Rng::with_seed(1));
    throttle
}

fn refusal(throttle: &Throttle, now: Timestamp) -> Duration {
    let (throttle, permit, now) = admitted(throttle, now);
    let started = Instant::now();
    let throttle = refuse(throttle, permit, now);
    let took = started.elapsed();
    drop(throttle);
    took
}
