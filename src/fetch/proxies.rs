//! Through which proxy a request leaves.
//!
//! Enters: the addresses of the settings and the environment, and how requests through them went. Leaves: for an address, the way
//! to it. Deliberately absent: connections.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use url::Url;

use super::client::FetchSetupError;
use super::health::{self, Health};
use super::no_proxy::NoProxy;
use super::settings::{Proxy, Settings, WhichProxy};
use crate::clock::Timestamp;
use crate::exchange::Secret;
use crate::job::Origin;

/// Schemes that a proxy's address may have. `socks5` has names looked up here, `socks5h` by the proxy.
pub const PROXY_SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];

/// An address is none of a proxy. It may hold credentials, so it is not in the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is no address of a proxy: http://, https://, socks5:// or socks5h:// with a host, and a user and a password if need be"
)]
pub struct NoProxyAddress;

/// The address of a proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyAddress {
    url: Secret,
    /// How the connection to it is spoken.
    pub(super) kind: ProxyKind,
    name: Arc<str>,
    /// Its host as the resolver will see it.
    pub(super) host: String,
    pub(super) port: u16,
}

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProxyKind {
    /// HTTP: addresses in requests, tunnels for TLS.
    Http,
    /// SOCKS 5 (RFC 1928).
    Socks,
}

/// Without the credentials.
impl fmt::Debug for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl ProxyAddress {
    /// Reads an address. One without a scheme is that of an HTTP proxy, as in the environment.
    pub fn parse(text: &Secret) -> Result<Self, NoProxyAddress> {
        let text = text.0.trim();
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&full).map_err(|_| NoProxyAddress)?;
        let kind = match url.scheme() {
            "http" | "https" => ProxyKind::Http,
            "socks5" | "socks5h" => ProxyKind::Socks,
            _ => return Err(NoProxyAddress),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(NoProxyAddress)?.to_ascii_lowercase();
        // RFC 1928 gives SOCKS this port; for HTTP proxies the default of the scheme is what all programs take.
        let port = url.port_or_known_default().unwrap_or(1080);
        let scheme = if url.scheme() == "http" { String::new() } else { format!("{}://", url.scheme()) };
        let name = format!("{scheme}{host}:{port}").into();
        Ok(Self { url: Secret(full), kind, name, host, port })
    }

    /// Its address without credentials, and without the scheme of a plain HTTP proxy: `10.0.0.1:3128`, `socks5://b.example:1080`.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether its address has a user or a password.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        Url::parse(&self.url.0).is_ok_and(|url| !url.username().is_empty() || url.password().is_some())
    }

    /// The whole address.
    pub(super) fn url(&self) -> &str {
        &self.url.0
    }
}

/// The way of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Straight to its host.
    Straight,
    /// As the settings of the system have it (macOS, Windows).
    System,
    /// Through the proxy at this place.
    Through(usize),
}

/// The ways that some hosts have.
#[derive(Clone, Debug)]
enum Choice {
    System,
    Straight,
    /// By the scheme of the request.
    Env {
        http: Option<usize>,
        https: Option<usize>,
        except: NoProxy,
    },
    /// One of these.
    List {
        ids: Vec<usize>,
        except: NoProxy,
    },
}

/// All proxies, and which are for whom.
pub(super) struct Proxies {
    all: Vec<ProxyAddress>,
    general: Choice,
    of_hosts: Vec<Choice>,
    which: WhichProxy,
    health: Mutex<Vec<Health>>,
}

impl Proxies {
    pub(super) fn new(settings: &Settings) -> Result<Self, FetchSetupError> {
        let mut all = Vec::new();
        // What is said of all hosts has the exceptions of the environment; what is said of one was meant for it.
        let general = choice(&settings.proxy, NoProxy::from_env(), &mut all)?;
        let of_hosts = settings.host_proxies.sets.iter().map(|proxy| choice(proxy, NoProxy::default(), &mut all));
        let of_hosts = of_hosts.collect::<Result<Vec<_>, _>>()?;
        let health = Mutex::new(vec![Health::default(); all.len()]);
        Ok(Self { all, general, of_hosts, which: Arc::clone(&settings.host_proxies.which), health })
    }

    pub(super) fn all(&self) -> &[ProxyAddress] {
        &self.all
    }

    /// The hosts of all of them: connections go there whatever their addresses are, since the user named them.
    pub(super) fn hosts(&self) -> BTreeSet<String> {
        self.all.iter().map(|proxy| proxy.host.clone()).collect()
    }

