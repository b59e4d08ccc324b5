//! A quota for each token: who is spent is refused, and the other tokens are not.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::json;

use super::{Api, Asked, Habit, Reply, lock, page};
use crate::wire;

const A_PAGE: usize = 10;

/// `/items?page=1` and on, with `X-RateLimit-Limit`, `-Remaining` and `-Reset` (seconds from now) of the token that asked.
pub struct TokenPool {
    pub records: usize,
    /// Requests of each token until its quota is filled again.
    quotas: BTreeMap<&'static str, usize>,
    /// What `-Reset` and `Retry-After` say.
    pub reset_s: u32,
    /// What a spent token is answered with: 429, or 403 as some do.
    pub status: u16,
    left: Mutex<BTreeMap<&'static str, usize>>,
}

impl TokenPool {
    pub fn new(records: usize, quotas: &[(&'static str, usize)], reset_s: u32, status: u16) -> Self {
        let quotas: BTreeMap<_, _> = quotas.iter().copied().collect();
        Self { records, left: Mutex::new(quotas.clone()), quotas, reset_s, status }
    }

    /// Every token has its whole quota again.
    pub fn refill(&self) {
        lock(&self.left).clone_from(&self.quotas);
    }
}

impl Habit for TokenPool {
    fn answer(&self, asked: &Asked) -> Reply {
        let mut left = lock(&self.left);
        let Some((token, left)) = asked.bearer().and_then(|token| left.iter_mut().find(|(known, _)| **known == token))
        else {
            return Reply::error(401, "who are you?");
        };
        let limit = self.quotas[token];
        let told = |reply: Reply, left: usize| {
            reply
                .header("x-ratelimit-limit", limit)
                .header("x-ratelimit-remaining", left)
                .header("x-ratelimit-reset", self.reset_s)
        };
        if *left == 0 {
            return told(Reply::error(self.status, "API rate limit exceeded"), 0).header("retry-after", self.reset_s);
        }
        *left -= 1;
        let number = asked.number_in("page").unwrap_or(1).max(1);
        let is_last = number * A_PAGE >= self.records;
        let next = (!is_last).then(|| asked.url(&format!("/items?page={}", number + 1)));
        let items = page(self.records, (number - 1) * A_PAGE, A_PAGE);
        told(Reply::json(&json!({ "items": items, "next": next })), *left)
    }
}

#[test]
fn a_spent_token_is_refused_and_the_other_is_not() {
    let api = Api::start(TokenPool::new(50, &[("a", 2), ("b", 9)], 7, 429));
    let ask = |token: &str| {
        let answer = wire::ask(api.port(), "GET", "/items", &[("authorization", &format!("Bearer {token}"))], b"");
        (answer.status, answer.header("x-ratelimit-remaining").map(str::to_owned))
    };
    let told = |left: &str| Some(left.to_owned());
    assert_eq!([ask("a"), ask("a"), ask("a")], [(200, told("1")), (200, told("0")), (429, told("0"))]);
    assert_eq!((ask("b"), ask("c")), ((200, told("8")), (401, None)));
    api.habit().refill();
    assert_eq!(ask("a"), (200, told("1")));
}
