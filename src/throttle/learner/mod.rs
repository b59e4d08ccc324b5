//! What limits this scope, and how fast to go because of it.
//!
//! Enters: sends, fates, `now`. Leaves: the earliest instant of the next send, and when to ask again after a refusal.
//! Deliberately absent: announced waits and outages (`gate`), how many at once (`window`), the user's ceilings (`ceiling`).
//!
//! Three ways of going. *Unknown*: no refusal yet; the pace doubles, and what is in flight stays small, so that the first
//! touch of a limit costs few refusals. *Searching*: a limit was touched and several candidates explain it; the pace rises slowly
//! through the rates that are plausible, since a limit that is crossed slowly is measured well. *Known*: a ledger of the
//! model admits up to just below its threshold; now and then it goes one step beyond, to see whether the limit has risen.

mod admit;
mod memory;
mod plan;
mod refit;
#[cfg(test)]
mod tests;
mod words;

pub use memory::{Memory, STALE_MS};

use super::envelope::Envelope;
use super::evidence::{Evidence, Fate};
use super::family::{Feature, Kind, Ledger};
use super::fit::{Model, Scored};
use super::round_trip::{RoundTrip, Speed};
use admit::HASTY_SHARE;
use refit::SURPRISE_ACCEPTED;

/// First pace at an unknown host, in requests a ms.
const START_PER_MS: f64 = 0.005;
/// An unknown host's pace doubles in a second, or grows by this share for each accepted request if that is faster.
const START_GROWTH: f64 = 0.08;
/// And by no more than this.
const START_GROWTH_MAX: f64 = 0.7;
/// What a pace gains in a ms when it doubles in a second: ln 2 / 1,000.
const DOUBLING_PER_MS: f64 = 0.000_69;
/// Above this no pace is kept, in requests a ms.
const RATE_PER_MS_MAX: f64 = 100.0;
/// How late a timer may be, in ms; so much of the schedule is caught up with.
const LATE_MS: f64 = 5.0;
/// Gaps from here on are kept exactly, in ms: a late timer costs them little.
const CATCH_UP_GAP_MS_MAX: f64 = 20.0;
/// Growth of the pace for each accepted request while a bucket's rate is searched.
const SEARCH_GROWTH: (f64, f64) = (0.001_5, 0.08);
/// How much faster than its rate a window is spent.
const WINDOW_HASTE: f64 = 4.0;
/// Accepted requests between two steps beyond the limit. One refusal in so many is 0.33 %.
const PROBE_ACCEPTED: f64 = 300.0;
/// The share of an extra margin that is given back by the next step beyond the limit.
const MARGIN_DECAY: f64 = 0.27;
/// How much the last refusals count in what a step is expected to cost; with a long way to the server several are in flight.
const EVENT_PRICE_SHARE: f64 = 0.3;
/// A search goes no faster than so many times what passed between the last two refusals.
const BETWEEN_SHARE: f64 = 1.15;
/// For so many accepted requests at most.
const BETWEEN_ACCEPTED_MAX: f64 = 150.0;
/// Refusals after which a limit should have been found.
const TOUCHES_LOST: u32 = 4;
/// How much faster than the rate that is known a step beyond it goes.
const PROBE_HASTE: f64 = 1.06;
/// The share of the throughput that probing may cost.
const PROBE_COST: f64 = 0.004;
/// A refusal is quick that takes less than this share of the quickest answer, and is so many ms sooner.
const QUICK_SHARE: f64 = 0.93;
const QUICK_MS: f64 = 5.0;

/// What is known of the limit.
#[derive(Clone, Debug)]
pub struct Known {
    /// The model that explains the evidence best.
    pub model: Model,
    /// The plausible rates, in requests a ms.
    pub rate_lo: f64,
    /// The highest of them.
    pub rate_hi: f64,
    /// Whether they are known to a few per cent.
    pub is_tight: bool,
    /// How much is unexplained.
    pub misfit: f64,
    /// Other plausible models.
    pub rivals: Vec<Scored>,
}

