//! One quota as it is known: what was declared last, and what our sends since have made of it.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::throttle::hints::{Quota, QuotaUnit};

use super::GUARD_MS;
use super::sliding::{Report, Sliding};

/// Two resets closer than this are one: whole seconds, and the way of the answer. In ms.
const SAME_RESET_MS: u64 = 1_500;
/// So much longer waits a quota whose resets turned out to be early: servers that cut fractions of a second off. In ms.
const EARLY_MS: u64 = 1_000;
/// Shorter windows are not told from buckets that are full so soon, in ms.
const SLIDING_MS_MIN: u32 = 4_000;
/// Of fewer than so many, what is left unused for safety is more than is won.
const SLIDING_LIMIT_MIN: Amount = 20;
/// Windows up to this are spread evenly; a longer one is used as fast as the server bears, in ms. Even spreading of 1,000 an
/// hour over a run of two hours leaves a third of it unused.
const SPREAD_MS_MAX: u32 = 120_000;
/// Where nothing tells when a spent quota returns, one request goes after this, or after its window if that is longer, in ms.
const UNKNOWN_RESET_MS: u64 = 1_000;
/// The longest such wait, in ms.
const UNKNOWN_RESET_MS_MAX: u64 = 60_000;
/// While only an answer can tell, ask again after this, in ms.
const ASK_AGAIN_MS: u64 = 1_000;
/// A reset that stays for so long is a fixed window's, in ms.
const HELD_MS: u64 = 3_000;
/// The scores of the shape at which it is believed, and beyond which it does not go.
pub(super) const WINDOW_SCORE: i8 = 1;
const BUCKET_SCORE: i8 = -4;
const SCORE_MAX: i8 = 4;
/// Answers in a row whose rates agree before a bucket's rate is believed.
const RATE_SEEN_MIN: u8 = 3;
/// Below this a time to full is too coarse to divide by, in ms: most are in whole seconds.
const TIME_TO_FULL_MS_MIN: u64 = 4_000;
/// The same for a time that is told in milliseconds.
const FINE_TIME_TO_FULL_MS_MIN: u64 = 500;
/// Two resets that are told in milliseconds are one when they are closer than this: answers are under way for different times.
/// In ms.
const SAME_FINE_RESET_MS: u64 = 250;
/// Below this what a bucket lacks is too little to divide, since a unit may be partly there.
const LACKING_MIN: Amount = 10;
/// The share of a bucket's rate that is counted on between two reports: what is lacking is exact to one in ten.
const RATE_SURE: f64 = 0.9;
/// Rates that differ by no more than this share agree.
const RATE_AGREES: f32 = 0.25;
/// Refusals in a row with something left after which a quota is not the one that refuses.
const UNBOUND_MIN: u8 = 2;
/// How far a pace may go above the limit over its window while it is not known whether that is a fixed one: what is left by
/// the time left can infer 1,000/s where the policy is 10/s (draft-11, section on clients).
const HASTE_MAX: f64 = 4.0;
/// The shortest time over which the use by others is measured, in ms.
const OTHERS_MS_MIN: u64 = 2_000;
/// What others use in so long is left to them between two reports, in ms.
const OTHERS_AHEAD_MS: u64 = 1_000;

/// An amount of a quota; more than four milliards count as that many.
pub(super) type Amount = u32;

/// The scope's side of it at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) now: Timestamp,
    /// The index of the next send.
    pub(super) sent: u64,
    pub(super) in_flight: u32,
}

