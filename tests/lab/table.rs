//! Runs scenarios on all cores and prints a row for each: the worst over seeds, latencies and jitters.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use trundle::clock::{Clock, SystemClock};

use super::figures::Figures;
use super::optimum::{Span, best};
use super::options::Options;
use super::scenario::Scenario;
use super::touch::Touch;
use super::world::{Client, Network, World};

/// One run and where it happened.
#[derive(Clone, Debug)]
pub struct Case {
    pub scenario: usize,
    pub seed: u64,
    pub network: Network,
    pub figures: Figures,
    pub wall_ms: u64,
}

/// The rest between the first and a warm second run: two hours, after which every limiter is as new, and a part of an hour
/// that the seed decides.
const REST_US: i64 = 7_200_000_000;

/// Runs what `options` ask for and prints it; the number of rows that miss what their scenario expects.
pub fn print(folder: &Path, options: &Options) -> usize {
    let scenarios: Vec<Scenario> = Scenario::all(folder)
        .into_iter()
        .filter(|scenario| options.only.as_ref().is_none_or(|only| scenario.name.contains(only.as_str())))
        .collect();
    let clock = SystemClock::new();
    let started_at = clock.now();
    let cases = run_all(&scenarios, options);
    println!(
        "{:<28} {:>6} {:>6} {:>6} {:>6} {:>7} {:>7} {:>5} {:>5} {:>6} {:>4} {:>4} {:>5} {:>5} {:>5} {:>7}  learned there",
        "scenario",
        "best",
        "G %",
        "mean",
        "R %",
        "R/2 %",
        "learn",
        "r600",
        "t90",
        "viol",
        "ban",
        "drop",
        "rise",
        "p95",
        "ms",
        "worst at"
    );
    let mut missed = 0;
    for (number, scenario) in scenarios.iter().enumerate() {
        let cases: Vec<&Case> = cases.iter().filter(|case| case.scenario == number).collect();
        missed += usize::from(!print_row(scenario, &cases));
    }
    println!(
        "{} runs in {} ms; {missed} rows miss what they should reach",
        cases.len(),
        clock.now().since_ms(started_at)
    );
    missed
}

fn print_row(scenario: &Scenario, cases: &[&Case]) -> bool {
    let worst = cases.iter().min_by(|one, other| one.figures.goodput.total_cmp(&other.figures.goodput));
    let Some(worst) = worst else { return true };
    let most = |pick: &dyn Fn(&Figures) -> f64| cases.iter().map(|case| pick(&case.figures)).fold(0.0, f64::max);
    let maybe = |value: f64| if value > 0.0 { format!("{value:.0}") } else { "-".to_owned() };
    let mean = cases.iter().map(|case| case.figures.goodput).sum::<f64>() / cases.len() as f64;
    let learned = cases.iter().all(|case| case.figures.learned);
    let learning = most(&|figures| figures.learning.into());
    let late = most(&|figures| figures.refused_late);
    let t90 = most(&|figures| figures.t90_s.unwrap_or(f64::INFINITY));
    let drop = cases.iter().filter_map(|case| case.figures.drop).max();
    let rise = cases.iter().filter_map(|case| case.figures.rise).max();
    let p95 = most(&|figures| figures.p95);
    let violations = cases.iter().map(|case| case.figures.violations).sum::<u32>();
    let expect = &scenario.expect;
    let misses = [
        ("G", expect.goodput_min.is_some_and(|least| worst.figures.goodput < least)),
        ("R", expect.refused_max.is_some_and(|most| late > most)),
        ("learn", expect.learning_max.is_some_and(|most| learning > f64::from(most))),
        ("drop", expect.drop_max.is_some_and(|most| drop.is_none_or(|drop| drop > most))),
        ("rise", expect.rise_max.is_some_and(|most| rise.is_none_or(|rise| rise > most))),
        ("p95", expect.p95_max.is_some_and(|most| p95 > most)),
        ("viol", violations > 0),
    ];
    let missed: Vec<&str> = misses.iter().filter(|(_, misses)| *misses).map(|&(name, _)| name).collect();
    println!(
        "{:<28} {:>6.0} {:>6.2} {:>6.2} {:>6.2} {:>7.3} {:>7} {:>5} {:>5} {:>6} {:>4} {:>4} {:>5} {:>5.2} {:>5} {:>7}  {}{}",
        scenario.name,
        worst.figures.best,
        worst.figures.goodput * 100.0,
        mean * 100.0,
        most(&|figures| figures.refused_share) * 100.0,
        late * 100.0,
        most(&|figures| figures.refused_early.into()),
        format!("{learning}{}", if learned { "" } else { "+" }),
        if t90.is_finite() { format!("{t90:.0}") } else { "never".to_owned() },
        violations,
        maybe(most(&|figures| figures.bans as f64)),
        drop.map_or("-".to_owned(), |drop| drop.to_string()),
        rise.map_or("-".to_owned(), |rise| if rise == u32::MAX { "never".to_owned() } else { rise.to_string() }),
        p95,
        cases.iter().map(|case| case.wall_ms).sum::<u64>(),
        format!("{}/{}/{}", worst.seed, worst.network.latency_ms, worst.network.jitter_ms),
        worst.figures.words,
        if missed.is_empty() { String::new() } else { format!("  MISSES {}", missed.join(" ")) },
    );
    missed.is_empty()
}

