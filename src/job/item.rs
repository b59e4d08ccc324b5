//! What pages and APIs yield.

use std::collections::HashSet;

use serde_json::{Map, Value};

/// A record that was extracted and not stored yet.
#[derive(Clone, Debug, PartialEq)]
pub struct NewItem {
    /// What makes it the same record when it is met again; a later one with the same key replaces it.
    pub key: ItemKey,
    /// The record itself: any JSON value, an object for all but odd APIs.
    pub data: Value,
}

/// What becomes of a stored record when it is met again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Merge {
    /// The later one takes its place.
    #[default]
    Replace,
    /// Within one pull the later one is added to it, for APIs that send a record in parts; in a later pull it takes its place.
    Deep,
}

/// Adds `later` to `stored`: objects member by member, lists by the elements that they lack; anything else is replaced.
pub fn merge_deep(stored: &mut Value, later: &Value) {
    match (stored, later) {
        (Value::Object(stored), Value::Object(later)) => merge_members(stored, later),
        (Value::Array(stored), Value::Array(later)) => {
            // Members of our objects are sorted by name, so that equal values have equal texts.
            let mut had: HashSet<String> = stored.iter().map(Value::to_string).collect();
            stored.extend(later.iter().filter(|element| had.insert(element.to_string())).cloned());
        }
        (stored, later) => stored.clone_from(later),
    }
}

fn merge_members(stored: &mut Map<String, Value>, later: &Map<String, Value>) {
    for (name, value) in later {
        match stored.get_mut(name) {
            Some(stored) => merge_deep(stored, value),
            None => drop(stored.insert(name.clone(), value.clone())),
        }
    }
}

/// 128 bits of BLAKE3 over a record's identity within its source: the values of its key fields, or all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ItemKey(pub [u8; 16]);

impl ItemKey {
    /// The key of the identity spelled by `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
        Self(key)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn records_in_parts_become_whole() {
        #[track_caller]
        fn check([stored, later, expected]: [Value; 3]) {
            let mut merged = stored;
            merge_deep(&mut merged, &later);
            assert_eq!(merged, expected);
            merge_deep(&mut merged, &later);
            assert_eq!(merged, expected, "once more changes nothing");
        }
        check([json!({"id": 1, "a": 1}), json!({"id": 1, "b": {"c": 2}}), json!({"id": 1, "a": 1, "b": {"c": 2}})]);
        check([
            json!({"a": {"b": 1, "c": [1]}}),
            json!({"a": {"c": [2, 1], "d": null}}),
            json!({"a": {"b": 1, "c": [1, 2], "d": null}}),
        ]);
        check([
            json!({"a": [{"x": 1, "y": 2}]}),
            json!({"a": [{"y": 2, "x": 1}, 3]}),
            json!({"a": [{"x": 1, "y": 2}, 3]}),
        ]);
        check([json!({"a": [1]}), json!({"a": "text"}), json!({"a": "text"})]);
        check([json!({"a": {"b": 1}}), json!({"a": null}), json!({"a": null})]);
        check([json!(1), json!({"a": 1}), json!({"a": 1})]);
    }
}
