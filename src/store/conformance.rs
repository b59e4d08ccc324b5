//! What every store must do, told only through its verbs: a second store runs the same facts.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::json;
use url::Url;

use super::*;
use crate::clock::Timestamp;
use crate::job::{ItemKey, Job, JobId, JobKind, NewItem, NewJob, Priority, SourceId};
use crate::throttle;

/// A place where a store lies: it can be opened again after the store was dropped.
pub(super) trait Place {
    type Store: Store;
    async fn open(&self) -> Self::Store;
}

pub(super) const T0: Timestamp = Timestamp(1_700_000_000_000);

pub(super) fn url(text: &str) -> Url {
    Url::parse(text).expect("a test address parses")
}

pub(super) fn page(text: &str) -> NewJob {
    NewJob::seed(url(text), JobKind::Page, SourceId(1))
}

/// A page that `parent` names.
pub(super) fn link(text: &str, parent: JobId) -> NewJob {
    NewJob { parent: Some(parent), depth: 1, private_ok: false, ..page(text) }
}

pub(super) fn settle(job_id: JobId, change: JobMove) -> Settlement {
    Settlement {
        attempt: Some(AttemptRecord {
            sent_at: T0,
            took_ms: 40,
            status: Some(200),
            outcome: "served",
            body_bytes: 1_000,
            retry_at: None,
            error: None,
        }),
        ..Settlement::bare(job_id, change)
    }
}

pub(super) fn item(name: &str) -> NewItem {
    NewItem { key: ItemKey::of(name.as_bytes()), data: json!({ "name": name }) }
}

pub(super) fn settlements(settlements: Vec<Settlement>) -> Batch {
    Batch { settlements, now: T0, ..Batch::default() }
}

pub(super) fn sources() -> Vec<SourceName> {
    vec![
        SourceName { kind: SourceKind::Site, name: "docs".into() },
        SourceName { kind: SourceKind::Api, name: "gh.issues".into() },
    ]
}

pub(super) async fn begin(store: &impl Store) -> OpenRun {
    store.begin_run(&sources(), T0).await.expect("a run begins")
}

/// A store with a run and these seeds; their jobs in the order of the store.
pub(super) async fn seeded<P: Place>(place: &P, seeds: &[NewJob]) -> (P::Store, Vec<Job>) {
    let store = place.open().await;
    begin(&store).await;
    let ack = store.add(seeds.to_vec(), T0).await.expect("seeds are added");
    let mut jobs = Vec::new();
    for host in ack.new_hosts {
        jobs.extend(ready(&store, host.host_id).await);
    }
    (store, jobs)
}

pub(super) async fn refill(store: &impl Store, host_id: crate::job::HostId, now: Timestamp) -> Refill {
    let request = RefillRequest { host_id, routes: Routes::All, after: None, limit: 1_000, now };
    store.refill(request).await.expect("jobs are read")
}

/// The ready jobs of a host.
pub(super) async fn ready(store: &impl Store, host_id: crate::job::HostId) -> Vec<Job> {
    refill(store, host_id, T0).await.ready.into_iter().map(|loaded| loaded.job).collect()
}

pub(super) async fn commit(store: &impl Store, batch: &Batch) -> Ack {
    store.commit(batch).await.expect("a batch is committed")
}

fn paths(jobs: &[Job]) -> Vec<&str> {
    jobs.iter().map(|job| job.url.path()).collect()
}

pub(super) async fn a_found_job_comes_back_whole(place: &impl Place) {
    let job = NewJob {
        kind: JobKind::ApiPage,
        source: SourceId(2),
        priority: Priority::SOON,
        redirects: vec![url("https://old.example/"), url("https://older.example/?q=%20")],
        ..page("https://example.org:8443/a%20b?x=1&y=%C3%A9")
    };
    let (_, jobs) = seeded(place, std::slice::from_ref(&job)).await;
    let [found] = jobs.as_slice() else { panic!("one job: {jobs:?}") };
    assert_eq!(found.url, job.url);
    assert_eq!((found.kind, found.source, found.depth), (job.kind, job.source, 0));
    assert_eq!((found.priority, found.attempt), (job.priority, 0));
    assert_eq!(found.redirects, job.redirects);
}

