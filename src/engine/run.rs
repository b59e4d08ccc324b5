//! The thin shell around the dispatcher: tasks and channels, and no decision of its own.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{self, JoinError, JoinHandle, JoinSet};

use crate::clock::{Clock, Timestamp};
use crate::exchange::{Fetch, Proxies};
use crate::job::{Job, NewJob, NewSlice};
use crate::store::{OpenRun, PullStep, Store, StoreError};

use super::committer::{self, Message};
use super::dispatcher::{Action, Dispatcher, Event};
use super::plan::Plan;
use super::pulls::PullOrder;
use super::streams;
use super::worker;

/// Seeds that are handed to the committer at a time.
const SEEDS_CHUNK: usize = 1_000;
/// Such chunks that wait for the committer, at most: its channel has room for thousands, which are millions of seeds.
const SEED_CHUNKS_MAX: usize = 4;
/// Rows of the inbox that are read at a time.
const INBOX_CHUNK: u32 = 1_000;
/// Events that are gathered before the dispatcher is asked what to do.
const EVENTS_AT_ONCE: usize = 256;
/// Between two looks into the inbox, in ms.
const INBOX_WAIT_MS: u64 = 500;

/// What a person may ask of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Go on.
    #[default]
    No,
    /// Send nothing more, finish what is in flight, commit, end.
    Soft,
    /// Commit what has come back and end.
    Hard,
}

/// What a run begins with.
#[derive(Clone, Debug)]
pub enum Seed {
    /// A job that the user named.
    Job(NewJob),
    /// A slice of a stream.
    Slice(NewSlice),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every job is settled.
    Complete,
    /// It was stopped with work left.
    Stopped {
        /// When the first host could be asked again; none when that is now.
        next_send_at: Option<Timestamp>,
    },
}

/// What made a run end that should not have.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// A part of the program ended before its time, which is a fault of ours.
    #[error("the {0} ended before its time; the crawl can be resumed")]
    Lost(&'static str),
}

/// Runs a crawl until it is complete or stopped. `seeds` are read as the run goes, so that a file of millions need not fit in
/// memory; those that are known already change nothing.
pub async fn run<S, F, C>(
    store: Arc<S>,
    fetch: Arc<F>,
    clock: C,
    plan: Arc<Plan>,
    open: OpenRun,
    seeds: impl Iterator<Item = Seed> + Send + 'static,
    stop: watch::Receiver<Stop>,
) -> Result<Ending, EngineError>
where
    S: Store,
    F: Fetch,
    C: Clock,
{
    let OpenRun { sources, hosts, run_id, seed_redirects, .. } = open;
    for (source, url) in &seed_redirects {
        if let Some(site) = plan.site(*source) {
            site.scope.widen(url);
        }
    }
    let bounds = plan.bounds;
    let now = clock.now();
    let seed = run_id.0.unsigned_abs() ^ now.0.unsigned_abs();
    let proxies: Arc<dyn Proxies> = Arc::<F>::clone(&fetch);
    let dispatcher = Dispatcher::new(Arc::clone(&plan), proxies, &sources, hosts, now, seed);

    // Room for every event that can be on its way at once, so that a sender waits only if the shell does.
    let capacity = bounds.in_flight_max * 2 + bounds.uncommitted_max + 64;
    let (events, event_inbox) = mpsc::channel::<Event>(capacity);
    let (commits, commit_inbox) = mpsc::channel::<Message>(capacity * 2);
    let committer = tokio::spawn(committer::run(Arc::clone(&store), clock.clone(), commit_inbox, events));
    let to_committer = commits.clone();
    let seeding = tokio::spawn(async move {
        if feed(seeds, &to_committer).await {
            let _ = to_committer.send(Message::Seeded).await;
        }
    });
    let shell = Shell {
        store,
        fetch,
        clock,
        plan,
        dispatcher,
        commits,
        event_inbox,
        committer,
        seeding,
        feeding: JoinSet::new(),
        tasks: JoinSet::new(),
        running: HashMap::new(),
        inbox: Inbox::default(),
        look_at_inbox_at: now,
        drain_until_at: Timestamp::NEVER,
        stop,
        level: Stop::No,
    };
    shell.run().await
}

/// What a run holds.
struct Shell<S, F, C> {
    store: Arc<S>,
    fetch: Arc<F>,
    clock: C,
    plan: Arc<Plan>,
    dispatcher: Dispatcher,
    commits: mpsc::Sender<Message>,
    event_inbox: mpsc::Receiver<Event>,
    committer: JoinHandle<Result<(), StoreError>>,
    seeding: JoinHandle<()>,
    /// Tasks that make the first slices of streams.
    feeding: JoinSet<()>,
    /// Workers and refills.
    tasks: JoinSet<Result<Event, StoreError>>,
    /// The jobs of the workers, for those that end without a report.
    running: HashMap<task::Id, Job>,
    inbox: Inbox,
    look_at_inbox_at: Timestamp,
    /// When a soft stop becomes a hard one.
    drain_until_at: Timestamp,
    stop: watch::Receiver<Stop>,
    level: Stop,
}

