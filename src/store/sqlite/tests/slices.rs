//! How slices of API streams are walked, seen in their rows.

use serde_json::{Value, json};

use super::Folder;
use crate::job::{ItemKey, Job, JobKind, Merge, NewItem, NewJob, NewSlice, SourceId};
use crate::store::conformance::{Place, T0, begin, commit, item, page, refill, settle, settlements};
use crate::store::sqlite::SqliteStore;
use crate::store::{Batch, JobMove, NextPage, PullStep, Settlement, WalkNews};

const HOST: crate::job::HostId = crate::job::HostId(1);

fn api_page(path: &str) -> NewJob {
    NewJob { kind: JobKind::ApiPage, source: SourceId(2), ..page(&format!("https://api.example{path}")) }
}

fn slice(each: &str) -> NewSlice {
    let params = json!({ "each": each }).as_object().expect("it is one").clone();
    NewSlice { source: SourceId(2), params, first: api_page(&format!("/{each}")), is_late: false }
}

fn found(slices: &[NewSlice]) -> Batch {
    Batch { slices: slices.to_vec(), now: T0, ..Batch::default() }
}

/// A page with as many records, the next page if there is one, and the newest value.
fn done(job: &Job, next: Option<&str>, records: u64, newest: Option<Value>) -> Settlement {
    let mut outcome = settle(job.id, JobMove::Done);
    outcome.next_page = next.map(|path| NextPage(NewJob { depth: job.depth + 1, ..api_page(path) }));
    outcome.walk = WalkNews { records, newest, ..WalkNews::default() };
    outcome
}

async fn started(slices: &[NewSlice]) -> (Folder, SqliteStore) {
    let folder = Folder::new();
    let store = folder.open().await;
    begin(&store).await;
    commit(&store, &found(slices)).await;
    (folder, store)
}

async fn ready(store: &SqliteStore) -> Vec<Job> {
    refill(store, HOST, T0).await.ready.into_iter().map(|loaded| loaded.job).collect()
}

/// One line a slice: its state, walk, restarts, pages, records, mark.
async fn slices(store: &SqliteStore) -> Vec<String> {
    store
        .texts(
            "SELECT json_extract(params, '$.each') || ' ' || \
                iif(state = 0, 'walking', iif(state = 1, 'complete', 'failed: ' || reason)) || ' walk ' || walk || \
                ' restarts ' || restarts || ' pages ' || n_pages || ' records ' || n_records || ' mark ' || coalesce(mark, '-') \
             FROM slices ORDER BY slice_id",
        )
        .await
}

/// Open and failed slices of the stream as its counters have them.
async fn counters(store: &SqliteStore) -> Vec<i64> {
    let mut counters = store.numbers("SELECT n_slices_open FROM sources WHERE source_id = 2").await;
    counters.extend(store.numbers("SELECT n_slices_failed FROM sources WHERE source_id = 2").await);
    let recount = store.numbers("SELECT count(*) FROM slices WHERE state = 0").await;
    assert_eq!(counters[..1], recount, "the counter of open slices is their count");
    counters
}

#[tokio::test]
async fn a_slice_is_complete_with_its_last_page() {
    let (_folder, store) = started(&[slice("a"), slice("b")]).await;
    assert_eq!(counters(&store).await, [2, 0]);
    let jobs = ready(&store).await;
    assert_eq!(jobs.iter().map(|job| job.url.path()).collect::<Vec<_>>(), ["/a", "/b"]);
    let walk = jobs[0].walk.as_ref().expect("it is a page of a slice");
    assert_eq!((walk.number, walk.params["each"].clone(), walk.mark.clone()), (1, json!("a"), None));

    commit(&store, &settlements(vec![done(&jobs[0], Some("/a?2"), 3, Some(json!(5)))])).await;
    assert_eq!(slices(&store).await[0], "a walking walk 1 restarts 0 pages 1 records 3 mark -");
    let second = ready(&store).await.into_iter().find(|job| job.url.query() == Some("2")).expect("the next page");
    assert_eq!(second.walk.as_ref().map(|walk| walk.records), Some(3));
    commit(&store, &settlements(vec![done(&second, None, 2, Some(json!(4)))])).await;
    assert_eq!(slices(&store).await[0], "a complete walk 1 restarts 0 pages 2 records 5 mark 5");
    assert_eq!(counters(&store).await, [1, 0]);
}