pub(super) async fn a_job_is_found_once_however_often_it_is_named(place: &impl Place) {
    let seeds = [page("https://example.org/a"), page("https://example.org/b"), page("https://example.org/a")];
    let (store, jobs) = seeded(place, &seeds).await;
    assert_eq!(paths(&jobs), ["/a", "/b"]);

    let mut outcome = settle(jobs[0].id, JobMove::Done);
    outcome.discovered = vec![link("https://example.org/b", jobs[0].id), link("https://example.org/c", jobs[0].id)];
    let ack = commit(&store, &settlements(vec![outcome])).await;
    let effects = ack.hosts[&jobs[0].id.host_id()];
    assert_eq!(effects.inserted, 1);
    assert_eq!(ack.found_by_source[&SourceId(1)], 1);

    drop(store);
    let store = place.open().await;
    begin(&store).await;
    let ack = store.add(seeds.to_vec(), T0).await.expect("seeds are added");
    assert!(ack.hosts.is_empty() && ack.new_hosts.is_empty(), "a second store knows them too: {ack:?}");
    assert_eq!(paths(&ready(&store, jobs[0].id.host_id()).await), ["/b", "/c"]);
}

pub(super) async fn one_address_of_two_streams_is_two_jobs(place: &impl Place) {
    let stream = |source| NewJob { kind: JobKind::ApiPage, source: SourceId(source), ..page("https://example.org/") };
    let (_, jobs) = seeded(place, &[stream(1), stream(2), page("https://example.org/")]).await;
    assert_eq!(jobs.len(), 3);
}

pub(super) async fn ready_jobs_come_by_priority_and_then_by_age(place: &impl Place) {
    let with = |path: &str, priority| NewJob { priority, ..page(&format!("https://example.org{path}")) };
    let seeds = [
        with("/late", Priority(9)),
        with("/1", Priority::NORMAL),
        with("/2", Priority::NORMAL),
        with("/r", Priority::FIRST),
    ];
    let (store, jobs) = seeded(place, &seeds).await;
    assert_eq!(paths(&jobs), ["/r", "/1", "/2", "/late"]);

    let after = Some(Rank { priority: jobs[1].priority, job_id: jobs[1].id });
    let request = RefillRequest { host_id: jobs[0].id.host_id(), routes: Routes::All, after, limit: 1, now: T0 };
    let next: Vec<Job> = store.refill(request).await.expect("reads").ready.into_iter().map(|l| l.job).collect();
    assert_eq!(paths(&next), ["/2"]);
}

pub(super) async fn a_refusal_moves_nothing_and_costs_no_attempt(place: &impl Place) {
    let (store, jobs) = seeded(place, &[page("https://example.org/")]).await;
    commit(&store, &settlements(vec![settle(jobs[0].id, JobMove::Stay)])).await;
    assert_eq!(ready(&store, jobs[0].id.host_id()).await, jobs);
}

pub(super) async fn a_failed_attempt_waits_until_it_is_due(place: &impl Place) {
    let (store, jobs) = seeded(place, &[page("https://example.org/a"), page("https://example.org/b")]).await;
    let host_id = jobs[0].id.host_id();
    let retry = |due_at| JobMove::Retry { due_at, reason: "503".into() };
    let ack = commit(
        &store,
        &settlements(vec![settle(jobs[0].id, retry(T0.plus_ms(9_000))), settle(jobs[1].id, retry(T0.plus_ms(5_000)))]),
    )
    .await;
    assert_eq!(ack.hosts[&host_id].first_due_at, Some(T0.plus_ms(5_000)));

    let early = refill(&store, host_id, T0).await;
    assert!(early.ready.is_empty() && early.due.is_empty());
    assert_eq!(early.next_due_at, Some(T0.plus_ms(5_000)));

    let later = refill(&store, host_id, T0.plus_ms(5_000)).await;
    assert_eq!(later.due.iter().map(|loaded| loaded.job.attempt).collect::<Vec<_>>(), [1]);
    assert_eq!(later.due[0].job.id, jobs[1].id);
    assert_eq!(later.next_due_at, Some(T0.plus_ms(9_000)));
}

