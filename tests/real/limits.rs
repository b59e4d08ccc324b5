//! The limits of real servers: everything is fetched, nearly as fast as an all-knowing client could, with few refusals; and a
//! second run with what the first one learned does better still. What the servers did is read from their own logs.

use std::collections::BTreeMap;
use std::panic;
use std::thread;

use serde::Deserialize;

use crate::crawl::Crawl;
use crate::limited::{Hit, Limited};
use crate::{alone, process, show};

/// A limiter, what it allows, and what is asked of trundle there.
struct Case {
    name: &'static str,
    start: fn() -> Limited,
    optimum: Optimum,
    /// Pages of each of the two runs: the best client needs about 42 s for them. With windows they are some whole windows and a
    /// bit more, so that the last whole window has ended before the crawl has.
    pages: usize,
    /// After so long without requests the limiter has forgotten them.
    rest_ms: u64,
}

/// What is asked of each of the two runs: the least share of the optimum of the first one, and of the second one with what the
/// first one learned; and the largest share of requests that may be refused in either.
const COLD_MIN: f64 = 0.90;
const WARM_MIN: f64 = 0.96;
const REFUSED_MAX: f64 = 0.01;

/// Where less than the goal is asked, by name and run, since a slow machine takes much of the little room that is left: the gate, and
/// behind it what was reached on two busy cores.
const BELOW: [(&str, &str, f64); 2] = [
    ("Flask-Limiter, moving window", "cold", 0.85), // 0.929
    ("Flask-Limiter, moving window", "warm", 0.90), // 0.978
];

/// The least share of the optimum that is asked of `run` at `name`.
fn goodput_min(name: &str, run: &str, asked: f64) -> f64 {
    let below = BELOW.iter().find(|(below, of, _)| (*below, *of) == (name, run));
    below.map_or(asked, |&(.., gate)| gate)
}

/// What an all-knowing client could get from a limiter that has forgotten everything before.
#[derive(Clone, Copy)]
enum Optimum {
    /// A bucket of `burst` that fills with `rate` a second: burst + rate × T requests, T from the first to the last that passed.
    Bucket { rate: f64, burst: f64 },
    /// Answers that come `rate` a second, the first at once: 1 + rate × T, T from the first answer to the last.
    Shaper { rate: f64 },
    /// `quota` in a window of `window_ms`, whose first request starts it, or that moves: quota × T / window, T being the whole
    /// windows since the first request.
    Window { quota: f64, window_ms: i64 },
    /// `requests` at once: requests × T / S, T from the first request to the last answer, S the mean time of an answer.
    Cap { requests: f64 },
}

/// nginx lets one request pass before it counts the burst (`ngx_http_limit_req_lookup`: a new client starts with an excess of 0).
const NGINX: Optimum = Optimum::Bucket { rate: 20.0, burst: 21.0 };
const EXPRESS: Optimum = Optimum::Window { quota: 200.0, window_ms: 10_000 };

const CASES: [Case; 7] = [
    Case {
        name: "nginx limit_req nodelay, 429",
        start: || Limited::limit_req(20, 20, true, Some(429)),
        optimum: NGINX,
        pages: 850,
        rest_ms: 1_100,
    },
    Case {
        name: "nginx limit_req with delay, 429",
        start: || Limited::limit_req(20, 20, false, Some(429)),
        optimum: Optimum::Shaper { rate: 20.0 },
        pages: 850,
        rest_ms: 1_100,
    },
    Case {
        name: "nginx limit_req nodelay, plain 503",
        start: || Limited::limit_req(20, 20, true, None),
        optimum: NGINX,
        pages: 850,
        rest_ms: 1_100,
    },
    Case {
        name: "nginx limit_conn, plain 503",
        start: || Limited::limit_conn(5),
        optimum: Optimum::Cap { requests: 5.0 },
        pages: 1_050,
        rest_ms: 100,
    },
    Case {
        name: "express-rate-limit, X-RateLimit",
        start: || Limited::express(200, 10_000, "legacy"),
        optimum: EXPRESS,
        pages: 850,
        rest_ms: 10_100,
    },
    Case {
        name: "express-rate-limit, RateLimit draft-8",
        start: || Limited::express(200, 10_000, "draft-8"),
        optimum: EXPRESS,
        pages: 850,
        rest_ms: 10_100,
    },
    Case {
        name: "Flask-Limiter, moving window",
        start: || Limited::flask("100 per 5 seconds"),
        optimum: Optimum::Window { quota: 100.0, window_ms: 5_000 },
        pages: 850,
        rest_ms: 5_100,
    },
];

