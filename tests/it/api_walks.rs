//! Streams of the real program over APIs with bad habits (`api_faults`): what is stored, what was asked for, and how it ends.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::api_faults::Api;
use crate::api_faults::children::{Children, children_of};
use crate::api_faults::errors_in_200::ErrorsIn200;
use crate::api_faults::expiring_cursor::ExpiringCursor;
use crate::api_faults::forbidden::{Forbidden, Words};
use crate::api_faults::frozen_cursor::{Frozen, FrozenCursor};
use crate::api_faults::graphql::Graphql;
use crate::api_faults::lying_total::{LyingTotal, Total};
use crate::api_faults::next_loops::NextLoops;
use crate::api_faults::off_origin::{LeadsAway, Stranger};
use crate::api_faults::windows::Windows;
use crate::process::{Ended, Folder, SOON_MS};

/// The cursor that most of these servers have.
const CURSOR: &str = "paginate = { type = \"cursor\", path = \"next\", send = \"query:cursor\" }";
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
    let (folder, ended) = walk(&api.url("/items"), CURSOR);
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
fn a_rule_tells_what_a_403_without_evidence_or_an_error_in_200_means() {
    let api = Api::start(Forbidden { records: 50, numbers: vec![3], words: Words::Body });
    let rule = "errors = [{ status = 403, body = \"rate limit\", action = \"throttle\", wait = \"1s\" }]";
    let (folder, ended) = walk(&api.url("/items"), rule);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!((stored(&folder), api.log().len()), ((1..=50).collect(), 6));
    let waited_ms = api.log()[3].at.since_ms(api.log()[2].at);
    assert!(waited_ms >= TOLD_MS, "asked again after {waited_ms} ms");

    let api = Api::start(ErrorsIn200 { records: 50, numbers: vec![2, 4, 5], code: "maxlag" });
    let rule = "errors = [{ status = 200, path = \"error.code\", equals = \"maxlag\", action = \"throttle\", wait = \"200ms\" }]";
    let (folder, ended) = walk(&api.url("/items"), rule);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!((stored(&folder), api.log().len()), ((1..=50).collect(), 8));
}

#[test]
fn a_403_whose_body_speaks_of_a_limit_is_one() {
    let api = Api::start(Forbidden { records: 50, numbers: vec![3], words: Words::Body });
    let (folder, ended) = walk(&api.url("/items"), "");
    assert_eq!(ended.code, Some(0), "{}{:?}", ended.stderr, failures(&folder));
    assert_eq!((stored(&folder), api.log().len()), ((1..=50).collect(), 6));
}

#[test]
fn a_walk_whose_cursors_die_begins_again_and_stores_every_record_once() {
    for status in [400, 410, 422] {
        let api = Api::start(ExpiringCursor::new(60, &[3, 4, 99], status, "cursor expired"));
        let (folder, ended) = walk(&api.url("/items"), CURSOR);
        assert_eq!(ended.code, Some(0), "{status}: {}", ended.stderr);
        assert_eq!(stored(&folder), (1..=60).collect(), "{status}");
        assert_eq!((api.habit().walks(), api.log().len()), (3, 3 + 1 + 4 + 1 + 6), "{status}");
    }
}

#[test]
fn a_walk_whose_cursors_always_die_too_soon_ends_aloud() {
    let api = Api::start(ExpiringCursor::new(60, &[3], 410, "cursor expired"));
    let (folder, ended) = walk(&api.url("/items"), CURSOR);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert_eq!(stored(&folder), (1..=30).collect());
    assert_eq!(api.habit().walks(), 4, "it begins again three times");
    assert_eq!(failures(&folder).len(), 1);
}

