//! Streams of the real program over APIs with bad habits (`api_faults`): what is stored, what was asked for, and how it ends.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::api_faults::Api;
use crate::api_faults::errors_in_200::ErrorsIn200;
use crate::api_faults::expiring_cursor::ExpiringCursor;
use crate::api_faults::forbidden::{Forbidden, Words};
use crate::api_faults::frozen_cursor::{Frozen, FrozenCursor};
use crate::api_faults::lying_total::{LyingTotal, Total};
use crate::api_faults::next_loops::NextLoops;
use crate::api_faults::off_origin::{LeadsAway, Stranger};
use crate::process::{Ended, Folder, SOON_MS};

/// A server that tells a second is asked again no sooner; the clocks of both have whole milliseconds.
const TOLD_MS: u64 = 1_000 - 2;

/// A folder with one stream over `url`.
fn stream(url: &str, settings: &str) -> Folder {
    Folder::new(&format!(
        "[throttle]\nmax_rate = \"none\"\n[retry]\nbase = \"50ms\"\n\n[api.walk]\nurl = \"{url}\"\nkey = \"id\"\n\
         records = \"items\"\n{settings}\n"
    ))
}

fn walk(url: &str, settings: &str) -> (Folder, Ended) {
    let folder = stream(url, settings);
    let ended = folder.run(&["run"]);
    (folder, ended)
}

/// The ids of all records that are stored. None is there twice.
#[track_caller]
fn stored(folder: &Folder) -> BTreeSet<u64> {
    let rows = folder.query("SELECT json_extract(data, '$.id') FROM records");
    let ids: BTreeSet<u64> = rows.iter().map(|row| row[0].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), rows.len(), "records that are stored twice");
    ids
}

