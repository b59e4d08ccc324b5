//! APIs of other people asked for what is new and for many ids at once: a later pull brings what has changed and nothing else, and a
//! request has as many ids as the server takes; also with kill -9 at every page, and with what networks and busy servers do.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::crawl::Crawl;
use crate::kinto::{self, Kinto};
use crate::mediawiki::{self, MediaWiki, Page};
use crate::proxy::{self, Asked, Fault, Proxy};
use crate::{alone, show};

/// What happens to some requests of a crawl.
const FAULTS: [Fault; 4] = [
    Fault::Status { status: 429, retry_after_s: Some(1) },
    Fault::Truncate,
    Fault::Status { status: 500, retry_after_s: None },
    Fault::Reset,
];

/// A stored record.
#[derive(Deserialize)]
struct Record {
    data: String,
}

/// One request after the other: what is held at a kill is the only one that is out.
fn crawl(proxy: &Proxy, base: &str, settings: &str) -> Crawl {
    Crawl::new(&format!(
        "[throttle]\nmax_rate = \"none\"\nconcurrency = 1\nmax_concurrency = 1\n[retry]\nbase = \"200ms\"\n\n[api.x]\nbase = '{}'\n{settings}",
        proxy.url(base)
    ))
}

/// The records of a stream by the text of a member.
fn records(crawl: &Crawl, source: &str, key: &str) -> BTreeMap<String, Value> {
    let rows = crawl.sql::<Record>(&format!("SELECT data FROM records WHERE source = '{source}'"));
    let count = rows.len();
    let records: BTreeMap<String, Value> = rows
        .into_iter()
        .map(|row| serde_json::from_str::<Value>(&row.data).expect("what is stored is JSON"))
        .map(|record| (text(&record[key]), record))
        .collect();
    assert_eq!(records.len(), count, "no record twice");
    records
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Requests that were broken on purpose.
fn broken(log: &[Asked]) -> usize {
    log.iter().filter(|asked| !matches!(asked.fault, Fault::None | Fault::Delay(_))).count()
}

/// Runs what is due, killed whenever it asks for one page more than these are answered, and then to its end. How often it was killed.
fn run_with_kills(crawl: &Crawl, proxy: &Proxy, answered: usize) -> usize {
    let mut kills = 0;
    loop {
        let held = proxy.count() + answered + 1;
        proxy.script(move |asked| if asked.number == held { Fault::Hold } else { Fault::None });
        let mut running = crawl.start_with(&["run", "-q", "--once"]);
        let is_held = proxy.wait_for_requests(held, || running.has_ended());
        if !is_held {
            assert!(running.wait(60_000).success(), "{}", running.stderr());
            return kills;
        }
        running.kill();
        proxy.hang_up();
        kills += 1;
    }
}

/// A stream of all records of Kinto, in the order of their changes.
fn changes_of_kinto(proxy: &Proxy) -> Crawl {
    let settings = format!(
        "auth = {{ type = \"basic\", username = \"u\", password = \"p\" }}\n\
         [api.x.stream.items]\npath = '{}'\nkey = \"id\"\nrecords = \"data\"\nevery = \"1s\"\n\
         query = {{ _sort = \"last_modified\", _limit = 20 }}\n\
         paginate = {{ type = \"cursor\", header = \"Next-Page\", send = \"query:_token\" }}\n\
         incremental = {{ field = \"last_modified\", send = \"query:_since\", order = \"asc\" }}\n",
        kinto::RECORDS
    );
    crawl(proxy, "", &settings)
}

#[test]
fn kinto_is_asked_for_what_has_changed_since_and_gives_nothing_else() {
    const RECORDS: usize = 200;
    let _alone = alone();
    for is_killed in [false, true] {
        let kinto = Kinto::start(RECORDS);
        let proxy = Proxy::before(kinto.port());
        let crawl = changes_of_kinto(&proxy);
        let run = crawl.run_with(&["run", "--once"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(proxy.count(), RECORDS / 20, "one request a page");
        assert_eq!(records(&crawl, "x.items", "id"), kinto.records());

        // 50 are others, 10 are new, 5 are gone: four pages.
        kinto.change(100..150, "changed");
        kinto.change(RECORDS..RECORDS + 10, "new");
        kinto.delete(0..5);
        crawl.wait_until_due("x.items");
        let asked_before = proxy.count();
        let kills = if is_killed {
            run_with_kills(&crawl, &proxy, 1)
        } else {
            let run = crawl.run_with(&["run", "--once"]);
            assert_eq!(run.code, 0, "{}", run.stderr);
            0
        };
        let log = proxy.log().split_off(asked_before);
        assert!(log.iter().all(|asked| asked.target.contains("_since=")), "{:?}", log[0].target);
        let mut stored = records(&crawl, "x.items", "id");
        let gone: BTreeSet<String> =
            stored.extract_if(.., |_, record| record["deleted"] == true).map(|(id, _)| id).collect();
        assert_eq!(gone, (0..5).map(|n| format!("r{n:05}")).collect(), "what Kinto says of those that are gone");
        assert_eq!(stored, kinto.records());
        if is_killed {
            assert!(kills >= 3, "{kills} kills at 4 pages");
            assert!(log.len() <= 4 + kills + 1, "{} requests with {kills} kills", log.len());
        } else {
            assert_eq!(log.len(), 4, "65 records in pages of 20");
            // Nothing is new: one request says so.
            crawl.wait_until_due("x.items");
            let run = crawl.run_with(&["run", "--once"]);
            assert_eq!(run.code, 0, "{}", run.stderr);
            assert_eq!(proxy.count(), asked_before + 4 + 1);
            assert_eq!(crawl.changed_rows(), 0, "and no row is written");
        }
        show(&format!("Kinto by _since: {RECORDS} records, then 65 in {} requests with {kills} kills", log.len()));
    }
}

#[test]
fn kinto_is_asked_for_ids_in_batches_of_which_some_are_unknown() {
    #[derive(Deserialize)]
    struct Row {
        params: String,
    }
    const IDS: usize = 230;
    let _alone = alone();
    let kinto = Kinto::start(IDS);
    for is_troubled in [false, true] {
        let proxy = Proxy::before(kinto.port());
        let settings = format!(
            "auth = {{ type = \"basic\", username = \"u\", password = \"p\" }}\n\
             [api.x.stream.items]\npath = '{}'\nkey = \"id\"\nrecords = \"data\"\npaginate = \"none\"\neach_file = \"ids.txt\"\n\
             batch = {{ size = 50, send = \"query:in_id\", match = \"id\", missing = \"fail\" }}\n",
            kinto::RECORDS
        );
        let crawl = crawl(&proxy, "", &settings);
        let ids: String = (0..IDS + 3).map(|n| format!("r{n:05}\n")).collect();
        crawl.write("ids.txt", &ids);
        if is_troubled {
            proxy.script(proxy::every(2, &FAULTS));
        }
        let run = crawl.run();
        assert_eq!(run.code, 4, "three ids are not known: {}", run.stderr);
        assert_eq!(records(&crawl, "x.items", "id"), kinto.records());
        let failed = crawl.sql::<Row>("SELECT params FROM slices WHERE state = 2 ORDER BY 1");
        let failed: Vec<&str> = failed.iter().map(|row| row.params.as_str()).collect();
        assert_eq!(failed, [r#"{"each":"r00230"}"#, r#"{"each":"r00231"}"#, r#"{"each":"r00232"}"#]);
        let log = proxy.log();
        let least = (IDS + 3).div_ceil(50);
        let sizes: Vec<usize> = log.iter().map(|asked| asked.target.matches("%2C").count() + 1).collect();
        // Ids of two requests that broke wait for different instants, and fill others anew.
        let answered = log.len() - broken(&log);
        assert!(answered <= least + broken(&log) / 2, "{answered} requests were answered, with so many ids: {sizes:?}");
        show(&format!(
            "Kinto by ids: {IDS} records in {} requests, {} broken, {:.1} s",
            log.len(),
            broken(&log),
            run.seconds
        ));
    }
}

/// Links in one answer.
const LINKS: usize = 40;

/// A stream of titles, and one of their texts and links, so many ids in one request. An answer has at most 40 links, and goes on in
/// another.
fn linked_pages(proxy: &Proxy, size: usize) -> Crawl {
    let settings = format!(
        "query = {{ action = \"query\", format = \"json\", formatversion = 2 }}\nkey = \"pageid\"\n\
         paginate = {{ type = \"params\", path = \"continue\" }}\n\
         errors = [{{ status = 200, path = \"error.code\", equals = \"toomanyvalues\", action = \"split\" }},\n\
                   {{ status = 200, path = \"error\", action = \"fail\" }}]\n\
         [api.x.stream.titles]\nquery = {{ list = \"allpages\", aplimit = \"max\" }}\nrecords = \"query.allpages\"\n\
         [api.x.stream.pages]\nparent = \"titles\"\nrecords = \"query.pages\"\n\
         query = {{ prop = \"revisions|links\", rvprop = \"content\", rvslots = \"main\", pllimit = {LINKS} }}\n\
         merge = \"deep\"\nbatch = {{ field = \"pageid\", size = {size}, send = \"query:pageids\", join = \"|\", match = \"pageid\" }}\n"
    );
    crawl(proxy, "/api.php", &settings)
}

#[track_caller]
fn assert_pages(crawl: &Crawl, truth: &BTreeMap<i64, Page>) {
    let page = |record: &Value| Page {
        title: text(&record["title"]),
        text: text(&record["revisions"][0]["slots"]["main"]["content"]),
        links: record["links"].as_array().into_iter().flatten().map(|link| text(&link["title"])).collect(),
    };
    let number = |record: &Value| record["pageid"].as_i64().expect("a number");
    let stored: BTreeMap<i64, Page> =
        records(crawl, "x.pages", "pageid").values().map(|record| (number(record), page(record))).collect();
    let others: Vec<_> = truth.iter().filter(|(id, page)| stored.get(*id) != Some(page)).take(5).collect();
    assert_eq!(
        (stored.len(), others),
        (truth.len(), Vec::new()),
        "each page whole, from all answers that had some of it"
    );
}

/// The ids of a request.
fn ids_in(asked: &Asked) -> Vec<i64> {
    let query = asked.target.split_once("pageids=").map(|(_, rest)| rest.split('&').next().unwrap_or_default());
    query.unwrap_or_default().split("%7C").filter_map(|id| id.parse().ok()).collect()
}

/// The batches that were begun with at most 50 ids.
fn batches_in(log: &[Asked]) -> BTreeSet<Vec<i64>> {
    log.iter().map(ids_in).filter(|ids| (1..=50).contains(&ids.len())).collect()
}

/// How many requests these batches take: one for the list, and for each batch as many answers as its links need.
fn least_of(batches: &BTreeSet<Vec<i64>>, truth: &BTreeMap<i64, Page>) -> usize {
    let links = |ids: &Vec<i64>| ids.iter().map(|id| truth[id].links.len()).sum::<usize>();
    1 + batches.iter().map(|ids| links(ids).div_ceil(LINKS).max(1)).sum::<usize>()
}

#[test]
fn mediawiki_gives_pages_in_batches_of_50_whose_parts_are_added_up() {
    let _alone = alone();
    let wiki = MediaWiki::start();
    let truth = wiki.dump();
    assert_eq!(truth.len(), mediawiki::PAGES + 1);
    for how in ["undisturbed", "with kills", "with faults"] {
        let proxy = Proxy::before(wiki.port());
        let crawl = linked_pages(&proxy, 50);
        let mut lost = 0;
        if how == "with kills" {
            lost = run_with_kills(&crawl, &proxy, 1);
        } else {
            if how == "with faults" {
                proxy.script(proxy::by_dice(7, 20, &FAULTS));
            }
            let run = crawl.run();
            assert_eq!(run.code, 0, "{}", run.stderr);
            lost += broken(&proxy.log());
        }
        assert_pages(&crawl, &truth);
        let log = proxy.log();
        let batches = batches_in(&log);
        let least = least_of(&batches, &truth);
        show(&format!("MediaWiki, {how}: {} pages, {} requests of {least}, {lost} lost", truth.len(), log.len()));
        if how != "undisturbed" {
            assert!(lost > batches.len() / 2, "{lost}");
            // An answer that is not on disk yet at a kill is lost too.
            assert!(log.len() <= least + 2 * lost, "{how}: {} requests, {least} at least, {lost} lost", log.len());
            continue;
        }
        assert_eq!(batches.len(), truth.len().div_ceil(50), "all of them are full but the last");
        assert_eq!(log.len(), least, "no request is made twice");
        // Again: as many requests, and no record is another one.
        let before = records(&crawl, "x.pages", "pageid");
        let run = crawl.run_with(&["run", "--refresh"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(records(&crawl, "x.pages", "pageid"), before);
        assert_eq!(proxy.count(), 2 * least);
    }
    // What a page does not have any more is not added to what it has.
    let proxy = Proxy::before(wiki.port());
    let crawl = linked_pages(&proxy, 50);
    for changed in [false, true] {
        if changed {
            wiki.edit("Page 8", "A new text with one link only: [[Page 9]]");
            assert_ne!(wiki.dump(), truth);
        }
        let run = crawl.run_with(&["run", "--refresh"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_pages(&crawl, &wiki.dump());
    }
}

#[test]
fn mediawiki_refuses_too_many_ids_once_for_each_size_and_gets_fewer() {
    let _alone = alone();
    let wiki = MediaWiki::start();
    let truth = wiki.dump();
    for how in ["undisturbed", "with kills", "with faults"] {
        let proxy = Proxy::before(wiki.port());
        let crawl = linked_pages(&proxy, 120);
        let mut lost = 0;
        if how == "with kills" {
            // Each process has to find out first how many are too many.
            lost = run_with_kills(&crawl, &proxy, 6);
        } else {
            if how == "with faults" {
                proxy.script(proxy::every(4, &FAULTS));
            }
            let run = crawl.run();
            assert_eq!(run.code, 0, "{}", run.stderr);
            lost += broken(&proxy.log());
        }
        assert_pages(&crawl, &truth);
        let log = proxy.log();
        let is_refused = |asked: &&Asked| ids_in(asked).len() > 50 && asked.answered == Some(200);
        let refused = log.iter().filter(is_refused).count();
        let least = least_of(&batches_in(&log), &truth);
        show(&format!(
            "MediaWiki, 120 ids at once, {how}: {} requests, {refused} refused, {least} at least beside them, {lost} lost",
            log.len()
        ));
        // 120 are too many and 60 are, which each process finds out for itself; 30 are not.
        let processes = if how == "with kills" { lost + 1 } else { 1 };
        assert!((2..=2 * processes).contains(&refused), "{how}: {refused} refused by {processes} processes");
        assert!(log.len() <= least + refused + 2 * lost, "{how}: {} requests", log.len());
        assert!(how != "undisturbed" || log.len() == least + refused, "no request is made twice");
    }
}
