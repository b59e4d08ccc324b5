//! The thin shell around the dispatcher: tasks and channels, and no decision of its own.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::clock::{Clock, Timestamp};
use crate::exchange::Fetch;
use crate::job::{Job, NewJob};
use crate::store::{OpenRun, Refill, Store, StoreError};

use super::committer::{self, Message};
use super::dispatcher::{Action, Dispatcher, Event};
use super::plan::Plan;
use super::worker;

/// Seeds that are handed to the committer at a time.
const SEEDS_CHUNK: usize = 1_000;
/// Rows of the inbox that are read at a time.
const INBOX_CHUNK: u32 = 1_000;
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
    seeds: impl Iterator<Item = NewJob> + Send + 'static,
    mut stop: watch::Receiver<Stop>,
) -> Result<Ending, EngineError>
where
    S: Store,
    F: Fetch,
    C: Clock,
{
    let bounds = plan.bounds;
    let OpenRun { sources, hosts, run_id, seed_redirects, .. } = open;
    for (source, url) in &seed_redirects {
        if let Some(site) = plan.site(*source) {
            site.scope.widen(url);
        }
    }
    let seed = u64::try_from(run_id.0).unwrap_or_default() ^ u64::try_from(clock.now().0).unwrap_or_default();
    let mut dispatcher = Dispatcher::new(Arc::clone(&plan), &sources, hosts, clock.now(), seed);

    // Room for every event that can be on its way at once, so that a sender waits only if this loop does.
    let capacity = bounds.in_flight_max * 2 + bounds.uncommitted_max + 64;
    let (events, mut event_inbox) = mpsc::channel::<Event>(capacity);
    let (commits, commit_inbox) = mpsc::channel::<Message>(capacity * 2);
    let mut committer = tokio::spawn(committer::run(Arc::clone(&store), clock.clone(), commit_inbox, events.clone()));
    let mut inbox = Inbox::default();
    let seeding = tokio::spawn(feed(seeds, commits.clone()));
    let mut look_at_inbox_at = clock.now();

    let mut tasks: JoinSet<Result<Event, StoreError>> = JoinSet::new();
    let mut running: HashMap<tokio::task::Id, Job> = HashMap::new();
    let mut drain_until_at = Timestamp::NEVER;
    let mut level = Stop::No;
    let mut next: Vec<Event> = vec![Event::Tick];

    let ending = loop {
        for event in next.drain(..) {
            let now = clock.now();
            for action in dispatcher.step(now, event) {
                match action {
                    Action::Refill(request) => {
                        let store = Arc::clone(&store);
                        tasks.spawn(async move {
                            let refill: Refill = store.refill(request).await?;
                            Ok(Event::Refilled { host_id: request.host_id, refill })
                        });
                    }
                    Action::Send { job, private_ok } => {
                        send(&commits, Message::Sent(job.id, now)).await?;
                        let work =
                            worker::work(Arc::clone(&fetch), clock.clone(), Arc::clone(&plan), job.clone(), private_ok);
                        let handle = tasks.spawn(async move {
                            let (job_id, report) = work.await;
                            Ok(Event::Finished { job_id, report: Box::new(report) })
                        });
                        running.insert(handle.id(), job);
                    }
                    Action::Settle(settlement) => send(&commits, Message::Settle(settlement)).await?,
                    Action::Found(found) => send(&commits, Message::Found(found)).await?,
                }
            }
        }
        let is_finished = dispatcher.is_finished();
        if level == Stop::No && (is_finished || clock.now() >= look_at_inbox_at) {
            look_at_inbox_at = clock.now().plus_ms(INBOX_WAIT_MS);
            let taken = inbox.take(&*store, &commits).await?;
            next.extend((0..taken).map(|_| Event::InboxTaken));
            if taken > 0 {
                continue;
            }
        }
        if is_finished {
            break if dispatcher.has_work_left() {
                Ending::Stopped { next_send_at: dispatcher.next_send_at(clock.now()) }
            } else {
                Ending::Complete
            };
        }
        let wake_at = dispatcher.wake_at().unwrap_or(Timestamp::NEVER).min(drain_until_at).min(look_at_inbox_at);
        tokio::select! {
            // Outcomes and acknowledgements first: they free what sending needs.
            biased;
            Some(event) = event_inbox.recv() => {
                next.push(event);
                while next.len() < 256 && let Ok(event) = event_inbox.try_recv() {
                    next.push(event);
                }
            }
            Some(joined) = tasks.join_next_with_id() => {
                let mut joined = Some(joined);
                while let Some(result) = joined {
                    match result {
                        Ok((id, event)) => {
                            running.remove(&id);
                            next.push(event?);
                        }
                        Err(error) => {
                            // A page that makes a parser panic must not stop the crawl, nor be asked for ever again.
                            if let Some(job) = running.remove(&error.id()) {
                                let report = if error.is_panic() {
                                    worker::panicked(&job, clock.now())
                                } else {
                                    worker::stopped(&job, clock.now())
                                };
                                next.push(Event::Finished { job_id: job.id, report: Box::new(report) });
                            } else if error.is_panic() {
                                return Err(EngineError::Lost("refill"));
                            }
                        }
                    }
                    joined = if next.len() < 256 { tasks.try_join_next_with_id() } else { None };
                }
            }
            ended = &mut committer => {
                return match ended {
                    Ok(Err(error)) => Err(error.into()),
                    Ok(Ok(())) | Err(_) => Err(EngineError::Lost("committer")),
                };
            }
            Ok(()) = stop.changed() => {
                level = level.max(*stop.borrow_and_update());
                if level >= Stop::Soft {
                    seeding.abort();
                    drain_until_at = clock.now().plus_ms(bounds.drain_ms);
                    next.push(Event::Stop);
                }
                if level == Stop::Hard {
                    tasks.abort_all();
                }
            }
            () = clock.sleep_until(wake_at) => {
                if clock.now() >= drain_until_at {
                    drain_until_at = Timestamp::NEVER;
                    tasks.abort_all();
                }
                next.push(Event::Tick);
            }
        }
    };

    seeding.abort();
    drop(commits);
    tasks.abort_all();
    // The seeding task holds the other end of the channel until it has ended.
    let _ = seeding.await;
    event_inbox.close();
    match committer.await {
        Ok(result) => result?,
        Err(_) => return Err(EngineError::Lost("committer")),
    }
    store.end_run(clock.now()).await?;
    Ok(ending)
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
    /// Hands what is new in the inbox to the committer; in how many messages.
    async fn take<S: Store>(&mut self, store: &S, commits: &mpsc::Sender<Message>) -> Result<usize, EngineError> {
        let mut messages = 0;
        loop {
            let rows = store.inbox(self.after, INBOX_CHUNK).await?;
            let Some(last) = rows.last() else { return Ok(messages) };
            self.after = last.inbox_id;
            messages += 1;
            send(commits, Message::Inbox(rows)).await?;
        }
    }
}

/// Hands the seeds to the committer in chunks.
async fn feed(seeds: impl Iterator<Item = NewJob>, commits: mpsc::Sender<Message>) {
    let mut seeds = seeds.peekable();
    while seeds.peek().is_some() {
        let chunk: Vec<NewJob> = seeds.by_ref().take(SEEDS_CHUNK).collect();
        if commits.send(Message::Seeds(chunk)).await.is_err() {
            return;
        }
    }
    let _ = commits.send(Message::Seeded).await;
}
