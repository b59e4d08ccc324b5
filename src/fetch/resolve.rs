//! Names to addresses, with the private ones left out where a request may not go there.
//!
//! The check sits in the resolver that the connection itself uses: a name that answers with a public address first and with
//! a private one a moment later (DNS rebinding) gains nothing. Addresses written as numbers never reach a resolver, so they are
//! checked before the request is made.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Says whether an address lies in the public internet.
pub(super) type IsPublic = fn(IpAddr) -> bool;

/// The name has no address.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NameError(String);

/// The name has private addresses only.
#[derive(Debug, thiserror::Error)]
#[error("{0} has no public address")]
pub(super) struct PrivateError(pub(super) String);

/// The system's resolver, filtered.
pub(super) struct Resolver {
    /// None lets every address pass.
    is_public: Option<IsPublic>,
    /// Hosts of the proxies: connections go to them whatever their addresses are, since the user named them.
    proxy_hosts: Arc<BTreeSet<String>>,
}

impl Resolver {
    /// A resolver that lets every address pass.
    pub(super) fn open() -> Self {
        Self { is_public: None, proxy_hosts: Arc::default() }
    }

    /// A resolver that lets public addresses pass, and any address of a proxy.
    pub(super) fn public(is_public: IsPublic, proxy_hosts: Arc<BTreeSet<String>>) -> Self {
        Self { is_public: Some(is_public), proxy_hosts }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let filter = self.is_public.filter(|_| !self.proxy_hosts.contains(&name));
        Box::pin(async move {
            let found = match tokio::net::lookup_host((name.as_str(), 0)).await {
                Ok(found) => found,
                Err(cause) => return Err(NameError(words_of_look_up(&cause)).into()),
            };
            let mut addresses: Vec<SocketAddr> = found.collect();
            if addresses.is_empty() {
                return Err(NameError("the name exists, but has no address".to_owned()).into());
            }
            if let Some(is_public) = filter {
                addresses.retain(|address| is_public(address.ip()));
                if addresses.is_empty() {
                    return Err(PrivateError(name).into());
                }
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// The system's sentence without the prefix that says the same as our own.
fn words_of_look_up(cause: &std::io::Error) -> String {
    let words = cause.to_string();
    words.strip_prefix("failed to lookup address information: ").unwrap_or(&words).to_owned()
}

/// Refuses what can be seen without a look-up: a private address written as a number, and the name of a proxy, which the
/// resolver would let pass.
pub(super) fn refuse_private(
    url: &Url,
    is_public: IsPublic,
    proxy_hosts: &BTreeSet<String>,
) -> Result<(), PrivateError> {
    let public = match url.host() {
        Some(Host::Ipv4(address)) => is_public(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => is_public(IpAddr::V6(address)),
        Some(Host::Domain(name)) => !proxy_hosts.contains(name),
        None => true,
    };
    if public { Ok(()) } else { Err(PrivateError(url.host_str().unwrap_or_default().to_owned())) }
}
