//! How many at once: cautious at first, then as many as the scope bears.
//!
//! Enters: what was in flight when a request was sent, and what became of it. Leaves: the number that may be in flight.
//! Deliberately absent: rates (`learner`).
//!
//! A host that caps concurrency is told from one that caps a rate by what was in flight when it refused: with a cap, more than
//! with nearly all requests just before; with a rate, about as much.

use super::{Settings, Snapshot};

/// In so many ms of full use one more may be in flight.
const STEP_MS: f64 = 3_000.0;
/// Use after which caution ends by and by, in ms: a limit that shows itself later than that is not a narrow one.
const TRUSTED_MS: f64 = 60_000.0;
/// So many accepted requests without a refusal, at [`FAST_PER_MS`] or more, end it at once: whatever such a host refuses later
/// is a small share.
const FAST_ACCEPTED: f64 = 1_000.0;
/// A thousand a second, in requests a ms.
const FAST_PER_MS: f64 = 1.0;
/// Requests before a refusal that it is compared with.
const RECENT: usize = 48;
/// Evidence for a cap, as the logarithm of how much better it explains the refusals than a rate does, from which on it is
/// tried: 20 to 1. Each time that it turns out wrong, twice as much is needed.
const BELIEVED: f32 = 4.0;
/// What each refusal must bring at least, lest chance adds up.
const CHANCE: f32 = 0.7;
/// Accepted requests at a cap after which one more is tried; three times as many after each failure.
const PROBE_ACCEPTED: f64 = 400.0;

/// Accepted requests between two refusals of a cap on concurrency; nearer to each other, they are not of that kind.
const CROWD_ACCEPTED_MIN: f64 = 8.0;
/// A refusal that takes no longer, in ms, comes from so near that the server may still have counted what it had just answered.
const NEAR_MS: f64 = 5.0;
/// And if such an answer came no longer before the request was sent, in ms.
const JUST_ANSWERED_MS: f64 = 3.0;
/// With so many requests among the recent ones that passed, their number is not too large.
const PASSED_MIN: usize = RECENT / 4;

/// A refusal that came back sooner than any answer does: the server works on answers, and so it may be the number at once that
/// it refuses.
#[derive(Clone, Copy, Debug)]
pub struct Quick {
    /// Requests in flight when it was sent, itself included.
    pub in_flight: u32,
    /// When it was sent, in ms.
    pub sent_ms: f64,
    /// When the refusal came, in ms.
    pub now_ms: f64,
    /// How long before it was sent an answer had come, in ms.
    pub answered_ms_ago: f64,
}

/// The window of one scope.
#[derive(Clone, Debug)]
pub struct Window {
    max: f64,
    cautious: f64,
    used_ms: f64,
    accepted_at_ms: f64,
    /// Accepted since the last refusal, and since when they are counted.
    accepted: f64,
    counted_from_ms: f64,
    /// In flight at most just after the scope opened again; grows with each accepted request.
    resume: f64,
    /// What was in flight with the last requests.
    recent: [u16; RECENT],
    next: u8,
    evidence: f32,
    believed: f32,
    /// The least that was in flight at a refusal which spoke for a cap.
    lowest: u16,
    cap: Option<f64>,
    at_cap: f64,
    probe_after: f64,
    is_probing: bool,
    /// When the last refusal came that was explained by the number at once, in ms.
    crowded_ms: f64,
    /// Whether the cap was found to be lower than it was believed to be.
    is_lowered: bool,
}

impl Window {
    /// A window as `snapshot` left it, within the user's ceiling.
    #[must_use]
    pub fn new(settings: &Settings, snapshot: Option<&Snapshot>) -> Self {
        let max = f64::from(settings.concurrency_max.max(1));
        let known = snapshot.filter(|memory| memory.concurrency >= 1.0);
        Self {
            max,
            cautious: known.map_or(f64::from(settings.concurrency.max(1)), |memory| memory.concurrency),
            used_ms: 0.0,
            accepted_at_ms: f64::NAN,
            accepted: 0.0,
            counted_from_ms: f64::NAN,
            resume: f64::INFINITY,
            recent: [0; RECENT],
            next: 0,
            evidence: 0.0,
            believed: BELIEVED,
            lowest: u16::MAX,
            cap: snapshot.map(|memory| memory.cap).filter(|&cap| cap >= 1.0),
            at_cap: 0.0,
            probe_after: PROBE_ACCEPTED,
            is_probing: false,
            crowded_ms: f64::NEG_INFINITY,
            is_lowered: false,
        }
    }

