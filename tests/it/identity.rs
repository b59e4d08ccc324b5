//! Who the real program says it is, to whom, and through which proxies it goes.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::api_server::{Answer, Ask, Server};
use crate::process::Folder;

/// Ceilings that no test waits for.
const FAST: &str = "[throttle]\nmax_rate = \"none\"\n[retry]\nbase = \"10ms\"\n";

/// Nine pages of one record each, by a cursor.
fn page(ask: &Ask) -> Value {
    let number: u64 = ask.query("cursor").parse().unwrap_or(1);
    let next = if number < 9 { json!((number + 1).to_string()) } else { Value::Null };
    json!({ "items": [{ "id": number }], "next": next })
}

const CURSOR: &str = r#"paginate = { type = "cursor", path = "next", send = "query:cursor" }"#;

#[test]
fn a_pool_of_tokens_is_used_up_one_after_another_and_the_crawl_does_not_wait() {
    // Each token is good for three requests an hour: `a` says so, `b` is refused.
    let uses = std::sync::Mutex::new(std::collections::HashMap::<String, u32>::new());
    let server = Server::start(move |ask| {
        if ask.path == "/robots.txt" {
            return Answer::status(404, "");
        }
        let token = ask.header("authorization").replace("Bearer ", "");
        let mut uses = uses.lock().unwrap();
        let used = uses.entry(token.clone()).or_default();
        *used += 1;
        match (token.as_str(), *used) {
            ("a", 3) => Answer::json(&page(ask)).with("x-ratelimit-remaining", "0").with("x-ratelimit-reset", "3600"),
            ("b", 4) => Answer::status(429, "").with("retry-after", "3600"),
            ("a" | "b", 4..) => Answer::status(500, "it was spent"),
            ("a" | "b" | "c", _) => Answer::json(&page(ask)),
            _ => Answer::status(401, ""),
        }
    });
    let folder = Folder::new(&format!(
        "{FAST}[api.x]\nurl = \"{}/items\"\nkey = \"id\"\n{CURSOR}\nauth = {{ type = \"bearer\", tokens = [\"a\", \"b\", {{ file = \"c.txt\" }}] }}\n",
        server.root
    ));
    std::fs::write(folder.path("c.txt"), "c\n").unwrap();
    let ended = folder.run(&["run", "-q"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(folder.query("SELECT count(*) FROM records"), [[json!(9)]]);
    let tokens: Vec<String> = server
        .take()
        .iter()
        .filter(|ask| ask.path == "/items")
        .map(|ask| ask.header("authorization").replace("Bearer ", ""))
        .collect();
    assert_eq!(tokens.concat(), "aaabbbbccc");
}

#[test]
fn a_key_in_the_query_reaches_its_server_and_no_file_and_no_other_host() {
    // The next page's address repeats the key, as servers do; the last one lies elsewhere.
    let other = Server::start(|_| Answer::json(&json!({ "items": [{ "id": 3 }] })));
    let elsewhere = format!("{}/three", other.root);
    let server = Server::start(move |ask| match (ask.path.as_str(), ask.query("key")) {
        ("/one", "hunter2secret") => {
            Answer::json(&json!({ "items": [{ "id": 1 }], "next": format!("/two?key={}&b=1", ask.query("key")) }))
        }
        ("/two", "hunter2secret") if ask.query("b") == "1" => {
            Answer::json(&json!({ "items": [{ "id": 2 }], "next": format!("{elsewhere}?key={}", ask.query("key")) }))
        }
        _ => Answer::status(404, ""),
    });
    let folder = Folder::new(&format!(
        "{FAST}[api.x]\nurl = \"{}/one\"\nkey = \"id\"\npaginate = {{ type = \"next_url\", path = \"next\" }}\n\
         auth = {{ type = \"api_key\", in = \"query\", name = \"key\", value = {{ file = \"key.txt\" }} }}\n",
        server.root
    ));
    std::fs::write(folder.path("key.txt"), "hunter2secret").unwrap();
    let mut said = folder.run(&["check"]).stdout;
    assert!(said.contains("?key=***"), "{said}");
    let ended = folder.run(&["run", "-v"]);
    said += &format!("{}{}", ended.stdout, ended.stderr);
    let found =
        |lines: Vec<String>, path: &str| lines.iter().filter(|line| line.contains(path)).cloned().collect::<Vec<_>>();
    assert_eq!(found(server.take_lines(), "/two"), ["GET /two?b=1&key=hunter2secret"], "{said}");
    assert!(found(other.take_lines(), "hunter2").is_empty());
    said += &serde_json::to_string(&folder.query("SELECT * FROM records")).unwrap();
    assert!(!said.contains("hunter2"), "{said}");
    for entry in std::fs::read_dir(folder.path("")).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("key.txt") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"), "{}", path.display());
    }
}

#[test]
fn a_crawl_goes_through_the_proxy_that_works_and_past_it_where_a_rule_says_so() {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy =
        Server::start(
            |ask| {
                if ask.path.ends_with("/items") { Answer::json(&page(ask)) } else { Answer::status(404, "") }
            },
        );
    let straight =
        Server::start(|ask| if ask.path == "/items" { Answer::json(&page(ask)) } else { Answer::status(404, "") });
    let folder = Folder::new(&format!(
        "{FAST}[http]\nproxy = [\"http://me:hunter2@{dead}\", \"{}\"]\n[[host]]\nmatch = \"127.0.0.1\"\nproxy = \"none\"\n\
         [api.x]\nurl = \"http://public.example/items\"\nkey = \"id\"\n{CURSOR}\n[api.y]\nurl = \"{}/items\"\nkey = \"id\"\n{CURSOR}\n",
        proxy.root, straight.root
    ));
    let ended = folder.run(&["run", "-v"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(
        folder.query("SELECT source, count(*) FROM records GROUP BY 1 ORDER BY 1"),
        [[json!("x"), json!(9)], [json!("y"), json!(9)]]
    );
    let pages = |server: &Server| server.take_lines().iter().filter(|line| line.contains("/items")).count();
    assert_eq!((pages(&proxy), pages(&straight)), (9, 9));
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
}
