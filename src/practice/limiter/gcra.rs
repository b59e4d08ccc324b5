//! The generic cell rate algorithm, as governor and tower_governor have it.

use super::rule::{Arrival, Quota, Retune, Rule, SECOND_US, span_us, whole, whole_us};

/// Remembers only the theoretical arrival time of the next request: one interval later for each that was allowed. A request may
/// come `burst - 1` intervals before it; one that is refused leaves no trace.
#[derive(Clone, Debug)]
pub struct Gcra {
    interval_us: f64,
    burst: f64,
    /// How far the theoretical arrival time lies beyond `seen_us`, in microseconds.
    ahead_us: f64,
    seen_us: i64,
}

/// Sums of intervals may be off by this, in microseconds.
const DUST_US: f64 = 0.01;

impl Gcra {
    /// One request each `1 / per_s` seconds, `burst` of them at once, at least 1.
    #[must_use]
    pub fn new(per_s: f64, burst: u32) -> Self {
        Self {
            interval_us: SECOND_US / per_s.max(1e-6),
            burst: f64::from(burst.max(1)),
            ahead_us: 0.0,
            seen_us: i64::MIN,
        }
    }

    fn tolerance_us(&self, slack: f64) -> f64 {
        self.interval_us * (self.burst * slack - 1.0) + DUST_US
    }
}

impl Rule for Gcra {
    fn admits(&mut self, arrival: &Arrival) -> bool {
        if self.seen_us != i64::MIN {
            self.ahead_us = (self.ahead_us - span_us(self.seen_us, arrival.at_us)).max(0.0);
        }
        self.seen_us = self.seen_us.max(arrival.at_us);
        self.ahead_us <= self.tolerance_us(arrival.slack)
    }

    fn charge(&mut self, _arrival: &Arrival, allowed: bool) -> u64 {
        if allowed {
            self.ahead_us += self.interval_us;
        }
        0
    }

    fn quota(&self, arrival: &Arrival) -> Quota {
        let slack_us = self.tolerance_us(arrival.slack) - self.ahead_us;
        Quota {
            limit: whole(self.burst),
            remaining: if slack_us < 0.0 { 0 } else { whole(slack_us / self.interval_us) + 1 },
            window_us: whole_us(self.interval_us * self.burst),
            reset_us: whole_us(self.ahead_us),
            retry_us: whole_us(-slack_us),
        }
    }

    fn retune(&mut self, change: &Retune) {
        self.interval_us = change.per_s.map_or(self.interval_us, |per_s| SECOND_US / per_s);
        self.burst = change.burst.unwrap_or(self.burst);
    }
}
