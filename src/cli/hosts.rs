//! `trundle hosts`: what is known of each host's limit, and what people say about it. Costs one read a host.

use std::time::Duration;

use anyhow::anyhow;
use url::Url;

use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config;
use crate::job::Origin;
use crate::store::{self, HostReport, Reader};
use crate::throttle::{DeclaredSnapshot, Order, Said, Shape};

use super::output::{Align, ago, clean, count, duration, local_time, print_json, print_line, rate, table};
use super::{Context, ExitCode, Failure, Outcome, plan};

/// The longest window that can be said, in ms: 32 days, as for those that servers declare.
const WINDOW_MS_MAX: u128 = 32 * 24 * 3_600_000;

/// Options of `trundle hosts`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    deed: Option<Deed>,
    /// Show only these: an origin, or its part behind the scheme
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
    /// Show at most so many hosts
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: u32,
}

#[derive(Debug, clap::Subcommand)]
enum Deed {
    /// Drop what was learned about a host's limit, so that it is found anew
    ///
    /// The ceilings in crawl.toml stay, and so does a wait that the host asked for and that is not over.
    Forget {
        /// The host: an origin, or its part behind the scheme
        #[arg(required = true, value_name = "HOST")]
        hosts: Vec<String>,
    },
    /// Say what a host's limit is
    ///
    /// The crawl starts from it instead of from what it learned; what the host then answers overrules it. To set a ceiling that
    /// nothing overrules, write max_rate into [[host]] of crawl.toml.
    Set {
        /// The host: an origin, or its part behind the scheme
        #[arg(value_name = "HOST")]
        host: String,
        /// Requests that it takes in the long run: 10/s, 100/m, 5000/h
        #[arg(long, value_name = "RATE", value_parser = rate_of)]
        rate: f64,
        /// Requests that it takes at once [default: 1, evenly spaced]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        burst: Option<u32>,
        /// It counts in windows of this length (60s, 1h), in which requests may lie as they like
        #[arg(long, value_name = "TIME", conflicts_with = "burst", value_parser = window_of)]
        window: Option<Duration>,
    },
}

fn rate_of(text: &str) -> Result<f64, String> {
    config::parse_rate(text).ok_or_else(|| "expected a rate such as 10/s, 100/m or 5000/h".to_owned())
}

fn window_of(text: &str) -> Result<Duration, String> {
    let window = humantime::parse_duration(text).ok();
    window
        .filter(|window| (1..=WINDOW_MS_MAX).contains(&window.as_millis()))
        .ok_or_else(|| "expected a time from 1ms to 32days, such as 60s or 1h".to_owned())
}

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    let path = plan::store_path(&context.global, plan::load(&context.global, &[]))?;
    let reader = Reader::open(&path).await?;
    let now = SystemClock::new().now();
    let (names, order) = match &args.deed {
        None => return show(context, &reader, args, now).await,
        Some(Deed::Forget { hosts }) => (hosts.as_slice(), Order::Forget),
        Some(Deed::Set { host, rate, burst, window }) => {
            (std::slice::from_ref(host), Order::Set(said(*rate, *burst, *window)?))
        }
    };
    let mut hosts: Vec<HostReport> = Vec::new();
    for name in names {
        hosts.extend(named(&reader, name).await?);
    }
    let orders: Vec<(Origin, Order)> = hosts
        .iter()
        .filter_map(|host| Some((Url::parse(&host.origin).ok().as_ref().and_then(Origin::of)?, order)))
        .collect();
    store::post_orders(&path, &orders, now).await?;
    for host in &hosts {
        eprintln!("{}", done(host, &order, now));
    }
    eprintln!("a crawl that runs takes this within a second, or else the next `trundle run`");
    Ok(ExitCode::Ok)
}

