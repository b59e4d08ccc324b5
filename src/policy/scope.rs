//! Which of the addresses that a site's pages name belong to the crawl.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use regex::Regex;
use url::{Host, Url};

/// How far a site reaches beyond its seeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScopeKind {
    /// The seed's host, below the seed's directory (its path up to the last `/`).
    #[default]
    Prefix,
    /// The seed's host.
    Host,
    /// The seed's registrable domain by the Public Suffix List, with all its hosts and ports: `example.co.uk`. For a host
    /// that has none (an IP address, `localhost`), that host.
    Domain,
    /// Everything.
    Any,
}

/// Whether an address belongs to the crawl.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum ScopeVerdict {
    /// It does.
    In,
    /// It does not, and why.
    Out(Cow<'static, str>),
}

/// The scope of one site: the union of what its seeds span, narrowed by patterns and depth.
///
/// A host is told by its name and port; http and https with their default ports are one host. The port counts because on
/// one machine, and on loopback always, another port is another site.
#[derive(Clone, Debug)]
pub struct ScopeRules {
    kind: ScopeKind,
    /// By host (with its port) or domain: the directories that are in; only `Prefix` asks for those.
    spans: HashMap<String, HashSet<String>>,
    include: Vec<Regex>,
    exclude: Vec<Regex>,
    depth_max: u16,
}

impl ScopeRules {
    /// The scope around `seeds`. An address must match one of `include` (when there are any; seeds need not) and none of
    /// `exclude`; both are searched for in the whole address. `depth_max`: links from a seed, 0 for no limit.
    #[must_use]
    pub fn new(kind: ScopeKind, seeds: &[Url], include: &[Regex], exclude: &[Regex], depth_max: u16) -> Self {
        let mut rules =
            Self { kind, spans: HashMap::new(), include: include.to_vec(), exclude: exclude.to_vec(), depth_max };
        for seed in seeds {
            rules.add_seed(seed);
        }
        rules
    }

    /// Widens the scope to one more seed: one from a file, or where a seed's redirect led.
    pub fn add_seed(&mut self, seed: &Url) {
        let Some(span) = self.span_of(seed) else { return };
        if !self.spans.contains_key(&*span) {
            self.spans.insert(span.clone().into_owned(), HashSet::new());
        }
        if self.kind == ScopeKind::Prefix
            && let Some(directories) = self.spans.get_mut(&*span)
        {
            directories.insert(directory(seed.path()).to_owned());
        }
    }

    /// Judges a canonical address that was found `depth` links from a seed. A seed (depth 0) need not match `include`, so that
    /// the way to the wanted pages may lead over others.
    pub fn judge(&self, url: &Url, depth: u32) -> ScopeVerdict {
        if self.depth_max > 0 && depth > u32::from(self.depth_max) {
            return out(format!("it is {depth} links from a seed; depth is {}", self.depth_max));
        }
        if let Some(reason) = self.outside(url) {
            return ScopeVerdict::Out(Cow::Borrowed(reason));
        }
        if let Some(pattern) = self.exclude.iter().find(|pattern| pattern.is_match(url.as_str())) {
            return out(format!("it matches exclude \"{pattern}\""));
        }
        if depth > 0 && !self.include.is_empty() && !self.include.iter().any(|pattern| pattern.is_match(url.as_str())) {
            return ScopeVerdict::Out(Cow::Borrowed("it matches none of include"));
        }
        ScopeVerdict::In
    }

    fn outside(&self, url: &Url) -> Option<&'static str> {
        if !matches!(url.scheme(), "http" | "https") {
            return Some("it is neither http nor https");
        }
        if self.kind == ScopeKind::Any {
            return None;
        }
        let directories = self.span_of(url).and_then(|span| self.spans.get(&*span));
        match (self.kind, directories) {
            (ScopeKind::Domain, None) => Some("it is on another domain"),
            (_, None) => Some("it is on another host"),
            (ScopeKind::Prefix, Some(directories)) => {
                let path = url.path();
                // As many look-ups as the path has slashes, however many seeds there are.
                let within = path.match_indices('/').any(|(at, _)| directories.contains(&path[..=at]));
                (!within).then_some("it is outside the seed's directory")
            }
            _ => None,
        }
    }

    /// What `url` is told by under this kind of scope: host and port, or domain.
    fn span_of<'u>(&self, url: &'u Url) -> Option<Cow<'u, str>> {
        let host = url.host_str()?.trim_end_matches('.');
        match self.kind {
            ScopeKind::Domain => match url.host()? {
                Host::Domain(_) => Some(Cow::Borrowed(psl::domain_str(host).unwrap_or(host))),
                Host::Ipv4(_) | Host::Ipv6(_) => Some(Cow::Borrowed(host)),
            },
            _ => match url.port() {
                None => Some(Cow::Borrowed(host)),
                Some(port) => Some(Cow::Owned(format!("{host}:{port}"))),
            },
        }
    }
}

