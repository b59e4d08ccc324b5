//! Several limits at once: a request passes all of them or is charged by none.

use super::Limiter;
use super::rule::{Arrival, Quota, Retune, Rule};

/// Limits of one host that all must allow a request. As with nginx's zones, one that is refused by any of them is not charged
/// by those that would have allowed it.
#[derive(Clone, Debug)]
pub struct All {
    limiters: Vec<Limiter>,
}

impl All {
    /// All of `limiters` together.
    #[must_use]
    pub fn new(limiters: Vec<Limiter>) -> Self {
        Self { limiters }
    }

    fn rules(&mut self) -> impl Iterator<Item = &mut dyn Rule> {
        self.limiters.iter_mut().filter_map(Limiter::rule)
    }
}

impl Rule for All {
    fn admits(&mut self, arrival: &Arrival) -> bool {
        // Each is asked, also after a refusal: it brings its state up to the instant.
        self.rules().filter_map(|rule| (!rule.admits(arrival)).then_some(())).count() == 0
    }

    fn charge(&mut self, arrival: &Arrival, allowed: bool) -> u64 {
        self.rules().map(|rule| rule.charge(arrival, allowed)).max().unwrap_or(0)
    }

    fn quota(&self, arrival: &Arrival) -> Quota {
        // The one that is closest to refusing speaks; among those that refuse, the one that does so longest.
        let quotas = self.limiters.iter().filter_map(Limiter::rule_ref).map(|rule| rule.quota(arrival));
        quotas.min_by_key(|quota| (quota.remaining, std::cmp::Reverse(quota.retry_us))).unwrap_or_default()
    }

    fn release(&mut self) {
        self.limiters.iter_mut().for_each(Limiter::release);
    }

    fn retune(&mut self, change: &Retune) {
        self.rules().for_each(|rule| rule.retune(change));
    }

    fn bans(&self) -> u64 {
        self.limiters.iter().filter_map(Limiter::rule_ref).map(Rule::bans).sum()
    }
}
