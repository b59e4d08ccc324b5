//! What becomes of a job after an attempt.

use crate::clock::Timestamp;
use crate::exchange::{BodyEnd, FetchError, Fetched, Outcome};
use crate::job::{Job, JobKind};

/// How often and how soon a failed job is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrySettings {
    /// Failed attempts after which a job is given up, 1..=1,000. Default 5. Refusals (429) and a host that is down do not
    /// count.
    pub attempts_max: u32,
    /// The longest wait after the first failure, in ms, 1..=`max_ms`; it doubles with each failure. Default 1,000.
    pub base_ms: u64,
    /// The longest wait after any failure, in ms. Default one hour.
    pub max_ms: u64,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self { attempts_max: 5, base_ms: 1_000, max_ms: 3_600_000 }
    }
}

/// What becomes of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It was answered: read the answer, or follow the redirect, and be done.
    Settle,
    /// The page does not exist, with the reason: a broken link, not a failure of ours.
    Gone(String),
    /// It is given up, with the reason.
    Dead(String),
    /// It failed and may go again; one attempt is used up.
    RetryAt {
        /// Not before this instant.
        at: Timestamp,
        /// What failed.
        reason: String,
    },
    /// The host refused or is down, or the crawl stops: the host waits, the job keeps its place and its attempts.
    Hold,
}

/// Judges an attempt. `outcome` is [`Outcome::of`] of `result`; `job.attempt` counts the failures before this attempt.
pub fn judge(
    outcome: &Outcome,
    result: &Result<Fetched, FetchError>,
    job: &Job,
    settings: &RetrySettings,
    now: Timestamp,
    dice: &mut fastrand::Rng,
) -> Verdict {
    match outcome {
        Outcome::Served | Outcome::Redirected => Verdict::Settle,
        Outcome::Refused | Outcome::Unreachable | Outcome::Unsent | Outcome::Stopped => Verdict::Hold,
        Outcome::Overloaded | Outcome::Broken | Outcome::Silent => charge(words(result), job, settings, now, dice),
        Outcome::Gone => gone(result, job),
        // A sitemap is a help, and often only a guess; what it would list is found by links too. Some stores of files answer 403
        // for what is not there.
        Outcome::Rejected if job.kind == JobKind::Sitemap => Verdict::Gone(words(result)),
        Outcome::Rejected | Outcome::Impossible => Verdict::Dead(words(result)),
    }
}

/// Uses up one attempt of `job` for `reason`: a retry with full jitter, or its end. [`judge`] does this for broken answers;
/// it is also right for a job that alone times out on a host that answers others, which would hold for ever.
pub fn charge(
    reason: String,
    job: &Job,
    settings: &RetrySettings,
    now: Timestamp,
    dice: &mut fastrand::Rng,
) -> Verdict {
    let failures = job.attempt.saturating_add(1);
    if failures >= settings.attempts_max {
        let times = if failures == 1 { "attempt" } else { "attempts" };
        return Verdict::Dead(format!("{reason}, after {failures} {times}"));
    }
    let (least_ms, most_ms) = wait_bounds_ms(settings, job.attempt);
    Verdict::RetryAt { at: now.plus_ms(dice.u64(0..=most_ms).max(least_ms)), reason }
}

/// The bounds of the wait after a failure that `attempt` others went before: full jitter over an exponential ceiling, which
/// spreads a crowd best (AWS Architecture Blog, "Exponential Backoff And Jitter"), with a floor of a quarter of the base so
/// that no retry follows at once.
fn wait_bounds_ms(settings: &RetrySettings, attempt: u32) -> (u64, u64) {
    let doubled_ms = 1_u64.checked_shl(attempt).map_or(u64::MAX, |factor| settings.base_ms.saturating_mul(factor));
    let most_ms = doubled_ms.min(settings.max_ms);
    ((settings.base_ms / 4).min(most_ms), most_ms)
}

/// A link to nowhere is the site's matter. A seed was asked for by name, and a page of an API stream is needed to go on.
fn gone(result: &Result<Fetched, FetchError>, job: &Job) -> Verdict {
    match job.kind {
        JobKind::ApiPage => Verdict::Dead(words(result)),
        JobKind::Page | JobKind::Feed if job.depth == 0 => {
            let status = result.as_ref().map_or(404, |fetched| fetched.status);
            Verdict::Dead(format!("seed not found ({status})"))
        }
        JobKind::Page | JobKind::Feed | JobKind::Robots | JobKind::Sitemap => Verdict::Gone(words(result)),
    }
}

