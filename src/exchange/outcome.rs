//! The one table of statuses and errors: what an answer means for scheduling.

use super::{BodyEnd, FetchError, Fetched};

/// What came of one attempt, before anything was read out of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx with a whole body, or one that was cut at a cap of ours.
    Served,
    /// 3xx with a `Location`: the request goes on elsewhere.
    Redirected,
    /// The scope's limit was hit: 429 always; 503, 403, 420, 509, 529 when the answer says when to come back.
    /// A bare one of these may be so too, which only the throttle can tell (`throttle::Suspicion`).
    /// The host waits, the job keeps its attempts.
    Refused,
    /// 503, 509 or 529 without a word about when: most likely overload or a silent limit. Slows the host and costs an attempt.
    Overloaded,
    /// 404 or 410.
    Gone,
    /// A 4xx that another try would not change, or a 3xx without a `Location`.
    Rejected,
    /// 5xx, 408, 425, or a body that broke off: worth another try.
    Broken,
    /// No answer, and the host is to blame: its name or its connection.
    Unreachable,
    /// The host took the request and did not answer in time. Slows the host like one that cannot be reached, but costs an
    /// attempt: it may be this address alone that hangs.
    Silent,
    /// No answer, and no other try would change it: an address that may not be reached, a request that cannot be made.
    Impossible,
    /// Nothing was sent, for want of a proxy or of an access token: the host is not to blame, and the job keeps its attempts.
    Unsent,
    /// The crawl stopped first.
    Stopped,
}

impl Outcome {
    /// The one classification of an answer.
    #[must_use]
    pub fn of(result: &Result<Fetched, FetchError>) -> Self {
        match result {
            Ok(fetched) => {
                let outcome = Self::of_status(fetched.status, fetched.headers.get("retry-after").is_some());
                match (&fetched.body_end, &outcome) {
                    (BodyEnd::Cut { .. }, Self::Served) => Self::Broken,
                    (_, Self::Redirected) if fetched.headers.get("location").is_none() => Self::Rejected,
                    _ => outcome,
                }
            }
            Err(FetchError::Dns(_) | FetchError::Connect(_) | FetchError::Tls(_)) => Self::Unreachable,
            Err(FetchError::Timeout(_)) => Self::Silent,
            Err(FetchError::Broken(_) | FetchError::Protocol(_)) => Self::Broken,
            Err(FetchError::PrivateAddress(_) | FetchError::BadRequest(_) | FetchError::Credentials(_)) => {
                Self::Impossible
            }
            Err(FetchError::Proxy(_) | FetchError::Token(_)) => Self::Unsent,
            Err(FetchError::Stopped) => Self::Stopped,
        }
    }

    /// The same of a whole answer, by its status alone; `says_when` is whether it carries a `Retry-After`.
    #[must_use]
    pub fn of_status(status: u16, says_when: bool) -> Self {
        match status {
            200..=299 => Self::Served,
            301 | 302 | 303 | 307 | 308 => Self::Redirected,
            429 => Self::Refused,
            403 | 420 | 503 | 509 | 529 if says_when => Self::Refused,
            503 | 509 | 529 => Self::Overloaded,
            404 | 410 => Self::Gone,
            408 | 425 | 500..=599 => Self::Broken,
            _ => Self::Rejected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_one_meaning() {
        let mut table = String::new();
        for says_when in [false, true] {
            let mut run: Option<(u16, u16, Outcome)> = None;
            for status in 100..=599 {
                let outcome = Outcome::of_status(status, says_when);
                match &mut run {
                    Some((_, last, meaning)) if *meaning == outcome => *last = status,
                    _ => {
                        if let Some((first, last, meaning)) = run.take() {
                            table.push_str(&format!("{first}-{last} {meaning:?}\n"));
                        }
                        run = Some((status, status, outcome));
                    }
                }
            }
            let (first, last, meaning) = run.expect("the range is not empty");
            table.push_str(&format!("{first}-{last} {meaning:?}\n--\n"));
        }
        insta::assert_snapshot!(table, @r"
        100-199 Rejected
        200-299 Served
        300-300 Rejected
        301-303 Redirected
        304-306 Rejected
        307-308 Redirected
        309-403 Rejected
        404-404 Gone
        405-407 Rejected
        408-408 Broken
        409-409 Rejected
        410-410 Gone
        411-424 Rejected
        425-425 Broken
        426-428 Rejected
        429-429 Refused
        430-499 Rejected
        500-502 Broken
        503-503 Overloaded
        504-508 Broken
        509-509 Overloaded
        510-528 Broken
        529-529 Overloaded
        530-599 Broken
        --
        100-199 Rejected
        200-299 Served
        300-300 Rejected
        301-303 Redirected
        304-306 Rejected
        307-308 Redirected
        309-402 Rejected
        403-403 Refused
        404-404 Gone
        405-407 Rejected
        408-408 Broken
        409-409 Rejected
        410-410 Gone
        411-419 Rejected
        420-420 Refused
        421-424 Rejected
        425-425 Broken
        426-428 Rejected
        429-429 Refused
        430-499 Rejected
        500-502 Broken
        503-503 Refused
        504-508 Broken
        509-509 Refused
        510-528 Broken
        529-529 Refused
        530-599 Broken
        --
        ");
    }
}
