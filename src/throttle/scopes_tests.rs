//! Facts about the scopes of one host, against small servers whose limits cover some routes and not others.

mod web;

use crate::clock::Timestamp;

use super::resting::Slot;
use super::*;

use web::{Limit, RATE_MAX_PER_S, T0, Web, settings};

/// Five pages for each search.
const MIX: [&str; 6] = ["/search", "/p", "/p", "/p", "/p", "/p"];

#[test]
fn a_route_with_a_limit_of_its_own_is_set_apart_and_the_rest_of_its_host_goes_on() {
    for seed in 0..3 {
        let mut web = Web::new(&MIX, vec![Limit::new(&["/search"], 30, 60)], seed);
        web.run_s(600);
        assert_eq!(web.found().len(), 1, "seed {seed}: {:?}", web.refused);
        assert!(web.refused() <= 24, "seed {seed}: {:?}", web.refused);
        assert_eq!((web.too_early, web.refused.get("/p")), (0, None), "seed {seed}");
        // From the third window on at the latest, the pages have all the time there is.
        let passed = web.passed["/p"];
        web.run_s(60);
        assert!(
            web.passed["/p"] - passed >= 60 * RATE_MAX_PER_S * 9 / 10,
            "seed {seed}: {} pages in a minute",
            web.passed["/p"] - passed
        );
        assert_eq!(web.names(), ["/search"]);
    }
}

#[test]
fn a_limit_that_says_nothing_is_found_too() {
    for seed in 0..3 {
        let limit = Limit { announces: false, ..Limit::new(&["/search"], 30, 60) };
        let mut web = Web::new(&MIX, vec![limit], seed);
        web.run_s(300);
        assert_eq!(web.found().len(), 1, "seed {seed}: {:?}", web.refused);
        assert_eq!(web.refused.get("/p"), None, "seed {seed}");
    }
}

#[test]
fn routes_that_share_a_limit_are_not_set_apart() {
    for seed in 0..3 {
        for announces in [true, false] {
            let limit = Limit { announces, ..Limit::new(&["/search", "/p"], 100, 60) };
            let mut web = Web::new(&MIX, vec![limit], seed);
            web.run_s(600);
            assert_eq!(web.found().len(), 0, "seed {seed}, {announces}: {:?}", web.refused);
            assert_eq!(web.too_early, 0, "seed {seed}, {announces}");
        }
    }
}

#[test]
fn two_equal_routes_that_share_a_limit_are_not_set_apart() {
    for seed in 0..3 {
        let mut web = Web::new(&["/a", "/b"], vec![Limit::new(&["/a", "/b"], 50, 30)], seed);
        web.run_s(600);
        assert_eq!((web.found().len(), web.too_early), (0, 0), "seed {seed}: {:?}", web.refused);
    }
}

#[test]
fn two_routes_with_limits_of_their_own_are_both_set_apart() {
    for seed in 0..3 {
        let limits = vec![Limit::new(&["/search"], 30, 60), Limit::new(&["/find"], 20, 40)];
        let mut web = Web::new(&["/search", "/find", "/p", "/p", "/p", "/p", "/p", "/p"], limits, seed);
        web.run_s(600);
        assert_eq!(web.found().len(), 2, "seed {seed}: {:?}", web.refused);
        assert_eq!(web.refused.get("/p"), None, "seed {seed}");
    }
}

#[test]
fn a_resource_that_the_server_names_is_closed_alone_from_the_first_refusal_on() {
    let search = Limit { resource: Some("search"), ..Limit::new(&["/search"], 30, 60) };
    let core = Limit { resource: Some("core"), ..Limit::new(&["/p"], 1_000_000, 60) };
    let mut web = Web::new(&MIX, vec![search, core], 1);
    web.run_s(120);
    assert_eq!(web.names(), ["resource search"]);
    assert!(web.passed["/p"] >= 120 * RATE_MAX_PER_S * 9 / 10, "{:?}", web.passed);
    assert_eq!((web.too_early, web.refused.get("/p")), (0, None));
}

fn sent(scopes: &mut Scopes, route: &str, now: Timestamp) -> Permits {
    match scopes.admit(now, route) {
        Admission::Go(permits) => permits,
        other => panic!("{route} may not go: {other:?}"),
    }
}

