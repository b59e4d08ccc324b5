//! Validators: 304 with all its headers, with none, or never though the validators are sent; and records that change.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::json;

use super::{Api, Asked, Habit, Reply, lock, page};
use crate::wire;

const A_PAGE: usize = 10;

/// `/items?page=1` and on, each page with an `ETag` and a `Last-Modified` of its own.
pub struct Validators {
    pub records: usize,
    pub kind: Kind,
    versions: Mutex<BTreeMap<usize, u32>>,
}

/// What it does with a validator that still holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 304 with the validators.
    Full,
    /// 304 without any header, as RFC 9110 section 15.4.5 lets none pass but some servers do.
    Bare,
    /// 200 and all of it again.
    Deaf,
}

impl Validators {
    pub fn new(records: usize, kind: Kind) -> Self {
        Self { records, kind, versions: Mutex::default() }
    }

    /// The page is another one from now on.
    pub fn change(&self, page: usize) {
        *lock(&self.versions).entry(page).or_default() += 1;
    }
}

impl Habit for Validators {
    fn answer(&self, asked: &Asked) -> Reply {
        let number = asked.number_in("page").unwrap_or(1).max(1);
        let version = lock(&self.versions).get(&number).copied().unwrap_or(0);
        let etag = format!("W/\"{number}-{version}\"");
        let modified = format!("Tue, 02 Jan 2024 00:{:02}:{number:02} GMT", version % 60);
        let has_etag = asked.header("if-none-match");
        // RFC 9110 section 13.1.3: with If-None-Match, If-Modified-Since is not looked at.
        let holds = has_etag.map_or(asked.header("if-modified-since") == Some(&modified), |known| known == etag);
        let validated = |reply: Reply| reply.header("etag", &etag).header("last-modified", &modified);
        if holds && self.kind != Kind::Deaf {
            let empty = Reply { status: 304, headers: Vec::new(), body: String::new() };
            return if self.kind == Kind::Full { validated(empty) } else { empty };
        }
        let is_last = number * A_PAGE >= self.records;
        let next = (!is_last).then(|| asked.url(&format!("/items?page={}", number + 1)));
        let mut items = page(self.records, (number - 1) * A_PAGE, A_PAGE);
        for item in &mut items {
            item["version"] = json!(version);
        }
        validated(Reply::json(&json!({ "items": items, "next": next })))
    }
}

#[test]
fn an_unchanged_page_is_304_with_its_validators_or_bare() {
    for (kind, status, has_etag) in [(Kind::Full, 304, true), (Kind::Bare, 304, false), (Kind::Deaf, 200, true)] {
        let api = Api::start(Validators::new(30, kind));
        let ask = |name: &str, value: &str| wire::ask(api.port(), "GET", "/items?page=2", &[(name, value)], b"");
        let first = wire::get(api.port(), "/items?page=2");
        let (etag, modified) = (first.header("etag").unwrap(), first.header("last-modified").unwrap());
        let again = ask("if-none-match", etag);
        assert_eq!((again.status, again.header("etag").is_some()), (status, has_etag));
        assert_eq!(ask("if-modified-since", modified).status, status);
        api.habit().change(2);
        let changed = ask("if-none-match", etag);
        assert_eq!((changed.status, &changed.json()["items"][0]["version"]), (200, &json!(1)));
    }
}
