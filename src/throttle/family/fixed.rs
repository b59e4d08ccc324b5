//! A count that starts anew at fixed instants of the server's clock.

use serde::{Deserialize, Serialize};

use super::{Feature, LONG_AGO_MS};

/// The count of the present window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fixed {
    window_ms: f64,
    phase_ms: f64,
    index: f64,
    count: f64,
}

impl Fixed {
    pub(super) fn new(window_ms: f64, phase_ms: f64) -> Self {
        Self { window_ms, phase_ms, index: LONG_AGO_MS, count: 0.0 }
    }

    fn turn(&mut self, at_ms: f64) {
        let index = ((at_ms - self.phase_ms) / self.window_ms).floor();
        if index > self.index {
            self.index = index;
            self.count = 0.0;
        }
    }
}

impl Feature for Fixed {
    fn level(&mut self, at_ms: f64) -> f64 {
        self.turn(at_ms);
        self.count
    }

    fn count(&mut self, at_ms: f64, requests: f64, accepted: bool) {
        self.turn(at_ms);
        if accepted {
            self.count += requests;
        }
    }

    fn falls_to(&mut self, level: f64, now_ms: f64) -> f64 {
        if self.level(now_ms) <= level { now_ms } else { (self.index + 1.0) * self.window_ms + self.phase_ms }
    }

    fn refund(&mut self, at_ms: f64) {
        if ((at_ms - self.phase_ms) / self.window_ms).floor() >= self.index {
            self.count = (self.count - 1.0).max(0.0);
        }
    }
}
