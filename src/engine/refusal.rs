//! Whether an answer is a refusal beyond what its status tells: by what is known of its provider, and by its problem type.
//!
//! Enters: an answer, its outcome by the table of statuses, and the hints of its headers. Leaves: the outcome that counts,
//! and hints that say how long to wait.

use serde::Deserialize;

use crate::exchange::{Fetched, Outcome};
use crate::throttle::{self, Hints, profiles};

use super::plan::Plan;

/// A problem description is short; a longer body is not searched for one, in bytes.
const PROBLEM_BYTES_MAX: usize = 64 << 10;

/// The outcome that counts. A refusal costs its job no attempt, and its body is not read.
pub(super) fn recognise(plan: &Plan, fetched: &Fetched, outcome: Outcome, hints: &mut Hints) -> Outcome {
    if let Some(problem_type) = problem_type(fetched) {
        hints.read_problem(&problem_type);
    }
    let outcome = if hints.problem.is_some() { Outcome::Refused } else { outcome };
    let outcome = throttle::by_hints(outcome, fetched.status, hints);
    let host = fetched.url.host_str().unwrap_or_default();
    let Some(profile) = (plan.profile_for)(&fetched.url).for_answer(host, &fetched.headers) else { return outcome };
    if hints.resource.is_none()
        && let Some(resource) = profile.resource(&fetched.headers)
    {
        hints.name_resource(resource);
    }
    let Some(refusal) = profiles::classify(profile, fetched.status, &fetched.headers, &fetched.body) else {
        return outcome;
    };
    if hints.retry_at.is_none() && hints.quota_spent.is_none() {
        hints.known_wait_ms = refusal.default_wait_ms;
    }
    Outcome::Refused
}

/// The `type` of a failed answer that is an `application/problem+json` (RFC 9457).
fn problem_type(fetched: &Fetched) -> Option<String> {
    #[derive(Deserialize)]
    struct Problem {
        r#type: String,
    }
    let media_type = fetched.headers.get("content-type")?.split(';').next()?.trim();
    let is_problem = fetched.status >= 400 && media_type.eq_ignore_ascii_case("application/problem+json");
    if !is_problem || fetched.body.len() > PROBLEM_BYTES_MAX {
        return None;
    }
    serde_json::from_slice::<Problem>(&fetched.body).ok().map(|problem| problem.r#type)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use url::Url;

    use super::*;
    use crate::clock::Timestamp;
    use crate::engine::tests::bare_plan;
    use crate::exchange::{BodyEnd, Headers, Via};
    use crate::throttle::Problem;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn answer(status: u16, headers: &[(&str, &str)], body: &'static str) -> Fetched {
        Fetched {
            url: Url::parse("https://api.example.org/things").expect("a test address parses"),
            status,
            headers: Headers::from_pairs(headers.iter().copied()),
            body: Bytes::from_static(body.as_bytes()),
            body_end: BodyEnd::Whole,
            via: Via::default(),
            sent_at: NOW,
            answered_at: NOW,
            finished_at: NOW,
        }
    }

    /// What an answer comes to when its host is known as `profile`: the outcome, and the wait in seconds.
    fn recognised(profile: &str, fetched: Fetched) -> (Outcome, Option<u64>, Hints) {
        let plan = bare_plan();
        let mut fetched = fetched;
        fetched.url.set_query(Some(profile));
        let mut hints = Hints::read(&fetched.headers, fetched.answered_at);
        let answer = Ok(fetched);
        let outcome = Outcome::of(&answer);
        let Ok(fetched) = answer else { unreachable!("it is an answer") };
        let outcome = recognise(&plan, &fetched, outcome, &mut hints);
        let told_s = hints.retry_at.map(|at| at.since_ms(NOW) / 1_000);
        (outcome, told_s.or(hints.known_wait_ms.map(|wait_ms| wait_ms / 1_000)), hints)
    }

    #[test]
    fn what_a_provider_calls_a_refusal_is_one_and_waits_as_its_profile_says() {
        let throttled = "{\"errors\":[{\"extensions\":{\"code\":\"THROTTLED\"}}]}";
        for (profile, fetched, outcome, wait_s) in [
            ("shopify", answer(200, &[], throttled), Outcome::Refused, Some(2)),
            ("github", answer(200, &[], throttled), Outcome::Served, None),
            ("salesforce", answer(403, &[], "REQUEST_LIMIT_EXCEEDED"), Outcome::Refused, Some(300)),
            ("salesforce", answer(403, &[], "no"), Outcome::Rejected, None),
            ("anthropic", answer(529, &[], ""), Outcome::Refused, None),
            ("", answer(529, &[], ""), Outcome::Overloaded, None),
            ("quickbooks", answer(429, &[], ""), Outcome::Refused, Some(60)),
            ("quickbooks", answer(429, &[("retry-after", "7")], ""), Outcome::Refused, Some(7)),
        ] {
            let shown = format!("{profile} {fetched:?}");
            let (found, found_s, _) = recognised(profile, fetched);
            assert_eq!((found, found_s), (outcome, wait_s), "{shown}");
        }
    }

    #[test]
    fn a_quota_that_says_when_it_returns_needs_no_default_wait() {
        let headers = [("x-ratelimit-limit", "60"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1234")];
        let (outcome, wait_s, hints) = recognised("github", answer(403, &headers, ""));
        assert_eq!((outcome, wait_s), (Outcome::Refused, None));
        assert_eq!(hints.quota_spent.map(|spent| spent.reset_at), Some(NOW.plus_ms(1_234_000)));
    }

    #[test]
    fn a_host_that_nobody_lists_is_known_by_the_signature_of_its_answers() {
        let headers = [("x-github-request-id", "0A1B")];
        let (outcome, wait_s, _) = recognised("", answer(403, &headers, "You have exceeded a secondary rate limit."));
        assert_eq!((outcome, wait_s), (Outcome::Refused, Some(60)));
    }

    #[test]
    fn the_provider_names_the_bucket_in_a_header_of_its_own() {
        let (_, _, hints) = recognised("crossref", answer(200, &[("x-api-pool", "polite-array")], "{}"));
        assert_eq!(hints.resource.as_deref(), Some("polite-array"));
    }

    #[test]
    fn a_problem_type_of_the_drafts_makes_a_refusal() {
        let json = [("content-type", "application/problem+json; charset=utf-8")];
        let kind = "{\"type\":\"https://iana.org/assignments/http-problem-types#temporary-reduced-capacity\"}";
        let (outcome, _, hints) = recognised("", answer(503, &json, kind));
        assert_eq!((outcome, hints.problem), (Outcome::Refused, Some(Problem::ReducedCapacity)));
        for (status, headers, body) in [
            (503, &json, "{\"type\":\"about:blank\"}"),
            (503, &json, "not json"),
            (503, &[("content-type", "application/json")], kind),
        ] {
            assert_eq!(recognised("", answer(status, headers, body)).0, Outcome::Overloaded, "{body}");
        }
    }
}
