//! Additive increase, multiplicative decrease of a rate, tuned to be gentle: a tenth less for each event of refusals, and a
//! twentieth of a request a second more each second. Faster at the start, where it doubles each second. Retry-After holds for
//! the whole client.

use trundle::clock::Timestamp;

use super::super::world::{Answer, Ask, Client};
use super::{at, full_jitter_ms, ms, retry_after_ms};

/// A rate, and as many requests in flight as the product may have.
pub struct Aimd {
    per_s: f64,
    next_ms: f64,
    raised_ms: f64,
    /// Answers to what was sent by then belong to an event that is known.
    event_ms: f64,
    /// When each token was sent.
    sent_ms: Vec<f64>,
    free: Vec<usize>,
    started: bool,
    refused: u32,
    dice: fastrand::Rng,
}

const DECREASE: f64 = 0.9;
/// More requests a second, each second.
const INCREASE: f64 = 0.05;
const AT_ONCE: usize = 256;
const PER_S_MIN: f64 = 0.02;
/// Waits without a word, ms.
const BACKOFF_MS: u64 = 1_000;
const BACKOFF_MS_MAX: u64 = 60_000;

impl Aimd {
    pub fn new(start: Timestamp, seed: u64) -> Self {
        Self {
            per_s: 2.0,
            next_ms: ms(start),
            raised_ms: ms(start),
            event_ms: 0.0,
            sent_ms: vec![0.0; AT_ONCE],
            free: (0..AT_ONCE).collect(),
            started: false,
            refused: 0,
            dice: fastrand::Rng::with_seed(seed),
        }
    }
}

impl Client for Aimd {
    fn poll(&mut self, now: Timestamp) -> Ask {
        if ms(now) < self.next_ms {
            return Ask::NotBefore(at(self.next_ms));
        }
        let Some(token) = self.free.pop() else { return Ask::Full };
        self.next_ms = self.next_ms.max(ms(now) - 1.0) + 1e3 / self.per_s;
        self.sent_ms[token] = ms(now);
        Ask::Go(token)
    }

    fn done(&mut self, token: usize, answer: &Answer, now: Timestamp) {
        let is_new = self.sent_ms[token] > self.event_ms;
        self.free.push(token);
        if answer.status == 200 {
            let passed_s = (ms(now) - self.raised_ms) / 1e3;
            self.raised_ms = ms(now);
            self.per_s =
                if self.started { self.per_s + INCREASE * passed_s } else { self.per_s * 2_f64.powf(passed_s) };
            self.refused = 0;
            return;
        }
        let wait_ms = retry_after_ms(answer);
        if is_new {
            self.event_ms = ms(now);
            self.raised_ms = ms(now);
            self.started = true;
            self.per_s = (self.per_s * DECREASE).max(PER_S_MIN);
            let silent_ms = || full_jitter_ms(BACKOFF_MS, BACKOFF_MS_MAX, self.refused, &mut self.dice);
            self.next_ms = self.next_ms.max(ms(now) + wait_ms.unwrap_or_else(silent_ms) as f64);
            self.refused += 1;
        } else if let Some(wait_ms) = wait_ms {
            self.next_ms = self.next_ms.max(ms(now) + wait_ms as f64);
        }
    }

    fn describe(&self) -> String {
        format!("{:.2}/s", self.per_s)
    }

    fn restart(&mut self, now: Timestamp) {
        *self = Self::new(now, self.dice.u64(..));
    }
}
