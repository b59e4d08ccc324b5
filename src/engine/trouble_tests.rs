//! The dispatcher driven by hand: what it sends, and what it settles, when things go wrong.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use url::Url;

use crate::clock::Timestamp;
use crate::exchange::{BodyEnd, FetchError, Fetched, Headers, NoProxies, Via};
use crate::interpret::PageRules;
use crate::job::{HostId, Job, JobId, JobKind, NewJob, Origin, Priority, SourceId};
use crate::policy::{RetrySettings, ScopeKind, ScopeRules, UrlRules};
use crate::store::{Ack, HostAck, HostRow, JobMove, Loaded, Refill};
use crate::throttle::{ProfileChoice, Settings, Snapshot};

use super::dispatcher::weight_bytes;
use super::worker;
use super::{Action, Bounds, Dispatcher, Event, Plan, PullWishes, Report, Save, SitePlan, SiteScope, Source, digest};

const T0: Timestamp = Timestamp(1_800_000_000_000);
const SITE: SourceId = SourceId(1);

fn url(text: &str) -> Url {
    Url::parse(text).expect("a test address parses")
}

/// One site that takes every address.
fn plan(robots: bool, throttle: Settings, bounds: Bounds) -> Arc<Plan> {
    let site = SitePlan {
        name: "web".to_owned(),
        scope: SiteScope::new(ScopeRules::new(ScopeKind::Any, &[], &[], &[], 0)),
        url: UrlRules::default(),
        pages_max: 0,
        robots,
        sitemap: true,
        feeds: true,
        save: Save::Body,
        types: Arc::from([]),
        page: PageRules::default(),
        rules: [0; 16],
        recrawl: None,
    };
    Arc::new(Plan {
        sources: HashMap::from([(SITE, Source::Site(Box::new(site)))]),
        sites: vec![SITE],
        retry: RetrySettings::default(),
        redirects_max: 10,
        agent: "trundle".to_owned(),
        throttle_for: Box::new(move |_| throttle),
        profile_for: Box::new(|_| ProfileChoice::Off),
        bounds,
        wishes: PullWishes::default(),
        cache: crate::policy::cache::CacheSettings::default(),
        sent_fields: Vec::new(),
    })
}

fn job(host: u32, seq: u32, address: &str, kind: JobKind) -> Job {
    let priority = if kind == JobKind::Robots { Priority::FIRST } else { Priority::NORMAL };
    Job {
        id: JobId::new(HostId(host), seq),
        url: url(address),
        extra: None,
        walk: None,
        batch: std::sync::Arc::default(),
        held: None,
        kind,
        source: SITE,
        depth: 0,
        priority,
        attempt: 0,
        redirects: Vec::new(),
    }
}

