//! Runs of scenarios, on all cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use trundle::clock::{Clock, SystemClock};
use trundle::practice::limiter::{QuotaFields, RetryAfter};

use super::figures::Figures;
use super::optimum::{Best, Span, best, cold, warm};
use super::options::Options;
use super::rivals::{Aimd, AutoThrottle, Cubic, Oracle, Workers};
use super::scenario::Scenario;
use super::touch::Touch;
use super::world::{Client, Network, World};

/// One run and where it happened.
#[derive(Clone, Debug)]
pub struct Case {
    /// Which of the scenarios.
    pub scenario: usize,
    pub client: String,
    pub seed: u64,
    pub network: Network,
    pub figures: Figures,
    pub wall_ms: u64,
}

/// The rest between the first and a warm second run: two hours, after which every limiter is as new, and a part of an hour
/// that the seed decides.
const REST_US: i64 = 7_200_000_000;

/// All runs that `options` ask for, of each of `clients`; in a fixed order.
pub fn all(scenarios: &[Scenario], clients: &[&str], options: &Options) -> Vec<Case> {
    let mut wanted = Vec::new();
    for scenario in 0..scenarios.len() {
        for &client in clients {
            for &network in &options.networks {
                wanted.extend(options.seeds.iter().map(|&seed| (scenario, client, network, seed)));
            }
        }
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let threads = if options.trace { 1 } else { std::thread::available_parallelism().map_or(1, usize::from) };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&(scenario, client, network, seed)) = wanted.get(number) else { return };
                    let clock = SystemClock::new();
                    let started_at = clock.now();
                    let figures = one(&scenarios[scenario], client, network, seed, options);
                    let wall_ms = clock.now().since_ms(started_at);
                    let case = Case { scenario, client: client.to_owned(), seed, network, figures, wall_ms };
                    done.lock().expect("no run panics while it holds this").push((number, case));
                }
            });
        }
    });
    let mut cases = done.into_inner().expect("no run panics while it holds this");
    cases.sort_by_key(|&(number, _)| number);
    cases.into_iter().map(|(_, case)| case).collect()
}

/// One run, or the second of two.
pub fn one(scenario: &Scenario, client: &str, network: Network, seed: u64, options: &Options) -> Figures {
    let Network { latency_ms, jitter_ms } = network;
    let mut world = World::new(scenario, network, seed);
    let first_s = options.first_s.unwrap_or(scenario.seconds.into());
    let from_us = if options.warm {
        (first_s * 1e6) as i64 + REST_US + fastrand::Rng::with_seed(seed).i64(0..3_600_000_000)
    } else {
        0
    };
    let seconds = options.seconds.unwrap_or(scenario.seconds.into());
    let round_trip_s = f64::from(latency_ms) / 1e3 + f64::from(jitter_ms) / 2e3;
    let span = Span {
        from_us: world.first_arrival_us(from_us),
        since_start_s: from_us as f64 / 1e6,
        seconds,
        jitter_s: f64::from(jitter_ms) / 1e3,
        round_trip_s,
        service_s: scenario.service_ms / 1e3,
        seed,
    };
    let best = best(&scenario.limiter, &span);
    let bound = match (options.warm, options.seconds) {
        (true, _) => warm(&scenario.limiter, &span, first_s),
        (false, Some(_)) => cold(&scenario.limiter, &span, is_mute(scenario)),
        (false, None) => best.accepted,
    };
    let keeps = options.warm || scenario.restart_every_s.is_some();
    let mut client = start(client, &world, from_us, &best, seed, keeps);
    if options.warm {
        world.run(client.as_mut(), 0, first_s, scenario.restart_every_s);
        client.restart(world.at(from_us));
    }
    if options.trace {
        println!(
            "{}, seed {seed}, latency {latency_ms} ms, jitter {jitter_ms} ms: {}",
            scenario.name,
            scenario.why.trim()
        );
        world.trace = true;
    }
    let record = world.run(client.as_mut(), from_us, seconds, scenario.restart_every_s);
    // A strict limiter's own rate, not what the jitter on the way leaves of it.
    let true_rates = super::optimum::best(&scenario.limiter, &Span { jitter_s: 0.0, ..span }).rates;
    let per_s = true_rates.last().map_or(0.0, |&(_, per_s)| per_s);
    Figures::read(&record, &best, bound, per_s, seconds, round_trip_s + scenario.service_ms / 1e3)
}

/// Whether no answer says anything about the limit.
pub fn is_mute(scenario: &Scenario) -> bool {
    scenario.answers.retry_after == RetryAfter::Absent && scenario.answers.fields == QuotaFields::Absent
}

fn start(name: &str, world: &World, from_us: i64, best: &Best, seed: u64, keeps: bool) -> Box<dyn Client> {
    let now = world.at(0);
    match name {
        "touch" => Box::new(Touch::new(now, seed, keeps)),
        "oracle" => Box::new(Oracle::new(world.at(from_us), best.rates.clone())),
        "workers" => Box::new(Workers::new(seed)),
        "cubic" => Box::new(Cubic::new(now, seed)),
        "aimd" => Box::new(Aimd::new(now, seed)),
        "autothrottle" => Box::new(AutoThrottle::new(now, seed)),
        other => panic!("no client is called {other}"),
    }
}
