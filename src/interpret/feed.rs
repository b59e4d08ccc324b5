//! Feeds: the pages that RSS, Atom and JSON Feed entries lead to.

use feed_rs::model::Entry;
use url::Url;

use super::charset::{self, Syntax};
use super::gunzip;
use super::notes::Notes;
use super::page::{fetchable, note_body_end};
use crate::clock::Timestamp;
use crate::exchange::Fetched;

/// How much of a feed is read, in bytes. Our choice: the parser builds all of it in memory.
const FEED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The deepest nesting of elements that the parser is given. Our choice: content that is XHTML stays far below it.
const DEPTH_MAX: usize = 512;

/// What a feed lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedMeaning {
    /// Its entries with distinct addresses, in order.
    pub entries: Vec<FeedEntry>,
    /// The title of the feed.
    pub title: Option<String>,
    /// What was odd, in words.
    pub notes: Vec<String>,
}

/// One entry of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEntry {
    /// Where it leads: absolute, http or https, without a fragment.
    pub url: Url,
    /// When it was updated, else published; none where the feed does not say, or says a time before 1970.
    pub changed_at: Option<Timestamp>,
}

/// Reads a feed. Never fails; a feed that cannot be read has no entries and a note.
#[must_use]
pub fn feed(fetched: &Fetched) -> FeedMeaning {
    let mut notes = Notes::default();
    note_body_end(fetched, &mut notes);
    let bytes = gunzip::unpacked(&fetched.body, FEED_BYTES_MAX, &mut notes);
    let decoded = charset::decode(fetched, &bytes, Syntax::Xml, &mut notes);
    let mut meaning = read(&fetched.url, &decoded.text, &mut notes);
    meaning.notes = notes.into_vec();
    meaning
}

/// Reads a feed that is text already.
pub(super) fn read(url: &Url, text: &str, notes: &mut Notes) -> FeedMeaning {
    let mut text = text.trim_start();
    // The text is UTF-8 by now, whatever its declaration says.
    if text.starts_with("<?xml") {
        text = text.split_once("?>").map_or("", |(_, rest)| rest);
    }
    if text.starts_with('<') && is_deep(text) {
        notes.add(format!("the feed is nested more than {DEPTH_MAX} levels deep: not read"));
        return FeedMeaning::default();
    }
    let parser = feed_rs::parser::Builder::new().base_uri(Some(url.as_str())).build();
    let feed = match parser.parse(text.as_bytes()) {
        Ok(feed) => feed,
        Err(error) => {
            notes.add(format!("not a feed: {error}"));
            return FeedMeaning::default();
        }
    };
    let mut meaning = FeedMeaning {
        title: feed.title.map(|title| title.content.split_whitespace().collect::<Vec<_>>().join(" ")),
        ..FeedMeaning::default()
    };
    if let Some(title) = &mut meaning.title {
        super::notes::cut(title, 1000);
    }
    let mut seen = std::collections::HashSet::new();
    for entry in &feed.entries {
        if let Some(link) = link_of(entry, url)
            && seen.insert(link.clone())
        {
            let changed_at = entry.updated.or(entry.published).map(|date| Timestamp(date.timestamp_millis()));
            meaning.entries.push(FeedEntry { url: link, changed_at: changed_at.filter(|at| *at > Timestamp::EPOCH) });
        }
    }
    meaning
}

/// Where an entry leads: its alternate link, else any link that is not about the entry itself, else an id that is an address.
fn link_of(entry: &Entry, base: &Url) -> Option<Url> {
    let rel_of = |rel: &Option<String>| rel.as_deref().unwrap_or("alternate").to_ascii_lowercase();
    let alternate = entry.links.iter().find(|link| rel_of(&link.rel) == "alternate");
    let other = || {
        let about = ["self", "edit", "edit-media", "replies", "enclosure", "hub", "next", "via"];
        entry.links.iter().find(|link| !about.contains(&rel_of(&link.rel).as_str()))
    };
    let by_link = alternate.or_else(other).and_then(|link| base.join(link.href.trim()).ok());
    by_link.or_else(|| Url::parse(entry.id.trim()).ok()).and_then(fetchable)
}

