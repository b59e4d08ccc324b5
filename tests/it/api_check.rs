//! What `trundle check --fetch` says of APIs: one request a stream, and nothing stored.

use serde_json::{Value, json};

use crate::api_server::{Answer, Ask, Server};
use crate::process::Folder;

/// A tracker: issues by Link header, comments of one issue, a list behind a cursor that nobody told of, one that is locked.
fn tracker(ask: &Ask) -> Answer {
    match ask.path.as_str() {
        "/issues" => {
            let issues =
                json!([{"number": 7, "title": "broken"}, {"number": 8, "title": "x".repeat(300)}, {"title": "9"}]);
            Answer::json(&issues).with("link", "</issues?page=2>; rel=\"next\"")
        }
        "/issues/7/comments" => Answer::json(&json!([{"id": 70, "body": "yes\u{1b}[2J"}])),
        "/moved" => Answer::status(302, "").with("location", "/events"),
        "/events" => Answer::json(&json!({"data": [{"id": 1}], "next_cursor": "abc"})),
        "/next" => Answer::json(&json!({"items": [{"id": 1}], "next": "/next?page=2"})),
        "/teapot" => Answer::status(418, "no"),
        _ => Answer::status(401, "{\"message\": \"who are you?\"}"),
    }
}

fn config(root: &str) -> String {
    format!(
        r#"
        [api.gh]
        base = "{root}"
        headers = {{ authorization = "Bearer secret" }}
        [api.gh.stream.comments]
        parent = "issues"
        path = "/issues/{{issues.number}}/comments"
        key = "id"
        [api.gh.stream.issues]
        path = "/issues"
        key = "number"
        [api.gh.stream.replies]
        parent = "comments"
        where_parent = "$.id > 100"
        path = "/comments/{{comments.id}}"
        [api.gh.stream.events]
        path = "/moved"
        [api.gh.stream.next]
        path = "/next"
        paginate = {{ type = "next_url", path = "next" }}
        [api.gh.stream.locked]
        path = "/locked"
        "#
    )
}

/// The lines about what was fetched, under the names of their streams.
fn fetched(stdout: &str, root: &str) -> String {
    let is_told = |line: &&str| line.starts_with('[') || line.starts_with("  fetched") || line.starts_with("    ");
    let lines: Vec<&str> = stdout.lines().filter(is_told).collect();
    lines.join("\n").replace(root, "ROOT")
}

#[test]
fn each_stream_is_asked_once_and_what_its_answer_leads_to_is_told() {
    let server = Server::start(tracker);
    let folder = Folder::new(&config(&server.root));
    let ended = folder.run(&["check", "--fetch"]);
    assert_eq!(ended.code, Some(1), "two streams cannot be pulled: {}", ended.stderr);
    insta::assert_snapshot!(fetched(&ended.stdout, &server.root), @r#"
    [api.gh.comments]
      fetched GET ROOT/issues/7/comments: 200, 1 record
        {"body":"yes\u001b[2J","id":70}
        the key (id) is in each of them
        auto found no sign of a next page; if there is one, `paginate` must say how to get there
    [api.gh.issues]
      fetched GET ROOT/issues: 200, 3 records
        {"number":7,"title":"broken"}
        {"number":8,"title":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
        the key (number) is in 2 of 3 of them
        auto found a Link header (paginate = "link"); next: GET ROOT/issues?page=2
        note: 1 records lack a key field (number); all of each is its key
        note: 1 records make no slice of gh.comments: {issues.number} has no value
    [api.gh.replies]
        note: not asked: the first page of comments has no record for it
    [api.gh.events]
      fetched GET ROOT/events: 200, 1 record
        {"id":1}
        no key: a record is the same when all of it is; with `key` a later version replaces it
        problem: there are more pages (a cursor at next_cursor), but `paginate` does not say how to ask for them: set type = "cursor", path = "next_cursor" and its send; "none" takes one page
    [api.gh.next]
      fetched GET ROOT/next: 200, 1 record
        {"id":1}
        no key: a record is the same when all of it is; with `key` a later version replaces it
        next: GET ROOT/next?page=2
    [api.gh.locked]
      fetched GET ROOT/locked: 401, 0 records
        problem: answered 401 (not authorised)
    "#);
    let asked = server.take_lines();
    let expected = ["GET /issues", "GET /issues/7/comments", "GET /moved", "GET /events", "GET /next", "GET /locked"];
    assert_eq!(asked, expected);
    assert!(!ended.stdout.contains("secret"));
    assert!(!folder.path("crawl.db").exists(), "nothing is stored");

    let told: Value = serde_json::from_str(&folder.run(&["check", "--fetch", "--json"]).stdout).unwrap();
    let issues = told["apis"].as_array().unwrap().iter().find(|api| api["name"] == "gh.issues").unwrap();
    assert_eq!((&issues["fetched"]["records"], &issues["fetched"]["with_key"]), (&json!(3), &json!(2)));
}

#[test]
fn streams_that_can_be_pulled_are_no_error() {
    let server = Server::start(tracker);
    let folder = Folder::new(&format!("[api.x]\nurl = \"{}/issues\"\n", server.root));
    let ended = folder.run(&["check", "--fetch"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("no key: a record is the same when all of it is"), "{}", ended.stdout);
    assert!(!folder.run(&["check"]).stdout.contains("fetched"));
}
