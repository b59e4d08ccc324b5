//! Facts about what people are told: the views and the reader.

use std::fmt::Write;
use std::sync::Arc;

use super::Folder;
use crate::exchange::Headers;
use crate::job::{JobKind, JobState, NewJob, Origin, SourceId};
use crate::store::conformance::{T0, commit, item, link, page, ready, seeded, settle, settlements, url};
use crate::store::sqlite::{SqliteStore, post_orders};
use crate::store::{Batch, HostLearned, JobMove, NewResponse, Reader, Settlement, Store};
use crate::throttle;

use super::file::response;

/// A small crawl: one page done, one gone that it named, one dead, one waiting, one in flight, and a host under embargo.
async fn small_crawl(folder: &Folder) -> SqliteStore {
    let (store, jobs) = seeded(folder, &[page("https://example.org/")]).await;
    let home = jobs[0].id;
    let mut outcome = settle(home, JobMove::Done);
    outcome.response = Some(response(b"home"));
    outcome.items = vec![item("home")];
    outcome.discovered =
        ["gone", "dead", "waiting", "running"].map(|path| link(&format!("https://example.org/{path}"), home)).into();
    commit(&store, &settlements(vec![outcome])).await;
    let jobs = ready(&store, home.host_id()).await;
    let search = throttle::ScopeMemory {
        name: "/search".into(),
        routes: vec!["/search".into()],
        not_before_at: T0.plus_ms(90_000),
        not_before_why: Some("Retry-After: 90".into()),
        refused_at: T0,
        refused: 3,
        words: Some("token bucket, 0.50/s, burst 3".into()),
        snapshot: throttle::Snapshot { rate_per_s: 0.5, ..throttle::Snapshot::default() },
    };
    let mut dead = settle(jobs[1].id, JobMove::Dead("HTTP 400".into()));
    dead.learned = Some(HostLearned {
        host_id: home.host_id(),
        not_before_at: T0.plus_ms(60_000),
        not_before_why: Some("Retry-After: 60".into()),
        words: Some("token bucket, 2.50/s, burst 5".into()),
        seen_at: Some(T0),
        snapshot: Arc::new(throttle::Snapshot {
            rate_per_s: 2.0,
            limit_per_s: 2.5,
            declared: declared(),
            ..throttle::Snapshot::default()
        }),
        scopes: vec![throttle::ScopeChange { name: search.name.clone(), memory: Some(search) }],
    });
    dead.response =
        Some(NewResponse { status: 400, headers: Headers::default(), body: None, notes: Vec::new(), ..response(b"") });
    let mut refused = settle(jobs[3].id, JobMove::Stay);
    let attempt = refused.attempt.as_mut().expect("it has one");
    (attempt.status, attempt.outcome, attempt.retry_at) = (Some(429), "refused", Some(T0.plus_ms(60_000)));
    let outcomes = vec![
        settle(jobs[0].id, JobMove::Gone("404".into())),
        dead,
        settle(jobs[2].id, JobMove::Retry { due_at: T0.plus_ms(5_000), reason: "503".into() }),
        refused,
    ];
    commit(&store, &settlements(outcomes)).await;
    commit(&store, &Batch { sent: vec![(jobs[3].id, T0)], now: T0, ..Batch::default() }).await;
    store
}

