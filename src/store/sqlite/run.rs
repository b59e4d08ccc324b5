//! The start and the orderly end of a run.

use std::collections::HashMap;

use sqlx::Row;
use url::Url;

use crate::clock::Timestamp;
use crate::job::{HashKey, JobId, RunId, SourceId};
use crate::store::{Batch, JobMove, OpenRun, PullState, Settlement, SourceKind, SourceName, SourceRow, StoreError};

use super::db::{Db, sorted};
use super::{Writer, commit, host_rows, views};

/// Deaths of the process with one job in flight after which the job is given up. After the third it is only sent alone (the
/// dispatcher sees to that), so the last seven had no other cause that we could see. With six, a hundred kills from outside, each
/// within the first requests of a run, have been seen to bury the next page of a cursor: it is in flight at each of them.
const CRASHES_MAX: i64 = 10;

/// The clock may go back this far between two runs before waiting jobs are moved as well, in ms: to move them reads them all.
const CLOCK_BACK_MS: i64 = 60_000;

/// Raises the epoch to $1: from here on, commits of another process are refused.
const TAKE_OVER: &str = "
UPDATE meta SET run_epoch = $1;
INSERT INTO runs (run_id, started_at, pid, version, crashed_in_flight)
    VALUES ($1, $2, $3, $4, (SELECT count(*) FROM inflight CROSS JOIN jobs USING (job_id) WHERE state IN (0, 1)));
UPDATE jobs SET crashes = crashes + 1 WHERE job_id IN (SELECT job_id FROM inflight) AND state IN (0, 1);
SELECT job_id FROM inflight CROSS JOIN jobs USING (job_id) WHERE state IN (0, 1) AND crashes >= $5;
DELETE FROM inflight;
INSERT INTO sources (kind, name) SELECT value ->> 0, value ->> 1 FROM json_each($6) WHERE true
    ON CONFLICT (kind, name) DO NOTHING;
";

/// Moves embargoes back by $2 ms, so that what remained of them at the last commit remains now ($1).
const MOVE_EMBARGOES: &str = "
UPDATE host_state SET
    snapshot = CASE WHEN json_valid(snapshot) AND snapshot ->> 'not_before_at' > $1
        THEN json_set(snapshot, '$.not_before_at', max($1, (snapshot ->> 'not_before_at') - $2)) ELSE snapshot END,
    not_before_at = max($1, not_before_at - $2)
    WHERE not_before_at > $1;
UPDATE limit_scopes SET
    snapshot = CASE WHEN json_valid(snapshot) AND snapshot ->> 'not_before_at' > $1
        THEN json_set(snapshot, '$.not_before_at', max($1, (snapshot ->> 'not_before_at') - $2)) ELSE snapshot END,
    not_before_at = max($1, not_before_at - $2)
    WHERE not_before_at > $1;
INSERT INTO events (at, what, detail) VALUES ($1, 'clock went back', 'by ' || ($2 / 1000) || ' s since the last run');
";

/// The same for waiting jobs.
const MOVE_WAITING: &str = "
UPDATE jobs SET due_at = max($1, due_at - $2)
    WHERE state = 1 AND due_at > $1 AND host_id IN (SELECT host_id FROM host_state WHERE n_ready + n_waiting > 0)";

pub(super) async fn begin(
    writer: &mut Writer,
    hash_key: &HashKey,
    sources: &[SourceName],
    now: Timestamp,
) -> Result<OpenRun, StoreError> {
    writer.db.begin().await.map_err(sorted("begin a run"))?;
    let begun = begin_inside(writer, hash_key, sources, now).await;
    match begun {
        Ok(open) => {
            writer.db.commit().await.map_err(sorted("begin a run"))?;
            writer.run_id = open.run_id.0;
            Ok(open)
        }
        Err(error) => {
            // The next transaction rolls back anyway; what failed first is what matters.
            let _ = writer.db.rollback().await;
            Err(error)
        }
    }
}

async fn begin_inside(
    writer: &mut Writer,
    hash_key: &HashKey,
    sources: &[SourceName],
    now: Timestamp,
) -> Result<OpenRun, StoreError> {
    let doing = "begin a run";
    let rows = writer
        .db
        .rows(sqlx::query(
            "SELECT run_epoch, (SELECT updated_at FROM totals), \
             (SELECT ended_at IS NULL FROM runs ORDER BY run_id DESC LIMIT 1) FROM meta",
        ))
        .await
        .map_err(sorted(doing))?;
    let row = rows.first().ok_or_else(|| StoreError::Inconsistent {
        table: "meta",
        row: "1".into(),
        why: "it is missing".into(),
    })?;
    let run_id = row.try_get::<i64, _>(0).map_err(sorted(doing))? + 1;
    let last_commit_at: i64 = row.try_get(1).map_err(sorted(doing))?;
    let unclean = row.try_get::<Option<bool>, _>(2).map_err(sorted(doing))?.unwrap_or(false);

    move_back(&mut writer.db, now, last_commit_at - now.0).await?;

    let names: Vec<(&str, &str)> = sources.iter().map(|source| (word(source.kind), source.name.as_str())).collect();
    let take_over = sqlx::query(TAKE_OVER)
        .bind(run_id)
        .bind(now.0)
        .bind(i64::from(std::process::id()))
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(CRASHES_MAX)
        .bind(serde_json::to_string(&names).expect("text is JSON"));
    let mut poisonous = Vec::new();
    for step in writer.db.script(take_over).await.map_err(sorted(doing))? {
        if let super::db::Done::Row(row) = step {
            poisonous.push(JobId(row.try_get(0).map_err(sorted(doing))?));
        }
    }
    views::make_missing(&mut writer.db).await?;
    let rows = writer
        .db
        .rows(sqlx::query("SELECT crashed_in_flight FROM runs WHERE run_id = $1").bind(run_id))
        .await
        .map_err(sorted(doing))?;
    let crashed: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0)).map_err(sorted(doing))?;

    let batch = Batch { settlements: poisonous.into_iter().map(give_up).collect(), now, ..Batch::default() };
    commit::apply_inside(writer, run_id, hash_key, &batch).await?;

    let hosts = host_rows::open(&mut writer.db).await?;
    Ok(OpenRun {
        run_id: RunId(run_id),
        hash_key: hash_key.clone(),
        unclean,
        crashed_in_flight: crashed.unsigned_abs(),
        sources: read_sources(&mut writer.db, sources).await?,
        hosts,
        seed_redirects: read_moved_seeds(&mut writer.db).await?,
    })
}

