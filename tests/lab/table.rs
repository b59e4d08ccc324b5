//! What is printed: a row for each scenario, the worst over seeds, latencies and jitters.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use trundle::clock::{Clock, SystemClock};

use super::figures::Figures;
use super::options::Options;
use super::rivals;
use super::runs::{self, Case};
use super::scenario::{Expect, Scenario};

/// Runs what `options` ask for and prints it.
pub fn print(folder: &Path, options: &Options) {
    let mut scenarios = Scenario::all(folder);
    if let Some(only) = &options.only {
        scenarios.retain(|scenario| scenario.name.contains(only.as_str()));
    }
    let clock = SystemClock::new();
    let started_at = clock.now();
    let count = if options.side_by_side {
        let clients: Vec<&str> = ["touch"].into_iter().chain(rivals::NAMES).collect();
        let cases = runs::all(&scenarios, &clients, options);
        print_side_by_side(&scenarios, &clients, &cases);
        cases.len()
    } else {
        let cases = runs::all(&scenarios, &[&options.client], options);
        print_rows(&scenarios, &cases, options.seconds.is_none() && !options.warm);
        cases.len()
    };
    println!("{count} runs in {} ms", clock.now().since_ms(started_at));
}

/// The worst of the runs of one scenario by one client, figure by figure.
struct Worst<'c> {
    cases: Vec<&'c Case>,
    /// The run with the least goodput.
    case: &'c Case,
    learning: u32,
    settled: bool,
    refused_late: f64,
    violations: u32,
    drop: Option<u32>,
    rise: Option<u32>,
    p95: f64,
}

impl<'c> Worst<'c> {
    fn of(cases: impl Iterator<Item = &'c Case>) -> Option<Self> {
        let cases: Vec<&Case> = cases.collect();
        let case = *cases.iter().min_by(|one, other| one.figures.goodput.total_cmp(&other.figures.goodput))?;
        Some(Self {
            case,
            learning: cases.iter().map(|case| case.figures.learning).max().unwrap_or(0),
            settled: cases.iter().all(|case| case.figures.settled),
            refused_late: most(&cases, |figures| figures.refused_late),
            violations: cases.iter().map(|case| case.figures.violations).sum(),
            drop: cases.iter().filter_map(|case| case.figures.drop).max(),
            rise: cases.iter().filter_map(|case| case.figures.rise).max(),
            p95: most(&cases, |figures| figures.p95),
            cases,
        })
    }

    /// The columns that are worse than the scenario expects; a wait that was not kept always is.
    fn misses(&self, expect: &Expect) -> Vec<&'static str> {
        let columns = [
            ("G", expect.goodput_min.is_some_and(|least| self.case.figures.goodput < least)),
            ("R/2", expect.refused_max.is_some_and(|most| self.refused_late > most)),
            ("learn", expect.learning_max.is_some_and(|most| self.learning > most)),
            ("drop", expect.drop_max.is_some_and(|most| self.drop.is_none_or(|drop| drop > most))),
            ("rise", expect.rise_max.is_some_and(|most| self.rise.is_none_or(|rise| rise > most))),
            ("p95", expect.p95_max.is_some_and(|most| self.p95 > most)),
            ("viol", self.violations > 0),
        ];
        columns.into_iter().filter(|&(_, misses)| misses).map(|(name, _)| name).collect()
    }
}

fn most(cases: &[&Case], pick: impl Fn(&Figures) -> f64) -> f64 {
    cases.iter().map(|case| pick(&case.figures)).fold(0.0, f64::max)
}

fn print_rows(scenarios: &[Scenario], cases: &[Case], is_judged: bool) {
    println!(
        "G: accepted / optimum. mean: the same, over all runs. R: refused / sent. R/2: in the second half. learn: refusals until
the limit was first taken for known (never: of the whole run; a client with no such notion: until t90). r600: refusals until 600 in a
row were accepted. t90: s until 0.9 of the rate. viol: sends inside a Retry-After. ban: times shut out. drop: refusals in the 60 s after one. rise: accepted until 0.9 of the new rate. p95: time to an
answer / unhurried mean. rate: error of the rate that is believed at the end. Each the worst of all runs but for `mean`; `at`:
seed/latency/jitter of the least G. reach: what a client can reach that must find the limit within the run, if that is less than
`best`.\n"
    );
    println!(
        "{:<28} {:>6} {:>6} {:>6} {:>6} {:>6} {:>5} {:>6} {:>5} {:>4} {:>4} {:>4} {:>5} {:>5} {:>6} {:>6} {:<9} {:>6} what is believed, and what was at the worst",
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
        "rate %",
        "ms",
        "at",
        "reach"
    );
    let mut missed = 0;
    let mut worst_goodputs = Vec::new();
    for (number, scenario) in scenarios.iter().enumerate() {
        let Some(worst) = Worst::of(cases.iter().filter(|case| case.scenario == number)) else { continue };
        worst_goodputs.push(worst.case.figures.goodput);
        let misses = if is_judged { worst.misses(&scenario.expect) } else { Vec::new() };
        missed += usize::from(!misses.is_empty());
        println!("{}", row(scenario, &worst, &misses));
    }
    let goodputs: Vec<f64> = cases.iter().map(|case| case.figures.goodput).collect();
    let sent: u32 = cases.iter().map(|case| case.figures.sent).sum();
    let refused: u32 = cases.iter().map(|case| case.figures.refused).sum();
    let violations: u32 = cases.iter().map(|case| case.figures.violations).sum();
    println!(
        "\ngoodput: geometric mean {:.2} % over all runs, {:.2} % over the worst of each row, least {:.2} %; refused {:.3} % of \
         {sent}; {violations} violations",
        geometric_mean(&goodputs) * 100.0,
        geometric_mean(&worst_goodputs) * 100.0,
        goodputs.iter().copied().fold(f64::INFINITY, f64::min) * 100.0,
        f64::from(refused) / f64::from(sent.max(1)) * 100.0,
    );
    let of_bounds: Vec<f64> = cases.iter().map(|case| case.figures.of_bound).collect();
    if cases.iter().any(|case| case.figures.bound < case.figures.best) {
        println!(
            "of what can be reached by a client that must find the limit within the run: geometric mean {:.2} % over all runs, least \
             {:.2} %",
            geometric_mean(&of_bounds) * 100.0,
            of_bounds.iter().copied().fold(f64::INFINITY, f64::min) * 100.0,
        );
    }
    if is_judged {
        println!("{missed} of {} rows miss what they should reach", scenarios.len());
    }
}

