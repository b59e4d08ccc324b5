//! Secrets, and where they may go.
//!
//! Enters: what the configuration says, and the request that is about to be sent. Leaves: the request with its credentials, if
//! its origin is one of those that they were given for, and nothing else: a redirect or a next link that leads elsewhere is sent
//! without. Deliberately absent: which token of a pool a request goes with, which the caller says.

use regex::bytes::Regex;
use reqwest::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;

use super::oauth::{Grants, OAuth2};
use crate::clock::Timestamp;
use crate::exchange::{FetchError, Headers, Identity, Secret};
use crate::job::{Call, Origin, Target};

/// How a request says who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer TOKEN` (RFC 6750). Of several tokens, at least one, the request says which.
    Bearer(Vec<Secret>),
    /// `Authorization: Basic` (RFC 7617).
    Basic {
        /// The user.
        username: Secret,
        /// Its password, which may be empty.
        password: Secret,
    },
    /// A value under a name.
    ApiKey {
        /// Where it goes.
        place: KeyPlace,
        /// Under which name.
        name: String,
        /// The key.
        value: Secret,
    },
    /// `Authorization: Bearer` with a token that is asked for (RFC 6749).
    OAuth2(Box<OAuth2>),
}

/// Where an API key goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// A header.
    Header,
    /// A parameter of the address, where it stands only while the request is sent.
    Query,
    /// A cookie.
    Cookie,
}

/// Credentials of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The section that they stand in, such as `api.gh`, for messages.
    pub section: String,
    /// What they are.
    pub auth: Auth,
    /// The origins that may see them.
    pub origins: Vec<Origin>,
}

/// All credentials of a run, by [`AuthId`].
pub(super) struct Credentials(Vec<Entry>);

/// One of them, ready to be sent.
pub(super) struct Entry {
    section: String,
    origins: Vec<Origin>,
    scheme: Scheme,
}

enum Scheme {
    Bearer(Vec<Secret>),
    Basic(Secret, Secret),
    Key(KeyPlace, String, Secret),
    OAuth2(Box<Grants>),
}

/// What goes with one request.
pub(super) struct Pass {
    /// The token of a pool of more than one.
    pub(super) token: Option<u16>,
    /// Which access token it is, counted.
    pub(super) generation: Option<u64>,
    what: What,
}

enum What {
    Bearer(Secret),
    Basic(Secret, Secret),
    Key(KeyPlace, String, Secret),
}

impl Credentials {
    pub(super) fn new(credentials: Vec<Credential>) -> Self {
        let entry = |Credential { section, auth, origins }| {
            let scheme = match auth {
                Auth::Bearer(tokens) => Scheme::Bearer(tokens),
                Auth::Basic { username, password } => Scheme::Basic(username, password),
                Auth::ApiKey { place, name, value } => Scheme::Key(place, name, value),
                Auth::OAuth2(oauth) => Scheme::OAuth2(Box::new(Grants::new(*oauth, section.clone()))),
            };
            Entry { section, origins, scheme }
        };
        Self(credentials.into_iter().map(entry).collect())
    }

    /// The credentials for a request to `url`; none where they were not given for its origin.
    pub(super) fn get(&self, identity: Option<Identity>, url: &Url) -> Option<&Entry> {
        let entry = self.0.get(usize::from(identity?.auth.0))?;
        let origin = Origin::of(url)?;
        entry.origins.contains(&origin).then_some(entry)
    }
}

impl Entry {
    /// What goes with a request; for OAuth 2, whom to ask for it.
    pub(super) fn pass(&self, identity: Option<Identity>) -> Result<Pass, &Grants> {
        let what = match &self.scheme {
            Scheme::Bearer(tokens) => {
                let wished = identity.and_then(|identity| identity.token).unwrap_or(0);
                let place = usize::from(wished).min(tokens.len() - 1);
                let token = u16::try_from(place).ok().filter(|_| tokens.len() > 1);
                return Ok(Pass { token, generation: None, what: What::Bearer(tokens[place].clone()) });
            }
            Scheme::Basic(username, password) => What::Basic(username.clone(), password.clone()),
            Scheme::Key(place, name, value) => What::Key(*place, name.clone(), value.clone()),
            Scheme::OAuth2(grants) => return Err(grants),
        };
        Ok(Pass { token: None, generation: None, what })
    }

    /// A server took an access token of this generation.
    pub(super) fn accepted(&self, generation: u64) {
        if let Scheme::OAuth2(grants) = &self.scheme {
            grants.accepted(generation);
        }
    }

    /// Whether an access token that a server has refused is to be renewed.
    pub(super) async fn is_worth_renewing(&self, generation: u64, now: Timestamp) -> bool {
        match &self.scheme {
            Scheme::OAuth2(grants) => grants.is_worth_renewing(generation, now).await,
            _ => false,
        }
    }

