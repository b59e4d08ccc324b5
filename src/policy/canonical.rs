//! One address for one page: the form in which addresses are stored, compared and sent.

use url::Url;

use super::percent;

/// What a site's addresses may look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlRules {
    /// Whether parameters that only tell where a visitor came from (`utm_*`, `gclid`, ...) are taken out. Default false: a
    /// site may give them a meaning.
    pub strip_tracking: bool,
    /// The longest address that is fetched, in bytes. Default 2,000: the longest that all parts of the web were ever known
    /// to carry; longer ones are mostly traps.
    pub url_bytes_max: usize,
    /// The most path segments that an address may have. Default 30.
    pub path_depth_max: usize,
}

impl Default for UrlRules {
    fn default() -> Self {
        Self { strip_tracking: false, url_bytes_max: 2_000, path_depth_max: 30 }
    }
}

/// Why an address is not fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlRejected {
    /// Neither http nor https.
    #[error("its scheme is {0}, not http or https")]
    Scheme(String),
    /// Its host is empty, or nothing but dots.
    #[error("it names no host")]
    NoHost,
    /// Longer than the rules allow.
    #[error("it is {bytes} bytes long; at most {bytes_max} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The rule.
        bytes_max: usize,
    },
    /// More segments than the rules allow.
    #[error("its path has {segments} segments; at most {segments_max} are allowed")]
    TooDeep {
        /// How many it has.
        segments: usize,
        /// The rule.
        segments_max: usize,
    },
    /// The same segments again and again: relative links that are resolved against an ever deeper page.
    #[error("its path repeats \"{block}\" {times} times, which looks like a trap")]
    Repeats {
        /// What is repeated.
        block: String,
        /// How often at least.
        times: usize,
    },
}

/// Parameters that say where a visitor came from and nothing about the page, beside all that start with `utm_`.
/// Source: what the advertising and mail services document; the same names are in the lists of browsers that strip them.
const TRACKING: [&str; 18] = [
    "_ga",
    "_gl",
    "_hsenc",
    "_hsmi",
    "dclid",
    "fbclid",
    "gad_source",
    "gbraid",
    "gclid",
    "gclsrc",
    "igshid",
    "mc_cid",
    "mc_eid",
    "mkt_tok",
    "msclkid",
    "twclid",
    "wbraid",
    "yclid",
];

/// The one spelling of `url`, or why it is not fetched. Taken out: fragment, user info, the dots that end a host name, an empty
/// query, tracking parameters by option. Percent-encoding gets one spelling; default ports and dot segments (`%2e` as well)
/// went when the address was parsed. The order of parameters and repeated slashes stay: servers give them a meaning.
///
/// Doing it twice changes nothing more. An address that is canonical already is returned without an allocation.
pub fn canonicalize(mut url: Url, rules: &UrlRules) -> Result<Url, UrlRejected> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(UrlRejected::Scheme(url.scheme().to_owned()));
    }
    normalize(&mut url)?;
    if rules.strip_tracking {
        strip_tracking(&mut url);
    }
    let bytes = url.as_str().len();
    if bytes > rules.url_bytes_max {
        return Err(UrlRejected::TooLong { bytes, bytes_max: rules.url_bytes_max });
    }
    let segments = url.path().bytes().filter(|&byte| byte == b'/').count();
    if segments > rules.path_depth_max {
        return Err(UrlRejected::TooDeep { segments, segments_max: rules.path_depth_max });
    }
    check_repeats(url.path())?;
    Ok(url)
}

/// The spelling alone, without the rules of a site.
pub(super) fn normalize(url: &mut Url) -> Result<(), UrlRejected> {
    const HAS_HOST: &str = "an http address has a host, so it can have or lose these parts";
    if url.fragment().is_some() {
        url.set_fragment(None);
    }
    if !url.username().is_empty() {
        url.set_username("").expect(HAS_HOST);
    }
    if url.password().is_some() {
        url.set_password(None).expect(HAS_HOST);
    }
    let host = url.host_str().ok_or(UrlRejected::NoHost)?;
    if host.ends_with('.') {
        let host = host.trim_end_matches('.').to_owned();
        // Without its dots a name can turn into an IP address; the parser sees to that.
        if host.is_empty() || url.set_host(Some(&host)).is_err() {
            return Err(UrlRejected::NoHost);
        }
    }
    if !percent::is_normal(url.path()) {
        let mut path = String::with_capacity(url.path().len());
        percent::push_normal(&mut path, url.path());
        url.set_path(&path);
    }
    match url.query() {
        Some("") => url.set_query(None),
        Some(query) if !percent::is_normal(query) => {
            let mut normal = String::with_capacity(query.len());
            percent::push_normal(&mut normal, query);
            url.set_query(Some(&normal));
        }
        _ => {}
    }
    Ok(())
}

