//! trundle against servers that other people wrote: nginx with the documentation of Python and PostgreSQL, Datasette over a
//! SQLite file, Kinto, json-server and MediaWiki, the rate limiters of nginx, express-rate-limit and Flask-Limiter, squid and
//! microsocks in between, and nginx with a certificate. Each test starts its server on loopback, crawls it with the built program as a user would, and compares
//! what is stored with what somebody else says is there: GNU Wget for the pages, the generator of the rows or a question without
//! pages for the records, the servers' logs for what their limits allowed. A proxy of our own ([`proxy`]) counts requests, and
//! breaks what networks break.
//!
//! `tests/run.sh` fetches the servers and the documentation. Without them these tests fail and say so.

mod apis;
mod crawl;
mod datasette;
mod json_server;
mod kinto;
mod limited;
mod limits;
mod mediawiki;
mod nginx;
mod outbound;
mod pages;
mod process;
mod proxies;
mod proxy;
mod proxy_tests;
mod pulls;
mod rows;
mod tls;
mod tools;
#[path = "../wire/mod.rs"]
mod wire;

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held by a test while it runs: one server and one crawl at a time, so that the figures mean something.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // A test that failed holds nothing that the next one could find broken.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows the figures of a test that passed, past the test runner, which hides what `println!` says.
fn show(figures: &str) {
    writeln!(std::io::stderr(), "real: {figures}").expect("standard error can be written to");
}
