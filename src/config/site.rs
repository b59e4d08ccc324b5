//! `[site.NAME]`: pages to crawl.

use std::path::PathBuf;

use regex::Regex;
use url::Url;

use crate::policy::cache::{Every, RecrawlSettings};
use crate::policy::{ScopeKind, UrlRules, canonicalize};

use super::section::{Field, Section};

pub(super) const KEYS: [&str; 19] = [
    "depth",
    "every",
    "exclude",
    "feeds",
    "include",
    "items",
    "max_every",
    "max_pages",
    "max_path_depth",
    "max_url_bytes",
    "min_every",
    "robots",
    "save",
    "scope",
    "sitemap",
    "start",
    "start_files",
    "strip_tracking",
    "types",
];

const KEYS_LATER: [&str; 7] = ["auth", "follow_next", "headers", "limits", "proxy", "render", "retry"];

pub(super) const ITEM_KEYS: [&str; 4] = ["attr", "html", "list", "select"];

/// Pages to crawl.
#[derive(Clone, Debug)]
pub struct Site {
    /// `docs` for `[site.docs]`.
    pub name: String,
    /// Where the crawl starts: canonical http or https addresses.
    pub start: Vec<Url>,
    /// Files with more of them, one a line; relative paths start at the folder of `crawl.toml`.
    pub start_files: Vec<PathBuf>,
    /// How far it reaches beyond its seeds. Default [`ScopeKind::Prefix`].
    pub scope: ScopeKind,
    /// Patterns of which an address must match one, if there are any.
    pub include: Vec<Regex>,
    /// Patterns of which an address must match none.
    pub exclude: Vec<Regex>,
    /// Links that are followed from a seed; 0, the default, for no limit.
    pub depth: u16,
    /// Pages after which the crawl of this site ends; 0, the default, for no limit.
    pub max_pages: u64,
    /// Whether sitemaps are read. Default true.
    pub sitemap: bool,
    /// Whether robots.txt is obeyed. Default true.
    pub robots: bool,
    /// Whether feeds that pages name are read for links. Default true.
    pub feeds: bool,
    /// What is kept of an answer. Default [`Save::Body`].
    pub save: Save,
    /// Media types whose bodies are read, as `type/subtype` or `type/*`; empty reads all. Default those that can hold links.
    pub types: Vec<String>,
    /// What its addresses may look like.
    pub url: UrlRules,
    /// When its pages are fetched again; none, the default, fetches each once.
    pub recrawl: Option<RecrawlSettings>,
    /// Fields to extract from each page, by name, in the order of the file.
    pub items: Vec<(String, ItemSpecText)>,
}

/// What is kept of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Save {
    /// Status, headers and body.
    #[default]
    Body,
    /// Status and headers.
    Headers,
    /// Nothing but that it was fetched, and what was extracted from it.
    None,
}

/// How one field is found on a page; the selector is not compiled yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemSpecText {
    /// A CSS selector.
    pub select: String,
    /// The attribute to take; none takes the element's text.
    pub attr: Option<String>,
    /// Whether all elements that match are taken, as a list, or only the first.
    pub list: bool,
    /// Whether the element's HTML is taken in place of its text.
    pub html: bool,
}

/// What can hold links: HTML, XHTML, and the XML and JSON of feeds.
const TYPES: [&str; 7] = [
    "text/html",
    "application/xhtml+xml",
    "application/xml",
    "text/xml",
    "application/rss+xml",
    "application/atom+xml",
    "application/feed+json",
];

/// Reads one site; none after a complaint without which it makes no sense.
pub(super) fn read(section: &Section<'_>) -> Option<Site> {
    section.check_keys(&KEYS, &KEYS_LATER);
    let mut site = Site {
        name: section.key.to_owned(),
        start: Vec::new(),
        start_files: Vec::new(),
        scope: ScopeKind::default(),
        include: Vec::new(),
        exclude: Vec::new(),
        depth: 0,
        max_pages: 0,
        sitemap: true,
        robots: true,
        feeds: true,
        save: Save::default(),
        types: TYPES.map(str::to_owned).to_vec(),
        url: UrlRules::default(),
        recrawl: read_recrawl(section),
        items: section.section("items").iter().flat_map(read_items).collect(),
    };
    section.set("strip_tracking", &mut site.url.strip_tracking, Field::flag);
    section
        .set("max_url_bytes", &mut site.url.url_bytes_max, |field| Some(usize::from(field.count(100..=65_535_u16)?)));
    section.set("max_path_depth", &mut site.url.path_depth_max, |field| Some(usize::from(field.count(1..=1_000_u16)?)));
    section.set("start_files", &mut site.start_files, |field| {
        Some(field.strings().iter().map(|path| field.context.resolve(path)).collect())
    });
    section.set("start", &mut site.start, |field| Some(read_start(field, &site.url)));
    section.set("scope", &mut site.scope, |field| {
        let words = [
            ("prefix", ScopeKind::Prefix),
            ("host", ScopeKind::Host),
            ("domain", ScopeKind::Domain),
            ("any", ScopeKind::Any),
        ];
        field.one_of(&words, &[])
    });
    section.set("include", &mut site.include, |field| Some(field.regexes()));
    section.set("exclude", &mut site.exclude, |field| Some(field.regexes()));
    section.set("depth", &mut site.depth, |field| field.count(0..=u16::MAX));
    section.set("max_pages", &mut site.max_pages, |field| field.count(0..=u64::MAX));
    section.set("sitemap", &mut site.sitemap, Field::flag);
    section.set("robots", &mut site.robots, Field::flag);
    section.set("feeds", &mut site.feeds, Field::flag);
    section.set("save", &mut site.save, |field| {
        field.one_of(&[("body", Save::Body), ("headers", Save::Headers), ("none", Save::None)], &["text"])
    });
    section.set("types", &mut site.types, |field| Some(field.texts().iter().filter_map(read_type).collect()));
    let is_given =
        |key: &str| section.get(key).is_some_and(|field| !field.value.as_array().is_some_and(|a| a.is_empty()));
    if !is_given("start") && !is_given("start_files") {
        section.complain("lacks \"start\": say where to begin, start = [\"https://www.example.org/\"]");
        return None;
    }
    Some(site)
}

