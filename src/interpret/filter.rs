//! Which records are kept: a filter expression of `JSONPath` (RFC 9535 section 2.3.5) about one record.

use std::fmt;

use serde_json::Value;
use serde_json_path::JsonPath;

/// A condition on a record, such as `$.state == 'open' && $.comments > 0`. Both `$` and `@` are the record.
#[derive(Clone, Debug)]
pub struct Filter {
    text: String,
    /// The condition as the filter of a list that holds one record.
    path: Box<JsonPath>,
}

/// A condition that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a condition on a record, such as \"$.state == 'open'\": {why}")]
pub struct FilterError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

impl Filter {
    /// Reads a condition.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let text = text.trim();
        let error = |why: String| FilterError { text: text.to_owned(), why };
        if text.is_empty() {
            return Err(error("it is empty".to_owned()));
        }
        // In its brackets, so that the text can hold no more than a condition.
        let path = format!("$[?({})]", rooted(text));
        let path = JsonPath::parse(&path).map_err(|cause| error(cause.message().to_owned()))?;
        Ok(Self { text: text.to_owned(), path: Box::new(path) })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Those of `records` that the condition holds for, in order.
    pub(super) fn keep(&self, records: Vec<Value>) -> Vec<Value> {
        let mut list = Value::Array(vec![Value::Null]);
        let mut fits = |record: Value| {
            list[0] = record;
            let fits = !self.path.query(&list).is_empty();
            let record = list[0].take();
            fits.then_some(record)
        };
        records.into_iter().filter_map(&mut fits).collect()
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Filter {}

/// The condition with each `$` outside of a text in quotes as `$[0]`: the root is the list, and the record its first element.
fn rooted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut quote = None;
    let mut escaped = false;
    for letter in text.chars() {
        out.push(letter);
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if letter == '\\' => escaped = true,
            Some(open) if letter == open => quote = None,
            None if letter == '\'' || letter == '"' => quote = Some(letter),
            None if letter == '$' => out.push_str("[0]"),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(condition: &str, expected: &[u64]) {
        let records = vec![
            json!({"id": 1, "state": "open", "n": 3, "tags": [{"t": "a"}, {"t": "b"}], "wanted": "b"}),
            json!({"id": 2, "state": "closed", "n": 0, "tags": [], "cost": "$.n"}),
            json!({"id": 3, "state": "it's", "n": null, "a b": true}),
        ];
        let kept = Filter::parse(condition).expect(condition).keep(records);
        let ids: Vec<u64> = kept.iter().filter_map(|record| record["id"].as_u64()).collect();
        assert_eq!(ids, expected, "{condition}");
    }

    #[test]
    fn a_condition_picks_records() {
        check("$.state == 'open'", &[1]);
        check("@.state == \"open\"", &[1]);
        check("$.n > 0", &[1]);
        check("$.n >= 0 && $.state != 'open'", &[2]);
        check("$.cost", &[2]);
        check("!$.cost", &[1, 3]);
        check("$.cost == '$.n'", &[2]);
        check("$.state == 'it\\'s'", &[3]);
        check("$['a b'] == true || $.id == 2", &[2, 3]);
        check("$.n == null", &[3]);
        check("$.tags[?@.t == $.wanted]", &[1]);
        check("length($.tags) == 0", &[2]);
        check("match($.state, 'o.*')", &[1]);
        check("$.id == 9", &[]);
    }

    #[test]
    fn records_of_any_kind_can_be_asked() {
        let scalars = vec![json!(1), json!("x"), json!(null), json!({}), json!([1])];
        assert_eq!(Filter::parse("$ == 'x'").expect("it parses").keep(scalars.clone()), [json!("x")]);
        assert_eq!(Filter::parse("!$.x").expect("it parses").keep(scalars.clone()), scalars);
    }

    #[test]
    fn a_bad_condition_says_what_is_wrong() {
        for text in ["", " ", "$.state = 'open'", "state == 'open'", "$.a)] || $[?(@", "$.a][0", "$.a == 'x"] {
            let error = Filter::parse(text).expect_err(text);
            assert!(error.to_string().contains("is not a condition on a record"), "{error}");
        }
    }
}
