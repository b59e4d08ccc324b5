//! As whom a request is sent, and how it leaves: numbers and names, never secrets.

use std::sync::Arc;

/// Credentials, by their place among those of the configuration. What it numbers may change between runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthId(pub u16);

/// As whom a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The credentials.
    pub auth: AuthId,
    /// Which token of a pool, from 0; none takes the first. Means nothing for credentials of one secret.
    pub token: Option<u16>,
}

impl Identity {
    /// These credentials, with the first of their tokens.
    #[must_use]
    pub fn any(auth: AuthId) -> Self {
        Self { auth, token: None }
    }
}

/// A coding of a request's body (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyCoding {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl BodyCoding {
    /// Its name in `Content-Encoding`, and in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// What a request goes by: whose limits its answer may speak of, beside those of its host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Via {
    /// The token of a pool, from 0; none where credentials are one secret, or were not sent.
    pub token: Option<u16>,
    /// The proxy, as `host:port` without its credentials; none for a request that went straight to its host.
    pub proxy: Option<Arc<str>>,
}
