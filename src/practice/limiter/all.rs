//! Several limits at once: a request passes all of them or is charged by none.

use std::cmp::Reverse;

use super::Limiter;
use super::rule::{Arrival, Quota, Retune, Rule};

/// Limits of one host that all must allow a request. As with nginx's zones, one that is refused by any of them is not charged
/// by those that would have allowed it.
#[derive(Clone, Debug)]
pub struct All {
    limiters: Vec<Limiter>,
    speaks: Option<usize>,
}

impl All {
    /// All of `limiters` together. What is told is the quota of the one at `speaks`, also when another one refuses: GitHub's
    /// secondary limits have no fields, and its primary one tells of thousands that remain. With none it is the one that is
    /// closest to refusing.
    #[must_use]
    pub fn new(limiters: Vec<Limiter>, speaks: Option<usize>) -> Self {
        Self { limiters, speaks }
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
        let quota = |limiter: &Limiter| limiter.rule_ref().map(|rule| rule.quota(arrival));
        // Among those that refuse, the one that does so longest.
        let nearest =
            self.limiters.iter().filter_map(quota).min_by_key(|quota| (quota.remaining, Reverse(quota.retry_us)));
        let nearest = nearest.unwrap_or_default();
        let speaker = self.speaks.and_then(|speaks| self.limiters.get(speaks)).and_then(quota);
        speaker.map_or(nearest, |told| Quota { retry_us: nearest.retry_us, ..told })
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
