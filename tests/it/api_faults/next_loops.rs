//! The last page leads back: A -> B -> A, which a look at the last address alone does not see.

use serde_json::json;

use super::{Api, Asked, Habit, Reply, ids, page};
use crate::wire;

const A_PAGE: usize = 10;

/// `/items?page=1` and on, with the address of the next page as `next` and in a `Link` header.
pub struct NextLoops {
    pub pages: usize,
    /// The page after the last.
    pub back_to: usize,
}

impl Habit for NextLoops {
    fn answer(&self, asked: &Asked) -> Reply {
        let number = asked.number_in("page").unwrap_or(1);
        let next = if number < self.pages { number + 1 } else { self.back_to };
        let next = asked.url(&format!("/items?page={next}"));
        let items = page(self.pages * A_PAGE, (number - 1) * A_PAGE, A_PAGE);
        Reply::json(&json!({ "items": items, "next": next })).header("link", format!("<{next}>; rel=\"next\""))
    }
}

#[test]
fn the_last_page_leads_back() {
    let api = Api::start(NextLoops { pages: 3, back_to: 2 });
    let last = wire::get(api.port(), "/items?page=3");
    assert_eq!(ids(&last.json(), "/items"), (21..=30).collect());
    assert_eq!(last.json()["next"], api.url("/items?page=2"));
    assert!(last.header("link").unwrap().contains("page=2>"));
}
