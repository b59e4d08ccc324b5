//! What the real program asks of APIs with bad habits (`api_faults`), and as whom: positions, ranges, keys, ids, bodies, validators and
//! tokens. Each API is walked to its end, most of them through kills, and its log is counted.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api_faults::gzip_bodies::GzipBodies;
use crate::api_faults::id_batches::{IdBatches, TooMany};
use crate::api_faults::keyset::Keyset;
use crate::api_faults::oauth::{CLIENT, FIRST_REFRESH, OAuth};
use crate::api_faults::off_origin::{LeadsAway, Stranger};
use crate::api_faults::partial_props::{PartialProps, links_of};
use crate::api_faults::post_cursor::PostCursor;
use crate::api_faults::ranges::Ranges;
use crate::api_faults::shifting_offset::ShiftingOffset;
use crate::api_faults::token_pool::TokenPool;
use crate::api_faults::validators::{Kind, Validators};
use crate::api_faults::{Api, Asked, Habit};
use crate::api_walks::{TOLD_MS, failures, stored, stream, walk};
use crate::process::{Ended, Folder, SOON_MS};

/// Walks a stream to its end, with a kill after each of these numbers of answers.
fn walk_with_kills<H: Habit>(api: &Api<H>, path: &str, settings: &str, kills: &[usize]) -> (Folder, Ended) {
    let folder = Folder::new(&format!(
        "[throttle]\nmax_rate = \"none\"\n[retry]\nbase = \"50ms\"\n[api.walk]\nurl = \"{}\"\n{settings}\n",
        api.url(path)
    ));
    for &answers in kills {
        let mut running = folder.start(&["run", "-q"]);
        api.wait_for(answers);
        running.kill();
    }
    let ended = folder.start(&["run", "-q"]).wait(SOON_MS);
    (folder, ended)
}

/// A walk of `pages` pages asks for each once, and for one more after a kill that came before its answer was stored.
#[track_caller]
fn asked_once<H: Habit>(api: &Api<H>, pages: usize, kills: usize) {
    let asked = api.log().len();
    assert!((pages..=pages + kills).contains(&asked), "{asked} requests for {pages} pages with {kills} kills");
}

#[test]
fn rows_that_come_in_while_a_list_is_walked_by_position_cost_none() {
    let api = Api::start(ShiftingOffset { inserted: 3, ..ShiftingOffset::new(30) });
    let (folder, ended) =
        walk(&api.url("/items"), "paginate = { type = \"offset\", size = 10, size_send = \"query:limit\" }");
    assert_eq!(ended.code, Some(0), "{}{:?}", ended.stderr, failures(&folder));
    assert_eq!(stored(&folder), (1..=30).collect(), "all that were there, and none twice");
    assert_eq!(api.log().len(), 4, "the last page is the short one");
}

#[test]
fn a_server_that_gives_less_than_it_is_asked_for_is_asked_from_where_it_ended() {
    let api = Api::start(ShiftingOffset { limit_max: 4, ..ShiftingOffset::new(30) });
    let settings =
        "key = \"id\"\npaginate = { type = \"offset\", size = 10, size_send = \"query:limit\", total = \"total\" }";
    let (folder, ended) = walk_with_kills(&api, "/items", settings, &[2, 5]);
    assert_eq!(ended.code, Some(0), "{}{:?}", ended.stderr, failures(&folder));
    assert_eq!(stored(&folder), (1..=30).collect());
    asked_once(&api, 8, 2);
}

#[test]
fn positions_that_a_server_does_not_go_to_end_the_walk_aloud() {
    let api = Api::start(ShiftingOffset { depth_max: 20, ..ShiftingOffset::new(30) });
    let (folder, ended) = walk(&api.url("/items"), "paginate = \"offset\"");
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert_eq!(stored(&folder), (11..=30).collect());
    let failures = failures(&folder);
    assert!(failures.len() == 1 && failures[0].contains("400"), "{failures:?}");
}

