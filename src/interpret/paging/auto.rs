//! Pagination that nobody configured: follow what says itself where it leads, and stop aloud at signs of anything else.
//! Taking the first page for the whole is the one mistake that this must never make.

use serde_json::{Map, Value};

use super::seen::{Seen, as_count, is_end, is_web_address, link_target, truth_of};
use crate::exchange::Fetched;
use crate::interpret::api::Next;

/// Members that hold the next address, in APIs that we know of.
const NEXT_NAMES: [&str; 12] = [
    "next",
    "next_url",
    "nextUrl",
    "next_page_url",
    "nextPageUrl",
    "nextPage",
    "next_page",
    "next_link",
    "nextLink",
    "@odata.nextLink",
    "odata.nextLink",
    "next_href",
];

/// Members that such a member may lie in.
const NEXT_PARENTS: [&str; 10] = [
    "links",
    "_links",
    "link",
    "paging",
    "pagination",
    "meta",
    "metadata",
    "page_info",
    "pageInfo",
    "response_metadata",
];

/// Members that hold a cursor.
const CURSOR_NAMES: [&str; 17] = [
    "next_cursor",
    "nextCursor",
    "next_page_token",
    "nextPageToken",
    "next_token",
    "nextToken",
    "NextToken",
    "cursor",
    "after",
    "endCursor",
    "end_cursor",
    "continue",
    "continuation",
    "continuationToken",
    "continuation_token",
    "LastEvaluatedKey",
    "scroll_id",
];

/// Members that say whether there is more.
const MORE_NAMES: [&str; 8] =
    ["has_more", "hasMore", "has_next", "hasNext", "has_next_page", "hasNextPage", "more", "more_items_in_collection"];

/// Members that count pages.
const PAGES_NAMES: [&str; 9] =
    ["total_pages", "totalPages", "pages", "page_count", "pageCount", "last_page", "lastPage", "num_pages", "numPages"];

/// Members that count records.
const TOTAL_NAMES: [&str; 8] = [
    "total",
    "total_count",
    "totalCount",
    "total_results",
    "totalResults",
    "total_items",
    "totalItems",
    "total_records",
];

/// What comes after this page.
pub(super) fn next(seen: &Seen<'_>) -> Next {
    if let Some(target) = link_target(seen.fetched, "next") {
        return seen.go_to(&target);
    }
    let places = places(seen.document);
    let (mut end_is_said, mut odd) = (seen.fetched.headers.get("link").is_some_and(|link| link.contains("rel=")), None);
    for (path, members) in &places {
        for name in NEXT_NAMES {
            let Some(value) = members.get(name) else { continue };
            match address_in(value) {
                Some(target) => return seen.go_to(target),
                None if is_end(Some(value)) => end_is_said = true,
                // A number or a token under such a name is a cursor.
                None => odd = odd.or_else(|| Some(spell(path, name))),
            }
        }
    }
    if let Some(target) = next_of_link_list(seen.document) {
        return seen.go_to(target);
    }
    match odd.map(|at| Hint::Cursor { at }).or_else(|| hint(seen, &places, end_is_said)) {
        Some(hint) => Next::Stop(hint.in_words()),
        None => Next::End,
    }
}

/// The members of the document and of the parts where APIs put pagination, with their places.
fn places(document: &Value) -> Vec<(String, &Map<String, Value>)> {
    let Some(top) = document.as_object() else { return Vec::new() };
    let mut places = vec![(String::new(), top)];
    for name in NEXT_PARENTS {
        if let Some(Value::Object(members)) = top.get(name) {
            places.push((name.to_owned(), members));
            for inner in NEXT_PARENTS {
                if let Some(Value::Object(members)) = members.get(inner) {
                    places.push((spell(name, inner), members));
                }
            }
        }
    }
    places
}

fn spell(path: &str, name: &str) -> String {
    match (path.is_empty(), name.contains(['.', '@'])) {
        (true, false) => name.to_owned(),
        (true, true) => format!("['{name}']"),
        (false, false) => format!("{path}.{name}"),
        (false, true) => format!("{path}['{name}']"),
    }
}

/// The address in a next member: itself, or as the `href` of an object (HAL, JSON:API).
fn address_in(value: &Value) -> Option<&str> {
    let text = match value {
        Value::String(text) => text,
        Value::Object(members) => members.get("href").or_else(|| members.get("url"))?.as_str()?,
        _ => return None,
    };
    (is_web_address(text) || text.starts_with(['/', '?'])).then_some(text)
}

/// The target in `"links": [{"rel": "next", "href": "..."}]` (FHIR, Siren and others).
fn next_of_link_list(document: &Value) -> Option<&str> {
    ["links", "link", "_links"].iter().find_map(|name| {
        document.get(name)?.as_array()?.iter().find_map(|link| {
            let rel = link.get("rel").or_else(|| link.get("relation"))?;
            let is_next = match rel {
                Value::String(rel) => crate::interpret::html::has_token(rel, "next"),
                Value::Array(rels) => rels.iter().any(|rel| rel.as_str() == Some("next")),
                _ => false,
            };
            if is_next { address_in(link.get("href").or_else(|| link.get("url"))?) } else { None }
        })
    })
}

