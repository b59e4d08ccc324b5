//! Facts about the dispatcher that a whole crawl shows only by chance: each drives it by hand, event by event.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use url::Url;

use super::plan::{Bounds, Plan, Source, StreamPlan};
use super::{Action, Dispatcher, Event, PullWishes, digest};
use crate::clock::Timestamp;
use crate::exchange::{BodyEnd, Fetched, Headers, NoProxies, Via};
use crate::interpret::StreamRules;
use crate::job::{HostId, Job, JobId, JobKind, Origin, Priority, SourceId};
use crate::policy::RetrySettings;
use crate::policy::cache::CacheSettings;
use crate::store::{Ack, HostAck, HostOrder, HostRow, JobMove, Loaded, Refill, Settlement};
use crate::throttle;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const HOST: HostId = HostId(1);

fn url(path: &str) -> Url {
    Url::parse(&format!("http://api.test{path}")).expect("a test address parses")
}

/// A plan without sections.
pub(super) fn bare_plan() -> Plan {
    Plan {
        sources: HashMap::new(),
        sites: Vec::new(),
        retry: RetrySettings::default(),
        redirects_max: 10,
        agent: "trundle".to_owned(),
        throttle_for: Box::new(|_| throttle::Settings {
            rate_max_per_s: None,
            concurrency: 8,
            ..throttle::Settings::default()
        }),
        profile_for: Box::new(|url| match throttle::Profile::named(url.query().unwrap_or_default()) {
            // A test names the provider in the query of its address.
            Some(profile) => throttle::ProfileChoice::Named(profile),
            None => throttle::ProfileChoice::Auto,
        }),
        wishes: PullWishes::default(),
        cache: CacheSettings::default(),
        sent_fields: Vec::new(),
        bounds: Bounds::default(),
    }
}

fn plan() -> Arc<Plan> {
    let first = url("/items");
    let origin = Origin::of(&first).expect("it has a host");
    let stream = StreamPlan::of_endpoint("items", first, origin, StreamRules::default());
    Arc::new(Plan { sources: HashMap::from([(SourceId(1), Source::Stream(Box::new(stream)))]), ..bare_plan() })
}

fn host() -> HostRow {
    HostRow {
        host_id: HOST,
        origin: Origin::of(&url("/")).expect("it has a host"),
        private_ok: false,
        paused: false,
        n_ready: 3,
        n_waiting: 0,
        next_due_at: None,
        not_before_at: Timestamp::EPOCH,
        snapshot: None,
        robots: None,
        scopes: Vec::new(),
    }
}

/// A dispatcher that knows one host with work, and whose first refill is asked for.
fn begun() -> (Arc<Plan>, Dispatcher) {
    let plan = plan();
    let mut dispatcher = Dispatcher::new(Arc::clone(&plan), Arc::new(NoProxies), &[], vec![host()], NOW, 1);
    let actions = dispatcher.step(NOW, Event::Seeded);
    assert_eq!(refills(&actions), 1);
    (plan, dispatcher)
}

fn loaded(seq: u32, crashes: u32) -> Loaded {
    let job = Job {
        id: JobId::new(HOST, seq),
        url: url(&format!("/items/{seq}")),
        extra: None,
        walk: None,
        batch: std::sync::Arc::default(),
        held: None,
        kind: JobKind::ApiPage,
        source: SourceId(1),
        depth: 0,
        priority: Priority::NORMAL,
        attempt: 0,
        redirects: Vec::new(),
    };
    Loaded { job, crashes, together_max: u32::MAX }
}

fn refilled(ready: Vec<Loaded>) -> Event {
    Event::Refilled { host_id: HOST, lane: None, refill: Refill { ready, ..Refill::default() } }
}

fn finished(plan: &Plan, loaded: &Loaded, status: u16, now: Timestamp) -> Event {
    finished_with(plan, loaded, status, "[]", now)
}

