//! Which limiter explains what we have seen: replays the evidence through every candidate and weighs the contradictions.
//!
//! Enters: evidence and what else is known (clock, jitter, the model so far). Leaves: a [`Fit`]. It runs when a refusal or
//! its end brings news, never for each request. Deliberately absent: what to do about it.
//!
//! The cost of a candidate is what it leaves unexplained: an accepted request beyond its threshold, a refused one below, an
//! announced wait that it would not announce, and how rare such limiters are. The method and the weights come from measurements
//! on simulated limiters; `cargo bench --bench limits` measures them again.

use serde::{Deserialize, Serialize};

use super::evidence::{Closure, Evidence, Fate, Shot};
use super::family::Kind;

/// Lengths of windows that people configure, in ms, with how much rarer than a minute each is.
const WINDOWS_MS: [(f64, f64); 15] = [
    (1_000.0, 0.0),
    (2_000.0, 0.4),
    (5_000.0, 0.3),
    (10_000.0, 0.1),
    (15_000.0, 0.3),
    (20_000.0, 0.4),
    (30_000.0, 0.2),
    (60_000.0, 0.0),
    (120_000.0, 0.4),
    (300_000.0, 0.1),
    (600_000.0, 0.2),
    (900_000.0, 0.1),
    (1_800_000.0, 0.3),
    (3_600_000.0, 0.0),
    (86_400_000.0, 0.1),
];
/// Windows up to this long are tried at all phases.
const SCANNED_MS_MAX: f64 = 5_000.0;
/// Accepted requests at the highest levels that a score looks at.
const TOP: usize = 32;
/// Refused requests that a score looks at.
const REFUSED_MAX: usize = 48;
/// What a refusal counts that was in flight with another one: a part of the same news.
const ECHO_WEIGHT: f64 = 0.3;
/// What a bucket may hold that was never seen full.
const BURST_GUESS: f64 = 30.0;
/// How much rarer two limits are than one.
const PAIR_RARITY: f64 = 1.0;
/// How much more is believed of the model so far than of another.
const INERTIA: f64 = 0.6;
/// A candidate is plausible within this much of the best.
pub const PLAUSIBLE: f64 = 2.0;
/// Rates are as uncertain as the candidates within this much of the best.
const RATE_SLACK: f64 = 0.7;

/// A kind of limiter with its threshold: it admits while level + 1 stays at or below it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// The kind.
    pub kind: Kind,
    /// The threshold.
    pub threshold: f64,
    /// How long a refusal closes it, whatever the level does; 0 when the level alone decides.
    pub ban_ms: f64,
    /// A second limit that holds beside it, with its threshold.
    pub second: Option<(Kind, f64)>,
}

impl Model {
    /// What it grants in the long run, in requests a ms.
    pub fn rate_per_ms(&self) -> f64 {
        let second = self.second.map_or(f64::INFINITY, |(kind, threshold)| kind.rate_per_ms(threshold));
        self.kind.rate_per_ms(self.threshold).min(second)
    }

    /// Its limits with their thresholds.
    pub fn parts(&self) -> impl Iterator<Item = (Kind, f64)> {
        std::iter::once((self.kind, self.threshold)).chain(self.second)
    }
}

/// A candidate and what it leaves unexplained.
#[derive(Clone, Copy, Debug)]
pub struct Scored {
    /// The candidate.
    pub model: Model,
    /// What it leaves unexplained; 0 would be a common limiter that explains all.
    pub cost: f64,
}

/// What the evidence says.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The plausible candidates, best first; the best of each kind and window.
    pub rivals: Vec<Scored>,
    /// The lowest rate that is plausible, in requests a ms.
    pub rate_lo: f64,
    /// The highest.
    pub rate_hi: f64,
}

