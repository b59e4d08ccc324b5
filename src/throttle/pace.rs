//! How far apart: the gap between two sends, learned from how many answers fit between two refusals.
//!
//! The rate grows with each good answer, not with time: a slow server is asked slowly. Between two refusals of a limiter that
//! refills steadily, accepted requests divided by time *is* its rate, so the second refusal already tells where to stay.

use crate::clock::Timestamp;

use super::{Settings, Snapshot};

/// Requests a second for a host of which nothing is known. With [`GROWTH_UNKNOWN`] any rate is reached in about a second.
const RATE_START: f64 = 10.0;
/// Growth for each good answer while no limit is known.
const GROWTH_UNKNOWN: f64 = 0.10;
/// Growth for each good answer while the rate is below the limit that was measured.
const GROWTH_BELOW: f64 = 0.005;
/// Growth for each good answer above it: a probe for a limit that has risen, one refusal in several hundred answers. It
/// gains speed the longer no refusal comes, since a limit that was measured across a wait is often measured too low.
const GROWTH_ABOVE: f64 = 0.0005;
/// Good answers in which the growth above the measured limit becomes four times as fast.
const GAIN_ACCEPTED: f64 = 200.0;
/// Good answers without a refusal, and the rate as a multiple of the measured limit, that disprove the measurement.
const DISPROVED_ACCEPTED: u32 = 100;
const DISPROVED_RATE: f64 = 1.25;
/// The fastest growth above the measured limit.
const GROWTH_ABOVE_MAX: f64 = 0.02;
/// Where to stay after a refusal, as a share of the measured limit.
const MARGIN: f64 = 0.95;
/// A measurement needs so many answers between two refusals to be believed.
const ACCEPTED_MIN: u32 = 10;
/// Below this no refusal pushes the rate, in requests a second: one an hour.
const RATE_MIN: f64 = 1.0 / 3_600.0;
/// Above this the gap is no longer kept, in requests a second.
const RATE_MAX: f64 = 100_000.0;
/// Sends that a late timer may catch up with, in ms of the schedule: the resolution of timers, not a burst.
const CATCH_UP_MS: f64 = 5.0;
/// Gaps from here on are kept exactly, in ms: a late timer costs them little, and a second must not hold one request more
/// than the user allows.
const CATCH_UP_GAP_MS_MAX: f64 = 20.0;

/// The pace of one scope.
#[derive(Clone, Debug)]
pub struct Pace {
    rate_per_s: f64,
    limit_per_s: Option<f64>,
    /// Since when `accepted` counts: the last refusal.
    counted_from: Option<Timestamp>,
    accepted: u32,
    /// The schedule: the earliest instant of the next send, in ms with fractions, since a fast host's gap is below one.
    next_ms: f64,
    last_sent_at: Timestamp,
    last_finished_at: Timestamp,
    delay_ms: u64,
    crawl_delay_ms: Option<u64>,
    rate_max_per_s: f64,
}

impl Pace {
    /// A pace as `snapshot` left it, within the user's ceilings. The host counts as just asked: what was sent in the last
    /// moments of a crashed run is not known.
    #[must_use]
    pub fn new(settings: &Settings, snapshot: Option<&Snapshot>, now: Timestamp) -> Self {
        let rate_max_per_s = settings.rate_max_per_s.unwrap_or(RATE_MAX).clamp(RATE_MIN, RATE_MAX);
        let known = snapshot.filter(|memory| memory.rate_per_s > 0.0);
        let rate_per_s = known.map_or(RATE_START, |memory| memory.rate_per_s).clamp(RATE_MIN, rate_max_per_s);
        Self {
            rate_per_s,
            limit_per_s: known.map(|memory| memory.limit_per_s).filter(|&limit| limit > 0.0),
            counted_from: None,
            accepted: 0,
            next_ms: known.map_or(0.0, |_| to_f64(now) + 1_000.0 / rate_per_s),
            last_sent_at: known.map_or(Timestamp::EPOCH, |_| now),
            last_finished_at: known.map_or(Timestamp::EPOCH, |_| now),
            delay_ms: settings.delay_ms,
            crawl_delay_ms: None,
            rate_max_per_s,
        }
    }

