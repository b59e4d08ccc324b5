//! What an answer to the request for robots.txt means (RFC 9309 section 2.3.1).

use crate::exchange::{FetchError, Fetched, Headers, Outcome};

use super::cache::CacheControl;
use super::robots;

/// Redirects that are followed to a robots.txt; one more and the file counts as absent. Source: RFC 9309 section 2.3.1.2.
pub const ROBOTS_REDIRECTS_MAX: usize = 5;

/// How long a file is trusted at most, and when its server says nothing. Source: RFC 9309 section 2.4.
const LIFETIME_MS_MAX: u64 = 24 * 3_600_000;

/// How long it is trusted at least, whatever its server says, and how long a host that cannot be asked stays closed. Our
/// choice: at most 24 extra requests a day.
const LIFETIME_MS_MIN: u64 = 3_600_000;

/// What an answer to the request for robots.txt means.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum RobotsDecision {
    /// The rules are known until their lifetime ends.
    Known(RobotsAnswer),
    /// The file lies elsewhere: follow this `Location`, at most [`ROBOTS_REDIRECTS_MAX`] times.
    Follow(String),
    /// Nothing is known yet; the host's pages wait. Why, in words.
    Defer(String),
}

/// What is to be kept of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RobotsAnswer {
    /// The status that decided; none when the host could not be reached.
    pub status: Option<u16>,
    /// The text, capped at 500 KiB (RFC 9309 section 2.5); empty when everything is allowed or nothing is.
    pub body: String,
    /// Why nothing may be fetched; none when the text decides.
    pub disallow_all: Option<String>,
    /// How long this holds, in ms from the answer, one hour to one day.
    pub lifetime_ms: u64,
    /// The fields by which the text is asked for again, only if it changed; empty for all else.
    pub headers: Headers,
}

impl RobotsAnswer {
    /// The file is absent ("unavailable" in RFC 9309 section 2.3.1.3): everything is allowed. Also after too many redirects,
    /// and after one that leads to nowhere.
    #[must_use]
    pub fn absent(status: Option<u16>) -> Self {
        Self {
            status,
            body: String::new(),
            disallow_all: None,
            lifetime_ms: LIFETIME_MS_MAX,
            headers: Headers::default(),
        }
    }

    /// The file could not be had ("unreachable" in RFC 9309 section 2.3.1.4), and why: nothing is allowed for an hour.
    #[must_use]
    pub fn closed(status: Option<u16>, why: String) -> Self {
        let (body, headers) = (String::new(), Headers::default());
        Self { status, body, disallow_all: Some(why), lifetime_ms: LIFETIME_MS_MIN, headers }
    }
}

/// Decides by the answer. 2xx: the text counts. 4xx, 401 and 403 among them: everything is allowed (RFC 9309 section 2.3.1.3).
/// A refusal, 5xx, or no answer: not decided yet, and nothing is allowed once `attempts_used_up` (section 2.3.1.4).
pub fn robots_from_answer(
    outcome: &Outcome,
    result: &Result<Fetched, FetchError>,
    attempts_used_up: bool,
) -> RobotsDecision {
    let status = result.as_ref().ok().map(|fetched| fetched.status);
    match (outcome, result) {
        (Outcome::Served, Ok(fetched)) => RobotsDecision::Known(served(fetched)),
        (Outcome::Redirected, Ok(fetched)) => match fetched.headers.get("location") {
            Some(location) => RobotsDecision::Follow(location.to_owned()),
            None => RobotsDecision::Known(RobotsAnswer::absent(status)),
        },
        (Outcome::Gone | Outcome::Rejected, Ok(Fetched { status: code @ 300..=499, .. })) => {
            RobotsDecision::Known(RobotsAnswer::absent(Some(*code)))
        }
        (Outcome::Impossible, Err(error)) => {
            RobotsDecision::Known(RobotsAnswer::closed(None, format!("robots.txt cannot be asked for: {error}")))
        }
        (Outcome::Stopped, _) => RobotsDecision::Defer("the crawl stopped first".to_owned()),
        // A matter of ours, which says nothing about the host however often it is tried.
        (Outcome::Unsent, Err(error)) => RobotsDecision::Defer(error.to_string()),
        _ => {
            let why = match result {
                Ok(fetched) => format!("robots.txt could not be had: answered {}", fetched.status),
                Err(error) => format!("robots.txt could not be had: {error}"),
            };
            if attempts_used_up {
                RobotsDecision::Known(RobotsAnswer::closed(status, why))
            } else {
                RobotsDecision::Defer(why)
            }
        }
    }
}

fn served(fetched: &Fetched) -> RobotsAnswer {
    // Bytes past the cap are not even decoded; a few more than it, so that the cut is seen and its half line left out.
    let bytes = &fetched.body[..fetched.body.len().min(robots::TEXT_BYTES_MAX + 4)];
    RobotsAnswer {
        status: Some(fetched.status),
        body: robots::capped(&String::from_utf8_lossy(bytes)).to_owned(),
        disallow_all: None,
        lifetime_ms: robots_lifetime_ms(&fetched.headers),
        headers: robots_validators(&fetched.headers),
    }
}

/// The fields of an answer by which it is asked for again: its validators, the date that they are judged by, and its lifetime.
#[must_use]
pub fn robots_validators(headers: &Headers) -> Headers {
    let names = ["etag", "last-modified", "date", "cache-control"];
    Headers::from_pairs(headers.iter().filter(|(name, _)| names.contains(name)))
}