/// The limit that a person says.
fn said(rate_per_s: f64, burst: Option<u32>, window: Option<Duration>) -> Result<Said, Failure> {
    let shape = match window {
        None => Shape::Burst(f64::from(burst.unwrap_or(1))),
        Some(window) => {
            let window_ms = window.as_secs_f64() * 1_000.0;
            let requests = rate_per_s * window_ms / 1_000.0;
            if requests < 1.0 {
                let shown = rate(rate_per_s);
                return Err(Failure::Usage(anyhow!(
                    "{shown} is less than one request in {}; name a longer --window",
                    humantime::format_duration(window)
                )));
            }
            Shape::WindowMs(window_ms)
        }
    };
    Ok(Said { rate_per_s, shape })
}

/// What an order does to a host, and what it leaves.
fn done(host: &HostReport, order: &Order, now: Timestamp) -> String {
    let origin = clean(&host.origin, 200);
    let known = host.learned.as_deref().map(|learned| format!(" ({})", clean(learned, 200))).unwrap_or_default();
    let mut words = match order {
        Order::Forget => format!("{origin}: forgets what was learned{known}; the ceilings in crawl.toml stay"),
        Order::Set(Said { rate_per_s, shape }) => {
            let shape = match shape {
                Shape::Burst(burst) => format!("{burst} at once"),
                Shape::WindowMs(window_ms) => {
                    let window = Duration::from_secs_f64(window_ms / 1_000.0);
                    format!("{:.0} in {}", rate_per_s * window_ms / 1_000.0, humantime::format_duration(window))
                }
            };
            format!("{origin}: starts from {}, {shape}, instead of what was learned{known}", rate(*rate_per_s))
        }
    };
    if let Some(at) = host.not_before_at.filter(|&at| at > now) {
        let why = host.not_before_why.as_deref().unwrap_or("no reason is known");
        words.push_str(&format!("; it still waits until {}: {}", local_time(at), clean(why, 100)));
    }
    words
}

/// The hosts that a name stands for, or how to go on when it stands for none.
async fn named(reader: &Reader, name: &str) -> Result<Vec<HostReport>, Failure> {
    // A whole address stands for its host; what the parser makes of a bare name is how origins are spelled.
    let spelled = match Url::parse(name).ok().as_ref().and_then(Origin::of) {
        Some(origin) => origin.as_str().to_owned(),
        None => name.trim_end_matches('/').to_lowercase(),
    };
    let hosts = reader.hosts_named(&spelled).await?;
    if hosts.is_empty() {
        return Err(Failure::Usage(anyhow!(
            "this crawl knows no host {}; `trundle hosts` lists those that it knows, and a host is known once one of its \
             addresses is in the queue",
            clean(name, 200)
        )));
    }
    Ok(hosts)
}

async fn show(context: &Context, reader: &Reader, args: &Args, now: Timestamp) -> Outcome {
    let mut hosts = Vec::new();
    for name in &args.hosts {
        hosts.extend(named(reader, name).await?);
    }
    let mut is_cut = false;
    if args.hosts.is_empty() {
        hosts = reader.hosts(args.limit.saturating_add(1)).await?;
        is_cut = hosts.len() > args.limit as usize;
        hosts.truncate(args.limit as usize);
    }
    if context.global.json {
        print_json(&hosts.iter().map(|host| Told::of(host, now)).collect::<Vec<_>>())?;
    } else {
        for line in as_text(&hosts, now).lines() {
            print_line(line)?;
        }
    }
    if is_cut {
        eprintln!("there are more hosts; --limit shows them");
    }
    let waiting = reader.orders_waiting().await?;
    if waiting > 0 {
        eprintln!("said by hand and not taken yet: {}; a crawl takes it when it runs", count(waiting));
    }
    Ok(ExitCode::Ok)
}

fn as_text(hosts: &[HostReport], now: Timestamp) -> String {
    let columns = [
        ("host", Align::Left),
        ("state", Align::Left),
        ("pace", Align::Right),
        ("refused", Align::Right),
        ("last seen", Align::Right),
        ("what is known", Align::Left),
    ];
    let rows: Vec<Vec<String>> = hosts.iter().flat_map(|host| rows(host, now)).collect();
    table(&columns, &rows)
}

/// A host as programs get it.
#[derive(serde::Serialize)]
struct Told<'h> {
    #[serde(flatten)]
    host: &'h HostReport,
    /// The quotas that it declares, in words.
    declared: Vec<String>,
}

