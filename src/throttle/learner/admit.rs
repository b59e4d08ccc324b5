//! When the next request may go, as far as the model is concerned: a ledger of it, kept a little below its threshold.

use super::{Feature, Kind, Learner, PROBE_HASTE, WINDOW_HASTE, beyond};
use crate::throttle::fit::Model;

/// Windows up to this long are spent at [`WINDOW_HASTE`] times their rate, longer ones as fast as was ever accepted.
const EVEN_WINDOW_MS_MAX: f64 = 120_000.0;
/// Windows up to this long are not spent in bursts at all: their edges are as wide as the way to the server varies.
pub(super) const SHORT_WINDOW_MS_MAX: f64 = 5_000.0;
/// Of a window that starts anew at once this share is spent as fast as was ever accepted.
pub(super) const HASTY_SHARE: f64 = 0.8;
/// How far below its rate a short window is spent.
const SHORT_WINDOW_MARGIN: f64 = 0.008;
/// How much of the uncertainty of a rate goes into the margin at most; more than this is ambiguity, not risk.
const WIDTH_TAKEN_MAX: f64 = 0.01;
/// The least margin below a bucket's rate.
pub(super) const MARGIN_MIN: f64 = 0.004;
/// The largest margin, after surprises.
pub(super) const MARGIN_MAX: f64 = 0.12;
/// A bucket that holds less than this many requests bears none that is early.
pub(super) const STRICT: f64 = 2.5;
/// So many requests beyond a threshold it is crossed.
const EDGE_PASSED: f64 = 3.5;
/// How long a window that is only suspected is waited for, in ms.
const PATIENCE_UNSURE_MS: f64 = 65_000.0;
/// How long one is waited for that was seen only a few times, in ms.
const PATIENCE_NEW_MS: f64 = 600_000.0;

impl Learner {
    /// The earliest instant of the next send.
    pub fn next_ms(&mut self, now_ms: f64) -> f64 {
        let paced = self.next_ms;
        let Some(known) = &self.known else { return paced };
        let jitter_ms = self.round_trip.jitter_ms();
        let guard_ms = |window_ms: f64| 10.0 + (window_ms * 0.002).min(250.0) + jitter_ms;
        let extra = |threshold: f64| if self.is_probing { beyond(threshold) } else { 0.0 };
        let paced = match (&mut self.second, known.model.second) {
            (Some(ledger), Some((kind, threshold))) => {
                let at_ms = now_ms.max(paced);
                let open_ms = ledger.falls_to((threshold - 1.0 + extra(threshold)).max(0.0), at_ms);
                let guard_ms = guard_ms(kind.window_ms().unwrap_or(1.0));
                if open_ms > at_ms { paced.max(open_ms + guard_ms) } else { paced }
            }
            _ => paced,
        };
        let (kind, threshold) = (known.model.kind, known.model.threshold);
        let Some(ledger) = &mut self.ledger else { return paced };
        let at_ms = now_ms.max(paced);
        if let Kind::Bucket { rate_per_ms } = kind {
            if !known.is_tight || self.is_probing {
                return paced;
            }
            if threshold < STRICT {
                return paced.max(ledger.falls_to((threshold - 1.15).max(0.0), at_ms) + 0.5 * jitter_ms);
            }
            let room = (threshold * 0.06).clamp(0.3, 1.5) + rate_per_ms * jitter_ms;
            return paced.max(ledger.falls_to((threshold - room - 1.0).max(0.0), at_ms));
        }
        let window_ms = kind.window_ms().unwrap_or(1.0);
        if window_ms <= SHORT_WINDOW_MS_MAX && known.is_tight {
            return paced;
        }
        let spare = if known.is_tight { (threshold * self.margin_extra).floor() } else { 0.0 };
        let open_ms = ledger.falls_to((threshold - 1.0 - spare + extra(threshold)).max(0.0), at_ms);
        if open_ms <= at_ms {
            return paced;
        }
        // A long window that is only suspected is asked again before it would end.
        let patience_ms = match (known.is_tight, self.touches) {
            (false, _) => PATIENCE_UNSURE_MS,
            (true, 0..4) => PATIENCE_NEW_MS,
            _ => f64::INFINITY,
        };
        paced.max((open_ms + guard_ms(window_ms)).min(self.sent_ms.max(self.touched_ms) + patience_ms))
    }

    /// Whether only one request may be in flight: the next one is likely to be refused.
    pub fn is_serial(&mut self, now_ms: f64) -> bool {
        if !self.is_probing {
            return false;
        }
        let Some(known) = &self.known else { return false };
        let threshold = known.model.threshold;
        if let (Some(ledger), Some((_, threshold))) = (&mut self.second, known.model.second) {
            return is_at_edge(ledger.level(now_ms), threshold);
        }
        match (&mut self.ledger, known.model.kind) {
            (_, Kind::Bucket { .. }) | (None, _) => false,
            (_, kind) if kind.window_ms().is_some_and(|window_ms| window_ms <= SHORT_WINDOW_MS_MAX) => false,
            (Some(ledger), _) => is_at_edge(ledger.level(now_ms), threshold),
        }
    }

    pub(super) fn window_pace(&self, kind: Kind, threshold: f64) -> f64 {
        let window_ms = kind.window_ms().unwrap_or(1.0);
        let fast = self.peak * 0.9;
        if window_ms <= SHORT_WINDOW_MS_MAX {
            let even = threshold / window_ms * (1.0 - SHORT_WINDOW_MARGIN - self.margin_extra);
            return if self.is_probing { even * PROBE_HASTE } else { even };
        }
        if window_ms <= EVEN_WINDOW_MS_MAX { fast.min(WINDOW_HASTE * threshold / window_ms) } else { fast }
    }

    /// So fast it may go besides after a restart, in requests a ms: a run may be short, and what is left of a window at its end is
    /// lost. Not after a refusal, since a window whose threshold varies would refuse all that is in flight; nor before the first of
    /// its requests was accepted, since its edges are as wide as the way to the server varies. 0 when there is no haste.
    pub(super) fn haste(&mut self, now_ms: f64) -> f64 {
        let Some(known) = &self.known else { return 0.0 };
        let Model { kind, threshold, second, .. } = known.model;
        let is_long = kind.window_ms().is_some_and(|window_ms| window_ms > SHORT_WINDOW_MS_MAX);
        if !self.is_resumed || !is_long || !known.is_tight || !kind.is_fixed() || second.is_some() || self.is_probing {
            return 0.0;
        }
        let level = self.ledger.as_mut().map_or(f64::MAX, |ledger| ledger.level(now_ms));
        if level <= 1.0 {
            self.window_from_ms = now_ms;
        }
        let is_open = self.window_from_ms == f64::NEG_INFINITY;
        if is_open && level < HASTY_SHARE * threshold { self.peak * 0.9 } else { 0.0 }
    }

    pub(super) fn margin(&self) -> f64 {
        let width = self.known.as_ref().map_or(0.0, |known| (1.0 - known.rate_lo / known.model.rate_per_ms()).max(0.0));
        (width.clamp(MARGIN_MIN, WIDTH_TAKEN_MAX) + self.margin_extra).min(MARGIN_MAX)
    }
}

/// Whether the next request is about to cross a threshold: likely to be refused. Well beyond it that is no longer likely.
fn is_at_edge(level: f64, threshold: f64) -> bool {
    (threshold - 0.5..threshold + EDGE_PASSED).contains(&(level + 1.0))
}
