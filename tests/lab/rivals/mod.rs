//! What others do, to measure against: one file for each, all of them as their sources or papers describe them.

mod aimd;
mod autothrottle;
mod cubic;
mod oracle;
mod workers;

pub use aimd::Aimd;
pub use autothrottle::AutoThrottle;
pub use cubic::Cubic;
pub use oracle::Oracle;
pub use workers::Workers;

use trundle::clock::Timestamp;

use super::world::Answer;

/// The names by which they are asked for, in the order of their columns.
pub const NAMES: [&str; 5] = ["oracle", "workers", "cubic", "aimd", "autothrottle"];

/// Instants with fractions of a millisecond, for gaps that are no whole ones.
fn ms(at: Timestamp) -> f64 {
    at.0 as f64
}

/// The first whole millisecond that is not before `ms`.
fn at(ms: f64) -> Timestamp {
    Timestamp(ms.ceil() as i64)
}

/// Retry-After in seconds, as most clients read it: whole seconds and nothing else.
fn retry_after_ms(answer: &Answer) -> Option<u64> {
    answer.headers.get("retry-after").and_then(|value| value.parse::<u64>().ok()).map(|seconds| seconds * 1_000)
}

/// Exponential backoff with full jitter: anything up to `base_ms` doubled `attempt` times, and up to `max_ms`.
fn full_jitter_ms(base_ms: u64, max_ms: u64, attempt: u32, dice: &mut fastrand::Rng) -> u64 {
    dice.u64(0..=(base_ms << attempt.min(20)).min(max_ms))
}
