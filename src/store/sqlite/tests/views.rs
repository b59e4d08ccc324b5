//! How the records of streams are seen as rows.

use serde_json::{Value, json};
use sqlx::Row;

use super::Folder;
use crate::job::{Job, JobKind, NewItem, NewJob, SourceId};
use crate::store::conformance::{Place, T0, begin, commit, page, ready, settle, settlements};
use crate::store::sqlite::SqliteStore;
use crate::store::{Batch, JobMove, Reader, SourceKind, SourceName, Store, view_names};

fn api_page(path: &str) -> NewJob {
    NewJob { kind: JobKind::ApiPage, source: SourceId(2), ..page(&format!("https://api.example{path}")) }
}

async fn started(folder: &Folder) -> (SqliteStore, Vec<Job>) {
    let store = folder.open().await;
    begin(&store).await;
    let pages: Vec<NewJob> = (0..9).map(|number| api_page(&format!("/{number}"))).collect();
    let host = store.add(pages, T0).await.expect("adds").new_hosts[0].host_id;
    let jobs = ready(&store, host).await;
    (store, jobs)
}

/// The job has brought these records.
async fn brought(store: &SqliteStore, job: &Job, records: &[Value]) {
    let mut outcome = settle(job.id, JobMove::Done);
    let key = |record: &Value| crate::job::ItemKey::of(record["id"].to_string().as_bytes());
    outcome.items = records.iter().map(|record| NewItem { key: key(record), data: record.clone() }).collect();
    commit(store, &settlements(vec![outcome])).await;
}

/// What a question is answered, a list a row, with the names of the columns before.
async fn rows(folder: &Folder, sql: &str) -> Vec<Vec<Value>> {
    let table = Reader::open(&folder.path).await.expect("opens").query(sql, 1_000).await.expect("it can be asked");
    std::iter::once(table.columns.into_iter().map(Value::from).collect()).chain(table.rows).collect()
}

