//! Learning about limit scopes: how fast, how many at once, and not before when.
//!
//! Enters: `now`, dice, and what came of each request ([`Feedback`]). Leaves: [`Admission`]s, and a [`Snapshot`] that
//! outlives the process. Deliberately absent: I/O, clocks, and any knowledge of jobs.
//!
//! Gates in a row, the longest wait wins: [`gate`](Gate) holds the embargo and the circuit breaker, [`ceiling`](Ceiling) what
//! the user and robots.txt allow, [`declared`](Declared) what the server says, `learner` what the limiter behind the scope is
//! believed to allow, `courtesy` how much of that is for us, [`window`](Window) the number in flight. [`Throttle`] asks them and
//! tells each of them what came back. Beside them `doubt` decides whether a bare 403 and its kin are refusals.
//!
//! The learner replays its `evidence` through every `family` of limiter; `fit` finds the one that explains it. A new kind of
//! limiter is a new file in `family`. [`Declared`] counts the quotas that the server declares, so that a limit
//! which is told need not be met.
//!
//! A host begins as one scope. [`Scopes`] are its scopes: it finds by itself where a limit is narrower than the host, and a
//! request then passes all that it is subject to. Where a host is asked by several tokens or proxies, each of them has [`Scopes`] of
//! its own beside those of the host; [`Limits`] are all of them.

mod belief;
mod ceiling;
mod courtesy;
mod declared;
mod doubt;
mod envelope;
mod evidence;
mod family;
mod fit;
mod gate;
mod hints;
mod learner;
mod limits;
mod narrow;
mod order;
mod pairs;
mod pool;
pub mod profiles;
mod queue;
mod resting;
mod round_trip;
mod scope;
#[cfg(test)]
mod scope_tests;
mod scopes;
#[cfg(test)]
mod scopes_tests;
mod settings;
mod sharing;
mod snapshot;
mod suspicion;
#[cfg(test)]
mod test_server;
mod window;

pub use belief::{Belief, News};
pub use ceiling::Ceiling;
pub use declared::{Declared, DeclaredSnapshot};
pub use doubt::{Doubt, Suspicion, by_hints};
pub use gate::Gate;
pub use hints::{Hints, Problem, QUOTAS_MAX, Quota, QuotaSpent, QuotaUnit, RESET_MS_MAX, RETRY_MS_MAX, RetryAfter};
pub use limits::{Bearing, Embargo, Grant, Limits, Told};
pub use order::{Order, Said, Shape};
pub use pool::{PoolKind, PoolOf};
pub use profiles::{Profile, ProfileChoice};
pub use resting::Resting;
pub use scope::{Admission, Feedback, Permit, Readiness, Throttle};
pub use scopes::{Blame, LaneOf, Permits, ScopeChange, ScopeId, ScopeMemory, Scopes};
pub use settings::Settings;
pub use snapshot::Snapshot;
pub use suspicion::Asked;
pub use window::Window;
