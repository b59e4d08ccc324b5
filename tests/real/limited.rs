//! Servers behind rate limiters that other people wrote: each has one page at any path below `/p/`, to which alone its limit
//! applies, and a log with the instants of every request by the clock of the server.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use axum::http::Uri;
use axum::response::Html;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use trundle::clock::{Clock, SystemClock};

use crate::process::{self, Process};
use crate::{nginx, tools};

const LOG: &str = "access.log";
const PAGE: &str = include_str!("servers/page.html");

/// A server behind a limiter.
pub struct Limited {
    folder: TempDir,
    process: Process,
    port: u16,
    _upstream: Option<Slow>,
}

/// One line of its log.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// When the request had come, Unix ms.
    pub arrived_at_ms: i64,
    /// When its answer had gone, Unix ms.
    pub ended_at_ms: i64,
    /// Path and query.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
    /// What `Retry-After` said, if it was sent.
    pub retry_after_s: Option<i64>,
}

impl Limited {
    /// nginx with `limit_req`: `rate` requests a second, a queue of `burst`. `nodelay` answers what is in the queue at once, else
    /// it is answered at the rate. Refused is by `status`, or by 503, the default of nginx, if there is none.
    pub fn limit_req(rate: u32, burst: u32, nodelay: bool, status: Option<u16>) -> Self {
        let nodelay = if nodelay { " nodelay" } else { "" };
        let status = status.map(|status| format!("limit_req_status {status};")).unwrap_or_default();
        let page = tools::server("page.html");
        let root = page.parent().expect("a file lies in a folder").display();
        Self::nginx(
            &format!("limit_req_zone $binary_remote_addr zone=clients:1m rate={rate}r/s; {status}"),
            &format!(
                "root \"{root}\"; location / {{ return 404; }}
        location /p/ {{ limit_req zone=clients burst={burst}{nodelay}; try_files /page.html =404; }}"
            ),
            None,
        )
    }

    /// nginx with `limit_req` for each address that asks it: so many requests a second, a burst of as many, and 429 beyond.
    pub fn limit_req_by_address(rates: &[(&str, u32)]) -> Self {
        let page = tools::server("page.html");
        let root = page.parent().expect("a file lies in a folder").display();
        let (mut http, mut limits) = ("limit_req_status 429;".to_owned(), String::new());
        for (number, (address, rate)) in rates.iter().enumerate() {
            // An empty key is not counted.
            http.push_str(&format!(
                "map $remote_addr $key{number} {{ default \"\"; {address} $binary_remote_addr; }}
    limit_req_zone $key{number} zone=clients{number}:1m rate={rate}r/s;\n"
            ));
            limits.push_str(&format!("limit_req zone=clients{number} burst={rate} nodelay; "));
        }
        let server = format!(
            "root \"{root}\"; location / {{ return 404; }}
        location /p/ {{ {limits} try_files /page.html =404; }}"
        );
        Self::nginx(&http, &server, None)
    }

    /// nginx with `limit_conn`: at most `requests` at once, in front of a server that takes 150 to 250 ms for an answer.
    pub fn limit_conn(requests: u32) -> Self {
        let slow = Slow::start();
        Self::nginx(
            "limit_conn_zone $binary_remote_addr zone=clients:1m;",
            &format!(
                "location / {{ return 404; }}
        location /p/ {{ limit_conn clients {requests}; proxy_pass http://127.0.0.1:{}; }}",
                slow.port
            ),
            Some(slow),
        )
    }

    /// express-rate-limit: `limit` requests in a window of `window_ms`, told by the headers of `dialect`.
    pub fn express(limit: u32, window_ms: u32, dialect: &str) -> Self {
        let (node, packages) = tools::node();
        let arguments = [limit.to_string(), window_ms.to_string(), dialect.to_owned()];
        Self::script("node", Command::new(node).env("NODE_PATH", packages), "express.js", &arguments)
    }

    /// Flask-Limiter with a moving window; `limit` as it reads it.
    pub fn flask(limit: &str) -> Self {
        Self::script("python", &mut Command::new(tools::python()), "flask_app.py", &[limit.to_owned()])
    }

    fn nginx(http: &str, server: &str, upstream: Option<Slow>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let port = process::free_port();
        // As the scripts write it; an answer without the header has "-" there.
        let log = r"log_format fields '$msec\t$request_time\t$request_uri\t$status\t$sent_http_retry_after';";
        let http = format!("{log}\n    access_log {LOG} fields;\n    {http}");
        let process = nginx::start(folder.path(), port, &http, server);
        Self { folder, process, port, _upstream: upstream }
    }

    fn script(name: &str, command: &mut Command, script: &str, arguments: &[String]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let port = process::free_port();
        command.arg(tools::server(script)).arg(port.to_string()).args(arguments).arg(folder.path().join(LOG));
        let mut process = Process::start(name, folder.path(), command);
        process.wait_until_it_listens(port);
        Self { folder, process, port, _upstream: None }
    }

    /// The address of page `number`.
    pub fn page(&self, number: usize) -> String {
        format!("http://127.0.0.1:{}/p/{number}", self.port)
    }

    /// What its log holds of the requests for pages, in the order in which they came.
    pub fn hits(&self) -> Vec<Hit> {
        read(&self.folder.path().join(LOG))
    }

    /// Stops the server, so that its log is whole.
    pub fn stop(&mut self) {
        self.process.stop();
    }
}

fn read(log: &Path) -> Vec<Hit> {
    let text = process::read_lossy(log);
    let mut hits: Vec<Hit> = text.lines().map(Hit::parse).filter(|hit| hit.path.starts_with("/p/")).collect();
    hits.sort_by_key(|hit| hit.arrived_at_ms);
    hits
}

impl Hit {
    fn parse(line: &str) -> Self {
        let fields: Vec<&str> = line.split('\t').collect();
        let [ended, took, path, status, retry_after] = fields[..] else { panic!("a line of the log: {line}") };
        let (ended_at_ms, took_ms) = (ms(ended), ms(took));
        Self {
            arrived_at_ms: ended_at_ms - took_ms,
            ended_at_ms,
            path: path.to_owned(),
            status: status.parse().expect("a status is a number"),
            retry_after_s: retry_after.parse().ok(),
        }
    }

    /// Whether the limiter let it pass.
    pub fn is_accepted(&self) -> bool {
        self.status == 200
    }
}

/// Seconds with three decimals, as these logs have them, in ms.
fn ms(seconds: &str) -> i64 {
    let digits: String = seconds.chars().filter(|&letter| letter != '.').collect();
    assert_eq!(seconds.len() - seconds.find('.').unwrap_or_default(), 4, "{seconds} has three decimals");
    digits.parse().unwrap_or_else(|error| panic!("{error}: {seconds}"))
}

/// A server that takes its time: what a limit on requests at once protects.
struct Slow {
    port: u16,
    _runtime: Runtime,
}

impl Slow {
    fn start() -> Self {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime can be made");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let app = axum::Router::new().fallback(async |uri: Uri| {
            let number: u64 = uri.path().rsplit('/').next().and_then(|name| name.parse().ok()).unwrap_or_default();
            let clock = SystemClock::new();
            // Every length comes equally often, and neighbours differ: 37 and 101 have no common factor.
            clock.sleep_until(clock.now().plus_ms(150 + number * 37 % 101)).await;
            Html(PAGE)
        });
        runtime.spawn(async { axum::serve(listener, app).await });
        Self { port, _runtime: runtime }
    }
}
