//! One page as pagination sees it, and the ways on from it.

use serde_json::Value;

use crate::exchange::Fetched;
use crate::interpret::api::Next;
use crate::interpret::json_path::JsonAt;
use crate::interpret::link_header;
use crate::interpret::records::Located;
use crate::job::{Call, Extra, Method, Payload, Target, text_of};

/// One page, as pagination sees it.
pub(in crate::interpret) struct Seen<'a> {
    /// The answer.
    pub fetched: &'a Fetched,
    /// Its body.
    pub document: &'a Value,
    /// The request that it answers.
    pub call: &'a Call,
    /// 0 for the first page.
    pub page_ordinal: u32,
    /// Records on it.
    pub records: u64,
    /// Where they are.
    pub located: &'a Located,
}

/// What the signs of a page say of the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// There is none.
    End,
    /// There is one.
    More,
    /// Nothing either way.
    Open,
    /// Both; the words say what to set.
    Torn(String),
}

impl Seen<'_> {
    /// On to `target`, an address as written, relative to the answer's. At another origin it is a plain GET: our body and our
    /// headers are for the stream's own.
    pub fn go_to(&self, target: &str) -> Next {
        let Ok(mut url) = self.fetched.url.join(target.trim()) else {
            return Next::Stop(format!("the next address cannot be read: {target:?}"));
        };
        url.set_fragment(None);
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Next::Stop(format!("the next address is not http: {target:?}"));
        }
        let off_origin = url.origin() != self.call.url.origin();
        let own = &self.call.extra;
        if off_origin && (own.method != Method::Get || own.body.is_some()) {
            return Next::Stop(format!(
                "the next address lies at another origin, where the body of this stream's requests must not go: {url}"
            ));
        }
        let call = Call { url, extra: if off_origin { Extra::default() } else { own.clone() } };
        if call == *self.call || call.url == self.fetched.url {
            return Next::Stop("the next address is this page's own: the stream goes in a circle".to_owned());
        }
        Next::Go { call: Box::new(call), off_origin }
    }

    /// On to this page's request with one value changed. All else stays as it is, byte for byte.
    pub fn go_with(&self, target: &Target, value: &Value) -> Next {
        if self.is_sent(target, value) {
            return circle(target);
        }
        let mut call = self.call.clone();
        call.set(target, value);
        self.go_on(call, target)
    }

    /// Whether this page was asked for with `value` at `target`.
    pub fn is_sent(&self, target: &Target, value: &Value) -> bool {
        self.call.value_at(target).is_some_and(|sent| text_of(&sent) == text_of(value))
    }

    /// On to `call`, which differs from this page's own at `what`.
    pub fn go_on(&self, mut call: Call, what: &dyn std::fmt::Display) -> Next {
        call.url.set_fragment(None);
        if call == *self.call {
            return circle(what);
        }
        Next::Go { call: Box::new(call), off_origin: false }
    }

    /// The number that this page was asked for by `target`.
    pub fn number_at(&self, target: &Target) -> Option<u64> {
        self.call.value_at(target).as_ref().and_then(as_count)
    }

    /// `number` as it is sent at `target`: a text where a text stands already.
    pub fn number_for(&self, target: &Target, number: u64) -> Value {
        let is_text = matches!(self.call.extra.body, Some(Payload::Json(_)))
            && matches!(target, Target::Body(_))
            && self.call.value_at(target).is_some_and(|value| value.is_string());
        if is_text { Value::String(number.to_string()) } else { Value::from(number) }
    }

    /// What each record has at `field`.
    pub fn field_of_each(&self, field: &JsonAt) -> Vec<Option<Value>> {
        self.located.field_of_each(self.document, field)
    }
}

fn circle(what: &dyn std::fmt::Display) -> Next {
    Next::Stop(format!("the next {what} is this page's own: the stream goes in a circle"))
}

/// The target of the first link of this relation; none as well when it says that nothing is there (`results="false"`, Sentry).
pub(super) fn link_target(fetched: &Fetched, rel: &str) -> Option<String> {
    link_header::parse_all(fetched.headers.get_all("link"))
        .into_iter()
        .find(|link| link.has_rel(rel))
        .filter(|link| link.param("results") != Some("false"))
        .map(|link| link.target)
}

/// Whether a next address or cursor says that there is none.
pub(super) fn is_end(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => true,
        Some(Value::String(text)) => text.trim().is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(members)) => members.is_empty(),
        _ => false,
    }
}

/// Whether this text is an http or https address of its own.
pub(super) fn is_web_address(text: &str) -> bool {
    let text = text.trim();
    ["http://", "https://"]
        .iter()
        .any(|scheme| text.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme)))
}

/// A count; some APIs send it as text.
pub(super) fn as_count(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// What a has-more flag says; a missing one says no.
pub(in crate::interpret) fn truth_of(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !matches!(text.trim().to_ascii_lowercase().as_str(), "" | "false" | "0" | "no"),
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(members)) => !members.is_empty(),
        Some(Value::Null) | None => false,
    }
}

pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a flag",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
