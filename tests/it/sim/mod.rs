//! A whole crawl in virtual time: the real dispatcher, the real reading of answers and the real SQLite store, with a
//! simulated web and a simulated committer around them.
//!
//! Enters: a [`Scenario`], usually a file of `tests/scenarios`, and a seed. Leaves: a [`Crawl`] with what came of it, after
//! every step of it was watched. Deliberately absent: tasks, sockets and the system's clock; the same seed gives the same run.

mod crawl;
mod disk;
mod plan;
mod scenario;
mod watch;
mod web;

pub use crawl::{Crawl, Death};
pub use scenario::{Band, HostSpec, Scenario};
