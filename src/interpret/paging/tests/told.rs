//! Pages that say where they lead: links, next addresses, cursors, and what is told of itself.

use serde_json::{Value, json};

use super::super::{Ends, Paginate, StopSign};
use super::{Case, URL, Walk, at, cursor, in_words, of_size, told};
use crate::interpret::testing::{address, answer};
use crate::interpret::{StreamRules, api_page};
use crate::job::{Call, Params, Payload};

#[track_caller]
fn auto(headers: &[(&str, &str)], body: &Value, expected: &str) {
    Case { paginate: &Paginate::Auto, url: URL, headers, page_ordinal: 0 }.leads(body, expected);
}

#[test]
fn auto_follows_what_says_where_it_leads() {
    let link = |target: &str| format!("<{target}>; rel=\"next\"");
    auto(&[("link", &link("/v1/items?page=2"))], &json!([1]), "go https://api.example.org/v1/items?page=2");
    auto(&[("link", &link("?page=2"))], &json!([1]), "go https://api.example.org/v1/items?page=2");
    auto(&[("link", &link("https://evil.example/x"))], &json!([1]), "go off https://evil.example/x");
    auto(&[("link", &link("http://api.example.org/v1"))], &json!([1]), "go off http://api.example.org/v1");
    auto(
        &[("link", "<?page=1>; rel=\"next\"; results=\"false\""), ("link", "<?page=0>; rel=prev")],
        &json!([1]),
        "end",
    );
    for body in [
        json!({"items": [], "next": "/p2"}),
        json!({"items": [], "next_url": "https://api.example.org/p2"}),
        json!({"items": [], "links": {"next": "/p2"}}),
        json!({"items": [], "_links": {"next": {"href": "/p2"}}}),
        json!({"items": [], "links": [{"rel": "self", "href": "/p1"}, {"rel": "next", "href": "/p2"}]}),
        json!({"items": [], "@odata.nextLink": "/p2"}),
        json!({"items": [], "meta": {"pagination": {"next_page_url": "/p2"}}}),
        json!({"rows": [], "columns": [], "next": "2", "next_url": "/p2"}),
    ] {
        auto(&[], &body, "go https://api.example.org/p2");
    }
    auto(&[], &json!({"items": [], "next": "?page=2"}), "go https://api.example.org/v1/items?page=2");
    auto(&[], &json!({"items": [], "next": "javascript:x"}), STOP_AT_CURSOR_NEXT);
}

const STOP_AT_CURSOR_NEXT: &str = "stop: there are more pages (a cursor at next), but `paginate` does not say how to ask for \
them: set type = \"cursor\", path = \"next\" and its send; \"none\" takes one page";

#[test]
fn auto_ends_where_the_answer_says_so_or_nothing_hints_at_more() {
    auto(&[], &json!([1, 2]), "end");
    auto(&[], &json!({"items": [1, 2]}), "end");
    auto(&[], &json!({"items": [1], "next": null, "total": 100}), "end");
    auto(&[], &json!({"items": [1], "next": ""}), "end");
    auto(&[], &json!({"items": [1], "links": {"next": null, "prev": "/p1"}}), "end");
    auto(&[], &json!({"items": [1], "has_more": false, "next_cursor": "abc"}), "end");
    auto(&[], &json!({"items": [1, 2], "total": 2, "pages": 1}), "end");
    auto(&[("link", "</p1>; rel=first, </p3>; rel=last")], &json!([1]), "end");
    let late = Case { paginate: &Paginate::Auto, url: URL, headers: &[], page_ordinal: 4 };
    late.leads(&json!({"items": [1], "total": 100, "total_pages": 5}), "end");
}

