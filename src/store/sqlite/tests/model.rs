//! The store against a model that fits on a page: random batches and crashes, and the same states in both.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::Folder;
use crate::job::{Job, JobId, JobState};
use crate::store::conformance::{Place, T0, begin, commit, item, link, page, ready, refill, settle};
use crate::store::sqlite::SqliteStore;
use crate::store::{Batch, JobMove, Settlement, Store};

/// One step of a random crawl; numbers pick among what there is.
#[derive(Clone, Debug)]
enum Step {
    Commit { found: Vec<u8>, outcomes: Vec<(u8, u8, Vec<u8>)>, sent: Vec<u8> },
    Crash,
    Stop,
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = (any::<u8>(), 0_u8..7, prop::collection::vec(any::<u8>(), 0..4));
    let commit = (
        prop::collection::vec(any::<u8>(), 0..4),
        prop::collection::vec(outcome, 0..6),
        prop::collection::vec(any::<u8>(), 0..3),
    )
        .prop_map(|(found, outcomes, sent)| Step::Commit { found, outcomes, sent });
    prop_oneof![6 => commit, 1 => Just(Step::Crash), 1 => Just(Step::Stop)]
}

fn address(n: u8) -> String {
    // Three hosts, twenty pages each.
    format!("https://h{}.example/{}", n % 3, n / 3 % 20)
}

#[derive(Default)]
struct Model {
    /// state, attempt, crashes by address
    jobs: BTreeMap<String, (JobState, u32, u32)>,
    items: BTreeSet<String>,
    in_flight: BTreeSet<String>,
    requests: i64,
}

impl Model {
    fn find(&mut self, address: String) {
        self.jobs.entry(address).or_insert((JobState::Ready, 0, 0));
    }

    fn crash(&mut self) {
        for address in std::mem::take(&mut self.in_flight) {
            let job = self.jobs.get_mut(&address).expect("only jobs are sent");
            if job.0.is_open() {
                job.2 += 1;
                if job.2 >= 3 {
                    job.0 = JobState::Dead;
                }
            }
        }
    }
}

fn change(choice: u8) -> JobMove {
    match choice {
        0 | 1 => JobMove::Done,
        2 => JobMove::Gone("404".into()),
        3 => JobMove::Dead("no".into()),
        4 => JobMove::Skipped("robots".into()),
        5 => JobMove::Retry { due_at: T0, reason: "503".into() },
        _ => JobMove::Stay,
    }
}

async fn open_jobs(store: &SqliteStore) -> Vec<Job> {
    let mut jobs = Vec::new();
    for host in 1..=3 {
        let refill = refill(store, crate::job::HostId(host), T0).await;
        jobs.extend(refill.ready.into_iter().chain(refill.due).map(|loaded| loaded.job));
    }
    jobs.sort_by_key(|job| job.id);
    jobs
}

async fn run(steps: Vec<Step>) {
    let folder = Folder::new();
    let mut store = folder.open().await;
    begin(&store).await;
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Commit { found, outcomes, sent } => {
                let open = open_jobs(&store).await;
                let batch = batch(&mut model, &open, &found, &outcomes, &sent);
                let ack = commit(&store, &batch).await;
                assert!(ack.circles.is_empty());
            }
            Step::Crash => {
                drop(store);
                store = folder.open().await;
                begin(&store).await;
                model.crash();
            }
            Step::Stop => {
                store.end_run(T0).await.expect("a run ends");
                drop(store);
                store = folder.open().await;
                begin(&store).await;
                model.in_flight.clear();
            }
        }
        compare(&store, &model).await;
    }
}

/// A batch, and its effects on the model.
fn batch(model: &mut Model, open: &[Job], found: &[u8], outcomes: &[(u8, u8, Vec<u8>)], sent: &[u8]) -> Batch {
    let mut batch = Batch { now: T0, ..Batch::default() };
    let mut answered = BTreeSet::new();
    let pick = |n: u8| (!open.is_empty()).then(|| &open[usize::from(n) % open.len()]);
    for &n in found {
        batch.found.push(page(&address(n)));
        model.find(address(n));
    }
    for (n, choice, links) in outcomes {
        let Some(job) = pick(*n) else { continue };
        answered.insert(job.url.to_string());
        let mut outcome: Settlement = settle(job.id, change(*choice));
        outcome.items = vec![item(&address(*choice))];
        outcome.discovered = links.iter().map(|&n| link(&address(n), job.id)).collect();
        let state = model.jobs[job.url.as_str()].0;
        if state.is_open() {
            model.requests += 1;
            model.items.insert(address(*choice));
            let row = model.jobs.get_mut(job.url.as_str()).expect("it was read");
            match &outcome.change {
                JobMove::Done => row.0 = JobState::Done,
                JobMove::Gone(_) => row.0 = JobState::Gone,
                JobMove::Dead(_) => (row.0, row.1) = (JobState::Dead, row.1 + 1),
                JobMove::Skipped(_) => row.0 = JobState::Skipped,
                JobMove::Retry { .. } => (row.0, row.1) = (JobState::Waiting, row.1 + 1),
                JobMove::Stay => {}
            }
            for &n in links {
                model.find(address(n));
            }
        }
        model.in_flight.remove(job.url.as_str());
        batch.settlements.push(outcome);
    }
    for &n in sent {
        let Some(job) = pick(n) else { continue };
        batch.sent.push((job.id, T0));
        if !answered.contains(job.url.as_str()) {
            model.in_flight.insert(job.url.to_string());
        }
    }
    batch
}

