//! From what `crawl.toml` says to what the rooms are told.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use url::Url;

use crate::config::{self, Config, ConfigErrors, STORE_DEFAULT, Site, Stream};
use crate::engine::{
    self, BatchRule, Bounds, ChildRule, FieldOf, Plan, PullWishes, Save, Schedule, Seed, SitePlan, SiteScope, Source,
    StreamPlan, TokenPool, Values,
};
use crate::exchange::{AuthId, Secret};
use crate::fetch::{self, Auth, Coding, Credential, Grant, HostProxies};
use crate::interpret::{ItemRules, ItemSpec, JsonAt, NestedAt, PageRules, StreamRules, Take};
use crate::job::{JobKind, NewJob, Origin, Params, SourceId};
use crate::policy::{self, ScopeKind, ScopeRules};
use crate::store::{SourceKind, SourceName, SourceRow};

use super::{Failure, Global};

/// The file that is read when none is named.
pub(super) const CONFIG_DEFAULT: &str = "crawl.toml";

/// The practice crawl, which is also the documented list of defaults.
pub(super) const PRACTICE_TOML: &str = include_str!("../../crawl.toml");

/// Reads the configuration. `urls` on the command line are a crawl of their own when there is no file.
pub(super) fn load(global: &Global, urls: &[Url]) -> Result<Config, Failure> {
    let path = global.config.clone().unwrap_or_else(|| PathBuf::from(CONFIG_DEFAULT));
    let mut config = if has_no_file(global) {
        if urls.is_empty() {
            return Err(Failure::Usage(anyhow!(
                "there is no {CONFIG_DEFAULT} here; write one with `trundle init`, name one with --config, or name an \
                 address: `trundle run https://example.org/`"
            )));
        }
        let starts: Vec<String> = urls.iter().map(|url| toml_string(url.as_str())).collect();
        let text = format!("[site.web]\nstart = [{}]\n", starts.join(", "));
        Config::parse(&text, Path::new("command line")).map_err(usage)?
    } else {
        Config::load(&path).map_err(usage)?
    };
    if let Some(db) = &global.db {
        config.store_path.clone_from(db);
    }
    Ok(config)
}

/// The database that a reading verb looks into: `--db` needs no configuration, nor does what `trundle run URL` left here.
pub(super) fn store_path(global: &Global, config: Result<Config, Failure>) -> Result<PathBuf, Failure> {
    match (&global.db, config) {
        (Some(db), _) => Ok(db.clone()),
        (None, Ok(config)) => Ok(config.store_path),
        (None, Err(_)) if has_no_file(global) && Path::new(STORE_DEFAULT).exists() => Ok(PathBuf::from(STORE_DEFAULT)),
        (None, Err(failure)) => Err(failure),
    }
}

/// The address as the sites spell theirs.
pub(super) fn spelled(config: &Config, url: &Url) -> Url {
    let rules = config.sites.first().map(|site| site.url.clone()).unwrap_or_default();
    policy::canonicalize(url.clone(), &rules).unwrap_or_else(|_| url.clone())
}

/// Whether no configuration is named and none is here.
fn has_no_file(global: &Global) -> bool {
    global.config.is_none() && !Path::new(CONFIG_DEFAULT).exists()
}

/// The practice crawl, in a database of its own.
pub(super) fn load_practice(global: &Global) -> Result<Config, Failure> {
    let mut config = match &global.config {
        Some(path) => Config::load(path).map_err(usage)?,
        None => Config::parse(PRACTICE_TOML, Path::new(CONFIG_DEFAULT)).map_err(usage)?,
    };
    config.store_path = global.db.clone().unwrap_or_else(|| PathBuf::from("practice.db"));
    Ok(config)
}

pub(super) fn usage(errors: ConfigErrors) -> Failure {
    Failure::Usage(anyhow!(errors))
}

