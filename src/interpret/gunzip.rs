//! Unpacking of documents that are gzip themselves (`sitemap.xml.gz`), with a cap against bombs.

use std::borrow::Cow;
use std::io::Read;

use flate2::bufread::MultiGzDecoder;

use super::notes::Notes;

/// The first bytes of every gzip file (RFC 1952 section 2.3.1).
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Whether these bytes are a gzip file.
pub(super) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// At most `bytes_max` bytes of the document, unpacked if it is gzip. What could be unpacked is kept when the rest is
/// broken or beyond the cap.
pub(super) fn unpacked<'b>(bytes: &'b [u8], bytes_max: usize, notes: &mut Notes) -> Cow<'b, [u8]> {
    if !is_gzip(bytes) {
        if bytes.len() > bytes_max {
            notes.add(format!("the document is longer than {bytes_max} bytes: read in part"));
        }
        return Cow::Borrowed(&bytes[..bytes.len().min(bytes_max)]);
    }
    let mut out = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let mut reader = MultiGzDecoder::new(bytes).take(limit);
    if let Err(error) = reader.read_to_end(&mut out) {
        notes.add(format!("the gzip data is broken ({error}): read in part"));
    }
    if out.len() > bytes_max {
        out.truncate(bytes_max);
        notes.add(format!("the document is longer than {bytes_max} bytes when unpacked: read in part"));
    }
    Cow::Owned(out)
}

/// The first `bytes_max` bytes of the document, unpacked if it is gzip.
pub(super) fn head(bytes: &[u8], bytes_max: usize) -> Cow<'_, [u8]> {
    if !is_gzip(bytes) {
        return Cow::Borrowed(&bytes[..bytes.len().min(bytes_max)]);
    }
    let mut out = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    // Broken data shows in what is there.
    let _ = MultiGzDecoder::new(bytes).take(limit).read_to_end(&mut out);
    Cow::Owned(out)
}
