//! Which records are kept: a filter expression of `JSONPath` (RFC 9535 section 2.3.5) about one record.

use std::fmt;

use serde_json::Value;
use serde_json_path::JsonPath;

use super::json_path::JsonAtError;

/// A condition on a record, such as `$.state == 'open' && $.comments > 0`. Both `$` and `@` are the record.
#[derive(Clone, Debug)]
pub struct RecordFilter {
    text: String,
    /// The condition as the filter of a list that holds one record.
    path: Box<JsonPath>,
}

impl RecordFilter {
    /// Reads a condition.
    pub fn parse(text: &str) -> Result<Self, JsonAtError> {
        let text = text.trim();
        let error = |why: String| JsonAtError { text: text.to_owned(), why };
        if text.is_empty() {
            return Err(error("it is empty".to_owned()));
        }
        // In its brackets, so that the text can hold no more than a condition.
        let path = format!("$[?({})]", rooted(text));
        let path = JsonPath::parse(&path).map_err(|cause| error(cause.message().to_owned()))?;
        Ok(Self { text: text.to_owned(), path: Box::new(path) })
    }

    /// Whether the condition holds for `record`.
    #[must_use]
    pub fn passes(&self, record: &Value) -> bool {
        let list = Value::Array(vec![record.clone()]);
        !self.path.query(&list).is_empty()
    }
}

impl fmt::Display for RecordFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for RecordFilter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

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
        let records = [
            json!({"id": 1, "state": "open", "n": 3, "tags": [{"t": "a"}, {"t": "b"}], "wanted": "b"}),
            json!({"id": 2, "state": "closed", "n": 0, "tags": [], "cost": "$.n"}),
            json!({"id": 3, "state": "it's", "n": null, "a b": true}),
        ];
        let filter = RecordFilter::parse(condition).expect(condition);
        let kept = records.iter().filter(|record| filter.passes(record));
        let ids: Vec<u64> = kept.filter_map(|record| record["id"].as_u64()).collect();
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
        let (is_x, has_no_x) = (RecordFilter::parse("$ == 'x'"), RecordFilter::parse("!$.x"));
        let (is_x, has_no_x) = (is_x.expect("it parses"), has_no_x.expect("it parses"));
        for record in [json!(1), json!("x"), json!(null), json!({}), json!([1])] {
            assert_eq!((is_x.passes(&record), has_no_x.passes(&record)), (record == json!("x"), true), "{record}");
        }
    }

    #[test]
    fn a_bad_condition_says_what_is_wrong() {
        for text in ["", " ", "$.state = 'open'", "state == 'open'", "$.a)] || $[?(@", "$.a][0", "$.a == 'x"] {
            let error = RecordFilter::parse(text).expect_err(text);
            assert!(!error.why.is_empty(), "{error}");
        }
    }
}
