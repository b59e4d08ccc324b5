//! Many ids in one query of GraphQL, each under an alias, by the real program.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::api_server::{Answer, Ask, Server};
use crate::process::{Folder, SOON_MS};

/// The aliases of a query such as `query { a0: item(id: "x") { id } a1: ... }`, with their ids.
fn asked(ask: &Ask) -> Vec<(String, String)> {
    let body = ask.json();
    let query = body["query"].as_str().unwrap();
    let fields = query.split(" { id }").filter_map(|field| {
        let (before, id) = field.split_once(": item(id: \"")?;
        Some((before.rsplit(' ').next()?.to_owned(), id.strip_suffix("\")")?.to_owned()))
    });
    fields.collect()
}

/// What the server says of an id: its value, and an error beside it.
type Said = (Value, Option<Value>);

fn found(id: &str) -> Said {
    (json!({ "id": id }), None)
}

fn answer(ask: &Ask, mut say: impl FnMut(&str) -> Said) -> Answer {
    let mut data = Map::new();
    let mut errors = Vec::new();
    for (alias, id) in asked(ask) {
        let (value, error) = say(&id);
        data.insert(alias.clone(), value);
        if let Some(mut error) = error {
            error["path"] = json!([alias]);
            errors.push(error);
        }
    }
    Answer::json(&if errors.is_empty() { json!({ "data": data }) } else { json!({ "data": data, "errors": errors }) })
}

/// A stream of the ids 1 to 100, 40 at a time.
fn folder(root: &str, settings: &str) -> Folder {
    let ids: Vec<String> = (1..=100).map(|id| format!("\"{id}\"")).collect();
    Folder::new(&format!(
        "[throttle]\nmax_rate = \"none\"\nconcurrency = 1\nmax_concurrency = 1\n[retry]\nbase = \"10ms\"\n\n\
         [api.x]\nurl = \"{root}/graphql\"\nkey = \"id\"\neach = [{}]\n{settings}",
        ids.join(", ")
    ))
}

const BATCH: &str = "batch = { size = 40, send = \"graphql:item(id: {each}) { id }\" }\n";

/// The ids of the records that are stored; none is there twice.
#[track_caller]
fn stored(folder: &Folder) -> Vec<u64> {
    let rows = folder.query("SELECT CAST(data ->> '$.id' AS INTEGER) FROM records ORDER BY 1");
    rows.iter().map(|row| row[0].as_u64().unwrap()).collect()
}

fn all_but(left_out: &[u64]) -> Vec<u64> {
    (1..=100).filter(|id| !left_out.contains(id)).collect()
}

