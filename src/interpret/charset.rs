//! Bytes to text: which encoding a document is in, and its text in UTF-8.
//!
//! The order is that of browsers (WHATWG HTML, "determining the character encoding"): byte order mark, `Content-Type`,
//! a declaration within the document, a guess. A label that nobody knows and malformed bytes leave a note and never fail.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::markup::Attributes;
use super::notes::Notes;
use crate::exchange::Fetched;

/// How far a declaration within a document is looked for: 1,024 bytes (WHATWG HTML, "prescan a byte stream").
const PRESCAN_BYTES: usize = 1024;

/// How much of a document the guess looks at. Our choice: most of a page, and a bound on the time.
const GUESS_BYTES: usize = 64 * 1024;

/// Where a document of this syntax declares its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// `<meta charset>` or `<meta http-equiv=content-type>`.
    Html,
    /// The XML declaration.
    Xml,
    /// Nowhere: UTF-8 unless the answer says otherwise (RFC 8259 section 8.1).
    Json,
}

/// A document as text.
pub(super) struct Decoded<'a> {
    /// The text; borrowed when the bytes were UTF-8 already.
    pub text: Cow<'a, str>,
    /// Its encoding by the WHATWG name, such as `UTF-8`.
    pub charset: &'static str,
}

/// The text of `bytes`, which are the body of `fetched` or were unpacked from it.
pub(super) fn decode<'a>(fetched: &Fetched, bytes: &'a [u8], syntax: Syntax, notes: &mut Notes) -> Decoded<'a> {
    let (encoding, bom_bytes) = match Encoding::for_bom(bytes) {
        Some(found) => found,
        None => (declared(fetched, bytes, syntax, notes), 0),
    };
    let bytes = &bytes[bom_bytes..];
    let (text, malformed) = encoding.decode_without_bom_handling(bytes);
    if malformed {
        let count = count_malformed(encoding, bytes);
        notes.add(format!("{count} malformed byte sequences in {} text were replaced", encoding.name()));
    }
    Decoded { text, charset: encoding.name() }
}

/// The encoding by all signs but a byte order mark.
fn declared(fetched: &Fetched, bytes: &[u8], syntax: Syntax, notes: &mut Notes) -> &'static Encoding {
    if let Some(label) = fetched.headers.get("content-type").and_then(charset_parameter) {
        match Encoding::for_label(label.as_bytes()) {
            Some(encoding) => return encoding,
            None => notes.add(format!("unknown charset {label:?} in Content-Type")),
        }
    }
    let head = &bytes[..bytes.len().min(PRESCAN_BYTES)];
    let label = match syntax {
        Syntax::Html => html_label(head),
        Syntax::Xml => xml_label(head),
        Syntax::Json => None,
    };
    if let Some(label) = label {
        match Encoding::for_label(label.as_bytes()) {
            // A declaration that could be read byte by byte is not in UTF-16.
            Some(encoding) if encoding == UTF_16BE || encoding == UTF_16LE => return UTF_8,
            Some(encoding) if encoding.name() == "x-user-defined" => return WINDOWS_1252,
            Some(encoding) => return encoding,
            None => notes.add(format!("unknown charset {label:?} in the document")),
        }
    }
    match utf16_by_zeros(head) {
        Some(encoding) => encoding,
        None if syntax == Syntax::Html => guess(fetched, bytes),
        None => UTF_8,
    }
}

/// What the bytes look like; UTF-8 when they are valid UTF-8.
fn guess(fetched: &Fetched, bytes: &[u8]) -> &'static Encoding {
    if Encoding::utf8_valid_up_to(bytes) == bytes.len() {
        return UTF_8;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(&bytes[..bytes.len().min(GUESS_BYTES)], bytes.len() <= GUESS_BYTES);
    let tld = fetched.url.domain().and_then(|domain| domain.rsplit('.').next()).map(str::as_bytes);
    // The detector wants a top-level domain in lower case without dots, which is what the URL standard leaves.
    detector.guess(tld, Utf8Detection::Allow)
}

/// UTF-16 without a byte order mark: markup and JSON begin with ASCII, so every other byte of the start is zero.
fn utf16_by_zeros(head: &[u8]) -> Option<&'static Encoding> {
    match head {
        [0, a, 0, b, ..] if *a != 0 && *b != 0 => Some(UTF_16BE),
        [a, 0, b, 0, ..] if *a != 0 && *b != 0 => Some(UTF_16LE),
        _ => None,
    }
}

/// The charset parameter of a `Content-Type` value, as leniently as browsers read it.
fn charset_parameter(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches(['"', '\'']).trim();
        (name.trim().eq_ignore_ascii_case("charset") && !value.is_empty()).then_some(value)
    })
}

/// The label that a `<meta>` within `head` declares.
fn html_label(head: &[u8]) -> Option<String> {
    let mut rest = head;
    while let Some(at) = rest.iter().position(|&byte| byte == b'<') {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix(b"!--") {
            // `<!-->` is a whole comment, so the search starts at its dashes.
            let end = comment.windows(3).position(|window| window == b"-->");
            let short = comment.starts_with(b">");
            rest = if short { &comment[1..] } else { &comment[end? + 3..] };
            continue;
        }
        let is_meta = rest.len() > 4
            && rest[..4].eq_ignore_ascii_case(b"meta")
            && matches!(rest[4], b' ' | b'\t' | b'\n' | b'\r' | 0x0c | b'/');
        if !is_meta {
            continue;
        }
        rest = &rest[4..];
        if let Some(label) = meta_label(rest) {
            return Some(label);
        }
    }
    None
}

/// The label that the attributes of one `<meta>` declare.
fn meta_label(attributes: &[u8]) -> Option<String> {
    let (mut charset, mut content, mut is_content_type) = (None, None, false);
    for (name, value) in Attributes::new(attributes) {
        let value = String::from_utf8_lossy(value);
        match name.to_ascii_lowercase().as_slice() {
            b"charset" if charset.is_none() => charset = Some(value.trim().to_owned()),
            b"http-equiv" => is_content_type = value.trim().eq_ignore_ascii_case("content-type"),
            b"content" if content.is_none() => content = charset_parameter(&value).map(str::to_owned),
            _ => {}
        }
    }
    charset.or(if is_content_type { content } else { None }).filter(|label| !label.is_empty())
}

/// The label in an XML declaration.
fn xml_label(head: &[u8]) -> Option<String> {
    let declaration = head.trim_ascii_start().strip_prefix(b"<?xml")?;
    let end = declaration.windows(2).position(|window| window == b"?>")?;
    Attributes::new(&declaration[..end])
        .find(|(name, _)| *name == b"encoding")
        .map(|(_, value)| String::from_utf8_lossy(value).trim().to_owned())
        .filter(|label| !label.is_empty())
}

/// How many byte sequences of `bytes` mean nothing in `encoding`.
fn count_malformed(encoding: &'static Encoding, mut bytes: &[u8]) -> u64 {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut scratch = vec![0; 8 * 1024];
    let mut count = 0;
    loop {
        let (result, read, _) = decoder.decode_to_utf8_without_replacement(bytes, &mut scratch, true);
        bytes = &bytes[read..];
        match result {
            DecoderResult::InputEmpty => return count,
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => count += 1,
        }
    }
}
