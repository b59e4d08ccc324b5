//! Progress while a crawl runs: bars on a terminal, a line now and then elsewhere. It reads the database as anyone could.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::store::{HostReport, ProgressReport, Reader};

use super::output::{clean, count, duration};
use super::status::{eta_ms, percent};

/// Between two looks at the database for the bars, in ms.
const BARS_MS: u64 = 400;
/// Between two lines where there is no terminal, in ms.
const LINES_MS: u64 = 10_000;
/// Hosts that are shown below the bar: those that wait.
const HOSTS_MAX: usize = 4;
/// Over how long the rate is measured, in ms.
const RATE_WINDOW_MS: u64 = 10_000;

/// Shows progress until it is dropped.
pub(super) struct Progress {
    task: tokio::task::JoinHandle<()>,
    bars: MultiProgress,
}

impl Progress {
    /// Starts to show the progress of the crawl in the file at `path`.
    pub fn start(path: &Path, bars: &MultiProgress, clock: SystemClock) -> Self {
        let task = tokio::spawn(show(path.to_owned(), bars.clone(), clock));
        Self { task, bars: bars.clone() }
    }

    /// Takes the bars off the screen.
    pub fn stop(self) {
        self.task.abort();
        // The terminal may be gone already.
        let _ = self.bars.clear();
    }
}

async fn show(path: PathBuf, bars: MultiProgress, clock: SystemClock) {
    let Ok(reader) = Reader::open(&path).await else { return };
    let is_terminal = std::io::stderr().is_terminal();
    let step_ms = if is_terminal { BARS_MS } else { LINES_MS };
    let mut screen = is_terminal.then(|| Screen::new(&bars));
    let mut rate = Rate::default();
    loop {
        clock.sleep_until(clock.now().plus_ms(step_ms)).await;
        let (Ok(progress), Ok(hosts)) = (reader.progress().await, reader.hosts(32).await) else { continue };
        let now = clock.now();
        let per_s = rate.measure(now, progress.n_done);
        let line = line(&progress, per_s);
        match &mut screen {
            Some(screen) => screen.draw(&progress, &line, &hosts, now),
            None => tracing::info!(done = progress.n_done, ready = progress.n_ready, "{line}"),
        }
    }
}

struct Screen {
    main: ProgressBar,
    hosts: Vec<ProgressBar>,
}

impl Screen {
    fn new(bars: &MultiProgress) -> Self {
        let main = bars.add(ProgressBar::new(1));
        let style = ProgressStyle::with_template("{bar:30.green/black.bright} {pos}/{len}  {msg}")
            .map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("━━─"));
        main.set_style(style);
        main.enable_steady_tick(Duration::from_millis(200));
        let host_style = ProgressStyle::with_template("  {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        let hosts = (0..HOSTS_MAX)
            .map(|_| {
                let bar = bars.add(ProgressBar::new_spinner());
                bar.set_style(host_style.clone());
                bar
            })
            .collect();
        Self { main, hosts }
    }

    fn draw(&mut self, progress: &ProgressReport, line: &str, hosts: &[HostReport], now: Timestamp) {
        let settled = progress.n_done + progress.n_gone + progress.n_dead + progress.n_skipped;
        self.main.set_length((settled + progress.n_ready + progress.n_waiting).max(1));
        self.main.set_position(settled);
        self.main.set_message(line.to_owned());
        let mut waiting = hosts.iter().filter_map(|host| {
            let at = host.not_before_at.filter(|&at| at > now)?;
            let why = host.not_before_why.as_deref().unwrap_or_default();
            let open = host.n_ready + host.n_waiting;
            Some(format!(
                "{}  waits {} ({} open): {}",
                clean(&host.origin, 40),
                duration(at.since_ms(now)),
                count(open),
                clean(why, 60)
            ))
        });
        for bar in &self.hosts {
            bar.set_message(waiting.next().unwrap_or_default());
        }
    }
}

fn line(progress: &ProgressReport, per_s: Option<f64>) -> String {
    let open = progress.n_ready + progress.n_waiting;
    let mut words = vec![format!("{} done, {} queued", count(progress.n_done), count(open))];
    if let Some(per_s) = per_s.filter(|&per_s| per_s > 0.0) {
        words.push(format!("{per_s:.1}/s"));
        if open > 0 {
            words.push(format!("{} left", duration(eta_ms(open, per_s))));
        }
    }
    if progress.n_refused > 0 {
        words.push(format!("{} refused", percent(progress.n_refused, progress.n_requests)));
    }
    if progress.n_dead > 0 {
        words.push(format!("{} dead", count(progress.n_dead)));
    }
    if progress.n_items > 0 {
        words.push(format!("{} records", count(progress.n_items)));
    }
    words.join(", ")
}

/// Done jobs a second over the last moments.
#[derive(Default)]
struct Rate {
    samples: std::collections::VecDeque<(Timestamp, u64)>,
}

impl Rate {
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    fn measure(&mut self, now: Timestamp, done: u64) -> Option<f64> {
        self.samples.push_back((now, done));
        while self.samples.len() > 2 && self.samples.front().is_some_and(|(at, _)| now.since_ms(*at) > RATE_WINDOW_MS) {
            self.samples.pop_front();
        }
        let (from_at, from_done) = *self.samples.front()?;
        let ms = now.since_ms(from_at);
        (ms > 0).then(|| done.saturating_sub(from_done) as f64 * 1_000.0 / ms as f64)
    }
}