fn hints(resource: Option<&str>, retry_at: Option<Timestamp>) -> Hints {
    Hints { resource: resource.map(Box::from), retry_at, ..Hints::default() }
}

#[test]
fn a_route_that_may_share_the_resource_that_is_closed_waits_with_it() {
    let mut dice = fastrand::Rng::with_seed(1);
    let mut scopes = Scopes::new(settings(), None, Vec::new(), T0);
    let mut now = T0;
    for (route, resource) in [("/search", Some("search")), ("/repos", Some("core")), ("", None)] {
        let permits = sent(&mut scopes, route, now);
        scopes.finish(permits, Asked { route, id: 1 }, &Feedback::Answered(hints(resource, None)), now, &mut dice);
        now = now.plus_ms(1_000);
    }
    let until = now.plus_ms(60_000);
    let permits = sent(&mut scopes, "/search", now);
    let refusal = Feedback::Refused(hints(Some("search"), Some(until)));
    scopes.finish(permits, Asked { route: "/search", id: 2 }, &refusal, now, &mut dice);
    now = now.plus_ms(1_000);
    let ready = |scopes: &mut Scopes, route: &str| scopes.ready(now, route) == Readiness::Now;
    assert!(ready(&mut scopes, "/repos") && ready(&mut scopes, ""));
    assert!(!ready(&mut scopes, "/search") && !ready(&mut scopes, "/users"), "nobody knows what /users is charged to");
    assert_eq!(scopes.embargo(now, "/users"), None, "it is no embargo of its own");
    assert!(scopes.ready(until.plus_ms(1_000), "/users") == Readiness::Now);
    // A refusal that reaches beyond its resource closes the host.
    let permits = sent(&mut scopes, "/repos", now);
    let refusal = Feedback::Refused(Hints { is_global: true, ..hints(Some("core"), Some(until)) });
    scopes.finish(permits, Asked { route: "/repos", id: 3 }, &refusal, now, &mut dice);
    assert!(scopes.host().embargo(now).is_some_and(|(at, _)| at >= until));
}

#[test]
fn a_resource_that_every_answer_names_is_the_host() {
    let mut web =
        Web::new(&["/a", "/b"], vec![Limit { resource: Some("core"), ..Limit::new(&["/a", "/b"], 50, 30) }], 1);
    web.run_s(300);
    assert_eq!((web.found().len(), web.too_early), (0, 0));
    assert!(web.scopes.host().snapshot(web.now).refused_at > T0);
}

#[test]
fn requests_that_were_in_flight_when_a_scope_was_found_belong_to_its_event() {
    let mut dice = fastrand::Rng::with_seed(1);
    let mut scopes = Scopes::new(Settings { concurrency: 8, ..settings() }, None, Vec::new(), T0);
    let mut now = T0;
    for route in ["/search", "/p"] {
        let permits = sent(&mut scopes, route, now);
        let answer = Feedback::Answered(hints(Some(&route[1..]), None));
        scopes.finish(permits, Asked { route, id: 1 }, &answer, now, &mut dice);
        now = now.plus_ms(1_000);
    }
    let mut out = Vec::new();
    for id in 2..6 {
        out.push((id, sent(&mut scopes, "/search", now)));
        now = now.plus_ms(1_000);
    }
    for (id, permits) in out {
        let refusal = Feedback::Refused(hints(Some("search"), Some(now.plus_ms(30_000))));
        scopes.finish(permits, Asked { route: "/search", id }, &refusal, now, &mut dice);
        now = now.plus_ms(1);
    }
    assert_eq!(scopes.host().embargo(now), None);
    assert_eq!((scopes.host().in_flight(), scopes.lanes().len()), (0, 1));
    assert!(scopes.embargo(now, "/search").is_some_and(|(at, _)| at >= now.plus_ms(29_999)));
    // One event: the next wait without a word is the second of its kind, not the fifth.
    let memory = scopes.take_changes(now).remove(0).memory.expect("it is there");
    assert_eq!((memory.refused, memory.snapshot.backoff_step), (4, 1));
}