/// What came, in words for people.
fn words(result: &Result<Fetched, FetchError>) -> String {
    match result {
        Err(error) => error.to_string(),
        Ok(fetched) => match (&fetched.body_end, fetched.status) {
            (BodyEnd::Cut { cause }, 200..=299) => format!("the answer broke off: {cause}"),
            (_, status @ (301 | 302 | 303 | 307 | 308)) => format!("answered {status} without a Location"),
            (_, status) => match phrase(status) {
                Some(phrase) => format!("answered {status} ({phrase})"),
                None => format!("answered {status}"),
            },
        },
    }
}

/// The reason phrases of RFC 9110 section 15 that people meet, and three that only practice knows.
fn phrase(status: u16) -> Option<&'static str> {
    Some(match status {
        304 => "not modified",
        400 => "bad request",
        401 => "not authorised",
        402 => "payment required",
        403 => "forbidden",
        404 => "not found",
        405 => "method not allowed",
        406 => "not acceptable",
        407 => "proxy authentication required",
        408 => "request timeout",
        410 => "gone",
        413 => "content too large",
        414 => "address too long",
        422 => "unprocessable content",
        425 => "too early",
        431 => "request headers too large",
        451 => "unavailable for legal reasons",
        500 => "internal server error",
        502 => "bad gateway",
        503 => "service unavailable",
        504 => "gateway timeout",
        509 => "bandwidth limit exceeded",
        529 => "site is overloaded",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use url::Url;

    use super::*;
    use crate::exchange::{Headers, Via};
    use crate::job::{HostId, JobId, Priority, SourceId};

    fn job(kind: JobKind, depth: u32, attempt: u32) -> Job {
        Job {
            id: JobId::new(HostId(1), 1),
            url: Url::parse("http://a.org/").expect("a test address parses"),
            extra: None,
            walk: None,
            batch: std::sync::Arc::default(),
            held: None,
            kind,
            source: SourceId(1),
            depth,
            priority: Priority::NORMAL,
            attempt,
            redirects: Vec::new(),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is what a fetch returns")]
    fn answer(status: u16, headers: &[(&str, &str)], body_end: BodyEnd) -> Result<Fetched, FetchError> {
        Ok(Fetched {
            url: Url::parse("http://a.org/").expect("a test address parses"),
            status,
            headers: Headers::from_pairs(headers.iter().copied()),
            body: Bytes::new(),
            body_end,
            via: Via::default(),
            sent_at: Timestamp(0),
            answered_at: Timestamp(0),
            finished_at: Timestamp(0),
        })
    }

    fn judged(result: &Result<Fetched, FetchError>, job: &Job) -> String {
        let mut dice = fastrand::Rng::with_seed(1);
        match judge(&Outcome::of(result), result, job, &RetrySettings::default(), Timestamp(0), &mut dice) {
            Verdict::Settle => "settle".to_owned(),
            Verdict::Gone(reason) => format!("gone: {reason}"),
            Verdict::Dead(reason) => format!("dead: {reason}"),
            Verdict::RetryAt { reason, .. } => format!("retry: {reason}"),
            Verdict::Hold => "hold".to_owned(),
        }
    }

    #[test]
    fn every_kind_of_answer_has_one_verdict() {
        let text = || "why".to_owned();
        let cut = || BodyEnd::Cut { cause: text() };
        let link = job(JobKind::Page, 1, 0);
        let mut table = Vec::new();
        for (name, result) in [
            ("200", answer(200, &[], BodyEnd::Whole)),
            ("200 too large", answer(200, &[], BodyEnd::TooLarge { bytes_max: 9 })),
            ("200 cut", answer(200, &[], cut())),
            ("301", answer(301, &[("location", "/")], BodyEnd::Whole)),
            ("301 nowhere", answer(301, &[], BodyEnd::Whole)),
            ("401", answer(401, &[], BodyEnd::Whole)),
            ("404", answer(404, &[], BodyEnd::Whole)),
            ("404 cut", answer(404, &[], cut())),
            ("410", answer(410, &[], BodyEnd::Whole)),
            ("418", answer(418, &[], BodyEnd::Whole)),
            ("429", answer(429, &[], BodyEnd::Whole)),
            ("500", answer(500, &[], BodyEnd::Whole)),
            ("503", answer(503, &[], BodyEnd::Whole)),
            ("503 later", answer(503, &[("retry-after", "9")], BodyEnd::Whole)),
            ("dns", Err(FetchError::Dns(text()))),
            ("connect", Err(FetchError::Connect(text()))),
            ("timeout", Err(FetchError::Timeout(text()))),
            ("broken", Err(FetchError::Broken(text()))),
            ("private", Err(FetchError::PrivateAddress("::1".to_owned()))),
            ("stopped", Err(FetchError::Stopped)),
        ] {
            table.push(format!("{name}: {}", judged(&result, &link)));
        }
        insta::assert_snapshot!(table.join("\n"), @r"
        200: settle
        200 too large: settle
        200 cut: retry: the answer broke off: why
        301: settle
        301 nowhere: dead: answered 301 without a Location
        401: dead: answered 401 (not authorised)
        404: gone: answered 404 (not found)
        404 cut: gone: answered 404 (not found)
        410: gone: answered 410 (gone)
        418: dead: answered 418
        429: hold
        500: retry: answered 500 (internal server error)
        503: retry: answered 503 (service unavailable)
        503 later: hold
        dns: hold
        connect: hold
        timeout: retry: no answer in time: why
        broken: retry: the connection broke: why
        private: dead: ::1 is a private address, which public pages may not lead to
        stopped: hold
        ");
    }

    #[test]
    fn what_is_not_there_matters_more_when_it_was_asked_for() {
        let missing = answer(404, &[], BodyEnd::Whole);
        let removed = answer(410, &[], BodyEnd::Whole);
        let forbidden = answer(403, &[], BodyEnd::Whole);
        for (kind, depth, result, expected) in [
            (JobKind::Page, 0, &missing, "dead: seed not found (404)"),
            (JobKind::Page, 0, &removed, "dead: seed not found (410)"),
            (JobKind::Page, 1, &missing, "gone: answered 404 (not found)"),
            (JobKind::Sitemap, 0, &missing, "gone: answered 404 (not found)"),
            (JobKind::Sitemap, 0, &forbidden, "gone: answered 403 (forbidden)"),
            (JobKind::ApiPage, 7, &missing, "dead: answered 404 (not found)"),
        ] {
            assert_eq!(judged(result, &job(kind, depth, 0)), expected);
        }
    }

    #[test]
    fn the_fifth_failure_is_the_last() {
        let broken = answer(500, &[], BodyEnd::Whole);
        assert_eq!(judged(&broken, &job(JobKind::Page, 1, 3)), "retry: answered 500 (internal server error)");
        assert_eq!(
            judged(&broken, &job(JobKind::Page, 1, 4)),
            "dead: answered 500 (internal server error), after 5 attempts"
        );
    }

    #[test]
    fn the_whole_schedule() {
        let settings = RetrySettings::default();
        let schedule: Vec<String> = (0..16)
            .map(|attempt| {
                let (least_ms, most_ms) = wait_bounds_ms(&settings, attempt);
                format!("failure {}: {least_ms} to {most_ms} ms", attempt + 1)
            })
            .collect();
        insta::assert_snapshot!(schedule.join("\n"), @r"
        failure 1: 250 to 1000 ms
        failure 2: 250 to 2000 ms
        failure 3: 250 to 4000 ms
        failure 4: 250 to 8000 ms
        failure 5: 250 to 16000 ms
        failure 6: 250 to 32000 ms
        failure 7: 250 to 64000 ms
        failure 8: 250 to 128000 ms
        failure 9: 250 to 256000 ms
        failure 10: 250 to 512000 ms
        failure 11: 250 to 1024000 ms
        failure 12: 250 to 2048000 ms
        failure 13: 250 to 3600000 ms
        failure 14: 250 to 3600000 ms
        failure 15: 250 to 3600000 ms
        failure 16: 250 to 3600000 ms
        ");
    }

    proptest! {
        #[test]
        fn a_wait_stays_between_its_bounds(
            attempt: u32, base_ms in 1..u64::MAX, max_ms: u64, seed: u64, now in 0..i64::MAX,
        ) {
            let settings = RetrySettings { attempts_max: u32::MAX, base_ms, max_ms };
            let mut dice = fastrand::Rng::with_seed(seed);
            let job = job(JobKind::Page, 1, attempt);
            let (least_ms, most_ms) = wait_bounds_ms(&settings, attempt);
            prop_assert!(least_ms <= most_ms && most_ms <= max_ms);
            match charge(String::new(), &job, &settings, Timestamp(now), &mut dice) {
                Verdict::RetryAt { at, .. } => {
                    prop_assert!(Timestamp(now).plus_ms(least_ms) <= at && at <= Timestamp(now).plus_ms(most_ms));
                }
                verdict => prop_assert_eq!((verdict, attempt >= u32::MAX - 1),
                    (Verdict::Dead(format!(", after {} attempts", u32::MAX)), true)),
            }
        }
    }
}
