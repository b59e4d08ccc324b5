//! `trundle check`: what a crawl would do, without sending anything.

use serde_json::{Value, json};
use url::Url;

use crate::config::{Config, CursorFrom, PaginateConfig, PaginateScheme, Stream};
use crate::engine::PullWishes;
use crate::job::{Call, Origin, Params, Payload, SourceId};
use crate::store::{PullState, SourceName, SourceRow};
use crate::throttle;

use super::output::{duration, print_json, print_line, rate, size};
use super::{Context, ExitCode, Outcome, plan};

/// Options of `trundle check`.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub(super) fn run(context: &Context, _: &Args) -> Outcome {
    let config = plan::load(&context.global, &[])?;
    // Compiles what only their rooms can judge: selectors and JSON paths.
    let rows: Vec<SourceRow> = plan::source_names(&config).into_iter().zip(1..).map(number).collect();
    plan::plan(&config, &rows, PullWishes::default())?;
    if context.global.json {
        print_json(&as_json(&config))?;
    } else {
        for line in as_text(&config) {
            print_line(&line)?;
        }
    }
    Ok(ExitCode::Ok)
}

fn number((source, id): (SourceName, u32)) -> SourceRow {
    SourceRow { id: SourceId(id), source, n_done: 0, pull: PullState::default() }
}

fn as_text(config: &Config) -> Vec<String> {
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
        lines.extend(first_request(stream));
        lines.extend(slices_in_words(stream));
        lines.push(format!("  records {}, {}", stream.records, next_page(&stream.paginate)));
    }
    lines
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
    let mut call = stream.first.render(&params, windows.zip(window.as_ref())).ok()?;
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
fn first_request(stream: &Stream) -> Vec<String> {
    let Some(call) = sample(stream) else { return vec!["  its first request cannot be made".to_owned()] };
    let mut lines = vec![format!("  {} {}", call.extra.method, readable(call.url.as_str()))];
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
        PaginateScheme::Auto => "next page as the answers say it".to_owned(),
        PaginateScheme::None => "one page only".to_owned(),
        PaginateScheme::Link { rel } => format!("next page by the Link header's rel=\"{rel}\""),
        PaginateScheme::NextUrl { path } => format!("next page at the address in {path}"),
        PaginateScheme::Cursor { from, send_query, has_more } => {
            let from = match from {
                CursorFrom::Path(path) => path.clone(),
                CursorFrom::Header(name) => format!("the header {name}"),
            };
            let while_more = has_more.as_ref().map(|path| format!(" while {path} is true")).unwrap_or_default();
            format!("next page with the token in {from} as ?{send_query}={while_more}")
        }
        PaginateScheme::Page { param, start, size, total_pages } => {
            let end = match (total_pages, size) {
                (Some(path), _) => format!("{path} says how many"),
                (None, 0) => "an empty page is the last".to_owned(),
                (None, size) => format!("a page with fewer than {size} records is the last"),
            };
            format!("next page by number from ?{param}={start}; {end}")
        }
    };
    if paginate.pages_max > 0 {
        words.push_str(&format!(", at most {} pages", paginate.pages_max));
    }
    words
}

/// What holds for the host of an address and not for every host, in brackets.
fn of_its_own(config: &Config, url: &Url) -> String {
    let own = Origin::of(url).map(|origin| config.throttle_for(&origin)).filter(|own| *own != config.throttle);
    let profile = config.profile_for(url).for_host(url.host_str().unwrap_or_default());
    let words: Vec<String> = profile
        .map(|profile| format!("profile {}", profile.name))
        .into_iter()
        .chain(own.map(|own| ceilings(&own)))
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

fn as_json(config: &Config) -> Value {
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
                "records": stream.records, "parent": stream.keys.parent.as_ref().map(|parent| &parent.stream),
            })
        })
        .collect();
    json!({
        "store": config.store_path, "user_agent": config.http.user_agent, "sites": sites, "apis": apis,
        "max_rate_per_s": config.throttle.rate_max_per_s, "max_concurrency": config.throttle.concurrency_max,
        "courtesy": config.throttle.courtesy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "next page with the token in next as ?after= while more is true",
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
    }
}
