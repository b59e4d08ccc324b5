//! API streams from the configuration to the records, with the real program: slices, children, incremental pulls, error rules.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::api_server::{Answer, Ask, Server};
use crate::process::{Ended, Folder};

/// Ceilings that no test waits for.
const FAST: &str = "[throttle]\nmax_rate = \"none\"\n[retry]\nbase = \"10ms\"\n";

fn crawl(config: &str) -> (Folder, Ended) {
    let folder = Folder::new(&format!("{FAST}{config}"));
    let ended = folder.run(&["run", "-q"]);
    (folder, ended)
}

/// The stored records of a stream by a field, in order.
fn values(folder: &Folder, source: &str, field: &str) -> Vec<Value> {
    let sql = format!("SELECT data ->> '$.{field}' FROM records WHERE source = '{source}' ORDER BY 1");
    folder.query(&sql).into_iter().map(|mut row| row.remove(0)).collect()
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// Two repositories with issues, of which some have comments.
fn tracker(ask: &Ask) -> Answer {
    let path: Vec<&str> = ask.path.trim_start_matches('/').split('/').collect();
    match path.as_slice() {
        ["repos", owner, repo, "issues"] if ["a", "b"].contains(repo) => {
            let page: i64 = ask.query("page").parse().unwrap_or(1);
            let of_page = |number: &i64| (page - 1) * 2 < *number && *number <= page * 2;
            let issue = |number: i64| json!({"id": format!("{owner}/{repo}#{number}"), "number": number, "comments": number % 2});
            let issues: Vec<Value> = (1..=3_i64).filter(of_page).map(issue).collect();
            let answer = Answer::json(&Value::Array(issues));
            if page == 1 { answer.with("link", "<?page=2>; rel=\"next\"") } else { answer }
        }
        ["repos", _, repo, "issues", number, "comments"] => {
            let comment = |n: u32| json!({"id": format!("{repo}#{number}.{n}")});
            Answer::json(&json!([comment(1), comment(2)]))
        }
        _ => Answer::status(404, "no such thing"),
    }
}

#[test]
fn records_of_one_stream_make_the_slices_of_another() {
    let server = Server::start(tracker);
    let (folder, ended) = crawl(&format!(
        r#"
        [api.gh]
        base = "{}"
        [api.gh.stream.issues]
        path = "/repos/{{each}}/issues"
        each = ["o/a", "o/b"]
        key = "id"
        [api.gh.stream.comments]
        parent = "issues"
        where_parent = "$.comments > 0"
        path = "/repos/{{issues.each}}/issues/{{issues.number}}/comments"
        include = ["number"]
        key = "id"
        "#,
        server.root
    ));
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let issues = ["o/a#1", "o/a#2", "o/a#3", "o/b#1", "o/b#2", "o/b#3"];
    assert_eq!(values(&folder, "gh.issues", "id"), issues);
    let comments = ["a#1.1", "a#1.2", "a#3.1", "a#3.2", "b#1.1", "b#1.2", "b#3.1", "b#3.2"];
    assert_eq!(values(&folder, "gh.comments", "id"), comments);
    assert_eq!(values(&folder, "gh.comments", "_issues_number"), [1, 1, 1, 1, 3, 3, 3, 3]);
    let expected = [
        "GET /repos/o/a/issues",
        "GET /repos/o/a/issues/1/comments",
        "GET /repos/o/a/issues/3/comments",
        "GET /repos/o/a/issues?page=2",
        "GET /repos/o/b/issues",
        "GET /repos/o/b/issues/1/comments",
        "GET /repos/o/b/issues/3/comments",
        "GET /repos/o/b/issues?page=2",
    ];
    assert_eq!(sorted(server.take_lines()), expected);
    let slices = folder.query("SELECT count(*), sum(state = 1), sum(n_records) FROM slices");
    assert_eq!(slices, [[json!(6), json!(6), json!(14)]]);

    assert_eq!(folder.run(&["run", "-q"]).code, Some(0));
    assert_eq!(server.take_lines(), Vec::<String>::new(), "what is pulled is pulled");
}

#[test]
fn a_record_whose_child_is_gone_costs_nothing_else() {
    let server = Server::start(|ask| match ask.path.as_str() {
        "/list" => Answer::json(&json!([{"id": 1}, {"id": "../2"}, {"id": null}, {"id": 4}])),
        "/list/1" => Answer::status(404, ""),
        "/list/4" => Answer::json(&json!({"id": 4, "more": true})),
        _ => Answer::status(410, ""),
    });
    let (folder, ended) = crawl(&format!(
        r#"
        [api.x]
        base = "{}"
        [api.x.stream.list]
        path = "/list"
        paginate = "none"
        [api.x.stream.one]
        parent = "list"
        path = "/list/{{list.id}}"
        records = "$"
        paginate = "none"
        "#,
        server.root
    ));
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(values(&folder, "x.one", "id"), [4]);
    let expected = ["GET /list", "GET /list/..%2F2", "GET /list/1", "GET /list/4"];
    assert_eq!(sorted(server.take_lines()), expected);
    let notes = folder.query("SELECT notes FROM responses WHERE notes LIKE '%make no slice%'");
    assert!(
        notes[0][0].as_str().unwrap().contains("1 records make no slice of x.one: {list.id} has no value"),
        "{notes:?}"
    );
}

#[test]
fn values_of_a_record_go_into_headers() {
    let server = Server::start(|ask| {
        if ask.path == "/accounts" {
            return Answer::json(&json!([{"id": 7}, {"id": "b"}]));
        }
        assert_eq!(ask.header("accept"), "application/x");
        let page = if ask.query("page").is_empty() { "1" } else { "2" };
        let answer = Answer::json(&json!([{"id": format!("{} {page}", ask.header("x-account"))}]));
        if page == "1" { answer.with("link", "<?page=2>; rel=next") } else { answer }
    });
    let (folder, ended) = crawl(&format!(
        r#"
        [api.x]
        base = "{}"
        headers = {{ accept = "application/x" }}
        [api.x.stream.accounts]
        path = "/accounts"
        [api.x.stream.orders]
        parent = "accounts"
        path = "/orders"
        headers = {{ X-Account = "acc-{{accounts.id}}" }}
        "#,
        server.root
    ));
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(values(&folder, "x.orders", "id"), ["acc-7 1", "acc-7 2", "acc-b 1", "acc-b 2"]);
}

#[test]
fn a_stream_can_be_asked_by_post() {
    let server = Server::start(|ask| {
        let body = ask.json();
        let name = body["variables"]["owner"].as_str().unwrap_or_default().to_owned();
        assert_eq!((ask.method.as_str(), ask.header("content-type")), ("POST", "application/json"));
        Answer::json(&json!({"data": {"nodes": [{"id": name}]}}))
    });
    let (folder, ended) = crawl(&format!(
        r#"
        [api.q]
        url = "{}/graphql"
        each = ["a", "b"]
        graphql = "query($owner: String!) {{ nodes(owner: $owner) {{ id }} }}"
        variables = {{ owner = "{{each}}" }}
        records = "data.nodes"
        paginate = "none"
        "#,
        server.root
    ));
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(values(&folder, "q", "id"), ["a", "b"]);
}

#[test]
fn a_cursor_that_expires_restarts_its_slice_and_loses_nothing() {
    // The third request for a second page is the first that is answered.
    let expired = AtomicU32::new(0);
    let server = Server::start(move |ask| match ask.query("cursor") {
        "" => Answer::json(&json!({"items": [{"id": 1}, {"id": 2}], "next": "two"})),
        _ if expired.fetch_add(1, Ordering::SeqCst) < 2 => Answer::status(400, "cursor expired"),
        _ => Answer::json(&json!({"items": [{"id": 3}], "next": null})),
    });
    let config = |root: &str| {
        format!(
            "[api.x]\nurl = \"{root}/x\"\nkey = \"id\"\npaginate = {{ type = \"cursor\", path = \"next\", send = \"query:cursor\" }}\n"
        )
    };
    let (folder, ended) = crawl(&config(&server.root));
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(values(&folder, "x", "id"), [1, 2, 3]);
    let asked = ["GET /x", "GET /x?cursor=two", "GET /x", "GET /x?cursor=two", "GET /x", "GET /x?cursor=two"];
    assert_eq!(server.take_lines(), asked);
    assert_eq!(folder.query("SELECT walk, restarts, state FROM slices"), [[json!(3), json!(2), json!(1)]]);

    let server = Server::start(|ask| match ask.query("cursor") {
        "" => Answer::json(&json!({"items": [{"id": 1}], "next": "two"})),
        _ => Answer::status(410, ""),
    });
    let (folder, ended) = crawl(&config(&server.root));
    assert_eq!(ended.code, Some(4), "a cursor that always expires is given up: {}", ended.stderr);
    assert_eq!(server.take_lines().len(), 8, "it begins again three times");
    let reason = folder.query("SELECT reason FROM failures");
    assert!(reason[0][0].as_str().unwrap().contains("began again 3 times"), "{reason:?}");
}

#[test]
fn rules_of_the_user_say_what_answers_mean() {
    let busy = AtomicU32::new(0);
    let server = Server::start(move |ask| match ask.path.as_str() {
        "/lag" if busy.fetch_add(1, Ordering::SeqCst) < 2 => Answer::json(&json!({"error": {"code": "maxlag"}})),
        "/lag" => Answer::json(&json!({"items": [{"id": "lag"}]})),
        "/none" => Answer::status(403, "<b>not for you</b>"),
        "/end" if ask.query("page") == "2" => Answer::status(422, "too deep"),
        "/end" => Answer::json(&json!([{"id": "end"}])).with("link", "<?page=2>; rel=next"),
        _ => Answer::json(&json!({"error": "no"})),
    });
    let (folder, ended) = crawl(&format!(
        r#"
        [api.x]
        base = "{}"
        key = "id"
        errors = [
            {{ status = 200, path = "error.code", equals = "maxlag", action = "throttle", wait = "50ms" }},
            {{ status = 403, body = "Not for you", action = "skip" }},
            {{ status = "4xx", action = "stop" }},
            {{ path = "error", action = "fail" }},
        ]
        [api.x.stream.lag]
        path = "/lag"
        [api.x.stream.none]
        path = "/none"
        [api.x.stream.end]
        path = "/end"
        [api.x.stream.bad]
        path = "/bad"
        "#,
        server.root
    ));
    assert_eq!(ended.code, Some(4), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(folder.query("SELECT data ->> '$.id' FROM items ORDER BY 1"), [["end"], ["lag"]]);
    let states = folder.query(
        "SELECT s.name || ' ' || iif(l.state = 1, 'complete', 'failed') FROM slices AS l JOIN sources AS s USING (source_id) ORDER BY 1",
    );
    assert_eq!(states, [["x.bad failed"], ["x.end complete"], ["x.lag complete"], ["x.none complete"]]);
    let attempts = folder.query("SELECT max(attempt) FROM jobs WHERE request = '/lag'");
    assert_eq!(attempts, [[0]], "a limit costs no attempt");
}

#[test]
fn a_window_with_too_many_records_is_walked_in_halves() {
    // One record a day, of which no more than two can be had of a window.
    let server = Server::start(|ask| {
        let day = |name: &str| ask.query(name).rsplit('-').next().unwrap().parse::<u32>().unwrap();
        let (since, until) = (day("since"), day("until"));
        let days: Vec<u32> = (since..until).collect();
        let page: usize = ask.query("page").parse().unwrap_or(1);
        let records: Vec<Value> = days.iter().skip(page - 1).take(1).map(|day| json!({"id": day})).collect();
        let answer = Answer::json(&Value::Array(records));
        if page < days.len() && page < 2 {
            answer.with(
                "link",
                &format!("<?since=2024-01-{since:02}&until=2024-01-{until:02}&page={}>; rel=next", page + 1),
            )
        } else {
            answer
        }
    });
    let (folder, ended) = crawl(&format!(
        r#"
        [api.x]
        url = "{}/x"
        key = "id"
        slice = {{ start = "2024-01-01", step = "10d", from = "query:since", to = "query:until", format = "date", split_at = 1 }}
        "#,
        server.root
    ));
    drop(ended);
    let first = folder.query("SELECT count(*) FROM items WHERE CAST(data ->> '$.id' AS INTEGER) BETWEEN 1 AND 10");
    assert_eq!(first, [[10]], "all ten days of the first window");
}

#[test]
fn a_redirected_post_takes_its_body_to_no_other_origin() {
    let other = Server::start(|_| Answer::json(&json!([{"id": 1}])));
    let elsewhere = other.root.clone();
    let server = Server::start(move |_| Answer::status(307, "").with("location", &format!("{elsewhere}/x")));
    let config = format!("[api.x]\nurl = \"{}/x\"\njson = {{ secret = 1 }}\npaginate = \"none\"\n", server.root);
    let (folder, ended) = crawl(&config);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert_eq!(other.take_lines(), Vec::<String>::new());
    let reason = folder.query("SELECT reason FROM failures");
    assert!(reason[0][0].as_str().unwrap().contains("another origin"), "{reason:?}");
}

/// A wiki that sends at most one category an answer, as MediaWiki's generators do: every answer has all pages, with parts of them.
fn wiki(ask: &Ask) -> Answer {
    let page = |id: i64, categories: &[&str]| {
        let mut page = json!({"pageid": id, "title": format!("Page {id}")});
        if !categories.is_empty() {
            page["categories"] = categories.iter().map(|title| json!({ "title": title })).collect();
        }
        page
    };
    let (pages, next) = match ask.query("clcontinue") {
        "" => (vec![page(1, &["A"]), page(2, &[])], Some("1|B")),
        "1|B" => (vec![page(1, &["B"]), page(2, &[])], Some("2|A")),
        "2|A" => (vec![page(1, &[]), page(2, &["A"])], Some("2|C")),
        _ => (vec![page(1, &[]), page(2, &["C"])], None),
    };
    let mut answer = json!({"query": {"pages": pages}});
    if let Some(next) = next {
        answer["continue"] = json!({"clcontinue": next, "continue": "||"});
    }
    Answer::json(&answer)
}

#[test]
fn pages_that_a_wiki_sends_in_parts_are_stored_whole() {
    let server = Server::start(wiki);
    let (folder, ended) = crawl(&format!(
        r#"
        [api.wiki]
        url = "{}/w/api.php"
        query = {{ action = "query", generator = "allpages", prop = "categories", cllimit = 1 }}
        records = "query.pages"
        key = "pageid"
        merge = "deep"
        paginate = {{ type = "params", path = "continue" }}
        "#,
        server.root
    ));
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let rows = folder.query("SELECT pageid, title, categories FROM wiki ORDER BY pageid");
    let expected = [
        [json!(1), json!("Page 1"), json!(r#"[{"title":"A"},{"title":"B"}]"#)],
        [json!(2), json!("Page 2"), json!(r#"[{"title":"A"},{"title":"C"}]"#)],
    ];
    assert_eq!(rows, expected);
}

#[test]
fn a_cursor_that_does_not_move_on_ends_the_walk_with_the_cause() {
    let number = AtomicU32::new(1);
    // The API ignores the parameter, and calls every next page by another name.
    let server = Server::start(move |_| {
        let next = number.fetch_add(1, Ordering::SeqCst);
        Answer::json(&json!({"items": [{"id": 1}, {"id": 2}], "next": next}))
    });
    let paginate = r#"paginate = { type = "cursor", path = "next", send = "query:wrong" }"#;
    let (folder, ended) = crawl(&format!("[api.x]\nurl = \"{}/x\"\nkey = \"id\"\n{paginate}\n", server.root));
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert_eq!(server.take_lines().len(), 4);
    let reason = folder.query("SELECT reason FROM failures");
    let reason = reason[0][0].as_str().unwrap();
    assert!(reason.contains("met before") && reason.contains("set `paginate`"), "{reason}");
    assert_eq!(values(&folder, "x", "id"), [1, 2], "its records are kept");
}

/// A list of records with the times at which they changed, which is asked for from a time on.
fn changes(ask: &Ask) -> Answer {
    let rows = [(1, "2024-01-01T00:00:00Z"), (2, "2024-01-02T00:00:00Z"), (3, "2024-01-03T00:00:00Z")];
    let since = ask.query("since").to_owned();
    let rows = rows.iter().filter(|(_, at)| **at >= *since).map(|(id, at)| json!({"id": id, "at": at}));
    Answer::json(&Value::Array(rows.collect()))
}

#[test]
fn an_incremental_stream_is_asked_for_what_is_new_and_for_everything_when_that_is_wanted() {
    let server = Server::start(changes);
    let folder = Folder::new(&format!(
        r#"{FAST}
        [api.x]
        url = "{}/x"
        key = "id"
        paginate = "none"
        incremental = {{ field = "at", send = "query:since", start = "2023-01-01T00:00:00Z", lookback = "1h" }}
        every = "1s"
        "#,
        server.root
    ));
    let run = |args: &[&str]| {
        let ended = folder.run(&[&["run", "-q", "--once"], args].concat());
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
        server.take_lines()
    };
    assert_eq!(run(&[]), ["GET /x?since=2023-01-01T00:00:00Z"]);
    assert_eq!(folder.query("SELECT mark FROM slices"), [["\"2024-01-03T00:00:00Z\""]]);
    // The next pull is due a second after the first one began, and a run takes less.
    let second =
        crate::process::wait_for("the next pull is due", 30_000, || Some(run(&[])).filter(|lines| !lines.is_empty()));
    assert_eq!(second, ["GET /x?since=2024-01-02T23:00:00Z"]);
    assert_eq!(run(&["--refresh"]), ["GET /x?since=2023-01-01T00:00:00Z"], "everything");
    assert_eq!(folder.query("SELECT count(*) FROM items"), [[3]]);
    let streams = folder.query("SELECT stream, kind, walking, failed, records FROM streams");
    assert_eq!(streams, [[json!("x"), json!("full"), json!(0), json!(0), json!(3)]]);
}

#[test]
fn a_run_with_a_schedule_goes_on_until_it_is_stopped_and_was_complete_then() {
    let server = Server::start(changes);
    let url = format!("{}/x", server.root);
    let folder = Folder::new(&format!("{FAST}[api.x]\nurl = \"{url}\"\npaginate = \"none\"\nevery = \"1s\"\n"));
    let mut running = folder.start(&["run", "-q"]);
    let mut asked = 0;
    crate::process::wait_for("three pulls", 30_000, || {
        asked += server.take_lines().len();
        (asked >= 3).then_some(())
    });
    assert!(!running.has_ended());
    running.interrupt();
    let ended = running.wait(crate::process::SOON_MS);
    assert_eq!(ended.code, Some(0), "nothing was left to do: {}{}", ended.stdout, ended.stderr);
    assert_eq!(folder.query("SELECT count(*) FROM jobs"), [[1]], "the queue does not grow with the pulls");
}

#[test]
fn values_that_are_added_later_are_pulled_and_no_others() {
    let server = Server::start(|ask| Answer::json(&json!([{"id": ask.path}])));
    let config = |each: &str| {
        format!(
            "{FAST}[api.x]\nbase = \"{}\"\n[api.x.stream.a]\npath = \"/{{each}}\"\neach = {each}\npaginate = \"none\"\n",
            server.root
        )
    };
    let folder = Folder::new(&config("[\"a\", \"b\"]"));
    assert_eq!(folder.run(&["run", "-q"]).code, Some(0));
    assert_eq!(sorted(server.take_lines()), ["GET /a", "GET /b"]);
    std::fs::write(folder.path("crawl.toml"), config("[\"b\", \"c\"]")).unwrap();
    assert_eq!(folder.run(&["run", "-q"]).code, Some(0));
    assert_eq!(server.take_lines(), ["GET /c"]);
}

/// Products by id, 40 at most in one request, of which one makes every request fail and two do not exist.
fn products(ask: &Ask) -> Answer {
    if ask.path == "/list" {
        let ids: Vec<Value> = (1..=100).map(|id| json!({"id": id})).collect();
        return Answer::json(&Value::Array(ids));
    }
    let ids: Vec<u32> = ask.query("ids").split(',').map(|id| id.parse().unwrap()).collect();
    if ids.len() > 40 || ids.contains(&13) {
        return Answer::status(400, "bad id");
    }
    let products =
        ids.iter().filter(|id| ![50, 51].contains(*id)).map(|id| json!({"id": id, "name": format!("p{id}")}));
    Answer::json(&json!({"products": products.collect::<Vec<_>>()}))
}

#[test]
fn ids_are_asked_for_together_and_a_bad_one_is_found_by_halves() {
    let server = Server::start(products);
    let (folder, ended) = crawl(&format!(
        r#"
        [[host]]
        match = "127.0.0.1"
        concurrency = 1
        max_concurrency = 1
        [api.shop]
        base = "{}"
        paginate = "none"
        [api.shop.stream.list]
        path = "/list"
        [api.shop.stream.products]
        parent = "list"
        path = "/products"
        batch = {{ field = "id", size = 40, send = "query:ids", match = "id", missing = "fail" }}
        records = "products"
        key = "id"
        "#,
        server.root
    ));
    assert_eq!(ended.code, Some(4), "{}{}", ended.stdout, ended.stderr);
    let stored =
        folder.query("SELECT count(*), count(DISTINCT data ->> '$.id') FROM records WHERE source = 'shop.products'");
    assert_eq!(stored, [[97, 97]]);
    let dead = folder.query("SELECT reason FROM failures ORDER BY reason");
    let reasons: Vec<&str> = dead.iter().map(|row| row[0].as_str().unwrap()).collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(reasons[0].contains("400") && reasons[1].contains("no record with its id"), "{reasons:?}");
    // 40 and 40 and 20; the first is halved to 20, 10, 5, 3, 2, 1 and as many other halves.
    let asked = server.take_lines();
    assert!(asked.len() <= 1 + 3 + 2 * 6, "{} requests: {asked:#?}", asked.len());
    assert_eq!(folder.query("SELECT n_requests FROM totals"), [[asked.len()]], "a request is counted once");
}

#[test]
fn ids_of_a_list_go_into_the_body_and_those_that_are_missing_are_asked_for_again() {
    let first = AtomicU32::new(0);
    let server = Server::start(move |ask| {
        let ids = ask.json()["ids"].as_array().unwrap().clone();
        // DynamoDB gives back what it likes, and the rest when it is asked again.
        let take = if first.fetch_add(1, Ordering::SeqCst) == 0 { 2 } else { ids.len() };
        let records = ids.iter().take(take).map(|id| json!({"id": id}));
        Answer::json(&json!({"items": records.collect::<Vec<_>>()}))
    });
    let (folder, ended) = crawl(&format!(
        r#"
        [api.x]
        url = "{}/get"
        each = ["a", "b", "c", "d", "e"]
        json = {{ ids = "{{ids}}" }}
        batch = {{ size = 100, match = "id", missing = "retry" }}
        paginate = "none"
        key = "id"
        "#,
        server.root
    ));
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(values(&folder, "x", "id"), ["a", "b", "c", "d", "e"]);
    assert_eq!(server.take_lines().len(), 2);
}

#[test]
fn a_server_that_takes_fewer_ids_is_told_so_by_few_refusals_and_asked_in_full_batches_from_then_on() {
    let too_many = || Answer::json(&json!({"error": {"code": "toomanyvalues"}}));
    for is_in_words in [true, false] {
        let server = Server::start(move |ask| {
            let ids: Vec<&str> = ask.query("ids").split(',').collect();
            if ids.len() > 10 {
                return if is_in_words { too_many() } else { Answer::status(414, "") };
            }
            Answer::json(&ids.iter().map(|id| json!({ "id": id })).collect())
        });
        let each: Vec<String> = (0..300).map(|id| format!("\"{id}\"")).collect();
        let (folder, ended) = crawl(&format!(
            r#"
            [[host]]
            match = "127.0.0.1"
            concurrency = 1
            max_concurrency = 1
            [api.x]
            url = "{}/get"
            each = [{}]
            batch = {{ size = 40, send = "query:ids", match = "id", missing = "fail" }}
            errors = [{{ status = 200, path = "error.code", equals = "toomanyvalues", action = "split" }}]
            paginate = "none"
            key = "id"
            "#,
            server.root,
            each.join(", ")
        ));
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
        assert_eq!(values(&folder, "x", "id").len(), 300);
        // 40 and 20 are refused once each.
        let asked = server.take_lines();
        assert_eq!(asked.len(), 2 + 30, "{asked:#?}");
    }
}
