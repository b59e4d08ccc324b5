//! The HTTP clients: for each way out two, one that reaches public addresses only, one that reaches all.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::{Client, ClientBuilder};

use super::proxies::{Proxies, ProxyAddress, Way};
use super::resolve::{IsPublic, Resolver};
use super::settings::Settings;
use crate::exchange::FetchError;

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

/// The clients of one way. Their connection pools are apart, so a connection to a private address is never reused for a request
/// that may not go there; and those of each way are its own, so that which proxy carried a request is known.
struct Pair {
    public: Client,
    open: Client,
}

/// All clients.
pub(super) struct Clients {
    settings: Settings,
    is_public: IsPublic,
    pub(super) proxy_hosts: Arc<BTreeSet<String>>,
    straight: Pair,
    /// Made when it is first needed.
    system: OnceLock<Result<Pair, String>>,
    /// One for each proxy; a list may be long and only part of it in use, so each is made when it is first needed.
    through: Vec<OnceLock<Result<Pair, String>>>,
}

impl Clients {
    pub(super) fn new(settings: &Settings, is_public: IsPublic, proxies: &Proxies) -> Result<Self, FetchSetupError> {
        // The first provider of the process wins; a second one is not an error, both speak TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        for proxy in proxies.all() {
            through(proxy)?;
        }
        let proxy_hosts = Arc::new(proxies.hosts());
        Ok(Self {
            straight: pair(settings, is_public, &proxy_hosts, ClientBuilder::no_proxy)?,
            system: OnceLock::new(),
            through: proxies.all().iter().map(|_| OnceLock::new()).collect(),
            settings: settings.clone(),
            is_public,
            proxy_hosts,
        })
    }

    /// The client for a way; `private_ok` is whether private addresses may be reached.
    pub(super) fn get(&self, way: Way, proxies: &Proxies, private_ok: bool) -> Result<&Client, FetchError> {
        let make = |with: &dyn Fn(ClientBuilder) -> ClientBuilder| {
            pair(&self.settings, self.is_public, &self.proxy_hosts, with).map_err(|error| error.to_string())
        };
        let made = match way {
            Way::Straight => Ok(&self.straight),
            Way::System => self.system.get_or_init(|| make(&|builder| builder)).as_ref(),
            Way::Through(id) => {
                let proxy = || through(&proxies.all()[id]).map_err(|error| error.to_string());
                self.through[id]
                    .get_or_init(|| {
                        let proxy = proxy()?;
                        make(&|builder| builder.proxy(proxy.clone()))
                    })
                    .as_ref()
            }
        };
        let pair = made.map_err(|why| FetchError::Proxy(why.clone()))?;
        Ok(if private_ok { &pair.open } else { &pair.public })
    }
}

/// The proxy as the library takes it. What is not to go through it never gets here.
fn through(proxy: &ProxyAddress) -> Result<reqwest::Proxy, FetchSetupError> {
    reqwest::Proxy::all(proxy.url()).map_err(|cause| FetchSetupError::Proxy { source: Box::new(cause.without_url()) })
}

fn pair(
    settings: &Settings,
    is_public: IsPublic,
    proxy_hosts: &Arc<BTreeSet<String>>,
    with: impl Fn(ClientBuilder) -> ClientBuilder,
) -> Result<Pair, FetchSetupError> {
    Ok(Pair {
        public: build(settings, || Resolver::public(is_public, Arc::clone(proxy_hosts)), &with)?,
        open: build(settings, Resolver::open, &with)?,
    })
}

fn build(
    settings: &Settings,
    resolver: impl Fn() -> Resolver,
    with: &impl Fn(ClientBuilder) -> ClientBuilder,
) -> Result<Client, FetchSetupError> {
    match with(builder(settings, resolver())).build() {
        Ok(client) => Ok(client),
        // A machine without root certificates, such as a bare container, can still crawl plain HTTP.
        Err(cause) => {
            let builder = with(builder(settings, resolver()));
            match builder.tls_backend_preconfigured(trusting_nobody()?).build() {
                Ok(client) => {
                    tracing::warn!(%cause, "no root certificates on this machine: https will fail, http works");
                    Ok(client)
                }
                Err(_) => Err(FetchSetupError::Client { source: Box::new(cause.without_url()) }),
            }
        }
    }
}

fn builder(settings: &Settings, resolver: Resolver) -> ClientBuilder {
    Client::builder()
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
        .deflate(false)
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

#[cfg(test)]
mod tests {
    use super::super::settings::Proxy;
    use super::*;
    use crate::exchange::Secret;

    #[test]
    fn a_machine_without_root_certificates_still_gets_a_client() {
        let settings = Settings::default();
        let config = trusting_nobody().expect("ring supports the default versions of TLS");
        let builder = builder(&settings, Resolver::open());
        assert!(builder.tls_backend_preconfigured(config).build().is_ok());
    }

    #[test]
    fn a_wrong_proxy_is_an_error_that_does_not_show_its_password() {
        let proxy = Proxy::List(vec![Secret("http://user:hunter2@:80:80".to_owned())]);
        let error = Proxies::new(&Settings { proxy, ..Settings::default() }).err().expect("the address is wrong");
        assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");
    }
}
