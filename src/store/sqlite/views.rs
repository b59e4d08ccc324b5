//! A view for each API stream, so that its records can be asked for as rows with columns.
//!
//! Enters: the rows of `sources`, and what a batch has learned about columns. Leaves: views in the schema, and in `item_columns` what
//! they were made from. A view is made anew when a record has a member that none had before, which ends soon. Deliberately absent:
//! which columns there are (`columns` says that).

use std::collections::{HashMap, HashSet};
use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection};

use crate::job::SourceId;
use crate::store::{SourceKind, SourceName, StoreError};

use super::columns::{Column, Columns, quoted, view_name};
use super::db::{Db, Query, sorted};
use super::schema::{self, Probe};

/// Records from which columns are learned when a file of an earlier version already has some.
const SAMPLE: i64 = 1_000;

/// Names that a view must not have: those of the schema, and those of tables that SQLite has of its own, such as `json_each`.
const TAKEN: &str = "SELECT name FROM sqlite_schema UNION SELECT name FROM pragma_module_list";

const STREAMS: &str = "
SELECT e.value, s.view, c.name, c.path
FROM json_each($1) AS e CROSS JOIN sources AS s ON s.source_id = e.value LEFT JOIN item_columns AS c ON c.source_id = e.value
WHERE s.view IS NOT NULL ORDER BY e.value, c.position";

fn statement(sql: String) -> Query {
    // A statement of its own each time: nothing is gained by keeping it.
    sqlx::query(AssertSqlSafe(sql)).persistent(false)
}

/// Gives each stream that has no view one. Must be called inside a transaction.
pub(super) async fn make_missing(db: &mut Db) -> Result<(), StoreError> {
    let doing = "make views of streams";
    for (source, name) in without_view(db).await? {
        let taken = db.rows(sqlx::query(TAKEN)).await.map_err(sorted(doing))?;
        let taken = taken.iter().map(lower).collect::<Result<_, _>>().map_err(sorted(doing))?;
        let named = sqlx::query("UPDATE sources SET view = $2 WHERE source_id = $1");
        db.run(named.bind(source.0).bind(view_name(&name, &taken))).await.map_err(sorted(doing))?;
        let Some(mut columns) = load(db, &[source]).await?.remove(&source) else { continue };
        if columns.n_stored == 0 {
            let sample =
                sqlx::query("SELECT data FROM items WHERE source_id = $1 LIMIT $2").bind(source.0).bind(SAMPLE);
            for row in db.rows(sample).await.map_err(sorted(doing))? {
                let text: &str = row.try_get(0).map_err(sorted(doing))?;
                columns.learn(&serde_json::from_str(text).unwrap_or_default());
            }
        }
        write(db, [(source, &columns)].into_iter()).await.map_err(sorted(doing))?;
    }
    Ok(())
}

/// The streams that have no view yet, in order.
pub(super) async fn without_view(db: &mut Db) -> Result<Vec<(SourceId, String)>, StoreError> {
    let doing = "read the streams without a view";
    let sql = "SELECT source_id, name FROM sources WHERE kind = 'api' AND view IS NULL ORDER BY source_id";
    let rows = db.rows(sqlx::query(sql)).await.map_err(sorted(doing))?;
    let read = |row: &SqliteRow| Ok::<_, sqlx::Error>((SourceId(row.try_get(0)?), row.try_get(1)?));
    rows.iter().map(read).collect::<Result<_, _>>().map_err(sorted(doing))
}

fn lower(row: &SqliteRow) -> Result<String, sqlx::Error> {
    Ok(row.try_get::<&str, _>(0)?.to_ascii_lowercase())
}

/// The columns of these streams as they are in the file; none for a section without a view.
pub(super) async fn load(db: &mut Db, sources: &[SourceId]) -> Result<HashMap<SourceId, Columns>, StoreError> {
    let doing = "read the columns of streams";
    let asked = serde_json::to_string(sources).expect("numbers are JSON");
    let rows = db.rows(sqlx::query(STREAMS).bind(asked)).await.map_err(sorted(doing))?;
    let mut found: HashMap<SourceId, (String, Vec<Column>)> = HashMap::new();
    let read = |row: &SqliteRow| -> Result<_, sqlx::Error> {
        let column = match row.try_get::<Option<String>, _>(2)? {
            Some(name) => Some(Column { name, path: serde_json::from_str(row.try_get(3)?).unwrap_or_default() }),
            None => None,
        };
        Ok((SourceId(row.try_get(0)?), row.try_get::<String, _>(1)?, column))
    };
    for row in &rows {
        let (source, view, column) = read(row).map_err(sorted(doing))?;
        found.entry(source).or_insert_with(|| (view, Vec::new())).1.extend(column);
    }
    Ok(found.into_iter().map(|(source, (view, stored))| (source, Columns::new(view, stored))).collect())
}

