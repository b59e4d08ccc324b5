//! kill -9, a hundred times over one crawl, against real processes: nothing lost, nothing doubled, and no host asked before the
//! time that was on disk.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;
use trundle::clock::{Clock, Timestamp};

use crate::process::{Folder, Running, SOON_MS, Web, clock, query, wait_for};

const KILLS: usize = 100;
/// Requests between a start and the kill, at most.
const REQUESTS_MAX: usize = 76;
/// Requests that one kill may repeat: those in flight (8 for the site, 4 for the API), and a batch that was not committed.
const AGAIN_MAX: usize = 12 + 64;

fn toml(web: &Web) -> String {
    format!(
        "[throttle]\nmax_rate = \"none\"\nconcurrency = 8\n[site.site]\nstart = [\"{}\"]\nstrip_tracking = true\n\
         [site.site.items]\ntitle = \"h1\"\n[api.items]\nurl = \"{}items\"\nkey = \"id\"\nrecords = \"items\"\n\
         paginate = {{ type = \"cursor\", path = \"next\", send = \"query:cursor\" }}\n",
        web.roots[0], web.roots[1]
    )
}

#[test]
fn a_hundred_kills_lose_nothing_and_double_nothing() {
    let web = Web::start(&[
        "--pages",
        "15000",
        "--records",
        "4000",
        "--host",
        "archive:0:bucket=500,250",
        "--host",
        "items:0:cap=4",
    ]);
    let (undisturbed, expected) = undisturbed(&web);
    let folder = Folder::new(&toml(&web));
    let db = folder.path("crawl.db");
    let mut dice = fastrand::Rng::with_seed(7);
    let mut log = web.log();
    log.skip_to_end();
    let clock = clock();
    let started_at = clock.now();

    let (mut kills, mut resumed_ms) = (0, Vec::new());
    let mut ended = None;
    while ended.is_none() {
        let embargoes = embargoes(&db, &web);
        let first = log.read();
        let mut running = folder.start(&["run", "-q"]);
        let until = if kills < KILLS { first + dice.usize(0..=REQUESTS_MAX) } else { usize::MAX };
        watch(&mut running, &mut log, until);
        if kills == KILLS {
            ended = Some(running.wait(120_000));
        } else if running.has_ended() {
            panic!("complete after {kills} kills: {}", running.wait(SOON_MS).stderr);
        } else {
            running.kill();
            kills += 1;
        }
        log.read();
        let lines = &log.lines[first..];
        for line in lines.iter().filter(|line| line.at >= running.started_at) {
            let not_before_at = embargoes[&line.host];
            assert!(
                line.at >= not_before_at,
                "{} ms inside the embargo on disk: {line:?}",
                not_before_at.since_ms(line.at)
            );
        }
        let is_free = |host: &str| embargoes[host] <= running.started_at;
        if let Some(line) = lines.first().filter(|line| line.at >= running.started_at)
            && is_free("archive")
            && is_free("items")
        {
            resumed_ms.push(line.at.since_ms(running.started_at));
        }
    }
    let ended = ended.expect("the loop ends with it");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let took_ms = clock.now().since_ms(started_at);

    assert_eq!(query(&db, "PRAGMA integrity_check"), [["ok"]]);
    let result = result(&db);
    let odd: Vec<_> = result.iter().filter(|row| !expected.contains(row)).take(5).collect();
    assert!(result == expected, "another result than without kills, as in {odd:?}");
    check_counters(&db);

    let mut served: HashMap<(&str, &str), usize> = HashMap::new();
    for line in log.lines.iter().filter(|line| line.status == 200 && line.target != "/robots.txt") {
        *served.entry((&line.host, &line.target)).or_default() += 1;
    }
    let again: usize = served.values().map(|count| count - 1).sum();
    resumed_ms.sort_unstable();
    let median_ms = resumed_ms[resumed_ms.len() / 2];
    println!(
        "{kills} kills in {} s (undisturbed: {} s): 0 lost, 0 doubled, {again} of {} requests again ({:.1} a kill); \
         resume to first request {median_ms} ms median, {} ms at most",
        took_ms / 1_000,
        undisturbed / 1_000,
        log.lines.len(),
        f64::from(u32::try_from(again).unwrap()) / f64::from(u32::try_from(kills).unwrap()),
        resumed_ms.last().unwrap(),
    );
    assert!(again <= KILLS * AGAIN_MAX, "{again} requests again");
    assert!(median_ms < 1_000, "a resume takes {median_ms} ms to its first request");
}