#[test]
fn ranges_are_walked_to_the_last_record_whether_or_not_their_number_is_told() {
    for (tells_total, size, pages) in [(true, 10, 3), (false, 10, 3), (true, 25, 3), (false, 5, 6)] {
        let api = Api::start(Ranges { records: 25, tells_total, length_max: 10 });
        let settings = format!("key = \"id\"\npaginate = {{ type = \"range\", size = {size} }}");
        let (folder, ended) = walk_with_kills(&api, "/items", &settings, &[2]);
        let what = format!("{tells_total}, {size}");
        assert_eq!(ended.code, Some(0), "{what}: {}{:?}", ended.stderr, failures(&folder));
        assert_eq!(stored(&folder), (1..=25).collect(), "{what}");
        asked_once(&api, pages, 1);
        assert!(api.log().iter().all(|asked| asked.header("range").is_some()), "{what}");
    }
}

#[test]
fn equal_keys_at_the_end_of_a_page_lose_nothing_where_the_server_gives_them_again() {
    let keyset = "key = \"id\"\npaginate = { type = \"keyset\", field = \"updated_at\", send = \"query:since\", size = 10, \
                  size_send = \"query:limit\" }";
    let api = Api::start(Keyset { records: 50, ties: 6, inclusive: true });
    let (folder, ended) = walk_with_kills(&api, "/items", keyset, &[2, 4]);
    assert_eq!(ended.code, Some(0), "{}{:?}", ended.stderr, failures(&folder));
    assert_eq!(stored(&folder), (1..=50).collect());
    // Each page but the first begins with the time that the last one ended with: 1 to 10, 7 to 16, 13 to 22, and so on.
    asked_once(&api, 8, 2);

    // More records of one time than a page holds: what lies behind them cannot be asked for.
    let api = Api::start(Keyset { records: 50, ties: 12, inclusive: true });
    let (folder, ended) = walk_with_kills(&api, "/items", keyset, &[]);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    let failures = failures(&folder);
    assert!(failures.len() == 1 && failures[0].contains("updated_at = 0 alone"), "{failures:?}");
}

#[test]
fn a_cursor_that_is_an_object_goes_back_in_the_body_as_it_came() {
    let api = Api::start(PostCursor { records: 95 });
    let settings = "json = { TableName = \"items\" }\nkey = \"id\"\nrecords = \"Items\"\n\
                    paginate = { type = \"cursor\", path = \"LastEvaluatedKey\", send = \"body:ExclusiveStartKey\" }";
    let (folder, ended) = walk_with_kills(&api, "/scan", settings, &[2, 5, 8]);
    assert_eq!(ended.code, Some(0), "{}{:?}", ended.stderr, failures(&folder));
    assert_eq!(stored(&folder), (1..=95).collect());
    assert!(api.log().iter().all(|asked| asked.status == 200), "each key was taken");
    asked_once(&api, 10, 3);
}

#[test]
fn bodies_go_compressed_where_they_are_taken_and_plain_where_they_are_not() {
    for (reads_gzip, refused) in [(true, 0), (false, 1)] {
        let api = Api::start(GzipBodies { records: 75, reads_gzip });
        // Long enough that gzip makes it shorter.
        let settings = format!(
            "key = \"id\"\njson = {{ note = \"{}\" }}\ncompress = \"gzip\"\npaginate = {{ type = \"cursor\", path = \"after\", send = \"body:after\" }}",
            "ab".repeat(400)
        );
        let (folder, ended) = walk_with_kills(&api, "/search", &settings, &[3]);
        assert_eq!(ended.code, Some(0), "{reads_gzip}: {}{:?}", ended.stderr, failures(&folder));
        assert_eq!(stored(&folder), (1..=75).collect(), "{reads_gzip}");
        // What a server does not take is found out once in each run.
        let log = api.log();
        let of_415 = log.iter().filter(|asked| asked.status == 415).count();
        assert_eq!(of_415, 2 * refused, "{reads_gzip}");
        assert!((8..=9).contains(&(log.len() - of_415)), "{reads_gzip}: {}", log.len());
        let compressed = log.iter().filter(|asked| asked.header("content-encoding") == Some("gzip")).count();
        assert_eq!(compressed, if reads_gzip { log.len() } else { of_415 }, "{reads_gzip}");
    }
}