    /// The way to `url` at `now`, or when it is worth asking again.
    pub(super) fn way(&self, url: &Url, now: Timestamp) -> Result<Way, Timestamp> {
        let choice = Origin::of(url).map_or(&self.general, |origin| self.choice(&origin));
        let one;
        let (ids, except): (&[usize], _) = match choice {
            Choice::System => return Ok(Way::System),
            Choice::Straight => return Ok(Way::Straight),
            Choice::Env { http, https, except } => {
                one = if url.scheme() == "https" { *https } else { *http };
                (one.as_slice(), except)
            }
            Choice::List { ids, except } => (ids, except),
        };
        if ids.is_empty() || except.holds(url) {
            return Ok(Way::Straight);
        }
        let number = |id: usize| self.number(id);
        health::choose(ids, &self.health(), number, url.host_str().unwrap_or_default(), now).map(Way::Through)
    }

    fn choice(&self, origin: &Origin) -> &Choice {
        let own = if self.of_hosts.is_empty() { None } else { (self.which)(origin) };
        own.and_then(|set| self.of_hosts.get(set)).unwrap_or(&self.general)
    }

    fn number(&self, id: usize) -> u64 {
        let mut hasher = siphasher::sip::SipHasher13::new();
        std::hash::Hasher::write(&mut hasher, self.all[id].name.as_bytes());
        std::hash::Hasher::finish(&hasher)
    }

    /// The names of those that may carry requests to `origin`, in the order in which [`Self::way`] takes them; none where there is no
    /// choice.
    pub(super) fn choice_for(&self, origin: &Origin) -> Vec<Arc<str>> {
        let Choice::List { ids, except } = self.choice(origin) else { return Vec::new() };
        let Ok(url) = origin.join("/") else { return Vec::new() };
        if ids.len() < 2 || except.holds(&url) {
            return Vec::new();
        }
        let host = url.host_str().unwrap_or_default();
        let mut ids = ids.clone();
        ids.sort_by_key(|&id| std::cmp::Reverse(health::weight(self.number(id), host)));
        ids.dedup();
        ids.into_iter().map(|id| Arc::clone(&self.all[id].name)).collect()
    }

    /// The way by the proxy of this name at `now`, or when it is worth asking again.
    pub(super) fn way_by(&self, name: &str, now: Timestamp) -> Result<Way, Timestamp> {
        let Some(id) = self.all.iter().position(|proxy| *proxy.name == *name) else { return Err(Timestamp::NEVER) };
        health::rests_until(&self.health()[id], now).map_or(Ok(Way::Through(id)), Err)
    }

    /// A request is about to go through the proxy at `id`.
    pub(super) fn begin(&self, id: usize, now: Timestamp) {
        health::begin(&mut self.health()[id], now);
    }

    /// The proxy at `id` carried a request.
    pub(super) fn worked(&self, id: usize) {
        if self.health()[id].worked() {
            tracing::info!("the proxy {} works again", self.all[id].name);
        }
    }

    /// A request that was sent at `sent_at` failed by the fault of the proxy at `id`.
    pub(super) fn failed(&self, id: usize, why: &str, sent_at: Timestamp, now: Timestamp) {
        let rest_ms = self.health()[id].failed(sent_at, now);
        self.tell(id, rest_ms, why);
    }

    /// Nothing came back through the proxy at `id`, which may be its fault or that of the host.
    pub(super) fn silent(&self, id: usize, sent_at: Timestamp, now: Timestamp) {
        let rest_ms = self.health()[id].silent(sent_at, now);
        self.tell(id, rest_ms, "nothing comes back through it");
    }

    fn tell(&self, id: usize, rest_ms: Option<u64>, why: &str) {
        if let Some(rest_ms) = rest_ms {
            let rest = humantime::format_duration(std::time::Duration::from_millis(rest_ms));
            tracing::warn!("the proxy {} rests {rest}: {why}", self.all[id].name);
        }
    }

