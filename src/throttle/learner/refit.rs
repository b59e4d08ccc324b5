//! What a refusal, or its end, says about the limit.

use super::admit::{MARGIN_MAX, MARGIN_MIN, STRICT};
use super::{Feature, Kind, Known, Learner, RATE_PER_MS_MAX, START_PER_MS, WINDOW_HASTE};
use crate::throttle::fit::{Context, Fit};

/// Closed spells that a fit of a known limit looks back on: what is older is averaged out, or is not true any more.
const CLOSURES_KEPT: usize = 6;
/// Parts of its window that the ledger of a sliding log tells apart.
pub(super) const GRAINS: f64 = 64.0;
/// A rate is known when its highest plausible value is less than so many times its lowest.
const WIDTH_KNOWN: f64 = 1.07;
/// And not known any more when it is more than so many times.
const WIDTH_KEPT: f64 = 1.2;
/// Refusals after which a ban may be known.
const TOUCHES_BAN: u32 = 3;
/// Fewer accepted requests than these say nothing about a limit.
const ACCEPTED_MIN: usize = 3;
/// Refusals fewer accepted requests apart than these surprise more than one alone.
pub(super) const SURPRISE_ACCEPTED: f64 = 80.0;
/// So many canaries refused in a row, although the server or the model had said otherwise, are an outage and not a limit.
const STORM_POLLS: u32 = 6;

impl Learner {
    /// It is open again: what does the wait say?
    pub(super) fn reopen(&mut self, sent_ms: f64, now_ms: f64) {
        self.is_closed = false;
        let polls = std::mem::take(&mut self.polls);
        self.opened_ms = sent_ms;
        let is_told = self.evidence.closures().back().is_some_and(|closure| !closure.told_ms.is_nan());
        let was_known = self.before.as_ref().is_some_and(|known| known.is_tight);
        // A known limit needs no evidence, and has none just after a restart.
        let is_bare = self.evidence.accepted() <= ACCEPTED_MIN && !(was_known && self.evidence.is_cut());
        // Once: an outage that comes again after a few requests is how the limit is.
        let is_storm = polls >= STORM_POLLS && (is_told || was_known) && self.storms == 0;
        if is_bare || is_storm {
            self.forget_storm(sent_ms);
            return;
        }
        let rate = self.known.as_ref().map_or(self.pace, |known| known.model.rate_per_ms());
        self.refit(now_ms);
        self.wait_cost = ((sent_ms - self.touched_ms) * rate - 1.0).max(0.0);
        let Some(known) = &self.known else { return };
        if matches!(known.model.kind, Kind::Bucket { .. }) && known.model.threshold > self.wait_cost {
            // What drips in meanwhile is not lost while the bucket has room for it.
            self.wait_cost = 0.0;
        }
        if known.is_tight {
            self.next_ms = now_ms;
        } else {
            self.pace = match known.model.kind {
                // Not slower than a few times below what is possible: too low a pace would teach nothing for long.
                Kind::Bucket { .. } => {
                    let middle = (known.rate_lo.max(known.rate_hi / 30.0) * known.rate_hi).sqrt();
                    self.between.map_or(middle, |(slow, fast)| middle.clamp(0.6 * slow, fast.max(0.6 * slow)))
                }
                _ => START_PER_MS,
            };
            self.next_ms = sent_ms + 1.0 / self.pace;
        }
    }

    /// A host that refuses everything for a while does not show its limit: what was known before holds, and nothing is learned.
    fn forget_storm(&mut self, sent_ms: f64) {
        self.storms += 1;
        self.evidence.forget_before(sent_ms);
        (self.start_level, self.surprises, self.between) = (None, 0, None);
        self.known = self.before.take().filter(|known| known.is_tight);
        self.second = None;
        self.ledger = self.known.as_ref().map(|known| known.model.kind.ledger(0.0));
        self.pace = (self.peak * 0.5).max(START_PER_MS);
        self.next_ms = sent_ms;
    }

