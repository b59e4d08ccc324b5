//! Sitemaps (sitemaps.org protocol 0.9): plain or gzip, XML, text or a feed, read leniently.

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::Event;
use url::Url;

use super::charset::{self, Syntax};
use super::feed;
use super::gunzip;
use super::html::HREF_BYTES_MAX;
use super::kind::root_element;
use super::notes::Notes;
use super::page::{fetchable, note_body_end};
use crate::exchange::Fetched;

/// The longest sitemap, unpacked: 50 MB by sitemaps.org.
const SITEMAP_BYTES_MAX: usize = 50 * 1024 * 1024;

/// Text of one element that is kept, in bytes; addresses are the longest.
const VALUE_BYTES_MAX: usize = HREF_BYTES_MAX;

/// What a sitemap lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SitemapMeaning {
    /// Pages, in order; repeated ones included.
    pub pages: Vec<SitemapEntry>,
    /// Further sitemaps, in order.
    pub sitemaps: Vec<Url>,
    /// What was odd, in words.
    pub notes: Vec<String>,
}

/// One page of a sitemap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SitemapEntry {
    /// Its address: absolute, http or https, without a fragment.
    pub url: Url,
    /// When it changed last, as written; by the protocol a W3C date such as `2026-01-31` or a date and time with an offset.
    pub lastmod: Option<String>,
}

/// Reads a sitemap, at most `urls_max` entries of it. Never fails: what could be read before the damage is kept.
#[must_use]
pub fn sitemap(fetched: &Fetched, urls_max: usize) -> SitemapMeaning {
    let mut notes = Notes::default();
    note_body_end(fetched, &mut notes);
    let bytes = gunzip::unpacked(&fetched.body, SITEMAP_BYTES_MAX, &mut notes);
    let decoded = charset::decode(fetched, &bytes, Syntax::Xml, &mut notes);
    let text = decoded.text.trim_start();
    let mut list = List { base: &fetched.url, urls_max, left_out: 0, bad: 0, meaning: SitemapMeaning::default() };
    match root_element(text) {
        Some("rss" | "feed" | "RDF") => {
            let found = feed::read(&fetched.url, text, &mut notes);
            for url in found.links {
                list.page(url.as_str(), None);
            }
        }
        Some(root) if root.eq_ignore_ascii_case("html") => notes.add("this is a web page, not a sitemap"),
        Some(_) => read_xml(text, &mut list, &mut notes),
        None if text.starts_with('<') => read_xml(text, &mut list, &mut notes),
        None => {
            for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
                list.page(line, None);
            }
        }
    }
    if list.left_out > 0 {
        notes.add(format!("more than {urls_max} entries: {} were left out", list.left_out));
    }
    if list.bad > 0 {
        notes.add(format!("{} entries have no http address", list.bad));
    }
    let mut meaning = list.meaning;
    meaning.notes = notes.into_vec();
    meaning
}

/// Collects entries within the cap.
struct List<'u> {
    base: &'u Url,
    urls_max: usize,
    left_out: u64,
    bad: u64,
    meaning: SitemapMeaning,
}

impl List<'_> {
    /// The address of an entry, if there is room for it and it is one. The protocol wants it absolute; some are not.
    fn accept(&mut self, address: &str) -> Option<Url> {
        if self.meaning.pages.len() + self.meaning.sitemaps.len() >= self.urls_max {
            self.left_out += 1;
            return None;
        }
        let address = address.trim();
        let url = if address.is_empty() || address.len() >= VALUE_BYTES_MAX {
            None
        } else if address.contains(char::is_whitespace) {
            // A line of prose, as in an error page sent as text.
            None
        } else {
            self.base.join(address).ok().and_then(fetchable)
        };
        self.bad += u64::from(url.is_none());
        url
    }

    fn page(&mut self, address: &str, lastmod: Option<String>) {
        if let Some(url) = self.accept(address) {
            self.meaning.pages.push(SitemapEntry { url, lastmod });
        }
    }

    fn sitemap(&mut self, address: &str) {
        if let Some(url) = self.accept(address) {
            self.meaning.sitemaps.push(url);
        }
    }
}

/// Which entry the reader is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    Page,
    Sitemap,
}

/// Reads `<url>` and `<sitemap>` entries. Nothing is expanded but the five entities of XML and numbers, so a document type
/// with entities in it (a "billion laughs") is inert.
fn read_xml(text: &str, list: &mut List<'_>, notes: &mut Notes) {
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    config.expand_empty_elements = true;
    let mut entry: Option<(Entry, usize)> = None;
    let (mut depth, mut loc, mut lastmod, mut value) = (0_usize, String::new(), String::new(), String::new());
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                depth += 1;
                value.clear();
                let found = match start.local_name().as_ref() {
                    "url" => Some(Entry::Page),
                    "sitemap" => Some(Entry::Sitemap),
                    _ => None,
                };
                // Entries lie right below the root; deeper ones of these names belong to other vocabularies.
                if let (Some(found), None) = (found, entry) {
                    entry = Some((found, depth));
                    loc.clear();
                    lastmod.clear();
                }
            }
            Ok(Event::End(end)) => {
                if let Some((kind, entry_depth)) = entry {
                    // `image:loc` and its kin lie one level deeper.
                    if depth == entry_depth + 1 {
                        match end.local_name().as_ref() {
                            "loc" if loc.is_empty() => std::mem::swap(&mut loc, &mut value),
                            "lastmod" if lastmod.is_empty() => std::mem::swap(&mut lastmod, &mut value),
                            _ => {}
                        }
                    } else if depth <= entry_depth {
                        finish(list, kind, &loc, &lastmod);
                        entry = None;
                    }
                }
                value.clear();
                depth = depth.saturating_sub(1);
            }
            Ok(Event::Text(piece)) => push(&mut value, &piece),
            Ok(Event::CData(piece)) => push(&mut value, &piece),
            Ok(Event::GeneralRef(reference)) => match reference.resolve_char_ref() {
                Ok(Some(c)) => value.push(c),
                _ => match resolve_xml_entity(&reference) {
                    Some(known) => push(&mut value, known),
                    // `?a=1&b=2;` without an escape: what stands there is meant.
                    None => push(&mut value, &format!("&{};", &*reference)),
                },
            },
            Ok(Event::Eof) => break,
            Ok(_) => {}
            Err(error) => {
                notes.add(format!("broken XML at byte {}: {error}; read up to there", reader.error_position()));
                break;
            }
        }
    }
    if let Some((kind, _)) = entry {
        notes.add("the sitemap ends within an entry");
        finish(list, kind, &loc, &lastmod);
    }
}

