//! Any question in SQL, for `trundle sql`.

use futures_util::TryStreamExt;
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Column, Executor, Row, SqlSafeStr, Statement, TypeInfo, ValueRef};

use crate::store::StoreError;
use crate::store::hex::hex;
use crate::store::sqlite::sorted;

use super::Reader;

/// An answer in rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows; a BLOB is hexadecimal text.
    pub rows: Vec<Vec<Value>>,
    /// Whether there are more rows than were asked for.
    pub more: bool,
}

impl Reader {
    /// Runs one statement that reads, and returns at most `rows_max` of its rows. It cannot write: the connection is
    /// read-only.
    pub async fn query(&self, sql: &str, rows_max: usize) -> Result<Table, StoreError> {
        let doing = "run the query";
        let mut conn = self.conn.lock().await;
        let statement =
            (&mut *conn).prepare(AssertSqlSafe(sql.to_owned()).into_sql_str()).await.map_err(sorted(doing))?;
        let columns = statement.columns().iter().map(|column| column.name().to_owned()).collect();
        let mut table = Table { columns, ..Table::default() };
        let mut rows = statement.query().fetch(&mut *conn);
        while let Some(row) = rows.try_next().await.map_err(sorted(doing))? {
            if table.rows.len() == rows_max {
                table.more = true;
                break;
            }
            table.rows.push((0..row.len()).map(|i| value(&row, i)).collect::<Result<_, _>>().map_err(sorted(doing))?);
        }
        Ok(table)
    }
}

fn value(row: &SqliteRow, column: usize) -> Result<Value, sqlx::Error> {
    let raw = row.try_get_raw(column)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info().name().to_owned();
    Ok(match kind.as_str() {
        "INTEGER" => Value::from(row.try_get_unchecked::<i64, _>(column)?),
        "REAL" => Value::from(row.try_get_unchecked::<f64, _>(column)?),
        "BLOB" => {
            let bytes: Vec<u8> = row.try_get_unchecked(column)?;
            Value::from(hex(&bytes))
        }
        // Text that is not UTF-8 cannot come from us, but a user's query may make some.
        _ => Value::from(String::from_utf8_lossy(&row.try_get_unchecked::<Vec<u8>, _>(column)?).into_owned()),
    })
}
