//! Limits that hold for parts of a host only, beside one for the whole of it.

use super::Limiter;
use super::rule::{Arrival, Quota, Retune, Rule};

/// A limiter for each route, and one that all routes share.
#[derive(Clone, Debug)]
pub struct Routes {
    routes: Vec<Limiter>,
    whole: Box<Limiter>,
}

impl Routes {
    /// The first of `routes` limits route 0, and so on; routes beyond the last are limited by `whole` alone.
    #[must_use]
    pub fn new(routes: Vec<Limiter>, whole: Limiter) -> Self {
        Self { routes, whole: Box::new(whole) }
    }

    fn rules(&mut self, route: usize) -> impl Iterator<Item = &mut dyn Rule> {
        self.routes.get_mut(route).into_iter().chain([&mut *self.whole]).filter_map(Limiter::rule)
    }
}

impl Rule for Routes {
    fn admits(&mut self, arrival: &Arrival) -> bool {
        self.rules(arrival.route).filter_map(|rule| (!rule.admits(arrival)).then_some(())).count() == 0
    }

    fn charge(&mut self, arrival: &Arrival, allowed: bool) -> u64 {
        self.rules(arrival.route).map(|rule| rule.charge(arrival, allowed)).max().unwrap_or(0)
    }

    fn quota(&self, arrival: &Arrival) -> Quota {
        let limiters = self.routes.get(arrival.route).into_iter().chain([&*self.whole]);
        let quotas = limiters.filter_map(Limiter::rule_ref).map(|rule| rule.quota(arrival));
        quotas.min_by_key(|quota| (quota.remaining, std::cmp::Reverse(quota.retry_us))).unwrap_or_default()
    }

    // Only the limit of the whole host may count requests at work: what ends does not say where it began.
    fn release(&mut self) {
        self.whole.release();
    }

    fn retune(&mut self, change: &Retune) {
        self.routes.iter_mut().chain([&mut *self.whole]).filter_map(Limiter::rule).for_each(|rule| rule.retune(change));
    }

    fn bans(&self) -> u64 {
        self.routes.iter().chain([&*self.whole]).map(Limiter::bans).sum()
    }
}
