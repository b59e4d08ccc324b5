//! The requests of the last so many seconds.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Feature;

/// Requests within the window, in grains: requests that lie closer together than a grain leave together, with the last of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Log {
    window_ms: f64,
    all: bool,
    grain_ms: f64,
    grains: VecDeque<Grain>,
    total: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Grain {
    first_ms: f64,
    last_ms: f64,
    count: f64,
}

impl Log {
    pub(super) fn new(window_ms: f64, all: bool, grain_ms: f64) -> Self {
        Self { window_ms, all, grain_ms, grains: VecDeque::new(), total: 0.0 }
    }

    /// Keeps so many grains at most. Those that are joined leave with the last of them, so it never admits more than before.
    pub(super) fn fold(&mut self, now_ms: f64, grains_max: usize) {
        self.expire(now_ms);
        while self.grains.len() > grains_max {
            self.grains = self
                .grains
                .make_contiguous()
                .chunks(2)
                .map(|pair| Grain {
                    first_ms: pair[0].first_ms,
                    last_ms: pair[pair.len() - 1].last_ms,
                    count: pair.iter().map(|grain| grain.count).sum(),
                })
                .collect();
        }
    }

    fn expire(&mut self, at_ms: f64) {
        while let Some(grain) = self.grains.front()
            && at_ms - grain.last_ms >= self.window_ms
        {
            self.total -= grain.count;
            self.grains.pop_front();
        }
    }
}

impl Feature for Log {
    fn level(&mut self, at_ms: f64) -> f64 {
        self.expire(at_ms);
        self.total
    }

    fn count(&mut self, at_ms: f64, requests: f64, accepted: bool) {
        self.expire(at_ms);
        if !accepted && !self.all {
            return;
        }
        self.total += requests;
        match self.grains.back_mut() {
            Some(grain) if at_ms - grain.first_ms < self.grain_ms => {
                grain.last_ms = grain.last_ms.max(at_ms);
                grain.count += requests;
            }
            _ => self.grains.push_back(Grain { first_ms: at_ms, last_ms: at_ms, count: requests }),
        }
    }

    fn falls_to(&mut self, level: f64, now_ms: f64) -> f64 {
        let mut left = self.level(now_ms);
        for grain in &self.grains {
            if left <= level {
                break;
            }
            left -= grain.count;
            if left <= level {
                return grain.last_ms + self.window_ms;
            }
        }
        now_ms
    }

    fn refund(&mut self, at_ms: f64) {
        if self.all {
            return;
        }
        if let Some(grain) = self.grains.iter_mut().rev().find(|grain| grain.first_ms <= at_ms && grain.count >= 1.0) {
            grain.count -= 1.0;
            self.total -= 1.0;
        }
    }
}
