//! `auth` of an API: who we say we are, and the origins that may know.
//!
//! Secrets come out of the environment (`"${NAME}"`) or out of a file (`{ file = "path" }`), and no message shows one.

use std::sync::Arc;

use crate::exchange::Secret;
use crate::fetch::{Auth, ClientAuth, Grant, KeyPlace, OAuth2};
use crate::job::Origin;

use super::section::{Field, Section};

pub(super) const BEARER_KEYS: [&str; 3] = ["type", "token", "tokens"];
pub(super) const BASIC_KEYS: [&str; 3] = ["type", "username", "password"];
pub(super) const API_KEY_KEYS: [&str; 4] = ["type", "name", "in", "value"];
pub(super) const OAUTH2_KEYS: [&str; 8] =
    ["type", "grant", "token_url", "client_id", "client_secret", "client_auth", "refresh_token", "scope"];
pub(super) const SECRET_KEYS: [&str; 1] = ["file"];

const EXAMPLE: &str = "\"none\", or a table such as { type = \"bearer\", token = \"${TOKEN}\" }";

/// Credentials of an API or of one of its streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamAuth {
    /// The section that they stand in, such as `api.gh`: streams that share them have the same.
    pub section: String,
    /// What they are.
    pub auth: Auth,
}

#[derive(Clone, Copy)]
enum Kind {
    Bearer,
    Basic,
    ApiKey,
    OAuth2,
}

/// What a section says; the inner one is none for `"none"`, the outer one when it says nothing, or after a complaint.
#[expect(clippy::option_option, reason = "the outer one is the convention of all readers: none after a complaint")]
pub(super) fn read(section: &Section<'_>) -> Option<Option<Arc<StreamAuth>>> {
    let field = section.get("auth")?;
    if field.value.as_str() == Some("none") {
        return Some(None);
    }
    let Some(table) = field.table(&format!("{}.auth", section.name)) else {
        // Not `wrong`, which would show a secret that was written here.
        field.complain(&format!("is not understood; expected {EXAMPLE}"));
        return None;
    };
    let kinds = [("bearer", Kind::Bearer), ("basic", Kind::Basic), ("api_key", Kind::ApiKey), ("oauth2", Kind::OAuth2)];
    let Some(kind) = table.get("type") else {
        table.complain("lacks \"type\": one of \"bearer\", \"basic\", \"api_key\", \"oauth2\"");
        return None;
    };
    let auth = match kind.one_of(&kinds, &[])? {
        Kind::Bearer => read_bearer(&table),
        Kind::Basic => read_basic(&table),
        Kind::ApiKey => read_key(&table),
        Kind::OAuth2 => read_oauth(&table),
    }?;
    Some(Some(Arc::new(StreamAuth { section: section.name.clone(), auth })))
}

/// `auth_hosts`: origins, or hosts, which are reached by https.
pub(super) fn read_hosts(field: &Field<'_>) -> Vec<Origin> {
    let read = |part: &Field<'_>| {
        let text = part.plain_text()?;
        let full = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let url = url::Url::parse(&full).ok().filter(|url| matches!(url.path(), "" | "/") && url.query().is_none());
        let origin = url.filter(|url| url.username().is_empty()).and_then(|url| Origin::of(&url));
        if origin.is_none() {
            part.wrong("a host such as \"uploads.example.org\", or an origin such as \"http://127.0.0.1:8080\"");
        }
        origin
    };
    field.texts().iter().filter_map(read).collect()
}

fn read_bearer(table: &Section<'_>) -> Option<Auth> {
    table.check_keys(&BEARER_KEYS, &[]);
    match (table.get("token"), table.get("tokens")) {
        (Some(token), None) => Some(Auth::Bearer(vec![header_secret(&token)?])),
        (None, Some(tokens)) => {
            let Some(array) = tokens.value.as_array().filter(|array| !array.is_empty()) else {
                tokens.complain("is no list of tokens, [\"${A}\", \"${B}\"]");
                return None;
            };
            let all: Vec<Secret> = array.iter().filter_map(|token| header_secret(&tokens.part(token))).collect();
            (all.len() == array.len()).then_some(Auth::Bearer(all))
        }
        _ => {
            table.complain("needs either \"token\" or \"tokens\", a list of which each has limits of its own");
            None
        }
    }
}