/// A quota as it is known.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own; no two of them make a state")]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) name: Box<str>,
    pub(super) key: u32,
    pub(super) unit: QuotaUnit,
    /// How much there is, as far as we follow a raise.
    pub(super) limit: Option<Amount>,
    /// What was left at the report that counts.
    pub(super) remaining: Option<Amount>,
    /// The least that was left by answers since that were taken to be older; [`Amount::MAX`] when there was none.
    pub(super) overlooked: Amount,
    /// When that report came.
    pub(super) report_at: Timestamp,
    /// Requests from this index on were sent after it had come; modulo 2^32.
    pub(super) fresh_idx: u32,
    /// [`Timestamp::EPOCH`] when it is not known; see [`Known::reset_at`].
    pub(super) resets: Timestamp,
    pub(super) base: Base,
    /// How long its window is, in ms: as declared, or the longest time to a reset that was seen; 0 when neither is known.
    pub(super) span_ms: u32,
    pub(super) is_span_declared: bool,
    /// For requests: what others use of it, a second. Else: what one of our requests costs.
    pub(super) drain: f32,
    /// What a bucket of this shape would refill, a second, and how many answers in a row agreed on it.
    pub(super) rate_per_s: f32,
    pub(super) rate_seen: u8,
    /// Above 0: its reset stays until it comes, as a window's does. Below 0: it moves on with each request, as a bucket's.
    pub(super) shape: i8,
    /// Refusals in a row with something left.
    pub(super) unbound: u8,
    /// Whether its resets were seen to be up to a second early.
    pub(super) is_early: bool,
    /// Whether a window was seen to begin.
    pub(super) has_begun: bool,
    /// How its window moves; none before it was seen to.
    pub(super) sliding: Option<Box<Sliding>>,
    /// Whether people were told of it.
    pub(super) is_told: bool,
}

/// The first report of a window, against which its shape and its use are measured.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Base {
    at: Timestamp,
    /// Where the reset was.
    reset_at: Timestamp,
    remaining: Amount,
    /// Requests of ours that had come back by then, modulo 2^32.
    settled: u32,
}

/// How a report stands to what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// It is older: of a window that has ended.
    Stale,
    /// It overlapped with the last one.
    Overlapping,
    /// It is later, of the same window.
    Later,
    /// It is of a new window.
    NewWindow,
}

