//! So many requests in any span of that length: Django REST framework, Flask-Limiter's moving window, Redis logs.

use std::collections::VecDeque;

use super::rule::{Arrival, Quota, Retune, Rule, left, whole_us};

/// Remembers when each request came.
#[derive(Clone, Debug)]
pub struct SlidingLog {
    limit: u32,
    window_us: i64,
    counts_refused: bool,
    inclusive: bool,
    came_us: VecDeque<i64>,
}

impl SlidingLog {
    /// Allows `limit` requests in any `window_us`. With `counts_refused` a refused request is one of them, so that a client
    /// that hammers never gets in again; with `inclusive` a request that is exactly one window old still counts, as in the
    /// `limits` library (`>=`), which Django REST framework has forgotten by then (`<=`).
    #[must_use]
    pub fn new(limit: u32, window_us: i64, counts_refused: bool, inclusive: bool) -> Self {
        Self { limit, window_us: window_us.max(1), counts_refused, inclusive, came_us: VecDeque::new() }
    }
}

impl Rule for SlidingLog {
    fn admits(&mut self, arrival: &Arrival) -> bool {
        let forgotten_us = arrival.at_us - self.window_us - i64::from(self.inclusive);
        while self.came_us.front().is_some_and(|&came_us| came_us <= forgotten_us) {
            self.came_us.pop_front();
        }
        left(self.limit, arrival.slack, count(self.came_us.len())) > 0
    }

    fn charge(&mut self, arrival: &Arrival, allowed: bool) -> u64 {
        if allowed || self.counts_refused {
            self.came_us.push_back(arrival.at_us);
        }
        0
    }

    fn quota(&self, arrival: &Arrival) -> Quota {
        let remaining = left(self.limit, arrival.slack, count(self.came_us.len()));
        let until_us = |came_us: Option<&i64>| {
            came_us.map_or(0, |came_us| u64::try_from(came_us + self.window_us - arrival.at_us).unwrap_or(0))
        };
        // The request that must be forgotten before another one passes.
        let over = usize::try_from(whole_us(count(self.came_us.len()) - f64::from(self.limit) * arrival.slack));
        Quota {
            limit: self.limit.into(),
            remaining,
            window_us: self.window_us.unsigned_abs(),
            reset_us: until_us(self.came_us.front()),
            retry_us: if remaining > 0 { 0 } else { until_us(self.came_us.get(over.unwrap_or(0))) },
        }
    }

    fn retune(&mut self, change: &Retune) {
        self.limit = change.limit.unwrap_or(self.limit);
    }
}

#[expect(clippy::cast_precision_loss, reason = "logs are short")]
fn count(len: usize) -> f64 {
    len as f64
}
