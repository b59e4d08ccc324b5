//! Records in the order of a time that many of them share: the end of a page lies among equals.

use serde_json::{Value, json};

use super::{Api, Asked, Habit, Reply, ids};
use crate::wire;

/// `/items?since=T&limit=10`: those whose `updated_at` is `since` or later, or only later, the earliest first, then by `id`.
/// `after_id` skips those of the time `since` up to that id, if the server knows it.
pub struct Keyset {
    pub records: usize,
    /// Records with the same time.
    pub ties: usize,
    /// Whether those of the time `since` itself are given.
    pub inclusive: bool,
}

impl Keyset {
    fn time(&self, id: usize) -> usize {
        (id - 1) / self.ties
    }
}

impl Habit for Keyset {
    fn answer(&self, asked: &Asked) -> Reply {
        let limit = asked.number_in("limit").unwrap_or(10);
        let (since, after_id) = (asked.number_in("since"), asked.number_in("after_id").unwrap_or(0));
        let is_in = |id: &usize| {
            since.is_none_or(|since| {
                let time = self.time(*id);
                time > since || (time == since && self.inclusive && *id > after_id)
            })
        };
        let items: Vec<Value> = (1..=self.records)
            .filter(is_in)
            .take(limit)
            .map(|id| json!({ "id": id, "updated_at": self.time(id) }))
            .collect();
        Reply::json(&json!({ "items": items }))
    }
}

#[test]
fn equals_come_again_or_are_lost() {
    let get = |inclusive, query: &str| {
        let api = Api::start(Keyset { records: 30, ties: 6, inclusive });
        ids(&wire::get(api.port(), &format!("/items?{query}")).json(), "/items")
    };
    assert_eq!(get(true, "limit=10"), (1..=10).collect(), "the time of 10 is 1, and that of 7 to 12");
    assert_eq!(get(true, "since=1&limit=10"), (7..=16).collect());
    assert_eq!(get(false, "since=1&limit=10"), (13..=22).collect(), "11 and 12 are on no page");
    assert_eq!(get(true, "since=1&after_id=10&limit=10"), (11..=20).collect());
}