    /// Requests that may be in flight at once, at least 1.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the size is within 1..=10,000")]
    pub fn size(&self) -> u32 {
        let capped = match self.cap {
            Some(cap) => cap + f64::from(u8::from(self.is_probing)),
            None => self.cautious,
        };
        capped.min(self.max).min(self.resume).max(1.0) as u32
    }

    /// The cap on concurrency that was found.
    #[must_use]
    pub fn cap(&self) -> Option<f64> {
        self.cap
    }

    /// Writes what outlives the process.
    pub fn save(&self, snapshot: &mut Snapshot) {
        snapshot.concurrency = self.cap.unwrap_or(self.cautious).min(self.max);
        snapshot.cap = self.cap.unwrap_or(0.0);
    }

    /// The scope was closed and is open again.
    pub fn on_reopened(&mut self) {
        self.resume = 1.0;
    }

    /// A good answer to a request that had `in_flight` (itself included) beside it when it was sent.
    pub fn on_accepted(&mut self, in_flight: u32, now_ms: f64) {
        self.resume += 1.0;
        let gap_ms = (now_ms - self.accepted_at_ms).clamp(0.0, 1_000.0);
        self.accepted_at_ms = now_ms;
        self.counted_from_ms = self.counted_from_ms.min(now_ms);
        self.accepted += 1.0;
        let is_used = f64::from(in_flight) + 1.0 > self.cautious;
        let is_fast = self.accepted >= FAST_ACCEPTED.max((now_ms - self.counted_from_ms) * FAST_PER_MS);
        if is_used && self.cap.is_none() && is_fast {
            self.cautious = (self.cautious + 1.0).min(self.max);
        } else if is_used && self.cap.is_none() && gap_ms > 0.0 {
            self.used_ms += gap_ms;
            let trust = (self.used_ms - TRUSTED_MS).max(0.0) / 10_000.0;
            self.cautious = (self.cautious + gap_ms / STEP_MS * (1.0 + trust)).min(self.max);
        }
        if let Some(cap) = self.cap {
            if f64::from(in_flight) > cap && self.is_probing {
                self.at_cap += 1.0;
                if self.at_cap >= 30.0 {
                    self.cap = Some(cap + 1.0);
                    (self.at_cap, self.is_probing) = (0.0, false);
                    if !self.is_lowered {
                        self.probe_after = PROBE_ACCEPTED / 4.0;
                    }
                }
            } else if f64::from(in_flight) >= cap && !self.is_probing {
                self.at_cap += 1.0;
                if self.at_cap >= self.probe_after {
                    (self.at_cap, self.is_probing) = (0.0, true);
                }
            }
        }
    }

    /// Requests wait at the server: so many at once are enough.
    pub fn on_queued(&mut self, enough: f64) {
        self.cautious = self.cautious.min(enough.max(1.0));
    }

    /// A request is sent, with so many in flight, itself included.
    pub fn on_sent(&mut self, in_flight: u32) {
        self.recent[usize::from(self.next)] = u16::try_from(in_flight).unwrap_or(u16::MAX);
        self.next = if usize::from(self.next) + 1 < RECENT { self.next + 1 } else { 0 };
    }

    /// Whether a quick refusal is one of too many at once; then one less is enough, and there is nothing to wait for. A
    /// suspicion that comes cheap, and is given up at the second refusal that it does not explain.
    pub fn on_quick_refusal(&mut self, quick: &Quick) -> bool {
        let Quick { in_flight, sent_ms, now_ms, .. } = *quick;
        if sent_ms <= self.crowded_ms {
            // In flight with the one before.
            return true;
        }
        if in_flight < 2 || self.accepted < CROWD_ACCEPTED_MIN {
            return false;
        }
        let number = u16::try_from(in_flight).unwrap_or(u16::MAX);
        let passed = self.recent.iter().filter(|&&recent| recent >= number).count();
        let is_near = now_ms - sent_ms <= NEAR_MS && quick.answered_ms_ago <= JUST_ANSWERED_MS;
        match self.cap {
            _ if is_near && passed >= PASSED_MIN => {}
            Some(cap) if self.is_probing && f64::from(in_flight) > cap => {
                (self.at_cap, self.is_probing) = (0.0, false);
                self.probe_after *= 3.0;
            }
            None if f64::from(in_flight) < self.cautious.floor() => return false,
            cap => {
                let less = f64::from(in_flight - 1).max(1.0);
                if cap.is_some() {
                    // One more went well for a while, and then it did not.
                    (self.probe_after, self.is_lowered) = (self.probe_after.max(PROBE_ACCEPTED) * 3.0, true);
                }
                (self.cap, self.at_cap) = (Some(cap.map_or(less, |cap| cap.min(less))), 0.0);
            }
        }
        (self.accepted, self.counted_from_ms) = (0.0, f64::NAN);
        self.crowded_ms = now_ms;
        true
    }

