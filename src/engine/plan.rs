//! What a run is told: the sections of `crawl.toml`, compiled.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use url::Url;

use crate::exchange::{AuthId, BodyCoding, Secret};
use crate::interpret::{ErrorRule, JsonAt, PageRules, RecordFilter, StreamRules};
use crate::job::{Job, JobKind, Merge, Origin, Params, SourceId, Walk};
use crate::policy::cache::{CacheSettings, RecrawlSettings};
use crate::policy::{RetrySettings, ScopeRules, ScopeVerdict, UrlRules};
use crate::stream::{Batch, CallTemplate, Incremental, Missing, Windows};
use crate::throttle::{self, PoolKind, PoolOf, ProfileChoice};

use super::pulls::{PullWishes, Schedule};

/// The whole plan. Shared by the dispatcher and the workers, never changed during a run.
pub struct Plan {
    /// The sections by the number that the store gave them.
    pub sources: HashMap<SourceId, Source>,
    /// The site sections in the order of the file: the first whose scope holds an address gets it.
    pub sites: Vec<SourceId>,
    /// When to try again.
    pub retry: RetrySettings,
    /// Redirects that are followed for one address, at most.
    pub redirects_max: usize,
    /// The product token of our User-Agent, for robots.txt.
    pub agent: String,
    /// The user's ceilings for a host.
    pub throttle_for: Box<dyn Fn(&Origin) -> throttle::Settings + Send + Sync>,
    /// Which profile of a provider is for an address.
    pub profile_for: Box<dyn Fn(&Url) -> ProfileChoice + Send + Sync>,
    /// Bounds of the run as a whole.
    pub bounds: Bounds,
    /// What is asked of the pulls of streams beside their schedules.
    pub wishes: PullWishes,
    /// How answers that are held already are used.
    pub cache: CacheSettings,
    /// What every request sends in the fields that answers may vary by, names in lower case.
    pub sent_fields: Vec<(String, String)>,
}

/// Bounds of a run: memory does not grow with the queue.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Requests in flight over all hosts, 1..=10,000. Default 256.
    pub in_flight_max: usize,
    /// Settlements that are not committed yet, beyond which nothing new is sent. Default 2,000.
    pub uncommitted_max: usize,
    /// Bytes in settlements that are not committed yet, beyond which nothing new is sent. Default 64 MiB.
    pub uncommitted_bytes_max: usize,
    /// Jobs of one host that are read ahead, and a quarter of that for each of its narrow limit scopes. Default 64.
    pub ring: u32,
    /// How long a soft stop waits for the requests in flight, in ms. Default 10,000.
    pub drain_ms: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { in_flight_max: 256, uncommitted_max: 2_000, uncommitted_bytes_max: 64 << 20, ring: 64, drain_ms: 10_000 }
    }
}

/// One section.
pub enum Source {
    /// `[site.NAME]`
    Site(Box<SitePlan>),
    /// `[api.NAME]` or `[api.NAME.stream.NAME]`
    Stream(Box<StreamPlan>),
}

/// A site to crawl.
pub struct SitePlan {
    /// The section's name.
    pub name: String,
    /// Which addresses belong to it.
    pub scope: SiteScope,
    /// How addresses are made canonical.
    pub url: UrlRules,
    /// Pages to fetch at most; 0 is no limit.
    pub pages_max: u64,
    /// Whether robots.txt is obeyed.
    pub robots: bool,
    /// Whether sitemaps are read.
    pub sitemap: bool,
    /// Whether feeds are read.
    pub feeds: bool,
    /// What of an answer is kept.
    pub save: Save,
    /// Media types that are wanted.
    pub types: Arc<[String]>,
    /// How pages are read.
    pub page: PageRules,
    /// Hash over all that decides what is read out of a page: with another one, what is held is fetched in full.
    pub rules: [u8; 16],
    /// When its pages are fetched again; none fetches each once.
    pub recrawl: Option<RecrawlSettings>,
}

/// A site's scope, which grows when a seed turns out to live elsewhere: `http://example.org/` at `https://www.example.org/`.
pub struct SiteScope(RwLock<ScopeRules>);

impl SiteScope {
    /// The scope that the configuration describes.
    #[must_use]
    pub fn new(rules: ScopeRules) -> Self {
        Self(RwLock::new(rules))
    }

    /// Whether an address found `depth` links from a seed belongs to the site.
    pub fn judge(&self, url: &Url, depth: u32) -> ScopeVerdict {
        self.0.read().unwrap_or_else(PoisonError::into_inner).judge(url, depth)
    }

    /// Takes in the place where a seed's redirect led.
    pub fn widen(&self, seed: &Url) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).add_seed(seed);
    }
}

/// What of an answer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Save {
    /// Status, headers and body.
    Body,
    /// Status and headers.
    Headers,
    /// The status and what was read out of it.
    Nothing,
}