pub(super) async fn an_outcome_of_a_settled_job_changes_nothing(place: &impl Place) {
    let (store, jobs) = seeded(place, &[page("https://example.org/")]).await;
    let host_id = jobs[0].id.host_id();
    let outcome = || {
        let mut outcome = settle(jobs[0].id, JobMove::Done);
        outcome.items = vec![item("one")];
        outcome
    };
    // Twice in one batch, and again in another, as after a retried commit.
    let mut second = outcome();
    second.items = vec![item("two")];
    second.discovered = vec![link("https://example.org/never", jobs[0].id), link("https://other.example/", jobs[0].id)];
    let batch = settlements(vec![outcome(), second]);
    let ack = commit(&store, &batch).await;
    assert_eq!(ack.items_new, 1);
    assert_eq!(ack.dropped.iter().map(|(position, _)| *position).collect::<Vec<_>>(), [1]);
    let again = commit(&store, &batch).await;
    assert_eq!((again.items_new, again.dropped.len()), (0, 2));
    assert!(again.new_hosts.is_empty());
    assert!(ready(&store, host_id).await.is_empty());
}

pub(super) async fn an_item_is_stored_once_however_often_it_comes(place: &impl Place) {
    let (store, jobs) = seeded(place, &[page("https://example.org/a"), page("https://example.org/b")]).await;
    let with = |job: &Job, names: &[&str]| {
        let mut outcome = settle(job.id, JobMove::Done);
        outcome.items = names.iter().map(|name| item(name)).collect();
        outcome
    };
    let ack = commit(&store, &settlements(vec![with(&jobs[0], &["x", "y", "x"])])).await;
    assert_eq!(ack.items_new, 2);
    let ack = commit(&store, &settlements(vec![with(&jobs[1], &["y", "z"])])).await;
    assert_eq!(ack.items_new, 1);
}

pub(super) async fn a_stream_that_goes_in_a_circle_ends_and_keeps_its_items(place: &impl Place) {
    let stream = |path: &str| NewJob {
        kind: JobKind::ApiPage,
        source: SourceId(2),
        ..page(&format!("https://api.example{path}"))
    };
    let (store, jobs) = seeded(place, &[stream("/?page=1")]).await;
    let host_id = jobs[0].id.host_id();
    let next = |job: &Job, path: &str, name: &str| {
        let mut outcome = settle(job.id, JobMove::Done);
        outcome.items = vec![item(name)];
        outcome.next_page = Some(NextPage(stream(path)));
        outcome
    };
    let ack = commit(&store, &settlements(vec![next(&jobs[0], "/?page=2", "first")])).await;
    assert!(ack.circles.is_empty());
    let second = ready(&store, host_id).await;
    let ack = commit(&store, &settlements(vec![next(&second[0], "/?page=1", "second")])).await;
    assert_eq!(ack.circles, [second[0].id]);
    assert_eq!(ack.items_new, 1);
    assert!(ready(&store, host_id).await.is_empty());
}

