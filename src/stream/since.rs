//! From when on a stream is asked for, once it was pulled.

use chrono::{DateTime, Duration, NaiveDate, SecondsFormat};
use serde_json::Value;

use crate::job::Target;

/// How a stream is asked only for what is new.
#[derive(Clone, Debug, PartialEq)]
pub struct Incremental {
    /// Where the value goes, from which on records are wanted; none when the API cannot be told, and only the mark is kept.
    pub send: Option<Target>,
    /// The value of the first pull; none asks for all.
    pub start: Option<Value>,
    /// How much before the mark is asked for again, in ms: servers are late with some records.
    pub lookback_ms: u64,
    /// Whether records come in the order of the field.
    pub in_order: bool,
}

impl Incremental {
    /// What is asked for when everything up to `mark` is stored; none for all there is.
    #[must_use]
    pub fn value(&self, mark: Option<&Value>) -> Option<Value> {
        match mark {
            Some(mark) => Some(look_back(mark, self.lookback_ms)),
            None => self.start.clone(),
        }
    }
}

/// The value `lookback_ms` before `mark`, written in the way of the mark: RFC 3339 with its offset, a date, seconds or milliseconds
/// since 1970. A mark that is no time (a number below 10^8, a version) stays as it is.
#[must_use]
pub fn look_back(mark: &Value, lookback_ms: u64) -> Value {
    let Ok(ms) = i64::try_from(lookback_ms) else { return mark.clone() };
    if ms == 0 {
        return mark.clone();
    }
    match mark {
        Value::String(text) => {
            if let Ok(at) = DateTime::parse_from_rfc3339(text) {
                let before = at.checked_sub_signed(Duration::milliseconds(ms)).unwrap_or(at);
                return Value::String(before.to_rfc3339_opts(SecondsFormat::AutoSi, text.ends_with(['Z', 'z'])));
            }
            if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
                // Whole days, upwards: what is asked for twice is stored once.
                let before =
                    day.checked_sub_signed(Duration::days(ms.div_euclid(86_400_000) + i64::from(ms % 86_400_000 > 0)));
                return Value::String(before.unwrap_or(day).format("%Y-%m-%d").to_string());
            }
            mark.clone()
        }
        Value::Number(number) => match number.as_i64() {
            // 10^8 s is in 1973, 10^11 s in the year 5138; between 10^11 and 10^14 it counts milliseconds.
            Some(at) if (100_000_000..100_000_000_000).contains(&at) => Value::from(at - ms.div_euclid(1_000)),
            Some(at) if (100_000_000_000..100_000_000_000_000).contains(&at) => Value::from(at - ms),
            _ => mark.clone(),
        },
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lookback_is_written_in_the_way_of_its_mark() {
        for (mark, lookback_ms, expected) in [
            (json!("2024-01-01T00:01:00Z"), 300_000, json!("2023-12-31T23:56:00Z")),
            (json!("2024-01-01T02:01:00+02:00"), 60_000, json!("2024-01-01T02:00:00+02:00")),
            (json!("2024-01-01T00:00:00.250Z"), 1_000, json!("2023-12-31T23:59:59.250Z")),
            (json!("2024-01-10"), 300_000, json!("2024-01-09")),
            (json!("2024-01-10"), 86_400_000, json!("2024-01-09")),
            (json!(1_704_067_260), 60_000, json!(1_704_067_200)),
            (json!(1_704_067_260_500_i64), 500, json!(1_704_067_260_000_i64)),
            (json!(4_711), 60_000, json!(4_711)),
            (json!("v12"), 60_000, json!("v12")),
            (json!("2024-01-01T00:01:00Z"), 0, json!("2024-01-01T00:01:00Z")),
        ] {
            assert_eq!(look_back(&mark, lookback_ms), expected, "{mark} {lookback_ms}");
        }
    }

    #[test]
    fn the_first_pull_begins_at_the_start_and_later_ones_at_the_mark() {
        let incremental = Incremental { send: None, start: Some(json!("2020-01-01")), lookback_ms: 0, in_order: false };
        assert_eq!(incremental.value(None), Some(json!("2020-01-01")));
        assert_eq!(incremental.value(Some(&json!("2024-01-01"))), Some(json!("2024-01-01")));
    }
}