impl<S: Store, F: Fetch, C: Clock> Shell<S, F, C> {
    async fn run(mut self) -> Result<Ending, EngineError> {
        let mut next = vec![Event::Tick];
        loop {
            for event in next.drain(..) {
                let now = self.clock.now();
                for action in self.dispatcher.step(now, event) {
                    self.carry_out(action, now).await?;
                }
            }
            let is_finished = self.dispatcher.is_finished();
            if self.level == Stop::No && (is_finished || self.clock.now() >= self.look_at_inbox_at) {
                next.extend(self.inbox.take(&*self.store, &self.commits).await?);
                self.look_at_inbox_at = self.clock.now().plus_ms(INBOX_WAIT_MS);
                if !next.is_empty() {
                    continue;
                }
            }
            if is_finished {
                return self.end().await;
            }
            self.wait(&mut next).await?;
        }
    }

    async fn carry_out(&mut self, action: Action, now: Timestamp) -> Result<(), EngineError> {
        match action {
            Action::Refill { lane, request } => {
                let store = Arc::clone(&self.store);
                self.tasks.spawn(async move {
                    let host_id = request.host_id;
                    let refill = store.refill(request).await?;
                    Ok(Event::Refilled { host_id, lane, refill })
                });
            }
            Action::Send { job, private_ok, via } => {
                send(&self.commits, Message::Sent(job.id, now)).await?;
                let (fetch, plan) = (Arc::clone(&self.fetch), Arc::clone(&self.plan));
                let work = worker::work(fetch, self.clock.clone(), plan, job.clone(), private_ok, via);
                let handle = self.tasks.spawn(async move {
                    let (job_id, report) = work.await;
                    Ok(Event::Finished { job_id, report: Box::new(report) })
                });
                self.running.insert(handle.id(), job);
            }
            Action::Settle(settlement) => send(&self.commits, Message::Settle(settlement)).await?,
            Action::Found(found) => send(&self.commits, Message::Found(found)).await?,
            Action::Pull(order) => self.pull(order, now).await?,
            Action::EndPulls(streams) => send(&self.commits, Message::PullsEnded(streams)).await?,
            Action::Recrawl(steps) => send(&self.commits, Message::Recrawl(steps)).await?,
            Action::Obeyed(inbox_id, learned) => send(&self.commits, Message::Obeyed(inbox_id, learned)).await?,
        }
        Ok(())
    }

    /// Begins a pull, or goes on with it, and has its first slices made.
    async fn pull(&mut self, order: PullOrder, now: Timestamp) -> Result<(), EngineError> {
        let PullOrder { root, begins, seeds } = order;
        if let Some(stream) = self.plan.stream(root).filter(|_| !begins.is_empty()) {
            let whole = if begins.iter().all(|(_, full)| *full) { "" } else { " for what is new" };
            tracing::info!("pulling [api.{}]{whole}", stream.name);
        }
        if !begins.is_empty() {
            let steps = begins.into_iter().map(|(source, full)| PullStep::Begin { source, full }).collect();
            send(&self.commits, Message::PullsBegun(steps)).await?;
        }
        let (plan, commits) = (Arc::clone(&self.plan), self.commits.clone());
        self.feeding.spawn(async move {
            let slices = streams::first_slices(&plan, root, now);
            if feed(slices.map(Seed::Slice), &commits).await {
                let _ = commits.send(Message::StreamSeeded(root, seeds)).await;
            }
        });
        Ok(())
    }

    /// Waits until something happens and gathers what has happened by then.
    async fn wait(&mut self, next: &mut Vec<Event>) -> Result<(), EngineError> {
        let dispatcher_at = self.dispatcher.wake_at().unwrap_or(Timestamp::NEVER);
        let wake_at = dispatcher_at.min(self.drain_until_at).min(self.look_at_inbox_at);
        tokio::select! {
            // Acknowledgements and outcomes first: they free what sending needs.
            biased;
            Some(event) = self.event_inbox.recv() => {
                next.push(event);
                while next.len() < EVENTS_AT_ONCE && let Ok(event) = self.event_inbox.try_recv() {
                    next.push(event);
                }
            }
            Some(joined) = self.tasks.join_next_with_id() => {
                next.extend(self.joined(joined)?);
                while next.len() < EVENTS_AT_ONCE && let Some(joined) = self.tasks.try_join_next_with_id() {
                    next.extend(self.joined(joined)?);
                }
            }
            ended = &mut self.committer => {
                return Err(match ended {
                    Ok(Err(error)) => error.into(),
                    Ok(Ok(())) | Err(_) => EngineError::Lost("committer"),
                });
            }
            Ok(()) = self.stop.changed() => {
                self.level = self.level.max(*self.stop.borrow_and_update());
                next.extend(self.on_stop());
            }
            () = self.clock.sleep_until(wake_at) => {
                if self.clock.now() >= self.drain_until_at {
                    self.drain_until_at = Timestamp::NEVER;
                    self.tasks.abort_all();
                }
                next.push(Event::Tick);
            }
        }
        Ok(())
    }

