//! Whoever goes over the limit is shut out for a while: Cloudflare's rules, mod_evasive, @fastify/rate-limit.

use super::Limiter;
use serde::Deserialize;

use super::rule::{Arrival, Quota, Retune, Rule};

/// What a request does that comes while its client is shut out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hammering {
    /// Nothing: the ban ends when it was going to end.
    #[default]
    Ignored,
    /// It starts the ban anew: mod_evasive, `continueExceeding`.
    Extends,
    /// It starts the ban anew and doubles it: `exponentialBackoff`. A served request takes the doubling back.
    Doubles,
}

/// A limiter whose refusal shuts its client out.
#[derive(Clone, Debug)]
pub struct Ban {
    inner: Box<Limiter>,
    length_us: i64,
    hammering: Hammering,
    until_us: i64,
    inner_admits: bool,
    doublings: u32,
    bans: u64,
}

impl Ban {
    /// Shuts out for `length_us` whoever `inner` refuses.
    #[must_use]
    pub fn new(inner: Limiter, length_us: i64, hammering: Hammering) -> Self {
        let inner = Box::new(inner);
        Self { inner, length_us, hammering, until_us: i64::MIN, inner_admits: true, doublings: 0, bans: 0 }
    }
}

impl Rule for Ban {
    fn admits(&mut self, arrival: &Arrival) -> bool {
        self.inner_admits = self.inner.rule().is_none_or(|rule| rule.admits(arrival));
        arrival.at_us >= self.until_us && self.inner_admits
    }

    fn charge(&mut self, arrival: &Arrival, allowed: bool) -> u64 {
        if arrival.at_us < self.until_us {
            if self.hammering == Hammering::Doubles {
                self.doublings += 1;
            }
            if self.hammering != Hammering::Ignored {
                self.until_us = arrival.at_us.saturating_add(self.length_us << self.doublings.min(20));
            }
            return 0;
        }
        if self.inner_admits {
            self.doublings = if allowed { 0 } else { self.doublings };
        } else {
            self.until_us = arrival.at_us.saturating_add(self.length_us << self.doublings.min(20));
            self.bans += 1;
        }
        self.inner.rule().map_or(0, |rule| rule.charge(arrival, allowed))
    }

    fn quota(&self, arrival: &Arrival) -> Quota {
        let inner = self.inner.rule_ref().map_or_else(Quota::default, |rule| rule.quota(arrival));
        if arrival.at_us >= self.until_us {
            return inner;
        }
        let rest_us = self.until_us.abs_diff(arrival.at_us);
        Quota { remaining: 0, reset_us: rest_us, retry_us: rest_us, ..inner }
    }

    fn release(&mut self) {
        self.inner.release();
    }

    fn retune(&mut self, change: &Retune) {
        if let Some(rule) = self.inner.rule() {
            rule.retune(change);
        }
    }

    fn bans(&self) -> u64 {
        self.bans
    }
}
