//! trundle, a persistent job-queue crawler: the tour of the house, in dependency order.
//!
//! A room may use the rooms above it in this list, never those below; `tests/it/architecture.rs` keeps it so.

// Floor 0: time.
pub mod clock;
// Floor 1: the noun.
pub mod job;
// Floor 2: what goes out and what comes back.
pub mod exchange;
// Floor 3: pure decisions and readings; they do not know each other.
pub mod interpret;
pub mod policy;
pub mod stream;
pub mod throttle;
// Floor 4: the two rooms that touch the world.
pub mod fetch;
pub mod store;
// Floor 5: where the others meet, and what they are told.
pub mod config;
pub mod engine;
// Floor 6: a web to rehearse against.
pub mod practice;
// Floor 7: the edge.
pub mod cli;
