//! `trundle check`: what a crawl would do, without sending anything unless that is asked for.

use std::collections::HashMap;

use serde_json::{Value, json};
use url::Url;

use crate::config::{Config, PaginateConfig, Proxy, Stream};
use crate::engine::PullWishes;
use crate::exchange::{BodyCoding, Secret};
use crate::fetch::{Auth, Grant, KeyPlace, ProxyAddress};
use crate::interpret::{Ends, KeysetOrder, Paginate, StopSign};
use crate::job::{Call, Origin, Params, Payload, SourceId, Target};
use crate::store::{self, SourceName, SourceRow};
use crate::throttle;

use super::output::{duration, print_json, print_line, rate, size};
use super::sample::{self, Sample};
use super::{Context, ExitCode, Outcome, plan};

/// Options of `trundle check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Send the first request of each API stream, and show its records and its next page; nothing is stored
    #[arg(long)]
    fetch: bool,
}

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    let config = plan::load(&context.global, &[])?;
    // Compiles what only their rooms can judge: selectors and JSON paths.
    let rows: Vec<SourceRow> = plan::source_names(&config).into_iter().zip(1..).map(number).collect();
    let plan = plan::plan(&config, &rows, PullWishes::default())?;
    let views = store::view_names(&config.store_path, &plan::source_names(&config)).await?;
    let samples = if args.fetch { sample::take(&config, &rows, plan).await? } else { HashMap::new() };
    if context.global.json {
        print_json(&as_json(&config, &views, &samples))?;
    } else {
        for line in as_text(&config, &views, &samples) {
            print_line(&line)?;
        }
    }
    if samples.values().all(Sample::is_good) { Ok(ExitCode::Ok) } else { Ok(ExitCode::Error) }
}

fn number((source, id): (SourceName, u32)) -> SourceRow {
    SourceRow::new(SourceId(id), source)
}

fn as_text(config: &Config, views: &HashMap<String, String>, samples: &HashMap<String, Sample>) -> Vec<String> {
    let mut lines = vec![
        format!("store      {}", config.store_path.display()),
        format!("user agent {}", config.http.user_agent),
        format!(
            "limits     {} in flight, {} a body, {} a request",
            config.engine.in_flight_max,
            size(config.http.body_bytes_max),
            duration(config.http.timeout_ms)
        ),
        format!("each host  {}", ceilings(&config.throttle)),
    ];
    if config.http.proxy != Proxy::Env {
        lines.push(format!("proxy      {}", proxies(&config.http.proxy)));
    }
    for site in &config.sites {
        lines.push(String::new());
        lines.push(format!("[site.{}]", site.name));
        for url in &site.start {
            lines.push(format!("  GET {url}{}", of_its_own(config, url)));
        }
        for path in &site.start_files {
            lines.push(format!("  GET each address in {}", path.display()));
        }
        let scope = format!("{:?}", site.scope).to_lowercase();
        let mut words = vec![format!("scope {scope}")];
        words.push(if site.depth == 0 { "any depth".to_owned() } else { format!("depth {}", site.depth) });
        if site.max_pages > 0 {
            words.push(format!("at most {} pages", site.max_pages));
        }
        words.push(if site.robots { "robots.txt obeyed" } else { "robots.txt ignored" }.to_owned());
        words.push(if site.sitemap { "sitemaps read" } else { "no sitemaps" }.to_owned());
        words.push(if site.feeds { "feeds read" } else { "no feeds" }.to_owned());
        lines.push(format!("  {}", words.join(", ")));
        for pattern in &site.include {
            lines.push(format!("  only {pattern}"));
        }
        for pattern in &site.exclude {
            lines.push(format!("  not {pattern}"));
        }
        for (name, item) in &site.items {
            lines.push(format!("  item {name} = {}", item.select));
        }
    }
    for stream in &config.apis {
        lines.push(String::new());
        lines.push(format!("[api.{}]", stream.name));
        lines.extend(first_request(config, stream));
        if let Some(auth) = &stream.auth {
            let hosts: Vec<String> = stream.auth_hosts.iter().map(|origin| format!(", and to {origin}")).collect();
            lines.push(format!("  {}, only to its origin{}", auth_words(&auth.auth), hosts.concat()));
        }
        if let Some(coding) = stream.compress {
            lines.push(format!("  bodies of requests compressed by {}", coding.name()));
        }
        lines.extend(slices_in_words(stream));
        let filter = stream.keys.filter.as_ref().map(|filter| format!(" where {filter}")).unwrap_or_default();
        lines.push(format!("  records {}{filter}, {}", stream.records, next_page(&stream.paginate)));
        lines.extend(views.get(&stream.name).map(|view| format!("  to be read by SELECT * FROM {view}")));
        lines.extend(samples.get(&stream.name).map(|sample| sample.as_text(stream)).unwrap_or_default());
    }
    lines
}

