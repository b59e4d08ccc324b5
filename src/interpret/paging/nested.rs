//! Connections of GraphQL within the records of a page: the comments of each issue.
//!
//! The first records of such a connection come with the record that it is part of. They are taken out of it, as records of a stream of
//! their own; where its `pageInfo` says that there are more, a walk of that stream goes on from there.

use serde_json::Value;

use super::graphql::has_next;
use super::seen::is_end;
use crate::interpret::json_path::JsonAt;
use crate::interpret::records::Records;

/// Where a connection is within each record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NestedAt {
    at: JsonAt,
    shape: Shape,
}

/// What the records of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Its `nodes`, or the `node` of each of its `edges`.
    Nodes,
    /// Its `edges`.
    Edges,
}

/// A connection that was taken out of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// The records of its first page.
    pub records: Vec<Value>,
    /// The cursor of what follows; none when nothing does.
    pub cursor: Option<Value>,
}

impl NestedAt {
    /// The connection at `at`. `records` is where its stream finds them when it is asked for by itself: records look alike whichever
    /// way they came.
    #[must_use]
    pub fn new(at: JsonAt, records: &Records) -> Self {
        let is_edges = match records {
            Records::At(at) => at.as_str().trim_end_matches(['[', ']', '*', '.']).ends_with("edges"),
            Records::Auto | Records::Whole => false,
        };
        Self { at, shape: if is_edges { Shape::Edges } else { Shape::Nodes } }
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.at.as_str()
    }

    /// Takes the connection out of a record; what else the server tells with it, such as `totalCount`, stays. None when there is none,
    /// or none that says whether and how it goes on.
    pub(in crate::interpret) fn take(&self, record: &mut Value) -> Option<Connection> {
        let pointer = self.at.pointers(record).into_iter().next()?;
        let members = record.pointer(&pointer)?.as_object()?;
        let info = members.get("pageInfo")?.as_object()?;
        let cursor = if has_next(info) {
            Some(info.get("endCursor").filter(|cursor| !is_end(Some(cursor)))?.clone())
        } else {
            None
        };
        let has = |name: &str| members.get(name).is_some_and(Value::is_array);
        let (name, is_node) = match self.shape {
            Shape::Nodes if has("nodes") => ("nodes", false),
            Shape::Nodes if has("edges") => ("edges", true),
            Shape::Edges if has("edges") => ("edges", false),
            Shape::Nodes | Shape::Edges => return None,
        };
        let members = record.pointer_mut(&pointer)?.as_object_mut()?;
        members.remove("pageInfo");
        let list = members.remove(name);
        let is_empty = members.is_empty();
        if is_empty && let Some((above, name)) = pointer.rsplit_once('/') {
            let name = name.replace("~1", "/").replace("~0", "~");
            if let Some(above) = record.pointer_mut(above).and_then(Value::as_object_mut) {
                above.remove(&name);
            }
        }
        let Some(Value::Array(mut records)) = list else { return None };
        if is_node {
            records =
                records.iter_mut().map(|edge| edge.get_mut("node").map(Value::take).unwrap_or_default()).collect();
        }
        Some(Connection { records, cursor })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(records: &str, record: &Value, expected: Option<(Value, Value)>, left: &Value) {
        let nested = NestedAt::new(
            JsonAt::parse("talk.comments").expect("a test place parses"),
            &Records::parse(records).expect("a test place parses"),
        );
        let mut rest = record.clone();
        let taken = nested.take(&mut rest);
        let taken = taken.map(|taken| (Value::Array(taken.records), taken.cursor.unwrap_or_default()));
        assert_eq!((taken, &rest), (expected, left), "{record}");
    }

    #[test]
    fn a_connection_is_taken_out_of_its_record() {
        let info = |more: bool| json!({"hasNextPage": more, "endCursor": "c2"});
        let of = |connection: Value| json!({"id": 1, "talk": {"comments": connection}});
        let nodes = "data.node.comments.nodes";
        let two = json!([{"id": 5}, {"id": 6}]);
        let edges = json!([{"cursor": "a", "node": {"id": 5}}, {"cursor": "b", "node": {"id": 6}}]);
        let gone = json!({"id": 1, "talk": {}});
        let plain = of(json!({"nodes": two, "pageInfo": info(true)}));
        check(nodes, &plain, Some((two.clone(), json!("c2"))), &gone);
        let whole = of(json!({"nodes": two, "pageInfo": info(false), "totalCount": 2}));
        check(nodes, &whole, Some((two.clone(), json!(null))), &of(json!({"totalCount": 2})));
        let with_edges = of(json!({"edges": edges, "pageInfo": info(true)}));
        check("$.data.node.comments.edges[*].node", &with_edges, Some((two, json!("c2"))), &gone);
        check("data.node.comments.edges", &with_edges, Some((edges.clone(), json!("c2"))), &gone);
    }

    #[test]
    fn what_does_not_say_how_it_goes_on_stays_where_it_is() {
        for connection in [
            json!(null),
            json!({"nodes": [1]}),
            json!({"nodes": [1], "pageInfo": {"hasNextPage": true}}),
            json!({"pageInfo": {"hasNextPage": false}}),
            json!({"nodes": null, "pageInfo": {"hasNextPage": false}}),
        ] {
            let record = json!({"id": 1, "talk": {"comments": connection}});
            check("data.node.comments.nodes", &record, None, &record);
        }
        check("data.node.comments.nodes", &json!({"id": 1}), None, &json!({"id": 1}));
    }
}
