//! What an answer's headers say about limits, and about when to come back.
//!
//! Enters: the headers of one answer, and when they came. Leaves: [`Hints`]. Deliberately absent: what follows from them, and
//! whether the answer was a refusal.
//!
//! Sources: RFC 9110 section 10.2.3 (Retry-After) and 5.6.7 (the three date forms); draft-ietf-httpapi-ratelimit-headers
//! 03 to 11 (RateLimit fields), whose section on clients these rules follow: malformed fields are ignored, Retry-After goes before
//! a reset, an answer out of a cache says nothing; the X-RateLimit family as providers document it. Dates are judged against
//! the answer's own `Date`, since the server's clock and ours need not agree.

mod moment;
mod name;
mod problem;
mod quota;
mod structured;
mod text;

#[cfg(test)]
mod provider_tests;

pub use problem::Problem;
pub use quota::{QUOTAS_MAX, Quota, QuotaUnit, RESET_MS_MAX};

use crate::clock::Timestamp;
use crate::exchange::Headers;

use moment::{Clocks, Moment, parse_http_date};
use quota::Collector;

/// What the headers of one answer say. All instants are on our clock, and none is before the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// `Retry-After` or `retry-after-ms`: come back then, not earlier. None when absent, unreadable, zero or in the past; at most
    /// [`RETRY_MS_MAX`] after the answer.
    pub retry_at: Option<Timestamp>,
    /// What the same field said, zero included.
    pub retry_after: Option<RetryAfter>,
    /// How long a refusal of this provider lasts at least, in ms, where the answer does not say it: by what is known of the
    /// provider, not by a header. It doubles with each refusal that follows without a good answer in between.
    pub known_wait_ms: Option<u64>,
    /// A quota of which nothing remains, with the instant when some of it returns; of several the last to return.
    pub quota_spent: Option<QuotaSpent>,
    /// All quotas that were declared, at most [`QUOTAS_MAX`].
    pub quotas: Vec<Quota>,
    /// The server's clock minus ours, in ms: `Date` minus the instant at which the headers came. Too low by what was cut off
    /// (`Date` has whole seconds) and by the way back, so the greatest of several is nearest to the truth.
    pub server_offset_ms: Option<i64>,
    /// The resource or bucket that the answer was charged to, in the server's words (`x-ratelimit-resource`, Discord's
    /// `-bucket`, GitLab's `RateLimit-Name`); at most 64 printable characters.
    pub resource: Option<Box<str>>,
    /// Whether the server said that its refusal reaches beyond that resource (Discord's `-global` and `-scope: global`).
    pub is_global: bool,
    /// Why a request was refused, in the server's words (`RateLimit-Reason`, `Stripe-Rate-Limited-Reason`); at most 64
    /// printable characters.
    pub reason: Option<Box<str>>,
    /// What the body's problem type says; only [`Hints::read_problem`] sets it.
    pub problem: Option<Problem>,
}

/// What `Retry-After` said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter {
    /// The wait in ms, 0 for one that has passed.
    pub wait_ms: u64,
    /// Whether it was said in whole seconds. Some servers cut fractions off, so that 0 and 1 may stand for up to a second more
    /// (tower_governor, Flask-Limiter).
    pub is_whole_s: bool,
}

impl RetryAfter {
    /// Whether a server that cuts fractions off would have said the same of a wait that is noticeably longer.
    #[must_use]
    pub fn may_be_truncated(self) -> bool {
        self.is_whole_s && self.wait_ms <= 1_000
    }
}

/// A quota that is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaSpent {
    /// When some of it returns.
    pub reset_at: Timestamp,
    /// The header that said so, in lower case.
    pub header: &'static str,
}

/// No wait of `Retry-After` is longer: a year, in ms, the most that `retry_after_max` may be set to.
pub const RETRY_MS_MAX: u64 = 365 * 24 * 3_600_000;

/// The fields that most often tell what is left, by name.
const KNOWN_HEADERS: [&str; 10] = [
    "ratelimit",
    "ratelimit-remaining",
    "x-ratelimit-remaining",
    "x-rate-limit-remaining",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-tokens-remaining",
    "x-hubspot-ratelimit-remaining",
    "x-shopify-shop-api-call-limit",
];