fn read_basic(table: &Section<'_>) -> Option<Auth> {
    table.check_keys(&BASIC_KEYS, &[]);
    let username = secret(&required(table, "username", "the user")?)?;
    // Many APIs take a key as the user, with an empty password.
    let password = match table.get("password") {
        Some(field) if field.value.as_str() == Some("") => Secret(String::new()),
        Some(field) => secret(&field)?,
        None => Secret(String::new()),
    };
    if username.0.contains(':') {
        table.complain("has a \":\" in its username, which cannot be sent");
        return None;
    }
    Some(Auth::Basic { username, password })
}

fn read_key(table: &Section<'_>) -> Option<Auth> {
    table.check_keys(&API_KEY_KEYS, &[]);
    let places = [("header", KeyPlace::Header), ("query", KeyPlace::Query), ("cookie", KeyPlace::Cookie)];
    let place = table.get("in").map_or(Some(KeyPlace::Header), |field| field.one_of(&places, &[]))?;
    let name = required(table, "name", "the name of the header, parameter or cookie")?;
    let value = required(table, "value", "the key")?;
    let value = if place == KeyPlace::Query { secret(&value)? } else { header_secret(&value)? };
    let text = name.plain_text()?;
    // RFC 9110 section 5.6.2, which RFC 6265 has for cookies too.
    let is_token = |letter: char| letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter);
    if place != KeyPlace::Query && !text.chars().all(is_token) {
        name.complain("is not a name that a header or a cookie can have");
        return None;
    }
    Some(Auth::ApiKey { place, name: text.to_owned(), value })
}

fn read_oauth(table: &Section<'_>) -> Option<Auth> {
    table.check_keys(&OAUTH2_KEYS, &[]);
    let is_refresh = required(table, "grant", "\"client_credentials\" or \"refresh_token\"")?
        .one_of(&[("client_credentials", false), ("refresh_token", true)], &[])?;
    let grant = match (is_refresh, table.get("refresh_token")) {
        (false, None) => Grant::ClientCredentials,
        (false, Some(field)) => {
            field.complain("is not used by the grant \"client_credentials\"");
            return None;
        }
        (true, _) => Grant::RefreshToken(secret(&required(table, "refresh_token", "the token of that grant")?)?),
    };
    let client_secret = match table.get("client_secret") {
        Some(field) => Some(secret(&field)?),
        None if is_refresh => None,
        None => Some(secret(&required(table, "client_secret", "the client's secret")?)?),
    };
    let ways = [("basic", ClientAuth::Basic), ("body", ClientAuth::Body)];
    let client_auth = table.get("client_auth").map_or(Some(ClientAuth::Basic), |field| field.one_of(&ways, &[]))?;
    Some(Auth::OAuth2(Box::new(OAuth2 {
        grant,
        token_url: required(table, "token_url", "the address that gives out tokens")?.url()?,
        client_id: secret(&required(table, "client_id", "the client's name")?)?,
        client_secret,
        client_auth,
        scope: table.get("scope").and_then(|field| Some(field.plain_text()?.to_owned())),
    })))
}

fn required<'a>(table: &Section<'a>, key: &str, what: &str) -> Option<Field<'a>> {
    let field = table.get(key);
    if field.is_none() {
        table.complain(&format!("lacks {key:?}, {what}"));
    }
    field
}

/// A secret, as a text in which the environment is put, or out of a file without the blanks around it.
fn secret(field: &Field<'_>) -> Option<Secret> {
    // `token in [api.a.auth]` is `api.a.auth.token` as a table.
    let (key, place) = field.label.split_once(" in [").unwrap_or((&field.label, ""));
    let secret = match field.table(&format!("{}.{key}", place.trim_end_matches(']'))) {
        None if field.value.is_str() => field.secret()?,
        None => {
            // Without the value, which may be the secret.
            field.complain("is no text in quotes, such as \"${NAME}\", and no { file = \"path\" }");
            return None;
        }
        Some(table) => {
            table.check_keys(&SECRET_KEYS, &[]);
            let file = required(&table, "file", "the file that the secret is in")?;
            let path = field.context.resolve(file.plain_text()?);
            match std::fs::read_to_string(&path) {
                Ok(text) => Secret(text.trim().to_owned()),
                Err(error) => {
                    file.complain(&format!("names {}, which cannot be read: {error}", path.display()));
                    return None;
                }
            }
        }
    };
    if secret.0.is_empty() {
        field.complain("is empty");
        return None;
    }
    if secret.0.chars().any(char::is_control) {
        field.complain("has a line break or another control character in it");
        return None;
    }
    Some(secret)
}

/// A secret that a header can hold as it is.
fn header_secret(field: &Field<'_>) -> Option<Secret> {
    let secret = secret(field)?;
    let fits = secret.0.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if !fits {
        field.complain("has characters that no header can hold");
    }
    fits.then_some(secret)
}
