//! The states of a job and its legal moves.
//!
//! ```text
//!                      ┌──────────────────────── retry, by hand ───────────────────────┐
//!                      v                                                               │
//!   found ──────────> ready ──── answered ──────────────────────> done                 │
//!                      │ ^ ├──── 404, 410 of a link ────────────> gone ────────────────┤
//!      5xx, timeout,   │ │ ├──── attempts used up, 4xx ─────────> dead ────────────────┤
//!      broken answer   v │ └──── robots, max_pages, by hand ────> skipped ─────────────┘
//!                    waiting   (its time comes: no write, the refill just finds it)
//! ```
//!
//! A job in flight is still `ready` (or `waiting`) in the store, so a crash needs no repair. A refusal (429) moves nothing:
//! the host waits, not the job.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The states of a job. The numbers are stored; a landed one never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Owed, and free to go as soon as its host may send.
    Ready,
    /// Owed, but not before its `due_at`: a failed attempt is backing off.
    Waiting,
    /// Answered, and everything that the answer meant is stored.
    Done,
    /// Answered 404 or 410: a broken link, not a failure of ours.
    Gone,
    /// Given up, with the reason.
    Dead,
    /// Left out by a rule or by hand, with the reason.
    Skipped,
}

/// A move that the table of legal moves does not have: a programming error, never a condition of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job cannot move from {from} to {to}")]
pub struct IllegalMove {
    /// The state that it has.
    pub from: JobState,
    /// The state that was asked for.
    pub to: JobState,
}

impl JobState {
    /// All states, for tables and tests.
    pub const ALL: [Self; 6] = [Self::Ready, Self::Waiting, Self::Done, Self::Gone, Self::Dead, Self::Skipped];

    /// The number in the store.
    #[must_use]
    pub fn code(self) -> i64 {
        match self {
            Self::Ready => 0,
            Self::Waiting => 1,
            Self::Done => 2,
            Self::Gone => 3,
            Self::Dead => 4,
            Self::Skipped => 5,
        }
    }

    /// The state with this number; none for a number that this version does not know.
    #[must_use]
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// Whether the job is still owed.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Ready | Self::Waiting)
    }

    /// `to`, if a job in this state may move there.
    pub fn move_to(self, to: Self) -> Result<Self, IllegalMove> {
        let legal = match self {
            Self::Ready | Self::Waiting => to != Self::Ready,
            Self::Done | Self::Gone | Self::Dead | Self::Skipped => to == Self::Ready,
        };
        if legal { Ok(to) } else { Err(IllegalMove { from: self, to }) }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Gone => "gone",
            Self::Dead => "dead",
            Self::Skipped => "skipped",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_legal_moves() {
        let mut table = String::new();
        for from in JobState::ALL {
            let to: Vec<String> =
                JobState::ALL.into_iter().filter(|&to| from.move_to(to).is_ok()).map(|to| to.to_string()).collect();
            table.push_str(&format!("{from} -> {}\n", to.join(", ")));
        }
        insta::assert_snapshot!(table, @r"
        ready -> waiting, done, gone, dead, skipped
        waiting -> waiting, done, gone, dead, skipped
        done -> ready
        gone -> ready
        dead -> ready
        skipped -> ready
        ");
    }

    #[test]
    fn codes_round_trip() {
        for state in JobState::ALL {
            assert_eq!(JobState::from_code(state.code()), Some(state));
        }
        assert_eq!(JobState::from_code(99), None);
    }
}
