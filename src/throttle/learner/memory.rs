//! What of the learner outlives the process.

use serde::{Deserialize, Serialize};

use super::admit::STRICT;
use super::refit::GRAINS;
use super::{Feature, Kind, Known, Learner, RATE_PER_MS_MAX, WINDOW_HASTE};
use crate::throttle::envelope::{Envelope, SavedEnvelope};
use crate::throttle::evidence::{Evidence, SavedEvidence};
use crate::throttle::family::Ledger;
use crate::throttle::fit::{Model, Scored};
use crate::throttle::order::Said;

/// A limit that was learned, and where its ledger stood. What is only known to some in a thousand has seven digits: many scopes rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// The model; none before the first refusal.
    model: Option<Model>,
    /// The plausible rates, in requests a ms.
    rate_lo: f32,
    rate_hi: f32,
    /// Whether they are known to a few per cent.
    is_tight: bool,
    cost: f32,
    /// The last single limit that was known well, if it is not the model.
    base: Option<Model>,
    /// What was on the ledgers.
    ledger: Option<Ledger>,
    second: Option<Ledger>,
    /// Requests a ms: the pace, and the fastest that was accepted.
    pace: f64,
    peak: f32,
    /// The server's clock minus ours, in ms; none when it never said.
    clock_ms: Option<f64>,
    margin_extra: f32,
    wait_cost: f32,
    touches: u32,
    since_touch: f32,
    burst: Option<f64>,
    /// The limit that a person said.
    said: Option<Model>,
    /// Whether it was known well once, too long ago.
    is_old: bool,
    /// Requests that may have been counted, and may not.
    doubtful: u32,
    /// Refusals that confirmed the limit, and how many requests one costs.
    confirmed: u32,
    event_price: f32,
    /// The most that was accepted so far.
    envelope: SavedEnvelope,
    /// When it was closed by a refusal, if it was, and how often it was found closed since.
    closed_at_ms: Option<f64>,
    polls: u32,
    /// While the limit is searched, or has surprised: what is known so far.
    search: Option<SavedSearch>,
}

/// A search that is not at its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedSearch {
    evidence: SavedEvidence,
    between: Option<(f64, f64)>,
    opened_ms: Option<f64>,
    touched_ms: Option<f64>,
    /// What a bucket held when the evidence begins.
    #[serde(default)]
    start_level: Option<f64>,
    /// Refusals that a known limit did not foretell, and when the first of them came.
    #[serde(default)]
    surprises: u32,
    #[serde(default)]
    surprised_ms: Option<f64>,
    #[serde(default)]
    storms: u32,
}

/// Steps of the windows of a limit at rest, all together.
const FOLDED_STEPS: usize = 4;
/// In a day a limit may change by this share.
const DRIFT_A_DAY: f64 = 0.01;
/// After so many days it is measured anew.
const STALE_DAYS: f64 = 7.0;
/// The same in ms.
pub const STALE_MS: u64 = 7 * 24 * 3_600_000;
const DAY_MS: f64 = 86_400_000.0;

impl Memory {
    /// Whether the limit was known well.
    pub fn is_tight(&self) -> bool {
        self.is_tight
    }

    /// The pace alone.
    #[must_use]
    pub fn without_model(&self) -> Self {
        let Self { pace, peak, clock_ms, closed_at_ms, polls, .. } = *self;
        Self { pace, peak, clock_ms, closed_at_ms, polls, ..Self::default() }
    }
}

fn known_at(at_ms: f64) -> Option<f64> {
    Some(at_ms).filter(|at_ms| at_ms.is_finite())
}

impl Learner {
    /// What outlives the process. So many `doubtful` requests may have been counted by the limiter when it is read: those without an
    /// answer, and those that are not known to whoever reads it.
    #[expect(clippy::cast_possible_truncation, reason = "seven digits are enough")]
    #[must_use]
    pub fn memory(&self, doubtful: u32) -> Memory {
        let known = self.known.as_ref();
        Memory {
            model: known.map(|known| known.model),
            rate_lo: known.map_or(0.0, |known| known.rate_lo as f32),
            rate_hi: known.map_or(0.0, |known| known.rate_hi.min(1e6) as f32),
            is_tight: known.is_some_and(|known| known.is_tight),
            cost: known.map_or(0.0, |known| known.misfit as f32),
            base: self.base.filter(|base| known.is_none_or(|known| known.model != *base)),
            ledger: self.ledger.clone(),
            second: self.second.clone(),
            pace: self.pace,
            peak: self.peak as f32,
            clock_ms: Some(self.clock_ms).filter(|clock_ms| clock_ms.is_finite()),
            margin_extra: self.margin_extra as f32,
            wait_cost: self.wait_cost as f32,
            touches: self.touches,
            since_touch: self.since_touch as f32,
            burst: self.burst,
            said: self.said,
            is_old: self.is_old,
            doubtful,
            confirmed: self.confirmed,
            event_price: self.event_price as f32,
            envelope: self.envelope.saved(),
            closed_at_ms: self.is_closed.then_some(self.touched_ms),
            polls: self.polls,
            search: (!self.is_tight() || self.is_surprised()).then(|| SavedSearch {
                evidence: self.evidence.saved(),
                between: self.between,
                opened_ms: known_at(self.opened_ms),
                touched_ms: known_at(self.touched_ms),
                start_level: self.start_level,
                surprises: self.surprises,
                surprised_ms: known_at(self.surprised_ms),
                storms: self.storms,
            }),
        }
    }