/// Ways out, without their passwords.
fn proxies(proxy: &Proxy) -> String {
    match proxy {
        Proxy::Env => "as the environment says".to_owned(),
        Proxy::Direct => "none".to_owned(),
        Proxy::Via(addresses) => {
            let name = |address: &Secret| {
                let proxy = ProxyAddress::parse(address).ok()?;
                let credentials = if proxy.has_credentials() { " (with ***)" } else { "" };
                Some(format!("{}{credentials}", proxy.name()))
            };
            addresses.iter().filter_map(name).collect::<Vec<_>>().join(", ")
        }
    }
}

/// Credentials in words, without what is secret in them.
fn auth_words(auth: &Auth) -> String {
    match auth {
        Auth::Bearer(tokens) if tokens.len() > 1 => {
            format!("authorization: Bearer ***, one of {} tokens, each with limits of its own", tokens.len())
        }
        Auth::Bearer(_) => "authorization: Bearer ***".to_owned(),
        Auth::Basic { .. } => "authorization: Basic ***".to_owned(),
        Auth::ApiKey { place: KeyPlace::Header, name, .. } => format!("{}: ***", name.to_ascii_lowercase()),
        Auth::ApiKey { place: KeyPlace::Query, name, .. } => format!("?{name}=***"),
        Auth::ApiKey { place: KeyPlace::Cookie, name, .. } => format!("cookie: {name}=***"),
        Auth::OAuth2(oauth) => {
            let grant = match oauth.grant {
                Grant::ClientCredentials => "client credentials",
                Grant::RefreshToken(_) => "a refresh token",
            };
            format!("authorization: Bearer ***, from {} by {grant}", oauth.token_url)
        }
    }
}

/// The type of credentials, as the file has it.
fn auth_type(auth: &Auth) -> &'static str {
    match auth {
        Auth::Bearer(_) => "bearer",
        Auth::Basic { .. } => "basic",
        Auth::ApiKey { .. } => "api_key",
        Auth::OAuth2(_) => "oauth2",
    }
}

/// The first request of a stream's first slice; a name whose value is not known before the crawl stands for itself.
fn sample(stream: &Stream) -> Option<Call> {
    let value = |name: &String| match (name.as_str(), stream.keys.each.first()) {
        ("each", Some(first)) => first.clone(),
        _ => format!("{{{name}}}"),
    };
    let params: Params =
        stream.first.names_used().iter().map(|name| (name.clone(), Value::String(value(name)))).collect();
    let windows = stream.keys.windows.as_ref();
    let window = windows.and_then(|windows| windows.until(windows.start_at.plus_ms(1)).next());
    let call = stream.first.render(&params, windows.zip(window.as_ref())).ok()?;
    let mut call = plan::stream_rules(stream).first_call(call);
    if let Some(rule) = stream.keys.incremental.as_ref().map(|incremental| &incremental.rule)
        && let (Some(target), Some(start)) = (&rule.send, &rule.start)
    {
        call.set(target, start);
    }
    Some(call)
}

