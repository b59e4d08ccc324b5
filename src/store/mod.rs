//! The only room that knows SQL.
//!
//! Enters: [`Batch`]es of [`Settlement`]s, each of which is committed whole or not at all. Leaves: jobs to send, hosts with
//! what was learned about them, and an [`Ack`] that says which effects are now on disk. Every verb of [`Store`] is one batch
//! and at most one transaction. Deliberately absent: decisions. The store does what a settlement says and checks that the
//! job was in a state that it may leave.

#[cfg(test)]
mod conformance;
mod error;
mod hex;
mod reader;
mod settlement;
mod sqlite;
mod verbs;

pub use error::StoreError;
pub use reader::{
    AttemptRow, Failure, GivenUpRow, HostReport, LastRun, ProgressReport, Reader, ResponseSummary, ScopeReport,
    SourceReport, Table, WhyReport,
};
pub use settlement::{
    AttemptRecord, Batch, Hold, HoldStep, HostLearned, JobMove, NewResponse, NextPage, PageChange, PullStep,
    RecrawlStep, RobotsRecord, RobotsStep, Settlement, StoredBody, WalkNews,
};
pub use sqlite::{Options, SqliteStore, post, post_orders, post_retries, view_names};
pub use verbs::{
    Ack, GivenUp, HostAck, HostOrder, HostRow, InboxRow, Loaded, OpenRun, PullState, Rank, RecrawlAck, Refill,
    RefillRequest, Reopened, Routes, SlicesAck, SourceKind, SourceName, SourceRow, Store,
};
