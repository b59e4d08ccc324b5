//! Errors with status 200: the body alone says that there is nothing.

use serde_json::json;

use super::{Api, Asked, Habit, Reply, page};
use crate::wire;

const A_PAGE: usize = 10;

/// `/items?page=1` and on; some requests fail with 200 and `{ "error": { "code": ... } }`.
pub struct ErrorsIn200 {
    pub records: usize,
    /// Which, by number.
    pub numbers: Vec<usize>,
    /// `maxlag`, for one that passes; `nosuchthing`, for one that does not.
    pub code: &'static str,
}

impl Habit for ErrorsIn200 {
    fn answer(&self, asked: &Asked) -> Reply {
        if self.numbers.contains(&asked.number) {
            return Reply::json(&json!({ "error": { "code": self.code, "info": "not now" } }));
        }
        let number = asked.number_in("page").unwrap_or(1).max(1);
        let is_last = number * A_PAGE >= self.records;
        let next = (!is_last).then(|| asked.url(&format!("/items?page={}", number + 1)));
        Reply::json(&json!({ "items": page(self.records, (number - 1) * A_PAGE, A_PAGE), "next": next }))
    }
}

#[test]
fn an_error_has_status_200_and_no_items() {
    let api = Api::start(ErrorsIn200 { records: 20, numbers: vec![1], code: "maxlag" });
    let error = wire::get(api.port(), "/items");
    assert_eq!((error.status, &error.json()["error"]["code"]), (200, &json!("maxlag")));
    assert!(error.json().get("items").is_none());
    assert!(wire::get(api.port(), "/items").json()["items"].is_array());
}
