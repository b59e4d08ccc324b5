//! Handing a limit over from one scope to another, when it turns out whose it is.
//!
//! Enters: requests that were sent under another throttle, and what was known before. Leaves: a throttle that stands as if it had
//! known. Deliberately absent: who decides that.

use crate::clock::Timestamp;

use super::{Permit, Throttle, to_f64};
use crate::throttle::Snapshot;

impl Throttle {
    /// A permit for a request that was sent at `sent_at` under another throttle and turns out to be limited by this one.
    pub fn adopt(&mut self, sent_at: Timestamp) -> Permit {
        self.in_flight += 1;
        let number = self.learner.on_adopted(to_f64(sent_at));
        let declared_idx = self.declared.on_sent(sent_at);
        Permit {
            sent_at,
            in_flight: self.in_flight,
            number,
            declared_idx,
            is_canary: false,
            answered_at: Timestamp::EPOCH,
        }
    }

    /// Goes back to what `snapshot` says, its embargo included, as after a restart: what was learned since turned out to be
    /// about another scope. Requests that are in flight stay so, and their permits can be given back.
    pub fn restore(&mut self, snapshot: &Snapshot, now: Timestamp) {
        let mut restored = Self::new(self.settings, Some(&snapshot.without_guess()), now);
        restored.learner.go_on_from(&self.learner);
        restored.gate.go_on_from(&self.gate);
        restored.ceiling = self.ceiling.clone();
        restored.doubt = self.doubt.clone();
        // Whose quotas were declared is not known any more; the next answers declare them anew.
        restored.declared = self.declared.clone();
        restored.declared.forget();
        // What is in flight taught a learner that is no more.
        restored.taught_from = restored.learner.next_number();
        *self = Self { in_flight: self.in_flight, refused: self.refused, early_resets: self.early_resets, ..restored };
    }

    /// Forgets the quotas that were declared: they turned out to be those of other scopes.
    pub fn forget_declared(&mut self) {
        self.declared.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throttle::{Admission, Feedback, Hints, Readiness, Settings};

    #[test]
    fn a_throttle_that_goes_back_forgets_its_embargo_and_keeps_its_ceilings_and_what_is_in_flight() {
        let mut dice = fastrand::Rng::with_seed(1);
        let mut throttle = Throttle::new(Settings::default(), None, Timestamp(0));
        throttle.set_crawl_delay(Some(3_000));
        let now = Timestamp(1_000_000);
        let before = throttle.snapshot(now);
        let Admission::Go(first) = throttle.admit(now) else { panic!("a new scope admits") };
        let hints = Hints { retry_at: Some(now.plus_ms(60_000)), ..Hints::default() };
        let refused = throttle.adopt(now);
        throttle.finish(refused, &Feedback::Refused(hints), now, &mut dice);
        assert!(throttle.embargo(now).is_some());
        throttle.restore(&before, now);
        assert_eq!((throttle.embargo(now), throttle.in_flight()), (None, 1));
        throttle.finish(first, &Feedback::Answered(Hints::default()), now, &mut dice);
        assert_eq!(throttle.ready(now), Readiness::NotBefore(now.plus_ms(3_000)));
        assert_eq!(throttle.ready(now.plus_ms(3_000)), Readiness::Now);
    }
}