fn row(scenario: &Scenario, worst: &Worst<'_>, misses: &[&str]) -> String {
    let Worst { ref cases, case, .. } = *worst;
    let or_dash = |value: Option<u32>| value.map_or("-".to_owned(), |value| value.to_string());
    let t90_s = most(cases, |figures| figures.t90_s.unwrap_or(f64::INFINITY));
    let bans = cases.iter().map(|case| case.figures.bans).max().filter(|&bans| bans > 0);
    let rate_errors = cases.iter().filter_map(|case| case.figures.rate_error);
    let rate_error = rate_errors.max_by(|one, other| one.abs().total_cmp(&other.abs()));
    let settling = cases.iter().map(|case| case.figures.settling).max().unwrap_or(0);
    format!(
        "{:<28} {:>6.0} {:>6.2} {:>6.2} {:>6.2} {:>6.2} {:>5} {:>6} {:>5} {:>4} {:>4} {:>4} {:>5} {:>5.2} {:>6} {:>6} {:<9} {:>6} {}{}{}",
        scenario.name,
        case.figures.best,
        case.figures.goodput * 100.0,
        cases.iter().map(|case| case.figures.goodput).sum::<f64>() / cases.len() as f64 * 100.0,
        most(cases, |figures| figures.refused_share) * 100.0,
        worst.refused_late * 100.0,
        worst.learning,
        format!("{settling}{}", if worst.settled { "" } else { "+" }),
        if t90_s.is_finite() { format!("{t90_s:.0}") } else { "never".to_owned() },
        worst.violations,
        bans.map_or("-".to_owned(), |bans| bans.to_string()),
        or_dash(worst.drop),
        or_dash(worst.rise.filter(|&rise| rise != u32::MAX)),
        worst.p95,
        rate_error.map_or("-".to_owned(), |error| format!("{:.2}", error * 100.0)),
        cases.iter().map(|case| case.wall_ms).sum::<u64>(),
        format!("{}/{}/{}", case.seed, case.network.latency_ms, case.network.jitter_ms),
        if case.figures.bound < case.figures.best { format!("{:.0}", case.figures.bound) } else { "-".to_owned() },
        families(cases),
        case.figures.words,
        if misses.is_empty() { String::new() } else { format!("  MISSES {}", misses.join(" ")) },
    )
}

/// The families that were named, the most frequent first, with the number of runs if there are several.
fn families(cases: &[&Case]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for case in cases {
        *counts.entry(&case.figures.family).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|&(_, runs)| Reverse(runs));
    match counts.as_slice() {
        [_] => String::new(),
        several => several.iter().map(|(family, runs)| format!("{runs}x {family}; ")).collect(),
    }
}

fn geometric_mean(shares: &[f64]) -> f64 {
    // A run without one accepted request is bad enough as a thousandth of a percent.
    let logarithms: f64 = shares.iter().map(|share| share.max(1e-5).ln()).sum();
    (logarithms / shares.len().max(1) as f64).exp()
}

fn print_side_by_side(scenarios: &[Scenario], clients: &[&str], cases: &[Case]) {
    println!("least goodput % / most refused % / waits not kept, if any; the worst of all runs\n");
    print!("{:<28}", "scenario");
    for client in clients {
        print!(" {client:>20}");
    }
    println!();
    for (number, scenario) in scenarios.iter().enumerate() {
        print!("{:<28}", scenario.name);
        for &client in clients {
            let own = cases.iter().filter(|case| case.scenario == number && case.client == client);
            let Some(worst) = Worst::of(own) else { continue };
            let refused = most(&worst.cases, |figures| figures.refused_share);
            let violations = if worst.violations > 0 { format!("/{}", worst.violations) } else { String::new() };
            let cell = format!("{:.1}/{:.2}{violations}", worst.case.figures.goodput * 100.0, refused * 100.0);
            print!(" {cell:>20}");
        }
        println!();
    }
    print!("{:<28}", "geometric mean");
    for &client in clients {
        let goodputs: Vec<f64> =
            cases.iter().filter(|case| case.client == client).map(|case| case.figures.goodput).collect();
        print!(" {:>20.1}", geometric_mean(&goodputs) * 100.0);
    }
    println!();
}
