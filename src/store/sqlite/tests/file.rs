//! Facts about the file, its guards, and what a commit costs.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;

use super::Folder;
use crate::exchange::Headers;
use crate::job::{ItemKey, JobId, NewItem, NewJob, Priority};
use crate::store::conformance::{Place, T0, begin, commit, item, link, page, ready, seeded, settle, settlements};
use crate::store::sqlite::{Options, SqliteStore};
use crate::store::{Batch, HostLearned, JobMove, NewResponse, Settlement, Store, StoreError, StoredBody};
use crate::throttle;

pub(super) fn response(body: &[u8]) -> NewResponse {
    NewResponse {
        fetched_at: T0,
        status: 200,
        content_type: Some("text/html".into()),
        charset: Some("utf-8"),
        title: Some("A \"title\" with 'quotes', \u{e9} and \\".into()),
        redirect_to: None,
        canonical: None,
        headers: Headers::from_pairs([("etag", "\"1\"")]),
        notes: vec!["the charset was broken".into()],
        links: 7,
        body: Some(StoredBody {
            hash: *blake3::hash(body).as_bytes(),
            len: body.len() as u64,
            zstd: Bytes::from(zstd::encode_all(body, 1).expect("compresses")),
        }),
    }
}

/// A page with a body, an item and links to `n_links` new pages.
pub(super) fn answered(job_id: JobId, n_links: usize) -> Settlement {
    let mut outcome = settle(job_id, JobMove::Done);
    outcome.response = Some(response(job_id.to_string().as_bytes()));
    outcome.items = vec![item(&job_id.to_string())];
    outcome.discovered =
        (0..n_links).map(|i| link(&format!("https://example.org/from/{job_id}/{i}"), job_id)).collect();
    outcome.learned = Some(HostLearned {
        host_id: job_id.host_id(),
        not_before_at: T0,
        not_before_why: None,
        words: None,
        seen_at: None,
        snapshot: Arc::new(throttle::Snapshot::default()),
    });
    outcome
}

