//! Which limiter explains what we have seen: replays the evidence through every candidate and weighs the contradictions.
//!
//! Enters: evidence and what else is known (clock, jitter, the model so far). Leaves: a [`Fit`]. It runs when a refusal or
//! its end brings news, never for each request. Deliberately absent: what to do about it.
//!
//! The cost of a candidate is what it leaves unexplained: an accepted request beyond its threshold, a refused one below, an
//! announced wait that it would not announce, and how rare such limiters are. The method and the weights come from measurements
//! on simulated limiters; `cargo bench --bench limits` measures them again.

use serde::{Deserialize, Serialize};

mod candidates;
mod replay;
mod weigh;

use super::envelope::Envelope;
use super::evidence::{Closure, Evidence, Fate, Shot};
use super::family::Kind;
use replay::{Replay, Span};

/// A candidate is plausible within this much of the best.
pub const PLAUSIBLE: f64 = 2.0;
/// Rates are as uncertain as the candidates within this much of the best.
pub const RATE_SLACK: f64 = 0.7;
/// How much rarer a limiter is that shuts out for a while, and one whose ban each refusal restarts.
const BAN: f64 = 1.2;
const BAN_RESTARTS: f64 = 0.6;
/// Costs that lie no further apart are the same.
const EQUAL: f64 = 0.01;

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
    /// The same without what is believed of the limit so far.
    pub misfit: f64,
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
pub struct Context<'e> {
    /// The most that was accepted so far.
    pub envelope: &'e Envelope,
    /// What the model so far leaves unexplained of a refusal on average.
    pub doubt: f64,
    /// The spread of the time to the server, in ms.
    pub jitter_ms: f64,
    /// The server's clock minus ours, in ms; NaN when it never said.
    pub clock_ms: f64,
    /// The model so far.
    pub known: Option<Model>,
    /// What a bucket holds at the first shot when the evidence is cut.
    pub start_level: Option<f64>,
    /// Whether that model is known well, and how many refusals have confirmed it.
    pub is_settled: bool,
    pub confirmed: u32,
    /// What it was before it changed: more often than not its kind stays.
    pub former: Option<Kind>,
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
    context: &'e Context<'e>,
    is_cut: bool,
    /// Accepted requests a ms in busy times, for the tolerance of windows.
    busy_per_ms: f64,
    /// What a bucket holds, and held at the first shot, when the past is missing.
    burst: Option<f64>,
    start_level: Option<f64>,
    replay: Replay,
    refused: Vec<Span>,
    thresholds: Vec<f64>,
    /// The least cost so far.
    least: f64,
    found: Vec<Found>,
}

#[derive(Clone, Copy)]
struct Found {
    scored: Scored,
    lo: f64,
    hi: f64,
}