/// Walks records by id, `size` of them at once. The first request is for all that fit.
fn batches(api: &Api<IdBatches>, ids: usize, batch: &str, more: &str) -> (Folder, Ended) {
    let each: Vec<String> = (1..=ids).map(|id| format!("\"{id}\"")).collect();
    let folder = Folder::new(&format!(
        "[throttle]\nmax_rate = \"none\"\n[retry]\nbase = \"50ms\"\nattempts = 2\n[[host]]\nmatch = \"127.0.0.1\"\nconcurrency = 1\n\
         max_concurrency = 1\n[api.walk]\nurl = \"{}\"\nkey = \"id\"\nrecords = \"items\"\npaginate = \"none\"\n\
         each = [{}]\nbatch = {{ {batch}, match = \"id\" }}\n{more}\n",
        api.url("/items"),
        each.join(", ")
    ));
    let ended = folder.run(&["run", "-q"]);
    (folder, ended)
}

#[test]
fn too_many_ids_at_once_are_halved_until_the_server_takes_them() {
    let split = "errors = [{ status = 200, path = \"error.code\", equals = \"toomanyvalues\", action = \"split\" }]";
    let send = "size = 32, send = \"query:ids\"";
    for (too_many, more) in [(TooMany::Status413, ""), (TooMany::Error200, split)] {
        let api = Api::start(IdBatches { count_max: 10, too_many, ..IdBatches::default() });
        let (folder, ended) = batches(&api, 64, send, more);
        assert_eq!(ended.code, Some(0), "{}{:?}", ended.stderr, failures(&folder));
        assert_eq!(stored(&folder), (1..=64).collect());
        // Twice 32 ids, 16 and 16, and four times 8.
        assert!(api.log().len() <= 2 * (1 + 2 + 4), "{} requests", api.log().len());
    }
}

#[test]
fn no_address_of_a_batch_is_longer_than_it_may_be() {
    let api = Api::start(IdBatches { target_bytes_max: 160, ..IdBatches::default() });
    let (folder, ended) = batches(&api, 200, "size = 200, send = \"query:ids\", max_url = 140", "");
    assert_eq!(ended.code, Some(0), "{}{:?}", ended.stderr, failures(&folder));
    assert_eq!(stored(&folder), (1..=200).collect());
    let log = api.log();
    assert!(log.iter().all(|asked| asked.status == 200), "none was refused");

    // Where the server takes less than is known, 414 halves the batch.
    let api = Api::start(IdBatches { target_bytes_max: 160, ..IdBatches::default() });
    let (folder, ended) = batches(&api, 200, "size = 200, send = \"query:ids\"", "");
    assert_eq!(ended.code, Some(0), "{}{:?}", ended.stderr, failures(&folder));
    assert_eq!(stored(&folder), (1..=200).collect());
}

#[test]
fn one_poisonous_id_and_one_that_is_not_there_cost_the_others_nothing() {
    let api = Api::start(IdBatches { poisonous: [13].into(), missing: [40].into(), ..IdBatches::default() });
    let (folder, ended) = batches(&api, 64, "size = 32, send = \"query:ids\", missing = \"done\"", "");
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert_eq!(stored(&folder), (1..=64).filter(|id| ![13, 40].contains(id)).collect());
    let failures = failures(&folder);
    assert!(failures.len() == 1 && failures[0].contains("400"), "{failures:?}");
    // 32, then 16, 8, 4, 2 and 1 with as many other halves; and the other 32.
    assert!(api.log().len() <= 1 + 2 * 5 + 1, "{} requests", api.log().len());
}

#[test]
fn records_that_come_in_parts_are_whole_and_have_no_part_twice_after_kills() {
    let api = Api::start(PartialProps { pages: 12 });
    let settings = "query = { action = \"query\" }\nrecords = \"query.pages\"\nkey = \"pageid\"\nmerge = \"deep\"\n\
                    paginate = \"params\"";
    let (folder, ended) = walk_with_kills(&api, "/api.php", settings, &[1, 2, 3, 4]);
    assert_eq!(ended.code, Some(0), "{}{:?}", ended.stderr, failures(&folder));
    let rows =
        folder.query("SELECT json_extract(data, '$.pageid'), json_extract(data, '$.links') FROM records ORDER BY 1");
    let links = |page: usize| -> Value {
        let links: Vec<Value> = links_of(page).into_iter().map(|title| json!({ "title": title })).collect();
        if links.is_empty() { Value::Null } else { Value::String(Value::Array(links).to_string()) }
    };
    let expected: Vec<Vec<Value>> = (1..=12).map(|page| vec![json!(page), links(page)]).collect();
    assert_eq!(rows, expected);
    asked_once(&api, 5, 4);
}