    /// A refusal that opened an event, of a request with so many in flight. True when a cap on concurrency is the best
    /// explanation now. `is_unexplained` when no rate explains the refusals so far; `needed` is what must be in flight on
    /// average for the rate that is known to be possible.
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    pub fn on_touched(&mut self, in_flight: u32, is_unexplained: bool, needed: f64) -> bool {
        (self.accepted, self.counted_from_ms) = (0.0, f64::NAN);
        let in_flight = u16::try_from(in_flight).unwrap_or(u16::MAX);
        if let Some(cap) = self.cap {
            if self.is_probing {
                // Whichever of them it was: two that lie close together may arrive in another order.
                (self.at_cap, self.is_probing) = (0.0, false);
                self.probe_after *= 3.0;
            } else if f64::from(in_flight) <= cap {
                // Refused below the cap: it is lower than that, or no cap at all.
                self.cap = None;
                self.evidence = 0.0;
                self.believed *= 2.0;
                self.lowest = u16::MAX;
                self.cautious = f64::from(in_flight).max(1.0);
            }
            return self.cap.is_some();
        }
        let as_many = self.recent.iter().filter(|&&recent| recent >= in_flight).count();
        let share = as_many as f32 / RECENT as f32;
        let speaks = -(share + 0.015).ln() - if is_unexplained { 0.0 } else { CHANCE };
        self.evidence = (self.evidence + speaks).max(0.0);
        if speaks > 0.0 && in_flight >= 2 {
            self.lowest = self.lowest.min(in_flight);
        }
        if self.evidence >= self.believed && self.lowest < u16::MAX {
            let cap = f64::from(self.lowest - 1).max(1.0);
            if cap >= needed {
                (self.cap, self.at_cap) = (Some(cap), 0.0);
            } else {
                // With so few in flight what passes every day would not.
                (self.evidence, self.lowest) = (0.0, u16::MAX);
            }
        }
        self.cap.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(concurrency: u32, concurrency_max: u32) -> Settings {
        Settings { concurrency, concurrency_max, ..Settings::default() }
    }

    /// `count` accepted requests, each with as many in flight as may be, `gap_ms` apart.
    fn serve(window: &mut Window, count: u32, gap_ms: f64, now_ms: &mut f64) {
        for _ in 0..count {
            *now_ms += gap_ms;
            window.on_sent(window.size());
            window.on_accepted(window.size(), *now_ms);
        }
    }

    #[test]
    fn it_starts_with_what_the_user_says() {
        for concurrency in [1, 2, 4, 7] {
            assert_eq!(Window::new(&settings(concurrency, 8), None).size(), concurrency);
        }
    }

    #[test]
    fn one_more_in_three_seconds_of_full_use_and_never_beyond_the_ceiling() {
        let (mut window, mut now_ms) = (Window::new(&settings(2, 8), None), 1e9);
        serve(&mut window, 33, 100.0, &mut now_ms);
        assert_eq!(window.size(), 3);
        serve(&mut window, 3_000, 100.0, &mut now_ms);
        assert_eq!(window.size(), 8);
    }

    #[test]
    fn an_unused_window_does_not_grow() {
        let mut window = Window::new(&settings(4, 64), None);
        for step in 0..10_000 {
            window.on_accepted(1, 1e9 + f64::from(step) * 10.0);
        }
        assert_eq!(window.size(), 4);
    }

    #[test]
    fn a_thousand_answers_at_a_thousand_a_second_end_the_caution() {
        let (mut window, mut now_ms) = (Window::new(&settings(4, 64), None), 1e9);
        serve(&mut window, 990, 0.5, &mut now_ms);
        assert_eq!(window.size(), 4);
        serve(&mut window, 80, 0.5, &mut now_ms);
        assert_eq!(window.size(), 64);
        // The same number, but slower, tells nothing of the kind.
        let (mut window, mut now_ms) = (Window::new(&settings(4, 64), None), 1e9);
        serve(&mut window, 1_070, 2.0, &mut now_ms);
        assert_eq!(window.size(), 4);
    }

    #[test]
    fn a_silent_cap_is_found_and_rarely_touched_again() {
        let mut dice = fastrand::Rng::with_seed(5);
        let (mut window, mut now_ms) = (Window::new(&settings(8, 64), None), 1e9);
        let (cap, mut touches, mut touches_late) = (4, 0, 0);
        for step in 0..5_000 {
            now_ms += 50.0;
            // What is in flight varies, as answers take their time.
            let in_flight = dice.u32(1..=window.size());
            window.on_sent(in_flight);
            if in_flight > cap {
                touches += 1;
                touches_late += u32::from(step > 2_500);
                window.on_touched(in_flight, false, 0.0);
            } else {
                window.on_accepted(in_flight, now_ms);
            }
        }
        assert_eq!(window.cap(), Some(4.0), "after {touches} touches");
        assert!(touches_late <= 3, "{touches_late} in the second half, {touches} in all");
    }

    #[test]
    fn refusals_that_do_not_depend_on_what_is_in_flight_speak_for_no_cap() {
        let (mut window, mut now_ms) = (Window::new(&settings(4, 64), None), 1e9);
        for _ in 0..50 {
            serve(&mut window, 30, 20.0, &mut now_ms);
            window.on_sent(window.size());
            assert!(!window.on_touched(window.size(), false, 0.0));
        }
    }

    #[test]
    fn a_refusal_below_a_cap_disproves_it() {
        let snapshot = Snapshot { cap: 5.0, concurrency: 5.0, ..Snapshot::default() };
        let mut window = Window::new(&settings(4, 64), Some(&snapshot));
        assert!(window.on_touched(6, false, 0.0));
        assert!(!window.on_touched(3, false, 0.0));
        assert_eq!((window.cap(), window.size()), (None, 3));
    }

    #[test]
    fn what_was_learned_stays_below_a_ceiling_that_the_user_lowered() {
        let mut snapshot = Snapshot::default();
        Window::new(&settings(50, 64), None).save(&mut snapshot);
        assert_eq!(Window::new(&settings(2, 8), Some(&snapshot)).size(), 8);
    }

    /// A refusal that came back at once, of a request with so many in flight, and long after the last answer.
    fn quick(in_flight: u32, now_ms: f64) -> Quick {
        Quick { in_flight, sent_ms: now_ms - 20.0, now_ms, answered_ms_ago: 50.0 }
    }

    #[test]
    fn one_refusal_without_work_in_a_full_window_is_a_cap() {
        let (mut window, mut now_ms) = (Window::new(&settings(6, 64), None), 1e9);
        serve(&mut window, 20, 40.0, &mut now_ms);
        window.on_sent(6);
        assert!(window.on_quick_refusal(&quick(6, now_ms)));
        assert_eq!((window.cap(), window.size()), (Some(5.0), 5));
        // What was in flight with it says nothing more.
        assert!(window.on_quick_refusal(&quick(5, now_ms + 10.0)));
        assert_eq!(window.cap(), Some(5.0));
    }

    #[test]
    fn two_refusals_close_together_are_no_matter_of_a_cap() {
        let (mut window, mut now_ms) = (Window::new(&settings(6, 64), None), 1e9);
        serve(&mut window, 20, 40.0, &mut now_ms);
        assert!(window.on_quick_refusal(&quick(6, now_ms)));
        serve(&mut window, 4, 40.0, &mut now_ms);
        assert!(!window.on_quick_refusal(&quick(5, now_ms)));
        window.on_touched(5, true, 0.0);
        assert_eq!(window.cap(), None);
    }

    #[test]
    fn a_window_that_is_not_full_is_refused_for_another_reason() {
        let (mut window, mut now_ms) = (Window::new(&settings(6, 64), None), 1e9);
        serve(&mut window, 20, 40.0, &mut now_ms);
        assert!(!window.on_quick_refusal(&quick(4, now_ms)));
    }

    #[test]
    fn a_server_that_counts_what_it_has_just_answered_keeps_its_cap() {
        let (mut window, mut now_ms) = (Window::new(&settings(5, 5), None), 1e9);
        serve(&mut window, 60, 40.0, &mut now_ms);
        for _ in 0..5 {
            serve(&mut window, 100, 40.0, &mut now_ms);
            let race = Quick { in_flight: 5, sent_ms: now_ms, now_ms: now_ms + 1.0, answered_ms_ago: 0.0 };
            assert!(window.on_quick_refusal(&race));
        }
        assert_eq!((window.cap(), window.size()), (None, 5));
    }

    #[test]
    fn a_cap_that_sometimes_lets_one_more_pass_is_tried_ever_more_rarely() {
        let (mut window, mut now_ms) = (Window::new(&settings(6, 64), None), 1e9);
        serve(&mut window, 20, 40.0, &mut now_ms);
        assert!(window.on_quick_refusal(&quick(6, now_ms)));
        let mut refused = 0;
        for request in 0..20_000 {
            now_ms += 40.0;
            window.on_sent(window.size());
            // Of those with six at once one in forty is refused.
            if window.size() > 5 && request % 40 == 39 {
                assert!(window.on_quick_refusal(&quick(window.size(), now_ms)));
                refused += 1;
            } else {
                window.on_accepted(window.size(), now_ms);
            }
        }
        assert!(refused <= 6, "{refused} refused");
    }
}