#[tokio::test]
async fn a_slice_fails_with_its_page_and_keeps_its_mark() {
    let (_folder, store) = started(&[slice("a")]).await;
    let jobs = ready(&store).await;
    commit(&store, &settlements(vec![done(&jobs[0], Some("/a?2"), 3, Some(json!(5)))])).await;
    let jobs = ready(&store).await;
    commit(&store, &settlements(vec![settle(jobs[0].id, JobMove::Dead("answered 500".into()))])).await;
    assert_eq!(slices(&store).await, ["a failed: answered 500 walk 1 restarts 0 pages 1 records 3 mark -"]);
    assert_eq!(counters(&store).await, [0, 1]);
}

#[tokio::test]
async fn records_in_order_move_the_mark_with_every_page() {
    let (_folder, store) = started(&[slice("a")]).await;
    let jobs = ready(&store).await;
    let mut outcome = done(&jobs[0], Some("/a?2"), 3, Some(json!("2024-01-02T00:00:00Z")));
    outcome.walk.in_order = true;
    commit(&store, &settlements(vec![outcome])).await;
    assert_eq!(slices(&store).await, ["a walking walk 1 restarts 0 pages 1 records 3 mark \"2024-01-02T00:00:00Z\""]);
}

#[tokio::test]
async fn one_request_of_two_slices_is_two_jobs() {
    let mut other = slice("b");
    other.first = api_page("/a");
    let (_folder, store) = started(&[slice("a"), other]).await;
    assert_eq!(ready(&store).await.len(), 2);
}

#[tokio::test]
async fn a_slice_that_is_named_again_changes_nothing_within_its_pull() {
    let (_folder, store) = started(&[slice("a"), slice("a")]).await;
    let jobs = ready(&store).await;
    assert_eq!(jobs.len(), 1);
    commit(&store, &settlements(vec![done(&jobs[0], None, 1, None)])).await;
    commit(&store, &found(&[slice("a")])).await;
    assert!(ready(&store).await.is_empty());
    assert_eq!(slices(&store).await, ["a complete walk 1 restarts 0 pages 1 records 1 mark -"]);
}

/// The slice `a`, of which the first records came elsewhere.
fn late(path: &str) -> NewSlice {
    NewSlice { first: api_page(path), is_late: true, ..slice("a") }
}

#[tokio::test]
async fn a_late_slice_joins_no_walk_of_its_pull() {
    let (_folder, store) = started(&[late("/a?after=2")]).await;
    let jobs = ready(&store).await;
    commit(&store, &found(&[late("/a?after=4")])).await;
    assert_eq!(ready(&store).await, jobs, "the walk that is on brings all that");
    commit(&store, &settlements(vec![done(&jobs[0], None, 1, None)])).await;
    commit(&store, &found(&[late("/a?after=5"), late("/a")])).await;
    assert!(ready(&store).await.is_empty(), "and so did the one that is over");
}

