//! nginx's `limit_req`, to the thousandth of a request: with and without `burst`, `delay` and `nodelay`.

use super::rule::{Arrival, Quota, Retune, Rule, SECOND_US, whole_us};

/// Counts the excess over a steady rate in thousandths of a request, on a clock of whole milliseconds, as
/// `ngx_http_limit_req_module.c` does. A key that was never seen starts without any excess, so `burst + 1` requests pass at
/// once. Refused requests leave no trace.
#[derive(Clone, Debug)]
pub struct LeakyBucket {
    /// Thousandths of a request that drain in a second.
    rate: i64,
    burst: i64,
    /// Excess up to which answers are not held back; none holds nothing back (`nodelay`).
    delay: Option<i64>,
    excess: i64,
    last_ms: Option<i64>,
    /// Excess with the request that is being decided.
    next: i64,
}

impl LeakyBucket {
    /// `rate=..r/s burst=.. delay=..`; `delay` none is `nodelay`, 0 is what nginx does when neither is written.
    #[must_use]
    pub fn new(per_s: f64, burst: u32, delay: Option<u32>) -> Self {
        Self {
            rate: thousandths(per_s),
            burst: i64::from(burst) * 1_000,
            delay: delay.map(|delay| i64::from(delay) * 1_000),
            excess: 0,
            last_ms: None,
            next: 0,
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rates are small")]
fn thousandths(per_s: f64) -> i64 {
    (per_s * 1_000.0).round().max(1.0) as i64
}

impl Rule for LeakyBucket {
    fn admits(&mut self, arrival: &Arrival) -> bool {
        let now_ms = arrival.at_us.div_euclid(1_000);
        self.next = match self.last_ms {
            None => 0,
            Some(last_ms) => (self.excess - self.rate * (now_ms - last_ms).max(0) / 1_000 + 1_000).max(0),
        };
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "bursts are small")]
        let burst = ((self.burst + 1_000) as f64 * arrival.slack) as i64 - 1_000;
        self.next <= burst
    }

    fn charge(&mut self, arrival: &Arrival, allowed: bool) -> u64 {
        if !allowed {
            return 0;
        }
        self.excess = self.next;
        self.last_ms = self.last_ms.max(Some(arrival.at_us.div_euclid(1_000)));
        let held = self.delay.map_or(0, |delay| (self.excess - delay).max(0));
        // nginx's timers are in whole milliseconds.
        u64::try_from(held * 1_000 / self.rate).unwrap_or(0) * 1_000
    }

    #[expect(clippy::cast_precision_loss, reason = "bursts are small")]
    fn quota(&self, _arrival: &Arrival) -> Quota {
        let (excess, burst, rate) = (self.excess as f64, self.burst as f64, self.rate as f64);
        Quota {
            limit: u64::try_from(self.burst / 1_000 + 1).unwrap_or(0),
            remaining: u64::try_from((self.burst - self.excess) / 1_000).unwrap_or(0),
            window_us: whole_us((burst + 1_000.0) / rate * SECOND_US),
            reset_us: whole_us(excess / rate * SECOND_US),
            retry_us: whole_us((self.next.max(self.excess) as f64 - burst) / rate * SECOND_US),
        }
    }

    fn retune(&mut self, change: &Retune) {
        self.rate = change.per_s.map_or(self.rate, thousandths);
    }
}
