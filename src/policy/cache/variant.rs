//! Which of a page's variants an answer is: whose credential asked, and with what in the fields that `Vary` names.

use serde::{Deserialize, Serialize};

use crate::exchange::Headers;
use crate::job::Method;

use super::fields::members;

/// A request as far as it decides which answer is right for it.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'r> {
    /// What it does; only a GET can be asked conditionally.
    pub method: Method,
    /// Name of the credential it carries, never the credential; empty for none. Answers are never shared between two.
    pub credential: &'r str,
    /// Its other fields, in order: names in lower case, values as sent. Secrets are left out: `credential` stands for them.
    pub fields: &'r [(String, String)],
}

impl Sent<'_> {
    /// The value of a field, its lines joined (RFC 9110 section 5.2); none when it is not sent.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        let lines: Vec<&str> =
            self.fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.trim()).collect();
        (!lines.is_empty()).then(|| lines.join(", "))
    }
}

/// What of a request an answer is bound to (RFC 9111 section 4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// Name of the credential; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    credential: String,
    /// `Vary: *`: bound to more than the request shows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    beyond: bool,
    /// The fields that `Vary` names, each once, with what was sent; none where it was not sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<(String, Option<String>)>,
}

/// Whether an answer is one to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Match {
    /// It is.
    Same,
    /// Only the server can tell (`Vary: *`).
    Beyond,
    /// It answered another credential.
    OtherCredential,
    /// It answered other values of the fields that it varies by.
    OtherFields,
}

impl Variant {
    /// That of an answer with these headers to `sent`.
    #[must_use]
    pub fn of(answer: &Headers, sent: &Sent<'_>) -> Self {
        let mut variant = Self { credential: sent.credential.to_owned(), ..Self::default() };
        for member in members(answer, "vary") {
            let name = member.to_ascii_lowercase();
            if name == "*" {
                variant.beyond = true;
            } else if !variant.fields.iter().any(|(known, _)| *known == name) {
                let value = sent.value(&name);
                variant.fields.push((name, value));
            }
        }
        variant
    }

    /// Whether it is the answer to `sent`.
    pub(super) fn matches(&self, sent: &Sent<'_>) -> Match {
        if self.credential != sent.credential {
            Match::OtherCredential
        } else if self.fields.iter().any(|(name, value)| *value != sent.value(name)) {
            Match::OtherFields
        } else if self.beyond {
            Match::Beyond
        } else {
            Match::Same
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn matched(vary: &[&str], first: &[(&str, &str)], second: &[(&str, &str)]) -> Match {
        let answer = Headers::from_pairs(vary.iter().map(|line| ("vary", line)));
        let (first, second) = (fields(first), fields(second));
        let sent = |fields| Sent { method: Method::Get, credential: "", fields };
        Variant::of(&answer, &sent(&first)).matches(&sent(&second))
    }

    #[test]
    fn only_fields_that_vary_names_decide() {
        let (a, b) = ([("foo", "1"), ("other", "x")], [("foo", "1"), ("other", "y")]);
        assert_eq!(matched(&[], &a, &b), Match::Same);
        assert_eq!(matched(&["Foo"], &a, &b), Match::Same);
        assert_eq!(matched(&["Foo", ", Other"], &a, &b), Match::OtherFields);
        assert_eq!(matched(&["foo, FOO"], &a, &[("foo", "2")]), Match::OtherFields);
    }

    #[test]
    fn a_field_that_is_not_sent_is_like_no_value_of_it() {
        assert_eq!(matched(&["foo"], &[], &[]), Match::Same);
        assert_eq!(matched(&["foo"], &[], &[("foo", "")]), Match::OtherFields);
        assert_eq!(matched(&["foo"], &[("foo", "1")], &[]), Match::OtherFields);
    }

    #[test]
    fn two_lines_of_a_field_are_one_list() {
        assert_eq!(matched(&["foo"], &[("foo", "1, 2")], &[("foo", "1"), ("foo", " 2")]), Match::Same);
        assert_eq!(matched(&["foo"], &[("foo", "2, 1")], &[("foo", "1"), ("foo", "2")]), Match::OtherFields);
    }

    #[test]
    fn a_star_among_other_fields_never_matches_without_asking() {
        for vary in [&["*"][..], &["*, *"], &["*", "*"], &[", *"], &["", "*"], &["*, foo"], &["foo, *"]] {
            assert_eq!(matched(vary, &[("foo", "1")], &[("foo", "1")]), Match::Beyond, "{vary:?}");
        }
    }

    #[test]
    fn the_answer_to_one_credential_is_none_to_another() {
        let variant = Variant::of(&Headers::default(), &Sent { method: Method::Get, credential: "gh", fields: &[] });
        let sent = |credential| Sent { method: Method::Get, credential, fields: &[] };
        assert_eq!(variant.matches(&sent("gh")), Match::Same);
        assert_eq!(variant.matches(&sent("")), Match::OtherCredential);
    }

    #[test]
    fn a_variant_comes_back_from_its_json() {
        let headers = Headers::from_pairs([("vary", "accept, cookie")]);
        let sent_fields = fields(&[("accept", "text/html")]);
        let variant = Variant::of(&headers, &Sent { method: Method::Get, credential: "gh", fields: &sent_fields });
        let json = serde_json::to_string(&variant).expect("text is JSON");
        assert_eq!(json, r#"{"credential":"gh","fields":[["accept","text/html"],["cookie",null]]}"#);
        assert_eq!(serde_json::from_str::<Variant>(&json).expect("it is one"), variant);
        assert_eq!(serde_json::to_string(&Variant::default()).expect("text is JSON"), "{}");
    }
}
