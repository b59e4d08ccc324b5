//! What of the learner outlives the process.

use serde::{Deserialize, Serialize};

use super::refit::GRAINS;
use super::{Feature, Kind, Known, Learner};
use crate::throttle::family::Ledger;
use crate::throttle::fit::{Model, Scored};

/// A limit that was learned, and where its ledger stood.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// The model; none before the first refusal.
    model: Option<Model>,
    /// The plausible rates, in requests a ms.
    rate_lo: f64,
    rate_hi: f64,
    /// Whether they are known to a few per cent.
    is_tight: bool,
    cost: f64,
    /// The last single limit that was known well, if it is not the model.
    base: Option<Model>,
    /// What was on the ledgers.
    ledger: Option<Ledger>,
    second: Option<Ledger>,
    /// Requests a ms: the pace, and the fastest that was accepted.
    pace: f64,
    peak: f64,
    /// The server's clock minus ours, in ms; none when it never said.
    clock_ms: Option<f64>,
    margin_extra: f64,
    wait_cost: f64,
    touches: u32,
    since_touch: f64,
    burst: Option<f64>,
    /// Requests that may have been counted, and may not.
    doubtful: u32,
}

/// In a day a limit may change by this share.
const DRIFT_A_DAY: f64 = 0.01;
/// After so many days it is measured anew.
const STALE_DAYS: f64 = 7.0;
const DAY_MS: f64 = 86_400_000.0;

impl Learner {
    /// What outlives the process. So many `doubtful` requests may have been counted by the limiter when it is read: those without an
    /// answer, and those that are not known to whoever reads it.
    #[must_use]
    pub fn memory(&self, doubtful: u32) -> Memory {
        let known = self.known.as_ref();
        Memory {
            model: known.map(|known| known.model),
            rate_lo: known.map_or(0.0, |known| known.rate_lo),
            rate_hi: known.map_or(0.0, |known| known.rate_hi.min(1e6)),
            is_tight: known.is_some_and(|known| known.is_tight),
            cost: known.map_or(0.0, |known| known.cost),
            base: self.base.filter(|base| known.is_none_or(|known| known.model != *base)),
            ledger: self.ledger.clone(),
            second: self.second.clone(),
            pace: self.pace,
            peak: self.peak,
            clock_ms: Some(self.clock_ms).filter(|clock_ms| clock_ms.is_finite()),
            margin_extra: self.margin_extra,
            wait_cost: self.wait_cost,
            touches: self.touches,
            since_touch: self.since_touch,
            burst: self.burst,
            doubtful,
        }
    }

    /// What is kept of it while nothing is sent, from `now_ms` on.
    #[must_use]
    pub fn folded(&self, now_ms: f64) -> Memory {
        let mut memory = self.memory(0);
        for ledger in memory.ledger.iter_mut().chain(&mut memory.second) {
            ledger.fold(now_ms);
        }
        memory
    }

    /// Goes on from `memory`, which was saved at `saved_ms`.
    #[must_use]
    pub fn restored(memory: &Memory, saved_ms: f64, now_ms: f64) -> Self {
        let mut learner = Self::new();
        let days = ((now_ms - saved_ms) / DAY_MS).max(0.0);
        learner.known = memory.model.map(|model| Known {
            model,
            rate_lo: memory.rate_lo,
            rate_hi: memory.rate_hi,
            is_tight: memory.is_tight && days < STALE_DAYS,
            cost: memory.cost,
            rivals: vec![Scored { model, cost: memory.cost }],
        });
        let is_base = |model: &Model| memory.is_tight && model.second.is_none();
        learner.base = memory.base.or(memory.model.filter(is_base));
        if saved_ms <= now_ms {
            learner.ledger.clone_from(&memory.ledger);
            learner.second.clone_from(&memory.second);
        } else {
            // The clock went back: what was counted then lies in a future that may be far away.
            let grain_ms = |kind: Kind| kind.window_ms().unwrap_or(0.0) / GRAINS;
            learner.ledger = memory.model.map(|model| model.kind.ledger(grain_ms(model.kind)));
            learner.second = memory.model.and_then(|model| model.second).map(|(kind, _)| kind.ledger(grain_ms(kind)));
        }
        learner.pace = memory.pace;
        learner.peak = memory.peak;
        learner.clock_ms = memory.clock_ms.unwrap_or(f64::NAN);
        learner.margin_extra = memory.margin_extra + days * DRIFT_A_DAY;
        learner.wait_cost = memory.wait_cost;
        learner.touches = memory.touches;
        learner.since_touch = memory.since_touch;
        learner.burst = memory.burst;
        learner.evidence.begin_unknown();
        if memory.is_tight && days >= STALE_DAYS {
            learner.pace = 0.9 * memory.rate_lo;
        }
        for ledger in learner.ledgers().filter(|_| memory.doubtful > 0) {
            ledger.count(saved_ms.min(now_ms), f64::from(memory.doubtful), true);
        }
        learner.start_level = learner.ledger.as_mut().map(|ledger| ledger.level(now_ms));
        learner
    }
}
