//! What can go wrong with a store, sorted by what a caller must do.

use std::path::PathBuf;

/// A store's failure.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process works on the file.
    #[error("{path} is in use by another trundle{}; stop it first, or read the file with `trundle status`", pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse {
        /// The database.
        path: PathBuf,
        /// The process that holds it, if it wrote its number.
        pid: Option<u32>,
    },
    /// The file is missing, is not ours, or was made by a newer version.
    #[error("open {path}: {why}")]
    Unusable {
        /// The database.
        path: PathBuf,
        /// What is the matter and what to do.
        why: String,
    },
    /// The disk is full: nothing was committed; free some space and the crawl goes on.
    #[error("the disk is full")]
    DiskFull(#[source] sqlx::Error),
    /// Reading or writing the file failed: the process must exit, since what a failed sync left behind is unknown.
    #[error("input/output on the database failed; the crawl stops and can be resumed")]
    Io(#[source] sqlx::Error),
    /// Another process took the file over although this one holds the lock.
    #[error("another process took over this database (run {found}, ours is {ours})")]
    TakenOver {
        /// Our run.
        ours: i64,
        /// The run in the file.
        found: i64,
    },
    /// A row that cannot be what it should be.
    #[error("the database is inconsistent: {table} {row}: {why}")]
    Inconsistent {
        /// Where.
        table: &'static str,
        /// Which row.
        row: String,
        /// What is wrong with it.
        why: String,
    },
    /// Anything else from the database.
    #[error("{doing}")]
    Database {
        /// What we were doing.
        doing: &'static str,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
}
