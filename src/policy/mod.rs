//! Rules about one job: may this address be fetched, under which name, and what follows from its answer?
//!
//! Enters: addresses, robots.txt texts, outcomes, `now` and dice. Leaves: canonical addresses and `#[must_use]` verdicts.
//! Deliberately absent: I/O, memory of other jobs, and the pace of a host (`throttle` has that).

mod address;
pub mod cache;
mod canonical;
mod percent;
mod redirect;
mod retry;
mod robots;
mod robots_answer;
mod scope;

pub use address::is_public;
pub use canonical::{UrlRejected, UrlRules, canonicalize};
pub use redirect::{Redirect, follow};
pub use retry::{RetrySettings, Verdict, charge, judge};
pub use robots::{Robots, RobotsVerdict, agent_token};
pub use robots_answer::{
    ROBOTS_REDIRECTS_MAX, RobotsAnswer, RobotsDecision, robots_from_answer, robots_lifetime_ms, robots_validators,
};
pub use scope::{ScopeKind, ScopeRules, ScopeVerdict};
