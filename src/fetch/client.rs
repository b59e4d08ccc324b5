//! The two HTTP clients: one that reaches public addresses only, one that reaches all.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, NoProxy};
use url::Url;

use super::resolve::{IsPublic, Resolver};
use super::settings::{Proxy, Settings};

/// How long an unused connection is kept, in ms. Shorter than the 90 s of the library: a crawl of many hosts would run out
/// of sockets; longer than nearly every delay that a host asks for between two requests.
const POOL_IDLE_MS: u64 = 30_000;

/// Longest list of headers over HTTP/2, in bytes; over HTTP/1 the library stops at about 400 KiB.
const H2_HEADER_BYTES_MAX: u32 = 64 << 10;

/// Why the room could not be set up: the configuration is wrong, or the system lacks something.
#[derive(Debug, thiserror::Error)]
pub enum FetchSetupError {
    /// A setting is no valid header value.
    #[error("use the setting {setting}, which has characters that no header may hold")]
    Header {
        /// Name of the setting.
        setting: &'static str,
    },
    /// The proxy's address is not one. It may hold credentials, so it is not shown.
    #[error("read the address of the proxy")]
    Proxy {
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The HTTP client cannot be made.
    #[error("set up the HTTP client")]
    Client {
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Both clients. Their connection pools are apart, so a connection to a private address is never reused for a request that
/// may not go there.
pub(super) struct Clients {
    pub(super) public: Client,
    pub(super) open: Client,
    pub(super) proxy_hosts: Arc<BTreeSet<String>>,
}

impl Clients {
    pub(super) fn new(settings: &Settings, is_public: IsPublic) -> Result<Self, FetchSetupError> {
        // The first provider of the process wins; a second one is not an error, both speak TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let proxy_hosts = Arc::new(proxy_hosts(settings)?);
        Ok(Self {
            public: build(settings, || Resolver::public(is_public, Arc::clone(&proxy_hosts)))?,
            open: build(settings, Resolver::open)?,
            proxy_hosts,
        })
    }
}

fn build(settings: &Settings, resolver: impl Fn() -> Resolver) -> Result<Client, FetchSetupError> {
    match builder(settings, resolver())?.build() {
        Ok(client) => Ok(client),
        // A machine without root certificates, such as a bare container, can still crawl plain HTTP.
        Err(cause) => match builder(settings, resolver())?.tls_backend_preconfigured(trusting_nobody()?).build() {
            Ok(client) => {
                tracing::warn!(%cause, "no root certificates on this machine: https will fail, http works");
                Ok(client)
            }
            Err(_) => Err(FetchSetupError::Client { source: Box::new(cause.without_url()) }),
        },
    }
}

fn builder(settings: &Settings, resolver: Resolver) -> Result<ClientBuilder, FetchSetupError> {
    let builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .dns_resolver(Arc::new(resolver))
        .connect_timeout(Duration::from_millis(settings.connect_timeout_ms))
        .pool_max_idle_per_host(usize::MAX)
        .pool_idle_timeout(Duration::from_millis(POOL_IDLE_MS))
        .tcp_nodelay(true)
        .http2_max_header_list_size(H2_HEADER_BYTES_MAX)
        // What browsers forgive, a crawler has to forgive.
        .http1_ignore_invalid_headers_in_responses(true)
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .gzip(true)
        .brotli(true)
        .zstd(true)
        // It knows only one of the two forms of deflate that servers send.
        .deflate(false);
    Ok(match &settings.proxy {
        Proxy::System => builder,
        Proxy::None => builder.no_proxy(),
        Proxy::Url(url) => builder.proxy(
            reqwest::Proxy::all(url.0.as_str())
                .map_err(|cause| FetchSetupError::Proxy { source: Box::new(cause.without_url()) })?
                .no_proxy(NoProxy::from_env()),
        ),
    })
}

/// A TLS set-up without any root certificate.
fn trusting_nobody() -> Result<rustls::ClientConfig, FetchSetupError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| FetchSetupError::Client { source: Box::new(cause) })?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Hosts of the proxies, as the resolver will see them. The system settings of macOS and Windows are not seen here: a proxy
/// that is set there, has a private address and is named rather than numbered is refused for public pages.
fn proxy_hosts(settings: &Settings) -> Result<BTreeSet<String>, FetchSetupError> {
    let addresses: Vec<String> = match &settings.proxy {
        Proxy::None => Vec::new(),
        Proxy::Url(url) => {
            let host = host_of(&url.0).ok_or_else(|| FetchSetupError::Proxy { source: "it names no host".into() })?;
            return Ok(BTreeSet::from([host]));
        }
        Proxy::System => ["http_proxy", "https_proxy", "all_proxy"]
            .into_iter()
            .flat_map(|name| [name.to_owned(), name.to_ascii_uppercase()])
            .filter_map(|name| std::env::var(name).ok())
            .collect(),
    };
    Ok(addresses.iter().filter_map(|address| host_of(address)).collect())
}

/// The host of an address that may lack its scheme, as proxies are often written.
fn host_of(address: &str) -> Option<String> {
    let url = if address.contains("://") { Url::parse(address) } else { Url::parse(&format!("http://{address}")) };
    url.ok()?.host_str().map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Secret;

    #[test]
    fn a_machine_without_root_certificates_still_gets_a_client() {
        let settings = Settings::default();
        let config = trusting_nobody().expect("ring supports the default versions of TLS");
        let builder = builder(&settings, Resolver::open()).expect("the default settings are valid");
        assert!(builder.tls_backend_preconfigured(config).build().is_ok());
    }

    #[test]
    fn a_wrong_proxy_is_an_error_that_does_not_show_its_password() {
        let settings =
            Settings { proxy: Proxy::Url(Secret("http://user:hunter2@:80:80".to_owned())), ..Settings::default() };
        let error = Clients::new(&settings, |_| true).err().expect("the address is wrong");
        assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");
    }

    #[test]
    fn the_host_of_a_proxy_is_found_with_and_without_a_scheme() {
        for address in ["http://u:p@Proxy.local:3128", "proxy.local:3128", "socks5h://proxy.local"] {
            assert_eq!(host_of(address).as_deref(), Some("proxy.local"), "{address}");
        }
    }
}