/// Waits until the log has `until` lines or the program has ended.
fn watch(running: &mut Running, log: &mut crate::process::LogReader, until: usize) {
    wait_for("requests or the end", 120_000, || (log.read() >= until || running.has_ended()).then_some(()));
}

/// The same crawl without kills: how long it took, and what came of it.
fn undisturbed(web: &Web) -> (u64, Vec<Vec<Value>>) {
    let folder = Folder::new(&toml(web));
    let clock = clock();
    let started_at = clock.now();
    let ended = folder.start(&["run", "-q"]).wait(120_000);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let db = folder.path("crawl.db");
    check_counters(&db);
    let counts =
        query(&db, "SELECT (SELECT count(*) FROM pages), (SELECT count(*) FROM records WHERE source = 'items')");
    assert_eq!(counts, [[5_000, 4_000]]);
    (clock.now().since_ms(started_at), result(&db))
}

/// Pages with the hash of their bodies, items, and the counters of jobs.
fn result(db: &Path) -> Vec<Vec<Value>> {
    let mut rows = query(
        db,
        "SELECT a.url, a.kind, a.state, a.reason, r.status, r.body_hash FROM all_jobs a LEFT JOIN responses r USING (job_id) \
         ORDER BY 1, 2",
    );
    rows.extend(query(db, "SELECT source_id, key, data FROM items ORDER BY 1, 2"));
    rows.extend(query(db, "SELECT n_ready, n_waiting, n_done, n_gone, n_dead, n_skipped, n_items FROM totals"));
    rows
}

fn check_counters(db: &Path) {
    for sql in [
        "SELECT s.*, c.* FROM host_state s JOIN (SELECT host_id, sum(state = 0) n_ready, sum(state = 1) n_waiting, \
         sum(state = 2) n_done, sum(state = 3) n_gone, sum(state = 4) n_dead, sum(state = 5) n_skipped FROM jobs GROUP BY 1) c \
         USING (host_id) WHERE (s.n_ready, s.n_waiting, s.n_done, s.n_gone, s.n_dead, s.n_skipped) IS NOT \
         (c.n_ready, c.n_waiting, c.n_done, c.n_gone, c.n_dead, c.n_skipped)",
        "SELECT * FROM totals WHERE (n_done, n_requests, n_refused, bytes) IS NOT (SELECT sum(n_done), sum(n_requests), \
         sum(n_refused), sum(bytes) FROM host_state) OR n_items <> (SELECT count(*) FROM items) OR n_requests <> (SELECT \
         count(*) FROM attempts) OR n_refused <> (SELECT count(*) FROM attempts WHERE outcome = 'refused')",
    ] {
        let rows = query(db, sql);
        assert!(rows.is_empty(), "the counters are not what a recount gives: {rows:?}");
    }
}

/// The embargo of each host of the web by its name in the log, as it is on disk.
fn embargoes(db: &Path, web: &Web) -> HashMap<String, Timestamp> {
    let mut embargoes: HashMap<String, Timestamp> =
        [("archive".to_owned(), Timestamp::EPOCH), ("items".to_owned(), Timestamp::EPOCH)].into();
    // A kill may come before there is a file, or before it is a database.
    let has_tables = db.exists() && std::fs::metadata(db).is_ok_and(|meta| meta.len() > 0);
    if !has_tables {
        return embargoes;
    }
    let rows = crate::process::block_on(async {
        let reader = trundle::store::Reader::open(db).await.ok()?;
        reader
            .query("SELECT origin, coalesce(not_before_at, 0) FROM hosts JOIN host_state USING (host_id)", 10)
            .await
            .ok()
    });
    for row in rows.map(|table| table.rows).unwrap_or_default() {
        let origin = row[0].as_str().unwrap();
        let name = if web.roots[0].starts_with(origin) { "archive" } else { "items" };
        embargoes.insert(name.to_owned(), Timestamp(row[1].as_i64().unwrap()));
    }
    embargoes
}
