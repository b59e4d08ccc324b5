//! Facts about what a question costs: no verb reads all jobs, items or attempts.

use sqlx::Row;

use super::Folder;
use crate::store::conformance::Place;
use crate::store::reader::plans::{
    AHEAD, DEAD_GROUPS, FAILURES, GONE_GROUPS, HOSTS, HOSTS_NAMED, JOB, NARROW, NARROW_OF_HOSTS, PARENTS,
};
use crate::store::sqlite::refill::{
    DUE, DUE_OF, HEAD, NEXT_DUE, NEXT_DUE_OF, READY, READY_OF, ROUTES_READY, ROUTES_WAITING,
};
use crate::store::sqlite::{SqliteStore, commit, hold_rows, host_rows, scope_rows};

/// What SQLite may read from end to end: rows that were handed in, and small tables that the question is about.
const SCANS: [&str; 9] = [
    "VIRTUAL TABLE",
    "jobs_dead",
    "jobs_gone",
    "host_state_open",
    "totals",
    "SCAN up",
    "SCAN met",
    "CONSTANT ROW",
    "SCAN (",
];

async fn plan(store: &SqliteStore, sql: &str) -> Vec<String> {
    let query = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
    let rows = store.writer.lock().await.db.rows(query).await.expect("it can be explained");
    rows.iter().map(|row| row.try_get(3).expect("text")).collect()
}

/// The plan, which scans nothing that grows with the crawl.
async fn explain(store: &SqliteStore, sql: &str) -> String {
    let lines = plan(store, sql).await;
    for line in lines.iter().filter(|line| line.starts_with("SCAN")) {
        assert!(SCANS.iter().any(|fine| line.contains(fine)), "{line}\n{sql}");
    }
    lines.join("\n")
}