impl Hints {
    /// Reads the hints of an answer whose headers had come at `answered_at`.
    #[must_use]
    pub fn read(headers: &Headers, answered_at: Timestamp) -> Self {
        // Nearly all answers carry none of these; one pass tells, and nothing is allocated.
        let (mut telling, mut date) = (false, None);
        for (name, value) in headers.iter() {
            telling |= name.contains("limit") || name.starts_with("retry-after");
            if name == "date" && date.is_none() {
                date = parse_http_date(value);
            }
        }
        let age_ms = age_ms(headers);
        if !telling {
            let server_offset_ms = if age_ms == 0 { offset_ms(date, answered_at) } else { None };
            return Self { server_offset_ms, ..Self::default() };
        }
        let clocks = Clocks { date, answered_at };
        let retry_after = retry_after(headers, clocks, age_ms);
        let retry_at = retry_after.filter(|said| said.wait_ms > 0).map(|said| answered_at.plus_ms(said.wait_ms));
        let mut hints = Self { retry_at, retry_after, ..Self::default() };
        if age_ms > 0 || is_from_cache(headers) {
            return hints;
        }
        hints.server_offset_ms = offset_ms(date, answered_at);
        let mut collector = Collector::default();
        for (name, value) in headers.iter() {
            if name.contains("limit") {
                collector.add(name, value);
            }
        }
        hints.quotas = collector.finish(clocks);
        hints.quota_spent = quota_spent(&hints.quotas, answered_at);
        Self { resource: collector.resource, is_global: collector.is_global, reason: collector.reason, ..hints }
    }

    /// Takes in the name of the resource or bucket, where something else than the known headers tells it.
    pub fn name_resource(&mut self, resource: &str) {
        self.resource = text::printable(resource);
    }

    /// Takes in what the body says: `type_uri` is the `type` of an `application/problem+json`.
    pub fn read_problem(&mut self, type_uri: &str) {
        self.problem = Problem::of_type(type_uri);
    }
}

fn offset_ms(date: Option<Timestamp>, answered_at: Timestamp) -> Option<i64> {
    date.map(|date| date.0.saturating_sub(answered_at.0))
}

/// How long ago the answer left its server, in ms, if it came out of a cache (RFC 9111 section 5.1).
fn age_ms(headers: &Headers) -> u64 {
    headers.get("age").and_then(moment::parse_amount).map_or(0, |age_s| age_s.saturating_mul(1_000))
}

/// Whether a cache says that it had the answer (RFC 9211 section 2.1).
fn is_from_cache(headers: &Headers) -> bool {
    headers
        .get("cache-status")
        .is_some_and(|value| value.split([',', ';']).any(|part| matches!(part.trim(), "hit" | "hit=?1")))
}

/// The longest of what is said: the form in milliseconds is the more exact one, and of several lines none may be cut short.
fn retry_after(headers: &Headers, clocks: Clocks, age_ms: u64) -> Option<RetryAfter> {
    let longest = |name: &str, is_ms: bool| {
        let said = headers.iter().filter(|(known, _)| *known == name);
        said.filter_map(|(_, value)| read_retry_after(value, is_ms, clocks)).max_by_key(|said| said.wait_ms)
    };
    let said = longest("retry-after-ms", true).or_else(|| longest("retry-after", false))?;
    let wait_ms = said.wait_ms.saturating_sub(age_ms).min(RETRY_MS_MAX);
    Some(RetryAfter { wait_ms, ..said })
}

fn read_retry_after(value: &str, is_ms: bool, clocks: Clocks) -> Option<RetryAfter> {
    // `120, 120` when a proxy joined two lines; a date has a comma of its own.
    let first = value.split(',').next().unwrap_or_default().trim();
    let number = moment::parse_number(first);
    let text = if number.is_some() { first } else { value };
    let moment = Moment::parse(text, is_ms);
    let wait_ms = moment.and_then(|moment| match moment {
        // That a date has passed is a word, too: come back now.
        Moment::At { .. } => moment.wait_ms(clocks).or(Some(0)),
        Moment::After { ms, .. } => Some(ms),
    });
    // Three to thirty years are no moment for a quota, but seconds all the same.
    let wait_ms = wait_ms.or_else(|| number.filter(|&number| number > 0.0).map(|_| RETRY_MS_MAX));
    Some(RetryAfter { wait_ms: wait_ms?, is_whole_s: moment.is_some_and(Moment::is_whole_s) })
}