/// A basic string of TOML: what JSON calls a string is one.
fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The names of all sections, sites first, in the order of the file.
pub(super) fn source_names(config: &Config) -> Vec<SourceName> {
    let sites = config.sites.iter().map(|site| SourceName { kind: SourceKind::Site, name: site.name.clone() });
    let apis = config.apis.iter().map(|stream| SourceName { kind: SourceKind::Api, name: stream.name.clone() });
    sites.chain(apis).collect()
}

/// The plan of a run. `rows` number the sections in the order of [`source_names`].
pub(super) fn plan(config: &Config, rows: &[SourceRow], wishes: PullWishes) -> Result<Plan, Failure> {
    let agent = policy::agent_token(&config.http.user_agent).to_owned();
    let mut sources = HashMap::new();
    let mut sites = Vec::new();
    let (site_rows, stream_rows) = rows.split_at(config.sites.len());
    for (site, row) in config.sites.iter().zip(site_rows) {
        sites.push(row.id);
        sources.insert(row.id, Source::Site(Box::new(site_plan(site, &agent).map_err(Failure::Usage)?)));
    }
    for (stream, row) in config.apis.iter().zip(stream_rows) {
        sources.insert(row.id, Source::Stream(Box::new(stream_plan(config, stream).map_err(Failure::Usage)?)));
    }
    link_children(config, &mut sources, stream_rows).map_err(Failure::Usage)?;
    let bounds = Bounds {
        in_flight_max: config.engine.in_flight_max as usize,
        drain_ms: config.engine.drain_ms,
        ring: ring(config),
        ..Bounds::default()
    };
    let throttles = config.clone();
    let profiles = config.clone();
    Ok(Plan {
        sources,
        sites,
        retry: config.retry.clone(),
        redirects_max: config.http.redirects_max,
        agent,
        throttle_for: Box::new(move |origin: &Origin| throttles.throttle_for(origin)),
        profile_for: Box::new(move |url| profiles.profile_for(url)),
        bounds,
        wishes,
        cache: config.cache.clone(),
        sent_fields: sent_fields(config),
    })
}

/// Jobs of a host that are read ahead: four times as many as go into the largest request for several ids, so that it can be filled,
/// also in the queue of a narrow limit scope, which is a quarter as long.
fn ring(config: &Config) -> u32 {
    let sizes = config.apis.iter().filter_map(|stream| stream.keys.batch.as_ref()).map(|batch| batch.size_max);
    let least = Bounds::default().ring;
    sizes.max().map_or(least, |size| u32::try_from(4 * size).unwrap_or(u32::MAX).max(least))
}

/// What every request sends in the fields that answers may vary by.
fn sent_fields(config: &Config) -> Vec<(String, String)> {
    let http = &config.http;
    let mut fields = vec![("user-agent".to_owned(), http.user_agent.clone())];
    fields.extend(http.accept_language.iter().map(|language| ("accept-language".to_owned(), language.clone())));
    if !http.compression.is_empty() {
        fields.push(("accept-encoding".to_owned(), http.compression.join(", ")));
    }
    fields
}

/// A hash over what decides what is read out of answers.
fn rules_hash(rules: &impl std::fmt::Debug) -> [u8; 16] {
    let mut hash = [0; 16];
    hash.copy_from_slice(&blake3::hash(format!("{rules:?}").as_bytes()).as_bytes()[..16]);
    hash
}

/// When and for which values a stream is asked, and as whom, changes nothing of what is read.
fn stream_rules_hash(stream: &Stream) -> [u8; 16] {
    let mut stream = stream.clone();
    stream.headers.clear();
    stream.keys.each.clear();
    (stream.keys.each_file, stream.keys.every_ms, stream.keys.full_every_ms) = (None, None, None);
    rules_hash(&stream)
}

