//! A quota as it is stored.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::throttle::hints::{QuotaUnit, RESET_MS_MAX};

use super::known::{Amount, Base, Known, View, WINDOW_SCORE, to_amount};
use super::sliding::Sliding;

/// A quota as it is stored: absolute instants, and what was learned of its shape. Fields at rest are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedQuota {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    key: u32,
    unit: QuotaUnit,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<Amount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    remaining: Option<Amount>,
    report_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reset_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "is_default")]
    span_ms: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    is_span_declared: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    drain: f32,
    #[serde(default, skip_serializing_if = "is_default")]
    rate_per_s: f32,
    #[serde(default, skip_serializing_if = "is_default")]
    rate_seen: u8,
    #[serde(default, skip_serializing_if = "is_default")]
    shape: i8,
    #[serde(default, skip_serializing_if = "is_default")]
    unbound: u8,
    #[serde(default, skip_serializing_if = "is_default")]
    is_early: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sliding: Option<Sliding>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Known {
    /// What outlives the process; the requests in flight count as charged.
    pub(super) fn save(&self, in_flight: u32) -> SavedQuota {
        let charged = to_amount(f64::from(in_flight) * self.cost());
        SavedQuota {
            name: self.name.to_string(),
            key: self.key,
            unit: self.unit,
            limit: self.limit,
            remaining: self.remaining.map(|remaining| remaining.saturating_sub(charged)),
            report_at: self.report_at,
            reset_at: self.reset_at(),
            span_ms: self.span_ms,
            is_span_declared: self.is_span_declared,
            drain: self.drain,
            rate_per_s: self.rate_per_s,
            rate_seen: self.rate_seen,
            shape: self.shape,
            unbound: self.unbound,
            is_early: self.is_early,
            sliding: self.sliding.as_deref().copied().map(Sliding::settled),
        }
    }

    /// What was saved, unless a clock that went wrong made nonsense of it.
    pub(super) fn restore(saved: &SavedQuota, now: Timestamp) -> Option<Self> {
        let is_old = now.since_ms(saved.report_at) > RESET_MS_MAX;
        // Where the clock that saved it was ahead of ours, it resets no later from now than it did from then.
        let longest_at = now.plus_ms(saved.reset_at.map_or(0, |at| at.since_ms(saved.report_at)));
        let reset_at = saved.reset_at.map(|at| if saved.report_at > now { at.min(longest_at) } else { at });
        let is_far = reset_at.is_some_and(|at| at.since_ms(now) > RESET_MS_MAX);
        if is_old || is_far {
            return None;
        }
        let usable = |number: f32| if number.is_finite() { number.max(0.0) } else { 0.0 };
        let view = View { now, sent: 0, in_flight: 0 };
        Some(Self {
            name: saved.name.as_str().into(),
            key: saved.key,
            unit: saved.unit,
            limit: saved.limit,
            remaining: saved.remaining,
            overlooked: Amount::MAX,
            report_at: saved.report_at.min(now),
            fresh_idx: 0,
            resets: reset_at.unwrap_or_default(),
            base: Base::now(saved.remaining, reset_at, view),
            span_ms: saved.span_ms,
            is_span_declared: saved.is_span_declared,
            drain: usable(saved.drain),
            rate_per_s: usable(saved.rate_per_s),
            rate_seen: saved.rate_seen,
            shape: saved.shape,
            unbound: saved.unbound,
            is_early: saved.is_early,
            has_begun: saved.shape >= WINDOW_SCORE,
            sliding: saved.sliding.map(Box::new),
            is_told: true,
        })
    }
}
