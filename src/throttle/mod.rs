//! Learning about one limit scope: how fast, how many at once, and not before when.
//!
//! Enters: `now`, dice, and what came of each request ([`Feedback`]). Leaves: [`Admission`]s, and a [`Snapshot`] that
//! outlives the process. Deliberately absent: I/O, clocks, and any knowledge of jobs.
//!
//! Three gates in a row, the longest wait wins: [`gate`](Gate) holds the embargo and the circuit breaker, [`pace`](Pace) the
//! gap between two sends, [`window`](Window) the number in flight. [`Throttle`] asks them in this order and tells each of them
//! what came back. This is the first, simple learner: it rises while answers are good and falls on refusals.

mod declared;
mod gate;
mod hints;
mod pace;
pub mod profiles;
mod scope;
mod settings;
mod snapshot;
mod window;

pub use declared::{Declared, DeclaredSnapshot};
pub use gate::Gate;
pub use hints::{Hints, Problem, QUOTAS_MAX, Quota, QuotaSpent, QuotaUnit, RESET_MS_MAX, RETRY_MS_MAX, RetryAfter};
pub use pace::Pace;
pub use profiles::{Profile, ProfileChoice};
pub use scope::{Admission, Feedback, Permit, Throttle};
pub use settings::Settings;
pub use snapshot::Snapshot;
pub use window::Window;
