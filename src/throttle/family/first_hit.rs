//! A count that starts anew with the first request after its window: counters with an expiry, as in Redis or express.

use serde::{Deserialize, Serialize};

use super::{Feature, LONG_AGO_MS};

/// The count since the first request of the window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FirstHit {
    window_ms: f64,
    start_ms: f64,
    count: f64,
}

impl FirstHit {
    pub(super) fn new(window_ms: f64) -> Self {
        Self { window_ms, start_ms: LONG_AGO_MS, count: 0.0 }
    }
}

impl Feature for FirstHit {
    fn level(&mut self, at_ms: f64) -> f64 {
        if at_ms - self.start_ms >= self.window_ms { 0.0 } else { self.count }
    }

    fn count(&mut self, at_ms: f64, requests: f64, accepted: bool) {
        if at_ms - self.start_ms >= self.window_ms {
            self.start_ms = at_ms;
            self.count = 0.0;
        }
        if accepted {
            self.count += requests;
        }
    }

    fn falls_to(&mut self, level: f64, now_ms: f64) -> f64 {
        if self.level(now_ms) <= level { now_ms } else { self.start_ms + self.window_ms }
    }

    fn refund(&mut self, at_ms: f64) {
        if at_ms >= self.start_ms {
            self.count = (self.count - 1.0).max(0.0);
        }
    }
}
