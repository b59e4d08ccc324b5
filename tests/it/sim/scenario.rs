//! A simulated web and what is expected of a crawl of it, as data.

use std::path::Path;

use serde::Deserialize;
use trundle::exchange::Via;

/// One file of `tests/scenarios`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Why the bands are what they are, in words.
    pub reason: String,
    /// How many times it is run, each time with other dice.
    #[serde(default = "three")]
    pub seeds: u64,
    /// Deaths of the process at random steps, at most `death_steps` apart.
    #[serde(default)]
    pub deaths: u32,
    /// Steps of the dispatcher between two deaths, at most.
    #[serde(default = "three_hundred")]
    pub death_steps: u64,
    /// The crawl.
    #[serde(default)]
    pub crawl: CrawlSpec,
    /// The web.
    pub host: Vec<HostSpec>,
}

/// What the user asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CrawlSpec {
    pub pages_max: u64,
    pub in_flight_max: usize,
    pub uncommitted_max: usize,
    pub concurrency: u32,
    pub concurrency_max: u32,
    pub delay_ms: u64,
    /// 0 is "none".
    pub rate_max_per_s: f64,
    pub down_max_s: u64,
    pub attempts_max: u32,
    /// Days after which the crawl is stopped whose pages are fetched again and again by `every = "auto"`; 0: each page once.
    pub days: u64,
    /// The bounds of their intervals.
    pub min_every_s: u64,
    pub max_every_s: u64,
}

impl Default for CrawlSpec {
    fn default() -> Self {
        Self {
            pages_max: 0,
            in_flight_max: 256,
            uncommitted_max: 2_000,
            concurrency: 4,
            concurrency_max: 8,
            delay_ms: 0,
            rate_max_per_s: 0.0,
            down_max_s: 24 * 3_600,
            attempts_max: 5,
            days: 0,
            min_every_s: 3_600,
            max_every_s: 30 * 86_400,
        }
    }
}

/// One host, or `copies` of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostSpec {
    pub name: String,
    /// 0: one, without a number behind its name.
    #[serde(default)]
    pub copies: u32,
    /// Pages of a tree in which each has four children, with two more links each.
    pub pages: u32,
    /// Whether the user names every page, not only the first.
    #[serde(default)]
    pub all_are_seeds: bool,
    /// Pages below /private/, linked from the first page.
    #[serde(default)]
    pub private: u32,
    /// Links to nothing, on the first page.
    #[serde(default)]
    pub missing: u32,
    /// Links to two addresses that redirect to each other.
    #[serde(default)]
    pub redirect_loop: bool,
    /// Records of an API that is paged with `Link` headers, 20 a page; 0 has none.
    #[serde(default)]
    pub records: u32,
    /// From sending to the answer, ms: least and most.
    #[serde(default = "latency")]
    pub latency_ms: (u64, u64),
    #[serde(default)]
    pub limiter: LimiterSpec,
    /// Whom it counts: with tokens, each of them has a limiter of its own.
    #[serde(default)]
    pub counts: Counts,
    /// Tokens in the pool that its API is asked with; 0 is none, and its API counts them only where it counts tokens.
    #[serde(default)]
    pub tokens: u16,
    /// Proxies by which it is asked, each with what the host allows it if it counts them.
    #[serde(default)]
    pub proxy: Vec<ProxySpec>,
    /// How a refusal says when to come back.
    #[serde(default)]
    pub retry_after: RetryAfter,
    /// By how much its clock is ahead of ours.
    #[serde(default)]
    pub clock_ahead_s: i64,
    /// Every n-th request is answered 500; 0: none.
    #[serde(default)]
    pub fails_every: u32,
    /// Answers 503 to the first requests for robots.txt.
    #[serde(default)]
    pub robots_failures: u32,
    /// Where robots.txt redirects to, as `http://other.test/robots.txt`.
    pub robots_at: Option<String>,
    /// The text of robots.txt; none is a 404.
    pub robots: Option<String>,
    #[serde(default)]
    pub trouble: Vec<Trouble>,
    #[serde(default)]
    pub part: Vec<PartSpec>,
    /// How often pages change: page n as the (n modulo count)-th says. With it, pages and robots.txt have ETags.
    #[serde(default)]
    pub change: Vec<ChangeSpec>,
    #[serde(default)]
    pub expect: Expect,
}