/// The learner of one scope.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own; no two of them make a state")]
#[derive(Clone, Debug)]
pub struct Learner {
    evidence: Evidence,
    envelope: Envelope,
    round_trip: RoundTrip,
    speed: Speed,
    clock_ms: f64,
    known: Option<Known>,
    /// What was known when the scope was closed.
    before: Option<Known>,
    /// What the model would hold against the next request, and a second limit beside it.
    ledger: Option<Ledger>,
    second: Option<Ledger>,
    /// Requests a ms.
    pace: f64,
    next_ms: f64,
    /// Whether the last request went when the pace let it, and did not wait for something else.
    is_bound: bool,
    /// The fastest pace that was accepted, in requests a ms.
    peak: f64,
    since_touch: f64,
    since_fit: f64,
    touches: u32,
    polls: u32,
    touched_ms: f64,
    sent_ms: f64,
    opened_ms: f64,
    /// What was accepted between the last two refusals, in requests a ms: with the wait in between, and without.
    between: Option<(f64, f64)>,
    is_closed: bool,
    is_probing: bool,
    /// Since when it goes beyond the limit, if it does.
    probing_ms: f64,
    margin_extra: f64,
    surprises: u32,
    surprised_ms: f64,
    /// Refusals of everything for a while that were not held against the limit, with little that passed between them.
    storms: u32,
    wait_cost: f64,
    /// What a bucket held at the first shot of the evidence, if that is known.
    start_level: Option<f64>,
    /// The last single limit that was known well: beside it there may be another.
    base: Option<Model>,
    /// Whether what is known was measured too long ago, and no refusal has come since.
    is_old: bool,
    /// How much of the limit is used; below 1 it starts slower, and does not step beyond a limit that is known.
    share: f64,
    /// The limit that a person said; whatever was measured since is another one.
    said: Option<Model>,
    /// The burst of the last bucket that was known.
    burst: Option<f64>,
    /// Refusals of the present event, and what an event costs of late.
    event_refused: f64,
    event_price: f64,
    /// Refusals that confirmed the kind of the limit, and the kind that it was before it changed.
    confirmed: u32,
    former: Option<Kind>,
    /// Whether it knows its limit from before a restart, and no refusal has come since.
    is_resumed: bool,
    /// When the first request of the present window was sent, until it is accepted.
    window_from_ms: f64,
}

