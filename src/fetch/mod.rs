//! The only room that knows HTTP.
//!
//! Enters: an [`exchange::Request`](crate::exchange::Request). Leaves: an answer with its body decoded and capped, or one
//! word about why there is none. One call is one hop and one attempt: redirects, retries, cookies and waits are decided
//! elsewhere, and no type of the HTTP library leaves this room. Three things are settled here, since they are no matter of the
//! host's: a proxy that cannot be reached gives way to another, unless the caller has named it; an access token is renewed; and a body
//! that the server does not take compressed goes as it is. Each sends a request once more at most. Deliberately absent: methods other
//! than GET and POST.

#[cfg(test)]
mod auth_tests;
mod body;
mod client;
mod coding;
mod credentials;
mod error;
mod health;
mod http;
mod no_proxy;
mod oauth;
mod payload;
mod proxies;
#[cfg(test)]
mod proxy_tests;
mod resolve;
mod settings;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use client::FetchSetupError;
pub use credentials::{Auth, Credential, KeyPlace};
pub use http::HttpFetcher;
pub use oauth::{ClientAuth, Grant, OAuth2};
pub use proxies::{NoProxyAddress, PROXY_SCHEMES, ProxyAddress};
pub use settings::{Coding, HostProxies, Proxy, Settings, WhichProxy};
