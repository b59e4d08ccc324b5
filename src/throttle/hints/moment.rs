//! One value that says when, whatever its unit: told apart by its shape and its magnitude.
//!
//! Enters: the text of a field. Leaves: a [`Moment`], and what it means on our clock. Deliberately absent: names of fields.
//!
//! Sources: RFC 9110 section 5.6.7 (the three date forms of HTTP), RFC 3339 (Anthropic, Zoom; Jira without seconds), the text of
//! a JavaScript `Date` (lemlist, and servers that put `new Date()` into a field), durations as Go prints them (OpenAI, Groq),
//! and numbers: seconds from now, or the epoch in seconds or in milliseconds.

use crate::clock::Timestamp;

/// A field beyond this is not read, in bytes. The longest honest one is the text of a JavaScript date, about 60.
const VALUE_BYTES_MAX: usize = 128;
/// From here on a number is the epoch in milliseconds: September 2001.
const EPOCH_MS_MIN: f64 = 1e12;
/// From here on a number is the epoch in seconds: September 2001.
const EPOCH_S_MIN: f64 = 1e9;
/// Up to here a number is seconds from now: three years. Between the two it is neither.
const DELTA_S_MAX: f64 = 1e8;

/// When, as a server says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// So long after the answer.
    After {
        /// In ms.
        ms: u64,
        /// Whether it was said in whole seconds, so that up to a second may have been cut off.
        is_whole_s: bool,
    },
    /// An instant on the server's clock.
    At {
        /// The instant.
        at: Timestamp,
        /// Whether it was said in whole seconds.
        is_whole_s: bool,
    },
}

/// Two clocks at the moment of one answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    /// The answer's own `Date`; none when it has none.
    pub(super) date: Option<Timestamp>,
    /// When its headers had come, on our clock.
    pub(super) answered_at: Timestamp,
}

impl Moment {
    /// Reads a moment; `is_ms` tells that the field's name says milliseconds. None for what is no moment.
    pub(super) fn parse(value: &str, is_ms: bool) -> Option<Self> {
        let value = value.trim();
        if value.is_empty() || value.len() > VALUE_BYTES_MAX {
            return None;
        }
        if let Some(number) = parse_number(value) {
            let is_whole_s = !value.contains('.');
            return Some(if number >= EPOCH_MS_MIN {
                Self::At { at: Timestamp(to_i64(number)), is_whole_s: false }
            } else if is_ms {
                Self::After { ms: to_ms(number.ceil()), is_whole_s: false }
            } else if number >= EPOCH_S_MIN {
                Self::At { at: Timestamp(to_i64((number * 1_000.0).ceil())), is_whole_s }
            } else if number <= DELTA_S_MAX {
                Self::After { ms: to_ms((number * 1_000.0).ceil()), is_whole_s }
            } else {
                return None;
            });
        }
        if let Some(ms) = parse_duration_ms(value) {
            return Some(Self::After { ms, is_whole_s: false });
        }
        parse_http_date(value).map(|at| Self::At { at, is_whole_s: true }).or_else(|| {
            parse_iso(value).or_else(|| parse_js_date(value)).map(|(at, is_whole_s)| Self::At { at, is_whole_s })
        })
    }

    /// How long from the answer to this moment, in ms; none when it lies before the answer.
    pub(super) fn wait_ms(self, clocks: Clocks) -> Option<u64> {
        match self {
            Self::After { ms, .. } => Some(ms),
            Self::At { at, .. } => {
                let now_there = clocks.date.unwrap_or(clocks.answered_at);
                (at >= now_there).then(|| at.since_ms(now_there))
            }
        }
    }

    /// Whether it is an instant, not a wait.
    pub(super) fn is_absolute(self) -> bool {
        matches!(self, Self::At { .. })
    }

    /// Whether it was said in whole seconds.
    pub(super) fn is_whole_s(self) -> bool {
        match self {
            Self::After { is_whole_s, .. } | Self::At { is_whole_s, .. } => is_whole_s,
        }
    }
}