pub(super) async fn a_host_is_new_whenever_it_gets_its_first_open_job(place: &impl Place) {
    let (store, jobs) = seeded(place, &[page("https://a.example/"), page("https://b.example/")]).await;
    let (a, b) = (&jobs[0], &jobs[1]);
    commit(&store, &settlements(vec![settle(a.id, JobMove::Done)])).await;

    let mut outcome = settle(b.id, JobMove::Done);
    outcome.discovered = vec![link("https://a.example/2", b.id), link("https://b.example/2", b.id)];
    outcome.discovered.push(link("https://c.example/", b.id));
    let ack = commit(&store, &settlements(vec![outcome])).await;
    let mut new: Vec<_> = ack.new_hosts.iter().map(|host| (host.origin.as_str(), host.n_ready)).collect();
    new.sort_unstable();
    assert_eq!(new, [("https://a.example", 1), ("https://c.example", 1)], "b was never without an open job");
}

pub(super) async fn private_addresses_are_open_to_what_the_user_named(place: &impl Place) {
    let (store, jobs) = seeded(place, &[page("http://localhost/")]).await;
    let mut outcome = settle(jobs[0].id, JobMove::Done);
    outcome.discovered = vec![link("http://10.0.0.1/", jobs[0].id)];
    let ack = commit(&store, &settlements(vec![outcome])).await;
    assert!(!ack.new_hosts[0].private_ok, "a link opens no door");
    let host_id = ack.new_hosts[0].host_id;

    store.add(vec![page("http://10.0.0.1/named")], T0).await.expect("a seed is added");
    drop(store);
    let open = begin(&place.open().await).await;
    let host = open.hosts.iter().find(|host| host.host_id == host_id).expect("it has work");
    assert!(host.private_ok, "the user named it");
}

pub(super) async fn what_was_learned_about_a_host_comes_back(place: &impl Place) {
    let (store, jobs) = seeded(place, &[page("https://example.org/a"), page("https://example.org/b")]).await;
    let host_id = jobs[0].id.host_id();
    let learned = |rate_per_s, not_before_at| HostLearned {
        host_id,
        not_before_at,
        not_before_why: Some("429".into()),
        words: None,
        seen_at: None,
        snapshot: Arc::new(throttle::Snapshot { rate_per_s, ..throttle::Snapshot::default() }),
        scopes: Vec::new(),
    };
    let robots = RobotsRecord {
        host_id,
        status: Some(200),
        body: "User-agent: *\nDisallow: /x\0\u{1f600}\"\\\n".into(),
        disallow_all: false,
        fetched_at: T0,
        expires_at: T0.plus_ms(86_400_000),
        headers: vec![("etag".into(), "\"1\"".into())],
    };
    let mut first = settle(jobs[0].id, JobMove::Stay);
    first.learned = Some(learned(1.0, T0.plus_ms(1)));
    first.robots = Some(RobotsStep::Said(robots.clone()));
    let mut second = settle(jobs[1].id, JobMove::Stay);
    second.learned = Some(learned(2.5, T0.plus_ms(60_000)));
    commit(&store, &settlements(vec![first, second])).await;

    drop(store);
    let open = begin(&place.open().await).await;
    let host = &open.hosts[0];
    assert_eq!(host.not_before_at, T0.plus_ms(60_000));
    assert_eq!(host.snapshot.as_ref().map(|snapshot| snapshot.rate_per_s), Some(2.5));
    assert_eq!(host.robots.as_ref(), Some(&robots));
    assert_eq!((host.n_ready, host.n_waiting), (2, 0));
}

pub(super) async fn a_robots_txt_that_is_confirmed_keeps_its_text_and_holds_longer(place: &impl Place) {
    let (store, jobs) = seeded(place, &[page("https://example.org/a")]).await;
    let host_id = jobs[0].id.host_id();
    let said = RobotsRecord {
        host_id,
        status: Some(200),
        body: "User-agent: *\nDisallow: /x".into(),
        disallow_all: false,
        fetched_at: T0,
        expires_at: T0.plus_ms(5),
        headers: vec![("etag".into(), "\"1\"".into())],
    };
    let (expires_at, headers) = (T0.plus_ms(9), vec![("etag".to_owned(), "W/\"1\"".to_owned())]);
    let confirmed = RobotsStep::Confirmed { host_id, headers: headers.clone(), expires_at };
    for step in [RobotsStep::Said(said.clone()), confirmed] {
        let mut outcome = settle(jobs[0].id, JobMove::Stay);
        outcome.robots = Some(step);
        commit(&store, &settlements(vec![outcome])).await;
    }
    drop(store);
    let open = begin(&place.open().await).await;
    assert_eq!(open.hosts[0].robots, Some(RobotsRecord { expires_at, headers, ..said }));
}

