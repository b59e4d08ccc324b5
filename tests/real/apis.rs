//! APIs that other people wrote, each by a way of its own to the next page: every record arrives once, with one request a page;
//! kill -9 at any boundary between two pages changes nothing, and neither does what networks and busy servers do.

use std::collections::BTreeSet;

use serde::Deserialize;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, QueryBuilder, SqliteConnection};
use trundle::clock::{Clock, SystemClock};

use crate::crawl::Crawl;
use crate::datasette::Datasette;
use crate::json_server::JsonServer;
use crate::kinto::{self, Kinto};
use crate::mediawiki::{self, MediaWiki};
use crate::proxy::{self, Asked, Fault, Proxy};
use crate::{alone, process, show, wire};

/// Records of an API; with pages of 100 the last page is half full.
const RECORDS: usize = 1_050;
const A_PAGE: usize = 100;
/// What happens to every third request of a crawl, in turn.
const FAULTS: [Fault; 5] = [
    Fault::Status { status: 429, retry_after_s: Some(1) },
    Fault::Truncate,
    Fault::Status { status: 500, retry_after_s: None },
    Fault::Reset,
    Fault::Delay(100),
];
/// A second that was told is kept; that much less may be seen, since trundle's clock and the proxy's have whole milliseconds.
const TOLD_MS: u64 = 1_000 - 2;

/// An API, and what is to come of it.
struct Case<'a> {
    /// For messages.
    what: &'a str,
    /// Where it listens.
    port: u16,
    /// Path and query of the first page.
    first: &'a str,
    /// What the stream says beside its address.
    settings: &'a str,
    /// The member that names a record.
    key: &'a str,
    /// The names of all records, as the server itself has them.
    truth: BTreeSet<String>,
    /// Records on a page.
    a_page: usize,
    /// Whether its answers have an ETag or a Last-Modified.
    has_validators: bool,
}

/// The name of a stored record.
#[derive(Deserialize)]
struct Id {
    id: String,
}

#[test]
fn datasette_is_walked_whole_by_its_link_headers() {
    let _alone = alone();
    let (_folder, datasette) = datasette();
    let path = datasette.path("items");
    Case {
        what: "Datasette by Link",
        port: datasette.port(),
        first: &format!("{path}?_shape=array&_size={A_PAGE}"),
        settings: "",
        key: "id",
        truth: keys_of_datasette(&datasette),
        a_page: A_PAGE,
        has_validators: false,
    }
    .check();
}

#[test]
fn datasette_is_walked_whole_by_the_addresses_in_its_answers() {
    let _alone = alone();
    let (_folder, datasette) = datasette();
    let path = datasette.path("items");
    Case {
        what: "Datasette by next_url",
        port: datasette.port(),
        first: &format!("{path}?_shape=objects&_size={A_PAGE}"),
        settings: "records = \"rows\"\npaginate = { type = \"next_url\", path = \"next_url\" }",
        key: "id",
        truth: keys_of_datasette(&datasette),
        a_page: A_PAGE,
        has_validators: false,
    }
    .check();
}

#[test]
fn datasette_is_walked_whole_by_its_tokens() {
    let _alone = alone();
    let (_folder, datasette) = datasette();
    let path = datasette.path("items");
    Case {
        what: "Datasette by next",
        port: datasette.port(),
        first: &format!("{path}?_shape=objects&_size={A_PAGE}&_sort_desc=name"),
        settings: "records = \"rows\"\npaginate = { type = \"cursor\", path = \"next\", send = \"query:_next\" }",
        key: "id",
        truth: keys_of_datasette(&datasette),
        a_page: A_PAGE,
        has_validators: false,
    }
    .check();
}

#[test]
fn json_server_is_walked_whole_without_a_word_about_its_pages() {
    let _alone = alone();
    let server = JsonServer::start(RECORDS);
    Case {
        what: "json-server by Link",
        port: server.port(),
        first: &format!("/items?_page=1&_limit={A_PAGE}"),
        settings: "",
        key: "id",
        truth: server.keys(),
        a_page: A_PAGE,
        has_validators: true,
    }
    .check();
}

#[test]
fn json_server_is_walked_whole_by_the_numbers_of_its_pages() {
    let _alone = alone();
    let server = JsonServer::start(RECORDS);
    Case {
        what: "json-server by page",
        port: server.port(),
        first: &format!("/items?_limit={A_PAGE}"),
        settings: &format!("paginate = {{ type = \"page\", param = \"_page\", size = {A_PAGE} }}"),
        key: "id",
        truth: server.keys(),
        a_page: A_PAGE,
        has_validators: true,
    }
    .check();
}

