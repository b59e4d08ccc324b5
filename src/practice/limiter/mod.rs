//! Kinds of limiters, as servers really have them. Pure: they are told the time.
//!
//! A new kind is one file here, which answers the four questions of `Rule`, and one arm in [`Limiter`]. What a
//! server tells about its limiter is a matter of its own, [`Dialect`].

mod all;
mod ban;
mod concurrency_cap;
mod dialect;
mod fixed_window;
mod gcra;
mod leaky_bucket;
mod noisy;
mod routes;
mod rule;
mod schedule;
mod shared;
mod sliding_counter;
mod sliding_log;
mod staircase;
#[cfg(test)]
mod tests;
mod token_bucket;
mod worker_pool;

pub use all::All;
pub use ban::{Ban, Hammering};
pub use concurrency_cap::ConcurrencyCap;
pub use dialect::{Dialect, Fields, Lie, QuotaFields, RetryAfter, Told};
pub use fixed_window::{Anchor, FixedWindow};
pub use gcra::Gcra;
pub use leaky_bucket::LeakyBucket;
pub use noisy::Noisy;
pub use routes::Routes;
pub use rule::{Arrival, Decision, Quota, Retune};
pub use schedule::Schedule;
pub use shared::Shared;
pub use sliding_counter::SlidingCounter;
pub use sliding_log::SlidingLog;
pub use staircase::Staircase;
pub use token_bucket::TokenBucket;
pub use worker_pool::WorkerPool;

use crate::clock::Timestamp;
use rule::Rule;

/// What a limiter says about one request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Answer it, with these headers on top.
    Allow {
        /// What the limiter tells about itself.
        headers: Fields,
    },
    /// Answer 429.
    Refuse {
        /// What `Retry-After` says, in whole seconds; none sends no such header.
        retry_after_secs: Option<u64>,
        /// What the limiter tells about itself.
        headers: Fields,
    },
}

/// A limiter of one host.
#[derive(Clone, Debug)]
pub enum Limiter {
    /// Allows everything.
    None,
    /// A steady rate with a burst; in the practice web it says when to come back.
    TokenBucket(TokenBucket),
    /// The same as a theoretical arrival time.
    Gcra(Gcra),
    /// nginx's `limit_req`.
    LeakyBucket(LeakyBucket),
    /// A bucket that is filled in steps.
    Staircase(Staircase),
    /// So many requests in each span of time; in the practice web it tells how many are left and when the span ends.
    FixedWindow(FixedWindow),
    /// So many requests in any span of that length.
    SlidingLog(SlidingLog),
    /// The same with two counters.
    SlidingCounter(SlidingCounter),
    /// So many requests at once; tells nothing.
    ConcurrencyCap(ConcurrencyCap),
    /// Never refuses, and slows down.
    WorkerPool(WorkerPool),
    /// Several at once.
    All(All),
    /// One whose refusal shuts out for a while.
    Ban(Ban),
    /// One that changes.
    Schedule(Schedule),
    /// One that is not exact.
    Noisy(Noisy),
    /// One that somebody else uses too.
    Shared(Shared),
    /// One for each part of the host.
    Routes(Routes),
}

/// The rule of a limiter, borrowed as the limiter is; none allows everything.
macro_rules! each {
    ($limiter:expr) => {
        Some(match $limiter {
            Limiter::None => return None,
            Limiter::TokenBucket(rule) => rule,
            Limiter::Gcra(rule) => rule,
            Limiter::LeakyBucket(rule) => rule,
            Limiter::Staircase(rule) => rule,
            Limiter::FixedWindow(rule) => rule,
            Limiter::SlidingLog(rule) => rule,
            Limiter::SlidingCounter(rule) => rule,
            Limiter::ConcurrencyCap(rule) => rule,
            Limiter::WorkerPool(rule) => rule,
            Limiter::All(rule) => rule,
            Limiter::Ban(rule) => rule,
            Limiter::Schedule(rule) => rule,
            Limiter::Noisy(rule) => rule,
            Limiter::Shared(rule) => rule,
            Limiter::Routes(rule) => rule,
        })
    };
}

impl Limiter {
    /// Decides about a request. Each one that is allowed must be given back with [`Self::release`].
    pub fn decide(&mut self, arrival: &Arrival) -> Decision {
        let Some(rule) = self.rule() else {
            return Decision { allowed: true, delay_us: 0, quota: Quota::default() };
        };
        let allowed = rule.admits(arrival);
        let delay_us = rule.charge(arrival, allowed);
        Decision { allowed, delay_us, quota: rule.quota(arrival) }
    }

    /// Decides about a request that arrives at `now`, with the headers that the practice web sends. Each one that is allowed
    /// must be given back with [`Self::release`].
    pub fn admit(&mut self, now: Timestamp) -> Verdict {
        let now_us = now.0.saturating_mul(1_000);
        let decision = self.decide(&Arrival::at_us(now_us));
        let dialect = match self {
            Self::TokenBucket(_) => Dialect { retry_after: RetryAfter::Ceil, ..Dialect::mute(429) },
            Self::FixedWindow(_) => Dialect { fields: QuotaFields::Epoch, ..Dialect::mute(429) },
            _ => Dialect::mute(429),
        };
        let Told { fields: mut headers, retry_after_ms } = dialect.tell(&decision, now_us);
        headers.retain(|(name, _)| *name != "retry-after");
        if decision.allowed {
            Verdict::Allow { headers }
        } else {
            Verdict::Refuse { retry_after_secs: retry_after_ms.map(|wait_ms| wait_ms / 1_000), headers }
        }
    }

    /// A request that was allowed has been answered, or its client has gone.
    pub fn release(&mut self) {
        if let Some(rule) = self.rule() {
            rule.release();
        }
    }

    /// How often it shut its client out for a while.
    #[must_use]
    pub fn bans(&self) -> u64 {
        self.rule_ref().map_or(0, Rule::bans)
    }

    fn rule(&mut self) -> Option<&mut dyn Rule> {
        each!(self)
    }

    fn rule_ref(&self) -> Option<&dyn Rule> {
        each!(self)
    }
}
