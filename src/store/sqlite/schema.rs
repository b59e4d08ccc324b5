//! The steps of the schema, and what a file must be before they are applied.

use std::path::Path;

use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row, SqlSafeStr, SqliteConnection};

use crate::store::StoreError;

use super::db::sorted;
use super::views;

/// `PRAGMA application_id` of our files: the letters `trnd`.
pub(super) const APPLICATION_ID: i64 = 0x7472_6e64;

/// The first SQLite without the WAL-reset bug, <https://www.sqlite.org/wal.html#walresetbug>.
const SQLITE_MIN: (u32, u32, u32) = (3, 51, 3);

/// One intention a file, in order. A landed one never changes.
const STEPS: &[(i64, &str, &str)] = &[
    (1, "meta", include_str!("../../../migrations/sqlite/0001_meta.sql")),
    (2, "runs", include_str!("../../../migrations/sqlite/0002_runs.sql")),
    (3, "sources", include_str!("../../../migrations/sqlite/0003_sources.sql")),
    (4, "hosts", include_str!("../../../migrations/sqlite/0004_hosts.sql")),
    (5, "jobs", include_str!("../../../migrations/sqlite/0005_jobs.sql")),
    (6, "inflight", include_str!("../../../migrations/sqlite/0006_inflight.sql")),
    (7, "attempts", include_str!("../../../migrations/sqlite/0007_attempts.sql")),
    (8, "responses", include_str!("../../../migrations/sqlite/0008_responses.sql")),
    (9, "items", include_str!("../../../migrations/sqlite/0009_items.sql")),
    (10, "robots", include_str!("../../../migrations/sqlite/0010_robots.sql")),
    (11, "totals", include_str!("../../../migrations/sqlite/0011_totals.sql")),
    (12, "ticks", include_str!("../../../migrations/sqlite/0012_ticks.sql")),
    (13, "events", include_str!("../../../migrations/sqlite/0013_events.sql")),
    (14, "view all_jobs", include_str!("../../../migrations/sqlite/0014_view_all_jobs.sql")),
    (15, "views of progress", include_str!("../../../migrations/sqlite/0015_views_of_progress.sql")),
    (16, "views of results", include_str!("../../../migrations/sqlite/0016_views_of_results.sql")),
    (17, "inbox", include_str!("../../../migrations/sqlite/0017_inbox.sql")),
    (18, "limits rounded", include_str!("../../../migrations/sqlite/0018_limits_rounded.sql")),
    (20, "limits in words", include_str!("../../../migrations/sqlite/0020_limits_in_words.sql")),
    (21, "inbox of orders", include_str!("../../../migrations/sqlite/0021_inbox_of_orders.sql")),
    (22, "lanes", include_str!("../../../migrations/sqlite/0022_lanes.sql")),
    (23, "limit scopes", include_str!("../../../migrations/sqlite/0023_limit_scopes.sql")),
    (24, "limits declared", include_str!("../../../migrations/sqlite/0024_limits_declared.sql")),
    (
        25,
        "requests beside their address",
        include_str!("../../../migrations/sqlite/0025_requests_beside_their_address.sql"),
    ),
    (26, "slices", include_str!("../../../migrations/sqlite/0026_slices.sql")),
    (27, "pulls", include_str!("../../../migrations/sqlite/0027_pulls.sql")),
    (28, "views of streams", include_str!("../../../migrations/sqlite/0028_views_of_streams.sql")),
    (29, "holds", include_str!("../../../migrations/sqlite/0029_holds.sql")),
    (30, "limits of members", include_str!("../../../migrations/sqlite/0030_limits_of_members.sql")),
    (34, "robots validators", include_str!("../../../migrations/sqlite/0034_robots_validators.sql")),
    (35, "inbox of retries", include_str!("../../../migrations/sqlite/0035_inbox_of_retries.sql")),
];

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Probe {
    /// Nothing, or an empty database.
    Nothing,
    /// A file of ours.
    Ours,
}

/// Looks at the file without changing it; a file of another program is refused.
pub(in crate::store) async fn probe(path: &Path) -> Result<Probe, StoreError> {
    let unusable = |why: String| StoreError::Unusable { path: path.to_owned(), why };
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => return Err(unusable("it is a folder".into())),
        Ok(meta) if meta.len() == 0 => return Ok(Probe::Nothing),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Probe::Nothing),
        Err(error) => return Err(unusable(error.to_string())),
    }
    let foreign = || unusable("it is not a trundle database; choose another path".into());
    let not_a_database = |source: sqlx::Error| match sorted("look at the file")(source) {
        StoreError::Io(_) => foreign(),
        other => other,
    };
    // Without a write-ahead log beside it, a database can be read even where none can be made.
    let options = SqliteConnectOptions::new().filename(path).read_only(true).disable_statement_logging();
    let mut conn = SqliteConnection::connect_with(&options).await.map_err(not_a_database)?;
    let look = "SELECT application_id, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id";
    let row = match sqlx::query(look).fetch_one(&mut conn).await {
        Ok(row) => row,
        Err(error) => {
            let _ = conn.close().await;
            return Err(not_a_database(error));
        }
    };
    let (application_id, n_objects): (i64, i64) =
        (row.try_get(0).map_err(sorted("look at the file"))?, row.try_get(1).map_err(sorted("look at the file"))?);
    let _ = conn.close().await;
    match (application_id, n_objects) {
        (APPLICATION_ID, _) => Ok(Probe::Ours),
        (0, 0) => Ok(Probe::Nothing),
        _ => Err(foreign()),
    }
}

