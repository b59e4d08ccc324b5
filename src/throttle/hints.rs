//! What an answer's headers say about when to come back.
//!
//! Sources: RFC 9110 section 10.2.3 (Retry-After) and 5.6.7 (the three date forms); draft-ietf-httpapi-ratelimit-headers
//! 03 to 11 (RateLimit fields); the X-RateLimit family as providers document it. Dates are judged against the answer's own
//! `Date`, since the server's clock and ours need not agree.

use crate::clock::Timestamp;
use crate::exchange::Headers;

/// What the headers of one answer say. All instants are on our clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// `Retry-After` or `retry-after-ms`: come back then, not earlier. None when absent, unreadable, zero or in the past.
    pub retry_at: Option<Timestamp>,
    /// A quota of which nothing remains, with the instant when some of it returns.
    pub quota_spent: Option<QuotaSpent>,
    /// The resource or bucket that the answer was charged to, in the server's words (GitHub's `x-ratelimit-resource`, Discord's
    /// `-bucket`); at most 64 printable characters.
    pub resource: Option<Box<str>>,
    /// Whether the server said that its refusal reaches beyond that resource (Discord's `-global`).
    pub is_global: bool,
}

/// A quota that is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaSpent {
    /// When some of it returns.
    pub reset_at: Timestamp,
    /// The header that said so, in lower case.
    pub header: &'static str,
}

/// A reset further away than this is a lie or a unit that we misread: 32 days, longer than any quota that we know of.
const RESET_MS_MAX: u64 = 32 * 24 * 3_600_000;

/// The families of "remaining" and "reset" that come as two fields.
const PAIRS: [(&str, &str); 4] = [
    ("ratelimit-remaining", "ratelimit-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("x-rate-limit-remaining", "x-rate-limit-reset"),
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
];

impl Hints {
    /// Reads the hints of an answer whose headers had come at `answered_at`.
    #[must_use]
    pub fn read(headers: &Headers, answered_at: Timestamp) -> Self {
        // Nearly all answers carry none of these; one pass tells.
        let telling = headers.iter().any(|(name, _)| name.starts_with("retry-after") || name.contains("limit"));
        if !telling {
            return Self::default();
        }
        let date = headers.get("date").and_then(parse_http_date);
        let resource = headers.get("x-ratelimit-resource").or_else(|| headers.get("x-ratelimit-bucket"));
        Self {
            retry_at: retry_at(headers, date, answered_at),
            quota_spent: quota_spent(headers, date, answered_at),
            resource: resource.and_then(printable),
            is_global: headers.get("x-ratelimit-global").is_some_and(|value| value.eq_ignore_ascii_case("true")),
        }
    }
}

/// A name as a server spells it, for people to read: what is not printable is left out.
fn printable(value: &str) -> Option<Box<str>> {
    let name: String = value.chars().filter(char::is_ascii_graphic).take(64).collect();
    (!name.is_empty()).then(|| name.into())
}

fn retry_at(headers: &Headers, date: Option<Timestamp>, answered_at: Timestamp) -> Option<Timestamp> {
    let milliseconds = headers.get("retry-after-ms").and_then(parse_number).map(f64::ceil);
    let wait_ms = milliseconds.or_else(|| {
        let value = headers.get("retry-after")?;
        match parse_number(value) {
            Some(seconds) => Some((seconds * 1_000.0).ceil()),
            None => parse_http_date(value).map(|at| to_f64(at.since_ms(date.unwrap_or(answered_at)))),
        }
    })?;
    (wait_ms > 0.0).then(|| answered_at.plus_ms(to_ms(wait_ms)))
}

fn quota_spent(headers: &Headers, date: Option<Timestamp>, answered_at: Timestamp) -> Option<QuotaSpent> {
    let mut latest: Option<QuotaSpent> = None;
    let mut take = |wait_ms: Option<u64>, header: &'static str| {
        let Some(wait_ms) = wait_ms.filter(|&wait_ms| wait_ms > 0 && wait_ms <= RESET_MS_MAX) else { return };
        let reset_at = answered_at.plus_ms(wait_ms);
        if latest.as_ref().is_none_or(|known| known.reset_at < reset_at) {
            latest = Some(QuotaSpent { reset_at, header });
        }
    };
    for (remaining, reset) in PAIRS {
        if headers.get(remaining).and_then(parse_number) == Some(0.0) {
            take(headers.get(reset).and_then(|value| reset_ms(value, date.unwrap_or(answered_at))), remaining);
        }
    }
    for value in headers.get_all("ratelimit") {
        for (remaining, wait_s) in structured(value) {
            if remaining == 0 {
                take(Some(wait_s.saturating_mul(1_000)), "ratelimit");
            }
        }
    }
    latest
}

