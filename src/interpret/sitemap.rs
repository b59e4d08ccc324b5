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
    pub sitemaps: Vec<SitemapEntry>,
    /// What was odd, in words.
    pub notes: Vec<String>,
}

/// One page of a sitemap, or one sitemap of an index.
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
            for entry in found.entries {
                let date = entry.changed_at.and_then(|at| chrono::DateTime::from_timestamp_millis(at.0));
                list.page(entry.url.as_str(), date.map(|date| date.to_rfc3339()));
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

    fn sitemap(&mut self, address: &str, lastmod: Option<String>) {
        if let Some(url) = self.accept(address) {
            self.meaning.sitemaps.push(SitemapEntry { url, lastmod });
        }
    }
}

/// An entry that is being read.
#[derive(Default)]
struct Entry {
    /// Its name as written, prefix included; empty outside of entries.
    name: String,
    is_sitemap: bool,
    loc: String,
    lastmod: String,
    open: Option<Part>,
}

/// The part of an entry that text belongs to.
#[derive(Clone, Copy)]
enum Part {
    Loc,
    Lastmod,
}

impl Entry {
    fn start(&mut self, name: &str, list: &mut List<'_>) {
        let (prefix, local) = split(name);
        if self.name.is_empty() || self.name == name {
            if matches!(local, "url" | "sitemap") {
                // The one before was not closed.
                self.finish(list);
                name.clone_into(&mut self.name);
                self.is_sitemap = local == "sitemap";
            }
            return;
        }
        // `image:loc` and its kin belong to another vocabulary.
        self.open = match local {
            _ if prefix != split(&self.name).0 => None,
            "loc" if self.loc.is_empty() => Some(Part::Loc),
            "lastmod" if self.lastmod.is_empty() => Some(Part::Lastmod),
            _ => None,
        };
    }

    fn end(&mut self, name: &str, list: &mut List<'_>) {
        self.open = None;
        if !self.name.is_empty() && self.name == name {
            self.finish(list);
        }
    }

    fn text(&mut self, piece: &str) {
        let value = match self.open {
            Some(Part::Loc) => &mut self.loc,
            Some(Part::Lastmod) => &mut self.lastmod,
            None => return,
        };
        if value.len() < VALUE_BYTES_MAX {
            value.push_str(piece);
            super::notes::cut(value, VALUE_BYTES_MAX);
        }
    }

    fn finish(&mut self, list: &mut List<'_>) {
        let entry = std::mem::take(self);
        if entry.name.is_empty() {
            return;
        }
        let lastmod = entry.lastmod.trim();
        // A date is short; anything else is not one.
        let lastmod = (!lastmod.is_empty() && lastmod.len() <= 64).then(|| lastmod.to_owned());
        if entry.is_sitemap {
            list.sitemap(&entry.loc, lastmod);
        } else {
            list.page(&entry.loc, lastmod);
        }
    }
}

/// Prefix and local part of a name.
fn split(name: &str) -> (&str, &str) {
    name.split_once(':').unwrap_or(("", name))
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
    let mut entry = Entry::default();
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => entry.start(start.name().as_ref(), list),
            Ok(Event::End(end)) => entry.end(end.name().as_ref(), list),
            Ok(Event::Text(piece)) => entry.text(&piece),
            Ok(Event::CData(piece)) => entry.text(&piece),
            Ok(Event::GeneralRef(reference)) => match reference.resolve_char_ref() {
                Ok(Some(c)) => entry.text(c.encode_utf8(&mut [0; 4])),
                _ => match resolve_xml_entity(&reference) {
                    Some(known) => entry.text(known),
                    // An unknown name, or a `&` that nobody escaped: what stands there is meant.
                    None => entry.text(&format!("&{};", &*reference)),
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
    if !entry.name.is_empty() {
        notes.add("the sitemap ends within an entry");
        // A value that was not closed may be half of one, and half an address is another address.
        match entry.open {
            Some(Part::Loc) => return,
            Some(Part::Lastmod) => entry.lastmod.clear(),
            None => {}
        }
        entry.finish(list);
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
        for map in &meaning.sitemaps {
            writeln!(out, "sitemap {} {}", map.url, map.lastmod.as_deref().unwrap_or("-")).expect("memory takes it");
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
        insta::assert_snapshot!(plain, @r"
    https://example.org/a?x=1&y=2 2026-01-31
    https://example.org/b?x=1&y=2 2026-02-01T10:00:00+01:00
    https://example.org/c?x=1&y=2&z=&lol2; -
    https://example.org/relative -
    https://example.org/last -
    note: 3 entries have no http address
    ");
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
        insta::assert_snapshot!(read(fixture("sitemap_index.xml")), @r"
    sitemap https://example.org/sitemap-1.xml.gz 2026-01-01
    sitemap https://example.org/sitemap-2.xml -
    ");
    }

    #[test]
    fn a_text_sitemap_has_one_address_a_line() {
        let text = "\u{feff}https://example.org/a?x=1&y=2\r\n\r\nhttps://example.org/b\nnot an address\n";
        insta::assert_snapshot!(read(text), @r"
    https://example.org/a?x=1&y=2 -
    https://example.org/b -
    note: 1 entries have no http address
    ");
    }

    #[test]
    fn a_feed_may_serve_as_a_sitemap() {
        insta::assert_snapshot!(read(fixture("atom.xml")), @r"
    https://example.org/a 2026-01-01T00:00:00+00:00
    https://example.org/b 2026-01-01T00:00:00+00:00
    ");
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
        insta::assert_snapshot!(table, @r"
    <urlset><url><loc>/a</loc></url><url><loc>/b</loc>
    https://example.org/a -
    https://example.org/b -
    note: the sitemap ends within an entry
    --
    <urlset><url><loc>/a</loc></url><url><loc>/b</lo
    https://example.org/a -
    note: broken XML at byte 44: syntax error: tag not closed: `>` not found before end of input; read up to there
    note: the sitemap ends within an entry
    --
    <urlset><url><loc>/a</loc></url></wrong><url><loc>/b</loc></url></urlset>
    https://example.org/a -
    https://example.org/b -
    --
    <urlset><url><loc>/a</url><url><loc>/b</loc></url></urlset>
    https://example.org/a -
    https://example.org/b -
    --
    <urlset><url><loc>/a</loc></url><!-- open
    https://example.org/a -
    note: broken XML at byte 32: syntax error: comment not closed: `-->` not found before end of input; read up to there
    --
    <html><body>404</body></html>
    note: this is a web page, not a sitemap
    --
    Not found, sorry
    note: 1 entries have no http address
    --

    --
    ");
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
        // Unpacking stops at the cap, so it never meets the damage at the end.
        bomb.extend(b"damage");
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
