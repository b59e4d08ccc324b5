//! Cursors that do not tell the end: one that stays the same, with the same records, and one that comes with empty pages for ever.

use serde_json::json;

use super::{Api, Asked, Habit, Reply, ids, page};
use crate::wire;

const A_PAGE: usize = 10;

/// `/items?cursor=...`, with the next cursor as `next`.
pub struct FrozenCursor {
    pub records: usize,
    pub kind: Frozen,
}

/// What happens to the cursor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Frozen {
    /// It stays at the position of this record.
    At(usize),
    /// Behind the last record it leads to empty pages with cursors that are new each time.
    EmptyForEver,
}

impl Habit for FrozenCursor {
    fn answer(&self, asked: &Asked) -> Reply {
        let start = asked.number_in("cursor").unwrap_or(0);
        let next = match self.kind {
            Frozen::At(place) => place.min(start + A_PAGE),
            Frozen::EmptyForEver => start + A_PAGE,
        };
        Reply::json(&json!({ "items": page(self.records, start, A_PAGE), "next": next.to_string() }))
    }
}

#[test]
fn a_frozen_cursor_stays_where_it_is() {
    let api = Api::start(FrozenCursor { records: 50, kind: Frozen::At(20) });
    let first = wire::get(api.port(), "/items?cursor=20").json();
    assert_eq!((ids(&first, "/items"), first["next"].as_str()), ((21..=30).collect(), Some("20")));
}

#[test]
fn a_cursor_after_the_last_page_leads_to_empty_ones() {
    let api = Api::start(FrozenCursor { records: 25, kind: Frozen::EmptyForEver });
    let after = wire::get(api.port(), "/items?cursor=30").json();
    assert_eq!((after["items"].as_array().unwrap().len(), after["next"].as_str()), (0, Some("40")));
}