#[tokio::test]
async fn a_late_slice_begins_again_with_the_first_page_of_its_own_pull() {
    let (_folder, store) = started(&[]).await;
    let pull = |path: &str| Batch {
        pulls: vec![PullStep::Begin { source: SourceId(2), full: true }],
        slices: vec![late(path)],
        now: T0,
        ..Batch::default()
    };
    for path in ["/a?after=2", "/a?after=3", "/a?after=2"] {
        commit(&store, &pull(path)).await;
        let job = ready(&store).await.remove(0);
        assert_eq!(job.url.as_str(), format!("https://api.example{path}"));
        commit(&store, &settlements(vec![done(&job, Some(&format!("{path}&on")), 1, None)])).await;
        let job = ready(&store).await.remove(0);
        let mut expired = settle(job.id, JobMove::Skipped("expired".to_owned()));
        expired.walk.restart = Some("expired".to_owned());
        commit(&store, &settlements(vec![expired])).await;
        let again = ready(&store).await.remove(0);
        assert_eq!(again.url.as_str(), format!("https://api.example{path}"));
        commit(&store, &settlements(vec![done(&again, None, 1, None)])).await;
    }
}

#[tokio::test]
async fn records_of_another_stream_come_with_those_of_a_page() {
    let (_folder, store) = started(&[slice("a")]).await;
    let job = ready(&store).await.remove(0);
    let mut outcome = done(&job, None, 1, None);
    outcome.items = vec![item("issue")];
    outcome.nested = vec![(SourceId(1), vec![item("comment"), item("other")])];
    assert_eq!(commit(&store, &settlements(vec![outcome])).await.items_new, 3);
    let rows =
        store.texts("SELECT source_id || ' ' || (data ->> 'name') || ' ' || pull FROM items ORDER BY item_id").await;
    assert_eq!(rows, ["2 issue 1", "1 comment 1", "1 other 1"]);
    assert_eq!(store.numbers("SELECT n_items FROM sources ORDER BY source_id").await, [2, 1]);
}

#[tokio::test]
async fn a_new_pull_walks_a_slice_once_more_through_the_same_jobs() {
    let (_folder, store) = started(&[slice("a")]).await;
    let first = ready(&store).await;
    commit(&store, &settlements(vec![done(&first[0], Some("/a?2"), 3, Some(json!(5)))])).await;
    let second = ready(&store).await;
    commit(&store, &settlements(vec![done(&second[0], None, 2, None)])).await;

    let end = PullStep::End { source: SourceId(2) };
    commit(&store, &Batch { pulls: vec![end], now: T0, ..Batch::default() }).await;
    let begin_pull = || vec![PullStep::Begin { source: SourceId(2), full: false }];
    // The first pull of a stream that was never begun has the number of its row.
    commit(&store, &Batch { pulls: begin_pull(), now: T0, ..Batch::default() }).await;
    let ack = commit(&store, &Batch { pulls: begin_pull(), ..found(&[slice("a")]) }).await;
    assert_eq!(ack.slices[&SourceId(2)].opened, 1);
    assert_eq!(counters(&store).await, [1, 0]);
    let again = ready(&store).await;
    assert_eq!(again.iter().map(|job| job.id).collect::<Vec<_>>(), [first[0].id]);
    let walk = again[0].walk.as_ref().expect("it is a page of a slice");
    assert_eq!((walk.number, &walk.mark), (2, &Some(json!(5))));
    // The second page was fetched in an earlier walk: that is no circle.
    let ack = commit(&store, &settlements(vec![done(&again[0], Some("/a?2"), 3, Some(json!(9)))])).await;
    assert!(ack.circles.is_empty());
    let again = ready(&store).await;
    assert_eq!(again.iter().map(|job| job.id).collect::<Vec<_>>(), [second[0].id]);
    commit(&store, &settlements(vec![done(&again[0], None, 2, None)])).await;
    assert_eq!(slices(&store).await, ["a complete walk 2 restarts 0 pages 2 records 5 mark 9"]);
    assert_eq!(store.numbers("SELECT count(*) FROM jobs").await, [2], "the queue does not grow with the pulls");
    let counted = store.numbers("SELECT n_done FROM sources WHERE source_id = 2").await;
    assert_eq!(counted, store.numbers("SELECT count(*) FROM jobs WHERE state = 2").await);
    let counted = store.numbers("SELECT n_done FROM totals").await;
    assert_eq!(counted, store.numbers("SELECT count(*) FROM jobs WHERE state = 2").await);
}