/// An address in which names still stand in braces.
fn readable(url: &str) -> String {
    url.replace("%7B", "{").replace("%7D", "}")
}

/// The first request of a stream, with what identifies us masked.
fn first_request(config: &Config, stream: &Stream) -> Vec<String> {
    let Some(call) = sample(stream) else { return vec!["  its first request cannot be made".to_owned()] };
    let own = of_its_own(config, &call.url);
    let mut lines = vec![format!("  {} {}{own}", call.extra.method, readable(call.url.as_str()))];
    lines.extend(stream.headers.iter().map(|(name, _)| format!("  {name}: ***")));
    lines.extend(call.extra.headers.iter().map(|(name, value)| format!("  {name}: {value}")));
    match &call.extra.body {
        Some(Payload::Json(body)) => lines.push(format!("  {body}")),
        Some(Payload::Form(fields)) => {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
            lines.push(format!("  {}", fields.join("&")));
        }
        None => {}
    }
    lines
}

/// In what slices a stream is pulled.
fn slices_in_words(stream: &Stream) -> Vec<String> {
    let keys = &stream.keys;
    let mut words = Vec::new();
    match keys.each.len() {
        0 | 1 => {}
        n => words.push(format!("for each of {n} values")),
    }
    if let Some(path) = &keys.each_file {
        words.push(format!("for each line of {}", path.display()));
    }
    if let Some(parent) = &keys.parent {
        let which = parent.filter.as_ref().map(|filter| format!(" with {filter}")).unwrap_or_default();
        words.push(format!("for each record of {}{which}", parent.stream));
        if let Some(at) = &stream.paginate.nested {
            words.push(format!("the first records of each in its {at}, and the rest where that goes on"));
        }
    }
    if let Some(batch) = &keys.batch {
        words.push(format!("up to {} at once", batch.size_max));
    }
    if let Some(windows) = &keys.windows {
        words.push(format!("in windows of {}", duration(windows.step_ms)));
    }
    if let Some(incremental) = &keys.incremental {
        words.push(format!("from its last {} on", incremental.field));
    }
    if let Some(every_ms) = keys.every_ms {
        words.push(format!("every {}", duration(every_ms)));
    }
    if words.is_empty() { Vec::new() } else { vec![format!("  {}", words.join(", "))] }
}

/// How a stream goes on, in words.
fn next_page(paginate: &PaginateConfig) -> String {
    let mut words = match &paginate.scheme {
        Paginate::Auto => "next page as the answers say it".to_owned(),
        Paginate::None => "one page only".to_owned(),
        Paginate::Link { rel } => format!("next page by the Link header's rel=\"{rel}\""),
        Paginate::NextUrl { path } => format!("next page at the address in {path}"),
        Paginate::Cursor(cursor) => format!("next page with the token in {} as {}", cursor.from, place(&cursor.send)),
        Paginate::Page(page) => format!("next page by number from {}{}", place(&page.send), page.start),
        Paginate::Offset(offset) => format!("next page by position from {}{}", place(&offset.send), offset.start),
        Paginate::Keyset(keyset) => {
            let order = match keyset.order {
                KeysetOrder::Asc => "ascending",
                KeysetOrder::Desc => "descending",
            };
            format!("next page with the last {}, {order}, as {}", keyset.field, place(&keyset.send))
        }
        Paginate::Params(params) => format!("next page with all parameters in {}", params.path),
        Paginate::Range(range) if range.unit.is_empty() => "next page by Range and Content-Range".to_owned(),
        Paginate::Range(range) => format!("next page by Range and Content-Range in {}", range.unit),
        Paginate::Graphql(graphql) => {
            let from = graphql.page_info.as_ref().map_or_else(|| "the pageInfo".to_owned(), ToString::to_string);
            format!("next page by {from} with the variable {}", graphql.variable)
        }
    };
    let is_counted =
        matches!(&paginate.scheme, Paginate::Page(_) | Paginate::Offset(_) | Paginate::Keyset(_) | Paginate::Range(_));
    if let Some(end) = end_of(&paginate.ends, is_counted) {
        words.push_str(&format!("; {end}"));
    }
    if paginate.pages_max > 0 {
        words.push_str(&format!(", at most {} pages", paginate.pages_max));
    }
    words
}

