//! So many requests at once: nginx `limit_conn` and most overloaded servers.

use super::rule::{Arrival, Quota, Retune, Rule, left};

/// Allows `limit` requests at a time; one that is allowed runs until it is released.
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
}

impl Rule for ConcurrencyCap {
    fn admits(&mut self, arrival: &Arrival) -> bool {
        left(self.limit, arrival.slack, self.running.into()) > 0
    }

    fn charge(&mut self, _arrival: &Arrival, allowed: bool) -> u64 {
        self.running += u32::from(allowed);
        0
    }

    fn quota(&self, arrival: &Arrival) -> Quota {
        let remaining = left(self.limit, arrival.slack, self.running.into());
        Quota { limit: self.limit.into(), remaining, ..Quota::default() }
    }

    fn release(&mut self) {
        assert!(self.running > 0, "only what was admitted is released");
        self.running -= 1;
    }

    fn retune(&mut self, change: &Retune) {
        self.limit = change.limit.unwrap_or(self.limit);
    }
}