fn finished_with(plan: &Plan, loaded: &Loaded, status: u16, body: &'static str, now: Timestamp) -> Event {
    let answer = Fetched {
        url: loaded.job.url.clone(),
        status,
        headers: Headers::from_pairs([("content-type", "application/json")]),
        body: Bytes::from_static(body.as_bytes()),
        body_end: BodyEnd::Whole,
        via: Via::default(),
        sent_at: now,
        answered_at: now,
        finished_at: now,
    };
    let report = digest(plan, &loaded.job, &Ok(answer), false, now, now);
    Event::Finished { job_id: loaded.job.id, report: Box::new(report) }
}

fn committed(settlement: &Settlement, host_ack: HostAck) -> Event {
    let jobs = vec![(settlement.job_id, super::dispatcher::weight_bytes(settlement))];
    let ack = Ack { hosts: HashMap::from([(HOST, host_ack)]), ..Ack::default() };
    Event::Committed { jobs, awaited: 0, ack }
}

fn sent(actions: &[Action]) -> Vec<u32> {
    let job = |action: &Action| if let Action::Send { job, .. } = action { Some(job.id.seq()) } else { None };
    actions.iter().filter_map(job).collect()
}

fn refills(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::Refill { .. })).count()
}

fn settlement(actions: Vec<Action>) -> Settlement {
    let settled = |action| if let Action::Settle(settlement) = action { Some(*settlement) } else { None };
    actions.into_iter().find_map(settled).expect("the job is settled")
}

/// Steps until nothing more can be sent at this instant or soon after; what was sent.
fn run_for_a_second(dispatcher: &mut Dispatcher, from: Timestamp) -> Vec<u32> {
    let mut now = from;
    let mut all = Vec::new();
    while let Some(at) = dispatcher.wake_at().filter(|at| at.since_ms(from) < 1_000) {
        now = now.max(at);
        all.extend(sent(&dispatcher.step(now, Event::Tick)));
    }
    all
}

#[test]
fn a_suspect_goes_last_and_alone() {
    let (plan, mut dispatcher) = begun();
    let jobs = [loaded(0, 3), loaded(1, 0), loaded(2, 2)];
    let mut order = sent(&dispatcher.step(NOW, refilled(jobs.to_vec())));
    order.extend(run_for_a_second(&mut dispatcher, NOW));
    assert_eq!(order, [1, 2], "the suspect waits");
    let later = NOW.plus_ms(1_000);
    assert!(sent(&dispatcher.step(later, finished(&plan, &jobs[1], 200, later))).is_empty(), "one is still in flight");
    let mut order = sent(&dispatcher.step(later, finished(&plan, &jobs[2], 200, later)));
    order.extend(run_for_a_second(&mut dispatcher, later));
    assert_eq!(order, [0]);
    assert_eq!(dispatcher.in_flight(), 1);
    assert_eq!(dispatcher.wake_at(), None, "nothing goes beside it");
}

#[test]
fn a_200_that_refuses_closes_the_host_and_keeps_its_job_and_its_attempts() {
    let (plan, mut dispatcher) = begun();
    let mut first = loaded(1, 0);
    first.job.url.set_query(Some("shopify"));
    let actions = dispatcher.step(NOW, refilled(vec![first.clone()]));
    assert_eq!(sent(&actions), [1]);
    let body = "{\"errors\":[{\"message\":\"Throttled\",\"extensions\":{\"code\":\"THROTTLED\"}}]}";
    let event = finished_with(&plan, &first, 200, body, NOW);
    let settled = settlement(dispatcher.step(NOW, event));
    let attempt = settled.attempt.expect("it was sent");
    assert_eq!((settled.change, settled.response.is_none()), (JobMove::Stay, true));
    assert_eq!((attempt.outcome, attempt.status), ("refused", Some(200)));
    // The provider's two seconds, and no sooner.
    let learned = settled.learned.expect("a refusal teaches");
    assert!(learned.not_before_at >= NOW.plus_ms(2_000), "{:?}", learned.not_before_at);
    assert!(dispatcher.wake_at().is_some_and(|at| at >= NOW.plus_ms(2_000)));
}

