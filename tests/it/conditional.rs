//! What was fetched before is asked for only if it changed, with the real program: streams that are pulled again, sites that are
//! crawled again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::{Value, json};
use trundle::clock::Clock as _;

use crate::api_server::{Answer, Ask, Server};
use crate::process::Folder;

const FAST: &str = "[throttle]\nmax_rate = \"none\"\n[retry]\nbase = \"10ms\"\n";

fn folder(config: &str) -> Folder {
    Folder::new(&format!("{FAST}{config}"))
}

fn run(folder: &Folder, args: &[&str]) {
    let ended = folder.run(&[&["run", "-q"], args].concat());
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
}

/// What a server with this ETag answers: 304 when it is asked with it.
fn tagged(ask: &Ask, etag: &str, answer: impl FnOnce() -> Answer) -> Answer {
    if ask.header("if-none-match") == etag {
        return Answer::status(304, "").with("etag", etag);
    }
    answer().with("etag", etag)
}

/// Statuses of the attempts in order, after the first `skip`.
fn statuses(folder: &Folder, skip: usize) -> Vec<Value> {
    let rows = folder.query("SELECT status FROM attempts ORDER BY sent_at, job_id, nth");
    rows.into_iter().skip(skip).map(|mut row| row.remove(0)).collect()
}

fn counts(folder: &Folder) -> Vec<Value> {
    let tables = ["jobs", "slices", "items", "responses", "bodies", "holds", "page_changes"];
    let counts = tables.map(|table| format!("(SELECT count(*) FROM {table})"));
    folder.query(&format!("SELECT {}", counts.join(", "))).remove(0)
}

/// Three pages of two records each, in a Link row.
fn list(ask: &Ask) -> Answer {
    let page: u64 = ask.query("page").parse().unwrap_or(1);
    let answer = Answer::json(&json!([{"id": page * 2}, {"id": page * 2 + 1}]));
    if page < 3 { answer.with("link", &format!("<?page={}>; rel=\"next\"", page + 1)) } else { answer }
}

fn api(root: &str) -> String {
    format!("[api.list]\nurl = \"{root}/list\"\nkey = \"id\"\n")
}

#[test]
fn a_second_pull_of_what_has_not_changed_is_304s_and_no_new_rows() {
    let server = Server::start(|ask| {
        // As odd as real ones are: it goes back as it came.
        let etag = format!("W/\"{}, x\"", ask.query("page"));
        tagged(ask, &etag, || list(ask))
    });
    let folder = folder(&api(&server.root));
    run(&folder, &[]);
    let before = counts(&folder);
    assert_eq!(server.take_lines().len(), 3);
    run(&folder, &["--refresh"]);
    assert_eq!(server.take_lines(), ["GET /list", "GET /list?page=2", "GET /list?page=3"]);
    assert_eq!(statuses(&folder, 3), [304, 304, 304]);
    assert_eq!(counts(&folder), before);
    let slice = folder.query("SELECT state, walk, n_pages, n_records FROM slices");
    assert_eq!(slice, [[json!(1), json!(2), json!(3), json!(6)]]);
    let records = folder.query("SELECT count(*) FROM records");
    assert_eq!(records, [[json!(6)]]);
    // And once more: what a 304 leaves is as good as what a 200 left.
    run(&folder, &["--refresh"]);
    assert_eq!(statuses(&folder, 6), [304, 304, 304]);
}

#[test]
fn a_page_that_has_changed_is_read_and_the_walk_goes_where_it_leads() {
    let grown = Arc::new(AtomicBool::new(false));
    let is_grown = Arc::clone(&grown);
    let server = Server::start(move |ask| {
        let grown = is_grown.load(Ordering::SeqCst);
        let is_last = ask.query("page") == "3";
        let etag = format!("\"{}{}\"", ask.query("page"), if grown && is_last { "'" } else { "" });
        tagged(ask, &etag, || match ask.query("page") {
            "4" => Answer::json(&json!([{"id": 9}])),
            "3" if grown => {
                Answer::json(&json!([{"id": 6}, {"id": 7, "new": true}])).with("link", "<?page=4>; rel=\"next\"")
            }
            _ => list(ask),
        })
    });
    let folder = folder(&api(&server.root));
    run(&folder, &[]);
    grown.store(true, Ordering::SeqCst);
    run(&folder, &["--refresh"]);
    assert_eq!(statuses(&folder, 3), [304, 304, 200, 200]);
    let records = folder.query("SELECT count(*), sum(data ->> '$.new') FROM records");
    assert_eq!(records, [[json!(7), json!(1)]]);
    run(&folder, &["--refresh"]);
    assert_eq!(statuses(&folder, 7), [304, 304, 304, 304]);
}