/// All runs, on all cores; in a fixed order.
pub fn run_all(scenarios: &[Scenario], options: &Options) -> Vec<Case> {
    let mut wanted = Vec::new();
    for scenario in 0..scenarios.len() {
        for &network in &options.networks {
            wanted.extend(options.seeds.iter().map(|&seed| (scenario, network, seed)));
        }
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let threads = if options.trace { 1 } else { std::thread::available_parallelism().map_or(1, usize::from) };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(&(scenario, network, seed)) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let case = run_one(scenario, &scenarios[scenario], network, seed, options);
                    done.lock().expect("no run panics while it holds this").push(case);
                }
            });
        }
    });
    let mut cases = done.into_inner().expect("no run panics while it holds this");
    cases.sort_by_key(|case| (case.scenario, case.network.latency_ms, case.network.jitter_ms, case.seed));
    cases
}

fn run_one(number: usize, scenario: &Scenario, network: Network, seed: u64, options: &Options) -> Case {
    let clock = SystemClock::new();
    let started_at = clock.now();
    let mut world = World::new(scenario, network, seed);
    world.trace = options.trace;
    if options.trace {
        let Network { latency_ms, jitter_ms } = network;
        println!(
            "{}, seed {seed}, latency {latency_ms} ms, jitter {jitter_ms} ms: {}",
            scenario.name,
            scenario.why.trim()
        );
    }
    let seconds = options.seconds.unwrap_or(scenario.seconds.into());
    let keeps = options.warm || scenario.restart_every_s.is_some();
    let mut client = client(&options.client, &world, seed, keeps);
    let mut from_us = 0;
    if options.warm {
        world.trace = false;
        drop(world.run(client.as_mut(), 0, scenario.seconds.into(), scenario.restart_every_s));
        let rest_us = REST_US + fastrand::Rng::with_seed(seed).i64(0..3_600_000_000);
        from_us = i64::from(scenario.seconds) * 1_000_000 + rest_us;
        client.restart(world.at(from_us));
        world.trace = options.trace;
    }
    let record = world.run(client.as_mut(), from_us, seconds, scenario.restart_every_s);
    let round_trip_s = f64::from(network.latency_ms) / 1e3 + f64::from(network.jitter_ms) / 2e3;
    let span = Span {
        from_us: world.first_arrival_us(from_us),
        since_start_s: from_us as f64 / 1e6,
        seconds,
        jitter_s: f64::from(network.jitter_ms) / 1e3,
        round_trip_s,
        service_s: scenario.service_ms / 1e3,
        seed,
    };
    let best = best(&scenario.limiter, &span);
    let figures = Figures::read(&record, &best, seconds, round_trip_s + scenario.service_ms / 1e3);
    Case { scenario: number, seed, network, figures, wall_ms: clock.now().since_ms(started_at) }
}

fn client(name: &str, world: &World, seed: u64, keeps: bool) -> Box<dyn Client> {
    match name {
        "touch" => Box::new(Touch::new(world.start(), seed, keeps)),
        other => panic!("no client is called {other}"),
    }
}
