//! A rate-limited site with default settings: all of it, and nothing sent while the server asked for peace.

use crate::process::{Folder, Web, clock, violations};
use trundle::clock::Clock;

/// The case that other crawlers lose most of: 20 requests a second with a burst of 20, 400 pages.
const PAGES: usize = 400;

#[test]
fn four_hundred_pages_behind_twenty_a_second_all_come() {
    let web = Web::start(&["--pages", "1200", "--host", "archive:0:bucket=20,20"]);
    let folder = Folder::new(&format!(
        "[throttle]\nmax_rate = \"none\"\n[site.limited]\nstart = [\"{}\"]\nstrip_tracking = true\n",
        web.roots[0]
    ));
    let start = clock();
    let started_at = start.now();
    let ended = folder.start(&["run", "-q"]).wait(180_000);
    let took_ms = start.now().since_ms(started_at);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    let mut log = web.log();
    log.read();
    let refused = log.lines.iter().filter(|line| line.status == 429).count();
    let pages = log.lines.iter().filter(|line| line.status == 200 && line.target != "/robots.txt").count();
    println!("{PAGES} pages at 20/s: {took_ms} ms, {refused} refused (19 s are the least)");
    assert_eq!(pages, PAGES, "each page is fetched once");
    let rows = folder.query("SELECT count(*), count(DISTINCT url) FROM pages WHERE status = 200");
    assert_eq!(rows, [[PAGES, PAGES]]);
    let wrong = violations(&log.lines, 500);
    assert!(wrong.is_empty(), "{} requests inside a wait, as {:?}", wrong.len(), wrong[0]);
    assert!(refused <= 40, "{refused} refused");
    assert!(took_ms < 90_000, "{took_ms} ms");
}
