//! Many ids in one request: an id that spoils the whole answer, ids that are not in it, and caps on their number and on the length
//! of the address.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Api, Asked, Habit, Reply, ids, record};
use crate::wire;

/// `GET /items?ids=1,2,3` or `POST /items` with the ids as a list.
#[derive(Clone, Default)]
pub struct IdBatches {
    /// A request with one of these is answered with 400.
    pub poisonous: BTreeSet<usize>,
    /// These are not in the answer.
    pub missing: BTreeSet<usize>,
    /// More ids than this are too many; 0 for no cap.
    pub count_max: usize,
    /// Longer addresses are answered with 414; 0 for no cap.
    pub target_bytes_max: usize,
    /// What too many ids are answered with.
    pub too_many: TooMany,
}

/// What too many ids are answered with.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum TooMany {
    /// 413.
    #[default]
    Status413,
    /// As MediaWiki does it: 200, an error, and nothing else.
    Error200,
}

impl Habit for IdBatches {
    fn answer(&self, asked: &Asked) -> Reply {
        if self.target_bytes_max > 0 && asked.target_bytes > self.target_bytes_max {
            return Reply::error(414, "this address is too long");
        }
        let ids: Option<Vec<usize>> = if asked.method == "POST" {
            serde_json::from_slice(&asked.body).ok()
        } else {
            asked.query("ids").and_then(|ids| ids.split(',').map(|id| id.parse().ok()).collect())
        };
        let Some(ids) = ids else { return Reply::error(400, "ids: numbers") };
        if self.count_max > 0 && ids.len() > self.count_max {
            return match self.too_many {
                TooMany::Status413 => Reply::error(413, "too many ids"),
                TooMany::Error200 => {
                    let info =
                        format!("Too many values supplied for parameter \"ids\". The limit is {}.", self.count_max);
                    Reply::json(&json!({ "error": { "code": "toomanyvalues", "info": info } }))
                }
            };
        }
        if let Some(id) = ids.iter().find(|id| self.poisonous.contains(id)) {
            return Reply::error(400, &format!("bad id {id}"));
        }
        let found: Vec<Value> = ids.iter().filter(|id| !self.missing.contains(id)).map(|&id| record(id)).collect();
        Reply::json(&json!({ "items": found }))
    }
}

#[test]
fn one_id_spoils_all_and_another_is_not_there() {
    let api = Api::start(IdBatches { poisonous: [7].into(), missing: [3].into(), ..IdBatches::default() });
    assert_eq!(ids(&wire::get(api.port(), "/items?ids=2,3,4").json(), "/items"), [2, 4].into());
    assert_eq!(wire::get(api.port(), "/items?ids=6,7,8").status, 400);
    assert_eq!(ids(&wire::ask(api.port(), "POST", "/items", &[], b"[1,2]").json(), "/items"), [1, 2].into());
}

#[test]
fn too_many_ids_and_too_long_addresses_are_refused() {
    let api = Api::start(IdBatches { count_max: 3, target_bytes_max: 20, ..IdBatches::default() });
    assert_eq!(wire::get(api.port(), "/items?ids=1,2,3").status, 200);
    assert_eq!(wire::get(api.port(), "/items?ids=1,2,3,4").status, 413);
    assert_eq!(wire::get(api.port(), "/items?ids=1000,2000,3000").status, 414);
    let wiki = Api::start(IdBatches { count_max: 3, too_many: TooMany::Error200, ..IdBatches::default() });
    let refused = wire::get(wiki.port(), "/items?ids=1,2,3,4");
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (200, &json!("toomanyvalues")));
}
