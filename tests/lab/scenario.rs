//! A scenario as it is written down: a limiter, how its server speaks, how long the run is, and what is expected.

use std::path::Path;

use serde::Deserialize;
use trundle::practice::limiter::{
    All, Anchor, Ban, ConcurrencyCap, Dialect, FixedWindow, Gcra, Hammering, LeakyBucket, Limiter, Noisy, Retune,
    Schedule, Shared, SlidingCounter, SlidingLog, Staircase, TokenBucket, WorkerPool,
};

/// One file of `tests/limits`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The name of its file.
    #[serde(skip)]
    pub name: String,
    /// What it stands for, and what is hard about it.
    pub why: String,
    /// Length of the run.
    pub seconds: u32,
    /// Mean time that a worker takes for an answer, in ms, and the spread of its logarithm.
    #[serde(default)]
    pub service_ms: f64,
    #[serde(default)]
    pub service_sigma: f64,
    /// How far the server's clock is ahead of ours.
    #[serde(default)]
    pub clock_ahead_s: f64,
    /// The client dies as by `kill -9` and starts again each so many seconds.
    #[serde(default)]
    pub restart_every_s: Option<u32>,
    pub limiter: LimiterSpec,
    /// How the server speaks. Without a word in the file it refuses with 429 and says nothing else.
    #[serde(default)]
    pub answers: Dialect,
    #[serde(default)]
    pub expect: Expect,
}

/// What the product must reach, in the worst of all runs. What is not named is not demanded.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// Accepted requests as a share of the optimum.
    pub goodput_min: Option<f64>,
    /// Refused requests as a share of all, in the second half.
    pub refused_max: Option<f64>,
    /// Refusals until the limit is first taken for known, or in the whole run if it never is.
    pub learning_max: Option<u32>,
    /// Refusals in the 60 s after a drop.
    pub drop_max: Option<u32>,
    /// Accepted requests after a rise until 0.9 of the new rate is reached.
    pub rise_max: Option<u32>,
    /// The 95th percentile of the time to an answer, as a multiple of the unhurried mean.
    pub p95_max: Option<f64>,
}

/// Where windows start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnchorSpec {
    #[default]
    Epoch,
    FirstHit,
}

/// A limiter; lengths are in seconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LimiterSpec {
    Bucket {
        per_s: f64,
        burst: f64,
    },
    Gcra {
        per_s: f64,
        burst: u32,
    },
    Nginx {
        per_s: f64,
        burst: u32,
        delay: Option<u32>,
    },
    Staircase {
        fill: u32,
        every_s: f64,
        max: u32,
    },
    Window {
        limit: u32,
        seconds: f64,
        #[serde(default)]
        anchor: AnchorSpec,
        /// Windows of this key start so much after those of the epoch.
        #[serde(default)]
        phase_s: f64,
    },
    Log {
        limit: u32,
        seconds: f64,
        #[serde(default)]
        counts_refused: bool,
        #[serde(default)]
        inclusive: bool,
    },
    Counter {
        limit: u32,
        seconds: f64,
        #[serde(default)]
        anchor: AnchorSpec,
        #[serde(default)]
        counts_refused: bool,
        #[serde(default)]
        floors: bool,
    },
    Concurrency {
        limit: u32,
    },
    Workers {
        limit: u32,
    },
    All {
        limiters: Vec<LimiterSpec>,
        /// Which of them the fields tell of, counted from 0; none is the one that is closest to refusing.
        speaks: Option<usize>,
    },
    Ban {
        seconds: f64,
        #[serde(default)]
        hammering: Hammering,
        limiter: Box<LimiterSpec>,
    },
    Schedule {
        limiter: Box<LimiterSpec>,
        changes: Vec<ChangeSpec>,
    },
    Noisy {
        limiter: Box<LimiterSpec>,
        /// By how much of itself the threshold swings either way.
        share: f64,
        /// For how long it stays where it is.
        hold_s: f64,
    },
    Shared {
        limiter: Box<LimiterSpec>,
        /// What the other client takes a second.
        per_s: f64,
        from_s: f64,
        until_s: f64,
    },
}

/// New numbers from `at_s` on, counted from the start of the run.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeSpec {
    pub at_s: f64,
    pub per_s: Option<f64>,
    pub burst: Option<f64>,
    pub limit: Option<u32>,
}

