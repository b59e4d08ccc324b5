//! Scrapy's AutoThrottle: the delay follows the latency, and a refusal is one more answer.
//!
//! After `scrapy/extensions/throttle.py`: target concurrency 1, start delay 5 s, at most 60 s, eight requests at once to a host,
//! delays randomised between half and one and a half. A 429 keeps the delay from falling and is tried again; Retry-After is not
//! read.

use trundle::clock::Timestamp;

use super::super::world::{Answer, Ask, Client};
use super::{at, ms};

/// One download slot.
pub struct AutoThrottle {
    delay_s: f64,
    next_ms: f64,
    sent_ms: Vec<f64>,
    free: Vec<usize>,
    dice: fastrand::Rng,
}

const START_DELAY_S: f64 = 5.0;
const DELAY_S_MAX: f64 = 60.0;
const AT_ONCE: usize = 8;

impl AutoThrottle {
    pub fn new(start: Timestamp, seed: u64) -> Self {
        Self {
            delay_s: START_DELAY_S,
            next_ms: ms(start),
            sent_ms: vec![0.0; AT_ONCE],
            free: (0..AT_ONCE).collect(),
            dice: fastrand::Rng::with_seed(seed),
        }
    }
}

impl Client for AutoThrottle {
    fn poll(&mut self, now: Timestamp) -> Ask {
        if ms(now) < self.next_ms {
            return Ask::NotBefore(at(self.next_ms));
        }
        let Some(token) = self.free.pop() else { return Ask::Full };
        self.sent_ms[token] = ms(now);
        self.next_ms = ms(now) + self.delay_s * 1e3 * (0.5 + self.dice.f64());
        Ask::Go(token)
    }

    fn done(&mut self, token: usize, answer: &Answer, now: Timestamp) {
        self.free.push(token);
        let latency_s = (ms(now) - self.sent_ms[token]) / 1e3;
        let delay_s = latency_s.max(f64::midpoint(self.delay_s, latency_s)).min(DELAY_S_MAX);
        if answer.status == 200 || delay_s > self.delay_s {
            self.delay_s = delay_s;
        }
    }

    fn describe(&self) -> String {
        format!("delay {:.3} s", self.delay_s)
    }

    fn restart(&mut self, now: Timestamp) {
        *self = Self::new(now, self.dice.u64(..));
    }
}
