//! Where a page of an API stands: the slice of its stream, and the walk through it.

use std::cmp::Ordering;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::Timestamp;

use super::{NewJob, SourceId, order_of};

/// A slice in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SliceId(pub i64);

/// The values that tell a slice from the others of its stream, by the names that stand for them in the configuration:
/// `each`, `since`, `until`, `issues.number`. Empty for a stream that is one walk.
pub type Params = Map<String, Value>;

/// 128 bits of BLAKE3 over the names and values of a slice; unique within its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SliceKey(pub [u8; 16]);

impl SliceKey {
    /// The key of the slice with these values. A number is not its text: 7 and "7" are two slices.
    #[must_use]
    pub fn of(params: &Params) -> Self {
        // The map is sorted by name, so equal values read alike.
        let text = serde_json::to_string(params).expect("values of JSON are JSON");
        let mut key = [0; 16];
        key.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
        Self(key)
    }
}

/// A slice that is to be walked: a part of a stream with pages of its own, one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSlice {
    /// Whose.
    pub source: SourceId,
    /// Its values.
    pub params: Params,
    /// Its first page.
    pub first: NewJob,
    /// Whether what comes before its first page came elsewhere, so that a walk of the slice that is on, or over in this pull, has all that
    /// this one would bring: it does not join that one.
    pub is_late: bool,
}

/// A walk through a slice, as a page of it is handed out with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// The slice.
    pub slice: SliceId,
    /// The number of the walk, from 1; a page that was fetched in an earlier one is fetched once more.
    pub number: u32,
    /// How often it had to begin again since the pull began, as when a cursor expires.
    pub restarts: u32,
    /// The slice's values.
    pub params: Arc<Params>,
    /// The greatest value of the incremental field up to which everything is stored; none before the first complete walk.
    pub mark: Option<Value>,
    /// Records that it has met so far.
    pub records: u64,
    /// When the walk began.
    pub started_at: Timestamp,
}

/// The later of two values of an incremental field. Of two that cannot be compared, the one that was known before.
#[must_use]
pub fn later_mark(known: Option<Value>, seen: Option<Value>) -> Option<Value> {
    match (known, seen) {
        (Some(known), Some(seen)) => {
            Some(if order_of(&seen, &known) == Some(Ordering::Greater) { seen } else { known })
        }
        (known, seen) => known.or(seen),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_later_mark_stays() {
        assert_eq!(later_mark(None, None), None);
        assert_eq!(later_mark(Some(json!(3)), None), Some(json!(3)));
        assert_eq!(later_mark(None, Some(json!(3))), Some(json!(3)));
        assert_eq!(later_mark(Some(json!(3)), Some(json!(2))), Some(json!(3)));
        assert_eq!(later_mark(Some(json!(3)), Some(json!(4))), Some(json!(4)));
        assert_eq!(later_mark(Some(json!(3)), Some(json!("x"))), Some(json!(3)));
        assert_eq!(
            later_mark(Some(json!(9)), Some(json!("18446744073709551616"))),
            Some(json!("18446744073709551616"))
        );
    }

    #[test]
    fn a_slice_is_told_by_its_values_whatever_their_order() {
        let key = |value: Value| SliceKey::of(value.as_object().expect("a test slice is an object"));
        assert_eq!(key(json!({"each": "a", "since": 1})), key(json!({"since": 1, "each": "a"})));
        assert_ne!(key(json!({"each": "7"})), key(json!({"each": 7})));
        assert_ne!(key(json!({})), key(json!({"each": null})));
    }
}
