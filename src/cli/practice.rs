//! `trundle practice`: a web on loopback to rehearse against, with any crawler.

use std::path::PathBuf;

use anyhow::{anyhow, bail};
use serde_json::json;

use crate::clock::SystemClock;
use crate::practice::{self, ConcurrencyCap, Content, FixedWindow, HostSpec, Limiter, Practice, Settings, TokenBucket};

use super::output::{print_json, print_line};
use super::{Context, ExitCode, Failure, Outcome};

/// Options of `trundle practice`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ordinary pages of each site
    #[arg(long, default_value_t = 300, value_name = "N")]
    pages: u32,
    /// Records of each API
    #[arg(long, default_value_t = 2_000, value_name = "N")]
    records: u32,
    /// Draw all content from this number
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Append a line of JSON for each request to this file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Serve this host in place of the three of the practice crawl (can be repeated):
    /// CONTENT:PORT:LIMIT, where CONTENT is library, archive, items or bench, PORT may be 0 for any free one, and LIMIT is
    /// none, bucket=RATE,BURST (requests a second), window=QUOTA,SECONDS or cap=REQUESTS
    #[arg(long = "host", value_name = "SPEC", value_parser = parse_host)]
    hosts: Vec<HostSpec>,
}

pub(super) async fn run(context: &Context, args: Args) -> Outcome {
    let mut settings =
        Settings { pages: args.pages, records: args.records, seed: args.seed, log: args.log, ..Settings::default() };
    if !args.hosts.is_empty() {
        settings.hosts = args.hosts;
    }
    let web = practice::start(settings, SystemClock::new()).await.map_err(Failure::from)?;
    announce(context, &web)?;
    super::run::signal().await?;
    web.stop().await;
    Ok(ExitCode::Ok)
}

fn announce(context: &Context, web: &Practice) -> anyhow::Result<()> {
    if context.global.json {
        let hosts: Vec<_> = web.hosts().iter().map(|host| json!({ "name": host.name, "url": host.url })).collect();
        let truth = web.truth();
        return print_json(&json!({
            "hosts": hosts,
            "truth": {
                "pages": truth.pages, "gone": truth.gone, "dead": truth.dead, "redirects": truth.redirects,
                "disallowed": truth.disallowed, "nofollowed": truth.nofollowed, "records": truth.records,
            },
        }));
    }
    for host in web.hosts() {
        print_line(&format!("{:<8} {}", host.name, host.url))?;
    }
    eprintln!("serving until Ctrl-C; crawl it with: trundle run --config crawl.toml");
    Ok(())
}

fn parse_host(text: &str) -> anyhow::Result<HostSpec> {
    let mut parts = text.splitn(3, ':');
    let (Some(content), Some(port), Some(limit)) = (parts.next(), parts.next(), parts.next()) else {
        bail!("expected CONTENT:PORT:LIMIT, as in library:0:bucket=40,40");
    };
    let limiter = parse_limit(limit)?;
    let name = content.to_owned();
    let content = match content {
        "library" => Content::Library,
        "archive" => Content::Archive,
        "items" => Content::Items { service_ms: 20 },
        "bench" => Content::Bench { page_bytes: 8_192 },
        other => bail!("unknown content \"{other}\"; known are library, archive, items and bench"),
    };
    let port = port.parse().map_err(|_| anyhow!("\"{port}\" is no port"))?;
    Ok(HostSpec { name, port, limiter, content })
}

fn parse_limit(text: &str) -> anyhow::Result<Limiter> {
    let (kind, numbers) = text.split_once('=').unwrap_or((text, ""));
    let numbers: Vec<u32> =
        numbers.split(',').filter_map(|number| number.parse().ok()).filter(|&number| number > 0).collect();
    Ok(match (kind, numbers.as_slice()) {
        ("none", []) => Limiter::None,
        ("bucket", &[rate, burst]) => Limiter::TokenBucket(TokenBucket::new(rate, burst)),
        ("window", &[quota, seconds]) => Limiter::FixedWindow(FixedWindow::new(quota, seconds)),
        ("cap", &[requests]) => Limiter::ConcurrencyCap(ConcurrencyCap::new(requests)),
        _ => bail!("expected none, bucket=RATE,BURST, window=QUOTA,SECONDS or cap=REQUESTS, not \"{text}\""),
    })
}
