//! How an API is asked: all of a request that is no secret, and where a value can be put into it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

/// What a request does. Both only read: whoever lists a POST among the streams of an API says so (RFC 9110 section 9.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// The address says all.
    #[default]
    Get,
    /// The question is in the body.
    Post,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Post => "POST",
        })
    }
}

/// The body of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// `application/json`
    Json(Value),
    /// `application/x-www-form-urlencoded`, in order.
    Form(Vec<(String, String)>),
}

/// What a request has beside its address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extra {
    /// What it does.
    #[serde(default, skip_serializing_if = "is_default")]
    pub method: Method,
    /// Headers that tell the place in a stream, such as `range` or a cursor; names in lower case. Never a secret: they are stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Its body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Payload>,
}

impl Extra {
    /// As a job has it: none when it says nothing.
    #[must_use]
    pub fn into_job(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// One request to an API, without what identifies us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Where to: absolute, without a fragment.
    pub url: Url,
    /// The rest.
    pub extra: Extra,
}

/// A place in a request: `query:NAME`, `header:NAME` or `body:a.b`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A parameter of the address.
    Query(String),
    /// A header; the name in lower case.
    Header(String),
    /// A member of the body, name by name from its root; for a form, the field of that name.
    Body(Vec<String>),
}

/// A text that names no place in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no place in a request: \"query:NAME\", \"header:NAME\" or \"body:a.b\"")]
pub struct NoTarget;

impl Target {
    /// Reads `query:NAME`, `header:NAME` or `body:a.b`.
    pub fn parse(text: &str) -> Result<Self, NoTarget> {
        // RFC 9110 section 5.6.2: what a header's name is made of.
        let is_token = |letter: char| letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter);
        match text.trim().split_once(':') {
            Some(("query", name)) if !name.is_empty() => Ok(Self::Query(name.to_owned())),
            Some(("header", name)) if !name.is_empty() && name.chars().all(is_token) => {
                Ok(Self::Header(name.to_ascii_lowercase()))
            }
            Some(("body", path)) if path.split('.').all(|name| !name.is_empty()) => {
                Ok(Self::Body(path.split('.').map(str::to_owned).collect()))
            }
            _ => Err(NoTarget),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Body(path) => write!(f, "body:{}", path.join(".")),
        }
    }
}

impl Call {
    /// A plain GET of `url`.
    #[must_use]
    pub fn get(url: Url) -> Self {
        Self { url, extra: Extra::default() }
    }

    /// Puts `value` at `target`, in place of what is there. All else stays as it is, in a query byte for byte.
    pub fn set(&mut self, target: &Target, value: &Value) {
        match target {
            Target::Query(name) => set_query(&mut self.url, name, &text_of(value)),
            Target::Header(name) => {
                // A header is one line, whatever an answer gave us to send back.
                let line: String = text_of(value).chars().filter(|letter| !letter.is_control()).collect();
                match self.extra.headers.iter_mut().find(|(known, _)| known == name) {
                    Some((_, known)) => *known = line,
                    None => self.extra.headers.push((name.clone(), line)),
                }
            }
            Target::Body(path) => match &mut self.extra.body {
                Some(Payload::Form(fields)) => {
                    let (name, text) = (path.join("."), text_of(value));
                    match fields.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, known)) => *known = text,
                        None => fields.push((name, text)),
                    }
                }
                Some(Payload::Json(body)) => set_member(body, path, value.clone()),
                none @ None => {
                    let mut body = Value::Object(Map::new());
                    set_member(&mut body, path, value.clone());
                    *none = Some(Payload::Json(body));
                }
            },
        }
    }

    /// What is at `target`.
    #[must_use]
    pub fn value_at(&self, target: &Target) -> Option<Value> {
        match target {
            Target::Query(name) => {
                let mut pairs = self.url.query_pairs();
                pairs.find(|(known, _)| known == name).map(|(_, value)| Value::String(value.into_owned()))
            }
            Target::Header(name) => {
                let header = self.extra.headers.iter().find(|(known, _)| known == name);
                header.map(|(_, value)| Value::String(value.clone()))
            }
            Target::Body(path) => match self.extra.body.as_ref()? {
                Payload::Form(fields) => {
                    let name = path.join(".");
                    fields.iter().find(|(known, _)| *known == name).map(|(_, value)| Value::String(value.clone()))
                }
                Payload::Json(body) => path.iter().try_fold(body, |at, name| at.get(name)).cloned(),
            },
        }
    }
}

