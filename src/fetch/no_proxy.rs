//! `NO_PROXY`: the hosts that are reached without a proxy.
//!
//! There is no standard; the rules are those of curl (its manual, section "Environment"), with blanks as separators and ports as
//! other programs have them.

use std::net::IpAddr;

use url::{Host, Url};

/// The hosts that the variable names.
#[derive(Clone, Debug, Default)]
pub(super) struct NoProxy {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    what: What,
    port: Option<u16>,
}

#[derive(Clone, Debug)]
enum What {
    /// `*`
    All,
    /// An address, or a network by its first so many bits.
    Network(IpAddr, u32),
    /// A name and all below it, in lower case without a dot in front.
    Name(String),
}

impl NoProxy {
    /// What the environment says.
    pub(super) fn from_env() -> Self {
        let value = ["NO_PROXY", "no_proxy"].into_iter().find_map(|name| std::env::var(name).ok());
        Self::parse(&value.unwrap_or_default())
    }

    pub(super) fn parse(text: &str) -> Self {
        let words = text.split([',', ' ', '\t']).map(str::trim).filter(|word| !word.is_empty());
        Self { entries: words.map(Entry::parse).collect() }
    }

    /// Whether `url` is reached without a proxy.
    pub(super) fn holds(&self, url: &Url) -> bool {
        self.entries.iter().any(|entry| entry.holds(url))
    }
}

impl Entry {
    fn parse(word: &str) -> Self {
        if word == "*" {
            return Self { what: What::All, port: None };
        }
        if let Some(network) = network(word) {
            return Self { what: network, port: None };
        }
        let (name, port) = match word.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => (name, port.parse().ok()),
            _ => (word, None),
        };
        let what = network(name).unwrap_or_else(|| {
            let name = name.strip_prefix("*.").or_else(|| name.strip_prefix('.')).unwrap_or(name);
            What::Name(name.trim_end_matches('.').to_ascii_lowercase())
        });
        Self { what, port }
    }

    fn holds(&self, url: &Url) -> bool {
        if self.port.is_some() && self.port != url.port_or_known_default() {
            return false;
        }
        match (&self.what, url.host()) {
            (What::All, _) => true,
            (What::Network(network, bits), Some(Host::Ipv4(address))) => is_in(address.into(), *network, *bits),
            (What::Network(network, bits), Some(Host::Ipv6(address))) => is_in(address.into(), *network, *bits),
            (What::Name(name), Some(Host::Domain(host))) => {
                let host = host.trim_end_matches('.');
                host == name || host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
            _ => false,
        }
    }
}

/// `10.0.0.0/8`, `::1`, `[::1]`.
fn network(word: &str) -> Option<What> {
    let (address, bits) = word.split_once('/').map_or((word, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    let all = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(all), |bits| bits.parse().ok().filter(|bits| *bits <= all))?;
    Some(What::Network(address, bits))
}

fn is_in(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (one, other, width) = match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (u128::from(one.to_bits()), u128::from(other.to_bits()), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits(), other.to_bits(), 128),
        _ => return false,
    };
    (one ^ other).checked_shr(width - bits).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(list: &str, url: &str, expected: bool) {
        let url = Url::parse(url).expect("a test address parses");
        assert_eq!(NoProxy::parse(list).holds(&url), expected, "{list} {url}");
    }

    #[test]
    fn no_proxy_names_hosts_networks_and_ports() {
        check("", "http://a.org/", false);
        check("*", "http://a.org/", true);
        check("a.org", "http://a.org/", true);
        check(".a.org,*.b.org", "http://a.org/", true);
        check(".a.org, *.b.org", "http://x.b.org/", true);
        check("A.org", "https://www.a.org:8080/", true);
        check("a.org", "http://nota.org/", false);
        check("a.org:8080", "http://a.org:8080/", true);
        check("a.org:443", "https://a.org/", true);
        check("a.org:8080", "http://a.org/", false);
        check("127.0.0.1", "http://127.0.0.1:9/", true);
        check("10.0.0.0/8", "http://10.200.3.4/", true);
        check("10.0.0.0/8", "http://11.0.0.1/", false);
        check("0.0.0.0/0", "http://11.0.0.1/", true);
        check("::1", "http://[::1]:8080/", true);
        check("[fd00::]/16", "http://[fd12::1]/", false);
        check("fd00::/8", "http://[fd12::1]/", true);
        check("1.2.3.4", "http://[::1]/", false);
        check("127.0.0.1:80", "http://127.0.0.1/", true);
    }
}
