//! Folding the write-ahead log into the file: by the committer, on its own connection, so that it never races a commit.

use std::path::Path;

use sqlx::Row;

use crate::store::StoreError;

use super::Writer;
use super::db::{Db, sorted};

/// Pages of 4 KiB that wait in the log before they are folded: 64 MB. Large, since a page that is dirtied twice in between
/// is written once.
const FOLD_PAGES: i64 = 16_384;

/// Pages in the log at which it is cut as well: 256 MB. It only grows so far when a reader holds it open.
const CUT_PAGES: i64 = 65_536;

/// What the log's file is cut to when it starts anew: 64 MiB.
pub(super) const WAL_KEPT_BYTES: u64 = 64 << 20;

/// Commits between two looks at a log whose file does not grow.
const LOOK_EVERY: u32 = 16;

/// When to look next.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    commits: u32,
    /// Length of the log's file at the last look; it shows when much is written at once.
    wal_bytes: u64,
    /// Pages in the log when a reader last kept it from being cut; the next try is 64 MB later.
    held_at: i64,
}

/// What the log holds: pages, and those of them that are in the file already.
struct Log {
    pages: i64,
    folded: i64,
}

/// Folds the log when enough waits in it.
pub(super) async fn after_commit(writer: &mut Writer, path: &Path) -> Result<(), StoreError> {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    let wal_bytes = std::fs::metadata(wal).map_or(0, |meta| meta.len());
    let checkpoints = &mut writer.checkpoints;
    checkpoints.commits += 1;
    // A log file below the mark cannot hold that many pages; one that was reused from its start does not grow.
    let small = i64::try_from(wal_bytes / 4096).unwrap_or(i64::MAX) < FOLD_PAGES;
    if small || (checkpoints.commits < LOOK_EVERY && wal_bytes <= checkpoints.wal_bytes) {
        return Ok(());
    }
    (checkpoints.commits, checkpoints.wal_bytes) = (0, wal_bytes);
    let log = ask(&mut writer.db, "PRAGMA wal_checkpoint(NOOP)").await?;
    if log.pages >= CUT_PAGES && log.pages >= writer.checkpoints.held_at + FOLD_PAGES {
        cut(writer).await
    } else if log.pages - log.folded >= FOLD_PAGES {
        ask(&mut writer.db, "PRAGMA wal_checkpoint(PASSIVE)").await.map(|_| ())
    } else {
        Ok(())
    }
}

/// Folds all of the log and cuts it; what a reader still needs stays.
pub(super) async fn fold(writer: &mut Writer) -> Result<(), StoreError> {
    cut(writer).await
}

async fn cut(writer: &mut Writer) -> Result<(), StoreError> {
    // A reader that holds the log must not hold the crawl for the minute of the ordinary patience.
    let db = &mut writer.db;
    db.rows(sqlx::query("PRAGMA busy_timeout = 500")).await.map_err(sorted("fold the log"))?;
    let log = ask(db, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    db.rows(sqlx::query("PRAGMA busy_timeout = 60000")).await.map_err(sorted("fold the log"))?;
    writer.checkpoints.held_at = log?.pages.max(0);
    Ok(())
}

async fn ask(db: &mut Db, pragma: &'static str) -> Result<Log, StoreError> {
    let rows = db.rows(sqlx::query(pragma)).await.map_err(sorted("fold the log"))?;
    let number = |column: usize| rows.first().and_then(|row| row.try_get::<i64, _>(column).ok()).unwrap_or(0);
    Ok(Log { pages: number(1), folded: number(2) })
}
