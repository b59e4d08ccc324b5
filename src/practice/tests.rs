//! The practice web against itself, and over HTTP.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::Arc;

use flate2::read::GzDecoder;
use regex::Regex;
use serde_json::Value;
use url::Url;

use super::answer::Site;
use super::serve::fill;
use super::{Content, HostSpec, Limiter, Practice, PracticeError, Settings, TokenBucket, Truth, start};
use crate::clock::{ManualClock, SystemClock, Timestamp};
use crate::exchange::{Fetch as _, Fetched, Request};
use crate::fetch::{HttpFetcher, Proxy};

/// A crawler of a few lines, which knows the rules of the practice web's own robots.txt by heart.
struct Walk<'s> {
    sites: &'s [Site],
    found: Truth,
    seen: BTreeSet<String>,
    queue: Vec<Url>,
}

impl Walk<'_> {
    fn see(&mut self, base: &Url, href: &str) {
        let Ok(mut url) = base.join(&href.replace("&amp;", "&")) else { return };
        if !url.scheme().starts_with("http") {
            return;
        }
        url.set_fragment(None);
        let kept: Vec<(String, String)> =
            url.query_pairs().into_owned().filter(|(name, _)| !name.starts_with("utm_")).collect();
        url.set_query(None);
        if !kept.is_empty() {
            url.query_pairs_mut().extend_pairs(kept);
        }
        if self.seen.insert(url.to_string()) {
            self.queue.push(url);
        }
    }

    fn run(mut self) -> Truth {
        let link = Regex::new("<a href=\"([^\"]*)\"( rel=\"nofollow\")?>").expect("the pattern is valid");
        let base_tag = Regex::new("<base href=\"([^\"]*)\">").expect("the pattern is valid");
        let refresh = Regex::new("content=\"0; url=([^\"]*)\"").expect("the pattern is valid");
        let loc =
            Regex::new("<loc>(.*)</loc>|<link>(http.*)</link>|(?m)^Sitemap: (.*)$").expect("the pattern is valid");
        while let Some(url) = self.queue.pop() {
            let path = url.path();
            if (path.starts_with("/private/") && path != "/private/open") || path == "/search.cgi" {
                self.found.disallowed.insert(url.to_string());
                continue;
            }
            let site = self.sites.iter().find(|site| site.root.origin() == url.origin()).expect("links stay inside");
            let answer = site.answer(path, url.query()).unwrap_or_else(|| panic!("{url} is not served"));
            let header = |wanted: &str| {
                answer.headers.iter().find(|(name, _)| name == wanted).and_then(|(_, value)| value.to_str().ok())
            };
            let content_type = header("content-type").expect("all answers have a type");
            let set = match answer.status.as_u16() {
                200 if content_type.starts_with("text/html") => &mut self.found.pages,
                200 => &mut self.found.documents,
                404 | 410 => &mut self.found.gone,
                500 => &mut self.found.dead,
                _ => &mut self.found.redirects,
            };
            set.insert(url.to_string());
            if let Some(location) = header("location") {
                self.see(&url, location);
                continue;
            }
            let mut body = answer.body.to_vec();
            if content_type == "application/gzip" {
                body.clear();
                GzDecoder::new(&answer.body[..]).read_to_end(&mut body).expect("it is gzip");
            }
            let text = String::from_utf8_lossy(&body);
            if !content_type.starts_with("text/html") {
                for found in loc.captures_iter(&text) {
                    self.see(&url, found.iter().skip(1).flatten().next().expect("one of them matched").as_str());
                }
                continue;
            }
            let base = match base_tag.captures(&text) {
                Some(found) => url.join(&found[1]).expect("the base is valid"),
                None => url.clone(),
            };
            for found in link.captures_iter(&text) {
                if found.get(2).is_some() {
                    let trap = base.join(&found[1].replace("&amp;", "&")).expect("the link is valid");
                    let trap = trap[..url::Position::AfterPath].to_owned();
                    self.found.nofollowed.insert(trap);
                } else {
                    self.see(&base, &found[1]);
                }
            }
            for found in refresh.captures_iter(&text) {
                self.see(&base, &found[1]);
            }
        }
        self.found
    }
}