fn site_plan(site: &Site, agent: &str) -> anyhow::Result<SitePlan> {
    let mut scope = ScopeRules::new(site.scope, &site.start, &site.include, &site.exclude, site.depth);
    // Addresses of a file widen the scope as those of the list do; a scope of everything needs no look at them.
    if site.scope != ScopeKind::Any {
        for path in &site.start_files {
            for url in seed_file(path)? {
                scope.add_seed(&url);
            }
        }
    }
    let items = if site.items.is_empty() {
        None
    } else {
        let specs: Vec<(String, ItemSpec)> =
            site.items.iter().map(|(name, text)| (name.clone(), item_spec(text))).collect();
        Some(ItemRules::compile(&specs).with_context(|| format!("[site.{}.items]", site.name))?)
    };
    Ok(SitePlan {
        name: site.name.clone(),
        scope: SiteScope::new(scope),
        url: site.url.clone(),
        pages_max: site.max_pages,
        robots: site.robots,
        sitemap: site.sitemap,
        feeds: site.feeds,
        save: match site.save {
            config::Save::Body => Save::Body,
            config::Save::Headers => Save::Headers,
            config::Save::None => Save::Nothing,
        },
        types: Arc::from(site.types.clone()),
        page: PageRules { items, agent: agent.to_owned(), ..PageRules::default() },
        // How often and how much is fetched changes nothing of what is read.
        rules: rules_hash(&Site { recrawl: None, max_pages: 0, ..site.clone() }),
        recrawl: site.recrawl,
    })
}

/// A field's rule: the long form as it is, a plain string in the short form of the room that reads it.
fn item_spec(text: &config::ItemSpecText) -> ItemSpec {
    if text.attr.is_none() && !text.list && !text.html {
        return ItemSpec::parse(&text.select);
    }
    let take = match (&text.attr, text.html) {
        (Some(attr), _) => Take::Attr(attr.to_ascii_lowercase()),
        (None, true) => Take::Html,
        (None, false) => Take::Text,
    };
    ItemSpec { selector: text.select.clone(), take, list: text.list }
}

/// The section in which the credentials of a stream stand, with a mark that changes when they do; empty without any. The tokens of a pool
/// are one credential.
fn credential_name(stream: &Stream) -> String {
    let Some(auth) = &stream.auth else { return String::new() };
    let secrets: Vec<&str> = match &auth.auth {
        Auth::Bearer(tokens) => tokens.iter().map(|token| token.0.as_str()).collect(),
        Auth::Basic { username, password } => vec![&username.0, &password.0],
        Auth::ApiKey { name, value, .. } => vec![name, &value.0],
        Auth::OAuth2(oauth) => {
            let refresh = match &oauth.grant {
                Grant::RefreshToken(token) => Some(token.0.as_str()),
                Grant::ClientCredentials => None,
            };
            let scope = oauth.scope.as_deref();
            std::iter::once(oauth.client_id.0.as_str()).chain(refresh).chain(scope).collect()
        }
    };
    format!("{} {}", auth.section, engine::credential_mark(secrets))
}

fn stream_plan(config: &Config, stream: &Stream) -> anyhow::Result<StreamPlan> {
    let section = || format!("[api.{}]", stream.name);
    let origin = Origin::of(&stream.first.base).ok_or_else(|| anyhow!("{}: its address has no host", section()))?;
    let keys = &stream.keys;
    Ok(StreamPlan {
        name: stream.name.clone(),
        first: stream.first.clone(),
        origin,
        headers: stream.headers.clone(),
        auth: auth_id(config, stream),
        tokens: token_pool(config, stream),
        credential: credential_name(stream),
        compress: stream.compress,
        rules: stream_rules(stream),
        windows: keys.windows.clone(),
        incremental: keys.incremental.as_ref().map(|incremental| (incremental.field.clone(), incremental.rule.clone())),
        merge: keys.merge,
        filter: keys.filter.clone(),
        schedule: Schedule {
            every_ms: keys.every_ms,
            full_every_ms: keys.full_every_ms,
            parent: None,
            seeds: seeds_hash(stream).with_context(section)?,
            is_incremental: keys.incremental.is_some(),
        },
        values: values(stream),
        children: Vec::new(),
        is_nested: stream.paginate.nested.is_some(),
        include: includes(config, stream),
        batch: keys.batch.as_ref().map(|batch| BatchRule { at: batch.at.clone(), missing: batch.missing }),
        errors: keys.errors.clone(),
        // When and for which values it is asked changes nothing of what is read.
        rules_hash: stream_rules_hash(stream),
    })
}

