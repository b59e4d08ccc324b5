//! Events of a window of time, of which only so many can be reached.

use serde_json::{Value, json};

use super::{Api, Asked, Habit, Reply, ids};
use crate::wire;

/// `/events?since=DAY&until=DAY&offset=0&limit=10`, days as `2024-01-31`, both ends inclusive; offsets from `depth_max` on are
/// refused with 400. `total` is the number of events in the window.
pub struct Windows {
    /// How many there are on each day of January 2024, from the first on.
    pub a_day: Vec<usize>,
    pub depth_max: usize,
}

impl Habit for Windows {
    fn answer(&self, asked: &Asked) -> Reply {
        let day = |name: &str| -> Option<usize> { asked.query(name)?.strip_prefix("2024-01-")?.get(..2)?.parse().ok() };
        let (Some(since), Some(until)) = (day("since"), day("until")) else {
            return Reply::error(400, "since and until: days of January 2024");
        };
        let (offset, limit) = (asked.number_in("offset").unwrap_or(0), asked.number_in("limit").unwrap_or(10));
        if offset >= self.depth_max {
            return Reply::error(400, &format!("offset must be below {}", self.depth_max));
        }
        let mut id = 0;
        let mut events: Vec<Value> = Vec::new();
        for (day, &count) in (1..).zip(&self.a_day) {
            for _ in 0..count {
                id += 1;
                if (since..=until).contains(&day) {
                    events.push(json!({ "id": id, "day": format!("2024-01-{day:02}") }));
                }
            }
        }
        let total = events.len();
        let items: Vec<Value> = events.into_iter().skip(offset).take(limit).collect();
        Reply::json(&json!({ "items": items, "total": total }))
    }
}

#[test]
fn both_ends_of_a_window_are_in_it_and_its_depth_ends() {
    let api = Api::start(Windows { a_day: vec![3, 30, 4], depth_max: 20 });
    let get = |query: &str| wire::get(api.port(), &format!("/events?{query}"));
    let ends = get("since=2024-01-01&until=2024-01-03&limit=50").json();
    assert_eq!((ends["total"].as_u64(), ids(&ends, "/items").len()), (Some(37), 37));
    assert_eq!(ids(&get("since=2024-01-03&until=2024-01-31").json(), "/items"), (34..=37).collect());
    assert_eq!(get("since=2024-01-02&until=2024-01-02&offset=20").status, 400);
}
