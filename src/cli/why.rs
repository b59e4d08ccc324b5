//! `trundle why URL`: one address explained.

use url::Url;

use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config::Config;
use crate::job::{JobKind, JobState};
use crate::policy::{self, Robots, RobotsVerdict, ScopeRules, ScopeVerdict};
use crate::store::{Reader, WhyReport};
use crate::throttle::DeclaredSnapshot;

use super::output::{ago, clean, count, duration, local_time, print_json, print_line, rate, size};
use super::status::eta_ms;
use super::{Context, ExitCode, Outcome, plan};

/// Options of `trundle why`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The address
    url: Url,
}

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    let config = plan::load(&context.global, &[]);
    let rules = config.as_ref().ok().cloned();
    let path = plan::store_path(&context.global, config)?;
    let reader = Reader::open(&path).await?;
    let url = rules.as_ref().map_or_else(|| args.url.clone(), |config| plan::spelled(config, &args.url));
    let Some(report) = reader.why(&url).await? else {
        if context.global.json {
            print_json(&serde_json::Value::Null)?;
        }
        print_unknown(&url, rules.as_ref(), context.global.json)?;
        return Ok(ExitCode::Ok);
    };
    let now = SystemClock::new().now();
    if context.global.json {
        print_json(&Told { declared: report.declared.words(now), report: &report })?;
    } else {
        let agent = rules.map(|config| policy::agent_token(&config.http.user_agent).to_owned());
        for line in explain(&report, agent.as_deref().unwrap_or("trundle"), now) {
            print_line(&line)?;
        }
    }
    Ok(ExitCode::Ok)
}

/// The report as programs get it.
#[derive(serde::Serialize)]
struct Told<'r> {
    #[serde(flatten)]
    report: &'r WhyReport,
    /// The quotas that the host declares, in words.
    declared: Vec<String>,
}

/// Why an address has no job.
fn print_unknown(url: &Url, config: Option<&Config>, json: bool) -> anyhow::Result<()> {
    let mut lines = vec![format!("{} is not in the queue, and never was", clean(url.as_str(), 200))];
    for site in config.map(|config| config.sites.as_slice()).unwrap_or_default() {
        let scope = ScopeRules::new(site.scope, &site.start, &site.include, &site.exclude, 0);
        let word = match policy::canonicalize(url.clone(), &site.url) {
            Err(rejected) => format!("left out: {rejected}"),
            Ok(canonical) => match scope.judge(&canonical, 1) {
                ScopeVerdict::In => "in scope: no page that was read so far links to it".to_owned(),
                ScopeVerdict::Out(reason) => format!("out of scope: {reason}"),
            },
        };
        lines.push(format!("  [site.{}] {word}", site.name));
    }
    for line in lines {
        if json {
            eprintln!("{line}");
        } else {
            print_line(&line)?;
        }
    }
    Ok(())
}

fn explain(report: &WhyReport, agent: &str, now: Timestamp) -> Vec<String> {
    let state = report.state.map_or_else(|| "unknown".to_owned(), |state| state.to_string());
    let mut lines = vec![clean(&report.url, 500), format!("  state      {state}{}", reason(report))];
    lines.push(format!("  next       {}", next(report, now)));
    for (index, words) in limits(report, now).iter().enumerate() {
        lines.push(format!("  {:<10} {words}", if index == 0 { "limit" } else { "" }));
    }
    lines.push(format!("  job        {}, {} of {}, {}", report.job_id, kind(report), report.source, place(report)));
    lines.push(format!("  found      {}", local_time(report.found_at)));
    for (index, parent) in report.named_by.iter().enumerate() {
        lines.push(format!("  {:<10} {}", if index == 0 { "named by" } else { "" }, clean(parent, 200)));
    }
    if let Some(response) = &report.response {
        let mut words = vec![format!("{}", response.status)];
        words.extend(response.content_type.clone());
        words.extend(response.body_bytes.map(|bytes| format!("{} kept", size(bytes))));
        let what = if report.kind == Some(JobKind::ApiPage) { "records" } else { "links" };
        words.push(format!("{} {what}", count(u64::from(response.links))));
        words.push(format!("at {}", local_time(response.fetched_at)));
        lines.push(format!("  answer     {}", words.join(", ")));
        lines.extend(response.title.iter().map(|title| format!("  title      {}", clean(title, 200))));
        lines.extend(response.redirect_to.iter().map(|url| format!("  redirect   {}", clean(url, 300))));
        lines.extend(response.notes.iter().map(|notes| format!("  notes      {}", clean(notes, 500))));
    }
    for (index, attempt) in report.attempts.iter().enumerate() {
        let status = attempt.status.map(|status| format!(" {status}")).unwrap_or_default();
        let error = attempt.error.as_ref().map(|error| format!(": {}", clean(error, 200))).unwrap_or_default();
        lines.push(format!(
            "  {:<10} {}  {}{status} in {}{error}",
            if index == 0 { "requests" } else { "" },
            local_time(attempt.sent_at),
            attempt.outcome,
            duration(attempt.took_ms)
        ));
    }
    if let Some(robots) = &report.robots {
        let rules = if robots.disallow_all {
            Robots::disallow_all("it could not be had")
        } else {
            Robots::parse(&robots.body, agent)
        };
        let verdict = Url::parse(&report.url).ok().map(|url| rules.verdict(&url));
        lines.push(match verdict {
            Some(RobotsVerdict::Disallowed { rule }) => format!("  robots     forbidden: {}", clean(&rule, 200)),
            _ => "  robots     allowed".to_owned(),
        });
    }
    lines
}

