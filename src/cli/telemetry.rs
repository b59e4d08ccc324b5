//! Log lines on standard error, and how they share the terminal with the progress bars.

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::clock::{Clock as _, SystemClock};

use super::output::local_time;

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loudness {
    /// Errors and warnings only.
    Quiet,
    /// What a person wants to know about hosts and runs.
    Normal,
    /// Every job.
    Verbose,
}

/// Starts logging; `TRUNDLE_LOG` (as in `trundle::store=debug,info`) overrules `loudness`. Lines go through `bars`, so that they do not
/// tear them.
pub fn start(loudness: Loudness, bars: &MultiProgress) {
    let default = match loudness {
        Loudness::Quiet => "warn",
        Loudness::Normal => "trundle=info,warn",
        Loudness::Verbose => "trundle=debug,warn",
    };
    let overruled = std::env::var("TRUNDLE_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = overruled.unwrap_or_else(|| default.parse().expect("the defaults above are valid"));
    // What the libraries of the network say below that are requests as they are sent, with the keys in their addresses.
    let most = filter.default_level().unwrap_or(LevelFilter::OFF).min(LevelFilter::DEBUG);
    let filter = filter.with_targets(["h2", "hyper", "hyper_util", "reqwest"].map(|library| (library, most)));
    let lines = fmt::layer()
        .with_timer(LocalTime(SystemClock::new()))
        .with_writer(BetweenBars(bars.clone()))
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    // A second start (tests run several commands in one process) keeps the first subscriber.
    let _ = tracing_subscriber::registry().with(lines).with(filter).try_init();
}

/// The time of a line, as everything else that people are told has it.
struct LocalTime(SystemClock);

impl FormatTime for LocalTime {
    fn format_time(&self, out: &mut Writer<'_>) -> std::fmt::Result {
        out.write_str(&local_time(self.0.now()))
    }
}

struct BetweenBars(MultiProgress);

impl<'a> MakeWriter<'a> for BetweenBars {
    type Writer = Line;

    fn make_writer(&'a self) -> Self::Writer {
        Line { bars: self.0.clone(), text: Vec::new() }
    }
}

/// One log line; written as a whole when it is dropped.
struct Line {
    bars: MultiProgress,
    text: Vec<u8>,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let text = std::mem::take(&mut self.text);
        // There is nobody to tell when standard error is closed.
        self.bars.suspend(|| {
            let _ = io::stderr().write_all(&text);
        });
    }
}