#[tokio::test]
async fn a_pull_of_everything_forgets_the_mark() {
    let (_folder, store) = started(&[slice("a")]).await;
    let pull = |full| PullStep::Begin { source: SourceId(2), full };
    commit(&store, &Batch { pulls: vec![pull(true)], now: T0, ..Batch::default() }).await;
    let jobs = ready(&store).await;
    commit(&store, &settlements(vec![done(&jobs[0], None, 3, Some(json!(5)))])).await;
    for (full, mark) in [(false, Some(json!(5))), (true, None)] {
        commit(&store, &Batch { pulls: vec![pull(full)], ..found(&[slice("a")]) }).await;
        let jobs = ready(&store).await;
        assert_eq!(jobs[0].walk.as_ref().map(|walk| walk.mark.clone()), Some(mark), "full: {full}");
        commit(&store, &settlements(vec![done(&jobs[0], None, 3, None)])).await;
    }
    assert_eq!(store.numbers("SELECT pull FROM sources WHERE source_id = 2").await, [3]);
}

#[tokio::test]
async fn a_walk_that_goes_in_a_circle_fails_its_slice() {
    let (_folder, store) = started(&[slice("a")]).await;
    let jobs = ready(&store).await;
    commit(&store, &settlements(vec![done(&jobs[0], Some("/a?2"), 1, None)])).await;
    let jobs = ready(&store).await;
    let mut outcome = done(&jobs[0], Some("/a"), 1, None);
    outcome.items = vec![item("kept")];
    let ack = commit(&store, &settlements(vec![outcome])).await;
    assert_eq!((ack.circles, ack.items_new), (vec![jobs[0].id], 1));
    assert_eq!(counters(&store).await, [0, 1]);
    assert!(slices(&store).await[0].starts_with("a failed: its next page was fetched before"));
}

#[tokio::test]
async fn a_walk_that_begins_again_fetches_its_pages_once_more() {
    let (_folder, store) = started(&[slice("a")]).await;
    let first = ready(&store).await;
    commit(&store, &settlements(vec![done(&first[0], Some("/a?2"), 3, Some(json!(7)))])).await;
    let second = ready(&store).await;
    let mut expired = settle(second[0].id, JobMove::Skipped("its cursor has expired".into()));
    expired.walk.restart = Some("answered 410 to a cursor".into());
    commit(&store, &settlements(vec![expired])).await;
    assert_eq!(slices(&store).await, ["a walking walk 2 restarts 1 pages 0 records 0 mark -"]);
    assert_eq!(counters(&store).await, [1, 0]);
    let again = ready(&store).await;
    assert_eq!(again.iter().map(|job| job.id).collect::<Vec<_>>(), [first[0].id]);
    commit(&store, &settlements(vec![done(&again[0], Some("/a?2"), 3, None)])).await;
    let again = ready(&store).await;
    assert_eq!(again.iter().map(|job| job.id).collect::<Vec<_>>(), [second[0].id]);
    commit(&store, &settlements(vec![done(&again[0], None, 1, None)])).await;
    assert_eq!(slices(&store).await, ["a complete walk 2 restarts 1 pages 2 records 4 mark -"]);
}

#[tokio::test]
async fn records_make_slices_and_a_window_its_halves_in_the_commit_of_their_page() {
    let (_folder, store) = started(&[slice("a")]).await;
    let jobs = ready(&store).await;
    let mut outcome = done(&jobs[0], None, 2, None);
    outcome.slices = vec![slice("x"), slice("y"), slice("x")];
    commit(&store, &settlements(vec![outcome])).await;
    assert_eq!(counters(&store).await, [2, 0]);
    assert_eq!(ready(&store).await.len(), 2);
    let found: Vec<String> = slices(&store).await;
    assert_eq!(found[1..], ["x", "y"].map(|each| format!("{each} walking walk 1 restarts 0 pages 0 records 0 mark -")));
}