fn scope(name: &str, not_before_at: Timestamp, refused: u64) -> throttle::ScopeChange {
    let memory = throttle::ScopeMemory {
        name: name.into(),
        routes: vec!["/search".into(), "/a\"b".into()],
        not_before_at,
        not_before_why: Some("429".into()),
        refused_at: T0,
        refused,
        words: None,
        snapshot: throttle::Snapshot { rate_per_s: 0.5, ..throttle::Snapshot::default() },
    };
    throttle::ScopeChange { name: name.into(), memory: Some(memory) }
}

/// An outcome of a job that stays, with what it taught about narrow scopes.
fn taught(job_id: JobId, scopes: Vec<throttle::ScopeChange>) -> Settlement {
    let learned = HostLearned {
        host_id: job_id.host_id(),
        not_before_at: Timestamp::EPOCH,
        not_before_why: None,
        words: None,
        seen_at: None,
        snapshot: Arc::new(throttle::Snapshot::default()),
        scopes,
    };
    Settlement { learned: Some(learned), ..settle(job_id, JobMove::Stay) }
}

pub(super) async fn what_was_learned_about_narrow_scopes_comes_back(place: &impl Place) {
    let (store, jobs) = seeded(place, &[page("https://example.org/a"), page("https://b.example/")]).await;
    let (a, b) = (jobs[0].id, jobs[1].id);
    let search = scope("/search", T0.plus_ms(60_000), 4);
    let batch = vec![
        taught(a, vec![scope("/search", T0.plus_ms(1), 3), scope("resource x", Timestamp::EPOCH, 1)]),
        taught(b, vec![scope("/other", Timestamp::EPOCH, 2)]),
        taught(a, vec![search.clone()]),
    ];
    commit(&store, &settlements(batch)).await;
    // Joined with the host again; one that is gone already is no error.
    let gone = |name: &str| throttle::ScopeChange { name: name.into(), memory: None };
    commit(&store, &settlements(vec![taught(a, vec![gone("resource x"), gone("never")])])).await;

    drop(store);
    let store = place.open().await;
    let open = begin(&store).await;
    let of = |job: JobId| open.hosts.iter().find(|host| host.host_id == job.host_id()).expect("it has work");
    assert_eq!(Some(&of(a).scopes[0]), search.memory.as_ref());
    assert_eq!(of(a).scopes.len(), 1);
    assert_eq!(of(b).scopes.iter().map(|scope| &*scope.name).collect::<Vec<_>>(), ["/other"]);

    // And with a host that gets work again in the midst of a run.
    commit(&store, &settlements(vec![settle(a, JobMove::Done)])).await;
    let ack = store.add(vec![page("https://example.org/b")], T0).await.expect("a seed is added");
    assert_eq!(Some(&ack.new_hosts[0].scopes[0]), search.memory.as_ref());
}