#[test]
fn a_refill_that_is_older_than_an_acknowledgement_hands_nothing_out_twice() {
    let (plan, mut dispatcher) = begun();
    let job = loaded(0, 0);
    assert_eq!(sent(&dispatcher.step(NOW, refilled(vec![job.clone()]))), [0]);
    // New work is found elsewhere, so a refill starts, and reads the file before the job's end is in it.
    let found = HostAck { inserted: 1, first_rank: Some(rank(1)), first_due_at: None };
    let ack = Ack { hosts: HashMap::from([(HOST, found)]), ..Ack::default() };
    let later = NOW.plus_ms(500);
    assert_eq!(refills(&dispatcher.step(later, Event::Committed { jobs: Vec::new(), awaited: 0, ack })), 1);
    let settled = settlement(dispatcher.step(later, finished(&plan, &job, 200, later)));
    assert_eq!(settled.change, JobMove::Done);
    let _ = dispatcher.step(later, committed(&settled, HostAck::default()));
    let mut order = sent(&dispatcher.step(later, refilled(vec![job, loaded(1, 0)])));
    order.extend(run_for_a_second(&mut dispatcher, later));
    assert_eq!(order, [1]);
}

#[test]
fn a_due_time_that_is_committed_during_a_refill_is_not_forgotten() {
    let (plan, mut dispatcher) = begun();
    let job = loaded(0, 0);
    assert_eq!(sent(&dispatcher.step(NOW, refilled(vec![job.clone()]))), [0]);
    let later = NOW.plus_ms(500);
    let found = HostAck { inserted: 1, first_rank: Some(rank(1)), first_due_at: None };
    let ack = Ack { hosts: HashMap::from([(HOST, found)]), ..Ack::default() };
    assert_eq!(refills(&dispatcher.step(later, Event::Committed { jobs: Vec::new(), awaited: 0, ack })), 1);
    let settled = settlement(dispatcher.step(later, finished(&plan, &job, 500, later)));
    let JobMove::Retry { due_at, .. } = settled.change else { panic!("a 500 is tried again") };
    let _ = dispatcher.step(later, committed(&settled, HostAck { first_due_at: Some(due_at), ..HostAck::default() }));
    // The refill read the file before: it knows of no due time.
    let _ = dispatcher.step(later, refilled(Vec::new()));
    assert!(!dispatcher.is_finished());
    assert_eq!(dispatcher.wake_at(), Some(due_at));
    assert_eq!(refills(&dispatcher.step(due_at, Event::Tick)), 1);
    // While that refill runs there is nothing to look at: no event may come from time alone.
    assert_eq!(dispatcher.wake_at(), None);
}

fn rank(seq: u32) -> crate::store::Rank {
    crate::store::Rank { priority: Priority::NORMAL, job_id: JobId::new(HOST, seq) }
}

#[test]
fn what_a_person_says_of_a_host_wakes_it_and_a_refill_that_finds_it_at_rest_does_no_harm() {
    let (_, mut dispatcher) = begun();
    let later = NOW.plus_ms(3_600_000);
    // The store takes its time, and nothing was sent meanwhile.
    assert!(dispatcher.step(later, Event::Tick).is_empty());
    let said = throttle::Said { rate_per_s: 2.0, shape: throttle::Shape::Burst(1.0) };
    let order = HostOrder { host: host(), order: throttle::Order::Set(said) };
    let actions = dispatcher.step(later, Event::Ordered(7, Box::new(order)));
    let [Action::Obeyed(7, learned)] = actions.as_slice() else { panic!("it is obeyed: {actions:?}") };
    assert_eq!(learned.words.as_deref(), Some("token bucket, 2.00/s, burst 1, said by hand"));
    let much_later = later.plus_ms(3_600_000);
    assert!(dispatcher.step(much_later, Event::Tick).is_empty());
    assert_eq!(sent(&dispatcher.step(much_later, refilled(vec![loaded(0, 0), loaded(1, 0)]))), [0]);
}
