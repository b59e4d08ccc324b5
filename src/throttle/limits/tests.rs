//! Facts about hosts that are asked by several tokens or proxies, against small servers in virtual time.

use std::collections::BTreeMap;

use super::*;

const T0: Timestamp = Timestamp(1_000_000_000);
const AUTH: AuthId = AuthId(0);

/// Far beyond all limits of these servers, so that nothing but them holds a request back.
fn settings() -> Settings {
    Settings { rate_max_per_s: None, concurrency_max: 64, ..Settings::default() }
}

fn tokens(count: usize) -> PoolOf {
    let members = (1..=count).map(|number| format!("api.a token {number}").into()).collect();
    PoolOf {
        kind: PoolKind::Tokens(AUTH),
        name: "api.a tokens".into(),
        members,
        marks: (1..=u16::try_from(count).expect("few")).collect(),
    }
}

fn proxies(names: &[&str]) -> PoolOf {
    let members = names.iter().map(|name| format!("proxy {name}").into()).collect();
    PoolOf { kind: PoolKind::Proxies, name: "proxies".into(), members, marks: Vec::new() }
}

/// What a server counts for one of those that ask it.
#[derive(Clone)]
enum Counter {
    Bucket { per_s: f64, burst: f64, left: f64, at: Timestamp },
    Window { count_max: u32, window_ms: u64, window: u64, used: u32 },
}

impl Counter {
    fn bucket(per_s: f64, burst: f64) -> Self {
        Self::Bucket { per_s, burst, left: burst, at: T0 }
    }

    fn window(count_max: u32, window_s: u64) -> Self {
        Self::Window { count_max, window_ms: window_s * 1_000, window: 0, used: 0 }
    }

    /// None when it lets a request pass; else the wait in ms.
    fn refuses(&mut self, now: Timestamp) -> Option<u64> {
        match self {
            Self::Bucket { per_s, burst, left, at } => {
                #[expect(clippy::cast_precision_loss, reason = "waits are short")]
                let spent_s = now.since_ms(*at) as f64 / 1_000.0;
                (*left, *at) = ((*left + spent_s * *per_s).min(*burst), now);
                if *left >= 1.0 {
                    *left -= 1.0;
                    return None;
                }
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below a second")]
                Some(((1.0 - *left) / *per_s * 1_000.0).ceil() as u64)
            }
            Self::Window { count_max, window_ms, window, used } => {
                let now_ms = now.0.unsigned_abs();
                if now_ms / *window_ms != *window {
                    (*window, *used) = (now_ms / *window_ms, 0);
                }
                *used += 1;
                (*used > *count_max).then(|| *window_ms - now_ms % *window_ms)
            }
        }
    }
}

/// A request on its way back.
struct Flight {
    id: u64,
    by: String,
    grant: Grant,
    feedback: Feedback,
}

/// A server, its client, and what came of it.
struct Web {
    limits: Limits,
    pools: Vec<PoolOf>,
    /// One for each name that the server tells those who ask apart by.
    counters: BTreeMap<String, Counter>,
    /// The name that the server has for who asks.
    known_as: fn(&Via) -> String,
    /// Whether a refusal says when to come back, in whole seconds.
    announces: bool,
    now: Timestamp,
    dice: fastrand::Rng,
    serial: u64,
    in_flight: BTreeMap<(Timestamp, u64), Flight>,
    passed: BTreeMap<String, u32>,
    refused: u32,
    /// Until when each member was told to wait.
    told: BTreeMap<String, Timestamp>,
    /// Requests that went although the name that the server has for them had been told to wait.
    too_early: u32,
}

impl Web {
    fn new(pools: Vec<PoolOf>, counters: &[(&str, Counter)], known_as: fn(&Via) -> String, seed: u64) -> Self {
        Self {
            limits: Limits::new(settings(), None, Vec::new(), &pools, T0),
            pools,
            counters: counters.iter().map(|(name, counter)| ((*name).to_owned(), counter.clone())).collect(),
            known_as,
            announces: true,
            now: T0,
            dice: fastrand::Rng::with_seed(seed),
            serial: 0,
            in_flight: BTreeMap::new(),
            passed: BTreeMap::new(),
            refused: 0,
            told: BTreeMap::new(),
            too_early: 0,
        }
    }