#[test]
fn scopes_that_always_close_together_are_joined_and_the_longer_wait_holds_for_both() {
    let mut dice = fastrand::Rng::with_seed(1);
    // As after a false verdict: /a has a scope, and yet it shares the limit of the host.
    let memory = ScopeMemory {
        name: "/a".into(),
        routes: vec!["/a".into()],
        not_before_at: Timestamp::EPOCH,
        not_before_why: None,
        refused_at: T0,
        refused: 2,
        words: None,
        snapshot: Snapshot::default(),
    };
    let mut scopes = Scopes::new(settings(), None, vec![memory], T0);
    let mut now = T0;
    for time in 1..=3_u64 {
        assert!(scopes.lane_of("/a").is_some(), "{time}");
        for (route, wait_ms) in [("/a", 70_000), ("/b", 60_000)] {
            while scopes.ready(now, route) != Readiness::Now {
                now = now.plus_ms(10);
            }
            let permits = sent(&mut scopes, route, now);
            let refusal = Feedback::Refused(hints(None, Some(now.plus_ms(wait_ms))));
            now = now.plus_ms(30);
            scopes.finish(permits, Asked { route, id: time }, &refusal, now, &mut dice);
            now = now.plus_ms(10);
        }
        if time < 3 {
            now = now.plus_ms(80_000);
        }
    }
    assert!(scopes.lanes().iter().all(|lane| lane.scope.is_none()));
    let changes = scopes.take_changes(now);
    assert_eq!(changes, [ScopeChange { name: "/a".into(), memory: None }], "the store is told");
    assert!(scopes.host().embargo(now).is_some_and(|(at, _)| at.since_ms(now) > 69_000));
}

#[test]
fn a_request_that_is_refused_while_its_route_is_answered_is_to_blame_itself() {
    let mut dice = fastrand::Rng::with_seed(1);
    let mut scopes = Scopes::new(settings(), None, Vec::new(), T0);
    let mut now = T0;
    let mut blames = Vec::new();
    for round in 0..3 {
        for id in [7, 100 + round, 200 + round] {
            while !matches!(scopes.ready(now, "/items"), Readiness::Now) {
                now = now.plus_ms(50);
            }
            let permits = sent(&mut scopes, "/items", now);
            let feedback =
                if id == 7 { Feedback::Refused(hints(None, None)) } else { Feedback::Answered(hints(None, None)) };
            now = now.plus_ms(20);
            let blame = scopes.finish(permits, Asked { route: "/items", id }, &feedback, now, &mut dice);
            if id == 7 {
                blames.push(blame);
            }
        }
    }
    assert_eq!(blames, [Blame::Scope, Blame::ScopeAgain, Blame::Request]);
    assert_eq!(scopes.host().embargo(now), None, "the third closed nothing");
}

#[test]
fn a_host_with_one_route_has_nobody_to_compare_it_with() {
    for announces in [true, false] {
        let mut web = Web::new(&["/p"], vec![Limit { announces, ..Limit::new(&["/p"], 100, 10) }], 1);
        web.run_s(600);
        assert!(web.refused() > 0);
        assert_eq!(web.names(), [""; 0], "{announces}");
    }
}

#[test]
fn what_was_found_outlives_the_process() {
    let mut web = Web::new(&MIX, vec![Limit::new(&["/search"], 30, 60)], 3);
    while web.scopes.closed_by(web.now, "/search").is_none() {
        web.run_s(1);
    }
    let (at, why) = web.scopes.embargo(web.now, "/search").expect("its refusal said when");
    let (at, why) = (at, why.to_owned());
    assert_eq!(web.scopes.embargo(web.now, "/p"), None);
    let changes = web.scopes.take_changes(web.now);
    assert!(web.scopes.take_changes(web.now).is_empty(), "they are told once");
    let memories: Vec<ScopeMemory> = changes.into_iter().filter_map(|change| change.memory).collect();
    assert_eq!(memories[0].routes, [Box::from("/search")]);
    let again = Scopes::new(settings(), None, memories.clone(), web.now);
    assert_eq!(again.embargo(web.now, "/search"), Some((at, why.as_str())));
    assert_eq!(again.embargo(web.now, "/p"), None);
    let id = again.lane_of("/search").expect("it has one");
    assert_eq!(again.lanes(), [LaneOf { id, scope: Some("/search".into()), routes: vec!["/search".into()] }]);
    assert_eq!((again.closed_by(web.now, "/search"), again.closed_by(web.now, "/p")), (Some("/search"), None));
    // The column that a person may have changed counts, if it is later.
    let longer = ScopeMemory { not_before_at: at.plus_ms(5_000), ..memories[0].clone() };
    let again = Scopes::new(settings(), None, vec![longer], web.now);
    assert_eq!(again.embargo(web.now, "/search").map(|(at, _)| at), Some(at.plus_ms(5_000)));
    // Long after, it is forgotten, and the store is told.
    let mut again = Scopes::new(settings(), None, memories, web.now.plus_ms(8 * 24 * 3_600_000));
    assert!(again.lanes().is_empty());
    assert_eq!(again.take_changes(web.now), [ScopeChange { name: "/search".into(), memory: None }]);
}