fn strip_tracking(url: &mut Url) {
    let Some(query) = url.query() else { return };
    if !query.split('&').any(is_tracking) {
        return;
    }
    let mut kept = String::with_capacity(query.len());
    for pair in query.split('&').filter(|pair| !is_tracking(pair)) {
        if !kept.is_empty() {
            kept.push('&');
        }
        kept.push_str(pair);
    }
    url.set_query(Some(kept.as_str()).filter(|kept| !kept.is_empty()));
}

fn is_tracking(pair: &str) -> bool {
    let name = pair.split_once('=').map_or(pair, |(name, _)| name);
    name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("utm_"))
        || TRACKING.iter().any(|tracking| name.eq_ignore_ascii_case(tracking))
}

/// A trap is one segment four times in a row (a date can have three: `/11/11/11`), or two to eight segments three times.
/// Reads the path once per length, so at most eight times.
fn check_repeats(path: &str) -> Result<(), UrlRejected> {
    let segments = || path.split('/').skip(1);
    let count = segments().count();
    for len in 1..=8_usize {
        let times = if len == 1 { 4 } else { 3 };
        if count < len * times {
            break;
        }
        let mut equal = 0;
        for (at, (before, after)) in segments().zip(segments().skip(len)).enumerate() {
            equal = if before == after { equal + 1 } else { 0 };
            if equal == len * (times - 1) {
                let first = at + 1 - equal;
                let block = segments().skip(first).take(len).fold(String::new(), |block, next| block + "/" + next);
                return Err(UrlRejected::Repeats { block, times });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(url: &str) -> Url {
        Url::parse(url).expect("a test address parses")
    }

    #[track_caller]
    fn check(url: &str, expected: &str) {
        let canonical = canonicalize(parse(url), &UrlRules::default()).map(|url| url.to_string());
        assert_eq!(canonical, Ok(expected.to_owned()), "{url}");
    }

    #[track_caller]
    fn check_rejected(url: &str, expected: &str) {
        let rejected = canonicalize(parse(url), &UrlRules::default()).expect_err("it is to be rejected");
        assert_eq!(rejected.to_string(), expected, "{url}");
    }

    #[test]
    fn an_address_has_one_spelling() {
        for (url, expected) in [
            ("HTTP://EXAMPLE.org:80", "http://example.org/"),
            ("https://example.org:443/#top", "https://example.org/"),
            ("https://example.org:80/", "https://example.org:80/"),
            ("http://user:pass@example.org/a", "http://example.org/a"),
            ("http://:pass@example.org/a", "http://example.org/a"),
            ("http://example.org./a", "http://example.org/a"),
            ("http://example.org../a", "http://example.org/a"),
            ("http://127.0.0.1../a", "http://127.0.0.1/a"),
            ("http://0x7f.1/", "http://127.0.0.1/"),
            ("http://2130706433/", "http://127.0.0.1/"),
            ("http://EXAMPLE.org/%2e%2E/a/./b/../c", "http://example.org/a/c"),
            ("http://example.org/a/%2e", "http://example.org/a/"),
            ("http://example.org\\a\\b", "http://example.org/a/b"),
            ("http://example.org/\ta\n b ", "http://example.org/a%20b"),
            ("http://example.org/%7ejoe/%c3%bc", "http://example.org/~joe/%C3%BC"),
            ("http://example.org/ü", "http://example.org/%C3%BC"),
            ("http://bücher.example/", "http://xn--bcher-kva.example/"),
            ("http://example.org/a%2fb", "http://example.org/a%2Fb"),
            ("http://example.org/a//b", "http://example.org/a//b"),
            ("http://example.org/100%", "http://example.org/100%25"),
            ("http://example.org/a?", "http://example.org/a"),
            ("http://example.org/a?#x", "http://example.org/a"),
            ("http://example.org/a?b=c d&x[]='1'", "http://example.org/a?b=c%20d&x%5B%5D=%271%27"),
            ("http://example.org/a?b=%7E+%2b", "http://example.org/a?b=~+%2B"),
            ("http://example.org/a?b=2&a=1&&", "http://example.org/a?b=2&a=1&&"),
            ("http://example.org/a;v=1?x=/?", "http://example.org/a;v=1?x=/?"),
        ] {
            check(url, expected);
        }
    }

    #[test]
    fn tracking_parameters_go_only_by_option() {
        let rules = UrlRules { strip_tracking: true, ..UrlRules::default() };
        for (url, expected) in [
            ("http://a.org/?utm_source=x&id=1&gclid=2&UTM_X", "http://a.org/?id=1"),
            ("http://a.org/?fbclid=1", "http://a.org/"),
            ("http://a.org/?utm=1&reutm_x=2", "http://a.org/?utm=1&reutm_x=2"),
            ("http://a.org/?a&&b", "http://a.org/?a&&b"),
        ] {
            assert_eq!(canonicalize(parse(url), &rules).map(|url| url.to_string()), Ok(expected.to_owned()));
            check(url, url);
        }
    }

    #[test]
    fn what_cannot_be_a_page_is_rejected_with_its_reason() {
        check_rejected("mailto:a@example.org", "its scheme is mailto, not http or https");
        check_rejected("javascript:void(0)", "its scheme is javascript, not http or https");
        check_rejected("http://../", "it names no host");
        check_rejected(
            &format!("http://a.org/{}", "x".repeat(2_000)),
            "it is 2013 bytes long; at most 2000 are allowed",
        );
        let deep: Vec<String> = (0..31).map(|n| format!("/{n}")).collect();
        check_rejected(&format!("http://a.org{}", deep.concat()), "its path has 31 segments; at most 30 are allowed");
    }

    #[test]
    fn a_path_that_goes_round_is_a_trap() {
        check_rejected("http://a.org/x/x/x/x", "its path repeats \"/x\" 4 times, which looks like a trap");
        check_rejected("http://a.org/q/a/b/a/b/a/b/", "its path repeats \"/a/b\" 3 times, which looks like a trap");
        check_rejected(
            "http://a.org/a/b/c/a/b/c/a/b/c?x",
            "its path repeats \"/a/b/c\" 3 times, which looks like a trap",
        );
        check_rejected("http://a.org/////", "its path repeats \"/\" 4 times, which looks like a trap");
        for fine in ["http://a.org/11/11/11", "http://a.org/a/b/a/b", "http://a.org/a/b/a/c/a/b/a/d"] {
            check(fine, fine);
        }
    }

    /// Segments of a path with every `%XX` decoded and every other `%` as itself.
    fn meaning(path: &str) -> Vec<Vec<u8>> {
        let digit = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
        path.split('/')
            .map(|segment| {
                let mut bytes = segment.as_bytes();
                let mut meaning = Vec::new();
                while let [first, rest @ ..] = bytes {
                    bytes = rest;
                    match (first, digit(rest.first()), digit(rest.get(1))) {
                        (b'%', Some(high), Some(low)) => {
                            meaning.push(u8::try_from(high * 16 + low).expect("two digits make a byte"));
                            bytes = &rest[2..];
                        }
                        _ => meaning.push(*first),
                    }
                }
                meaning
            })
            .collect()
    }

    proptest! {
        #[test]
        fn twice_is_once_and_the_meaning_stays(
            host in "[a-z]{1,3}(\\.org)?\\.{0,2}",
            path in "(/([a-c.]|%[0-9a-fA-F]{2}|%|[ -~]|\\PC){0,5}){0,6}",
            query in proptest::option::of("([a-c&=]|%[0-9a-f]{2}|%|[ -~]|utm_|\\PC){0,12}"),
            strip_tracking: bool,
        ) {
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            let Ok(url) = Url::parse(&format!("http://{host}{path}{query}")) else { return Ok(()) };
            let rules = UrlRules { strip_tracking, ..UrlRules::default() };
            let Ok(once) = canonicalize(url.clone(), &rules) else { return Ok(()) };
            prop_assert_eq!(canonicalize(once.clone(), &rules), Ok(once.clone()));
            prop_assert_eq!(Url::parse(once.as_str()), Ok(once.clone()));
            prop_assert_eq!(meaning(url.path()), meaning(once.path()));
        }

        #[test]
        fn no_address_makes_it_panic(text in "\\PC{0,60}") {
            if let Ok(url) = Url::parse(&text) {
                drop(canonicalize(url, &UrlRules::default()));
            }
        }
    }
}