/// A span as the limiters count it.
pub fn us(seconds: f64) -> i64 {
    (seconds * 1e6).round() as i64
}

impl Scenario {
    /// All scenarios of a folder, by name.
    pub fn all(folder: &Path) -> Vec<Self> {
        let mut all: Vec<Self> = std::fs::read_dir(folder)
            .unwrap_or_else(|error| panic!("{} cannot be listed: {error}", folder.display()))
            .filter_map(|entry| {
                Some(entry.ok()?.path()).filter(|path| path.extension().is_some_and(|ext| ext == "toml"))
            })
            .map(|path| Self::read(&path))
            .collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut scenario: Self = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        scenario.name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        scenario
    }
}

impl LimiterSpec {
    /// The limiter itself, for a run that starts at `start_us` on the server's clock.
    pub fn build(&self, start_us: i64, seed: u64) -> Limiter {
        let anchored = |anchor: AnchorSpec, phase_s: f64| match anchor {
            AnchorSpec::Epoch => Anchor::Epoch { phase_us: us(phase_s) },
            AnchorSpec::FirstHit => Anchor::FirstHit,
        };
        match *self {
            Self::Bucket { per_s, burst } => Limiter::TokenBucket(TokenBucket::new(per_s, burst)),
            Self::Gcra { per_s, burst } => Limiter::Gcra(Gcra::new(per_s, burst)),
            Self::Nginx { per_s, burst, delay } => Limiter::LeakyBucket(LeakyBucket::new(per_s, burst, delay)),
            Self::Staircase { fill, every_s, max } => {
                Limiter::Staircase(Staircase::new(fill, us(every_s), max, phase_us(seed, us(every_s))))
            }
            Self::Window { limit, seconds, anchor, phase_s } => {
                Limiter::FixedWindow(FixedWindow::anchored(limit, us(seconds), anchored(anchor, phase_s)))
            }
            Self::Log { limit, seconds, counts_refused, inclusive } => {
                Limiter::SlidingLog(SlidingLog::new(limit, us(seconds), counts_refused, inclusive))
            }
            Self::Counter { limit, seconds, anchor, counts_refused, floors } => Limiter::SlidingCounter(
                SlidingCounter::new(limit, us(seconds), anchored(anchor, 0.0), counts_refused, floors),
            ),
            Self::Concurrency { limit } => Limiter::ConcurrencyCap(ConcurrencyCap::new(limit)),
            Self::Workers { limit } => Limiter::WorkerPool(WorkerPool::new(limit)),
            Self::All { ref limiters, speaks } => {
                let limiters = limiters.iter().map(|limiter| limiter.build(start_us, seed)).collect();
                Limiter::All(All::new(limiters, speaks))
            }
            Self::Ban { seconds, hammering, ref limiter } => {
                Limiter::Ban(Ban::new(limiter.build(start_us, seed), us(seconds), hammering))
            }
            Self::Schedule { ref limiter, ref changes } => {
                let changes = changes.iter().map(|change| {
                    let ChangeSpec { at_s, per_s, burst, limit } = *change;
                    (start_us + us(at_s), Retune { per_s, burst, limit })
                });
                Limiter::Schedule(Schedule::new(limiter.build(start_us, seed), changes.collect()))
            }
            Self::Noisy { ref limiter, share, hold_s } => {
                Limiter::Noisy(Noisy::new(limiter.build(start_us, seed), share, us(hold_s), seed))
            }
            Self::Shared { ref limiter, per_s, from_s, until_s } => Limiter::Shared(Shared::new(
                limiter.build(start_us, seed),
                us(1.0 / per_s),
                start_us + us(from_s),
                start_us + us(until_s),
            )),
        }
    }

    /// Whether it must be told of the end of a request.
    pub fn counts_running(&self) -> bool {
        match self {
            Self::Concurrency { .. } => true,
            Self::All { limiters, .. } => limiters.iter().any(Self::counts_running),
            Self::Ban { limiter, .. }
            | Self::Schedule { limiter, .. }
            | Self::Noisy { limiter, .. }
            | Self::Shared { limiter, .. } => limiter.counts_running(),
            _ => false,
        }
    }
}

/// When a timer of this period fires in the process of this seed: the start of the process fixed it.
pub fn phase_us(seed: u64, period_us: i64) -> i64 {
    fastrand::Rng::with_seed(seed ^ 0x5eed).i64(0..period_us.max(1))
}