#[test]
fn what_a_person_forgets_of_a_host_is_forgotten_of_its_parts_but_for_their_waits() {
    let snapshot = Snapshot { rate_per_s: 0.5, concurrency: 7.0, seen_at: T0, ..Snapshot::default() };
    let memory = ScopeMemory {
        name: "/a".into(),
        routes: vec!["/a".into()],
        not_before_at: T0.plus_ms(60_000),
        not_before_why: None,
        refused_at: T0,
        refused: 2,
        words: None,
        snapshot,
    };
    let mut scopes = Scopes::new(settings(), None, vec![memory], T0);
    assert!(scopes.take_changes(T0).is_empty());
    scopes.obey(&Order::Forget, T0);
    let changes = scopes.take_changes(T0);
    let memory = changes[0].memory.as_ref().expect("it is kept");
    assert_eq!((memory.not_before_at, memory.words.as_deref()), (T0.plus_ms(60_000), None));
    assert_eq!((memory.snapshot.rate_per_s, memory.snapshot.seen_at), (0.0, Timestamp::EPOCH));
}

#[test]
fn there_are_at_most_sixteen_and_the_idlest_makes_room() {
    let mut dice = fastrand::Rng::with_seed(1);
    let mut scopes = Scopes::new(settings(), None, Vec::new(), T0);
    let mut now = T0;
    for index in 0..40_u64 {
        let (route, resource) = (format!("/{index}"), format!("r{index}"));
        let permits = sent(&mut scopes, &route, now);
        let asked = Asked { route: &route, id: index };
        let mut answer = Feedback::Answered(hints(Some(&resource), None));
        if index > 0 {
            answer = Feedback::Refused(hints(Some(&resource), Some(now.plus_ms(1_000))));
        }
        scopes.finish(permits, asked, &answer, now, &mut dice);
        now = now.plus_ms(2_000);
    }
    assert_eq!(scopes.lanes().len(), 16);
    assert!(scopes.lane_of("/39").is_some() && scopes.lane_of("/1").is_none());
    let names: Vec<Box<str>> = scopes.take_changes(now).into_iter().map(|change| change.name).collect();
    assert_eq!(names.len(), 39, "those that are gone are told too");
}

/// What an answer says of a quota of ten a minute.
fn quota(resource: &str, remaining: u32, now: Timestamp) -> Hints {
    let fields = [
        ("x-ratelimit-limit", "10".to_owned()),
        ("x-ratelimit-remaining", remaining.to_string()),
        ("x-ratelimit-reset", "60".to_owned()),
        ("x-ratelimit-resource", resource.to_owned()),
    ];
    Hints::read(&crate::exchange::Headers::from_pairs(fields), now)
}