/// How often some pages change.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeSpec {
    /// Seconds between two changes; 0: none.
    pub every_s: u64,
    /// Mean time between two requests for one of these pages in the second half of the crawl, seconds.
    pub looks_s: Band,
}

/// Pages below a path of their own, as `/search?n=7`, all linked from the first page.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartSpec {
    pub path: String,
    pub pages: u32,
    /// What it allows, beside what the host does.
    #[serde(default)]
    pub limiter: LimiterSpec,
    #[serde(default)]
    pub tells: Tells,
    /// The resource that each answer of it names; the answers of the host name `core` if one of its parts has a resource.
    pub resource: Option<String>,
    /// Seconds from the start to the last answer.
    pub finish_s: Option<Band>,
}

/// Whom a host counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counts {
    /// All who ask, together.
    #[default]
    All,
    /// Each token; what is asked without one is not counted.
    Tokens,
    /// Each proxy.
    Proxies,
}

/// A proxy.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxySpec {
    pub name: String,
    #[serde(default)]
    pub limiter: LimiterSpec,
}

/// What a part says of its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tells {
    /// What its limiter does.
    #[default]
    Headers,
    /// When to come back, with a refusal.
    RetryAfter,
    Nothing,
}

/// What the host allows.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "kind")]
pub enum LimiterSpec {
    #[default]
    None,
    TokenBucket {
        per_s: u32,
        burst: u32,
    },
    FixedWindow {
        limit: u32,
        window_s: u32,
    },
    ConcurrencyCap {
        limit: u32,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryAfter {
    #[default]
    Seconds,
    Date,
    None,
}

/// A time in which the host is not itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trouble {
    /// Seconds from the start.
    pub from_s: u64,
    /// Seconds from the start.
    pub to_s: u64,
    pub answer: TroubleAnswer,
    /// What `Retry-After` says; 0 sends none.
    #[serde(default)]
    pub wait_s: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum TroubleAnswer {
    /// No connection.
    #[serde(rename = "closed")]
    Closed,
    /// Nothing comes until the client gives up.
    #[serde(rename = "silent")]
    Silent,
    #[serde(rename = "429")]
    TooMany,
    #[serde(rename = "500")]
    Error,
    #[serde(rename = "503")]
    Unavailable,
}

/// Least and most, both allowed.
pub type Band = (f64, f64);

/// What must come of one host. Counts are of pages (kind 0) unless they say otherwise.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    pub done: u64,
    pub gone: u64,
    pub dead: u64,
    /// Not asked when it is left out.
    pub skipped: Option<u64>,
    pub records: u64,
    /// Seconds from the start to the last answer.
    pub finish_s: Option<Band>,
    /// Requests that were refused: 429, or 503 with `Retry-After`.
    pub refused: Option<Band>,
    /// Requests in all, robots.txt too.
    pub requests: Option<Band>,
    /// Answers 304.
    pub not_modified: Option<Band>,
    /// What the reason of every dead or skipped page contains.
    pub reason: Option<String>,
    /// The narrow limit scopes that the store knows at the end, by name; not asked when it is left out.
    pub scopes: Option<Vec<String>>,
}

fn three() -> u64 {
    3
}

fn three_hundred() -> u64 {
    300
}

fn latency() -> (u64, u64) {
    (30, 60)
}

impl Scenario {
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        Self::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        let mut scenario: Self = toml::from_str(text)?;
        scenario.host = scenario.host.iter().flat_map(HostSpec::multiply).collect();
        Ok(scenario)
    }
}

impl HostSpec {
    fn multiply(&self) -> Vec<Self> {
        if self.copies == 0 {
            return vec![self.clone()];
        }
        (1..=self.copies)
            .map(|number| Self { name: format!("{}-{number}", self.name), copies: 0, ..self.clone() })
            .collect()
    }

    /// The section that its tokens stand in.
    pub fn pool_name(&self) -> String {
        format!("api.{}", self.name)
    }

    /// The limit scope of whom it counts, by the name that the store has for it; none where that is the host.
    pub fn member(&self, via: &Via) -> Option<String> {
        match self.counts {
            Counts::All => None,
            Counts::Tokens => via.token.map(|token| format!("{} token {}", self.pool_name(), token + 1)),
            Counts::Proxies => via.proxy.as_deref().map(|name| format!("proxy {name}")),
        }
    }

    pub fn origin(&self) -> String {
        format!("http://{}.test", self.name)
    }
}
