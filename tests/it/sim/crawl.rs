//! The loop: one queue of what happens when, and the lives of the process that it happens to.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;
use trundle::clock::Timestamp;
use trundle::engine::{Action, Dispatcher, Event, Plan, PullOrder, conditions, digest, first_slices, weight_bytes};
use trundle::exchange::{FetchError, Fetched, Proxies, Via};
use trundle::job::{Job, JobId, Origin};
use trundle::store::{Batch, Options, PullStep, Reader, SqliteStore, Store};

use super::disk::{Disk, Mark};
use super::plan;
use super::scenario::{HostSpec, LimiterSpec, Scenario};
use super::watch::{Promises, Watch, origin_of};
use super::web::Web;

/// When every crawl starts: some day in 2027.
const START: Timestamp = Timestamp(1_800_000_000_000);
/// Steps after which a crawl is held to run in circles.
const STEPS_MAX: u64 = 100_000;
/// Virtual time after which it is held to wait for nothing: two days.
const SPAN_MS_MAX: u64 = 2 * DAY_MS;
const DAY_MS: u64 = 24 * 3_600_000;

/// How the process dies, if it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// What was written stays written.
    Kill,
    /// What was not synced may be lost in part.
    PowerCut,
}

/// A crawl, while it runs and after it.
pub struct Crawl {
    scenario: Scenario,
    now: Timestamp,
    web: Web,
    watch: Watch,
    queue: BTreeMap<(Timestamp, u64), What>,
    serial: u64,
    life: u32,
    disk: Disk,
    dice: fastrand::Rng,
    pub steps: u64,
    pub deaths: u32,
}

/// What happens at an instant.
enum What {
    /// A request comes to its host.
    Arrive { life: u32, job: Job, private_ok: bool, via: Via, sent_at: Timestamp },
    /// A host has done with a request.
    Release { origin: String },
    /// An answer comes to the client, if that still lives.
    Answer { life: u32, job: Job, private_ok: bool, sent_at: Timestamp, result: Box<Result<Fetched, FetchError>> },
    /// The dispatcher is told something.
    Tell { life: u32, event: Event },
    /// The committer begins a transaction.
    Commit { life: u32 },
}

/// What a process has in memory.
struct Life {
    store: SqliteStore,
    plan: Arc<Plan>,
    dispatcher: Dispatcher,
    batch: Batch,
    /// What the hosts of the batch's settlements had been told.
    told: Vec<Promises>,
    /// Found jobs in the batch that the dispatcher waits for.
    awaited: usize,
    seeded: bool,
    committing: bool,
    origins: HashMap<JobId, String>,
}

/// The proxies of each host, all of which work.
struct Outbound(HashMap<String, Vec<Arc<str>>>);

impl Outbound {
    fn of(scenario: &Scenario) -> Self {
        let names = |host: &HostSpec| host.proxy.iter().map(|proxy| proxy.name.as_str().into()).collect();
        Self(scenario.host.iter().map(|host| (host.origin(), names(host))).collect())
    }
}

impl Proxies for Outbound {
    fn choice_for(&self, origin: &Origin) -> Vec<Arc<str>> {
        self.0.get(origin.as_str()).cloned().unwrap_or_default()
    }

    fn rests_until(&self, _: &str, _: Timestamp) -> Option<Timestamp> {
        None
    }
}

enum LifeEnd {
    Complete,
    Killed,
    PowerCut(Mark, Promises),
}

/// The parts with a limit of their own, by origin and path.
fn parts(scenario: &Scenario) -> HashSet<String> {
    let of_host = |host: &HostSpec| {
        let own = host.part.iter().filter(|part| !matches!(part.limiter, LimiterSpec::None));
        own.map(|part| format!("{}{}", host.origin(), part.path)).collect::<Vec<_>>()
    };
    scenario.host.iter().flat_map(of_host).collect()
}

