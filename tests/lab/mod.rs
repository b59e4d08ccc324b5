//! The laboratory of the throttle: clients against limiters in virtual time, with no network and no waiting.
//!
//! `scenario` is what a file of `tests/limits` says, `optimum` what a client that knows everything could get out of it, `world`
//! the network and the clock between a client and a limiter, `figures` what is read off a run, `touch` the product as a
//! client and `rivals` the others, `runs` runs them and `table` prints. Every run is fixed by its scenario, seed, latency and jitter.
//!
//! Used by `cargo bench --bench limits` and by the facts in `tests/it`.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "virtual times and counts are far below 2^53, and never negative where a sign is lost"
)]

pub mod figures;
pub mod optimum;
pub mod options;
pub mod rivals;
pub mod runs;
pub mod scenario;
pub mod table;
pub mod touch;
pub mod world;
