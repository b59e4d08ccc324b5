//! What one page of an API leads to, as tables.

use serde_json::{Value, json};

use super::testing::{address, answer};
use super::{CursorFrom, JsonAt, Next, Paginate, StreamRules, api_page};
use crate::job::Call;

/// One page: its address, headers, body and number, and what comes after it in one line.
struct Case<'a> {
    paginate: &'a Paginate,
    url: &'a str,
    headers: &'a [(&'a str, &'a str)],
    page_ordinal: u32,
}

impl Case<'_> {
    #[track_caller]
    fn leads(&self, body: &Value, expected: &str) {
        let rules = StreamRules { paginate: self.paginate.clone(), ..StreamRules::default() };
        let fetched = answer(self.url, self.headers, body.to_string());
        let meaning = api_page(&fetched, &rules, &Call::get(address(self.url)), self.page_ordinal);
        assert_eq!(in_words(&meaning.next), expected, "{body}");
    }
}

fn in_words(next: &Next) -> String {
    match next {
        Next::End => "end".to_owned(),
        Next::Go { call, off_origin: false } => format!("go {}", call.url),
        Next::Go { call, off_origin: true } => format!("go off {}", call.url),
        Next::Stop(why) => format!("stop: {why}"),
    }
}

fn at(path: &str) -> JsonAt {
    JsonAt::parse(path).expect("a test place parses")
}

const URL: &str = "https://api.example.org/v1/items?size=2&page=1";

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
them: set type = \"cursor\", path = \"next\" and its param; \"none\" takes one page";

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
        let meaning = api_page(&fetched, &StreamRules::default(), &Call::get(address(URL)), 0);
        assert!(!meaning.items.is_empty(), "the records of the page are kept: {body}");
        let words = in_words(&meaning.next);
        let words = words.strip_prefix("stop: there are more pages (").expect("it is a stop");
        let (sign, setting) =
            words.split_once("), but `paginate` does not say how to ask for them: ").expect("it says why");
        table.extend([sign, " -> ", setting.trim_end_matches("; \"none\" takes one page"), "\n"]);
    }
    insta::assert_snapshot!(table, @r#"
    a cursor at next_cursor -> set type = "cursor", path = "next_cursor" and its param
    a cursor at next -> set type = "cursor", path = "next" and its param
    a cursor at meta.next_token -> set type = "cursor", path = "meta.next_token" and its param
    a cursor of several members at LastEvaluatedKey -> such a cursor cannot be sent yet
    a cursor of several members at continue -> such a cursor cannot be sent yet
    has_more is true -> set type = "cursor" with has_more = "has_more", or "page" or "offset"
    pageInfo.hasNextPage is true -> set type = "cursor" with has_more = "pageInfo.hasNextPage", or "page" or "offset"
    total_pages is 3 -> set type = "page", total_pages = "total_pages" and its param
    total is 17, more records than came -> set type = "page" or "offset" and its param
    the header x-next-page -> set type = "cursor", header = "x-next-page" and its param
    the header x-total-count is 9, more records than came -> set type = "page" or "offset" and its param
    the header x-wp-totalpages is 9 -> set type = "page" and its param
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
    let paginate = Paginate::Cursor { from: CursorFrom::Body(at("next")), param: "after".into(), has_more: None };
    let first = Case { paginate: &paginate, url: "https://h/x?a=1&b=%20c", headers: &[], page_ordinal: 0 };
    first.leads(&json!({"items": [1], "next": "a/b+c="}), "go https://h/x?a=1&b=%20c&after=a%2Fb%2Bc%3D");
    first.leads(&json!({"items": [1], "next": 17}), "go https://h/x?a=1&b=%20c&after=17");
    first.leads(&json!({"items": [1], "next": null}), "end");
    first.leads(
        &json!({"items": [1], "next": {"id": 1}}),
        "stop: the cursor at next is an object, which cannot be sent as the query parameter `after`",
    );
    let later = Case { paginate: &paginate, url: "https://h/x?after=A&a=1", headers: &[], page_ordinal: 3 };
    later.leads(&json!({"items": [1], "next": "B"}), "go https://h/x?a=1&after=B");
    later.leads(&json!({"items": [], "next": "B"}), "go https://h/x?a=1&after=B");
    later.leads(&json!({"items": [], "next": "A"}), "end");
    let circle = Case { paginate: &paginate, url: "https://h/x?a=1&after=A", headers: &[], page_ordinal: 3 };
    circle.leads(
        &json!({"items": [1], "next": "A"}),
        "stop: the next `after` is this page's own: the stream goes in a circle",
    );
}

#[test]
fn a_flag_decides_over_the_cursor() {
    let from = CursorFrom::Body(at("$.items[-1].id"));
    let paginate = Paginate::Cursor { from, param: "since".into(), has_more: Some(at("more")) };
    let case = Case { paginate: &paginate, url: "https://h/x", headers: &[], page_ordinal: 0 };
    case.leads(&json!({"items": [{"id": 1}, {"id": 2}], "more": true}), "go https://h/x?since=2");
    case.leads(&json!({"items": [{"id": 1}, {"id": 2}], "more": false}), "end");
    case.leads(&json!({"items": [{"id": 1}, {"id": 2}]}), "end");
    case.leads(
        &json!({"items": [], "more": 1}),
        "stop: the answer says that there is more but has no cursor: check `paginate.path`",
    );
}