    fn run_s(&mut self, seconds: u64) {
        let end = self.now.plus_ms(seconds * 1_000);
        while self.now < end {
            let wake_at = self.send();
            let back_at = self.in_flight.keys().next().map(|(at, _)| *at);
            let next = wake_at.into_iter().chain(back_at).min().expect("something happens");
            assert!(next > self.now, "it stands still");
            self.now = next.min(end);
            while let Some(entry) = self.in_flight.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let flight = entry.remove();
                self.back(flight);
            }
        }
    }

    /// Sends all that may go; when to ask again.
    fn send(&mut self) -> Option<Timestamp> {
        loop {
            let by = Bearing { auth: Some(AUTH), rests_until: None };
            let grant = match self.limits.admit(self.now, "/p", &by) {
                Admission::Go(grant) => grant,
                Admission::NotBefore(at) => return Some(at),
                Admission::Full => return None,
            };
            self.serial += 1;
            let via = self.limits.via(&grant);
            let member = format!("{via:?}");
            let told = self.told.get(&member).copied().unwrap_or_default();
            assert!(self.now >= told, "{member} was told to wait");
            let arrives_at = self.now.plus_ms(self.dice.u64(5..15));
            let back_at = arrives_at.plus_ms(self.dice.u64(5..15));
            let known_as = (self.known_as)(&via);
            let wait_ms = self.counters.get_mut(&known_as).expect("everybody is counted").refuses(arrives_at);
            self.too_early += u32::from(self.told.get(&known_as).is_some_and(|&told| self.now < told));
            let feedback = match wait_ms {
                None => Feedback::Answered(Hints::default()),
                Some(wait_ms) => {
                    let retry_at = back_at.plus_ms(wait_ms.div_ceil(1_000) * 1_000);
                    Feedback::Refused(Hints { retry_at: self.announces.then_some(retry_at), ..Hints::default() })
                }
            };
            self.in_flight.insert((back_at, self.serial), Flight { id: self.serial, by: member, grant, feedback });
        }
    }

    fn back(&mut self, flight: Flight) {
        let Flight { id, by, grant, feedback } = flight;
        let known_as = (self.known_as)(&self.limits.via(&grant));
        self.limits.finish(grant, Asked { route: "/p", id }, &feedback, self.now, &mut self.dice);
        match &feedback {
            Feedback::Refused(hints) => {
                self.refused += 1;
                for name in [by, known_as] {
                    let told = self.told.entry(name).or_default();
                    *told = (*told).max(hints.retry_at.unwrap_or_default());
                }
            }
            _ => *self.passed.entry(by).or_default() += 1,
        }
    }

    /// The process dies and starts again with what it had written down.
    fn restart(&mut self) {
        let memories = self.memories();
        let snapshot = self.limits.host().snapshot(self.now);
        self.in_flight.clear();
        self.limits = Limits::new(settings(), Some(&snapshot), memories, &self.pools, self.now);
    }

    fn memories(&mut self) -> Vec<ScopeMemory> {
        self.limits.members_mut().for_each(|member| member.has_changed = true);
        self.limits.pools_mut().iter_mut().for_each(|pool| pool.sharing.has_changed = pool.sharing.is_shared());
        self.limits.take_changes(self.now).into_iter().filter_map(|change| change.memory).collect()
    }

    fn passed(&self) -> u32 {
        self.passed.values().sum()
    }

    /// Requests that pass in so many seconds.
    fn pass_in_s(&mut self, seconds: u64) -> u32 {
        let before = self.passed();
        self.run_s(seconds);
        self.passed() - before
    }

    fn limits_per_s(&self) -> Vec<f64> {
        let members = self.limits.pools().iter().flat_map(|pool| &pool.members);
        members.map(|member| member.scopes.host().snapshot(self.now).limit_per_s).collect()
    }
}