#[test]
fn last_modified_goes_back_as_it_came() {
    let odd = "Sunday, 06-Nov-94 08:49:37 GMT";
    let server = Server::start(move |ask| {
        if ask.header("if-modified-since") == odd {
            return Answer::status(304, "");
        }
        Answer::json(&json!([{"id": 1}])).with("last-modified", odd)
    });
    let folder = folder(&format!("{}paginate = \"none\"\n", api(&server.root)));
    run(&folder, &[]);
    run(&folder, &["--refresh"]);
    assert_eq!(statuses(&folder, 0), [200, 304]);
}

#[test]
fn what_is_held_is_not_asked_with_by_another_credential_or_other_rules() {
    let in_headers = |token: &str| format!("headers = {{ authorization = \"Bearer {token}\" }}");
    let of_auth = |token: &str| format!("auth = {{ type = \"bearer\", token = {{ file = \"{token}.txt\" }} }}");
    for said in [&in_headers as &dyn Fn(&str) -> String, &of_auth] {
        let server = Server::start(|ask| {
            assert!(["Bearer one", "Bearer two"].contains(&ask.header("authorization")));
            tagged(ask, "\"1\"", || Answer::json(&json!([{"id": 1, "name": "a"}])))
        });
        let config = |token: &str, key: &str| {
            let said = said(token);
            format!("{FAST}[api.list]\nurl = \"{}/list\"\nkey = \"{key}\"\npaginate = \"none\"\n{said}\n", server.root)
        };
        let folder = Folder::new(&config("one", "id"));
        for token in ["one", "two"] {
            std::fs::write(folder.path(&format!("{token}.txt")), token).unwrap();
        }
        let say = |text: String| std::fs::write(folder.path("crawl.toml"), text).unwrap();
        run(&folder, &[]);
        run(&folder, &["--refresh"]);
        say(config("two", "id"));
        run(&folder, &["--refresh"]);
        run(&folder, &["--refresh"]);
        say(config("two", "name"));
        run(&folder, &["--refresh"]);
        assert_eq!(statuses(&folder, 0), [200, 304, 200, 304, 200]);
        let held = folder.query("SELECT variant FROM holds");
        assert!(!held[0][0].as_str().unwrap().contains("two"), "{held:?}");
    }
}

#[test]
fn a_stream_whose_pages_are_fresh_is_not_asked_until_that_is_over() {
    let server = Server::start(|ask| list(ask).with("cache-control", "max-age=3600"));
    let folder = folder(&format!("{}every = \"1s\"\n", api(&server.root)));
    run(&folder, &["--once"]);
    assert_eq!(server.take_lines().len(), 3);
    crate::process::wait_for("the next pull is due", 10_000, || {
        let age = folder.query("SELECT unixepoch('subsec') * 1000 - pull_started_at FROM sources");
        age[0][0].as_f64().filter(|&ms| ms > 1_000.0)
    });
    run(&folder, &["--once"]);
    assert_eq!(server.take_lines(), Vec::<String>::new());
    let slice = folder.query("SELECT state, walk, n_pages, n_records FROM slices");
    assert_eq!(slice, [[json!(1), json!(2), json!(3), json!(6)]]);
}

#[test]
fn a_304_for_another_answer_is_followed_by_one_request_in_full() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let server = Server::start(move |ask| {
        count.fetch_add(1, Ordering::SeqCst);
        if ask.header("if-none-match").is_empty() {
            return Answer::json(&json!([{"id": 1}])).with("etag", "\"1\"");
        }
        Answer::status(304, "").with("etag", "\"2\"")
    });
    let folder = folder(&format!("{}paginate = \"none\"\n", api(&server.root)));
    run(&folder, &[]);
    run(&folder, &["--refresh"]);
    assert_eq!(statuses(&folder, 0), [200, 304, 200]);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[test]
