//! Events of a window of time, of which only so many can be reached.

use serde_json::{Value, json};

use super::{Api, Asked, Habit, Reply, ids};
use crate::wire;

/// `/events?since=DAY&until=DAY&offset=0&limit=10`, days as `2024-01-31`; offsets from `depth_max` on are
/// refused with 400. `total` is the number of events in the window, `next` the address of the next page.
pub struct Windows {
    /// How many there are on each day of January 2024, from the first on.
    pub a_day: Vec<usize>,
    pub depth_max: usize,
    /// Whether the events of the day `until` are in the window.
    pub end_is_in: bool,
}

impl Habit for Windows {
    fn answer(&self, asked: &Asked) -> Reply {
        let (Some(since), Some(until)) = (asked.query("since"), asked.query("until")) else {
            return Reply::error(400, "since and until: days");
        };
        let (offset, limit) = (asked.number_in("offset").unwrap_or(0), asked.number_in("limit").unwrap_or(10));
        if offset >= self.depth_max {
            return Reply::error(400, &format!("offset must be below {}", self.depth_max));
        }
        let days =
            (1..).zip(&self.a_day).flat_map(|(day, &count)| std::iter::repeat_n(format!("2024-01-{day:02}"), count));
        let events: Vec<Value> = (1..)
            .zip(days)
            .filter(|(_, day)| since <= day.as_str() && (day.as_str() < until || self.end_is_in && day == until))
            .map(|(id, day): (usize, String)| json!({ "id": id, "day": day }))
            .collect();
        let (total, end) = (events.len(), offset + limit);
        let next = format!("/events?since={since}&until={until}&offset={end}&limit={limit}");
        let next = (end < total).then(|| asked.url(&next));
        let items: Vec<Value> = events.into_iter().skip(offset).take(limit).collect();
        Reply::json(&json!({ "items": items, "total": total, "next": next }))
    }
}

#[test]
fn a_window_ends_with_its_last_day_or_before_it_and_its_depth_ends() {
    let api = |end_is_in| Api::start(Windows { a_day: vec![3, 30, 4], depth_max: 20, end_is_in });
    let get = |end_is_in, query: &str| wire::get(api(end_is_in).port(), &format!("/events?{query}"));
    let ends = get(true, "since=2024-01-01&until=2024-01-03&limit=50").json();
    assert_eq!((ends["total"].as_u64(), ids(&ends, "/items").len()), (Some(37), 37));
    assert_eq!(get(false, "since=2024-01-01&until=2024-01-03").json()["total"], 33);
    assert_eq!(ids(&get(true, "since=2024-01-03&until=2025-12-31").json(), "/items"), (34..=37).collect());
    assert_eq!(get(true, "since=2024-01-02&until=2024-01-02&offset=20").status, 400);
}
