//! The ceilings of hosts: `[throttle]` for all, `[[host]]` for some.

use crate::job::Origin;
use crate::throttle::{self, Profile, ProfileChoice};

use super::proxy::{self, Proxy};
use super::section::{Field, Section, nearest};

pub(super) const THROTTLE_KEYS: [&str; 8] = [
    "concurrency",
    "courtesy",
    "delay",
    "give_up",
    "give_up_unknown",
    "max_concurrency",
    "max_rate",
    "retry_after_max",
];

pub(super) const HOST_KEYS: [&str; 11] = [
    "concurrency",
    "courtesy",
    "delay",
    "give_up",
    "give_up_unknown",
    "match",
    "max_concurrency",
    "max_rate",
    "profile",
    "proxy",
    "retry_after_max",
];

/// What a word for `courtesy` means, as a share of a host's limit.
const COURTESIES: [(&str, f64); 2] = [("close", 1.0), ("gentle", 0.5)];

const DAY_MS: u64 = 24 * 3_600_000;

/// One `[[host]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct HostRule {
    /// Which hosts it is for.
    pub pattern: HostPattern,
    /// What it says about them.
    pub throttle: ThrottleOverrides,
    /// `profile`: what is known of the provider behind them.
    pub profile: Option<ProfileChoice>,
    /// `proxy`: how requests to them leave.
    pub proxy: Option<Proxy>,
}

/// `example.org`, `*.example.org` (every host below it, not itself) or `*`; with a port (`127.0.0.1:8080`) only that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    /// The name, without the `*`: `example.org`, `.example.org`, or empty for all.
    name: String,
    /// Whether it begins with `*`.
    below: bool,
    port: Option<u16>,
}

/// The keys of `[throttle]` that a `[[host]]` has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ThrottleOverrides {
    /// `concurrency`
    pub concurrency: Option<u32>,
    /// `max_concurrency`
    pub concurrency_max: Option<u32>,
    /// `delay`, in ms
    pub delay_ms: Option<u64>,
    /// `max_rate`, in requests a second; the inner one is none for "none"
    pub rate_max_per_s: Option<Option<f64>>,
    /// `courtesy`, as a share of the host's limit
    pub courtesy: Option<f64>,
    /// `give_up`, in ms
    pub down_max_ms: Option<u64>,
    /// `give_up_unknown`, in ms
    pub down_max_unknown_ms: Option<u64>,
    /// `retry_after_max`, in ms
    pub retry_after_max_ms: Option<u64>,
}

impl HostPattern {
    /// Reads `text`, or says what is wrong with it.
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains(['/', '@']) {
            return Err("a host without a scheme and a path");
        }
        // Only the host can hold a colon within brackets: an IPv6 address.
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, Some(port.parse().map_err(|_| "a port from 1 to 65535 after the colon")?))
            }
            _ => (text, None),
        };
        let (below, rest) = host.strip_prefix('*').map_or((false, host), |rest| (true, rest));
        if below && rest.is_empty() {
            return Ok(Self { name: String::new(), below, port });
        }
        let name = if below { rest.strip_prefix('.').unwrap_or_default() } else { rest };
        let wrong = "a host such as \"example.org\", \"*.example.org\" or \"127.0.0.1:8080\"";
        if name.is_empty() || name.contains('*') {
            return Err(wrong);
        }
        // The parser of addresses spells the name as it will stand in an origin.
        let name = url::Host::parse(name).map_err(|_| wrong)?.to_string();
        Ok(Self { name: if below { format!(".{name}") } else { name }, below, port })
    }

    /// Whether it is for the host at `origin`.
    #[must_use]
    pub fn matches(&self, origin: &Origin) -> bool {
        let (host, port) = host_and_port(origin);
        let named = if self.below { host.ends_with(&self.name) } else { host == self.name };
        named && (self.port.is_none() || self.port == port)
    }

    /// Greater for a pattern that fewer hosts match.
    fn specificity(&self) -> (bool, usize, bool) {
        (!self.below, self.name.len(), self.port.is_some())
    }
}

