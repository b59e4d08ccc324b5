//! Access tokens of OAuth 2 (RFC 6749): asked for when the first request needs one, kept in memory only, renewed before they
//! expire and when a server refuses one that it took before.
//!
//! Enters: what the configuration says, `now`, and the answers of the token endpoint. Leaves: tokens, or why there is none.
//! One question at a time: whoever needs a token meanwhile waits for the same answer. Deliberately absent: grants in which a
//! person takes part.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use super::credentials::Pass;
use crate::clock::{Clock, Timestamp};
use crate::exchange::{FetchError, Headers, Secret};
use crate::throttle::Hints;

/// A token is renewed so long before it expires, in ms, or in the last tenth of its life: requests under way must still find it
/// valid, and clocks differ.
const MARGIN_MS: u64 = 60_000;
/// The wait after a first failure of the endpoint, in ms; it doubles with each that follows.
const WAIT_MS_MIN: u64 = 1_000;
/// The longest wait, in ms.
const WAIT_MS_MAX: u64 = 300_000;
/// What the endpoint refuses for good is not asked again so soon, in ms.
const REFUSED_MS: u64 = 60_000;
/// A token that was never accepted is taken for refused by right, and not renewed, until it is so old, in ms.
const UNPROVEN_MS: u64 = 60_000;

/// How access tokens are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2 {
    /// By what right.
    pub grant: Grant,
    /// Whom to ask.
    pub token_url: Url,
    /// Who asks.
    pub client_id: Secret,
    /// Its secret; none for a public client.
    pub client_secret: Option<Secret>,
    /// How the client shows its secret.
    pub client_auth: ClientAuth,
    /// What the token is to be good for, in the server's words.
    pub scope: Option<String>,
}

/// By what right a token is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The client's own (RFC 6749 section 4.4).
    ClientCredentials,
    /// A refresh token that was given out before (section 6). If the server replaces it, the new one is kept until the end of
    /// the run.
    RefreshToken(Secret),
}

/// How a client shows its secret (section 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// In `Authorization: Basic`, which every server must take.
    Basic,
    /// In the body, which some servers want.
    Body,
}

/// A question to the token endpoint.
pub(super) struct Question {
    pub(super) url: Url,
    pub(super) form: Vec<(&'static str, String)>,
    /// Name and password.
    pub(super) basic: Option<(String, String)>,
}

/// Status, headers and body of its answer.
pub(super) type Answer = (u16, Headers, Bytes);

/// Why there is no token.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: FetchError,
    /// When it is worth asking again; none if the endpoint was asked just now.
    pub(super) wait_until_at: Option<Timestamp>,
}

/// The tokens of one section.
pub(super) struct Grants {
    oauth: OAuth2,
    section: String,
    state: Mutex<State>,
    /// The last generation that a server has accepted; 0 for none.
    proven: AtomicU64,
}

#[derive(Default)]
struct State {
    access: Option<Access>,
    /// Counts the tokens.
    generation: u64,
    /// What the server has put in the place of the refresh token.
    refresh_token: Option<Secret>,
    failures: u32,
    /// Why the endpoint is not asked before an instant.
    failed: Option<(FetchError, Timestamp)>,
}

struct Access {
    token: Secret,
    got_at: Timestamp,
    renew_at: Timestamp,
    expires_at: Timestamp,
}

impl Grants {
    pub(super) fn new(oauth: OAuth2, section: String) -> Self {
        Self { oauth, section, state: Mutex::default(), proven: AtomicU64::new(0) }
    }

    /// A token that is not the one of generation `stale`, which a server has refused. `ask` puts a question to the endpoint.
    pub(super) async fn pass(
        &self,
        stale: Option<u64>,
        clock: &impl Clock,
        ask: impl AsyncFnOnce(Question) -> Result<Answer, FetchError>,
    ) -> Result<Pass, Failure> {
        let mut state = self.state.lock().await;
        let now = clock.now();
        let is_stale = stale == Some(state.generation);
        if let Some(access) = &state.access
            && !is_stale
            && now < access.renew_at
        {
            return Ok(Pass::access(access.token.clone(), state.generation));
        }
        let failure = match &state.failed {
            Some((error, until_at)) if now < *until_at => {
                let is_final = matches!(error, FetchError::Credentials(_));
                Failure { error: error.clone(), wait_until_at: (!is_final).then_some(*until_at) }
            }
            _ => {
                let answer = ask(self.question(&state)).await;
                match self.take(&mut state, answer, clock.now()) {
                    Ok(pass) => return Ok(pass),
                    Err(error) => Failure { error, wait_until_at: None },
                }
            }
        };
        match &state.access {
            // It was to be renewed ahead of time, so it still serves.
            Some(access) if !is_stale && now < access.expires_at => {
                Ok(Pass::access(access.token.clone(), state.generation))
            }
            _ => Err(failure),
        }
    }

    /// A server took a token of this generation.
    pub(super) fn accepted(&self, generation: u64) {
        self.proven.fetch_max(generation, Ordering::Relaxed);
    }

    /// Whether a token that a server has refused is to be renewed. One that was never accepted and is new is refused by right:
    /// another one would be no better.
    pub(super) async fn is_worth_renewing(&self, generation: u64, now: Timestamp) -> bool {
        let state = self.state.lock().await;
        let is_old = state.access.as_ref().is_none_or(|access| now.since_ms(access.got_at) >= UNPROVEN_MS);
        state.generation != generation || self.proven.load(Ordering::Relaxed) >= generation || is_old
    }