/// A quota of an hour, of which 4,989 were left a while ago, and one of requests at once.
fn declared() -> throttle::DeclaredSnapshot {
    let fields = [
        ("RateLimit-Policy", r#""core";q=5000;w=3600, "peak";q=5;qu="concurrent-requests""#),
        ("RateLimit", r#""core";r=4990;t=1800"#),
    ];
    let hints = throttle::Hints::read(&Headers::from_pairs(fields), T0);
    let mut declared = throttle::Declared::default();
    let (idx, _in_flight) = (declared.on_sent(T0), declared.on_sent(T0));
    declared.on_answer(idx, &hints, T0);
    declared.save()
}

#[tokio::test]
async fn the_views_tell_the_truth() {
    let folder = Folder::new();
    let _store = small_crawl(&folder).await;
    let reader = Reader::open(&folder.path).await.expect("it can be read while it runs");
    let mut told = String::new();
    for view in [
        "progress",
        "host_progress",
        "limits",
        "timeline",
        "running",
        "failures",
        "broken_links",
        "pages",
        "records",
        "all_jobs",
    ] {
        let table = reader.query(&format!("SELECT * FROM {view}"), 10).await.expect("a view can be read");
        writeln!(told, "{view}").expect("a string takes it");
        for row in &table.rows {
            let pairs = table.columns.iter().zip(row).filter(|(_, value)| !value.is_null());
            let line: Vec<String> = pairs
                .map(|(name, value)| {
                    format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
                })
                .collect();
            writeln!(told, "  {}", line.join(" ")).expect("a string takes it");
        }
    }
    insta::assert_snapshot!(told, @r##"
    progress
      percent=60.0 ready=1 waiting=1 done=1 gone=1 dead=1 skipped=0 requests=5 refused=1 failed=0 bytes=5000 items=1 in_flight=1 done_per_minute=1.0 updated_at=2023-11-14 22:13:20
    host_progress
      host_id=1 host=https://example.org percent=60.0 ready=1 waiting=1 done=1 gone=1 dead=1 skipped=0 requests=5 refused=1 failed=0 bytes=5000 eta_s=1.0
    limits
      host_id=1 host=https://example.org scope=host learned=token bucket, 2.50/s, burst 5 seen_at=2023-11-14 22:13:20 declared=core 4 989 of 5 000 left, resets 2023-11-14 22:43:20; peak 5 at once rate_per_s=2.0 limit_per_s=2.5 not_before_at=2023-11-14 22:14:20 not_before_why=Retry-After: 60 refused=1 refused_percent=20.0 last_refused_at=2023-11-14 22:13:20 paused=0
      host_id=1 host=https://example.org scope=/search learned=token bucket, 0.50/s, burst 3 rate_per_s=0.5 not_before_at=2023-11-14 22:14:50 not_before_why=Retry-After: 90 refused=3 last_refused_at=2023-11-14 22:13:20 paused=0
    timeline
      minute=2023-11-14 22:13 done=1 requests=5 refused=1 failed=0 found=5 items=1 bytes=5000
    running
      url=https://example.org/running kind=page attempt=0 job_id=4294967300 since=2023-11-14 22:13:20 run_id=1
    failures
      url=https://example.org/dead kind=page status=400 attempt=1 crashes=0 reason=HTTP 400 settled_at=2023-11-14 22:13:20 job_id=4294967298 parent_id=4294967296
    broken_links
      url=https://example.org/gone status=200 named_by=https://example.org/ reason=404 settled_at=2023-11-14 22:13:20 job_id=4294967297
    pages
      url=https://example.org/ status=200 title=A "title" with 'quotes', é and \ content_type=text/html charset=utf-8 links=7 body_hash=1310333fd17502cbefcd0d6d5b384ea63a3e3e4b979a2e437b458c08e63f14fb body_bytes=4 fetched_at=2023-11-14 22:13:20 depth=0 source_id=1 job_id=4294967296
    records
      item_id=1 source=docs data={"name":"home"} url=https://example.org/ first_at=2023-11-14 22:13:20 updated_at=2023-11-14 22:13:20
    all_jobs
      job_id=4294967296 host_id=1 url=https://example.org/ kind=page state=done state_code=2 priority=5 attempt=0 crashes=0 status=200 depth=0 source_id=1 found_at=2023-11-14 22:13:20 settled_at=2023-11-14 22:13:20
      job_id=4294967297 host_id=1 url=https://example.org/gone kind=page state=gone state_code=3 priority=5 attempt=0 crashes=0 status=200 reason=404 depth=1 parent_id=4294967296 source_id=1 found_at=2023-11-14 22:13:20 settled_at=2023-11-14 22:13:20
      job_id=4294967298 host_id=1 url=https://example.org/dead kind=page state=dead state_code=4 priority=5 attempt=1 crashes=0 status=400 reason=HTTP 400 depth=1 parent_id=4294967296 source_id=1 found_at=2023-11-14 22:13:20 settled_at=2023-11-14 22:13:20
      job_id=4294967299 host_id=1 url=https://example.org/waiting kind=page state=waiting state_code=1 priority=5 attempt=1 crashes=0 status=200 reason=503 depth=1 parent_id=4294967296 source_id=1 due_at=2023-11-14 22:13:25 found_at=2023-11-14 22:13:20
      job_id=4294967300 host_id=1 url=https://example.org/running kind=page state=ready state_code=0 priority=5 attempt=0 crashes=0 depth=1 parent_id=4294967296 source_id=1 found_at=2023-11-14 22:13:20
    "##);
}

#[tokio::test]
async fn the_attempt_that_a_job_dies_of_counts() {
    let folder = Folder::new();
    let (store, jobs) = seeded(&folder, &[page("https://example.org/")]).await;
    let id = jobs[0].id;
    for _ in 0..2 {
        commit(&store, &settlements(vec![settle(id, JobMove::Retry { due_at: T0, reason: "500".into() })])).await;
    }
    commit(&store, &settlements(vec![settle(id, JobMove::Dead("500, after 3 attempts".into()))])).await;
    assert_eq!(store.numbers("SELECT attempt FROM failures").await, [3]);
    let reader = Reader::open(&folder.path).await.expect("reads");
    assert_eq!(reader.failures(1).await.expect("reads")[0].attempt, 3);

    store.add(vec![page("https://example.org/never-sent")], T0).await.expect("a seed");
    let unsent = ready(&store, id.host_id()).await[0].id;
    commit(&store, &settlements(vec![Settlement::bare(unsent, JobMove::Dead("its host is given up".into()))])).await;
    assert_eq!(store.numbers("SELECT attempt FROM failures ORDER BY job_id").await, [3, 0]);
}

#[tokio::test]
async fn limits_are_told_to_four_digits() {
    let folder = Folder::new();
    let (store, jobs) = seeded(&folder, &[page("https://example.org/")]).await;
    let mut outcome = settle(jobs[0].id, JobMove::Done);
    outcome.learned = Some(HostLearned {
        host_id: jobs[0].id.host_id(),
        not_before_at: crate::clock::Timestamp::EPOCH,
        not_before_why: None,
        words: None,
        seen_at: None,
        snapshot: Arc::new(throttle::Snapshot {
            rate_per_s: 35.714_285_714_285_715,
            limit_per_s: 5_000.0 / 3_600_000.0,
            concurrency: 13.333_333,
            ..throttle::Snapshot::default()
        }),
        scopes: Vec::new(),
    });
    commit(&store, &settlements(vec![outcome])).await;
    let reader = Reader::open(&folder.path).await.expect("reads");
    let limits = "SELECT rate_per_s, limit_per_s, concurrency FROM limits";
    let rows = reader.query(limits, 1).await.expect("a view can be read").rows;
    assert_eq!(rows, [[35.71, 0.001_389, 13.3].map(serde_json::Value::from)]);
    let exact = reader.hosts(1).await.expect("reads")[0].rate_per_s;
    assert_eq!(exact, Some(35.714_285_714_285_715), "what the crawl itself works with is not rounded");
}

#[tokio::test]
async fn every_state_and_kind_has_its_word_in_the_views() {
    let folder = Folder::new();
    let seeds: Vec<NewJob> = JobKind::ALL
        .into_iter()
        .map(|kind| NewJob { kind, ..page(&format!("https://example.org/{}", kind.code())) })
        .collect();
    let (store, _) = seeded(&folder, &seeds).await;
    let words = store.texts("SELECT kind FROM all_jobs ORDER BY job_id").await;
    assert_eq!(words, JobKind::ALL.map(|kind| kind.to_string()));
    for state in JobState::ALL {
        let change = match state {
            JobState::Ready => JobMove::Stay,
            JobState::Waiting => JobMove::Retry { due_at: T0, reason: String::new() },
            JobState::Done => JobMove::Done,
            JobState::Gone => JobMove::Gone(String::new()),
            JobState::Dead => JobMove::Dead(String::new()),
            JobState::Skipped => JobMove::Skipped(String::new()),
        };
        store.add(vec![page(&format!("https://states.example/{state}"))], T0).await.expect("a seed");
        let id = crate::job::JobId(store.numbers("SELECT max(job_id) FROM jobs").await[0]);
        commit(&store, &settlements(vec![settle(id, change)])).await;
        assert_eq!(store.texts("SELECT state FROM all_jobs ORDER BY job_id DESC LIMIT 1").await, [state.to_string()]);
    }
}

#[tokio::test]
async fn the_reader_explains_one_address() {
    let folder = Folder::new();
    let store = small_crawl(&folder).await;
    let reader = Reader::open(&folder.path).await.expect("reads");
    let dead = reader.why(&url("https://example.org/dead#part")).await.expect("reads").expect("it is known");
    assert_eq!((dead.state, dead.reason.as_deref(), dead.status), (Some(JobState::Dead), Some("HTTP 400"), Some(400)));
    assert_eq!(dead.named_by, ["https://example.org/"]);
    assert_eq!((dead.source.as_str(), dead.depth, dead.attempts.len()), ("docs", 1, 1));
    assert_eq!(dead.response.map(|response| response.status), Some(400));
    assert_eq!(dead.not_before_at, Some(T0.plus_ms(60_000)));

    let running = reader.why(&url("https://example.org/running")).await.expect("reads").expect("it is known");
    assert_eq!((running.state, running.in_flight_since, running.n_ahead), (Some(JobState::Ready), Some(T0), Some(0)));
    assert_eq!(running.attempts[0].outcome, "refused");
    assert_eq!(reader.why(&url("https://example.org/never")).await.expect("reads"), None);
    assert_eq!(reader.why(&url("https://never.example/")).await.expect("reads"), None);

    let search = url("https://example.org/search?q=1");
    store.add(vec![page(search.as_str())], T0).await.expect("a seed");
    let search = reader.why(&search).await.expect("reads").expect("it is known");
    assert_eq!((search.not_before_at, search.not_before_scope.as_deref()), (Some(T0.plus_ms(90_000)), Some("/search")));
    assert_eq!((search.not_before_why.as_deref(), running.not_before_scope), (Some("Retry-After: 90"), None));
    assert_eq!(search.narrow[0].learned.as_deref(), Some("token bucket, 0.50/s, burst 3"));
    assert_eq!((running.narrow.len(), search.declared.words(T0).len()), (0, 2));

    let stream = NewJob { kind: JobKind::ApiPage, source: SourceId(2), ..page("https://api.example/issues?page=1") };
    store.add(vec![stream], T0).await.expect("a seed");
    let stream = reader.why(&url("https://api.example/issues?page=1")).await.expect("reads").expect("it is known");
    assert_eq!((stream.kind, stream.source.as_str()), (Some(JobKind::ApiPage), "gh.issues"));
}

#[tokio::test]
async fn the_reader_counts_what_there_is_during_a_run_and_after_it() {
    let folder = Folder::new();
    let store = small_crawl(&folder).await;
    let during = Reader::open(&folder.path).await.expect("reads");
    let progress = during.progress().await.expect("reads");
    assert_eq!((progress.n_done, progress.n_gone, progress.n_dead), (1, 1, 1));
    assert_eq!((progress.n_ready, progress.n_waiting, progress.n_in_flight), (1, 1, 1));
    assert_eq!((progress.n_requests, progress.n_refused, progress.n_items), (5, 1, 1));
    let hosts = during.hosts(10).await.expect("reads");
    assert_eq!(hosts[0].narrow.iter().map(|scope| scope.scope.as_str()).collect::<Vec<_>>(), ["/search"]);
    let words = ["core 4 989 of 5 000 left, resets in 20 min", "peak 5 at once"];
    assert_eq!(hosts[0].declared.words(T0.plus_ms(600_000)), words);
    assert_eq!(hosts[0].not_before_why.as_deref(), Some("Retry-After: 60"));
    assert_eq!((hosts[0].rate_per_s, hosts[0].limit_per_s, hosts[0].concurrency), (Some(2.0), Some(2.5), None));
    let failures = during.failures(10).await.expect("reads");
    assert_eq!((failures.len(), failures[0].url.as_str()), (1, "https://example.org/dead"));
    let sources = during.sources().await.expect("reads");
    assert_eq!((sources[0].n_found, sources[0].n_done, sources[0].n_items), (5, 1, 1));
    assert_eq!(during.last_run().await.expect("reads").expect("there was one").ended_at, None);

    store.end_run(T0.plus_ms(9)).await.expect("a run ends");
    drop((store, during));
    let wal = folder.path.with_file_name("crawl.db-wal");
    let _ = std::fs::remove_file(&wal);
    let after = Reader::open(&folder.path).await.expect("it reads without a log");
    assert_eq!(after.last_run().await.expect("reads").expect("there was one").ended_at, Some(T0.plus_ms(9)));
    assert_eq!(after.progress().await.expect("reads").n_done, 1);
}

#[tokio::test]
async fn a_query_of_the_user_reads_and_never_writes() {
    let folder = Folder::new();
    let _store = small_crawl(&folder).await;
    let reader = Reader::open(&folder.path).await.expect("reads");
    let table = reader.query("SELECT 1 AS a, 'x' AS b, NULL AS c, 1.5 AS d, x'00ff' AS e", 5).await.expect("reads");
    assert_eq!(table.columns, ["a", "b", "c", "d", "e"]);
    assert_eq!(serde_json::Value::from(table.rows[0].clone()), serde_json::json!([1, "x", null, 1.5, "00ff"]));
    let table = reader.query("SELECT job_id FROM jobs", 2).await.expect("reads");
    assert_eq!((table.rows.len(), table.more), (2, true));
    let table = reader.query("SELECT job_id FROM jobs WHERE false", 2).await.expect("reads");
    assert_eq!((table.columns.as_slice(), table.rows.len()), (["job_id".to_owned()].as_slice(), 0));
    for sql in ["DELETE FROM jobs", "PRAGMA query_only = 0; DELETE FROM jobs"] {
        reader.query(sql, 1).await.expect_err("it cannot write");
    }
    assert_eq!(reader.progress().await.expect("reads").n_done, 1);
    assert_eq!(reader.query("SELECT * FROM jobs", 99).await.expect("reads").rows.len(), 5);
    let missing = Reader::open(&folder.path.with_file_name("none.db")).await.expect_err("there is none");
    assert!(missing.to_string().contains("no crawl here yet"), "{missing}");
}

#[tokio::test]
async fn what_is_said_by_hand_waits_in_the_inbox_until_it_is_done() {
    let folder = Folder::new();
    let (store, jobs) = seeded(&folder, &[page("https://example.org/"), page("http://b.example:8080/")]).await;
    let host_id = jobs[0].id.host_id();
    let origin = |text: &str| Origin::of(&url(text)).expect("it has a host");
    let window = throttle::Order::Set(throttle::Said { rate_per_s: 2.0, shape: throttle::Shape::WindowMs(60_000.0) });
    let burst = throttle::Order::Set(throttle::Said { rate_per_s: 0.5, shape: throttle::Shape::Burst(20.0) });
    let said = [
        (origin("https://example.org"), window),
        (origin("http://b.example:8080"), burst),
        (origin("https://example.org"), throttle::Order::Forget),
        (origin("https://unknown.example"), throttle::Order::Forget),
    ];
    post_orders(&folder.path, &said, T0).await.expect("it is taken down while a crawl runs");
    let reader = Reader::open(&folder.path).await.expect("reads");
    assert_eq!(reader.orders_waiting().await.expect("reads"), 4);

    let rows = store.inbox(0, 10).await.expect("reads");
    let orders: Vec<_> =
        rows.iter().map(|row| row.order.as_ref().map(|order| (order.host.host_id, order.order))).collect();
    let other = jobs[1].id.host_id();
    assert_eq!(
        orders,
        [Some((host_id, window)), Some((other, burst)), Some((host_id, throttle::Order::Forget)), None],
        "a host that is not known is nobody"
    );
    let learned = HostLearned {
        host_id,
        not_before_at: crate::clock::Timestamp::EPOCH,
        not_before_why: None,
        words: Some("said by hand".into()),
        seen_at: None,
        snapshot: Arc::default(),
        scopes: Vec::new(),
    };
    let taken = rows.iter().map(|row| row.inbox_id).collect();
    commit(&store, &Batch { learned: vec![learned], taken, now: T0, ..Batch::default() }).await;
    assert_eq!(reader.orders_waiting().await.expect("reads"), 0);
    let hosts = reader.hosts_named("example.org").await.expect("reads");
    assert_eq!(hosts.iter().map(|host| host.learned.as_deref()).collect::<Vec<_>>(), [Some("said by hand")]);
    assert_eq!(reader.hosts_named("http://b.example:8080").await.expect("reads").len(), 1);
    assert!(reader.hosts_named("xample.org").await.expect("reads").is_empty());
}
