//! Answers for the tests of this room.

use bytes::Bytes;
use url::Url;

use crate::clock::Timestamp;
use crate::exchange::{BodyEnd, Fetched, Headers, Via};

/// A whole answer of `url` with status 200.
pub(super) fn answer(url: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Fetched {
    Fetched {
        url: address(url),
        status: 200,
        headers: Headers::from_pairs(headers.iter().copied()),
        body: Bytes::from(body.into()),
        body_end: BodyEnd::Whole,
        via: Via::default(),
        sent_at: Timestamp::EPOCH,
        answered_at: Timestamp::EPOCH,
        finished_at: Timestamp::EPOCH,
    }
}

/// An address that a test spells.
pub(super) fn address(url: &str) -> Url {
    Url::parse(url).expect("a test address parses")
}

/// A file of `tests/fixtures/`.
pub(super) fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("read {path}: {error}"))
}

/// `bytes` as a gzip file.
pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}
