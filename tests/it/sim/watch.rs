//! What must hold at every step of every crawl, whatever the web does.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use trundle::clock::Timestamp;
use trundle::exchange::{Fetched, Headers};
use trundle::job::{Job, JobId, JobKind, Origin, route_of};
use trundle::store::{HostRow, JobMove, Refill, Settlement};
use trundle::throttle::ScopeMemory;

use super::scenario::CrawlSpec;

/// Jobs that a host may have in memory and not in flight: a ring that is refilled below a quarter, by at most a ring of ready
/// and a ring of due jobs; and a quarter of that for each queue of a narrow scope or of a route that is suspected to be one, of
/// which these webs have at most six.
const RING_MAX: usize = (64 / 4 + 2 * 64) + 6 * (64 / 4 / 4 + 2 * 64 / 4);
/// Settlements without a request in one turn of one host.
const LOCAL_MAX: usize = 64;

/// Watches one crawl over all its lives.
#[derive(Default)]
pub struct Watch {
    limits: CrawlSpec,
    hosts: HashMap<String, Seen>,
    /// The origin of each, and whose limit it is subject to.
    in_flight: HashMap<JobId, (String, String)>,
    /// Jobs that are settled on disk.
    settled: HashSet<JobId>,
    /// When pages were last answered, where they are fetched again.
    answered: HashMap<JobId, Timestamp>,
    uncommitted: HashMap<JobId, u32>,
    /// Routes with a limit of their own, by origin and path.
    parts: HashSet<String>,
    /// What the client was told, by origin, or by origin and path for those, or by origin and token or proxy where those are counted.
    told: BTreeMap<String, Told>,
}

/// Nothing before this.
#[derive(Clone, Default)]
struct Told {
    until: Timestamp,
    why: String,
    /// What of that must be on disk.
    on_disk: Timestamp,
}

/// What of the embargoes of a host a settlement takes to the disk.
pub type Promises = BTreeMap<String, Timestamp>;

/// What is known of one host from the outside.
#[derive(Default)]
struct Seen {
    in_flight: u32,
    sends: VecDeque<Timestamp>,
    crawl_delay_ms: Option<u64>,
    last_finished_at: Option<Timestamp>,
    /// Jobs that refills brought and that are not settled on disk.
    handed: HashSet<JobId>,
    /// When its last page or API page was answered, in all and by route.
    finished_at: Timestamp,
    part_finished_at: HashMap<String, Timestamp>,
}

pub fn origin_of(job: &Job) -> String {
    Origin::of(&job.url).expect("a job has an origin").as_str().to_owned()
}

impl Watch {
    pub fn new(limits: CrawlSpec, parts: HashSet<String>) -> Self {
        Self { limits, parts, ..Self::default() }
    }

    /// Whose limit a request is subject to, as in `told`.
    fn limit_of(&self, job: &Job, member: Option<String>) -> String {
        let origin = origin_of(job);
        if let Some(member) = member {
            return format!("{origin} {member}");
        }
        let part = format!("{origin}{}", job.url.path());
        if self.parts.contains(&part) { part } else { origin }
    }

    pub fn finished_at(&self, origin: &str) -> Timestamp {
        self.hosts.get(origin).map_or(Timestamp::EPOCH, |seen| seen.finished_at)
    }

    pub fn part_finished_at(&self, origin: &str, route: &str) -> Timestamp {
        let at = self.hosts.get(origin).and_then(|seen| seen.part_finished_at.get(route));
        at.copied().unwrap_or(Timestamp::EPOCH)
    }

    fn host(&mut self, origin: &str) -> &mut Seen {
        self.hosts.entry(origin.to_owned()).or_default()
    }

    /// A life starts with what the store has.
    pub fn on_start(&mut self, rows: &[HostRow], now: Timestamp) {
        self.in_flight.clear();
        self.uncommitted.clear();
        // An answer that was lost is asked for again at once.
        self.answered.retain(|id, _| self.settled.contains(id));
        for (name, told) in &mut self.told {
            let row = rows.iter().find(|row| name.starts_with(row.origin.as_str()));
            let stored = row.map_or(Timestamp::EPOCH, |row| {
                let path = &name[row.origin.as_str().len()..];
                let is_own = |scope: &&ScopeMemory| {
                    scope.routes.iter().any(|route| **route == *path) || path.strip_prefix(' ') == Some(&*scope.name)
                };
                let own = row.scopes.iter().filter(is_own);
                own.map(|scope| scope.not_before_at).fold(row.not_before_at, Timestamp::max)
            });
            assert!(
                row.is_none() || stored >= told.on_disk || now >= told.on_disk,
                "{name} promised {:?}, the store has {stored:?}",
                told.on_disk,
            );
            // What was heard and not committed is forgotten; what is on disk holds, whoever asked for it.
            *told = Told { until: stored, why: "the store's embargo".to_owned(), on_disk: told.on_disk };
        }
        for seen in self.hosts.values_mut() {
            let part_finished_at = std::mem::take(&mut seen.part_finished_at);
            *seen = Seen { finished_at: seen.finished_at, part_finished_at, ..Seen::default() };
        }
    }

