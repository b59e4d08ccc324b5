//! What is remembered over a restart.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

use super::learner::Memory;
use super::{DeclaredSnapshot, Doubt};

/// A throttle's memory. Unknown fields of a newer version are ignored, missing ones take their default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// The pace that was learned, within the user's ceiling, in requests a second; 0 when nothing was: before the first answer.
    pub rate_per_s: f64,
    /// How many at once were found to be fine; 0 when nothing was.
    pub concurrency: f64,
    /// The cap on concurrency that was found; 0 when none was.
    pub cap: f64,
    /// Refusals since the last good answer: the exponent of the backoff.
    pub backoff_step: u32,
    /// Nothing is sent before this instant.
    pub not_before_at: Timestamp,
    /// Why, in words.
    pub not_before_why: String,
    /// When the last refusal came.
    pub refused_at: Timestamp,
    /// The limit that was found, in requests a second; 0 while it is not known well.
    pub limit_per_s: f64,
    /// Failures to reach the host in a row.
    pub unreachable: u32,
    /// How often the breaker opened in a row.
    pub breaker_step: u32,
    /// Since when the host has not been reached; [`Timestamp::EPOCH`] when it was.
    pub down_since_at: Timestamp,
    /// Whether the host ever answered.
    pub answered: bool,
    /// The limit that was learned.
    pub learned: Option<Box<Memory>>,
    /// The quotas that the server declared last.
    #[serde(skip_serializing_if = "DeclaredSnapshot::is_empty")]
    pub declared: DeclaredSnapshot,
    /// What bare 403s and their kin were seen to be.
    #[serde(skip_serializing_if = "Doubt::is_idle")]
    pub doubt: Doubt,
    /// When the host last gave an answer that says something about its limit; [`Timestamp::EPOCH`] when it never did.
    pub seen_at: Timestamp,
    /// When this was written.
    pub saved_at: Timestamp,
    /// The mark of the token that it is about, by which it is known again at another place of its pool; 0 when it is about none.
    #[serde(skip_serializing_if = "is_none")]
    pub mark: u16,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_none(mark: &u16) -> bool {
    *mark == 0
}

impl Snapshot {
    /// Whether the limit was known well.
    pub(super) fn is_settled(&self) -> bool {
        self.cap > 0.0 || self.learned.as_ref().is_some_and(|memory| memory.is_tight())
    }

    /// The same without a limit that is only a guess: without the evidence that it came from it would stand for long.
    pub(super) fn without_guess(&self) -> Self {
        let mut snapshot = self.clone();
        if !self.is_settled() {
            snapshot.learned = self.learned.as_ref().map(|memory| Box::new(memory.without_model()));
        }
        snapshot
    }

    /// What was learned of the limit here, with the embargo and the breaker of `other`.
    pub(super) fn closed_as(&self, other: &Self) -> Self {
        Self {
            rate_per_s: self.rate_per_s,
            concurrency: self.concurrency,
            cap: self.cap,
            limit_per_s: self.limit_per_s,
            learned: self.learned.clone(),
            saved_at: self.saved_at,
            seen_at: self.seen_at,
            ..other.clone()
        }
    }
}
