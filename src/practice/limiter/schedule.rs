//! A limit that changes: lowered under load, raised with a plan, swinging through the day.

use super::Limiter;
use super::rule::{Arrival, Quota, Retune, Rule};

/// A limiter whose numbers change at given instants.
#[derive(Clone, Debug)]
pub struct Schedule {
    inner: Box<Limiter>,
    /// What is to come, the last one first.
    changes: Vec<(i64, Retune)>,
}

impl Schedule {
    /// `inner`, changed at these instants in microseconds since the epoch.
    #[must_use]
    pub fn new(inner: Limiter, mut changes: Vec<(i64, Retune)>) -> Self {
        changes.sort_by_key(|&(at_us, _)| std::cmp::Reverse(at_us));
        Self { inner: Box::new(inner), changes }
    }
}

impl Rule for Schedule {
    fn admits(&mut self, arrival: &Arrival) -> bool {
        while let Some((at_us, change)) = self.changes.pop_if(|(at_us, _)| *at_us <= arrival.at_us) {
            // Up to the instant of the change the old numbers hold.
            let then = Arrival { at_us, ..*arrival };
            if let Some(rule) = self.inner.rule() {
                rule.admits(&then);
                rule.retune(&change);
            }
        }
        self.inner.rule().is_none_or(|rule| rule.admits(arrival))
    }

    fn charge(&mut self, arrival: &Arrival, allowed: bool) -> u64 {
        self.inner.rule().map_or(0, |rule| rule.charge(arrival, allowed))
    }

    fn quota(&self, arrival: &Arrival) -> Quota {
        self.inner.rule_ref().map_or_else(Quota::default, |rule| rule.quota(arrival))
    }

    fn release(&mut self) {
        self.inner.release();
    }

    fn bans(&self) -> u64 {
        self.inner.bans()
    }
}