/// A number without a sign, an exponent or anything else in it.
pub(super) fn parse_number(value: &str) -> Option<f64> {
    // `f64::from_str` also takes "inf", "nan" and signs, none of which is an amount.
    let is_plain = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if !is_plain || value.is_empty() || value.len() > VALUE_BYTES_MAX {
        return None;
    }
    value.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// A whole amount; what stands behind a point is cut off, as in Reddit's `597.0`.
pub(super) fn parse_amount(value: &str) -> Option<u64> {
    parse_number(value.trim()).map(|number| to_ms(number.floor()))
}

/// A duration as Go prints it, which several providers send: `1h2m3.5s`, `20ms`, `1s`; in ms, rounded up.
pub(super) fn parse_duration_ms(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    if rest.is_empty() || rest.len() > VALUE_BYTES_MAX {
        return None;
    }
    let mut sum_ms = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number = parse_number(&rest[..digits])?;
        let tail = &rest[digits..];
        let unit = tail.find(|letter: char| letter.is_ascii_digit()).map_or(tail, |end| &tail[..end]);
        sum_ms += number
            * match unit.trim() {
                "ns" => 1e-6,
                "us" | "µs" => 1e-3,
                "ms" => 1.0,
                "s" | "sec" | "secs" | "second" | "seconds" => 1_000.0,
                "m" | "min" | "minute" | "minutes" => 60_000.0,
                "h" | "hour" | "hours" => 3_600_000.0,
                "d" | "day" | "days" => 86_400_000.0,
                _ => return None,
            };
        rest = tail[unit.len()..].trim_start();
    }
    Some(to_ms(sum_ms.ceil()))
}

/// Any of the three date forms of HTTP.
pub(super) fn parse_http_date(value: &str) -> Option<Timestamp> {
    httpdate::parse_http_date(value.trim()).ok().map(Timestamp::from_system)
}

/// `2026-11-24T08:50:07.123Z`, with an offset, without seconds, or without a zone, which is then UTC; with whether it is in
/// whole seconds.
fn parse_iso(value: &str) -> Option<(Timestamp, bool)> {
    let (date, time) = value.split_once(['T', 't', ' '])?;
    let date = chrono::NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
    let zone_at = time.find(['Z', 'z', '+', '-', ' ']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone_at);
    let clock = ["%H:%M:%S%.f", "%H:%M"].iter().find_map(|form| chrono::NaiveTime::parse_from_str(clock, form).ok())?;
    let offset_ms = parse_zone_ms(zone.trim())?;
    Some((in_utc(chrono::NaiveDateTime::new(date, clock), offset_ms), !value.contains('.')))
}

/// `Tue Feb 16 2021 09:02:42 GMT+0100 (Central European Standard Time)`, with whether it is in whole seconds, which it is.
fn parse_js_date(value: &str) -> Option<(Timestamp, bool)> {
    // What stands in brackets is in the language of the server's system, and the day of the week says nothing new.
    let (_weekday, rest) = value.split_once(' ')?;
    let rest = rest.split('(').next()?.trim();
    let (civil, zone) = rest.split_once(" GMT")?;
    let civil = chrono::NaiveDateTime::parse_from_str(civil.trim(), "%b %d %Y %H:%M:%S").ok()?;
    Some((in_utc(civil, parse_zone_ms(zone)?), true))
}

/// `Z`, `UTC`, nothing, `+0100` or `+01:00` in ms east of Greenwich.
fn parse_zone_ms(zone: &str) -> Option<i64> {
    if zone.is_empty() || zone.eq_ignore_ascii_case("z") || zone.eq_ignore_ascii_case("utc") || zone == "GMT" {
        return Some(0);
    }
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some(parts) => parts,
        None if digits.len() == 2 => (digits, "0"),
        None => digits.split_at_checked(2)?,
    };
    let part = |text: &str, most: i64| text.parse::<u8>().ok().map(i64::from).filter(|&number| number <= most);
    Some(sign * (part(hours, 23)? * 60 + part(minutes, 59)?) * 60_000)
}