#[track_caller]
fn check_truth(settings: &Settings) {
    let root = |port: usize| Url::parse(&format!("http://127.0.0.1:{}/", 7_801 + port)).expect("the address parses");
    let roots: Vec<Url> = (0..settings.hosts.len()).map(root).collect();
    let (sites, mut truth) = fill(settings, &roots);
    let mut walk = Walk { sites: &sites, found: Truth::default(), seen: BTreeSet::new(), queue: Vec::new() };
    for (host, root) in settings.hosts.iter().zip(&roots) {
        if !matches!(host.content, Content::Items { .. }) {
            walk.see(root, "/");
            walk.see(root, "/robots.txt");
        }
    }
    let found = walk.run();
    truth.records.clear();
    assert_eq!(found, truth, "{} pages, seed {}", settings.pages, settings.seed);
}

#[test]
fn the_truth_is_what_a_walk_through_the_links_finds() {
    for pages in [0, 1, 2, 19, 20, 21, 60, 300, 1_000] {
        for seed in [1, 2, u64::MAX] {
            check_truth(&Settings { pages, seed, ..Settings::default() });
        }
    }
}

#[test]
fn a_bench_site_is_reachable_and_its_pages_have_one_size() {
    let settings = Settings::bench(1_234);
    check_truth(&settings);
    let root = Url::parse("http://127.0.0.1:1/").expect("the address parses");
    let (sites, truth) = fill(&settings, &[root]);
    assert_eq!(truth.pages.len(), 1_234);
    for target in ["/", "/page/1", "/page/123", "/page/1233"] {
        let body = &sites[0].answer(target, None).expect("the page is served").body;
        let links = String::from_utf8_lossy(body).matches("<a href").count();
        assert_eq!((body.len(), links), (8_192, 20), "{target}");
    }
}

#[test]
fn the_same_seed_gives_the_same_web() {
    let body = |seed| {
        let root = Url::parse("http://127.0.0.1:1/").expect("the address parses");
        let (sites, _) = fill(&Settings { seed, ..Settings::bench(10) }, &[root]);
        sites[0].answer("/page/7", None).expect("the page is served").body.clone()
    };
    assert_eq!(body(5), body(5));
    assert_ne!(body(5), body(6));
}

/// A web on free ports with a client beside it.
struct Rehearsal {
    practice: Practice,
    http: HttpFetcher<SystemClock>,
}

impl Rehearsal {
    async fn new(settings: Settings) -> Self {
        let practice = start(settings.on_free_ports(), SystemClock::new()).await.expect("free ports are free");
        let settings = crate::fetch::Settings { proxy: Proxy::None, ..crate::fetch::Settings::default() };
        let http = HttpFetcher::new(settings, |_| false, SystemClock::new()).expect("the settings are valid");
        Self { practice, http }
    }

    fn url(&self, host: usize, target: &str) -> Url {
        self.practice.hosts()[host].url.join(target).expect("the target is valid")
    }

    async fn get(&self, url: Url) -> Fetched {
        let request = Request {
            url,
            extra: None,
            headers: Vec::new(),
            identity: None,
            compress: None,
            proxy: None,
            accept: "*/*",
            types: Arc::default(),
            private_ok: true,
        };
        self.http.fetch(request).await.expect("the practice web answers")
    }
}