/// What the stream could not do, in its own words.
fn failures(folder: &Folder) -> Vec<String> {
    let rows = folder.query("SELECT reason FROM failures");
    rows.into_iter().map(|row| row[0].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_circle_of_next_addresses_ends_with_every_record_once() {
    for settings in ["", "paginate = \"link\"", "paginate = { type = \"next_url\", path = \"next\" }"] {
        let api = Api::start(NextLoops { pages: 4, back_to: 2 });
        let (folder, ended) = walk(&api.url("/items"), settings);
        assert!(ended.code.is_some(), "{settings}: {}", ended.stderr);
        assert_eq!(stored(&folder), (1..=40).collect(), "{settings}");
        assert_eq!(api.log().len(), 4, "{settings}: no page is asked for again");
    }
}

#[test]
fn a_cursor_that_stays_the_same_ends_the_walk() {
    let api = Api::start(FrozenCursor { records: 50, kind: Frozen::At(20) });
    let (folder, ended) =
        walk(&api.url("/items"), "paginate = { type = \"cursor\", path = \"next\", send = \"query:cursor\" }");
    assert!(ended.code.is_some(), "{}", ended.stderr);
    assert_eq!(stored(&folder), (1..=30).collect());
    assert_eq!(api.log().len(), 3, "the first page, and what the two cursors lead to");
}

#[test]
fn max_pages_ends_cursors_that_go_on_for_ever() {
    let api = Api::start(FrozenCursor { records: 25, kind: Frozen::EmptyForEver });
    let (folder, ended) = walk(
        &api.url("/items"),
        "paginate = { type = \"cursor\", path = \"next\", send = \"query:cursor\", max_pages = 6 }",
    );
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(stored(&folder), (1..=25).collect());
    assert!((4..=6).contains(&api.log().len()), "{}", api.log().len());
}

#[test]
fn a_total_that_is_not_told_is_no_end() {
    for total in [Total::Right, Total::Null, Total::Absent, Total::Wrong(1_000)] {
        let api = Api::start(LyingTotal { records: 35, total, short_page: None });
        let (folder, ended) = walk(&api.url("/items"), "paginate = { type = \"page\", total_pages = \"total_pages\" }");
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(stored(&folder), (1..=35).collect());
        let pages = if total == Total::Right { 4 } else { 5 };
        assert_eq!(api.log().len(), pages, "an empty page is the end where no total is");
    }
}

#[test]
fn a_short_page_in_the_middle_is_no_end_without_a_size() {
    let api = Api::start(LyingTotal { records: 35, total: Total::Absent, short_page: Some(2) });
    let (folder, ended) = walk(&api.url("/items"), "paginate = \"page\"");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(stored(&folder), (1..=15).chain(21..=35).collect());
}

#[test]
fn no_credential_leaves_for_another_server() {
    for (path, settings) in [("/items", ""), ("/items", "paginate = \"link\""), ("/moved", "")] {
        let stranger = Api::start(Stranger);
        let api = Api::start(LeadsAway { to: stranger.port() });
        let secrets = "headers = { x-api-key = \"s3cret\", authorization = \"Bearer s3cret\", cookie = \"id=s3cret\" }";
        let (folder, ended) = walk(&api.url(path), &format!("{secrets}\n{settings}"));
        assert!(ended.code.is_some(), "{}", ended.stderr);
        assert_eq!(api.log()[0].header("x-api-key"), Some("s3cret"), "its own server gets it");
        let leaked: Vec<_> = stranger
            .log()
            .into_iter()
            .flat_map(|asked| asked.headers)
            .filter(|(_, value)| value.contains("s3cret"))
            .collect();
        assert!(leaked.is_empty(), "{path} {settings}: {leaked:?}");
        if path == "/items" {
            assert!(stored(&folder).is_superset(&(1..=10).collect()));
        }
    }
}

#[test]
fn a_403_that_speaks_of_a_limit_is_waited_out() {
    for words in [Words::RetryAfter, Words::Remaining] {
        let api = Api::start(Forbidden { records: 50, numbers: vec![3], words });
        let (folder, ended) = walk(&api.url("/items"), "");
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(stored(&folder), (1..=50).collect());
        let log = api.log();
        assert_eq!(log.len(), 6, "one request more for the one that was refused");
        let waited_ms = log[3].at.since_ms(log[2].at);
        assert!(waited_ms >= TOLD_MS, "asked again after {waited_ms} ms");
    }
}

#[test]
fn a_403_that_is_meant_ends_the_walk_aloud() {
    let api = Api::start(Forbidden { records: 50, numbers: (3..100).collect(), words: Words::Meant });
    let (folder, ended) = walk(&api.url("/items"), "");
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert_eq!(stored(&folder), (1..=20).collect());
    let failures = failures(&folder);
    assert!(failures.len() == 1 && failures[0].contains("403"), "{failures:?}");
}

#[test]
fn an_error_with_status_200_is_not_taken_for_the_end() {
    let api = Api::start(ErrorsIn200 { records: 50, numbers: vec![3], code: "nosuchthing" });
    let (folder, ended) = walk(&api.url("/items"), "");
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert_eq!(stored(&folder), (1..=20).collect());
    assert_eq!(failures(&folder).len(), 1);
}

#[test]
fn kills_right_after_answers_lose_nothing_and_double_nothing() {
    const PAGES: usize = 30;
    const KILLS: usize = 12;
    let api = Api::start(ExpiringCursor::new(PAGES * 10, &[usize::MAX], 410, "cursor expired"));
    let folder =
        stream(&api.url("/items"), "paginate = { type = \"cursor\", path = \"next\", send = \"query:cursor\" }");
    for kill in 0..KILLS {
        let mut running = folder.start(&["run", "-q"]);
        // One or two answers: whether the last of them was stored is a matter of microseconds.
        api.wait_for(api.log().len() + 1 + kill % 2);
        running.kill();
    }
    let ended = folder.start(&["run", "-q"]).wait(SOON_MS);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(stored(&folder), (1..=300).collect());
    // In flight at a kill is one request, or one whose answer had come but was not stored.
    assert!(api.log().len() <= PAGES + 2 * KILLS, "{} requests", api.log().len());
    assert_eq!(folder.query("PRAGMA integrity_check"), [[Value::from("ok")]]);
}
