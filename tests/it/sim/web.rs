//! The simulated web: what each host answers, and when.

use std::collections::HashMap;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use trundle::clock::Timestamp;
use trundle::exchange::{BodyEnd, FetchError, Fetched, Headers, Via};
use trundle::practice::{ConcurrencyCap, FixedWindow, Limiter, TokenBucket, Verdict};
use url::Url;

use super::scenario::{Counts, HostSpec, LimiterSpec, RetryAfter, Tells, TroubleAnswer};

/// When a client gives up a silent host, ms.
const TIMEOUT_MS: u64 = 10_000;
/// Records on a page of an API.
const PAGE_SIZE: u32 = 20;

pub struct Web {
    hosts: HashMap<String, Host>,
    started_at: Timestamp,
    dice: fastrand::Rng,
}

pub struct Host {
    spec: HostSpec,
    limiter: Limiter,
    /// One for each token, or for each proxy, if they are counted.
    member_limiters: Vec<Limiter>,
    /// One for each part.
    part_limiters: Vec<Limiter>,
    robots_failures: u32,
    pub requests: u64,
    pub refused: u64,
    pub not_modified: u64,
    /// Requests for content, for `fails_every`.
    asked: u32,
}

/// What a host does with a request that has come to it.
pub struct Reply {
    /// How long it works on it, ms; the slot of a concurrency cap is taken for so long.
    pub service_ms: u64,
    /// Whether a slot must be given back then.
    pub holds_slot: bool,
    pub result: Result<Answer, FetchError>,
}

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

fn limiter(spec: LimiterSpec) -> Limiter {
    match spec {
        LimiterSpec::None => Limiter::None,
        LimiterSpec::TokenBucket { per_s, burst } => Limiter::TokenBucket(TokenBucket::new(per_s, burst)),
        LimiterSpec::FixedWindow { limit, window_s } => Limiter::FixedWindow(FixedWindow::new(limit, window_s)),
        LimiterSpec::ConcurrencyCap { limit } => Limiter::ConcurrencyCap(ConcurrencyCap::new(limit)),
    }
}

impl Web {
    pub fn new(hosts: &[HostSpec], started_at: Timestamp, seed: u64) -> Self {
        let hosts = hosts.iter().map(|spec| {
            let part_limiters = spec.part.iter().map(|part| limiter(part.limiter)).collect();
            let member_limiters = match spec.counts {
                Counts::All => Vec::new(),
                Counts::Tokens => (0..spec.tokens).map(|_| limiter(spec.limiter)).collect(),
                Counts::Proxies => spec.proxy.iter().map(|proxy| limiter(proxy.limiter)).collect(),
            };
            let host = Host {
                limiter: limiter(if spec.counts == Counts::All { spec.limiter } else { LimiterSpec::None }),
                member_limiters,
                part_limiters,
                robots_failures: spec.robots_failures,
                requests: 0,
                refused: 0,
                not_modified: 0,
                asked: 0,
                spec: spec.clone(),
            };
            (spec.origin(), host)
        });
        Self { hosts: hosts.collect(), started_at, dice: fastrand::Rng::with_seed(seed) }
    }

    pub fn host(&self, origin: &str) -> &Host {
        &self.hosts[origin]
    }

    /// How long a request takes to its host, ms.
    pub fn way_ms(&mut self, url: &Url) -> u64 {
        let (least, most) = self.hosts[&url.origin().ascii_serialization()].spec.latency_ms;
        self.dice.u64(least..=most) / 2
    }

    /// A request arrives.
    pub fn ask(&mut self, url: &Url, via: &Via, conditions: &[(String, String)], now: Timestamp) -> Reply {
        let started_at = self.started_at;
        let host = self.hosts.get_mut(&url.origin().ascii_serialization()).expect("only known hosts are linked");
        host.requests += 1;
        let (least, most) = host.spec.latency_ms;
        let service_ms = self.dice.u64(least..=most) / 2;
        let mut reply = host.ask(url, via, now, now.since_ms(started_at), service_ms);
        if let Ok(answer) = &mut reply.result {
            answer.revalidate(conditions);
            host.not_modified += u64::from(answer.status == 304);
        }
        reply
    }

