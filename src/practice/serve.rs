//! From settings to a running web, and back.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use url::Url;

use super::answer::Site;
use super::limiter::{Limiter, Verdict};
use super::log::{Entry, Log, LogLines};
use super::settings::{Content, HostSpec, Settings};
use super::truth::Truth;
use super::{api, archive, bench, library};
use crate::clock::Clock;

/// How long open connections may take to finish when the web stops, in ms; the slowest answer takes 300.
const STOP_MS: u64 = 2_000;

/// Why the practice web does not run.
#[derive(Debug, thiserror::Error)]
pub enum PracticeError {
    /// Something else listens there, most likely another practice web.
    #[error(
        "listen on 127.0.0.1:{port} for the practice host {host}: the port is in use; stop the program that uses it \
         (perhaps another `trundle practice`), or choose another port"
    )]
    PortBusy {
        /// Name of the host.
        host: String,
        /// Its port.
        port: u16,
    },
    /// The port cannot be opened.
    #[error("listen on 127.0.0.1:{port} for the practice host {host}")]
    Listen {
        /// Name of the host.
        host: String,
        /// Its port.
        port: u16,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The log cannot be opened.
    #[error("open the practice log {}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// A running practice web. It stops with [`Practice::stop`], or with its runtime.
pub struct Practice {
    truth: Truth,
    hosts: Vec<PracticeHost>,
    stopping: watch::Sender<bool>,
    servers: JoinSet<()>,
    log: Option<Log>,
}

/// Where a host listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PracticeHost {
    /// Name from the settings.
    pub name: String,
    /// Its root, as in `http://127.0.0.1:7801/`.
    pub url: Url,
}

/// Opens the ports, makes all answers and serves them until told to stop.
pub async fn start<C: Clock>(settings: Settings, clock: C) -> Result<Practice, PracticeError> {
    let mut listeners = Vec::new();
    let mut hosts = Vec::new();
    for host in &settings.hosts {
        let (listener, url) = listen(host).await?;
        listeners.push(listener);
        hosts.push(PracticeHost { name: host.name.clone(), url });
    }
    let log = match &settings.log {
        None => None,
        Some(path) => Some(Log::open(path).map_err(|source| PracticeError::Log { path: path.clone(), source })?),
    };
    let roots: Vec<Url> = hosts.iter().map(|host| host.url.clone()).collect();
    let specs = settings.hosts.clone();
    let (sites, truth) = tokio::task::spawn_blocking(move || fill(&settings, &roots))
        .await
        .expect("making the answers neither panics nor is cancelled");

    let (stopping, stop) = watch::channel(false);
    let mut servers = JoinSet::new();
    for ((listener, spec), site) in listeners.into_iter().zip(specs).zip(sites) {
        let host = Arc::new(Host {
            name: spec.name,
            site,
            limiter: Mutex::new(spec.limiter),
            log: log.as_ref().map(Log::lines),
            clock: clock.clone(),
        });
        let router = axum::Router::new().fallback(answer::<C>).with_state(host);
        let mut stop = stop.clone();
        servers.spawn(async move {
            let stopped = async move {
                // An error means that the web itself is gone, which also is a reason to stop.
                let _ = stop.wait_for(|&stopping| stopping).await;
            };
            let listener = listener.tap_io(|stream| {
                // Slower without it, but not wrong.
                let _ = stream.set_nodelay(true);
            });
            if let Err(cause) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
                tracing::error!(%cause, "a practice host stopped serving");
            }
        });
    }
    Ok(Practice { truth, hosts, stopping, servers, log })
}

impl Practice {
    /// What a perfect crawl of it finds.
    #[must_use]
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// The hosts in the order of the settings.
    #[must_use]
    pub fn hosts(&self) -> &[PracticeHost] {
        &self.hosts
    }

    /// Finishes the answers that are under way (for two seconds at most) and writes the log to its end.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        let finished = async { while self.servers.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_millis(STOP_MS), finished).await.is_err() {
            self.servers.shutdown().await;
        }
        if let Some(log) = self.log {
            tokio::task::spawn_blocking(|| log.close()).await.expect("closing the log neither panics nor is cancelled");
        }
    }
}