pub(super) async fn the_rest_of_a_host_is_read_past_any_number_of_jobs_of_a_narrow_scope(place: &impl Place) {
    let searches = (0..2_000).map(|i| page(&format!("https://example.org/search?q={i}")));
    let pages = ["/p/1", "/p/2", "/", "/find/x", "/p/3"].map(|path| page(&format!("https://example.org{path}")));
    let soon = NewJob { priority: Priority::SOON, ..page("https://example.org/search/soon") };
    let late = NewJob { priority: Priority(9), ..page("https://example.org/p/late") };
    let seeds: Vec<NewJob> = searches.chain(pages).chain([soon, late]).collect();
    let store = place.open().await;
    begin(&store).await;
    let ack = store.add(seeds, T0).await.expect("seeds are added");
    let host_id = ack.new_hosts[0].host_id;
    let routes = |names: &[&str]| -> Arc<[Box<str>]> { names.iter().map(|&name| name.into()).collect() };
    let ask = |routes, after| RefillRequest { host_id, routes, after, limit: 64, now: T0 };
    let read = async |request| store.refill(request).await.expect("jobs are read");
    let jobs = |refill: &Refill| -> Vec<Job> { refill.ready.iter().map(|loaded| loaded.job.clone()).collect() };

    let rest = Routes::Except(routes(&["/search", "/find"]));
    let refill = read(ask(rest.clone(), None)).await;
    assert_eq!(paths(&jobs(&refill)), ["/p/1", "/p/2", "/", "/p/3", "/p/late"]);
    assert!(!refill.more);
    let refill = read(ask(rest.clone(), refill.read_to)).await;
    assert!(refill.ready.is_empty() && !refill.more);

    // Each narrow scope has a queue of its own, in rank order.
    let mut after = None;
    let mut met = Vec::new();
    loop {
        let refill = read(ask(Routes::Only(routes(&["/find", "/search"])), after)).await;
        met.extend(jobs(&refill));
        after = refill.read_to.or(after);
        if !refill.more {
            break;
        }
    }
    assert_eq!(met.len(), 2_002);
    assert_eq!(
        (met[0].url.path(), met[1].url.query(), met[2_001].url.path()),
        ("/search/soon", Some("q=0"), "/find/x")
    );

    // The same of the jobs that back off.
    let retry = |due_at| JobMove::Retry { due_at, reason: "503".into() };
    let waiting = met.iter().skip(1).take(500).map(|job| settle(job.id, retry(T0)));
    let rest_jobs = jobs(&read(ask(rest.clone(), None)).await);
    let own = [(0, 0), (1, 5_000), (2, 9_000)]
        .map(|(index, ms): (usize, u64)| settle(rest_jobs[index].id, retry(T0.plus_ms(ms))));
    commit(&store, &settlements(waiting.chain(own).collect())).await;
    let refill = read(ask(rest.clone(), None)).await;
    assert_eq!(refill.due.iter().map(|loaded| loaded.job.id).collect::<Vec<_>>(), [rest_jobs[0].id]);
    assert_eq!(refill.next_due_at, Some(T0.plus_ms(5_000)));
    let refill = read(ask(Routes::Only(routes(&["/search"])), None)).await;
    assert_eq!((refill.due.len(), refill.next_due_at), (64, Some(T0)), "more of them are due");
    let refill = read(ask(Routes::Only(routes(&["/find"])), None)).await;
    assert_eq!((refill.due.len(), refill.next_due_at), (0, None));
}

pub(super) async fn a_clock_that_went_back_does_not_lengthen_an_embargo(place: &impl Place) {
    let (store, jobs) = seeded(place, &[page("https://example.org/a"), page("https://example.org/b")]).await;
    let host_id = jobs[0].id.host_id();
    let mut refused = settle(jobs[0].id, JobMove::Stay);
    refused.learned = Some(HostLearned {
        host_id,
        not_before_at: T0.plus_ms(30_000),
        not_before_why: None,
        words: None,
        seen_at: None,
        snapshot: Arc::new(throttle::Snapshot { not_before_at: T0.plus_ms(30_000), ..throttle::Snapshot::default() }),
        scopes: vec![scope("/search", T0.plus_ms(40_000), 1)],
    });
    let failed = settle(jobs[1].id, JobMove::Retry { due_at: T0.plus_ms(20_000), reason: "503".into() });
    commit(&store, &settlements(vec![refused, failed])).await;
    drop(store);

    let an_hour_ago = Timestamp(T0.0 - 3_600_000);
    let store = place.open().await;
    let open = store.begin_run(&sources(), an_hour_ago).await.expect("a run begins");
    assert_eq!(open.hosts[0].not_before_at, an_hour_ago.plus_ms(30_000));
    let snapshot = open.hosts[0].snapshot.as_ref().expect("it was stored");
    assert_eq!(snapshot.not_before_at, an_hour_ago.plus_ms(30_000));
    assert_eq!(open.hosts[0].scopes[0].not_before_at, an_hour_ago.plus_ms(40_000));
    assert_eq!(open.hosts[0].next_due_at, Some(an_hour_ago.plus_ms(20_000)));
}

