//! What a document is: by its first bytes where they are plain, else by its `Content-Type`.

use super::charset::{self, Syntax};
use super::gunzip;
use super::notes::Notes;
use crate::exchange::Fetched;

/// How much of a document is looked at, in bytes. Our choice: comments and declarations before a root element are shorter.
const HEAD_BYTES: usize = 4 * 1024;

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentKind {
    /// A web page: HTML or XHTML.
    Html,
    /// A sitemap.
    Sitemap,
    /// An index of sitemaps.
    SitemapIndex,
    /// A feed: RSS, Atom or JSON Feed.
    Feed,
    /// JSON that is not a feed.
    Json,
    /// Plain text.
    Text,
    /// Anything else.
    Other,
}

/// What the answer's document is. Sitemaps and feeds are known by their root element, since servers send them as
/// `text/xml`, `text/plain` and `text/html` alike; everything else by its media type, and without one by its first bytes.
#[must_use]
pub fn document_kind(fetched: &Fetched) -> DocumentKind {
    let head = gunzip::head(&fetched.body, HEAD_BYTES);
    let decoded = charset::decode(fetched, &head, Syntax::Xml, &mut Notes::default());
    let text = decoded.text.trim_start();
    match root_element(text) {
        Some("urlset") => return DocumentKind::Sitemap,
        Some("sitemapindex") => return DocumentKind::SitemapIndex,
        Some("rss" | "feed") => return DocumentKind::Feed,
        Some("RDF") if text.contains("http://purl.org/rss/1.0/") => return DocumentKind::Feed,
        _ => {}
    }
    // JSON may escape its slashes.
    if text.starts_with('{') && text.replace("\\/", "/").contains("https://jsonfeed.org/version/") {
        return DocumentKind::Feed;
    }
    by_media_type(fetched, text).unwrap_or_else(|| by_first_bytes(text))
}

fn by_media_type(fetched: &Fetched, text: &str) -> Option<DocumentKind> {
    let essence = fetched.headers.get("content-type")?.split(';').next()?.trim().to_ascii_lowercase();
    match essence.as_str() {
        "text/html" | "application/xhtml+xml" => Some(DocumentKind::Html),
        "application/rss+xml" | "application/atom+xml" | "application/feed+json" => Some(DocumentKind::Feed),
        "application/json" | "text/json" => Some(DocumentKind::Json),
        // Old servers call everything so that they do not know.
        "text/plain" if text.contains('\0') => Some(DocumentKind::Other),
        "text/plain" => Some(DocumentKind::Text),
        // These say nothing.
        ""
        | "application/octet-stream"
        | "text/xml"
        | "application/xml"
        | "application/gzip"
        | "application/x-gzip" => None,
        _ if essence.ends_with("+json") => Some(DocumentKind::Json),
        _ => Some(DocumentKind::Other),
    }
}

fn by_first_bytes(text: &str) -> DocumentKind {
    if text.is_empty() || text.contains('\0') {
        return DocumentKind::Other;
    }
    let lower: String = text.chars().take(64).collect::<String>().to_ascii_lowercase();
    if lower.starts_with("<!doctype html") || root_element(text).is_some_and(|root| root.eq_ignore_ascii_case("html")) {
        DocumentKind::Html
    } else if lower.starts_with(['{', '[']) {
        DocumentKind::Json
    } else {
        DocumentKind::Other
    }
}

/// The name of the first element, without its namespace prefix, past declarations and comments.
pub(super) fn root_element(text: &str) -> Option<&str> {
    let mut rest = text.trim_start();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("<!--") {
            rest = after.split_once("-->")?.1;
        } else if rest.starts_with("<?") {
            rest = rest.split_once("?>")?.1;
        } else if rest.starts_with("<!") {
            let end = rest.find('>')?;
            // A document type may bring declarations in brackets.
            rest = match rest[..end].find('[') {
                Some(_) => rest.split_once(']')?.1.trim_start().strip_prefix('>')?,
                None => &rest[end + 1..],
            };
        } else {
            let name = rest.strip_prefix('<')?;
            let len = name.find(|c: char| c.is_whitespace() || c == '>' || c == '/')?;
            let name = &name[..len];
            return Some(name.rsplit_once(':').map_or(name, |(_, local)| local));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, fixture, gzip};
    use super::*;

    #[track_caller]
    fn check(content_type: &str, body: impl Into<Vec<u8>>, expected: DocumentKind) {
        let headers = [("content-type", content_type)];
        let headers = if content_type.is_empty() { &[] } else { headers.as_slice() };
        assert_eq!(document_kind(&answer("https://example.org/x", headers, body)), expected, "{content_type}");
    }

    #[test]
    fn the_root_element_knows_better_than_the_media_type() {
        check("text/html", fixture("sitemap.xml"), DocumentKind::Sitemap);
        check("application/octet-stream", gzip(&fixture("sitemap.xml")), DocumentKind::Sitemap);
        check("", fixture("sitemap_index.xml"), DocumentKind::SitemapIndex);
        check("text/plain", fixture("rss.xml"), DocumentKind::Feed);
        check("application/xml", fixture("atom.xml"), DocumentKind::Feed);
        check("application/json", fixture("feed.json"), DocumentKind::Feed);
        check("application/json", r#"{"version": "https:\/\/jsonfeed.org\/version\/1"}"#, DocumentKind::Feed);
        check("text/xml", "<r:RDF xmlns=\"http://purl.org/rss/1.0/\">", DocumentKind::Feed);
        check("text/xml", "<rdf:RDF xmlns:foaf=\"http://xmlns.com/foaf/0.1/\">", DocumentKind::Other);
    }

    #[test]
    fn the_media_type_decides_about_the_rest_and_the_first_bytes_where_there_is_none() {
        check("text/html; charset=utf-8", "", DocumentKind::Html);
        check("TEXT/HTML", "{}", DocumentKind::Html);
        check("application/xhtml+xml", "<html/>", DocumentKind::Html);
        check("application/json", "[1]", DocumentKind::Json);
        check("application/hal+json", "{}", DocumentKind::Json);
        check("text/plain", "<!doctype html>", DocumentKind::Text);
        check("text/plain", "PK\0\u{1}", DocumentKind::Other);
        check("image/png", "\u{89}PNG", DocumentKind::Other);
        check("application/pdf", "%PDF", DocumentKind::Other);
        check("text/css", "a{}", DocumentKind::Other);
        check("", "<!DOCTYPE HTML><p>", DocumentKind::Html);
        check("", " <!-- x --><html>", DocumentKind::Html);
        check("application/octet-stream", "{\"a\": 1}", DocumentKind::Json);
        check("", "%PDF-1.7", DocumentKind::Other);
        check("", "", DocumentKind::Other);
        check("", b"\x1f\x8bbroken".as_slice(), DocumentKind::Other);
    }
}
