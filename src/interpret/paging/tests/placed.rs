//! Pages by the last key, by continuation, by range, by GraphQL; and what holds for all of them.

use serde_json::{Value, json};

use super::super::{Connection, Continuation, Ends, GraphqlCursor, ItemRange, Keyset, KeysetOrder, NestedAt, Paginate};
use super::{Case, URL, Walk, at, cursor, in_words, of_size, target};
use crate::interpret::testing::{address, answer};
use crate::interpret::{Next, Records, StreamRules, api_page};
use crate::job::{Call, Extra, Params, Payload};

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
    let meaning = api_page(&past, &open.rules, &open.call, 2, &Params::new());
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
    assert_eq!((meaning.read.items.len(), meaning.records_seen, meaning.next), (2, 3, Next::End));
    assert_eq!(
        meaning.notes,
        [
            r#"the answer has errors beside its data: [{"type":"NOT_FOUND"}]"#,
            "1 records are null and left out",
            "2 lists within the records go on beyond what came: pull those as a stream of their own, with `nested`",
        ]
    );
    walk.rules.nested = vec![NestedAt::new(at("comments"), &Records::Auto)];
    let meaning = walk.meaning(&[], &body);
    assert_eq!(meaning.notes.len(), 2, "a stream of its own brings the rest");
    assert_eq!(meaning.read.items[1].data, json!({"id": 2}));
    let connection = Connection { records: vec![], cursor: Some(json!("x")) };
    assert_eq!(meaning.read.nested, [[Some(connection.clone())], [Some(connection)]]);
    walk.rules.nested.clear();
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
    let meaning = api_page(&fetched, &rules, &Call::get(fetched.url.clone()), 0, &Params::new());
    assert_eq!(meaning.read.items[0].data, json!({"id": id}));
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
    let second = api_page(&fetched, &rules, &Call::get(fetched.url.clone()), 1, &Params::new());
    assert_eq!(in_words(&second.next), "go https://api.example.org/v1/items?page=9");
    let third = api_page(&fetched, &rules, &Call::get(fetched.url.clone()), 2, &Params::new());
    assert_eq!((in_words(&third.next).as_str(), third.read.items.len()), ("end", 1));
    assert_eq!(third.notes, ["ended by pages_max = 3: there is more"]);
}

#[test]
fn an_answer_that_is_not_json_stops_the_stream() {
    let mut fetched = answer(URL, &[("content-type", "text/html")], "<html>");
    let next = |fetched: &_| {
        in_words(&api_page(fetched, &StreamRules::default(), &Call::get(address(URL)), 0, &Params::new()).next)
    };
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
        let meaning = api_page(&fetched, &rules, &Call::get(fetched.url.clone()), 0, &Params::new());
        assert_eq!((meaning.read.items[0].data.clone(), meaning.records_seen), (json!({"a": "é"}), 1));
        assert_eq!(meaning.next, Next::End);
    }
}
