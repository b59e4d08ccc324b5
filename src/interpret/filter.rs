//! Which records are meant, by an RFC 9535 filter expression.

use std::fmt;

use serde_json::Value;
use serde_json_path::JsonPath;

use super::json_path::JsonAtError;

/// A test of one record: `$.comments > 0`, `$.state == 'open' && $.labels[*]`, as in the brackets of `$[?...]`, with `$` for the record.
#[derive(Clone, Debug)]
pub struct RecordFilter {
    text: String,
    query: Box<JsonPath>,
}

impl RecordFilter {
    /// Reads a filter.
    pub fn parse(text: &str) -> Result<Self, JsonAtError> {
        let error = |why: String| JsonAtError { text: text.to_owned(), why };
        // Within a filter, `@` is the element under test. `$` in a quoted text stays.
        let mut quote = None;
        let mut filter = String::with_capacity(text.len());
        for letter in text.trim().chars() {
            match (quote, letter) {
                (None, '\'' | '"') => quote = Some(letter),
                (Some(open), _) if letter == open => quote = None,
                _ => {}
            }
            filter.push(if quote.is_none() && letter == '$' { '@' } else { letter });
        }
        if filter.is_empty() {
            return Err(error("it is empty".to_owned()));
        }
        let query = JsonPath::parse(&format!("$[?({filter})]")).map_err(|cause| error(cause.to_string()))?;
        Ok(Self { text: text.to_owned(), query: Box::new(query) })
    }

    /// Whether `records` pass, in order.
    #[must_use]
    pub fn passes(&self, record: &Value) -> bool {
        // A query looks at the elements of a list: this is a list of one.
        let list = Value::Array(vec![record.clone()]);
        !self.query.query(&list).is_empty()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_filter_tests_one_record() {
        let record = json!({"state": "open", "comments": 3, "user": {"login": "a$b"}, "labels": []});
        for (filter, passes) in [
            ("$.comments > 0", true),
            ("$.comments > 3", false),
            ("$.state == 'open' && $.comments >= 3", true),
            ("$.state == \"closed\" || $.comments == 3", true),
            ("$.user.login == 'a$b'", true),
            ("$.labels[0]", false),
            ("$.missing", false),
            ("!$.missing", true),
            ("@.comments > 0", true),
        ] {
            let parsed = RecordFilter::parse(filter).expect("a test filter parses");
            assert_eq!(parsed.passes(&record), passes, "{filter}");
        }
        for filter in ["", "$.a >", "comments > 0"] {
            assert!(RecordFilter::parse(filter).is_err(), "{filter}");
        }
    }
}
