//! Who shares a limit, unless something says otherwise: scheme, host and port.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

/// An origin such as `https://example.org` or `http://127.0.0.1:8080`: lower case, default port left out. It can only be
/// made from an http or https [`Url`], so it is always normalised.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origin(String);

impl Origin {
    /// The origin of `url`; none when the address has no host or is neither http nor https.
    #[must_use]
    pub fn of(url: &Url) -> Option<Self> {
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return None;
        }
        Some(Self(url.origin().ascii_serialization()))
    }

    /// The text, as in `https://example.org`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address of `path_and_query` (which starts with `/`) at this origin.
    pub fn join(&self, path_and_query: &str) -> Result<Url, url::ParseError> {
        Url::parse(&format!("{}{path_and_query}", self.0))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Option<&str>) {
        let url = Url::parse(url).expect("a test address parses");
        assert_eq!(Origin::of(&url).as_ref().map(Origin::as_str), expected);
    }

    #[test]
    fn an_origin_is_normalised() {
        check("HTTPS://Example.ORG:443/a?b#c", Some("https://example.org"));
        check("http://user:secret@example.org:8080/", Some("http://example.org:8080"));
        check("http://[::1]:80/", Some("http://[::1]"));
        check("mailto:a@example.org", None);
        check("file:///etc/passwd", None);
    }
}
