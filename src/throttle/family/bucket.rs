//! A queue that drains at a steady rate: token bucket, leaky bucket, GCRA.

use serde::{Deserialize, Serialize};

use super::{Feature, LONG_AGO_MS};

/// A bucket seen from outside: how many requests are in it that have not drained yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    rate_per_ms: f64,
    queue: f64,
    at_ms: f64,
}

impl Bucket {
    pub(super) fn new(rate_per_ms: f64) -> Self {
        Self { rate_per_ms, queue: 0.0, at_ms: LONG_AGO_MS }
    }

    /// From `now_ms` on it drains at another rate.
    pub(super) fn set_rate(&mut self, rate_per_ms: f64, now_ms: f64) {
        if self.at_ms != LONG_AGO_MS {
            self.queue = self.level(now_ms);
            self.at_ms = self.at_ms.max(now_ms);
        }
        self.rate_per_ms = rate_per_ms;
    }

    pub(super) fn fill(&mut self, threshold: f64, now_ms: f64) {
        self.queue = threshold;
        self.at_ms = now_ms;
    }
}

impl Feature for Bucket {
    /// Below zero when it has been empty for a while: a refusal then speaks against this bucket all the more.
    fn level(&mut self, at_ms: f64) -> f64 {
        if self.at_ms == LONG_AGO_MS { 0.0 } else { self.queue - self.rate_per_ms * (at_ms - self.at_ms).max(0.0) }
    }

    fn count(&mut self, at_ms: f64, requests: f64, accepted: bool) {
        if accepted {
            // Several requests that were joined came one by one, while it drained.
            self.queue = (self.level(at_ms) + requests).max(1.0);
            self.at_ms = self.at_ms.max(at_ms);
        }
    }

    fn falls_to(&mut self, level: f64, now_ms: f64) -> f64 {
        if self.at_ms == LONG_AGO_MS { now_ms } else { self.at_ms + (self.queue - level) / self.rate_per_ms }
    }

    fn refund(&mut self, _at_ms: f64) {
        self.queue = (self.queue - 1.0).max(0.0);
    }
}
