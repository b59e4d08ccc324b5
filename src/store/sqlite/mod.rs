//! The store in one SQLite file.
//!
//! Enters: a path. Leaves: [`SqliteStore`], the only writer of that file. One connection writes, behind a lock; two read-only
//! ones refill. Every commit is one transaction with a fixed number of statements, whatever the size of the batch: rows
//! travel as one JSON text a table. Deliberately absent: reports for people (`reader` has those).

mod checkpoint;
mod columns;
mod commit;
mod db;
mod hold_rows;
mod host_rows;
mod inbox;
mod lock;
mod open;
mod refill;
mod run;
mod schema;
mod scope_rows;
mod slice_rows;
#[cfg(test)]
mod tests;
mod views;

pub use inbox::{post, post_orders, post_retries};
pub use open::Options;
pub use views::view_names;

pub(super) use db::sorted;
pub(super) use inbox::{given_up, names};
pub(super) use schema::{Probe, probe};

use std::path::PathBuf;

use sqlx::SqlitePool;
use tokio::sync::Mutex;

use crate::clock::Timestamp;
use crate::job::{HashKey, NewJob};

use super::{Ack, Batch, InboxRow, OpenRun, Refill, RefillRequest, SourceName, Store, StoreError};
use commit::Known;
use db::Db;
use lock::LockFile;

/// A crawl in a SQLite file, held by this process alone.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    hash_key: HashKey,
    writer: Mutex<Writer>,
    readers: SqlitePool,
    // Last, so that the file is let go after the connections are.
    _lock: LockFile,
}

/// What only the holder of the write lock may touch.
#[derive(Debug)]
struct Writer {
    db: Db,
    /// The run that this process owns the file for; 0 before the first `begin_run` of a new file.
    run_id: i64,
    /// What is known to be in the file, so that most links cost no statement. Changes only after a COMMIT.
    known: Known,
    checkpoints: checkpoint::Checkpoints,
}

impl SqliteStore {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The store's secret for dedup keys.
    #[must_use]
    pub fn hash_key(&self) -> &HashKey {
        &self.hash_key
    }

    /// Statements that the writer has sent so far, transaction control included: a measure for tests and metrics.
    pub async fn statements(&self) -> u64 {
        self.writer.lock().await.db.statements()
    }
}

impl Store for SqliteStore {
    async fn begin_run(&self, sources: &[SourceName], now: Timestamp) -> Result<OpenRun, StoreError> {
        let mut writer = self.writer.lock().await;
        run::begin(&mut writer, &self.hash_key, sources, now).await
    }

    async fn refill(&self, request: RefillRequest) -> Result<Refill, StoreError> {
        loop {
            let (refill, unreadable) = refill::read(&self.readers, &request).await?;
            if unreadable.is_empty() {
                return Ok(refill);
            }
            // A row that cannot become a job would stall its host for ever: it is buried, and the question asked again.
            let mut writer = self.writer.lock().await;
            commit::bury(&mut writer, &self.hash_key, &unreadable, request.now).await?;
        }
    }

    async fn commit(&self, batch: &Batch) -> Result<Ack, StoreError> {
        let mut writer = self.writer.lock().await;
        let ack = commit::commit(&mut writer, &self.hash_key, batch).await?;
        checkpoint::after_commit(&mut writer, &self.path).await?;
        Ok(ack)
    }

    async fn inbox(&self, after: i64, limit: u32) -> Result<Vec<InboxRow>, StoreError> {
        inbox::read(&self.readers, after, limit).await
    }

    async fn add(&self, jobs: Vec<NewJob>, now: Timestamp) -> Result<Ack, StoreError> {
        self.commit(&Batch { found: jobs, now, ..Batch::default() }).await
    }

    async fn end_run(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        run::end(&mut writer, now).await?;
        checkpoint::fold(&mut writer).await
    }
}