impl Learner {
    /// Knows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            evidence: Evidence::default(),
            envelope: Envelope::default(),
            confirmed: 0,
            event_refused: 0.0,
            event_price: 1.0,
            former: None,
            is_resumed: false,
            window_from_ms: f64::INFINITY,
            round_trip: RoundTrip::default(),
            speed: Speed::default(),
            clock_ms: f64::NAN,
            known: None,
            before: None,
            ledger: None,
            second: None,
            pace: START_PER_MS,
            next_ms: f64::NEG_INFINITY,
            is_bound: true,
            peak: START_PER_MS,
            since_touch: 0.0,
            since_fit: 0.0,
            touches: 0,
            polls: 0,
            touched_ms: f64::NAN,
            sent_ms: f64::NAN,
            opened_ms: f64::NAN,
            between: None,
            is_closed: false,
            is_probing: false,
            probing_ms: f64::NAN,
            margin_extra: 0.0,
            surprises: 0,
            surprised_ms: f64::NAN,
            storms: 0,
            wait_cost: 0.0,
            burst: None,
            said: None,
            is_old: false,
            share: 1.0,
            start_level: None,
            base: None,
        }
    }

    /// The same with only a `share` of the limit to be used.
    #[must_use]
    pub fn with_share(mut self, share: f64) -> Self {
        if self.touches == 0 && self.known.is_none() && self.since_touch < 1.0 {
            self.pace *= share;
        }
        self.share = share;
        self
    }

    /// The limits that are known well, with what was counted towards each.
    pub fn limits(&self) -> impl Iterator<Item = (Kind, f64, &Ledger)> {
        let model = self.known.as_ref().filter(|known| known.is_tight).map(|known| known.model);
        let first = model.zip(self.ledger.as_ref()).map(|(model, ledger)| (model.kind, model.threshold, ledger));
        let second = model.and_then(|model| model.second).zip(self.second.as_ref());
        first.into_iter().chain(second.map(|((kind, threshold), ledger)| (kind, threshold, ledger)))
    }

    /// The number of the first request that this learner sends next.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.evidence.next_number()
    }

    /// Whether it has an idea of the limit.
    #[must_use]
    pub fn has_model(&self) -> bool {
        self.known.is_some()
    }

    /// The name of the kind of limit that is known.
    #[must_use]
    pub fn kind_name(&self) -> Option<&'static str> {
        self.known.as_ref().filter(|known| known.is_tight).map(|known| known.model.kind.name())
    }

    /// The limit in requests a second; 0 while it is not known well.
    #[must_use]
    pub fn limit_per_s(&self) -> f64 {
        self.known.as_ref().filter(|known| known.is_tight).map_or(0.0, |known| known.model.rate_per_ms() * 1_000.0)
    }

    /// The pace in requests a second.
    #[must_use]
    pub fn rate_per_s(&self) -> f64 {
        let rate = match &self.known {
            Some(known) if known.is_tight => known.model.rate_per_ms() * (1.0 - self.margin()).min(self.share),
            Some(known) => self.pace.min(known.rate_hi),
            None => self.pace,
        };
        rate * 1_000.0
    }

    /// A request is sent; its number. `is_canary` when it goes to see whether a closed scope is open.
    pub fn on_sent(&mut self, now_ms: f64, is_canary: bool) -> u64 {
        for ledger in self.ledgers() {
            ledger.count(now_ms, 1.0, true);
        }
        self.speed.add(now_ms);
        self.sent_ms = now_ms;
        if self.pace < RATE_PER_MS_MAX {
            let gap_ms = 1.0 / self.pace.max(self.haste(now_ms));
            self.is_bound = now_ms <= self.next_ms.max(0.0) + LATE_MS + gap_ms / 2.0;
            let catch_up_ms = if gap_ms < CATCH_UP_GAP_MS_MAX { LATE_MS } else { 0.0 };
            self.next_ms = self.next_ms.max(now_ms - catch_up_ms) + gap_ms;
        }
        self.evidence.send(now_ms, is_canary)
    }

    /// A request turns out to be this scope's that was sent at `sent_ms` under another; its number. What this scope has sent since
    /// was not known to follow it, so it counts as the latest.
    pub fn on_adopted(&mut self, sent_ms: f64) -> u64 {
        let at_ms = sent_ms.max(self.sent_ms);
        for ledger in self.ledgers() {
            ledger.count(at_ms, 1.0, true);
        }
        self.sent_ms = at_ms;
        self.evidence.send(at_ms, false)
    }

    /// Takes over from `other`, in whose place it stands from now on, what is no matter of limits: the way to the server, and the
    /// numbers of the requests in flight.
    pub fn go_on_from(&mut self, other: &Self) {
        self.round_trip = other.round_trip.clone();
        self.evidence.go_on_from(&other.evidence);
    }

    /// The server's clock was `offset_ms` ahead of ours when its answer had come. Too low by what was cut off and by the way
    /// back, so the greatest of several counts.
    pub fn on_clock(&mut self, offset_ms: f64) {
        let offset_ms = offset_ms + self.round_trip.least_ms() / 2.0;
        if self.clock_ms.is_nan() || offset_ms > self.clock_ms || offset_ms < self.clock_ms - 5_000.0 {
            self.clock_ms = offset_ms;
        }
    }

    /// It was counted as accepted, and says nothing of whether more would be.
    pub fn on_counted(&mut self, number: u64) {
        self.evidence.settle(number, Fate::Accepted, false);
    }

    /// It tells nothing.
    pub fn on_lost(&mut self, number: u64) {
        self.evidence.settle(number, Fate::Lost, false);
    }

    /// A request that was sent at `sent_ms` was accepted.
    pub fn on_accepted(&mut self, number: u64, sent_ms: f64, now_ms: f64, is_canary: bool) {
        self.round_trip.add(now_ms - sent_ms);
        self.evidence.settle(number, Fate::Accepted, false);
        self.envelope.add(sent_ms);
        self.since_touch += 1.0;
        self.since_fit += 1.0;
        if sent_ms >= self.window_from_ms {
            self.window_from_ms = f64::NEG_INFINITY;
        }
        if is_canary && self.is_closed {
            self.evidence.open(sent_ms);
            self.reopen(sent_ms, now_ms);
        } else if !self.is_closed {
            self.grow(now_ms);
        }
    }

    fn ledgers(&mut self) -> impl Iterator<Item = &mut Ledger> {
        self.ledger.iter_mut().chain(&mut self.second)
    }

    /// A request was refused: the ledgers had counted it as accepted.
    fn settle_refused(&mut self, number: u64, sent_ms: f64, is_echo: bool) {
        self.event_refused += 1.0;
        self.evidence.settle(number, Fate::Refused, is_echo);
        for ledger in self.ledgers() {
            ledger.refund(sent_ms);
        }
    }

    /// The share by which an unknown pace grows with an accepted request.
    fn start_growth(&self) -> f64 {
        (DOUBLING_PER_MS / self.pace).clamp(START_GROWTH, START_GROWTH_MAX) * self.share
    }

    fn grow(&mut self, now_ms: f64) {
        let speed = self.speed.per_ms();
        self.peak = self.peak.max(speed);
        // A pace that is not used proves nothing about a faster one.
        let pace_max = if self.is_bound { RATE_PER_MS_MAX } else { RATE_PER_MS_MAX.min((speed * 1.5).max(self.pace)) };
        match &self.known {
            None => {
                self.pace = (self.pace * (1.0 + self.start_growth())).min(pace_max);
            }
            Some(known) if !known.is_tight => {
                match known.model.kind {
                    Kind::Bucket { .. } => {
                        let growth =
                            ((known.rate_hi / known.rate_lo).ln() / 40.0).clamp(SEARCH_GROWTH.0, SEARCH_GROWTH.1);
                        // What passed between two refusals is about what drips in; far above it lies only the next refusal.
                        // A long spell without a refusal proves that wrong.
                        let between = self.between.filter(|_| self.since_touch <= BETWEEN_ACCEPTED_MAX);
                        let sane = between.map_or(f64::INFINITY, |(_, fast)| fast * BETWEEN_SHARE);
                        self.pace = (self.pace * (1.0 + growth)).min(pace_max).min(sane.max(self.pace));
                    }
                    kind => {
                        let threshold = known.model.threshold;
                        let level = self.ledger.as_mut().map_or(0.0, |ledger| ledger.level(now_ms));
                        // The first end of a window that the server told is worth haste; one that was wrong once is not.
                        let is_first = self.touches == 1 && self.is_told();
                        let is_early = is_first && kind.is_fixed() && level < HASTY_SHARE * threshold;
                        let most = if is_early { self.peak * 0.9 } else { self.window_pace(kind, threshold) };
                        self.pace = (self.pace * (1.0 + self.start_growth())).min(most);
                        // One request too many tells shorter windows from this one.
                        if !self.is_probing && self.since_touch >= threshold.max(20.0) {
                            (self.is_probing, self.probing_ms) = (true, now_ms);
                        }
                        if self.is_probing && level > threshold + beyond(threshold) - 2.0 {
                            // No limit of this size: it was never sure.
                            self.on_risen(now_ms);
                            return;
                        }
                    }
                }
                // What a window lets pass says little about it until it is more than the window should.
                let is_window = known.model.kind.window_ms().is_some();
                let (share, least) = if is_window { (0.5, 30.0) } else { (1.0 / 6.0, 12.0) };
                if self.since_fit >= (self.since_touch * share).max(least) {
                    self.refit(now_ms);
                }
            }
            Some(known) => {
                let model = known.model;
                let probe_after = (PROBE_ACCEPTED * self.event_price).max(self.wait_cost / PROBE_COST);
                self.margin_extra *= 1.0 - MARGIN_DECAY / probe_after;
                if self.is_probing {
                    let level = self.ledger.as_mut().map_or(0.0, |ledger| ledger.level(now_ms));
                    // What falls while answers are under way must not hide it.
                    if level > model.threshold + 0.8 * beyond(model.threshold) {
                        self.on_risen(now_ms);
                        return;
                    }
                    if level > model.threshold * 1.05 + 1.0 && self.since_fit >= 12.0 {
                        // More passes than it should: perhaps the measurement was only a little off.
                        self.refine(now_ms);
                    }
                    // It may wait for another gate meanwhile, however long.
                    self.pace = (self.pace * 1.004).min(RATE_PER_MS_MAX);
                } else if self.since_touch >= probe_after
                    && self.share >= 1.0
                    && (!self.is_resumed || is_used_up(&model, self.ledger.as_mut(), now_ms))
                {
                    (self.is_probing, self.probing_ms) = (true, now_ms);
                    if let (Some(ledger), Kind::Bucket { .. }) = (&mut self.ledger, model.kind) {
                        // It drained more slowly than the bucket while it kept the margin, and the bucket may be nearly empty by now;
                        // beyond the limit only the truth counts.
                        let kept_ms = now_ms - self.touched_ms.max(self.opened_ms);
                        let least = if kept_ms > 0.0 { self.since_touch - known.rate_hi * kept_ms } else { f64::MAX };
                        ledger.set_rate(known.rate_hi, now_ms);
                        let level = ledger.level(now_ms).min(model.threshold).min(least);
                        ledger.fill(level.max(0.0), now_ms);
                    }
                    self.pace = match model.kind {
                        _ if model.second.is_some() => self.pace,
                        Kind::Bucket { rate_per_ms } => rate_per_ms * PROBE_HASTE,
                        kind => self.window_pace(kind, model.threshold),
                    };
                }
            }
        }
    }

    /// A refusal that opened an event; when to ask again unless the server said it.
    pub fn on_touched(&mut self, number: u64, sent_ms: f64, now_ms: f64, told_ms: Option<f64>) -> f64 {
        if self.is_tight() && self.event_refused > 0.0 {
            self.event_price += (self.event_refused - self.event_price) * EVENT_PRICE_SHARE;
        }
        self.event_refused = 0.0;
        self.is_resumed = false;
        self.settle_refused(number, sent_ms, false);
        if (self.is_tight() || self.surprises > 0) && !self.is_probing {
            self.surprise();
        }
        if self.since_touch >= SURPRISE_ACCEPTED {
            self.storms = 0;
        }
        self.is_probing = false;
        self.is_old = false;
        self.before.clone_from(&self.known);
        if self.since_touch >= 10.0 && self.opened_ms.is_finite() {
            let per_ms = |from_ms: f64| self.since_touch / (sent_ms - from_ms).max(1.0);
            self.between = Some((per_ms(self.touched_ms), per_ms(self.opened_ms)));
        }
        self.evidence.close(sent_ms, told_ms);
        self.touches += 1;
        self.polls = 0;
        self.touched_ms = sent_ms;
        self.is_closed = true;
        // A known limit is not given up for one refusal that it does not explain: how the wait ends says more.
        if !self.is_foreign(sent_ms) {
            self.refit(now_ms);
        }
        self.since_touch = 0.0;
        self.plan(now_ms)
    }

    /// A refusal of a request that was in flight when the event began.
    pub fn on_echo(&mut self, number: u64, sent_ms: f64) {
        self.settle_refused(number, sent_ms, true);
    }

    /// The canary was refused too; when to ask again unless the server said it.
    pub fn on_still_closed(&mut self, number: u64, sent_ms: f64, now_ms: f64, told_ms: Option<f64>) -> f64 {
        self.settle_refused(number, sent_ms, false);
        self.evidence.still_closed(sent_ms, told_ms);
        self.polls += 1;
        self.plan(now_ms)
    }

    /// Whether a limit was touched that is not known yet.
    #[must_use]
    pub fn is_searching(&self) -> bool {
        self.is_closed || self.is_surprised() || self.known.as_ref().is_some_and(|known| !known.is_tight)
    }

    /// Whether what came of late may show that the limit that is known is wrong.
    fn is_surprised(&self) -> bool {
        self.surprises > 0 || self.storms > 0
    }

    /// Whether several refusals have been followed by none that the model foretold.
    #[must_use]
    pub fn is_at_a_loss(&self) -> bool {
        self.touches >= TOUCHES_LOST && self.confirmed < 2
    }

    /// Whether a refusal came back sooner than any answer of late: answers take work.
    #[must_use]
    pub fn is_quick(&self, took_ms: f64) -> bool {
        let least_ms = self.round_trip.least_ms();
        took_ms <= least_ms * QUICK_SHARE && least_ms - took_ms >= QUICK_MS
    }

    /// Requests that are in flight on average at the rate that is known; 0 while none is.
    #[must_use]
    pub fn in_flight_needed(&self) -> f64 {
        self.known
            .as_ref()
            .filter(|known| known.is_tight)
            .map_or(0.0, |known| known.rate_lo * self.round_trip.least_ms())
    }

    /// Whether the server said when the spell ends that was closed last.
    fn is_told(&self) -> bool {
        self.evidence.closures().back().is_some_and(|closure| closure.told_ms.is_finite())
    }

    /// Whether it knows its limit.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.is_tight)
    }
}

/// Whether hardly anything is left of a bucket: what it holds is to be spent before a step beyond it goes slowly.
fn is_used_up(model: &Model, ledger: Option<&mut Ledger>, now_ms: f64) -> bool {
    match (model.kind, ledger) {
        (Kind::Bucket { .. }, Some(ledger)) => ledger.level(now_ms) >= model.threshold * 0.9 - 4.0,
        _ => true,
    }
}

/// How far beyond a threshold a step goes before the limit counts as risen: more than any measurement was off.
fn beyond(threshold: f64) -> f64 {
    threshold * 0.25 + 6.0
}