impl ThrottleOverrides {
    /// `settings` with what this says in their place.
    fn apply(&self, settings: &mut throttle::Settings) {
        fn set<T: Copy>(target: &mut T, said: Option<T>) {
            *target = said.unwrap_or(*target);
        }
        set(&mut settings.concurrency_max, self.concurrency_max);
        set(&mut settings.concurrency, self.concurrency);
        set(&mut settings.delay_ms, self.delay_ms);
        set(&mut settings.rate_max_per_s, self.rate_max_per_s);
        set(&mut settings.courtesy, self.courtesy);
        set(&mut settings.down_max_ms, self.down_max_ms);
        set(&mut settings.down_max_unknown_ms, self.down_max_unknown_ms);
        set(&mut settings.retry_after_max_ms, self.retry_after_max_ms);
        // A ceiling that was lowered takes the start with it.
        settings.concurrency = settings.concurrency.min(settings.concurrency_max);
    }
}

/// The ceilings for all, and the rules for some.
pub(super) fn read(root: &Section<'_>) -> (throttle::Settings, Vec<HostRule>) {
    let mut throttle = throttle::Settings::default();
    if let Some(section) = root.section("throttle") {
        section.check_keys(&THROTTLE_KEYS, &["limits"]);
        let said = read_overrides(&section);
        check_concurrency(&section, &said, &throttle);
        said.apply(&mut throttle);
    }
    let mut hosts = Vec::new();
    for section in root.array_of_sections("host") {
        section.check_keys(&HOST_KEYS, &["auth", "headers", "limits", "retry", "robots"]);
        let said = read_overrides(&section);
        check_concurrency(&section, &said, &throttle);
        let profile = section.get("profile").and_then(|field| read_profile(&field));
        let proxy = section.get("proxy").and_then(|field| proxy::read(&field));
        let Some(field) = section.get("match") else {
            section.complain("lacks \"match\", the host that it is for");
            continue;
        };
        match field.plain_text().map(HostPattern::parse) {
            Some(Ok(pattern)) => hosts.push(HostRule { pattern, throttle: said, profile, proxy }),
            Some(Err(expected)) => field.wrong(expected),
            None => {}
        }
    }
    (throttle, hosts)
}

/// `"auto"`, `"none"` or the name of a provider.
fn read_profile(field: &Field<'_>) -> Option<ProfileChoice> {
    let name = field.plain_text()?;
    match name {
        "auto" => Some(ProfileChoice::Auto),
        "none" => Some(ProfileChoice::Off),
        _ => {
            let profile = Profile::named(name);
            if profile.is_none() {
                let known: Vec<&str> = ["auto", "none"].into_iter().chain(Profile::names()).collect();
                match nearest(name, &known) {
                    Some(near) => field.wrong(&format!("\"auto\", \"none\" or a provider; did you mean {near:?}?")),
                    None => field.wrong(&format!("one of {}", known.join(", "))),
                }
            }
            profile.map(ProfileChoice::Named)
        }
    }
}

fn read_overrides(section: &Section<'_>) -> ThrottleOverrides {
    ThrottleOverrides {
        concurrency: section.get("concurrency").and_then(|field| field.count(1..=10_000)),
        concurrency_max: section.get("max_concurrency").and_then(|field| field.count(1..=10_000)),
        delay_ms: section.get("delay").and_then(|field| field.duration_ms(0..=DAY_MS)),
        rate_max_per_s: section.get("max_rate").and_then(|field| field.rate_per_s()),
        courtesy: section.get("courtesy").and_then(|field| field.share(&COURTESIES, 0.05)),
        down_max_ms: section.get("give_up").and_then(|field| field.duration_ms(1_000..=365 * DAY_MS)),
        down_max_unknown_ms: section.get("give_up_unknown").and_then(|field| field.duration_ms(1_000..=365 * DAY_MS)),
        retry_after_max_ms: section.get("retry_after_max").and_then(|field| field.duration_ms(1_000..=365 * DAY_MS)),
    }
}

