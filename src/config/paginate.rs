//! How the next page of a stream is found.

use crate::interpret::{
    AnswerAt, Continuation, Cursor, Ends, GraphqlCursor, ItemRange, JsonAt, Keyset, KeysetOrder, Offset, PageNumber,
    Paginate, StopSign,
};
use crate::job::Target;

use super::section::{Field, Section};

/// The keys of all kinds, so that a test can look for them in the shipped file.
#[cfg(test)]
pub(super) const KEYS: [&str; 20] = [
    "field",
    "has_more",
    "header",
    "max_pages",
    "nested",
    "order",
    "page_info",
    "param",
    "path",
    "rel",
    "send",
    "size",
    "size_send",
    "start",
    "stop",
    "total",
    "total_pages",
    "type",
    "unit",
    "variable",
];

const KEYS_LATER: [&str; 1] = ["ttl"];

/// How the next page of a stream is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaginateConfig {
    /// Where it stands.
    pub scheme: Paginate,
    /// What ends the stream beside that, and the records of a full page.
    pub ends: Ends,
    /// Where the records of a full page are sent; none, the default: nowhere.
    pub size_send: Option<Target>,
    /// Pages after which the stream ends, whatever the server says; 0, the default, for no limit.
    pub pages_max: u64,
    /// Where the first records are within those of the parent stream; none for a stream that is asked by itself.
    pub nested: Option<JsonAt>,
}

/// Which kind a file names; its keys follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Auto,
    None,
    Link,
    NextUrl,
    Cursor,
    Page,
    Offset,
    Keyset,
    Params,
    Range,
    Graphql,
}

const KINDS: [(&str, Kind); 11] = [
    ("auto", Kind::Auto),
    ("none", Kind::None),
    ("link", Kind::Link),
    ("next_url", Kind::NextUrl),
    ("cursor", Kind::Cursor),
    ("page", Kind::Page),
    ("offset", Kind::Offset),
    ("keyset", Kind::Keyset),
    ("params", Kind::Params),
    ("range", Kind::Range),
    ("graphql", Kind::Graphql),
];

const SIGNS: [(&str, StopSign); 4] = [
    ("empty", StopSign::Empty),
    ("short", StopSign::Short),
    ("total", StopSign::Total),
    ("has_more", StopSign::HasMore),
];

impl Kind {
    /// Its keys, beside `type` and `max_pages`.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Auto | Self::None => &[],
            Self::Link => &["has_more", "rel", "size", "size_send", "stop"],
            Self::NextUrl => &["has_more", "path", "size", "size_send", "stop"],
            Self::Cursor => &["has_more", "header", "path", "send", "size", "size_send", "stop"],
            Self::Page => &["has_more", "param", "send", "size", "size_send", "start", "stop", "total", "total_pages"],
            Self::Offset => &["has_more", "param", "send", "size", "size_send", "start", "stop", "total"],
            Self::Keyset => &["field", "has_more", "order", "send", "size", "size_send", "stop"],
            Self::Params => &["path", "size", "size_send", "stop"],
            Self::Range => &["size", "stop", "unit"],
            Self::Graphql => &["nested", "page_info", "size", "size_send", "stop", "variable"],
        }
    }

    /// What it looks like in a file, for those that a word alone does not tell; none for the others.
    fn example(self) -> Option<&'static str> {
        match self {
            Self::NextUrl => Some("the place of the address: { type = \"next_url\", path = \"next\" }"),
            Self::Cursor => {
                Some("the place of the cursor: { type = \"cursor\", path = \"next\", send = \"query:cursor\" }")
            }
            Self::Keyset => {
                Some("the field and its place: { type = \"keyset\", field = \"id\", send = \"query:since_id\" }")
            }
            _ => None,
        }
    }
}