impl Fit {
    /// Fits all candidates to `evidence`; none before the first refusal.
    #[must_use]
    pub fn of(evidence: &Evidence, context: &Context<'_>) -> Option<Self> {
        let shots = evidence.known();
        if !shots.iter().any(|shot| shot.fate == Fate::Refused) {
            return None;
        }
        let closures: Vec<Closure> = evidence.closures().iter().copied().collect();
        let mut search = Search {
            busy_per_ms: busy_rate(&shots),
            replay: Replay::of(&shots, context.jitter_ms),
            shots,
            closures,
            context,
            is_cut: evidence.is_cut(),
            burst: context.burst,
            start_level: context.start_level,
            refused: Vec::new(),
            thresholds: Vec::new(),
            least: f64::INFINITY,
            found: Vec::new(),
        };
        if let Some(known) = context.known.filter(|_| context.is_local) {
            search.run_near(&known);
            return search.finish();
        }
        search.run(0.0, 0.0);
        search.try_pairs();
        if let Some((ban_ms, rarity)) = search.ban() {
            search.leave_out_probes();
            search.run(ban_ms, BAN + rarity);
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
    /// While it shuts out, a refusal says nothing about levels.
    fn leave_out_probes(&mut self) {
        let closures = &self.closures;
        let is_shut_out = |at_ms: f64| {
            let index = closures.partition_point(|closure| closure.touched_ms < at_ms);
            // One that is still closed has not been opened at any instant.
            index
                .checked_sub(1)
                .is_some_and(|index| closures[index].opened_ms.is_nan() || at_ms < closures[index].opened_ms)
        };
        self.shots.retain(|shot| shot.fate == Fate::Accepted || !(shot.is_probe || is_shut_out(shot.at_ms)));
        self.replay.go_on_with(&self.shots);
    }

    /// How long a refusal closes the scope, if all closed spells agree on it and it is long, and how much rarer than others such a
    /// ban is: where each refusal in that time starts it anew, they agree from the last one on.
    fn ban(&self) -> Option<(f64, f64)> {
        let done = || self.closures.iter().filter(|closure| closure.opened_ms.is_finite());
        let agreed = |lo: f64, hi: f64| (lo <= hi + 1.0 && hi >= 1_500.0 && hi.is_finite()).then_some(hi);
        let lo = done().map(|closure| closure.refused_ms - closure.touched_ms).fold(0.0, f64::max);
        let hi = done().map(|closure| closure.opened_ms - closure.touched_ms).fold(f64::INFINITY, f64::min);
        let gap = done().map(|closure| closure.gap_ms).fold(0.0, f64::max);
        let last = done().map(|closure| closure.opened_ms - closure.refused_ms).fold(f64::INFINITY, f64::min);
        // A server that says how long to wait need not be asked in vain.
        let is_told = self.closures.iter().any(|closure| !closure.told_ms.is_nan());
        let restarts = || agreed(gap, last).filter(|_| !is_told).map(|ban_ms| (ban_ms, BAN_RESTARTS));
        agreed(lo, hi).map(|ban_ms| (ban_ms, 0.0)).or_else(restarts)
    }

    fn finish(mut self) -> Option<Fit> {
        self.found.retain(|found| found.scored.cost.is_finite());
        self.found.sort_by(|a, b| a.scored.cost.total_cmp(&b.scored.cost));
        self.take_the_middle();
        let best = self.found.first()?.scored.cost;
        let near = || self.found.iter().take_while(|found| found.scored.cost <= best + RATE_SLACK);
        let rate_lo = near().map(|found| found.lo).fold(f64::INFINITY, f64::min);
        let rate_hi = near().map(|found| found.hi).fold(0.0, f64::max);
        let mut rivals: Vec<Scored> = Vec::new();
        for found in self.found.iter().take_while(|found| found.scored.cost <= best + PLAUSIBLE) {
            let same = |known: &Scored| {
                known.model.kind.is_like(found.scored.model.kind)
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

impl Search<'_> {
    /// Of buckets that explain the evidence equally well the one in the middle goes first once the limit is known: to believe the
    /// slowest of them, and to stay below that, would leave evidence for ever slower ones. While it is searched the pace rises.
    fn take_the_middle(&mut self) {
        let Some(best) = self.found.first().copied().filter(|_| self.context.is_settled) else { return };
        let Kind::Bucket { .. } = best.scored.model.kind else { return };
        let is_as_good = |found: &Found| {
            let model = found.scored.model;
            found.scored.cost <= best.scored.cost + EQUAL
                && model.kind.is_like(best.scored.model.kind)
                && (model.ban_ms, model.second) == (best.scored.model.ban_ms, best.scored.model.second)
        };
        let rates = || self.found.iter().filter(|found| is_as_good(found)).map(|found| found.lo);
        let middle = (rates().fold(f64::INFINITY, f64::min) * rates().fold(0.0, f64::max)).sqrt();
        let off = |found: &Found| (found.lo / middle).ln().abs();
        let nearest = self.found.iter().enumerate().filter(|(_, found)| is_as_good(found));
        if let Some((index, _)) = nearest.min_by(|(_, one), (_, other)| off(one).total_cmp(&off(other))) {
            self.found.swap(0, index);
        }
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