pub(super) async fn a_job_that_kills_the_process_ten_times_is_given_up(place: &impl Place) {
    let (mut store, jobs) = seeded(place, &[page("https://example.org/bomb"), page("https://example.org/b")]).await;
    let bomb = jobs[0].id;
    for death in 1..=10 {
        commit(&store, &Batch { sent: vec![(bomb, T0)], now: T0, ..Batch::default() }).await;
        drop(store);
        store = place.open().await;
        let open = begin(&store).await;
        assert!(open.unclean);
        assert_eq!(open.crashed_in_flight, 1);
        let left: Vec<_> = refill(&store, bomb.host_id(), T0).await.ready;
        if death < 10 {
            assert_eq!((left[0].job.id, left[0].crashes), (bomb, death));
        } else {
            assert_eq!(left.iter().map(|loaded| loaded.job.id).collect::<Vec<_>>(), [jobs[1].id]);
            assert_eq!(open.hosts[0].n_ready, 1);
        }
    }
}

pub(super) async fn a_settled_job_that_is_asked_for_again_is_ready_once_more(place: &impl Place) {
    let robots = NewJob {
        kind: JobKind::Robots,
        priority: Priority::FIRST,
        again: true,
        ..page("https://example.org/robots.txt")
    };
    let (store, jobs) = seeded(place, &[robots.clone(), page("https://example.org/a")]).await;
    let (job_id, host_id) = (jobs[0].id, jobs[0].id.host_id());
    // While it is open it is what it was.
    let again = |now| Batch { found: vec![robots.clone()], now, ..Batch::default() };
    assert_eq!(commit(&store, &again(T0)).await.hosts.get(&host_id), None);
    commit(&store, &settlements(vec![settle(job_id, JobMove::Done)])).await;
    assert_eq!(paths(&ready(&store, host_id).await), ["/a"]);

    let ack = commit(&store, &again(T0.plus_ms(86_400_000))).await;
    let rank = Rank { priority: Priority::FIRST, job_id };
    assert_eq!(ack.hosts[&host_id], HostAck { inserted: 1, first_rank: Some(rank), first_due_at: None });
    let open = ready(&store, host_id).await;
    assert_eq!((open[0].id, open.len()), (job_id, 2), "it is the same job");
    // A page is not fetched twice, however often it is found.
    commit(&store, &settlements(vec![settle(open[1].id, JobMove::Done)])).await;
    let found = vec![page("https://example.org/a")];
    assert!(commit(&store, &Batch { found, now: T0, ..Batch::default() }).await.hosts.is_empty());
}

pub(super) async fn what_was_given_up_is_ready_once_more_and_what_is_done_is_not(place: &impl Place) {
    let seeds: Vec<NewJob> =
        ["a", "b", "c", "d", "e"].map(|name| page(&format!("https://example.org/{name}"))).to_vec();
    let (store, jobs) = seeded(place, &seeds).await;
    let moves = [
        JobMove::Done,
        JobMove::Gone("answered 404".into()),
        JobMove::Dead("answered 400".into()),
        JobMove::Skipped("robots.txt".into()),
    ];
    let settled = jobs.iter().zip(moves).map(|(job, change)| settle(job.id, change)).collect();
    commit(&store, &settlements(settled)).await;
    let retried: Vec<JobId> = jobs.iter().chain(&jobs).map(|job| job.id).collect();
    let ack = commit(&store, &Batch { retried, now: T0, ..Batch::default() }).await;
    assert_eq!(ack.hosts[&jobs[0].id.host_id()].inserted, 3, "each once, and neither the open one nor the done one");
    let open = ready(&store, jobs[0].id.host_id()).await;
    assert_eq!(paths(&open), ["/b", "/c", "/d", "/e"]);
    assert!(open.iter().all(|job| job.attempt == 0), "with all its attempts");
}

