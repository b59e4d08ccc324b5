//! Opening the file: whose it is, what it is, and how its connections behave.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};
use tokio::sync::Mutex;

use crate::job::HashKey;
use crate::store::StoreError;

use super::commit::Known;
use super::db::{Db, sorted};
use super::lock::LockFile;
use super::{SqliteStore, Writer, checkpoint, schema, views};

/// How much memory a store may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Page cache of the writer in MiB, 1..=65,536. Default 96: it keeps the index leaves of the active hosts, and those of
    /// the keys of two million records. A pull of a million records stays below 150 MB with it (`cargo bench --bench records`).
    pub cache_mib: u32,
    /// Page cache of each of the two read connections in MiB. Default 16.
    pub reader_cache_mib: u32,
    /// Job keys that are remembered to be known, so that a link met again costs no statement; about 80 bytes each.
    /// Default 1,000,000. A cache of 50,000 already answers 80 % on a trace of 10^9 requests (Broder, Najork, Wiener 2003).
    pub known_jobs_max: usize,
    /// Origins whose numbers are remembered; about 150 bytes each. Default 100,000.
    pub known_hosts_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { cache_mib: 96, reader_cache_mib: 16, known_jobs_max: 1_000_000, known_hosts_max: 100_000 }
    }
}

impl SqliteStore {
    /// Opens the crawl at `path`, or makes a new one there. Its folder must exist.
    ///
    /// Fails with [`StoreError::InUse`] while another process works on it, and with [`StoreError::Unusable`] for a missing
    /// folder, a file of another program, or one that a newer version made.
    pub async fn open(path: &Path, options: &Options) -> Result<Self, StoreError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            let why = format!("the folder {} does not exist; make it first", folder.display());
            return Err(StoreError::Unusable { path: path.to_owned(), why });
        }
        let lock = LockFile::take(path)?;
        let probe = schema::probe(path).await?;

        let writing = base(path, options.cache_mib)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Each commit is synced: grouped as they are, it costs about 8 % against NORMAL.
            .synchronous(SqliteSynchronous::Full);
        let mut conn = SqliteConnection::connect_with(&writing).await.map_err(sorted("open the database"))?;
        schema::check_library(&mut conn, path).await?;
        schema::migrate(&mut conn, path, probe).await?;
        let mut db = Db::new(conn);
        if !views::without_view(&mut db).await?.is_empty() {
            let doing = "make the views of streams again";
            db.begin().await.map_err(sorted(doing))?;
            views::make_missing(&mut db).await?;
            db.commit().await.map_err(sorted(doing))?;
        }
        let (hash_key, run_id) = read_meta(&mut db).await?;

        let readers = SqlitePoolOptions::new()
            .max_connections(2)
            // A pool that rotates its connections has crashed programs on the shared-memory file.
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(base(path, options.reader_cache_mib).read_only(true));
        let writer = Writer {
            db,
            run_id,
            known: Known::new(options.known_jobs_max, options.known_hosts_max),
            checkpoints: checkpoint::Checkpoints::default(),
        };
        Ok(Self { path: path.to_owned(), hash_key, writer: Mutex::new(writer), readers, _lock: lock })
    }
}

/// What all connections share.
fn base(path: &Path, cache_mib: u32) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(Duration::from_mins(1))
        // The committer keeps the references; a lookup for each inserted row would double its reads.
        .foreign_keys(false)
        // The committer checkpoints by itself, never a reader.
        .pragma("wal_autocheckpoint", "0")
        .pragma("cache_size", format!("-{}", u64::from(cache_mib) * 1024))
        .pragma("temp_store", "MEMORY")
        .pragma("journal_size_limit", checkpoint::WAL_KEPT_BYTES.to_string())
        .disable_statement_logging()
}

async fn read_meta(db: &mut Db) -> Result<(HashKey, i64), StoreError> {
    let rows = db.rows(sqlx::query("SELECT hash_key, run_epoch FROM meta")).await.map_err(sorted("read meta"))?;
    let inconsistent = |why: &str| StoreError::Inconsistent { table: "meta", row: "1".into(), why: why.to_owned() };
    let row = rows.first().ok_or_else(|| inconsistent("it is missing"))?;
    let key: Vec<u8> = row.try_get(0).map_err(sorted("read meta"))?;
    let key = <[u8; 16]>::try_from(key.as_slice()).map_err(|_| inconsistent("hash_key has not 16 bytes"))?;
    Ok((HashKey(key), row.try_get(1).map_err(sorted("read meta"))?))
}
