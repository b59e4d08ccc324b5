//! A threshold that is not quite the same each time: several processes with counters of their own, racy caches, "best effort".

use super::Limiter;
use super::rule::{Arrival, Quota, Retune, Rule};

/// A limiter whose threshold swings by up to a share of itself, anew in each span of time.
#[derive(Clone, Debug)]
pub struct Noisy {
    inner: Box<Limiter>,
    share: f64,
    hold_us: i64,
    seed: u64,
}

impl Noisy {
    /// `inner` with thresholds that are off by up to `share` (0..1) either way, for `hold_us` at a time.
    #[must_use]
    pub fn new(inner: Limiter, share: f64, hold_us: i64, seed: u64) -> Self {
        Self { inner: Box::new(inner), share, hold_us: hold_us.max(1), seed }
    }

    fn swung(&self, arrival: &Arrival) -> Arrival {
        let span = arrival.at_us.div_euclid(self.hold_us).cast_unsigned();
        let draw = fastrand::Rng::with_seed(self.seed ^ span.wrapping_mul(0x9e37_79b9_7f4a_7c15)).f64();
        Arrival { slack: arrival.slack * (1.0 + self.share * (2.0 * draw - 1.0)), ..*arrival }
    }
}

impl Rule for Noisy {
    fn admits(&mut self, arrival: &Arrival) -> bool {
        let swung = self.swung(arrival);
        self.inner.rule().is_none_or(|rule| rule.admits(&swung))
    }

    fn charge(&mut self, arrival: &Arrival, allowed: bool) -> u64 {
        let swung = self.swung(arrival);
        self.inner.rule().map_or(0, |rule| rule.charge(&swung, allowed))
    }

    fn quota(&self, arrival: &Arrival) -> Quota {
        let swung = self.swung(arrival);
        self.inner.rule_ref().map_or_else(Quota::default, |rule| rule.quota(&swung))
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
        self.inner.bans()
    }
}