/// Reads `paginate` of `section`: a word, or a table with its keys. None when it is not there or wrong.
pub(super) fn read(section: &Section<'_>) -> Option<PaginateConfig> {
    let field = section.get("paginate")?;
    if field.value.is_str() {
        let kind = field.one_of(&KINDS, &[])?;
        if let Some(example) = kind.example() {
            field.complain(&format!("needs {example}"));
            return None;
        }
        let scheme = match kind {
            Kind::None => Paginate::None,
            Kind::Link => Paginate::Link { rel: REL.to_owned() },
            Kind::Page => Paginate::Page(PageNumber { send: query("page"), start: 1 }),
            Kind::Offset => Paginate::Offset(Offset { send: query("offset"), start: 0 }),
            Kind::Params => Paginate::Params(Continuation { path: continuation()? }),
            Kind::Range => Paginate::Range(ItemRange { unit: UNIT.to_owned() }),
            Kind::Graphql => Paginate::Graphql(GraphqlCursor { page_info: None, variable: VARIABLE.to_owned() }),
            Kind::Auto | Kind::NextUrl | Kind::Cursor | Kind::Keyset => Paginate::Auto,
        };
        return Some(PaginateConfig { scheme, ..PaginateConfig::default() });
    }
    let Some(table) = field.table(&format!("{}.paginate", section.name)) else {
        field.wrong("\"auto\", \"none\", or a table such as { type = \"link\", rel = \"next\" }");
        return None;
    };
    let Some(kind) = table.get("type") else {
        let words = KINDS.map(|(word, _)| format!("\"{word}\"")).join(", ");
        table.complain(&format!("lacks \"type\": one of {words}"));
        return None;
    };
    let kind = kind.one_of(&KINDS, &[])?;
    table.check_keys(&[&["type", "max_pages"], kind.keys()].concat(), &KEYS_LATER);
    let mut paginate = PaginateConfig { scheme: read_scheme(&table, kind)?, ..PaginateConfig::default() };
    paginate.ends = read_ends(&table, kind);
    paginate.size_send = read_size_send(&table, paginate.ends.size);
    table.set("nested", &mut paginate.nested, |field| Some(Some(field.json_at()?)));
    table.set("max_pages", &mut paginate.pages_max, |field| field.count(0..=u64::MAX));
    Some(paginate)
}

const REL: &str = "next";
const UNIT: &str = "items";
const VARIABLE: &str = "endCursor";

fn query(name: &str) -> Target {
    Target::Query(name.to_owned())
}

/// Where MediaWiki has it.
fn continuation() -> Option<JsonAt> {
    JsonAt::parse("continue").ok()
}

fn read_scheme(table: &Section<'_>, kind: Kind) -> Option<Paginate> {
    let text = |key: &str| table.get(key).and_then(|field| Some(field.plain_text()?.to_owned()));
    let place = |key: &str| table.get(key).and_then(|field| field.json_at());
    Some(match kind {
        Kind::Auto => Paginate::Auto,
        Kind::None => Paginate::None,
        Kind::Link => Paginate::Link { rel: text("rel").unwrap_or_else(|| REL.to_owned()) },
        Kind::NextUrl => {
            if table.get("path").is_none() {
                table.complain("lacks \"path\", the place of the next address in the body");
            }
            Paginate::NextUrl { path: place("path")? }
        }
        Kind::Cursor => {
            let from = match (table.get("path"), table.get("header")) {
                (Some(path), None) => AnswerAt::Body(path.json_at()?),
                (None, Some(header)) => AnswerAt::Header(header.plain_text()?.to_ascii_lowercase()),
                _ => {
                    table.complain("needs either \"path\" (the cursor's place in the body) or \"header\"");
                    return None;
                }
            };
            if table.get("send").is_none() {
                table.complain("lacks \"send\", where the cursor goes: send = \"query:cursor\"");
            }
            Paginate::Cursor(Cursor { from, send: table.get("send")?.target()? })
        }
        Kind::Page => Paginate::Page(PageNumber { send: read_send(table, "page")?, start: read_start(table, 1) }),
        Kind::Offset => Paginate::Offset(Offset { send: read_send(table, "offset")?, start: read_start(table, 0) }),
        Kind::Keyset => {
            for (key, what) in [
                ("field", "the field that the server sorts by: field = \"id\""),
                ("send", "where its last value goes: send = \"query:since_id\""),
            ] {
                if table.get(key).is_none() {
                    table.complain(&format!("lacks \"{key}\", {what}"));
                }
            }
            let mut order = KeysetOrder::Asc;
            table.set("order", &mut order, |field| {
                field.one_of(&[("asc", KeysetOrder::Asc), ("desc", KeysetOrder::Desc)], &[])
            });
            Paginate::Keyset(Keyset { field: place("field")?, send: table.get("send")?.target()?, order })
        }
        Kind::Params => Paginate::Params(Continuation {
            path: match table.get("path") {
                Some(field) => field.json_at()?,
                None => continuation()?,
            },
        }),
        Kind::Range => {
            let mut unit = UNIT.to_owned();
            table.set("unit", &mut unit, read_unit);
            Paginate::Range(ItemRange { unit })
        }
        Kind::Graphql => Paginate::Graphql(GraphqlCursor {
            page_info: match table.get("page_info") {
                Some(field) => Some(field.json_at()?),
                None => None,
            },
            variable: text("variable")
                .map_or_else(|| VARIABLE.to_owned(), |name| name.trim_start_matches('$').to_owned()),
        }),
    })
}

