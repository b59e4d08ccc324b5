//! What a user says about answers of an API that are no records: rules by status, by a place in the body, by its text.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::charset::{self, Syntax};
use super::json_path::JsonAt;
use super::notes::Notes;
use crate::exchange::{BodyEnd, Fetched};

/// What is to be done about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorAction {
    /// It failed; try again, within the attempts.
    Retry,
    /// It is a limit: wait, and no attempt is used up.
    Throttle {
        /// How long, in ms; none leaves it to the headers and to what is learned.
        wait_ms: Option<u64>,
    },
    /// There is nothing here; the slice counts as done.
    Skip,
    /// The stream ends with this page, as a last page does.
    Stop,
    /// The slice begins again at its first page.
    Restart,
    /// What was asked for at once is asked for in halves.
    Split,
    /// It is given up.
    Fail,
}

/// One rule: it matches when all that it names does.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorRule {
    /// Statuses; empty for any.
    pub statuses: Vec<RangeInclusive<u16>>,
    /// A place in the body that is there and says something: not null, false, empty or 0.
    pub at: Option<JsonAt>,
    /// What is at that place.
    pub equals: Option<Value>,
    /// A piece of the body's text, in any case.
    pub text: Option<String>,
    /// What to do.
    pub action: ErrorAction,
}

/// Characters of a body that a rule is held against, at most: an error is told at its beginning.
const TEXT_CHARS_MAX: usize = 64 << 10;

/// The first rule that matches an answer.
#[must_use]
pub fn error_rule<'r>(fetched: &Fetched, rules: &'r [ErrorRule]) -> Option<&'r ErrorRule> {
    let fits_status = |rule: &&ErrorRule| {
        rule.statuses.is_empty() || rule.statuses.iter().any(|range| range.contains(&fetched.status))
    };
    let mut candidates = rules.iter().filter(fits_status).peekable();
    let first = *candidates.peek()?;
    if first.at.is_none() && first.text.is_none() {
        return Some(first);
    }
    let decoded = charset::decode(fetched, &fetched.body, Syntax::Json, &mut Notes::default());
    let document: Option<Value> = match fetched.body_end {
        BodyEnd::Whole => serde_json::from_str(&decoded.text).ok(),
        BodyEnd::TooLarge { .. } | BodyEnd::Unwanted | BodyEnd::Cut { .. } => None,
    };
    candidates.find(|rule| {
        let fits_place = rule.at.as_ref().is_none_or(|at| {
            let found = document.as_ref().and_then(|document| at.first(document));
            match &rule.equals {
                Some(expected) => found == Some(expected),
                None => found.is_some_and(says_something),
            }
        });
        let fits_text = rule.text.as_ref().is_none_or(|text| {
            let beginning: String = decoded.text.chars().take(TEXT_CHARS_MAX).collect();
            beginning.to_lowercase().contains(&text.to_lowercase())
        });
        fits_place && fits_text
    })
}

/// Whether an answer says in its body, and nowhere else, that it is a limit: a 403 whose text has the words, and a 200 of GraphQL with an
/// error of that type (GitHub: "rate limits and query limits for the GraphQL API").
#[must_use]
pub fn speaks_of_a_limit(fetched: &Fetched) -> bool {
    let beginning = &fetched.body[..fetched.body.len().min(TEXT_CHARS_MAX)];
    let text = String::from_utf8_lossy(beginning);
    if fetched.status == 403 {
        let text = text.to_lowercase();
        return ["rate limit", "ratelimit", "too many requests", "quota exceeded"]
            .iter()
            .any(|words| text.contains(words));
    }
    if fetched.body_end != BodyEnd::Whole || !text.contains("\"RATE_LIMITED\"") {
        return false;
    }
    let document: Value = serde_json::from_slice(&fetched.body).unwrap_or_default();
    let is_limit = |error: &Value| {
        [error.get("type"), error.pointer("/extensions/code")]
            .contains(&Some(&Value::String("RATE_LIMITED".to_owned())))
    };
    document.get("errors").and_then(Value::as_array).is_some_and(|errors| errors.iter().any(is_limit))
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::answer;
    use super::*;

    fn rule(statuses: &[u16], at: Option<&str>, equals: Option<Value>, text: Option<&str>) -> ErrorRule {
        ErrorRule {
            statuses: statuses.iter().map(|&status| status..=status).collect(),
            at: at.map(|at| JsonAt::parse(at).expect("a test place parses")),
            equals,
            text: text.map(str::to_owned),
            action: ErrorAction::Fail,
        }
    }

    #[test]
    fn a_rule_matches_when_all_that_it_names_does() {
        let fetched = |status, body: &str| Fetched { status, ..answer("http://a.org/", &[], body.to_owned()) };
        let lag = fetched(200, &json!({"error": {"code": "maxlag"}, "n": 0}).to_string());
        let html = fetched(403, "<h1>Rate Limit exceeded</h1>");
        for (rule, of_lag, of_html) in [
            (rule(&[], None, None, None), true, true),
            (rule(&[200], None, None, None), true, false),
            (rule(&[], Some("error.code"), Some(json!("maxlag")), None), true, false),
            (rule(&[], Some("error.code"), Some(json!("other")), None), false, false),
            (rule(&[], Some("error"), None, None), true, false),
            (rule(&[], Some("n"), None, None), false, false),
            (rule(&[], Some("n"), Some(json!(0)), None), true, false),
            (rule(&[], None, None, Some("rate limit")), false, true),
            (rule(&[403], None, None, Some("RATE")), false, true),
            (rule(&[404], None, None, Some("rate")), false, false),
        ] {
            let rules = [rule];
            let matches = [&lag, &html].map(|fetched| error_rule(fetched, &rules).is_some());
            assert_eq!(matches, [of_lag, of_html], "{rules:?}");
        }
    }

    #[test]
    fn a_limit_that_only_the_body_tells_is_one() {
        for (status, body, expected) in [
            (403, "{\"message\": \"API rate limit exceeded for 1.2.3.4\"}", true),
            (403, "<h1>Forbidden</h1>", false),
            (200, "{\"errors\": [{\"type\": \"RATE_LIMITED\"}]}", true),
            (200, "{\"errors\": [{\"extensions\": {\"code\": \"RATE_LIMITED\"}}], \"data\": null}", true),
            (200, "{\"data\": [{\"title\": \"RATE_LIMITED\"}]}", false),
            (200, "{\"data\": \"rate limit exceeded\"}", false),
        ] {
            let fetched = Fetched { status, ..answer("http://a.org/", &[], body.to_owned()) };
            assert_eq!(speaks_of_a_limit(&fetched), expected, "{status} {body}");
        }
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let rules =
            [rule(&[404], None, None, None), rule(&[404, 410], Some("x"), None, None), rule(&[410], None, None, None)];
        let found = |status| {
            let fetched = Fetched { status, ..answer("http://a.org/", &[], "{}".to_owned()) };
            rules.iter().position(|rule| Some(rule) == error_rule(&fetched, &rules))
        };
        assert_eq!([found(404), found(410), found(500)], [Some(0), Some(2), None]);
    }
}
