//! So many requests at once: nginx `limit_conn` and most overloaded servers.

use super::Verdict;

/// Allows `limit` requests at a time, and tells nothing about itself.
#[derive(Clone, Debug)]
pub struct ConcurrencyCap {
    limit: u32,
    running: u32,
}

impl ConcurrencyCap {
    /// A cap of `limit` requests at once, at least 1.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self { limit: limit.max(1), running: 0 }
    }

    /// Decides about a request; one that is allowed runs until [`Self::release`].
    pub fn admit(&mut self) -> Verdict {
        if self.running >= self.limit {
            return Verdict::Refuse { retry_after_secs: None, headers: Vec::new() };
        }
        self.running += 1;
        Verdict::Allow { headers: Vec::new() }
    }

    /// One of the running requests has ended.
    pub fn release(&mut self) {
        assert!(self.running > 0, "only what was admitted is released");
        self.running -= 1;
    }
}
