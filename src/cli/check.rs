//! `trundle check`: what a crawl would do, without sending anything.

use serde_json::{Value, json};

use crate::config::Config;
use crate::job::{Origin, SourceId};
use crate::store::{SourceName, SourceRow};
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
    plan::plan(&config, &rows)?;
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
    SourceRow { id: SourceId(id), source, n_done: 0 }
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
            let origin = Origin::of(url).map(|origin| config.throttle_for(&origin));
            let own = origin.filter(|own| *own != config.throttle).map(|own| format!("  ({})", ceilings(&own)));
            lines.push(format!("  GET {url}{}", own.unwrap_or_default()));
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
        lines.push(format!("  GET {}", stream.url));
        for (name, _) in &stream.headers {
            lines.push(format!("  {name}: ***"));
        }
        lines.push(format!("  records {}, next page {:?}", stream.records, stream.paginate.scheme));
    }
    lines
}

fn ceilings(settings: &throttle::Settings) -> String {
    let mut words = vec![match settings.rate_max_per_s {
        Some(per_s) => format!("at most {}", rate(per_s)),
        None => "as fast as it allows".to_owned(),
    }];
    words.push(format!("at most {} at once", settings.concurrency_max));
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
            json!({ "name": stream.name, "url": stream.url, "headers": headers, "records": stream.records })
        })
        .collect();
    json!({
        "store": config.store_path, "user_agent": config.http.user_agent, "sites": sites, "apis": apis,
        "max_rate_per_s": config.throttle.rate_max_per_s, "max_concurrency": config.throttle.concurrency_max,
    })
}
