//! A steady rate with a burst: most API gateways.

use super::rule::{Arrival, DUST, Quota, Retune, Rule, SECOND_US, span_us, whole, whole_us};

/// Fills at a steady rate up to its burst; each allowed request takes one token, a refused one takes nothing.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    per_s: f64,
    burst: f64,
    level: f64,
    filled_us: Option<i64>,
}

impl TokenBucket {
    /// A full bucket that gains `per_s` tokens a second and holds `burst` of them, at least 1.
    #[must_use]
    pub fn new(per_s: impl Into<f64>, burst: impl Into<f64>) -> Self {
        let burst = burst.into().max(1.0);
        Self { per_s: per_s.into().max(1e-6), burst, level: burst, filled_us: None }
    }

    /// Tokens that a request must find, itself included: with slack the threshold moves, not the rate.
    fn needed(&self, slack: f64) -> f64 {
        1.0 + (1.0 - slack) * self.burst - DUST
    }
}

impl Rule for TokenBucket {
    fn admits(&mut self, arrival: &Arrival) -> bool {
        let passed_us = self.filled_us.map_or(0.0, |filled_us| span_us(filled_us, arrival.at_us));
        self.filled_us = self.filled_us.max(Some(arrival.at_us));
        self.level = (self.level + passed_us * self.per_s / SECOND_US).min(self.burst);
        self.level >= self.needed(arrival.slack)
    }

    fn charge(&mut self, _arrival: &Arrival, allowed: bool) -> u64 {
        if allowed {
            self.level -= 1.0;
        }
        0
    }

    fn quota(&self, arrival: &Arrival) -> Quota {
        let until_us = |level: f64| whole_us((level - self.level) * SECOND_US / self.per_s);
        Quota {
            limit: whole(self.burst),
            remaining: whole(self.level),
            window_us: whole_us(self.burst * SECOND_US / self.per_s),
            reset_us: until_us(self.burst),
            retry_us: until_us(self.needed(arrival.slack)),
        }
    }

    fn retune(&mut self, change: &Retune) {
        self.per_s = change.per_s.unwrap_or(self.per_s);
        self.burst = change.burst.unwrap_or(self.burst);
        self.level = self.level.min(self.burst);
    }
}
