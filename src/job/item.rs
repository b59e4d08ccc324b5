//! What pages and APIs yield.

use serde_json::Value;

/// A record that was extracted and not stored yet.
#[derive(Clone, Debug, PartialEq)]
pub struct NewItem {
    /// What makes it the same record when it is met again; a later one with the same key replaces it.
    pub key: ItemKey,
    /// The record itself: any JSON value, an object for all but odd APIs.
    pub data: Value,
}

/// 128 bits of BLAKE3 over a record's identity within its source: the values of its key fields, or all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ItemKey(pub [u8; 16]);

impl ItemKey {
    /// The key of the identity spelled by `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
        Self(key)
    }
}