fn by_token(via: &Via) -> String {
    format!("token {}", via.token.expect("each request has one") + 1)
}

fn by_proxy(via: &Via) -> String {
    via.proxy.as_deref().expect("each request has one").to_owned()
}

fn by_host(_: &Via) -> String {
    "all".to_owned()
}

fn three(counter: &Counter) -> Vec<(&'static str, Counter)> {
    ["token 1", "token 2", "token 3"].into_iter().map(|name| (name, counter.clone())).collect()
}

#[test]
fn a_host_with_three_tokens_is_asked_three_times_as_fast() {
    // What 300 s of three times 10/s let pass at least. Of short windows, a token that is seldom needed is seldom measured.
    let cases =
        [(Counter::bucket(10.0, 20.0), 8_900), (Counter::window(300, 30), 8_600), (Counter::window(20, 2), 6_600)];
    for seed in 0..2 {
        for announces in [true, false] {
            for (counter, least) in &cases {
                let mut web = Web::new(vec![tokens(3)], &three(counter), by_token, seed);
                web.announces = announces;
                web.run_s(240);
                let refused = web.refused;
                let passed = web.pass_in_s(300);
                assert!(
                    passed >= *least,
                    "seed {seed}, {announces}, {least}: {passed} passed, {:?}",
                    web.limits_per_s()
                );
                assert!(web.refused - refused <= 60, "seed {seed}, {announces}: {refused}, then {}", web.refused);
                assert_eq!(web.too_early, 0);
            }
        }
    }
}

#[test]
fn proxies_with_different_limits_are_each_asked_as_fast_as_they_may() {
    for seed in 0..3 {
        for names in [["a:1", "b:1"], ["b:1", "a:1"]] {
            let counters = [("a:1", Counter::bucket(5.0, 5.0)), ("b:1", Counter::bucket(20.0, 20.0))];
            let mut web = Web::new(vec![proxies(&names)], &counters, by_proxy, seed);
            web.run_s(240);
            let passed = web.pass_in_s(300);
            assert!(passed >= 7_000, "seed {seed}: {passed} of 7500 passed");
            let mut found = web.limits_per_s();
            found.sort_by(f64::total_cmp);
            assert!((found[0] - 5.0).abs() < 0.25 && (found[1] - 20.0).abs() < 2.0, "seed {seed}: {found:?}");
            assert_eq!(web.too_early, 0);
        }
    }
}

#[test]
fn a_limit_of_the_host_is_found_in_spite_of_two_tokens() {
    for seed in 0..2 {
        for announces in [true, false] {
            for (counter, per_s) in
                [(Counter::bucket(10.0, 20.0), 10), (Counter::window(300, 30), 10), (Counter::bucket(50.0, 100.0), 50)]
            {
                let mut web = Web::new(vec![tokens(2)], &[("all", counter.clone())], by_host, seed);
                web.announces = announces;
                web.run_s(240);
                assert!(web.limits.pools()[0].sharing.is_shared(), "seed {seed}, {announces}, {per_s}/s");
                // That each token has a limit of its own is what a pool says; two refusals at once, and what was in flight, refute it.
                assert!(web.too_early <= 8, "seed {seed}, {announces}, {per_s}/s: {}", web.too_early);
                let early = web.too_early;
                let passed = web.pass_in_s(300);
                assert!(passed >= per_s * 300 * 98 / 100, "seed {seed}, {announces}, {per_s}/s: {passed} passed");
                assert_eq!(web.too_early, early, "it is known, and one refusal closes all");
            }
        }
    }
}