/// A value as text: a string without its quotes, anything else as JSON.
#[must_use]
pub fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn set_query(url: &mut Url, name: &str, value: &str) {
    let is_other = |pair: &&str| !url::form_urlencoded::parse(pair.as_bytes()).any(|(known, _)| known == name);
    let pairs = url.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let others = pairs.filter(is_other).collect::<Vec<_>>().join("&");
    let sent = url::form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
    let query = if others.is_empty() { sent } else { format!("{others}&{sent}") };
    url.set_query(Some(&query));
}

/// Sets a member deep in an object; what stands in its way and is no object is replaced by one.
fn set_member(body: &mut Value, path: &[String], value: Value) {
    let Some((name, rest)) = path.split_first() else {
        *body = value;
        return;
    };
    if !body.is_object() {
        *body = Value::Object(Map::new());
    }
    if let Value::Object(members) = body {
        set_member(members.entry(name).or_insert(Value::Null), rest, value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call() -> Call {
        Call::get(Url::parse("http://a.org/items?state=open&q=a%20b&page=1").expect("a test address parses"))
    }

    #[test]
    fn a_place_in_a_request_has_three_forms() {
        for text in ["query:cursor", "header:x-cursor", "body:page.after"] {
            assert_eq!(Target::parse(text).map(|target| target.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(Target::parse("header:X-Cursor"), Ok(Target::Header("x-cursor".to_owned())));
        for text in ["", "cursor", "query:", "header:a b", "body:", "body:a..b", "path:x"] {
            assert_eq!(Target::parse(text), Err(NoTarget), "{text}");
        }
    }

    #[test]
    fn a_value_goes_into_query_header_or_body_and_comes_back() {
        let mut call = call();
        for (target, value) in [
            ("query:page", json!("2")),
            ("query:new", json!("x&y")),
            ("header:x-next", json!("t1")),
            ("body:filter.after", json!({"id": 7})),
            ("body:filter.limit", json!(100)),
        ] {
            let target = Target::parse(target).expect("a test target parses");
            call.set(&target, &value);
            assert_eq!(call.value_at(&target), Some(value), "{target}");
        }
        assert_eq!(call.url.as_str(), "http://a.org/items?state=open&q=a%20b&page=2&new=x%26y");
        assert_eq!(call.extra.headers, [("x-next".to_owned(), "t1".to_owned())]);
        assert_eq!(call.extra.body, Some(Payload::Json(json!({"filter": {"after": {"id": 7}, "limit": 100}}))));
    }

    #[test]
    fn a_form_has_fields_and_no_depth() {
        let mut call = call();
        call.extra.body = Some(Payload::Form(vec![("q".to_owned(), "x".to_owned())]));
        call.set(&Target::Body(vec!["after".to_owned()]), &json!(5));
        let fields = vec![("q".to_owned(), "x".to_owned()), ("after".to_owned(), "5".to_owned())];
        assert_eq!(call.extra.body, Some(Payload::Form(fields)));
    }

    #[test]
    fn a_cursor_cannot_smuggle_a_line_into_the_headers() {
        let mut call = call();
        call.set(&Target::Header("x-next".to_owned()), &json!("t\r\nhost: evil"));
        assert_eq!(call.extra.headers, [("x-next".to_owned(), "thost: evil".to_owned())]);
    }

    #[test]
    fn what_a_plain_get_has_beside_its_address_is_nothing() {
        assert_eq!(serde_json::to_string(&Extra::default()).expect("it is JSON"), "{}");
        assert_eq!(serde_json::from_str::<Extra>("{}").expect("it is one"), Extra::default());
    }
}