/// The member that a record gets for a name of `include`, and the value of the slice that it holds: `number` of the parent `issues`
/// becomes `_issues_number`, `each` becomes `_each`.
fn included(stream: &Stream, name: &str) -> (String, String) {
    match &stream.keys.parent {
        Some(parent) => (format!("_{}_{}", parent.stream, name.replace('.', "_")), format!("{}.{name}", parent.stream)),
        None => (format!("_{name}"), name.to_owned()),
    }
}

/// What of its slice each record of a stream gets. One that comes within a record of another stream has at least that one's key, and the
/// fields that its own requests need of a record without one.
fn includes(config: &Config, stream: &Stream) -> Vec<(String, String)> {
    let names = &stream.keys.include;
    let parent = stream.keys.parent.as_ref().filter(|_| names.is_empty() && stream.paginate.nested.is_some());
    let Some(parent) = parent else { return names.iter().map(|name| included(stream, name)).collect() };
    let above = config.apis.iter().find(|other| other.name == format!("{}.{}", api_of(stream), parent.stream));
    let key = above.map_or(&[][..], |above| &above.key);
    let mut names: Vec<String> = key.iter().map(|at| at.as_str().trim_start_matches("$.").to_owned()).collect();
    if names.is_empty() {
        let used = stream.first.names_used();
        let fields = used.iter().filter_map(|name| name.strip_prefix(&parent.stream)?.strip_prefix('.'));
        names.extend(fields.map(str::to_owned));
    }
    names.iter().map(|name| included(stream, name)).collect()
}

/// The name of the API that a stream belongs to.
fn api_of(stream: &Stream) -> &str {
    stream.name.split('.').next().unwrap_or_default()
}

/// Tells each stream which others hang on its records, and what of them those need.
fn link_children(config: &Config, sources: &mut HashMap<SourceId, Source>, rows: &[SourceRow]) -> anyhow::Result<()> {
    let siblings: Vec<(&Stream, SourceId)> = config.apis.iter().zip(rows.iter().map(|row| row.id)).collect();
    let parent_of = |stream: &Stream| {
        let parent = format!("{}.{}", api_of(stream), stream.keys.parent.as_ref()?.stream);
        siblings.iter().find(|(other, _)| other.name == parent)
    };
    // What a stream's slices must hold: what it uses itself, and what those below it take from its slices.
    let mut needed: HashMap<&str, Vec<String>> = HashMap::new();
    for (stream, _) in &siblings {
        let of_include = includes(config, stream).into_iter().map(|(_, value)| value);
        needed.insert(&stream.name, stream.first.names_used().into_iter().chain(of_include).collect());
    }
    // As deep as streams can hang on each other.
    for _ in 0..siblings.len() {
        for (stream, _) in &siblings {
            let (Some((above, _)), Some(link)) = (parent_of(stream), &stream.keys.parent) else { continue };
            let passed: Vec<String> = needed[stream.name.as_str()]
                .iter()
                .filter_map(|name| name.strip_prefix(&link.stream)?.strip_prefix('.'))
                .filter(|field| is_of_slice(above, field))
                .map(str::to_owned)
                .collect();
            let names = needed.entry(&above.name).or_default();
            names.extend(passed);
            names.sort();
            names.dedup();
        }
    }
    for (stream, id) in &siblings {
        let (Some((above, above_id)), Some(link)) = (parent_of(stream), &stream.keys.parent) else { continue };
        let mut fields = Vec::new();
        for name in &needed[stream.name.as_str()] {
            let Some(field) = name.strip_prefix(&link.stream).and_then(|rest| rest.strip_prefix('.')) else { continue };
            let from = if is_of_slice(above, field) {
                FieldOf::Slice(field.to_owned())
            } else {
                FieldOf::Record(JsonAt::parse(field).with_context(|| format!("[api.{}]: {{{name}}}", stream.name))?)
            };
            fields.push((name.clone(), from));
        }
        if let Some(Source::Stream(plan)) = sources.get_mut(id) {
            plan.schedule.parent = Some(*above_id);
        }
        if let Some(Source::Stream(plan)) = sources.get_mut(above_id) {
            let nested = stream.paginate.nested.as_ref().map(|at| {
                plan.rules.nested.push(NestedAt::new(at.clone(), &stream.records));
                plan.rules.nested.len() - 1
            });
            plan.children.push(ChildRule { source: *id, filter: link.filter.clone(), nested, fields });
        }
    }
    Ok(())
}

