//! Facts about what people are told: the views and the reader; and that no question reads all jobs.

use std::sync::Arc;

use sqlx::Row;

use super::Folder;
use crate::exchange::Headers;
use crate::job::{JobKind, JobState, NewJob, SourceId};
use crate::store::conformance::{Place, T0, commit, item, link, page, ready, seeded, settle, settlements, url};
use crate::store::reader::plans;
use crate::store::sqlite::{SqliteStore, commit as committing, host_rows, refill};
use crate::store::{Batch, HostLearned, JobMove, NewResponse, Reader, Store};
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
    let mut dead = settle(jobs[1].id, JobMove::Dead("HTTP 400".into()));
    dead.learned = Some(HostLearned {
        host_id: home.host_id(),
        not_before_at: T0.plus_ms(60_000),
        not_before_why: Some("Retry-After: 60".into()),
        snapshot: Arc::new(throttle::Snapshot { rate_per_s: 2.0, limit_per_s: 2.5, ..throttle::Snapshot::default() }),
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
        told.push_str(&format!("{view}\n"));
        for row in &table.rows {
            let pairs = table.columns.iter().zip(row).filter(|(_, value)| !value.is_null());
            let line: Vec<String> = pairs
                .map(|(name, value)| {
                    format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
                })
                .collect();
            told.push_str(&format!("  {}\n", line.join(" ")));
        }
    }
    insta::assert_snapshot!(told, @r##"
    progress
      percent=60.0 ready=1 waiting=1 done=1 gone=1 dead=1 skipped=0 requests=5 refused=1 failed=0 bytes=5000 items=1 in_flight=1 done_per_minute=1.0 updated_at=2023-11-14 22:13:20
    host_progress
      host_id=1 host=https://example.org percent=60.0 ready=1 waiting=1 done=1 gone=1 dead=1 skipped=0 requests=5 refused=1 failed=0 bytes=5000 eta_s=1.0
    limits
      host_id=1 host=https://example.org rate_per_s=2.0 limit_per_s=2.5 not_before_at=2023-11-14 22:14:20 not_before_why=Retry-After: 60 refused=1 refused_percent=20.0 last_refused_at=2023-11-14 22:13:20 paused=0
    timeline
      minute=2023-11-14 22:13 done=1 requests=5 refused=1 failed=0 found=5 items=1 bytes=5000
    running
      url=https://example.org/running kind=page attempt=0 job_id=4294967300 since=2023-11-14 22:13:20 run_id=1
    failures
      url=https://example.org/dead kind=page status=400 attempt=0 crashes=0 reason=HTTP 400 settled_at=2023-11-14 22:13:20 job_id=4294967298 parent_id=4294967296
    broken_links
      url=https://example.org/gone status=200 named_by=https://example.org/ reason=404 settled_at=2023-11-14 22:13:20 job_id=4294967297
    pages
      url=https://example.org/ status=200 title=A "title" with 'quotes', é and \ content_type=text/html charset=utf-8 links=7 body_hash=1310333fd17502cbefcd0d6d5b384ea63a3e3e4b979a2e437b458c08e63f14fb body_bytes=4 fetched_at=2023-11-14 22:13:20 depth=0 source_id=1 job_id=4294967296
    records
      item_id=1 source=docs data={"name":"home"} url=https://example.org/ first_at=2023-11-14 22:13:20 updated_at=2023-11-14 22:13:20
    all_jobs
      job_id=4294967296 host_id=1 url=https://example.org/ kind=page state=done state_code=2 priority=5 attempt=0 crashes=0 status=200 depth=0 source_id=1 found_at=2023-11-14 22:13:20 settled_at=2023-11-14 22:13:20
      job_id=4294967297 host_id=1 url=https://example.org/gone kind=page state=gone state_code=3 priority=5 attempt=0 crashes=0 status=200 reason=404 depth=1 parent_id=4294967296 source_id=1 found_at=2023-11-14 22:13:20 settled_at=2023-11-14 22:13:20
      job_id=4294967298 host_id=1 url=https://example.org/dead kind=page state=dead state_code=4 priority=5 attempt=0 crashes=0 status=400 reason=HTTP 400 depth=1 parent_id=4294967296 source_id=1 found_at=2023-11-14 22:13:20 settled_at=2023-11-14 22:13:20
      job_id=4294967299 host_id=1 url=https://example.org/waiting kind=page state=waiting state_code=1 priority=5 attempt=1 crashes=0 status=200 reason=503 depth=1 parent_id=4294967296 source_id=1 due_at=2023-11-14 22:13:25 found_at=2023-11-14 22:13:20
      job_id=4294967300 host_id=1 url=https://example.org/running kind=page state=ready state_code=0 priority=5 attempt=0 crashes=0 depth=1 parent_id=4294967296 source_id=1 found_at=2023-11-14 22:13:20
    "##);
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

/// How SQLite answers each question: a search by key or index; the only scans are of what the question is about (hosts
/// with work, dead jobs), or of the rows that were handed in.
#[tokio::test]
async fn no_question_scans_the_jobs() {
    let folder = Folder::new();
    let store = folder.open().await;
    let mut told = String::new();
    let questions = [
        ("refill: ready", refill::READY),
        ("refill: due", refill::DUE),
        ("refill: next due", refill::NEXT_DUE),
        ("begin: hosts with work", host_rows::OPEN),
        ("commit: hosts that are new", host_rows::BY_ID),
        ("commit: open jobs", committing::OPEN_JOBS),
        ("commit: known requests", committing::KNOWN_REQUESTS),
        ("why: the job", plans::JOB),
        ("why: who named it", plans::PARENTS),
        ("why: jobs ahead", plans::AHEAD),
        ("status: hosts", plans::HOSTS),
        ("failures", plans::FAILURES),
    ];
    let script = committing::SCRIPT.split(";\n").filter(|sql| sql.trim().len() > 1).enumerate();
    let script = script.map(|(i, sql)| (format!("commit: statement {}", i + 1), sql));
    let questions = questions.into_iter().map(|(name, sql)| (name.to_owned(), sql));
    for (name, sql) in questions.chain(script) {
        told.push_str(&format!("{name}\n"));
        let query = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
        let rows = store.writer.lock().await.db.rows(query).await.expect("it can be explained");
        for row in rows {
            let line: String = row.try_get(3).expect("text");
            let fine = [
                "VIRTUAL TABLE",
                "jobs_dead",
                "host_state_open",
                "SCAN totals",
                "SCAN up",
                "SCAN CONSTANT ROW",
                "SCAN (",
            ];
            let is_about_all_hosts = name == "status: hosts" && line == "SCAN s";
            assert!(
                !line.starts_with("SCAN") || is_about_all_hosts || fine.iter().any(|fine| line.contains(fine)),
                "{name}: {line}"
            );
            told.push_str(&format!("  {line}\n"));
        }
    }
    insta::assert_snapshot!(told, @r##"
    refill: ready
      COMPOUND QUERY
      LEFT-MOST SUBQUERY
      CO-ROUTINE (subquery-1)
      SEARCH j USING INDEX jobs_ready (host_id=? AND priority=? AND rowid>?)
      SEARCH h USING INTEGER PRIMARY KEY (rowid=?)
      SCAN (subquery-1)
      UNION ALL
      CO-ROUTINE (subquery-3)
      SEARCH j USING INDEX jobs_ready (host_id=? AND priority>?)
      SEARCH h USING INTEGER PRIMARY KEY (rowid=?)
      SCAN (subquery-3)
    refill: due
      SEARCH j USING INDEX jobs_waiting (host_id=? AND due_at<?)
      SEARCH h USING INTEGER PRIMARY KEY (rowid=?)
    refill: next due
      SEARCH jobs USING COVERING INDEX jobs_waiting (host_id=?)
    begin: hosts with work
      SCAN s USING INDEX host_state_open
      SEARCH h USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH r USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
      CORRELATED SCALAR SUBQUERY 1
      SEARCH j USING COVERING INDEX jobs_waiting (host_id=?)
    commit: hosts that are new
      SEARCH s USING INTEGER PRIMARY KEY (rowid=?)
      LIST SUBQUERY 2
      SCAN json_each VIRTUAL TABLE INDEX 1:
      CREATE BLOOM FILTER
      SEARCH h USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH r USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
      CORRELATED SCALAR SUBQUERY 1
      SEARCH j USING COVERING INDEX jobs_waiting (host_id=?)
    commit: open jobs
      SCAN e VIRTUAL TABLE INDEX 1:
      SEARCH j USING INTEGER PRIMARY KEY (rowid=?)
    commit: known requests
      SCAN e VIRTUAL TABLE INDEX 1:
      SEARCH j USING COVERING INDEX sqlite_autoindex_jobs_1 (host_id=? AND key=?)
    why: the job
      SEARCH j USING INDEX sqlite_autoindex_jobs_1 (host_id=? AND key=?)
      SEARCH h USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH t USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH s USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
      SEARCH i USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    why: who named it
      CO-ROUTINE up
      SETUP
      SCAN CONSTANT ROW
      RECURSIVE STEP
      SCAN up
      SEARCH j USING INTEGER PRIMARY KEY (rowid=?)
      SCAN up
      SEARCH j USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH h USING INTEGER PRIMARY KEY (rowid=?)
      USE TEMP B-TREE FOR ORDER BY
    why: jobs ahead
      CO-ROUTINE (subquery-1)
      SEARCH jobs USING COVERING INDEX jobs_ready (host_id=? AND priority<?)
      SCAN (subquery-1)
    status: hosts
      SCAN s
      SEARCH h USING INTEGER PRIMARY KEY (rowid=?)
      USE TEMP B-TREE FOR ORDER BY
    failures
      SCAN j USING INDEX jobs_dead
      SEARCH h USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH j USING INTEGER PRIMARY KEY (rowid=?)
      SEARCH h USING INTEGER PRIMARY KEY (rowid=?)
    commit: statement 1
      SCAN jsonb_each VIRTUAL TABLE INDEX 1:
    commit: statement 2
      SCAN m VIRTUAL TABLE INDEX 1:
      SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)
    commit: statement 3
      SCAN d VIRTUAL TABLE INDEX 1:
      SEARCH host_state USING INTEGER PRIMARY KEY (rowid=?)
    commit: statement 4
      SEARCH inflight USING INTEGER PRIMARY KEY (rowid=?)
      LIST SUBQUERY 1
      SCAN json_each VIRTUAL TABLE INDEX 1:
      CREATE BLOOM FILTER
    commit: statement 5
      SCAN jsonb_each VIRTUAL TABLE INDEX 1:
    commit: statement 6
      SCAN jsonb_each VIRTUAL TABLE INDEX 1:
    commit: statement 7
      SCAN jsonb_each VIRTUAL TABLE INDEX 1:
    commit: statement 8
      SCAN jsonb_each VIRTUAL TABLE INDEX 1:
      CORRELATED SCALAR SUBQUERY 1
      SEARCH a USING PRIMARY KEY (job_id=? AND sent_at=?)
    commit: statement 9
      SCAN jsonb_each VIRTUAL TABLE INDEX 1:
    commit: statement 10
      MATERIALIZE new_items
      SEARCH items USING INTEGER PRIMARY KEY (rowid>?)
      USE TEMP B-TREE FOR GROUP BY
      SCAN jsonb_each VIRTUAL TABLE INDEX 1:
      SEARCH sources USING INTEGER PRIMARY KEY (rowid=?)
      BLOOM FILTER ON new_items (of_source=?)
      SEARCH new_items USING AUTOMATIC COVERING INDEX (of_source=?) LEFT-JOIN
      CORRELATED SCALAR SUBQUERY 1
      SCAN s VIRTUAL TABLE INDEX 1:
      CORRELATED SCALAR SUBQUERY 2
      SCAN s VIRTUAL TABLE INDEX 1:
    commit: statement 11
      SCAN totals
      SCALAR SUBQUERY 1
      SEARCH items USING INTEGER PRIMARY KEY (rowid>?)
    commit: statement 12
      SCALAR SUBQUERY 1
      SEARCH items USING INTEGER PRIMARY KEY (rowid>?)
    commit: statement 13
      SCAN jsonb_each VIRTUAL TABLE INDEX 1:
    commit: statement 14
      SEARCH items USING INTEGER PRIMARY KEY (rowid>?)
    "##);
}
