//! One file and one `Args` struct a verb: from the command line to the rooms, and from their errors to an exit code.
//!
//! Data goes to standard output (as JSON with `--json`), talk to standard error. Deliberately absent: decisions about jobs.

mod add;
mod check;
mod exit_code;
mod hosts;
mod init;
mod output;
mod plan;
mod practice;
mod progress;
mod rehearsal;
mod retry;
mod run;
mod sample;
mod sql;
mod status;
mod telemetry;
mod why;

pub use exit_code::ExitCode;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use indicatif::MultiProgress;

use self::telemetry::Loudness;

/// Crawl web pages and paginated APIs for days, at the pace that each server allows, and never lose the place.
#[derive(Debug, Parser)]
#[command(name = "trundle", version, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// Options of every verb.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Read the crawl from this file [default: crawl.toml]
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep the crawl in this database, whatever the file says
    #[arg(long, global = true, value_name = "FILE")]
    db: Option<PathBuf>,
    /// Print data as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Say only what is wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say what happens to every job
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write a commented crawl.toml to start from
    Init(init::Args),
    /// Say what a crawl would do; with --fetch, ask each API stream once and show what it answers
    Check(check::Args),
    /// Crawl until everything is done; run it again after any interruption
    Run(run::Args),
    /// Put addresses into the queue, also while a crawl runs
    Add(add::Args),
    /// Put what was given up back into the queue, also while a crawl runs
    Retry(retry::Args),
    /// Show how far the crawl is, and what each host allows
    Status(status::Args),
    /// Show what is known of each host's limit; forget it, or say it by hand
    Hosts(hosts::Args),
    /// Explain one address: its state, its attempts, and who named it
    Why(why::Args),
    /// Ask the database a question in SQL (read only)
    Sql(sql::Args),
    /// Serve a practice web on loopback, behind real kinds of rate limits
    Practice(practice::Args),
}

/// What a verb has at hand.
pub struct Context {
    global: Global,
    /// The bars, if any are drawn; log lines go between them.
    bars: MultiProgress,
}

/// An error with the exit code that it deserves.
enum Failure {
    /// The command line or the configuration is wrong.
    Usage(anyhow::Error),
    /// Anything else.
    Error(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

type Outcome = Result<ExitCode, Failure>;

/// Runs the program: parses the command line, carries out its verb, tells an error on standard error.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors: clap prints them to standard output and says 0.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::Usage } else { ExitCode::Ok };
        }
    };
    let bars = MultiProgress::new();
    let loudness = match (cli.global.quiet, cli.global.verbose) {
        (true, _) => Loudness::Quiet,
        (_, true) => Loudness::Verbose,
        _ => Loudness::Normal,
    };
    telemetry::start(loudness, &bars);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: start the runtime: {error}");
            return ExitCode::Error;
        }
    };
    let context = Context { global: cli.global, bars };
    let outcome = runtime.block_on(async {
        match cli.verb {
            Verb::Init(args) => init::run(&context, &args),
            Verb::Check(args) => check::run(&context, &args).await,
            Verb::Run(args) => run::run(&context, args).await,
            Verb::Add(args) => add::run(&context, args).await,
            Verb::Retry(args) => retry::run(&context, args).await,
            Verb::Status(args) => status::run(&context, &args).await,
            Verb::Hosts(args) => hosts::run(&context, &args).await,
            Verb::Why(args) => why::run(&context, &args).await,
            Verb::Sql(args) => sql::run(&context, &args).await,
            Verb::Practice(args) => practice::run(&context, args).await,
        }
    });
    // What a hard stop left running (a name look-up on a thread of its own) must not hold up the end.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(Failure::Usage(error)) => {
            eprintln!("error: {}", told(&error));
            ExitCode::Usage
        }
        Err(Failure::Error(error)) => {
            if is_closed_pipe(&error) {
                return ExitCode::Ok;
            }
            eprintln!("error: {}", told(&error));
            ExitCode::Error
        }
    }
}

/// An error with its causes, each once: many libraries repeat their cause in their own words.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text.push_str(&format!(": {cause}"));
        }
    }
    text
}

/// Whether the reader of our output went away (`trundle sql … | head`), which is no error of ours.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::told;

    #[test]
    fn an_error_tells_each_cause_once() {
        let error = anyhow!("no such table: pagess")
            .context("error returned from database: no such table: pagess")
            .context("run the query");
        assert_eq!(told(&error), "run the query: error returned from database: no such table: pagess");
        let error = anyhow!("no such file").context("open a.db").context("read the crawl");
        assert_eq!(told(&error), "read the crawl: open a.db: no such file");
    }
}