#[test]
fn a_server_that_restarts_in_mid_walk_costs_nothing_but_the_requests_that_met_nobody() {
    let _alone = alone();
    let mut server = JsonServer::start(RECORDS);
    let proxy = Proxy::before(server.port());
    let crawl = Crawl::new(&format!(
        "[throttle]\nmax_rate = \"none\"\n[retry]\nbase = \"50ms\"\n\n[api.walk]\nkey = \"id\"\nurl = '{}'\n",
        proxy.url(&format!("/items?_page=1&_limit={A_PAGE}"))
    ));
    let mut running = crawl.begin();
    assert!(proxy.wait_for_answers(3, || running.has_ended()), "{}", running.stderr());
    server.restart();
    let status = running.wait(60_000);
    assert!(status.success(), "{}", running.stderr());
    let stored = crawl.sql::<Id>("SELECT CAST(json_extract(data, '$.id') AS TEXT) AS id FROM records");
    let names: BTreeSet<String> = stored.iter().map(|row| row.id.clone()).collect();
    assert_eq!((stored.len(), names), (RECORDS, server.keys()));
    let log = proxy.log();
    let unanswered = log.iter().filter(|asked| asked.answered.is_none()).count();
    assert_eq!(log.len(), RECORDS.div_ceil(A_PAGE) + unanswered, "{log:#?}");
}

#[test]
fn kinto_is_walked_whole_by_the_addresses_in_its_headers() {
    let _alone = alone();
    // A multiple of the page size: the last page is full, and must be known for the last one.
    let kinto = Kinto::start(A_PAGE * 10);
    Case {
        what: "Kinto by Next-Page",
        port: kinto.port(),
        first: &format!("{}?_limit={A_PAGE}&_sort=id", kinto::RECORDS),
        settings: &format!(
            "headers = {{ authorization = \"{}\" }}\nrecords = \"data\"\n\
             paginate = {{ type = \"cursor\", header = \"Next-Page\", send = \"query:_token\" }}",
            kinto::AUTHORIZATION
        ),
        key: "id",
        truth: kinto.keys(),
        a_page: A_PAGE,
        has_validators: true,
    }
    .check();
}

#[test]
fn mediawiki_is_walked_whole_by_what_it_says_to_continue_with() {
    let _alone = alone();
    let wiki = MediaWiki::start();
    let truth = wiki.keys();
    assert_eq!(truth.len(), mediawiki::PAGES + 1, "and the main page");
    Case {
        what: "MediaWiki by apcontinue",
        port: wiki.port(),
        first: "/api.php?action=query&list=allpages&aplimit=25&format=json&formatversion=2",
        settings: "records = \"query.allpages\"\n\
                   paginate = { type = \"cursor\", path = \"continue.apcontinue\", send = \"query:apcontinue\" }",
        key: "pageid",
        truth,
        a_page: 25,
        has_validators: false,
    }
    .check();
}

