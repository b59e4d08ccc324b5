//! The body of a request as it is sent.

use std::collections::HashSet;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::exchange::BodyCoding;
use crate::job::{Origin, Payload};

/// A body, with the words that go with it.
pub(super) struct Body {
    pub(super) media_type: &'static str,
    pub(super) coding: Option<BodyCoding>,
    pub(super) bytes: Bytes,
}

impl Body {
    /// `payload`, compressed by `coding` where that makes it shorter.
    pub(super) fn of(payload: &Payload, coding: Option<BodyCoding>) -> Self {
        let (media_type, plain) = encode(payload);
        match coding.map(|coding| (coding, compress(coding, &plain))) {
            Some((coding, Some(bytes))) if bytes.len() < plain.len() => {
                Self { media_type, coding: Some(coding), bytes: bytes.into() }
            }
            _ => Self { media_type, coding: None, bytes: plain.into() },
        }
    }

    /// A form, uncompressed.
    pub(super) fn of_form<N: AsRef<str>>(fields: &[(N, String)]) -> Self {
        let (media_type, bytes) = encode_form(fields);
        Self { media_type, coding: None, bytes: bytes.into() }
    }
}

fn encode(payload: &Payload) -> (&'static str, Vec<u8>) {
    match payload {
        Payload::Json(value) => ("application/json", value.to_string().into_bytes()),
        Payload::Form(fields) => encode_form(fields),
    }
}

fn encode_form<N: AsRef<str>>(fields: &[(N, String)]) -> (&'static str, Vec<u8>) {
    let text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    ("application/x-www-form-urlencoded", text.into_bytes())
}

/// None if the encoder fails, which it has no reason to in memory: the body then goes as it is.
fn compress(coding: BodyCoding, plain: &[u8]) -> Option<Vec<u8>> {
    match coding {
        BodyCoding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(plain).ok()?;
            encoder.finish().ok()
        }
        // Level 0 is the library's default, 3.
        BodyCoding::Zstd => zstd::encode_all(plain, 0).ok(),
    }
}

/// The origins that have answered 415 to a compressed body (RFC 7694 section 3): for the rest of the run theirs go as they are.
#[derive(Default)]
pub(super) struct Plain(Mutex<HashSet<Origin>>);

impl Plain {
    pub(super) fn insert(&self, origin: &Origin) {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(origin.clone()) {
            tracing::info!("{origin} takes no compressed requests; they go as they are");
        }
    }

    pub(super) fn contains(&self, origin: &Origin) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(origin)
    }
}
