//! `trundle retry`: jobs that were given up go back into the queue, also while a crawl runs.

use anyhow::anyhow;
use url::Url;

use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::job::{JobId, JobKind, JobState};
use crate::store::{self, GivenUp, GivenUpRow, Reader, SourceKind, SourceName};

use super::output::{Align, clean, count, print_json, print_line, table};
use super::{Context, ExitCode, Failure, Outcome, plan};

/// Reasons that are shown, at most: most differ in nothing but a number.
const GROUPS_MAX: usize = 30;

/// Options of `trundle retry`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Retry these addresses, also those that a rule left out [default: all that is dead]
    #[arg(value_name = "URL", conflicts_with_all = ["sections", "reason", "gone"])]
    urls: Vec<Url>,
    /// Retry only what belongs to this section, such as site.docs or api.shop.orders (can be repeated)
    #[arg(long = "section", value_name = "NAME", value_parser = section_of)]
    sections: Vec<SourceName>,
    /// Retry only what has this text in its reason
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Retry what was answered 404 or 410 instead of what is dead
    #[arg(long)]
    gone: bool,
    /// Only show what would be retried
    #[arg(long)]
    dry_run: bool,
}

fn section_of(text: &str) -> Result<SourceName, String> {
    let section = match text.trim_start_matches('[').trim_end_matches(']').split_once('.') {
        Some(("site", name)) => Some((SourceKind::Site, name)),
        Some(("api", name)) => Some((SourceKind::Api, name)),
        _ => None,
    };
    let (kind, name) = section.ok_or("expected a section as `trundle status` names it: site.docs, api.shop.orders")?;
    // A stream of an API is `api.shop.stream.orders` in the file.
    Ok(SourceName { kind, name: name.replacen(".stream.", ".", 1) })
}

pub(super) async fn run(context: &Context, args: Args) -> Outcome {
    let config = plan::load(&context.global, &[]);
    let rules = config.as_ref().ok().cloned();
    let path = plan::store_path(&context.global, config)?;
    let reader = Reader::open(&path).await?;
    let (which, groups) = if args.urls.is_empty() {
        let groups = reader.given_up(args.gone, &args.sections, args.reason.as_deref()).await?;
        (GivenUp::Matching { gone: args.gone, sections: args.sections, reason: args.reason }, groups)
    } else {
        named(&reader, rules.as_ref(), &args.urls).await?
    };
    if context.global.json {
        print_json(&groups)?;
    } else {
        for line in as_text(&groups).lines() {
            print_line(line)?;
        }
    }
    if groups.is_empty() {
        eprintln!("nothing that was given up is like this; `trundle status` shows what is dead");
        return Ok(ExitCode::Ok);
    }
    if args.dry_run {
        let jobs = groups.iter().map(|group| group.jobs).sum();
        eprintln!("would retry {}", jobs_of(jobs));
        return Ok(ExitCode::Ok);
    }
    let jobs = store::post_retries(&path, &which, SystemClock::new().now()).await?;
    eprintln!(
        "retries {}; a crawl that runs takes this within a second, or else the next `trundle run`",
        jobs_of(jobs)
    );
    Ok(ExitCode::Ok)
}

/// The jobs of these addresses.
async fn named(reader: &Reader, rules: Option<&Config>, urls: &[Url]) -> Result<(GivenUp, Vec<GivenUpRow>), Failure> {
    let mut jobs: Vec<JobId> = Vec::new();
    let mut groups: Vec<GivenUpRow> = Vec::new();
    for url in urls {
        let spelled = rules.map_or_else(|| url.clone(), |config| plan::spelled(config, url));
        let shown = clean(spelled.as_str(), 200);
        let Some(report) = reader.why(&spelled).await? else {
            return Err(Failure::Usage(anyhow!(
                "{shown} is not in the queue, and never was; `trundle add` puts it there"
            )));
        };
        match report.state {
            Some(JobState::Dead | JobState::Gone | JobState::Skipped) => {}
            Some(JobState::Done) => {
                return Err(Failure::Usage(anyhow!(
                    "{shown} is done; what is done is fetched again by a schedule (`every`) or by `trundle run --refresh`"
                )));
            }
            Some(JobState::Ready | JobState::Waiting) | None => {
                return Err(Failure::Usage(anyhow!(
                    "{shown} is in the queue already; `trundle why` tells what it waits for"
                )));
            }
        }
        jobs.push(report.job_id);
        let reason = report.reason.unwrap_or_default();
        let kind = if report.kind == Some(JobKind::ApiPage) { "api" } else { "site" };
        groups.push(GivenUpRow { section: format!("{kind}.{}", report.source), reason, jobs: 1 });
    }
    Ok((GivenUp::Jobs(jobs), groups))
}

fn as_text(groups: &[GivenUpRow]) -> String {
    let row = |group: &GivenUpRow| vec![count(group.jobs), clean(&group.section, 60), clean(&group.reason, 120)];
    let rows: Vec<Vec<String>> = groups.iter().take(GROUPS_MAX).map(row).collect();
    let mut text = table(&[("jobs", Align::Right), ("section", Align::Left), ("reason", Align::Left)], &rows);
    if groups.len() > GROUPS_MAX {
        let left = groups[GROUPS_MAX..].iter().map(|group| group.jobs).sum();
        text.push_str(&format!("{}  for {} other reasons\n", count(left), groups.len() - GROUPS_MAX));
    }
    text
}

fn jobs_of(jobs: u64) -> String {
    if jobs == 1 { "1 job".to_owned() } else { format!("{} jobs", count(jobs)) }
}
