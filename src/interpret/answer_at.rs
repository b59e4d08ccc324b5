//! Where an answer says something: in its body or in a header.

use std::fmt;

use serde_json::Value;

use super::json_path::{JsonAt, JsonAtError};
use crate::exchange::Fetched;

/// A place in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerAt {
    /// In the body.
    Body(JsonAt),
    /// In the header of this name, in lower case.
    Header(String),
}

impl AnswerAt {
    /// Reads `header:NAME`, or a place in the body as [`JsonAt`] does.
    pub fn parse(text: &str) -> Result<Self, JsonAtError> {
        match text.trim().strip_prefix("header:") {
            Some("") => Err(JsonAtError { text: text.to_owned(), why: "the header has no name".to_owned() }),
            Some(name) => Ok(Self::Header(name.to_ascii_lowercase())),
            None => Ok(Self::Body(JsonAt::parse(text)?)),
        }
    }

    /// What is there; a header's value is a text, and an empty one is none.
    pub(super) fn value(&self, fetched: &Fetched, document: &Value) -> Option<Value> {
        match self {
            Self::Body(at) => at.first(document).cloned(),
            Self::Header(name) => {
                let value = fetched.headers.get(name).map(str::trim).filter(|value| !value.is_empty());
                value.map(|value| Value::String(value.to_owned()))
            }
        }
    }
}

impl fmt::Display for AnswerAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(at) => at.fmt(f),
            Self::Header(name) => write!(f, "the header {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::answer;
    use super::*;

    #[test]
    fn an_answer_says_things_in_its_body_and_in_its_headers() {
        let fetched = answer("https://h/x", &[("X-Total", " 7 "), ("X-Next", "")], "");
        for (place, expected) in [
            ("header:X-Total", Some(json!("7"))),
            ("header:x-next", None),
            ("header:x-none", None),
            ("meta.total", Some(json!(9))),
            ("meta.none", None),
        ] {
            let at = AnswerAt::parse(place).expect("a test place parses");
            assert_eq!(at.value(&fetched, &json!({"meta": {"total": 9}})), expected, "{place}");
        }
        assert!(AnswerAt::parse("header:").is_err() && AnswerAt::parse("a..").is_err());
    }
}