/// Whether a field of a parent is a value of its slice, and not of its records: `{issues.each}`, `{comments.issues.number}`.
fn is_of_slice(parent: &Stream, field: &str) -> bool {
    let is_each = field == "each" && (!parent.keys.each.is_empty() || parent.keys.each_file.is_some());
    let is_above = parent
        .keys
        .parent
        .as_ref()
        .is_some_and(|above| field.strip_prefix(&above.stream).is_some_and(|rest| rest.starts_with('.')));
    is_each || is_above
}

/// How the answers of a stream are read.
pub(super) fn stream_rules(stream: &Stream) -> StreamRules {
    let paginate = &stream.paginate;
    StreamRules {
        records: stream.records.clone(),
        paginate: paginate.scheme.clone(),
        ends: paginate.ends.clone(),
        size_send: paginate.size_send.clone(),
        key: stream.key.clone(),
        pages_max: u32::try_from(paginate.pages_max).unwrap_or(u32::MAX),
        // Which other streams hang on its records is not known yet.
        nested: Vec::new(),
    }
}

/// How requests are sent.
pub(super) fn fetch_settings(config: &Config) -> fetch::Settings {
    let http = &config.http;
    fetch::Settings {
        user_agent: http.user_agent.clone(),
        accept_language: http.accept_language.clone(),
        timeout_ms: http.timeout_ms,
        connect_timeout_ms: http.connect_timeout_ms,
        idle_timeout_ms: http.idle_timeout_ms,
        body_bytes_max: http.body_bytes_max,
        compression: http.compression.iter().filter_map(|name| coding(name)).collect(),
        proxy: proxy(&http.proxy),
        host_proxies: HostProxies {
            sets: config.host_proxies().into_iter().map(proxy).collect(),
            which: {
                let config = config.clone();
                Arc::new(move |origin| config.host_proxy(origin))
            },
        },
        ..fetch::Settings::default()
    }
}

fn proxy(proxy: &config::Proxy) -> fetch::Proxy {
    match proxy {
        config::Proxy::Env => fetch::Proxy::System,
        config::Proxy::Direct => fetch::Proxy::None,
        config::Proxy::Via(addresses) => fetch::Proxy::List(addresses.clone()),
    }
}

/// All credentials, each once however many streams share it, in the order of [`auth_id`].
pub(super) fn credentials(config: &Config) -> Vec<Credential> {
    let mut all: Vec<Credential> = Vec::new();
    for stream in &config.apis {
        let Some(auth) = &stream.auth else { continue };
        let place = all.iter().position(|known| known.section == auth.section).unwrap_or_else(|| {
            all.push(Credential { section: auth.section.clone(), auth: auth.auth.clone(), origins: Vec::new() });
            all.len() - 1
        });
        let origins = &mut all[place].origins;
        for origin in Origin::of(&stream.first.base).into_iter().chain(stream.auth_hosts.iter().cloned()) {
            if !origins.contains(&origin) {
                origins.push(origin);
            }
        }
    }
    all
}