    /// The request cannot be made with these credentials.
    pub(super) fn unsendable(&self) -> FetchError {
        FetchError::BadRequest(format!("auth in [{}] has characters that no header may hold", self.section))
    }

    /// Takes a key that stands in addresses out of what the server says: it may repeat the address that it was asked at, in a
    /// redirect or as the next page's, and both are stored.
    pub(super) fn cover(&self, headers: Headers, body: bytes::Bytes) -> (Headers, bytes::Bytes) {
        let Scheme::Key(KeyPlace::Query, name, value) = &self.scheme else { return (headers, body) };
        let Some(cover) = Cover::new(name, value) else { return (headers, body) };
        let pairs = headers.iter().map(|(name, value)| (name, cover.text(value)));
        (Headers::from_pairs(pairs), cover.bytes(body))
    }
}

/// What replaces a key in what is stored.
const COVERED: &str = "***";

/// Finds `name=KEY` in any of the spellings that addresses and JSON have.
struct Cover(Regex);

impl Cover {
    fn new(name: &str, value: &Secret) -> Option<Self> {
        let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let spellings = |text: &str| {
            let form = encode(text);
            let percent = form.replace('+', "%20");
            // JSON may have a stroke before each slash.
            let mut all = vec![text.to_owned(), text.replace('/', "\\/"), percent.clone(), form.clone()];
            all.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
            all.dedup();
            let mut patterns: Vec<String> = all.iter().map(|spelling| pattern_of(spelling)).collect();
            // An address within another is encoded twice.
            let twice = [encode(&percent), encode(&form)].map(|spelling| format!("(?i:{})", regex::escape(&spelling)));
            patterns.splice(0..0, twice);
            patterns.join("|")
        };
        // `=` may be escaped in JSON, or as part of an address within another.
        let pattern = format!("((?:{})(?:=|%3[Dd]|\\\\u003[Dd]))(?:{})", spellings(name), spellings(&value.0));
        Regex::new(&pattern).ok().map(Self)
    }

    fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.0.replace_all(text.as_bytes(), format!("${{1}}{COVERED}").as_bytes()))
            .into_owned()
    }

    fn bytes(&self, body: bytes::Bytes) -> bytes::Bytes {
        match self.0.replace_all(&body, format!("${{1}}{COVERED}").as_bytes()) {
            std::borrow::Cow::Borrowed(_) => body,
            std::borrow::Cow::Owned(covered) => covered.into(),
        }
    }
}

/// A pattern for `spelling` whose percent escapes may be in either case.
fn pattern_of(spelling: &str) -> String {
    let mut parts = spelling.split('%');
    let mut pattern = regex::escape(parts.next().unwrap_or_default());
    for part in parts {
        let (escape, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        pattern.push_str(&format!("%(?i:{}){}", regex::escape(escape), regex::escape(rest)));
    }
    pattern
}

impl Pass {
    /// An access token as a pass.
    pub(super) fn access(token: Secret, generation: u64) -> Self {
        Self { token: None, generation: Some(generation), what: What::Bearer(token) }
    }

    /// The address as it is sent. Only a key in the query changes it.
    pub(super) fn url(&self, url: &Url) -> Url {
        let What::Key(KeyPlace::Query, name, value) = &self.what else { return url.clone() };
        let mut call = Call::get(url.clone());
        call.set(&Target::Query(name.clone()), &Value::String(value.0.clone()));
        call.url
    }

    /// The headers that say who we are; none if one of them cannot be sent.
    pub(super) fn headers(&self, headers: &mut HeaderMap) -> Option<()> {
        match &self.what {
            What::Bearer(token) => {
                headers.insert(AUTHORIZATION, sensitive(&format!("Bearer {}", token.0))?);
            }
            What::Key(KeyPlace::Header, name, value) => {
                headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, sensitive(&value.0)?);
            }
            What::Key(KeyPlace::Cookie, name, value) => {
                let others =
                    headers.get(COOKIE).and_then(|known| known.to_str().ok()).map(|known| format!("{known}; "));
                let cookie = format!("{}{name}={}", others.unwrap_or_default(), value.0);
                headers.insert(COOKIE, sensitive(&cookie)?);
            }
            What::Basic(..) | What::Key(KeyPlace::Query, ..) => {}
        }
        Some(())
    }

    /// Name and password, which the library encodes.
    pub(super) fn basic(&self) -> Option<(&str, &str)> {
        match &self.what {
            What::Basic(username, password) => Some((&username.0, &password.0)),
            _ => None,
        }
    }
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