    /// What robots.txt asks for: a gap from the end of one request to the start of the next.
    pub fn set_crawl_delay(&mut self, crawl_delay_ms: Option<u64>) {
        self.crawl_delay_ms = crawl_delay_ms.filter(|&delay_ms| delay_ms > 0);
    }

    /// What robots.txt asks for, in ms; none when it asks for nothing.
    #[must_use]
    pub fn crawl_delay_ms(&self) -> Option<u64> {
        self.crawl_delay_ms
    }

    /// Whether requests go one after the other.
    #[must_use]
    pub fn is_serial(&self) -> bool {
        self.crawl_delay_ms.is_some()
    }

    /// The pace in requests a second, ceilings applied.
    #[must_use]
    pub fn rate_per_s(&self) -> f64 {
        self.rate_per_s
    }

    /// The limit that was measured between two refusals, in requests a second.
    #[must_use]
    pub fn limit_per_s(&self) -> Option<f64> {
        self.limit_per_s
    }

    /// Writes what outlives the process.
    pub fn save(&self, snapshot: &mut Snapshot) {
        snapshot.rate_per_s = self.rate_per_s;
        snapshot.limit_per_s = self.limit_per_s.unwrap_or(0.0);
    }

    /// The earliest instant of the next send.
    #[must_use]
    pub fn next_at(&self) -> Timestamp {
        let scheduled = from_f64(self.next_ms);
        let spaced = if self.last_sent_at == Timestamp::EPOCH {
            Timestamp::EPOCH
        } else {
            self.last_sent_at.plus_ms(self.delay_ms)
        };
        let polite = match self.crawl_delay_ms {
            Some(delay_ms) if self.last_finished_at != Timestamp::EPOCH => self.last_finished_at.plus_ms(delay_ms),
            _ => Timestamp::EPOCH,
        };
        scheduled.max(spaced).max(polite)
    }

    /// A request is sent at `now`.
    pub fn on_sent(&mut self, now: Timestamp) {
        let gap_ms = 1_000.0 / self.rate_per_s;
        let catch_up_ms = if gap_ms < CATCH_UP_GAP_MS_MAX { CATCH_UP_MS } else { 0.0 };
        self.next_ms = self.next_ms.max(to_f64(now) - catch_up_ms) + gap_ms;
        self.last_sent_at = now;
    }

    /// A request has ended at `now`, however it ended.
    pub fn on_finished(&mut self, now: Timestamp) {
        self.last_finished_at = now;
    }

    /// A good answer.
    pub fn on_served(&mut self) {
        self.accepted = self.accepted.saturating_add(1);
        let growth = match self.limit_per_s {
            None if self.counted_from.is_none() => GROWTH_UNKNOWN,
            None => GROWTH_BELOW,
            Some(limit) if self.rate_per_s < limit => GROWTH_BELOW,
            Some(_) => {
                let gain = 1.0 + f64::from(self.accepted) / GAIN_ACCEPTED;
                (GROWTH_ABOVE * gain * gain).min(GROWTH_ABOVE_MAX)
            }
        };
        self.rate_per_s = (self.rate_per_s * (1.0 + growth)).min(self.rate_max_per_s);
        // A rate that goes well beyond the limit for so long disproves it.
        let is_wrong = |limit: f64| self.accepted >= DISPROVED_ACCEPTED && self.rate_per_s > limit * DISPROVED_RATE;
        if self.limit_per_s.is_some_and(is_wrong) {
            self.limit_per_s = None;
        }
    }

