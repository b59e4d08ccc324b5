//! One streaming pass over a page: what its tags say, as written, before any address is resolved.
//!
//! No tree is built: on an 8 KB page that costs a quarter of a full parse.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::LazyLock;

use lol_html::html_content::{Element, TextChunk};
use lol_html::{ElementContentHandlers, HtmlRewriter, MemorySettings, Selector, Settings};

use super::directives::Directives;
use super::entities::{Place, unescape};
use super::notes::{Notes, cut};
use super::page::LinkKind;

/// The longest address that is taken from a page, in bytes. Servers commonly refuse more than 8 KB of request line.
pub(super) const HREF_BYTES_MAX: usize = 8 * 1024;

/// What the parser may hold back: an unclosed tag at the end of a page, and the stack of open elements.
const PARSER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Raw text of a title that is kept; the title itself is shorter.
const TITLE_RAW_BYTES_MAX: usize = 16 * 1024;

/// Content of all `<noscript>` elements that is read, in bytes.
const NOSCRIPT_BYTES_MAX: usize = 1024 * 1024;

/// What a page's tags say.
#[derive(Debug, Default)]
pub(super) struct Tags {
    /// Addresses as written, without fragments, in order; each once per kind.
    pub links: Vec<RawLink>,
    /// The first `<base href>`.
    pub base: Option<String>,
    /// The first `<title>` as written.
    pub title: Option<String>,
    /// What `<meta name=robots>` and the one of our name say.
    pub directives: Directives,
    /// Links that were met, repeated ones included.
    pub links_seen: u32,
}

/// An address as written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RawLink {
    pub href: String,
    pub kind: LinkKind,
    pub nofollow: bool,
}

static ELEMENTS: LazyLock<Selector> = LazyLock::new(|| {
    parse("a[href], area[href], link[href], iframe[src], frame[src], meta[content], base[href], title")
});
static TITLE: LazyLock<Selector> = LazyLock::new(|| parse("title"));
static NOSCRIPT: LazyLock<Selector> = LazyLock::new(|| parse("noscript"));

fn parse(selector: &str) -> Selector {
    selector.parse().expect("the selector is a constant that a test has parsed")
}

/// Reads the tags of `text`.
pub(super) fn read(text: &str, agent: &str, links_max: usize, notes: &mut Notes) -> Tags {
    let mut reader = Reader { agent, links_max, ..Reader::default() };
    reader = pass(text, reader, notes);
    // Browsers run scripts and see these as text; we do not, so their links are for us.
    let noscript = std::mem::take(&mut reader.noscript);
    if noscript.contains('<') {
        reader.within_noscript = true;
        reader = pass(&noscript, reader, notes);
    }
    reader.finish(notes)
}

/// One pass of the parser.
fn pass<'t>(text: &str, reader: Reader<'t>, notes: &mut Notes) -> Reader<'t> {
    let state = RefCell::new(reader);
    {
        let settings = Settings::new()
            .append_element_content_handler((
                std::borrow::Cow::Borrowed(&*ELEMENTS),
                ElementContentHandlers::default().element(|element: &mut Element<'_, '_>| {
                    state.borrow_mut().element(element);
                    Ok(())
                }),
            ))
            .append_element_content_handler((
                std::borrow::Cow::Borrowed(&*TITLE),
                ElementContentHandlers::default().text(|chunk: &mut TextChunk<'_>| {
                    state.borrow_mut().title_text(chunk);
                    Ok(())
                }),
            ))
            .append_element_content_handler((
                std::borrow::Cow::Borrowed(&*NOSCRIPT),
                ElementContentHandlers::default().text(|chunk: &mut TextChunk<'_>| {
                    state.borrow_mut().noscript_text(chunk);
                    Ok(())
                }),
            ))
            .with_strict(false)
            .with_memory_settings(MemorySettings::new().with_max_allowed_memory_usage(PARSER_BYTES_MAX));
        let mut rewriter = HtmlRewriter::new(settings, |_: &[u8]| {});
        if let Err(error) = rewriter.write(text.as_bytes()).and_then(|()| rewriter.end()) {
            notes.add(format!("the page was read in part: {error}"));
        }
    }
    state.into_inner()
}