fn finish(list: &mut List<'_>, kind: Entry, loc: &str, lastmod: &str) {
    match kind {
        Entry::Page => {
            let lastmod = lastmod.trim();
            // A date is short; anything else is not one.
            let lastmod = (!lastmod.is_empty() && lastmod.len() <= 64).then(|| lastmod.to_owned());
            list.page(loc, lastmod);
        }
        Entry::Sitemap => list.sitemap(loc),
    }
}

fn push(value: &mut String, piece: &str) {
    if value.len() < VALUE_BYTES_MAX {
        value.push_str(piece);
        super::notes::cut(value, VALUE_BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::super::testing::{answer, fixture, gzip};
    use super::*;

    fn in_words(meaning: &SitemapMeaning) -> String {
        let mut out = String::new();
        for page in &meaning.pages {
            writeln!(out, "{} {}", page.url, page.lastmod.as_deref().unwrap_or("-")).expect("memory takes it");
        }
        for url in &meaning.sitemaps {
            writeln!(out, "sitemap {url}").expect("memory takes it");
        }
        for note in &meaning.notes {
            writeln!(out, "note: {note}").expect("memory takes it");
        }
        out
    }

    fn read(body: impl Into<Vec<u8>>) -> String {
        in_words(&sitemap(&answer("https://example.org/maps/sitemap.xml", &[], body), 50_000))
    }

    #[test]
    fn a_sitemap_is_read() {
        let plain = read(fixture("sitemap.xml"));
        insta::assert_snapshot!(plain, @"");
        assert_eq!(read(gzip(&fixture("sitemap.xml"))), plain);
        assert_eq!(read([b"\xef\xbb\xbf\n".to_vec(), fixture("sitemap.xml")].concat()), plain);
        let utf16: Vec<u8> = format!("\u{feff}{}", String::from_utf8_lossy(&fixture("sitemap.xml")))
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        assert_eq!(read(utf16), plain);
    }

    #[test]
    fn an_index_of_sitemaps_is_read() {
        insta::assert_snapshot!(read(fixture("sitemap_index.xml")), @"");
    }

    #[test]
    fn a_text_sitemap_has_one_address_a_line() {
        let text = "\u{feff}https://example.org/a?x=1&y=2\r\n\r\nhttps://example.org/b\nnot an address\n";
        insta::assert_snapshot!(read(text), @"");
    }

    #[test]
    fn a_feed_may_serve_as_a_sitemap() {
        insta::assert_snapshot!(read(fixture("atom.xml")), @"");
    }

    #[test]
    fn what_was_read_before_the_damage_is_kept() {
        let mut table = String::new();
        for body in [
            "<urlset><url><loc>/a</loc></url><url><loc>/b</loc>",
            "<urlset><url><loc>/a</loc></url><url><loc>/b</lo",
            "<urlset><url><loc>/a</loc></url></wrong><url><loc>/b</loc></url></urlset>",
            "<urlset><url><loc>/a</url><url><loc>/b</loc></url></urlset>",
            "<urlset><url><loc>/a</loc></url><!-- open",
            "<html><body>404</body></html>",
            "Not found, sorry",
            "",
        ] {
            write!(table, "{body}\n{}--\n", read(body)).expect("memory takes it");
        }
        insta::assert_snapshot!(table, @"");
        let cut = gzip(&fixture("sitemap.xml"));
        let words = read(&cut[..cut.len() - 20]);
        assert!(words.contains("example.org/a") && words.contains("the gzip data is broken"), "{words}");
    }

    #[test]
    fn a_bomb_is_cut() {
        let mut bomb = Vec::new();
        for _ in 0..60 {
            bomb.extend(gzip(&vec![b' '; 1024 * 1024]));
        }
        assert!(bomb.len() < 1024 * 1024);
        assert_eq!(read(bomb), "note: the document is longer than 52428800 bytes when unpacked: read in part\n");
        let deep = format!("<urlset>{}", "<url>".repeat(1_000_000));
        assert_eq!(read(deep).lines().count(), 2);
    }

    #[test]
    fn entries_beyond_the_cap_are_counted() {
        let body = format!("<urlset>{}</urlset>", "<url><loc>/a</loc></url>".repeat(30));
        let meaning = sitemap(&answer("https://example.org/", &[], body), 10);
        assert_eq!(
            (meaning.pages.len(), meaning.notes),
            (10, vec!["more than 10 entries: 20 were left out".to_owned()])
        );
    }
}
