//! Two counters that stand for a sliding window: HAProxy's `http_req_rate`, the `limits` library, Cloudflare.

use super::fixed_window::Anchor;
use super::rule::{Arrival, DUST, Quota, Retune, Rule, left, span_us, whole_us};

/// Counts the present and the last window, and takes the share of the last one that a sliding window would still see.
#[derive(Clone, Debug)]
pub struct SlidingCounter {
    limit: u32,
    window_us: i64,
    anchor: Anchor,
    counts_refused: bool,
    floors: bool,
    started_us: Option<i64>,
    last: u64,
    present: u64,
}

impl SlidingCounter {
    /// Allows `limit` requests in `window_us`. HAProxy starts with the first request after idling, counts what its rules
    /// refuse, and compares fractions; `limits` aligns to the epoch, does not, and rounds the share of the last window down
    /// (`floors`).
    #[must_use]
    pub fn new(limit: u32, window_us: i64, anchor: Anchor, counts_refused: bool, floors: bool) -> Self {
        let window_us = window_us.max(1);
        Self { limit, window_us, anchor, counts_refused, floors, started_us: None, last: 0, present: 0 }
    }

    /// Requests that count at `at_us`.
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    fn seen(&self, at_us: i64) -> f64 {
        let window_us = self.window_us as f64;
        let gone_us = self.started_us.map_or(0.0, |started_us| span_us(started_us, at_us));
        let share = self.last as f64 * (window_us - gone_us).max(0.0) / window_us;
        let share = if self.floors { (share + DUST).floor() } else { share };
        share + self.present as f64
    }
}

impl Rule for SlidingCounter {
    fn admits(&mut self, arrival: &Arrival) -> bool {
        let at_us = arrival.at_us;
        let started_us = match (self.anchor, self.started_us) {
            (Anchor::Epoch { phase_us }, _) => at_us - (at_us - phase_us).rem_euclid(self.window_us),
            // After a whole window without a request the next one starts anew.
            (Anchor::FirstHit, Some(started_us)) if at_us < started_us + 2 * self.window_us => {
                started_us + (at_us - started_us).max(0) / self.window_us * self.window_us
            }
            (Anchor::FirstHit, _) => at_us,
        };
        if let Some(known_us) = self.started_us
            && started_us > known_us
        {
            self.last = if started_us == known_us + self.window_us { self.present } else { 0 };
            self.present = 0;
        }
        self.started_us = self.started_us.max(Some(started_us));
        left(self.limit, arrival.slack, self.seen(at_us)) > 0
    }

    fn charge(&mut self, _arrival: &Arrival, allowed: bool) -> u64 {
        self.present += u64::from(allowed || self.counts_refused);
        0
    }

    #[expect(clippy::cast_precision_loss, reason = "counts and windows are below 2^53")]
    fn quota(&self, arrival: &Arrival) -> Quota {
        let remaining = left(self.limit, arrival.slack, self.seen(arrival.at_us));
        let window_us = self.window_us as f64;
        let gone_us = self.started_us.map_or(0.0, |started_us| span_us(started_us, arrival.at_us));
        let rest_us = window_us - gone_us;
        // How much must still be forgotten, and how fast the last window and, after the edge, this one forgets.
        let over = self.seen(arrival.at_us) + 1.0 - f64::from(self.limit) * arrival.slack;
        let before_edge = self.last as f64 * rest_us / window_us;
        let retry_us = if remaining > 0 {
            0.0
        } else if over <= before_edge {
            over * window_us / self.last.max(1) as f64
        } else {
            rest_us + (over - before_edge) * window_us / self.present.max(1) as f64
        };
        Quota {
            limit: self.limit.into(),
            remaining,
            window_us: self.window_us.unsigned_abs(),
            reset_us: whole_us(rest_us),
            retry_us: whole_us(retry_us),
        }
    }

    fn retune(&mut self, change: &Retune) {
        self.limit = change.limit.unwrap_or(self.limit);
    }
}