#[test]
fn what_is_known_of_each_member_outlives_the_process() {
    let mut web = Web::new(vec![tokens(3)], &three(&Counter::window(300, 30)), by_token, 1);
    for _ in 0..8 {
        web.run_s(37);
        // Each send is checked against what its token was told.
        web.restart();
    }
    let names: Vec<_> = web.memories().into_iter().map(|memory| memory.name).collect();
    assert_eq!(
        names.iter().map(|name| &**name).collect::<Vec<_>>(),
        ["api.a token 1", "api.a token 2", "api.a token 3"]
    );
    let passed = web.pass_in_s(120);
    assert!(passed >= 3_300, "{passed} of 3600 passed");

    let mut web = Web::new(vec![tokens(2)], &[("all", Counter::bucket(10.0, 20.0))], by_host, 1);
    web.run_s(120);
    web.restart();
    assert!(web.limits.pools()[0].sharing.is_shared());
    let shared = |memory: &ScopeMemory| (memory.name.to_string(), memory.words.clone());
    let told: Vec<_> = web.memories().iter().map(shared).collect();
    assert!(told.contains(&("api.a tokens".to_owned(), Some("all of them share one limit".to_owned()))), "{told:?}");
    let early = web.too_early;
    web.run_s(120);
    assert_eq!(web.too_early, early);
    // A person may say that it is not so.
    web.limits.obey(&Order::Forget, web.now);
    let gone: Vec<_> = web.limits.take_changes(web.now).into_iter().filter(|change| change.memory.is_none()).collect();
    assert_eq!(gone.iter().map(|change| &*change.name).collect::<Vec<_>>(), ["api.a tokens"]);
}

fn sent(limits: &mut Limits, now: Timestamp, by: &Bearing<'_>) -> Grant {
    match limits.admit(now, "/p", by) {
        Admission::Go(grant) => grant,
        other => panic!("it may go: {other:?}"),
    }
}

fn refused(limits: &mut Limits, grant: Grant, id: u64, now: Timestamp, wait_s: u64) {
    let hints = Hints { retry_at: Some(now.plus_ms(wait_s * 1_000)), ..Hints::default() };
    let feedback = Feedback::Refused(hints);
    limits.finish(grant, Asked { route: "/p", id }, &feedback, now, &mut fastrand::Rng::with_seed(1));
}

#[test]
fn a_token_that_is_spent_stops_neither_the_others_nor_what_goes_without() {
    let mut limits = Limits::new(settings(), None, Vec::new(), &[tokens(2)], T0);
    let by = Bearing { auth: Some(AUTH), rests_until: None };
    let grant = sent(&mut limits, T0, &by);
    assert_eq!(limits.via(&grant), Via { token: Some(0), proxy: None });
    refused(&mut limits, grant, 1, T0, 3_600);
    let mut now = T0.plus_ms(1_000);
    let grant = sent(&mut limits, now, &by);
    assert_eq!(limits.via(&grant).token, Some(1));
    assert_eq!((limits.embargo_of_all(now), limits.closed_until(now, "/p")), (None, None));
    // Another end of another wait: it is the second token's own.
    refused(&mut limits, grant, 2, now, 60);
    let until_at = limits.closed_until(now, "/p").expect("both are spent");
    assert!((60_000..62_000).contains(&until_at.since_ms(now)), "{until_at:?}");
    assert!(limits.is_held(now, "/p", Some(AUTH)) && !limits.is_held(now, "/p", None));
    let told: Vec<_> = limits.embargoes(now, "/p").map(|embargo| embargo.name.expect("they are tokens")).collect();
    assert_eq!(told, ["api.a token 1", "api.a token 2"]);
    now = now.plus_ms(1_000);
    let without = sent(&mut limits, now, &Bearing::default());
    assert_eq!(limits.via(&without), Via::default());
    now = until_at;
    let grant = sent(&mut limits, now, &by);
    assert_eq!(limits.via(&grant).token, Some(1));
}

