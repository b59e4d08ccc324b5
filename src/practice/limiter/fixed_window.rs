//! So many requests in each span of time: GitHub and many others.

use super::rule::{Arrival, Quota, Retune, Rule, left};

/// Where windows start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// At multiples of their length on the server's clock, this many microseconds later.
    Epoch {
        /// The phase; 0 for most, a hash of the key in django-ratelimit.
        phase_us: i64,
    },
    /// With the first request after the last window ended: express-rate-limit, Redis counters.
    FirstHit,
}

/// Allows so many requests in each window. Whether it counts those that it refuses makes no difference to anyone.
#[derive(Clone, Debug)]
pub struct FixedWindow {
    limit: u32,
    window_us: i64,
    anchor: Anchor,
    started_us: Option<i64>,
    used: u32,
}

impl FixedWindow {
    /// Windows of `window_secs` (at least 1) that allow `limit` requests each, aligned to the epoch.
    #[must_use]
    pub fn new(limit: u32, window_secs: u32) -> Self {
        Self::anchored(limit, i64::from(window_secs.max(1)) * 1_000_000, Anchor::Epoch { phase_us: 0 })
    }

    /// Windows of `window_us` (at least 1) that allow `limit` requests each.
    #[must_use]
    pub fn anchored(limit: u32, window_us: i64, anchor: Anchor) -> Self {
        Self { limit, window_us: window_us.max(1), anchor, started_us: None, used: 0 }
    }
}

impl Rule for FixedWindow {
    fn admits(&mut self, arrival: &Arrival) -> bool {
        let started_us = match (self.anchor, self.started_us) {
            (Anchor::Epoch { phase_us }, _) => arrival.at_us - (arrival.at_us - phase_us).rem_euclid(self.window_us),
            (Anchor::FirstHit, Some(started_us)) if arrival.at_us < started_us + self.window_us => started_us,
            (Anchor::FirstHit, _) => arrival.at_us,
        };
        if self.started_us != Some(started_us) {
            self.started_us = Some(started_us);
            self.used = 0;
        }
        left(self.limit, arrival.slack, self.used.into()) > 0
    }

    fn charge(&mut self, _arrival: &Arrival, allowed: bool) -> u64 {
        self.used += u32::from(allowed);
        0
    }

    fn quota(&self, arrival: &Arrival) -> Quota {
        let remaining = left(self.limit, arrival.slack, self.used.into());
        let ends_us = self.started_us.unwrap_or(arrival.at_us) + self.window_us;
        let reset_us = u64::try_from(ends_us - arrival.at_us).unwrap_or(0);
        Quota {
            limit: self.limit.into(),
            remaining,
            window_us: self.window_us.unsigned_abs(),
            reset_us,
            retry_us: if remaining > 0 { 0 } else { reset_us },
        }
    }

    fn retune(&mut self, change: &Retune) {
        self.limit = change.limit.unwrap_or(self.limit);
    }
}
