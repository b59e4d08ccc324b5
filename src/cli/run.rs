//! `trundle run`: crawl until everything is done, or until told to stop.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use tokio::sync::watch;
use url::Url;

use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config::Config;
use crate::engine::{self, Ending, PullWishes, Stop};
use crate::fetch::HttpFetcher;
use crate::policy;
use crate::practice::{self, Practice};
use crate::store::{Options, Reader, SqliteStore, Store as _};

use super::output::{count, duration, local_time, print_json, print_line};
use super::progress::Progress;
use super::status::Status;
use super::{Context, ExitCode, Failure, Outcome, plan, rehearsal};

/// Options of `trundle run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Start here as well; without a crawl.toml, crawl what lies below these addresses
    #[arg(value_name = "URL")]
    urls: Vec<Url>,
    /// Start the practice web on loopback, crawl it into practice.db, and check the result
    #[arg(long, conflicts_with = "urls")]
    practice: bool,
    /// Pull all API streams anew now, whatever their schedule
    #[arg(long)]
    refresh: bool,
    /// End when all that is due is done, instead of waiting for what a site or a stream with a schedule (`every`) has next
    #[arg(long)]
    once: bool,
}

pub(super) async fn run(context: &Context, args: Args) -> Outcome {
    let clock = SystemClock::new();
    let wishes = PullWishes { refresh: args.refresh, once: args.once };
    if !args.practice {
        let config = plan::load(&context.global, &args.urls)?;
        return crawl(context, &config, &args.urls, wishes, &clock, None).await;
    }
    let config = plan::load_practice(&context.global)?;
    let web = practice::start(practice::Settings::default(), clock.clone()).await?;
    let outcome = crawl(context, &config, &[], wishes, &clock, Some(&web)).await;
    web.stop().await;
    outcome
}

async fn crawl(
    context: &Context,
    config: &Config,
    urls: &[Url],
    wishes: PullWishes,
    clock: &SystemClock,
    web: Option<&Practice>,
) -> Outcome {
    let path = &config.store_path;
    let store = Arc::new(SqliteStore::open(path, &Options::default()).await?);
    let open = store.begin_run(&plan::source_names(config), clock.now()).await?;
    let plan = Arc::new(plan::plan(config, &open.sources, wishes)?);
    let seeds = plan::seeds(config, &open.sources, urls)?;
    let fetch = HttpFetcher::new(plan::fetch_settings(config), policy::is_public, clock.clone())
        .context("set up the HTTP client")
        .map_err(Failure::Usage)?
        .with_credentials(plan::credentials(config));
    if open.unclean {
        tracing::info!(
            "the run before did not end in order; going on from its last commit ({} requests were in flight)",
            open.crashed_in_flight
        );
    }
    tracing::info!(
        run = open.run_id.0,
        "crawling into {}; Ctrl-C stops in order, and the same command goes on",
        path.display()
    );

    let started_at = clock.now();
    let (stop, stopped) = watch::channel(Stop::No);
    let signals = tokio::spawn(listen(stop));
    let progress = (!context.global.quiet).then(|| Progress::start(path, &context.bars, clock.clone()));
    let ending = engine::run(Arc::clone(&store), Arc::new(fetch), clock.clone(), plan, open, seeds, stopped).await;
    if let Some(progress) = progress {
        progress.stop();
    }
    signals.abort();
    let ending = ending?;

    let reader = Reader::open(path).await?;
    let status = Status::read(&reader, 20).await?;
    if context.global.json {
        print_json(&status.as_json())?;
    } else {
        for line in status.as_text(clock.now()) {
            print_line(&line)?;
        }
        print_line("")?;
    }
    let took = duration(clock.now().since_ms(started_at));
    match ending {
        Ending::Stopped { next_send_at } => {
            eprintln!("stopped after {took} with work left; {}", come_back(next_send_at, clock.now()));
            Ok(ExitCode::Stopped)
        }
        Ending::Complete => match web {
            Some(web) => check(&reader, web, &took).await,
            None if status.progress.n_dead > 0 => {
                let dead = match status.progress.n_dead {
                    1 => "1 job is dead".to_owned(),
                    n => format!("{} jobs are dead", count(n)),
                };
                eprintln!(
                    "complete after {took}, but {dead}: trundle sql \"SELECT url, reason FROM failures\"; \
                     when the cause is gone, trundle retry"
                );
                Ok(ExitCode::DeadJobs)
            }
            None => {
                eprintln!("complete after {took}");
                Ok(ExitCode::Ok)
            }
        },
    }
}

/// The end of a practice crawl: perfect, or not.
async fn check(reader: &Reader, web: &Practice, took: &str) -> Outcome {
    let truth = web.truth();
    let look = look_at(reader.path());
    let differences = rehearsal::differences(reader, truth).await?;
    if differences.is_empty() {
        let records: u32 = truth.records.values().sum();
        eprintln!(
            "complete after {took}, and checked against the practice web: all {} pages and {records} records are stored, \
             only the jobs that were made to fail are dead",
            truth.pages.len()
        );
        eprintln!("{look}");
        return Ok(ExitCode::Ok);
    }
    Err(Failure::Error(anyhow!("the practice crawl is not what it should be:\n  {}\n{look}", differences.join("\n  "))))
}

/// The command that shows the crawl in the database at `path`: reading verbs need no crawl.toml then.
fn look_at(path: &Path) -> String {
    format!("look at it with: trundle status --db {}", path.display())
}

fn come_back(next_send_at: Option<Timestamp>, now: Timestamp) -> String {
    match next_send_at.filter(|&at| at.since_ms(now) > 1_000) {
        Some(at) => format!("nothing can be sent before {}; run the same command then", local_time(at)),
        None => "run the same command to go on".to_owned(),
    }
}

/// Turns signals into stops: the first drains and commits, the second ends at once.
async fn listen(stop: watch::Sender<Stop>) {
    for level in [Stop::Soft, Stop::Hard] {
        if signal().await.is_err() {
            return;
        }
        let words = match level {
            Stop::Soft => "stopping: finishing the requests in flight; once more stops at once",
            _ => "stopping at once",
        };
        tracing::warn!("{words}");
        stop.send_replace(level);
    }
}

/// Waits for Ctrl-C, or for the signal with which systems end a program.
pub(super) async fn signal() -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).context("listen for signals")?;
        tokio::select! {
            pressed = tokio::signal::ctrl_c() => pressed.context("listen for Ctrl-C"),
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.context("listen for Ctrl-C")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn the_command_that_a_rehearsal_ends_with_is_one_of_ours() {
        let line = look_at(Path::new("practice.db"));
        let (_, command) = line.split_once(": ").expect("words, then the command");
        crate::cli::Cli::try_parse_from(command.split(' ')).expect("the program takes it");
    }
}
