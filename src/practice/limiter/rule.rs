//! What every kind of limiter is asked: may this request go, what does it cost, and what may be told about it.

/// One request as it reaches a limiter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    /// When, in microseconds since the epoch on the clock of the server.
    pub at_us: i64,
    /// How long a free worker will take to answer it, in microseconds; 0 where nobody needs to know.
    pub service_us: u64,
    /// Which part of the host it asks for, counted from 0.
    pub route: usize,
    /// What thresholds are multiplied by; 1 but behind a [`Noisy`](super::Noisy) limiter.
    pub slack: f64,
}

impl Arrival {
    /// A request to the first route at `at_us`, with nothing special about it.
    #[must_use]
    pub fn at_us(at_us: i64) -> Self {
        Self { at_us, service_us: 0, route: 0, slack: 1.0 }
    }
}

/// What a limiter makes of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Decision {
    /// Whether it is answered; refused otherwise.
    pub allowed: bool,
    /// How long it is held back before a worker takes it, in microseconds; 0 for most limiters.
    pub delay_us: u64,
    /// What may be told about it.
    pub quota: Quota,
}

/// What a limiter knows about itself after a decision; how much of it a server tells, and how, is its
/// [`Dialect`](super::Dialect).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// What it calls its limit: requests in a window, or the burst of a bucket.
    pub limit: u64,
    /// How many more would pass now.
    pub remaining: u64,
    /// Length of the window in microseconds; for buckets the time in which an empty one is full. 0 when there is none.
    pub window_us: u64,
    /// Until the window ends or the bucket is full, in microseconds.
    pub reset_us: u64,
    /// Until the next request would pass, in microseconds; 0 when one would pass now.
    pub retry_us: u64,
}

/// A change of a limit while it is in force. What is not named stays.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Retune {
    /// The new sustained rate of a bucket, in requests a second.
    pub per_s: Option<f64>,
    /// The new size of a bucket.
    pub burst: Option<f64>,
    /// The new number of requests of a window, or at once.
    pub limit: Option<u32>,
}

/// One kind of limiter. A decision is [`Rule::admits`], then [`Rule::charge`], then [`Rule::quota`]: several limits of one
/// host are all asked before any of them is charged.
pub(super) trait Rule {
    /// Whether a request that arrives now would pass. Brings the state up to the instant, and charges nothing.
    fn admits(&mut self, arrival: &Arrival) -> bool;
    /// Books the request; `allowed` is what the host decided, which another of its limits may have refused. Returns for how
    /// long it is held back, in microseconds.
    fn charge(&mut self, arrival: &Arrival, allowed: bool) -> u64;
    /// What may be told, after the booking.
    fn quota(&self, arrival: &Arrival) -> Quota;
    /// A request that was allowed has been answered. Only what counts requests at work cares.
    fn release(&mut self) {}
    /// The limit changes now. A kind that has no such number ignores it.
    fn retune(&mut self, _change: &Retune) {}
    /// How often it shut its client out for a while.
    fn bans(&self) -> u64 {
        0
    }
}

/// Microseconds in a second.
pub(super) const SECOND_US: f64 = 1_000_000.0;
/// A share of a request that sums of fractions may be off by.
pub(super) const DUST: f64 = 1e-6;

/// Microseconds between two instants; 0 when `later` is not later.
#[expect(clippy::cast_precision_loss, reason = "spans are far below 2^53 microseconds")]
pub(super) fn span_us(earlier_us: i64, later_us: i64) -> f64 {
    (later_us - earlier_us).max(0) as f64
}

/// A span in whole microseconds, rounded up.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "spans are far below 2^53 microseconds")]
pub(super) fn whole_us(us: f64) -> u64 {
    us.max(0.0).ceil() as u64
}

/// A count, rounded down; negative ones are none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are far below 2^53")]
pub(super) fn whole(count: f64) -> u64 {
    (count + DUST).max(0.0) as u64
}

/// What is left of a limit of `limit` requests, times `slack`, when `used` have gone.
pub(super) fn left(limit: u32, slack: f64, used: f64) -> u64 {
    whole(f64::from(limit) * slack - used)
}
