//! Kinds of limiters: what each would hold against a request, computed from our own traffic alone.
//!
//! Every limiter that we know refuses a request when a feature of the traffic so far exceeds a threshold: the queue of a
//! bucket, the count of a window. A family is such a feature. A ledger keeps it for the next request; a fit replays
//! the past through the same feature in a form that steps over most of it, to which a test holds it. A new kind is one file here,
//! one arm in [`Kind`], and its replay and candidates in `fit`.

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
pub(super) const LONG_AGO_MS: f64 = -1e15;

/// A kind of limiter with all of its parameters but the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

    /// How far back it looks at most; none for a bucket, which may take for ever to drain.
    pub fn memory_ms(self) -> Option<f64> {
        // The count of the last window is that of a whole one.
        let windows = if matches!(self, Self::Counter { .. }) { 2.0 } else { 1.0 };
        self.window_ms().map(|window_ms| windows * window_ms)
    }

    /// Whether refused requests count towards it.
    pub fn counts_refused(self) -> bool {
        matches!(self, Self::Log { all: true, .. } | Self::Counter { all: true, .. })
    }

    /// Whether all of its count is forgotten at once.
    pub fn is_fixed(self) -> bool {
        matches!(self, Self::Fixed { .. } | Self::FirstHit { .. })
    }

    /// The rate that it grants in the long run with this threshold, in requests a ms.
    pub fn rate_per_ms(self, threshold: f64) -> f64 {
        match self {
            Self::Bucket { rate_per_ms } => rate_per_ms,
            _ => threshold / self.window_ms().unwrap_or(1.0),
        }
    }

    /// The most that it lets pass in any span of `span_ms`, in thresholds; of a bucket besides what drains.
    pub fn most(self, span_ms: f64) -> f64 {
        match self {
            Self::Bucket { .. } => 1.0,
            Self::Log { window_ms, .. } => (span_ms / window_ms).ceil(),
            // The end of one window and the start of another.
            Self::Fixed { window_ms, .. } | Self::FirstHit { window_ms } | Self::Counter { window_ms, .. } => {
                (span_ms / window_ms).ceil() + 1.0
            }
        }
    }

    /// Whether `other` is of the same family and window.
    pub fn is_like(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other) && self.window_ms() == other.window_ms()
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
    /// Counts all of `shots`.
    pub fn replay(&mut self, shots: &[super::evidence::Shot]) {
        each!(self, feature => for shot in shots {
            feature.count(shot.at_ms, f64::from(shot.count), shot.fate == super::evidence::Fate::Accepted);
        });
    }

    /// Counts all of `shots`; the level that each of them met.
    pub fn levels(&mut self, shots: &[super::evidence::Shot]) -> Vec<f64> {
        let mut one = |shot: &super::evidence::Shot| {
            let level = self.level(shot.at_ms);
            self.count(shot.at_ms, f64::from(shot.count), shot.fate == super::evidence::Fate::Accepted);
            level
        };
        shots.iter().map(&mut one).collect()
    }

    /// Leaves out what is of no use from `now_ms` on, and joins the steps of a sliding window until there are `steps_max`, at least 1.
    pub fn fold(&mut self, now_ms: f64, steps_max: usize) {
        if let Self::Log(log) = self {
            log.fold(now_ms, steps_max);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds() -> [Kind; 8] {
        let (window_ms, phase_ms) = (60_000.0, 17_000.0);
        [
            Kind::Bucket { rate_per_ms: 0.01 },
            Kind::Fixed { window_ms, phase_ms },
            Kind::FirstHit { window_ms },
            Kind::Log { window_ms, all: false },
            Kind::Log { window_ms, all: true },
            Kind::Counter { window_ms, phase_ms: Some(phase_ms), all: false },
            Kind::Counter { window_ms, phase_ms: None, all: false },
            Kind::Counter { window_ms, phase_ms: None, all: true },
        ]
    }

    /// The level of `kind` at `at_s` after accepted requests at these seconds, and one that was refused at 50 s.
    fn level(kind: Kind, accepted_s: &[f64], at_s: f64) -> f64 {
        let mut ledger = kind.ledger(0.0);
        for &sent_s in accepted_s {
            ledger.count(sent_s * 1_000.0, 1.0, true);
        }
        ledger.count(50_000.0, 1.0, false);
        (ledger.level(at_s * 1_000.0) * 100.0).round() / 100.0
    }

    #[test]
    fn each_family_holds_its_own_feature_of_the_same_traffic() {
        let sent = [0.0, 10.0, 20.0, 20.0];
        // At 70 s: a bucket of 0.01/ms is empty for 49.8 s, the window of the clock is at 17 and 77 s, that of the first
        // request ended at 60 s, the log holds 10 < t <= 70, the counter by the clock has 3 since 17 s and 1 for 7/60 of before.
        let found: Vec<f64> = kinds().iter().map(|&kind| level(kind, &sent, 70.0)).collect();
        assert_eq!(found, [-498.0, 2.0, 0.0, 2.0, 3.0, 2.23, 3.33, 4.17]);
    }

    #[test]
    fn a_refused_request_is_taken_back_from_a_ledger_that_counts_only_accepted_ones() {
        for kind in kinds() {
            let mut ledger = kind.ledger(0.0);
            for sent_ms in [1_000.0, 1_001.0, 1_002.0] {
                ledger.count(sent_ms, 1.0, true);
            }
            let before = ledger.level(1_002.0);
            ledger.refund(1_001.0);
            let counts_all = matches!(kind, Kind::Log { all: true, .. } | Kind::Counter { all: true, .. });
            assert!((before - ledger.level(1_002.0) - f64::from(u8::from(!counts_all))).abs() < 0.03, "{kind:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_ledger_is_at_a_level_when_it_says_so(
            kind in 0_usize..8,
            gaps_ms in proptest::collection::vec(1_u32..9_000, 1..60),
            share in 0.1_f64..1.0,
        ) {
            let mut ledger = kinds()[kind].ledger(0.0);
            let mut now_ms = 1e9;
            for gap_ms in gaps_ms {
                now_ms += f64::from(gap_ms);
                ledger.count(now_ms, 1.0, true);
            }
            let level = (ledger.level(now_ms) * share).floor();
            let at_ms = ledger.falls_to(level, now_ms);
            proptest::prop_assert!(at_ms <= now_ms + 121_000.0);
            proptest::prop_assert!(ledger.clone().level(at_ms.max(now_ms)) <= level + 1e-6, "at once");
            // And not much earlier.
            let before_ms = at_ms - 2.0;
            if before_ms > now_ms {
                proptest::prop_assert!(ledger.level(before_ms) > level - 1e-6, "too late");
            }
        }

        #[test]
        fn a_ledger_comes_back_from_json(kind in 0_usize..8, count in 0_u32..50) {
            let mut ledger = kinds()[kind].ledger(100.0);
            for index in 0..count {
                ledger.count(1e12 + f64::from(index) * 333.0, 1.0, index % 5 != 0);
            }
            let json = serde_json::to_string(&ledger).expect("it is JSON");
            proptest::prop_assert_eq!(serde_json::from_str::<Ledger>(&json).expect("and comes back"), ledger);
        }
    }
}