fn out(reason: String) -> ScopeVerdict {
    ScopeVerdict::Out(Cow::Owned(reason))
}

/// `path` up to and with its last slash.
fn directory(path: &str) -> &str {
    path.rfind('/').map_or("/", |at| &path[..=at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(kind: ScopeKind, seeds: &[&str]) -> ScopeRules {
        let seeds: Vec<Url> = seeds.iter().map(|seed| Url::parse(seed).expect("a test address parses")).collect();
        ScopeRules::new(kind, &seeds, &[], &[], 0)
    }

    #[track_caller]
    fn check(rules: &ScopeRules, url: &str, depth: u32, expected: Result<(), &str>) {
        let verdict = match rules.judge(&Url::parse(url).expect("a test address parses"), depth) {
            ScopeVerdict::In => Ok(()),
            ScopeVerdict::Out(reason) => Err(reason.into_owned()),
        };
        assert_eq!(verdict, expected.map_err(str::to_owned), "{url}");
    }

    const OTHER_HOST: Result<(), &str> = Err("it is on another host");
    const OTHER_DOMAIN: Result<(), &str> = Err("it is on another domain");
    const OTHER_DIRECTORY: Result<(), &str> = Err("it is outside the seed's directory");

    #[test]
    fn prefix_is_the_directory_of_any_seed() {
        let rules =
            rules(ScopeKind::Prefix, &["https://a.org/docs/en/index.html", "https://a.org/blog/", "http://b.org"]);
        for (url, expected) in [
            ("https://a.org/docs/en/", Ok(())),
            ("http://a.org/docs/en/x/y?z", Ok(())),
            ("https://a.org/docs/en", OTHER_DIRECTORY),
            ("https://a.org/docs/english/", OTHER_DIRECTORY),
            ("https://a.org/", OTHER_DIRECTORY),
            ("https://a.org/blog/1", Ok(())),
            ("https://b.org/anything/at/all", Ok(())),
            ("https://www.a.org/docs/en/", OTHER_HOST),
            ("ftp://a.org/docs/en/", Err("it is neither http nor https")),
        ] {
            check(&rules, url, 1, expected);
        }
    }

    #[test]
    fn host_is_name_and_port_under_both_schemes() {
        let rules = rules(ScopeKind::Host, &["http://127.0.0.1:7801/x/", "https://a.org/"]);
        for (url, expected) in [
            ("http://127.0.0.1:7801/", Ok(())),
            ("https://127.0.0.1:7801/", Ok(())),
            ("http://127.0.0.1:7802/", OTHER_HOST),
            ("http://127.0.0.1/", OTHER_HOST),
            ("http://a.org/b", Ok(())),
            ("http://a.org:8080/b", OTHER_HOST),
            ("http://www.a.org/b", OTHER_HOST),
        ] {
            check(&rules, url, 1, expected);
        }
    }

    #[test]
    fn domain_is_the_registrable_one() {
        let rules = rules(
            ScopeKind::Domain,
            &["https://www.example.co.uk/", "http://127.0.0.1:7801/", "http://localhost:1/", "http://me.github.io/"],
        );
        for (url, expected) in [
            ("http://shop.example.co.uk:8080/x", Ok(())),
            ("http://example.co.uk/x", Ok(())),
            ("http://other.co.uk/x", OTHER_DOMAIN),
            ("http://127.0.0.1:9/", Ok(())),
            ("http://127.0.0.2/", OTHER_DOMAIN),
            ("http://localhost/", Ok(())),
            ("http://you.github.io/", OTHER_DOMAIN),
        ] {
            check(&rules, url, 1, expected);
        }
    }

    #[test]
    fn patterns_and_depth_narrow_the_scope() {
        let regex = |pattern: &str| vec![Regex::new(pattern).expect("a test pattern compiles")];
        let rules = ScopeRules::new(ScopeKind::Any, &[], &regex("/product/"), &regex(r"\?sort="), 2);
        for (url, depth, expected) in [
            ("http://a.org/product/1", 2, Ok(())),
            ("http://a.org/product/1", 3, Err("it is 3 links from a seed; depth is 2")),
            ("http://a.org/", 0, Ok(())),
            ("http://a.org/", 1, Err("it matches none of include")),
            ("http://a.org/product/?sort=up", 1, Err(r#"it matches exclude "\?sort=""#)),
            ("http://a.org/?sort=up", 0, Err(r#"it matches exclude "\?sort=""#)),
        ] {
            check(&rules, url, depth, expected);
        }
    }

    #[test]
    fn a_seed_that_moved_takes_the_scope_with_it() {
        let mut rules = rules(ScopeKind::Host, &["http://a.org/"]);
        check(&rules, "https://www.a.org/x", 1, OTHER_HOST);
        rules.add_seed(&Url::parse("https://www.a.org/").expect("a test address parses"));
        check(&rules, "https://www.a.org/x", 1, Ok(()));
        check(&rules, "https://a.org/x", 1, Ok(()));
    }
}