    pub fn release(&mut self, origin: &str) {
        self.hosts.get_mut(origin).expect("it held a slot").limiter.release();
    }
}

impl Host {
    /// The limiter of whom a request comes by; none where only all are counted.
    fn member_limiter(&mut self, via: &Via) -> Option<&mut Limiter> {
        let place = match self.spec.counts {
            Counts::All => None,
            Counts::Tokens => via.token.map(usize::from),
            Counts::Proxies => {
                let name = via.proxy.as_deref().expect("it is asked by a proxy");
                self.spec.proxy.iter().position(|proxy| proxy.name == name)
            }
        };
        self.member_limiters.get_mut(place?)
    }

    fn ask(&mut self, url: &Url, via: &Via, now: Timestamp, since_start_ms: u64, service_ms: u64) -> Reply {
        let there = Timestamp(now.0 + self.spec.clock_ahead_s * 1_000);
        let date = ("date".to_owned(), http_date(there, false));
        let trouble = self
            .spec
            .trouble
            .iter()
            .find(|trouble| (trouble.from_s * 1_000..trouble.to_s * 1_000).contains(&since_start_ms));
        if let Some(trouble) = trouble {
            let (answer, wait_s) = (trouble.answer, trouble.wait_s);
            let mut headers = vec![date];
            let status = match answer {
                TroubleAnswer::Closed => {
                    return Reply {
                        service_ms: 0,
                        holds_slot: false,
                        result: Err(FetchError::Connect("refused".to_owned())),
                    };
                }
                TroubleAnswer::Silent => {
                    let result = Err(FetchError::Timeout("nothing came".to_owned()));
                    return Reply { service_ms: TIMEOUT_MS, holds_slot: false, result };
                }
                TroubleAnswer::TooMany => 429,
                TroubleAnswer::Error => 500,
                TroubleAnswer::Unavailable => 503,
            };
            if wait_s > 0 {
                headers.extend(self.retry_after(wait_s, there));
            }
            self.refused += u64::from(status == 429 || (status == 503 && wait_s > 0));
            return Reply {
                service_ms,
                holds_slot: false,
                result: Ok(Answer { status, headers, body: String::new() }),
            };
        }
        let part = self.spec.part.iter().position(|part| part.path == url.path());
        let mut told = Vec::new();
        if self.spec.part.iter().any(|part| part.resource.is_some()) && url.path() != "/robots.txt" {
            let resource = part.map_or(Some("core"), |index| self.spec.part[index].resource.as_deref());
            told.extend(resource.map(|name| ("x-ratelimit-resource".to_owned(), name.to_owned())));
        }
        // A window tells its reset on the clock of its own host.
        let mut verdict = Verdict::Allow { headers: Vec::new() };
        if let Some(index) = part {
            verdict = with(self.part_limiters[index].admit(there), self.spec.part[index].tells, there);
        }
        if let Verdict::Allow { headers } = &verdict {
            told.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            verdict = self.limiter.admit(there);
            if let (Verdict::Allow { .. }, Some(limiter)) = (&verdict, self.member_limiter(via)) {
                verdict = limiter.admit(there);
            }
        }
        match verdict {
            Verdict::Refuse { retry_after_secs, headers } => {
                self.refused += 1;
                let mut headers: Vec<_> = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
                headers.extend(told);
                headers.push(date);
                headers.extend(retry_after_secs.and_then(|wait_s| self.retry_after(wait_s, there)));
                let answer = Answer { status: 429, headers, body: "slow down".to_owned() };
                Reply { service_ms: 1, holds_slot: false, result: Ok(answer) }
            }
            Verdict::Allow { headers } => {
                let mut answer = self.content(url, since_start_ms);
                answer.headers.push(date);
                answer.headers.extend(told);
                answer.headers.extend(headers.into_iter().map(|(name, value)| (name.to_owned(), value)));
                Reply { service_ms, holds_slot: true, result: Ok(answer) }
            }
        }
    }