#[test]
fn mediawiki_gives_the_links_of_each_page_that_another_stream_found() {
    #[derive(Deserialize, PartialEq, Debug)]
    struct Page {
        pageid: i64,
        links: i64,
    }
    const PAGES: i64 = 40;
    let _alone = alone();
    let wiki = MediaWiki::start();
    let proxy = Proxy::before(wiki.port());
    let crawl = Crawl::new(&format!(
        "[throttle]\nmax_rate = \"none\"\n[retry]\nbase = \"50ms\"\n\n[api.wiki]\nbase = '{}'\nkey = \"pageid\"\n\
         query = {{ action = \"query\", format = \"json\", formatversion = 2 }}\n\
         [api.wiki.stream.titles]\nquery = {{ list = \"allpages\", aplimit = 100 }}\nrecords = \"query.allpages\"\n\
         paginate = {{ type = \"cursor\", path = \"continue.apcontinue\", send = \"query:apcontinue\" }}\n\
         [api.wiki.stream.pages]\nparent = \"titles\"\nwhere_parent = \"$.pageid <= {PAGES}\"\npaginate = \"none\"\n\
         query = {{ prop = \"links\", pllimit = \"max\", pageids = \"{{titles.pageid}}\" }}\nrecords = \"query.pages\"\n",
        proxy.url("/api.php")
    ));
    proxy.script(proxy::by_dice(4, 10, &FAULTS));
    let run = crawl.run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    // All at once, and not page by page: 50 pages are the most, and 500 links.
    let ids: Vec<String> = (1..=PAGES).map(|id| id.to_string()).collect();
    let all =
        format!("/api.php?action=query&prop=links&pllimit=max&format=json&formatversion=2&pageids={}", ids.join("%7C"));
    let truth = wire::get(wiki.port(), &all).json();
    assert!(truth.get("continue").is_none(), "all come at once");
    let truth = truth["query"]["pages"].as_array().expect("MediaWiki gives a list").iter();
    let links = |page: &serde_json::Value| page["links"].as_array().map_or(0, Vec::len);
    let mut truth: Vec<Page> = truth
        .map(|page| Page {
            pageid: page["pageid"].as_i64().expect("a number"),
            links: i64::try_from(links(page)).expect("a count fits"),
        })
        .collect();
    truth.sort_by_key(|page| page.pageid);
    let stored = crawl.sql::<Page>(
        "SELECT json_extract(data, '$.pageid') AS pageid, coalesce(json_array_length(data, '$.links'), 0) AS links \
         FROM records WHERE source = 'wiki.pages' ORDER BY 1",
    );
    assert_eq!(stored, truth);
    assert!(truth.iter().map(|page| page.links).sum::<i64>() > 100, "the pages have links");
    let log = proxy.log();
    let failed = log.iter().filter(|asked| !matches!(asked.fault, Fault::None | Fault::Delay(_))).count();
    let asked = 4 + truth.len();
    assert_eq!(log.len(), asked + failed, "one request a page, and one more for each that failed");
    show(&format!("MediaWiki, links of {PAGES} pages: {} requests, {failed} failed, {:.1} s", log.len(), run.seconds));
}