/// How long an answer holds, in ms: by `Cache-Control`, within the bounds.
#[must_use]
pub fn robots_lifetime_ms(headers: &Headers) -> u64 {
    let control = CacheControl::of(headers);
    let said_s = if control.no_store || control.no_cache { Some(0) } else { control.max_age_s };
    said_s.map_or(LIFETIME_MS_MAX, |said_s| (said_s * 1_000).clamp(LIFETIME_MS_MIN, LIFETIME_MS_MAX))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use url::Url;

    use super::*;
    use crate::clock::Timestamp;
    use crate::exchange::{BodyEnd, Via};

    #[expect(clippy::unnecessary_wraps, reason = "it is what a fetch returns")]
    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Result<Fetched, FetchError> {
        Ok(Fetched {
            url: Url::parse("http://a.org/robots.txt").expect("a test address parses"),
            status,
            headers: Headers::from_pairs(headers.iter().copied()),
            body: Bytes::copy_from_slice(body.as_bytes()),
            body_end: BodyEnd::Whole,
            via: Via::default(),
            sent_at: Timestamp(0),
            answered_at: Timestamp(0),
            finished_at: Timestamp(0),
        })
    }

    fn decided(result: &Result<Fetched, FetchError>, attempts_used_up: bool) -> String {
        match robots_from_answer(&Outcome::of(result), result, attempts_used_up) {
            RobotsDecision::Known(RobotsAnswer { disallow_all: Some(why), lifetime_ms, .. }) => {
                format!("closed for {} h: {why}", lifetime_ms / 3_600_000)
            }
            RobotsDecision::Known(RobotsAnswer { body, lifetime_ms, .. }) => {
                format!("text of {} bytes for {} h", body.len(), lifetime_ms / 3_600_000)
            }
            RobotsDecision::Follow(location) => format!("follow {location}"),
            RobotsDecision::Defer(why) => format!("wait: {why}"),
        }
    }

    #[test]
    fn every_answer_decides_one_thing() {
        let mut table = Vec::new();
        for (name, result) in [
            ("200", answer(200, &[], "Disallow: /")),
            ("301", answer(301, &[("location", "/r")], "")),
            ("301 nowhere", answer(301, &[], "")),
            ("401", answer(401, &[], "x")),
            ("403", answer(403, &[], "x")),
            ("404", answer(404, &[], "x")),
            ("429", answer(429, &[], "x")),
            ("500", answer(500, &[], "x")),
            ("503", answer(503, &[], "x")),
            ("timeout", Err(FetchError::Timeout("30 s".to_owned()))),
            ("private", Err(FetchError::PrivateAddress("10.0.0.1".to_owned()))),
            ("stopped", Err(FetchError::Stopped)),
        ] {
            let (first, last) = (decided(&result, false), decided(&result, true));
            table.push(format!("{name}: {first}"));
            if first != last {
                table.push(format!("  at last: {last}"));
            }
        }
        insta::assert_snapshot!(table.join("\n"), @r"
        200: text of 11 bytes for 24 h
        301: follow /r
        301 nowhere: text of 0 bytes for 24 h
        401: text of 0 bytes for 24 h
        403: text of 0 bytes for 24 h
        404: text of 0 bytes for 24 h
        429: wait: robots.txt could not be had: answered 429
          at last: closed for 1 h: robots.txt could not be had: answered 429
        500: wait: robots.txt could not be had: answered 500
          at last: closed for 1 h: robots.txt could not be had: answered 500
        503: wait: robots.txt could not be had: answered 503
          at last: closed for 1 h: robots.txt could not be had: answered 503
        timeout: wait: robots.txt could not be had: no answer in time: 30 s
          at last: closed for 1 h: robots.txt could not be had: no answer in time: 30 s
        private: closed for 1 h: robots.txt cannot be asked for: 10.0.0.1 is a private address, which public pages may not lead to
        stopped: wait: the crawl stopped first
        ");
    }

    #[test]
    fn the_lifetime_is_what_the_server_says_between_an_hour_and_a_day() {
        for (cache_control, hours) in [
            (&[][..], 24),
            (&["max-age=7200"], 2),
            (&["public, Max-Age=\"10800\""], 3),
            (&["max-age=5"], 1),
            (&["no-store"], 1),
            (&["max-age=99999999999999999999"], 24),
            (&["max-age=never"], 1),
            (&["x=\"no-store, max-age=5\", max-age=10800"], 3),
            (&["max-age=604800"], 24),
            (&["max-age=18000", "max-age=7200"], 2),
            (&["s-maxage=7200"], 24),
        ] {
            let headers: Vec<_> = cache_control.iter().map(|value| ("Cache-Control", *value)).collect();
            let answer = answer(200, &headers, "");
            assert_eq!(decided(&answer, false), format!("text of 0 bytes for {hours} h"), "{cache_control:?}");
        }
    }

    #[test]
    fn a_text_beyond_the_cap_ends_at_a_whole_line() {
        let line = "Disallow: /abcdefghi\n";
        let answer = answer(200, &[], &line.repeat(30_000));
        let whole = robots::TEXT_BYTES_MAX / line.len() * line.len() - 1;
        assert_eq!(decided(&answer, false), format!("text of {whole} bytes for 24 h"));
    }
}
