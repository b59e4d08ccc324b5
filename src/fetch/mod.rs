//! The only room that knows HTTP.
//!
//! Enters: an [`exchange::Request`](crate::exchange::Request). Leaves: an answer with its body decoded and capped, or one
//! word about why there is none. One call is one hop and one attempt: redirects, retries, cookies and waits are decided
//! elsewhere, and no type of the HTTP library leaves this room. Deliberately absent: methods other than GET.

mod body;
mod client;
mod coding;
mod error;
mod http;
mod resolve;
mod settings;
#[cfg(test)]
mod tests;

pub use client::FetchSetupError;
pub use http::HttpFetcher;
pub use settings::{Coding, Proxy, Settings};
