//! What a person says about a limit by hand.
//!
//! Enters: an order from the command line. Leaves: the model that a learner starts from. Deliberately absent: how it gets to the
//! crawl that runs (`store` has the inbox).

use super::family::Kind;
use super::fit::Model;

/// What is to be done with what was learned about a host's limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// Drop it: the limit is found anew.
    Forget,
    /// Start from this instead; evidence overrules it.
    Set(Said),
}

/// A limit as a person knows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Said {
    /// Requests a second in the long run; above 0.
    pub rate_per_s: f64,
    /// How they may lie in time.
    pub shape: Shape,
}

/// How the requests of a limit may lie in time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Evenly, but for so many at once; at least 1.
    Burst(f64),
    /// Anyhow within any window of so many ms; above 0.
    WindowMs(f64),
}

impl Said {
    /// The limit as the learner has it. A window is taken for a sliding one: what it allows, windows of the server's clock allow
    /// as well.
    pub(super) fn model(&self) -> Model {
        let rate_per_ms = self.rate_per_s / 1_000.0;
        let (kind, threshold) = match self.shape {
            Shape::Burst(burst) => (Kind::Bucket { rate_per_ms }, burst.max(1.0)),
            Shape::WindowMs(window_ms) => (Kind::Log { window_ms, all: false }, (rate_per_ms * window_ms).max(1.0)),
        };
        Model { kind, threshold, ban_ms: 0.0, second: None }
    }
}
