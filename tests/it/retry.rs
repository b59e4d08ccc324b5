//! `trundle retry`: what was given up is done once more, with the real program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::api_server::{Answer, Server};
use crate::process::{Folder, SOON_MS, wait_for};

/// Numbers by pages of two, of which the second is refused until `mended` says otherwise; and a page of a site that is as broken.
fn broken(mended: &Arc<AtomicBool>) -> Server {
    let mended = Arc::clone(mended);
    Server::start(move |ask| {
        let is_mended = mended.load(Ordering::SeqCst);
        match (ask.path.as_str(), ask.query("page")) {
            ("/numbers", "2") if !is_mended => Answer::status(401, "the token has expired"),
            ("/numbers", page) => {
                let page: u32 = page.parse().unwrap_or(1);
                let answer = Answer::json(&json!([{"id": 2 * page}, {"id": 2 * page + 1}]));
                if page < 3 { answer.with("link", &format!("<?page={}>; rel=\"next\"", page + 1)) } else { answer }
            }
            ("/site/", _) => {
                Answer::status(200, "<a href=one>1</a><a href=two>2</a>").with("content-type", "text/html")
            }
            ("/site/one", _) if !is_mended => Answer::status(400, ""),
            ("/site/two", _) if !is_mended => Answer::status(404, ""),
            ("/site/one" | "/site/two", _) => Answer::status(200, "now").with("content-type", "text/html"),
            _ => Answer::status(404, ""),
        }
    })
}

fn toml(root: &str) -> String {
    format!(
        "[throttle]\nmax_rate = \"none\"\n[site.docs]\nstart = [\"{root}/site/\"]\n[api.shop]\nbase = \"{root}\"\n\
         [api.shop.stream.numbers]\npath = \"/numbers\"\nkey = \"id\"\n"
    )
}

fn ids(folder: &Folder) -> Vec<Value> {
    let rows = folder.query("SELECT data ->> '$.id' FROM records WHERE source = 'shop.numbers' ORDER BY 1");
    rows.into_iter().map(|mut row| row.remove(0)).collect()
}

fn states(folder: &Folder) -> Vec<Vec<Value>> {
    folder.query("SELECT state, count(*) FROM all_jobs WHERE kind LIKE '%page' GROUP BY 1 ORDER BY 1")
}

#[test]
fn a_walk_goes_on_with_the_page_that_was_given_up() {
    let mended = Arc::new(AtomicBool::new(false));
    let server = broken(&mended);
    let folder = Folder::new(&toml(&server.root));
    assert_eq!(folder.run(&["run", "-q"]).code, Some(4), "two jobs are dead");
    assert_eq!(ids(&folder), [2, 3], "the walk has ended with its second page");
    assert_eq!(folder.query("SELECT state, n_pages FROM slices"), [[json!(2), json!(1)]]);

    let shown = folder.run(&["retry", "--dry-run"]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let lines: Vec<&str> = shown.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", shown.stdout);
    assert!(lines[1].contains("site.docs") && lines[1].contains("400"), "{}", shown.stdout);
    assert!(lines[2].contains("api.shop.numbers") && lines[2].contains("401"), "{}", shown.stdout);
    assert_eq!(folder.query("SELECT count(*) FROM inbox"), [[json!(0)]]);

    mended.store(true, Ordering::SeqCst);
    server.take_lines();
    let retried = folder.run(&["retry", "--section", "api.shop.stream.numbers"]);
    assert_eq!(retried.code, Some(0), "{}", retried.stderr);
    assert!(retried.stderr.starts_with("retries 1 job;"), "{}", retried.stderr);
    let ended = folder.run(&["run", "-q"]);
    assert_eq!(ended.code, Some(4), "the page of the site is still dead: {}", ended.stderr);
    assert_eq!(ids(&folder), [2, 3, 4, 5, 6, 7]);
    assert_eq!(server.take_lines(), ["GET /numbers?page=2", "GET /numbers?page=3"], "what was done stays done");
    let slices = folder.query("SELECT state, n_pages, n_records, walk, reason FROM slices");
    assert_eq!(slices, [[json!(1), json!(3), json!(6), json!(1), Value::Null]]);
    assert_eq!(
        folder.query("SELECT n_slices_open, n_slices_failed FROM sources WHERE kind = 'api'"),
        [[0, 0].map(Value::from)]
    );

    assert_eq!(folder.run(&["retry", "--reason", "400"]).code, Some(0));
    assert_eq!(folder.run(&["run", "-q"]).code, Some(0));
    assert_eq!(states(&folder), [[json!("done"), json!(5)], [json!("gone"), json!(1)]]);
    assert_eq!(folder.run(&["retry", "--gone"]).code, Some(0));
    assert_eq!(folder.run(&["run", "-q"]).code, Some(0));
    assert_eq!(states(&folder), [[json!("done"), json!(6)]]);
    let nothing = folder.run(&["retry"]);
    assert!(nothing.stderr.starts_with("nothing that was given up is like this"), "{}", nothing.stderr);
    assert_eq!(nothing.code, Some(0));
}

#[test]
fn a_crawl_that_runs_takes_what_is_to_be_retried() {
    let mended = Arc::new(AtomicBool::new(false));
    let server = broken(&mended);
    let hold = Server::start(|_| Answer::status(429, "").with("retry-after", "3000"));
    let folder = Folder::new(&format!("{}[site.held]\nstart = [\"{}/\"]\n", toml(&server.root), hold.root));
    let mut crawl = folder.start(&["run", "-q"]);
    let dead = || {
        let path = folder.path("crawl.db");
        (path.exists() && folder.run(&["retry", "--dry-run"]).stdout.lines().count() == 3).then_some(())
    };
    wait_for("both are given up", SOON_MS, dead);
    mended.store(true, Ordering::SeqCst);
    let one = format!("{}/site/one", server.root);
    assert_eq!(folder.run(&["retry", &one]).code, Some(0));
    assert_eq!(folder.run(&["retry"]).code, Some(0), "one that is retried twice is done once");
    wait_for("all is done", SOON_MS, || (ids(&folder).len() == 6).then_some(()));
    let done =
        || folder.query("SELECT count(*) FROM pages WHERE url LIKE '%/site/one' AND status = 200") == [[json!(1)]];
    wait_for("the page is done", SOON_MS, || done().then_some(()));
    for (url, why) in [(one.as_str(), "is done"), ("http://elsewhere.example/", "never was")] {
        let refused = folder.run(&["retry", url]);
        assert_eq!(refused.code, Some(2));
        assert!(refused.stderr.contains(why), "{}", refused.stderr);
    }
    crawl.kill();
}