    fn question(&self, state: &State) -> Question {
        let mut form = Vec::new();
        match &self.oauth.grant {
            Grant::ClientCredentials => form.push(("grant_type", "client_credentials".to_owned())),
            Grant::RefreshToken(first) => {
                let token = state.refresh_token.as_ref().unwrap_or(first);
                form.extend([("grant_type", "refresh_token".to_owned()), ("refresh_token", token.0.clone())]);
            }
        }
        form.extend(self.oauth.scope.iter().map(|scope| ("scope", scope.clone())));
        let id = self.oauth.client_id.0.clone();
        let basic = match (&self.oauth.client_secret, self.oauth.client_auth) {
            (Some(secret), ClientAuth::Basic) => {
                // Section 2.3.1 has both encoded as in a form first.
                let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                Some((encode(&id), encode(&secret.0)))
            }
            (Some(secret), ClientAuth::Body) => {
                form.extend([("client_id", id), ("client_secret", secret.0.clone())]);
                None
            }
            (None, _) => {
                form.push(("client_id", id));
                None
            }
        };
        Question { url: self.oauth.token_url.clone(), form, basic }
    }

    /// Takes in the answer of the endpoint, which came at `now`.
    fn take(&self, state: &mut State, answer: Result<Answer, FetchError>, now: Timestamp) -> Result<Pass, FetchError> {
        let retry_at = answer.as_ref().ok().and_then(|(_, headers, _)| Hints::read(headers, now).retry_at);
        match self.judge(answer, now) {
            Ok((access, refresh_token)) => {
                if refresh_token.is_some() && refresh_token != state.refresh_token {
                    self.tell_of_replacement(state.refresh_token.is_none());
                    state.refresh_token = refresh_token;
                }
                state.generation += 1;
                (state.failures, state.failed) = (0, None);
                let pass = Pass::access(access.token.clone(), state.generation);
                state.access = Some(access);
                Ok(pass)
            }
            Err(error) => {
                let wait_ms = if matches!(error, FetchError::Credentials(_)) {
                    REFUSED_MS
                } else {
                    let factor = 1_u64.checked_shl(state.failures).unwrap_or(u64::MAX);
                    WAIT_MS_MIN.saturating_mul(factor).min(WAIT_MS_MAX)
                };
                state.failures = state.failures.saturating_add(1);
                let until_at = now.plus_ms(wait_ms).max(retry_at.unwrap_or_default());
                tracing::warn!("{error}");
                state.failed = Some((error.clone(), until_at));
                Err(error)
            }
        }
    }

    fn tell_of_replacement(&self, is_first: bool) {
        if is_first {
            tracing::warn!(
                "[{}]: the server has replaced the refresh token; the new one lasts until the end of this run, and the next run \
                 needs another",
                self.section
            );
        }
    }

    /// The token and, if there is one, the next refresh token that an answer holds. What it says in words may hold secrets, so
    /// only its status and the code of its error are told.
    fn judge(
        &self,
        answer: Result<Answer, FetchError>,
        now: Timestamp,
    ) -> Result<(Access, Option<Secret>), FetchError> {
        let host = self.oauth.token_url.host_str().unwrap_or_default();
        let words = |what: &str| format!("auth in [{}]: {host} {what}", self.section);
        let (status, _, body) = match answer {
            Ok(answer) => answer,
            Err(FetchError::Stopped) => return Err(FetchError::Stopped),
            Err(FetchError::Proxy(why)) => return Err(FetchError::Proxy(why)),
            Err(error) => return Err(FetchError::Token(words(&format!("gives none: {error}")))),
        };
        let body: Option<Value> = serde_json::from_slice(&body).ok();
        let member = |name: &str| body.as_ref().and_then(|body| body.get(name));
        let text = |name: &str| member(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        if !(200..300).contains(&status) {
            // Section 5.2: a code such as `invalid_client`.
            let is_code =
                |code: &&str| code.len() <= 40 && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            let code = text("error").filter(is_code).map(|code| format!(" ({code})")).unwrap_or_default();
            let words = words(&format!("answered {status}{code}"));
            let is_final = (400..500).contains(&status) && !matches!(status, 408 | 425 | 429);
            return Err(if is_final { FetchError::Credentials(words) } else { FetchError::Token(words) });
        }
        let Some(token) = text("access_token") else {
            return Err(FetchError::Token(words("answered without an access_token")));
        };
        if text("token_type").is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(FetchError::Credentials(words("gives tokens of another type than Bearer")));
        }
        // A number, which some servers write as a text.
        let lifetime_s = member("expires_in").and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
        let expires_at = lifetime_s.map_or(Timestamp::NEVER, |s| now.plus_ms(s.saturating_mul(1_000)));
        let margin_ms = MARGIN_MS.min(expires_at.since_ms(now) / 10);
        let renew_at = now.plus_ms(expires_at.since_ms(now).saturating_sub(margin_ms));
        let access = Access { token: Secret(token.to_owned()), got_at: now, renew_at, expires_at };
        Ok((access, text("refresh_token").map(|token| Secret(token.to_owned()))))
    }
}