impl Crawl {
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        Self {
            web: Web::new(&scenario.host, START, seed),
            watch: Watch::new(scenario.crawl.clone(), parts(scenario)),
            scenario: scenario.clone(),
            now: START,
            queue: BTreeMap::new(),
            serial: 0,
            life: 0,
            disk: Disk::new(),
            dice: fastrand::Rng::with_seed(seed ^ 0x5eed),
            steps: 0,
            deaths: 0,
        }
    }

    /// Runs it to its end through the deaths that the scenario wants, and checks what must hold at the end of every crawl.
    pub async fn run(&mut self, death: Death) {
        let mut deaths_left = self.scenario.deaths;
        loop {
            let dies_after = (deaths_left > 0).then(|| self.dice.u64(1..=self.scenario.death_steps));
            let (end, store) = self.live(dies_after, death).await;
            match end {
                LifeEnd::Complete => break,
                LifeEnd::Killed => {
                    // The image comes first: a store that is dropped closes its file in order.
                    self.disk = self.disk.image();
                }
                LifeEnd::PowerCut(mark, promises) => {
                    self.disk = self.disk.torn_image(&mark, &mut self.dice);
                    self.watch.take_back(&promises);
                }
            }
            drop(store);
            deaths_left -= 1;
            self.deaths += 1;
            self.now = self.now.plus_ms(self.dice.u64(0..2_000));
        }
        self.check_end().await;
    }

    fn host_of(&self, job: &Job) -> Option<&HostSpec> {
        let origin = origin_of(job);
        self.scenario.host.iter().find(|host| host.origin() == origin)
    }

    fn at(&mut self, at: Timestamp, what: What) {
        self.serial += 1;
        self.queue.insert((at, self.serial), what);
    }

    async fn live(&mut self, dies_after: Option<u64>, death: Death) -> (LifeEnd, SqliteStore) {
        self.life += 1;
        let options = Options { cache_mib: 8, reader_cache_mib: 1, known_jobs_max: 500, known_hosts_max: 20 };
        let store = SqliteStore::open(&self.disk.db(), &options).await.unwrap();
        let open = store.begin_run(&plan::sections(&self.scenario), self.now).await.unwrap();
        if self.life > 1 {
            let settled = self.query("SELECT job_id FROM jobs WHERE state > 1").await;
            let settled: HashSet<JobId> = settled.iter().map(|row| JobId(row[0].as_i64().unwrap())).collect();
            self.watch.forget_settled(&settled);
        }
        self.watch.on_start(&open.hosts, self.now);
        let plan = Arc::new(plan::plan(&self.scenario, &open.sources));
        let seeds = plan::seeds(&self.scenario, &open.sources);
        let dice_seed = self.dice.u64(..);
        let mut life = Life {
            dispatcher: Dispatcher::new(
                Arc::clone(&plan),
                Arc::new(Outbound::of(&self.scenario)),
                &open.sources,
                open.hosts,
                self.now,
                dice_seed,
            ),
            store,
            plan,
            batch: Batch { found: seeds, ..Batch::default() },
            told: Vec::new(),
            awaited: 0,
            seeded: false,
            committing: true,
            origins: HashMap::new(),
        };
        let number = self.life;
        self.at(self.now.plus_ms(1), What::Commit { life: number });
        self.at(self.now, What::Tell { life: number, event: Event::Tick });

        let mut steps = 0;
        let span_ms = self.scenario.crawl.days * DAY_MS;
        let is_over = |now: Timestamp| span_ms > 0 && now.since_ms(START) >= span_ms;
        let mut stopped = false;
        let mut mark: Option<(Mark, Promises, u64)> = None;
        loop {
            if life.dispatcher.is_finished() {
                assert!(stopped || !life.dispatcher.has_work_left(), "it ended with work left");
                if let Some((mark, promises, _)) = mark {
                    return (LifeEnd::PowerCut(mark, promises), life.store);
                }
                life.store.end_run(self.now).await.unwrap();
                return (LifeEnd::Complete, life.store);
            }
            let event = if is_over(self.now) && !std::mem::replace(&mut stopped, true) {
                Event::Stop
            } else {
                let Some(event) = self.next(&mut life).await else { continue };
                event
            };
            steps += 1;
            self.steps += 1;
            assert!(self.steps < STEPS_MAX, "it runs in circles");
            assert!(self.now.since_ms(START) < SPAN_MS_MAX + span_ms, "it waits for nothing");
            let actions = life.dispatcher.step(self.now, event);
            for action in actions {
                self.act(&mut life, action).await;
            }
            assert_eq!(life.dispatcher.in_flight(), self.watch.in_flight());
            if dies_after.is_some_and(|after| steps >= after) {
                match (death, &mark) {
                    (Death::Kill, _) => return (LifeEnd::Killed, life.store),
                    (Death::PowerCut, None) => {
                        let until = steps + self.dice.u64(1..60);
                        mark = Some((self.disk.mark(), self.watch.promises(), until));
                    }
                    (Death::PowerCut, Some((_, _, until))) if steps >= *until => {
                        let (mark, promises, _) = mark.expect("it was just seen");
                        return (LifeEnd::PowerCut(mark, promises), life.store);
                    }
                    (Death::PowerCut, Some(_)) => {}
                }
            }
        }
    }

    /// Moves time to what comes next; the event for the dispatcher, if it is one.
    async fn next(&mut self, life: &mut Life) -> Option<Event> {
        let wake_at = life.dispatcher.wake_at();
        let is_next = |at: Timestamp| wake_at.is_none_or(|wake_at| at <= wake_at);
        let Some(entry) = self.queue.first_entry().filter(|entry| is_next(entry.key().0)) else {
            let wake_at = wake_at.expect("nothing will ever happen, and the crawl is not finished");
            self.now = self.now.max(wake_at);
            return Some(Event::Tick);
        };
        let ((at, _), what) = entry.remove_entry();
        self.now = self.now.max(at);
        let now = self.now;
        match what {
            What::Arrive { life: number, job, private_ok, via, sent_at } => {
                let conditions = conditions(&life.plan, &job, sent_at);
                let reply = self.web.ask(&job.url, &via, &conditions, now);
                let done_at = now.plus_ms(reply.service_ms);
                if reply.holds_slot {
                    self.at(done_at, What::Release { origin: origin_of(&job) });
                }
                let back_at = done_at.plus_ms(self.web.way_ms(&job.url));
                let url = job.url.clone();
                let result = Box::new(reply.result.map(|answer| answer.fetched(url, sent_at, back_at)));
                self.at(back_at, What::Answer { life: number, job, private_ok, sent_at, result });
                None
            }
            What::Release { origin } => {
                self.web.release(&origin);
                None
            }
            What::Answer { life: number, job, private_ok, sent_at, result } if number == self.life => {
                let fetched = result.as_ref().as_ref().ok();
                self.watch.on_answer(&job, fetched, now);
                let report = digest(&life.plan, &job, &result, private_ok, sent_at, now);
                Some(Event::Finished { job_id: job.id, report: Box::new(report) })
            }
            What::Tell { life: number, event } if number == self.life => {
                match &event {
                    Event::Refilled { refill, .. } => self.watch.on_refilled(refill),
                    Event::Committed { jobs, .. } => {
                        self.watch.on_acknowledged(jobs);
                        life.committing = false;
                        self.commit_soon(life);
                    }
                    _ => {}
                }
                Some(event)
            }
            What::Commit { life: number } if number == self.life => {
                self.commit(life).await;
                None
            }
            // Meant for a process that is dead.
            What::Answer { .. } | What::Tell { .. } | What::Commit { .. } => None,
        }
    }

    async fn act(&mut self, life: &mut Life, action: Action) {
        let (now, number) = (self.now, self.life);
        match action {
            Action::Refill { lane, request } => {
                // Read now, heard of later: commits may come in between.
                let host_id = request.host_id;
                let refill = life.store.refill(request).await.unwrap();
                let heard_at = now.plus_ms(self.dice.u64(0..8));
                self.at(heard_at, What::Tell { life: number, event: Event::Refilled { host_id, lane, refill } });
            }
            Action::Send { job, private_ok, via } => {
                let member = self.host_of(&job).and_then(|host| host.member(&via));
                self.watch.on_send(&job, member, now);
                life.batch.sent.push((job.id, now));
                life.origins.insert(job.id, origin_of(&job));
                let arrives_at = now.plus_ms(self.web.way_ms(&job.url));
                self.at(arrives_at, What::Arrive { life: number, job, private_ok, via, sent_at: now });
            }
            Action::Settle(settlement) => {
                let origin = life.origins.get(&settlement.job_id).map(String::as_str);
                life.told.push(self.watch.on_settle(&settlement, origin));
                life.batch.settlements.push(*settlement);
                self.commit_soon(life);
            }
            Action::Found(found) => {
                life.awaited += 1;
                life.batch.found.extend(found);
                self.commit_soon(life);
            }
            Action::Pull(PullOrder { root, begins, seeds }) => {
                let begins = begins.into_iter().map(|(source, full)| PullStep::Begin { source, full });
                life.batch.pulls.extend(begins);
                life.batch.slices.extend(first_slices(&life.plan, root, now));
                life.batch.pulls.push(PullStep::Seeded { source: root, seeds });
                self.commit_soon(life);
            }
            Action::EndPulls(streams) => {
                life.awaited += 1;
                life.batch.pulls.extend(streams.into_iter().map(|source| PullStep::End { source }));
                self.commit_soon(life);
            }
            Action::Recrawl(steps) => {
                life.awaited += 1;
                life.batch.recrawls.extend(steps);
                self.commit_soon(life);
            }
            Action::Obeyed(..) => unreachable!("nobody says anything by hand"),
        }
    }

    fn commit_soon(&mut self, life: &mut Life) {
        let batch = &life.batch;
        let is_empty = batch.settlements.is_empty()
            && batch.found.is_empty()
            && batch.pulls.is_empty()
            && batch.recrawls.is_empty();
        if !life.committing && !is_empty {
            life.committing = true;
            self.at(self.now, What::Commit { life: self.life });
        }
    }

    async fn commit(&mut self, life: &mut Life) {
        let batch = Batch { now: self.now, ..std::mem::take(&mut life.batch) };
        let told = std::mem::take(&mut life.told);
        let awaited = std::mem::take(&mut life.awaited);
        let jobs = batch.settlements.iter().map(|settlement| (settlement.job_id, weight_bytes(settlement))).collect();
        let ack = life.store.commit(&batch).await.unwrap();
        assert!(ack.dropped.is_empty(), "outcomes were left out: {:?}", ack.dropped);
        self.watch.on_disk(&batch.settlements, &told);
        // On disk now, heard of later: a crash in between loses the news, not the effects.
        let heard_at = self.now.plus_ms(self.dice.u64(1..6));
        self.at(heard_at, What::Tell { life: self.life, event: Event::Committed { jobs, awaited, ack } });
        for step in &batch.pulls {
            if let PullStep::Seeded { source, .. } = step {
                self.at(heard_at, What::Tell { life: self.life, event: Event::StreamSeeded(*source) });
            }
        }
        if !life.seeded {
            life.seeded = true;
            self.at(heard_at, What::Tell { life: self.life, event: Event::Seeded });
        }
    }

    /// Seconds from the start to the last answer of a host.
    pub fn finished_s(&self, origin: &str) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "two days of milliseconds fit")]
        let ms = self.watch.finished_at(origin).since_ms(START) as f64;
        ms / 1_000.0
    }

    /// The same of the pages of one of its parts.
    pub fn part_finished_s(&self, origin: &str, route: &str) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "two days of milliseconds fit")]
        let ms = self.watch.part_finished_at(origin, route).since_ms(START) as f64;
        ms / 1_000.0
    }

    /// Answers 304 of a host, by its own count.
    pub fn not_modified(&self, origin: &str) -> u64 {
        self.web.host(origin).not_modified
    }

    /// Mean seconds between two requests for each page in the second half of a crawl of so many days, by path.
    pub async fn looks_s(&self, origin: &str) -> Vec<(String, f64)> {
        let span_ms = self.scenario.crawl.days * DAY_MS;
        let half_at = START.plus_ms(span_ms / 2).0;
        let sql = format!(
            "SELECT replace(a.url, '{origin}', ''), {span_ms} / 2000.0 / sum(t.sent_at > {half_at}) FROM all_jobs AS a \
             JOIN attempts AS t USING (job_id) WHERE a.kind = 'page' AND a.url LIKE '{origin}/%' GROUP BY 1"
        );
        let rows = self.query(&sql).await;
        rows.iter().map(|row| (row[0].as_str().unwrap().to_owned(), row[1].as_f64().unwrap_or(f64::MAX))).collect()
    }

    /// Requests and refusals of a host, by its own count.
    pub fn counts(&self, origin: &str) -> (u64, u64) {
        let host = self.web.host(origin);
        (host.requests, host.refused)
    }

    pub async fn query(&self, sql: &str) -> Vec<Vec<Value>> {
        let reader = Reader::open(&self.disk.db()).await.unwrap();
        reader.query(sql, 1_000_000).await.unwrap().rows
    }

    /// What must hold at the end of every crawl.
    async fn check_end(&self) {
        assert_eq!(self.query("PRAGMA integrity_check").await, [["ok"]]);
        for (why, sql) in [
            ("jobs are left open", "SELECT * FROM all_jobs WHERE state_code < 2"),
            ("jobs are still in flight", "SELECT * FROM inflight"),
            (
                "addresses have two jobs",
                "SELECT host_id, request, count(*) FROM jobs WHERE kind <> 4 GROUP BY 1, 2 HAVING count(*) > 1",
            ),
            (
                "done pages lack their answer or their body",
                "SELECT j.* FROM jobs j LEFT JOIN responses r USING (job_id) LEFT JOIN bodies b ON b.hash = r.body_hash \
                 WHERE j.kind = 0 AND j.state = 2 AND (r.job_id IS NULL OR (r.status = 200 AND b.hash IS NULL))",
            ),
            (
                "the counters of a host are not what a recount gives",
                "SELECT s.*, c.* FROM host_state s JOIN (SELECT host_id, sum(state = 0) n_ready, sum(state = 1) n_waiting, \
                 sum(state = 2) n_done, sum(state = 3) n_gone, sum(state = 4) n_dead, sum(state = 5) n_skipped \
                 FROM jobs GROUP BY 1) c USING (host_id) WHERE (s.n_ready, s.n_waiting, s.n_done, s.n_gone, s.n_dead, \
                 s.n_skipped) IS NOT (c.n_ready, c.n_waiting, c.n_done, c.n_gone, c.n_dead, c.n_skipped)",
            ),
            (
                "requests of a host are not as many as its attempts",
                "SELECT s.host_id, s.n_requests, c.n FROM host_state s LEFT JOIN (SELECT job_id >> 32 AS host_id, count(*) n \
                 FROM attempts GROUP BY 1) c USING (host_id) WHERE s.n_requests <> coalesce(c.n, 0)",
            ),
            (
                "the totals are not the sums of the hosts",
                "SELECT * FROM totals WHERE (n_ready, n_waiting, n_done, n_gone, n_dead, n_skipped, n_requests, n_refused, \
                 n_failed, bytes) IS NOT (SELECT sum(n_ready), sum(n_waiting), sum(n_done), sum(n_gone), sum(n_dead), \
                 sum(n_skipped), sum(n_requests), sum(n_refused), sum(n_failed), sum(bytes) FROM host_state) \
                 OR n_items <> (SELECT count(*) FROM items)",
            ),
            (
                "the counters of a section are not what a recount gives",
                "SELECT * FROM sources WHERE n_done <> (SELECT count(*) FROM jobs WHERE kind IN (0, 4) AND state = 2 AND \
                 source_id = sources.source_id) OR n_items <> (SELECT count(*) FROM items WHERE source_id = \
                 sources.source_id) OR n_found <> (SELECT count(*) FROM jobs WHERE source_id = sources.source_id)",
            ),
        ] {
            if self.scenario.crawl.days > 0 && why == "jobs are left open" {
                // It was stopped while pages were due.
                continue;
            }
            let rows = self.query(sql).await;
            assert!(rows.is_empty(), "{why}: {:?}", &rows[..rows.len().min(5)]);
        }
    }

    /// Everything that a crawl is for: pages with their bodies, items, and the counters of jobs.
    pub async fn result(&self) -> Vec<Vec<Value>> {
        let mut rows = self
            .query(
                "SELECT a.url, a.kind, a.state, a.reason, r.status, r.body_hash FROM all_jobs a \
                 LEFT JOIN responses r USING (job_id) ORDER BY 1, 2",
            )
            .await;
        rows.extend(self.query("SELECT source_id, key, data FROM items ORDER BY 1, 2").await);
        rows.extend(self.query("SELECT n_done, n_gone, n_dead, n_skipped, n_items FROM totals").await);
        rows
    }
}
