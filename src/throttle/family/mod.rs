//! Kinds of limiters: what each would hold against a request, computed from our own traffic alone.
//!
//! Every limiter that we know refuses a request when a feature of the traffic so far exceeds a threshold: the queue of a
//! bucket, the count of a window. A family is such a feature. The same code replays the past for a fit and keeps the ledger that
//! admits the next request. A new kind is one file here, one arm in [`Kind`] and its candidates in `fit`.

mod bucket;
mod counter;
mod first_hit;
mod fixed;
mod log;

use bucket::Bucket;
use counter::Counter;
use first_hit::FirstHit;
use fixed::Fixed;
use log::Log;

use serde::{Deserialize, Serialize};

/// Before everything; finite, since JSON has no infinity.
const LONG_AGO_MS: f64 = -1e15;

/// A kind of limiter with all of its parameters but the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// Token bucket, leaky bucket and GCRA are one: a queue that drains at `rate_per_ms`.
    Bucket {
        /// Requests that drain in a millisecond.
        rate_per_ms: f64,
    },
    /// A count that starts anew at fixed instants: `phase_ms` modulo `window_ms`.
    Fixed {
        /// The length of a window.
        window_ms: f64,
        /// Where in time the windows begin, modulo their length.
        phase_ms: f64,
    },
    /// A count that starts anew with the first request after the window of the last such request.
    FirstHit {
        /// The length of a window.
        window_ms: f64,
    },
    /// The requests of the last `window_ms`; `all` counts the refused ones too.
    Log {
        /// The length of the window.
        window_ms: f64,
        /// Whether refused requests count.
        all: bool,
    },
    /// Two counters: this window's, and the last one's by the share of it that is still within `window_ms`.
    Counter {
        /// The length of a window.
        window_ms: f64,
        /// Where in time the windows begin, modulo their length; none when they begin with the first request after a pause.
        phase_ms: Option<f64>,
        /// Whether refused requests count.
        all: bool,
    },
}

/// What a limiter holds against the next request, and how that changes.
pub trait Feature {
    /// The level that a request at `at_ms` meets, before it is counted. A bucket's level may be below zero: how long it has
    /// been empty. Instants must not go back.
    fn level(&mut self, at_ms: f64) -> f64;
    /// Counts so many requests at `at_ms`.
    fn count(&mut self, at_ms: f64, requests: f64, accepted: bool);
    /// When the level falls to `level` if nothing more is sent; an instant that is past, or `now_ms`, when it has.
    fn falls_to(&mut self, level: f64, now_ms: f64) -> f64;
    /// A request that was counted as accepted was not.
    fn refund(&mut self, at_ms: f64);
}

impl Kind {
    /// A ledger of this kind with nothing on it. `grain_ms` is how coarse a sliding log may be.
    pub fn ledger(self, grain_ms: f64) -> Ledger {
        match self {
            Self::Bucket { rate_per_ms } => Ledger::Bucket(Bucket::new(rate_per_ms)),
            Self::Fixed { window_ms, phase_ms } => Ledger::Fixed(Fixed::new(window_ms, phase_ms)),
            Self::FirstHit { window_ms } => Ledger::FirstHit(FirstHit::new(window_ms)),
            Self::Log { window_ms, all } => Ledger::Log(Log::new(window_ms, all, grain_ms)),
            Self::Counter { window_ms, phase_ms, all } => Ledger::Counter(Counter::new(window_ms, phase_ms, all)),
        }
    }

    /// The length of its window; none for a bucket.
    pub fn window_ms(self) -> Option<f64> {
        match self {
            Self::Bucket { .. } => None,
            Self::Fixed { window_ms, .. }
            | Self::FirstHit { window_ms }
            | Self::Log { window_ms, .. }
            | Self::Counter { window_ms, .. } => Some(window_ms),
        }
    }

    /// The rate that it grants in the long run with this threshold, in requests a ms.
    pub fn rate_per_ms(self, threshold: f64) -> f64 {
        match self {
            Self::Bucket { rate_per_ms } => rate_per_ms,
            _ => threshold / self.window_ms().unwrap_or(1.0),
        }
    }

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bucket { .. } => "token bucket",
            Self::Fixed { .. } => "fixed window",
            Self::FirstHit { .. } => "window from the first request",
            Self::Log { all: false, .. } => "sliding window",
            Self::Log { all: true, .. } => "sliding window that counts refusals",
            Self::Counter { all: false, .. } => "sliding counter",
            Self::Counter { all: true, .. } => "sliding counter that counts refusals",
        }
    }
}

/// The state of one limiter as our traffic has left it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ledger {
    /// See [`Kind::Bucket`].
    Bucket(Bucket),
    /// See [`Kind::Fixed`].
    Fixed(Fixed),
    /// See [`Kind::FirstHit`].
    FirstHit(FirstHit),
    /// See [`Kind::Log`].
    Log(Log),
    /// See [`Kind::Counter`].
    Counter(Counter),
}

macro_rules! each {
    ($self:ident, $feature:ident => $call:expr) => {
        match $self {
            Ledger::Bucket($feature) => $call,
            Ledger::Fixed($feature) => $call,
            Ledger::FirstHit($feature) => $call,
            Ledger::Log($feature) => $call,
            Ledger::Counter($feature) => $call,
        }
    };
}

impl Feature for Ledger {
    fn level(&mut self, at_ms: f64) -> f64 {
        each!(self, feature => feature.level(at_ms))
    }

    fn count(&mut self, at_ms: f64, requests: f64, accepted: bool) {
        each!(self, feature => feature.count(at_ms, requests, accepted));
    }

    fn falls_to(&mut self, level: f64, now_ms: f64) -> f64 {
        each!(self, feature => feature.falls_to(level, now_ms))
    }

    fn refund(&mut self, at_ms: f64) {
        each!(self, feature => feature.refund(at_ms));
    }
}

impl Ledger {
    /// Writes the level that every request of `shots` met into `levels`.
    pub fn replay(&mut self, shots: &[super::evidence::Shot], levels: &mut Vec<f64>) {
        each!(self, feature => replay(feature, shots, levels));
    }

    /// A bucket drains at another rate from `now_ms` on.
    pub fn set_rate(&mut self, rate_per_ms: f64, now_ms: f64) {
        if let Self::Bucket(bucket) = self {
            bucket.set_rate(rate_per_ms, now_ms);
        }
    }

    /// Takes it for granted that the limiter is at its threshold now, whatever was counted.
    pub fn fill(&mut self, threshold: f64, now_ms: f64) {
        if let Self::Bucket(bucket) = self {
            bucket.fill(threshold, now_ms);
        }
    }
}

fn replay(feature: &mut impl Feature, shots: &[super::evidence::Shot], levels: &mut Vec<f64>) {
    levels.clear();
    levels.extend(shots.iter().map(|shot| {
        let level = feature.level(shot.at_ms);
        feature.count(shot.at_ms, f64::from(shot.count), shot.fate == super::evidence::Fate::Accepted);
        level
    }));
}