async fn listen(host: &HostSpec) -> Result<(TcpListener, Url), PracticeError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => PracticeError::PortBusy { host: host.name.clone(), port: host.port },
        _ => PracticeError::Listen { host: host.name.clone(), port: host.port, source },
    };
    let listener = TcpListener::bind(("127.0.0.1", host.port)).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let url = Url::parse(&format!("http://{address}/")).expect("a socket address is a valid authority");
    Ok((listener, url))
}

/// Makes the answers of every host; `roots` are the hosts' addresses in the same order.
pub(super) fn fill(settings: &Settings, roots: &[Url]) -> (Vec<Site>, Truth) {
    let mut truth = Truth::default();
    let archive_root = settings.hosts.iter().zip(roots).find(|(host, _)| host.content == Content::Archive);
    let archive_root = archive_root.map(|(_, root)| root);
    let mut sites = Vec::new();
    for (host, root) in settings.hosts.iter().zip(roots) {
        let mut site = Site::new(root.clone());
        match host.content {
            Content::Library => {
                library::fill(&mut site, &mut truth, settings.pages, settings.seed, archive_root);
                api::fill_events(&mut site, &mut truth, settings.records, settings.seed);
            }
            Content::Archive => archive::fill(&mut site, &mut truth, settings.pages / 3, settings.seed),
            Content::Items { service_ms } => {
                api::fill_items(&mut site, &mut truth, settings.records, service_ms, settings.seed);
            }
            Content::Bench { page_bytes } => {
                bench::fill(&mut site, &mut truth, settings.pages, page_bytes, settings.seed);
            }
        }
        sites.push(site);
    }
    (sites, truth)
}

/// One host while it serves.
struct Host<C> {
    name: String,
    site: Site,
    limiter: Mutex<Limiter>,
    log: Option<LogLines>,
    clock: C,
}

/// The right to be answered; given back even if the client hangs up first.
struct Slot<C>(Arc<Host<C>>);

impl<C> Drop for Slot<C> {
    fn drop(&mut self) {
        self.0.limiter.lock().expect("no holder of this lock panics").release();
    }
}

async fn answer<C: Clock>(State(host): State<Arc<Host<C>>>, uri: Uri) -> Response {
    let arrived_at = host.clock.now();
    let verdict = host.limiter.lock().expect("no holder of this lock panics").admit(arrived_at);
    let (slot, mut response, wait_ms, retry_after_secs, limit_headers) = match verdict {
        Verdict::Allow { headers } => {
            let (response, wait_ms) = content(&host.site, &uri);
            (Some(Slot(Arc::clone(&host))), response, wait_ms, None, headers)
        }
        Verdict::Refuse { retry_after_secs, headers } => {
            let response = with_status(StatusCode::TOO_MANY_REQUESTS, Bytes::from_static(b"slow down\n"));
            (None, response, 0, retry_after_secs, headers)
        }
    };
    for (name, value) in limit_headers {
        let value = HeaderValue::from_str(&value).expect("limiters write numbers");
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    if let Some(secs) = retry_after_secs {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
    }
    if let Some(log) = &host.log {
        log.write(&Entry {
            at_ms: arrived_at.0,
            host: &host.name,
            target: uri.path_and_query().map_or("/", |target| target.as_str()),
            status: response.status().as_u16(),
            wait_ms,
            retry_after_secs,
        });
    }
    if wait_ms > 0 {
        host.clock.sleep_until(arrived_at.plus_ms(wait_ms)).await;
    }
    drop(slot);
    response
}

/// The answer to an address, and how long it takes in ms.
fn content(site: &Site, uri: &Uri) -> (Response, u64) {
    let Some(answer) = site.answer(uri.path(), uri.query()) else {
        return (with_status(StatusCode::NOT_FOUND, Bytes::from_static(b"not found\n")), 0);
    };
    if answer.fails_now() {
        return (with_status(StatusCode::INTERNAL_SERVER_ERROR, Bytes::from_static(b"try again\n")), answer.wait_ms);
    }
    let mut response = with_status(answer.status, answer.body.clone());
    for (name, value) in &answer.headers {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    (response, answer.wait_ms)
}

fn with_status(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
}
