//! What was given up and why, in groups, for `trundle retry`.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::store::sqlite::{given_up, names, sorted};
use crate::store::{SourceName, StoreError};

use super::Reader;
use super::status::count;

/// Jobs of one section that were given up for one reason.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct GivenUpRow {
    /// As the configuration spells it: `site.docs`.
    pub section: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub jobs: u64,
}

macro_rules! groups {
    ($state:literal) => {
        given_up!(
            "SELECT o.kind || '.' || o.name, coalesce(j.reason, ''), count(*)",
            $state,
            " GROUP BY o.source_id, j.reason ORDER BY count(*) DESC, o.source_id, j.reason"
        )
    };
}

pub(in crate::store) const DEAD_GROUPS: &str = groups!("4");

pub(in crate::store) const GONE_GROUPS: &str = groups!("3");

impl Reader {
    /// The jobs that are dead (or `gone`) and can be done once more, the largest group first: of these sections (none for all), with
    /// this text in their reason. Costs one read a job that was given up.
    pub async fn given_up(
        &self,
        gone: bool,
        sections: &[SourceName],
        reason: Option<&str>,
    ) -> Result<Vec<GivenUpRow>, StoreError> {
        let doing = "read what was given up";
        let mut conn = self.conn.lock().await;
        let sql = if gone { GONE_GROUPS } else { DEAD_GROUPS };
        let query = sqlx::query(sql).bind(names(sections)).bind(reason.map(str::to_owned));
        let rows = query.fetch_all(&mut *conn).await.map_err(sorted(doing))?;
        let read = |row: &SqliteRow| -> Result<_, sqlx::Error> {
            Ok(GivenUpRow { section: row.try_get(0)?, reason: row.try_get(1)?, jobs: count(row, 2)? })
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(sorted(doing))
    }
}