#[test]
fn what_is_unchanged_brings_no_row_however_its_server_says_so() {
    for (kind, of_304) in [(Kind::Full, 4), (Kind::Bare, 4), (Kind::Deaf, 0)] {
        let api = Api::start(Validators::new(50, kind));
        let (folder, ended) = walk(&api.url("/items"), "");
        assert_eq!((ended.code, api.log().len()), (Some(0), 5), "{}", ended.stderr);
        let versions = || {
            let rows = folder.query("SELECT json_extract(data, '$.id'), json_extract(data, '$.version') FROM records");
            let rows = rows.into_iter().map(|row| (row[0].as_u64().unwrap(), row[1].as_u64().unwrap()));
            rows.collect::<BTreeMap<_, _>>()
        };
        let before = versions();
        api.habit().change(3);
        let ended = folder.run(&["run", "-q", "--refresh"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let log = api.log();
        let second: Vec<&Asked> = log[5..].iter().collect();
        assert_eq!(second.len(), 5);
        assert_eq!(second.iter().filter(|asked| asked.status == 304).count(), of_304);
        for asked in &second {
            // Each page with its own, as they came.
            let number = asked.number_in("page").unwrap_or(1);
            assert_eq!(asked.header("if-none-match"), Some(format!("W/\"{number}-0\"").as_str()));
        }
        let expected: BTreeMap<u64, u64> =
            before.into_keys().map(|id| (id, u64::from((21..=30).contains(&id)))).collect();
        assert_eq!(versions(), expected, "the page that changed, and no other");
        assert_eq!(expected.len(), 50);
    }
}

/// Credentials of this API.
fn oauth(api: &Api<OAuth>, grant: &str) -> String {
    format!(
        "auth = {{ type = \"oauth2\", grant = \"{grant}\", token_url = \"{}\", client_id = \"{}\", client_secret = \"{}\"{} }}",
        api.url("/token"),
        CLIENT.0,
        CLIENT.1,
        if grant == "refresh_token" { format!(", refresh_token = \"{FIRST_REFRESH}\"") } else { String::new() }
    )
}

/// Requests for pages and their statuses, and those for tokens.
fn sorted_out(api: &Api<OAuth>) -> (Vec<Asked>, Vec<Asked>) {
    api.log().into_iter().partition(|asked| asked.path != "/token")
}

#[test]
fn a_token_that_ends_in_mid_walk_is_renewed_once_and_no_page_is_lost() {
    for grant in ["client_credentials", "refresh_token"] {
        // Three pages a token.
        let api = Api::start(OAuth::new(100, 3));
        let (folder, ended) = walk(&api.url("/items"), &oauth(&api, grant));
        assert_eq!(ended.code, Some(0), "{grant}: {}{:?}", ended.stderr, failures(&folder));
        assert_eq!(stored(&folder), (1..=100).collect(), "{grant}");
        let (pages, tokens) = sorted_out(&api);
        assert_eq!((api.habit().grants(), tokens.len()), (4, 4), "{grant}: ten pages");
        assert_eq!(pages.iter().filter(|asked| asked.status == 401).count(), 3, "{grant}");
        assert_eq!(pages.len(), 10 + 3, "{grant}");
        let attempts = folder.query("SELECT max(attempt) FROM jobs");
        assert_eq!(attempts, [[0]], "{grant}: a token that ends costs no attempt");
        let kept = std::fs::read(folder.path("crawl.db")).unwrap();
        for secret in [CLIENT.1, "access-1", FIRST_REFRESH] {
            assert!(!kept.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()), "{grant}: {secret} is stored");
        }
    }
}

#[test]
fn a_walk_that_was_killed_goes_on_with_a_new_token() {
    let api = Api::start(OAuth::new(100, 4));
    let settings = oauth(&api, "client_credentials");
    let folder = stream(&api.url("/items"), &settings);
    for answers in [4, 9] {
        let mut running = folder.start(&["run", "-q"]);
        api.wait_for(answers);
        running.kill();
        api.habit().expire_now();
    }
    let ended = folder.run(&["run", "-q"]);
    assert_eq!(ended.code, Some(0), "{}{:?}", ended.stderr, failures(&folder));
    assert_eq!(stored(&folder), (1..=100).collect());
    let (pages, _) = sorted_out(&api);
    let of_200 = pages.iter().filter(|asked| asked.status == 200).count();
    assert!((10..=12).contains(&of_200), "{of_200} pages");
}

#[test]
fn workers_whose_token_ends_together_ask_for_one_new_one() {
    // A refresh token is good for once: a second question with it would be refused, and end the walk.
    for grant in ["client_credentials", "refresh_token"] {
        let api = Api::start(OAuth::new(600, 20));
        let each: Vec<String> = (1..=60).map(|page| format!("\"{page}\"")).collect();
        let (folder, ended) = walk(
            &api.url("/items"),
            &format!(
                "query = {{ page = \"{{each}}\" }}\neach = [{}]\npaginate = \"none\"\n{}",
                each.join(", "),
                oauth(&api, grant)
            ),
        );
        assert_eq!(ended.code, Some(0), "{grant}: {}{:?}", ended.stderr, failures(&folder));
        assert_eq!(stored(&folder), (1..=600).collect(), "{grant}");
        let (pages, tokens) = sorted_out(&api);
        assert_eq!((api.habit().grants(), tokens.len()), (3, 3), "{grant}: 60 pages, 20 a token");
        assert_eq!(pages.iter().filter(|asked| asked.status == 200).count(), 60, "{grant}");
    }
}

#[test]
fn tokens_are_used_up_one_after_another_and_when_all_are_spent_the_first_is_waited_for() {
    for status in [429, 403] {
        let api = Api::start(TokenPool::new(70, &[("a", 2), ("b", 3)], 2, status));
        let folder = stream(&api.url("/items"), "auth = { type = \"bearer\", tokens = [\"a\", \"b\"] }");
        let mut running = folder.start(&["run", "-q"]);
        api.wait_for(5);
        // The quota is there again when the wait that was told is over.
        api.habit().refill();
        let ended = running.wait(SOON_MS);
        assert_eq!(ended.code, Some(0), "{status}: {}{:?}", ended.stderr, failures(&folder));
        assert_eq!(stored(&folder), (1..=70).collect(), "{status}");
        let log = api.log();
        let tokens: Vec<&str> = log.iter().filter_map(Asked::bearer).collect();
        assert_eq!(tokens[..5], ["a", "a", "b", "b", "b"], "{status}");
        assert_eq!(tokens.len(), 7, "{status}: nothing is sent with a token that is known to be spent");
        let waited_ms = log[5].at.since_ms(log[1].at);
        assert!(waited_ms >= 1_000 + TOLD_MS, "{status}: asked again after {waited_ms} ms");
    }
}

#[test]
fn no_way_to_say_who_we_are_leaves_for_another_server() {
    let tokens = Api::start(OAuth::new(1, 1));
    let secret = "\"s3cret\"";
    let oauth = oauth(&tokens, "client_credentials");
    let key =
        |place: &str| format!("auth = {{ type = \"api_key\", name = \"key\", in = \"{place}\", value = {secret} }}");
    for auth in [
        format!("auth = {{ type = \"bearer\", tokens = [{secret}, \"s3cret-2\"] }}"),
        format!("auth = {{ type = \"basic\", username = \"me\", password = {secret} }}"),
        key("header"),
        key("cookie"),
        key("query"),
        oauth,
    ] {
        for path in ["/items", "/moved"] {
            let stranger = Api::start(Stranger);
            let api = Api::start(LeadsAway { to: stranger.port() });
            let (_folder, ended) = walk(&api.url(path), &auth);
            assert!(ended.code.is_some(), "{auth}: {}", ended.stderr);
            let said = |asked: &Asked| {
                asked.header("authorization").is_some()
                    || asked.header("cookie").is_some()
                    || asked.header("key").is_some()
                    || asked.query("key").is_some()
            };
            assert!(said(&api.log()[0]), "{auth}: its own server is told");
            let strangers = stranger.log();
            assert!(!strangers.iter().any(said), "{auth}, {path}: {strangers:?}");
            // The address of a next page leads to no other private address, so that a loopback stranger is not asked at all.
            assert_eq!(strangers.is_empty(), path == "/items", "{auth}, {path}");
        }
    }
    let (_, asked) = sorted_out(&tokens);
    assert!(!asked.is_empty() && asked.iter().all(|asked| asked.header("authorization").is_some()), "the endpoint is");
}
