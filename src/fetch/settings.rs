//! What a user may say about how requests are sent.

use std::fmt;
use std::sync::Arc;

use crate::exchange::Secret;
use crate::job::Origin;

/// Caps and manners of every request of a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who we say we are. Default `trundle/VERSION`; a crawl should add an address at which its owner can be reached.
    pub user_agent: String,
    /// What `Accept-Language` says; none sends no such header, which is what a program without a reader should do. Default none.
    pub accept_language: Option<String>,
    /// Longest time from sending to the end of the body, in ms. Default 30,000, and what other crawlers use lies between 20
    /// and 180 s. Waiting for room in memory (see `large_bodies_max`) does not count.
    pub timeout_ms: u64,
    /// Longest time until there is a connection, with the look-up of the name and the TLS handshake, in ms. Default 10,000.
    pub connect_timeout_ms: u64,
    /// Longest silence between two pieces of a body, in ms. Default 15,000.
    pub idle_timeout_ms: u64,
    /// Longest body after decoding, in bytes. Default 32 MiB.
    pub body_bytes_max: u64,
    /// How many bodies may grow beyond 1 MiB at the same time; the others wait. With `body_bytes_max` this bounds the memory
    /// of all bodies: 8 of 32 MiB by default, beside 1 MiB for each request in flight. At least 1. Default 8.
    pub large_bodies_max: usize,
    /// Content codings that are asked for, the dearest first. All of them are undone, asked for or not; a body in any other
    /// coding is reported as cut. Default all.
    pub compression: Vec<Coding>,
    /// Through what requests go. Default the system's settings.
    pub proxy: Proxy,
    /// Other ways for some hosts. Default none.
    pub host_proxies: HostProxies,
}

/// Which of several ways is for a host; none for the one of all hosts.
pub type WhichProxy = Arc<dyn Fn(&Origin) -> Option<usize> + Send + Sync>;

/// Ways of their own that some hosts have.
#[derive(Clone)]
pub struct HostProxies {
    /// What they may be.
    pub sets: Vec<Proxy>,
    /// Which of them is for a host; none for what holds for all.
    pub which: WhichProxy,
}

impl Default for HostProxies {
    fn default() -> Self {
        Self { sets: Vec::new(), which: Arc::new(|_| None) }
    }
}

impl fmt::Debug for HostProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HostProxies").field(&self.sets).finish()
    }
}

/// A content coding (RFC 9110, section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
    /// RFC 1950; the bare RFC 1951 is understood too.
    Deflate,
}

impl Coding {
    /// Its name in `Accept-Encoding`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
        }
    }
}

/// Through what requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// What the environment says (`http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`), or the system's settings on macOS
    /// and Windows.
    System,
    /// Straight to the host.
    None,
    /// One of these proxies, the same for all requests to a host while it works: `http`, `https`, `socks5` or `socks5h` addresses,
    /// which may hold credentials. What `NO_PROXY` names is reached without.
    List(Vec<Secret>),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            user_agent: concat!("trundle/", env!("CARGO_PKG_VERSION")).to_owned(),
            accept_language: None,
            timeout_ms: 30_000,
            connect_timeout_ms: 10_000,
            idle_timeout_ms: 15_000,
            body_bytes_max: 32 << 20,
            large_bodies_max: 8,
            compression: vec![Coding::Gzip, Coding::Brotli, Coding::Zstd, Coding::Deflate],
            proxy: Proxy::System,
            host_proxies: HostProxies::default(),
        }
    }
}