fn check_concurrency(section: &Section<'_>, said: &ThrottleOverrides, general: &throttle::Settings) {
    let most = said.concurrency_max.unwrap_or(general.concurrency_max);
    if let (Some(concurrency), Some(field)) = (said.concurrency, section.get("concurrency"))
        && concurrency > most
    {
        field.complain(&format!("is {concurrency}, which is more than max_concurrency, {most}"));
    }
}

pub(super) fn throttle_for(general: &throttle::Settings, hosts: &[HostRule], origin: &Origin) -> throttle::Settings {
    let mut settings = *general;
    let (for_all, for_some): (Vec<_>, Vec<_>) =
        matching(hosts, origin).into_iter().partition(|rule| rule.pattern.name.is_empty());
    for rule in for_all {
        rule.throttle.apply(&mut settings);
    }
    // What the provider's rules allow bounds what is said of all hosts; what is said of this one was meant.
    if let Some(profile) = profile_for(hosts, origin).for_host(host_and_port(origin).0) {
        settings = profile.bound(settings);
    }
    for rule in for_some {
        rule.throttle.apply(&mut settings);
    }
    settings
}

pub(super) fn profile_for(hosts: &[HostRule], origin: &Origin) -> ProfileChoice {
    matching(hosts, origin).into_iter().rev().find_map(|rule| rule.profile).unwrap_or_default()
}

/// The place, among the rules with a proxy, of the most specific one for a host.
pub(super) fn proxy_for(hosts: &[HostRule], origin: &Origin) -> Option<usize> {
    let with_proxy = hosts.iter().filter(|rule| rule.proxy.is_some()).enumerate();
    let matching = with_proxy.filter(|(_, rule)| rule.pattern.matches(origin));
    matching.max_by_key(|(_, rule)| rule.pattern.specificity()).map(|(place, _)| place)
}

/// The rules for a host, the more specific later.
fn matching<'r>(hosts: &'r [HostRule], origin: &Origin) -> Vec<&'r HostRule> {
    let mut matching: Vec<&HostRule> = hosts.iter().filter(|rule| rule.pattern.matches(origin)).collect();
    matching.sort_by_key(|rule| rule.pattern.specificity());
    matching
}

/// The parts of an origin, the port as it goes without saying where it does.
fn host_and_port(origin: &Origin) -> (&str, Option<u16>) {
    let (scheme, authority) = origin.as_str().split_once("://").unwrap_or_default();
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (authority, Some(if scheme == "https" { 443 } else { 80 })),
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, origins: &[(&str, bool)]) {
        let pattern = HostPattern::parse(pattern).expect("a test pattern is right");
        for (origin, expected) in origins {
            let origin = Url::parse(origin).ok().and_then(|url| Origin::of(&url)).expect("a test origin is right");
            assert_eq!(pattern.matches(&origin), *expected, "{pattern:?} {origin}");
        }
    }

    #[test]
    fn a_pattern_is_a_name_a_tail_of_names_or_all() {
        check(
            "Example.org",
            &[("http://example.org", true), ("https://example.org:8443", true), ("http://a.example.org", false)],
        );
        check(
            "*.example.org",
            &[("http://a.b.example.org", true), ("http://example.org", false), ("http://badexample.org", false)],
        );
        check(
            "127.0.0.1:7803",
            &[("http://127.0.0.1:7803", true), ("http://127.0.0.1:7801", false), ("http://127.0.0.1", false)],
        );
        check("example.org:443", &[("https://example.org", true), ("http://example.org", false)]);
        check("[::1]:80", &[("http://[::1]", true), ("http://[::1]:81", false)]);
        check("*", &[("http://anything.example", true)]);
        for wrong in ["http://example.org", "*example.org", "a.*.org", "", "*.", "a b", "example.org:http"] {
            HostPattern::parse(wrong).expect_err(wrong);
        }
    }
}
