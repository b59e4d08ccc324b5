//! How many at once: up by one for each full window of good answers (twice as fast before the first refusal), down at once.

use super::{Settings, Snapshot};

/// The share of the window that is left after a refusal. Our choice; TCP's CUBIC uses the same 0.7.
const CUT: f64 = 0.7;
/// Good answers after which the window may grow past the number at which it was last refused.
const PROBE_AFTER: u32 = 300;

/// The window of one scope.
#[derive(Clone, Debug)]
pub struct Window {
    size: f64,
    max: f64,
    /// The number in flight at which a refusal without a hint came; the window stays below it between probes.
    refused_at: Option<f64>,
    served_since: u32,
}

impl Window {
    /// A window as `snapshot` left it, within the user's ceiling.
    #[must_use]
    pub fn new(settings: &Settings, snapshot: Option<&Snapshot>) -> Self {
        let max = f64::from(settings.concurrency_max.max(1));
        let known = snapshot.map_or(0.0, |memory| memory.concurrency);
        let size = if known >= 1.0 { known } else { f64::from(settings.concurrency.max(1)) };
        Self { size: size.clamp(1.0, max), max, refused_at: None, served_since: 0 }
    }

    /// Requests that may be in flight at once, at least 1.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the size is within 1..=10,000")]
    pub fn size(&self) -> u32 {
        self.size as u32
    }

    /// Writes what outlives the process.
    pub fn save(&self, snapshot: &mut Snapshot) {
        snapshot.concurrency = self.size;
    }

    /// A good answer to a request that had `in_flight` (itself included) beside it when it was sent.
    pub fn on_served(&mut self, in_flight: u32) {
        self.served_since = self.served_since.saturating_add(1);
        // A window that is not used teaches nothing about a larger one.
        if in_flight + 1 < self.size() {
            return;
        }
        let growth = if self.refused_at.is_none() { 1.0 } else { 1.0 / self.size };
        let ceiling = match self.refused_at {
            Some(refused_at) if self.served_since < PROBE_AFTER => (refused_at - 1.0).max(1.0),
            _ => self.max,
        };
        self.size = (self.size + growth).min(ceiling.max(self.size)).min(self.max);
    }

    /// A refusal that opened an event. `says_when` tells a rate limit, which does not care about the number in flight, from
    /// a silent one, which may.
    pub fn on_refused(&mut self, in_flight: u32, says_when: bool) {
        self.served_since = 0;
        if says_when {
            self.refused_at = self.refused_at.or(Some(self.max + 1.0));
            return;
        }
        let in_flight = f64::from(in_flight.max(1));
        self.refused_at = Some(in_flight);
        self.size = (self.size.min(in_flight) * CUT).max(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(concurrency: u32, concurrency_max: u32) -> Settings {
        Settings { concurrency, concurrency_max, ..Settings::default() }
    }

    #[test]
    fn a_used_window_grows_to_the_ceiling_and_never_beyond() {
        let mut window = Window::new(&settings(2, 8), None);
        for _ in 0..100 {
            window.on_served(window.size());
        }
        assert_eq!(window.size(), 8);
    }

    #[test]
    fn an_unused_window_does_not_grow() {
        let mut window = Window::new(&settings(4, 64), None);
        for _ in 0..100 {
            window.on_served(1);
        }
        assert_eq!(window.size(), 4);
    }

    #[test]
    fn a_silent_cap_is_found_and_rarely_touched_again() {
        let (cap, mut refused) = (4, 0);
        let mut window = Window::new(&settings(2, 64), None);
        for _ in 0..2_000 {
            let in_flight = window.size();
            if in_flight > cap {
                refused += 1;
                window.on_refused(in_flight, false);
            } else {
                window.on_served(in_flight);
            }
        }
        assert!(refused <= 8, "{refused} refusals in 2,000 requests");
        assert!(window.size() >= 3);
    }

    #[test]
    fn what_was_learned_stays_below_a_ceiling_that_the_user_lowered() {
        let mut snapshot = Snapshot::default();
        Window::new(&settings(50, 64), None).save(&mut snapshot);
        assert_eq!(Window::new(&settings(2, 8), Some(&snapshot)).size(), 8);
    }
}
