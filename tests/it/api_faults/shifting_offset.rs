//! Offsets into a list that moves while it is walked, a server that gives less than it is asked for, and a depth that ends.

use std::sync::Mutex;

use serde_json::{Value, json};

use super::{Api, Asked, Habit, Reply, ids, lock, record};
use crate::wire;

/// `/items?offset=0&limit=10`: the newest first, with the number of all as `total`.
pub struct ShiftingOffset {
    pub ids: Mutex<Vec<usize>>,
    /// Records that come in at the front after each answer.
    pub inserted: usize,
    /// Records at the front that go after each answer.
    pub deleted: usize,
    /// The most that it gives at once, whatever `limit` says.
    pub limit_max: usize,
    /// Offsets from here on are refused with 400.
    pub depth_max: usize,
}

impl ShiftingOffset {
    pub fn new(records: usize) -> Self {
        let ids = Mutex::new((1..=records).rev().collect());
        Self { ids, inserted: 0, deleted: 0, limit_max: usize::MAX, depth_max: usize::MAX }
    }
}

impl Habit for ShiftingOffset {
    fn answer(&self, asked: &Asked) -> Reply {
        let mut ids = lock(&self.ids);
        let offset = asked.number_in("offset").unwrap_or(0);
        let limit = asked.number_in("limit").unwrap_or(10).min(self.limit_max);
        if offset >= self.depth_max {
            return Reply::error(400, &format!("offset must be below {}", self.depth_max));
        }
        let items: Vec<Value> = ids.iter().skip(offset).take(limit).map(|&id| record(id)).collect();
        let total = ids.len();
        let newest = ids.first().copied().unwrap_or(0);
        for id in newest + 1..=newest + self.inserted {
            ids.insert(0, id);
        }
        ids.drain(..self.deleted.min(total));
        Reply::json(&json!({ "items": items, "total": total }))
    }
}

#[test]
fn rows_that_come_in_move_the_pages() {
    let api = Api::start(ShiftingOffset { inserted: 3, ..ShiftingOffset::new(30) });
    let first = wire::get(api.port(), "/items?offset=0&limit=10").json();
    let second = wire::get(api.port(), "/items?offset=10&limit=10").json();
    assert_eq!((ids(&first, "/items"), ids(&second, "/items")), ((21..=30).collect(), (14..=23).collect()));
    assert_eq!((first["total"].as_u64(), second["total"].as_u64()), (Some(30), Some(33)));
}

#[test]
fn rows_that_go_hide_others() {
    let api = Api::start(ShiftingOffset { deleted: 3, ..ShiftingOffset::new(30) });
    wire::get(api.port(), "/items?offset=0&limit=10");
    let second = wire::get(api.port(), "/items?offset=10&limit=10").json();
    assert_eq!(ids(&second, "/items"), (8..=17).collect(), "20 to 18 were on no page");
}

#[test]
fn a_server_gives_less_than_asked_and_ends_at_a_depth() {
    let api = Api::start(ShiftingOffset { limit_max: 4, depth_max: 20, ..ShiftingOffset::new(30) });
    let few = wire::get(api.port(), "/items?offset=0&limit=10").json();
    assert_eq!(few["items"].as_array().unwrap().len(), 4);
    assert_eq!(wire::get(api.port(), "/items?offset=20&limit=10").status, 400);
}