/// `(remaining, seconds until more)` of each member of a `RateLimit` field: draft 8 and later `"name";r=0;t=30`, draft 7
/// `limit=100, remaining=0, reset=30`. Members that are malformed are left out, as the draft asks.
fn structured(value: &str) -> Vec<(u64, u64)> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let parameter = |part: &str, name: &str| {
        let (key, value) = part.trim().split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| number(value)).flatten()
    };
    if value.trim_start().starts_with('"') {
        let members = value.split(',').map(|member| member.split(';').collect::<Vec<_>>());
        members
            .filter_map(|parts| {
                let find = |name| parts.iter().find_map(|part| parameter(part, name));
                Some((find("r")?, find("t")?))
            })
            .collect()
    } else {
        let find = |name| value.split([',', ';']).find_map(|part| parameter(part, name));
        find("remaining").zip(find("reset")).into_iter().collect()
    }
}

/// How long until `value` in ms, whatever its unit: a date, a duration such as `6m0s`, epoch seconds or milliseconds (told
/// by magnitude), or seconds from now.
fn reset_ms(value: &str, now_there: Timestamp) -> Option<u64> {
    if let Some(number) = parse_number(value) {
        return if number >= 1e12 {
            Some(Timestamp(to_i64(number)).since_ms(now_there))
        } else if number >= 1e9 {
            Some(Timestamp(to_i64(number * 1_000.0)).since_ms(now_there))
        } else {
            Some(to_ms((number * 1_000.0).ceil()))
        };
    }
    if let Some(at) = parse_http_date(value) {
        return Some(at.since_ms(now_there));
    }
    if let Ok(at) = chrono::DateTime::parse_from_rfc3339(value.trim()) {
        return Some(Timestamp(at.timestamp_millis()).since_ms(now_there));
    }
    go_duration_ms(value.trim())
}

/// A duration as Go prints it, which several providers send: `1h2m3.5s`, `20ms`.
fn go_duration_ms(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut sum_ms = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let tail = &rest[digits..];
        let unit = tail.find(|c: char| c.is_ascii_digit()).map_or(tail, |end| &tail[..end]);
        sum_ms += number
            * match unit {
                "ms" => 1.0,
                "s" => 1_000.0,
                "m" => 60_000.0,
                "h" => 3_600_000.0,
                "d" => 86_400_000.0,
                _ => return None,
            };
        rest = &tail[unit.len()..];
    }
    (!text.is_empty()).then(|| to_ms(sum_ms.ceil()))
}

fn parse_http_date(value: &str) -> Option<Timestamp> {
    httpdate::parse_http_date(value.trim()).ok().map(Timestamp::from_system)
}