    /// What a task brings that has ended; none for a refill that was stopped.
    fn joined(
        &mut self,
        joined: Result<(task::Id, Result<Event, StoreError>), JoinError>,
    ) -> Result<Option<Event>, EngineError> {
        let error = match joined {
            Ok((id, event)) => {
                self.running.remove(&id);
                return Ok(Some(event?));
            }
            Err(error) => error,
        };
        let Some(job) = self.running.remove(&error.id()) else {
            return if error.is_panic() { Err(EngineError::Lost("refill")) } else { Ok(None) };
        };
        let now = self.clock.now();
        // A page that makes a parser panic must not stop the crawl, nor be asked for ever again.
        let report = if error.is_panic() { worker::panicked(&job, now) } else { worker::stopped(&job, now) };
        Ok(Some(Event::Finished { job_id: job.id, report: Box::new(report) }))
    }

    fn on_stop(&mut self) -> Option<Event> {
        if self.level == Stop::No {
            return None;
        }
        self.seeding.abort();
        self.feeding.abort_all();
        // There is nothing to look for any more.
        self.look_at_inbox_at = Timestamp::NEVER;
        if self.level == Stop::Hard {
            self.tasks.abort_all();
        } else {
            self.drain_until_at = self.clock.now().plus_ms(self.plan.bounds.drain_ms);
        }
        Some(Event::Stop)
    }

    /// Everything that will be committed is; closes the store in order.
    async fn end(mut self) -> Result<Ending, EngineError> {
        let ending = if self.dispatcher.has_work_left() {
            Ending::Stopped { next_send_at: self.dispatcher.next_send_at(self.clock.now()) }
        } else {
            Ending::Complete
        };
        self.tasks.shutdown().await;
        self.seeding.abort();
        self.feeding.shutdown().await;
        // The seeding task holds the other end of the channel until it has ended; how it ended does not matter.
        let _ = self.seeding.await;
        drop(self.commits);
        self.event_inbox.close();
        match self.committer.await {
            Ok(result) => result?,
            Err(_) => return Err(EngineError::Lost("committer")),
        }
        self.store.end_run(self.clock.now()).await?;
        Ok(ending)
    }
}

async fn send(commits: &mpsc::Sender<Message>, message: Message) -> Result<(), EngineError> {
    commits.send(message).await.map_err(|_| EngineError::Lost("committer"))
}

/// What other processes add while the crawl runs.
#[derive(Default)]
struct Inbox {
    /// The last row that was taken.
    after: i64,
}

impl Inbox {
    /// Hands the jobs that are new in the inbox to the committer; what the dispatcher must know of it, orders included.
    async fn take<S: Store>(&mut self, store: &S, commits: &mpsc::Sender<Message>) -> Result<Vec<Event>, EngineError> {
        let mut events = Vec::new();
        loop {
            let rows = store.inbox(self.after, INBOX_CHUNK).await?;
            let Some(last) = rows.last() else { return Ok(events) };
            self.after = last.inbox_id;
            let mut jobs = Vec::with_capacity(rows.len());
            for mut row in rows {
                match row.order.take() {
                    Some(order) => events.push(Event::Ordered(row.inbox_id, order)),
                    None => jobs.push(row),
                }
            }
            if !jobs.is_empty() {
                events.push(Event::InboxTaken);
                send(commits, Message::Inbox(jobs)).await?;
            }
        }
    }
}

/// Hands seeds to the committer in chunks; false when it has ended.
async fn feed(seeds: impl Iterator<Item = Seed>, commits: &mpsc::Sender<Message>) -> bool {
    let mut seeds = seeds.peekable();
    let leaves = Arc::new(Semaphore::new(SEED_CHUNKS_MAX));
    while seeds.peek().is_some() {
        let leave = Arc::clone(&leaves).acquire_owned().await.expect("nobody closes it");
        let chunk: Vec<Seed> = seeds.by_ref().take(SEEDS_CHUNK).collect();
        if commits.send(Message::Seeds(chunk, leave)).await.is_err() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use url::Url;

    use super::*;
    use crate::job::{JobKind, SourceId};

    #[tokio::test]
    async fn seeds_are_read_no_faster_than_they_are_stored() {
        let read = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&read);
        let url = Url::parse("http://a.org/").expect("a test address parses");
        let seeds = (0..20 * SEEDS_CHUNK).map(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Seed::Job(NewJob::seed(url.clone(), JobKind::Page, SourceId(1)))
        });
        let (commits, mut inbox) = mpsc::channel(1_000);
        let feeding = tokio::spawn(async move { feed(seeds, &commits).await });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(read.load(Ordering::Relaxed) <= 5 * SEEDS_CHUNK, "{} were read", read.load(Ordering::Relaxed));
        while inbox.recv().await.is_some() {}
        feeding.await.expect("the feeder ends");
        assert_eq!(read.load(Ordering::Relaxed), 20 * SEEDS_CHUNK);
    }
}