/// A place in a request, as a reader of requests knows it.
fn place(target: &Target) -> String {
    match target {
        Target::Query(name) => format!("?{name}="),
        Target::Header(name) => format!("{name}: "),
        Target::Body(path) => format!("{} of the body: ", path.join(".")),
    }
}

/// What ends a stream beside the lack of a next page.
fn end_of(ends: &Ends, is_counted: bool) -> Option<String> {
    let short = ends.size.map(|size| format!("a page with fewer than {size} records is the last"));
    let total = ends.total_pages.as_ref().or(ends.total.as_ref()).map(|at| format!("{at} says how many"));
    let has_more = ends.has_more.as_ref().map(|at| format!("while {at} is true"));
    let empty = "an empty page is the last".to_owned();
    if let Some(named) = &ends.stop {
        let words = named.iter().filter_map(|sign| match sign {
            StopSign::Empty => Some(empty.clone()),
            StopSign::Short => short.clone(),
            StopSign::Total => Some(total.clone().unwrap_or_else(|| "Content-Range says how many".to_owned())),
            StopSign::HasMore => has_more.clone(),
        });
        return Some(words.collect::<Vec<_>>().join(", "));
    }
    match (has_more, is_counted) {
        (Some(has_more), _) => Some(has_more),
        (None, false) => None,
        (None, true) => Some(short.or(total).unwrap_or(empty)),
    }
}

/// What holds for the host of an address and not for every host, in brackets.
fn of_its_own(config: &Config, url: &Url) -> String {
    let own = Origin::of(url).map(|origin| config.throttle_for(&origin)).filter(|own| *own != config.throttle);
    let profile = config.profile_for(url).for_host(url.host_str().unwrap_or_default());
    let through = Origin::of(url).and_then(|origin| config.host_proxy(&origin));
    let through = through.and_then(|place| config.host_proxies().get(place).copied());
    let words: Vec<String> = profile
        .map(|profile| format!("profile {}", profile.name))
        .into_iter()
        .chain(own.map(|own| ceilings(&own)))
        .chain(through.map(|proxy| format!("proxy {}", proxies(proxy))))
        .collect();
    if words.is_empty() { String::new() } else { format!("  ({})", words.join(", ")) }
}

fn ceilings(settings: &throttle::Settings) -> String {
    let mut words = vec![match settings.rate_max_per_s {
        Some(per_s) => format!("at most {}", rate(per_s)),
        None => "as fast as it allows".to_owned(),
    }];
    words.push(format!("at most {} at once", settings.concurrency_max));
    if settings.courtesy < 1.0 {
        words.push(format!("no more than {:.0} % of its limit", settings.courtesy * 100.0));
    }
    if settings.delay_ms > 0 {
        words.push(format!("{} apart", duration(settings.delay_ms)));
    }
    words.join(", ")
}