/// What is gathered during a pass.
#[derive(Default)]
struct Reader<'t> {
    agent: &'t str,
    links_max: usize,
    tags: Tags,
    /// Order and nofollow by kind and address.
    found: HashMap<(LinkKind, String), (usize, bool)>,
    title_open: bool,
    noscript: String,
    within_noscript: bool,
    links_left_out: u32,
    hrefs_too_long: u32,
}

impl Reader<'_> {
    fn element(&mut self, element: &Element<'_, '_>) {
        match element.tag_name().as_str() {
            "a" | "area" => {
                let Some(href) = element.get_attribute("href") else { return };
                let rel = element.get_attribute("rel").unwrap_or_default();
                let kind = if has_token(&rel, "next") { LinkKind::Next } else { LinkKind::Page };
                self.link(&href, kind, has_token(&rel, "nofollow"));
            }
            "iframe" | "frame" => {
                if let Some(src) = element.get_attribute("src") {
                    self.link(&src, LinkKind::Page, false);
                }
            }
            "link" => self.link_element(element),
            "meta" => self.meta(element),
            "base" if self.tags.base.is_none() && !self.within_noscript => {
                self.tags.base = element.get_attribute("href").map(|it| unescape(&it, Place::Attribute).into_owned());
            }
            // An SVG image may have a title of its own.
            "title" => {
                self.title_open =
                    self.tags.title.is_none() && !self.within_noscript && element.namespace_uri().ends_with("xhtml");
            }
            _ => {}
        }
    }

    fn link_element(&mut self, element: &Element<'_, '_>) {
        let (Some(rel), Some(href)) = (element.get_attribute("rel"), element.get_attribute("href")) else { return };
        let kind = if has_token(&rel, "canonical") {
            LinkKind::Canonical
        } else if has_token(&rel, "next") {
            LinkKind::Next
        } else if has_token(&rel, "alternate") && element.get_attribute("type").is_some_and(|it| is_feed_type(&it)) {
            LinkKind::Feed
        } else {
            return;
        };
        self.link(&href, kind, has_token(&rel, "nofollow"));
    }

    fn meta(&mut self, element: &Element<'_, '_>) {
        let Some(content) = element.get_attribute("content") else { return };
        if let Some(name) = element.get_attribute("name") {
            let name = name.trim();
            if name.eq_ignore_ascii_case("robots") || (!self.agent.is_empty() && name.eq_ignore_ascii_case(self.agent))
            {
                self.tags.directives.read_list(&content);
            }
        }
        if element.get_attribute("http-equiv").is_some_and(|it| it.trim().eq_ignore_ascii_case("refresh")) {
            let content = unescape(&content, Place::Attribute);
            if let Some(target) = refresh_target(&content) {
                self.add(target, LinkKind::Refresh, false);
            }
        }
    }

    fn link(&mut self, raw: &str, kind: LinkKind, nofollow: bool) {
        // No reference is longer than what it stands for by more than this.
        if raw.len() > HREF_BYTES_MAX.saturating_mul(16) {
            self.hrefs_too_long += u32::from(worth_parsing(raw).is_some());
            return;
        }
        self.add(&unescape(raw, Place::Attribute), kind, nofollow);
    }

    fn add(&mut self, href: &str, kind: LinkKind, nofollow: bool) {
        let Some(href) = worth_parsing(href) else { return };
        self.tags.links_seen = self.tags.links_seen.saturating_add(1);
        if href.len() > HREF_BYTES_MAX {
            self.hrefs_too_long += 1;
            return;
        }
        let order = self.found.len();
        if order >= self.links_max && !self.found.contains_key(&(kind, href.to_owned())) {
            self.links_left_out += 1;
            return;
        }
        // A link that is followed somewhere on the page is followed.
        let (_, known_nofollow) = self.found.entry((kind, href.to_owned())).or_insert((order, nofollow));
        *known_nofollow &= nofollow;
    }

    fn title_text(&mut self, chunk: &TextChunk<'_>) {
        if self.title_open {
            let title = self.tags.title.get_or_insert_default();
            title.push_str(chunk.as_str());
            if title.len() > TITLE_RAW_BYTES_MAX {
                cut(title, TITLE_RAW_BYTES_MAX);
                self.title_open = false;
            }
            self.title_open &= !chunk.last_in_text_node();
        }
    }

    fn noscript_text(&mut self, chunk: &TextChunk<'_>) {
        if !self.within_noscript && self.noscript.len() < NOSCRIPT_BYTES_MAX {
            self.noscript.push_str(chunk.as_str());
            if chunk.last_in_text_node() {
                self.noscript.push('\n');
            }
        }
    }

    fn finish(mut self, notes: &mut Notes) -> Tags {
        if self.links_left_out > 0 {
            notes.add(format!("more than {} links: {} were left out", self.links_max, self.links_left_out));
        }
        if self.hrefs_too_long > 0 {
            notes.add(format!("{} addresses of more than {HREF_BYTES_MAX} bytes were left out", self.hrefs_too_long));
        }
        let mut links: Vec<(usize, RawLink)> = self
            .found
            .into_iter()
            .map(|((kind, href), (order, nofollow))| (order, RawLink { href, kind, nofollow }))
            .collect();
        links.sort_unstable_by_key(|(order, _)| *order);
        self.tags.links = links.into_iter().map(|(_, link)| link).collect();
        self.tags
    }
}