#[test]
fn a_token_is_known_again_at_another_place_and_a_new_one_at_its_own_is_not_taken_for_it() {
    let pool = |marks: &[u16]| PoolOf { marks: marks.to_vec(), ..tokens(marks.len()) };
    let mut limits = Limits::new(settings(), None, Vec::new(), &[pool(&[7, 8, 9])], T0);
    let by = Bearing { auth: Some(AUTH), rests_until: None };
    let grant = sent(&mut limits, T0, &by);
    refused(&mut limits, grant, 1, T0, 3_600);
    let changes = limits.take_changes(T0);
    let memories: Vec<_> = changes.into_iter().filter_map(|change| change.memory).collect();
    let now = T0.plus_ms(1_000);
    let spent = |marks: &[u16]| {
        let mut limits = Limits::new(settings(), None, memories.clone(), &[pool(marks)], now);
        let names: Vec<_> = limits.embargoes(now, "/p").filter_map(|embargo| embargo.name).collect();
        let told: Vec<_> = limits.take_changes(now).into_iter().map(|change| change.name.to_string()).collect();
        (names.join(", "), told.join(", "))
    };
    let one = "api.a token 1".to_owned();
    assert_eq!(spent(&[7, 8, 9]), (one.clone(), String::new()));
    // It has moved, and the store is told at once.
    assert_eq!(spent(&[8, 7]).0, "api.a token 2");
    assert!(spent(&[8, 7]).1.contains("api.a token 2"));
    assert_eq!(spent(&[5, 6]).0, "", "both are new");
    assert_eq!(spent(&[7, 7]).0, "api.a token 1, api.a token 2", "it stands there twice");
}

#[test]
fn the_users_ceilings_hold_over_all_members() {
    let settings = Settings { rate_max_per_s: Some(2.0), ..settings() };
    let mut limits = Limits::new(settings, None, Vec::new(), &[tokens(5)], T0);
    limits.set_crawl_delay(None);
    let by = Bearing { auth: Some(AUTH), rests_until: None };
    let (mut now, mut count) = (T0, 0);
    while now < T0.plus_ms(10_000) {
        match limits.admit(now, "/p", &by) {
            Admission::Go(grant) => {
                count += 1;
                let answered = Feedback::Answered(Hints::default());
                let asked = Asked { route: "/p", id: count };
                limits.finish(grant, asked, &answered, now, &mut fastrand::Rng::with_seed(count));
            }
            Admission::NotBefore(at) => now = at,
            Admission::Full => unreachable!("nothing is in flight"),
        }
    }
    assert!((15..=21).contains(&count), "{count} in ten seconds");
}

#[test]
fn a_proxy_that_rests_is_not_used_and_its_limit_stays_its_own() {
    let mut limits = Limits::new(settings(), None, Vec::new(), &[proxies(&["a:1", "b:1"])], T0);
    let rests = |name: &str| (name == "a:1").then_some(T0.plus_ms(500));
    let grant = sent(&mut limits, T0, &Bearing { auth: None, rests_until: Some(&rests) });
    assert_eq!(limits.via(&grant).proxy.as_deref(), Some("b:1"));
    refused(&mut limits, grant, 1, T0, 60);
    let now = T0.plus_ms(400);
    let Admission::NotBefore(at) = limits.admit(now, "/p", &Bearing { auth: None, rests_until: Some(&rests) }) else {
        panic!("one rests, the other is closed")
    };
    assert_eq!(at, T0.plus_ms(500));
    let grant = sent(&mut limits, now, &Bearing::default());
    assert_eq!(limits.via(&grant).proxy.as_deref(), Some("a:1"));
}

#[test]
fn a_limit_of_all_tokens_is_that_of_the_proxy_they_go_by() {
    let pools = vec![tokens(2), proxies(&["a:1", "b:1"])];
    let counters = [("a:1", Counter::window(100, 20)), ("b:1", Counter::window(100, 20))];
    let mut web = Web::new(pools, &counters, by_proxy, 1);
    web.run_s(300);
    let shared: Vec<bool> = web.limits.pools().iter().map(|pool| pool.sharing.is_shared()).collect();
    assert_eq!(shared, [true, false]);
    let passed = web.pass_in_s(200);
    assert!(passed >= 1_600, "{passed} of 2000 passed");
}
