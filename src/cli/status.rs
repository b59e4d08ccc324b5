//! `trundle status`: how far the crawl is, and what each host allows. Costs one read a host, whatever the number of jobs.

use serde_json::json;

use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::store::{Failure as DeadJob, HostReport, LastRun, ProgressReport, Reader, SourceKind, SourceReport};

use super::output::{Align, clean, count, duration, local_time, print_json, print_line, rate, size, table};
use super::{Context, ExitCode, Outcome, plan};

/// Options of `trundle status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show at most so many hosts and dead jobs
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: u32,
}

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    let config = plan::load(&context.global, &[]);
    let path = plan::store_path(&context.global, config)?;
    let status = Status::read(&Reader::open(&path).await?, args.limit).await?;
    if context.global.json {
        print_json(&status.as_json())?;
    } else {
        for line in status.as_text(SystemClock::new().now()) {
            print_line(&line)?;
        }
    }
    Ok(ExitCode::Ok)
}

/// What there is to tell.
pub(super) struct Status {
    pub progress: ProgressReport,
    pub sources: Vec<SourceReport>,
    pub hosts: Vec<HostReport>,
    pub dead: Vec<DeadJob>,
    pub last_run: Option<LastRun>,
}

impl Status {
    pub async fn read(reader: &Reader, limit: u32) -> anyhow::Result<Self> {
        Ok(Self {
            progress: reader.progress().await?,
            sources: reader.sources().await?,
            hosts: reader.hosts(limit).await?,
            dead: reader.failures(limit).await?,
            last_run: reader.last_run().await?,
        })
    }

    pub fn as_json(&self) -> serde_json::Value {
        let dead = self
            .dead
            .iter()
            .map(|job| json!({ "url": job.url, "status": job.status, "attempts": job.attempt, "reason": job.reason }));
        let sources = self.sources.iter().map(|row| {
            json!({
                "kind": kind_word(row.source.kind), "name": row.source.name, "found": row.n_found, "done": row.n_done,
                "items": row.n_items, "view": row.view,
            })
        });
        json!({
            "progress": self.progress,
            "sources": sources.collect::<Vec<_>>(),
            "hosts": self.hosts,
            "dead": dead.collect::<Vec<_>>(),
            "last_run": self.last_run.as_ref().map(|run| json!({
                "run_id": run.run_id, "started_at": run.started_at, "ended_at": run.ended_at, "pid": run.pid,
                "version": run.version,
            })),
        })
    }

    pub fn as_text(&self, now: Timestamp) -> Vec<String> {
        let mut lines = vec![self.headline()];
        let progress = &self.progress;
        lines.push(format!(
            "requests   {} sent, {} refused, {} failed, {} received, {} records",
            count(progress.n_requests),
            count(progress.n_refused),
            count(progress.n_failed),
            size(progress.bytes),
            count(progress.n_items)
        ));
        if let Some(run) = &self.last_run {
            let end = match run.ended_at {
                Some(at) => format!("ended {}", local_time(at)),
                None => format!("process {}, last commit {}", run.pid, local_time(progress.updated_at)),
            };
            lines.push(format!("run        {} started {}, {end}", run.run_id.0, local_time(run.started_at)));
        }
        push_table(&mut lines, &self.sources_table());
        push_table(&mut lines, &self.hosts_table(now));
        push_table(&mut lines, &self.dead_table());
        lines
    }

    fn headline(&self) -> String {
        let progress = &self.progress;
        let open = progress.n_ready + progress.n_waiting;
        let settled = progress.n_done + progress.n_gone + progress.n_dead + progress.n_skipped;
        let mut words = vec![format!("{} done", count(progress.n_done))];
        let mut say = |number: u64, what: &str| {
            if number > 0 {
                words.push(format!("{} {what}", count(number)));
            }
        };
        say(progress.n_gone, "gone");
        say(progress.n_skipped, "skipped");
        say(progress.n_dead, "dead");
        say(progress.n_ready, "ready");
        say(progress.n_waiting, "backing off");
        let share = if open == 0 { "complete".to_owned() } else { percent(settled, settled + open) };
        format!("jobs       {share}: {}", words.join(", "))
    }

