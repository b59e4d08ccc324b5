//! One request, one answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use url::Url;

use super::client::{Clients, FetchSetupError};
use super::coding::Leftover;
use super::credentials::{Credential, Credentials, Entry, Pass};
use super::error::Blame;
use super::oauth::{Answer, Question};
use super::payload::{Body, Plain};
use super::proxies::{Proxies, ProxyAddress, ProxyKind, Way};
use super::resolve::{IsPublic, refuse_private};
use super::settings::Settings;
use super::{body, error};
use crate::clock::{Clock, Timestamp};
use crate::exchange::{self, BodyEnd, Fetch, FetchError, Fetched, Headers, Request, Via};
use crate::job::{Method, Origin};

/// The network as it is. Share one per run: it owns the connection pools, the permits of large bodies, the access tokens, and
/// what is known of the proxies.
pub struct HttpFetcher<C> {
    settings: Settings,
    clients: Clients,
    proxies: Proxies,
    credentials: Credentials,
    plain: Plain,
    headers: HeaderMap,
    pub(super) large_bodies: Semaphore,
    is_public: IsPublic,
    clock: C,
}

/// An answer whose body is still to be read.
struct Opened {
    response: Response,
    proxy: Option<usize>,
    sent_at: Timestamp,
    answered_at: Timestamp,
}

impl<C: Clock> HttpFetcher<C> {
    /// A fetcher with these settings. `is_public` says which addresses a request without `private_ok` may reach; `clock` gives
    /// the timestamps, while time-outs run on real time.
    pub fn new(settings: Settings, is_public: IsPublic, clock: C) -> Result<Self, FetchSetupError> {
        let proxies = Proxies::new(&settings)?;
        Ok(Self {
            clients: Clients::new(&settings, is_public, &proxies)?,
            proxies,
            credentials: Credentials::new(Vec::new()),
            plain: Plain::default(),
            headers: headers_of_all(&settings)?,
            large_bodies: Semaphore::new(settings.large_bodies_max.clamp(1, Semaphore::MAX_PERMITS)),
            settings,
            is_public,
            clock,
        })
    }

