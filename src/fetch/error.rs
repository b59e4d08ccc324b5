//! Errors of the HTTP library to the words of `exchange`.
//!
//! Types decide where there are types; text decides only for the errors of hyper and h2, whose types this crate does not
//! depend on. Addresses never appear in the words: they may hold secrets, and the reader knows the job anyway.

use std::error::Error;
use std::io;

use super::proxies::ProxyKind;
use super::resolve::{NameError, PrivateError};
use crate::exchange::FetchError;

/// Longest explanation that is kept, in characters.
const WORDS_MAX: usize = 200;

/// Why a request brought no headers.
pub(super) fn of_request(error: reqwest::Error, connect_timeout_ms: u64) -> FetchError {
    let error = error.without_url();
    if error.is_builder() {
        return FetchError::BadRequest(last_words(&error));
    }
    for link in chain(&error) {
        if let Some(PrivateError(host)) = link.downcast_ref() {
            return FetchError::PrivateAddress(host.clone());
        }
        if let Some(why) = through_proxy(&link.to_string()) {
            return FetchError::Connect(why);
        }
        if let Some(cause) = link.downcast_ref::<NameError>() {
            return FetchError::Dns(one_line(&cause.to_string()));
        }
        if link.is::<rustls::Error>() || link.is::<rustls::pki_types::InvalidDnsNameError>() {
            return FetchError::Tls(one_line(&link.to_string()));
        }
    }
    if error.is_timeout() {
        // The only time-out that the client itself knows.
        return FetchError::Connect(format!("none within {connect_timeout_ms} ms"));
    }
    let words = words(&error);
    if error.is_connect() {
        return FetchError::Connect(words);
    }
    if chain(&error).any(|link| is_bad_http(&link.to_string())) {
        return FetchError::Protocol(words);
    }
    FetchError::Broken(words)
}

/// Who is to blame for a request through a proxy that brought no headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The proxy, with the words for it.
    Proxy(String),
    /// The host: the proxy did its part.
    Host,
    /// Either: the connection broke after the request had gone.
    Nobody,
    /// One of them did not answer in time; a look at the proxy will tell.
    Unclear,
}

/// Tells the faults of a proxy from those of the host behind it. `is_tunnel` is whether the proxy leads to the host itself, so that
/// a connection may fail on either side of it.
pub(super) fn blame(error: &reqwest::Error, kind: ProxyKind, is_tunnel: bool) -> Blame {
    if !error.is_connect() {
        return Blame::Nobody;
    }
    // What the connectors of the library say (hyper-util, `connect/proxy`), whose types are not to be had.
    for link in chain(error) {
        let said = link.to_string();
        if said.starts_with("tunnel error: ") || said.starts_with("SOCKS error: ") {
            return match said.split_once(": ").map_or("", |(_, said)| said) {
                "failed to create underlying connection" => Blame::Proxy(words(error)),
                "proxy authorization required" | "credentials not accepted" => {
                    Blame::Proxy("it does not accept our credentials".to_owned())
                }
                "server does not support user/pass authentication" => {
                    Blame::Proxy("it takes no user and password".to_owned())
                }
                "unexpected end of file"
                | "io error establishing tunnel"
                | "io error during SOCKS handshake"
                | "failed parsing server response"
                | "server implements authentication incorrectly"
                | "proxy response headers too long" => Blame::Proxy("it does not speak as a proxy should".to_owned()),
                _ => Blame::Host,
            };
        }
    }
    if chain(error).any(<dyn Error + 'static>::is::<PrivateError>) {
        return Blame::Host;
    }
    if error.is_timeout() && is_tunnel {
        return Blame::Unclear;
    }
    match kind {
        // Names behind it are not looked up here, and without a tunnel there is no other connection than that to the proxy.
        ProxyKind::Http if !is_tunnel => Blame::Proxy(words(error)),
        _ => Blame::Host,
    }
}

/// What a proxy says of a host that it cannot reach, in words.
fn through_proxy(said: &str) -> Option<String> {
    if said == "tunnel error: unsuccessful" {
        return Some("the proxy cannot reach the host, or may not".to_owned());
    }
    said.strip_prefix("SOCKS error: ").map(|why| format!("the proxy says: {}", one_line(why)))
}

/// What cut a body short.
pub(super) fn of_body(error: reqwest::Error) -> String {
    words(&error.without_url())
}

/// The sentences of hyper 1 (`error.rs`, kind `Parse`) and the codes of h2 that accuse the peer of bad HTTP.
fn is_bad_http(text: &str) -> bool {
    text.contains(" parsed")
        || text.contains("message head is too large")
        || text.contains("received unexpected message from connection")
        || ["unspecific protocol error", "frame with invalid size", "unable to maintain the header compression"]
            .iter()
            .any(|code| text.contains(code))
}

/// The most telling link of the chain in words: the operating system's reason if there is one, else the innermost.
fn words(error: &reqwest::Error) -> String {
    let kind = chain(error).filter_map(|link| link.downcast_ref::<io::Error>()).map(io::Error::kind).last();
    match kind {
        Some(io::ErrorKind::UnexpectedEof) => "the connection closed before the end".to_owned(),
        Some(io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) | None => {
            last_words(error)
        }
        Some(kind) => kind.to_string(),
    }
}

fn last_words(error: &reqwest::Error) -> String {
    one_line(&chain(error).last().map(ToString::to_string).unwrap_or_default())
}

/// The first line, cut to [`WORDS_MAX`] characters, without control characters: part of it may come from the peer.
fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect()
}

/// The error and its causes, outermost first.
fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |link| cause_of(*link))
}

/// The next link. An [`io::Error`] hides the error that it wraps from `source`, so it is opened.
fn cause_of<'e>(link: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match link.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => link.source(),
    }
}
