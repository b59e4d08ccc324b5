//! Kinds of limiters, as servers really have them. Pure: they are told the time.
//!
//! A new kind is one file here and one arm in [`Limiter`].

mod concurrency_cap;
mod fixed_window;
mod token_bucket;

pub use concurrency_cap::ConcurrencyCap;
pub use fixed_window::FixedWindow;
pub use token_bucket::TokenBucket;

use crate::clock::Timestamp;

/// What a limiter says about one request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Answer it, with these headers on top.
    Allow {
        /// What the limiter tells about itself.
        headers: Vec<(&'static str, String)>,
    },
    /// Answer 429.
    Refuse {
        /// What `Retry-After` says, in whole seconds; none sends no such header.
        retry_after_secs: Option<u64>,
        /// What the limiter tells about itself.
        headers: Vec<(&'static str, String)>,
    },
}

/// A limiter of one host.
#[derive(Clone, Debug)]
pub enum Limiter {
    /// Allows everything.
    None,
    /// A steady rate with a burst; says when to come back.
    TokenBucket(TokenBucket),
    /// So many requests in each span of time; tells how many are left and when the span ends.
    FixedWindow(FixedWindow),
    /// So many requests at once; tells nothing.
    ConcurrencyCap(ConcurrencyCap),
}

impl Limiter {
    /// Decides about a request that arrives at `now`. Each one that is allowed must be given back with [`Self::release`].
    pub fn admit(&mut self, now: Timestamp) -> Verdict {
        match self {
            Self::None => Verdict::Allow { headers: Vec::new() },
            Self::TokenBucket(limiter) => limiter.admit(now),
            Self::FixedWindow(limiter) => limiter.admit(now),
            Self::ConcurrencyCap(limiter) => limiter.admit(),
        }
    }

    /// A request that was allowed has been answered, or its client has gone.
    pub fn release(&mut self) {
        if let Self::ConcurrencyCap(limiter) = self {
            limiter.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// Sends requests at these instants and writes down what came of them.
    fn table(mut limiter: Limiter, at_ms: &[i64]) -> String {
        let mut table = String::new();
        for &at in at_ms {
            let words = match limiter.admit(Timestamp(at)) {
                Verdict::Allow { headers } => format!("allow {headers:?}"),
                Verdict::Refuse { retry_after_secs, headers } => format!("refuse {retry_after_secs:?} {headers:?}"),
            };
            writeln!(table, "{at} {words}").expect("a string takes all");
        }
        table
    }

    #[test]
    fn a_token_bucket_gives_its_burst_and_then_its_rate() {
        let limiter = Limiter::TokenBucket(TokenBucket::new(2, 3));
        insta::assert_snapshot!(table(limiter, &[0, 0, 0, 0, 499, 500, 501, 999, 1_000, 9_000, 9_000, 9_000, 9_000]), @r#"
        0 allow []
        0 allow []
        0 allow []
        0 refuse Some(1) []
        499 refuse Some(1) []
        500 allow []
        501 refuse Some(1) []
        999 refuse Some(1) []
        1000 allow []
        9000 allow []
        9000 allow []
        9000 allow []
        9000 refuse Some(1) []
        "#);
    }

    #[test]
    fn a_slow_token_bucket_rounds_its_wait_up_to_whole_seconds() {
        let mut limiter = TokenBucket::new(1, 1);
        assert_eq!(limiter.admit(Timestamp(0)), Verdict::Allow { headers: Vec::new() });
        for at in [0, 1, 999] {
            assert_eq!(
                limiter.admit(Timestamp(at)),
                Verdict::Refuse { retry_after_secs: Some(1), headers: Vec::new() },
                "{at}"
            );
        }
        assert_eq!(limiter.admit(Timestamp(1_000)), Verdict::Allow { headers: Vec::new() });
    }

    #[test]
    fn a_fixed_window_starts_anew_at_its_edge_and_says_so_before() {
        let limiter = Limiter::FixedWindow(FixedWindow::new(2, 2));
        insta::assert_snapshot!(table(limiter, &[1_500, 1_600, 1_700, 1_999, 2_000, 2_001, 2_002, 7_000]), @r#"
        1500 allow [("x-ratelimit-limit", "2"), ("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "2")]
        1600 allow [("x-ratelimit-limit", "2"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "2")]
        1700 refuse None [("x-ratelimit-limit", "2"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "2")]
        1999 refuse None [("x-ratelimit-limit", "2"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "2")]
        2000 allow [("x-ratelimit-limit", "2"), ("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "4")]
        2001 allow [("x-ratelimit-limit", "2"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "4")]
        2002 refuse None [("x-ratelimit-limit", "2"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "4")]
        7000 allow [("x-ratelimit-limit", "2"), ("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "8")]
        "#);
    }

    #[test]
    fn a_concurrency_cap_counts_what_is_not_answered_yet() {
        let mut limiter = Limiter::ConcurrencyCap(ConcurrencyCap::new(2));
        let mut allowed = || matches!(limiter.admit(Timestamp::EPOCH), Verdict::Allow { .. });
        assert_eq!([allowed(), allowed(), allowed(), allowed()], [true, true, false, false]);
        limiter.release();
        let mut allowed = || matches!(limiter.admit(Timestamp::EPOCH), Verdict::Allow { .. });
        assert_eq!([allowed(), allowed()], [true, false]);
    }

    proptest::proptest! {
        #[test]
        fn a_client_that_waits_as_told_is_never_refused_twice(
            rate in 1_u32..50, burst in 1_u32..50, gaps in proptest::collection::vec(0_u64..200, 1..200)
        ) {
            let mut limiter = TokenBucket::new(rate, burst);
            let mut now = Timestamp(1_000_000);
            for gap in gaps {
                now = now.plus_ms(gap);
                if let Verdict::Refuse { retry_after_secs, .. } = limiter.admit(now) {
                    now = now.plus_ms(retry_after_secs.expect("a bucket says when") * 1_000);
                    let allowed = matches!(limiter.admit(now), Verdict::Allow { .. });
                    proptest::prop_assert!(allowed);
                }
            }
        }
    }
}
