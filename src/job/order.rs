//! Which of two values of a field comes later: how far a stream has come, and whether its records come in order.

use std::borrow::Cow;
use std::cmp::Ordering;

use chrono::{DateTime, FixedOffset};
use serde_json::{Number, Value};

/// The order of two values of a field: numbers by what they count, RFC 3339 times by instant, other texts byte by byte. Texts that
/// are whole numbers count as such, since APIs send ids beyond 53 bits so. None when they are of different kinds, or of one that has
/// no order (null, flags, lists, objects).
#[must_use]
pub fn order_of(one: &Value, other: &Value) -> Option<Ordering> {
    match (&Ranked::of(one), &Ranked::of(other)) {
        (Ranked::Number(one), Ranked::Number(other)) => Some(number_order(one, other)),
        (Ranked::Instant(one, _), Ranked::Instant(other, _)) => Some(one.cmp(other)),
        (Ranked::Text(one) | Ranked::Instant(_, one), Ranked::Text(other) | Ranked::Instant(_, other)) => {
            Some(one.as_bytes().cmp(other.as_bytes()))
        }
        _ => None,
    }
}

/// Whether a value is ordered by what it means and not by its letters, so that every server is sure to order it likewise.
#[must_use]
pub fn is_ordered_by_meaning(value: &Value) -> bool {
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
    Whole { negative: bool, digits: Cow<'v, str> },
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
}

impl Count<'_> {
    fn of(number: &Number) -> Self {
        let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        match whole {
            Some(whole) => Self::Whole { negative: whole < 0, digits: Cow::Owned(whole.unsigned_abs().to_string()) },
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
        .then_some(Count::Whole { negative, digits: Cow::Borrowed(digits) })
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
                assert_eq!(order_of(one, other), Some(at.cmp(&other_at)), "{one} {other}");
            }
        }
    }

    #[test]
    fn numbers_go_by_what_they_count() {
        rises(&[json!(-3), json!(-2.5), json!(0), json!(9), json!(10), json!(10.5), json!(u64::MAX)]);
        rises(&[json!(9_007_199_254_740_992_u64), json!(9_007_199_254_740_993_u64)]);
        rises(&[json!("-12"), json!("-3"), json!("9"), json!("10"), json!("123456789012345678901234567890")]);
        rises(&[json!(i64::MIN), json!(9), json!("18446744073709551616")]);
        assert_eq!(order_of(&json!("7"), &json!(7)), Some(Ordering::Equal));
    }

    #[test]
    fn instants_go_by_when_they_are_and_other_texts_by_their_bytes() {
        rises(&[
            json!("2024-01-01T00:30:00+01:00"),
            json!("2023-12-31T23:59:59Z"),
            json!("2023-12-31T23:59:59.0000001Z"),
            json!("2024-01-01T00:00:00.000Z"),
        ]);
        assert_eq!(
            order_of(&json!("2024-01-01T01:00:00+01:00"), &json!("2024-01-01T00:00:00Z")),
            Some(Ordering::Equal)
        );
        rises(&[json!("2024-01-01"), json!("2024-01-02"), json!("B"), json!("a"), json!("b")]);
        rises(&[json!("007"), json!("08")]);
    }

    #[test]
    fn values_of_different_kinds_and_of_none_have_no_order() {
        for nothing in [json!(null), json!(true), json!([9]), json!({"a": 9})] {
            assert_eq!((order_of(&nothing, &json!(0)), order_of(&nothing, &nothing)), (None, None), "{nothing}");
        }
        assert_eq!(order_of(&json!(7), &json!("a")), None);
        assert_eq!(order_of(&json!(7), &json!("2024-01-01T00:00:00Z")), None);
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
            prop_assert_eq!(order_of(&one, &other), order_of(&other, &one).map(Ordering::reverse));
        }
    }
}