impl Case<'_> {
    #[track_caller]
    fn check(&self) {
        assert!(self.truth.len() > self.a_page * 9, "{}: {} records", self.what, self.truth.len());
        let seconds = [self.undisturbed(), self.killed(), self.troubled()];
        let [whole, killed, troubled] = seconds.map(|seconds| format!("{seconds:.1} s"));
        show(&format!(
            "{}: {} records, {} pages: {whole}; with a kill at every page {killed}; with faults {troubled}",
            self.what,
            self.truth.len(),
            self.pages()
        ));
    }

    /// One request a page, and none by a second run.
    fn undisturbed(&self) -> f64 {
        let (proxy, crawl) = self.set_up();
        let run = crawl.run();
        assert_eq!(run.code, 0, "{}: {}", self.what, run.stderr);
        self.assert_whole(&crawl, "undisturbed");
        assert_eq!(proxy.count(), self.pages(), "{}: one request a page: {:#?}", self.what, targets(&proxy));
        let again = crawl.run();
        assert_eq!(again.code, 0, "{}: {}", self.what, again.stderr);
        assert_eq!(proxy.count(), self.pages(), "{}: a second run asks for nothing", self.what);
        let refresh = crawl.run_with(&["run", "--refresh"]);
        assert_eq!(refresh.code, 0, "{}: {}", self.what, refresh.stderr);
        assert_eq!(proxy.count(), 2 * self.pages(), "{}: a second pull asks for each page once", self.what);
        self.assert_whole(&crawl, "pulled again");
        assert_eq!(crawl.changed_rows(), 0, "{}: and writes no row", self.what);
        let not_modified = crawl.not_modified();
        if self.has_validators {
            assert_eq!(not_modified, self.pages(), "{}: each page is a 304", self.what);
        }
        show(&format!(
            "{}: second pull, {not_modified} of {} pages are 304, no row is written",
            self.what,
            self.pages()
        ));
        run.seconds
    }

    /// Killed whenever it asks for the page after the next: all that it had is on disk by then.
    fn killed(&self) -> f64 {
        let (proxy, crawl) = self.set_up();
        let clock = SystemClock::new();
        let start = clock.now();
        for boundary in 1..self.pages() {
            // The first request of each run is answered: page by page it gets on.
            let held = proxy.count() + 2;
            proxy.script(move |asked| if asked.number == held { Fault::Hold } else { Fault::None });
            let mut running = crawl.begin();
            assert!(
                proxy.wait_for_requests(held, || running.has_ended()),
                "{}: ended before the boundary {boundary}:\n{}",
                self.what,
                running.stderr()
            );
            running.kill();
            proxy.hang_up();
            let stored = self.stored(&crawl).len();
            assert_eq!(stored, boundary * self.a_page, "{}: on disk when page {boundary} + 1 is asked", self.what);
        }
        let run = crawl.run();
        assert_eq!(run.code, 0, "{}: {}", self.what, run.stderr);
        self.assert_whole(&crawl, "with kills");
        let asked = self.pages() + self.pages() - 1;
        assert_eq!(proxy.count(), asked, "{}: a kill costs the request that it cut off", self.what);
        process::seconds_since(start, &clock)
    }

    /// With refusals, failures, broken answers and broken connections.
    fn troubled(&self) -> f64 {
        let (proxy, crawl) = self.set_up();
        proxy.script(proxy::every(3, &FAULTS));
        let run = crawl.run();
        assert_eq!(run.code, 0, "{}: {}", self.what, run.stderr);
        self.assert_whole(&crawl, "with faults");
        let log = proxy.log();
        let failed = |asked: &&Asked| !matches!(asked.fault, Fault::None | Fault::Delay(_));
        let failed = log.iter().filter(failed).count();
        assert!(failed >= 4, "{}: {failed} requests failed", self.what);
        assert_eq!(log.len(), self.pages() + failed, "{}: one request more for each that failed", self.what);
        for two in log.windows(2) {
            if let Fault::Status { retry_after_s: Some(_), .. } = two[0].fault {
                let waited_ms = two[1].at.since_ms(two[0].at);
                assert!(waited_ms >= TOLD_MS, "{}: asked again after {waited_ms} ms", self.what);
            }
        }
        run.seconds
    }

    fn set_up(&self) -> (Proxy, Crawl) {
        let proxy = Proxy::before(self.port);
        let crawl = Crawl::new(&format!(
            "[throttle]\nmax_rate = \"none\"\n[retry]\nbase = \"50ms\"\n\n[api.walk]\nurl = '{}'\nkey = \"{}\"\n{}\n",
            proxy.url(self.first),
            self.key,
            self.settings
        ));
        (proxy, crawl)
    }

    fn pages(&self) -> usize {
        self.truth.len().div_ceil(self.a_page)
    }

    /// The names of the records that are stored, one for each record.
    fn stored(&self, crawl: &Crawl) -> Vec<String> {
        let query = format!("SELECT CAST(json_extract(data, '$.{}') AS TEXT) AS id FROM records", self.key);
        crawl.sql::<Id>(&query).into_iter().map(|row| row.id).collect()
    }

    #[track_caller]
    fn assert_whole(&self, crawl: &Crawl, how: &str) {
        let stored = self.stored(crawl);
        let names: BTreeSet<String> = stored.iter().cloned().collect();
        assert_eq!(stored.len(), names.len(), "{}, {how}: no record twice", self.what);
        let missing: Vec<_> = self.truth.difference(&names).take(10).collect();
        let surplus: Vec<_> = names.difference(&self.truth).take(10).collect();
        assert!(missing.is_empty() && surplus.is_empty(), "{}, {how}: lacks {missing:?}, has {surplus:?}", self.what);
    }
}

fn targets(proxy: &Proxy) -> Vec<String> {
    proxy.log().into_iter().map(|asked| asked.target).collect()
}

/// Datasette over a table of so many rows, and the folder of its file.
fn datasette() -> (tempfile::TempDir, Datasette) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("shop.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let written: Result<(), sqlx::Error> = runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        sqlx::query("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT) STRICT").execute(&mut connection).await?;
        let ids: Vec<i64> = (1..).take(RECORDS).collect();
        let mut insert = QueryBuilder::new("INSERT INTO items (id, name) ");
        // Seven rows of a name: the end of a page lies among equals.
        insert.push_values(ids, |mut values, id| {
            values.push_bind(id).push_bind(format!("Item {}", id / 7));
        });
        insert.build().execute(&mut connection).await?;
        connection.close().await
    });
    written.expect("the rows can be written");
    // All rows in one answer are the truth.
    let datasette = Datasette::start(&file, RECORDS);
    (folder, datasette)
}

fn keys_of_datasette(datasette: &Datasette) -> BTreeSet<String> {
    let document = wire::get(datasette.port(), &format!("{}?_shape=array&_size=max", datasette.path("items"))).json();
    document.as_array().expect("Datasette gives a list").iter().map(|row| row["id"].to_string()).collect()
}