    fn retry_after(&self, wait_s: u64, there: Timestamp) -> Option<(String, String)> {
        let value = match self.spec.retry_after {
            RetryAfter::Seconds => wait_s.to_string(),
            RetryAfter::Date => http_date(there.plus_ms(wait_s * 1_000), true),
            RetryAfter::None => return None,
        };
        Some(("retry-after".to_owned(), value))
    }

    fn content(&mut self, url: &Url, since_start_ms: u64) -> Answer {
        let path = url.path();
        if path == "/robots.txt" {
            if self.robots_failures > 0 {
                self.robots_failures -= 1;
                return plain(503, "not yet");
            }
            if let Some(elsewhere) = &self.spec.robots_at {
                let mut answer = plain(301, "elsewhere");
                answer.headers.push(("location".to_owned(), elsewhere.clone()));
                return answer;
            }
            return match &self.spec.robots {
                Some(text) if self.spec.change.is_empty() => plain(200, text),
                Some(text) => plain(200, text).tagged("robots"),
                None => plain(404, "no robots.txt"),
            };
        }
        self.asked += 1;
        if self.spec.fails_every > 0 && self.asked.is_multiple_of(self.spec.fails_every) {
            return plain(500, "sorry");
        }
        if path == "/api/records" {
            return self.records(url);
        }
        if self.spec.redirect_loop && matches!(path, "/loop/a" | "/loop/b") {
            let mut answer = plain(302, "elsewhere");
            let target = if path == "/loop/a" { "/loop/b" } else { "/loop/a" };
            answer.headers.push(("location".to_owned(), target.to_owned()));
            return answer;
        }
        let number = |prefix: &str, count: u32| {
            path.strip_prefix(prefix).and_then(|rest| rest.parse::<u32>().ok()).filter(|&number| number < count)
        };
        if let Some(number) = number("/private/", self.spec.private) {
            return html(&format!("private {number}"), &[]);
        }
        if let Some(part) = self.spec.part.iter().find(|part| part.path == path) {
            let number: u32 =
                url.query().and_then(|query| query.strip_prefix("n=")?.parse().ok()).expect("it was ours");
            assert!(number < part.pages);
            return html(&format!("{path} {number}"), &[]);
        }
        let page = if path == "/" { Some(0) } else { number("/p/", self.spec.pages).filter(|&number| number > 0) };
        match page {
            Some(page) if self.spec.change.is_empty() => {
                html(&format!("{} page {page}", self.spec.name), &self.links(page))
            }
            Some(page) => {
                let every_ms = self.spec.change[page as usize % self.spec.change.len()].every_s * 1_000;
                // Pages that change as often do not change together.
                let version = (since_start_ms + u64::from(page) * 7_919_000).checked_div(every_ms).unwrap_or(0);
                let title = format!("{} page {page} version {version}", self.spec.name);
                html(&title, &self.links(page)).tagged(&format!("{page}-{version}"))
            }
            None => plain(404, "not found"),
        }
    }

    fn links(&self, page: u32) -> Vec<String> {
        let spec = &self.spec;
        let target = |number: u32| if number == 0 { "/".to_owned() } else { format!("/p/{number}") };
        let children = (1..=4).map(|child| page * 4 + child).filter(|&child| child < spec.pages);
        let others = [page.wrapping_mul(7919) % spec.pages, page.wrapping_mul(104_729) % spec.pages];
        let mut links: Vec<String> = children.chain(others).map(target).collect();
        if page == 0 {
            links.extend((0..spec.private).map(|number| format!("/private/{number}")));
            for part in &spec.part {
                links.extend((0..part.pages).map(|number| format!("{}?n={number}", part.path)));
            }
            links.extend((0..spec.missing).map(|number| format!("/missing/{number}")));
            if spec.redirect_loop {
                links.push("/loop/a".to_owned());
            }
        }
        links
    }

