//! The one writer: gathers what is ready into one transaction, so that the price of a sync is shared.
//!
//! Enters: [`Message`]s over a bounded channel. Leaves: [`Event::Committed`] once the effects are on disk. Under load a batch
//! is whatever came while the one before was written; when there is little to do, a settlement is committed at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::clock::{Clock, Timestamp};
use crate::job::{JobId, NewJob, SourceId};
use crate::store::{Batch, HostLearned, InboxRow, PullStep, RecrawlStep, Settlement, Store, StoreError};

use super::dispatcher::{Event, weight_bytes};
use super::run::Seed;

/// Settlements in one transaction, at most. Source: `research` figures of the design: 400 to 1,000 a commit cost the least.
const SETTLEMENTS_MAX: usize = 1_000;
/// Rows of discovered jobs in one transaction, roughly at most: a page with very many links is a batch of its own.
const ROWS_MAX: usize = 20_000;
/// Rows that pages becoming ready once more count for, whatever their number.
const REOPENED_ROWS: usize = 1_000;
/// How long jobs that were sent may go unrecorded, in ms: the `inflight` table is for people and for counting crashes.
const SENT_WAIT_MS: u64 = 250;
/// How long to wait before trying again on a full disk, in ms.
const DISK_FULL_WAIT_MS: u64 = 5_000;

/// What the committer is told.
pub(super) enum Message {
    /// An outcome.
    Settle(Box<Settlement>),
    /// Seeds, with the leave to read them, which the next chunk waits for.
    Seeds(Vec<Seed>, OwnedSemaphorePermit),
    /// Jobs that no answer brought.
    Found(Vec<NewJob>),
    /// Jobs that were added from outside, with the rows of the inbox that they were made of.
    Inbox(Vec<InboxRow>),
    /// What is known about a host after the order in this row of the inbox.
    Obeyed(i64, Box<HostLearned>),
    /// A request went out.
    Sent(JobId, Timestamp),
    /// All seeds are in the messages before this one.
    Seeded,
    /// Pulls of streams begin; their slices come in later messages.
    PullsBegun(Vec<PullStep>),
    /// All slices that the tree of this stream begins with are in the messages before this one, made of this.
    StreamSeeded(SourceId, String),
    /// What happens to pages that are fetched again on a schedule.
    Recrawl(Vec<RecrawlStep>),
    /// The pulls of these streams are over.
    PullsEnded(Vec<SourceId>),
}

/// Commits until the channel closes.
pub(super) async fn run<S: Store, C: Clock>(
    store: Arc<S>,
    clock: C,
    mut inbox: mpsc::Receiver<Message>,
    events: mpsc::Sender<Event>,
) -> Result<(), StoreError> {
    let mut messages = Vec::with_capacity(SETTLEMENTS_MAX);
    let mut sent: Vec<(JobId, Timestamp)> = Vec::new();
    loop {
        // Requests that went out are recorded with the next outcome, or alone when none comes for a while.
        let deadline_at = sent.first().map_or(Timestamp::NEVER, |(_, at)| at.plus_ms(SENT_WAIT_MS));
        tokio::select! {
            received = inbox.recv_many(&mut messages, SETTLEMENTS_MAX) => {
                if received == 0 {
                    return Ok(());
                }
            }
            () = clock.sleep_until(deadline_at) => {}
        }
        let only_sent = messages.iter().all(|message| matches!(message, Message::Sent(..)));
        let mut queue = messages.drain(..).peekable();
        if only_sent && queue.peek().is_some() {
            sent.extend(queue.by_ref().filter_map(|message| match message {
                Message::Sent(job_id, at) => Some((job_id, at)),
                _ => None,
            }));
            if clock.now() < deadline_at && sent.len() < SETTLEMENTS_MAX {
                continue;
            }
        }
        loop {
            let mut batch = Batch { sent: std::mem::take(&mut sent), now: clock.now(), ..Batch::default() };
            let mut rows = 0;
            let mut awaited = 0;
            let mut seeded = false;
            let mut streams_seeded = Vec::new();
            while rows < ROWS_MAX {
                match queue.next() {
                    Some(Message::Settle(settlement)) => {
                        rows += 1 + settlement.discovered.len() + settlement.slices.len() + settlement.n_items();
                        batch.settlements.push(*settlement);
                    }
                    Some(Message::Seeds(seeds, _leave)) => {
                        rows += seeds.len();
                        for seed in seeds {
                            match seed {
                                Seed::Job(job) => batch.found.push(job),
                                Seed::Slice(slice) => batch.slices.push(slice),
                            }
                        }
                    }
                    Some(Message::Found(found)) => {
                        awaited += 1;
                        rows += found.len();
                        batch.found.extend(found);
                    }
                    Some(Message::Inbox(added)) => {
                        awaited += 1;
                        rows += added.len();
                        for row in added {
                            batch.taken.push(row.inbox_id);
                            batch.found.extend(row.job);
                            batch.retried.extend(row.retry);
                        }
                    }
                    Some(Message::Obeyed(inbox_id, learned)) => {
                        awaited += 1;
                        batch.taken.push(inbox_id);
                        batch.learned.push(*learned);
                        // What comes later taught something later, which the batch would overwrite with this.
                        break;
                    }
                    Some(Message::Sent(job_id, at)) => batch.sent.push((job_id, at)),
                    Some(Message::Seeded) => seeded = true,
                    Some(Message::PullsBegun(steps)) => batch.pulls.extend(steps),
                    Some(Message::StreamSeeded(source, seeds)) => {
                        batch.pulls.push(PullStep::Seeded { source, seeds });
                        streams_seeded.push(source);
                    }
                    Some(Message::PullsEnded(streams)) => {
                        awaited += 1;
                        batch.pulls.extend(streams.into_iter().map(|source| PullStep::End { source }));
                        // What comes later may begin the next pull, which this would end.
                        break;
                    }
                    Some(Message::Recrawl(steps)) => {
                        awaited += 1;
                        rows += steps.len() * REOPENED_ROWS;
                        batch.recrawls.extend(steps);
                    }
                    None => break,
                }
            }
            commit(&*store, &clock, batch, awaited, &events).await?;
            if seeded && events.send(Event::Seeded).await.is_err() {
                return Ok(());
            }
            for root in streams_seeded {
                // Nobody listens any more after a hard stop; the commit is on disk all the same.
                let _ = events.send(Event::StreamSeeded(root)).await;
            }
            if queue.peek().is_none() {
                break;
            }
        }
    }
}