fn in_utc(civil: chrono::NaiveDateTime, offset_ms: i64) -> Timestamp {
    Timestamp(civil.and_utc().timestamp_millis().saturating_sub(offset_ms))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range first")]
fn to_ms(ms: f64) -> u64 {
    ms.clamp(0.0, 1e15) as u64
}

#[expect(clippy::cast_possible_truncation, reason = "clamped to the range first")]
fn to_i64(ms: f64) -> i64 {
    ms.clamp(0.0, 1e18) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tue, 24 Nov 2026 08:49:37 GMT.
    const THERE: Timestamp = Timestamp(1_795_510_177_000);

    #[track_caller]
    fn check(value: &str, wait_ms: Option<u64>) {
        let clocks = Clocks { date: Some(THERE), answered_at: Timestamp(5_000_000) };
        let found = Moment::parse(value, false).and_then(|moment| moment.wait_ms(clocks));
        assert_eq!(found, wait_ms, "{value:?}");
    }

    #[test]
    fn a_number_is_seconds_the_epoch_or_nothing_by_its_magnitude() {
        check("0", Some(0));
        check("30", Some(30_000));
        check("1.5", Some(1_500));
        check("64.57", Some(64_570));
        check("100000000", Some(100_000_000_000));
        check("100000001", None);
        check("999999999", None);
        check("1795510207", Some(30_000));
        check("1795510207.123", Some(30_123));
        check("1795510207000", Some(30_000));
        check("1795510177", Some(0));
        check("1795510176", None);
        check("1000000000", None);
        check("1000000000000", None);
    }

    #[test]
    fn a_name_that_says_milliseconds_makes_small_numbers_milliseconds() {
        let after = |ms| Some(Moment::After { ms, is_whole_s: false });
        assert_eq!(Moment::parse("10000", true), after(10_000));
        assert_eq!(Moment::parse("0.2", true), after(1));
        assert_eq!(
            Moment::parse("1795510207000", true),
            Some(Moment::At { at: Timestamp(1_795_510_207_000), is_whole_s: false })
        );
    }

    #[test]
    fn a_duration_is_read_as_go_prints_it() {
        for (value, ms) in [
            ("6m0s", 360_000),
            ("20ms", 20),
            ("2m59.56s", 179_560),
            ("1m26.4s", 86_400),
            ("1s", 1_000),
            ("1h2m3.5s", 3_723_500),
            ("1d", 86_400_000),
            ("250µs", 1),
            ("7 seconds", 7_000),
            ("1 minute 5 s", 65_000),
        ] {
            check(value, Some(ms));
        }
        for value in ["5x", "s", "1h2", "-1s", "1..2s", "1 fortnight"] {
            check(value, None);
        }
    }

    #[test]
    fn a_date_is_read_in_every_form_that_servers_send() {
        for value in [
            "Tue, 24 Nov 2026 08:50:07 GMT",
            "Tuesday, 24-Nov-26 08:50:07 GMT",
            "Tue Nov 24 08:50:07 2026",
            "2026-11-24T08:50:07Z",
            "2026-11-24T08:50:07.000Z",
            "2026-11-24T09:50:07+01:00",
            "2026-11-24T03:20:07-0530",
            "2026-11-24T10:50:07+02",
            "2026-11-24T08:50:07",
            "2026-11-24 08:50:07 UTC",
            "Tue Nov 24 2026 09:50:07 GMT+0100 (Central European Standard Time)",
            "Tue Nov 24 2026 08:50:07 GMT+0000",
        ] {
            check(value, Some(30_000));
        }
        check("2026-11-24T08:50Z", Some(23_000));
        check("2026-11-24T08:50:07.5Z", Some(30_500));
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for value in [
            "",
            " ",
            "soon",
            "-5",
            "+5",
            "1e3",
            "inf",
            "nan",
            ".",
            "1.2.3",
            "2026-13-01T00:00:00Z",
            "2026-11-24T25:00Z",
            "2026-11-24",
            "T",
            "2026-11-24T08:50:07+99:99",
            "Tue Feb 30 2021 09:02:42 GMT+0100",
            "a b GMT",
            "é",
        ] {
            check(value, None);
        }
        check(&"9".repeat(129), None);
        check("2021-02-16T08:02:42Z", None);
    }

    #[test]
    fn without_a_date_our_own_clock_judges() {
        let clocks = Clocks { date: None, answered_at: THERE.plus_ms(10_000) };
        let moment = Moment::parse("2026-11-24T08:50:07Z", false).expect("it is a date");
        assert_eq!(moment.wait_ms(clocks), Some(20_000));
        assert!(moment.is_absolute() && moment.is_whole_s());
    }
}