/// A sign that there is another page, and where.
enum Hint {
    Cursor { at: String },
    CursorObject { at: String },
    HeaderCursor { name: &'static str },
    More { at: String },
    Pages { at: String, pages: u64 },
    HeaderPages { name: &'static str, pages: u64 },
    Total { at: String, total: u64 },
}

fn hint(seen: &Seen<'_>, places: &[(String, &Map<String, Value>)], end_is_said: bool) -> Option<Hint> {
    let find = |names: &[&str], wanted: &dyn Fn(&Value) -> bool| {
        places.iter().find_map(|(path, members)| {
            let name = names.iter().find(|name| members.get(**name).is_some_and(wanted))?;
            Some((spell(path, name), &members[*name]))
        })
    };
    // A flag that says no is the end, whatever cursor stands beside it.
    let says_no = find(&MORE_NAMES, &|value| value == &Value::Bool(false)).is_some();
    if says_no {
        return None;
    }
    let cursor = find(&CURSOR_NAMES, &|value| !is_end(Some(value)) && !value.is_array());
    let more = find(&MORE_NAMES, &|value| matches!(value, Value::Bool(_) | Value::Number(_)) && truth_of(Some(value)));
    if let Some((at, value)) = cursor
        && (!end_is_said || more.is_some())
    {
        return Some(if value.is_object() { Hint::CursorObject { at } } else { Hint::Cursor { at } });
    }
    if let Some((at, _)) = more {
        return Some(Hint::More { at });
    }
    if let Some(name) = header_cursor(seen.fetched) {
        return Some(Hint::HeaderCursor { name });
    }
    // Counts tell of further pages only where none was followed yet: on the last page they are as large as on the first.
    if end_is_said || seen.page_ordinal > 0 {
        return None;
    }
    if let Some((at, value)) = find(&PAGES_NAMES, &|value| as_count(value).is_some_and(|pages| pages > 1)) {
        return Some(Hint::Pages { at, pages: as_count(value)? });
    }
    let too_many = |value: &Value| as_count(value).is_some_and(|total| total > seen.records);
    if let Some((at, value)) = find(&TOTAL_NAMES, &too_many) {
        return Some(Hint::Total { at, total: as_count(value)? });
    }
    header_count(seen)
}

/// A header that leads on: Kinto's `Next-Page`, GitLab's `X-Next-Page` and their kin.
fn header_cursor(fetched: &Fetched) -> Option<&'static str> {
    ["next-page", "x-next-page", "x-next-cursor", "x-continuation-token", "x-ms-continuation"]
        .into_iter()
        .find(|name| fetched.headers.get(name).is_some_and(|value| !value.is_empty()))
}

fn header_count(seen: &Seen<'_>) -> Option<Hint> {
    let count = |name: &str| seen.fetched.headers.get(name).and_then(|value| value.trim().parse::<u64>().ok());
    for name in ["x-total-pages", "x-wp-totalpages"] {
        if let Some(pages) = count(name).filter(|pages| *pages > 1) {
            return Some(Hint::HeaderPages { name, pages });
        }
    }
    for name in ["x-total-count", "x-total", "x-wp-total", "total-objects", "total-records"] {
        if let Some(total) = count(name).filter(|total| *total > seen.records) {
            return Some(Hint::Total { at: format!("the header {name}"), total });
        }
    }
    None
}

impl Hint {
    fn in_words(&self) -> String {
        let (sign, setting) = match self {
            Self::Cursor { at } => {
                (format!("a cursor at {at}"), format!("set type = \"cursor\", path = \"{at}\" and its send"))
            }
            Self::CursorObject { at } if at.ends_with("continue") => {
                (format!("parameters at {at}"), format!("set type = \"params\", path = \"{at}\""))
            }
            Self::CursorObject { at } => (
                format!("a cursor of several members at {at}"),
                format!("set type = \"cursor\", path = \"{at}\" and its send, most likely \"body:NAME\""),
            ),
            Self::HeaderCursor { name } => {
                (format!("the header {name}"), format!("set type = \"cursor\", header = \"{name}\" and its send"))
            }
            Self::More { at } if at.ends_with("pageInfo.hasNextPage") => {
                (format!("{at} is true"), "set type = \"graphql\"".to_owned())
            }
            Self::More { at } => (
                format!("{at} is true"),
                format!("set type = \"cursor\" with has_more = \"{at}\", or \"page\" or \"offset\""),
            ),
            Self::Pages { at, pages } => {
                (format!("{at} is {pages}"), format!("set type = \"page\", total_pages = \"{at}\" and its send"))
            }
            Self::HeaderPages { name, pages } => (
                format!("the header {name} is {pages}"),
                format!("set type = \"page\", total_pages = \"header:{name}\" and its send"),
            ),
            Self::Total { at, total } => (
                format!("{at} is {total}, more records than came"),
                "set type = \"page\" or \"offset\" and its send".to_owned(),
            ),
        };
        format!(
            "there are more pages ({sign}), but `paginate` does not say how to ask for them: {setting}; \"none\" takes one page"
        )
    }
}
