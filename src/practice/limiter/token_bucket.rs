//! A steady rate with a burst: most API gateways.

use super::Verdict;
use crate::clock::Timestamp;

/// Fills at `rate_per_s` up to `burst`; each allowed request takes one token, a refused one takes nothing.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    rate_per_s: u32,
    /// In thousandths of a token, so that a millisecond adds exactly `rate_per_s` of them.
    level: u64,
    level_max: u64,
    filled_at: Option<Timestamp>,
}

/// One token in the unit of the level.
const TOKEN: u64 = 1_000;

impl TokenBucket {
    /// A full bucket; both numbers are at least 1.
    #[must_use]
    pub fn new(rate_per_s: u32, burst: u32) -> Self {
        let level_max = u64::from(burst.max(1)) * TOKEN;
        Self { rate_per_s: rate_per_s.max(1), level: level_max, level_max, filled_at: None }
    }

    /// Decides about a request that arrives at `now`.
    pub fn admit(&mut self, now: Timestamp) -> Verdict {
        let passed_ms = self.filled_at.map_or(0, |filled_at| now.since_ms(filled_at));
        self.filled_at = self.filled_at.max(Some(now));
        let gained = passed_ms.saturating_mul(u64::from(self.rate_per_s));
        self.level = self.level.saturating_add(gained).min(self.level_max);
        if let Some(rest) = self.level.checked_sub(TOKEN) {
            self.level = rest;
            return Verdict::Allow { headers: Vec::new() };
        }
        let wait_ms = (TOKEN - self.level).div_ceil(u64::from(self.rate_per_s));
        Verdict::Refuse { retry_after_secs: Some(wait_ms.div_ceil(1_000).max(1)), headers: Vec::new() }
    }
}
