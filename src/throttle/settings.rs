//! The user's ceilings, which no learning exceeds.

use serde::{Deserialize, Serialize};

/// What a user may say about the pace of one host. Ceilings: learning stays below all of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Requests in flight that a host starts with, 1..=`concurrency_max`. Default 4: a first touch of its limit costs no more
    /// refusals than are in flight, and fewer leave a distant host idle.
    pub concurrency: u32,
    /// Requests in flight that it never exceeds, 1..=10,000. Default 8: browsers open 6 connections to a host over HTTP/1.1.
    pub concurrency_max: u32,
    /// The least gap between two requests in ms, measured from send to send. Default 0.
    pub delay_ms: u64,
    /// Requests a second that it never exceeds; none leaves it to the host's own limit. Default 10/s: a pace that no server
    /// takes for an attack; lift it for hosts that you know.
    pub rate_max_per_s: Option<f64>,
    /// How much of a host's limit is used, 0.05..=1, once it is known. Default 1: just under it, as close as it was measured.
    /// Below 1 a limit is not tried again either, so that one that has risen is noticed when it is measured anew after a week.
    pub courtesy: f64,
    /// How long a host that answered before may be unreachable until its jobs are given up, in ms. Default one day.
    pub down_max_ms: u64,
    /// The same for a host that never answered, which is more likely a wrong address, in ms. Default two minutes.
    pub down_max_unknown_ms: u64,
    /// The longest wait that a host may ask for with Retry-After or a reset time, in ms; a longer one is cut to this.
    /// Default seven days.
    pub retry_after_max_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            concurrency: 4,
            concurrency_max: 8,
            delay_ms: 0,
            rate_max_per_s: Some(10.0),
            courtesy: 1.0,
            down_max_ms: 24 * 3_600_000,
            down_max_unknown_ms: 120_000,
            retry_after_max_ms: 7 * 24 * 3_600_000,
        }
    }
}