/// Whether the white-space separated list has this token, in any case.
pub(super) fn has_token(list: &str, token: &str) -> bool {
    list.split_ascii_whitespace().any(|found| found.eq_ignore_ascii_case(token))
}

/// Whether a link of this media type leads to a feed.
pub(super) fn is_feed_type(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    ["application/rss+xml", "application/atom+xml", "application/feed+json", "application/rdf+xml"]
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
}

/// `href` without white space around it and without its fragment; none for a place within the page, and for a scheme that
/// is plainly not http. Doubtful ones are left to the URL parser.
fn worth_parsing(href: &str) -> Option<&str> {
    let href = href.trim_matches(|c: char| c <= ' ');
    if href.starts_with('#') {
        return None;
    }
    let href = match href.find('#') {
        // A space at the end of the path stays one only while something stands behind it.
        Some(at) if href[..at].ends_with(|c: char| c <= ' ') => &href[..=at],
        Some(at) => &href[..at],
        None => href,
    };
    let scheme_len = href.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
    let has_scheme = scheme_len > 0 && href.as_bytes().get(scheme_len) == Some(&b':');
    let scheme = &href[..scheme_len];
    let other = has_scheme && !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https");
    (!other).then_some(href)
}

/// Where a refresh leads: `5; url=next.html` (WHATWG HTML, "shared declarative refresh steps"). None when it only reloads.
pub(super) fn refresh_target(content: &str) -> Option<&str> {
    let rest = content.trim_start().trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    if rest.len() == content.trim_start().len() {
        return None;
    }
    let rest = rest.trim_start();
    let rest = rest.strip_prefix([';', ',']).unwrap_or(rest).trim_start();
    let target = match rest.get(..3) {
        Some(word) if word.eq_ignore_ascii_case("url") => {
            let after = rest[3..].trim_start();
            after.strip_prefix('=').map_or(rest, str::trim_start)
        }
        _ => rest,
    };
    let target = match target.chars().next() {
        Some(quote @ ('"' | '\'')) => target[1..].split(quote).next().unwrap_or_default(),
        _ => target,
    };
    (!target.trim().is_empty()).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refresh(content: &str, expected: Option<&str>) {
        assert_eq!(refresh_target(content), expected);
    }

    #[test]
    fn a_refresh_leads_where_browsers_go() {
        check_refresh("0; url=next.html", Some("next.html"));
        check_refresh(" 5;URL = 'a b.html' x", Some("a b.html"));
        check_refresh("5, next", Some("next"));
        check_refresh("1.5;url=\"x", Some("x"));
        check_refresh("5", None);
        check_refresh("5;", None);
        check_refresh("5; url=", None);
        check_refresh("url=x", None);
        check_refresh("", None);
        check_refresh("0 urlé", Some("urlé"));
    }

    #[test]
    fn only_what_can_be_fetched_is_parsed() {
        for (href, expected) in [
            (" /a#b ", Some("/a")),
            ("#top", None),
            ("", Some("")),
            ("javascript:void(0)", None),
            ("MailTo:a@example.org", None),
            ("data:text/html,x", None),
            ("tel:+1", None),
            ("HTTP://example.org", Some("HTTP://example.org")),
            ("ht\ntp://example.org", Some("ht\ntp://example.org")),
            ("a/b:c", Some("a/b:c")),
            ("?a:b", Some("?a:b")),
            ("//example.org", Some("//example.org")),
        ] {
            assert_eq!(worth_parsing(href), expected, "{href:?}");
        }
    }
}