#[test]
fn an_error_under_one_alias_settles_that_id_alone() {
    let failures = Mutex::new(BTreeMap::new());
    let server = Server::start(move |ask| {
        answer(ask, |id| match id {
            "13" => (Value::Null, Some(json!({ "type": "NOT_FOUND", "message": "no item 13" }))),
            "27" | "99" => {
                let mut failures = failures.lock().unwrap();
                let count = failures.entry(id.to_owned()).or_insert(0);
                *count += 1;
                if *count > 2 && id == "27" {
                    return found(id);
                }
                (Value::Null, Some(json!({ "message": "something went wrong" })))
            }
            "50" => (Value::Null, None),
            id => found(id),
        })
    });
    let folder = folder(&server.root, BATCH);
    let ended = folder.run(&["run", "-q"]);
    assert_eq!(ended.code, Some(4), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(stored(&folder), all_but(&[13, 50, 99]));
    let rows = folder.query("SELECT state, reason FROM all_jobs WHERE reason IS NOT NULL ORDER BY state, reason");
    assert_eq!(
        rows,
        [[json!("dead"), json!("something went wrong, after 5 attempts")], [json!("gone"), json!("no item 13")]]
    );
    // 40, 40 and 20; and twice more that of 27, which may go with that of 99, which has five attempts.
    let asked = server.take();
    assert!(asked.len() <= 3 + 2 + 4, "{} requests", asked.len());
    let ids: usize = asked.iter().map(|ask| self::asked(ask).len()).sum();
    assert_eq!(ids, 100 + 2 + 4, "no id is asked for again for the errors of others");
}

#[test]
fn an_id_that_spoils_the_answer_is_found_by_halves_and_one_that_takes_all_with_it_at_once() {
    let server = Server::start(|ask| {
        let ids = asked(ask);
        if ids.iter().any(|(_, id)| id == "13") {
            return Answer::status(400, "bad id");
        }
        match ids.iter().find(|(_, id)| id == "77") {
            Some((alias, _)) => {
                let error = json!({ "path": [alias], "type": "NOT_FOUND", "message": "no item 77" });
                Answer::json(&json!({ "data": null, "errors": [error] }))
            }
            None => answer(ask, found),
        }
    });
    let folder = folder(&server.root, &BATCH.replace(" }\n", ", missing = \"fail\" }\n"));
    let ended = folder.run(&["run", "-q"]);
    assert_eq!(ended.code, Some(4), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(stored(&folder), all_but(&[13, 77]));
    let rows = folder.query("SELECT reason FROM failures ORDER BY reason");
    assert!(rows[0][0].as_str().unwrap().contains("400") && rows[1][0] == "no item 77", "{rows:?}");
    // The 40 around 13 are halved to 20, 10, 5, 3, 2, 1 and as many other halves; those of 77 are asked for once more without it.
    assert!(server.take().len() <= 3 + 2 * 6 + 1);
}

#[test]
fn records_of_a_parent_are_asked_for_by_several_fields_and_by_a_query_of_the_users_own() {
    let server = Server::start(|ask| {
        if ask.path == "/list" {
            return Answer::json(&json!([{"owner": "o\"1", "name": "a"}, {"owner": "o2", "name": "b"}]));
        }
        let query = ask.json()["query"].as_str().unwrap().to_owned();
        assert_eq!(
            query,
            r#"query($n: Int!) { a0: repo(owner: "o\"1", name: "a") { ...F } a1: repo(owner: "o2", name: "b") { ...F } cost } fragment F on Repo { tags(first: $n) { nodes { tag } } }"#
        );
        assert_eq!(ask.json()["variables"], json!({ "n": 5 }));
        let tags =
            |tags: &[&str]| json!({"tags": {"nodes": tags.iter().map(|tag| json!({"tag": tag})).collect::<Vec<_>>()}});
        Answer::json(&json!({"data": {"cost": 1, "a0": tags(&["x", "y"]), "a1": tags(&["x"])}}))
    });
    let folder = Folder::new(&format!(
        r#"
        [api.g]
        base = "{}"
        [api.g.stream.list]
        path = "/list"
        paginate = "none"
        [api.g.stream.tags]
        parent = "list"
        path = "/graphql"
        graphql = "query($n: Int!) {{ {{ids}} cost }} fragment F on Repo {{ tags(first: $n) {{ nodes {{ tag }} }} }}"
        variables = {{ n = 5 }}
        batch = {{ send = "graphql:repo(owner: {{list.owner}}, name: {{list.name}}) {{ ...F }}" }}
        records = "tags.nodes"
        include = ["name"]
        "#,
        server.root
    ));
    let ended = folder.run(&["run", "-q"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let rows = folder.query("SELECT tag, _list_name FROM g_tags ORDER BY 2, 1");
    assert_eq!(rows, [[json!("x"), json!("a")], [json!("y"), json!("a")], [json!("x"), json!("b")]]);
    assert_eq!(server.take().len(), 2);
}

#[test]
fn each_follows_a_redirect_for_itself() {
    let server = Server::start(|ask| match ask.path.as_str() {
        "/graphql" => Answer::status(307, "").with("location", "/moved"),
        _ => answer(ask, |id| match id {
            "13" => (Value::Null, Some(json!({ "type": "NOT_FOUND", "message": "no item 13" }))),
            id => found(id),
        }),
    });
    let folder = folder(&server.root, BATCH);
    let ended = folder.run(&["run", "-q"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(stored(&folder), all_but(&[13]));
}

#[test]
fn batches_under_aliases_survive_kills() {
    const KILLS: usize = 6;
    let (tell, asked) = channel();
    let tell = Mutex::new(tell);
    let server = Server::start(move |ask| {
        let answer = answer(ask, found);
        let _ = tell.lock().unwrap().send(());
        answer
    });
    let folder = folder(&server.root, &BATCH.replace("size = 40", "size = 8"));
    for kill in 0..KILLS {
        let mut running = folder.start(&["run", "-q"]);
        // Whether the last of them is answered and stored before the kill is a matter of microseconds.
        for _ in 0..=kill % 2 {
            asked.recv_timeout(Duration::from_mins(1)).unwrap();
        }
        running.kill();
        while asked.try_recv().is_ok() {}
    }
    let ended = folder.start(&["run", "-q"]).wait(SOON_MS);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(stored(&folder), all_but(&[]));
    assert!(server.take().len() <= 13 + 2 * KILLS);
}
