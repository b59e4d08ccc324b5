//! How well one candidate explains the evidence: the threshold that contradicts it least, and what that leaves unexplained.

use super::super::evidence::Fate;
use super::super::family::{Kind, Ledger};
use super::replay::Span;
use super::{Found, Model, Scored, Search};

/// Refused requests that a score looks at.
const REFUSED_MAX: usize = 48;
/// What a refusal counts that was in flight with another one: a part of the same news.
const ECHO_WEIGHT: f64 = 0.3;
/// Buckets that take longer to fill than this, in ms, are the rarer the longer: so much for each e-fold.
const FULL_AFTER_MS: f64 = 120_000.0;
const SLOW_BUCKET: f64 = 0.4;
/// How rare a limiter is that admits nothing at all.
const LETS_NOTHING_PASS: f64 = 5.0;
/// What a contradiction costs at least, and how much of a doubt counts that the jitter leaves.
const WRONG: f64 = 0.4;
const SOFT: f64 = 0.25;
/// What a refusal costs at a level at which others passed, for each e-fold of their number.
const CHANCE: f64 = 0.5;
/// A candidate that is so much worse than the best is not looked at any closer.
const HOPELESS: f64 = 8.0;
/// Thresholds at the levels of accepted requests that a score tries, from the highest on.
const TRIED: usize = 8;
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
const CONFIRMED_MIN: u32 = 1;
const JUDGED_MIN: usize = 3;
/// How much more of the kind that the limit had before it changed.
const INERTIA_FORMER: f64 = 0.8;
/// How much of what passed before a limiter must explain: a limiter may be a little noisy, and the clock of a count is ours.
const ENVELOPE_SHARE: f64 = 0.92;
/// And how much that counts against one which does not.
const ENVELOPE_WEIGHT: f64 = 2.0;