#[test]
fn auto_never_takes_the_first_page_for_the_whole() {
    let mut table = String::new();
    for (headers, body) in [
        (vec![], json!({"items": [1], "next_cursor": "abc"})),
        (vec![], json!({"items": [1], "next": 2})),
        (vec![], json!({"items": [1], "meta": {"next_token": "t"}})),
        (vec![], json!({"items": [1], "LastEvaluatedKey": {"id": 1}})),
        (vec![], json!({"query": {"pages": []}, "items": [1], "continue": {"apcontinue": "B", "continue": "-||"}})),
        (vec![], json!({"items": [1], "has_more": true, "next": null})),
        (vec![], json!({"items": [1], "pageInfo": {"hasNextPage": true}})),
        (vec![], json!({"items": [1], "page": 1, "total_pages": 3})),
        (vec![], json!({"items": [1], "total": "17"})),
        (vec![("X-Next-Page", "2")], json!([1])),
        (vec![("X-Total-Count", "9")], json!([1])),
        (vec![("X-WP-TotalPages", "9")], json!([1])),
    ] {
        let fetched = answer(URL, &headers, body.to_string());
        let meaning = api_page(&fetched, &StreamRules::default(), &Call::get(address(URL)), 0, &Params::new());
        assert!(!meaning.read.items.is_empty(), "the records of the page are kept: {body}");
        let words = in_words(&meaning.next);
        let words = words.strip_prefix("stop: there are more pages (").expect("it is a stop");
        let (sign, setting) =
            words.split_once("), but `paginate` does not say how to ask for them: ").expect("it says why");
        table.extend([sign, " -> ", setting.trim_end_matches("; \"none\" takes one page"), "\n"]);
    }
    insta::assert_snapshot!(table, @r#"
    a cursor at next_cursor -> set type = "cursor", path = "next_cursor" and its send
    a cursor at next -> set type = "cursor", path = "next" and its send
    a cursor at meta.next_token -> set type = "cursor", path = "meta.next_token" and its send
    a cursor of several members at LastEvaluatedKey -> set type = "cursor", path = "LastEvaluatedKey" and its send, most likely "body:NAME"
    parameters at continue -> set type = "params", path = "continue"
    has_more is true -> set type = "cursor" with has_more = "has_more", or "page" or "offset"
    pageInfo.hasNextPage is true -> set type = "graphql"
    total_pages is 3 -> set type = "page", total_pages = "total_pages" and its send
    total is 17, more records than came -> set type = "page" or "offset" and its send
    the header x-next-page -> set type = "cursor", header = "x-next-page" and its send
    the header x-total-count is 9, more records than came -> set type = "page" or "offset" and its send
    the header x-wp-totalpages is 9 -> set type = "page", total_pages = "header:x-wp-totalpages" and its send
    "#);
}

#[test]
fn a_next_address_in_the_body_is_followed_to_its_end() {
    let next_url = |path: &str| Paginate::NextUrl { path: at(path) };
    let paginate = next_url("['@odata.nextLink']");
    let case = Case { paginate: &paginate, url: URL, headers: &[], page_ordinal: 1 };
    case.leads(
        &json!({"value": [1], "items": [], "@odata.nextLink": "items?$skip=2#x"}),
        "go https://api.example.org/v1/items?$skip=2",
    );
    for end in [json!(null), json!(""), json!(" "), json!(false)] {
        case.leads(&json!({"items": [], "@odata.nextLink": end}), "end");
    }
    case.leads(&json!({"items": []}), "end");
    case.leads(
        &json!({"items": [], "@odata.nextLink": 7}),
        "stop: a number at `paginate.path` (['@odata.nextLink']) is not an address",
    );
    case.leads(
        &json!({"items": [], "@odata.nextLink": "ftp://x/y"}),
        "stop: the next address is not http: \"ftp://x/y\"",
    );
    case.leads(
        &json!({"items": [], "@odata.nextLink": "http://["}),
        "stop: the next address cannot be read: \"http://[\"",
    );
    case.leads(
        &json!({"items": [1], "@odata.nextLink": URL}),
        "stop: the next address is this page's own: the stream goes in a circle",
    );
}

#[test]
fn a_cursor_is_sent_back_in_the_query() {
    let after = || cursor("next", "query:after");
    let first = Walk::new(after(), "https://h/x?a=1&b=%20c");
    first.leads(&json!({"items": [1], "next": "a/b+c="}), "go https://h/x?a=1&b=%20c&after=a%2Fb%2Bc%3D");
    first.leads(&json!({"items": [1], "next": 17}), "go https://h/x?a=1&b=%20c&after=17");
    first.leads(&json!({"items": [1], "next": {"id": 1}}), "go https://h/x?a=1&b=%20c&after=%7B%22id%22%3A1%7D");
    for end in [json!(null), json!(""), json!(false), json!(0), json!({}), json!([])] {
        first.leads(&json!({"items": [1], "next": end}), "end");
    }
    first.leads(&json!({"items": [1], "next": true}), "stop: the cursor at next is a flag, which is no cursor");
    let later = Walk::new(after(), "https://h/x?after=A&a=1").at(3);
    later.leads(&json!({"items": [1], "next": "B"}), "go https://h/x?a=1&after=B");
    later.leads(&json!({"items": [], "next": "B"}), "go https://h/x?a=1&after=B");
    later.leads(&json!({"items": [], "next": "A"}), "end");
    let circle = Walk::new(after(), "https://h/x?a=1&after=A").at(3);
    circle.leads(
        &json!({"items": [1], "next": "A"}),
        "stop: the next query:after is this page's own: the stream goes in a circle",
    );
}

#[test]
fn a_cursor_goes_into_the_body_as_it_is() {
    let query = || Payload::Json(json!({"TableName": "t", "page": {"size": 2}}));
    let walk = Walk::new(cursor("LastEvaluatedKey", "body:ExclusiveStartKey"), "https://h/x").post(query());
    walk.leads(
        &json!({"Items": [1], "items": [], "LastEvaluatedKey": {"id": {"S": "k"}}}),
        r#"go POST https://h/x {"ExclusiveStartKey":{"id":{"S":"k"}},"TableName":"t","page":{"size":2}}"#,
    );
    let sort = Walk::new(cursor("$.items[-1].sort", "body:search_after"), "https://h/x").post(query());
    sort.leads(
        &json!({"items": [{"sort": [1, "a"]}]}),
        r#"go POST https://h/x {"TableName":"t","page":{"size":2},"search_after":[1,"a"]}"#,
    );
    let number = Walk::new(cursor("next", "body:page.after"), "https://h/x").post(query());
    number.leads(
        &json!({"items": [1], "next": 7}),
        r#"go POST https://h/x {"TableName":"t","page":{"after":7,"size":2}}"#,
    );
    let form = Payload::Form(vec![("q".to_owned(), "x".to_owned())]);
    let form = Walk::new(cursor("next", "body:cursor"), "https://h/x").post(form);
    form.leads(&json!({"items": [1], "next": "t&1"}), "go POST https://h/x q=x&cursor=t&1");
    let header = Walk::new(cursor("next", "header:X-Cursor"), "https://h/x");
    header.leads(&json!({"items": [1], "next": "t"}), "go https://h/x x-cursor: t");
}

#[test]
fn a_flag_decides_over_the_cursor() {
    let ends = || Ends { has_more: Some(told("more")), ..Ends::default() };
    let walk = Walk::new(cursor("$.items[-1].id", "query:since"), "https://h/x").ends(ends());
    walk.leads(&json!({"items": [{"id": 1}, {"id": 2}], "more": true}), "go https://h/x?since=2");
    walk.leads(&json!({"items": [{"id": 1}, {"id": 2}], "more": false}), "end");
    walk.leads(&json!({"items": [{"id": 1}, {"id": 2}]}), "end");
    let notes = walk.meaning(&[], &json!({"items": [{"id": 1}]})).notes;
    assert_eq!(notes, ["nothing is at `has_more` (more): taken for a no"]);
    let lost = "stop: `has_more` says that there is more, but nothing in the answer leads there: check `paginate`";
    walk.leads(&json!({"items": [], "more": 1}), lost);
    let link = Walk::new(Paginate::Link { rel: "next".to_owned() }, "https://h/x").ends(ends());
    link.leads(&json!({"items": [1], "more": true}), lost);
    // An export that always names a next address, and says in another place that this was all.
    let always = Walk::new(Paginate::NextUrl { path: at("next") }, "https://h/x").ends(ends());
    always.leads(&json!({"items": [1], "next": "/y", "more": true}), "go https://h/y");
    always.leads(&json!({"items": [1], "next": "/y", "more": false}), "end");
}

#[test]
fn a_cursor_that_never_ends_is_ended_by_what_the_user_names() {
    let walk = |sign| {
        let ends = Ends { stop: Some(vec![sign]), ..of_size(2) };
        Walk::new(cursor("next", "query:after"), "https://h/x").ends(ends)
    };
    walk(StopSign::Empty).leads(&json!({"items": [], "next": "B"}), "end");
    walk(StopSign::Empty).leads(&json!({"items": [1], "next": "B"}), "go https://h/x?after=B");
    walk(StopSign::Short).leads(&json!({"items": [1], "next": "B"}), "end");
    walk(StopSign::Short).leads(&json!({"items": [1, 2], "next": "B"}), "go https://h/x?after=B");
    walk(StopSign::Short).leads(&json!({"items": [1, 2]}), "end");
}

#[test]
fn a_cursor_may_come_in_a_header() {
    let walk = Walk::new(cursor("header:Next-Page", "query:_token"), "https://h/x");
    let case = |value: &str, expected: &str| walk.leads_by(&[("next-page", value)], &json!([1]), expected);
    case("https://h/x?_token=abc", "go https://h/x?_token=abc");
    case("https://evil.example/x", "go off https://evil.example/x");
    case("abc", "go https://h/x?_token=abc");
    case("", "end");
    walk.leads(&json!([1]), "end");
}
