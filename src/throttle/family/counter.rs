//! Two counters that imitate a sliding window: HAProxy's rates, "sliding window counters" of many libraries.

use serde::{Deserialize, Serialize};

use super::{Feature, LONG_AGO_MS};

/// This window's count and the last one's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counter {
    window_ms: f64,
    /// Where windows begin modulo their length; none when they begin with the first request after two idle windows.
    phase_ms: Option<f64>,
    all: bool,
    start_ms: f64,
    last: f64,
    count: f64,
}

impl Counter {
    pub(super) fn new(window_ms: f64, phase_ms: Option<f64>, all: bool) -> Self {
        Self { window_ms, phase_ms, all, start_ms: LONG_AGO_MS, last: 0.0, count: 0.0 }
    }

    fn turn(&mut self, at_ms: f64) {
        let windows = (at_ms - self.start_ms) / self.window_ms;
        if windows < 1.0 {
            return;
        }
        self.last = if windows < 2.0 { self.count } else { 0.0 };
        self.count = 0.0;
        self.start_ms = match self.phase_ms {
            Some(phase_ms) => ((at_ms - phase_ms) / self.window_ms).floor() * self.window_ms + phase_ms,
            None if windows < 2.0 => self.start_ms + self.window_ms,
            None => at_ms,
        };
    }
}

impl Feature for Counter {
    fn level(&mut self, at_ms: f64) -> f64 {
        self.turn(at_ms);
        let gone = ((at_ms - self.start_ms) / self.window_ms).clamp(0.0, 1.0);
        self.last * (1.0 - gone) + self.count
    }

    fn count(&mut self, at_ms: f64, requests: f64, accepted: bool) {
        self.turn(at_ms);
        if accepted || self.all {
            self.count += requests;
        }
    }

    fn falls_to(&mut self, level: f64, now_ms: f64) -> f64 {
        if self.level(now_ms) <= level {
            return now_ms;
        }
        // Within this window only the last one's share falls; in the next this one's count takes its place.
        if self.count <= level && self.last > 0.0 {
            return self.start_ms + self.window_ms * (1.0 - (level - self.count) / self.last);
        }
        let share = if self.count > 0.0 { 1.0 - (level / self.count).min(1.0) } else { 0.0 };
        self.start_ms + self.window_ms * (1.0 + share)
    }

    fn refund(&mut self, at_ms: f64) {
        if !self.all && at_ms >= self.start_ms {
            self.count = (self.count - 1.0).max(0.0);
        }
    }
}
