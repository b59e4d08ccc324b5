//! `crawl.toml` to the settings of each room.
//!
//! Enters: the text of the file, the environment for `${NAME}` in headers, auth and proxies, and the files that secrets are in.
//! Leaves: a [`Config`] that is whole and checked, or all problems of the file, each with its line. Deliberately absent: opening
//! what else the settings name (stores, seed files), and the meaning of selectors, which their room compiles.

mod api;
mod auth;
mod context;
mod error;
mod global;
mod host;
mod paginate;
mod proxy;
mod section;
mod site;
mod stream;
mod template;
mod value;

pub use api::Stream;
pub use auth::StreamAuth;
pub use error::{ConfigErrors, Problem};
pub use global::{EngineConfig, HttpConfig, STORE_DEFAULT};
pub use host::{HostPattern, HostRule, ThrottleOverrides};
pub use paginate::PaginateConfig;
pub use proxy::Proxy;
pub use site::{ItemSpecText, Save, Site};
pub use stream::{BatchConfig, IncrementalConfig, Parent, StreamKeys};
pub use template::template;
pub use value::parse_rate;

use std::path::{Path, PathBuf};

use toml::de::DeTable;
use url::Url;

use crate::job::Origin;
use crate::policy::RetrySettings;
use crate::policy::cache::CacheSettings;
use crate::throttle;

use context::Context;
use section::Section;

/// All that a `crawl.toml` says, with defaults for what it leaves out.
#[derive(Clone, Debug)]
pub struct Config {
    /// The store's file; a relative path starts at the folder of `crawl.toml`. Default `crawl.db`.
    pub store_path: PathBuf,
    /// `[http]`: how requests are sent and how much of an answer is read.
    pub http: HttpConfig,
    /// `[throttle]`: the ceilings of every host.
    pub throttle: throttle::Settings,
    /// `[[host]]`: ceilings of some hosts, in the order of the file.
    pub hosts: Vec<HostRule>,
    /// `[cache]`: how answers that are held already are used.
    pub cache: CacheSettings,
    /// `[retry]`: how failed jobs are tried again.
    pub retry: RetrySettings,
    /// `[engine]`: limits of the whole program.
    pub engine: EngineConfig,
    /// `[site.NAME]`, in the order of the file.
    pub sites: Vec<Site>,
    /// The streams of all `[api.NAME]`, in the order of the file.
    pub apis: Vec<Stream>,
}

/// The sections of the file.
const SECTIONS: [&str; 9] = ["api", "cache", "engine", "host", "http", "retry", "site", "store", "throttle"];

/// Sections that later versions will read.
const SECTIONS_LATER: [&str; 2] = ["dashboard", "output"];

impl Config {
    /// Reads and checks the file at `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(error) => Err(ConfigErrors::unreadable(path, &error)),
        }
    }

    /// Checks `text`. `path` is used in messages, and its folder is where relative paths in the file start.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigErrors> {
        Self::parse_with(text, path, &|name| std::env::var(name).ok())
    }

    fn parse_with(text: &str, path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let context = Context::new(text, path, env);
        let (root, syntax_errors) = DeTable::parse_recoverable(text);
        for error in &syntax_errors {
            let span = error.span().unwrap_or(0..0);
            let what = match (error.message(), text.get(span.clone())) {
                (message @ "duplicate key", Some(key)) => format!("{message} \"{key}\""),
                (message, _) => message.to_owned(),
            };
            context.report(span.start, what);
        }
        // What a parser guesses past a syntax error is not worth complaining about.
        if !syntax_errors.is_empty() {
            return Err(context.into_errors());
        }
        let root = Section::root(root.get_ref(), &context);
        root.check_keys(&SECTIONS, &SECTIONS_LATER);
        let (throttle, hosts) = host::read(&root);
        let config = Self {
            store_path: global::read_store(&root),
            http: global::read_http(&root),
            throttle,
            hosts,
            cache: global::read_cache(&root),
            retry: global::read_retry(&root),
            engine: global::read_engine(&root),
            sites: root.sections("site").iter().filter_map(site::read).collect(),
            apis: root.sections("api").iter().flat_map(api::read).collect(),
        };
        if context.has_problems() { Err(context.into_errors()) } else { Ok(config) }
    }

    /// The ceilings of the host at `origin`: `[throttle]`, what the rules of its provider allow, then every `[[host]]` that
    /// matches, the more specific later.
    #[must_use]
    pub fn throttle_for(&self, origin: &Origin) -> throttle::Settings {
        host::throttle_for(&self.throttle, &self.hosts, origin)
    }

    /// The ways out that some hosts have for themselves, in the order of the file.
    #[must_use]
    pub fn host_proxies(&self) -> Vec<&Proxy> {
        self.hosts.iter().filter_map(|rule| rule.proxy.as_ref()).collect()
    }

    /// Which of [`Config::host_proxies`] is for the host at `origin`: that of the most specific `[[host]]` that has one.
    #[must_use]
    pub fn host_proxy(&self, origin: &Origin) -> Option<usize> {
        host::proxy_for(&self.hosts, origin)
    }

    /// Which profile of a provider is for `url`: that of the most specific `[[host]]` that names one.
    #[must_use]
    pub fn profile_for(&self, url: &Url) -> throttle::ProfileChoice {
        // Asked for every answer, and nearly nobody names one.
        if self.hosts.iter().all(|rule| rule.profile.unwrap_or_default() == throttle::ProfileChoice::Auto) {
            return throttle::ProfileChoice::Auto;
        }
        Origin::of(url).map(|origin| host::profile_for(&self.hosts, &origin)).unwrap_or_default()
    }
}

#[cfg(test)]
mod bad_file_tests;
#[cfg(test)]
mod tests;