#[test]
fn a_cursor_that_died_while_nobody_ran_costs_one_walk_more() {
    let api = Api::start(ExpiringCursor::new(60, &[99], 400, "cursor expired"));
    let folder = stream(&api.url("/items"), CURSOR);
    let mut running = folder.start(&["run", "-q"]);
    api.wait_for(3);
    running.kill();
    api.habit().expire_now();
    let ended = folder.run(&["run"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(stored(&folder), (1..=60).collect());
    assert_eq!(api.habit().walks(), 2);
}

/// Two streams, of which the second hangs on the first.
fn family(api: &Api<Children>, more: &str) -> Folder {
    Folder::new(&format!(
        "[throttle]\nmax_rate = \"none\"\n[retry]\nbase = \"50ms\"\n\n[api.x]\nbase = \"{}\"\nkey = \"id\"\n\
         [api.x.stream.parents]\npath = \"/parents\"\n[api.x.stream.kids]\nparent = \"parents\"\n\
         path = \"/parents/{{parents.id}}/children\"\n{more}\n",
        api.url("")
    ))
}

fn kids(folder: &Folder) -> BTreeSet<u64> {
    let rows = folder.query("SELECT json_extract(data, '$.id') FROM records WHERE source = 'x.kids'");
    let ids: BTreeSet<u64> = rows.iter().map(|row| row[0].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), rows.len(), "records that are stored twice");
    ids
}

#[test]
fn every_parent_has_its_children_but_those_that_are_gone() {
    let api = Api::start(Children { parents: 25, gone: [4, 21].into() });
    let folder = family(&api, "where_parent = \"$.children > 2\"");
    let ended = folder.run(&["run"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let expected: Vec<usize> = (3..=25).filter(|parent| ![4, 21].contains(parent)).collect();
    assert_eq!(kids(&folder), expected.iter().flat_map(|&parent| children_of(parent)).collect());
    let pages: usize = expected.iter().map(|parent| parent.div_ceil(10)).sum();
    assert_eq!(api.log().len(), 3 + pages + 2, "the parents, their children, and one each for those that are gone");
}

#[test]
fn kills_between_parents_and_children_lose_nothing_and_double_nothing() {
    let api = Api::start(Children { parents: 25, gone: [4].into() });
    let folder = family(&api, "");
    let mut kills = 0;
    loop {
        let mut running = folder.start(&["run", "-q"]);
        let until = api.log().len() + 4;
        crate::process::wait_for("requests or the end", SOON_MS, || {
            (api.log().len() >= until || running.has_ended()).then_some(())
        });
        if running.has_ended() {
            assert_eq!(running.wait(SOON_MS).code, Some(0));
            break;
        }
        running.kill();
        kills += 1;
        assert!(kills < 60, "it does not get on");
    }
    assert!(kills >= 3, "{kills} kills");
    assert_eq!(kids(&folder), (1..=25).filter(|&parent| parent != 4).flat_map(children_of).collect());
    let parents = folder.query("SELECT count(*) FROM records WHERE source = 'x.parents'");
    assert_eq!(parents, [[25]]);
}

#[test]
fn windows_that_are_too_deep_are_walked_in_halves_to_the_last_event() {
    // 90 events in ten days; a window gives its first 20. Whether its end is in it is the API's to say.
    let a_day = vec![7, 0, 15, 12, 9, 1, 16, 11, 10, 9];
    for (split, end_is_in) in [("split_at = 20", false), ("", false), ("split_at = 20", true), ("", true)] {
        let api = Api::start(Windows { a_day: a_day.clone(), depth_max: 20, end_is_in });
        let end = if end_is_in { "inclusive" } else { "exclusive" };
        let rule = "errors = [{ status = 400, body = \"offset must be below\", action = \"split\" }]";
        let comma = if split.is_empty() { "" } else { ", " };
        let slice = format!(
            "slice = {{ start = \"2024-01-01\", step = \"400d\", from = \"query:since\", to = \"query:until\", \
             format = \"date\", end = \"{end}\"{comma}{split} }}"
        );
        let (folder, ended) = walk(&api.url("/events"), &format!("{slice}\n{rule}"));
        assert_eq!(ended.code, Some(0), "{split}, {end_is_in}: {}{:?}", ended.stderr, failures(&folder));
        assert_eq!(stored(&folder), (1..=90).collect(), "{split}, {end_is_in}");
    }
}

#[test]
fn graphql_asks_for_the_posts_of_each_user_and_waits_when_an_error_says_so() {
    let api = Api::start(Graphql { rate_limited: vec![1, 4], ..Graphql::new(10) });
    let folder = Folder::new(&format!(
        "[throttle]\nmax_rate = \"none\"\n[retry]\nbase = \"50ms\"\n\n[api.g]\nbase = \"{}\"\nkey = \"id\"\n\
         paginate = \"none\"\n\
         errors = [{{ path = \"errors[0].type\", equals = \"RATE_LIMITED\", action = \"throttle\", wait = \"300ms\" }}]\n\
         [api.g.stream.users]\npath = \"/graphql\"\nrecords = \"data.users.nodes\"\n\
         graphql = \"query {{ users(first: 10) {{ nodes {{ id name }} }} }}\"\n\
         [api.g.stream.posts]\nparent = \"users\"\npath = \"/graphql\"\nrecords = \"data.user.posts.nodes\"\n\
         graphql = \"query($user: Int!) {{ user(id: $user) {{ posts {{ nodes {{ id }} }} }} }}\"\n\
         variables = {{ user = \"{{users.id}}\" }}\n",
        api.url("")
    ));
    let ended = folder.run(&["run"]);
    assert_eq!(ended.code, Some(0), "{}{:?}", ended.stderr, failures(&folder));
    let posts = folder.query("SELECT count(*) FROM records WHERE source = 'g.posts'");
    assert_eq!(posts, [[json!(55)]], "1 + 2 + ... + 10");
    assert_eq!(api.log().len(), 1 + 10 + 2);
}

#[test]
fn kills_right_after_answers_lose_nothing_and_double_nothing() {
    const PAGES: usize = 30;
    const KILLS: usize = 12;
    let api = Api::start(ExpiringCursor::new(PAGES * 10, &[usize::MAX], 410, "cursor expired"));
    let folder = stream(&api.url("/items"), CURSOR);
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
