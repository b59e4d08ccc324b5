//! So many requests in each span of time: GitHub and many others.

use super::Verdict;
use crate::clock::Timestamp;

/// Allows `limit` requests in each window; windows are aligned to the epoch. It sends `X-RateLimit-Limit`, `-Remaining` and
/// `-Reset` (seconds since the epoch) with every answer, and no `Retry-After`.
#[derive(Clone, Debug)]
pub struct FixedWindow {
    limit: u32,
    window_secs: i64,
    /// Number of the present window since the epoch.
    window: i64,
    used: u32,
}

impl FixedWindow {
    /// Windows of `window_secs` (at least 1) that allow `limit` requests each.
    #[must_use]
    pub fn new(limit: u32, window_secs: u32) -> Self {
        Self { limit, window_secs: i64::from(window_secs.max(1)), window: i64::MIN, used: 0 }
    }

    /// Decides about a request that arrives at `now`.
    pub fn admit(&mut self, now: Timestamp) -> Verdict {
        let window = now.0.div_euclid(self.window_secs * 1_000);
        if window != self.window {
            self.window = window;
            self.used = 0;
        }
        let allowed = self.used < self.limit;
        self.used += u32::from(allowed);
        let headers = vec![
            ("x-ratelimit-limit", self.limit.to_string()),
            ("x-ratelimit-remaining", (self.limit - self.used).to_string()),
            ("x-ratelimit-reset", ((window + 1) * self.window_secs).to_string()),
        ];
        if allowed { Verdict::Allow { headers } } else { Verdict::Refuse { retry_after_secs: None, headers } }
    }
}