#[tokio::test]
async fn a_slice_of_no_stream_is_left_out_and_the_rest_is_stored() {
    let (_folder, store) = started(&[]).await;
    let lost = NewSlice { source: SourceId(99), ..slice("lost") };
    commit(&store, &found(&[slice("a"), lost, slice("b")])).await;
    assert_eq!(ready(&store).await.len(), 2);
    assert_eq!(store.numbers("SELECT count(*) FROM events WHERE what = 'isolated'").await, [1]);
}

/// Answers the only page that is ready with these records and a next page.
async fn go_on(store: &SqliteStore, next: Option<&str>, names: &[&str]) {
    let jobs = ready(store).await;
    let mut outcome = done(&jobs[0], next, names.len() as u64, None);
    outcome.items = names.iter().map(|name| item(name)).collect();
    commit(store, &settlements(vec![outcome])).await;
}

#[tokio::test]
async fn three_pages_in_a_row_that_bring_nothing_end_the_walk() {
    let (_folder, store) = started(&[slice("a")]).await;
    go_on(&store, Some("/a?2"), &["x", "y"]).await;
    go_on(&store, Some("/a?3"), &["x", "y"]).await;
    go_on(&store, Some("/a?4"), &["y", "x"]).await;
    go_on(&store, Some("/a?5"), &["x", "new"]).await;
    assert_eq!(store.numbers("SELECT n_idle FROM slices").await, [0]);
    go_on(&store, Some("/a?6"), &["x"]).await;
    // A page without records says nothing either way.
    go_on(&store, Some("/a?7"), &[]).await;
    go_on(&store, Some("/a?8"), &["new"]).await;
    assert_eq!(counters(&store).await, [1, 0]);
    go_on(&store, Some("/a?9"), &["y"]).await;
    assert!(ready(&store).await.is_empty(), "its next page is not asked for");
    assert_eq!(counters(&store).await, [0, 1]);
    let told = slices(&store).await;
    assert!(told[0].starts_with("a failed: the last three pages had only records"), "{told:?}");
    assert_eq!(store.numbers("SELECT count(*) FROM events WHERE what = 'stalled'").await, [1]);
}

#[tokio::test]
async fn records_of_another_pull_walk_or_slice_are_no_stall() {
    let pages = ["/a?2", "/a?3", "/a?4", "/a?5"];
    let names = [["a", "b"], ["c", "d"], ["e", "f"], ["g", "h"]];
    let (_folder, store) = started(&[slice("a")]).await;
    for (next, names) in pages.iter().zip(&names) {
        go_on(&store, Some(next), names).await;
    }
    // The cursor of the fifth page has expired: all is walked once more, and every record is known.
    let jobs = ready(&store).await;
    let mut expired = settle(jobs[0].id, JobMove::Skipped("its cursor has expired".into()));
    expired.walk.restart = Some("answered 410 to a cursor".into());
    commit(&store, &settlements(vec![expired])).await;
    for (next, names) in ["/a?12", "/a?13", "/a?14", "/a?15"].iter().zip(&names) {
        go_on(&store, Some(next), names).await;
    }
    go_on(&store, None, &["i"]).await;
    assert_eq!(slices(&store).await, ["a complete walk 2 restarts 1 pages 5 records 9 mark -"]);

    // So it is in the next pull,
    store.meddle("UPDATE sources SET pull = pull + 1").await;
    commit(&store, &found(&[slice("a")])).await;
    for (next, names) in pages.iter().zip(&names) {
        go_on(&store, Some(next), names).await;
    }
    go_on(&store, None, &["i"]).await;
    assert_eq!(slices(&store).await, ["a complete walk 3 restarts 0 pages 5 records 9 mark -"]);

    // and for another slice with the same records.
    commit(&store, &found(&[slice("b")])).await;
    for (next, names) in ["/b?2", "/b?3", "/b?4", "/b?5"].iter().zip(&names) {
        go_on(&store, Some(next), names).await;
    }
    go_on(&store, None, &["i"]).await;
    assert_eq!(counters(&store).await, [0, 0]);
}