    /// A request goes; `member` is the token or the proxy by which it is counted.
    pub fn on_send(&mut self, job: &Job, member: Option<String>, now: Timestamp) {
        let origin = origin_of(job);
        let limits = self.limits.clone();
        let name = self.limit_of(job, member);
        assert!(
            self.in_flight.insert(job.id, (origin.clone(), name.clone())).is_none(),
            "{} is in flight twice",
            job.url
        );
        if limits.days > 0 && job.kind == JobKind::Page {
            let since_ms = self.answered.get(&job.id).map_or(u64::MAX, |&at| now.since_ms(at));
            assert!(since_ms >= limits.min_every_s * 1_000, "{} is asked for again after {since_ms} ms", job.url);
            self.settled.remove(&job.id);
        }
        if job.kind == JobKind::Robots {
            // It was made ready once more.
            self.settled.remove(&job.id);
        }
        assert!(!self.settled.contains(&job.id), "{} is asked for again", job.url);
        assert!(self.in_flight.len() <= limits.in_flight_max, "{} in flight", self.in_flight.len());
        if let Some(told) = self.told.get(&name) {
            let early_ms = told.until.since_ms(now);
            assert!(now >= told.until, "{name}: asked at {now:?}, {early_ms} ms too early: {}", told.why);
        }
        let seen = self.host(&origin);
        seen.in_flight += 1;
        assert!(seen.in_flight <= limits.concurrency_max, "{origin}: {} in flight", seen.in_flight);
        if let Some(&last) = seen.sends.back() {
            assert!(now.since_ms(last) >= limits.delay_ms, "{origin}: {} ms apart", now.since_ms(last));
        }
        if let (Some(delay_ms), Some(finished_at)) = (seen.crawl_delay_ms, seen.last_finished_at) {
            assert!(seen.in_flight == 1 && now.since_ms(finished_at) >= delay_ms, "{origin}: Crawl-delay is broken");
        }
        seen.sends.push_back(now);
        while seen.sends.front().is_some_and(|&at| now.since_ms(at) >= 1_000) {
            seen.sends.pop_front();
        }
        if limits.rate_max_per_s > 0.0 {
            let count = f64::from(u32::try_from(seen.sends.len()).expect("a second is short"));
            assert!(count <= limits.rate_max_per_s + 1.0, "{origin}: {count} requests in a second");
        }
    }