#[tokio::test]
async fn records_are_rows_with_the_types_of_their_members() {
    let folder = Folder::new();
    let (store, jobs) = started(&folder).await;
    let empty = rows(&folder, "SELECT * FROM gh_issues").await;
    assert_eq!(empty, [["_first_at", "_updated_at", "_url", "_data"]], "it is there before the first record");

    brought(&store, &jobs[0], &[json!({"id": 1, "ok": true, "user": {"login": "a", "at": null}, "tags": ["x"]})]).await;
    brought(&store, &jobs[1], &[json!({"id": "two", "score": 1.5, "user": null, "deep": {"a": {"b": [1]}}})]).await;
    let told = rows(&folder, "SELECT * FROM gh_issues ORDER BY _url").await;
    let columns = ["id", "ok", "tags", "user_at", "user_login", "deep_a", "score", "user"];
    assert_eq!(told[0][..8], columns);
    let time = "2023-11-14 22:13:20";
    // A member that is an object in one record and none in another has a column too, with the object as it is.
    let of_user = r#"{"at":null,"login":"a"}"#;
    let data = r#"{"id":1,"ok":true,"tags":["x"],"user":{"at":null,"login":"a"}}"#;
    assert_eq!(
        json!(told[1]),
        json!([1, 1, "[\"x\"]", null, "a", null, null, of_user, time, time, "https://api.example/0", data])
    );
    let told = rows(&folder, "SELECT id, ok, deep_a, score, user FROM gh_issues WHERE typeof(score) = 'real'").await;
    assert_eq!(json!(told[1]), json!(["two", null, r#"{"b":[1]}"#, 1.5, null]));
}

#[tokio::test]
async fn a_view_is_made_anew_only_for_members_that_are_new() {
    let folder = Folder::new();
    let (store, jobs) = started(&folder).await;
    let mut counts = Vec::new();
    let records: Vec<Value> = (0..500).map(|id| json!({"id": id, "a": {"b": id}})).collect();
    for (job, records) in jobs.iter().zip([&records[..1], &records[1..2], &records[2..]]) {
        let before = store.statements().await;
        brought(&store, job, records).await;
        counts.push(store.statements().await - before);
    }
    // BEGIN, 3 reads, the 14 of the script, COMMIT; the first time also what is known, what is new, and the view gone and made.
    assert_eq!(counts, [23, 19, 19]);
    // Another process knows what this one has written.
    drop(store);
    let store = folder.open().await;
    begin(&store).await;
    let before = store.statements().await;
    brought(&store, &jobs[3], &[json!({"id": -1})]).await;
    assert_eq!(store.statements().await - before, 20, "it asks once what is known");
}

#[tokio::test]
async fn whatever_members_are_called_they_harm_nothing() {
    let folder = Folder::new();
    let (store, jobs) = started(&folder).await;
    let hostile = json!({
        "id": 1, "ID": 2, "": 3, "a\"b": 4, "'; DROP TABLE items; --": 5, "\u{1}\n": 6, "\u{0}": 17, "a.b": 7, "a\\b": 8, "[0]": 9, "é": 10,
        "_data": 11, "$": 12, "#-1": 13, "x".repeat(500): 14, "o": {"\"": 15, "": 16},
    });
    brought(&store, &jobs[0], &[hostile]).await;
    let told = rows(&folder, "SELECT * FROM gh_issues").await;
    let mut values: Vec<i64> = told[1].iter().filter_map(Value::as_i64).collect();
    values.sort_unstable();
    assert_eq!(values, (1..=16).filter(|&value| value != 14).collect::<Vec<_>>(), "{told:?}");
    assert!(told[1].last().is_some_and(|data| data.as_str().is_some_and(|data| data.contains("xxxx\":14"))));

    let many: Vec<Value> = (0..1_000).map(|id| json!({"id": id, format!("member {id}"): id})).collect();
    brought(&store, &jobs[1], &many).await;
    assert_eq!(rows(&folder, "SELECT * FROM gh_issues LIMIT 1").await[0].len(), 204);
    assert_eq!(store.numbers("SELECT count(*) FROM item_columns").await, [200]);
}

#[tokio::test]
async fn a_commit_that_is_rolled_back_leaves_no_column_behind() {
    let folder = Folder::new();
    let (store, jobs) = started(&folder).await;
    store.meddle("PRAGMA max_page_count = 1").await;
    let mut outcome = settle(jobs[0].id, JobMove::Done);
    let data = json!({"id": 1, "text": "x".repeat(1_000_000)});
    outcome.items = vec![NewItem { key: crate::job::ItemKey::of(b"1"), data }];
    let batch = settlements(vec![outcome]);
    store.commit(&batch).await.expect_err("there is no room");
    assert_eq!(store.numbers("SELECT count(*) FROM item_columns").await, [0]);
    store.meddle("PRAGMA max_page_count = 1000000").await;
    commit(&store, &batch).await;
    assert_eq!(rows(&folder, "SELECT id FROM gh_issues").await[1], [1]);
}

#[tokio::test]
async fn names_that_are_taken_get_a_number_and_are_told_before_the_crawl() {
    let folder = Folder::new();
    let name = |kind, name: &str| SourceName { kind, name: name.into() };
    let sources: Vec<SourceName> = ["a.b", "a-b", "jobs", "JSON_each", "pragma_x", "a'b\"; --\nDROP", "records"]
        .map(|stream| name(SourceKind::Api, stream))
        .into_iter()
        .chain([name(SourceKind::Site, "site")])
        .collect();
    let expected = ["a_b", "a_b_2", "jobs_2", "JSON_each_2", "api_pragma_x", "a_b______DROP", "records_2"];
    let before = view_names(&folder.path, &sources).await.expect("it can be told");
    let store = folder.open().await;
    store.begin_run(&sources, T0).await.expect("a run begins");
    let views = store.texts("SELECT view FROM sources WHERE kind = 'api' ORDER BY source_id").await;
    assert_eq!(views, expected);
    let after = view_names(&folder.path, &sources).await.expect("it can be told");
    assert_eq!(before, after);
    let told: Vec<&str> = sources.iter().filter_map(|source| after.get(&source.name)).map(String::as_str).collect();
    assert_eq!(told, expected);
    for view in expected {
        assert_eq!(rows(&folder, &format!("SELECT * FROM \"{view}\"")).await.len(), 1);
    }
}

#[tokio::test]
async fn records_of_before_there_were_views_have_them_too() {
    let folder = Folder::new();
    crate::store::sqlite::schema::make_older(&folder.path, 25).await;
    let store = {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&folder.path);
        let mut conn = <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&options).await.expect("connects");
        let old = "INSERT INTO sources (source_id, kind, name) VALUES (1, 'site', 'docs'), (2, 'api', 'gh.issues');
             INSERT INTO items (source_id, key, job_id, data, first_at, updated_at)
                 VALUES (2, zeroblob(16), 1, '{\"id\": 7}', 1, 1)";
        sqlx::raw_sql(old).execute(&mut conn).await.expect("writes");
        sqlx::Connection::close(conn).await.expect("closes");
        folder.open().await
    };
    assert_eq!(rows(&folder, "SELECT id FROM gh_issues").await[1], [7]);
    begin(&store).await;
    // A step of a later version finds the schema as ours alone, whatever streams are called.
    let mut writer = store.writer.lock().await;
    writer.db.run(sqlx::query("DELETE FROM _sqlx_migrations WHERE version = 28")).await.expect("writes");
    drop(writer);
    drop(store);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&folder.path);
    let mut conn = <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&options).await.expect("connects");
    crate::store::sqlite::views::drop_all(&mut conn).await.expect("drops");
    let left = sqlx::query("SELECT count(*) FROM sqlite_schema WHERE name = 'gh_issues'").fetch_one(&mut conn).await;
    assert_eq!(left.and_then(|row| row.try_get::<i64, _>(0)).expect("reads"), 0);
}

#[tokio::test]
async fn a_record_that_comes_again_in_a_later_pull_is_marked_with_it_and_with_its_job() {
    let folder = Folder::new();
    let (store, jobs) = started(&folder).await;
    let record = [json!({"id": 1})];
    let told = "SELECT (job_id % 4294967296) || ' ' || pull || ' ' || (updated_at % 1000) FROM items";
    let at = |ms| {
        let mut outcome = settle(jobs[usize::try_from(ms).expect("it is small")].id, JobMove::Done);
        outcome.items = vec![NewItem { key: crate::job::ItemKey::of(b"1"), data: record[0].clone() }];
        Batch { now: T0.plus_ms(ms), ..settlements(vec![outcome]) }
    };
    let mut seen = Vec::new();
    for ms in 0..4_u64 {
        if ms == 2 {
            store.meddle("UPDATE sources SET pull = 2 WHERE source_id = 2").await;
        }
        commit(&store, &at(ms)).await;
        seen.extend(store.texts(told).await);
    }
    let number = |index: usize| jobs[index].id.0 % (1 << 32);
    let line = |job: usize, pull: u32| format!("{} {pull} 0", number(job));
    assert_eq!(seen, [line(0, 1), line(0, 1), line(2, 2), line(2, 2)]);
}