/// The only page that is ready has a part of the record `1`.
async fn part(store: &SqliteStore, next: Option<&str>, data: Value) {
    let jobs = ready(store).await;
    let mut outcome = done(&jobs[0], next, 1, None);
    outcome.walk.merge = Merge::Deep;
    outcome.items = vec![NewItem { key: ItemKey::of(b"1"), data }];
    commit(store, &settlements(vec![outcome])).await;
}

#[tokio::test]
async fn a_record_in_parts_is_added_up_within_a_pull_and_replaced_by_the_next() {
    let (_folder, store) = started(&[slice("a")]).await;
    let parts = [
        json!({"id": 1, "links": ["x"]}),
        json!({"id": 1, "links": ["y"], "categories": {"c": 1}}),
        json!({"id": 1, "categories": {"d": 2}}),
    ];
    for (next, data) in [Some("/a?2"), Some("/a?3"), None].into_iter().zip(&parts) {
        part(&store, next, data.clone()).await;
    }
    let whole = json!({"id": 1, "links": ["x", "y"], "categories": {"c": 1, "d": 2}});
    assert_eq!(store.texts("SELECT data FROM items").await, [whole.to_string()]);

    store.meddle("UPDATE sources SET pull = pull + 1").await;
    commit(&store, &found(&[slice("a")])).await;
    part(&store, Some("/a?2"), json!({"id": 1, "links": ["z"]})).await;
    assert_eq!(store.texts("SELECT data FROM items").await, [r#"{"id":1,"links":["z"]}"#]);
    // Parts that say nothing new are pages that bring nothing.
    for next in ["/a?3", "/a?4", "/a?5"] {
        part(&store, Some(next), json!({"id": 1, "links": ["z"]})).await;
    }
    assert!(ready(&store).await.is_empty());
    assert_eq!(counters(&store).await, [0, 1]);
}

#[tokio::test]
async fn a_walk_goes_on_with_a_page_that_is_retried_unless_it_has_begun_again() {
    let (_folder, store) = started(&[slice("a")]).await;
    let begin = || Batch { pulls: vec![PullStep::Begin { source: SourceId(2), full: true }], ..found(&[slice("a")]) };
    commit(&store, &begin()).await;
    let jobs = ready(&store).await;
    commit(&store, &settlements(vec![done(&jobs[0], Some("/a?2"), 3, Some(json!(5)))])).await;
    let second = ready(&store).await.remove(0);
    let died = settlements(vec![settle(second.id, JobMove::Dead("answered 401".into()))]);
    commit(&store, &died).await;
    let retry = Batch { retried: vec![second.id], now: T0, ..Batch::default() };
    let ack = commit(&store, &retry).await;
    assert_eq!(ack.slices[&SourceId(2)].opened, 1);
    assert_eq!(slices(&store).await, ["a walking walk 1 restarts 0 pages 1 records 3 mark -"]);
    assert_eq!(counters(&store).await, [1, 0]);
    let second = ready(&store).await.remove(0);
    assert_eq!(second.walk.as_ref().map(|walk| (walk.number, walk.records)), Some((1, 3)));
    commit(&store, &died).await;

    commit(&store, &begin()).await;
    assert_eq!(slices(&store).await, ["a walking walk 2 restarts 0 pages 0 records 0 mark -"]);
    assert!(commit(&store, &retry).await.hosts.is_empty(), "its walk is none any more");
    let jobs = ready(&store).await;
    assert_eq!(jobs.iter().map(|job| job.url.path()).collect::<Vec<_>>(), ["/a"]);
    assert_eq!(jobs[0].url.query(), None);
}
