//! What is held of answers, seen in its rows.

use serde_json::json;

use super::Folder;
use super::file::response;
use crate::clock::Timestamp;
use crate::exchange::Headers;
use crate::job::{HostId, Job, JobKind, LastChange, NewJob, NewSlice, SourceId};
use crate::policy::cache::{Stored, Variant};
use crate::store::conformance::{Place, T0, begin, commit, page, ready, seeded, settle, settlements};
use crate::store::sqlite::SqliteStore;
use crate::store::{
    Batch, Hold, HoldStep, JobMove, NextPage, PageChange, PullStep, RecrawlStep, Reopened, Settlement, WalkNews,
};

const SITE: SourceId = SourceId(1);
const HOUR_MS: u64 = 3_600_000;

fn stored(etag: &str) -> Stored {
    Stored {
        status: 200,
        headers: Headers::from_pairs([("etag", etag)]),
        variant: Variant::default(),
        requested_at: T0,
        answered_at: T0,
        fetched_at: T0,
        content: Some([7; 32]),
        gone_at: None,
    }
}

fn hold(change: PageChange, next_at: Option<Timestamp>) -> Hold {
    Hold { stored: stored("\"1\""), basis: [3; 16], change, interval_ms: next_at.map(|_| HOUR_MS), next_at }
}

/// A page that was answered in full.
fn answered(job: &Job, next_at: Option<Timestamp>) -> Settlement {
    let mut outcome = settle(job.id, JobMove::Done);
    outcome.response = Some(response(b"body"));
    outcome.hold = Some(Box::new(HoldStep::Replace(hold(PageChange::New, next_at))));
    outcome
}

fn with(job: &Job, change: JobMove, step: HoldStep) -> Settlement {
    Settlement { hold: Some(Box::new(step)), ..settle(job.id, change) }
}

fn reopen(until: Timestamp, limit: u32) -> Batch {
    let step = RecrawlStep::Reopen { source: SITE, until, limit };
    Batch { recrawls: vec![step], now: until, ..Batch::default() }
}

async fn sited(paths: &[&str]) -> (Folder, SqliteStore, Vec<Job>) {
    let folder = Folder::new();
    let seeds: Vec<NewJob> = paths.iter().map(|path| page(&format!("https://example.org{path}"))).collect();
    let (store, jobs) = seeded(&folder, &seeds).await;
    (folder, store, jobs)
}

#[tokio::test]
async fn a_page_that_is_due_comes_back_with_what_is_held_of_it() {
    let (_folder, store, jobs) = sited(&["/a", "/b", "/c"]).await;
    assert!(jobs.iter().all(|job| job.held.is_none()));
    let due = |ms: u64| Some(T0.plus_ms(ms));
    let outcomes = vec![answered(&jobs[0], due(5)), answered(&jobs[1], due(3)), answered(&jobs[2], None)];
    let ack = commit(&store, &settlements(outcomes)).await;
    assert_eq!(ack.recrawls[&SITE].due_at, due(3));

    let ack = commit(&store, &reopen(T0.plus_ms(5), 1)).await;
    assert_eq!(ack.recrawls[&SITE].reopened, Some(Reopened { pages: 1, done: 1, next_at: due(5) }));
    let again = ready(&store, HostId(1)).await;
    let [job] = again.as_slice() else { panic!("one page: {again:?}") };
    assert_eq!(job.url.path(), "/b", "the one that is due longest");
    let held = job.held.as_ref().expect("it was answered");
    assert_eq!((held.status, held.basis, held.content), (200, [3; 16], Some([7; 32])));
    assert_eq!(held.headers, [("etag".to_owned(), "\"1\"".to_owned())]);
    assert_eq!((held.first_at, held.gone_at, held.interval_ms), (Some(T0), None, Some(HOUR_MS)));

    let ack = commit(&store, &reopen(T0.plus_ms(5), 10)).await;
    assert_eq!(ack.recrawls[&SITE].reopened, Some(Reopened { pages: 1, done: 1, next_at: None }));
    assert_eq!(store.numbers("SELECT n_done FROM sources WHERE source_id = 1").await, [1]);
    let counted = store.numbers("SELECT n_ready FROM host_state").await;
    assert_eq!(counted, store.numbers("SELECT count(*) FROM jobs WHERE state = 0").await);
}