/// What the answer is read as, with its article.
fn kind(report: &WhyReport) -> &'static str {
    match report.kind {
        Some(JobKind::Page) => "a page",
        Some(JobKind::Robots) => "the robots.txt of a host",
        Some(JobKind::Sitemap) => "a sitemap",
        Some(JobKind::Feed) => "a feed",
        Some(JobKind::ApiPage) => "an api page",
        None => "something that a newer version knows",
    }
}

/// How far from the start it is: in links, or in pages of a stream.
fn place(report: &WhyReport) -> String {
    match report.kind {
        Some(JobKind::ApiPage) => format!("number {} of its stream", count(u64::from(report.depth) + 1)),
        _ => format!("depth {}", report.depth),
    }
}

fn reason(report: &WhyReport) -> String {
    report.reason.as_ref().map(|reason| format!(": {}", clean(reason, 300))).unwrap_or_default()
}

/// What happens next, and when.
fn next(report: &WhyReport, now: Timestamp) -> String {
    if !report.state.is_some_and(JobState::is_open) {
        return match report.settled_at {
            Some(at) => format!("nothing; settled {}", local_time(at)),
            None => "nothing".to_owned(),
        };
    }
    if let Some(since) = report.in_flight_since {
        return format!("in flight since {}", local_time(since));
    }
    if report.host_paused {
        return "its host is paused".to_owned();
    }
    let embargo = report.not_before_at.filter(|&at| at > now).map(|at| {
        let why = report.not_before_why.as_deref().unwrap_or("no reason is known");
        let what =
            report.not_before_scope.as_ref().map(|scope| format!(" for {}", clean(scope, 100))).unwrap_or_default();
        format!("its host waits {} more{what}: {}", duration(at.since_ms(now)), clean(why, 200))
    });
    let backoff = report
        .due_at
        .filter(|&at| at > now)
        .map(|at| format!("it backs off for {} after {} failed attempts", duration(at.since_ms(now)), report.attempt));
    let pace = report.rate_per_s.filter(|&per_s| per_s > 0.0);
    let ahead = report.n_ahead.filter(|&jobs| jobs > 0).map(|jobs| {
        let plural = if jobs == 1 { " of its host goes" } else { "s of its host go" };
        let when = pace.map(|per_s| format!(", about {} at {}", duration(eta_ms(jobs, per_s)), rate(per_s)));
        format!("{} job{plural} before it{}", count(jobs), when.unwrap_or_default())
    });
    embargo.or(backoff).or(ahead).unwrap_or_else(|| match pace {
        Some(per_s) => format!("it goes as soon as its host may send, at {}", rate(per_s)),
        None => "it goes as soon as its host may send".to_owned(),
    })
}

/// What is known about the limit of its host, and about those of parts of the host that it passes: one fact a line.
fn limits(report: &WhyReport, now: Timestamp) -> Vec<String> {
    let mut lines = limit("", report.learned.as_deref(), report.seen_at, &report.declared, now);
    for scope in &report.narrow {
        let of = format!("{}: ", clean(&scope.scope, 100));
        lines.extend(limit(&of, scope.learned.as_deref(), scope.seen_at, &scope.declared, now));
    }
    lines
}

fn limit(
    of: &str,
    learned: Option<&str>,
    seen_at: Option<Timestamp>,
    declared: &DeclaredSnapshot,
    now: Timestamp,
) -> Vec<String> {
    let seen = seen_at.map(|at| format!(", last seen {}", ago(at, now))).unwrap_or_default();
    let learned = learned.map(|words| format!("{of}{}{seen}", clean(words, 200)));
    let declared = declared.words(now);
    let declared = declared.iter().map(|words| format!("{of}declared: {}", clean(words, 100)));
    learned.into_iter().chain(declared).collect()
}
