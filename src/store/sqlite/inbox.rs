//! What other processes leave for the crawl (`trundle add`, `trundle hosts`): written by any process, taken by the committer.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{Connection, Row, SqliteConnection, SqlitePool};
use url::Url;

use crate::clock::Timestamp;
use crate::job::{HostId, JobKind, NewJob, Origin, SourceId};
use crate::store::{HostOrder, HostRow, InboxRow, SourceKind, SourceName, StoreError};
use crate::throttle::{Order, Said, Shape};

use super::db::sorted;
use super::{Options, SqliteStore, host_rows};

/// Rows of the inbox after $1, oldest first, at most $2. An address whose section has no number yet waits.
const READ: &str = "
SELECT i.inbox_id, i.what, i.kind, i.url, s.source_id, h.host_id, i.rate_per_s, i.burst, i.window_ms
FROM inbox AS i
LEFT JOIN sources AS s ON s.kind = i.kind AND s.name = i.name
LEFT JOIN hosts AS h ON i.what <> 'add' AND h.origin = i.url
WHERE i.inbox_id > $1 AND (i.what <> 'add' OR s.source_id IS NOT NULL)
ORDER BY i.inbox_id LIMIT $2";

const ADD: &str = "
INSERT INTO inbox (what, kind, name, url, added_at)
SELECT 'add', value ->> 0, value ->> 1, value ->> 2, $2 FROM json_each($1)";

const ORDER: &str = "
INSERT INTO inbox (what, url, rate_per_s, burst, window_ms, added_at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, $2 FROM json_each($1)";

/// Puts addresses into the inbox of the crawl at `path`, which is made if it is not there. Works while a crawl runs.
pub async fn post(path: &Path, urls: &[(SourceName, Url)], now: Timestamp) -> Result<(), StoreError> {
    let rows: Vec<(&str, &str, &str)> =
        urls.iter().map(|(source, url)| (kind_word(source.kind), source.name.as_str(), url.as_str())).collect();
    insert(path, ADD, serde_json::to_string(&rows).expect("text is JSON"), now).await
}

/// Puts orders about hosts into the inbox of the crawl at `path`. Works while a crawl runs.
pub async fn post_orders(path: &Path, orders: &[(Origin, Order)], now: Timestamp) -> Result<(), StoreError> {
    #[expect(clippy::cast_possible_truncation, reason = "a window of whole ms")]
    let row = |(origin, order): &(Origin, Order)| {
        let origin = origin.as_str().to_owned();
        match order {
            Order::Forget => ("forget", origin, None, None, None),
            Order::Set(Said { rate_per_s, shape: Shape::Burst(burst) }) => {
                ("set", origin, Some(*rate_per_s), Some(*burst), None)
            }
            Order::Set(Said { rate_per_s, shape: Shape::WindowMs(window_ms) }) => {
                ("set", origin, Some(*rate_per_s), None, Some(*window_ms as i64))
            }
        }
    };
    let rows: Vec<_> = orders.iter().map(row).collect();
    insert(path, ORDER, serde_json::to_string(&rows).expect("text and numbers are JSON"), now).await
}

async fn insert(path: &Path, sql: &'static str, rows: String, now: Timestamp) -> Result<(), StoreError> {
    // Makes the file, or brings it up to date; while a crawl runs, both are done.
    match SqliteStore::open(path, &Options::default()).await {
        Ok(_) | Err(StoreError::InUse { .. }) => {}
        Err(error) => return Err(error),
    }
    let doing = "add to the inbox";
    let options = SqliteConnectOptions::new().filename(path).foreign_keys(false).busy_timeout(Duration::from_mins(1));
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(sorted(doing))?;
    sqlx::query(sql).bind(rows).bind(now.0).execute(&mut connection).await.map_err(sorted(doing))?;
    connection.close().await.map_err(sorted(doing))
}

pub(super) async fn read(readers: &SqlitePool, after: i64, limit: u32) -> Result<Vec<InboxRow>, StoreError> {
    let doing = "read the inbox";
    let rows = sqlx::query(READ).bind(after).bind(limit).fetch_all(readers).await.map_err(sorted(doing))?;
    let mut read = Vec::with_capacity(rows.len());
    for row in &rows {
        let (mut inbox_row, ordered) = columns(row).map_err(sorted(doing))?;
        if let Some((host_id, order)) = ordered {
            inbox_row.order = host(readers, host_id).await?.map(|host| Box::new(HostOrder { host, order }));
        }
        read.push(inbox_row);
    }
    Ok(read)
}

fn columns(row: &SqliteRow) -> Result<(InboxRow, Option<(HostId, Order)>), sqlx::Error> {
    let inbox_id = row.try_get(0)?;
    let (what, url): (&str, &str) = (row.try_get(1)?, row.try_get(3)?);
    if what == "add" {
        let kind = if row.try_get::<&str, _>(2)? == "api" { JobKind::ApiPage } else { JobKind::Page };
        let source = SourceId(row.try_get(4)?);
        let job = Url::parse(url).ok().map(|url| NewJob::seed(url, kind, source));
        return Ok((InboxRow { inbox_id, job, order: None }, None));
    }
    let shape = match (row.try_get::<Option<f64>, _>(7)?, row.try_get::<Option<i64>, _>(8)?) {
        #[expect(clippy::cast_precision_loss, reason = "windows are below 2^53 ms")]
        (_, Some(window_ms)) => Shape::WindowMs(window_ms as f64),
        (burst, None) => Shape::Burst(burst.unwrap_or(1.0)),
    };
    let order = match row.try_get::<Option<f64>, _>(6)? {
        Some(rate_per_s) => Order::Set(Said { rate_per_s, shape }),
        None => Order::Forget,
    };
    let host_id = row.try_get::<Option<u32>, _>(5)?.map(HostId);
    Ok((InboxRow { inbox_id, job: None, order: None }, host_id.map(|host_id| (host_id, order))))
}

/// The host as it is in the file, for a dispatcher that does not know it.
async fn host(readers: &SqlitePool, host_id: HostId) -> Result<Option<HostRow>, StoreError> {
    let ids = serde_json::to_string(&[host_id]).expect("numbers are JSON");
    let row = sqlx::query(host_rows::BY_ID).bind(ids).fetch_optional(readers).await.map_err(sorted("read hosts"))?;
    row.as_ref().map(host_rows::read).transpose()
}

fn kind_word(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Site => "site",
        SourceKind::Api => "api",
    }
}