impl<'h> Told<'h> {
    fn of(host: &'h HostReport, now: Timestamp) -> Self {
        Self { host, declared: host.declared.words(now) }
    }
}

/// The lines of a host: its own, and one for each limit that is narrower. What is known of it goes on below, one fact a line.
fn rows(host: &HostReport, now: Timestamp) -> Vec<Vec<String>> {
    let known = Known { closed_at: host.not_before_at, why: &host.not_before_why, learned: &host.learned };
    let mut rows = known.rows(
        [
            clean(&host.origin, 60),
            if host.paused { "paused".to_owned() } else { state(host.not_before_at, now) },
            pace(host.rate_per_s),
            format!("{} of {}", count(host.n_refused), count(host.n_requests)),
            seen(host.seen_at, now),
        ],
        &host.declared,
        now,
    );
    for scope in &host.narrow {
        let known = Known { closed_at: scope.not_before_at, why: &scope.not_before_why, learned: &scope.learned };
        let head = [
            format!("  {}", clean(&scope.scope, 58)),
            state(scope.not_before_at, now),
            pace(scope.rate_per_s),
            count(scope.n_refused),
            seen(scope.seen_at, now),
        ];
        rows.extend(known.rows(head, &scope.declared, now));
    }
    rows
}

fn pace(rate_per_s: Option<f64>) -> String {
    rate_per_s.filter(|&per_s| per_s > 0.0).map_or_else(|| "-".to_owned(), rate)
}

fn seen(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or_else(|| "-".to_owned(), |at| ago(at, now))
}

/// Whether it may be asked now.
fn state(not_before_at: Option<Timestamp>, now: Timestamp) -> String {
    match not_before_at.filter(|&at| at > now) {
        Some(at) => format!("closed {}", duration(at.since_ms(now))),
        None => "open".to_owned(),
    }
}

/// What is known of one limit.
struct Known<'r> {
    closed_at: Option<Timestamp>,
    why: &'r Option<String>,
    learned: &'r Option<String>,
}