/// Writes what is new about columns, and makes the views anew.
pub(super) async fn write(db: &mut Db, changed: impl Iterator<Item = (SourceId, &Columns)>) -> Result<(), sqlx::Error> {
    for (source, columns) in changed {
        let rows: Vec<_> =
            columns.new_ones().map(|(position, column)| (position, &column.name, json(&column.path))).collect();
        let insert = "INSERT INTO item_columns (source_id, position, name, path) \
                      SELECT $1, value ->> 0, value ->> 1, value ->> 2 FROM json_each($2)";
        db.run(sqlx::query(insert).bind(source.0).bind(json(&rows))).await?;
        db.run(statement(format!("DROP VIEW IF EXISTS {}", quoted(&columns.view)))).await?;
        db.run(statement(columns.definition(source))).await?;
    }
    Ok(())
}

fn json<T: serde::Serialize>(rows: &T) -> String {
    serde_json::to_string(rows).expect("numbers and text are JSON")
}

/// Takes the views of streams away before the schema changes: a step may need the name of one, or change what it reads. They are
/// made again when the file is open.
pub(super) async fn drop_all(conn: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let has_views = "SELECT count(*) FROM pragma_table_info('sources') WHERE name = 'view'";
    if sqlx::query(has_views).fetch_one(&mut *conn).await?.try_get::<i64, _>(0)? == 0 {
        return Ok(());
    }
    let mut transaction = conn.begin().await?;
    for row in sqlx::query("SELECT view FROM sources WHERE view IS NOT NULL").fetch_all(&mut *transaction).await? {
        let drop = format!("DROP VIEW IF EXISTS {}", quoted(row.try_get(0)?));
        statement(drop).execute(&mut *transaction).await?;
    }
    sqlx::query("UPDATE sources SET view = NULL").execute(&mut *transaction).await?;
    transaction.commit().await
}

/// The views that the streams among `sources` have in the crawl at `path`, or will have when there is none yet; by name of the
/// stream.
pub async fn view_names(path: &Path, sources: &[SourceName]) -> Result<HashMap<String, String>, StoreError> {
    let doing = "look up the views of streams";
    let options = "sqlite::memory:".parse::<SqliteConnectOptions>().map_err(sorted(doing))?;
    let mut ours = options.disable_statement_logging().connect().await.map_err(sorted(doing))?;
    schema::migrate(&mut ours, path, Probe::Nothing).await?;
    let mut names = HashMap::new();
    let mut taken = read_names(&mut ours).await.map_err(sorted(doing))?;
    if schema::probe(path).await? == Probe::Ours {
        let options = SqliteConnectOptions::new().filename(path).read_only(true).disable_statement_logging();
        let mut conn = SqliteConnection::connect_with(&options).await.map_err(sorted(doing))?;
        taken.extend(read_names(&mut conn).await.map_err(sorted(doing))?);
        let stored = "SELECT name, view FROM sources WHERE kind = 'api' AND view IS NOT NULL";
        // A file of a version without such views says so with an error.
        for row in sqlx::query(stored).fetch_all(&mut conn).await.unwrap_or_default() {
            names.insert(row.try_get(0).map_err(sorted(doing))?, row.try_get(1).map_err(sorted(doing))?);
        }
    }
    for source in sources.iter().filter(|source| source.kind == SourceKind::Api) {
        if !names.contains_key(&source.name) {
            let view = view_name(&source.name, &taken);
            taken.insert(view.to_ascii_lowercase());
            names.insert(source.name.clone(), view);
        }
    }
    Ok(names)
}

async fn read_names(conn: &mut SqliteConnection) -> Result<HashSet<String>, sqlx::Error> {
    sqlx::query(TAKEN).fetch_all(conn).await?.iter().map(lower).collect()
}
