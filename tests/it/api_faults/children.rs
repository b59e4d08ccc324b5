//! Parents and the children of each: some have none and say so, and some are gone when their children are asked for.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Api, Asked, Habit, Reply, ids, record};
use crate::wire;

const A_PAGE: usize = 10;

/// `/parents?page=1` and on, each with the number of its `children`; `/parents/N/children?page=1` and on. Parent N has N children,
/// with ids of their own.
pub struct Children {
    pub parents: usize,
    /// Parents whose children are answered with 404.
    pub gone: BTreeSet<usize>,
}

/// The ids of the children of a parent.
pub fn children_of(parent: usize) -> BTreeSet<u64> {
    (1..=parent).map(|child| u64::try_from(parent * 1_000 + child).unwrap()).collect()
}

impl Habit for Children {
    fn answer(&self, asked: &Asked) -> Reply {
        let number = asked.number_in("page").unwrap_or(1).max(1);
        let records: Vec<Value> = match asked.path.strip_prefix("/parents").unwrap_or_default() {
            "" => {
                let with_count = |id: usize| {
                    let mut parent = record(id);
                    parent["children"] = json!(id);
                    parent
                };
                (1..=self.parents).map(with_count).collect()
            }
            below => {
                let parent = below.strip_prefix('/').and_then(|below| below.strip_suffix("/children")?.parse().ok());
                let Some(parent) = parent.filter(|parent| (1..=self.parents).contains(parent)) else {
                    return Reply::error(404, "no such parent");
                };
                if self.gone.contains(&parent) {
                    return Reply::error(404, "this parent is gone");
                }
                children_of(parent).into_iter().map(|id| json!({ "id": id, "of": parent })).collect()
            }
        };
        let is_last = number * A_PAGE >= records.len();
        let next = (!is_last).then(|| asked.url(&format!("{}?page={}", asked.path, number + 1)));
        let items: Vec<Value> = records.into_iter().skip((number - 1) * A_PAGE).take(A_PAGE).collect();
        Reply::json(&json!({ "items": items, "next": next }))
    }
}

#[test]
fn children_have_pages_and_some_parents_are_gone() {
    let api = Api::start(Children { parents: 15, gone: [4].into() });
    let parents = wire::get(api.port(), "/parents?page=2").json();
    assert_eq!((ids(&parents, "/items"), &parents["items"][0]["children"]), ((11..=15).collect(), &json!(11)));
    let first = wire::get(api.port(), "/parents/12/children").json();
    assert_eq!(first["next"], api.url("/parents/12/children?page=2"));
    let rest = wire::get(api.port(), "/parents/12/children?page=2").json();
    assert_eq!(&(&ids(&first, "/items") | &ids(&rest, "/items")), &children_of(12));
    assert_eq!([4, 16].map(|id| wire::get(api.port(), &format!("/parents/{id}/children")).status), [404, 404]);
}