    /// The same with these credentials, which an [`AuthId`] numbers from 0.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Vec<Credential>) -> Self {
        self.credentials = Credentials::new(credentials);
        self
    }

    /// The request as the library takes it; `pass` is what says who we are.
    fn prepare(
        &self,
        client: &Client,
        request: &Request,
        entry: Option<(&Entry, &Pass)>,
        body: Option<&Body>,
    ) -> Result<reqwest::Request, FetchError> {
        let method = request.extra.as_ref().map_or(reqwest::Method::GET, |extra| method(extra.method));
        let url = entry.map_or_else(|| request.url.clone(), |(_, pass)| pass.url(&request.url));
        // The builder moves a name and password of the address to an `Authorization` header.
        let mut builder = client.request(method, url).headers(self.headers.clone());
        if let Some(body) = body {
            builder = builder.header(header::CONTENT_TYPE, body.media_type);
            if let Some(coding) = body.coding {
                builder = builder.header(header::CONTENT_ENCODING, coding.name());
            }
            builder = builder.body(body.bytes.clone());
        }
        if let Some((name, password)) = entry.and_then(|(_, pass)| pass.basic()) {
            builder = builder.basic_auth(name, Some(password));
        }
        let mut prepared =
            builder.build().map_err(|cause| error::of_request(cause, self.settings.connect_timeout_ms))?;
        let basic = prepared.headers().get(header::AUTHORIZATION).cloned();
        let basic = basic.filter(|_| entry.is_some_and(|(_, pass)| pass.basic().is_some()));
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
        // Last, so that nothing that an answer gave us to send back takes the place of a secret.
        if let Some((entry, pass)) = entry {
            if let Some(basic) = basic {
                prepared.headers_mut().insert(header::AUTHORIZATION, basic);
            }
            pass.headers(prepared.headers_mut()).ok_or_else(|| entry.unsendable())?;
        }
        Ok(prepared)
    }

    /// Sends what `prepare` makes for a client, through the `wished` proxy or whichever is for `url`, until there are headers. A proxy
    /// that cannot be reached has carried nothing, so the next one is tried at once, unless one was wished for: each has limits of its
    /// own, and whoever wishes knows them.
    async fn send(
        &self,
        url: &Url,
        wished: Option<&str>,
        private_ok: bool,
        prepare: impl Fn(&Client) -> Result<reqwest::Request, FetchError>,
    ) -> Result<Opened, FetchError> {
        let mut why = String::new();
        loop {
            let now = self.clock.now();
            let way = match wished.map_or_else(|| self.proxies.way(url, now), |name| self.proxies.way_by(name, now)) {
                Ok(way) => way,
                Err(_) if wished.is_some() => {
                    let why = if why.is_empty() { "it rests after a failure".to_owned() } else { why };
                    return Err(FetchError::Proxy(why));
                }
                Err(at) => return Err(self.no_proxy(&why, at, now).await),
            };
            let client = self.clients.get(way, &self.proxies, private_ok)?;
            let prepared = prepare(client)?;
            let Way::Through(id) = way else {
                let sent_at = self.clock.now();
                let response = self.execute(client, prepared).await?.map_err(|cause| self.error(cause))?;
                return Ok(Opened { response, proxy: None, sent_at, answered_at: self.clock.now() });
            };
            self.proxies.begin(id, now);
            let sent_at = self.clock.now();
            let answer = self.execute(client, prepared).await;
            let fault = match answer {
                Err(error) => {
                    self.proxies.silent(id, sent_at, self.clock.now());
                    return Err(error);
                }
                // Its own word, and never the host's (RFC 9110 section 15.5.8).
                Ok(Ok(response)) if response.status() == reqwest::StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                    "it does not accept our credentials".to_owned()
                }
                Ok(Ok(response)) => {
                    self.proxies.worked(id);
                    return Ok(Opened { response, proxy: Some(id), sent_at, answered_at: self.clock.now() });
                }
                Ok(Err(cause)) => match self.blame(&cause, url, &self.proxies.all()[id]).await {
                    Blame::Proxy(fault) => fault,
                    Blame::Host => {
                        self.proxies.worked(id);
                        return Err(self.error(cause));
                    }
                    Blame::Nobody | Blame::Unclear => {
                        self.proxies.silent(id, sent_at, self.clock.now());
                        return Err(self.error(cause));
                    }
                },
            };
            self.proxies.failed(id, &fault, sent_at, self.clock.now());
            why = format!("{}: {fault}", self.proxies.all()[id].name());
        }
    }

    async fn execute(
        &self,
        client: &Client,
        prepared: reqwest::Request,
    ) -> Result<Result<Response, reqwest::Error>, FetchError> {
        let waiting = Duration::from_millis(self.settings.timeout_ms);
        timeout(waiting, client.execute(prepared))
            .await
            .map_err(|_| FetchError::Timeout(format!("no headers within {} ms", self.settings.timeout_ms)))
    }

    fn error(&self, cause: reqwest::Error) -> FetchError {
        error::of_request(cause, self.settings.connect_timeout_ms)
    }

    async fn blame(&self, cause: &reqwest::Error, url: &Url, proxy: &ProxyAddress) -> Blame {
        let is_tunnel = proxy.kind == ProxyKind::Socks || url.scheme() == "https";
        match error::blame(cause, proxy.kind, is_tunnel) {
            Blame::Unclear => {
                let host = proxy.host.trim_start_matches('[').trim_end_matches(']');
                let waiting = Duration::from_millis(self.settings.connect_timeout_ms);
                let looking = timeout(waiting, tokio::net::TcpStream::connect((host, proxy.port)));
                match looking.await {
                    Ok(Ok(_)) => Blame::Host,
                    Ok(Err(cause)) => Blame::Proxy(cause.kind().to_string()),
                    Err(_) => Blame::Proxy(format!("no connection within {} ms", self.settings.connect_timeout_ms)),
                }
            }
            blame => blame,
        }
    }

    /// No proxy works until `at`. Waits for it, within the time that a request may take: without the wait, a job that is not to blame
    /// would come back at once, again and again.
    async fn no_proxy(&self, why: &str, at: Timestamp, now: Timestamp) -> FetchError {
        if !why.is_empty() {
            return FetchError::Proxy(why.to_owned());
        }
        self.clock.sleep_until(at.min(now.plus_ms(self.settings.timeout_ms))).await;
        FetchError::Proxy("all that may carry the request rest after failures".to_owned())
    }

    /// What says who we are; `stale` is the access token that the server has refused.
    async fn pass(&self, request: &Request, entry: &Entry, stale: Option<u64>) -> Result<Pass, FetchError> {
        let grants = match entry.pass(request.identity) {
            Ok(pass) => return Ok(pass),
            Err(grants) => grants,
        };
        match grants.pass(stale, &self.clock, async |question| self.ask(question).await).await {
            Ok(pass) => Ok(pass),
            Err(failure) => {
                if let Some(at) = failure.wait_until_at {
                    let now = self.clock.now();
                    self.clock.sleep_until(at.min(now.plus_ms(self.settings.timeout_ms))).await;
                }
                Err(failure.error)
            }
        }
    }

    /// Puts a question to a token endpoint.
    async fn ask(&self, question: Question) -> Result<Answer, FetchError> {
        let body = Body::of_form(&question.form);
        let prepare = |client: &Client| {
            let builder = client.post(question.url.clone()).headers(self.headers.clone());
            let mut builder = builder.header(header::CONTENT_TYPE, body.media_type).body(body.bytes.clone());
            if let Some((name, password)) = &question.basic {
                builder = builder.basic_auth(name, Some(password));
            }
            let mut prepared = builder.build().map_err(|cause| self.error(cause))?;
            prepared.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
            Ok(prepared)
        };
        // The user named it, so it may be private.
        let opened = self.send(&question.url, None, true, prepare).await?;
        let (status, headers) = (opened.response.status().as_u16(), headers_of(opened.response.headers()));
        let (body, end, _) = self.read(opened, &headers, &[]).await;
        match end {
            BodyEnd::Cut { cause } => Err(FetchError::Broken(cause)),
            _ => Ok((status, headers, body)),
        }
    }

    /// The body of an answer, and whether it was worth reading.
    async fn read(&self, opened: Opened, headers: &Headers, types: &[String]) -> (Bytes, BodyEnd, Timestamp) {
        let Opened { response, sent_at, .. } = opened;
        let status = response.status().as_u16();
        let bytes_max = self.settings.body_bytes_max;
        let unread = body::end_without_reading(status, headers, response.content_length(), types, bytes_max);
        let (body, body_end) = match unread {
            Some(end) => (Bytes::new(), end),
            None => body::read(response, &self.settings, &self.large_bodies, &self.clock, sent_at).await,
        };
        let leftover = Leftover::of(headers);
        let (body, body_end) = leftover.undo(body, body_end, &self.settings, &self.large_bodies).await;
        (body, body_end, self.clock.now())
    }
}