/// How long one run may take: beyond this it is far below any goodput that is asked for, and not worth waiting for.
const RUN_MS_MAX: u64 = 75_000;

/// From the arrival of a refusal until its crawl must have heard of it, in ms: its worker tells the dispatcher, and these tests
/// share two cores.
const HEARD_MS: i64 = 100;

/// The crawls wait for their servers most of the time, so all of them run at once.
#[test]
fn the_limits_of_real_servers_are_found_kept_and_remembered() {
    let _alone = alone();
    let failures: Vec<String> = thread::scope(|scope| {
        let runs = CASES.map(|case| (case.name, scope.spawn(move || check(&case))));
        let results = runs.into_iter().map(|(name, run)| match run.join() {
            Ok(failures) => failures,
            Err(cause) => vec![format!("{name}: {}", words(&*cause))],
        });
        results.flatten().collect()
    });
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// What a panic said.
fn words(cause: &(dyn std::any::Any + Send)) -> String {
    let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| cause.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}

/// Crawls twice; what was not as it should be.
fn check(case: &Case) -> Vec<String> {
    let mut server = (case.start)();
    let crawl = Crawl::new(&format!(
        "[throttle]\nmax_rate = \"none\"\nmax_concurrency = 64\n\n\
         [site.pages]\nstart = [\"{}\"]\nstart_files = [\"pages.txt\"]\n",
        server.page(0)
    ));
    let cold = run(case, &server, &crawl, 0..case.pages);
    process::let_pass(case.rest_ms);
    let warm = run(case, &server, &crawl, case.pages..2 * case.pages);
    server.stop();

    let attempts = attempts(&crawl);
    let mut failures = Vec::new();
    let mut fail = |what: String| failures.push(format!("{}: {what}", case.name));
    for (name, run, asked) in [("cold", &cold, COLD_MIN), ("warm", &warm, WARM_MIN)] {
        if run.code != Some(0) || run.missing > 0 {
            fail(format!("{name}: exit code {:?}, {} pages are missing\n{}", run.code, run.missing, run.stderr));
        }
        let least = goodput_min(case.name, name, asked);
        if run.goodput < least {
            fail(format!("{name}: goodput {:.3} is less than {least}", run.goodput));
        }
        if run.refused_share() > REFUSED_MAX {
            let (refused, requests) = (run.refused, run.requests);
            fail(format!("{name}: {refused} of {requests} requests refused is more than {REFUSED_MAX}"));
        }
    }
    let hits = server.hits();
    if cold.code == Some(0) && warm.code == Some(0) {
        match violations(&hits, &attempts) {
            Ok(0) => {}
            Ok(number) => fail(format!("{number} requests inside a Retry-After")),
            Err(difference) => fail(difference),
        }
    }
    show(&format!("{}: cold {}; warm {}", case.name, cold.figures(), warm.figures()));
    failures
}

/// What came of a run.
struct Run {
    /// None when it was killed for its slowness.
    code: Option<i32>,
    stderr: String,
    /// Pages of this run that are not stored.
    missing: i64,
    requests: usize,
    refused: usize,
    /// Seconds from the first request to the last answer.
    seconds: f64,
    goodput: f64,
}

impl Run {
    #[expect(clippy::cast_precision_loss, reason = "a share of some hundred requests")]
    fn refused_share(&self) -> f64 {
        self.refused as f64 / self.requests.max(1) as f64
    }

    fn figures(&self) -> String {
        format!(
            "goodput {:.3}, {} of {} refused ({:.2} %), {:.1} s",
            self.goodput,
            self.refused,
            self.requests,
            100.0 * self.refused_share(),
            self.seconds
        )
    }
}

/// Crawls the pages with these numbers, beside what was crawled before.
fn run(case: &Case, server: &Limited, crawl: &Crawl, pages: std::ops::Range<usize>) -> Run {
    #[derive(Deserialize)]
    struct Row {
        pages: i64,
    }
    let done = || crawl.sql::<Row>("SELECT count(*) AS pages FROM pages WHERE status = 200")[0].pages;
    let before = server.hits().len();
    let first = pages.start;
    let addresses: Vec<String> = pages.map(|number| server.page(number)).collect();
    crawl.write("pages.txt", &addresses.join("\n"));
    let expected = i64::try_from(first + addresses.len()).expect("few pages");
    let (code, stderr) = crawl.run_or_kill(RUN_MS_MAX);
    let hits = server.hits().split_off(before);
    let accepted: Vec<Hit> = hits.iter().filter(|hit| hit.is_accepted()).cloned().collect();
    let (Some(start), Some(end)) =
        (hits.first().map(|hit| hit.arrived_at_ms), hits.iter().map(|hit| hit.ended_at_ms).max())
    else {
        panic!("not one request came:\n{stderr}")
    };
    Run {
        code,
        stderr,
        missing: expected - done(),
        requests: hits.len(),
        refused: hits.len() - accepted.len(),
        seconds: seconds(end - start),
        goodput: case.optimum.goodput(&accepted),
    }
}

#[expect(clippy::cast_precision_loss, reason = "ms of some minutes")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}

impl Optimum {
    /// Requests that passed in a time, by those that the best client could get through in it. `accepted` by their arrival.
    #[expect(clippy::cast_precision_loss, reason = "some hundred requests")]
    fn goodput(self, accepted: &[Hit]) -> f64 {
        let number = accepted.len() as f64;
        let ends = || accepted.iter().map(|hit| hit.ended_at_ms);
        let (Some(first), Some(last)) = (accepted.first(), accepted.last()) else { return 0.0 };
        let (first_end, last_end) = (ends().min().unwrap_or_default(), ends().max().unwrap_or_default());
        let arrivals_s = seconds(last.arrived_at_ms - first.arrived_at_ms);
        match self {
            Self::Bucket { rate, burst } => number / (burst + rate * arrivals_s),
            Self::Shaper { rate } => number / (1.0 + rate * seconds(last_end - first_end)),
            Self::Window { quota, window_ms } => {
                let windows = (last.arrived_at_ms - first.arrived_at_ms) / window_ms;
                if windows == 0 {
                    return 1.0;
                }
                let end_ms = first.arrived_at_ms + windows * window_ms;
                let within = accepted.iter().filter(|hit| hit.arrived_at_ms < end_ms).count();
                within as f64 / (quota * windows as f64)
            }
            Self::Cap { requests } => {
                let mean_s =
                    accepted.iter().map(|hit| seconds(hit.ended_at_ms - hit.arrived_at_ms)).sum::<f64>() / number;
                number * mean_s / (requests * seconds(last_end - first.arrived_at_ms))
            }
        }
    }
}

/// A request as the crawl remembers it.
#[derive(Clone, Debug, Deserialize)]
struct Attempt {
    path: String,
    sent_at: i64,
    took_ms: i64,
    status: Option<u16>,
}

fn attempts(crawl: &Crawl) -> Vec<Attempt> {
    crawl.sql(
        "SELECT request AS path, sent_at, took_ms, attempts.status FROM attempts JOIN jobs USING (job_id) \
         WHERE request GLOB '/p/*' ORDER BY sent_at, nth",
    )
}

/// Requests that were sent after a refusal had come and before its `Retry-After` had passed. An error when the server and the
/// crawl do not tell of the same requests.
fn violations(hits: &[Hit], attempts: &[Attempt]) -> Result<usize, String> {
    let mut by_path: BTreeMap<&str, Vec<&Hit>> = BTreeMap::new();
    for hit in hits {
        by_path.entry(&hit.path).or_default().push(hit);
    }
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    let mut closed = Vec::new();
    for attempt in attempts {
        // Requests for one page follow each other.
        let nth = told.entry(&attempt.path).or_default();
        let hit = by_path.get(attempt.path.as_str()).and_then(|hits| hits.get(*nth));
        *nth += 1;
        match hit {
            Some(hit) if Some(hit.status) == attempt.status => {
                if let (false, Some(wait_s)) = (hit.is_accepted(), hit.retry_after_s) {
                    let came_at = attempt.sent_at + attempt.took_ms;
                    closed.push((came_at + HEARD_MS, came_at + wait_s * 1_000));
                }
            }
            other => return Err(format!("trundle made {attempt:?}, its server got {other:?}")),
        }
    }
    if attempts.len() != hits.len() {
        return Err(format!("trundle tells of {} requests, its server of {}", attempts.len(), hits.len()));
    }
    let is_inside = |at: i64| closed.iter().any(|&(from, until)| at > from && at < until);
    Ok(attempts.iter().filter(|attempt| is_inside(attempt.sent_at)).count())
}

/// A client that sends `burst` requests at once each `gap_ms`, 1,000 requests that all pass and are answered after `took_ms`.
fn regular(burst: i64, gap_ms: i64, took_ms: i64) -> Vec<Hit> {
    let hit = |number: i64| {
        let arrived_at_ms = number / burst * gap_ms;
        let path = format!("/p/{number}");
        Hit { arrived_at_ms, ended_at_ms: arrived_at_ms + took_ms, path, status: 200, retry_after_s: None }
    };
    (0..1_000).map(hit).collect()
}

#[test]
fn what_is_below_its_gate_is_named_as_it_is_called() {
    for (name, run, gate) in BELOW {
        assert!(CASES.iter().any(|case| case.name == name), "{name}");
        let asked = match run {
            "cold" => COLD_MIN,
            "warm" => WARM_MIN,
            _ => panic!("no run is called {run}"),
        };
        assert!(gate < asked, "{name} is asked for no more in the {run} run anyway");
    }
}

#[test]
fn the_best_client_has_a_goodput_of_one_and_half_its_pace_is_half() {
    #[track_caller]
    fn check(optimum: Optimum, client: &[Hit], goodput: f64) {
        let found = optimum.goodput(client);
        assert!((found - goodput).abs() < 0.02, "{found} instead of {goodput}");
    }
    // An even pace of 20/s from the start leaves the burst of 21 unused.
    check(Optimum::Bucket { rate: 20.0, burst: 21.0 }, &regular(1, 50, 1), 1_000.0 / 1_020.0);
    check(Optimum::Bucket { rate: 20.0, burst: 21.0 }, &regular(1, 100, 1), 0.5);
    check(Optimum::Shaper { rate: 20.0 }, &regular(1, 50, 300), 1.0);
    check(Optimum::Shaper { rate: 20.0 }, &regular(1, 100, 300), 0.5);
    for (burst, gap_ms) in [(200, 10_000), (1, 50)] {
        check(EXPRESS, &regular(burst, gap_ms, 1), 1.0);
        check(EXPRESS, &regular(burst, 2 * gap_ms, 1), 0.5);
    }
    check(Optimum::Cap { requests: 5.0 }, &regular(5, 200, 200), 1.0);
    check(Optimum::Cap { requests: 5.0 }, &regular(5, 400, 200), 0.5);
}

#[test]
fn a_request_inside_a_retry_after_is_seen_and_one_at_its_end_is_none() {
    let hit = |at_ms, path: &str, status, retry_after_s| Hit {
        arrived_at_ms: at_ms,
        ended_at_ms: at_ms,
        path: path.to_owned(),
        status,
        retry_after_s,
    };
    let attempt =
        |path: &str, sent_at, status| Attempt { path: path.to_owned(), sent_at, took_ms: 10, status: Some(status) };
    let hits = [
        hit(0, "/p/1", 429, Some(2)),
        hit(20, "/p/2", 429, Some(2)),
        // Flask-Limiter says it with good answers too.
        hit(2_010, "/p/1", 200, Some(9)),
        hit(2_015, "/p/2", 200, Some(9)),
    ];
    let mut attempts = vec![
        attempt("/p/1", 0, 429),
        attempt("/p/2", 20, 429),
        attempt("/p/1", 2_030, 200),
        attempt("/p/2", 2_030, 200),
    ];
    assert_eq!(violations(&hits, &attempts), Ok(0), "/p/2 was on its way when the refusal of /p/1 came");
    attempts[2].sent_at = 2_029;
    assert_eq!(violations(&hits, &attempts), Ok(1));
    attempts[2].status = Some(429);
    assert!(violations(&hits, &attempts).is_err(), "the crawl tells of a refusal where there was none");
    attempts.pop();
    attempts[2].status = Some(200);
    assert!(violations(&hits, &attempts).is_err(), "the crawl does not tell of a request");
}