async fn compare(store: &SqliteStore, model: &Model) {
    let found = store
        .texts(
            "SELECT h.origin || j.request || ' ' || j.state || ' ' || j.attempt || ' ' || j.crashes \
             FROM jobs AS j JOIN hosts AS h USING (host_id)",
        )
        .await;
    let expected: BTreeSet<String> = model
        .jobs
        .iter()
        .map(|(address, (state, attempt, crashes))| format!("{address} {} {attempt} {crashes}", state.code()))
        .collect();
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    let expected = i64::try_from(model.items.len()).expect("few");
    assert_eq!(store.numbers("SELECT count(*) FROM items").await, [expected], "no item is lost or doubled");
    assert_eq!(store.numbers("SELECT n_requests FROM totals").await, [model.requests]);
    assert_eq!(store.numbers("SELECT count(*) FROM attempts").await, [model.requests]);
    let expected = i64::try_from(model.in_flight.len()).expect("few");
    assert_eq!(store.numbers("SELECT count(*) FROM inflight").await, [expected]);
    recount(store).await;
}

/// The counters that the committer keeps are what a count of the rows gives.
pub(super) async fn recount(store: &SqliteStore) {
    let wrong = store
        .texts(
            "SELECT 'host ' || host_id FROM host_state AS s WHERE
                 (n_ready, n_waiting, n_done, n_gone, n_dead, n_skipped) IS NOT (
                     SELECT count(*) FILTER (WHERE state = 0), count(*) FILTER (WHERE state = 1),
                         count(*) FILTER (WHERE state = 2), count(*) FILTER (WHERE state = 3),
                         count(*) FILTER (WHERE state = 4), count(*) FILTER (WHERE state = 5)
                     FROM jobs AS j WHERE j.host_id = s.host_id)
                 OR seq IS NOT (SELECT count(*) FROM jobs AS j WHERE j.host_id = s.host_id)
             UNION ALL
             SELECT 'totals' FROM totals AS t WHERE
                 (n_ready, n_waiting, n_done, n_gone, n_dead, n_skipped, n_requests, n_items) IS NOT (
                     SELECT sum(n_ready), sum(n_waiting), sum(n_done), sum(n_gone), sum(n_dead), sum(n_skipped),
                         sum(n_requests), (SELECT count(*) FROM items)
                     FROM host_state HAVING count(*) > 0)
                 AND EXISTS (SELECT 1 FROM host_state)
             UNION ALL
             SELECT 'source ' || source_id FROM sources AS s WHERE (n_found, n_done, n_items) IS NOT (
                 SELECT count(*), count(*) FILTER (WHERE state = 2 AND kind = 0),
                     (SELECT count(*) FROM items AS i WHERE i.source_id = s.source_id)
                 FROM jobs AS j WHERE j.source_id = s.source_id)
             UNION ALL
             SELECT 'ticks' WHERE (SELECT (sum(done), sum(found), sum(items)) IS NOT (
                 (SELECT coalesce(sum(n_done), 0) FROM host_state), (SELECT count(*) FROM jobs), (SELECT count(*) FROM items))
                 FROM ticks HAVING count(*) > 0)",
        )
        .await;
    assert!(wrong.is_empty(), "counters are off: {wrong:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_random_crawl_with_crashes_ends_as_the_model_says(steps in prop::collection::vec(step(), 1..14)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        runtime.block_on(run(steps));
    }
}

#[tokio::test]
async fn counters_are_a_recount_after_circles_and_isolated_outcomes_too() {
    let folder = Folder::new();
    let store = folder.open().await;
    begin(&store).await;
    let ack = store.add((0..9).map(|n| page(&address(n * 3))).collect(), T0).await.expect("seeds");
    let jobs = ready(&store, ack.new_hosts[0].host_id).await;
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let mut circle = settle(ids[0], JobMove::Done);
    circle.next_page = Some(crate::store::NextPage(page(&address(3))));
    circle.items = vec![item("kept")];
    let mut bad = settle(ids[1], JobMove::Done);
    bad.attempt.as_mut().expect("it has one").status = Some(5);
    bad.items = vec![item("lost with its outcome")];
    let gone = settle(ids[2], JobMove::Gone("404".into()));
    let ack = commit(&store, &Batch { settlements: vec![circle, bad, gone], now: T0, ..Batch::default() }).await;
    assert_eq!((ack.circles.len(), ack.dropped.len(), ack.items_new), (1, 1, 1));
    assert_eq!(store.numbers("SELECT n_dead FROM totals").await, [2]);
    recount(&store).await;
}