    fn health(&self) -> MutexGuard<'_, Vec<Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn choice(proxy: &Proxy, except: NoProxy, all: &mut Vec<ProxyAddress>) -> Result<Choice, FetchSetupError> {
    Ok(match proxy {
        Proxy::None => Choice::Straight,
        Proxy::System => {
            let get = |names: &[&str]| {
                names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
            };
            // In a CGI script, HTTP_PROXY is a header of the request that it serves (httpoxy.org).
            let http =
                if std::env::var_os("REQUEST_METHOD").is_some() { None } else { get(&["HTTP_PROXY", "http_proxy"]) };
            let https = get(&["HTTPS_PROXY", "https_proxy"]);
            let rest = get(&["ALL_PROXY", "all_proxy"]);
            if http.is_none() && https.is_none() && rest.is_none() {
                return Ok(Choice::System);
            }
            let mut place = |address: Option<String>| {
                address.or_else(|| rest.clone()).map(|address| place(&Secret(address), all)).transpose()
            };
            Choice::Env { http: place(http)?, https: place(https)?, except }
        }
        Proxy::List(addresses) => {
            let ids = addresses.iter().map(|address| place(address, all)).collect::<Result<Vec<_>, _>>()?;
            Choice::List { ids, except }
        }
    })
}

/// The place of a proxy among `all`: one that is named twice is one.
fn place(address: &Secret, all: &mut Vec<ProxyAddress>) -> Result<usize, FetchSetupError> {
    let mut proxy = ProxyAddress::parse(address).map_err(|cause| FetchSetupError::Proxy { source: Box::new(cause) })?;
    let same = |known: &ProxyAddress| known.url == proxy.url;
    Ok(all.iter().position(same).unwrap_or_else(|| {
        // Some providers have one address, and another way out for each name that one logs in by.
        let (name, mut number) = (Arc::clone(&proxy.name), 1);
        while all.iter().any(|known| known.name == proxy.name) {
            number += 1;
            proxy.name = format!("{name} ({number})").into();
        }
        all.push(proxy);
        all.len() - 1
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_proxy_has_no_credentials() {
        for (address, name, has_credentials) in [
            ("http://u:hunter2@Proxy.local:3128", "proxy.local:3128", true),
            ("proxy.local:3128", "proxy.local:3128", false),
            ("https://proxy.local", "https://proxy.local:443", false),
            ("socks5h://u@proxy.local", "socks5h://proxy.local:1080", true),
            ("socks5://[::1]:9050", "socks5://[::1]:9050", false),
        ] {
            let proxy = ProxyAddress::parse(&Secret(address.to_owned())).expect("a test address parses");
            assert_eq!((&**proxy.name(), proxy.has_credentials()), (name, has_credentials));
            assert!(!format!("{proxy:?}").contains("hunter2"));
        }
        for address in ["", "http://", "ftp://a.org", "socks4://a.org", "http://a.org:99999", "http://u:p@:80:80"] {
            assert_eq!(ProxyAddress::parse(&Secret(address.to_owned())).err(), Some(NoProxyAddress), "{address}");
        }
    }

    #[test]
    fn a_rule_for_a_host_goes_before_the_proxies_of_all() {
        let list = |names: &[&str]| Proxy::List(names.iter().map(|&name| Secret(name.to_owned())).collect());
        let mut settings = Settings { proxy: list(&["a.local:1", "b.local:1"]), ..Settings::default() };
        settings.host_proxies.sets = vec![Proxy::None, list(&["b.local:1", "socks5://c.local:2"])];
        settings.host_proxies.which = Arc::new(|origin| match origin.as_str() {
            "http://straight.org" => Some(0),
            "http://own.org" => Some(1),
            _ => None,
        });
        let proxies = Proxies::new(&settings).expect("the addresses are good");
        let names: Vec<&str> = proxies.all().iter().map(|proxy| &**proxy.name()).collect();
        assert_eq!(names, ["a.local:1", "b.local:1", "socks5://c.local:2"]);
        let way = |url: &str, now| proxies.way(&Url::parse(url).expect("a test address parses"), Timestamp(now));
        assert_eq!(way("http://straight.org/", 0), Ok(Way::Straight));
        assert!(matches!(way("http://own.org/", 0), Ok(Way::Through(1 | 2))));
        assert!(matches!(way("http://any.org/", 0), Ok(Way::Through(0 | 1))));
        // One that fails rests for all who share it.
        proxies.failed(1, "a test", Timestamp(0), Timestamp(0));
        assert_eq!((way("http://own.org/", 1), way("http://any.org/", 1)), (Ok(Way::Through(2)), Ok(Way::Through(0))));
        proxies.failed(2, "a test", Timestamp(0), Timestamp(500));
        assert_eq!(way("http://own.org/", 600), Err(Timestamp(1_000)));
    }
}