/// Commits one batch, waiting for space when the disk is full, and tells the dispatcher.
async fn commit<S: Store, C: Clock>(
    store: &S,
    clock: &C,
    batch: Batch,
    awaited: usize,
    events: &mpsc::Sender<Event>,
) -> Result<(), StoreError> {
    let jobs: Vec<(JobId, usize)> =
        batch.settlements.iter().map(|settlement| (settlement.job_id, weight_bytes(settlement))).collect();
    let ack = loop {
        match store.commit(&batch).await {
            Ok(ack) => break ack,
            Err(StoreError::DiskFull(cause)) => {
                tracing::warn!(%cause, "the disk is full; the crawl waits until there is space");
                clock.sleep_until(clock.now().plus_ms(DISK_FULL_WAIT_MS)).await;
            }
            Err(error) => return Err(error),
        }
    };
    for (position, why) in &ack.dropped {
        tracing::warn!(job = %batch.settlements[*position].job_id, "an outcome was left out: {why}");
    }
    // Nobody listens any more after a hard stop; the commit is on disk all the same.
    let _ = events.send(Event::Committed { jobs, awaited, ack }).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::store::{Options, SourceKind, SourceName, SqliteStore};

    #[tokio::test]
    async fn a_pull_that_begins_as_the_last_one_ends_is_on() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let store = SqliteStore::open(&folder.path().join("a.db"), &Options::default()).await.expect("it opens");
        let clock = SystemClock::new();
        let names = vec![SourceName { kind: SourceKind::Api, name: "x".to_owned() }];
        let open = store.begin_run(&names, clock.now()).await.expect("a run begins");
        let source = open.sources[0].id;
        let begins = || Message::PullsBegun(vec![PullStep::Begin { source, full: true }]);
        let store = Arc::new(store);
        let (commits, inbox) = mpsc::channel(16);
        let (events, mut seen) = mpsc::channel(16);
        // All of it waits when the committer comes to it, as while a commit is slow.
        for message in [begins(), Message::PullsEnded(vec![source]), begins(), Message::PullsEnded(vec![source])] {
            commits.send(message).await.expect("there is room");
        }
        drop(commits);
        run(Arc::clone(&store), clock, inbox, events).await.expect("each pull has its end");
        let mut awaited = 0;
        while let Some(event) = seen.recv().await {
            if let Event::Committed { awaited: of_commit, .. } = event {
                awaited += of_commit;
            }
        }
        assert_eq!(awaited, 2);
    }
}
