//! Content codings that the HTTP library leaves alone: deflate, and gzip under the names that it does not know.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use tokio::sync::Semaphore;

use super::body::SMALL_BODY_BYTES;
use super::settings::Settings;
use crate::exchange::{BodyEnd, Headers};

/// What to do about a body whose `Content-Encoding` is still there; the library removes the header of those that it undid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leftover {
    /// Nothing: it is plain, or labelled with a word that is no coding (`utf-8`, `none`), which browsers ignore too.
    Plain,
    /// RFC 1952.
    Gzip,
    /// RFC 1950, or RFC 1951 without the wrapper, as some servers send it (RFC 9110, section 8.4.1.2).
    Deflate,
    /// Codings that we cannot undo, or several on top of each other.
    Unknown,
}

impl Leftover {
    pub(super) fn of(headers: &Headers) -> Self {
        let mut found = Self::Plain;
        for name in headers.get_all("content-encoding").flat_map(|value| value.split(',')) {
            let one = match name.trim().to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => Self::Gzip,
                "deflate" => Self::Deflate,
                "br" | "zstd" | "compress" | "x-compress" | "dcb" | "dcz" | "exi" | "pack200-gzip" | "aes128gcm" => {
                    Self::Unknown
                }
                _ => continue,
            };
            found = if found == Self::Plain { one } else { Self::Unknown };
        }
        found
    }

    /// Undoes the coding of `body`, which ended as `end`, within the same caps as any other body.
    pub(super) async fn undo(
        self,
        body: Bytes,
        end: BodyEnd,
        settings: &Settings,
        large_bodies: &Semaphore,
    ) -> (Bytes, BodyEnd) {
        let mut reader: Box<dyn Read + Send + '_> = match self {
            Self::Plain => return (body, end),
            _ if body.is_empty() => return (body, end),
            Self::Unknown => {
                let cause = "its content coding cannot be undone".to_owned();
                return (body, BodyEnd::Cut { cause });
            }
            Self::Gzip => Box::new(MultiGzDecoder::new(&body[..])),
            Self::Deflate if has_zlib_header(&body) => Box::new(ZlibDecoder::new(&body[..])),
            Self::Deflate => Box::new(DeflateDecoder::new(&body[..])),
        };
        let bytes_max = usize::try_from(settings.body_bytes_max).unwrap_or(usize::MAX);
        let mut decoded = Vec::new();
        let mut result = read_more(&mut reader, &mut decoded, SMALL_BODY_BYTES.min(bytes_max));
        if result.is_ok() && decoded.len() > SMALL_BODY_BYTES {
            let _permit =
                large_bodies.acquire().await.expect("the semaphore lives as long as the fetcher and is not closed");
            result = read_more(&mut reader, &mut decoded, bytes_max);
        }
        let end = match (result, end) {
            _ if decoded.len() > bytes_max => BodyEnd::TooLarge { bytes_max: settings.body_bytes_max },
            (Err(cause), BodyEnd::Whole) => BodyEnd::Cut { cause: cause.to_string() },
            (_, end) => end,
        };
        decoded.truncate(bytes_max);
        (decoded.into(), end)
    }
}

/// Reads until `decoded` is one byte longer than `bytes_limit`, or to the end.
fn read_more(reader: &mut impl Read, decoded: &mut Vec<u8>, bytes_limit: usize) -> io::Result<()> {
    let missing = bytes_limit.saturating_add(1).saturating_sub(decoded.len());
    reader.take(missing as u64).read_to_end(decoded).map(|_| ())
}

/// The first two bytes of RFC 1950: method 8, and a checksum over both.
fn has_zlib_header(body: &[u8]) -> bool {
    match body {
        [method, flags, ..] => method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)).is_multiple_of(31),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: Leftover) {
        assert_eq!(Leftover::of(&Headers::from_pairs([("Content-Encoding", value)])), expected, "{value}");
    }

    #[test]
    fn a_label_that_is_no_coding_is_ignored() {
        check("", Leftover::Plain);
        check("identity", Leftover::Plain);
        check("UTF-8", Leftover::Plain);
        check("none", Leftover::Plain);
        check("X-GZip", Leftover::Gzip);
        check("identity, deflate", Leftover::Deflate);
        check("gzip, gzip", Leftover::Unknown);
        check("compress", Leftover::Unknown);
    }
}