/// Brings the schema of the file up to this version.
pub(super) async fn migrate(conn: &mut SqliteConnection, path: &Path, probe: Probe) -> Result<(), StoreError> {
    if probe == Probe::Nothing {
        // Before anything else, so that a crash among the steps leaves a file that is known to be ours.
        sqlx::query("PRAGMA application_id = 1953656420")
            .execute(&mut *conn)
            .await
            .map_err(sorted("mark the file as ours"))?;
    } else if is_older(conn).await {
        views::drop_all(conn).await.map_err(sorted("take views away before the schema changes"))?;
    }
    migrate_with(conn, path, STEPS).await
}

/// Whether steps are to come; no for a file in which a crash left none.
async fn is_older(conn: &mut SqliteConnection) -> bool {
    let made = sqlx::query("SELECT count(*) FROM _sqlx_migrations").fetch_one(conn).await;
    let made = made.and_then(|row| row.try_get::<i64, _>(0)).ok();
    made.and_then(|made| usize::try_from(made).ok()).is_some_and(|made| made < STEPS.len())
}

async fn migrate_with<C: Migrate>(
    conn: &mut C,
    path: &Path,
    steps: &[(i64, &'static str, &'static str)],
) -> Result<(), StoreError> {
    let migrations = steps.iter().map(|&(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let unusable = |why: String| StoreError::Unusable { path: path.to_owned(), why };
    match Migrator::with_migrations(migrations.collect()).run_direct(None, conn, false).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(step)) => Err(unusable(format!(
            "it was made by a newer trundle (schema step {step} is not known to this one); use the newer version"
        ))),
        Err(MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _)) => {
            Err(sorted("bring the schema up to date")(source))
        }
        Err(other) => Err(unusable(other.to_string())),
    }
}

/// Refuses to work with a SQLite that can corrupt the file.
pub(super) async fn check_library(conn: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let version: String = sqlx::query("SELECT sqlite_version()")
        .fetch_one(conn)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(sorted("ask for the version of SQLite"))?;
    if parse_version(&version).is_some_and(|found| found >= SQLITE_MIN) {
        return Ok(());
    }
    let least = SQLITE_MIN;
    Err(StoreError::Unusable {
        path: path.to_owned(),
        why: format!(
            "this program was linked with SQLite {version}, which can corrupt a database in WAL mode; \
             it needs {}.{}.{} or later",
            least.0, least.1, least.2
        ),
    })
}

fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split('.').map(|part| part.parse::<u32>().ok());
    Some((parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?))
}

/// A file as a version made it that knew the steps up to `last`.
#[cfg(test)]
pub(super) async fn make_older(path: &Path, last: usize) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut conn = SqliteConnection::connect_with(&options).await.expect("connects");
    sqlx::query("PRAGMA application_id = 1953656420").execute(&mut conn).await.expect("marks");
    migrate_with(&mut conn, path, &STEPS[..last]).await.expect("the steps apply");
    conn.close().await.expect("closes");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        #[track_caller]
        fn check(version: &str, fine: bool) {
            assert_eq!(parse_version(version).is_some_and(|found| found >= SQLITE_MIN), fine, "{version}");
        }
        check("3.51.3", true);
        check("3.100.0", true);
        check("4.0", true);
        check("3.51.2", false);
        check("3.9.9", false);
        check("nonsense", false);
    }

    #[test]
    fn the_id_of_our_files_is_the_one_that_is_written() {
        assert_eq!(APPLICATION_ID, 1_953_656_420);
    }

    #[tokio::test]
    async fn a_file_of_a_newer_version_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("newer.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut conn = SqliteConnection::connect_with(&options).await.expect("connects");
        let mut newer = STEPS.to_vec();
        newer.push((99, "a step of tomorrow", "CREATE TABLE tomorrow (x INTEGER) STRICT;"));
        migrate_with(&mut conn, &path, &newer).await.expect("the newer version makes the file");
        let error = migrate_with(&mut conn, &path, STEPS).await.expect_err("ours cannot read it");
        assert!(error.to_string().contains("newer trundle (schema step 99"), "{error}");
    }
}
