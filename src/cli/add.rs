//! `trundle add`: more addresses for the queue, also while a crawl runs.

use std::path::PathBuf;

use anyhow::anyhow;
use url::Url;

use crate::clock::{Clock as _, SystemClock};
use crate::job::SourceId;
use crate::store::{self, SourceRow};

use super::output::count;
use super::{Context, ExitCode, Failure, Outcome, plan};

/// Options of `trundle add`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The addresses; each goes to the site whose scope holds it
    #[arg(required_unless_present = "files", value_name = "URL")]
    urls: Vec<Url>,
    /// Add the addresses in this file, one a line (can be repeated)
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) async fn run(context: &Context, args: Args) -> Outcome {
    let config = plan::load(&context.global, &[])?;
    if config.sites.is_empty() {
        return Err(Failure::Usage(anyhow!("the configuration has no [site.NAME] that an address could belong to")));
    }
    let names = plan::source_names(&config);
    let rows: Vec<SourceRow> =
        names.into_iter().zip(1..).map(|(source, id)| SourceRow::new(SourceId(id), source)).collect();
    let mut urls = args.urls;
    for path in &args.files {
        urls.extend(plan::seed_file(path).map_err(Failure::Usage)?);
    }
    let mut posts = Vec::with_capacity(urls.len());
    for url in &urls {
        let (url, id) = plan::site_of(&config, &rows, url)?;
        let row = rows.iter().find(|row| row.id == id).expect("site_of answers with one of the rows");
        posts.push((row.source.clone(), url));
    }
    store::post(&config.store_path, &posts, SystemClock::new().now()).await?;
    let number = count(u64::try_from(posts.len()).unwrap_or(u64::MAX));
    eprintln!("added {number}; a crawl that runs takes them within a second, or else the next `trundle run`");
    Ok(ExitCode::Ok)
}
