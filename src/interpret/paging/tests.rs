//! What one page of an API leads to, as tables.

use serde_json::{Value, json};

use super::{
    Continuation, Cursor, Ends, GraphqlCursor, ItemRange, Keyset, KeysetOrder, Offset, PageNumber, Paginate, StopSign,
};
use crate::interpret::testing::{address, answer};
use crate::interpret::{AnswerAt, ApiMeaning, JsonAt, Next, Records, StreamRules, api_page};
use crate::job::{Call, Extra, Method, Payload, Target};

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
        Next::Go { call, off_origin: false } => format!("go {}", request(call)),
        Next::Go { call, off_origin: true } => format!("go off {}", request(call)),
        Next::Stop(why) => format!("stop: {why}"),
    }
}

fn request(call: &Call) -> String {
    let mut words = match call.extra.method {
        Method::Get => call.url.to_string(),
        Method::Post => format!("POST {}", call.url),
    };
    for (name, value) in &call.extra.headers {
        words.push_str(&format!(" {name}: {value}"));
    }
    match &call.extra.body {
        Some(Payload::Json(body)) => words.push_str(&format!(" {body}")),
        Some(Payload::Form(fields)) => {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
            words.push_str(&format!(" {}", fields.join("&")));
        }
        None => {}
    }
    words
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
        let meaning = api_page(&fetched, &StreamRules::default(), &Call::get(address(URL)), 0);
        assert!(!meaning.items.is_empty(), "the records of the page are kept: {body}");
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

/// Where the pages of a stream lead to, by its rules.
struct Walk {
    rules: StreamRules,
    call: Call,
    page_ordinal: u32,
}

impl Walk {
    fn new(paginate: Paginate, url: &str) -> Self {
        let rules = StreamRules { paginate, ..StreamRules::default() };
        Self { rules, call: Call::get(address(url)), page_ordinal: 0 }
    }

    fn ends(mut self, ends: Ends) -> Self {
        self.rules.ends = ends;
        self
    }

    fn at(mut self, page_ordinal: u32) -> Self {
        self.page_ordinal = page_ordinal;
        self
    }

    fn post(mut self, body: Payload) -> Self {
        self.call.extra = Extra { method: Method::Post, headers: Vec::new(), body: Some(body) };
        self
    }

    fn meaning(&self, headers: &[(&str, &str)], body: &Value) -> ApiMeaning {
        let fetched = answer(self.call.url.as_str(), headers, body.to_string());
        api_page(&fetched, &self.rules, &self.call, self.page_ordinal)
    }

    #[track_caller]
    fn leads(&self, body: &Value, expected: &str) {
        self.leads_by(&[], body, expected);
    }

    #[track_caller]
    fn leads_by(&self, headers: &[(&str, &str)], body: &Value, expected: &str) {
        assert_eq!(in_words(&self.meaning(headers, body).next), expected, "{body}");
    }
}

fn target(text: &str) -> Target {
    Target::parse(text).expect("a test target parses")
}

fn told(text: &str) -> AnswerAt {
    AnswerAt::parse(text).expect("a test place parses")
}

fn cursor(from: &str, send: &str) -> Paginate {
    Paginate::Cursor(Cursor { from: told(from), send: target(send) })
}

fn page(send: &str, start: u64) -> Paginate {
    Paginate::Page(PageNumber { send: target(send), start })
}

fn offset(send: &str) -> Paginate {
    Paginate::Offset(Offset { send: target(send), start: 0 })
}

fn of_size(size: u32) -> Ends {
    Ends { size: Some(size), ..Ends::default() }
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
    assert_eq!((meaning.items.len(), meaning.records_seen), (1, 2));
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

fn keyset(send: &str, order: KeysetOrder) -> Paginate {
    Paginate::Keyset(Keyset { field: at("id"), send: target(send), order })
}

fn ids(ids: &[Value]) -> Value {
    ids.iter().map(|id| json!({"id": id})).collect()
}

#[test]
fn a_keyset_goes_on_from_the_last_value() {
    let first = Walk::new(keyset("query:since", KeysetOrder::Asc), "https://h/x?q=1");
    first.leads(&ids(&[json!(3), json!(7)]), "go https://h/x?q=1&since=7");
    first.leads(
        &ids(&[json!("2024-01-01T00:00:00Z"), json!("2024-01-02T00:00:00+01:00")]),
        "go https://h/x?q=1&since=2024-01-02T00%3A00%3A00%2B01%3A00",
    );
    first.leads(&ids(&[]), "end");
    // How a server sorts text is its own matter.
    first.leads(&ids(&[json!("b"), json!("A"), json!("c")]), "go https://h/x?q=1&since=c");
    let second = Walk::new(keyset("query:since", KeysetOrder::Asc), "https://h/x?since=7").at(1);
    second.leads(&ids(&[json!(7), json!(9)]), "go https://h/x?since=9");
    second.leads(&ids(&[json!(8), json!(9)]), "go https://h/x?since=9");
    second.leads(&ids(&[json!(7)]), "end");
    second.leads(&ids(&[json!(8)]), "go https://h/x?since=8");
    let down = Walk::new(keyset("query:max", KeysetOrder::Desc), "https://h/x?max=7").at(1);
    down.leads(&ids(&[json!(6), json!(2)]), "go https://h/x?max=2");
    let body = Payload::Json(json!({"filter": {"since": 7}}));
    let body = Walk::new(keyset("body:filter.since", KeysetOrder::Asc), "https://h/x").post(body);
    body.leads(&ids(&[json!(7), json!(9)]), r#"go POST https://h/x {"filter":{"since":9}}"#);
    let rows = json!({"columns": ["id", "x"], "rows": [[7, "a"], [8, "b"]]});
    second.leads(&rows, "go https://h/x?since=8");
}

#[test]
fn a_page_of_one_key_stops_a_keyset_unless_the_size_leaves_room() {
    let tie = ids(&[json!(7), json!(7)]);
    for url in ["https://h/x", "https://h/x?since=7"] {
        let walk = || Walk::new(keyset("query:since", KeysetOrder::Asc), url);
        walk().ends(of_size(3)).leads(&tie, "end");
        walk().ends(of_size(2)).leads(
            &tie,
            "stop: a full page of 2 records has id = 7 alone, so that what follows cannot be asked for: ask for larger \
             pages, or page by a field whose values differ",
        );
        walk().leads(
            &tie,
            "stop: all 2 records of the page have id = 7, and whether it is full is not known: set `size` to the records of \
             a full page, or page by a field whose values differ",
        );
    }
}

#[test]
fn a_keyset_out_of_order_stops_the_stream() {
    let walk = |order, url: &str| Walk::new(keyset("query:since", order), url);
    let stop = "which is not the order of the keyset: have the server sort by it, or set `order`";
    walk(KeysetOrder::Asc, "https://h/x")
        .leads(&ids(&[json!(9), json!(10), json!(2)]), &format!("stop: id goes from 10 to 2, {stop}"));
    walk(KeysetOrder::Desc, "https://h/x")
        .leads(&ids(&[json!(2), json!(9)]), &format!("stop: id goes from 2 to 9, {stop}"));
    let deaf = walk(KeysetOrder::Asc, "https://h/x?since=9");
    let heedless = "stop: the page does not get past 9, which was sent: the server does not heed query:since";
    deaf.leads(&ids(&[json!(2), json!(9)]), heedless);
    deaf.leads(&ids(&[json!(2), json!(3)]), &heedless.replace("past 9", "past 3"));
    walk(KeysetOrder::Asc, "https://h/x")
        .leads(&json!([{"id": 1}, {"x": 2}]), "stop: a record lacks id, the field of the keyset");
}

#[test]
fn all_members_of_a_continuation_are_sent_beside_the_own_parameters() {
    let paginate = || Paginate::Params(Continuation { path: at("continue") });
    let first = Walk::new(paginate(), "https://w/api?action=query&generator=allpages&prop=revisions");
    let own = "go https://w/api?action=query&generator=allpages&prop=revisions";
    let body = |more: &Value| json!({"items": [1], "continue": more});
    let revisions = json!({"rvcontinue": "7|9", "continue": "||"});
    first.leads(&body(&revisions), &format!("{own}&continue=%7C%7C&rvcontinue=7%7C9"));
    // What only the answer before named is not sent again, or the revisions of the next pages would be skipped.
    let second = "https://w/api?action=query&generator=allpages&prop=revisions&continue=||&rvcontinue=7|9";
    let second = Walk::new(paginate(), second).at(1);
    let pages = json!({"gapcontinue": "B", "continue": "gapcontinue||"});
    second.leads(&body(&pages), &format!("{own}&continue=gapcontinue%7C%7C&gapcontinue=B"));
    second.leads(&json!({"items": [1], "batchcomplete": true}), "end");
    second.leads(
        &json!({"items": [1], "batchcomplete": true, "continue": pages}),
        &format!("{own}&continue=gapcontinue%7C%7C&gapcontinue=B"),
    );
    // A request of the user's own with this parameter keeps all that stands behind it.
    let asked = Walk::new(paginate(), "https://w/api?action=query&continue=&list=allpages");
    asked.leads(
        &body(&json!({"apcontinue": "B", "continue": "-||"})),
        "go https://w/api?action=query&list=allpages&continue=-%7C%7C&apcontinue=B",
    );
    second.leads(
        &body(&json!("token")),
        concat!(
            "stop: a text is at `paginate.path` (continue) and not an object: ",
            "a single value is paged by type = \"cursor\""
        ),
    );
    let form = |fields: &[(&str, &str)]| {
        Payload::Form(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    };
    let posted = form(&[("titles", "A"), ("continue", "||"), ("rvcontinue", "7")]);
    let posted = Walk::new(paginate(), "https://w/api").post(posted).at(1);
    posted.leads(
        &body(&json!({"plcontinue": 3, "continue": "||"})),
        "go POST https://w/api titles=A&continue=||&plcontinue=3",
    );
    let circle = Walk::new(paginate(), "https://w/api?continue=-%7C%7C&a=1").at(1);
    circle.leads(
        &body(&json!({"a": 1, "continue": "-||"})),
        "stop: the next continue is this page's own: the stream goes in a circle",
    );
}

#[test]
fn a_range_goes_on_behind_the_last_record_that_the_answer_names() {
    let paginate = |unit: &str| Paginate::Range(ItemRange { unit: unit.to_owned() });
    let walk = |unit: &str, range: &str, ends: Ends| {
        let mut walk = Walk::new(paginate(unit), "https://h/x").ends(ends);
        walk.call.set(&target("header:range"), &json!(range));
        walk
    };
    let case = |walk: &Walk, said: &str, records: &Value, expected: &str| {
        walk.leads_by(&[("content-range", said)], records, expected);
    };
    let open = walk("items", "items=4-", Ends::default());
    case(&open, "items 4-5/9", &json!([1, 2]), "go https://h/x range: items=6-");
    case(&open, "items 4-5/6", &json!([1, 2]), "end");
    case(&open, "items 4-5/*", &json!([1, 2]), "go https://h/x range: items=6-");
    case(&open, "items */4", &json!([]), "end");
    open.leads(&json!([]), "end");
    open.leads(
        &json!([1]),
        "stop: the answer has no Content-Range, so the server does not page by Range: if this is all that there is, set \
         paginate = \"none\"",
    );
    case(&open, "items 0-1/9", &json!([1, 2]), "stop: the records from 4 on were asked for, and those from 0 on came");
    case(&open, "pages two", &json!([1, 2]), "stop: its Content-Range cannot be read: \"pages two\"");
    let bare = walk("", "4-5", of_size(2));
    case(&bare, "4-5/*", &json!([1, 2]), "go https://h/x range: 6-7");
    case(&bare, "4-4/*", &json!([1]), "end");
    // An estimate of the planner.
    case(&bare, "4-5/5", &json!([1, 2]), "go https://h/x range: 6-7");
    case(&bare, "4-4/5", &json!([1]), "end");

    let mut past = answer("https://h/x", &[("content-range", "items */4")], "no JSON");
    past.status = 416;
    let meaning = api_page(&past, &open.rules, &open.call, 2);
    assert_eq!((meaning.next, meaning.records_seen), (Next::End, 0));
    let first = StreamRules { paginate: paginate("items"), ends: of_size(25), ..StreamRules::default() };
    let first = first.first_call(Call::get(address("https://h/x")));
    assert_eq!(first.value_at(&target("header:range")), Some(json!("items=0-24")));
}

#[test]
fn a_connection_is_walked_by_its_page_info() {
    let graphql = |path: Option<&str>| {
        let page_info = path.map(at);
        let paginate = Paginate::Graphql(GraphqlCursor { page_info, variable: "endCursor".to_owned() });
        let mut walk = Walk::new(paginate, "https://h/graphql");
        walk.rules.records = Records::parse("$.data..nodes[*]").expect("a test place parses");
        walk.post(Payload::Json(json!({"query": "{x}", "variables": {"n": 2, "endCursor": null}})))
    };
    let info = |more: bool, end: &str| json!({"hasNextPage": more, "endCursor": end});
    let body = |info: Value| json!({"data": {"r": {"issues": {"nodes": [{"id": 1}], "pageInfo": info}}}});
    let go = r#"go POST https://h/graphql {"query":"{x}","variables":{"endCursor":"c1","n":2}}"#;
    graphql(None).leads(&body(info(true, "c1")), go);
    graphql(Some("data.r.issues.pageInfo")).leads(&body(info(true, "c1")), go);
    graphql(None).leads(&body(info(false, "c1")), "end");
    let ask = "ask for pageInfo { hasNextPage endCursor } in the query";
    graphql(None).leads(
        &body(json!({"hasNextPage": true})),
        &format!("stop: hasNextPage is true, but there is no endCursor: {ask}"),
    );
    graphql(None).leads(&body(json!(null)), &format!("stop: the answer has no pageInfo: {ask}"));
    graphql(Some("data.x")).leads(&body(info(true, "c")), "stop: no pageInfo is at data.x: check `paginate.page_info`");
    let two = json!({"data": {
        "a": {"nodes": [1], "pageInfo": info(true, "a1")}, "b": {"nodes": [2], "pageInfo": info(true, "b1")},
    }});
    graphql(None).leads(
        &two,
        "stop: several lists of the answer go on: set `paginate.page_info` to the pageInfo of the one to walk",
    );
    graphql(Some("data.b.pageInfo")).leads(&two, &go.replace("c1", "b1"));
    let mut get = graphql(None);
    get.call.extra = Extra::default();
    get.leads(&body(info(true, "c1")), "stop: the request has no JSON body whose variables could take the cursor");
}

#[test]
fn what_a_graphql_answer_leaves_out_is_told() {
    let paginate = Paginate::Graphql(GraphqlCursor { page_info: None, variable: "endCursor".to_owned() });
    let mut walk = Walk::new(paginate, "https://h/graphql").post(Payload::Json(json!({"query": "{x}"})));
    walk.rules.records = Records::parse("data.issues.nodes").expect("a test place parses");
    let inner = json!({"nodes": [], "pageInfo": {"hasNextPage": true, "endCursor": "x"}});
    let body = json!({
        "data": {"issues": {
            "nodes": [{"id": 1, "comments": inner}, null, {"id": 2, "comments": inner}],
            "pageInfo": {"hasNextPage": false},
        }},
        "errors": [{"type": "NOT_FOUND"}],
    });
    let meaning = walk.meaning(&[], &body);
    assert_eq!((meaning.items.len(), meaning.records_seen, meaning.next), (2, 3, Next::End));
    assert_eq!(
        meaning.notes,
        [
            r#"the answer has errors beside its data: [{"type":"NOT_FOUND"}]"#,
            "2 lists within the records go on beyond what came: pull those as a stream of their own",
            "1 records are null and left out",
        ]
    );
    let refused = json!({"data": null, "errors": [{"type": "RATE_LIMITED"}]});
    walk.leads(&refused, r#"stop: the answer has no records but says errors: [{"type":"RATE_LIMITED"}]"#);
}

#[test]
fn a_next_page_at_another_origin_gets_neither_our_body_nor_our_headers() {
    let link = || Walk::new(Paginate::Link { rel: "next".to_owned() }, "https://h/x");
    let next = |walk: &Walk, to: &str| walk.meaning(&[("link", &format!("<{to}>; rel=next"))], &json!([1])).next;
    let mut get = link();
    get.call.set(&target("header:x-cursor"), &json!("t"));
    assert_eq!(in_words(&next(&get, "/y")), "go https://h/y x-cursor: t");
    assert_eq!(in_words(&next(&get, "https://other/y")), "go off https://other/y");
    let post = link().post(Payload::Json(json!({"q": 1})));
    assert_eq!(in_words(&next(&post, "/y")), r#"go POST https://h/y {"q":1}"#);
    assert_eq!(
        in_words(&next(&post, "https://other/y")),
        "stop: the next address lies at another origin, where the body of this stream's requests must not go: https://other/y"
    );
}

#[test]
fn the_size_of_a_page_is_sent_with_the_first_request() {
    let rules = StreamRules { ends: of_size(50), size_send: Some(target("query:limit")), ..StreamRules::default() };
    let first = rules.first_call(Call::get(address("https://h/x?limit=5&q=1")));
    assert_eq!(first.url.as_str(), "https://h/x?q=1&limit=50");
    let rules = StreamRules { size_send: Some(target("body:page.size")), ..rules };
    let first = rules.first_call(Call::get(address("https://h/x")));
    assert_eq!(first.extra.body, Some(Payload::Json(json!({"page": {"size": 50}}))));
    assert_eq!(StreamRules::default().first_call(Call::get(address(URL))), Call::get(address(URL)));
}

#[test]
fn an_integer_of_more_than_64_bits_keeps_its_digits() {
    let id = "18446744073709551617";
    let rules = StreamRules { paginate: cursor("next", "query:after"), ..StreamRules::default() };
    let fetched = answer("https://h/x", &[], format!("{{\"items\": [{{\"id\": {id}}}], \"next\": {id}}}"));
    let meaning = api_page(&fetched, &rules, &Call::get(fetched.url.clone()), 0);
    assert_eq!(meaning.items[0].data, json!({"id": id}));
    assert_eq!(in_words(&meaning.next), format!("go https://h/x?after={id}"));
    assert_eq!(meaning.notes, ["2 whole numbers of more than 64 bits are stored as texts, so that no digit is lost"]);
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