#[test]
fn a_cursor_may_come_in_a_header() {
    let paginate =
        Paginate::Cursor { from: CursorFrom::Header("Next-Page".into()), param: "_token".into(), has_more: None };
    let case = |value: &str, expected: &str| {
        let headers = [("next-page", value)];
        Case { paginate: &paginate, url: "https://h/x", headers: &headers, page_ordinal: 0 }
            .leads(&json!([1]), expected);
    };
    case("https://h/x?_token=abc", "go https://h/x?_token=abc");
    case("abc", "go https://h/x?_token=abc");
    case("", "end");
    Case { paginate: &paginate, url: "https://h/x", headers: &[], page_ordinal: 0 }.leads(&json!([1]), "end");
}

#[test]
fn pages_are_counted_by_raw_records() {
    let page =
        |size, total: Option<&str>| Paginate::Page { param: "page".into(), start: 1, size, total_pages: total.map(at) };
    let open = page(None, None);
    let first = Case { paginate: &open, url: "https://h/x?q=1", headers: &[], page_ordinal: 0 };
    first.leads(&json!([1]), "go https://h/x?q=1&page=2");
    first.leads(&json!([]), "end");
    let sized = page(Some(2), None);
    let third = Case { paginate: &sized, url: "https://h/x?page=3", headers: &[], page_ordinal: 2 };
    third.leads(&json!([1, 2]), "go https://h/x?page=4");
    third.leads(&json!([1]), "end");
    let total = page(None, Some("pages"));
    let third = Case { paginate: &total, url: "https://h/x?page=3", headers: &[], page_ordinal: 2 };
    third.leads(&json!({"items": [1], "pages": 4}), "go https://h/x?page=4");
    third.leads(&json!({"items": [1], "pages": "3"}), "end");
    third.leads(&json!({"items": [1], "pages": null}), "go https://h/x?page=4");
    let from_zero = Paginate::Page { param: "p".into(), start: 0, size: None, total_pages: Some(at("pages")) };
    let case = Case { paginate: &from_zero, url: "https://h/x?p=1", headers: &[], page_ordinal: 1 };
    case.leads(&json!({"items": [1], "pages": 2}), "end");
    case.leads(&json!({"items": [1], "pages": 3}), "go https://h/x?p=2");
}

#[test]
fn an_offset_moves_on_by_what_came() {
    let offset = Paginate::Offset { param: "offset".into(), start: 0, size: None, total: Some(at("total")) };
    let case = Case { paginate: &offset, url: "https://h/x?limit=1000&offset=100", headers: &[], page_ordinal: 1 };
    case.leads(&json!({"items": [1, 2, 3], "total": 104}), "go https://h/x?limit=1000&offset=103");
    case.leads(&json!({"items": [1, 2, 3], "total": 103}), "end");
    case.leads(&json!({"items": [], "total": 200}), "end");
    let first = Case { paginate: &offset, url: "https://h/x", headers: &[], page_ordinal: 0 };
    first.leads(&json!({"items": [1, 2, 3]}), "go https://h/x?offset=3");
}

#[test]
fn one_page_is_all_when_the_user_says_so() {
    Case { paginate: &Paginate::None, url: URL, headers: &[("link", "<?page=2>; rel=next")], page_ordinal: 0 }
        .leads(&json!({"items": [1], "next": "/p2"}), "end");
}

#[test]
fn the_cap_on_pages_wins_over_the_answer() {
    let rules = StreamRules { pages_max: 3, ..StreamRules::default() };
    let fetched = answer(URL, &[("link", "<?page=9>; rel=next")], "[1]");
    let second = api_page(&fetched, &rules, &Call::get(fetched.url.clone()), 1);
    assert_eq!(in_words(&second.next), "go https://api.example.org/v1/items?page=9");
    let third = api_page(&fetched, &rules, &Call::get(fetched.url.clone()), 2);
    assert_eq!((in_words(&third.next).as_str(), third.items.len()), ("end", 1));
    assert_eq!(third.notes, ["ended by pages_max = 3: there is more"]);
}

#[test]
fn an_answer_that_is_not_json_stops_the_stream() {
    let mut fetched = answer(URL, &[("content-type", "text/html")], "<html>");
    let next = |fetched: &_| in_words(&api_page(fetched, &StreamRules::default(), &Call::get(address(URL)), 0).next);
    assert_eq!(next(&fetched), "stop: the answer is not JSON: expected value at line 1 column 1 (text/html)");
    fetched.body = "[".repeat(100_000).into();
    assert_eq!(
        next(&fetched),
        "stop: the answer is not JSON: recursion limit exceeded at line 1 column 128 (text/html)"
    );
    fetched.body_end = crate::exchange::BodyEnd::TooLarge { bytes_max: 9 };
    assert_eq!(
        next(&fetched),
        "stop: the answer is longer than the cap of 9 bytes: raise it, or ask for smaller pages"
    );
}

#[test]
fn json_is_read_past_a_byte_order_mark_and_in_utf_16() {
    let rules = StreamRules::default();
    let text = "[{\"a\": \"é\"}]";
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for body in [format!("\u{feff}{text}").into_bytes(), utf16] {
        let fetched = answer(URL, &[], body);
        let meaning = api_page(&fetched, &rules, &Call::get(fetched.url.clone()), 0);
        assert_eq!((meaning.items[0].data.clone(), meaning.records_seen), (json!({"a": "é"}), 1));
        assert_eq!(meaning.next, Next::End);
    }
}