/// The tokens of a stream, if it has more than one.
fn token_pool(config: &Config, stream: &Stream) -> Option<TokenPool> {
    let Auth::Bearer(tokens) = &stream.auth.as_ref()?.auth else { return None };
    if tokens.len() < 2 {
        return None;
    }
    let mark =
        |token: &Secret| u16::from_str_radix(&engine::credential_mark([token.0.as_str()]), 16).unwrap_or(0).max(1);
    let marks = tokens.iter().map(mark).collect();
    let section = &stream.auth.as_ref()?.section;
    let Credential { section, origins, .. } =
        credentials(config).into_iter().find(|known| known.section == *section)?;
    Some(TokenPool { section, marks, origins })
}

/// The number of a stream's credentials.
fn auth_id(config: &Config, stream: &Stream) -> Option<AuthId> {
    let mut sections: Vec<&str> = Vec::new();
    for auth in config.apis.iter().filter_map(|stream| stream.auth.as_ref()) {
        if !sections.contains(&auth.section.as_str()) {
            sections.push(&auth.section);
        }
    }
    let place = sections.iter().position(|section| *section == stream.auth.as_ref().map_or("", |auth| &auth.section));
    place.and_then(|place| u16::try_from(place).ok()).map(AuthId)
}

fn coding(name: &str) -> Option<Coding> {
    match name {
        "gzip" => Some(Coding::Gzip),
        "br" => Some(Coding::Brotli),
        "zstd" => Some(Coding::Zstd),
        "deflate" => Some(Coding::Deflate),
        _ => None,
    }
}

/// What the configuration and the command line name as starting points, in the numbering of `rows`.
pub(super) fn seeds(
    config: &Config,
    rows: &[SourceRow],
    urls: &[Url],
) -> Result<Box<dyn Iterator<Item = Seed> + Send>, Failure> {
    let mut seeds: Vec<NewJob> = Vec::new();
    let mut files: Vec<(PathBuf, SourceId)> = Vec::new();
    for (site, row) in config.sites.iter().zip(rows) {
        let mut origins: Vec<Origin> = Vec::new();
        for url in &site.start {
            let url = policy::canonicalize(url.clone(), &site.url)
                .with_context(|| format!("[site.{}]: start {url}", site.name))
                .map_err(Failure::Usage)?;
            if let Some(origin) = Origin::of(&url)
                && !origins.contains(&origin)
            {
                origins.push(origin);
            }
            seeds.push(NewJob::seed(url, JobKind::Page, row.id));
        }
        if site.sitemap {
            let sitemaps = origins.iter().filter_map(|origin| origin.join("/sitemap.xml").ok());
            seeds.extend(sitemaps.map(|url| NewJob::seed(url, JobKind::Sitemap, row.id)));
        }
        files.extend(site.start_files.iter().map(|path| (path.clone(), row.id)));
    }
    for url in urls {
        let (url, id) = site_of(config, rows, url)?;
        seeds.push(NewJob::seed(url, JobKind::Page, id));
    }
    let mut more: Vec<Box<dyn Iterator<Item = Seed> + Send>> = Vec::new();
    for (path, id) in files {
        let urls = seed_file(&path).map_err(Failure::Usage)?;
        more.push(Box::new(urls.map(move |url| Seed::Job(NewJob::seed(url, JobKind::Page, id)))));
    }
    Ok(Box::new(seeds.into_iter().map(Seed::Job).chain(more.into_iter().flatten())))
}

