//! One request, one answer.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Client;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::client::{Clients, FetchSetupError};
use super::coding::Leftover;
use super::resolve::{IsPublic, refuse_private};
use super::settings::Settings;
use super::{body, error};
use crate::clock::Clock;
use crate::exchange::{Fetch, FetchError, Fetched, Headers, Request};
use crate::job::{Method, Payload};

/// The network as it is. Share one per run: it owns the connection pools and the permits of large bodies.
pub struct HttpFetcher<C> {
    settings: Settings,
    clients: Clients,
    headers: HeaderMap,
    pub(super) large_bodies: Semaphore,
    is_public: IsPublic,
    clock: C,
}

impl<C: Clock> HttpFetcher<C> {
    /// A fetcher with these settings. `is_public` says which addresses a request without `private_ok` may reach; `clock` gives
    /// the timestamps, while time-outs run on real time.
    pub fn new(settings: Settings, is_public: IsPublic, clock: C) -> Result<Self, FetchSetupError> {
        Ok(Self {
            clients: Clients::new(&settings, is_public)?,
            headers: headers_of_all(&settings)?,
            large_bodies: Semaphore::new(settings.large_bodies_max.clamp(1, Semaphore::MAX_PERMITS)),
            settings,
            is_public,
            clock,
        })
    }

    fn prepare(&self, client: &Client, request: &Request) -> Result<reqwest::Request, FetchError> {
        // The builder moves a name and password of the address to an `Authorization` header.
        let (method, body) = match &request.extra {
            None => (reqwest::Method::GET, None),
            Some(extra) => (method(extra.method), extra.body.as_ref()),
        };
        let mut builder = client.request(method, request.url.clone()).headers(self.headers.clone());
        if let Some(body) = body {
            let (media_type, bytes) = encode(body);
            builder = builder.header(header::CONTENT_TYPE, media_type).body(bytes);
        }
        let mut prepared =
            builder.build().map_err(|cause| error::of_request(cause, self.settings.connect_timeout_ms))?;
        if !request.accept.is_empty() {
            prepared.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(request.accept));
        }
        let of_place = request.extra.iter().flat_map(|extra| &extra.headers).map(|(name, value)| (name, value, false));
        let of_stream = request.headers.iter().map(|(name, value)| (name, &value.0, true));
        for (name, value, is_sensitive) in of_place.chain(of_stream) {
            let bad = |what| FetchError::BadRequest(format!("the header {:?} has an invalid {what}", clip(name)));
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("name"))?;
            let mut value = HeaderValue::from_str(value).map_err(|_| bad("value"))?;
            value.set_sensitive(is_sensitive);
            prepared.headers_mut().insert(header, value);
        }
        Ok(prepared)
    }
}

impl<C: Clock> Fetch for HttpFetcher<C> {
    async fn fetch(&self, request: Request) -> Result<Fetched, FetchError> {
        if !matches!(request.url.scheme(), "http" | "https") || !request.url.has_host() {
            return Err(FetchError::BadRequest("the address is neither http nor https".to_owned()));
        }
        let client = if request.private_ok {
            &self.clients.open
        } else {
            refuse_private(&request.url, self.is_public, &self.clients.proxy_hosts)
                .map_err(|refused| FetchError::PrivateAddress(refused.0))?;
            &self.clients.public
        };
        let prepared = self.prepare(client, &request)?;

        let sent_at = self.clock.now();
        let waiting = Duration::from_millis(self.settings.timeout_ms);
        let response = match timeout(waiting, client.execute(prepared)).await {
            Err(_) => {
                return Err(FetchError::Timeout(format!("no headers within {} ms", self.settings.timeout_ms)));
            }
            Ok(Err(cause)) => return Err(error::of_request(cause, self.settings.connect_timeout_ms)),
            Ok(Ok(response)) => response,
        };
        let answered_at = self.clock.now();

        let status = response.status().as_u16();
        let headers = headers_of(response.headers());
        let unread = body::end_without_reading(
            status,
            &headers,
            response.content_length(),
            &request.types,
            self.settings.body_bytes_max,
        );
        let (body, body_end) = match unread {
            Some(end) => (Bytes::new(), end),
            None => body::read(response, &self.settings, &self.large_bodies, &self.clock, sent_at).await,
        };
        let leftover = Leftover::of(&headers);
        let (body, body_end) = leftover.undo(body, body_end, &self.settings, &self.large_bodies).await;
        let finished_at = self.clock.now();
        Ok(Fetched { url: request.url, status, headers, body, body_end, sent_at, answered_at, finished_at })
    }
}

fn method(method: Method) -> reqwest::Method {
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
    }
}

/// A body as it is sent: its media type and its bytes.
fn encode(body: &Payload) -> (&'static str, Vec<u8>) {
    match body {
        Payload::Json(value) => ("application/json", value.to_string().into_bytes()),
        Payload::Form(fields) => {
            let text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
            ("application/x-www-form-urlencoded", text.into_bytes())
        }
    }
}

/// Headers that every request carries.
fn headers_of_all(settings: &Settings) -> Result<HeaderMap, FetchSetupError> {
    let value = |setting, text: &str| HeaderValue::from_str(text).map_err(|_| FetchSetupError::Header { setting });
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, value("user_agent", &settings.user_agent)?);
    if let Some(language) = &settings.accept_language {
        headers.insert(header::ACCEPT_LANGUAGE, value("accept_language", language)?);
    }
    if !settings.compression.is_empty() {
        let codings: Vec<&str> = settings.compression.iter().map(|coding| coding.name()).collect();
        headers.insert(header::ACCEPT_ENCODING, value("compression", &codings.join(", "))?);
    }
    Ok(headers)
}

fn headers_of(headers: &HeaderMap) -> Headers {
    Headers::from_pairs(headers.iter().map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()))))
}

/// A name for a message: it may come from anywhere, so it is kept short.
fn clip(name: &str) -> String {
    name.chars().take(60).collect()
}