/// What else is known.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The spread of the time to the server, in ms.
    pub jitter_ms: f64,
    /// The server's clock minus ours, in ms; NaN when it never said.
    pub clock_ms: f64,
    /// The model so far.
    pub known: Option<Model>,
    /// What a bucket holds at the first shot when the evidence is cut.
    pub start_level: Option<f64>,
    /// Whether that model is known well.
    pub is_settled: bool,
    /// The last single limit that was known well: beside it there may be another.
    pub base: Option<Model>,
    /// Whether to look only at the model so far and its neighbours: nothing speaks against it.
    pub is_local: bool,
    /// How much a bucket held when the evidence begins with an empty one; it cannot be measured then.
    pub burst: Option<f64>,
}

/// The search for a [`Fit`].
struct Search<'e> {
    shots: Vec<Shot>,
    closures: Vec<Closure>,
    context: &'e Context,
    is_cut: bool,
    /// Accepted requests a ms in busy times, for the tolerance of windows.
    busy_per_ms: f64,
    /// What a bucket holds, and held at the first shot, when the past is missing.
    burst: Option<f64>,
    start_level: Option<f64>,
    levels: Vec<f64>,
    accepted: Vec<f64>,
    refused: Vec<(f64, f64)>,
    found: Vec<Found>,
}

#[derive(Clone, Copy)]
struct Found {
    scored: Scored,
    lo: f64,
    hi: f64,
}

/// The threshold that contradicts the levels least.
struct Score {
    cost: f64,
    threshold: f64,
    lo: f64,
    hi: f64,
}

impl Fit {
    /// Fits all candidates to `evidence`; none before the first refusal.
    #[must_use]
    pub fn of(evidence: &Evidence, context: &Context) -> Option<Self> {
        let shots = evidence.known();
        if !shots.iter().any(|shot| shot.fate == Fate::Refused) {
            return None;
        }
        let closures: Vec<Closure> = evidence.closures().iter().copied().collect();
        let mut search = Search {
            busy_per_ms: busy_rate(&shots),
            shots,
            closures,
            context,
            is_cut: evidence.is_cut(),
            burst: context.burst,
            start_level: context.start_level,
            levels: Vec::new(),
            accepted: Vec::new(),
            refused: Vec::new(),
            found: Vec::new(),
        };
        if let Some(known) = context.known.filter(|_| context.is_local) {
            search.run_near(&known);
            return search.finish();
        }
        search.run(0.0);
        search.try_pairs();
        if let Some(ban_ms) = search.ban_ms() {
            let closed: Vec<Closure> = search.closures.clone();
            search.shots.retain(|shot| !(shot.is_probe && shot.fate == Fate::Refused));
            search.run(ban_ms);
            search.closures = closed;
        }
        search.finish()
    }

    /// The best candidate.
    #[must_use]
    pub fn best(&self) -> Model {
        self.rivals[0].model
    }

    /// How uncertain the rate is: the highest plausible one by the lowest.
    #[must_use]
    pub fn width(&self) -> f64 {
        self.rate_hi / self.rate_lo
    }
}

