//! What is known of single providers: how they refuse, how long to wait where they do not say, and what their rules allow.
//!
//! Enters: a host, and an answer. Leaves: whether the answer is a [`Refusal`], and a ceiling. The knowledge is data, in
//! `profiles.toml` beside this file, with the source and the date of each entry. Deliberately absent: units and names of
//! rate-limit headers, which [`Hints`](super::Hints) reads without knowing the provider.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde::Deserialize;

use crate::exchange::Headers;

use super::Settings;

/// Bytes at the start of a body that are searched for the words of a refusal.
pub const BODY_BYTES_MAX: usize = 4_096;

const DATA: &str = include_str!("profiles.toml");

/// What is known of one provider.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// How `crawl.toml` calls it.
    pub name: String,
    hosts: Vec<String>,
    #[serde(default)]
    signature: Vec<String>,
    refusals: Vec<Rule>,
    wait_s: Option<u64>,
    limit: Option<Limit>,
    scope_header: Option<String>,
    /// Where it was read.
    pub source: String,
    /// When, as `2026-11`.
    pub as_of: String,
    /// What people should know.
    pub note: String,
}

/// Answers that are refusals.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    status: Vec<u16>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Vec<String>,
    wait_s: Option<u64>,
}

/// What a provider's rules allow.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    requests: Option<u32>,
    seconds: Option<u32>,
    at_once: Option<u32>,
}

/// An answer that refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// How long to wait when nothing in the answer tells, in ms; none leaves it to the backoff.
    pub default_wait_ms: Option<u64>,
}

/// Which profile is for a host.
#[derive(Clone, Copy, Debug, Default)]
pub enum ProfileChoice {
    /// The one that knows the host, or the signature of its answers.
    #[default]
    Auto,
    /// None.
    Off,
    /// This one, whatever the host.
    Named(&'static Profile),
}

impl PartialEq for ProfileChoice {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Auto, Self::Auto) | (Self::Off, Self::Off) => true,
            (Self::Named(one), Self::Named(two)) => one.name == two.name,
            _ => false,
        }
    }
}

/// All profiles, with their hosts and signatures for a quick look.
struct Catalogue {
    profiles: Vec<Profile>,
    /// By exact host.
    hosts: HashMap<String, usize>,
    /// By the name below which all hosts are meant, without the `*.`.
    domains: HashMap<String, usize>,
    signatures: HashMap<String, usize>,
}

static CATALOGUE: LazyLock<Catalogue> =
    LazyLock::new(|| Catalogue::parse(DATA).expect("profiles.toml is part of the program, and a test reads it"));

impl Catalogue {
    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            provider: Vec<Profile>,
        }
        let profiles = toml::from_str::<File>(text)?.provider;
        let (mut hosts, mut domains, mut signatures) = (HashMap::new(), HashMap::new(), HashMap::new());
        for (at, profile) in profiles.iter().enumerate() {
            for host in &profile.hosts {
                match host.strip_prefix("*.") {
                    Some(domain) => domains.insert(domain.to_owned(), at),
                    None => hosts.insert(host.clone(), at),
                };
            }
            signatures.extend(profile.signature.iter().map(|header| (header.clone(), at)));
        }
        Ok(Self { profiles, hosts, domains, signatures })
    }
}