/// Where redirects of seeds have led.
async fn read_moved_seeds(db: &mut Db) -> Result<Vec<(SourceId, Url)>, StoreError> {
    let doing = "read where seeds have moved";
    let sql = "SELECT j.source_id, h.origin || j.request FROM jobs AS j JOIN hosts AS h USING (host_id) \
               WHERE j.depth = 0 AND j.kind = 0 AND j.redirects IS NOT NULL";
    let mut moved = Vec::new();
    for row in db.rows(sqlx::query(sql)).await.map_err(sorted(doing))? {
        let text: &str = row.try_get(1).map_err(sorted(doing))?;
        // One that cannot be read any more widens nothing; its job will be told when it is handed out.
        if let Ok(url) = Url::parse(text) {
            moved.push((SourceId(row.try_get(0).map_err(sorted(doing))?), url));
        }
    }
    Ok(moved)
}

/// After the clock went back by `back_ms`, waits keep what remained of them instead of growing by that much.
async fn move_back(db: &mut Db, now: Timestamp, back_ms: i64) -> Result<(), StoreError> {
    if back_ms <= 0 {
        return Ok(());
    }
    let doing = "move waits after the clock went back";
    db.script(sqlx::query(MOVE_EMBARGOES).bind(now.0).bind(back_ms)).await.map_err(sorted(doing))?;
    if back_ms > CLOCK_BACK_MS {
        db.run(sqlx::query(MOVE_WAITING).bind(now.0).bind(back_ms)).await.map_err(sorted(doing))?;
    }
    Ok(())
}

fn give_up(job_id: JobId) -> Settlement {
    let why =
        format!("the process died {CRASHES_MAX} times while this job was in flight, at last with nothing beside it");
    Settlement::bare(job_id, JobMove::Dead(why))
}

async fn read_sources(db: &mut Db, asked: &[SourceName]) -> Result<Vec<SourceRow>, StoreError> {
    let doing = "read sources";
    let rows =
        db.rows(sqlx::query(
            "SELECT source_id, kind, name, n_done, pull_started_at, pull_ended_at, full_started_at, seeds, n_slices_open, recrawl, \
             (SELECT min(next_at) FROM holds WHERE holds.source_id = sources.source_id AND next_at IS NOT NULL) FROM sources",
        ))
        .await
        .map_err(sorted(doing))?;
    let mut known = HashMap::new();
    for row in rows {
        let kind: String = row.try_get(1).map_err(sorted(doing))?;
        let name: String = row.try_get(2).map_err(sorted(doing))?;
        let id: u32 = row.try_get(0).map_err(sorted(doing))?;
        let n_done: i64 = row.try_get(3).map_err(sorted(doing))?;
        let read = || -> Result<PullState, sqlx::Error> {
            let at = |column: usize| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(Timestamp));
            Ok(PullState {
                started_at: at(4)?,
                ended_at: at(5)?,
                full_started_at: at(6)?,
                seeds: row.try_get(7)?,
                n_open: row.try_get(8)?,
            })
        };
        let recrawl: Option<String> = row.try_get(9).map_err(sorted(doing))?;
        let due_at = row.try_get::<Option<i64>, _>(10).map_err(sorted(doing))?.map(Timestamp);
        let pull = read().map_err(sorted(doing))?;
        known.insert((kind, name), (SourceId(id), n_done.unsigned_abs(), pull, recrawl, due_at));
    }
    asked
        .iter()
        .map(|source| {
            let found = known.get(&(word(source.kind).to_owned(), source.name.clone()));
            let (id, n_done, pull, recrawl, due_at) = found.cloned().ok_or_else(|| StoreError::Inconsistent {
                table: "sources",
                row: source.name.clone(),
                why: "it was written and cannot be found".into(),
            })?;
            Ok(SourceRow { id, source: source.clone(), n_done, pull, recrawl, due_at })
        })
        .collect()
}

fn word(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Site => "site",
        SourceKind::Api => "api",
    }
}

pub(super) async fn end(writer: &mut Writer, now: Timestamp) -> Result<(), StoreError> {
    let doing = "end the run";
    let sql = "UPDATE runs SET ended_at = $2 WHERE run_id = $1; DELETE FROM inflight WHERE run_id = $1;";
    writer.db.begin().await.map_err(sorted(doing))?;
    commit::check_owner(&mut writer.db, writer.run_id).await?;
    writer.db.script(sqlx::query(sql).bind(writer.run_id).bind(now.0)).await.map_err(sorted(doing))?;
    writer.db.commit().await.map_err(sorted(doing))
}