impl<C: Clock> Fetch for HttpFetcher<C> {
    async fn fetch(&self, request: Request) -> Result<Fetched, FetchError> {
        let Some(origin) = Origin::of(&request.url) else {
            return Err(FetchError::BadRequest("the address is neither http nor https".to_owned()));
        };
        if !request.private_ok {
            refuse_private(&request.url, self.is_public, &self.clients.proxy_hosts)
                .map_err(|refused| FetchError::PrivateAddress(refused.0))?;
        }
        let entry = self.credentials.get(request.identity, &request.url);
        let mut coding = request.compress.filter(|_| !self.plain.contains(&origin));
        let mut stale = None;
        let (opened, token) = loop {
            let pass = match entry {
                Some(entry) => Some(self.pass(&request, entry, stale).await?),
                None => None,
            };
            let payload = request.extra.as_ref().and_then(|extra| extra.body.as_ref());
            let body = payload.map(|payload| Body::of(payload, coding));
            let prepare = |client: &Client| self.prepare(client, &request, entry.zip(pass.as_ref()), body.as_ref());
            let opened = self.send(&request.url, request.proxy.as_deref(), request.private_ok, prepare).await?;
            let status = opened.response.status().as_u16();
            if status == 415 && body.is_some_and(|body| body.coding.is_some()) {
                coding = None;
                self.plain.insert(&origin);
                continue;
            }
            if let Some((entry, generation)) = entry.zip(pass.as_ref().and_then(|pass| pass.generation)) {
                if status != 401 {
                    entry.accepted(generation);
                } else if stale.is_none() && entry.is_worth_renewing(generation, self.clock.now()).await {
                    stale = Some(generation);
                    continue;
                }
            }
            break (opened, pass.and_then(|pass| pass.token));
        };

        let status = opened.response.status().as_u16();
        let headers = headers_of(opened.response.headers());
        let proxy = opened.proxy.map(|id| self.proxies.all()[id].name().clone());
        let (sent_at, answered_at) = (opened.sent_at, opened.answered_at);
        let (body, body_end, finished_at) = self.read(opened, &headers, &request.types).await;
        let (headers, body) = match entry {
            Some(entry) => entry.cover(headers, body),
            None => (headers, body),
        };
        let via = Via { token, proxy };
        Ok(Fetched { url: request.url, status, headers, body, body_end, via, sent_at, answered_at, finished_at })
    }
}

impl<C: Clock> exchange::Proxies for HttpFetcher<C> {
    fn choice_for(&self, origin: &Origin) -> Vec<Arc<str>> {
        self.proxies.choice_for(origin)
    }

    fn rests_until(&self, name: &str, now: Timestamp) -> Option<Timestamp> {
        self.proxies.way_by(name, now).err()
    }
}

#[cfg(test)]
impl<C: Clock> HttpFetcher<C> {
    /// The name of the proxy that would carry a request to `url` at `now`; none when it would go straight to its host.
    pub(super) fn proxy_for(&self, url: &Url, now: Timestamp) -> Option<Arc<str>> {
        match self.proxies.way(url, now) {
            Ok(Way::Through(id)) => Some(self.proxies.all()[id].name().clone()),
            _ => None,
        }
    }
}

fn method(method: Method) -> reqwest::Method {
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
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