impl Profile {
    /// The profile of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        CATALOGUE.profiles.iter().find(|profile| profile.name == name)
    }

    /// The names of all profiles, in the order of the file.
    pub fn names() -> impl Iterator<Item = &'static str> {
        CATALOGUE.profiles.iter().map(|profile| profile.name.as_str())
    }

    /// The profile that knows `host` (a name in lower case); the more specific one.
    #[must_use]
    pub fn of_host(host: &str) -> Option<&'static Self> {
        let catalogue = &*CATALOGUE;
        let exact = catalogue.hosts.get(host);
        let below = || host.match_indices('.').find_map(|(dot, _)| catalogue.domains.get(&host[dot + 1..]));
        exact.or_else(below).map(|&at| &catalogue.profiles[at])
    }

    /// The profile whose signature the headers carry.
    #[must_use]
    pub fn of_headers(headers: &Headers) -> Option<&'static Self> {
        let catalogue = &*CATALOGUE;
        let at = headers.iter().find_map(|(name, _)| catalogue.signatures.get(name))?;
        Some(&catalogue.profiles[*at])
    }

    /// `settings` within what the provider's rules allow.
    #[must_use]
    pub fn bound(&self, mut settings: Settings) -> Settings {
        let Some(limit) = &self.limit else { return settings };
        if let Some(rate_per_s) = limit.rate_per_s() {
            settings.rate_max_per_s = Some(settings.rate_max_per_s.map_or(rate_per_s, |most| most.min(rate_per_s)));
        }
        if let Some(at_once) = limit.at_once {
            settings.concurrency_max = settings.concurrency_max.min(at_once);
            settings.concurrency = settings.concurrency.min(at_once);
        }
        settings
    }

    /// The bucket that the answer was charged to, where this provider names it in a header of its own.
    #[must_use]
    pub fn resource<'h>(&self, headers: &'h Headers) -> Option<&'h str> {
        headers.get(self.scope_header.as_deref()?)
    }
}

impl Limit {
    fn rate_per_s(&self) -> Option<f64> {
        Some(f64::from(self.requests?) / f64::from(self.seconds.unwrap_or(1).max(1)))
    }
}

impl ProfileChoice {
    /// The profile for a host, as far as its name tells.
    #[must_use]
    pub fn for_host(self, host: &str) -> Option<&'static Profile> {
        match self {
            Self::Auto => Profile::of_host(host),
            Self::Off => None,
            Self::Named(profile) => Some(profile),
        }
    }

    /// The profile for an answer of a host.
    #[must_use]
    pub fn for_answer(self, host: &str, headers: &Headers) -> Option<&'static Profile> {
        let by_signature = || matches!(self, Self::Auto).then(|| Profile::of_headers(headers)).flatten();
        self.for_host(host).or_else(by_signature)
    }
}

/// Whether an answer is a refusal by this provider: 429 always, and what its rules name. `body_start` is what of the body was
/// read; its first [`BODY_BYTES_MAX`] bytes count.
#[must_use]
pub fn classify(profile: &Profile, status: u16, headers: &Headers, body_start: &[u8]) -> Option<Refusal> {
    let body = &body_start[..body_start.len().min(BODY_BYTES_MAX)];
    let rule = profile.refusals.iter().find(|rule| rule.matches(status, headers, body));
    if rule.is_none() && status != 429 {
        return None;
    }
    let wait_s = rule.and_then(|rule| rule.wait_s).or(profile.wait_s);
    Some(Refusal { default_wait_ms: wait_s.map(|wait_s| wait_s * 1_000) })
}

impl Rule {
    fn matches(&self, status: u16, headers: &Headers, body: &[u8]) -> bool {
        self.status.contains(&status)
            && self
                .headers
                .iter()
                .all(|(name, word)| headers.get(name).is_some_and(|value| contains(value.as_bytes(), word.as_bytes())))
            && (self.body.is_empty() || self.body.iter().any(|word| contains(body, word.as_bytes())))
    }
}

