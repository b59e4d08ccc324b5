//! Sites: the set of pages that trundle stores equals the set that GNU Wget finds, byte for byte, with one request a page.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde::Deserialize;

use crate::crawl::Crawl;
use crate::nginx::{Nginx, Served};
use crate::process::Process;
use crate::{alone, show, tools};

/// How long Wget may take for one site; it takes seconds.
const WALK_MS_MAX: u64 = 120_000;

#[test]
fn the_python_documentation_is_stored_whole() {
    let (requests, refused) = check("python", None);
    assert_eq!(refused, 0, "of {requests} requests");
}

#[test]
fn the_postgresql_documentation_is_stored_whole() {
    let (requests, refused) = check("postgresql", None);
    assert_eq!(refused, 0, "of {requests} requests");
}

#[test]
fn a_site_behind_a_rate_limit_is_stored_whole() {
    // nginx says 429 and nothing about when to come back. Some refusals are the price of finding the limit.
    let (requests, refused) = check("postgresql", Some(100));
    assert!(refused > 0, "the limit was met");
    assert!(refused * 20 < requests, "{refused} of {requests} requests were refused");
}

/// Crawls the documentation of `name` and compares. How many requests it took, and how many of these were refused.
#[track_caller]
fn check(name: &str, per_second: Option<u32>) -> (usize, usize) {
    let _alone = alone();
    let mut nginx = Nginx::start(name, &tools::documentation(name), per_second);

    let crawl = Crawl::new(&format!(
        "[throttle]\nmax_rate = \"none\"\nmax_concurrency = 32\n\n[site.{name}]\nstart = [\"{}\"]\n",
        nginx.url()
    ));
    let run = crawl.run();
    // A broken link is an answer and no failure, and nothing else can go wrong here.
    assert_eq!(run.code, 0, "trundle run:\n{}", run.stderr);
    let stored = stored_pages(&crawl, &nginx.origin());
    let broken = broken_links(&crawl, &nginx.origin());

    walk(&nginx.url());
    let (ours, theirs): (Vec<Served>, Vec<Served>) =
        nginx.stop().into_iter().partition(|served| served.agent.starts_with("trundle/"));

    let expected: BTreeMap<String, String> = theirs
        .iter()
        .filter(|served| served.status == 200 && served.content_type == "text/html")
        .map(|served| (served.path.clone(), hash_of_file(&nginx, &served.path)))
        .collect();
    assert_same(&stored, &expected, "pages and the hashes of their bodies");
    let expected: BTreeSet<&str> =
        theirs.iter().filter(|served| served.status == 404).map(|served| served.path.as_str()).collect();
    assert_eq!(broken.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected, "broken links");

    let (refused, answered): (Vec<&Served>, Vec<&Served>) = ours.iter().partition(|served| served.status == 429);
    let mut requests: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for served in answered {
        *requests.entry((&served.method, &served.path)).or_default() += 1;
    }
    let repeated: Vec<_> = requests.iter().filter(|&(_, &times)| times > 1).collect();
    assert!(repeated.is_empty(), "requests that were answered more than once: {repeated:?}");
    // Everything that links lead to, the two files that every site is asked for, nothing else.
    let asked: BTreeSet<(&str, &str)> = requests.into_keys().collect();
    let linked = theirs.iter().map(|served| served.path.as_str());
    let expected: BTreeSet<(&str, &str)> =
        linked.chain(["/robots.txt", "/sitemap.xml"]).map(|path| ("GET", path)).collect();
    assert_eq!(asked, expected, "what was asked for, and what links lead to");

    let (pages, broken, seconds) = (stored.len(), broken.len(), run.seconds);
    let limit = per_second.map(|per_second| format!(" behind {per_second} requests a second")).unwrap_or_default();
    show(&format!(
        "{name}{limit}: {pages} pages, {broken} broken links, {} requests, {} refused, {seconds:.1} s",
        ours.len(),
        refused.len()
    ));
    (ours.len(), refused.len())
}

/// The path of every page that is done and has an HTML body, with the hash of that body.
fn stored_pages(crawl: &Crawl, origin: &str) -> BTreeMap<String, String> {
    #[derive(Deserialize)]
    struct Row {
        url: String,
        hash: String,
    }
    let query = "SELECT url, lower(hex(body_hash)) AS hash FROM pages \
                 WHERE content_type = 'text/html' AND body_hash IS NOT NULL";
    crawl.sql::<Row>(query).into_iter().map(|row| (path_of(&row.url, origin), row.hash)).collect()
}

/// The path of every job that was answered 404 or 410.
fn broken_links(crawl: &Crawl, origin: &str) -> BTreeSet<String> {
    #[derive(Deserialize)]
    struct Row {
        url: String,
    }
    crawl.sql::<Row>("SELECT url FROM broken_links").iter().map(|row| path_of(&row.url, origin)).collect()
}

fn path_of(url: &str, origin: &str) -> String {
    url.strip_prefix(origin).unwrap_or_else(|| panic!("{url} is not on {origin}")).to_owned()
}

fn hash_of_file(nginx: &Nginx, path: &str) -> String {
    let file = nginx.file(path);
    let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("read {}: {error}", file.display()));
    blake3::hash(&bytes).to_hex().to_string()
}

/// Lets Wget fetch everything below `url` that a reader can click his way to: of the tags that Wget knows, those that lead to
/// other documents, without images, styles, scripts and forms. nginx takes down what it asks for.
fn walk(url: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut command = Command::new(tools::program("wget"));
    command
        .args(["--no-config", "--no-proxy", "--no-hsts", "--no-verbose", "--recursive", "--level=inf", "--no-parent"])
        .args(["--follow-tags=a,area,frame,iframe", "--execute=robots=off", "--delete-after", url])
        .current_dir(folder.path());
    let mut wget = Process::start("wget", folder.path(), &mut command);
    let status = wget.wait(WALK_MS_MAX);
    // 8: the server answered some request with an error, such as 404.
    assert!(matches!(status.code(), Some(0 | 8)), "wget ended with {status}:\n{}", wget.stderr());
}

/// Like `assert_eq!`, but shows what differs, ten of a kind, and not a thousand pages that do not.
#[track_caller]
fn assert_same(ours: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>, what: &str) {
    let missing: Vec<_> = theirs.iter().filter(|&(path, hash)| ours.get(path) != Some(hash)).take(10).collect();
    let surplus: Vec<_> = ours.iter().filter(|&(path, hash)| theirs.get(path) != Some(hash)).take(10).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "{what}: {} instead of {}; missing {missing:#?}, too much {surplus:#?}",
        ours.len(),
        theirs.len()
    );
}