    /// A refusal that opened an event.
    pub fn on_refused(&mut self, now: Timestamp) {
        if let Some(from) = self.counted_from
            && self.accepted >= ACCEPTED_MIN
        {
            let measured = f64::from(self.accepted) * 1_000.0 / to_f64(Timestamp(0).plus_ms(now.since_ms(from).max(1)));
            self.limit_per_s = Some(measured);
            self.rate_per_s = self.rate_per_s.min(measured * MARGIN);
        } else if self.accepted > 0 || self.counted_from.is_none() {
            self.rate_per_s *= 0.5;
        }
        // A canary that is refused with nothing accepted before it says that the host is still closed, not that the pace
        // is too high; a storm of a hundred of them would else push it to one request an hour.
        self.rate_per_s = self.rate_per_s.max(RATE_MIN);
        self.counted_from = Some(now);
        self.accepted = 0;
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

    fn unlimited() -> Settings {
        Settings { rate_max_per_s: None, ..Settings::default() }
    }

    #[test]
    fn an_unlimited_host_is_asked_as_fast_as_it_answers_within_two_seconds() {
        let mut pace = Pace::new(&unlimited(), None, Timestamp(0));
        let mut now = Timestamp(1_000_000);
        for _ in 0..200 {
            now = now.max(pace.next_at());
            pace.on_sent(now);
            pace.on_served();
        }
        assert!(now.since_ms(Timestamp(1_000_000)) < 2_000);
        assert!(pace.rate_per_s() > 10_000.0);
    }

    #[test]
    fn the_users_rate_is_a_ceiling() {
        let settings = Settings { rate_max_per_s: Some(10.0), ..Settings::default() };
        let mut pace = Pace::new(&settings, None, Timestamp(0));
        let start = Timestamp(1_000_000);
        let mut now = start;
        for _ in 0..101 {
            now = now.max(pace.next_at());
            pace.on_sent(now);
            pace.on_served();
        }
        assert!(now.since_ms(start) >= 9_980, "101 requests at 10/s took {} ms", now.since_ms(start));
    }

    #[test]
    fn no_second_holds_more_requests_than_the_user_allows() {
        let settings = Settings { rate_max_per_s: Some(10.0), ..Settings::default() };
        let mut pace = Pace::new(&settings, None, Timestamp(0));
        let mut now = Timestamp(1_000_000);
        let mut sent: Vec<Timestamp> = Vec::new();
        for late_ms in [0, 4, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 5_000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] {
            // A timer may be late, and a host may have had nothing to do for a while.
            now = now.max(pace.next_at()).plus_ms(late_ms);
            pace.on_sent(now);
            sent.push(now);
        }
        for eleven in sent.windows(11) {
            assert!(eleven[10].since_ms(eleven[0]) >= 1_000, "{eleven:?}");
        }
    }

    #[test]
    fn the_gap_and_the_crawl_delay_are_kept_exactly() {
        let settings = Settings { delay_ms: 700, rate_max_per_s: None, ..Settings::default() };
        let mut pace = Pace::new(&settings, None, Timestamp(0));
        pace.on_sent(Timestamp(10_000));
        assert_eq!(pace.next_at(), Timestamp(10_700));
        pace.set_crawl_delay(Some(2_000));
        pace.on_finished(Timestamp(10_100));
        assert_eq!(pace.next_at(), Timestamp(12_100));
        assert!(pace.is_serial());
    }

    #[test]
    fn the_second_refusal_measures_the_limit() {
        let mut pace = Pace::new(&unlimited(), None, Timestamp(0));
        pace.on_refused(Timestamp(100_000));
        for _ in 0..200 {
            pace.on_served();
        }
        pace.on_refused(Timestamp(110_000));
        assert_eq!(pace.limit_per_s(), Some(20.0));
        assert!(pace.rate_per_s() <= 20.0 * MARGIN);
    }

    #[test]
    fn after_a_restart_the_host_counts_as_just_asked() {
        let mut snapshot = Snapshot::default();
        Pace { rate_per_s: 2.0, ..Pace::new(&unlimited(), None, Timestamp(0)) }.save(&mut snapshot);
        let pace = Pace::new(&unlimited(), Some(&snapshot), Timestamp(50_000));
        assert_eq!(pace.next_at(), Timestamp(50_500));
    }
}
