//! Where the others meet: what is sent when, and what of an answer is stored.
//!
//! Enters: a [`Plan`], a store, a way to fetch, a clock, seeds. Leaves: an [`Ending`]; everything else is in the store.
//! Deliberately absent: SQL, HTTP, and any progress display, since progress is plain SQL.
//!
//! ```text
//!   seeds ──> committer ──> store ──> refill ──> DISPATCHER ──> worker: fetch, read, judge ──┐
//!                 ^                                 │  ^                                     │
//!                 └───────────── settlement ────────┘  └──────────────── report ─────────────┘
//! ```
//!
//! [`Dispatcher`] decides and does no I/O; [`run()`] is the shell that carries out its actions; the committer is the one
//! writer; workers return values.

mod aliased;
mod asking;
mod children;
mod committer;
mod dispatcher;
mod host;
mod lane;
mod plan;
mod pulls;
mod reading;
mod ready;
mod recrawls;
mod refusal;
mod report;
mod resting;
mod run;
mod streams;
mod teaching;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trouble_tests;
mod worker;

pub use asking::credential_mark;
pub use dispatcher::{Action, Dispatcher, Event, weight_bytes};
pub use plan::{
    BatchRule, Bounds, ChildRule, FieldOf, Plan, Save, SitePlan, SiteScope, Source, StreamPlan, TokenPool, Values,
};
pub use pulls::{PullOrder, PullWishes, Schedule};
pub use report::{IdFate, Reading, Report, RobotsReading};
pub use run::{Ending, EngineError, Seed, Stop, run};
pub use streams::first_slices;
pub use worker::{conditions, digest, try_out};