#[tokio::test]
async fn a_304_leaves_the_answer_and_updates_its_headers() {
    let (_folder, store, jobs) = sited(&["/a"]).await;
    commit(&store, &settlements(vec![answered(&jobs[0], Some(T0))])).await;
    let before = store.texts("SELECT title || hex(body_hash) || fetched_at FROM responses").await;
    commit(&store, &reopen(T0, 10)).await;
    let mut confirmed = hold(PageChange::Unchanged, None);
    confirmed.stored.headers = Headers::from_pairs([("etag", "\"1\""), ("x-new", "y")]);
    commit(&store, &settlements(vec![with(&jobs[0], JobMove::Done, HoldStep::Confirm(confirmed))])).await;
    assert_eq!(store.texts("SELECT title || hex(body_hash) || fetched_at FROM responses").await, before);
    assert_eq!(store.texts("SELECT headers FROM responses").await, [r#"[["etag","\"1\""],["x-new","y"]]"#]);
    assert_eq!(store.numbers("SELECT count(*) FROM page_changes").await, [0]);
}

#[tokio::test]
async fn a_tombstone_leaves_what_was_there_and_tells_when_it_went_and_came_back() {
    let (_folder, store, jobs) = sited(&["/a"]).await;
    commit(&store, &settlements(vec![answered(&jobs[0], Some(T0))])).await;
    commit(&store, &reopen(T0, 10)).await;
    let mut gone = hold(PageChange::Gone, Some(T0));
    (gone.stored.status, gone.stored.gone_at) = (404, Some(T0));
    let outcome = with(&jobs[0], JobMove::Gone("answered 404".into()), HoldStep::Gone(gone));
    commit(&store, &settlements(vec![outcome])).await;
    assert_eq!(store.numbers("SELECT count(*) FROM responses WHERE body_hash IS NOT NULL").await, [1]);
    commit(&store, &reopen(T0, 10)).await;
    let again = ready(&store, HostId(1)).await;
    let held = again[0].held.as_ref().expect("it is held");
    assert_eq!((held.status, held.gone_at, held.headers.len()), (404, Some(T0), 0));
    let back = hold(PageChange::Back, None);
    commit(&store, &settlements(vec![with(&jobs[0], JobMove::Done, HoldStep::Replace(back))])).await;
    assert_eq!(store.texts("SELECT what FROM changes ORDER BY 1").await, ["back", "gone", "new"]);
}

#[tokio::test]
async fn a_page_that_failed_keeps_what_is_held_and_is_due_later() {
    let (_folder, store, jobs) = sited(&["/a"]).await;
    commit(&store, &settlements(vec![answered(&jobs[0], Some(T0))])).await;
    commit(&store, &reopen(T0, 10)).await;
    let dead = with(&jobs[0], JobMove::Dead("answered 500".into()), HoldStep::Later(T0.plus_ms(9)));
    let ack = commit(&store, &settlements(vec![dead])).await;
    assert_eq!(ack.recrawls[&SITE].due_at, Some(T0.plus_ms(9)));
    let ack = commit(&store, &reopen(T0.plus_ms(9), 10)).await;
    assert_eq!(ack.recrawls[&SITE].reopened, Some(Reopened { pages: 1, done: 0, next_at: None }));
    let again = ready(&store, HostId(1)).await;
    assert_eq!(again[0].held.as_ref().map(|held| held.content), Some(Some([7; 32])));
}

#[tokio::test]
async fn another_schedule_moves_what_was_fetched_and_not_what_is_open() {
    let (_folder, store, jobs) = sited(&["/a", "/b"]).await;
    commit(&store, &settlements(vec![answered(&jobs[0], None), answered(&jobs[1], Some(T0))])).await;
    commit(&store, &reopen(T0, 10)).await;
    let schedule = |between_ms: Option<(u64, u64)>| {
        let words = between_ms.map(|between_ms| format!("{between_ms:?}"));
        Batch { recrawls: vec![RecrawlStep::Schedule { source: SITE, words, between_ms }], now: T0, ..Batch::default() }
    };
    let ack = commit(&store, &schedule(Some((5, 10)))).await;
    assert_eq!(ack.recrawls[&SITE].reopened.and_then(|it| it.next_at), Some(T0.plus_ms(10)));
    assert_eq!(store.numbers("SELECT count(*) FROM holds WHERE next_at IS NOT NULL").await, [1]);
    let open = begin(&store).await;
    assert_eq!((open.sources[0].recrawl.as_deref(), open.sources[0].due_at), (Some("(5, 10)"), Some(T0.plus_ms(10))));
    let ack = commit(&store, &schedule(None)).await;
    assert_eq!(ack.recrawls[&SITE].reopened.and_then(|it| it.next_at), None);
}

/// The page again, as a sitemap names it that says when it changed last.
fn named(path: &str, at: Timestamp, least_wait_ms: u64) -> NewJob {
    let changed = Some(LastChange { at, least_wait_ms });
    NewJob { changed, ..page(&format!("https://example.org{path}")) }
}

#[tokio::test]
async fn a_page_that_is_said_to_have_changed_since_its_answer_is_due_since_then() {
    let (_folder, store, jobs) = sited(&["/a", "/b", "/c"]).await;
    let due = |ms: u64| Some(T0.plus_ms(ms));
    let outcomes =
        vec![answered(&jobs[0], due(9_000_000)), answered(&jobs[1], due(9_000_000)), answered(&jobs[2], None)];
    commit(&store, &settlements(outcomes)).await;
    let next = || store.numbers("SELECT coalesce(next_at - answered_at, -1) FROM holds ORDER BY job_id");
    let found = |found: Vec<NewJob>| Batch { found, now: T0.plus_ms(5_000_000), ..Batch::default() };

    let other = NewJob { source: SourceId(2), ..named("/b", T0.plus_ms(7), 5) };
    let names = vec![named("/a", T0.plus_ms(7), 360_000), other, named("/c", T0.plus_ms(7), 5), named("/new", T0, 5)];
    let ack = commit(&store, &found(names)).await;
    assert_eq!(next().await, [360_000, 9_000_000, -1], "after the least wait; another section's; without a schedule");
    assert_eq!(ack.recrawls[&SITE].due_at, due(360_000));

    let ack = commit(&store, &found(vec![named("/b", T0, 5), named("/a", T0.plus_ms(8), 360_000)])).await;
    assert_eq!(next().await, [360_000, 9_000_000, -1], "answered since, and due already");
    assert!(ack.recrawls.is_empty());

    // What is answered in the same batch is newer than what is said of it.
    commit(&store, &reopen(T0.plus_ms(360_000), 10)).await;
    let mut batch = found(vec![named("/a", T0.plus_ms(4_000_000), 5)]);
    batch.settlements = vec![answered(&jobs[0], due(9_000_000))];
    commit(&store, &batch).await;
    assert_eq!(next().await, [9_000_000, 9_000_000, -1]);
}

fn api_page(path: &str) -> NewJob {
    NewJob { kind: JobKind::ApiPage, source: SourceId(2), ..page(&format!("https://api.example{path}")) }
}

fn slice() -> NewSlice {
    NewSlice { source: SourceId(2), params: serde_json::Map::new(), first: api_page("/a"), is_late: false }
}

/// Two pages that were walked, and a second pull that is on: the first page is ready.
async fn walked_once() -> (Folder, SqliteStore, Vec<Job>) {
    let folder = Folder::new();
    let store = folder.open().await;
    begin(&store).await;
    commit(&store, &Batch { slices: vec![slice()], now: T0, ..Batch::default() }).await;
    let mut pages = Vec::new();
    for (next, newest) in [(Some("/a?2"), 4), (None, 9)] {
        let job = ready(&store, HostId(1)).await.remove(0);
        let mut outcome = answered(&job, None);
        outcome.next_page = next.map(|path| NextPage(NewJob { depth: 1, ..api_page(path) }));
        outcome.walk = WalkNews { records: 2, newest: Some(json!(newest)), ..WalkNews::default() };
        commit(&store, &settlements(vec![outcome])).await;
        pages.push(job);
    }
    pull(&store).await;
    pull(&store).await;
    (folder, store, pages)
}

async fn pull(store: &SqliteStore) {
    let begin = PullStep::Begin { source: SourceId(2), full: true };
    commit(store, &Batch { pulls: vec![begin], slices: vec![slice()], now: T0, ..Batch::default() }).await;
}

fn confirmed(job: &Job) -> Settlement {
    with(job, JobMove::Done, HoldStep::Confirm(hold(PageChange::Unchanged, None)))
}

#[tokio::test]
async fn after_a_304_the_walk_goes_on_with_the_page_that_followed_the_last_time() {
    let (_folder, store, pages) = walked_once().await;
    let count = || store.numbers("SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM holds)");
    let before = count().await;
    for page in &pages {
        let again = ready(&store, HostId(1)).await;
        assert_eq!(again.iter().map(|job| job.id).collect::<Vec<_>>(), [page.id]);
        commit(&store, &settlements(vec![confirmed(page)])).await;
    }
    assert_eq!(count().await, before);
    let slice = "SELECT state || ' walk ' || walk || ' pages ' || n_pages || ' records ' || n_records || ' mark ' || mark FROM slices";
    assert_eq!(store.texts(slice).await, ["1 walk 2 pages 2 records 4 mark 9"]);
    assert_eq!(store.numbers("SELECT n_slices_open FROM sources WHERE source_id = 2").await, [0]);
}

#[tokio::test]
async fn a_304_of_a_page_that_leads_back_is_a_circle() {
    let (_folder, store, pages) = walked_once().await;
    store.meddle("UPDATE holds SET next_job_id = (SELECT first_job_id FROM slices) WHERE next_job_id IS NULL").await;
    commit(&store, &settlements(vec![confirmed(&pages[0])])).await;
    let ack = commit(&store, &settlements(vec![confirmed(&pages[1])])).await;
    assert_eq!(ack.circles, [pages[1].id]);
    assert_eq!(store.numbers("SELECT n_slices_failed FROM sources WHERE source_id = 2").await, [1]);
}
