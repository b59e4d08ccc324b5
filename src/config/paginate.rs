//! How the next page of a stream is found.

use super::section::{Field, Section};

/// The keys of all kinds, so that a test can look for them in the shipped file.
#[cfg(test)]
pub(super) const KEYS: [&str; 11] =
    ["has_more", "header", "max_pages", "param", "path", "rel", "send", "size", "start", "total_pages", "type"];

const KEYS_LATER: [&str; 7] = ["field", "order", "size_send", "stop", "total", "ttl", "unit"];

const SCHEMES_LATER: [&str; 5] = ["graphql", "keyset", "offset", "params", "range"];

/// How the next page of a stream is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaginateConfig {
    /// Where it stands.
    pub scheme: PaginateScheme,
    /// Pages after which the stream ends, whatever the server says; 0, the default, for no limit.
    pub pages_max: u64,
}

/// Where the next page stands. Paths are JSON paths, not compiled yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PaginateScheme {
    /// Told by the answers themselves: a `Link` header or the address of the next page in the body.
    #[default]
    Auto,
    /// There is one page.
    None,
    /// In the `Link` header (RFC 8288).
    Link {
        /// The relation. Default `next`.
        rel: String,
    },
    /// An address in the body.
    NextUrl {
        /// Where.
        path: String,
    },
    /// A token in the answer that goes into the next request.
    Cursor {
        /// Where it comes from.
        from: CursorFrom,
        /// The query parameter in which it is sent: `cursor` for `send = "query:cursor"`.
        send_query: String,
        /// Where the body says whether there is more; none when the lack of a token says it.
        has_more: Option<String>,
    },
    /// Pages with numbers.
    Page {
        /// The query parameter in which the number is sent. Default `page`.
        param: String,
        /// The number of the first page. Default 1.
        start: u64,
        /// Records on a full page: one with fewer is the last. 0, the default: only an empty page is. It is not sent; put what
        /// the API wants to hear into `query`.
        size: u64,
        /// Where the body says how many pages there are.
        total_pages: Option<String>,
    },
}

/// Where a cursor comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CursorFrom {
    /// From the body, by a JSON path.
    Path(String),
    /// From this header, in lower case.
    Header(String),
}

/// Which kind a file names; its keys follow.
#[derive(Clone, Copy)]
enum Kind {
    Auto,
    None,
    Link,
    NextUrl,
    Cursor,
    Page,
}

const KINDS: [(&str, Kind); 6] = [
    ("auto", Kind::Auto),
    ("none", Kind::None),
    ("link", Kind::Link),
    ("next_url", Kind::NextUrl),
    ("cursor", Kind::Cursor),
    ("page", Kind::Page),
];

/// Reads `paginate` of `section`: a word, or a table with its keys. None when it is not there or wrong.
pub(super) fn read(section: &Section<'_>) -> Option<PaginateConfig> {
    let field = section.get("paginate")?;
    if field.value.is_str() {
        let kind = field.one_of(&KINDS, &SCHEMES_LATER)?;
        let scheme = match kind {
            Kind::Auto => PaginateScheme::Auto,
            Kind::None => PaginateScheme::None,
            Kind::Link => PaginateScheme::Link { rel: "next".to_owned() },
            Kind::Page => page(&PageKeys::default()),
            Kind::NextUrl => {
                field.complain("needs the place of the address: { type = \"next_url\", path = \"next\" }");
                return None;
            }
            Kind::Cursor => {
                field.complain(
                    "needs the place of the cursor: { type = \"cursor\", path = \"next\", send = \"query:cursor\" }",
                );
                return None;
            }
        };
        return Some(PaginateConfig { scheme, pages_max: 0 });
    }
    let Some(table) = field.table(&format!("{}.paginate", section.name)) else {
        field.wrong("\"auto\", \"none\", or a table such as { type = \"link\", rel = \"next\" }");
        return None;
    };
    let Some(kind) = table.get("type") else {
        table.complain("lacks \"type\": one of \"auto\", \"none\", \"link\", \"next_url\", \"cursor\", \"page\"");
        return None;
    };
    let kind = kind.one_of(&KINDS, &SCHEMES_LATER)?;
    let mut paginate = PaginateConfig { scheme: read_scheme(&table, kind)?, pages_max: 0 };
    table.set("max_pages", &mut paginate.pages_max, |field| field.count(0..=u64::MAX));
    Some(paginate)
}

fn read_scheme(table: &Section<'_>, kind: Kind) -> Option<PaginateScheme> {
    let keys: &[&str] = match kind {
        Kind::Auto | Kind::None => &[],
        Kind::Link => &["rel"],
        Kind::NextUrl => &["path"],
        Kind::Cursor => &["has_more", "header", "path", "send"],
        Kind::Page => &["param", "size", "start", "total_pages"],
    };
    table.check_keys(&[&["type", "max_pages"], keys].concat(), &KEYS_LATER);
    let text = |key: &str| table.get(key).and_then(|field| Some(field.plain_text()?.to_owned()));
    Some(match kind {
        Kind::Auto => PaginateScheme::Auto,
        Kind::None => PaginateScheme::None,
        Kind::Link => PaginateScheme::Link { rel: text("rel").unwrap_or_else(|| "next".to_owned()) },
        Kind::NextUrl => {
            let Some(path) = text("path") else {
                table.complain("lacks \"path\", the place of the next address in the body");
                return None;
            };
            PaginateScheme::NextUrl { path }
        }
        Kind::Cursor => {
            let from = match (text("path"), text("header")) {
                (Some(path), None) => CursorFrom::Path(path),
                (None, Some(header)) => CursorFrom::Header(header.to_ascii_lowercase()),
                _ => {
                    table.complain("needs either \"path\" (the cursor's place in the body) or \"header\"");
                    return None;
                }
            };
            let Some(send) = table.get("send") else {
                table.complain("lacks \"send\", where the cursor goes: send = \"query:cursor\"");
                return None;
            };
            PaginateScheme::Cursor { from, send_query: read_send(&send)?, has_more: text("has_more") }
        }
        Kind::Page => {
            let mut keys = PageKeys::default();
            table.set("param", &mut keys.param, |field| Some(field.plain_text()?.to_owned()));
            table.set("start", &mut keys.start, |field| field.count(0..=u64::MAX));
            table.set("size", &mut keys.size, |field| field.count(0..=u64::MAX));
            keys.total_pages = text("total_pages");
            page(&keys)
        }
    })
}

struct PageKeys {
    param: String,
    start: u64,
    size: u64,
    total_pages: Option<String>,
}

impl Default for PageKeys {
    fn default() -> Self {
        Self { param: "page".to_owned(), start: 1, size: 0, total_pages: None }
    }
}

fn page(keys: &PageKeys) -> PaginateScheme {
    PaginateScheme::Page {
        param: keys.param.clone(),
        start: keys.start,
        size: keys.size,
        total_pages: keys.total_pages.clone(),
    }
}

/// `query:NAME`: the name.
fn read_send(field: &Field<'_>) -> Option<String> {
    let text = field.plain_text()?;
    match text.split_once(':') {
        Some(("query", name)) if !name.is_empty() => return Some(name.to_owned()),
        Some(("header" | "body", _)) => {
            field.complain(&format!("is {text:?}, which is not yet supported; only \"query:NAME\" is"));
        }
        _ => field.wrong("where to send it, such as \"query:cursor\""),
    }
    None
}
