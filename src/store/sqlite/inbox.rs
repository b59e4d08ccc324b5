//! What other processes leave for the crawl (`trundle add`, `trundle retry`, `trundle hosts`): written by any process, taken by the committer.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{Connection, Row, SqliteConnection, SqlitePool};
use url::Url;

use crate::clock::Timestamp;
use crate::job::{HostId, JobId, JobKind, NewJob, Origin, SourceId};
use crate::store::{GivenUp, HostOrder, HostRow, InboxRow, SourceKind, SourceName, StoreError};
use crate::throttle::{Order, Said, Shape};

use super::db::sorted;
use super::{Options, SqliteStore, host_rows, scope_rows};

/// Rows of the inbox after $1, oldest first, at most $2. An address whose section has no number yet waits.
const READ: &str = "
SELECT i.inbox_id, i.what, i.kind, i.url, s.source_id, h.host_id, i.rate_per_s, i.burst, i.window_ms, i.job_id
FROM inbox AS i
LEFT JOIN sources AS s ON s.kind = i.kind AND s.name = i.name
LEFT JOIN hosts AS h ON i.what IN ('forget', 'set') AND h.origin = i.url
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

/// Jobs that were given up, as `trundle retry` asks for them: $1 the sections as `["site.docs"]`, $2 a part of the reason, each NULL for
/// all. A page whose walk has ended otherwise or begun again since is none.
macro_rules! given_up {
    ($select:literal, $state:literal, $rest:literal) => {
        concat!(
            $select,
            " FROM jobs AS j CROSS JOIN hosts AS h ON h.host_id = j.host_id CROSS JOIN sources AS o ON o.source_id = j.source_id \
              LEFT JOIN slices AS s ON s.slice_id = j.slice_id WHERE j.state = ",
            $state,
            " AND (j.slice_id IS NULL OR (s.state = 2 AND s.walk = j.walk)) \
              AND ($1 IS NULL OR o.kind || '.' || o.name IN (SELECT value FROM json_each($1))) \
              AND ($2 IS NULL OR instr(j.reason, $2) > 0)",
            $rest
        )
    };
}

pub(in crate::store) use given_up;

const RETRY_DEAD: &str = given_up!(
    "INSERT INTO inbox (what, url, job_id, added_at) SELECT 'retry', h.origin || j.request, j.job_id, $3",
    "4",
    ""
);

const RETRY_GONE: &str = given_up!(
    "INSERT INTO inbox (what, url, job_id, added_at) SELECT 'retry', h.origin || j.request, j.job_id, $3",
    "3",
    ""
);

const RETRY_JOBS: &str = "
INSERT INTO inbox (what, url, job_id, added_at)
SELECT 'retry', h.origin || j.request, j.job_id, $2
FROM json_each($1) AS e CROSS JOIN jobs AS j ON j.job_id = e.value CROSS JOIN hosts AS h ON h.host_id = j.host_id";

/// Asks for jobs that were given up to be done once more; how many. Works while a crawl runs.
pub async fn post_retries(path: &Path, which: &GivenUp, now: Timestamp) -> Result<u64, StoreError> {
    let mut connection = connect(path).await?;
    let doing = sorted(DOING);
    let added = match which {
        GivenUp::Jobs(jobs) => {
            let ids = serde_json::to_string(jobs).expect("numbers are JSON");
            sqlx::query(RETRY_JOBS).bind(ids).bind(now.0).execute(&mut connection).await.map_err(doing)?.rows_affected()
        }
        GivenUp::Matching { gone, sections, reason } => {
            let sql = if *gone { RETRY_GONE } else { RETRY_DEAD };
            let query = sqlx::query(sql).bind(names(sections)).bind(reason.clone()).bind(now.0);
            query.execute(&mut connection).await.map_err(doing)?.rows_affected()
        }
    };
    connection.close().await.map_err(sorted(DOING))?;
    Ok(added)
}

/// Sections as JSON, `["site.docs"]`; none for all.
pub(in crate::store) fn names(sections: &[SourceName]) -> Option<String> {
    let names: Vec<String> =
        sections.iter().map(|source| format!("{}.{}", kind_word(source.kind), source.name)).collect();
    (!names.is_empty()).then(|| serde_json::to_string(&names).expect("text is JSON"))
}

const DOING: &str = "add to the inbox";

async fn insert(path: &Path, sql: &'static str, rows: String, now: Timestamp) -> Result<(), StoreError> {
    let mut connection = connect(path).await?;
    sqlx::query(sql).bind(rows).bind(now.0).execute(&mut connection).await.map_err(sorted(DOING))?;
    connection.close().await.map_err(sorted(DOING))
}

/// A connection to the crawl at `path`, which is made if it is not there.
async fn connect(path: &Path) -> Result<SqliteConnection, StoreError> {
    // Makes the file, or brings it up to date; while a crawl runs, both are done.
    match SqliteStore::open(path, &Options::default()).await {
        Ok(_) | Err(StoreError::InUse { .. }) => {}
        Err(error) => return Err(error),
    }
    let options = SqliteConnectOptions::new().filename(path).foreign_keys(false).busy_timeout(Duration::from_mins(1));
    SqliteConnection::connect_with(&options).await.map_err(sorted(DOING))
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
        return Ok((InboxRow { inbox_id, job, retry: None, order: None }, None));
    }
    if what == "retry" {
        return Ok((InboxRow { inbox_id, job: None, retry: Some(JobId(row.try_get(9)?)), order: None }, None));
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
    Ok((InboxRow { inbox_id, job: None, retry: None, order: None }, host_id.map(|host_id| (host_id, order))))
}

/// The host as it is in the file, for a dispatcher that does not know it.
async fn host(readers: &SqlitePool, host_id: HostId) -> Result<Option<HostRow>, StoreError> {
    let ids = serde_json::to_string(&[host_id]).expect("numbers are JSON");
    let rows =
        sqlx::query(host_rows::BY_ID).bind(ids.clone()).fetch_all(readers).await.map_err(sorted("read hosts"))?;
    let scopes = sqlx::query(scope_rows::BY_ID).bind(ids).fetch_all(readers).await;
    Ok(host_rows::with_scopes(&rows, &scopes.map_err(sorted("read limit scopes"))?)?.pop())
}

fn kind_word(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Site => "site",
        SourceKind::Api => "api",
    }
}