#[tokio::test]
async fn a_refill_reads_the_rows_that_it_returns() {
    let store = Folder::new().open().await;
    insta::assert_snapshot!(explain(&store, READY).await, @r"
    COMPOUND QUERY
    LEFT-MOST SUBQUERY
    CO-ROUTINE (subquery-1)
    SEARCH j USING INDEX jobs_ready (host_id=? AND priority=? AND rowid>?)
    SEARCH h USING INTEGER PRIMARY KEY (rowid=?)
    SEARCH s USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    SEARCH d USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    SEARCH a USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    SCAN (subquery-1)
    UNION ALL
    CO-ROUTINE (subquery-3)
    SEARCH j USING INDEX jobs_ready (host_id=? AND priority>?)
    SEARCH h USING INTEGER PRIMARY KEY (rowid=?)
    SEARCH s USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    SEARCH d USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    SEARCH a USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    SCAN (subquery-3)
    ");
    insta::assert_snapshot!(explain(&store, DUE).await, @r"
    SEARCH j USING INDEX jobs_waiting (host_id=? AND due_at<?)
    SEARCH h USING INTEGER PRIMARY KEY (rowid=?)
    SEARCH s USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    SEARCH d USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    SEARCH a USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    ");
    insta::assert_snapshot!(explain(&store, NEXT_DUE).await, @r"
    SEARCH jobs USING COVERING INDEX jobs_waiting (host_id=?)
    ");
}

#[tokio::test]
async fn a_refill_of_a_narrow_scope_reads_what_lies_on_its_routes() {
    let store = Folder::new().open().await;
    insta::assert_snapshot!(explain(&store, READY_OF).await, @r"
    SCAN r VIRTUAL TABLE INDEX 1:
    SEARCH j USING INTEGER PRIMARY KEY (rowid=?)
    CORRELATED LIST SUBQUERY 4
    COMPOUND QUERY
    LEFT-MOST SUBQUERY
    CO-ROUTINE (subquery-1)
    SEARCH k USING INDEX jobs_ready_by_route (host_id=? AND route=? AND priority=? AND rowid>?)
    SCAN (subquery-1)
    UNION ALL
    CO-ROUTINE (subquery-3)
    SEARCH k USING INDEX jobs_ready_by_route (host_id=? AND route=? AND priority>?)
    SCAN (subquery-3)
    SEARCH h USING INTEGER PRIMARY KEY (rowid=?)
    SEARCH s USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    SEARCH d USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    SEARCH a USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    USE TEMP B-TREE FOR ORDER BY
    ");
    insta::assert_snapshot!(explain(&store, HEAD).await, @r"
    SCAN r VIRTUAL TABLE INDEX 1:
    SEARCH j USING INTEGER PRIMARY KEY (rowid=?)
    CORRELATED SCALAR SUBQUERY 1
    SEARCH k USING INDEX jobs_ready_by_route (host_id=? AND route=? AND priority=? AND rowid>?)
    CORRELATED SCALAR SUBQUERY 2
    SEARCH k USING INDEX jobs_ready_by_route (host_id=? AND route=? AND priority>?)
    USE TEMP B-TREE FOR ORDER BY
    ");
    insta::assert_snapshot!(explain(&store, ROUTES_READY).await, @r"
    CO-ROUTINE met
    SETUP
    SCAN CONSTANT ROW
    SCALAR SUBQUERY 1
    SEARCH k USING INDEX jobs_ready_by_route (host_id=?)
    RECURSIVE STEP
    SCAN met
    CORRELATED SCALAR SUBQUERY 3
    SEARCH k USING INDEX jobs_ready_by_route (host_id=? AND route>?)
    SCAN met
    ");
    insta::assert_snapshot!(explain(&store, ROUTES_WAITING).await, @r"
    CO-ROUTINE met
    SETUP
    SCAN CONSTANT ROW
    SCALAR SUBQUERY 1
    SEARCH k USING INDEX jobs_waiting_by_route (host_id=?)
    RECURSIVE STEP
    SCAN met
    CORRELATED SCALAR SUBQUERY 3
    SEARCH k USING INDEX jobs_waiting_by_route (host_id=? AND route>?)
    SCAN met
    ");
    insta::assert_snapshot!(explain(&store, DUE_OF).await, @r"
    SCAN r VIRTUAL TABLE INDEX 1:
    SEARCH j USING INTEGER PRIMARY KEY (rowid=?)
    CORRELATED LIST SUBQUERY 1
    SEARCH k USING INDEX jobs_waiting_by_route (host_id=? AND route=? AND due_at<?)
    SEARCH h USING INTEGER PRIMARY KEY (rowid=?)
    SEARCH s USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    SEARCH d USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    SEARCH a USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    USE TEMP B-TREE FOR ORDER BY
    ");
    insta::assert_snapshot!(explain(&store, NEXT_DUE_OF).await, @r"
    SEARCH r VIRTUAL TABLE INDEX 1:
    CORRELATED SCALAR SUBQUERY 1
    SEARCH k USING INDEX jobs_waiting_by_route (host_id=? AND route=? AND due_at>?)
    ");
}

#[tokio::test]
async fn a_start_reads_the_hosts_with_work() {
    let store = Folder::new().open().await;
    insta::assert_snapshot!(explain(&store, host_rows::OPEN).await, @r"
    SCAN s USING INDEX host_state_open
    SEARCH h USING INTEGER PRIMARY KEY (rowid=?)
    SEARCH r USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    CORRELATED SCALAR SUBQUERY 1
    SEARCH j USING COVERING INDEX jobs_waiting (host_id=?)
    ");
    insta::assert_snapshot!(explain(&store, scope_rows::OPEN).await, @r"
    SCAN s USING INDEX host_state_open
    SEARCH l USING PRIMARY KEY (host_id=?)
    USE TEMP B-TREE FOR ORDER BY
    ");
    insta::assert_snapshot!(explain(&store, scope_rows::BY_ID).await, @r"
    SCAN e VIRTUAL TABLE INDEX 1:
    SEARCH l USING PRIMARY KEY (host_id=?)
    USE TEMP B-TREE FOR ORDER BY
    ");
}

#[tokio::test]
async fn a_commit_reads_what_the_batch_names() {
    let store = Folder::new().open().await;
    insta::assert_snapshot!(explain(&store, commit::OPEN_JOBS).await, @r"
    SCAN e VIRTUAL TABLE INDEX 1:
    SEARCH j USING INTEGER PRIMARY KEY (rowid=?)
    ");
    insta::assert_snapshot!(explain(&store, commit::KNOWN_REQUESTS).await, @r"
    SCAN e VIRTUAL TABLE INDEX 1:
    SEARCH j USING COVERING INDEX sqlite_autoindex_jobs_1 (host_id=? AND key=?)
    ");
    explain(&store, commit::CONFIRMED).await;
    insta::assert_snapshot!(explain(&store, hold_rows::DUE_PAGES).await, @r"
    SEARCH h USING COVERING INDEX holds_due (source_id=? AND next_at<?)
    SEARCH j USING INTEGER PRIMARY KEY (rowid=?)
    ");
    insta::assert_snapshot!(explain(&store, hold_rows::NAMED_PAGES).await, @r"
    SCAN e VIRTUAL TABLE INDEX 1:
    SEARCH j USING COVERING INDEX sqlite_autoindex_jobs_1 (host_id=? AND key=?)
    SEARCH h USING INTEGER PRIMARY KEY (rowid=?)
    ");
    insta::assert_snapshot!(explain(&store, hold_rows::NEXT_DUE_PAGE).await, @"SEARCH holds USING COVERING INDEX holds_due (source_id=? AND next_at>?)");
    insta::assert_snapshot!(explain(&store, commit::STORED).await, @r"
    SCAN e VIRTUAL TABLE INDEX 1:
    SEARCH i USING INDEX sqlite_autoindex_items_1 (source_id=? AND key=?)
    SEARCH j USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    ");
    let idle = explain(&store, commit::IDLE).await;
    assert!(idle.contains("SEARCH i USING INDEX sqlite_autoindex_items_1 (source_id=? AND key=?)"), "{idle}");
    let script: Vec<&str> = commit::SCRIPT.split(";\n").filter(|sql| !sql.trim().is_empty()).collect();
    assert_eq!(script.len(), 14);
    for sql in script {
        explain(&store, sql).await;
    }
}

#[tokio::test]
async fn the_reader_searches_by_key() {
    let store = Folder::new().open().await;
    insta::assert_snapshot!(explain(&store, JOB).await, @r"
    SEARCH j USING INDEX sqlite_autoindex_jobs_1 (host_id=? AND key=?)
    SEARCH h USING INTEGER PRIMARY KEY (rowid=?)
    SEARCH t USING INTEGER PRIMARY KEY (rowid=?)
    SEARCH s USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    SEARCH i USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN
    ");
    for sql in [DEAD_GROUPS, GONE_GROUPS, PARENTS, AHEAD, NARROW, NARROW_OF_HOSTS, FAILURES, HOSTS_NAMED] {
        explain(&store, sql).await;
    }
    insta::assert_snapshot!(plan(&store, HOSTS).await.join("\n"), @r"
    SCAN s
    SEARCH h USING INTEGER PRIMARY KEY (rowid=?)
    USE TEMP B-TREE FOR ORDER BY
    ");
}
