//! The program as people use it: from an empty folder to a crawl that is done, with mistakes on the way.

use serde_json::Value;

use crate::process::{Folder, SOON_MS, Web, wait_for};

/// A site of 40 pages behind a fixed window: long enough to look at while it is crawled.
fn slow_web() -> Web {
    Web::start(&["--pages", "120", "--host", "archive:0:bucket=20,5"])
}

fn toml(web: &Web) -> String {
    format!(
        "[throttle]\nmax_rate = \"none\"\n[site.archive]\nstart = [\"{}\"]\nstrip_tracking = true\n[site.archive.items]\n\
         title = \"h1\"\n",
        web.roots[0]
    )
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

#[test]
fn from_init_to_sql() {
    let web = slow_web();
    let folder = Folder::new("");
    std::fs::remove_file(folder.path("crawl.toml")).unwrap();
    let lost = folder.run(&["run"]);
    assert_eq!(lost.code, Some(2));
    assert!(lost.stderr.contains("trundle init"), "{}", lost.stderr);

    assert_eq!(folder.run(&["init"]).code, Some(0));
    assert_eq!(folder.run(&["init"]).code, Some(2), "a file that is there is not overwritten");
    assert_eq!(folder.run(&["check"]).code, Some(0), "the file of init is valid");
    std::fs::write(folder.path("crawl.toml"), toml(&web)).unwrap();
    let check = folder.run(&["check"]);
    assert!(check.stdout.contains(&format!("GET {}", web.roots[0])), "{}", check.stdout);

    let run = folder.run(&["run"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.contains("complete: "), "{}", run.stdout);
    assert!(run.stderr.contains("complete after"), "{}", run.stderr);

    let status = json(&folder.run(&["status", "--json"]).stdout);
    assert_eq!(status["progress"]["n_ready"], 0);
    assert_eq!(status["sources"][0]["done"], 40);
    let sql = json(&folder.run(&["sql", "--json", "SELECT count(*) AS pages FROM pages WHERE status = 200"]).stdout);
    assert_eq!(sql, serde_json::json!([{ "pages": 40 }]));
    let page = folder.query("SELECT url FROM pages WHERE status = 200 AND depth > 0 LIMIT 1")[0][0].clone();
    let why = folder.run(&["why", page.as_str().unwrap()]).stdout;
    assert!(why.contains("state      done") && why.contains("named by"), "{why}");
    let unknown = folder.run(&["why", "https://elsewhere.example/"]).stdout;
    assert!(unknown.contains("never was") && unknown.contains("out of scope"), "{unknown}");
    let write = folder.run(&["sql", "DELETE FROM jobs"]);
    assert_eq!(write.code, Some(1), "the database can only be read: {}", write.stdout);

    let again = folder.run(&["run"]);
    assert_eq!(again.code, Some(0), "a crawl that is complete stays so: {}", again.stderr);
}

#[test]
fn a_crawl_of_one_address_needs_no_file_and_neither_do_questions_about_it() {
    let web = slow_web();
    let folder = Folder::new("");
    std::fs::remove_file(folder.path("crawl.toml")).unwrap();
    assert_eq!(folder.run(&["status"]).code, Some(2), "there is neither a file nor a crawl");
    let run = folder.run(&["run", &web.roots[0]]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let status = json(&folder.run(&["status", "--json"]).stdout);
    assert_eq!(status["progress"]["n_ready"], 0, "{status}");
    let why = folder.run(&["why", &web.roots[0]]).stdout;
    assert!(why.contains("state      done"), "{why}");
    let sql = json(&folder.run(&["sql", "--json", "SELECT count(*) AS pages FROM pages WHERE depth = 0"]).stdout);
    assert_eq!(sql, serde_json::json!([{ "pages": 1 }]));
    let other = folder.run(&["status", "--config", "other.toml"]);
    assert_eq!(other.code, Some(2), "a file that was named must be there: {}", other.stdout);
}

#[test]
fn an_api_page_is_explained_in_its_own_words() {
    let web = Web::start(&["--records", "45", "--host", "items:0:none"]);
    let url = format!("{}items", web.roots[0]);
    let folder = Folder::new(&format!(
        "[api.items]\nurl = \"{url}\"\nkey = \"id\"\nrecords = \"items\"\n\
         paginate = {{ type = \"cursor\", path = \"next\", send = \"query:cursor\" }}\n"
    ));
    assert_eq!(folder.run(&["run"]).code, Some(0));
    let why = folder.run(&["why", &url]).stdout;
    assert!(why.contains("an api page of items, number 1 of its stream"), "{why}");
    assert!(why.contains(" records, at ") && !why.contains("links"), "{why}");
}

#[test]
fn an_error_of_sql_is_told_once() {
    let folder = Folder::new("[site.a]\nstart = [\"http://127.0.0.1:9/\"]\n");
    assert_eq!(folder.run(&["add", "http://127.0.0.1:9/x"]).code, Some(0));
    let ended = folder.run(&["sql", "SELECT * FROM pagess"]);
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.stderr.matches("no such table: pagess").count(), 1, "{}", ended.stderr);
}

#[test]
fn options_of_every_command_stand_apart_in_the_help() {
    let folder = Folder::new("");
    for args in [&["--help"][..], &["run", "--help"]] {
        let help = folder.run(args).stdout;
        let (own, common) = help.split_once("Options of every command:").unwrap_or_else(|| panic!("{args:?}: {help}"));
        assert!(common.contains("--db") && common.contains("--quiet") && !own.contains("--db"), "{args:?}: {help}");
        assert!(own.contains("--help"), "{args:?}: {help}");
    }
}

#[test]
fn a_typo_names_file_line_key_and_the_nearest_key() {
    let folder = Folder::new("[site.docs]\nstart = [\"https://docs.example.org/\"]\n\n[throttle]\nmax_rat = \"1/s\"\n");
    for verb in ["check", "run"] {
        let ended = folder.run(&[verb]);
        assert_eq!(ended.code, Some(2), "{verb}");
        for words in ["crawl.toml:5", "\"max_rat\"", "[throttle]", "\"max_rate\""] {
            assert!(ended.stderr.contains(words), "{verb}: no {words} in {}", ended.stderr);
        }
    }
    assert!(!folder.path("crawl.db").exists(), "nothing was started");
}

#[test]
fn what_is_told_during_a_crawl_is_true_and_a_second_crawl_is_refused() {
    let web = slow_web();
    let folder = Folder::new(&toml(&web));
    let mut log = web.log();
    let mut running = folder.start(&["run", "-q"]);
    wait_for("ten requests", SOON_MS, || (log.read() >= 10 && folder.path("crawl.db").exists()).then_some(()));

    let second = folder.run(&["run"]);
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert!(second.stderr.contains("in use") && second.stderr.contains(&running.id().to_string()), "{}", second.stderr);

    for _ in 0..5 {
        let status = json(&folder.run(&["status", "--json"]).stdout);
        let served = log.read();
        let sent = status["progress"]["n_requests"].as_u64().unwrap();
        assert!(sent <= served as u64, "{sent} requests are told of, {served} have reached the server");
    }
    // What people say about a host is taken by the crawl that runs.
    let host = web.roots[0].trim_end_matches('/').to_owned();
    let table = folder.run(&["hosts"]).stdout;
    assert!(table.contains(&host) && table.contains("last seen"), "{table}");
    let set = folder.run(&["hosts", "set", &host, "--rate", "5/s", "--burst", "2"]);
    assert_eq!(set.code, Some(0), "{}", set.stderr);
    wait_for("the order to be taken", SOON_MS, || {
        let rows = folder.query("SELECT learned FROM limits");
        rows[0][0].as_str().is_some_and(|words| words.ends_with("said by hand")).then_some(())
    });
    let unknown = folder.run(&["hosts", "forget", "elsewhere.example"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("knows no host"), "{}", unknown.stderr);

    let rows = wait_for("a page to add", SOON_MS, || {
        let rows = folder.query("SELECT url FROM all_jobs WHERE depth > 0 AND kind = 'page' LIMIT 1");
        (!rows.is_empty()).then_some(rows)
    });
    let added = rows[0][0].as_str().unwrap().to_owned();
    assert_eq!(folder.run(&["add", &added]).code, Some(0), "work can be added while it runs");

    let ended = running.wait(SOON_MS);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let told = json(&folder.run(&["status", "--json"]).stdout)["progress"]["n_requests"].as_u64().unwrap();
    assert_eq!(told, log.read() as u64, "requests that were sent");
    assert_eq!(folder.query("SELECT count(*) FROM inbox"), [[0]], "what was added was taken");
    let rows = folder.query(&format!("SELECT count(*) FROM all_jobs WHERE url = '{added}'"));
    assert_eq!(rows, [[1]], "what was added is a job");

    // Or by the next one, even if there is nothing else to do.
    assert_eq!(folder.run(&["hosts", "forget", &host]).code, Some(0));
    let hosts = folder.run(&["hosts", "--json"]);
    assert!(json(&hosts.stdout)[0]["learned"].is_string(), "{}", hosts.stdout);
    assert!(hosts.stderr.contains("not taken yet: 1"), "{}", hosts.stderr);
    assert_eq!(folder.run(&["run", "-q"]).code, Some(0));
    assert_eq!(folder.query("SELECT learned, rate_per_s FROM limits"), [[Value::Null, Value::Null]]);
}

#[test]
fn ctrl_c_stops_in_order_and_the_same_command_goes_on() {
    let web = slow_web();
    let folder = Folder::new(&toml(&web));
    let mut log = web.log();
    let mut running = folder.start(&["run"]);
    wait_for("ten requests", SOON_MS, || (log.read() >= 10).then_some(()));
    running.interrupt();
    let stopped = running.wait(SOON_MS);
    assert_eq!(stopped.code, Some(3), "{}", stopped.stderr);
    assert!(stopped.stderr.contains("with work left"), "{}", stopped.stderr);
    assert_eq!(folder.query("SELECT count(*) FROM runs WHERE ended_at IS NULL"), [[0]], "it ended in order");

    let done = folder.run(&["run"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(folder.query("SELECT count(*) FROM pages WHERE status = 200"), [[40]]);
    log.read();
    let twice =
        folder.query("SELECT count(*) FROM attempts WHERE outcome = 'served' GROUP BY job_id HAVING count(*) > 1");
    assert!(twice.is_empty(), "an orderly stop asks for nothing twice");
}
