//! Learning about limit scopes: how fast, how many at once, and not before when.
//!
//! Enters: `now`, dice, and what came of each request ([`Feedback`]). Leaves: [`Admission`]s, and a [`Snapshot`] that
//! outlives the process. Deliberately absent: I/O, clocks, and any knowledge of jobs.
//!
//! Three gates in a row, the longest wait wins: [`gate`](Gate) holds the embargo and the circuit breaker, [`pace`](Pace) the
//! gap between two sends, [`window`](Window) the number in flight. [`Throttle`] asks them in this order and tells each of them
//! what came back. This is the first, simple learner: it rises while answers are good and falls on refusals.
//!
//! A host begins as one scope. [`Scopes`] are its scopes: it finds by itself where a limit is narrower than the host, and a request
//! then passes all that it is subject to.

mod gate;
mod hints;
mod narrow;
mod pace;
mod pairs;
mod scope;
mod scopes;
#[cfg(test)]
mod scopes_tests;
mod settings;
mod snapshot;
mod suspicion;
mod window;

pub use gate::Gate;
pub use hints::{Hints, QuotaSpent};
pub use pace::Pace;
pub use scope::{Admission, Feedback, Permit, Readiness, Throttle};
pub use scopes::{Blame, LaneOf, Permits, ScopeChange, ScopeId, ScopeMemory, Scopes};
pub use settings::Settings;
pub use snapshot::Snapshot;
pub use suspicion::Asked;
pub use window::Window;
