//! Where in a JSON document something is: RFC 9535 `JSONPath`, or the bare dotted names that most APIs need.

use std::fmt;

use serde_json::Value;
use serde_json_path::JsonPath;

/// A place in a JSON document.
///
/// - `$.data[*].id`, `$['@odata.nextLink']`: `JSONPath` as RFC 9535 has it.
/// - `data.items`: the same as `$.data.items`; a segment of digits also takes that element of a list. A member whose whole
///   name is the text wins, so `@odata.nextLink` works as it stands.
/// - `['@odata.nextLink']`, `data[*].id`: `JSONPath` without its `$`.
/// - `$`: the whole document.
#[derive(Clone, Debug)]
pub struct JsonAt {
    text: String,
    query: Query,
}

#[derive(Clone, Debug)]
enum Query {
    Dotted(Vec<String>),
    Path(Box<JsonPath>),
}

/// A place that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a JSON path: {why}")]
pub struct JsonAtError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

impl JsonAt {
    /// Reads a place.
    pub fn parse(text: &str) -> Result<Self, JsonAtError> {
        let text = text.trim();
        let error = |why: String| JsonAtError { text: text.to_owned(), why };
        if text.is_empty() {
            return Err(error("it is empty".to_owned()));
        }
        let path = if text.starts_with('$') {
            Some(text.to_owned())
        } else if text.starts_with('[') {
            Some(format!("${text}"))
        } else if text.contains(['[', '*']) || text.contains("..") {
            Some(format!("$.{text}"))
        } else {
            None
        };
        let query = if let Some(path) = path {
            Query::Path(Box::new(JsonPath::parse(&path).map_err(|cause| error(cause.to_string()))?))
        } else {
            let names: Vec<String> = text.split('.').map(str::to_owned).collect();
            if names.iter().any(String::is_empty) {
                return Err(error("a name between its dots is empty".to_owned()));
            }
            Query::Dotted(names)
        };
        Ok(Self { text: text.to_owned(), query })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// JSON pointers to everything there, in order, each once.
    pub(super) fn pointers(&self, value: &Value) -> Vec<String> {
        match &self.query {
            Query::Dotted(names) => {
                let escape = |name: &str| format!("/{}", name.replace('~', "~0").replace('/', "~1"));
                if value.get(&self.text).is_some() {
                    return vec![escape(&self.text)];
                }
                let found = dotted(names, &self.text, value).is_some();
                if found { vec![names.iter().map(|name| escape(name)).collect()] } else { Vec::new() }
            }
            Query::Path(path) => {
                path.query_located(value).dedup().iter().map(|node| node.location().to_json_pointer()).collect()
            }
        }
    }

    /// The first thing there.
    #[must_use]
    pub fn find<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.first(value)
    }

    /// The same, for the readers of this room.
    pub(super) fn first<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        match &self.query {
            Query::Dotted(names) => dotted(names, &self.text, value),
            Query::Path(path) => path.query(value).first(),
        }
    }
}

impl fmt::Display for JsonAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for JsonAt {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

fn dotted<'v>(names: &[String], whole: &str, value: &'v Value) -> Option<&'v Value> {
    if let Some(found) = value.get(whole) {
        return Some(found);
    }
    names.iter().try_fold(value, |value, name| match value {
        Value::Array(list) => list.get(name.parse::<usize>().ok()?),
        other => other.get(name),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(path: &str, expected: &[Value]) {
        let document = json!({
            "data": {"items": [{"id": 1}, {"id": 2}], "na-me": 3, "0": "zero"},
            "@odata.nextLink": "/next",
            "null": null,
        });
        let at = JsonAt::parse(path).expect(path);
        let found: Vec<Value> =
            at.pointers(&document).iter().map(|it| document.pointer(it).expect("it is there").clone()).collect();
        assert_eq!(found, expected, "{path}");
        assert_eq!(at.first(&document), expected.first(), "{path}");
    }

    #[test]
    fn places_are_found() {
        check("data.na-me", &[json!(3)]);
        check("$.data.items", &[json!([{"id": 1}, {"id": 2}])]);
        check("data.items", &[json!([{"id": 1}, {"id": 2}])]);
        check("data.items.1.id", &[json!(2)]);
        check("data.0", &[json!("zero")]);
        check("data.items[*].id", &[json!(1), json!(2)]);
        check("$..id", &[json!(1), json!(2)]);
        check("@odata.nextLink", &[json!("/next")]);
        check("['@odata.nextLink']", &[json!("/next")]);
        check("$['@odata.nextLink']", &[json!("/next")]);
        check("null", &[Value::Null]);
        check("missing.at.all", &[]);
        check("data.items.7", &[]);
    }

    #[test]
    fn a_bad_place_says_what_is_wrong() {
        for text in ["", " ", "a..", "a.", ".a", "$.[", "$['a"] {
            let error = JsonAt::parse(text).expect_err(text);
            assert!(error.to_string().contains("is not a JSON path"), "{error}");
        }
    }
}