fn host(number: u32, origin: &str) -> HostRow {
    HostRow {
        host_id: HostId(number),
        origin: Origin::of(&url(origin)).expect("a test origin is on the web"),
        private_ok: true,
        paused: false,
        n_ready: 1,
        n_waiting: 0,
        next_due_at: None,
        not_before_at: Timestamp::EPOCH,
        snapshot: None,
        robots: None,
        scopes: Vec::new(),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it is what a fetch returns")]
fn answer(address: &str, status: u16, headers: &[(&str, &str)], body: &str) -> Result<Fetched, FetchError> {
    Ok(Fetched {
        url: url(address),
        status,
        headers: Headers::from_pairs(headers.iter().copied()),
        body: Bytes::copy_from_slice(body.as_bytes()),
        body_end: BodyEnd::Whole,
        via: Via::default(),
        sent_at: T0,
        answered_at: T0,
        finished_at: T0,
    })
}

/// A dispatcher with the store played by hand.
struct Rig {
    plan: Arc<Plan>,
    dispatcher: Dispatcher,
    now: Timestamp,
    sent: Vec<Job>,
    settled: Vec<(JobId, JobMove)>,
}

impl Rig {
    fn new(plan: &Arc<Plan>, hosts: Vec<HostRow>) -> Self {
        let dispatcher = Dispatcher::new(Arc::clone(plan), Arc::new(NoProxies), &[], hosts, T0, 7);
        Self { plan: Arc::clone(plan), dispatcher, now: T0, sent: Vec::new(), settled: Vec::new() }
    }

    fn step(&mut self, event: Event) {
        for action in self.dispatcher.step(self.now, event) {
            match action {
                Action::Send { job, .. } => self.sent.push(job),
                Action::Settle(settlement) => {
                    let jobs = vec![(settlement.job_id, weight_bytes(&settlement))];
                    self.settled.push((settlement.job_id, settlement.change));
                    self.step(Event::Committed { jobs, awaited: 0, ack: Ack::default() });
                }
                Action::Refill { .. }
                | Action::Found(_)
                | Action::Obeyed(..)
                | Action::Pull(_)
                | Action::EndPulls(_)
                | Action::Recrawl(_) => {}
            }
        }
    }

    /// The answer to the refill that a host asks for when it is met.
    fn refill(&mut self, host: u32, jobs: Vec<Job>) {
        self.step(Event::Tick);
        let ready = jobs.into_iter().map(|job| Loaded { job, crashes: 0, together_max: u32::MAX }).collect();
        self.step(Event::Refilled { host_id: HostId(host), lane: None, refill: Refill { ready, ..Refill::default() } });
    }

    fn answer(&mut self, job: &Job, result: &Result<Fetched, FetchError>) {
        let report = digest(&self.plan, job, result, true, self.now, self.now);
        self.finish(job, report);
    }

    fn finish(&mut self, job: &Job, report: Report) {
        self.step(Event::Finished { job_id: job.id, report: Box::new(report) });
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.step(Event::Tick);
    }

    fn sent_to(&self, host: u32) -> usize {
        self.sent.iter().filter(|job| job.id.host_id() == HostId(host)).count()
    }
}

#[test]
fn an_embargo_holds_although_the_memory_of_its_host_cannot_be_read() {
    let plan = plan(false, Settings::default(), Bounds::default());
    let row = HostRow { not_before_at: T0.plus_ms(60_000), ..host(1, "http://a.org") };
    let mut rig = Rig::new(&plan, vec![row]);
    rig.refill(1, vec![job(1, 1, "http://a.org/", JobKind::Page)]);
    rig.pass(59_999);
    assert_eq!(rig.sent_to(1), 0);
    rig.pass(1);
    assert_eq!(rig.sent_to(1), 1);
}

#[test]
fn pages_of_a_host_that_is_given_up_do_not_wait_for_its_robots_txt() {
    let plan = plan(true, Settings { down_max_unknown_ms: 0, ..Settings::default() }, Bounds::default());
    let snapshot = Some(Snapshot { unreachable: 5, ..Snapshot::default() });
    let mut rig = Rig::new(&plan, vec![HostRow { snapshot, ..host(1, "http://a.org") }]);
    let robots = job(1, 2, "http://a.org/robots.txt", JobKind::Robots);
    let page = job(1, 1, "http://a.org/", JobKind::Page);
    rig.refill(1, vec![robots.clone(), page.clone()]);
    assert_eq!(rig.sent, std::slice::from_ref(&robots));
    rig.answer(&robots, &Err(FetchError::Connect("refused".to_owned())));
    let page_move = rig.settled.iter().find(|(job_id, _)| *job_id == page.id);
    assert!(matches!(page_move, Some((_, JobMove::Dead(why))) if why.contains("given up")), "{:?}", rig.settled);
}

#[test]
fn a_host_that_was_given_up_and_gets_work_again_is_asked_once_more() {
    let plan = plan(true, Settings { down_max_unknown_ms: 0, ..Settings::default() }, Bounds::default());
    let snapshot = Some(Snapshot { unreachable: 5, ..Snapshot::default() });
    let mut rig = Rig::new(&plan, vec![HostRow { snapshot, ..host(1, "http://a.org") }]);
    let robots = job(1, 2, "http://a.org/robots.txt", JobKind::Robots);
    let page = job(1, 1, "http://a.org/", JobKind::Page);
    rig.refill(1, vec![robots.clone(), page.clone()]);
    rig.answer(&robots, &Err(FetchError::Connect("refused".to_owned())));
    assert_eq!((rig.sent.len(), rig.settled.len()), (1, 2), "both are given up");
    let ack = |jobs: u64| {
        let hosts = HashMap::from([(HostId(1), HostAck { inserted: jobs, ..HostAck::default() })]);
        Ack { hosts, new_hosts: vec![host(1, "http://a.org")], ..Ack::default() }
    };
    rig.step(Event::Committed { jobs: Vec::new(), awaited: 0, ack: ack(2) });
    rig.refill(1, vec![robots.clone(), page.clone()]);
    rig.pass(120_000);
    assert_eq!(rig.sent.len(), 2, "one request says whether it is there again: {:?}", rig.sent);
    rig.answer(&robots, &answer("http://a.org/robots.txt", 404, &[], ""));
    rig.pass(120_000);
    assert_eq!(rig.sent.last(), Some(&page));
}

#[test]
fn a_robots_txt_whose_reading_failed_closes_its_host_instead_of_holding_its_pages_for_ever() {
    let plan = plan(true, Settings::default(), Bounds::default());
    let mut rig = Rig::new(&plan, vec![host(1, "http://a.org")]);
    let robots = job(1, 2, "http://a.org/robots.txt", JobKind::Robots);
    let page = job(1, 1, "http://a.org/", JobKind::Page);
    rig.refill(1, vec![robots.clone(), page.clone()]);
    let report = worker::panicked(&robots, rig.now);
    rig.finish(&robots, report);
    let page_move = rig.settled.iter().find(|(job_id, _)| *job_id == page.id);
    assert!(matches!(page_move, Some((_, JobMove::Skipped(why))) if why.contains("robots.txt")), "{:?}", rig.settled);
}

#[test]
fn robots_txt_is_asked_for_although_the_section_that_first_asked_is_gone() {
    let plan = plan(true, Settings::default(), Bounds::default());
    let mut rig = Rig::new(&plan, vec![host(1, "http://a.org")]);
    let robots = Job { source: SourceId(9), ..job(1, 2, "http://a.org/robots.txt", JobKind::Robots) };
    rig.refill(1, vec![robots.clone(), job(1, 1, "http://a.org/", JobKind::Page)]);
    assert_eq!(rig.sent, [robots]);
}

#[test]
fn slow_hosts_leave_room_for_a_fast_one() {
    let throttle = Settings { concurrency: 4, concurrency_max: 4, rate_max_per_s: None, ..Settings::default() };
    let plan = plan(false, throttle, Bounds { in_flight_max: 8, ..Bounds::default() });
    let hosts = vec![host(1, "http://a.org"), host(2, "http://b.org"), host(3, "http://c.org")];
    let mut rig = Rig::new(&plan, hosts);
    let pages = |host: u32| (1..40).map(move |seq| job(host, seq, &format!("http://{host}.org/{seq}"), JobKind::Page));
    rig.refill(1, pages(1).collect());
    rig.refill(2, pages(2).collect());
    for _ in 0..20 {
        rig.pass(100);
    }
    rig.refill(3, pages(3).collect());
    assert_eq!(rig.sent_to(3), 1, "{} requests are in flight", rig.dispatcher.in_flight());
    // And the fast one goes on while the slow ones stand still.
    for n in 1..10 {
        let last = rig.sent.last().expect("something was sent").clone();
        assert_eq!(last.id.host_id(), HostId(3));
        rig.answer(&last, &answer(last.url.as_str(), 200, &[], ""));
        // An unknown host is asked five times a second to begin with.
        rig.pass(200);
        assert!(rig.sent_to(3) > n);
    }
}

#[test]
fn one_host_alone_may_use_all_the_room_there_is() {
    let throttle = Settings { concurrency: 8, concurrency_max: 8, rate_max_per_s: None, ..Settings::default() };
    let plan = plan(false, throttle, Bounds { in_flight_max: 8, ..Bounds::default() });
    let mut rig = Rig::new(&plan, vec![host(1, "http://a.org")]);
    rig.refill(1, (1..40).map(|seq| job(1, seq, &format!("http://a.org/{seq}"), JobKind::Page)).collect());
    for _ in 0..20 {
        rig.pass(100);
    }
    assert_eq!(rig.dispatcher.in_flight(), 8);
}

/// Crawls a hundred pages of a host that answers at once with the status that `serve` gives; what became of each page, and the
/// statuses that each of them met.
fn crawl(mut serve: impl FnMut(&Job, Timestamp) -> u16) -> (HashMap<JobId, JobMove>, HashMap<JobId, Vec<u16>>) {
    const PAGES: u32 = 100;
    let plan = plan(false, Settings { rate_max_per_s: None, ..Settings::default() }, Bounds::default());
    let mut rig = Rig::new(&plan, vec![host(1, "http://a.org")]);
    let mut loaded: Vec<Job> =
        (1..=PAGES).map(|seq| job(1, seq, &format!("http://a.org/{seq}"), JobKind::Page)).collect();
    rig.refill(1, loaded.clone());
    let (mut ends, mut met) = (HashMap::new(), HashMap::<JobId, Vec<u16>>::new());
    let mut waiting: Vec<(Timestamp, Job)> = Vec::new();
    let (mut answered, mut seen) = (0, 0);
    while ends.len() < PAGES as usize {
        assert!(rig.now.since_ms(T0) < 3_600_000, "an hour, and {} pages are settled", ends.len());
        while answered < rig.sent.len() {
            let job = rig.sent[answered].clone();
            answered += 1;
            let status = serve(&job, rig.now);
            met.entry(job.id).or_default().push(status);
            rig.answer(&job, &answer(job.url.as_str(), status, &[], ""));
        }
        for (job_id, change) in rig.settled.drain(seen..).collect::<Vec<_>>() {
            match change {
                JobMove::Stay => {}
                JobMove::Retry { due_at, .. } => {
                    let job = loaded.iter_mut().find(|job| job.id == job_id).expect("it is one of the pages");
                    job.attempt += 1;
                    waiting.push((due_at, job.clone()));
                }
                change => {
                    ends.insert(job_id, change);
                }
            }
        }
        seen = rig.settled.len();
        rig.pass(20);
        let due = waiting.extract_if(.., |(due_at, _)| *due_at <= rig.now).map(|(_, job)| job).collect::<Vec<_>>();
        if !due.is_empty() {
            rig.refill(1, due);
        }
    }
    (ends, met)
}

#[test]
fn a_page_that_is_always_forbidden_is_given_up_after_its_attempts_and_holds_nobody_back() {
    let started = std::cell::Cell::new(None);
    let (ends, met) = crawl(|job, now| {
        started.set(Some(now));
        if job.url.path() == "/30" { 403 } else { 200 }
    });
    let dead = JobId::new(HostId(1), 30);
    assert!(matches!(&ends[&dead], JobMove::Dead(why) if why.contains("403")), "{:?}", ends[&dead]);
    assert!(ends.iter().all(|(&job_id, change)| job_id == dead || *change == JobMove::Done));
    assert!((2..=5).contains(&met[&dead].len()), "{:?}", met[&dead]);
    assert!(met.iter().all(|(&job_id, statuses)| job_id == dead || *statuses == [200]));
    let took_ms = started.get().expect("something was sent").since_ms(T0);
    assert!(took_ms < 40_000, "{took_ms} ms");
}

#[test]
fn a_host_that_refuses_with_a_bare_403_loses_no_page() {
    // Twenty in ten seconds, by the clock.
    let mut count = HashMap::<i64, u32>::new();
    let (ends, met) = crawl(|_, now| {
        let used = count.entry(now.0 / 10_000).or_default();
        *used += 1;
        if *used <= 20 { 200 } else { 403 }
    });
    assert!(ends.values().all(|change| *change == JobMove::Done), "{ends:?}");
    let refused: usize = met.values().map(|statuses| statuses.len() - 1).sum();
    assert!(refused <= 30, "{refused} refusals");
}

/// How long a host stays closed after this answer, in ms.
#[track_caller]
fn closed_ms(status: u16, headers: &[(&str, &str)]) -> u64 {
    let plan = plan(false, Settings { rate_max_per_s: None, ..Settings::default() }, Bounds::default());
    let mut rig = Rig::new(&plan, vec![host(1, "http://a.org")]);
    let pages = (1..9).map(|seq| job(1, seq, &format!("http://a.org/{seq}"), JobKind::Page));
    rig.refill(1, pages.collect());
    let first = rig.sent[0].clone();
    rig.answer(&first, &answer("http://a.org/1", status, headers, ""));
    let sent = rig.sent.len();
    let mut waited_ms = 0;
    while rig.sent.len() == sent && waited_ms < 60_000 {
        rig.pass(50);
        waited_ms += 50;
    }
    waited_ms
}

#[test]
fn an_answer_that_says_when_to_come_back_is_obeyed_whatever_went_wrong() {
    for (status, extra) in [(500, None), (502, None), (504, None), (301, Some(("location", "/x")))] {
        let mut headers = vec![("retry-after", "5")];
        headers.extend(extra);
        assert!(closed_ms(status, &headers) >= 5_000, "{status}");
    }
    // 202 says when a result may be there, which is no matter of the host's limit.
    assert!(closed_ms(202, &[("retry-after", "5")]) < 5_000);
}

/// What an answer leads to: `(address, private_ok)`.
fn led_to(job: &Job, result: &Result<Fetched, FetchError>) -> Vec<(String, bool)> {
    let plan = plan(false, Settings::default(), Bounds::default());
    let report = digest(&plan, job, result, true, T0, T0);
    let found = |job: &NewJob| (job.url.to_string(), job.private_ok);
    report.reading.discovered.iter().map(found).collect()
}

#[test]
fn a_public_seed_leads_to_no_private_address() {
    let html = [("content-type", "text/html")];
    let body = r#"<a href="http://127.0.0.1/x"></a><a href="http://b.net/"></a><a href="http://www.a.org/"></a>"#;
    let seed = job(1, 1, "http://a.org/", JobKind::Page);
    let found = led_to(&seed, &answer("http://a.org/", 200, &html, body));
    assert_eq!(found, [("http://b.net/".to_owned(), false), ("http://www.a.org/".to_owned(), true)]);

    let metadata = [("location", "http://169.254.169.254/latest/")];
    assert_eq!(led_to(&seed, &answer("http://a.org/", 302, &metadata, "")), []);
    let sitemap = job(1, 2, "http://a.org/sitemap.xml", JobKind::Sitemap);
    assert_eq!(led_to(&sitemap, &answer("http://a.org/sitemap.xml", 302, &metadata, "")), []);
}

#[test]
fn what_lies_at_a_private_address_may_lead_to_others() {
    let html = [("content-type", "text/html")];
    for place in ["http://127.0.0.1:7801/", "http://localhost:7801/", "http://[::1]/"] {
        let found = led_to(
            &job(1, 1, place, JobKind::Page),
            &answer(place, 200, &html, r#"<a href="http://127.0.0.1:7802/"></a>"#),
        );
        assert_eq!(found, [("http://127.0.0.1:7802/".to_owned(), true)], "{place}");
    }
}
