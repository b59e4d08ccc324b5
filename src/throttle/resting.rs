//! A throttle that nothing goes through for a while, folded up: some hundred bytes instead of all of its evidence.
//!
//! Enters: a throttle with nothing in flight. Leaves: the same throttle again. The embargo, the breaker, the ceilings, the limit
//! and what was counted against it are as they were. What the limit was learned from is gone, as after a restart.

use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

use super::learner::Memory;
use super::scope::to_f64;
use super::{Ceiling, Declared, Doubt, Feedback, Gate, Permit, Settings, Snapshot, Throttle};

/// Idle time after which a throttle is folded whose limit is known, in ms: as long as the longest of the usual pauses between
/// two jobs of one host, and as the most frequent of the windows.
const RESTS_AFTER_MS: u64 = 60_000;
/// The same while a limit is searched: its evidence was paid for with refusals.
const RESTS_SEARCHING_AFTER_MS: u64 = 900_000;

/// A folded throttle.
#[derive(Clone, Debug)]
pub struct Resting {
    bytes: Box<[u8]>,
}

/// What is kept.
#[derive(Serialize, Deserialize)]
struct Folded {
    settings: Settings,
    gate: Gate,
    ceiling: Ceiling,
    concurrency: f64,
    cap: f64,
    learned: Memory,
    declared: Declared,
    early_resets: u8,
    doubt: Doubt,
    refused: u64,
    seen_at: Timestamp,
    since_at: Timestamp,
}

impl Throttle {
    fn is_searching(&self) -> bool {
        self.learner.is_searching() && !self.is_settled()
    }

    /// How long it should have been idle before it is folded, in ms.
    #[must_use]
    pub fn rests_after_ms(&self) -> u64 {
        if self.is_searching() { RESTS_SEARCHING_AFTER_MS } else { RESTS_AFTER_MS }
    }

    /// Folds it up; none while a request is in flight, or while it may still have to go back to what it believed before.
    #[must_use]
    pub fn fold(&self, now: Timestamp) -> Option<Resting> {
        if self.in_flight > 0 || self.before_suspicion.is_some() {
            return None;
        }
        let mut window = Snapshot::default();
        self.window.save(&mut window);
        let folded = Folded {
            settings: self.settings,
            gate: self.gate.folded(now),
            ceiling: self.ceiling.clone(),
            concurrency: window.concurrency,
            cap: window.cap,
            learned: self.learner.folded(to_f64(now)),
            declared: self.declared.clone(),
            early_resets: self.early_resets,
            doubt: self.doubt.clone(),
            refused: self.refused,
            seen_at: self.seen_at,
            since_at: now,
        };
        let bytes = postcard::to_allocvec(&folded).expect("plain data of known lengths can be written");
        Some(Resting { bytes: bytes.into() })
    }
}

impl Resting {
    /// The throttle as it was.
    #[must_use]
    pub fn unfold(&self, now: Timestamp) -> Throttle {
        let folded: Folded = postcard::from_bytes(&self.bytes).expect("what was written can be read");
        let Folded {
            settings, gate, ceiling, concurrency, cap, learned, declared, early_resets, doubt, refused, ..
        } = folded;
        let snapshot = Snapshot {
            concurrency,
            cap,
            learned: Some(Box::new(learned)),
            seen_at: folded.seen_at,
            saved_at: folded.since_at,
            ..Snapshot::default()
        };
        let mut throttle = Throttle::new(settings, Some(&snapshot), now);
        (throttle.gate, throttle.ceiling, throttle.declared) = (gate, ceiling, declared);
        (throttle.early_resets, throttle.doubt, throttle.refused) = (early_resets, doubt, refused);
        throttle
    }
}

/// The throttle of a host, or what is kept of it.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    state: State,
    used_at: Timestamp,
}

#[derive(Clone, Debug)]
enum State {
    Awake(Box<Throttle>),
    Resting(Resting),
}

impl Slot {
    pub(super) fn new(throttle: Throttle, now: Timestamp) -> Self {
        Self { state: State::Awake(Box::new(throttle)), used_at: now }
    }