/// The values of the slices that a stream begins with; none for one that hangs on the records of another.
fn values(stream: &Stream) -> Values {
    let (list, file) = (stream.keys.each.clone(), stream.keys.each_file.clone());
    let is_child = stream.keys.parent.is_some();
    let each = |value: String| Params::from_iter([("each".to_owned(), value.into())]);
    Box::new(move || {
        if is_child {
            return Box::new(std::iter::empty());
        }
        let values = list.clone().into_iter().map(each);
        match &file {
            None if list.is_empty() => Box::new(std::iter::once(Params::new())),
            None => Box::new(values),
            Some(path) => match lines(path) {
                Ok(lines) => Box::new(values.chain(lines.map(each))),
                // It was there when the run began.
                Err(error) => {
                    tracing::error!("{error:#}; its values are left out");
                    Box::new(values)
                }
            },
        }
    })
}

/// What the first slices of a stream are made of, as a hash: when it has changed, there are others to make.
fn seeds_hash(stream: &Stream) -> anyhow::Result<String> {
    let mut hash = blake3::Hasher::new();
    for value in &stream.keys.each {
        hash.update(value.as_bytes()).update(&[0xff]);
    }
    if let Some(path) = &stream.keys.each_file {
        let file = std::fs::File::open(path).with_context(|| format!("open the file {}", path.display()))?;
        hash.update_reader(file).with_context(|| format!("read the file {}", path.display()))?;
    }
    if let Some(windows) = &stream.keys.windows {
        hash.update(format!("{windows:?}").as_bytes());
    }
    Ok(hash.finalize().to_hex()[..16].to_owned())
}

/// The lines of a file with values, without blank ones and those that start with `#`.
fn lines(path: &Path) -> anyhow::Result<impl Iterator<Item = String> + Send + use<>> {
    use std::io::BufRead as _;
    let file = std::fs::File::open(path).with_context(|| format!("open the file {}", path.display()))?;
    let lines = std::io::BufReader::new(file).lines().map_while(Result::ok).map(|line| line.trim().to_owned());
    Ok(lines.filter(|line| !line.is_empty() && !line.starts_with('#')))
}

/// The site whose scope holds `url`, with the address as that site spells it; the only site takes any address.
pub(super) fn site_of(config: &Config, rows: &[SourceRow], url: &Url) -> Result<(Url, SourceId), Failure> {
    let mut why = String::new();
    for (site, row) in config.sites.iter().zip(rows) {
        let canonical = match policy::canonicalize(url.clone(), &site.url) {
            Ok(canonical) => canonical,
            Err(rejected) => return Err(Failure::Usage(anyhow!("{url}: {rejected}"))),
        };
        let scope = ScopeRules::new(site.scope, &site.start, &site.include, &site.exclude, site.depth);
        match scope.judge(&canonical, 0) {
            policy::ScopeVerdict::In => return Ok((canonical, row.id)),
            policy::ScopeVerdict::Out(reason) => why.push_str(&format!("\n  [site.{}]: {reason}", site.name)),
        }
    }
    Err(Failure::Usage(anyhow!(
        "{url} is in no site's scope:{why}\n  widen a scope, or add it to the `start` of a site"
    )))
}

/// The addresses of a seed file: one a line, blank lines and lines that start with `#` left out. A line that is no address
/// is told and left out; it must not stop a crawl of the other million.
pub(super) fn seed_file(path: &Path) -> anyhow::Result<impl Iterator<Item = Url> + Send + use<>> {
    use std::io::BufRead as _;
    let file = std::fs::File::open(path).with_context(|| format!("open the seed file {}", path.display()))?;
    let shown = path.display().to_string();
    Ok(std::io::BufReader::new(file).lines().map_while(Result::ok).enumerate().filter_map(move |(index, line)| {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        match Url::parse(line) {
            Ok(url) if Origin::of(&url).is_some() => {
                let canonical = policy::canonicalize(url, &policy::UrlRules::default());
                canonical.map_err(|rejected| tracing::warn!("{shown}:{}: left out: {rejected}", index + 1)).ok()
            }
            _ => {
                tracing::warn!("{shown}:{}: left out: not an http or https address", index + 1);
                None
            }
        }
    }))
}
