//! 403 for "too many": told by a header, by the body alone, or not at all, when it is meant.

use serde_json::json;

use super::{Api, Asked, Habit, Reply, page};
use crate::wire;

const A_PAGE: usize = 10;

/// `/items?page=1` and on; some requests are forbidden.
pub struct Forbidden {
    pub records: usize,
    /// Which, by number.
    pub numbers: Vec<usize>,
    pub words: Words,
}

/// How it says so.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// `Retry-After: 1`.
    RetryAfter,
    /// `X-RateLimit-Remaining: 0`, with a reset in a second.
    Remaining,
    /// Only the body speaks of a rate limit.
    Body,
    /// It means it.
    Meant,
}

impl Habit for Forbidden {
    fn answer(&self, asked: &Asked) -> Reply {
        if self.numbers.contains(&asked.number) {
            let limited = Reply::error(403, "API rate limit exceeded");
            return match self.words {
                Words::RetryAfter => limited.header("retry-after", 1),
                Words::Remaining => limited.header("x-ratelimit-remaining", 0).header("x-ratelimit-reset", 1),
                Words::Body => limited,
                Words::Meant => Reply::error(403, "this token may not read items"),
            };
        }
        let number = asked.number_in("page").unwrap_or(1).max(1);
        let is_last = number * A_PAGE >= self.records;
        let next = (!is_last).then(|| asked.url(&format!("/items?page={}", number + 1)));
        Reply::json(&json!({ "items": page(self.records, (number - 1) * A_PAGE, A_PAGE), "next": next }))
    }
}

#[test]
fn the_second_request_is_forbidden_in_other_words() {
    for (words, header) in [
        (Words::RetryAfter, Some("retry-after")),
        (Words::Remaining, Some("x-ratelimit-remaining")),
        (Words::Body, None),
        (Words::Meant, None),
    ] {
        let api = Api::start(Forbidden { records: 30, numbers: vec![2], words });
        let status = [1, 2, 3].map(|_| wire::get(api.port(), "/items"));
        assert_eq!(status.each_ref().map(|answer| answer.status), [200, 403, 200]);
        let refused = &status[1];
        assert!(header.is_none_or(|name| refused.header(name).is_some()), "{refused:?}");
        let speaks = refused.json()["error"].as_str().unwrap().contains("rate limit");
        assert_eq!(speaks, words != Words::Meant);
    }
}
