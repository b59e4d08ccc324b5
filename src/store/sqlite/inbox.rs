//! What `trundle add` leaves for the crawl: written by any process, taken by the committer.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, Row, SqliteConnection, SqlitePool};
use url::Url;

use crate::clock::Timestamp;
use crate::job::{JobKind, NewJob, SourceId};
use crate::store::{InboxRow, SourceKind, SourceName, StoreError};

use super::db::sorted;
use super::{Options, SqliteStore};

/// Rows of the inbox whose section has a number, oldest first.
const READ: &str = "
SELECT i.inbox_id, i.kind, i.url, s.source_id
FROM inbox AS i JOIN sources AS s ON s.kind = i.kind AND s.name = i.name
WHERE i.inbox_id > $1 ORDER BY i.inbox_id LIMIT $2";

/// Puts addresses into the inbox of the crawl at `path`, which is made if it is not there. Works while a crawl runs.
pub async fn post(path: &Path, urls: &[(SourceName, Url)], now: Timestamp) -> Result<(), StoreError> {
    // Makes the file, or brings it up to date; while a crawl runs, both are done.
    match SqliteStore::open(path, &Options::default()).await {
        Ok(_) | Err(StoreError::InUse { .. }) => {}
        Err(error) => return Err(error),
    }
    let doing = "add to the inbox";
    let options = SqliteConnectOptions::new().filename(path).foreign_keys(false).busy_timeout(Duration::from_secs(60));
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(sorted(doing))?;
    let rows: Vec<(&str, &str, &str)> =
        urls.iter().map(|(source, url)| (kind_word(source.kind), source.name.as_str(), url.as_str())).collect();
    let sql = "INSERT INTO inbox (kind, name, url, added_at) \
               SELECT value ->> 0, value ->> 1, value ->> 2, $2 FROM json_each($1)";
    let text = serde_json::to_string(&rows).expect("text is JSON");
    sqlx::query(sql).bind(text).bind(now.0).execute(&mut connection).await.map_err(sorted(doing))?;
    connection.close().await.map_err(sorted(doing))
}

pub(super) async fn read(readers: &SqlitePool, after: i64, limit: u32) -> Result<Vec<InboxRow>, StoreError> {
    let doing = "read the inbox";
    let rows = sqlx::query(READ).bind(after).bind(limit).fetch_all(readers).await.map_err(sorted(doing))?;
    let read = |row: &sqlx::sqlite::SqliteRow| -> Result<InboxRow, sqlx::Error> {
        let (kind, url, source): (&str, &str, u32) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        let kind = if kind == "api" { JobKind::ApiPage } else { JobKind::Page };
        let job = Url::parse(url).ok().map(|url| NewJob::seed(url, kind, SourceId(source)));
        Ok(InboxRow { inbox_id: row.try_get(0)?, job })
    };
    rows.iter().map(read).collect::<Result<_, _>>().map_err(sorted(doing))
}

fn kind_word(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Site => "site",
        SourceKind::Api => "api",
    }
}