/// Whether `text` has `word` in it, small and capital letters being one.
fn contains(text: &[u8], word: &[u8]) -> bool {
    word.is_empty() || text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_says_where_it_was_read_and_what_it_is_good_for() {
        let catalogue = Catalogue::parse(DATA).expect("the file is right");
        let mut names: Vec<&str> = catalogue.profiles.iter().map(|profile| profile.name.as_str()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "two profiles of one name");
        for profile in &catalogue.profiles {
            let name = &profile.name;
            assert!(name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit()), "{name}");
            assert!(!["none", "auto"].contains(&name.as_str()), "{name} has another meaning in crawl.toml");
            assert!(profile.source.starts_with("https://") && profile.note.len() > 20, "{name}");
            let (year, month) = profile.as_of.split_once('-').expect(name);
            assert!(year.len() == 4 && month.len() == 2, "{name}: {}", profile.as_of);
            assert!(!profile.hosts.is_empty() || !profile.signature.is_empty(), "nothing leads to {name}");
            let does_something = !profile.refusals.is_empty()
                || profile.wait_s.is_some()
                || profile.limit.is_some()
                || profile.scope_header.is_some();
            assert!(does_something, "{name} says nothing that its headers do not");
            let lower = profile.hosts.iter().chain(&profile.signature).chain(&profile.scope_header);
            assert!(lower.into_iter().all(|text| *text == text.to_ascii_lowercase()), "{name}");
            for rule in &profile.refusals {
                assert!(rule.status.iter().all(|status| (200..=599).contains(status)), "{name}");
                let is_vague = rule.headers.is_empty() && rule.body.is_empty();
                let is_plain = |status: &u16| matches!(status, 200..=299 | 400 | 401 | 403 | 404);
                assert!(
                    !(is_vague && rule.status.iter().any(is_plain)),
                    "{name}: a page like any other would be a refusal"
                );
            }
            if let Some(limit) = &profile.limit {
                assert!(limit.requests.is_some() == limit.seconds.is_some(), "{name}");
                assert!(limit.requests != Some(0) && limit.seconds != Some(0) && limit.at_once != Some(0), "{name}");
            }
        }
        let hosts: usize = catalogue.profiles.iter().map(|profile| profile.hosts.len()).sum();
        assert_eq!(hosts, catalogue.hosts.len() + catalogue.domains.len(), "a host has two profiles");
        let signatures: usize = catalogue.profiles.iter().map(|profile| profile.signature.len()).sum();
        assert_eq!(signatures, catalogue.signatures.len(), "a signature has two profiles");
    }

    #[test]
    fn a_profile_is_found_by_its_host_or_below_its_domain() {
        for (host, expected) in [
            ("api.github.com", Some("github")),
            ("github.com", None),
            ("evilapi.github.com", None),
            ("shop.myshopify.com", Some("shopify")),
            ("a.b.myshopify.com", Some("shopify")),
            ("myshopify.com", None),
            ("notmyshopify.com", None),
            ("en.wikipedia.org", Some("wikimedia")),
            ("pubchem.ncbi.nlm.nih.gov", Some("pubchem")),
            ("localhost", None),
            ("127.0.0.1", None),
            ("", None),
        ] {
            assert_eq!(Profile::of_host(host).map(|profile| profile.name.as_str()), expected, "{host}");
        }
    }

    #[test]
    fn the_choice_of_the_user_goes_before_what_is_found() {
        let headers = Headers::from_pairs([("X-GitHub-Request-Id", "1")]);
        let name =
            |choice: ProfileChoice, host: &str| choice.for_answer(host, &headers).map(|profile| profile.name.as_str());
        let slack = ProfileChoice::Named(Profile::named("slack").expect("it is in the file"));
        assert_eq!(name(ProfileChoice::Auto, "git.example.org"), Some("github"));
        assert_eq!(name(ProfileChoice::Auto, "api.crossref.org"), Some("crossref"));
        assert_eq!(name(ProfileChoice::Off, "api.github.com"), None);
        assert_eq!(name(slack, "api.github.com"), Some("slack"));
        assert_eq!(Profile::named("nobody").map(|profile| &profile.name), None);
    }

    /// What a profile makes of an answer: the wait in seconds, `?` for one that it leaves to the backoff.
    fn judged(name: &str, status: u16, headers: &[(&str, &str)], body: &str) -> String {
        let profile = Profile::named(name).expect("it is in the file");
        match classify(profile, status, &Headers::from_pairs(headers.iter().copied()), body.as_bytes()) {
            None => "-".to_owned(),
            Some(Refusal { default_wait_ms: None }) => "?".to_owned(),
            Some(Refusal { default_wait_ms: Some(wait_ms) }) => format!("{} s", wait_ms / 1_000),
        }
    }

    #[test]
    fn refusals_are_known_by_what_each_provider_sends() {
        for (name, status, headers, body, expected) in [
            ("github", 429, &[][..], "", "60 s"),
            ("github", 403, &[("x-ratelimit-remaining", "0")], "", "60 s"),
            ("github", 403, &[("x-ratelimit-remaining", "4999")], "You have exceeded a secondary rate limit", "60 s"),
            ("github", 403, &[("x-ratelimit-remaining", "4999")], "Resource not accessible by integration", "-"),
            ("github", 200, &[("x-ratelimit-remaining", "0")], "rate limit", "-"),
            (
                "shopify",
                200,
                &[],
                "{\"errors\":[{\"message\":\"Throttled\",\"extensions\":{\"code\":\"THROTTLED\"}}]}",
                "2 s",
            ),
            ("shopify", 200, &[], "{\"data\":{\"title\":\"throttled\"}}", "-"),
            ("shopify", 430, &[], "", "2 s"),
            ("salesforce", 403, &[], "[{\"errorCode\":\"REQUEST_LIMIT_EXCEEDED\"}]", "300 s"),
            ("salesforce", 403, &[], "[{\"errorCode\":\"INSUFFICIENT_ACCESS\"}]", "-"),
            ("anthropic", 529, &[], "", "?"),
            ("hubspot", 477, &[], "", "10 s"),
            ("discord", 429, &[], "", "?"),
            ("wikimedia", 200, &[("MediaWiki-API-Error", "maxlag")], "", "5 s"),
            ("wikimedia", 200, &[("MediaWiki-API-Error", "ratelimited")], "", "60 s"),
            ("wikimedia", 200, &[("MediaWiki-API-Error", "badtoken")], "", "-"),
            ("stackexchange", 400, &[], "{\"error_id\":502,\"error_name\":\"throttle_violation\"}", "60 s"),
            ("edgar", 403, &[], "<title>SEC.gov | Request Rate Threshold Exceeded</title>", "600 s"),
            ("google", 403, &[], "\"reason\": \"userRateLimitExceeded\"", "?"),
            ("google", 403, &[], "\"reason\": \"forbidden\"", "-"),
            ("aws", 400, &[], "{\"__type\":\"ThrottlingException\"}", "?"),
            ("etherscan", 200, &[], "{\"status\":\"0\",\"result\":\"Max rate limit reached\"}", "1 s"),
            ("quickbooks", 429, &[], "", "60 s"),
            ("airtable", 429, &[], "", "30 s"),
            ("airtable", 503, &[], "", "-"),
        ] {
            assert_eq!(judged(name, status, headers, body), expected, "{name} {status} {headers:?} {body}");
        }
    }

    #[test]
    fn only_the_start_of_a_body_is_searched() {
        let far = format!("{}rate limit", " ".repeat(BODY_BYTES_MAX));
        assert_eq!(judged("github", 403, &[], &far), "-");
        assert_eq!(judged("github", 403, &[], &far[10..]), "60 s");
    }

    #[test]
    fn what_the_rules_allow_is_a_ceiling_that_only_lowers() {
        let bound = |name: &str, settings: Settings| {
            let settings = Profile::named(name).expect("it is in the file").bound(settings);
            (settings.rate_max_per_s, settings.concurrency, settings.concurrency_max)
        };
        let free = Settings { rate_max_per_s: None, concurrency: 2, ..Settings::default() };
        assert_eq!(bound("arxiv", free), (Some(1.0 / 3.0), 1, 1));
        assert_eq!(bound("ncbi", free), (Some(3.0), 2, 8));
        assert_eq!(bound("github", free), (None, 2, 8));
        let slow = Settings { rate_max_per_s: Some(0.5), ..free };
        assert_eq!(bound("ncbi", slow), (Some(0.5), 2, 8));
    }

    #[test]
    fn the_bucket_is_read_from_the_providers_own_header() {
        let crossref = Profile::named("crossref").expect("it is in the file");
        assert_eq!(crossref.resource(&Headers::from_pairs([("X-Api-Pool", "polite-array")])), Some("polite-array"));
        assert_eq!(crossref.resource(&Headers::default()), None);
    }
}