/// The spent quota that returns last.
fn quota_spent(quotas: &[Quota], answered_at: Timestamp) -> Option<QuotaSpent> {
    let spent = quotas.iter().filter(|quota| quota.is_spent() && quota.reset_at.is_some_and(|at| at > answered_at));
    let last = spent.max_by_key(|quota| quota.reset_at)?;
    let header = KNOWN_HEADERS.iter().find(|&&known| known == &*last.header).copied().unwrap_or("a rate-limit header");
    Some(QuotaSpent { reset_at: last.reset_at?, header })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    #[track_caller]
    fn said(value: &str, wait_ms: u64, may_be_truncated: bool) {
        let said = read(&[("Date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("Retry-After", value)]).retry_after;
        let found = said.map(|said| (said.wait_ms, said.may_be_truncated()));
        assert_eq!(found, Some((wait_ms, may_be_truncated)), "Retry-After: {value}");
    }

    #[test]
    fn a_wait_that_may_have_lost_a_fraction_is_told_from_one_that_has_not() {
        said("0", 0, true);
        said("1", 1_000, true);
        said("2", 2_000, false);
        said("0.5", 500, false);
        said("1.0", 1_000, false);
        said("20ms", 20, false);
        said("Sun, 06 Nov 1994 08:49:37 GMT", 0, true);
        said("Sun, 06 Nov 1994 08:49:36 GMT", 0, true);
        said("1994-11-06T08:49:38Z", 1_000, true);
        said("1994-11-06T08:49:38.250Z", 1_250, false);
    }

    #[test]
    fn retry_after_is_also_read_in_the_forms_that_are_not_in_the_standard() {
        said("1994-11-06T08:50:37Z", 60_000, false);
        said("Sun Nov 06 1994 09:50:37 GMT+0100 (CET)", 60_000, false);
        said("30, 30", 30_000, false);
        said("2m", 120_000, false);
        said("500000000", RETRY_MS_MAX, false);
        said("784111837", RETRY_MS_MAX, false);
        let epoch = (THERE / 1_000 + 7).to_string();
        let hints = read(&[("Date", "Tue, 24 Nov 2026 08:49:37 GMT"), ("Retry-After", &epoch)]);
        assert_eq!(hints.retry_at, Some(HERE.plus_ms(7_000)));
    }

    #[test]
    fn of_several_waits_the_longest_holds_and_milliseconds_go_before_seconds() {
        assert_eq!(read(&[("Retry-After", "5"), ("Retry-After", "60")]).retry_at, Some(HERE.plus_ms(60_000)));
        assert_eq!(read(&[("Retry-After", "1"), ("Retry-After-Ms", "20")]).retry_at, Some(HERE.plus_ms(20)));
    }

    #[test]
    fn an_answer_out_of_a_cache_says_nothing_of_limits() {
        let limits = [("X-RateLimit-Limit", "9"), ("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "30")];
        for cached in [("Age", "5"), ("Cache-Status", "Edge; hit"), ("Cache-Status", "A; fwd=miss, B; hit; ttl=3")] {
            let hints = read(&[&limits[..], &[cached, ("Date", "Tue, 24 Nov 2026 08:49:37 GMT")]].concat());
            assert_eq!(hints, Hints::default(), "{cached:?}");
        }
        for own in [("Age", "0"), ("Cache-Status", "Edge; fwd=uri-miss; stored"), ("X-Cache", "HIT")] {
            assert!(read(&[&limits[..], &[own]].concat()).quota_spent.is_some(), "{own:?}");
        }
        // What a cached refusal still asks for is what is left of its wait.
        assert_eq!(read(&[("Age", "5"), ("Retry-After", "12")]).retry_at, Some(HERE.plus_ms(7_000)));
        assert_eq!(read(&[("Age", "50"), ("Retry-After", "12")]).retry_at, None);
    }

    #[test]
    fn the_clock_of_the_server_is_read_from_every_answer_that_is_its_own() {
        let date = ("Date", "Tue, 24 Nov 2026 08:49:37 GMT");
        assert_eq!(read(&[date]).server_offset_ms, Some(THERE - HERE.0));
        assert_eq!(read(&[date, ("Retry-After", "1")]).server_offset_ms, Some(THERE - HERE.0));
        assert_eq!(read(&[date, ("Age", "3")]).server_offset_ms, None);
        assert_eq!(read(&[("Date", "soon")]).server_offset_ms, None);
    }

    #[test]
    fn a_reset_is_judged_by_the_answers_own_date_and_lies_are_left_out() {
        let resets = |reset: &str| {
            let fields = [
                ("Date", "Tue, 24 Nov 2026 08:49:37 GMT"),
                ("X-RateLimit-Limit", "9"),
                ("X-RateLimit-Remaining", "4"),
                ("X-RateLimit-Reset", reset),
            ];
            let quotas = read(&fields).quotas;
            assert_eq!((quotas.len(), quotas[0].remaining), (1, Some(4)));
            quotas[0].reset_at.map(|at| at.since_ms(HERE))
        };
        let far_s = RESET_MS_MAX / 1_000;
        assert_eq!(resets(&far_s.to_string()), Some(RESET_MS_MAX));
        assert_eq!(resets(&(far_s + 1).to_string()), None);
        assert_eq!(resets(&(THERE / 1_000 - 1).to_string()), None);
        assert_eq!(resets(&(THERE / 1_000 + 60).to_string()), Some(60_000));
        assert_eq!(resets("Tue, 24 Nov 2026 08:49:36 GMT"), None);
    }

    #[test]
    fn a_flood_of_quotas_is_cut_to_sixteen_short_ones() {
        let names: Vec<String> = (0..500).map(|n| format!("x-ratelimit-remaining-{n}{}", "x".repeat(300))).collect();
        let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "7")).collect();
        let quotas = read(&fields).quotas;
        assert_eq!(quotas.len(), QUOTAS_MAX);
        assert!(quotas.iter().all(|quota| quota.name.len() <= 64 && quota.header.len() <= 64));
        let members: Vec<String> = (0..200).map(|n| format!("\"{n}\";r=1;t=2")).collect();
        assert_eq!(read(&[("RateLimit", &members.join(","))]).quotas.len(), QUOTAS_MAX);
    }

    #[test]
    fn what_the_body_says_is_added_by_its_reader() {
        let mut hints = read(&[("Retry-After", "1")]);
        assert_eq!(hints.problem, None);
        hints.read_problem("https://iana.org/assignments/http-problem-types#abnormal-usage-detected");
        assert_eq!(hints.problem, Some(Problem::AbnormalUsage));
    }

    /// Words of which names and values are made, real ones and broken ones.
    fn words(words: &'static [&'static str]) -> impl Strategy<Value = String> {
        proptest::collection::vec(proptest::sample::select(words), 1..6).prop_map(|parts| parts.concat())
    }

    /// A field as a server might send it, or nearly so.
    fn field() -> impl Strategy<Value = (String, String)> {
        let name = prop_oneof![
            words(&[
                "x-",
                "ratelimit",
                "rate-limit",
                "-",
                "limit",
                "remaining",
                "reset",
                "after",
                "ms",
                "minute",
                "requests"
            ]),
            proptest::sample::select(vec![
                "retry-after",
                "retry-after-ms",
                "ratelimit",
                "ratelimit-policy",
                "date",
                "age"
            ])
            .prop_map(str::to_owned),
        ];
        let value = prop_oneof![
            words(&[
                "1",
                "0",
                "60",
                "\"p\"",
                ";r=",
                ";t=",
                ";q=",
                ";w=",
                ", ",
                "limit=",
                "remaining=",
                "reset=",
                "/",
                "s",
                "m"
            ]),
            words(&[
                "17955102",
                "9",
                "00",
                ".",
                "2026-11-24",
                "T",
                "08:50",
                ":07",
                "Z",
                "+01:00",
                " GMT",
                "Tue, ",
                "Nov "
            ]),
            "\\PC{0,60}",
        ];
        (name, value)
    }

    proptest! {
        #[test]
        fn whatever_headers_say_all_instants_and_texts_stay_in_bounds(
            fields in proptest::collection::vec(field(), 0..24),
            answered_at in 0..i64::MAX / 2,
        ) {
            let answered_at = Timestamp(answered_at);
            let hints = Hints::read(&Headers::from_pairs(fields), answered_at);
            let until = |at: Timestamp, most_ms: u64| at >= answered_at && at.since_ms(answered_at) <= most_ms;
            prop_assert!(hints.retry_at.is_none_or(|at| at > answered_at && until(at, RETRY_MS_MAX)));
            prop_assert!(hints.retry_after.is_none_or(|said| said.wait_ms <= RETRY_MS_MAX));
            prop_assert!(hints.quota_spent.is_none_or(|spent| until(spent.reset_at, RESET_MS_MAX)));
            prop_assert!(hints.quotas.len() <= QUOTAS_MAX);
            for quota in &hints.quotas {
                prop_assert!(quota.reset_at.is_none_or(|at| until(at, RESET_MS_MAX)));
                prop_assert!(quota.window_ms.is_none_or(|window_ms| (1..=RESET_MS_MAX).contains(&window_ms)));
                prop_assert!(quota.limit.is_some() || quota.remaining.is_some());
            }
            let quotas = hints.quotas.iter().flat_map(|quota| [Some(&quota.name), Some(&quota.header), quota.partition.as_ref()]);
            let texts = quotas.flatten().chain(&hints.resource).chain(&hints.reason);
            for text in texts {
                prop_assert!(text.len() <= 64 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            }
        }

        #[test]
        fn no_header_makes_a_reader_panic_or_wait_backwards(name in "(retry-after|ratelimit|x-ratelimit-remaining|x-ratelimit-reset|date)", value in "\\PC{0,40}") {
            let hints = read(&[(&name, &value), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &value), ("retry-after", &value)]);
            prop_assert!(hints.retry_at.is_none_or(|at| at > HERE));
            prop_assert!(hints.quota_spent.is_none_or(|quota| quota.reset_at > HERE && quota.reset_at.since_ms(HERE) <= RESET_MS_MAX));
        }
    }
}
