//! Pagination: from one page of an API to the request for the next.

use serde_json::Value;

use super::api::Next;
use super::json_path::JsonAt;
use super::link_header;
use super::notes::Notes;
use super::paginate_auto;
use crate::exchange::Fetched;
use crate::job::{Call, Target};

/// How a stream leads to its next page. Records are counted as they came, before any filter.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Paginate {
    /// By the two forms that say themselves what to do: a `Link` header with `rel=next`, or a next address in the body.
    /// Signs of any other form stop the stream with the setting that is likely needed.
    #[default]
    Auto,
    /// One page is all.
    None,
    /// By the `Link` header (RFC 8288).
    Link {
        /// The relation type; `next` for nearly all.
        rel: String,
    },
    /// By an address in the body: absolute or relative; null, empty, false or missing at the end.
    NextUrl {
        /// Where it is.
        path: JsonAt,
    },
    /// By a token that is sent back.
    Cursor {
        /// Where the token is; null, empty, false or missing at the end.
        from: CursorFrom,
        /// The query parameter that it is sent in.
        param: String,
        /// A flag that says whether there is more, where the API has one.
        has_more: Option<JsonAt>,
    },
    /// By number: 1, 2, 3.
    Page {
        /// The query parameter.
        param: String,
        /// The number of the first page.
        start: u64,
        /// Records of a full page, as the server gives them: fewer end the stream. None: an empty page does.
        size: Option<u32>,
        /// Where the number of pages is, where the API tells it.
        total_pages: Option<JsonAt>,
    },
    /// By position: 0, 100, 200. Moves on by the records that came, since servers give fewer than they are asked for.
    Offset {
        /// The query parameter.
        param: String,
        /// The position of the first record.
        start: u64,
        /// Records of a full page, as the server gives them: fewer end the stream. None: an empty page does.
        size: Option<u32>,
        /// Where the number of records is, where the API tells it.
        total: Option<JsonAt>,
    },
}

/// Where a cursor is.
#[derive(Clone, Debug, PartialEq)]
pub enum CursorFrom {
    /// In the body.
    Body(JsonAt),
    /// In a header of this name, in any case. A value that is an address is taken as the next address.
    Header(String),
}

/// One page, as pagination sees it.
pub(super) struct Seen<'a> {
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
}

impl Paginate {
    /// Whether a page is asked for by a token that the server may forget.
    #[must_use]
    pub fn has_cursor(&self) -> bool {
        match self {
            Self::Auto | Self::Link { .. } | Self::NextUrl { .. } | Self::Cursor { .. } => true,
            Self::None | Self::Page { .. } | Self::Offset { .. } => false,
        }
    }

    /// What comes after this page.
    pub(super) fn next(&self, seen: &Seen<'_>, notes: &mut Notes) -> Next {
        match self {
            Self::Auto => paginate_auto::next(seen),
            Self::None => Next::End,
            Self::Link { rel } => match link_target(seen.fetched, rel) {
                Some(target) => seen.go_to(&target),
                None => Next::End,
            },
            Self::NextUrl { path } => match path.first(seen.document) {
                value if is_end(value) => Next::End,
                Some(Value::String(target)) => seen.go_to(target),
                Some(other) => Next::Stop(format!("{} at `paginate.path` ({path}) is not an address", kind_of(other))),
                None => Next::End,
            },
            Self::Cursor { from, param, has_more } => cursor(seen, from, param, has_more.as_ref(), notes),
            Self::Page { param, start, size, total_pages } => {
                let number = seen.number_in_query(param).unwrap_or(start.saturating_add(u64::from(seen.page_ordinal)));
                let pages = total_pages.as_ref().and_then(|path| path.first(seen.document)).and_then(as_count);
                let done = number.saturating_sub(*start).saturating_add(1);
                if seen.is_last(*size) || pages.is_some_and(|pages| done >= pages) {
                    return Next::End;
                }
                seen.go_with(param, &number.saturating_add(1).to_string())
            }
            Self::Offset { param, start, size, total } => {
                let at = seen.number_in_query(param).unwrap_or(*start);
                let next = at.saturating_add(seen.records);
                let total = total.as_ref().and_then(|path| path.first(seen.document)).and_then(as_count);
                if seen.is_last(*size) || total.is_some_and(|total| next.saturating_sub(*start) >= total) {
                    return Next::End;
                }
                if seen.page_ordinal > 0 && seen.number_in_query(param).is_none() {
                    return Next::Stop(format!("the request lacks its `{param}`, so the position is unknown"));
                }
                seen.go_with(param, &next.to_string())
            }
        }
    }
}