/// `send`, or `param` for a parameter of the query; `name` when the file has neither.
fn read_send(table: &Section<'_>, name: &str) -> Option<Target> {
    match (table.get("param"), table.get("send")) {
        (Some(_), Some(_)) => {
            table.complain(&format!(
                "has both \"param\" and \"send\"; param = \"{name}\" is short for send = \"query:{name}\""
            ));
            None
        }
        (Some(param), None) => param.plain_text().map(query),
        (None, Some(send)) => send.target(),
        (None, None) => Some(query(name)),
    }
}

fn read_start(table: &Section<'_>, mut start: u64) -> u64 {
    table.set("start", &mut start, |field| field.count(0..=u64::MAX));
    start
}

/// A range unit (RFC 9110 section 14.1), or nothing.
fn read_unit(field: &Field<'_>) -> Option<String> {
    let unit = field.text()?;
    if unit.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_') {
        return Some(unit.to_owned());
    }
    field.wrong("a unit such as \"items\", or \"\" for a range without one");
    None
}

fn read_ends(table: &Section<'_>, kind: Kind) -> Ends {
    let place = |key: &str| table.get(key).and_then(|field| field.answer_at());
    let mut size = 0_u64;
    table.set("size", &mut size, |field| field.count(0..=u64::MAX));
    let size = u32::try_from(size).ok().filter(|&size| size > 0);
    let ends = Ends {
        size,
        total: place("total"),
        total_pages: place("total_pages"),
        has_more: place("has_more"),
        stop: table
            .get("stop")
            .map(|field| field.texts().iter().filter_map(|sign| sign.one_of(&SIGNS, &[])).collect::<Vec<_>>()),
    };
    if kind == Kind::Page && ends.total.is_some() && size.is_none() {
        table.complain("has \"total\" but not \"size\": how many pages make so many records is not known without it");
    }
    let Some((stop, field)) = ends.stop.as_ref().zip(table.get("stop")) else { return ends };
    if stop.is_empty() {
        field.wrong("at least one of \"empty\", \"short\", \"total\", \"has_more\"");
    }
    let has_total = ends.total.is_some() || ends.total_pages.is_some() || kind == Kind::Range;
    for (word, sign, is_told, needs) in [
        ("short", StopSign::Short, size.is_some(), "\"size\", the records of a full page"),
        ("total", StopSign::Total, has_total, "\"total\" or \"total_pages\", where the answer tells it"),
        ("has_more", StopSign::HasMore, ends.has_more.is_some(), "\"has_more\", where the answer tells it"),
    ] {
        if stop.contains(&sign) && !is_told {
            field.complain(&format!("names {word:?}, which needs {needs}"));
        }
        // A size may be there to be sent.
        if is_told && !stop.contains(&sign) && !stop.is_empty() && sign != StopSign::Short && kind != Kind::Range {
            field
                .complain(&format!("leaves out {word:?}, so that what tells it says nothing: name it, or take it out"));
        }
    }
    ends
}

fn read_size_send(table: &Section<'_>, size: Option<u32>) -> Option<Target> {
    let field = table.get("size_send")?;
    if size.is_none() {
        field.complain("needs \"size\", the records of a full page");
    }
    field.target()
}
