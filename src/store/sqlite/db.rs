//! One connection that counts its statements, and the one place that sorts SQLite's errors.

use futures_util::StreamExt;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Either, Executor, Sqlite, SqliteConnection};

use crate::store::StoreError;

/// A query with its values.
pub(super) type Query = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

/// A connection.
#[derive(Debug)]
pub(super) struct Db {
    conn: SqliteConnection,
    statements: u64,
    /// Whether a transaction may be open: it is when a commit's future was dropped half-way.
    open: bool,
}

/// What one statement of several did.
pub(super) enum Done {
    /// Rows that it changed.
    Changed(u64),
    /// A row that it returned.
    Row(SqliteRow),
}

impl Db {
    pub(super) fn new(conn: SqliteConnection) -> Self {
        Self { conn, statements: 0, open: false }
    }

    pub(super) fn statements(&self) -> u64 {
        self.statements
    }

    /// Runs one statement and returns the number of rows that it changed.
    pub(super) async fn run(&mut self, query: Query) -> Result<u64, sqlx::Error> {
        self.statements += 1;
        Ok(query.execute(&mut self.conn).await?.rows_affected())
    }

    /// Runs one statement and returns its rows.
    pub(super) async fn rows(&mut self, query: Query) -> Result<Vec<SqliteRow>, sqlx::Error> {
        self.statements += 1;
        query.fetch_all(&mut self.conn).await
    }

    /// Runs several statements that share numbered values in one hop to the connection's thread; what each did, in order.
    /// The values are named `$1`, `$2`, ...: with `?1`, sqlx 0.9 leaves values unbound in a statement that skips a number.
    pub(super) async fn script(&mut self, query: Query) -> Result<Vec<Done>, sqlx::Error> {
        let mut stream = (&mut self.conn).fetch_many(query);
        let mut done = Vec::new();
        while let Some(step) = stream.next().await {
            done.push(match step? {
                Either::Left(result) => {
                    self.statements += 1;
                    Done::Changed(result.rows_affected())
                }
                Either::Right(row) => Done::Row(row),
            });
        }
        Ok(done)
    }

    /// Opens a transaction that may write. Its predecessor is rolled back if it was left open.
    pub(super) async fn begin(&mut self) -> Result<(), sqlx::Error> {
        if self.open {
            self.rollback().await?;
        }
        self.open = true;
        self.run(sqlx::query("BEGIN IMMEDIATE")).await.map(|_| ())
    }

    pub(super) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.run(sqlx::query("COMMIT")).await?;
        self.open = false;
        Ok(())
    }

    /// Rolls back; SQLite may have done so by itself when the disk was full.
    pub(super) async fn rollback(&mut self) -> Result<(), sqlx::Error> {
        match self.run(sqlx::query("ROLLBACK")).await {
            Err(sqlx::Error::Database(cause)) if cause.message().contains("no transaction is active") => {}
            other => {
                other?;
            }
        }
        self.open = false;
        Ok(())
    }
}

/// SQLite's primary result code, see <https://www.sqlite.org/rescode.html>.
fn primary_code(error: &sqlx::Error) -> Option<i64> {
    let code = error.as_database_error()?.code()?.parse::<i64>().ok()?;
    Some(code & 0xff)
}

/// Why the rows themselves were refused; none when something else failed. 18 too big, 19 constraint, 20 wrong type.
pub(super) fn refusal(error: &sqlx::Error) -> Option<String> {
    matches!(primary_code(error), Some(18..=20)).then(|| error.to_string())
}

/// An error by what the caller must do: 13 full; 10 input/output, 11 corrupt, 26 not a database.
pub(in crate::store) fn sorted(doing: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |source| match primary_code(&source) {
        Some(13) => StoreError::DiskFull(source),
        Some(10 | 11 | 26) => StoreError::Io(source),
        _ => StoreError::Database { doing, source },
    }
}
