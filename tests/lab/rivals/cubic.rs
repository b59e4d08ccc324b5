//! botocore's adaptive retry mode: a client-side token bucket whose rate follows a cubic curve in time since the last throttle.
//!
//! After `botocore/retries/{adaptive,bucket,throttling}.py`: beta 0.7, scale 0.4, never more than twice the measured rate, never
//! less than 0.5/s, no bucket at all before the first throttle; the measured rate is smoothed over half seconds with 0.8. Waits
//! between attempts are those of its standard mode, U(0, 1) times 2^attempt seconds, 20 s at most. Retry-After is not read.

use trundle::clock::Timestamp;

use super::super::world::{Answer, Ask, Client};
use super::{at, ms};

/// Ten threads, the size of its connection pool.
pub struct Cubic {
    threads: Vec<Thread>,
    dice: fastrand::Rng,
    enabled: bool,
    fill_per_s: f64,
    capacity: f64,
    tokens: f64,
    filled_ms: f64,
    measured_per_s: f64,
    counted: f64,
    counted_from_s: f64,
    w_max: f64,
    last_throttle_s: f64,
}

#[derive(Clone, Default)]
struct Thread {
    busy: bool,
    ready_at: Timestamp,
    attempt: u32,
}

const BETA: f64 = 0.7;
const SCALE: f64 = 0.4;
const SMOOTHING: f64 = 0.8;
const PER_S_MIN: f64 = 0.5;
const BACKOFF_S_MAX: f64 = 20.0;

impl Cubic {
    pub fn new(start: Timestamp, seed: u64) -> Self {
        Self {
            threads: vec![Thread::default(); 10],
            dice: fastrand::Rng::with_seed(seed),
            enabled: false,
            fill_per_s: PER_S_MIN,
            capacity: 1.0,
            tokens: 0.0,
            filled_ms: ms(start),
            measured_per_s: 0.0,
            counted: 0.0,
            counted_from_s: (ms(start) / 500.0).floor() / 2.0,
            w_max: PER_S_MIN,
            last_throttle_s: ms(start) / 1e3,
        }
    }

    fn refill(&mut self, now: Timestamp) {
        self.tokens = (self.tokens + (ms(now) - self.filled_ms) / 1e3 * self.fill_per_s).min(self.capacity);
        self.filled_ms = ms(now);
    }

    fn measure(&mut self, now_s: f64) {
        let bucket_s = (now_s * 2.0).floor() / 2.0;
        self.counted += 1.0;
        if bucket_s > self.counted_from_s {
            let per_s = self.counted / (bucket_s - self.counted_from_s);
            self.measured_per_s = SMOOTHING * per_s + (1.0 - SMOOTHING) * self.measured_per_s;
            (self.counted, self.counted_from_s) = (0.0, bucket_s);
        }
    }
}

impl Client for Cubic {
    fn poll(&mut self, now: Timestamp) -> Ask {
        let idle = self.threads.iter().enumerate().filter(|(_, thread)| !thread.busy);
        let Some((token, thread)) = idle.min_by_key(|(_, thread)| thread.ready_at) else { return Ask::Full };
        if thread.ready_at > now {
            return Ask::NotBefore(thread.ready_at);
        }
        if self.enabled {
            self.refill(now);
            if self.tokens < 1.0 {
                return Ask::NotBefore(at(ms(now) + (1.0 - self.tokens) / self.fill_per_s * 1e3));
            }
            self.tokens -= 1.0;
        }
        self.threads[token].busy = true;
        Ask::Go(token)
    }

    fn done(&mut self, token: usize, answer: &Answer, now: Timestamp) {
        let now_s = ms(now) / 1e3;
        self.measure(now_s);
        let is_throttled = answer.status != 200;
        let per_s = if is_throttled {
            let present = if self.enabled { self.measured_per_s.min(self.fill_per_s) } else { self.measured_per_s };
            self.w_max = present;
            self.last_throttle_s = now_s;
            self.enabled = true;
            present * BETA
        } else {
            let k = (self.w_max * (1.0 - BETA) / SCALE).cbrt();
            SCALE * (now_s - self.last_throttle_s - k).powi(3) + self.w_max
        };
        self.refill(now);
        self.fill_per_s = per_s.min(2.0 * self.measured_per_s).max(PER_S_MIN);
        self.capacity = self.fill_per_s.max(1.0);
        self.tokens = self.tokens.min(self.capacity);
        let thread = &mut self.threads[token];
        thread.busy = false;
        thread.attempt = if is_throttled { thread.attempt + 1 } else { 0 };
        if is_throttled {
            let ceiling_s = f64::from(1 << (thread.attempt - 1).min(10)).min(BACKOFF_S_MAX);
            thread.ready_at = now.plus_ms((self.dice.f64() * ceiling_s * 1e3) as u64);
        }
    }

    fn describe(&self) -> String {
        format!("{:.2}/s, {:.2}/s measured", self.fill_per_s, self.measured_per_s)
    }

    fn restart(&mut self, now: Timestamp) {
        *self = Self::new(now, self.dice.u64(..));
    }
}
