//! How well one candidate explains the evidence: the threshold that contradicts it least, and what that leaves unexplained.

use super::super::evidence::Fate;
use super::super::family::{Kind, Ledger};
use super::{Found, Model, Scored, Search, Span};

/// Accepted requests at the highest levels that a score looks at.
const TOP: usize = 48;
/// Refused requests that a score looks at.
const REFUSED_MAX: usize = 48;
/// What a refusal counts that was in flight with another one: a part of the same news.
const ECHO_WEIGHT: f64 = 0.3;
/// A bucket that takes longer to fill than 20 minutes, in ms, is rarer by [`SLOW_BUCKET`].
const FULL_AFTER_MS_MAX: f64 = 1_200_000.0;
const SLOW_BUCKET: f64 = 1.2;
/// How rare a limiter is that admits nothing at all.
const LETS_NOTHING_PASS: f64 = 5.0;
/// What a contradiction costs at least, and how much of a doubt counts that the jitter leaves.
const WRONG: f64 = 0.4;
const SOFT: f64 = 0.25;
/// What a refusal costs at a level at which others passed, for each e-fold of their number.
const CHANCE: f64 = 0.5;
/// How much more it counts that a closed scope was found open.
const PROBE_WEIGHT: f64 = 3.0;
/// How far the level of a bucket is known at best.
const BLUR: f64 = 0.05;
/// How much more is believed of the model so far than of another.
const INERTIA: f64 = 0.6;
/// What a refusal costs that a candidate is not judged by, besides what the jitter makes doubtful.
const EXCUSED: f64 = 0.25;
const EXCUSED_JITTER: f64 = 0.6;
/// And one that opened again when it could not.
const CANNOT_OPEN: f64 = 1.5;
/// And for each refusal that it foretold, up to so many of them.
const INERTIA_CONFIRMED: f64 = 0.3;
const CONFIRMED_MAX: u32 = 10;
/// A limit that so many refusals have confirmed gives way only to one that explains so many.
const CONFIRMED_MIN: u32 = 2;
const JUDGED_MIN: usize = 3;
/// How much more of the kind that the limit had before it changed.
const INERTIA_FORMER: f64 = 0.8;
/// How much of what passed before a limiter must explain: a limiter may be a little noisy, and the clock of a count is ours.
const ENVELOPE_SHARE: f64 = 0.92;
/// And how much that counts against one which does not.
const ENVELOPE_WEIGHT: f64 = 2.0;

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
        let is_bucket = matches!(kind, Kind::Bucket { .. });
        let burst = self.burst.filter(|_| self.is_cut && is_bucket);
        // What lies in a window from before the evidence begins is not known.
        let from_ms = match (self.is_cut, kind.window_ms(), self.shots.first()) {
            (true, Some(window_ms), Some(first)) => first.at_ms + window_ms,
            _ => f64::NEG_INFINITY,
        };
        let judged = self.closures.iter().rev().take_while(|closure| closure.touched_ms >= from_ms).count();
        let is_other = |known: &Model| self.context.confirmed >= CONFIRMED_MIN && !known.kind.is_like(kind);
        let judged_min = if self.context.known.is_some_and(|known| is_other(&known)) { JUDGED_MIN } else { 1 };
        if judged < judged_min {
            // Too few refusals that this kind could be judged by.
            return f64::INFINITY;
        }
        self.ledger(kind).levels(&self.shots, self.context.jitter_ms, &mut self.levels);
        self.find_spans(kind, from_ms);
        let Score { cost: doubt, threshold, lo, hi } = self.score(is_bucket, burst);
        let mut cost = doubt + prior + self.told_misfit(kind) + self.excused(kind, from_ms);
        if let Kind::Bucket { rate_per_ms } = kind
            && threshold / rate_per_ms > FULL_AFTER_MS_MAX
        {
            cost += SLOW_BUCKET;
        }
        if threshold < 1.0 {
            cost += LETS_NOTHING_PASS;
        }
        let misfit = cost;
        if let Some(known) = self.context.known.filter(|_| self.context.is_settled)
            && known.kind.is_like(kind)
        {
            cost -= INERTIA + INERTIA_CONFIRMED * f64::from(self.context.confirmed.min(CONFIRMED_MAX));
        }
        if self.context.former.is_some_and(|former| former.is_like(kind)) {
            cost -= INERTIA_FORMER;
        }
        let model = Model { kind, threshold, ban_ms, second: None };
        let (lo, hi) = match kind {
            Kind::Bucket { rate_per_ms } => (rate_per_ms, rate_per_ms),
            _ => (kind.rate_per_ms(lo.max(1.0)), kind.rate_per_ms(hi.max(1.0))),
        };
        self.found.push(Found { scored: Scored { model, cost, misfit }, lo, hi });
        cost
    }

    /// From the levels of all shots, the spans of those that matter: the accepted ones that came closest to a refusal, and
    /// the refused ones.
    fn find_spans(&mut self, kind: Kind, from_ms: f64) {
        let is_bucket = matches!(kind, Kind::Bucket { .. });
        self.accepted.clear();
        self.refused.clear();
        // A server that keeps time in whole ticks may let a bucket pass a little more or less.
        let blur = if is_bucket { BLUR } else { 0.0 };
        for ((shot, &(level, later)), &(before, after)) in self.shots.iter().zip(&self.levels).zip(&self.near) {
            let own = f64::from(shot.count);
            let lo = later.min(level - before) + own - blur;
            if shot.fate == Fate::Accepted {
                let hi = (level + own + after + blur).max(1.0);
                let weight = if shot.is_probe { PROBE_WEIGHT } else { 1.0 };
                self.accepted.push(Span { lo: lo.max(1.0).min(hi), hi, weight });
            } else if self.refused.len() < REFUSED_MAX && shot.at_ms >= from_ms {
                let weight = if shot.is_echo { ECHO_WEIGHT } else { 1.0 };
                self.refused.push(Span { lo, hi: level + own + after + blur, weight });
            }
        }
        if self.accepted.len() > TOP {
            let cut = self.accepted.len() - TOP;
            self.accepted.select_nth_unstable_by(cut, |one, other| one.hi.total_cmp(&other.hi));
            self.accepted.drain(..cut);
        }
        for (span_ms, count) in self.context.envelope.counts() {
            let lo = (count * ENVELOPE_SHARE - 1.0) / kind.most(span_ms);
            let lo = if let Kind::Bucket { rate_per_ms } = kind { lo - rate_per_ms * span_ms } else { lo };
            if lo > 1.0 {
                self.accepted.push(Span { lo, hi: lo, weight: ENVELOPE_WEIGHT });
            }
        }
    }

    /// The threshold that contradicts the spans least.
    fn score(&mut self, is_bucket: bool, fixed: Option<f64>) -> Score {
        let (accepted, refused) = (&self.accepted, &self.refused);
        let below = if is_bucket { 0.001 } else { 1.0 };
        let top = accepted.iter().map(|span| span.lo).fold(1.0, f64::max);
        let scale = 0.7 + top * 0.004;
        let cost_of = |threshold: f64, limit: f64| {
            let mut cost = 0.0;
            for span in refused {
                // It met a level above the threshold.
                if span.hi <= threshold {
                    cost += span.weight * (WRONG + ((threshold - span.hi) / scale).min(4.0));
                } else if span.lo <= threshold {
                    cost += span.weight * (-SOFT * ((span.hi - threshold) / (span.hi - span.lo)).ln()).min(WRONG);
                }
            }
            for span in accepted {
                if cost > limit {
                    break;
                }
                // It met a level at or below the threshold.
                if span.lo > threshold {
                    cost += span.weight * (WRONG + ((span.lo - threshold) / scale).min(3.0));
                } else if span.hi > threshold {
                    let likely = (threshold - span.lo + below) / (span.hi - span.lo + below);
                    cost += (-SOFT * likely.ln()).min(WRONG);
                }
            }
            cost
        };
        // Whatever the threshold: a refusal at a level at which many others passed is chance to this limiter.
        let by_chance: f64 = refused
            .iter()
            .map(|span| {
                let passed: f64 = accepted.iter().filter(|other| other.lo >= span.hi).map(|_| 1.0).sum();
                span.weight * CHANCE * (1.0 + passed).ln()
            })
            .sum();
        self.thresholds.clear();
        self.thresholds.extend(refused.iter().flat_map(|span| [span.hi - below, span.lo - below]));
        self.thresholds.extend(accepted.iter().flat_map(|span| [span.lo, span.hi]));
        self.thresholds.extend(fixed);
        // How empty it was at the first shot is known to one request, and to what the jitter puts in another order.
        let off = 1.2 + 2.0 * self.busy_per_ms * self.context.jitter_ms;
        let (least, most) = fixed.map_or((0.0, f64::INFINITY), |burst| ((burst - off).max(0.0), burst + off));
        self.thresholds.retain(|threshold| (least..=most).contains(threshold));
        self.thresholds.sort_unstable_by(f64::total_cmp);
        self.thresholds.dedup_by(|one, other| (*one - *other).abs() < 1e-3);
        let mut best = (f64::INFINITY, top);
        for &threshold in &self.thresholds {
            let cost = cost_of(threshold, best.0);
            if cost < best.0 - 1e-9 {
                best = (cost, threshold);
            }
        }
        let least_refused = refused.iter().map(|span| span.hi).fold(f64::INFINITY, f64::min) - below;
        // Nothing contradicts any threshold from `top` on up to that; the most likely one lies between.
        let (lo, hi) = if top <= least_refused { (top, least_refused) } else { (best.1, best.1) };
        let threshold = if best.0 < 0.01 { lo.max(best.1.min(hi)) } else { best.1 };
        Score { cost: best.0 + by_chance, threshold, lo: lo.min(threshold), hi: hi.max(threshold) }
    }

    /// What the refusals cost that `kind` is not judged by, since they lie before `from_ms`: as much as they cost the others, to
    /// whom the jitter leaves some doubt; and more if it could not have opened as soon as it did.
    fn excused(&self, kind: Kind, from_ms: f64) -> f64 {
        let doubt = EXCUSED + EXCUSED_JITTER * (self.busy_per_ms * self.context.jitter_ms).min(1.0);
        let late_ms = self.context.jitter_ms + 1.0;
        let mut edge_ms = f64::NEG_INFINITY;
        let before = self.closures.iter().filter(|closure| closure.touched_ms < from_ms);
        before
            .map(|closure| match kind {
                Kind::Fixed { window_ms, phase_ms } if closure.opened_ms.is_finite() => {
                    let index = |at_ms: f64| ((at_ms - phase_ms) / window_ms).floor();
                    let has_edge = index(closure.opened_ms + late_ms) > index(closure.refused_ms - late_ms);
                    if has_edge { doubt } else { CANNOT_OPEN }
                }
                Kind::FirstHit { window_ms } if closure.opened_ms.is_finite() => {
                    let is_soon = closure.opened_ms - edge_ms + late_ms < window_ms;
                    edge_ms = closure.refused_ms;
                    if is_soon { CANNOT_OPEN } else { doubt }
                }
                _ => doubt,
            })
            .sum()
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