    /// What is kept of it while nothing is sent, from `now_ms` on.
    #[must_use]
    pub fn folded(&self, now_ms: f64) -> Memory {
        let mut memory = self.memory(0);
        memory.search = None;
        let steps_max = if memory.second.is_some() { FOLDED_STEPS / 2 } else { FOLDED_STEPS };
        for ledger in memory.ledger.iter_mut().chain(&mut memory.second) {
            ledger.fold(now_ms, steps_max);
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
            rate_lo: memory.rate_lo.into(),
            rate_hi: memory.rate_hi.into(),
            is_tight: memory.is_tight,
            misfit: memory.cost.into(),
            rivals: vec![Scored { model, cost: memory.cost.into(), misfit: memory.cost.into() }],
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
        learner.is_resumed = true;
        learner.pace = memory.pace;
        learner.peak = memory.peak.into();
        learner.clock_ms = memory.clock_ms.unwrap_or(f64::NAN);
        learner.margin_extra = f64::from(memory.margin_extra) + days * DRIFT_A_DAY;
        learner.wait_cost = memory.wait_cost.into();
        learner.touches = memory.touches;
        learner.since_touch = memory.since_touch.into();
        learner.burst = memory.burst;
        learner.said = memory.said;
        learner.is_old = memory.is_old;
        learner.confirmed = memory.confirmed;
        learner.event_price = f64::from(memory.event_price).max(1.0);
        learner.envelope = Envelope::restored(&memory.envelope);
        let search = memory.search.as_ref().filter(|_| saved_ms <= now_ms && days < STALE_DAYS);
        match search {
            Some(search) => {
                learner.evidence = Evidence::restored(&search.evidence);
                learner.between = search.between;
                learner.opened_ms = search.opened_ms.unwrap_or(f64::NAN);
                learner.touched_ms = search.touched_ms.unwrap_or(f64::NAN);
                learner.surprises = search.surprises;
                learner.surprised_ms = search.surprised_ms.unwrap_or(f64::NAN);
                learner.storms = search.storms;
            }
            None => learner.evidence.begin_unknown(),
        }
        if let Some(at_ms) = memory.closed_at_ms.filter(|_| saved_ms <= now_ms) {
            (learner.is_closed, learner.touched_ms, learner.polls) = (true, at_ms, memory.polls);
            learner.before.clone_from(&learner.known);
        }
        for ledger in learner.ledgers().filter(|_| memory.doubtful > 0) {
            ledger.count(saved_ms.min(now_ms), f64::from(memory.doubtful), true);
        }
        learner.start_level = match search {
            Some(search) => search.start_level,
            None => learner.ledger.as_mut().map(|ledger| ledger.level(now_ms)),
        };
        if days >= STALE_DAYS {
            learner.doubt();
        }
        learner
    }
    /// What was learned is too old to be relied on: it is a guess from which the limit is measured anew.
    pub fn doubt(&mut self) {
        if let Some(known) = self.known.as_mut().filter(|known| known.is_tight) {
            known.is_tight = false;
            self.pace = 0.9 * known.rate_lo;
            self.is_probing = false;
            self.is_old = true;
            // What passed then says nothing about what passes now, and a limiter that was left alone for so long has forgotten us.
            let mut evidence = Evidence::default();
            evidence.number_on(&self.evidence);
            (self.evidence, self.envelope) = (evidence, Envelope::default());
            (self.touched_ms, self.opened_ms, self.since_touch) = (f64::NAN, f64::NAN, 0.0);
            (self.between, self.surprises, self.confirmed) = (None, 0, 0);
            (self.base, self.burst, self.start_level) = (None, None, None);
        }
    }

    /// One that knows only what a person `said`, if anything, and goes on in the place of this one, of whose requests
    /// `in_flight` have no answer yet.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "seven digits are enough")]
    pub fn anew(&self, said: Option<&Said>, in_flight: u32, now_ms: f64) -> Self {
        let mut learner = Self::new();
        if let Some(model) = said.map(Said::model) {
            let rate = model.rate_per_ms();
            let mut ledger = model.kind.ledger(model.kind.window_ms().unwrap_or(0.0) / GRAINS);
            ledger.set_rate(rate * (1.0 - learner.margin()), now_ms);
            let memory = Memory {
                model: Some(model),
                rate_lo: rate as f32,
                rate_hi: rate as f32,
                is_tight: true,
                base: Some(model),
                ledger: Some(ledger),
                peak: learner.peak.max(rate * WINDOW_HASTE) as f32,
                burst: matches!(model.kind, Kind::Bucket { .. }).then_some(model.threshold),
                said: Some(model),
                ..learner.memory(in_flight + 1)
            };
            learner = Self::restored(&memory, now_ms, now_ms);
            learner.pace = match model.kind {
                Kind::Bucket { .. } if model.threshold < STRICT => RATE_PER_MS_MAX,
                Kind::Bucket { rate_per_ms } => rate_per_ms * WINDOW_HASTE,
                kind => learner.window_pace(kind, model.threshold),
            };
        }
        learner.evidence.number_on(&self.evidence);
        learner.round_trip = self.round_trip.clone();
        learner.clock_ms = self.clock_ms;
        learner.with_share(self.share)
    }
}