impl Known<'_> {
    /// One fact a line: why it is closed if it is, what was learned, and each quota that the server declares.
    fn rows(&self, head: [String; 5], declared: &DeclaredSnapshot, now: Timestamp) -> Vec<Vec<String>> {
        let mut facts = Vec::new();
        if self.closed_at.is_some_and(|at| at > now) {
            let why = self.why.as_deref().unwrap_or("no reason is known");
            facts.push(format!("closed: {}", clean(why, 100)));
        }
        facts.extend(self.learned.as_deref().map(|words| clean(words, 160)));
        facts.extend(declared.words(now).iter().map(|words| format!("declared: {}", clean(words, 100))));
        if facts.is_empty() {
            facts.push("-".to_owned());
        }
        let below = std::iter::repeat([const { String::new() }; 5]);
        let heads = std::iter::once(head).chain(below);
        heads.zip(facts).map(|(head, fact)| head.into_iter().chain([fact]).collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Headers;
    use crate::job::HostId;
    use crate::store::ScopeReport;
    use crate::throttle::{Declared, Hints};

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn host(origin: &str) -> HostReport {
        HostReport {
            host_id: HostId(1),
            origin: origin.to_owned(),
            paused: false,
            n_ready: 5,
            n_waiting: 0,
            n_done: 1_200,
            n_gone: 0,
            n_dead: 0,
            n_skipped: 0,
            n_requests: 1_234,
            n_refused: 3,
            n_failed: 0,
            bytes: 0,
            not_before_at: None,
            not_before_why: None,
            last_refused_at: None,
            rate_per_s: Some(9.96),
            limit_per_s: Some(10.0),
            concurrency: Some(4.0),
            learned: Some("token bucket, 10.0/s, burst 20, known to ±1 %, from 3 refusals".to_owned()),
            seen_at: Some(Timestamp(NOW.0 - 7_500_000)),
            declared: DeclaredSnapshot::default(),
            narrow: Vec::new(),
        }
    }

    /// Two quotas, told just now.
    fn declared() -> DeclaredSnapshot {
        let fields = [("RateLimit", r#""core";r=4812;t=840, "search";r=28;t=60"#)];
        let hints = Hints::read(&Headers::from_pairs(fields), NOW);
        let mut declared = Declared::default();
        let idx = declared.on_sent(NOW);
        declared.on_answer(idx, &hints, NOW);
        declared.save()
    }

    #[test]
    fn a_table_of_hosts_is_read_at_a_glance() {
        let closed = HostReport {
            not_before_at: Some(NOW.plus_ms(61_500)),
            not_before_why: Some("retry-after asked for 2m\u{1b}[2J".to_owned()),
            seen_at: Some(NOW),
            declared: declared(),
            narrow: vec![ScopeReport {
                host_id: HostId(1),
                scope: "/search".to_owned(),
                not_before_at: None,
                not_before_why: None,
                n_refused: 7,
                rate_per_s: Some(0.5),
                learned: Some("30 in 60 s, not sure yet, from 7 refusals".to_owned()),
                seen_at: Some(NOW),
                declared: DeclaredSnapshot::default(),
            }],
            ..host("http://b.example:8080")
        };
        let new = HostReport {
            n_requests: 1,
            n_refused: 0,
            rate_per_s: None,
            learned: None,
            seen_at: None,
            ..host(&format!("https://{}.example", "long".repeat(20)))
        };
        let paused = HostReport { paused: true, ..host("https://c.example") };
        insta::assert_snapshot!(as_text(&[host("https://a.example"), closed, new, paused], NOW), @r"
        host                                                           state             pace     refused  last seen  what is known
        https://a.example                                              open            10.0/s  3 of 1 234  2h 5m ago  token bucket, 10.0/s, burst 20, known to ±1 %, from 3 refusals
        http://b.example:8080                                          closed 1m 1s    10.0/s  3 of 1 234   just now  closed: retry-after asked for 2m?[2J
                                                                                                                      token bucket, 10.0/s, burst 20, known to ±1 %, from 3 refusals
                                                                                                                      declared: core 4 812 left, resets in 14 min
                                                                                                                      declared: search 28 left, resets in 60 s
          /search                                                      open          30.0/min           7   just now  30 in 60 s, not sure yet, from 7 refusals
        https://longlonglonglonglonglonglonglonglonglonglonglonglong…  open                 -      0 of 1          -  -
        https://c.example                                              paused          10.0/s  3 of 1 234  2h 5m ago  token bucket, 10.0/s, burst 20, known to ±1 %, from 3 refusals
        ");
    }

    #[test]
    fn what_is_said_by_hand_is_told_with_what_it_leaves() {
        let open = host("https://a.example");
        let closed = HostReport {
            not_before_at: Some(NOW.plus_ms(61_500)),
            not_before_why: Some("retry-after asked for 2m".to_owned()),
            learned: None,
            ..open.clone()
        };
        let window = Said { rate_per_s: 100.0 / 60.0, shape: Shape::WindowMs(60_000.0) };
        let burst = Said { rate_per_s: 10.0, shape: Shape::Burst(20.0) };
        assert_eq!(
            done(&open, &Order::Forget, NOW),
            "https://a.example: forgets what was learned (token bucket, 10.0/s, burst 20, known to ±1 %, from 3 refusals); \
             the ceilings in crawl.toml stay"
        );
        let words = done(&closed, &Order::Set(window), NOW);
        assert!(
            words.starts_with("https://a.example: starts from 1.7/s, 100 in 1m, instead of what was learned; "),
            "{words}"
        );
        assert!(words.ends_with(": retry-after asked for 2m"), "{words}");
        assert!(done(&open, &Order::Set(burst), NOW).contains("starts from 10.0/s, 20 at once, "));
    }

    #[test]
    fn a_window_that_holds_less_than_one_request_is_no_limit() {
        assert!(said(0.01, None, Some(Duration::from_mins(1))).is_err());
        assert_eq!(said(2.0, None, None).ok().map(|said| said.shape), Some(Shape::Burst(1.0)));
    }
}
