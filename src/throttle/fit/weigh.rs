//! How well one candidate explains the evidence: the threshold that contradicts it least, and what that leaves unexplained.

use super::super::evidence::Fate;
use super::super::family::{Kind, Ledger};
use super::{Found, Model, Scored, Search};

/// Accepted requests at the highest levels that a score looks at.
const TOP: usize = 32;
/// Refused requests that a score looks at.
const REFUSED_MAX: usize = 48;
/// What a refusal counts that was in flight with another one: a part of the same news.
const ECHO_WEIGHT: f64 = 0.3;
/// A bucket that takes longer to fill than 20 minutes, in ms, is rarer by [`SLOW_BUCKET`].
const FULL_AFTER_MS_MAX: f64 = 1_200_000.0;
const SLOW_BUCKET: f64 = 1.2;
/// How rare a limiter is that admits nothing at all.
const LETS_NOTHING_PASS: f64 = 5.0;
/// How much more is believed of the model so far than of another.
const INERTIA: f64 = 0.6;

/// The threshold that contradicts the levels least.
struct Score {
    cost: f64,
    threshold: f64,
    lo: f64,
    hi: f64,
}

impl Search<'_> {
    /// `kind` with the level that it had at the first shot, if the past before that is missing.
    pub(super) fn ledger(&self, kind: Kind) -> Ledger {
        let mut ledger = kind.ledger(0.0);
        if let (Some(level), Some(first)) = (self.start_level.filter(|_| self.is_cut), self.shots.first()) {
            ledger.fill(level, first.at_ms);
        }
        ledger
    }

    /// Scores one candidate and notes it; its cost.
    pub(super) fn try_kind(&mut self, kind: Kind, ban_ms: f64, prior: f64) -> f64 {
        let burst = self.burst.filter(|_| self.is_cut && matches!(kind, Kind::Bucket { .. }));
        self.ledger(kind).replay(&self.shots, &mut self.levels);
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
        if is_bucket && threshold / rate > FULL_AFTER_MS_MAX {
            cost += SLOW_BUCKET;
        }
        if threshold < 1.0 {
            cost += LETS_NOTHING_PASS;
        }
        if let Some(known) = self.context.known.filter(|_| self.context.is_settled)
            && known.kind.is_like(kind)
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
}