/// An API stream to pull.
pub struct StreamPlan {
    /// The section's name.
    pub name: String,
    /// What its first requests are made of.
    pub first: CallTemplate,
    /// The origin to which the headers below may go, and no other.
    pub origin: Origin,
    /// Headers of each request; their values may be secrets.
    pub headers: Vec<(String, Secret)>,
    /// As whom it is asked; the fetcher knows the secrets, and to whom they may go.
    pub auth: Option<AuthId>,
    /// The pool of tokens of `auth`, if they are more than one.
    pub tokens: Option<TokenPool>,
    /// A name for the credentials, never a secret: what was answered under another one is not asked for conditionally.
    pub credential: String,
    /// How the bodies of requests are compressed.
    pub compress: Option<BodyCoding>,
    /// How answers are read.
    pub rules: StreamRules,
    /// The windows of time that it is cut into, if it is.
    pub windows: Option<Windows>,
    /// What becomes of a stored record that is met again.
    pub merge: Merge,
    /// Which records are kept; none means all. What a page leads to does not depend on it.
    pub filter: Option<RecordFilter>,
    /// How it is asked only for what is new, with the place of the value in a record.
    pub incremental: Option<(JsonAt, Incremental)>,
    /// When it is pulled, and whether its slices are made by records of another stream.
    pub schedule: Schedule,
    /// The values of the slices that it begins with, read when they are needed; one without values for a stream that is one walk.
    pub values: Values,
    /// The streams whose slices its records make.
    pub children: Vec<ChildRule>,
    /// Whether the first records of its slices come within those of its parent.
    pub is_nested: bool,
    /// Members that each record gets: their names, and the values of the slice that they hold.
    pub include: Vec<(String, String)>,
    /// What becomes of ids that are asked for together, for a stream that does so.
    pub batch: Option<BatchRule>,
    /// What the user says about answers that are no records; the first that matches counts, before all rules of ours.
    pub errors: Vec<ErrorRule>,
    /// Hash over all that decides what is read out of a page: with another one, what is held is fetched in full.
    pub rules_hash: [u8; 16],
}

impl StreamPlan {
    /// A stream of one endpoint: one walk from its first page at `url` to its last.
    #[must_use]
    pub fn of_endpoint(name: &str, url: Url, origin: Origin, rules: StreamRules) -> Self {
        Self {
            name: name.to_owned(),
            first: CallTemplate::get(url),
            origin,
            headers: Vec::new(),
            auth: None,
            tokens: None,
            credential: String::new(),
            compress: None,
            rules,
            windows: None,
            merge: Merge::Replace,
            filter: None,
            incremental: None,
            schedule: Schedule::default(),
            values: Box::new(|| Box::new(std::iter::once(Params::new()))),
            children: Vec::new(),
            is_nested: false,
            include: Vec::new(),
            batch: None,
            errors: Vec::new(),
            rules_hash: [0; 16],
        }
    }
}

/// Interchangeable tokens, each with limits of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPool {
    /// The section that they stand in, such as `api.gh`: limits are known by it and the number of the token.
    pub section: String,
    /// A mark of each token, never a secret, above 0: by it a token is known again at another place.
    pub marks: Vec<u16>,
    /// The origins that may see them.
    pub origins: Vec<Origin>,
}

/// What becomes of the ids of a batch when it is answered.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchRule {
    /// Where a record has its id; none when nobody looks whether all have come.
    pub at: Option<JsonAt>,
    /// What becomes of an id without a record.
    pub missing: Missing,
}

/// Makes the values of the first slices of a stream.
pub type Values = Box<dyn Fn() -> Box<dyn Iterator<Item = Params> + Send> + Send + Sync>;

/// How the records of a stream make slices of another.
pub struct ChildRule {
    /// The other stream.
    pub source: SourceId,
    /// Which records do; none means all.
    pub filter: Option<RecordFilter>,
    /// Which of the connections within a record has the first records of the slice, by its place in [`StreamRules::nested`]; none for a
    /// stream that is asked by itself.
    pub nested: Option<usize>,
    /// The values of the slice: their names, and where they come from.
    pub fields: Vec<(String, FieldOf)>,
}

/// Where a value of a child's slice comes from.
pub enum FieldOf {
    /// From the record.
    Record(JsonAt),
    /// From the slice that the record belongs to, by this name.
    Slice(String),
}

impl Plan {
    /// The site that `id` numbers; none for a stream or a section that is no longer in the file.
    #[must_use]
    pub fn site(&self, id: SourceId) -> Option<&SitePlan> {
        match self.sources.get(&id) {
            Some(Source::Site(site)) => Some(site),
            _ => None,
        }
    }

    /// How a job is asked for together with others; none for one that goes alone, as next pages do, and where redirects lead.
    #[must_use]
    pub fn batch_of<'a>(&'a self, job: &'a Job) -> Option<(&'a Batch, &'a Walk)> {
        let walk = job.walk.as_deref()?;
        Some((
            self.stream(job.source)?.first.batch.as_ref().filter(|_| job.depth == 0 && job.redirects.is_empty())?,
            walk,
        ))
    }

    /// The pools of tokens that an origin is asked with.
    pub(super) fn token_pools(&self, origin: &Origin) -> Vec<PoolOf> {
        let mut pools: Vec<PoolOf> = Vec::new();
        for source in self.sources.values() {
            let Source::Stream(stream) = source else { continue };
            let Some((auth, tokens)) = stream.auth.zip(stream.tokens.as_ref()) else { continue };
            let kind = PoolKind::Tokens(auth);
            if tokens.origins.contains(origin) && !pools.iter().any(|pool| pool.kind == kind) {
                let TokenPool { section, marks, .. } = tokens;
                let members = (1..=marks.len()).map(|number| format!("{section} token {number}").into()).collect();
                let name = format!("{section} tokens").into();
                pools.push(PoolOf { kind, name, members, marks: marks.clone() });
            }
        }
        pools.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        pools
    }

    /// With which credentials a job is sent; none for pages of sites.
    pub(super) fn auth_of(&self, job: &Job) -> Option<AuthId> {
        self.stream(job.source).filter(|_| job.kind == JobKind::ApiPage)?.auth
    }

    /// The stream that `id` numbers; none for a site or a section that is no longer in the file.
    #[must_use]
    pub fn stream(&self, id: SourceId) -> Option<&StreamPlan> {
        match self.sources.get(&id) {
            Some(Source::Stream(stream)) => Some(stream),
            _ => None,
        }
    }
}