#[tokio::test]
async fn a_token_bucket_refuses_over_http_and_the_log_tells_the_same() {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let log = folder.path().join("practice.jsonl");
    let library =
        HostSpec { limiter: Limiter::TokenBucket(TokenBucket::new(1, 3)), ..Settings::default().hosts[0].clone() };
    let web = Rehearsal::new(Settings { hosts: vec![library], log: Some(log.clone()), ..Settings::default() }).await;
    let mut statuses = Vec::new();
    for target in ["/", "/missing/1", "/redirect/1", "/book/0?utm_source=x"] {
        let fetched = web.get(web.url(0, target)).await;
        statuses.push((fetched.status, fetched.headers.get("retry-after").map(str::to_owned)));
    }
    let expected = [(200, None), (404, None), (301, None), (429, Some("1".to_owned()))];
    assert_eq!(statuses, expected);
    web.practice.stop().await;

    let lines = std::fs::read_to_string(log).expect("the log is there");
    let lines: Vec<String> = lines
        .lines()
        .map(|line| {
            let mut entry: Value = serde_json::from_str(line).expect("each line is JSON");
            assert!(entry["at_ms"].as_i64().expect("it has a time") > 1_500_000_000_000);
            entry["at_ms"] = Value::Null;
            entry.to_string()
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
        {"at_ms":null,"host":"library","status":200,"target":"/","wait_ms":0}
        {"at_ms":null,"host":"library","status":404,"target":"/missing/1","wait_ms":0}
        {"at_ms":null,"host":"library","status":301,"target":"/redirect/1","wait_ms":0}
        {"at_ms":null,"host":"library","retry_after_secs":1,"status":429,"target":"/book/0?utm_source=x","wait_ms":0}
        "#);
}

#[tokio::test]
async fn a_page_that_fails_twice_comes_on_the_third_try() {
    let web = Rehearsal::new(Settings::default()).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(web.get(web.url(0, "/book/31")).await.status);
    }
    assert_eq!(statuses, [500, 500, 200, 200]);
}

#[tokio::test]
async fn an_archive_tells_its_window_with_every_answer() {
    let web = Rehearsal::new(Settings::default()).await;
    let fetched = web.get(web.url(1, "/doc/1")).await;
    assert_eq!((fetched.status, fetched.headers.get("x-ratelimit-limit")), (200, Some("100")));
    assert_eq!(fetched.headers.get("x-ratelimit-remaining"), Some("99"));
    let reset_at = fetched.headers.get("x-ratelimit-reset").and_then(|reset| reset.parse::<i64>().ok());
    let reset_at = Timestamp(reset_at.expect("it is a number") * 1_000);
    assert!(reset_at > fetched.sent_at && reset_at <= fetched.finished_at.plus_ms(2_000), "{reset_at:?}");
}

#[tokio::test]
async fn cursors_lead_through_all_items_once() {
    let web = Rehearsal::new(Settings { records: 950, ..Settings::default() }).await;
    let mut ids = Vec::new();
    let mut next = Some(web.url(2, "/items"));
    while let Some(url) = next.take() {
        let page: Value = serde_json::from_slice(&web.get(url).await.body).expect("it is JSON");
        let items = page["items"].as_array().expect("it has items");
        ids.extend(items.iter().map(|item| item["id"].as_str().expect("it has an id").to_owned()));
        next = page["next"].as_str().map(|cursor| web.url(2, &format!("/items?cursor={cursor}")));
    }
    let distinct: BTreeSet<&String> = ids.iter().collect();
    assert_eq!((ids.len(), distinct.len()), (950, 950));
    assert_eq!(web.practice.truth().records[web.url(2, "/items").as_str()], 950);
}

#[tokio::test]
async fn link_headers_lead_through_all_events_once() {
    let web = Rehearsal::new(Settings { records: 950, ..Settings::default() }).await;
    let mut ids = BTreeSet::new();
    let mut count = 0;
    let mut next = Some(web.url(0, "/api/events"));
    while let Some(url) = next.take() {
        let fetched = web.get(url).await;
        let page: Vec<Value> = serde_json::from_slice(&fetched.body).expect("it is JSON");
        count += page.len();
        ids.extend(page.iter().map(|event| event["id"].as_u64().expect("it has an id")));
        let links = fetched.headers.get("link").expect("it has links");
        let found = links.split(", ").find_map(|link| link.strip_prefix('<')?.strip_suffix(">; rel=\"next\""));
        next = found.map(|url| Url::parse(url).expect("it is absolute"));
    }
    assert_eq!((count, ids.len()), (950, 950));
}

#[tokio::test]
async fn a_fifth_request_at_once_is_refused_without_a_word() {
    let web = Rehearsal::new(Settings {
        hosts: vec![HostSpec { content: Content::Items { service_ms: 200 }, ..Settings::default().hosts[2].clone() }],
        ..Settings::default()
    })
    .await;
    let url = web.url(0, "/items");
    let all = futures_util::future::join_all((0..6).map(|_| web.get(url.clone()))).await;
    let refused: Vec<&Fetched> = all.iter().filter(|fetched| fetched.status == 429).collect();
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|fetched| fetched.headers.get("retry-after").is_none()));
    assert_eq!(web.get(url).await.status, 200, "answered requests make room");
}

#[tokio::test]
async fn a_busy_port_is_named_with_what_to_do() {
    let first = start(Settings::bench(1), ManualClock::new(Timestamp::EPOCH)).await.expect("free ports are free");
    let mut settings = Settings::bench(1);
    settings.hosts[0].port = first.hosts()[0].url.port().expect("the address has a port");
    let error = start(settings, ManualClock::new(Timestamp::EPOCH)).await.err().expect("the port is taken");
    assert!(matches!(&error, PracticeError::PortBusy { host, .. } if host == "bench"), "{error}");
    first.stop().await;
}
