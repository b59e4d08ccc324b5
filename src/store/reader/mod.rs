//! The read side: what people are told about a crawl, while it runs and after it.
//!
//! Enters: a path. Leaves: plain data for the command line and the dashboard. Every question costs O(hosts) or less, and
//! none of them can write. Deliberately absent: how it is shown.

mod given_up;
mod scopes;
mod sql;
mod status;
mod why;

pub use given_up::GivenUpRow;
pub use scopes::ScopeReport;
pub use sql::Table;
pub use status::{Failure, HostReport, LastRun, ProgressReport, SourceReport};
pub use why::{AttemptRow, ResponseSummary, WhyReport};

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::Mutex;

use super::StoreError;
use super::sqlite::{Probe, probe, sorted};

/// A read-only door to a crawl's file. It needs no lock and holds nobody up.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    conn: Mutex<SqliteConnection>,
}

impl Reader {
    /// Opens the crawl at `path`; fails with [`StoreError::Unusable`] when there is none.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let missing = || StoreError::Unusable {
            path: path.to_owned(),
            why: "there is no crawl here yet; start one with `trundle run`".into(),
        };
        if probe(path).await? == Probe::Nothing {
            return Err(missing());
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .busy_timeout(Duration::from_secs(10))
            .foreign_keys(false)
            .pragma("query_only", "1")
            .pragma("temp_store", "MEMORY")
            .disable_statement_logging();
        let conn = SqliteConnection::connect_with(&options).await.map_err(sorted("open the database for reading"))?;
        Ok(Self { path: path.to_owned(), conn: Mutex::new(conn) })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The questions whose plans a test looks at.
#[cfg(test)]
pub(super) mod plans {
    pub(in crate::store) use super::given_up::{DEAD_GROUPS, GONE_GROUPS};
    pub(in crate::store) use super::scopes::{NARROW, NARROW_OF_HOSTS};
    pub(in crate::store) use super::status::{FAILURES, HOSTS, HOSTS_NAMED};
    pub(in crate::store) use super::why::{AHEAD, JOB, PARENTS};
}
