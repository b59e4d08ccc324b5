//! What goes out and what came back: plain data between the room that knows HTTP and the rooms that read meaning.
//!
//! Enters: nothing. Leaves: [`Request`], [`Fetched`], [`FetchError`] and the one table that says what an answer means for
//! scheduling, [`Outcome`]. Deliberately absent: any type of an HTTP library, and the values of credentials, which only the
//! room that sends them knows: here they are numbers.

mod headers;
mod identity;
mod outcome;

pub use headers::Headers;
pub use identity::{AuthId, BodyCoding, Identity, Via};
pub use outcome::Outcome;

use std::fmt;

use bytes::Bytes;
use url::Url;

use crate::clock::Timestamp;
use crate::job::{Extra, Origin};

/// One request as it will be sent: one hop, no redirects followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where to.
    pub url: Url,
    /// Method, body, and headers that are no secrets; none is a plain GET.
    pub extra: Option<Box<Extra>>,
    /// Headers of this request alone, beside those that every request carries. Their values may be secrets.
    pub headers: Vec<(String, Secret)>,
    /// As whom it is sent; none sends no credentials. They are left out where they were not given for the origin of `url`.
    pub identity: Option<Identity>,
    /// How its body is compressed, where that makes it shorter and the server has not refused it.
    pub compress: Option<BodyCoding>,
    /// The proxy that carries it, by its name as in [`Via`]; none leaves the choice to the settings.
    pub proxy: Option<std::sync::Arc<str>>,
    /// What `Accept` says.
    pub accept: &'static str,
    /// Media types whose bodies are wanted, as `type/subtype` or `type/*`; empty wants all. A body of another type is not read.
    pub types: std::sync::Arc<[String]>,
    /// Whether the address may be private or loopback.
    pub private_ok: bool,
}

/// A value that is never printed or stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// An answer, with its body decoded and capped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The address that answered.
    pub url: Url,
    /// The status, 100..=999.
    pub status: u16,
    /// All headers in the order of arrival.
    pub headers: Headers,
    /// The body after content decoding; empty when it was not read.
    pub body: Bytes,
    /// Whether the body is whole, and if not, why.
    pub body_end: BodyEnd,
    /// With which credentials and through which proxy it was asked for.
    pub via: Via,
    /// When the request was sent.
    pub sent_at: Timestamp,
    /// When the headers had come.
    pub answered_at: Timestamp,
    /// When the body had come.
    pub finished_at: Timestamp,
}

/// How a body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// It is whole.
    Whole,
    /// It is longer than the cap of this many bytes; the rest was not read.
    TooLarge {
        /// The cap, after decoding.
        bytes_max: u64,
    },
    /// Its media type is not wanted; it was not read.
    Unwanted,
    /// The connection broke or the coding was damaged before its end; what came is kept.
    Cut {
        /// What broke, in words.
        cause: String,
    },
}

/// Why there is no answer. What the network does is an outcome, so this is data for [`Outcome`], not an error to bubble up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The name does not resolve.
    #[error("no address for this host name: {0}")]
    Dns(String),
    /// No connection: refused, unreachable, reset while it was made, or not made in time.
    #[error("no connection: {0}")]
    Connect(String),
    /// The certificate or the handshake failed.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The request was taken, and no headers came in time.
    #[error("no answer in time: {0}")]
    Timeout(String),
    /// The connection broke before the headers were whole.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// What came is not HTTP, or its headers are too large.
    #[error("the answer is not valid HTTP: {0}")]
    Protocol(String),
    /// The address is private or loopback, and nothing allows this job to go there.
    #[error("{0} is a private address, which public pages may not lead to")]
    PrivateAddress(String),
    /// The request could not be made: a bad header value, an address without a host.
    #[error("the request cannot be sent: {0}")]
    BadRequest(String),
    /// No proxy that may carry the request can be reached, or the one that carried it failed; nothing is known about the host.
    #[error("no proxy works: {0}")]
    Proxy(String),
    /// There is no access token at the moment; nothing is known about the host.
    #[error("no access token: {0}")]
    Token(String),
    /// Whoever gives out access tokens refuses ours for good: what the configuration says is wrong.
    #[error("the credentials are refused: {0}")]
    Credentials(String),
    /// The crawl is stopping; nothing is known about the host.
    #[error("stopped before an answer came")]
    Stopped,
}

/// The one seam to the network: HTTP in the product, a simulated web in tests.
pub trait Fetch: Proxies + 'static {
    /// Sends one request and reads its answer within the caps of the implementation's settings.
    fn fetch(&self, request: Request) -> impl Future<Output = Result<Fetched, FetchError>> + Send;
}

/// What is known of the proxies of a run.
pub trait Proxies: Send + Sync {
    /// The names of the proxies among which there is a choice for requests to `origin`, as in [`Via`], the first to be used first;
    /// fewer than two where there is none.
    fn choice_for(&self, origin: &Origin) -> Vec<std::sync::Arc<str>>;

    /// Until when nothing should go through the proxy of this name, since it failed; none while it works.
    fn rests_until(&self, name: &str, now: Timestamp) -> Option<Timestamp>;
}

/// A run that has no choice among proxies.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProxies;

impl Proxies for NoProxies {
    fn choice_for(&self, _: &Origin) -> Vec<std::sync::Arc<str>> {
        Vec::new()
    }

    fn rests_until(&self, _: &str, _: Timestamp) -> Option<Timestamp> {
        None
    }
}
