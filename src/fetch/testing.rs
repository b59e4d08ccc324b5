//! Servers on loopback that answer each request as a function says.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::{Credential, HttpFetcher, Proxy, Settings};
use crate::clock::{ManualClock, Timestamp};
use crate::exchange::{AuthId, Identity, Request, Secret};
use crate::job::Origin;

/// A request as a server saw it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Its first line.
    pub(super) line: String,
    /// Its headers, names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A server that closes each connection after its answer.
pub(super) struct Web {
    pub(super) url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Web {
    /// `answer` gets the place of the request, from 0, and the request; it gives status, headers and body.
    pub(super) async fn start(answer: impl Fn(usize, &Seen) -> (u16, String, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let port = listener.local_addr().expect("the listener is bound").port();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                tokio::spawn(async move {
                    let Some(request) = read_request(&mut stream).await else { return };
                    let place = {
                        let mut log = log.lock().expect("no holder of this lock panics");
                        log.push(request.clone());
                        log.len() - 1
                    };
                    let (status, headers, body) = answer(place, &request);
                    let head = format!(
                        "HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
                        body.len()
                    );
                    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                });
            }
        });
        Self { url: Url::parse(&format!("http://127.0.0.1:{port}/")).expect("a test address parses"), seen }
    }

    /// One that says the same to all.
    pub(super) async fn plain(status: u16, body: &'static str) -> Self {
        Self::start(move |_, _| (status, String::new(), body.to_owned())).await
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no holder of this lock panics").clone()
    }

    pub(super) fn at(&self, path: &str) -> Url {
        self.url.join(path).expect("a test address parses")
    }

    pub(super) fn origin(&self) -> Origin {
        Origin::of(&self.url).expect("it has a host")
    }

    /// `127.0.0.1:PORT`
    pub(super) fn authority(&self) -> String {
        self.url.authority().to_owned()
    }
}

pub(super) async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let line = lines.next()?.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut seen = Seen { line, headers, body: Vec::new() };
    let length = seen.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    seen.body = vec![0; length];
    stream.read_exact(&mut seen.body).await.ok()?;
    Some(seen)
}

/// A port on which nobody listens.
pub(super) async fn dead_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    listener.local_addr().expect("the listener is bound").port()
}

pub(super) fn secret(text: &str) -> Secret {
    Secret(text.to_owned())
}

/// A fetcher with a clock of its own that stands at 1,000,000.
pub(super) fn fetcher(settings: Settings, credentials: Vec<Credential>) -> (HttpFetcher<ManualClock>, ManualClock) {
    let clock = ManualClock::new(Timestamp(1_000_000));
    let fetcher = HttpFetcher::new(settings, |address| !address.is_loopback(), clock.clone());
    (fetcher.expect("the settings are valid").with_credentials(credentials), clock)
}

pub(super) fn straight() -> Settings {
    Settings { proxy: Proxy::None, ..Settings::default() }
}

/// A request with the first credentials.
pub(super) fn request(url: Url) -> Request {
    Request {
        url,
        extra: None,
        headers: Vec::new(),
        identity: Some(Identity::any(AuthId(0))),
        compress: None,
        proxy: None,
        accept: "*/*",
        types: Arc::default(),
        private_ok: true,
    }
}
