//! A page: its links, its title, what it asks of robots, and the record that the item rules take from it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::{Map, Value};
use url::Url;

use super::charset::{self, Syntax};
use super::directives::Directives;
use super::entities::{Place, unescape};
use super::html;
use super::items::ItemRules;
use super::link_header;
use super::notes::Notes;
use crate::exchange::{BodyEnd, Fetched};

/// Characters of a title that are kept. Our choice.
const TITLE_CHARS_MAX: usize = 1000;

/// How pages of one source are read.
#[derive(Clone, Debug)]
pub struct PageRules {
    /// What makes a record of a page; none for pages that only lead on.
    pub items: Option<ItemRules>,
    /// Distinct links that are taken from one page; the rest is left out with a note.
    pub links_max: usize,
    /// Our product token, such as `trundle`, for `X-Robots-Tag` and `<meta>` rules that name a robot.
    pub agent: String,
}

impl Default for PageRules {
    /// No items, 200,000 links (our choice: no page made by people has more), no name.
    fn default() -> Self {
        Self { items: None, links_max: 200_000, agent: String::new() }
    }
}

/// What a page says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PageMeaning {
    /// Distinct links, in order of their first appearance.
    pub links: Vec<Link>,
    /// The title with its white space collapsed, at most 1,000 characters.
    pub title: Option<String>,
    /// The address that the page says it should have: `rel=canonical` of its head, or of the `Link` header.
    pub canonical: Option<Url>,
    /// Where `<meta http-equiv=refresh>` or a `Refresh` header leads.
    pub refresh: Option<Url>,
    /// What the page asks of robots.
    pub directives: Directives,
    /// The encoding by which the text was read, such as `UTF-8`.
    pub charset: Option<&'static str>,
    /// The record that the item rules took from the page.
    pub item: Option<Map<String, Value>>,
    /// What was odd, in words; empty for most pages.
    pub notes: Vec<String>,
    /// Links that were met, repeated ones included.
    pub links_seen: u32,
}

/// One link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it leads: absolute, http or https, without a fragment.
    pub url: Url,
    /// What it is for.
    pub kind: LinkKind,
    /// Whether every one of its appearances says `rel=nofollow`.
    pub nofollow: bool,
}

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkKind {
    /// A page, or anything else that `<a>`, `<area>` or a frame leads to.
    Page,
    /// A feed of the page: `<link rel=alternate>` with a feed's media type.
    Feed,
    /// The address that the page says it should have.
    Canonical,
    /// Where the page sends its readers on to.
    Refresh,
    /// The next page of a series: `rel=next`.
    Next,
}

/// Reads a page. Never fails; whatever could not be read is missing, and a note says why.
#[must_use]
pub fn page(fetched: &Fetched, rules: &PageRules) -> PageMeaning {
    let mut notes = Notes::default();
    note_body_end(fetched, &mut notes);
    let decoded = charset::decode(fetched, &fetched.body, Syntax::Html, &mut notes);
    let tags = html::read(&decoded.text, &rules.agent, rules.links_max, &mut notes);
    let base = base_url(fetched, tags.base.as_deref());

    let mut meaning = PageMeaning {
        title: tags.title.as_deref().map(clean_title).filter(|title| !title.is_empty()),
        directives: tags.directives,
        charset: (!fetched.body.is_empty()).then_some(decoded.charset),
        links_seen: tags.links_seen,
        ..PageMeaning::default()
    };
    meaning.directives.read_headers(&fetched.headers, &rules.agent);

    let mut links = Links::default();
    for raw in &tags.links {
        links.add(base.join(&raw.href).ok(), raw.kind, raw.nofollow);
    }
    for found in link_header::parse_all(fetched.headers.get_all("link")) {
        let kind = if found.has_rel("canonical") {
            LinkKind::Canonical
        } else if found.has_rel("next") {
            LinkKind::Next
        } else {
            continue;
        };
        links.add(fetched.url.join(&found.target).ok(), kind, found.has_rel("nofollow"));
    }
    if let Some(target) = fetched.headers.get("refresh").and_then(html::refresh_target) {
        links.add(fetched.url.join(target).ok(), LinkKind::Refresh, false);
    }
    meaning.links = links.links;
    meaning.links.truncate(rules.links_max);
    meaning.canonical = first_of(&meaning.links, LinkKind::Canonical);
    meaning.refresh = first_of(&meaning.links, LinkKind::Refresh);
    meaning.item = rules.items.as_ref().and_then(|items| items.take(&decoded.text, &base, &mut notes));
    meaning.notes = notes.into_vec();
    meaning
}

/// Distinct links.
#[derive(Default)]
struct Links {
    links: Vec<Link>,
    places: HashMap<(LinkKind, String), usize>,
}

impl Links {
    fn add(&mut self, url: Option<Url>, kind: LinkKind, nofollow: bool) {
        let Some(url) = url.and_then(fetchable) else { return };
        match self.places.entry((kind, url.as_str().to_owned())) {
            Entry::Occupied(place) => self.links[*place.get()].nofollow &= nofollow,
            Entry::Vacant(place) => {
                place.insert(self.links.len());
                self.links.push(Link { url, kind, nofollow });
            }
        }
    }
}

/// `url` without its fragment, if it is http or https with a host.
pub(super) fn fetchable(mut url: Url) -> Option<Url> {
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return None;
    }
    url.set_fragment(None);
    Some(url)
}

/// What relative addresses are relative to (WHATWG HTML, "document base URL").
fn base_url(fetched: &Fetched, base: Option<&str>) -> Url {
    base.and_then(|href| fetched.url.join(href.trim()).ok())
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .unwrap_or_else(|| fetched.url.clone())
}

fn first_of(links: &[Link], kind: LinkKind) -> Option<Url> {
    links.iter().find(|link| link.kind == kind).map(|link| link.url.clone())
}

fn clean_title(raw: &str) -> String {
    let text = unescape(raw, Place::Text);
    let mut title = String::new();
    for word in text.split_whitespace() {
        if !title.is_empty() {
            title.push(' ');
        }
        title.push_str(word);
    }
    if let Some((end, _)) = title.char_indices().nth(TITLE_CHARS_MAX) {
        title.truncate(end);
    }
    title
}

/// Says it when the body is not whole.
pub(super) fn note_body_end(fetched: &Fetched, notes: &mut Notes) {
    match &fetched.body_end {
        BodyEnd::Whole | BodyEnd::Unwanted => {}
        BodyEnd::TooLarge { bytes_max } => {
            notes.add(format!("the body is longer than {bytes_max} bytes: read in part"));
        }
        BodyEnd::Cut { cause } => notes.add(format!("the body broke off ({cause}): read in part")),
    }
}