    /// Unfolds it if it rests, and true then.
    pub(super) fn wake(&mut self, now: Timestamp) -> bool {
        let State::Resting(resting) = &self.state else { return false };
        *self = Self::new(resting.unfold(now), now);
        true
    }

    /// See [`Throttle::finish`].
    pub(super) fn finish(&mut self, permit: Permit, feedback: &Feedback, now: Timestamp, dice: &mut fastrand::Rng) {
        Throttle::finish(self, permit, feedback, now, dice);
        self.used_at = now;
    }

    /// Folds it if it has been idle for long enough; whether it rests.
    pub(super) fn rest(&mut self, now: Timestamp) -> bool {
        // Behind an embargo a search only waits for its end.
        let may_rest = |throttle: &Throttle| !throttle.is_searching() || throttle.embargo(now).is_none();
        if let State::Awake(throttle) = &self.state
            && now.since_ms(self.used_at) >= throttle.rests_after_ms()
            && may_rest(throttle)
            && let Some(resting) = throttle.fold(now)
        {
            self.state = State::Resting(resting);
        }
        self.is_resting()
    }

    pub(super) fn is_resting(&self) -> bool {
        matches!(self.state, State::Resting(_))
    }

    /// Until when the host is closed, awake or not.
    pub(super) fn closed_until(&self, now: Timestamp) -> Option<Timestamp> {
        let embargo_at = |throttle: &Throttle| throttle.embargo(now).map(|(at, _)| at);
        match &self.state {
            State::Awake(throttle) => embargo_at(throttle),
            State::Resting(resting) => embargo_at(&resting.unfold(now)),
        }
    }
}

impl Deref for Slot {
    type Target = Throttle;

    fn deref(&self) -> &Throttle {
        match &self.state {
            State::Awake(throttle) => throttle,
            State::Resting(_) => unreachable!("{NOT_AWAKE}"),
        }
    }
}

impl DerefMut for Slot {
    fn deref_mut(&mut self) -> &mut Throttle {
        match &mut self.state {
            State::Awake(throttle) => throttle,
            State::Resting(_) => unreachable!("{NOT_AWAKE}"),
        }
    }
}

const NOT_AWAKE: &str = "a host wakes when its turn comes, and rests with nothing in flight only";

#[cfg(test)]
mod tests {
    use super::super::{Admission, Feedback, Hints};
    use super::*;

    /// Sends `count` requests, each as soon as it may go, of which `refused` of a hundred are refused.
    fn drive(
        throttle: &mut Throttle,
        count: u32,
        refused: u32,
        dice: &mut fastrand::Rng,
        mut now: Timestamp,
    ) -> Timestamp {
        for _ in 0..count {
            let permit = loop {
                match throttle.admit(now) {
                    Admission::Go(permit) => break permit,
                    Admission::NotBefore(at) => now = at,
                    Admission::Full => unreachable!("answers come at once"),
                }
            };
            let feedback = match dice.u32(0..100) {
                share if share < refused => Feedback::Refused(Hints {
                    retry_at: dice.bool().then(|| now.plus_ms(dice.u64(0..90_000))),
                    ..Hints::default()
                }),
                share if share < refused + refused / 4 => Feedback::Unreachable("refused".to_owned()),
                _ => Feedback::Answered(Hints::default()),
            };
            throttle.finish(permit, &feedback, now, dice);
        }
        now
    }

    #[test]
    fn a_throttle_with_a_request_in_flight_cannot_be_folded() {
        let mut throttle = Throttle::new(Settings::default(), None, Timestamp(1_000));
        assert!(throttle.fold(Timestamp(1_000)).is_some());
        let Admission::Go(permit) = throttle.admit(Timestamp(1_000)) else { unreachable!("nothing was sent yet") };
        assert!(throttle.fold(Timestamp(1_000)).is_none());
        throttle.finish(permit, &Feedback::Stopped, Timestamp(1_001), &mut fastrand::Rng::with_seed(1));
        assert!(throttle.fold(Timestamp(1_001)).is_some());
    }