    fn sources_table(&self) -> String {
        let mut columns =
            vec![("section", Align::Left), ("found", Align::Right), ("done", Align::Right), ("records", Align::Right)];
        // A crawl of sites alone has no views to tell of.
        if self.sources.iter().any(|row| row.view.is_some()) {
            columns.push(("SELECT * FROM", Align::Left));
        }
        let rows: Vec<Vec<String>> = self
            .sources
            .iter()
            .map(|row| {
                let name = format!("[{}.{}]", kind_word(row.source.kind), row.source.name);
                let view = row.view.clone().unwrap_or_default();
                let mut cells = vec![name, count(row.n_found), count(row.n_done), count(row.n_items), view];
                cells.truncate(columns.len());
                cells
            })
            .collect();
        table(&columns, &rows)
    }

    fn hosts_table(&self, now: Timestamp) -> String {
        let columns = [
            ("host", Align::Left),
            ("done", Align::Right),
            ("open", Align::Right),
            ("refused", Align::Right),
            ("pace", Align::Right),
            ("limit", Align::Right),
            ("at once", Align::Right),
            ("", Align::Left),
        ];
        let rows: Vec<Vec<String>> = self.hosts.iter().map(|host| host_row(host, now)).collect();
        table(&columns, &rows)
    }

    fn dead_table(&self) -> String {
        let columns = [("dead", Align::Left), ("reason", Align::Left)];
        let mut rows: Vec<Vec<String>> =
            self.dead.iter().map(|job| vec![clean(&job.url, 80), clean(&job.reason, 100)]).collect();
        let shown = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        if self.progress.n_dead > shown {
            rows.push(vec![
                format!("… and {} more", count(self.progress.n_dead - shown)),
                "SELECT * FROM failures".to_owned(),
            ]);
        }
        table(&columns, &rows)
    }
}

fn host_row(host: &HostReport, now: Timestamp) -> Vec<String> {
    let open = host.n_ready + host.n_waiting;
    let wait = match (host.paused, host.not_before_at) {
        (true, _) => "paused".to_owned(),
        (false, Some(at)) if at > now && open > 0 => {
            let why = host.not_before_why.as_deref().unwrap_or("no reason is known");
            format!("waits {}: {}", duration(at.since_ms(now)), clean(why, 80))
        }
        _ if open == 0 => String::new(),
        _ => match host.rate_per_s.filter(|&per_s| per_s > 0.0) {
            Some(per_s) => format!("{} left at this pace", duration(eta_ms(open, per_s))),
            None => String::new(),
        },
    };
    vec![
        clean(&host.origin, 60),
        count(host.n_done),
        count(open),
        if host.n_refused == 0 { "-".to_owned() } else { percent(host.n_refused, host.n_requests) },
        host.rate_per_s.filter(|&per_s| per_s > 0.0).map_or_else(|| "-".to_owned(), rate),
        host.limit_per_s.filter(|&per_s| per_s > 0.0).map_or_else(|| "-".to_owned(), rate),
        host.concurrency.filter(|&size| size >= 1.0).map_or_else(|| "-".to_owned(), |size| format!("{}", size.floor())),
        wait,
    ]
}

/// How long `open` jobs take at `per_s`, in ms.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate")]
pub(super) fn eta_ms(open: u64, per_s: f64) -> u64 {
    (open as f64 / per_s * 1_000.0).min(1e15) as u64
}

fn kind_word(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Site => "site",
        SourceKind::Api => "api",
    }
}

/// `part` of `whole` in percent, with a decimal where it matters.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub(super) fn percent(part: u64, whole: u64) -> String {
    let share = 100.0 * part as f64 / whole.max(1) as f64;
    if share >= 10.0 || share == 0.0 { format!("{share:.0} %") } else { format!("{share:.1} %") }
}

fn push_table(lines: &mut Vec<String>, text: &str) {
    if !text.is_empty() {
        lines.push(String::new());
        lines.extend(text.lines().map(str::to_owned));
    }
}
