//! Learning about one limit scope: how fast, how many at once, and not before when.
//!
//! Enters: `now`, dice, and what came of each request. Leaves: admissions, and a [`Snapshot`] that outlives the process.
//! Deliberately absent: I/O, clocks, and any knowledge of jobs.

mod settings;
mod snapshot;

pub use settings::Settings;
pub use snapshot::Snapshot;
