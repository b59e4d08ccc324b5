//! OAuth2: tokens that end in mid-walk, refresh tokens that are good for once, and a count of what was granted.

use std::sync::Mutex;

use serde_json::json;

use super::{Api, Asked, Habit, Reply, lock, page};
use crate::wire;

const A_PAGE: usize = 10;
/// The one client.
pub const CLIENT: (&str, &str) = ("client", "s3cret");
/// The refresh token that a user would have been given.
pub const FIRST_REFRESH: &str = "refresh-0";

/// `POST /token` grants by client credentials or by refresh token; `/items?page=1` and on wants a bearer.
pub struct OAuth {
    pub records: usize,
    /// Pages that a token is good for.
    pub uses: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is left of each token, `access-1` and on.
    tokens: Vec<usize>,
    refreshed: usize,
}

impl OAuth {
    pub fn new(records: usize, uses: usize) -> Self {
        Self { records, uses, state: Mutex::default() }
    }

    /// Tokens that were granted so far.
    pub fn grants(&self) -> usize {
        lock(&self.state).tokens.len()
    }

    /// No token is good any more, as when their time has run out.
    pub fn expire_now(&self) {
        lock(&self.state).tokens.fill(0);
    }

    fn grant(&self, asked: &Asked) -> Reply {
        let form: Vec<(String, String)> = url::form_urlencoded::parse(&asked.body).into_owned().collect();
        let field = |name: &str| form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let basic = format!("Basic {}", base64(&format!("{}:{}", CLIENT.0, CLIENT.1)));
        let is_client = (field("client_id"), field("client_secret")) == (Some(CLIENT.0), Some(CLIENT.1))
            || asked.header("authorization") == Some(basic.as_str());
        if !is_client {
            return Reply::error(401, "invalid_client");
        }
        let mut state = lock(&self.state);
        let refresh = match field("grant_type") {
            Some("client_credentials") => None,
            Some("refresh_token") if field("refresh_token") == Some(&format!("refresh-{}", state.refreshed)) => {
                state.refreshed += 1;
                Some(format!("refresh-{}", state.refreshed))
            }
            Some("refresh_token") => return Reply::error(400, "invalid_grant"),
            _ => return Reply::error(400, "unsupported_grant_type"),
        };
        state.tokens.push(self.uses);
        let token = format!("access-{}", state.tokens.len());
        let mut granted = json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3_600 });
        if let Some(refresh) = refresh {
            granted["refresh_token"] = json!(refresh);
        }
        Reply::json(&granted)
    }
}

impl Habit for OAuth {
    fn answer(&self, asked: &Asked) -> Reply {
        if asked.path == "/token" {
            return self.grant(asked);
        }
        let number = asked.bearer().and_then(|token| token.strip_prefix("access-")?.parse::<usize>().ok());
        let mut state = lock(&self.state);
        match number.and_then(|number| state.tokens.get_mut(number.checked_sub(1)?)) {
            Some(left) if *left > 0 => *left -= 1,
            _ => {
                return Reply::error(401, "invalid_token").header("www-authenticate", "Bearer error=\"invalid_token\"");
            }
        }
        let number = asked.number_in("page").unwrap_or(1).max(1);
        let is_last = number * A_PAGE >= self.records;
        let next = (!is_last).then(|| asked.url(&format!("/items?page={}", number + 1)));
        Reply::json(&json!({ "items": page(self.records, (number - 1) * A_PAGE, A_PAGE), "next": next }))
    }
}

/// RFC 4648 section 4.
fn base64(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let three = |bytes: &[u8]| {
        let bits = bytes.iter().chain(&[0; 2]).take(3).fold(0, |bits, &byte| bits << 8 | usize::from(byte));
        (0..4).map(move |place| (bits >> (18 - 6 * place)) & 63).enumerate().map({
            let sent = bytes.len();
            move |(place, index)| if place <= sent { char::from(LETTERS[index]) } else { '=' }
        })
    };
    text.as_bytes().chunks(3).flat_map(three).collect()
}

#[cfg(test)]
fn grant(api: &Api<OAuth>, form: &str) -> wire::Answer {
    let form = format!("{form}&client_id={}&client_secret={}", CLIENT.0, CLIENT.1);
    wire::ask(api.port(), "POST", "/token", &[], form.as_bytes())
}

#[cfg(test)]
fn items(api: &Api<OAuth>, token: &str) -> u16 {
    wire::ask(api.port(), "GET", "/items", &[("authorization", &format!("Bearer {token}"))], b"").status
}

#[test]
fn a_token_ends_after_its_pages() {
    let api = Api::start(OAuth::new(30, 2));
    let basic = format!("Basic {}", base64("client:s3cret"));
    assert_eq!(basic, "Basic Y2xpZW50OnMzY3JldA==");
    let granted =
        wire::ask(api.port(), "POST", "/token", &[("authorization", &basic)], b"grant_type=client_credentials");
    assert_eq!(granted.json()["access_token"], "access-1");
    assert_eq!([(); 3].map(|()| items(&api, "access-1")), [200, 200, 401]);
    assert_eq!(grant(&api, "grant_type=client_credentials").json()["access_token"], "access-2");
    assert_eq!((items(&api, "access-2"), items(&api, "access-3")), (200, 401));
    api.habit().expire_now();
    assert_eq!((items(&api, "access-2"), api.habit().grants()), (401, 2));
}

#[test]
fn a_refresh_token_is_good_for_once() {
    let api = Api::start(OAuth::new(30, 2));
    let form = format!("grant_type=refresh_token&refresh_token={FIRST_REFRESH}");
    assert_eq!(grant(&api, &form).json()["refresh_token"], "refresh-1");
    assert_eq!(grant(&api, &form).status, 400, "it was used");
    assert_eq!(wire::ask(api.port(), "POST", "/token", &[], b"grant_type=client_credentials").status, 401);
}