fn cursor(seen: &Seen<'_>, from: &CursorFrom, param: &str, has_more: Option<&JsonAt>, notes: &mut Notes) -> Next {
    let more = has_more.map(|path| truth_of(path.first(seen.document)));
    if more == Some(false) {
        return Next::End;
    }
    let token = match from {
        CursorFrom::Body(path) => match path.first(seen.document) {
            value if is_end(value) => None,
            Some(Value::String(token)) => Some(token.clone()),
            Some(Value::Number(token)) => Some(token.to_string()),
            Some(other) => {
                return Next::Stop(format!(
                    "the cursor at {path} is {}, which cannot be sent as the query parameter `{param}`",
                    kind_of(other)
                ));
            }
            None => None,
        },
        CursorFrom::Header(name) => {
            let value = seen.fetched.headers.get(&name.to_ascii_lowercase()).unwrap_or_default();
            (!value.is_empty()).then(|| value.to_owned())
        }
    };
    let Some(token) = token else {
        return if more == Some(true) {
            Next::Stop("the answer says that there is more but has no cursor: check `paginate.path`".to_owned())
        } else {
            Next::End
        };
    };
    if matches!(from, CursorFrom::Header(_)) && is_web_address(&token) {
        return seen.go_to(&token);
    }
    let same = seen.call.url.query_pairs().any(|(name, value)| name == param && value == token);
    if same && seen.records == 0 {
        notes.add("the last page is empty and repeats its cursor: taken as the end");
        return Next::End;
    }
    seen.go_with(param, &token)
}

impl Seen<'_> {
    /// On to `target`, an address as written, relative to the answer's.
    pub fn go_to(&self, target: &str) -> Next {
        let Ok(mut url) = self.fetched.url.join(target.trim()) else {
            return Next::Stop(format!("the next address cannot be read: {target:?}"));
        };
        url.set_fragment(None);
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Next::Stop(format!("the next address is not http: {target:?}"));
        }
        if url == self.call.url || url == self.fetched.url {
            return Next::Stop("the next address is this page's own: the stream goes in a circle".to_owned());
        }
        let off_origin = url.origin() != self.call.url.origin();
        let call = Call { url, extra: self.call.extra.clone() };
        Next::Go { call: Box::new(call), off_origin }
    }

    /// On to this page's request with one query parameter changed. All else stays as it is, byte for byte.
    pub fn go_with(&self, param: &str, value: &str) -> Next {
        let mut call = self.call.clone();
        call.set(&Target::Query(param.to_owned()), &Value::String(value.to_owned()));
        call.url.set_fragment(None);
        if call == *self.call {
            return Next::Stop(format!("the next `{param}` is this page's own: the stream goes in a circle"));
        }
        Next::Go { call: Box::new(call), off_origin: false }
    }

    fn number_in_query(&self, param: &str) -> Option<u64> {
        self.call.url.query_pairs().find(|(name, _)| name == param).and_then(|(_, value)| value.parse().ok())
    }

    /// Whether an empty or short page ends the stream.
    fn is_last(&self, size: Option<u32>) -> bool {
        self.records == 0 || size.is_some_and(|size| self.records < u64::from(size))
    }
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
pub(super) fn truth_of(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !matches!(text.trim().to_ascii_lowercase().as_str(), "" | "false" | "0" | "no"),
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(members)) => !members.is_empty(),
        Some(Value::Null) | None => false,
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a flag",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