    /// An answer has come; none when nothing came.
    pub fn on_answer(&mut self, job: &Job, answer: Option<&Fetched>, now: Timestamp) {
        let is_304 = answer.is_some_and(|answer| answer.status == 304);
        let robots = answer.filter(|answer| answer.status == 200);
        let robots = robots.map(|answer| String::from_utf8_lossy(&answer.body).into_owned());
        let (origin, name) = self.in_flight.remove(&job.id).expect("only what was sent is answered");
        let seen = self.host(&origin);
        seen.in_flight -= 1;
        seen.last_finished_at = Some(now);
        if matches!(job.kind, JobKind::Page | JobKind::ApiPage) {
            self.answered.insert(job.id, now);
            let seen = self.host(&origin);
            seen.finished_at = now;
            seen.part_finished_at.insert(route_of(&job.url).to_owned(), now);
        }
        // A 304 says what was said before.
        if job.kind == JobKind::Robots && !is_304 {
            let delay = robots.as_deref().and_then(|text| text.split("Crawl-delay:").nth(1));
            // It holds for the host that was asked first.
            let own = job.redirects.first().and_then(Origin::of).map_or(origin, |own| own.as_str().to_owned());
            self.host(&own).crawl_delay_ms = delay.map(|rest| {
                rest.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()).expect("a whole number")
                    * 1_000
            });
        }
        if let Some((wait_ms, why)) = answer.and_then(|answer| told(&answer.headers)) {
            let until = now.plus_ms(wait_ms);
            let told = self.told.entry(name).or_default();
            if until > told.until {
                (told.until, told.why) = (until, why);
            }
        }
    }

    pub fn on_refilled(&mut self, refill: &Refill) {
        for loaded in refill.ready.iter().chain(&refill.due) {
            let id = loaded.job.id;
            if !self.settled.contains(&id) {
                let origin = origin_of(&loaded.job);
                self.host(&origin).handed.insert(id);
            }
        }
        let (in_flight, uncommitted) = (&self.in_flight, &self.uncommitted);
        for (origin, seen) in &self.hosts {
            let waiting = seen.handed.iter().filter(|id| !in_flight.contains_key(id) && !uncommitted.contains_key(id));
            let waiting = waiting.count();
            assert!(waiting <= RING_MAX, "{origin} holds {waiting} jobs in memory");
        }
    }

    /// A settlement goes to the committer; what the host was told so far travels with it.
    pub fn on_settle(&mut self, settlement: &Settlement, origin: Option<&str>) -> Promises {
        *self.uncommitted.entry(settlement.job_id).or_default() += 1;
        let uncommitted: u32 = self.uncommitted.values().sum();
        let bound = self.limits.uncommitted_max + self.limits.in_flight_max + LOCAL_MAX;
        assert!((uncommitted as usize) <= bound, "{uncommitted} settlements wait for the disk");
        let Some(origin) = origin.filter(|_| settlement.learned.is_some()) else { return Promises::new() };
        let own = self.told.iter().filter(|(name, _)| name.starts_with(origin));
        own.map(|(name, told)| (name.clone(), told.until)).collect()
    }

    /// Settlements are on disk, with what their hosts were told.
    pub fn on_disk(&mut self, settlements: &[Settlement], told: &[Promises]) {
        for (settlement, promises) in settlements.iter().zip(told) {
            for (name, &until) in promises {
                let told = self.told.get_mut(name).expect("it was told");
                told.on_disk = told.on_disk.max(until);
            }
            let is_settled =
                !matches!(settlement.change, JobMove::Stay | JobMove::Defer { .. } | JobMove::Retry { .. });
            if is_settled {
                let is_first = self.settled.insert(settlement.job_id);
                assert!(is_first || self.limits.days > 0, "{} is settled twice", settlement.job_id);
            }
            if is_settled || matches!(settlement.change, JobMove::Defer { .. } | JobMove::Retry { .. }) {
                for seen in self.hosts.values_mut() {
                    seen.handed.remove(&settlement.job_id);
                }
            }
        }
    }

    /// The dispatcher has been told of it.
    pub fn on_acknowledged(&mut self, jobs: &[(JobId, usize)]) {
        for (id, _) in jobs {
            let count = self.uncommitted.get_mut(id).expect("it was settled");
            *count -= 1;
            if *count == 0 {
                self.uncommitted.remove(id);
            }
        }
    }

    /// After a crash that took commits back, jobs that were settled may be open again.
    pub fn forget_settled(&mut self, still: &HashSet<JobId>) {
        self.settled.retain(|id| still.contains(id));
    }

    /// What must be on disk now, to come back to after a disk has lied.
    pub fn promises(&self) -> Promises {
        self.told.iter().map(|(name, told)| (name.clone(), told.on_disk)).collect()
    }

    pub fn take_back(&mut self, promises: &Promises) {
        for (name, told) in &mut self.told {
            told.on_disk = promises.get(name).copied().unwrap_or(Timestamp::EPOCH);
        }
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }
}

/// How long an answer told the client to wait, ms, by a reading of its own that knows only what this web sends.
fn told(headers: &Headers) -> Option<(u64, String)> {
    let date = |name: &str| {
        let at = httpdate::parse_http_date(headers.get(name)?).ok()?;
        Some(Timestamp::from_system(at))
    };
    let here = date("date")?;
    if let Some(value) = headers.get("retry-after") {
        let wait_ms = match value.parse::<u64>() {
            Ok(wait_s) => wait_s * 1_000,
            Err(_) => date("retry-after")?.since_ms(here),
        };
        return Some((wait_ms, format!("Retry-After: {value}")));
    }
    if headers.get("x-ratelimit-remaining") == Some("0") {
        let reset = headers.get("x-ratelimit-reset")?.parse::<i64>().ok()?;
        return Some((Timestamp(reset * 1_000).since_ms(here), format!("X-RateLimit-Reset: {reset}")));
    }
    None
}
