//! A quota of which somebody else takes a part for a while: a second client behind the same key or address.

use super::Limiter;
use super::rule::{Arrival, Quota, Retune, Rule};

/// A limiter that a second client uses too, evenly, from one instant to another.
#[derive(Clone, Debug)]
pub struct Shared {
    inner: Box<Limiter>,
    gap_us: i64,
    until_us: i64,
    next_us: i64,
}

impl Shared {
    /// `inner`, which the other client asks each `gap_us` (at least 1) from `from_us` until `until_us`, both since the epoch.
    /// It takes what it gets and does not try again.
    #[must_use]
    pub fn new(inner: Limiter, gap_us: i64, from_us: i64, until_us: i64) -> Self {
        Self { inner: Box::new(inner), gap_us: gap_us.max(1), until_us, next_us: from_us }
    }
}

impl Rule for Shared {
    fn admits(&mut self, arrival: &Arrival) -> bool {
        let Some(rule) = self.inner.rule() else { return true };
        while self.next_us <= arrival.at_us && self.next_us < self.until_us {
            let theirs = Arrival { at_us: self.next_us, ..*arrival };
            let allowed = rule.admits(&theirs);
            rule.charge(&theirs, allowed);
            self.next_us += self.gap_us;
        }
        rule.admits(arrival)
    }

    fn charge(&mut self, arrival: &Arrival, allowed: bool) -> u64 {
        self.inner.rule().map_or(0, |rule| rule.charge(arrival, allowed))
    }

    fn quota(&self, arrival: &Arrival) -> Quota {
        self.inner.rule_ref().map_or_else(Quota::default, |rule| rule.quota(arrival))
    }

    fn retune(&mut self, change: &Retune) {
        if let Some(rule) = self.inner.rule() {
            rule.retune(change);
        }
    }

    fn release(&mut self) {
        self.inner.release();
    }

    fn bans(&self) -> u64 {
        self.inner.bans()
    }
}