    fn context(&self) -> Context<'_> {
        Context {
            envelope: &self.envelope,
            doubt: self.known.as_ref().map_or(0.0, |known| known.misfit / self.evidence.spells()),
            confirmed: self.confirmed,
            former: self.former,
            jitter_ms: self.round_trip.jitter_ms(),
            clock_ms: self.clock_ms,
            known: self.known.as_ref().map(|known| known.model),
            burst: self.burst,
            start_level: self.start_level.or(self.burst),
            is_settled: self.is_tight(),
            base: self.base,
            is_local: false,
        }
    }

    /// The model so far with its parameters measured anew, if it explains what came as well as what was before.
    fn near(&self) -> Option<Fit> {
        let is_plain = |known: &&Known| known.is_tight && known.model.second.is_none();
        let known = self.known.as_ref().filter(is_plain)?;
        let fit = Fit::of(&self.evidence, &Context { is_local: true, ..self.context() })?;
        (fit.rivals[0].misfit <= known.misfit.max(0.4) + 0.5).then_some(fit)
    }

    /// Measures the model so far anew; leaves it when something speaks against it.
    pub(super) fn refine(&mut self, now_ms: f64) {
        self.since_fit = 0.0;
        if let Some(fit) = self.near() {
            self.adopt(fit, now_ms);
        }
    }

    /// Weighs all candidates anew.
    pub(super) fn refit(&mut self, now_ms: f64) {
        self.since_fit = 0.0;
        let near = if self.surprises == 0 { self.near() } else { None };
        if let Some(known) = self.known.as_ref().filter(|known| known.is_tight) {
            let longest_ms = known.model.parts().filter_map(|(kind, _)| kind.window_ms()).fold(0.0, f64::max);
            if self.evidence.keep_closures(CLOSURES_KEPT, now_ms - 2.5 * longest_ms) {
                self.start_level = None;
            }
        }
        let Some(mut fit) = near.or_else(|| Fit::of(&self.evidence, &self.context())) else { return };
        if self.surprises >= 2 && fit.rivals[0].misfit > 1.0 {
            // It does not fit together any more: the limit has changed.
            self.evidence.forget_before(self.surprised_ms);
            self.start_level = None;
            self.surprises = 0;
            self.former = self.known.take().map(|known| known.model.kind);
            self.base = None;
            self.envelope.forget();
            self.confirmed = 0;
            match Fit::of(&self.evidence, &self.context()) {
                Some(anew) => fit = anew,
                None => return,
            }
        }
        self.adopt(fit, now_ms);
    }

    fn adopt(&mut self, fit: Fit, now_ms: f64) {
        // What was known stays known until it is off by more.
        let (width_max, touches_min) = if self.is_tight() { (WIDTH_KEPT, 0) } else { (WIDTH_KNOWN, 2) };
        let model = fit.best();
        // One wait is no ban: a second one of the same length is.
        let touches_min = if model.ban_ms > 0.0 { touches_min.max(TOUCHES_BAN) } else { touches_min };
        let is_same = self.known.as_ref().is_some_and(|known| known.model.kind.is_like(model.kind));
        self.confirmed = if is_same && self.is_tight() { self.confirmed + u32::from(self.is_closed) } else { 0 };
        let is_known = self.has_turned(model.kind) && fit.width() < width_max && self.touches >= touches_min;
        let is_tight = model.second.is_some() || is_known;
        if is_tight && model.second.is_none() {
            self.base = Some(model);
        }
        self.known = Some(Known {
            model,
            rate_lo: fit.rate_lo,
            rate_hi: fit.rate_hi,
            is_tight,
            misfit: fit.rivals[0].misfit,
            rivals: fit.rivals,
        });
        // A first guess must not bind the next ones where the level at the start is known, so that the burst can be measured.
        let is_measured = is_tight || self.start_level.is_none();
        if matches!(model.kind, Kind::Bucket { .. }) && is_measured {
            // Within a request the frame of a cut log drifts; only another guess is news.
            let off = 1.5 + 2.0 * model.rate_per_ms() * self.round_trip.jitter_ms();
            let is_other = self.burst.is_none_or(|burst| (burst - model.threshold).abs() > off);
            if !self.evidence.is_cut() || is_other {
                self.burst = Some(model.threshold);
            }
        }
        let counted = self.evidence.counted();
        let start_level = self.start_level.or(self.burst).filter(|_| self.evidence.is_cut());
        let replayed = |kind: Kind| {
            let mut ledger = kind.ledger(kind.window_ms().unwrap_or(0.0) / GRAINS);
            if let (Some(level), Some(first_ms)) = (start_level, self.evidence.first_ms()) {
                ledger.fill(level, first_ms);
            }
            ledger.replay(&counted);
            ledger
        };
        let mut ledger = replayed(model.kind);
        let second = model.second.map(|(kind, _)| replayed(kind));
        ledger.set_rate(model.rate_per_ms() * (1.0 - self.margin()), now_ms);
        (self.ledger, self.second) = (Some(ledger), second);
        if is_tight {
            self.pace = match model.kind {
                Kind::Bucket { .. } if model.threshold < STRICT => RATE_PER_MS_MAX,
                Kind::Bucket { rate_per_ms } => (rate_per_ms * WINDOW_HASTE).max(self.peak * 0.5),
                kind => self.window_pace(kind, model.threshold),
            };
        }
    }

    /// Whether requests have left a sliding window of this kind again: until then it counts all of them, as any longer one would.
    /// A server that says how long to wait tells as much.
    fn has_turned(&self, kind: Kind) -> bool {
        let (Kind::Log { window_ms, .. } | Kind::Counter { window_ms, .. }) = kind else { return true };
        let is_told = self.evidence.closures().iter().any(|closure| closure.told_ms.is_finite());
        let span_ms = self.evidence.first_ms().map_or(0.0, |first_ms| self.sent_ms - first_ms);
        is_told || span_ms >= window_ms
    }

    /// Whether the limit that is known has no part in a refusal of what was sent at `sent_ms`.
    pub(super) fn is_foreign(&mut self, sent_ms: f64) -> bool {
        match (&self.known, &mut self.ledger) {
            (Some(known), Some(ledger)) if known.is_tight => {
                let threshold = known.model.threshold;
                ledger.level(sent_ms) + 1.0 <= threshold - (threshold * 0.1).max(1.5)
            }
            _ => false,
        }
    }

    /// A known limit refused something that it should have let pass. Several in a row, and it is not what it was.
    pub(super) fn surprise(&mut self) {
        if self.since_touch < SURPRISE_ACCEPTED {
            self.surprises += 1;
            if self.surprises == 1 {
                self.surprised_ms = self.touched_ms;
            }
        } else {
            self.surprises = 0;
        }
        self.margin_extra = (self.margin_extra * 2.0).clamp(MARGIN_MIN, MARGIN_MAX);
    }

    /// The limit has risen: what was measured is of no use any more.
    pub(super) fn on_risen(&mut self, now_ms: f64) {
        // Until then it was kept below the old limit, and whatever drains faster than that was empty.
        self.evidence.forget_before(self.probing_ms.min(now_ms));
        let rate = self.known.take().map_or(self.pace, |known| known.model.rate_per_ms());
        (self.ledger, self.second, self.base) = (None, None, None);
        self.is_probing = false;
        (self.burst, self.start_level) = (None, Some(0.0));
        // What passed between two refusals passed an older limit.
        (self.between, self.opened_ms) = (None, f64::NAN);
        self.pace = rate * 1.25;
    }
}