fn read_recrawl(section: &Section<'_>) -> Option<RecrawlSettings> {
    let mut recrawl = RecrawlSettings::default();
    let duration = |field: &Field<'_>| field.duration_ms(1_000..=3_660 * 86_400_000);
    let every = match section.get("every").map(|field| (field.value.as_str().unwrap_or_default().to_owned(), field)) {
        None => None,
        Some((text, _)) if text == "auto" => Some(Every::Learned),
        Some((text, field)) if text.is_empty() && field.value.is_str() => None,
        Some((_, field)) => duration(&field).map(Every::Fixed),
    };
    if let Some(Every::Fixed(every_ms)) = every {
        // The default bounds are for what is learned.
        recrawl.min_every_ms = recrawl.min_every_ms.min(every_ms);
        recrawl.max_every_ms = recrawl.max_every_ms.max(every_ms);
    }
    section.set("min_every", &mut recrawl.min_every_ms, duration);
    section.set("max_every", &mut recrawl.max_every_ms, duration);
    if recrawl.min_every_ms > recrawl.max_every_ms {
        section.complain("has a min_every that is longer than max_every");
    }
    recrawl.every = every?;
    Some(recrawl)
}

fn read_start(field: &Field<'_>, rules: &UrlRules) -> Vec<Url> {
    let read = |part: &Field<'_>| match canonicalize(part.url()?, rules) {
        Ok(url) => Some(url),
        Err(rejected) => {
            part.complain(&format!("has an address that cannot be crawled: {rejected}"));
            None
        }
    };
    field.texts().iter().filter_map(read).collect()
}

fn read_type(part: &Field<'_>) -> Option<String> {
    let text = part.text()?.to_ascii_lowercase();
    let fits = |half: &str| half.chars().all(|letter| letter.is_ascii_alphanumeric() || "!#$&-^_.+".contains(letter));
    let good = text
        .split_once('/')
        .is_some_and(|(kind, sub)| !kind.is_empty() && !sub.is_empty() && fits(kind) && (sub == "*" || fits(sub)));
    if !good {
        part.wrong("a media type such as \"text/html\" or \"image/*\"; an empty list takes all");
    }
    good.then_some(text)
}

fn read_items(section: &Section<'_>) -> Vec<(String, ItemSpecText)> {
    section
        .fields()
        .into_iter()
        .filter_map(|(name, field)| Some((name.to_owned(), read_item(section, name, &field)?)))
        .collect()
}

fn read_item(section: &Section<'_>, name: &str, field: &Field<'_>) -> Option<ItemSpecText> {
    if field.value.is_str() {
        return Some(ItemSpecText { select: field.plain_text()?.to_owned(), ..ItemSpecText::default() });
    }
    let Some(table) = field.table(&format!("{}.{name}", section.name)) else {
        field.wrong("a selector such as \"h1\", or a table such as { select = \"a\", attr = \"href\", list = true }");
        return None;
    };
    table.check_keys(&ITEM_KEYS, &["parse", "regex", "type"]);
    let mut item = ItemSpecText::default();
    table.set("attr", &mut item.attr, |field| Some(Some(field.plain_text()?.to_owned())));
    table.set("list", &mut item.list, Field::flag);
    table.set("html", &mut item.html, Field::flag);
    if item.html && item.attr.is_some() {
        table.complain("has both attr and html; an attribute has no HTML");
    }
    let Some(select) = table.get("select") else {
        table.complain("lacks \"select\", a CSS selector");
        return None;
    };
    Some(ItemSpecText { select: select.plain_text()?.to_owned(), ..item })
}
