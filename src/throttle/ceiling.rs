//! The ceilings that no learning exceeds: the user's rate and gap, and the Crawl-delay of robots.txt.
//!
//! Enters: sends and ends. Leaves: the earliest instant of the next send. Deliberately absent: anything that was learned.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

use super::Settings;

/// The slowest rate that a user may set, in requests a second: one a day.
const RATE_MIN: f64 = 1.0 / 86_400.0;
/// Sends that a late timer may catch up with, in ms of the schedule: the resolution of timers, not a burst.
const CATCH_UP_MS: f64 = 5.0;
/// Gaps from here on are kept exactly, in ms: a late timer costs them little, and a second must not hold one request more
/// than the user allows.
const CATCH_UP_GAP_MS_MAX: f64 = 20.0;

/// The ceilings of one scope and where they stand.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ceiling {
    /// The least gap that the user's rate allows, in ms; 0 for none.
    gap_ms: f64,
    /// The schedule: the earliest instant of the next send, in ms with fractions, since a fast host's gap is below one.
    next_ms: f64,
    last_sent_at: Timestamp,
    last_finished_at: Timestamp,
    delay_ms: u64,
    crawl_delay_ms: u64,
}

impl Ceiling {
    /// The user's ceilings. When the scope `is_known`, it counts as just asked: what was sent in the last moments of a
    /// crashed run is not known.
    #[must_use]
    pub fn new(settings: &Settings, is_known: bool, now: Timestamp) -> Self {
        let gap_ms = settings.rate_max_per_s.map_or(0.0, |rate| 1_000.0 / rate.max(RATE_MIN));
        let last_at = if is_known { now } else { Timestamp::EPOCH };
        Self {
            gap_ms,
            next_ms: if is_known { to_f64(now) + gap_ms } else { 0.0 },
            last_sent_at: last_at,
            last_finished_at: last_at,
            delay_ms: settings.delay_ms,
            crawl_delay_ms: 0,
        }
    }

    /// What robots.txt asks for: a gap from the end of one request to the start of the next.
    pub fn set_crawl_delay(&mut self, crawl_delay_ms: Option<u64>) {
        self.crawl_delay_ms = crawl_delay_ms.unwrap_or(0);
    }

    /// Whether requests go one after the other.
    #[must_use]
    pub fn is_serial(&self) -> bool {
        self.crawl_delay_ms > 0
    }

    /// The earliest instant of the next send.
    #[must_use]
    pub fn next_at(&self) -> Timestamp {
        let after = |last_at: Timestamp, gap_ms: u64| {
            if last_at == Timestamp::EPOCH || gap_ms == 0 { Timestamp::EPOCH } else { last_at.plus_ms(gap_ms) }
        };
        from_f64(self.next_ms)
            .max(after(self.last_sent_at, self.delay_ms))
            .max(after(self.last_finished_at, self.crawl_delay_ms))
    }

    /// A request is sent at `now`.
    pub fn on_sent(&mut self, now: Timestamp) {
        let catch_up_ms = if self.gap_ms < CATCH_UP_GAP_MS_MAX { CATCH_UP_MS } else { 0.0 };
        self.next_ms = self.next_ms.max(to_f64(now) - catch_up_ms) + self.gap_ms;
        self.last_sent_at = now;
    }

    /// A request has ended at `now`, however it ended.
    pub fn on_finished(&mut self, now: Timestamp) {
        self.last_finished_at = now;
    }
}

#[expect(clippy::cast_precision_loss, reason = "instants in ms are below 2^53")]
fn to_f64(at: Timestamp) -> f64 {
    at.0 as f64
}

/// Rounded up: never a fraction of a millisecond early.
#[expect(clippy::cast_possible_truncation, reason = "instants in ms are below 2^53")]
fn from_f64(ms: f64) -> Timestamp {
    Timestamp(ms.ceil() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(ceiling: &mut Ceiling, now: Timestamp) -> Timestamp {
        let now = now.max(ceiling.next_at());
        ceiling.on_sent(now);
        now
    }

    #[test]
    fn the_users_rate_is_a_ceiling() {
        let settings = Settings { rate_max_per_s: Some(10.0), ..Settings::default() };
        let mut ceiling = Ceiling::new(&settings, false, Timestamp(0));
        let start = Timestamp(1_000_000);
        let mut now = start;
        for _ in 0..101 {
            now = send(&mut ceiling, now);
        }
        assert!(now.since_ms(start) >= 9_980, "101 requests at 10/s took {} ms", now.since_ms(start));
    }

    #[test]
    fn no_second_holds_more_requests_than_the_user_allows() {
        let settings = Settings { rate_max_per_s: Some(10.0), ..Settings::default() };
        let mut ceiling = Ceiling::new(&settings, false, Timestamp(0));
        let mut now = Timestamp(1_000_000);
        let mut sent: Vec<Timestamp> = Vec::new();
        for late_ms in [0, 4, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 5_000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] {
            // A timer may be late, and a host may have had nothing to do for a while.
            now = now.max(ceiling.next_at()).plus_ms(late_ms);
            ceiling.on_sent(now);
            sent.push(now);
        }
        for eleven in sent.windows(11) {
            assert!(eleven[10].since_ms(eleven[0]) >= 1_000, "{eleven:?}");
        }
    }

    #[test]
    fn the_gap_and_the_crawl_delay_are_kept_exactly() {
        let settings = Settings { delay_ms: 700, rate_max_per_s: None, ..Settings::default() };
        let mut ceiling = Ceiling::new(&settings, false, Timestamp(0));
        ceiling.on_sent(Timestamp(10_000));
        assert_eq!(ceiling.next_at(), Timestamp(10_700));
        ceiling.set_crawl_delay(Some(2_000));
        ceiling.on_finished(Timestamp(10_100));
        assert_eq!(ceiling.next_at(), Timestamp(12_100));
        assert!(ceiling.is_serial());
    }

    #[test]
    fn after_a_restart_the_host_counts_as_just_asked() {
        let settings = Settings { rate_max_per_s: Some(2.0), ..Settings::default() };
        let ceiling = Ceiling::new(&settings, true, Timestamp(50_000));
        assert_eq!(ceiling.next_at(), Timestamp(50_500));
    }
}