pub(super) async fn what_is_in_the_inbox_is_taken_with_the_jobs_that_it_becomes(place: &impl Place) {
    let (store, _) = seeded(place, &[]).await;
    assert!(store.inbox(0, 10).await.expect("the inbox is read").is_empty());
    // Rows that are gone already are no error: two looks may have met the same one.
    let batch = Batch { found: vec![page("https://example.org/a")], taken: vec![1, 2], now: T0, ..Batch::default() };
    assert_eq!(commit(&store, &batch).await.found_by_source[&SourceId(1)], 1);
}

pub(super) async fn an_orderly_end_counts_no_crash(place: &impl Place) {
    let (store, jobs) = seeded(place, &[page("https://example.org/a"), page("https://example.org/b")]).await;
    let sent = jobs.iter().map(|job| (job.id, T0)).collect();
    let settled = vec![settle(jobs[0].id, JobMove::Done)];
    commit(&store, &Batch { sent, settlements: settled, now: T0, ..Batch::default() }).await;
    store.end_run(T0).await.expect("a run ends");
    drop(store);
    let open = begin(&place.open().await).await;
    assert!(!open.unclean);
    assert_eq!(open.crashed_in_flight, 0);
    assert_eq!(open.sources.iter().map(|source| source.n_done).collect::<Vec<_>>(), [1, 0]);
}

pub(super) async fn nothing_is_lost_when_the_process_dies(place: &impl Place) {
    let seeds: Vec<NewJob> = (0..50).map(|i| page(&format!("https://example.org/{i}"))).collect();
    let (store, jobs) = seeded(place, &seeds).await;
    commit(&store, &settlements(jobs[..20].iter().map(|job| settle(job.id, JobMove::Done)).collect())).await;
    drop(store);
    let store = place.open().await;
    let open = begin(&store).await;
    assert_eq!(open.hosts[0].n_ready, 30);
    assert_eq!(ready(&store, jobs[0].id.host_id()).await, jobs[20..]);
}

pub(super) async fn refill_reads_on_without_gap_or_double_while_others_commit(place: &impl Place) {
    let seed = |i: u16| NewJob {
        priority: Priority(u8::try_from(i % 3).expect("small")),
        ..page(&format!("https://example.org/{i}"))
    };
    let seeds: Vec<NewJob> = (0..1_000).map(seed).collect();
    let (store, jobs) = seeded(place, &seeds).await;
    let host_id = jobs[0].id.host_id();
    let (mut after, mut met) = (None, HashSet::new());
    loop {
        let request = RefillRequest { host_id, routes: Routes::All, after, limit: 64, now: T0 };
        let refill = store.refill(request).await.expect("jobs are read");
        let Some(last) = refill.ready.last() else { break };
        let rank = |job: &Job| Rank { priority: job.priority, job_id: job.id };
        assert!(refill.ready.is_sorted_by_key(|loaded| rank(&loaded.job)) && after < Some(rank(&refill.ready[0].job)));
        after = Some(rank(&last.job));
        for loaded in &refill.ready {
            assert!(met.insert(loaded.job.id), "{} came twice", loaded.job.id);
        }
        // Half of them are settled at once; their rows leave the index behind the reader.
        let settled = refill.ready.iter().step_by(2).map(|loaded| settle(loaded.job.id, JobMove::Done)).collect();
        commit(&store, &settlements(settled)).await;
    }
    assert_eq!(met.len(), 1_000);
}
