//! The only door to time.
//!
//! Enters: nothing. Leaves: [`Timestamp`]s and a way to wait for one. Rooms below the engine take `now` as an argument
//! and never ask for it. Deliberately absent: durations with a calendar, time zones (people see local time at the edge only).

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// An instant: milliseconds since 1970-01-01 UTC, as stored in the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Before everything: a deadline that has always passed.
    pub const EPOCH: Self = Self(0);
    /// After everything: a deadline that never comes.
    pub const NEVER: Self = Self(i64::MAX);

    /// This instant moved later by `wait_ms`; saturates at [`Timestamp::NEVER`].
    #[must_use]
    pub fn plus_ms(self, wait_ms: u64) -> Self {
        Self(self.0.saturating_add(i64::try_from(wait_ms).unwrap_or(i64::MAX)))
    }

    /// Milliseconds from `earlier` to this instant; 0 when `earlier` lies later.
    #[must_use]
    pub fn since_ms(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }

    /// The same instant from a [`SystemTime`], floored to the millisecond; times before 1970 become the epoch.
    #[must_use]
    pub fn from_system(time: SystemTime) -> Self {
        let ms = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        Self(i64::try_from(ms).unwrap_or(i64::MAX))
    }
}

/// Tells the time and waits for it. Two implementations: [`SystemClock`], and [`ManualClock`] for tests.
///
/// Why not `tokio::time::pause`: it advances whenever tokio is idle, and a database pool that works on a thread of its own
/// looks idle to tokio, so its timeouts fire at once.
pub trait Clock: Clone + Send + Sync + 'static {
    /// The present instant; never goes back within one run.
    fn now(&self) -> Timestamp;

    /// Returns at `at` or later; at once when `at` has passed.
    fn sleep_until(&self, at: Timestamp) -> impl Future<Output = ()> + Send;
}

/// Wall-clock time at the start of the run, moved on by the monotonic clock: a step of the system's clock during a run
/// neither shortens a wait nor sends a request early.
#[derive(Clone, Debug)]
pub struct SystemClock {
    started: Instant,
    started_at: Timestamp,
}

impl SystemClock {
    /// Reads the system's clock once.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the door through which time enters")]
    pub fn new() -> Self {
        Self { started: Instant::now(), started_at: Timestamp::from_system(SystemTime::now()) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.started_at.plus_ms(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the door through which waiting enters")]
    async fn sleep_until(&self, at: Timestamp) {
        let wait_ms = at.since_ms(self.now());
        // A month at a time: tokio's timer caps at about two years, and NEVER is beyond any timer.
        tokio::time::sleep(Duration::from_millis(wait_ms.min(30 * 24 * 3_600_000))).await;
    }
}

/// A clock that a test moves by hand. Sleepers wake when the test advances past their instant.
#[derive(Clone, Debug)]
pub struct ManualClock {
    inner: Arc<ManualInner>,
}

#[derive(Debug)]
struct ManualInner {
    now: Mutex<Timestamp>,
    moved: Notify,
}

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { inner: Arc::new(ManualInner { now: Mutex::new(now), moved: Notify::new() }) }
    }

    /// Moves the clock to `at` (never back) and wakes the sleepers whose instant has come.
    pub fn advance_to(&self, at: Timestamp) {
        {
            let mut now = self.inner.now.lock().expect("no holder of this lock panics");
            *now = (*now).max(at);
        }
        self.inner.moved.notify_waiters();
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.inner.now.lock().expect("no holder of this lock panics")
    }

    async fn sleep_until(&self, at: Timestamp) {
        loop {
            // Registered before the reading, so that an advance between the two is not missed.
            let moved = self.inner.moved.notified();
            if self.now() >= at {
                return;
            }
            moved.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_never_wraps() {
        assert_eq!(Timestamp(5).plus_ms(u64::MAX), Timestamp::NEVER);
        assert_eq!(Timestamp(5).since_ms(Timestamp(9)), 0);
    }

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_clock_is_moved_past_its_instant() {
        let clock = ManualClock::new(Timestamp(1_000));
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep_until(Timestamp(5_000)).await;
                clock.now()
            }
        });
        clock.advance_to(Timestamp(4_999));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance_to(Timestamp(5_001));
        assert_eq!(sleeper.await.expect("the sleeper does not panic"), Timestamp(5_001));
    }
}