/// What tells a quota from the others of its server, over restarts too: FNV-1a of its name, unit, partition and field.
pub(super) fn key_of(quota: &Quota) -> u32 {
    let partition = quota.partition.as_deref().unwrap_or_default();
    let unit = [quota.unit as u8];
    let parts: [&[u8]; 4] = [quota.name.as_bytes(), &unit, partition.as_bytes(), quota.header.as_bytes()];
    let mut hash = 0x811c_9dc5_u32;
    for part in parts {
        for &byte in part.iter().chain(&[0]) {
            hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
    }
    hash
}

impl Base {
    pub(super) fn now(remaining: Option<Amount>, reset_at: Option<Timestamp>, view: View) -> Self {
        let remaining = remaining.unwrap_or_default();
        Self { at: view.now, reset_at: reset_at.unwrap_or_default(), remaining, settled: view.settled() }
    }
}

impl View {
    /// Requests that have come back, modulo 2^32.
    fn settled(self) -> u32 {
        short(self.sent).wrapping_sub(self.in_flight)
    }

    /// Requests that may have been charged since `base`: those that were in flight then, and all since.
    fn charged_since(self, base: Base) -> u32 {
        self.settled().wrapping_sub(base.settled).saturating_add(self.in_flight)
    }
}

impl Known {
    pub(super) fn new(key: u32, quota: &Quota, reset_at: Option<Timestamp>, view: View) -> Self {
        let remaining = quota.remaining.map(amount);
        let mut new = Self {
            name: quota.name.clone(),
            key,
            unit: quota.unit,
            limit: quota.limit.map(amount),
            remaining,
            overlooked: Amount::MAX,
            report_at: view.now,
            fresh_idx: short(view.sent),
            resets: reset_at.unwrap_or_default(),
            base: Base::now(remaining, reset_at, view),
            span_ms: 0,
            is_span_declared: false,
            drain: 0.0,
            rate_per_s: 0.0,
            rate_seen: 0,
            shape: 0,
            unbound: 0,
            is_early: false,
            has_begun: false,
            sliding: None,
            is_told: false,
        };
        new.learn_span(quota, reset_at, view.now);
        new
    }

    /// Takes in a report that came with the answer to the request `sent_idx`.
    pub(super) fn update(&mut self, sent_idx: u64, quota: &Quota, reset_at: Option<Timestamp>, view: View) {
        let is_later = is_since(sent_idx, self.fresh_idx);
        let order = self.order(is_later, reset_at, view.now);
        if order == Order::Stale {
            return;
        }
        let comes_soon = reset_at.is_some_and(|at| at.since_ms(view.now) <= SAME_RESET_MS);
        // We came back when it said, and were told to wait for another moment.
        self.is_early |= is_later && self.is_over(view.now) && quota.remaining == Some(0) && comes_soon;
        self.has_begun |= order == Order::NewWindow;
        let excess = self.follow_limit(quota.limit, order);
        let left = quota.remaining.map(|remaining| amount(remaining).saturating_sub(excess));
        if let (true, Some(limit), Some(left), Some(left_before)) = (is_later, self.limit, left, self.remaining)
            && self.unit == QuotaUnit::Requests
            // To the millisecond nothing is lost, and it may be a bucket's.
            && !quota.is_reset_fine
            && self.shape >= 0
            && self.span_ms >= SLIDING_MS_MIN
            && limit >= SLIDING_LIMIT_MIN
        {
            let charged = short(view.sent).wrapping_sub(self.fresh_idx);
            let is_new_window = order == Order::NewWindow;
            let quiet_ms = view.now.since_ms(self.report_at);
            let report =
                Report { idx: sent_idx, at: view.now, limit, left, left_before, charged, quiet_ms, is_new_window };
            self.learn_sliding(report);
        }
        self.learn_span(quota, reset_at, view.now);
        self.learn_rate(left, reset_at, quota.is_reset_fine, view.now);
        if order == Order::NewWindow || self.reset_at().is_none() {
            self.base = Base::now(left, reset_at, view);
        } else {
            self.learn_shape(left, reset_at, quota.is_reset_fine, view);
            self.learn_drain(left, view);
        }
        // A server that says that nothing is left, and no longer when it returns.
        if is_later && reset_at.is_none() && self.is_over(view.now) {
            self.resets = Timestamp::EPOCH;
        }
        self.take_reset(reset_at, quota.is_reset_absolute, order);
        if let Some(left) = left {
            self.take_remaining(left, order, is_later, view);
        }
    }

    /// Takes in what was left. An answer that overlapped with the report that counts and says more is taken to be the older
    /// one, which it need not be when a window has just begun; so an answer that is surely later than the report must not say
    /// more than those did that came in between.
    fn take_remaining(&mut self, left: Amount, order: Order, is_later: bool, view: View) {
        if order == Order::Overlapping && self.remaining.is_some() && f64::from(left) >= self.left(view.now) {
            self.overlooked = self.overlooked.min(left);
            return;
        }
        let most = if is_later { self.overlooked } else { Amount::MAX };
        if order != Order::Overlapping {
            self.overlooked = Amount::MAX;
        }
        self.remaining = Some(left.min(most));
        self.report_at = view.now;
        self.fresh_idx = short(view.sent);
    }

    fn order(&self, is_later: bool, reset_at: Option<Timestamp>, now: Timestamp) -> Order {
        let unclear = if is_later { Order::Later } else { Order::Overlapping };
        let (Some(known_at), Some(said_at)) = (self.reset_at(), reset_at) else { return unclear };
        let has_come = is_later && now >= known_at && said_at > known_at;
        if has_come || (said_at.since_ms(known_at) > SAME_RESET_MS && now.plus_ms(SAME_RESET_MS) >= known_at) {
            Order::NewWindow
        } else if known_at.since_ms(said_at) > SAME_RESET_MS && !is_later {
            Order::Stale
        } else {
            unclear
        }
    }

    /// Follows a limit that went down at once, and one that went up by no more than its double in one window: a lie costs
    /// little then. Returns by how much more the server says than we follow.
    fn follow_limit(&mut self, said: Option<u64>, order: Order) -> Amount {
        let Some(said) = said.map(amount) else { return 0 };
        let followed = match self.limit {
            Some(known) if said > known && order == Order::NewWindow => said.min(known.saturating_mul(2)),
            Some(known) if said > known && self.reset_at().is_some() => known,
            _ => said,
        };
        self.limit = Some(followed);
        said - followed
    }

    fn learn_span(&mut self, quota: &Quota, reset_at: Option<Timestamp>, now: Timestamp) {
        if let Some(window_ms) = quota.window_ms {
            (self.span_ms, self.is_span_declared) = (amount(window_ms), true);
        } else if let Some(at) = reset_at
            && !self.is_span_declared
        {
            self.span_ms = self.span_ms.max(amount(at.since_ms(now)));
        }
    }

    /// Whether the reset stays where it was, or moves on before it has come.
    fn learn_shape(&mut self, left: Option<Amount>, reset_at: Option<Timestamp>, is_fine: bool, view: View) {
        let Some(said_at) = reset_at else { return };
        let View { now, .. } = view;
        let same_ms = if is_fine { SAME_FINE_RESET_MS } else { SAME_RESET_MS };
        let moved_ms = said_at.since_ms(self.base.reset_at);
        let has_come = now.plus_ms(same_ms) >= self.base.reset_at;
        if moved_ms > same_ms {
            // One that moves on when it has come may be a new window's.
            let step = match () {
                () if has_come => 0,
                () if !is_fine => -2,
                // In so little time the ways of two answers may differ by as much: a bucket's moves by what was charged.
                () if self.is_moved_by_charges(left, said_at.since_ms(now), moved_ms, view) => -1,
                () => 1,
            };
            self.shape = (self.shape + step).clamp(-SCORE_MAX, SCORE_MAX);
            self.base = Base::now(left, reset_at, view);
        } else if !has_come && now.since_ms(self.base.at) >= HELD_MS {
            self.shape = (self.shape + 1).min(SCORE_MAX);
        }
    }

    /// Whether the reset is further away by the time that a bucket takes to refill what was charged since.
    fn is_moved_by_charges(&self, left: Option<Amount>, to_full_ms: u64, moved_ms: u64, view: View) -> bool {
        let (Some(limit), Some(left)) = (self.limit, left) else { return false };
        let lacking = limit.saturating_sub(left);
        if lacking < LACKING_MIN {
            return false;
        }
        let charged = f64::from(view.charged_since(self.base).saturating_sub(view.in_flight));
        let expected_ms = charged * to_f64(to_full_ms) / f64::from(lacking);
        (to_f64(moved_ms) / expected_ms - 1.0).abs() <= f64::from(RATE_AGREES)
    }

    /// The rate of a bucket that is full again at its reset.
    fn learn_rate(&mut self, left: Option<Amount>, reset_at: Option<Timestamp>, is_fine: bool, now: Timestamp) {
        let (Some(limit), Some(left), Some(reset_at)) = (self.limit, left, reset_at) else { return };
        let to_full_ms = reset_at.since_ms(now);
        let lacking = limit.saturating_sub(left);
        let least_ms = if is_fine { FINE_TIME_TO_FULL_MS_MIN } else { TIME_TO_FULL_MS_MIN };
        if lacking < LACKING_MIN || to_full_ms < least_ms {
            return;
        }
        let rate_per_s = to_f32(lacking) * 1_000.0 / to_f32(amount(to_full_ms));
        let agrees = (rate_per_s / self.rate_per_s - 1.0).abs() <= RATE_AGREES;
        self.rate_seen = if self.rate_seen > 0 && agrees { self.rate_seen.saturating_add(1) } else { 1 };
        self.rate_per_s = rate_per_s;
    }

    /// What others use of it, or what one of our requests costs.
    fn learn_drain(&mut self, left: Option<Amount>, view: View) {
        let Some(left) = left else { return };
        let used = self.base.remaining.saturating_sub(left);
        let charged = view.charged_since(self.base);
        let since_ms = view.now.since_ms(self.base.at);
        if self.unit == QuotaUnit::Requests {
            if since_ms >= OTHERS_MS_MIN {
                self.drain = to_f32(used.saturating_sub(charged)) * 1_000.0 / to_f32(amount(since_ms));
            }
        } else if charged > view.in_flight && used > 0 {
            self.drain = to_f32(used) / to_f32(charged - view.in_flight);
        }
    }

    fn take_reset(&mut self, reset_at: Option<Timestamp>, is_absolute: bool, order: Order) {
        let Some(said_at) = reset_at else { return };
        self.resets = match (self.reset_at(), order) {
            (Some(known_at), Order::Overlapping) => known_at.max(said_at),
            // An instant is judged ever better; of waits in whole seconds for one moment the longest is safe.
            (Some(known_at), Order::Later) if !is_absolute && known_at.since_ms(said_at) <= SAME_RESET_MS => {
                known_at.max(said_at)
            }
            _ => said_at,
        };
    }

    pub(super) fn on_refusal(&mut self, now: Timestamp) {
        let Some(remaining) = self.remaining.filter(|_| !self.is_over(now)) else { return };
        self.unbound = if remaining > 0 { self.unbound.saturating_add(1) } else { 0 };
    }

    pub(super) fn on_lost(&mut self) {
        let cost = to_amount(self.cost());
        self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(cost));
    }

    /// See [`super::Declared::next_at`].
    pub(super) fn next_at(&self, view: View) -> Timestamp {
        let even = self.sliding.as_deref().filter(|sliding| sliding.is_spread());
        self.spent_until(view).max(even.map_or(Timestamp::EPOCH, Sliding::next_at))
    }

    fn spent_until(&self, view: View) -> Timestamp {
        let View { now, in_flight, .. } = view;
        let Some(remaining) = self.remaining.filter(|_| self.unit != QuotaUnit::Concurrent) else {
            return Timestamp::EPOCH;
        };
        let ask_again_at = now.plus_ms(ASK_AGAIN_MS);
        if self.is_over(now) {
            // The window that has begun has not been reported yet.
            // One that moves lets go of a few at a time.
            let is_fixed = self.has_begun && self.sliding.as_deref().is_none_or(Sliding::is_fixed);
            let fresh = if is_fixed { self.limit.unwrap_or(1) } else { 1 };
            let is_open = in_flight < fresh.max(1);
            return if is_open { Timestamp::EPOCH } else { ask_again_at };
        }
        let needed = (f64::from(in_flight) + 1.0) * self.cost() + self.others(OTHERS_AHEAD_MS);
        let is_first = self.unit == QuotaUnit::Requests && in_flight == 0 && remaining > 0;
        if self.left(now) >= needed || is_first {
            return Timestamp::EPOCH;
        }
        let reset_at = self.reset_at().map(|at| at.plus_ms(self.guard_ms()));
        if let Some(rate_per_s) = self.bucket_rate() {
            let lacking = needed - f64::from(remaining);
            let refilled_at = self.report_at.plus_ms(to_ms(lacking / (rate_per_s * RATE_SURE) * 1_000.0));
            return reset_at.map_or(refilled_at, |at| at.min(refilled_at)).max(now.plus_ms(1));
        }
        // What is left is in flight: an answer will tell.
        let is_all_out = f64::from(remaining) >= self.cost() && in_flight > 0;
        match reset_at {
            Some(at) if is_all_out => at.min(ask_again_at),
            Some(at) => at,
            None => {
                let wait_ms = u64::from(self.span_ms).clamp(UNKNOWN_RESET_MS, UNKNOWN_RESET_MS_MAX);
                let probe_at = self.report_at.plus_ms(wait_ms);
                if in_flight > 0 { probe_at.max(ask_again_at) } else { probe_at }
            }
        }
    }

    fn learn_sliding(&mut self, report: Report) {
        match &mut self.sliding {
            Some(sliding) => sliding.learn(report),
            None if self.is_span_declared => {}
            None => self.sliding = Sliding::seen(report).map(Box::new),
        }
    }

    /// A request is sent: where what is sent comes back one by one, the next is due a while later.
    pub(super) fn on_sent(&mut self, now: Timestamp) {
        let (Some(limit), true) = (self.limit, self.is_binding()) else { return };
        let declared_ms = Some(self.span_ms).filter(|_| self.is_span_declared);
        if let Some(sliding) = &mut self.sliding {
            let window_ms = declared_ms.or(sliding.window_ms()).unwrap_or(self.span_ms);
            sliding.on_sent(limit, if window_ms <= SPREAD_MS_MAX { window_ms } else { 0 }, now);
        }
    }

    /// See [`super::Declared::rate`].
    pub(super) fn rate(&self, view: View) -> Option<f64> {
        if self.unit == QuotaUnit::Concurrent || !self.is_binding() {
            return None;
        }
        let is_spread = (1..=SPREAD_MS_MAX).contains(&self.span_ms);
        let even = self
            .limit
            // A limit of none is no pace: the reset says when to come back.
            .filter(|&limit| is_spread && limit > 0)
            .map(|limit| f64::from(limit) / self.cost() * 1_000.0 / f64::from(self.span_ms));
        let (Some(_), false) = (self.remaining, self.is_over(view.now)) else {
            return even.filter(|_| self.is_span_declared || self.remaining.is_some());
        };
        if let Some(rate_per_s) = self.bucket_rate() {
            return Some(rate_per_s / self.cost());
        }
        let Some(reset_at) = self.reset_at() else { return even.filter(|_| self.is_span_declared) };
        if !is_spread {
            return None;
        }
        let left_ms = reset_at.since_ms(view.now).saturating_sub(GUARD_MS).max(GUARD_MS);
        let ours = self.left(view.now) - f64::from(view.in_flight) * self.cost() - self.others(left_ms);
        let pace = (ours / self.cost()).max(1.0) * 1_000.0 / to_f64(left_ms);
        let is_window = self.shape >= WINDOW_SCORE;
        Some(even.filter(|_| !is_window).map_or(pace, |even| pace.min(even * HASTE_MAX)))
    }

    /// See [`super::Declared::at_once`].
    pub(super) fn at_once(&self) -> Option<u32> {
        let at_once = self.limit.or(self.remaining)?;
        (self.unit == QuotaUnit::Concurrent).then_some(at_once.max(1))
    }

    /// Whether it may be what refuses.
    pub(super) fn is_binding(&self) -> bool {
        self.unit != QuotaUnit::Concurrent && self.unbound < UNBOUND_MIN
    }

    /// Greater for a quota that matters less.
    pub(super) fn looseness(&self, view: View) -> f64 {
        match (self.unit, self.remaining) {
            (QuotaUnit::Concurrent, _) => 0.0,
            (_, None) => 2.0,
            _ if self.is_over(view.now) => 1.0,
            // Where the limit is not known, a hundred is much.
            (_, Some(remaining)) => {
                let remaining = f64::from(remaining);
                remaining / self.limit.map_or(remaining + 100.0, f64::from).max(remaining).max(1.0)
            }
        }
    }

    /// Whether its window has ended, and no report of the next has come.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.reset_at().is_some_and(|at| now >= at.plus_ms(self.guard_ms()))
    }

    /// The rate of the bucket that it is, if it is one, in its own units a second.
    pub(super) fn bucket_rate(&self) -> Option<f64> {
        let is_bucket = self.shape <= BUCKET_SCORE && self.rate_seen >= RATE_SEEN_MIN && self.rate_per_s > 0.0;
        is_bucket.then_some(f64::from(self.rate_per_s))
    }

    /// When some or all of it returns, if that is known.
    pub(super) fn reset_at(&self) -> Option<Timestamp> {
        (self.resets > Timestamp::EPOCH).then_some(self.resets)
    }

    /// What one of our requests costs, at least 1.
    pub(super) fn cost(&self) -> f64 {
        if self.unit == QuotaUnit::Requests { 1.0 } else { f64::from(self.drain).max(1.0) }
    }

    /// What others use of it in `ms`.
    fn others(&self, ms: u64) -> f64 {
        if self.unit == QuotaUnit::Requests { f64::from(self.drain) * to_f64(ms) / 1_000.0 } else { 0.0 }
    }

    /// What is left by now: what was reported, and what a bucket has refilled since.
    pub(super) fn left(&self, now: Timestamp) -> f64 {
        let reported = f64::from(self.remaining.unwrap_or_default());
        let refilled =
            self.bucket_rate().map_or(0.0, |rate| rate * RATE_SURE * to_f64(now.since_ms(self.report_at)) / 1_000.0);
        (reported + refilled).min(f64::from(self.limit.unwrap_or(Amount::MAX)).max(reported))
    }

    fn guard_ms(&self) -> u64 {
        GUARD_MS + if self.is_early { EARLY_MS } else { 0 }
    }
}

/// An index modulo 2^32.
#[expect(clippy::cast_possible_truncation, reason = "it is compared modulo 2^32")]
pub(super) fn short(idx: u64) -> u32 {
    idx as u32
}

/// Whether `idx` is that of `mark` or a later one, which is less than two milliards away.
pub(super) fn is_since(idx: u64, mark: u32) -> bool {
    short(idx).wrapping_sub(mark) <= u32::MAX / 2
}

fn amount(number: u64) -> Amount {
    Amount::try_from(number).unwrap_or(Amount::MAX)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range first")]
pub(super) fn to_amount(number: f64) -> Amount {
    number.ceil().clamp(0.0, f64::from(Amount::MAX)) as Amount
}

#[expect(clippy::cast_precision_loss, reason = "rates need no more than six digits")]
fn to_f32(number: u32) -> f32 {
    number as f32
}

#[expect(clippy::cast_precision_loss, reason = "waits are far below 2^53 ms")]
fn to_f64(ms: u64) -> f64 {
    ms as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range first")]
fn to_ms(ms: f64) -> u64 {
    ms.ceil().clamp(0.0, 1e15) as u64
}