    #[test]
    fn a_host_that_was_given_up_stays_so() {
        let settings = Settings { down_max_unknown_ms: 1_000, ..Settings::default() };
        let mut throttle = Throttle::new(settings, None, Timestamp(1_000));
        let mut now = Timestamp(1_000);
        while throttle.given_up().is_none() {
            now = match throttle.admit(now) {
                Admission::Go(permit) => {
                    let feedback = Feedback::Unreachable("no route".to_owned());
                    throttle.finish(permit, &feedback, now, &mut fastrand::Rng::with_seed(1));
                    now
                }
                Admission::NotBefore(at) => at,
                Admission::Full => unreachable!("nothing is in flight"),
            };
        }
        let unfolded = throttle.fold(now).expect("nothing is in flight").unfold(now);
        assert_eq!(unfolded.given_up(), throttle.given_up());
        assert!(unfolded.is_down());
    }

    #[test]
    fn resting_often_costs_nothing_of_a_long_window() {
        let (mut dice, mut now) = (fastrand::Rng::with_seed(1), Timestamp(1_000_000_000));
        let settings = Settings { rate_max_per_s: None, ..Settings::default() };
        // 40 an hour by the clock, known from some hours.
        let mut throttle = Throttle::new(settings, None, now);
        let (mut window, mut count, mut refused, mut served) = (0, 0, 0, 0);
        let from = now;
        while now.since_ms(from) < 20 * 3_600_000 {
            match throttle.admit(now) {
                Admission::Go(permit) => {
                    let hour = now.0 / 3_600_000;
                    (window, count) = if hour == window { (window, count + 1) } else { (hour, 1) };
                    let is_late = now.since_ms(from) > 10 * 3_600_000;
                    let feedback = if count > 40 {
                        refused += u32::from(is_late);
                        let retry_at = Some(Timestamp((hour + 1) * 3_600_000));
                        Feedback::Refused(Hints { retry_at, ..Hints::default() })
                    } else {
                        served += u32::from(is_late);
                        Feedback::Answered(Hints::default())
                    };
                    throttle.finish(permit, &feedback, now, &mut dice);
                    // The next job comes when the throttle has been folded.
                    if is_late {
                        now = now.plus_ms(throttle.rests_after_ms());
                        throttle = throttle.fold(now).expect("nothing is in flight").unfold(now);
                    }
                }
                Admission::NotBefore(at) => now = at,
                Admission::Full => unreachable!("nothing is in flight"),
            }
        }
        assert!(served >= 10 * 40 * 9 / 10, "{served} of 400");
        assert!(refused <= 10, "{refused} refusals");
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(64))]

        #[test]
        fn whatever_it_has_seen_its_gates_come_back_as_they_were_and_it_is_small(
            seed in 0_u64..1_000_000, count in 0_u32..400, refused in 0_u32..30, idle_ms in 0_u64..200_000
        ) {
            let mut dice = fastrand::Rng::with_seed(seed);
            let settings = Settings { delay_ms: dice.u64(0..300), ..Settings::default() };
            let mut throttle = Throttle::new(settings, None, Timestamp(1_000_000_000));
            if dice.bool() {
                throttle.set_crawl_delay(Some(dice.u64(0..5_000)));
            }
            let last_at = drive(&mut throttle, count, refused, &mut dice, Timestamp(1_000_000_000));
            let now = last_at.plus_ms(throttle.rests_after_ms() + idle_ms);
            let resting = throttle.fold(now).expect("nothing is in flight");
            proptest::prop_assert!(resting.bytes.len() <= 400, "{} bytes", resting.bytes.len());
            let unfolded = resting.unfold(now);
            proptest::prop_assert_eq!(unfolded.embargo(now), throttle.embargo(now));
            proptest::prop_assert_eq!(unfolded.is_down(), throttle.is_down());
            proptest::prop_assert_eq!(unfolded.describe(), throttle.describe());
            proptest::prop_assert_eq!(unfolded.ceiling.next_at(), throttle.ceiling.next_at());
        }
    }
}
