//! Pages by number and by position, and when a count ends them.

use serde_json::{Value, json};

use super::super::{Ends, StopSign};
use super::{Walk, in_words, of_size, offset, page, told};
use crate::job::Payload;

#[test]
fn pages_are_counted_by_raw_records() {
    let open = Walk::new(page("query:page", 1), "https://h/x?q=1");
    open.leads(&json!([1]), "go https://h/x?q=1&page=2");
    open.leads(&json!([]), "end");
    let sized = Walk::new(page("query:page", 1), "https://h/x?page=3").ends(of_size(2)).at(2);
    sized.leads(&json!([1, 2]), "go https://h/x?page=4");
    sized.leads(&json!([1]), "end");
    // A record that is null counts, though it is not stored.
    let meaning = sized.meaning(&[], &json!([1, null]));
    assert_eq!((meaning.read.items.len(), meaning.records_seen), (1, 2));
    assert_eq!(in_words(&meaning.next), "go https://h/x?page=4");
    let total = Ends { total_pages: Some(told("pages")), ..Ends::default() };
    let total = Walk::new(page("query:page", 1), "https://h/x?page=3").ends(total).at(2);
    total.leads(&json!({"items": [1], "pages": 4}), "go https://h/x?page=4");
    total.leads(&json!({"items": [1], "pages": "3"}), "end");
    total.leads(&json!({"items": [1], "pages": null}), "go https://h/x?page=4");
    let from_zero = Ends { total_pages: Some(told("header:x-pages")), ..Ends::default() };
    let from_zero = Walk::new(page("query:p", 0), "https://h/x?p=1").ends(from_zero).at(1);
    from_zero.leads_by(&[("x-pages", "2")], &json!([1]), "end");
    from_zero.leads_by(&[("x-pages", "3")], &json!([1]), "go https://h/x?p=2");
    let body = Payload::Json(json!({"page": "1"}));
    let body = Walk::new(page("body:page", 1), "https://h/x").post(body);
    body.leads(&json!([1]), r#"go POST https://h/x {"page":"2"}"#);
}

#[test]
fn an_offset_moves_on_by_what_came() {
    let total = || Ends { total: Some(told("total")), ..Ends::default() };
    let walk = Walk::new(offset("query:offset"), "https://h/x?limit=1000&offset=100").ends(total()).at(1);
    walk.leads(&json!({"items": [1, 2, 3], "total": 104}), "go https://h/x?limit=1000&offset=103");
    walk.leads(&json!({"items": [1, 2, 3], "total": 103}), "end");
    walk.leads(&json!({"items": [], "total": 200}), "end");
    let first = Walk::new(offset("query:offset"), "https://h/x").ends(total());
    first.leads(&json!({"items": [1, 2, 3]}), "go https://h/x?offset=3");
    let lost = Walk::new(offset("query:offset"), "https://h/x").at(2);
    lost.leads(&json!([1]), "stop: the request lacks its query:offset, so its position is not known");
    let body = Walk::new(offset("body:from"), "https://h/x").post(Payload::Json(json!({"from": 4})));
    body.leads(&json!([1, 2]), r#"go POST https://h/x {"from":6}"#);
}

#[test]
fn a_total_ends_no_stream_that_brings_full_pages_unless_it_is_named() {
    let body = |total: Value| json!({"items": [1, 2], "total": total});
    let go = "go https://h/x?offset=6";
    let url = "https://h/x?offset=4";
    let ends = || Ends { total: Some(told("total")), ..of_size(2) };
    let full = Walk::new(offset("query:offset"), url).ends(ends()).at(2);
    for total in [json!(null), json!(6), json!(2), json!(0), json!(-1), json!("many"), json!(7)] {
        full.leads(&body(total), go);
    }
    // A short page is the last, unless the total says that the server gives fewer than it is asked for.
    full.leads(&json!({"items": [1], "total": 5}), "end");
    full.leads(&json!({"items": [1], "total": 9}), "go https://h/x?offset=5");
    full.leads(&json!({"items": [1], "total": 3}), "go https://h/x?offset=5");
    full.leads(&json!({"items": [1], "total": null}), "end");
    full.leads(&json!({"items": [], "total": 9}), "end");
    assert_eq!(
        full.meaning(&[], &json!({"items": [], "total": 9})).notes,
        ["the last page is empty, though fewer records came than the total says"]
    );
    let named = Ends { stop: Some(vec![StopSign::Total]), ..ends() };
    let named = Walk::new(offset("query:offset"), url).ends(named).at(2);
    for (total, expected) in [(json!(6), "end"), (json!(2), "end"), (json!(7), go), (json!(null), go)] {
        named.leads(&body(total), expected);
    }
    named.leads(&json!({"items": [1], "total": null}), "go https://h/x?offset=5");
    named.leads(&json!({"items": [], "total": null}), "end");
    named.leads(
        &json!({"items": [], "total": 9}),
        "stop: the next query:offset is this page's own: the stream goes in a circle",
    );
    let short = Ends { stop: Some(vec![StopSign::Short]), ..of_size(2) };
    let short = Walk::new(offset("query:offset"), url).ends(short).at(2);
    short.leads(&json!([1, 2]), go);
    short.leads(&json!([1]), "end");
}

#[test]
fn a_total_beyond_what_fits_is_no_total_of_pages_either() {
    let ends = || Ends { total: Some(told("total")), ..of_size(2) };
    let walk = |url: &str, ordinal| Walk::new(page("query:page", 1), url).ends(ends()).at(ordinal);
    let third = walk("https://h/x?page=3", 2);
    third.leads(&json!({"items": [1], "total": 5}), "end");
    third.leads(&json!({"items": [1, 2], "total": 6}), "go https://h/x?page=4");
    third.leads(&json!({"items": [1], "total": 6}), "go https://h/x?page=4");
    third.leads(&json!({"items": [1], "total": 4}), "go https://h/x?page=4");
    let first = walk("https://h/x", 0);
    first.leads(&json!({"items": [1], "total": 1}), "end");
    first.leads(
        &json!({"items": [1], "total": 5}),
        "stop: the first page has 1 records and not the `size` of a full page, though the total says that there are more: \
         set `size` to what the server gives, or `stop` to what ends the stream",
    );
}

#[test]
fn a_flag_decides_over_counts_and_an_empty_page_with_a_yes_is_torn() {
    let ends = |stop| Ends { has_more: Some(told("more")), total: Some(told("total")), stop, ..of_size(2) };
    let walk = |stop| Walk::new(page("query:page", 1), "https://h/x?page=3").ends(ends(stop)).at(2);
    let flag = walk(None);
    flag.leads(&json!({"items": [1], "more": true, "total": 1}), "go https://h/x?page=4");
    flag.leads(&json!({"items": [1, 2], "more": false, "total": 99}), "end");
    flag.leads(
        &json!({"items": [], "more": true}),
        "stop: the page has no records, yet `has_more` says that there is more: name the one to believe, \
         stop = [\"empty\"] or stop = [\"has_more\"]",
    );
    walk(Some(vec![StopSign::HasMore])).leads(&json!({"items": [], "more": true}), "go https://h/x?page=4");
    walk(Some(vec![StopSign::Empty])).leads(&json!({"items": [], "more": true}), "end");
    walk(Some(vec![StopSign::Empty])).leads(&json!({"items": [1], "more": false}), "go https://h/x?page=4");
}