fn a_304_to_a_request_without_conditions_fails_by_the_retry_rules() {
    let server = Server::start(|_| Answer::status(304, ""));
    let folder = folder(&format!("attempts = 2\n{}paginate = \"none\"\n", api(&server.root)));
    let ended = folder.run(&["run", "-q"]);
    assert_eq!(ended.code, Some(4), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(statuses(&folder, 0), [304, 304]);
}

#[test]
fn a_body_that_is_old_enough_is_fetched_in_full() {
    let server = Server::start(|ask| tagged(ask, "\"1\"", || Answer::json(&json!([{"id": 1}]))));
    let config = format!("{}paginate = \"none\"\n[cache]\nforce_full = \"1s\"\n", api(&server.root));
    let folder = folder(&config);
    run(&folder, &[]);
    crate::process::wait_for("the body is a second old", 10_000, || {
        let age = folder.query("SELECT unixepoch('subsec') * 1000 - fetched_at FROM holds");
        age[0][0].as_f64().filter(|&ms| ms > 1_000.0)
    });
    run(&folder, &["--refresh"]);
    assert_eq!(statuses(&folder, 0), [200, 200]);
}

#[test]
fn with_the_mode_off_nothing_is_asked_conditionally() {
    let server = Server::start(|ask| tagged(ask, "\"1\"", || Answer::json(&json!([{"id": 1}]))));
    let folder = folder(&format!("{}paginate = \"none\"\n[cache]\nmode = \"off\"\n", api(&server.root)));
    run(&folder, &[]);
    run(&folder, &["--refresh"]);
    assert_eq!(statuses(&folder, 0), [200, 200]);
}

/// A site of four pages, of which a test changes some between two runs.
struct Site {
    server: Server,
    stage: Arc<AtomicU32>,
}

impl Site {
    /// `/` names `/a`, `/b` and `/c`. From stage 1 on, `/b` says something else, and `/c` is gone; at stage 2 it is back.
    fn start() -> Self {
        let stage = Arc::new(AtomicU32::new(0));
        let now = Arc::clone(&stage);
        let server = Server::start(move |ask| {
            let stage = now.load(Ordering::SeqCst);
            let html = |text: &str| Answer::status(200, text).with("content-type", "text/html");
            match ask.path.as_str() {
                "/" => {
                    tagged(ask, "\"/\"", || html("<title>home</title><a href=a>a</a> <a href=b>b</a> <a href=c>c</a>"))
                }
                "/a" => tagged(ask, "\"a\"", || html("<title>a</title>")),
                "/b" if stage == 0 => tagged(ask, "\"b\"", || html("<title>b</title>")),
                "/b" => tagged(ask, "\"b'\"", || html("<title>b, changed</title><a href=d>d</a>")),
                "/c" if stage == 1 => Answer::status(404, ""),
                "/c" => tagged(ask, "\"c\"", || html("<title>c</title>")),
                "/d" => html("<title>d</title>"),
                _ => Answer::status(404, ""),
            }
        });
        Self { server, stage }
    }

    fn config(&self, more: &str) -> String {
        format!("[site.s]\nstart = [\"{}/\"]\nsitemap = false\nrobots = false\n{more}", self.server.root)
    }
}

/// Waits until all pages are due.
fn wait_until_due(folder: &Folder) {
    crate::process::wait_for("all pages are due", 10_000, || {
        let sql = "SELECT count(*) FROM holds WHERE next_at > unixepoch('subsec') * 1000";
        (folder.query(sql)[0][0] == 0).then_some(())
    });
}

#[test]
fn a_site_is_crawled_again_by_its_schedule() {
    let site = Site::start();
    let folder = folder(&site.config("every = \"1s\""));
    run(&folder, &["--once"]);
    assert_eq!(site.server.take_lines(), ["GET /", "GET /a", "GET /b", "GET /c"]);
    let bodies = folder.query("SELECT body_hash FROM pages ORDER BY url");

    wait_until_due(&folder);
    run(&folder, &["--once"]);
    assert_eq!(site.server.take_lines().len(), 4);
    assert_eq!(statuses(&folder, 4), [304, 304, 304, 304]);
    assert_eq!(folder.query("SELECT body_hash FROM pages ORDER BY url"), bodies);
    assert_eq!(folder.query("SELECT what, count(*) FROM changes GROUP BY 1"), [[json!("new"), json!(4)]]);

    site.stage.store(1, Ordering::SeqCst);
    wait_until_due(&folder);
    run(&folder, &["--once"]);
    let lines = site.server.take_lines();
    assert!(lines.contains(&"GET /d".to_owned()), "what a changed page names is found: {lines:?}");
    let titles = folder.query("SELECT title FROM pages ORDER BY url");
    assert_eq!(titles, [[json!("home")], [json!("a")], [json!("b, changed")], [json!("d")]]);
    // The tombstone: its state says that it is gone, and what was there stays.
    let gone = "SELECT a.state, a.status, r.title, b.len FROM all_jobs AS a JOIN responses AS r USING (job_id) \
                JOIN bodies AS b ON b.hash = r.body_hash WHERE url LIKE '%/c'";
    assert_eq!(folder.query(gone), [[json!("gone"), json!(404), json!("c"), json!(16)]]);
    let changes = "SELECT what, replace(url, rtrim(url, 'abcd'), '/') FROM changes WHERE what <> 'new' ORDER BY 1, 2";
    assert_eq!(folder.query(changes), [[json!("changed"), json!("/b")], [json!("gone"), json!("/c")]]);

    site.stage.store(2, Ordering::SeqCst);
    wait_until_due(&folder);
    run(&folder, &["--once"]);
    let back = folder.query("SELECT count(*) FROM changes WHERE what = 'back' AND url LIKE '%/c'");
    assert_eq!(back, [[json!(1)]]);
    let counted = "SELECT (SELECT n_done FROM sources) - (SELECT count(*) FROM jobs WHERE state = 2)";
    assert_eq!(folder.query(counted), [[json!(0)]], "a page that is fetched again counts once");
}

#[test]
fn a_run_goes_on_while_pages_are_to_be_fetched_again() {
    let site = Site::start();
    let folder = folder(&site.config("every = \"1s\""));
    let mut running = folder.start(&["run", "-q"]);
    let mut asked = 0;
    crate::process::wait_for("each page is asked for three times", 20_000, || {
        asked += site.server.take_lines().len();
        (asked >= 12).then_some(())
    });
    running.interrupt();
    // All is done, or a page was due a moment before.
    assert!(matches!(running.wait(crate::process::SOON_MS).code, Some(0 | 3)));
    let full = folder.query("SELECT count(*) FROM attempts WHERE status = 200");
    assert_eq!(full, [[json!(4)]]);
}

#[test]
fn a_schedule_that_comes_later_holds_for_what_was_fetched_before() {
    let site = Site::start();
    let folder = folder(&site.config(""));
    run(&folder, &[]);
    let config = format!("{FAST}{}", site.config("every = \"1s\""));
    assert_eq!(folder.query("SELECT count(*) FROM holds WHERE next_at IS NOT NULL"), [[json!(0)]]);
    std::fs::write(folder.path("crawl.toml"), config).unwrap();
    crate::process::wait_for("the pages are older than the schedule", 10_000, || {
        let age = folder.query("SELECT unixepoch('subsec') * 1000 - max(answered_at) FROM holds");
        age[0][0].as_f64().filter(|&ms| ms > 1_000.0)
    });
    run(&folder, &["--once"]);
    assert_eq!(statuses(&folder, 4), [304, 304, 304, 304]);
    // And without one nothing is due any more.
    std::fs::write(folder.path("crawl.toml"), format!("{FAST}{}", site.config(""))).unwrap();
    run(&folder, &[]);
    assert_eq!(folder.query("SELECT count(*) FROM holds WHERE next_at IS NOT NULL"), [[json!(0)]]);
    assert_eq!(statuses(&folder, 8), Vec::<Value>::new());
}

#[test]
fn a_page_that_its_server_calls_fresh_is_left_alone() {
    let server = Server::start(|ask| match ask.path.as_str() {
        "/" => Answer::status(200, "x").with("content-type", "text/html").with("cache-control", "max-age=3600"),
        _ => Answer::status(404, ""),
    });
    let site = format!("[site.s]\nstart = [\"{}/\"]\nsitemap = false\nrobots = false\nevery = \"1s\"\n", server.root);
    let folder = folder(&site);
    run(&folder, &["--once"]);
    let left = folder.query("SELECT (next_at - answered_at) / 60000 FROM holds");
    let minutes = left[0][0].as_i64().unwrap();
    assert!((59..=66).contains(&minutes), "{minutes}");
}

#[test]
fn a_page_that_a_sitemap_or_a_feed_says_has_changed_is_fetched_again_and_the_others_wait() {
    let dates = Arc::new(std::sync::Mutex::new(("2001-01-01".to_owned(), "Mon, 01 Jan 2001 00:00:00 GMT".to_owned())));
    let said = Arc::clone(&dates);
    let server = Server::start(move |ask| {
        let (lastmod, published) = said.lock().unwrap().clone();
        // What changed just now is looked at again after the least time.
        let young = |text: &str, media: &str| {
            Answer::status(200, text).with("content-type", media).with("last-modified", "Fri, 01 Jan 2100 00:00:00 GMT")
        };
        let link = "<link rel=alternate type='application/rss+xml' href=/feed>";
        match ask.path.as_str() {
            "/" | "/a" | "/b" | "/c" => {
                tagged(ask, "\"1\"", || Answer::status(200, link).with("content-type", "text/html"))
            }
            "/sitemap.xml" => young(
                &format!(
                    "<urlset><url><loc>/a</loc><lastmod>{lastmod}</lastmod></url>\
                     <url><loc>/b</loc><lastmod>2001-01-01</lastmod></url></urlset>"
                ),
                "application/xml",
            ),
            "/feed" => young(
                &format!(
                    "<rss version='2.0'><channel><item><link>/c</link><pubDate>{published}</pubDate></item></channel></rss>"
                ),
                "application/rss+xml",
            ),
            _ => Answer::status(404, ""),
        }
    });
    let bounds = "every = \"auto\"\nmin_every = \"1s\"";
    let folder = folder(&format!("[site.s]\nstart = [\"{}/\"]\nrobots = false\n{bounds}\n", server.root));
    run(&folder, &["--once"]);
    let first = server.take_lines();
    for path in ["/", "/a", "/b", "/c", "/sitemap.xml", "/feed"] {
        assert_eq!(first.iter().filter(|line| **line == format!("GET {path}")).count(), 1, "{path}: {first:?}");
    }
    let due = "SELECT count(*) FROM holds WHERE next_at < unixepoch('subsec') * 1000";
    let are_due = |what: &str, count: i64| {
        crate::process::wait_for(what, 10_000, || (folder.query(due)[0][0] == json!(count)).then_some(()));
    };
    are_due("the sitemap and the feed are due", 2);
    run(&folder, &["--once"]);
    let mut lines = server.take_lines();
    lines.sort();
    assert_eq!(lines, ["GET /feed", "GET /sitemap.xml"], "nothing has changed");

    are_due("they are due again", 2);
    // Dates are in whole seconds.
    crate::process::wait_for("the pages are older than this second", 10_000, || {
        let older = "SELECT max(answered_at) / 1000 < unixepoch() FROM holds";
        (folder.query(older)[0][0] == json!(1)).then_some(())
    });
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_millis(crate::process::clock().now().0.unsigned_abs());
    *dates.lock().unwrap() = (humantime::format_rfc3339_seconds(now).to_string(), httpdate::fmt_http_date(now));
    run(&folder, &["--once"]);
    let mut lines = server.take_lines();
    lines.sort();
    assert_eq!(lines, ["GET /a", "GET /c", "GET /feed", "GET /sitemap.xml"]);
    assert_eq!(folder.query("SELECT count(*) FROM attempts WHERE status = 304"), [[json!(2)]]);
}

#[test]
fn nothing_of_an_answer_with_no_store_is_kept_when_that_is_wanted() {
    let server = Server::start(|ask| match ask.path.as_str() {
        "/" => tagged(ask, "\"1\"", || {
            let page = Answer::status(200, "<title>t</title><a href=a>a</a>").with("content-type", "text/html");
            page.with("cache-control", "no-store")
        }),
        _ => Answer::status(404, ""),
    });
    let site = format!("[site.s]\nstart = [\"{}/\"]\nsitemap = false\nrobots = false\nevery = \"1s\"\n", server.root);
    let folder = folder(&format!("{site}[cache]\nstrict_no_store = true\n"));
    run(&folder, &["--once"]);
    assert_eq!(server.take_lines(), ["GET /", "GET /a"], "it is read all the same");
    wait_until_due(&folder);
    run(&folder, &["--once"]);
    assert_eq!(statuses(&folder, 2)[0], 200);
    let kept = folder
        .query("SELECT headers, title, body_hash, (SELECT count(*) FROM bodies) FROM responses WHERE status = 200");
    assert_eq!(kept, [[json!("[]"), Value::Null, Value::Null, json!(0)]]);
}
