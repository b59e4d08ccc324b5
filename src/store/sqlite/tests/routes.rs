//! Facts about the column that says which requests are likely to be limited together.

use proptest::prelude::*;
use url::Url;

use super::Folder;
use crate::job::{NewJob, Priority, route_of};
use crate::store::conformance::{Place, T0, begin, page};
use crate::store::sqlite::{Options, SqliteStore, schema};
use crate::store::{RefillRequest, Routes, Store};

/// Addresses that come near to each arm of the rule.
fn address() -> impl Strategy<Value = String> {
    let part = prop_oneof!["api", "rest", "v[0-9]{1,3}", "[a-z]{0,4}", "x{60}", "%[0-9]{2}", "é"];
    (prop::collection::vec((part, "[/?]{0,2}"), 0..5)).prop_map(|parts| {
        let text: String = parts.iter().map(|(part, end)| format!("{part}{end}")).collect();
        format!("http://a.org/{text}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn the_file_and_the_program_agree_on_routes(addresses in prop::collection::vec(address(), 200)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let store = Folder::new().open().await;
            begin(&store).await;
            let seeds: Vec<NewJob> = addresses.iter().map(|address| page(address)).collect();
            store.add(seeds, T0).await.expect("seeds are added");
            let requests = store.texts("SELECT request FROM jobs ORDER BY job_id").await;
            let routes = store.texts("SELECT route FROM jobs ORDER BY job_id").await;
            for (request, route) in requests.iter().zip(&routes) {
                let url = Url::parse(&format!("http://a.org{request}")).expect("it was one");
                assert_eq!(route, route_of(&url), "{request}");
            }
        });
    }
}

#[tokio::test]
async fn a_file_of_an_older_version_gets_its_routes_when_it_is_opened() {
    let folder = Folder::new();
    schema::make_older(&folder.path, 18).await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&folder.path);
    let mut conn = <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&options).await.expect("connects");
    let old = "
        INSERT INTO hosts (host_id, origin, private_ok, first_seen_at) VALUES (1, 'http://a.org', 1, 1);
        INSERT INTO host_state (host_id, seq, n_ready, n_done) VALUES (1, 4, 3, 1);
        INSERT INTO jobs (job_id, host_id, key, kind, state, priority, source_id, depth, request, found_at, settled_at) VALUES
            ((1 << 32) + 0, 1, 10, 0, 0, 5, 1, 0, '/search?q=1', 1, NULL), ((1 << 32) + 1, 1, 11, 0, 0, 5, 1, 0, '/p/1', 1, NULL),
            ((1 << 32) + 2, 1, 12, 0, 2, 5, 1, 0, '/search?q=2', 1, 1), ((1 << 32) + 3, 1, 13, 0, 0, 5, 1, 0, '/', 1, NULL);
        UPDATE totals SET n_ready = 3, n_done = 1;";
    sqlx::raw_sql(old).execute(&mut conn).await.expect("an older version could do it");
    sqlx::Connection::close(conn).await.expect("closes");

    let store = SqliteStore::open(&folder.path, &Options::default()).await.expect("it opens");
    let open = begin(&store).await;
    assert_eq!((open.hosts.len(), open.hosts[0].scopes.len()), (1, 0));
    assert_eq!(store.texts("SELECT route FROM jobs ORDER BY job_id").await, ["/search", "/p", "/search", ""]);
    let ask = |routes| RefillRequest { host_id: open.hosts[0].host_id, routes, after: None, limit: 64, now: T0 };
    let search: std::sync::Arc<[Box<str>]> = ["/search".into()].into();
    for (routes, expected) in [(Routes::Only(search.clone()), vec![0]), (Routes::Except(search), vec![1, 3])] {
        let refill = store.refill(ask(routes)).await.expect("jobs are read");
        assert_eq!(refill.ready.iter().map(|loaded| loaded.job.id.seq()).collect::<Vec<_>>(), expected);
        assert!(refill.ready.iter().all(|loaded| loaded.job.priority == Priority::NORMAL));
    }
    assert_eq!(store.texts("PRAGMA integrity_check").await, ["ok"]);
}
