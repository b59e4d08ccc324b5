//! APIs that do what real ones were seen to do and no server at hand can be made to do: each file is one habit, on a port of its
//! own, with a log of every request. Their own facts are tested here from a client without trundle.
//!
//! A habit is a function from a request to an answer, with what it remembers. It knows no time but what a test tells it.

pub mod children;
pub mod errors_in_200;
pub mod expiring_cursor;
pub mod forbidden;
pub mod frozen_cursor;
pub mod graphql;
pub mod gzip_bodies;
pub mod id_batches;
pub mod keyset;
pub mod lying_total;
pub mod next_loops;
pub mod oauth;
pub mod off_origin;
pub mod partial_props;
pub mod post_cursor;
pub mod ranges;
pub mod shifting_offset;
pub mod token_pool;
pub mod validators;
pub mod windows;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use trundle::clock::{Clock, Timestamp};

use crate::process::clock;

/// How long a test waits for a request.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// What a server does.
pub trait Habit: Send + Sync + 'static {
    /// Answers a request. `asked` is not in the log yet when this is called, or only without its status.
    fn answer(&self, asked: &Asked) -> Reply;
}

/// A server with one habit.
pub struct Api<H> {
    habit: Arc<H>,
    port: u16,
    log: Arc<Log>,
    _runtime: Runtime,
}

#[derive(Default)]
struct Log {
    asked: Mutex<Vec<Asked>>,
    grown: Condvar,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// 1 for the first.
    pub number: usize,
    pub at: Timestamp,
    pub method: String,
    pub path: String,
    /// Decoded, in their order.
    pub query: Vec<(String, String)>,
    /// Length of path and query as they were sent.
    pub target_bytes: usize,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// What it was answered with; 0 before that.
    pub status: u16,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, HeaderValue)>,
    pub body: String,
}

impl<H: Habit> Api<H> {
    pub fn start(habit: H) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (habit, log) = (Arc::new(habit), Arc::new(Log::default()));
        let (answering, writing) = (Arc::clone(&habit), Arc::clone(&log));
        let app = Router::new().fallback(async move |request: Request| answer(&*answering, &writing, request).await);
        runtime.spawn(async { axum::serve(listener, app).await });
        Self { habit, port, log, _runtime: runtime }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The habit, to look at what it remembers or to let something happen to it.
    pub fn habit(&self) -> &H {
        &self.habit
    }

    /// All requests so far.
    pub fn log(&self) -> Vec<Asked> {
        self.log.lock().clone()
    }

    /// Waits until `count` requests have been answered.
    pub fn wait_for(&self, count: usize) {
        let is_less = |asked: &mut Vec<Asked>| asked.iter().filter(|asked| asked.status != 0).count() < count;
        let waited = self.log.grown.wait_timeout_while(self.log.lock(), WAIT_MAX, is_less);
        let (asked, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "only {} requests came", asked.len());
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Vec<Asked>> {
        lock(&self.asked)
    }
}

/// Also when a test that held it has failed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(habit: &impl Habit, log: &Log, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default().to_vec();
    let headers = parts.headers.iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let query = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let mut asked = Asked {
        number: 0,
        at: clock().now(),
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: query.into_owned().collect(),
        target_bytes: parts.uri.path_and_query().map_or(0, |target| target.as_str().len()),
        headers: headers.collect(),
        body,
        status: 0,
    };
    let index = {
        let mut log = log.lock();
        asked.number = log.len() + 1;
        log.push(asked.clone());
        log.len() - 1
    };
    let reply = habit.answer(&asked);
    log.lock()[index].status = reply.status;
    log.grown.notify_all();
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(reply.body)).unwrap()
}

impl Asked {
    /// The first query parameter of this name.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A query parameter as a number.
    pub fn number_in(&self, name: &str) -> Option<usize> {
        self.query(name)?.parse().ok()
    }

    /// The first header of this name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The token after `Bearer`.
    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// The body; null if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The address of `path` on the server that was asked.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.header("host").unwrap_or_default())
    }
}

impl Reply {
    pub fn json(body: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), HeaderValue::from_static("application/json"))];
        Self { status: 200, headers, body: body.to_string() }
    }

    /// An error with a word about it.
    pub fn error(status: u16, word: &str) -> Self {
        Self::json(&json!({ "error": word })).status(status)
    }

    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub fn header<V: TryInto<HeaderValue, Error: Debug>>(mut self, name: &str, value: V) -> Self {
        self.headers.push((name.to_owned(), value.try_into().unwrap()));
        self
    }
}

/// Record `id` of every API here.
fn record(id: usize) -> Value {
    json!({ "id": id, "name": format!("Record {id}") })
}

/// The records from `start` on that a page of `a_page` holds, of `records` that are numbered from 1; `start` counts from 0.
fn page(records: usize, start: usize, a_page: usize) -> Vec<Value> {
    (start..records.min(start.saturating_add(a_page))).map(|place| record(place + 1)).collect()
}

/// The ids of the records at `path` in an answer.
fn ids(answer: &Value, path: &str) -> BTreeSet<u64> {
    let records = answer.pointer(path).and_then(Value::as_array).unwrap_or_else(|| panic!("no {path} in {answer}"));
    records.iter().map(|record| record["id"].as_u64().unwrap()).collect()
}
