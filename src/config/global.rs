//! The sections that hold for the whole program: `[store]`, `[http]`, `[cache]`, `[retry]`, `[engine]`.

use std::path::PathBuf;
use std::time::Duration;

use humantime::format_duration;

use crate::policy::RetrySettings;
use crate::policy::cache::{CacheMode, CacheSettings};

use super::proxy::{self, Proxy};
use super::section::{Field, Section};

/// Where the crawl is kept when nothing else is said, beside `crawl.toml`.
pub const STORE_DEFAULT: &str = "crawl.db";

pub(super) const STORE_KEYS: [&str; 1] = ["path"];

pub(super) const HTTP_KEYS: [&str; 9] = [
    "accept_language",
    "compression",
    "connect_timeout",
    "idle_timeout",
    "max_body",
    "max_redirects",
    "proxy",
    "timeout",
    "user_agent",
];

pub(super) const RETRY_KEYS: [&str; 3] = ["attempts", "base", "max"];

pub(super) const CACHE_KEYS: [&str; 3] = ["force_full", "mode", "strict_no_store"];

pub(super) const ENGINE_KEYS: [&str; 2] = ["drain", "max_in_flight"];

const DAY_MS: u64 = 24 * 3_600_000;

/// `[http]`: how requests are sent and how much of an answer is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// The name under which requests are sent, and by which robots.txt files address us. Default `trundle/VERSION`; a crawl of
    /// other people's hosts should say whose it is.
    pub user_agent: String,
    /// The longest that one request may take, in ms, 100 ms to one day. Default 30 s.
    pub timeout_ms: u64,
    /// The longest that a connection may take to be made, in ms, 100 ms to ten minutes. Default 10 s.
    pub connect_timeout_ms: u64,
    /// The longest silence within an answer, in ms, 100 ms to one hour. Default 15 s.
    pub idle_timeout_ms: u64,
    /// As much of a body as is read, in bytes after decoding, 1 KiB to 16 GiB. Default 32 MiB.
    pub body_bytes_max: u64,
    /// Redirects in a row that are followed, 0..=50. Default 10.
    pub redirects_max: usize,
    /// Codings that are accepted, the dearest first: of `zstd`, `br`, `gzip`, `deflate`. Default all.
    pub compression: Vec<String>,
    /// How requests leave. Default by the environment.
    pub proxy: Proxy,
    /// What `Accept-Language` says; none by default.
    pub accept_language: Option<String>,
}

/// `[engine]`: limits of the whole program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Requests in flight over all hosts, 1..=10,000. Default 256.
    pub in_flight_max: u32,
    /// How long requests in flight may take to end when the crawl is asked to stop, in ms. Default 30 s, one request's time.
    pub drain_ms: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            user_agent: concat!("trundle/", env!("CARGO_PKG_VERSION")).to_owned(),
            timeout_ms: 30_000,
            connect_timeout_ms: 10_000,
            idle_timeout_ms: 15_000,
            body_bytes_max: 32 << 20,
            redirects_max: 10,
            compression: ["zstd", "br", "gzip", "deflate"].map(str::to_owned).to_vec(),
            proxy: Proxy::Env,
            accept_language: None,
        }
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { in_flight_max: 256, drain_ms: 30_000 }
    }
}

pub(super) fn read_store(root: &Section<'_>) -> PathBuf {
    let path = root.section("store").and_then(|section| {
        section.check_keys(&STORE_KEYS, &["url"]);
        let field = section.get("path")?;
        Some(field.context.resolve(field.plain_text()?))
    });
    path.unwrap_or_else(|| root.resolve(STORE_DEFAULT))
}

pub(super) fn read_http(root: &Section<'_>) -> HttpConfig {
    let mut http = HttpConfig::default();
    let Some(section) = root.section("http") else { return http };
    section.check_keys(&HTTP_KEYS, &["auth", "cookies", "headers"]);
    section.set("user_agent", &mut http.user_agent, |field| {
        let text = field.plain_text()?;
        let sendable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if !sendable {
            field.wrong("a text of ASCII letters, digits and signs");
        }
        sendable.then(|| text.to_owned())
    });
    section.set("timeout", &mut http.timeout_ms, |field| field.duration_ms(100..=DAY_MS));
    section.set("connect_timeout", &mut http.connect_timeout_ms, |field| field.duration_ms(100..=600_000));
    section.set("idle_timeout", &mut http.idle_timeout_ms, |field| field.duration_ms(100..=3_600_000));
    section.set("max_body", &mut http.body_bytes_max, Field::size_bytes);
    section.set("max_redirects", &mut http.redirects_max, |field| Some(usize::from(field.count(0..=50_u16)?)));
    section.set("compression", &mut http.compression, |field| {
        let known = ["zstd", "br", "gzip", "deflate"].map(|coding| (coding, coding));
        Some(field.texts().iter().filter_map(|part| part.one_of(&known, &[])).map(str::to_owned).collect())
    });
    section.set("proxy", &mut http.proxy, proxy::read);
    section.set("accept_language", &mut http.accept_language, |field| {
        let text = field.text()?;
        if text.is_empty() { Some(None) } else { field.plain_text().map(|text| Some(text.to_owned())) }
    });
    http
}

pub(super) fn read_retry(root: &Section<'_>) -> RetrySettings {
    let mut retry = RetrySettings::default();
    let Some(section) = root.section("retry") else { return retry };
    section.check_keys(&RETRY_KEYS, &["give_up"]);
    section.set("attempts", &mut retry.attempts_max, |field| field.count(1..=1_000));
    section.set("base", &mut retry.base_ms, |field| field.duration_ms(1..=DAY_MS));
    section.set("max", &mut retry.max_ms, |field| field.duration_ms(1..=30 * DAY_MS));
    if retry.base_ms > retry.max_ms {
        let words = |ms: u64| format_duration(Duration::from_millis(ms)).to_string();
        let (base, max) = (words(retry.base_ms), words(retry.max_ms));
        section.complain(&format!("has a base, {base}, that is longer than max, {max}"));
    }
    retry
}

pub(super) fn read_cache(root: &Section<'_>) -> CacheSettings {
    let mut cache = CacheSettings::default();
    let Some(section) = root.section("cache") else { return cache };
    section.check_keys(&CACHE_KEYS, &[]);
    section.set("mode", &mut cache.mode, |field| {
        let words =
            [("revalidate", CacheMode::Revalidate), ("fresh-only", CacheMode::FreshOnly), ("off", CacheMode::Off)];
        field.one_of(&words, &[])
    });
    section.set("force_full", &mut cache.force_full_ms, |field| {
        if field.value.as_str() == Some("none") { Some(0) } else { field.duration_ms(1_000..=3_660 * DAY_MS) }
    });
    section.set("strict_no_store", &mut cache.strict_no_store, Field::flag);
    cache
}

pub(super) fn read_engine(root: &Section<'_>) -> EngineConfig {
    let mut engine = EngineConfig::default();
    let Some(section) = root.section("engine") else { return engine };
    section.check_keys(&ENGINE_KEYS, &[]);
    section.set("max_in_flight", &mut engine.in_flight_max, |field| field.count(1..=10_000));
    section.set("drain", &mut engine.drain_ms, |field| field.duration_ms(0..=DAY_MS));
    engine
}