/// A finite number that is not negative; the first of a list.
fn parse_number(value: &str) -> Option<f64> {
    let first = value.split([',', ';']).next()?.trim();
    // `f64::from_str` also takes "inf", "nan" and signs, none of which is a number of seconds.
    if first.is_empty() || !first.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    first.parse::<f64>().ok().filter(|number| number.is_finite())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range first")]
fn to_ms(ms: f64) -> u64 {
    ms.clamp(0.0, 1e15) as u64
}

#[expect(clippy::cast_possible_truncation, reason = "clamped to the range first")]
fn to_i64(ms: f64) -> i64 {
    ms.clamp(0.0, 1e18) as i64
}

#[expect(clippy::cast_precision_loss, reason = "waits are far below 2^53 ms")]
fn to_f64(ms: u64) -> f64 {
    ms as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tue, 24 Nov 2026 08:49:37 GMT.
    const THERE: i64 = 1_795_510_177_000;
    const HERE: Timestamp = Timestamp(5_000_000);

    fn read(pairs: &[(&str, &str)]) -> Hints {
        Hints::read(&Headers::from_pairs(pairs.iter().copied()), HERE)
    }

    #[track_caller]
    fn retry_after(value: &str, wait_ms: Option<u64>) {
        let hints = read(&[("Date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("Retry-After", value)]);
        assert_eq!(hints.retry_at, wait_ms.map(|wait_ms| HERE.plus_ms(wait_ms)), "Retry-After: {value}");
    }

    #[test]
    fn retry_after_is_seconds_or_any_of_the_three_dates_judged_against_the_date_of_the_answer() {
        retry_after("120", Some(120_000));
        retry_after(" 2 ", Some(2_000));
        retry_after("1.5", Some(1_500));
        retry_after("Sun, 06 Nov 1994 08:50:37 GMT", Some(60_000));
        retry_after("Sunday, 06-Nov-94 08:50:37 GMT", Some(60_000));
        retry_after("Sun Nov  6 08:50:37 1994", Some(60_000));
    }

    #[test]
    fn a_retry_after_that_says_nothing_is_no_hint() {
        for value in [
            "0",
            "-5",
            "soon",
            "",
            "inf",
            "nan",
            "1e9",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:00 GMT",
        ] {
            retry_after(value, None);
        }
    }

    #[test]
    fn a_server_may_name_the_resource_that_it_charged() {
        assert_eq!(read(&[("X-RateLimit-Resource", "search")]).resource.as_deref(), Some("search"));
        assert_eq!(read(&[("X-RateLimit-Bucket", "a\tb c\u{7f}")]).resource.as_deref(), Some("abc"));
        assert_eq!(read(&[("X-RateLimit-Bucket", "  ")]).resource, None);
        assert_eq!(read(&[("X-RateLimit-Bucket", &"x".repeat(500))]).resource.map(|name| name.len()), Some(64));
        assert!(read(&[("X-RateLimit-Global", "true")]).is_global && !read(&[("X-RateLimit-Global", "no")]).is_global);
    }

    #[test]
    fn an_absurd_retry_after_does_not_overflow() {
        let hints = read(&[("Retry-After", "99999999999999999999999999")]);
        assert!(hints.retry_at.is_some_and(|at| at > HERE));
    }

    #[test]
    fn milliseconds_have_a_field_of_their_own() {
        assert_eq!(read(&[("Retry-After-Ms", "250")]).retry_at, Some(HERE.plus_ms(250)));
    }

    #[track_caller]
    fn spent(pairs: &[(&str, &str)], wait_ms: Option<u64>) {
        let mut all = vec![("Date", "Tue, 24 Nov 2026 08:49:37 GMT")];
        all.extend_from_slice(pairs);
        let found = read(&all).quota_spent.map(|quota| quota.reset_at.since_ms(HERE));
        assert_eq!(found, wait_ms, "{pairs:?}");
    }

    #[test]
    fn a_spent_quota_is_read_in_every_known_form() {
        let epoch = (THERE / 1_000 + 30).to_string();
        let epoch_ms = (THERE + 30_000).to_string();
        for reset in [
            "30",
            &epoch,
            &epoch_ms,
            "30s",
            "0m30s",
            "30000ms",
            "2026-11-24T08:50:07Z",
            "Tue, 24 Nov 2026 08:50:07 GMT",
        ] {
            spent(&[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", reset)], Some(30_000));
        }
        spent(&[("RateLimit-Remaining", "0"), ("RateLimit-Reset", "30")], Some(30_000));
        spent(&[("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", &epoch)], Some(30_000));
        spent(&[("RateLimit", "limit=100, remaining=0, reset=30")], Some(30_000));
        spent(&[("RateLimit", "\"default\";r=0;t=30")], Some(30_000));
        spent(&[("RateLimit", "\"burst\"; r=0; t=5, \"daily\"; r=0; t=30")], Some(30_000));
    }

    #[test]
    fn a_quota_that_is_not_spent_or_cannot_be_read_is_no_hint() {
        spent(&[("X-RateLimit-Remaining", "1"), ("X-RateLimit-Reset", "30")], None);
        spent(&[("X-RateLimit-Remaining", "0")], None);
        spent(&[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "never")], None);
        spent(&[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "1000000001")], None);
        spent(&[("RateLimit", "\"burst\";r=7;t=5, broken;r=0;t=x")], None);
        spent(&[("RateLimit-Remaining", "0"), ("RateLimit-Reset", "99999999")], None);
    }

    proptest::proptest! {
        #[test]
        fn no_header_makes_a_reader_panic_or_wait_backwards(name in "(retry-after|ratelimit|x-ratelimit-remaining|x-ratelimit-reset|date)", value in "\\PC{0,40}") {
            let hints = read(&[(&name, &value), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &value), ("retry-after", &value)]);
            proptest::prop_assert!(hints.retry_at.is_none_or(|at| at > HERE));
            proptest::prop_assert!(hints.quota_spent.is_none_or(|quota| quota.reset_at > HERE && quota.reset_at.since_ms(HERE) <= RESET_MS_MAX));
        }
    }
}