#[test]
fn the_declared_quota_of_a_resource_holds_for_its_routes_and_no_others() {
    let mut dice = fastrand::Rng::with_seed(1);
    let mut scopes = Scopes::new(settings(), None, Vec::new(), T0);
    let mut now = T0;
    for (route, resource, remaining) in
        [("/search", "search", 1), ("/p", "core", 9), ("/search", "search", 0), ("/p", "core", 8)]
    {
        let permits = sent(&mut scopes, route, now);
        let answer = Feedback::Answered(quota(resource, remaining, now));
        scopes.finish(permits, Asked { route, id: 1 }, &answer, now, &mut dice);
        now = now.plus_ms(1_000);
    }
    assert_eq!(scopes.host().embargo(now), None);
    assert_eq!(scopes.ready(now, "/p"), Readiness::Now);
    assert!(matches!(scopes.ready(now.plus_ms(50_000), "/search"), Readiness::NotBefore(_)));
    now = now.plus_ms(61_000);
    // Two are left, and both are in flight.
    let permits = sent(&mut scopes, "/search", now);
    let answer = Feedback::Answered(quota("search", 2, now));
    scopes.finish(permits, Asked { route: "/search", id: 2 }, &answer, now, &mut dice);
    let mut in_flight = Vec::new();
    for _ in 0..2_000 {
        now = now.plus_ms(10);
        if let Admission::Go(permits) = scopes.admit(now, "/search") {
            in_flight.push(permits);
        }
    }
    assert_eq!((in_flight.len(), scopes.ready(now, "/p")), (2, Readiness::Now));
}

#[test]
fn a_server_that_names_another_bucket_with_each_answer_grows_nothing_and_is_not_asked_within_its_waits() {
    let mut dice = fastrand::Rng::with_seed(1);
    let mut scopes = Scopes::new(settings(), None, Vec::new(), T0);
    let (mut now, mut gone) = (T0, 0);
    for index in 0..5_000_u64 {
        let (route, bucket) = (["/a", "/b", "/c"][dice.usize(..3)], format!("{:064}", dice.u64(..)));
        let retry_at = now.plus_ms(2_000);
        let permits = sent(&mut scopes, route, now);
        let is_refused = index % 3 > 0;
        let feedback = if is_refused {
            Feedback::Refused(hints(Some(&bucket), Some(retry_at)))
        } else {
            Feedback::Answered(hints(Some(&bucket), None))
        };
        scopes.finish(permits, Asked { route, id: index }, &feedback, now, &mut dice);
        if is_refused {
            assert!(scopes.embargo(now, route).is_some_and(|(at, _)| at >= retry_at), "{index}: {route}");
        }
        let changes = scopes.take_changes(now);
        gone += changes.iter().filter(|change| change.memory.is_none()).count();
        assert!(changes.len() <= 17 && scopes.lanes().len() <= 20, "{index}");
        while ["/a", "/b", "/c"].iter().any(|route| scopes.ready(now, route) != Readiness::Now) {
            now = now.plus_ms(100);
        }
    }
    assert!(gone <= 16, "they do not come and go: {gone}");
}

#[test]
fn a_host_without_narrow_scopes_pays_sixteen_bytes_for_them() {
    assert_eq!(size_of::<Scopes>(), size_of::<Slot>() + 16);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 16, ..Default::default() })]

    /// What a refusal announced holds for its route whatever is found out meanwhile, and nothing goes while any scope of it is
    /// closed: [`Web::fly`] and [`Web::back`] check it at each send and each answer.
    #[test]
    fn no_request_goes_within_an_announced_wait_of_its_route(
        seed in 0_u64..1_000_000,
        limits in proptest::collection::vec((1_usize..16, 1_u32..60, 1_u64..40, 0_u8..3, proptest::bool::ANY), 1..4),
        mix in proptest::collection::vec(0_usize..4, 4..9),
    ) {
        const ROUTES: [&str; 4] = ["/a", "/b", "/c", ""];
        let limits = limits.into_iter().map(|(covers, limit, window_s, resource, announces)| {
            let covers: Vec<&'static str> = (0..4).filter(|bit| covers >> bit & 1 == 1).map(|bit| ROUTES[bit]).collect();
            let resource = [None, Some("x"), Some("y")][usize::from(resource)];
            Limit { announces, resource, ..Limit::new(&covers, limit, window_s) }
        });
        let routes: Vec<&'static str> = mix.into_iter().map(|index| ROUTES[index]).collect();
        let mut web = Web::new(&routes, limits.collect(), seed);
        web.run_s(120);
        let in_flight = u32::try_from(web.in_flight.len()).unwrap_or(u32::MAX);
        proptest::prop_assert_eq!(web.scopes.host().in_flight(), in_flight);
    }
}
