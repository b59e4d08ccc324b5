//! Totals that are wrong, of something else, or not there; and a page in the middle that is short, since it was filtered.

use serde_json::{Value, json};

use super::{Api, Asked, Habit, Reply, page};
use crate::wire;

const A_PAGE: usize = 10;

/// `/items?page=1` and on, with `total` (records) and `total_pages`.
pub struct LyingTotal {
    pub records: usize,
    pub total: Total,
    /// This page lacks half of its records.
    pub short_page: Option<usize>,
}

/// What it says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Total {
    Right,
    /// Of so many records.
    Wrong(usize),
    Null,
    Absent,
    /// Those on this page.
    OfThePage,
    /// Those after this page.
    Remaining,
}

impl Habit for LyingTotal {
    fn answer(&self, asked: &Asked) -> Reply {
        let number = asked.number_in("page").unwrap_or(1).max(1);
        let mut items = page(self.records, (number - 1) * A_PAGE, A_PAGE);
        if self.short_page == Some(number) {
            items.truncate(items.len() / 2);
        }
        let total = match self.total {
            Total::Right => Some(self.records),
            Total::Wrong(total) => Some(total),
            Total::Null | Total::Absent => None,
            Total::OfThePage => Some(items.len()),
            Total::Remaining => Some(self.records.saturating_sub(number * A_PAGE)),
        };
        let mut answer = json!({ "items": items });
        if self.total != Total::Absent {
            answer["total"] = total.map_or(Value::Null, |total| json!(total));
            answer["total_pages"] = total.map_or(Value::Null, |total| json!(total.div_ceil(A_PAGE)));
        }
        Reply::json(&answer)
    }
}

#[test]
fn totals_are_what_they_are_told_to_be() {
    let said = |total: Total| {
        let api = Api::start(LyingTotal { records: 35, total, short_page: None });
        let page = wire::get(api.port(), "/items?page=2").json();
        assert_eq!(page["items"].as_array().unwrap().len(), 10);
        (page.get("total").cloned(), page.get("total_pages").cloned())
    };
    assert_eq!(said(Total::Right), (Some(json!(35)), Some(json!(4))));
    assert_eq!(said(Total::Wrong(11)), (Some(json!(11)), Some(json!(2))));
    assert_eq!(said(Total::Null), (Some(Value::Null), Some(Value::Null)));
    assert_eq!(said(Total::Absent), (None, None));
    assert_eq!(said(Total::OfThePage), (Some(json!(10)), Some(json!(1))));
    assert_eq!(said(Total::Remaining), (Some(json!(15)), Some(json!(2))));
}

#[test]
fn a_page_in_the_middle_may_be_short() {
    let api = Api::start(LyingTotal { records: 35, total: Total::Absent, short_page: Some(2) });
    let count = |target: &str| wire::get(api.port(), target).json()["items"].as_array().unwrap().len();
    assert_eq!([count("/items"), count("/items?page=2"), count("/items?page=3")], [10, 5, 10]);
}