fn as_json(config: &Config, views: &HashMap<String, String>, samples: &HashMap<String, Sample>) -> Value {
    let sites: Vec<Value> = config
        .sites
        .iter()
        .map(|site| {
            json!({
                "name": site.name, "start": site.start, "scope": format!("{:?}", site.scope).to_lowercase(),
                "depth": site.depth, "max_pages": site.max_pages, "robots": site.robots, "sitemap": site.sitemap,
                "feeds": site.feeds,
            })
        })
        .collect();
    let apis: Vec<Value> = config
        .apis
        .iter()
        .map(|stream| {
            let headers: Vec<&str> = stream.headers.iter().map(|(name, _)| name.as_str()).collect();
            let first = sample(stream);
            json!({
                "name": stream.name, "method": stream.first.method.to_string(),
                "url": first.as_ref().map(|call| readable(call.url.as_str())), "headers": headers,
                "records": stream.records.to_string(), "view": views.get(&stream.name),
                "fetched": samples.get(&stream.name).map(Sample::as_json),
                "auth": stream.auth.as_ref().map(|auth| auth_type(&auth.auth)),
                "compress": stream.compress.map(BodyCoding::name),
                "parent": stream.keys.parent.as_ref().map(|parent| &parent.stream),
            })
        })
        .collect();
    json!({
        "store": config.store_path, "user_agent": config.http.user_agent, "sites": sites, "apis": apis,
        "max_rate_per_s": config.throttle.rate_max_per_s, "max_concurrency": config.throttle.concurrency_max,
        "courtesy": config.throttle.courtesy, "proxy": proxies(&config.http.proxy),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_request_has_what_paging_adds_to_it() {
        let text = "[api.a]\nurl = \"https://a.org/x?q=1\"\nwhere = \"$.n > 1\"\n\
                    paginate = { type = \"range\", size = 100 }\n[api.b]\nurl = \"https://b.org/\"\n\
                    paginate = { type = \"link\", size = 50, size_send = \"query:per_page\" }\n";
        let config = Config::parse(text, std::path::Path::new("crawl.toml")).expect("the test's own file is good");
        let told = as_text(&config, &HashMap::new(), &HashMap::new()).join("\n");
        for line in [
            "GET https://a.org/x?q=1",
            "range: items=0-99",
            "records auto where $.n > 1,",
            "GET https://b.org/?per_page=50",
        ] {
            assert!(told.contains(&format!("  {line}")), "{line}: {told}");
        }
    }

    #[test]
    fn how_a_stream_goes_on_is_told_in_words() {
        #[track_caller]
        fn check(toml: &str, words: &str) {
            let text = format!("[api.a]\nurl = \"https://api.example.org/\"\npaginate = {toml}\n");
            let config = Config::parse(&text, std::path::Path::new("crawl.toml")).expect("the test's own file is good");
            assert_eq!(next_page(&config.apis[0].paginate), words);
        }
        check(r#""auto""#, "next page as the answers say it");
        check(r#""none""#, "one page only");
        check(r#"{ type = "link", max_pages = 9 }"#, r#"next page by the Link header's rel="next", at most 9 pages"#);
        check(r#"{ type = "next_url", path = "paging.next" }"#, "next page at the address in paging.next");
        check(
            r#"{ type = "cursor", path = "next", send = "query:after", has_more = "more" }"#,
            "next page with the token in next as ?after=; while more is true",
        );
        check(
            r#"{ type = "cursor", header = "X-Next", send = "query:after" }"#,
            "next page with the token in the header x-next as ?after=",
        );
        check(r#"{ type = "page" }"#, "next page by number from ?page=1; an empty page is the last");
        check(
            r#"{ type = "page", param = "p", start = 0, size = 50 }"#,
            "next page by number from ?p=0; a page with fewer than 50 records is the last",
        );
        check(r#"{ type = "page", total_pages = "pages" }"#, "next page by number from ?page=1; pages says how many");
        check(
            r#"{ type = "offset", send = "body:page.from", size = 50, total = "total", stop = ["total", "empty"] }"#,
            "next page by position from page.from of the body: 0; total says how many, an empty page is the last",
        );
        check(
            r#"{ type = "keyset", field = "updated", send = "header:x-since", order = "desc" }"#,
            "next page with the last updated, descending, as x-since: ; an empty page is the last",
        );
        check(r#""params""#, "next page with all parameters in continue");
        check(
            r#"{ type = "range", size = 100 }"#,
            "next page by Range and Content-Range in items; a page with fewer than 100 records is the last",
        );
        check(r#""graphql""#, "next page by the pageInfo with the variable endCursor");
    }

    #[test]
    fn what_is_secret_is_masked() {
        let text = r#"
            [http]
            proxy = ["http://me:hunter2@10.0.0.1:3128", "socks5h://b.local"]
            [[host]]
            match = "api.example.org"
            proxy = "none"
            [api.a]
            base = "https://api.example.org/"
            auth = { type = "bearer", tokens = ["hunter2", "hunter2b"] }
            auth_hosts = ["uploads.example.org"]
            [api.a.stream.bearer]
            [api.a.stream.basic]
            auth = { type = "basic", username = "hunter2" }
            [api.a.stream.header]
            auth = { type = "api_key", name = "X-Key", value = "hunter2" }
            compress = "zstd"
            [api.a.stream.query]
            auth = { type = "api_key", in = "query", name = "key", value = "hunter2" }
            [api.a.stream.cookie]
            auth = { type = "api_key", in = "cookie", name = "session", value = "hunter2" }
            [api.a.stream.client]
            auth = { type = "oauth2", grant = "client_credentials", token_url = "https://id.example.org/token", client_id = "hunter2", client_secret = "hunter2" }
            [api.a.stream.refresh]
            auth = { type = "oauth2", grant = "refresh_token", token_url = "https://id.example.org/token", client_id = "hunter2", refresh_token = "hunter2" }
            [api.a.stream.none]
            auth = "none"
        "#;
        let config = Config::parse(text, std::path::Path::new("crawl.toml")).map_err(|errors| errors.to_string());
        let config = config.expect("the test's own file is good");
        let json = as_json(&config, &HashMap::new(), &HashMap::new()).to_string();
        assert!(!json.contains("hunter2"), "{json}");
        let types = |name: &str| {
            as_json(&config, &HashMap::new(), &HashMap::new())["apis"]
                .as_array()
                .and_then(|apis| apis.iter().find(|api| api["name"] == name).cloned())
                .map(|api| api["auth"].clone())
        };
        assert_eq!((types("a.query"), types("a.none")), (Some(json!("api_key")), Some(Value::Null)));
        let lines = as_text(&config, &HashMap::new(), &HashMap::new());
        let told = lines.iter().filter(|line| !line.is_empty() && !line.starts_with("  records")).skip(1);
        insta::assert_snapshot!(told.cloned().collect::<Vec<_>>().join("\n"), @r"
    user agent trundle/0.1.0
    limits     256 in flight, 32.0 MiB a body, 30s a request
    each host  at most 10.0/s, at most 8 at once
    proxy      10.0.0.1:3128 (with ***), socks5h://b.local:1080
    [api.a.bearer]
      GET https://api.example.org/  (proxy none)
      authorization: Bearer ***, one of 2 tokens, each with limits of its own, only to its origin, and to https://uploads.example.org
    [api.a.basic]
      GET https://api.example.org/  (proxy none)
      authorization: Basic ***, only to its origin, and to https://uploads.example.org
    [api.a.header]
      GET https://api.example.org/  (proxy none)
      x-key: ***, only to its origin, and to https://uploads.example.org
      bodies of requests compressed by zstd
    [api.a.query]
      GET https://api.example.org/  (proxy none)
      ?key=***, only to its origin, and to https://uploads.example.org
    [api.a.cookie]
      GET https://api.example.org/  (proxy none)
      cookie: session=***, only to its origin, and to https://uploads.example.org
    [api.a.client]
      GET https://api.example.org/  (proxy none)
      authorization: Bearer ***, from https://id.example.org/token by client credentials, only to its origin, and to https://uploads.example.org
    [api.a.refresh]
      GET https://api.example.org/  (proxy none)
      authorization: Bearer ***, from https://id.example.org/token by a refresh token, only to its origin, and to https://uploads.example.org
    [api.a.none]
      GET https://api.example.org/  (proxy none)
    ");
    }
}