/// Whether elements nest deeper than the parser should be asked to follow; counted from above, by tags alone.
fn is_deep(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(step) = bytes[at..].iter().position(|&byte| byte == b'<') {
        at += step + 1;
        match bytes.get(at) {
            Some(b'/') => depth = depth.saturating_sub(1),
            Some(byte) if byte.is_ascii_alphabetic() => {
                let end = bytes[at..].iter().position(|&byte| byte == b'>').map_or(bytes.len(), |len| at + len);
                depth += usize::from(bytes[end - 1] != b'/');
                at = end;
            }
            Some(b'!') if bytes[at..].starts_with(b"![CDATA[") => {
                at = bytes[at..].windows(3).position(|w| w == b"]]>").map_or(bytes.len(), |len| at + len);
            }
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, fixture, gzip};
    use super::*;

    #[track_caller]
    fn check(body: impl Into<Vec<u8>>, title: Option<&str>, links: &[&str]) {
        let meaning = feed(&answer("https://example.org/feeds/x", &[], body));
        let found: Vec<&str> = meaning.entries.iter().map(|entry| entry.url.as_str()).collect();
        assert_eq!((meaning.title.as_deref(), found.as_slice()), (title, links), "{:?}", meaning.notes);
    }

    #[test]
    fn entries_lead_to_their_pages() {
        let rss = ["https://example.org/news/1?a=1&b=2", "https://example.org/news/2", "https://example.org/news/3"];
        check(fixture("rss.xml"), Some("News & more"), &rss);
        check(gzip(&fixture("rss.xml")), Some("News & more"), &rss);
        check(fixture("atom.xml"), Some("Blog"), &["https://example.org/a", "https://example.org/b"]);
        check(fixture("feed.json"), Some("JSON"), &["https://example.org/j1", "https://example.org/j2"]);
    }

    #[test]
    fn the_encoding_of_the_answer_wins_over_the_declaration() {
        let body = "<?xml version='1.0' encoding='utf-8'?><rss version='2.0'><channel><title>caf\u{e9}</title></channel></rss>";
        let (latin, _, _) = encoding_rs::WINDOWS_1252.encode(body);
        let headers = [("content-type", "text/xml; charset=iso-8859-1")];
        let meaning = feed(&answer("https://example.org/", &headers, latin));
        assert_eq!(meaning.title.as_deref(), Some("café"));
    }

    #[test]
    fn what_is_no_feed_says_so() {
        for (body, note) in [
            ("<html></html>".to_owned(), "not a feed"),
            ("<rss><channel><item>".to_owned(), "not a feed"),
            (String::new(), "not a feed"),
            (format!("<rss>{}", "<a>".repeat(100_000)), "nested more than 512 levels"),
        ] {
            let meaning = feed(&answer("https://example.org/", &[], body));
            assert!(meaning.entries.is_empty());
            assert!(meaning.notes.iter().any(|it| it.contains(note)), "{:?}", meaning.notes);
        }
    }

    #[test]
    fn a_large_feed_and_a_deep_one_are_read() {
        let entries: String = "<item><link>/same</link></item><item><link>/other</link></item>".repeat(5000);
        let links = ["https://example.org/same", "https://example.org/other"];
        check(format!("<rss version=\"2.0\"><channel><title>t</title>{entries}</channel></rss>"), Some("t"), &links);
        let deep = format!("{}x{}", "<div>".repeat(500), "</div>".repeat(500));
        let content = format!("<content type=\"xhtml\">{deep}</content><link href=\"/a\"/>");
        let atom = format!("<feed xmlns=\"http://www.w3.org/2005/Atom\"><entry>{content}</entry></feed>");
        check(atom, None, &["https://example.org/a"]);
    }
}