async fn refused(path: &std::path::Path) -> StoreError {
    SqliteStore::open(path, &Options::default()).await.expect_err("it is refused")
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_who_holds_the_file() {
    let folder = Folder::new();
    let store = folder.open().await;
    let StoreError::InUse { pid, .. } = refused(&folder.path).await else { panic!("it must say that it is in use") };
    assert_eq!(pid, Some(std::process::id()));
    drop(store);
    folder.open().await;
}

#[tokio::test]
async fn what_is_not_a_crawl_is_refused_untouched() {
    let folder = Folder::new();
    let foreign = folder.path.with_file_name("foreign.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&foreign).create_if_missing(true);
    let mut conn = <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&options).await.expect("connects");
    sqlx::query("CREATE TABLE theirs (x)").execute(&mut conn).await.expect("creates");
    sqlx::Connection::close(conn).await.expect("closes");
    let text = folder.path.with_file_name("notes.txt");
    std::fs::write(&text, "some notes, longer than the sixteen bytes of a header").expect("writes");
    for path in [&foreign, &text] {
        let before = std::fs::read(path).expect("reads");
        let error = refused(path).await;
        assert!(error.to_string().contains("not a trundle database"), "{error}");
        assert_eq!(std::fs::read(path).expect("reads"), before);
    }
    let error = refused(&folder.path.with_file_name("no").join("such.db")).await;
    assert!(error.to_string().contains("does not exist"), "{error}");
}

#[tokio::test]
async fn a_commit_after_another_process_took_over_is_refused() {
    let folder = Folder::new();
    let (store, jobs) = seeded(&folder, &[page("https://example.org/")]).await;
    store.meddle("UPDATE meta SET run_epoch = 9").await;
    let error = store.commit(&settlements(vec![settle(jobs[0].id, JobMove::Done)])).await.expect_err("refused");
    assert!(matches!(error, StoreError::TakenOver { ours: 1, found: 9 }), "{error}");
    assert_eq!(store.numbers("SELECT count(*) FROM jobs WHERE state = 2").await, [0]);
}

#[tokio::test]
async fn a_full_disk_harms_nothing_and_the_same_batch_goes_through_later() {
    let folder = Folder::new();
    let (store, jobs) = seeded(&folder, &[page("https://example.org/")]).await;
    store.meddle("PRAGMA max_page_count = 1").await;
    let mut outcome = answered(jobs[0].id, 400);
    let noise: Vec<u8> = blake3::hash(b"noise").as_bytes().iter().cycle().take(100_000).copied().collect();
    outcome.response = outcome.response.map(|response| NewResponse {
        body: response.body.map(|body| StoredBody { zstd: Bytes::from(noise), ..body }),
        ..response
    });
    let batch = settlements(vec![outcome]);
    let error = store.commit(&batch).await.expect_err("there is no room");
    assert!(matches!(error, StoreError::DiskFull(_)), "{error:?}");
    assert_eq!(store.numbers("SELECT count(*) FROM jobs").await, [1]);

    store.meddle("PRAGMA max_page_count = 1000000").await;
    let ack = commit(&store, &batch).await;
    assert!(ack.dropped.is_empty());
    assert_eq!(ack.hosts[&jobs[0].id.host_id()].inserted, 400, "the store forgot nothing that it did not write");
}

#[tokio::test]
async fn an_outcome_that_cannot_be_stored_is_isolated_and_its_job_given_up() {
    let folder = Folder::new();
    let seeds: Vec<NewJob> = (0..20).map(|i| page(&format!("https://example.org/{i}"))).collect();
    let (store, jobs) = seeded(&folder, &seeds).await;
    let mut outcomes: Vec<Settlement> = jobs.iter().map(|job| answered(job.id, 2)).collect();
    // No status has one digit: a constraint of the table says so.
    for bad in [3, 11] {
        outcomes[bad].attempt.as_mut().expect("it has one").status = Some(7);
    }
    // And a priority that no job can have, which is seen before anything is written.
    outcomes[15].discovered[0].priority = Priority(200);
    let found =
        vec![NewJob { priority: Priority(10), ..page("https://example.org/seed") }, page("https://example.org/s2")];
    let ack = commit(&store, &Batch { found, ..settlements(outcomes) }).await;

    assert_eq!(ack.dropped.iter().map(|(position, _)| *position).collect::<Vec<_>>(), [3, 11, 15]);
    assert!(ack.dropped[0].1.contains("attempts_status_has_three_digits"), "{:?}", ack.dropped);
    assert_eq!(ack.items_new, 17);
    let dead = store.texts("SELECT reason FROM jobs WHERE state = 4 ORDER BY job_id").await;
    assert_eq!(dead.len(), 3);
    assert!(dead[0].starts_with("what came of it could not be stored: "), "{dead:?}");
    assert_eq!(store.numbers("SELECT count(*) FROM jobs WHERE state = 2").await, [17]);
    assert_eq!(store.numbers("SELECT count(*) FROM jobs WHERE state = 0").await, [17 * 2 + 1]);
    assert_eq!(store.numbers("SELECT count(*) FROM events WHERE what = 'isolated'").await, [4]);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_buried_and_stalls_nobody() {
    let folder = Folder::new();
    let (store, jobs) =
        seeded(&folder, &[page("https://example.org/a"), page("https://example.org/b"), page("https://example.org/c")])
            .await;
    store
        .meddle(
            "PRAGMA ignore_check_constraints = 1;
             UPDATE jobs SET kind = 77 WHERE request = '/a';
             UPDATE jobs SET request = '.evil.example/' WHERE request = '/b';
             PRAGMA ignore_check_constraints = 0;",
        )
        .await;
    let left = ready(&store, jobs[0].id.host_id()).await;
    assert_eq!(left, jobs[2..]);
    let reasons = store.texts("SELECT reason FROM jobs WHERE state = 4 ORDER BY job_id").await;
    assert_eq!(
        reasons,
        [
            "its row in the database cannot be read: its kind 77 is not known",
            "its row in the database cannot be read: its request .evil.example/ leads away from https://example.org",
        ]
    );
}

#[tokio::test]
async fn a_commit_that_was_given_up_half_way_leaves_no_transaction_behind() {
    let folder = Folder::new();
    let (store, jobs) = seeded(&folder, &[page("https://example.org/a"), page("https://example.org/b")]).await;
    for polls in 1..12 {
        let batch = settlements(vec![settle(jobs[0].id, JobMove::Stay)]);
        let mut commit = Box::pin(store.commit(&batch));
        for _ in 0..polls {
            if commit.as_mut().now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    let ack = commit(&store, &settlements(vec![settle(jobs[1].id, JobMove::Done)])).await;
    assert!(ack.dropped.is_empty());
}

#[tokio::test]
async fn the_number_of_statements_does_not_grow_with_the_batch() {
    let folder = Folder::new();
    let seeds: Vec<NewJob> = (0..300).map(|i| page(&format!("https://example.org/{i}"))).collect();
    let (store, jobs) = seeded(&folder, &seeds).await;
    let mut counts = Vec::new();
    for jobs in [&jobs[..1], &jobs[1..11], &jobs[11..211]] {
        let before = store.statements().await;
        commit(&store, &settlements(jobs.iter().map(|job| answered(job.id, 5)).collect())).await;
        counts.push(store.statements().await - before);
    }
    // BEGIN, 4 reads, bodies, the 14 of the script, COMMIT; hosts were known.
    assert_eq!(counts, [21, 21, 21]);
}

#[tokio::test]
async fn a_body_is_stored_once_whoever_sent_it() {
    let folder = Folder::new();
    let seeds: Vec<NewJob> = (0..6).map(|i| page(&format!("https://example.org/{i}"))).collect();
    let (store, jobs) = seeded(&folder, &seeds).await;
    let with = |job_id, body: &[u8]| {
        let mut outcome = settle(job_id, JobMove::Done);
        outcome.response = Some(response(body));
        outcome
    };
    let bodies: [&[u8]; 6] = [b"same", b"other", b"same", b"", b"same", b"longer than the others"];
    let outcomes: Vec<Settlement> = jobs.iter().zip(bodies).map(|(job, body)| with(job.id, body)).collect();
    let (first, second) = {
        let mut first = outcomes;
        let second = first.split_off(4);
        (first, second)
    };
    commit(&store, &settlements(first)).await;
    commit(&store, &settlements(second)).await;
    assert_eq!(store.numbers("SELECT len FROM bodies ORDER BY body_id").await, [4, 5, 0, 22]);
    let mut writer = store.writer.lock().await;
    let sql = "SELECT b.zstd, b.hash FROM responses AS r JOIN bodies AS b ON b.hash = r.body_hash ORDER BY r.job_id";
    let rows = writer.db.rows(sqlx::query(sql)).await.expect("reads");
    for (row, body) in rows.iter().zip(bodies) {
        let frame: Vec<u8> = sqlx::Row::try_get(row, 0).expect("a blob");
        assert_eq!(zstd::decode_all(frame.as_slice()).expect("a zstd frame"), body);
    }
    assert_eq!(rows.len(), 6);
}

#[tokio::test]
async fn a_log_that_has_grown_is_folded_into_the_file() {
    let folder = Folder::new();
    let (store, _) = seeded(&folder, &[page("https://example.org/")]).await;
    store.meddle("CREATE TABLE ballast (x BLOB)").await;
    for _ in 0..4 {
        store.meddle("INSERT INTO ballast SELECT randomblob(9000000) FROM json_each('[1,2]')").await;
    }
    let wal = folder.path.with_file_name("crawl.db-wal");
    assert!(std::fs::metadata(&wal).expect("there is a log").len() > 64 << 20);
    let size = || std::fs::metadata(&folder.path).expect("there is a file").len();
    assert!(size() < 1 << 20);
    commit(&store, &Batch { now: T0, ..Batch::default() }).await;
    assert!(size() > 64 << 20, "the pages are in the file");
    store.end_run(T0).await.expect("a run ends");
    assert_eq!(std::fs::metadata(&wal).expect("there is a log").len(), 0);
    begin(&store).await;
}

#[tokio::test]
async fn an_item_that_changed_replaces_itself_and_keeps_its_first_sight() {
    let folder = Folder::new();
    let seeds: Vec<NewJob> = (0..3).map(|i| page(&format!("https://example.org/{i}"))).collect();
    let (store, jobs) = seeded(&folder, &seeds).await;
    for (job, (at_ms, stars)) in jobs.iter().zip([(0, 1), (10, 1), (20, 2)]) {
        let mut outcome = settle(job.id, JobMove::Done);
        outcome.items = vec![NewItem { key: ItemKey::of(b"repository"), data: serde_json::json!({ "stars": stars }) }];
        commit(&store, &Batch { now: T0.plus_ms(at_ms), ..settlements(vec![outcome]) }).await;
    }
    let told = store.texts("SELECT data || (first_at % 1000) || ' ' || (updated_at % 1000) FROM items").await;
    assert_eq!(told, [r#"{"stars":2}0 20"#], "it was not written when it came unchanged");
}

#[tokio::test]
async fn a_host_that_is_full_takes_no_more_jobs() {
    let folder = Folder::new();
    let (store, jobs) = seeded(&folder, &[page("https://example.org/0")]).await;
    store.meddle("UPDATE host_state SET seq = 4294967295").await;
    let ack = store.add(vec![page("https://example.org/1"), page("https://example.org/2")], T0).await.expect("adds");
    let host_id = jobs[0].id.host_id();
    assert_eq!(ack.hosts[&host_id].inserted, 1);
    assert_eq!(ready(&store, host_id).await.last().map(|job| job.id), Some(JobId::new(host_id, u32::MAX)));
    let told = store.texts("SELECT detail FROM events").await;
    assert!(told[0].contains("2^32 jobs"), "{told:?}");
}
