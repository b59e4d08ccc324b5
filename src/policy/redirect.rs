//! Where a redirect leads, and when to stop following.

use url::Url;

use super::canonical::normalize;
use crate::job::Job;

/// What a `Location` means for a job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Redirect {
    /// On to this address, in its one spelling; a site's scope and address rules are still to be asked.
    To(Url),
    /// Back to an address of the same chain; the reason.
    Loop(String),
    /// One redirect more than allowed; the reason.
    TooMany(String),
    /// To what cannot be fetched; the reason.
    Bad(String),
}

/// Resolves `location` against `from` (the address that answered) and follows it unless the chain of `job` would close on
/// itself or exceed `redirects_max`. From https to http is allowed: what a crawler fetches is public, and many old sites do so.
pub fn follow(job: &Job, from: &Url, location: &str, redirects_max: usize) -> Redirect {
    if location.trim().is_empty() {
        return Redirect::Bad("it redirects, but its Location is empty".to_owned());
    }
    let mut target = match from.join(location) {
        Ok(target) => target,
        Err(error) => return Redirect::Bad(format!("it redirects to \"{}\": {error}", shown(location))),
    };
    if !matches!(target.scheme(), "http" | "https") {
        return Redirect::Bad(format!("it redirects to a {} address", shown(target.scheme())));
    }
    if let Err(rejected) = normalize(&mut target) {
        return Redirect::Bad(format!("it redirects to \"{}\": {rejected}", shown(location)));
    }
    if target == *from || target == job.url {
        return Redirect::Loop("it redirects to itself".to_owned());
    }
    if job.redirects.contains(&target) {
        return Redirect::Loop(format!("it redirects in a circle, back to {}", shown(target.as_str())));
    }
    if job.redirects.len() >= redirects_max {
        return Redirect::TooMany(format!("more than {redirects_max} redirects"));
    }
    Redirect::To(target)
}

/// At most 200 characters of what a server sent.
fn shown(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{HostId, JobId, JobKind, Priority, SourceId};

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a test address parses")
    }

    fn job(redirects: &[&str]) -> Job {
        Job {
            id: JobId::new(HostId(1), 1),
            url: url("https://a.org/x/y?q=1"),
            extra: None,
            walk: None,
            batch: std::sync::Arc::default(),
            held: None,
            kind: JobKind::Page,
            source: SourceId(1),
            depth: 1,
            priority: Priority::NORMAL,
            attempt: 0,
            redirects: redirects.iter().map(|text| url(text)).collect(),
        }
    }

    #[track_caller]
    fn check(location: &str, expected: &Redirect) {
        let job = job(&["https://a.org/old", "http://a.org/older"]);
        assert_eq!(&follow(&job, &job.url, location, 10), expected, "{location}");
    }

    #[test]
    fn a_location_is_resolved_as_a_browser_would() {
        for (location, target) in [
            ("z", "https://a.org/x/z"),
            ("/z#part", "https://a.org/z"),
            ("?q=2", "https://a.org/x/y?q=2"),
            ("//b.org", "https://b.org/"),
            ("http://user:pass@a.org:80/x/%7e", "http://a.org/x/~"),
            (" ../ü ", "https://a.org/%C3%BC"),
            ("HTTP://a.org/x/y?q=1", "http://a.org/x/y?q=1"),
        ] {
            check(location, &Redirect::To(url(target)));
        }
    }

    #[test]
    fn a_circle_is_seen_at_its_first_turn() {
        for location in ["", "  "] {
            check(location, &Redirect::Bad("it redirects, but its Location is empty".to_owned()));
        }
        for location in ["#top", "/x/y?q=1", "https://A.org:443/x/./y?q=%31"] {
            check(location, &Redirect::Loop("it redirects to itself".to_owned()));
        }
        check("/old", &Redirect::Loop("it redirects in a circle, back to https://a.org/old".to_owned()));
    }

    #[test]
    fn what_cannot_be_fetched_is_not_followed() {
        check("mailto:me@a.org", &Redirect::Bad("it redirects to a mailto address".to_owned()));
        check("javascript:alert(1)", &Redirect::Bad("it redirects to a javascript address".to_owned()));
        check("http://[::", &Redirect::Bad("it redirects to \"http://[::\": invalid IPv6 address".to_owned()));
        check("http://./", &Redirect::Bad("it redirects to \"http://./\": it names no host".to_owned()));
    }

    #[test]
    fn a_chain_has_an_end() {
        let chain: Vec<String> = (0..3).map(|n| format!("https://a.org/{n}")).collect();
        let job = job(&chain.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(follow(&job, &job.url, "/next", 4), Redirect::To(url("https://a.org/next")));
        assert_eq!(follow(&job, &job.url, "/next", 3), Redirect::TooMany("more than 3 redirects".to_owned()));
    }
}
