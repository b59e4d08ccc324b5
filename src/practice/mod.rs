//! A practice web on loopback: sites and APIs behind real kinds of limiters, to rehearse against and to measure with.
//!
//! Enters: [`Settings`] and a clock. Leaves: a running [`Practice`], the [`Truth`] about what a perfect crawl of it finds, and
//! a log of every request. The same seed gives the same web. All answers are made at the start, so that the server costs
//! little beside the crawler that it shares a machine with. Deliberately absent: TLS, and anything that knows our crawler.

mod answer;
mod api;
mod archive;
mod bench;
mod library;
pub mod limiter;
mod link;
mod log;
mod page;
mod serve;
mod settings;
#[cfg(test)]
mod tests;
mod truth;

pub use limiter::{ConcurrencyCap, FixedWindow, Limiter, TokenBucket, Verdict};
pub use serve::{Practice, PracticeError, PracticeHost, start};
pub use settings::{Content, HostSpec, Settings};
pub use truth::Truth;