/// Costs that lie no further apart are the same.
const TIE: f64 = 1e-9;

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
        let from_ms = match (self.is_cut, kind.memory_ms(), self.shots.first()) {
            (true, Some(memory_ms), Some(first)) => first.at_ms + memory_ms,
            _ => f64::NEG_INFINITY,
        };
        let seen_ms = self.shots.first().map_or(f64::INFINITY, |first| from_ms.max(first.at_ms));
        let judged = self.closures.iter().rev().take_while(|closure| closure.touched_ms >= seen_ms).count();
        let is_other = |known: &Model| self.context.confirmed >= CONFIRMED_MIN && !known.kind.is_like(kind);
        let judged_min = if self.context.known.is_some_and(|known| is_other(&known)) { JUDGED_MIN } else { 1 };
        if judged < judged_min {
            // Too few refusals that this kind could be judged by.
            return f64::INFINITY;
        }
        let by_words = prior + self.told_misfit(kind) + self.excused(kind, from_ms);
        if by_words > self.least + HOPELESS {
            // No replay makes up for that.
            return f64::INFINITY;
        }
        self.replay.run(kind, self.start_level.filter(|_| self.is_cut));
        let stuck = self.find_spans(kind, from_ms);
        let rest = by_words + CANNOT_OPEN * stuck + self.by_chance();
        if rest > self.least + HOPELESS {
            return f64::INFINITY;
        }
        let Score { cost: doubt, threshold, lo, hi } = self.score(is_bucket, burst);
        let mut cost = doubt + rest;
        if let Kind::Bucket { rate_per_ms } = kind
            && threshold / rate_per_ms > FULL_AFTER_MS
        {
            cost += SLOW_BUCKET * (threshold / rate_per_ms / FULL_AFTER_MS).ln();
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
        self.least = self.least.min(cost);
        cost
    }

    /// Whatever the threshold: a refusal at a level at which many others passed is chance to a limiter.
    fn by_chance(&self) -> f64 {
        let cost = |span: &Span| {
            let passed: f64 = self.replay.levels.accepted.iter().filter(|other| other.lo >= span.hi).map(|_| 1.0).sum();
            if passed > 0.0 { span.weight * CHANCE * (1.0 + passed).ln() } else { 0.0 }
        };
        self.refused.iter().map(cost).sum()
    }

    /// From the levels of all shots, the spans of those that matter: the accepted ones that came closest to a refusal, and
    /// the refused ones. Returns how often it opened again at a level that was not below that of the refusal.
    fn find_spans(&mut self, kind: Kind, from_ms: f64) -> f64 {
        let (mut stuck, mut touched) = (0.0, f64::INFINITY);
        let is_bucket = matches!(kind, Kind::Bucket { .. });
        self.refused.clear();
        for (mark, &met) in self.replay.marks().iter().zip(&self.replay.levels.met) {
            let (shot, span) = (&mark.shot, mark.span(met, is_bucket));
            if shot.at_ms < from_ms {
                continue;
            }
            if shot.fate == Fate::Accepted {
                stuck += if span.lo >= touched { 1.0 } else { 0.0 };
                touched = f64::INFINITY;
                continue;
            }
            if !shot.is_probe && !shot.is_echo {
                touched = span.hi;
            }
            let weight = if shot.is_echo { ECHO_WEIGHT } else { 1.0 };
            self.refused.push(Span { weight, ..span });
        }
        if self.refused.len() > REFUSED_MAX {
            let cut = self.refused.len() - REFUSED_MAX;
            self.refused.drain(..cut);
        }
        for (span_ms, count) in self.context.envelope.counts() {
            let lo = (count * ENVELOPE_SHARE - 1.0) / kind.most(span_ms);
            let lo = if let Kind::Bucket { rate_per_ms } = kind { lo - rate_per_ms * span_ms } else { lo };
            if lo > 1.0 {
                self.replay.levels.accepted.push(Span { lo, hi: lo, weight: ENVELOPE_WEIGHT });
            }
        }
        stuck
    }

    /// The threshold that contradicts the spans least.
    fn score(&mut self, is_bucket: bool, fixed: Option<f64>) -> Score {
        let (accepted, refused) = (&self.replay.levels.accepted, &self.refused);
        let below = if is_bucket { 0.001 } else { 1.0 };
        let top = accepted.iter().map(|span| span.lo).fold(1.0, f64::max);
        let scale = 0.7 + top * 0.004;
        // What the refused and the accepted spans cost; the one only rises with the threshold, the other only falls.
        let too_low = |threshold: f64| -> f64 {
            let cost = refused.iter().map(|span| {
                // It met a level above the threshold.
                if span.hi <= threshold {
                    span.weight * (WRONG + ((threshold - span.hi) / scale).min(4.0))
                } else if span.lo <= threshold {
                    span.weight * (-SOFT * ((span.hi - threshold) / (span.hi - span.lo)).ln()).min(WRONG)
                } else {
                    0.0
                }
            });
            cost.sum()
        };
        let too_high = |threshold: f64| -> f64 {
            let cost = accepted.iter().map(|span| {
                // It met a level at or below the threshold.
                if span.lo > threshold {
                    span.weight * (WRONG + ((span.lo - threshold) / scale).min(3.0))
                } else if span.hi > threshold {
                    let likely = (threshold - span.lo + below) / (span.hi - span.lo + below);
                    (-SOFT * likely.ln()).min(WRONG)
                } else {
                    0.0
                }
            });
            cost.sum()
        };
        let fine = if is_bucket { 0.02 } else { 0.4 };
        self.thresholds.clear();
        self.thresholds.extend(accepted.iter().map(|span| span.hi));
        self.thresholds.sort_unstable_by(|one, other| other.total_cmp(one));
        self.thresholds.truncate(TRIED);
        self.thresholds.push(top);
        self.thresholds.extend(refused.iter().flat_map(|span| [span.hi - below, span.lo - below]));
        self.thresholds.extend(fixed);
        // How empty it was at the first shot is known to one request, and to what the jitter puts in another order.
        let off = 1.2 + 2.0 * self.busy_per_ms * self.context.jitter_ms;
        let (least, most) = fixed.map_or((0.0, f64::INFINITY), |burst| ((burst - off).max(0.0), burst + off));
        self.thresholds.retain(|threshold| (least..=most).contains(threshold));
        self.thresholds.sort_unstable_by(f64::total_cmp);
        self.thresholds.dedup_by(|one, other| (*one - *other).abs() < fine);
        let best = least_of(&self.thresholds, too_low, too_high).unwrap_or((f64::INFINITY, top));
        let least_refused = refused.iter().map(|span| span.hi).fold(f64::INFINITY, f64::min) - below;
        // Nothing contradicts any threshold from `top` on up to that; the most likely one lies between.
        let (lo, hi) = if top <= least_refused { (top, least_refused) } else { (best.1, best.1) };
        let threshold = if best.0 < 0.01 { lo.max(best.1.min(hi)) } else { best.1 };
        Score { cost: best.0, threshold, lo: lo.min(threshold), hi: hi.max(threshold) }
    }

    /// What the refusals cost that `kind` is not judged by, since they lie before `from_ms`: as much as they cost the others, to
    /// whom the jitter leaves some doubt; and more if it could not have opened as soon as it did.
    fn excused(&self, kind: Kind, from_ms: f64) -> f64 {
        let doubt = EXCUSED + EXCUSED_JITTER * (self.busy_per_ms * self.context.jitter_ms).min(1.0);
        let doubt = doubt.max(self.context.doubt.min(CANNOT_OPEN));
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

/// The least of `rising` and `falling` together, and the first of `thresholds`, which ascend, at which it is reached. Between two
/// of them it is no less than what rises at the lower and what falls at the upper one, so that few have to be looked at.
fn least_of(thresholds: &[f64], rising: impl Fn(f64) -> f64, falling: impl Fn(f64) -> f64) -> Option<(f64, f64)> {
    let at = |index: usize| (index, rising(thresholds[index]), falling(thresholds[index]));
    let last = thresholds.len().checked_sub(1)?;
    let (first, end) = (at(0), at(last));
    let mut best = (first.1 + first.2, 0);
    let improve = |(index, rises, falls): (usize, f64, f64), best: &mut (f64, usize)| {
        let cost = rises + falls;
        if cost < best.0 - TIE || (cost < best.0 + TIE && index < best.1) {
            *best = (cost, index);
        }
    };
    improve(end, &mut best);
    let mut open = vec![(first, end)];
    while let Some((lower, upper)) = open.pop() {
        let bound = lower.1 + upper.2;
        let may_win = bound < best.0 - TIE || (bound < best.0 + TIE && lower.0 < best.1);
        if upper.0 - lower.0 < 2 || !may_win {
            continue;
        }
        let middle = at(usize::midpoint(lower.0, upper.0));
        improve(middle, &mut best);
        // The lower half first: of equals the first one counts.
        open.push((middle, upper));
        open.push((lower, middle));
    }
    Some((best.0, thresholds[best.1]))
}

#[cfg(test)]
mod tests {
    proptest::proptest! {
        #[test]
        fn the_least_is_found_without_a_look_at_each(
            steps in proptest::collection::vec((0_u32..3, 0_u32..3), 1..200)
        ) {
            let places: Vec<(f64, f64, f64)> =
                (0_u32..).zip(&steps).map(|(place, &(up, down))| (place.into(), up.into(), down.into())).collect();
            let thresholds: Vec<f64> = places.iter().map(|place| place.0).collect();
            let rising = |threshold: f64| places.iter().filter(|place| place.0 <= threshold).map(|place| place.1).sum();
            let falling = |threshold: f64| places.iter().filter(|place| place.0 >= threshold).map(|place| place.2).sum();
            let mut expected = (f64::INFINITY, 0.0);
            for &threshold in &thresholds {
                let cost: f64 = [rising(threshold), falling(threshold)].iter().sum();
                if cost < expected.0 {
                    expected = (cost, threshold);
                }
            }
            proptest::prop_assert_eq!(super::least_of(&thresholds, rising, falling), Some(expected));
        }
    }
}
