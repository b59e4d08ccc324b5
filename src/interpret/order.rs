//! Which of two values of a field comes later: how far a stream has come, and whether it comes in order.

use std::cmp::Ordering;

use chrono::{DateTime, FixedOffset};
use serde_json::{Number, Value};

/// The later of two values, the first when neither is: numbers by what they count, RFC 3339 texts by the instant that they
/// name, other texts by their bytes. Texts that are whole numbers count as such, since APIs send ids beyond 53 bits so. What
/// has no order (null, flags, lists, objects) comes before all that has; of a text and a number the text is later.
#[must_use]
pub fn later<'v>(one: &'v Value, other: &'v Value) -> &'v Value {
    if order_of(one, other) == Ordering::Less { other } else { one }
}

/// The order by which [`later`] picks. Equal are also two spellings of one number or instant.
#[must_use]
pub fn order_of(one: &Value, other: &Value) -> Ordering {
    let (one, other) = (Ranked::of(one), Ranked::of(other));
    match (&one, &other) {
        (Ranked::Number(one), Ranked::Number(other)) => number_order(one, other),
        (Ranked::Instant(one, _), Ranked::Instant(other, _)) => one.cmp(other),
        (Ranked::Text(one) | Ranked::Instant(_, one), Ranked::Text(other) | Ranked::Instant(_, other)) => {
            one.as_bytes().cmp(other.as_bytes())
        }
        _ => one.rank().cmp(&other.rank()),
    }
}

/// Whether a value can tell how far a stream has come.
pub(super) fn has_order(value: &Value) -> bool {
    Ranked::of(value).rank() > 0
}

/// Whether the order of this value is told by more than its bytes, so that a server is sure to see it likewise.
pub(super) fn is_plain_order(value: &Value) -> bool {
    matches!(Ranked::of(value), Ranked::Number(_) | Ranked::Instant(..))
}

enum Ranked<'v> {
    Nothing,
    Number(Count<'v>),
    Instant(DateTime<FixedOffset>, &'v str),
    Text(&'v str),
}

/// A number; whole ones digit by digit, whatever their length.
enum Count<'v> {
    Whole { negative: bool, digits: std::borrow::Cow<'v, str> },
    Other(f64),
}

impl<'v> Ranked<'v> {
    fn of(value: &'v Value) -> Self {
        match value {
            Value::Number(number) => Self::Number(Count::of(number)),
            Value::String(text) => match whole(text) {
                Some(count) => Self::Number(count),
                None => match DateTime::parse_from_rfc3339(text) {
                    Ok(instant) => Self::Instant(instant, text),
                    Err(_) => Self::Text(text),
                },
            },
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Self::Nothing,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Number(_) => 1,
            Self::Instant(..) | Self::Text(_) => 2,
        }
    }
}

impl Count<'_> {
    fn of(number: &Number) -> Self {
        let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        match whole {
            Some(whole) => {
                Self::Whole { negative: whole < 0, digits: std::borrow::Cow::Owned(whole.unsigned_abs().to_string()) }
            }
            None => Self::Other(number.as_f64().unwrap_or_default()),
        }
    }

    fn as_f64(&self) -> f64 {
        match self {
            Self::Whole { negative, digits } => {
                let size = digits.parse().unwrap_or(f64::INFINITY);
                if *negative { -size } else { size }
            }
            Self::Other(number) => *number,
        }
    }
}

/// A text that is a whole number, without zeros before it.
fn whole(text: &str) -> Option<Count<'_>> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_padded = digits.len() > 1 && digits.starts_with('0');
    (is_whole && !is_padded && (!negative || digits != "0"))
        .then_some(Count::Whole { negative, digits: std::borrow::Cow::Borrowed(digits) })
}

fn number_order(one: &Count<'_>, other: &Count<'_>) -> Ordering {
    match (one, other) {
        (Count::Whole { negative, digits }, Count::Whole { negative: other_negative, digits: other_digits }) => {
            let size = || digits.len().cmp(&other_digits.len()).then_with(|| digits.cmp(other_digits));
            match (negative, other_negative) {
                (false, false) => size(),
                (true, true) => size().reverse(),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
            }
        }
        _ => one.as_f64().total_cmp(&other.as_f64()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn rises(values: &[Value]) {
        for (at, one) in values.iter().enumerate() {
            for (other_at, other) in values.iter().enumerate() {
                assert_eq!(order_of(one, other), at.cmp(&other_at), "{one} {other}");
                assert_eq!(later(one, other), if at >= other_at { one } else { other });
            }
        }
    }

    #[test]
    fn numbers_go_by_what_they_count() {
        rises(&[json!(-3), json!(-2.5), json!(0), json!(9), json!(10), json!(10.5), json!(u64::MAX)]);
        rises(&[json!(9_007_199_254_740_992_u64), json!(9_007_199_254_740_993_u64)]);
        rises(&[json!("-12"), json!("-3"), json!("9"), json!("10"), json!("123456789012345678901234567890")]);
        rises(&[json!(i64::MIN), json!(9), json!("18446744073709551616")]);
        assert_eq!(order_of(&json!("7"), &json!(7)), Ordering::Equal);
    }

    #[test]
    fn instants_go_by_when_they_are_and_other_texts_by_their_bytes() {
        rises(&[
            json!("2024-01-01T00:30:00+01:00"),
            json!("2023-12-31T23:59:59Z"),
            json!("2023-12-31T23:59:59.0000001Z"),
            json!("2024-01-01T00:00:00.000Z"),
        ]);
        assert_eq!(order_of(&json!("2024-01-01T01:00:00+01:00"), &json!("2024-01-01T00:00:00Z")), Ordering::Equal);
        rises(&[json!("2024-01-01"), json!("2024-01-02"), json!("B"), json!("a"), json!("b")]);
        rises(&[json!("007"), json!("08")]);
    }

    #[test]
    fn what_has_no_order_is_never_the_later() {
        for nothing in [json!(null), json!(true), json!([9]), json!({"a": 9})] {
            assert_eq!(later(&nothing, &json!(0)), &json!(0));
            assert_eq!(later(&json!(""), &nothing), &json!(""));
            assert!(!has_order(&nothing));
        }
        rises(&[json!(null), json!(7), json!("a")]);
    }

    #[test]
    fn the_first_of_two_equals_is_kept() {
        let (one, other) = (json!("2024-01-01T01:00:00+01:00"), json!("2024-01-01T00:00:00Z"));
        assert!(std::ptr::eq(later(&one, &other), &raw const one));
    }

    fn scalar() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1000_i32..1000).prop_map(|n| Value::from(f64::from(n) / 8.0)),
            "-?[0-9]{1,25}".prop_map(Value::from),
            "20[0-9]{2}-0[1-9]-1[0-9]T1[0-9]:00:00(Z|[+]0[1-9]:00)".prop_map(Value::from),
            "[a-z]{0,3}".prop_map(Value::from),
            Just(Value::Null),
        ]
    }

    proptest! {
        #[test]
        fn the_order_is_one_whichever_is_asked_first(one in scalar(), other in scalar()) {
            prop_assert_eq!(order_of(&one, &other), order_of(&other, &one).reverse());
        }
    }
}
