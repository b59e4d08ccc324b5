//! A bucket that is filled by a timer: Envoy's `local_ratelimit` before its rewrite.

use super::rule::{Arrival, Quota, Retune, Rule};

/// Gains `fill` tokens each interval, at instants that the start of the process fixed, up to `max`.
#[derive(Clone, Debug)]
pub struct Staircase {
    fill: u64,
    interval_us: i64,
    max: u64,
    level: u64,
    phase_us: i64,
    /// Number of the last interval since the epoch that was filled.
    filled: Option<i64>,
}

impl Staircase {
    /// A full bucket of `max` tokens, with `fill` more each `interval_us`; `phase_us` is when one of the intervals starts.
    #[must_use]
    pub fn new(fill: u32, interval_us: i64, max: u32, phase_us: i64) -> Self {
        let max = u64::from(max.max(1));
        Self { fill: u64::from(fill.max(1)), interval_us: interval_us.max(1), max, level: max, phase_us, filled: None }
    }
}

impl Rule for Staircase {
    fn admits(&mut self, arrival: &Arrival) -> bool {
        let interval = (arrival.at_us - self.phase_us).div_euclid(self.interval_us);
        let passed = interval - self.filled.unwrap_or(interval);
        self.filled = self.filled.max(Some(interval));
        self.level = (self.level + u64::try_from(passed).unwrap_or(0) * self.fill).min(self.max);
        self.level > 0
    }

    fn charge(&mut self, _arrival: &Arrival, allowed: bool) -> u64 {
        self.level -= u64::from(allowed);
        0
    }

    fn quota(&self, arrival: &Arrival) -> Quota {
        let interval_us = self.interval_us.unsigned_abs();
        let into_us = (arrival.at_us - self.phase_us).rem_euclid(self.interval_us).unsigned_abs();
        let next_us = interval_us - into_us;
        Quota {
            limit: self.max,
            remaining: self.level,
            window_us: interval_us * self.max.div_ceil(self.fill),
            reset_us: next_us,
            retry_us: if self.level > 0 { 0 } else { next_us },
        }
    }

    fn retune(&mut self, change: &Retune) {
        self.fill = change.limit.map_or(self.fill, u64::from);
    }
}
