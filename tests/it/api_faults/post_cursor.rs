//! Pages asked for by POST, with a cursor in the body that is an object, as DynamoDB has it.

use serde_json::{Value, json};

use super::{Api, Asked, Habit, Reply, ids, page};
use crate::wire;

const A_PAGE: usize = 10;

/// `POST /scan` with `{ "TableName": "items" }`: `Items`, and a `LastEvaluatedKey` to send back as `ExclusiveStartKey`, which must
/// come as it was given.
pub struct PostCursor {
    pub records: usize,
}

impl Habit for PostCursor {
    fn answer(&self, asked: &Asked) -> Reply {
        let body = asked.json();
        if asked.method != "POST" || body["TableName"] != "items" {
            return Reply::error(400, "POST { \"TableName\": \"items\" }");
        }
        let start = match body.get("ExclusiveStartKey") {
            None => 0,
            Some(key) => {
                let id = key["id"]["N"].as_str().and_then(|id| id.parse().ok());
                let Some(id) = id.filter(|&id| *key == key_of(id)) else {
                    return Reply::error(400, "The provided starting key is invalid");
                };
                id
            }
        };
        let items = page(self.records, start, A_PAGE);
        let end = start + items.len();
        let mut answer = json!({ "Items": items, "Count": end - start });
        if end < self.records {
            answer["LastEvaluatedKey"] = key_of(end);
        }
        Reply::json(&answer)
    }
}

fn key_of(id: usize) -> Value {
    json!({ "id": { "N": id.to_string() }, "shelf": { "S": format!("shelf/{} \"ü\"", id % 3) } })
}

#[test]
fn the_cursor_is_an_object_and_wanted_back_whole() {
    let api = Api::start(PostCursor { records: 15 });
    let ask = |body: Value| wire::ask(api.port(), "POST", "/scan", &[], body.to_string().as_bytes());
    let first = ask(json!({ "TableName": "items" })).json();
    assert_eq!(first["LastEvaluatedKey"]["id"]["N"], "10");
    let rest = ask(json!({ "TableName": "items", "ExclusiveStartKey": first["LastEvaluatedKey"] })).json();
    assert_eq!((ids(&rest, "/Items"), rest.get("LastEvaluatedKey")), ((11..=15).collect(), None));
    assert_eq!(ask(json!({ "TableName": "items", "ExclusiveStartKey": { "id": { "N": "10" } } })).status, 400);
}