impl Search<'_> {
    /// Only the model so far, with its parameters measured anew.
    fn run_near(&mut self, known: &Model) {
        if known.ban_ms > 0.0 {
            self.shots.retain(|shot| !(shot.is_probe && shot.fate == Fate::Refused));
        }
        match known.kind {
            Kind::Bucket { rate_per_ms } => {
                let mut best = (f64::INFINITY, rate_per_ms);
                for (reach, steps) in [(0.02, 16), (0.001_2, 8)] {
                    let centre = best.1;
                    for step in -steps..=steps {
                        let rate = centre * (1.0 + reach * f64::from(step) / f64::from(steps));
                        let cost = self.try_bucket(rate, known.ban_ms, 0.0);
                        if cost < best.0 {
                            best = (cost, rate);
                        }
                    }
                }
            }
            Kind::Fixed { window_ms, phase_ms } => {
                for step in -2..=2 {
                    let phase_ms = (phase_ms + f64::from(step) * window_ms / 256.0).rem_euclid(window_ms);
                    self.try_kind(Kind::Fixed { window_ms, phase_ms }, known.ban_ms, 0.35);
                }
            }
            kind => {
                self.try_kind(kind, known.ban_ms, 0.4);
            }
        }
    }

    fn run(&mut self, ban_ms: f64) {
        let prior = if ban_ms > 0.0 { 1.2 } else { 0.0 };
        for (window_ms, rarity) in self.windows() {
            if window_ms <= SCANNED_MS_MAX {
                self.scan_phases(window_ms, ban_ms, prior + 0.35 + rarity);
            }
            for phase_ms in self.phases(window_ms) {
                self.try_kind(Kind::Fixed { window_ms, phase_ms }, ban_ms, prior + 0.35 + rarity);
            }
            if window_ms > SCANNED_MS_MAX {
                let clock_phase_ms = (-self.context.clock_ms).rem_euclid(window_ms);
                for phase_ms in [None, clock_phase_ms.is_finite().then_some(clock_phase_ms)] {
                    self.try_kind(Kind::Counter { window_ms, phase_ms, all: true }, ban_ms, prior + 1.5 + 2.0 * rarity);
                    self.try_kind(
                        Kind::Counter { window_ms, phase_ms, all: false },
                        ban_ms,
                        prior + 1.6 + 2.0 * rarity,
                    );
                }
            }
            self.try_kind(Kind::FirstHit { window_ms }, ban_ms, prior + 0.3 + rarity);
            self.try_kind(Kind::Log { window_ms, all: false }, ban_ms, prior + 0.4 + rarity);
            self.try_kind(Kind::Log { window_ms, all: true }, ban_ms, prior + 1.0 + rarity);
        }
        self.try_buckets(ban_ms, prior);
    }

    /// If the limit that was known explains only some of the refusals, perhaps another one explains the rest.
    fn try_pairs(&mut self) {
        let Some(known) = self.context.base else { return };
        let best = self.found.iter().map(|found| found.scored.cost).fold(f64::INFINITY, f64::min);
        let (kind, threshold) = (known.kind, known.threshold);
        let mut ledger = kind.ledger(0.0);
        if let (Some(level), Some(first), true) = (self.context.start_level, self.shots.first(), self.is_cut) {
            ledger.fill(level, first.at_ms);
        }
        ledger.replay(&self.shots, &mut self.levels);
        let below = (threshold * 0.1).max(1.5);
        let is_left = |shot: &Shot, level: f64| shot.fate == Fate::Accepted || level + 1.0 <= threshold - below;
        let all = self.shots.clone();
        self.shots.retain({
            let mut levels = self.levels.iter();
            move |shot| levels.next().is_some_and(|&level| is_left(shot, level))
        });
        let left = self.shots.iter().filter(|shot| shot.fate == Fate::Refused && !shot.is_echo).count();
        if left >= 2 {
            let singles = std::mem::take(&mut self.found);
            for (window_ms, rarity) in self.windows() {
                if kind.window_ms().is_some_and(|known_ms| window_ms < known_ms * 3.0) {
                    continue;
                }
                for index in 0..24 {
                    let phase_ms = window_ms * f64::from(index) / 24.0;
                    self.try_kind(Kind::Fixed { window_ms, phase_ms }, 0.0, 0.4 + rarity);
                }
                for phase_ms in self.phases(window_ms) {
                    self.try_kind(Kind::Fixed { window_ms, phase_ms }, 0.0, 0.35 + rarity);
                }
                self.try_kind(Kind::FirstHit { window_ms }, 0.0, 0.3 + rarity);
                self.try_kind(Kind::Log { window_ms, all: false }, 0.0, 0.4 + rarity);
            }
            let halves = std::mem::replace(&mut self.found, singles);
            self.found.extend(halves.iter().filter(|half| half.scored.cost + PAIR_RARITY < best).map(|half| {
                let second = Some((half.scored.model.kind, half.scored.model.threshold));
                let model = Model { kind, threshold, ban_ms: 0.0, second };
                let rate = model.rate_per_ms();
                Found { scored: Scored { model, cost: half.scored.cost + PAIR_RARITY }, lo: rate, hi: rate }
            }));
        }
        self.shots = all;
    }

    /// The usual lengths of windows, and those that announced waits imply.
    fn windows(&self) -> Vec<(f64, f64)> {
        let mut windows = WINDOWS_MS.to_vec();
        for pair in self.closures.windows(2) {
            let implied_ms = ((pair[1].told_ms - pair[0].opened_ms) / 1_000.0).round() * 1_000.0;
            if implied_ms >= 1_000.0 && windows.iter().all(|(known_ms, _)| (known_ms - implied_ms).abs() > 1_500.0) {
                windows.push((implied_ms, 0.8));
            }
        }
        windows.truncate(WINDOWS_MS.len() + 4);
        windows
    }

    /// Tries all phases of a short window, which probes after a refusal are too coarse to find.
    fn scan_phases(&mut self, window_ms: f64, ban_ms: f64, prior: f64) {
        let mut best = (f64::INFINITY, 0.0);
        let (mut centre, mut step) = (0.0, window_ms / 16.0);
        for round in 0..3 {
            let reach = if round == 0 { -8..8 } else { -3..4 };
            for index in reach {
                let phase_ms = (centre + f64::from(index) * step).rem_euclid(window_ms);
                let cost = self.try_kind(Kind::Fixed { window_ms, phase_ms }, ban_ms, prior);
                if cost < best.0 {
                    best = (cost, phase_ms);
                }
            }
            (centre, step) = (best.1, step / 4.0);
        }
    }

    /// Where windows of this length may begin: on the round instants of the server's clock, where it opened again, and where
    /// it said that it would.
    fn phases(&self, window_ms: f64) -> Vec<f64> {
        let mut phases: Vec<f64> = Vec::new();
        let mut add = |at_ms: f64| {
            let phase_ms = at_ms.rem_euclid(window_ms);
            let is_new = |known: &f64| {
                let apart = (known - phase_ms).abs();
                apart.min(window_ms - apart) > window_ms * 0.004
            };
            if phase_ms.is_finite() && phases.len() < 3 && phases.iter().all(is_new) {
                phases.push(phase_ms);
            }
        };
        add(-self.context.clock_ms);
        if let Some(Kind::Fixed { window_ms: known_ms, phase_ms }) = self.context.known.map(|model| model.kind)
            && (known_ms - window_ms).abs() < 1.0
        {
            add(phase_ms);
        }
        for closure in self.closures.iter().rev() {
            add(closure.told_ms);
            // The edge lies before the probe that passed; to take it for later costs nothing while windows are spent early.
            add(closure.opened_ms);
        }
        phases
    }

    fn try_buckets(&mut self, ban_ms: f64, prior: f64) {
        let first_ms = self.shots.first().map_or(0.0, |shot| shot.at_ms);
        let span_ms = (self.shots.last().map_or(0.0, |shot| shot.at_ms) - first_ms).max(100.0);
        let count: f64 = self.accepted_count();
        let mean = (count / span_ms).max(1e-7);
        let mut rates: Vec<f64> = Vec::new();
        let mut rate = mean / 200.0;
        while rate < (self.busy_per_ms * 2.0).max(mean * 2.0) {
            rates.push(rate);
            rate *= 1.12;
        }
        // Between two refusals of a bucket that was empty at both, what was accepted is what dripped in.
        rates.extend(self.rates_between_refusals());
        // Of a bucket that holds nothing, the shortest gaps that passed are the rate.
        let mut gaps: Vec<f64> = self
            .shots
            .windows(2)
            .filter(|pair| pair[1].fate == Fate::Accepted && pair[1].count == 1 && pair[1].at_ms > pair[0].at_ms)
            .map(|pair| pair[1].at_ms - pair[0].at_ms)
            .collect();
        gaps.sort_unstable_by(f64::total_cmp);
        rates.extend([0, 1, 3, 8].iter().filter_map(|&index| gaps.get(index)).flat_map(|gap| [1.0 / gap, 1.02 / gap]));
        if let Some(Kind::Bucket { rate_per_ms }) = self.context.known.map(|model| model.kind) {
            rates.push(rate_per_ms);
        }
        let mut tried: Vec<(f64, f64)> =
            rates.iter().map(|&rate| (self.try_bucket(rate, ban_ms, prior), rate)).collect();
        for (best, reach, steps) in [(3, 0.12, 12), (2, 0.012, 10), (1, 0.0012, 8)] {
            tried.sort_by(|a, b| a.0.total_cmp(&b.0));
            let centres: Vec<f64> = tried.iter().take(best).map(|&(_, rate)| rate).collect();
            for centre in centres {
                for step in -steps..=steps {
                    if step != 0 {
                        let rate = centre * (1.0 + reach * f64::from(step) / f64::from(steps));
                        tried.push((self.try_bucket(rate, ban_ms, prior), rate));
                    }
                }
            }
        }
    }

    /// A bucket whose past is missing was empty at the first shot; how much it holds is not known then.
    fn try_bucket(&mut self, rate_per_ms: f64, ban_ms: f64, prior: f64) -> f64 {
        let kind = Kind::Bucket { rate_per_ms };
        let cost = self.try_kind(kind, ban_ms, prior);
        match self.context.burst {
            Some(burst) if self.is_cut && !self.context.is_settled && burst < BURST_GUESS => {
                let (start_level, known) = (self.start_level, self.burst);
                (self.start_level, self.burst) = (Some(BURST_GUESS), Some(BURST_GUESS));
                let other = self.try_kind(kind, ban_ms, prior + 0.3);
                (self.start_level, self.burst) = (start_level, known);
                cost.min(other)
            }
            _ => cost,
        }
    }

    fn accepted_count(&self) -> f64 {
        self.shots.iter().filter(|shot| shot.fate == Fate::Accepted).map(|shot| f64::from(shot.count)).sum()
    }

    fn rates_between_refusals(&self) -> Vec<f64> {
        let mut rates = Vec::new();
        let touches: Vec<f64> = self.closures.iter().map(|closure| closure.touched_ms).collect();
        for (index, &from_ms) in touches.iter().enumerate() {
            for &to_ms in touches[index + 1..].iter().rev().take(3) {
                let count: f64 = self
                    .shots
                    .iter()
                    .filter(|shot| shot.fate == Fate::Accepted && shot.at_ms > from_ms && shot.at_ms < to_ms)
                    .map(|shot| f64::from(shot.count))
                    .sum();
                if count >= 3.0 {
                    rates.extend([-0.5, 0.0, 0.5].map(|more| (count + more) / (to_ms - from_ms)));
                }
            }
        }
        rates.truncate(36);
        rates
    }

    /// Scores one candidate and notes it; its cost.
    fn try_kind(&mut self, kind: Kind, ban_ms: f64, prior: f64) -> f64 {
        let mut ledger = kind.ledger(0.0);
        let burst = self.burst.filter(|_| self.is_cut && matches!(kind, Kind::Bucket { .. }));
        if let (Some(level), Some(first)) = (self.start_level.filter(|_| self.is_cut), self.shots.first()) {
            ledger.fill(level, first.at_ms);
        }
        ledger.replay(&self.shots, &mut self.levels);
        let is_bucket = matches!(kind, Kind::Bucket { .. });
        let rate = if let Kind::Bucket { rate_per_ms } = kind { rate_per_ms } else { self.busy_per_ms };
        // What is on the way at once may be overtaken: a bucket may then be a little fuller or emptier than we think.
        let slack = (rate * self.context.jitter_ms).min(3.0) + if is_bucket { 0.1 } else { 0.0 };
        // What lies in a window from before the evidence begins is not known.
        let from_ms = match (self.is_cut, kind.window_ms(), self.shots.first()) {
            (true, Some(window_ms), Some(first)) => first.at_ms + window_ms,
            _ => f64::NEG_INFINITY,
        };
        if self.closures.last().is_none_or(|closure| closure.touched_ms < from_ms) {
            // No refusal that this kind could be judged by.
            return f64::INFINITY;
        }
        let Score { cost: misfit, threshold, lo, hi } = self.score(is_bucket, slack, burst, from_ms);
        let mut cost = misfit + prior + self.told_misfit(kind);
        if is_bucket && threshold / rate > 20.0 * 60_000.0 {
            cost += 1.2;
        }
        if threshold < 1.0 {
            cost += 5.0;
        }
        if let Some(known) = self.context.known.filter(|_| self.context.is_settled)
            && std::mem::discriminant(&known.kind) == std::mem::discriminant(&kind)
            && known.kind.window_ms() == kind.window_ms()
        {
            cost -= INERTIA;
        }
        let model = Model { kind, threshold, ban_ms, second: None };
        let (lo, hi) =
            if is_bucket { (rate, rate) } else { (kind.rate_per_ms(lo.max(1.0)), kind.rate_per_ms(hi.max(1.0))) };
        self.found.push(Found { scored: Scored { model, cost }, lo, hi });
        cost
    }

    /// The threshold that contradicts the levels least.
    fn score(&mut self, is_bucket: bool, slack: f64, fixed: Option<f64>, from_ms: f64) -> Score {
        self.accepted.clear();
        self.refused.clear();
        for (shot, &level) in self.shots.iter().zip(&self.levels) {
            if shot.fate == Fate::Accepted {
                self.accepted.push((level + f64::from(shot.count)).max(1.0));
            } else if self.refused.len() < REFUSED_MAX && shot.at_ms >= from_ms {
                self.refused.push((level + 1.0, if shot.is_echo { ECHO_WEIGHT } else { 1.0 }));
            }
        }
        if self.accepted.len() > TOP {
            let cut = self.accepted.len() - TOP;
            self.accepted.select_nth_unstable_by(cut, f64::total_cmp);
            self.accepted.drain(..cut);
        }
        let top = self.accepted.iter().copied().fold(1.0, f64::max);
        let below = if is_bucket { 0.001 } else { 1.0 };
        // A count is exact but for what was overtaken at an edge, and that only lets more pass.
        let slack_refused = if is_bucket { slack } else { 0.0 };
        let scale = 0.7 + top * 0.004;
        let (accepted, refused) = (&self.accepted, &self.refused);
        let cost_of = |threshold: f64| {
            let over: f64 = accepted
                .iter()
                .filter(|&&level| level > threshold + slack)
                .map(|level| 0.4 + ((level - threshold - slack) / scale).min(3.0))
                .sum();
            let under: f64 = refused
                .iter()
                .filter(|&&(level, _)| level + slack_refused <= threshold)
                .map(|&(level, weight)| weight * (0.4 + ((threshold - level - slack_refused) / scale).min(4.0)))
                .sum();
            over + under
        };
        let least_refused = refused.iter().map(|&(level, _)| level).fold(f64::INFINITY, f64::min);
        let mut best = (f64::INFINITY, top);
        let candidates = refused.iter().map(|&(level, _)| level - below).chain(accepted.iter().copied());
        // How empty it was at the first shot is known to one request.
        let range = fixed.map_or((0.0, f64::INFINITY), |burst| ((burst - 1.2).max(0.0), burst + 1.2));
        let candidates = candidates.chain(fixed).filter(|threshold| *threshold >= range.0 && *threshold <= range.1);
        for threshold in candidates {
            let cost = cost_of(threshold);
            if cost < best.0 - 1e-9 || (cost < best.0 + 1e-9 && threshold < best.1) {
                best = (cost, threshold);
            }
        }
        let (lo, hi) = if top <= least_refused - below { (top, least_refused - below) } else { (best.1, best.1) };
        let threshold = if best.0 < 0.01 { lo.max(best.1.min(hi)) } else { best.1 };
        Score { cost: best.0, threshold, lo, hi }
    }

    /// Waits that were announced and that this kind would not announce.
    fn told_misfit(&self, kind: Kind) -> f64 {
        let told = self.closures.iter().rev().filter(|closure| closure.told_ms.is_finite()).take(5);
        told.map(|closure| {
            let wait_ms = closure.told_ms - closure.refused_ms;
            let fits = match kind {
                Kind::Bucket { rate_per_ms } => wait_ms <= 1.5 / rate_per_ms + 1_500.0,
                Kind::Fixed { window_ms, phase_ms } => {
                    let off_ms = (closure.told_ms - phase_ms).rem_euclid(window_ms);
                    wait_ms <= window_ms + 1_500.0 && off_ms.min(window_ms - off_ms) <= 1_300.0
                }
                _ => wait_ms <= kind.window_ms().unwrap_or(0.0) + 1_500.0,
            };
            if fits { 0.0 } else { 0.8 }
        })
        .sum()
    }

    /// How long a refusal closes the scope, if all closed spells agree on it and it is long.
    fn ban_ms(&self) -> Option<f64> {
        let done: Vec<&Closure> = self.closures.iter().filter(|closure| closure.opened_ms.is_finite()).collect();
        let lo = done.iter().map(|closure| closure.refused_ms - closure.touched_ms).fold(0.0, f64::max);
        let hi = done.iter().map(|closure| closure.opened_ms - closure.touched_ms).fold(f64::INFINITY, f64::min);
        if done.is_empty() || lo > hi + 1.0 || hi < 1_500.0 || hi.is_infinite() {
            return None;
        }
        Some(hi)
    }

    fn finish(mut self) -> Option<Fit> {
        self.found.retain(|found| found.scored.cost.is_finite());
        self.found.sort_by(|a, b| a.scored.cost.total_cmp(&b.scored.cost));
        let best = self.found.first()?.scored.cost;
        let near = || self.found.iter().take_while(|found| found.scored.cost <= best + RATE_SLACK);
        let rate_lo = near().map(|found| found.lo).fold(f64::INFINITY, f64::min);
        let rate_hi = near().map(|found| found.hi).fold(0.0, f64::max);
        let mut rivals: Vec<Scored> = Vec::new();
        for found in self.found.iter().take_while(|found| found.scored.cost <= best + PLAUSIBLE) {
            let same = |known: &Scored| {
                std::mem::discriminant(&known.model.kind) == std::mem::discriminant(&found.scored.model.kind)
                    && known.model.kind.window_ms() == found.scored.model.kind.window_ms()
                    && (known.model.ban_ms > 0.0) == (found.scored.model.ban_ms > 0.0)
                    && known.model.second.is_some() == found.scored.model.second.is_some()
            };
            if rivals.len() < 12 && !rivals.iter().any(same) {
                rivals.push(found.scored);
            }
        }
        Some(Fit { rivals, rate_lo, rate_hi })
    }
}

/// Accepted requests a ms over the busiest stretch of 16 shots.
fn busy_rate(shots: &[Shot]) -> f64 {
    shots
        .windows(16)
        .map(|stretch| {
            let count: u32 =
                stretch[1..].iter().filter(|shot| shot.fate == Fate::Accepted).map(|shot| shot.count).sum();
            f64::from(count) / (stretch[15].at_ms - stretch[0].at_ms).max(5.0)
        })
        .fold(0.0, f64::max)
}