    fn records(&self, url: &Url) -> Answer {
        let page: u32 = url
            .query_pairs()
            .find(|(name, _)| name == "page")
            .map_or(1, |(_, value)| value.parse().expect("the next link was ours"));
        let first = (page - 1) * PAGE_SIZE;
        let last = (first + PAGE_SIZE).min(self.spec.records);
        let records: Vec<serde_json::Value> =
            (first..last).map(|id| serde_json::json!({"id": id, "host": self.spec.name})).collect();
        let mut answer = plain(200, &serde_json::Value::from(records).to_string());
        "application/json".clone_into(&mut answer.headers[0].1);
        if last < self.spec.records {
            answer.headers.push(("link".to_owned(), format!("</api/records?page={}>; rel=\"next\"", page + 1)));
        }
        answer
    }
}

/// A verdict with no more than a part tells.
fn with(verdict: Verdict, tells: Tells, now: Timestamp) -> Verdict {
    let (headers, is_refused) = match &verdict {
        Verdict::Allow { headers } => (headers, false),
        Verdict::Refuse { headers, .. } => (headers, true),
    };
    let reset = headers.iter().find(|(name, _)| *name == "x-ratelimit-reset");
    let reset = reset.map(|(_, value)| value.parse::<i64>().expect("it was a number"));
    let wait_s = reset.map(|reset| Timestamp(reset * 1_000).since_ms(now).div_ceil(1_000));
    match tells {
        Tells::Headers => verdict,
        Tells::RetryAfter if is_refused => Verdict::Refuse { retry_after_secs: wait_s, headers: Vec::new() },
        Tells::Nothing if is_refused => Verdict::Refuse { retry_after_secs: None, headers: Vec::new() },
        Tells::RetryAfter | Tells::Nothing => Verdict::Allow { headers: Vec::new() },
    }
}

impl Answer {
    fn tagged(mut self, etag: &str) -> Self {
        self.headers.push(("etag".to_owned(), format!("\"{etag}\"")));
        self
    }

    /// Is a 304 if the client has what it would get.
    fn revalidate(&mut self, conditions: &[(String, String)]) {
        let asked = conditions.iter().find(|(name, _)| name == "if-none-match").map(|(_, value)| value);
        let has_it = self.headers.iter().any(|(name, value)| name == "etag" && Some(value) == asked);
        if self.status == 200 && has_it {
            (self.status, self.body) = (304, String::new());
        }
    }

    /// As it comes to the client.
    pub fn fetched(self, url: Url, sent_at: Timestamp, now: Timestamp) -> Fetched {
        Fetched {
            url,
            status: self.status,
            headers: Headers::from_pairs(self.headers),
            body: Bytes::from(self.body),
            body_end: BodyEnd::Whole,
            via: Via::default(),
            sent_at,
            answered_at: now,
            finished_at: now,
        }
    }
}

fn plain(status: u16, body: &str) -> Answer {
    Answer { status, headers: vec![("content-type".to_owned(), "text/plain".to_owned())], body: body.to_owned() }
}

fn html(title: &str, links: &[String]) -> Answer {
    let links: String = links.iter().map(|link| format!("<a href=\"{link}\">x</a>\n")).collect();
    let mut answer = plain(200, &format!("<!DOCTYPE html><title>{title}</title><h1>{title}</h1>{links}"));
    "text/html".clone_into(&mut answer.headers[0].1);
    answer
}

/// An HTTP date; its unit is the second, and a server that means "not before" rounds up.
fn http_date(at: Timestamp, up: bool) -> String {
    let secs = if up { at.0.div_euclid(1_000) + i64::from(at.0.rem_euclid(1_000) > 0) } else { at.0.div_euclid(1_000) };
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(secs.unsigned_abs()))
}
