//! Whole walks against servers that page in each way: every record comes, in as few requests as can be.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Continuation, Cursor, Ends, ItemRange, Keyset, KeysetOrder, Offset, PageNumber, Paginate, StopSign};
use crate::exchange::Fetched;
use crate::interpret::testing::{address, answer};
use crate::interpret::{AnswerAt, JsonAt, Next, StreamRules, api_page};
use crate::job::{Call, Extra, Method, Params, Payload, Target};

/// The ids that a walk finds and the requests that it takes; the error is what stopped it.
fn walk(rules: &StreamRules, own: Call, serve: impl Fn(&Call) -> Fetched) -> Result<(Vec<u64>, u32), String> {
    let mut call = rules.first_call(own);
    let mut ids = Vec::new();
    for page_ordinal in 0..1_000 {
        let meaning = api_page(&serve(&call), rules, &call, page_ordinal, &Params::new());
        ids.extend(meaning.read.items.iter().filter_map(|item| item.data["id"].as_u64()));
        match meaning.next {
            Next::End => return Ok((ids, page_ordinal + 1)),
            Next::Go { call: next, off_origin: false } => call = *next,
            Next::Go { off_origin: true, .. } => return Err("it left its origin".to_owned()),
            Next::Stop(why) => return Err(why),
        }
    }
    Err("it goes on for ever".to_owned())
}

fn at(path: &str) -> JsonAt {
    JsonAt::parse(path).expect("a test place parses")
}

fn target(text: &str) -> Target {
    Target::parse(text).expect("a test target parses")
}

fn number(call: &Call, place: &str) -> Option<u64> {
    match call.value_at(&target(place))? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn records(range: std::ops::Range<u64>) -> Vec<Value> {
    range.map(|id| json!({"id": id})).collect()
}

fn rules(paginate: Paginate, size: Option<u64>) -> StreamRules {
    let size = size.and_then(|size| u32::try_from(size).ok());
    StreamRules { paginate, ends: Ends { size, ..Ends::default() }, ..StreamRules::default() }
}

fn get() -> Call {
    Call::get(address("https://h/x?q=1"))
}

fn post() -> Call {
    let body = Some(Payload::Json(json!({"filter": {"q": 1}})));
    Call { url: address("https://h/x"), extra: Extra { method: Method::Post, headers: Vec::new(), body } }
}

/// Pages that hold `size` of `len` records, when the last full one is followed by an empty one.
fn pages_to_empty(len: u64, size: u64) -> u64 {
    len.div_ceil(size) + 1
}

/// Pages when a short one is the last.
fn pages_to_short(len: u64, size: u64) -> u64 {
    len / size + 1
}

/// What a server says of the total.
fn lie(kind: u8, len: u64, sent: u64, page: u64) -> Value {
    match kind {
        0 => json!(len),
        1 => json!(null),
        2 => json!(page),
        3 => json!(len - sent.min(len)),
        4 => json!("none"),
        _ => json!(len + 3),
    }
}

proptest! {
    #[test]
    fn pages_by_number_all_come(len in 0_u64..60, size in 1_u64..9, start in 0_u64..3, known in any::<bool>(), body in any::<bool>()) {
        let place = if body { "body:paging.page" } else { "query:page" };
        let rules = rules(Paginate::Page(PageNumber { send: target(place), start }), known.then_some(size));
        let own = if body { post() } else { get() };
        let found = walk(&rules, own, |call| {
            let from = ((number(call, place).unwrap_or(start) - start) * size).min(len);
            answer(call.url.as_str(), &[], json!(records(from..(from + size).min(len))).to_string())
        });
        let pages = if known { pages_to_short(len, size) } else { pages_to_empty(len, size) };
        prop_assert_eq!(found, Ok(((0..len).collect(), u32::try_from(pages).expect("they are few"))));
    }

    #[test]
    fn offsets_all_come_whatever_the_total_says_and_the_server_clamps(
        len in 0_u64..60, size in 1_u64..9, clamp in 1_u64..9, kind in 0_u8..6,
    ) {
        let mut rules = rules(Paginate::Offset(Offset { send: target("query:offset"), start: 0 }), Some(size));
        rules.ends.total = Some(AnswerAt::Body(at("total")));
        let given = size.min(clamp);
        let found = walk(&rules, get(), |call| {
            let from = number(call, "query:offset").unwrap_or(0).min(len);
            let to = (from + given).min(len);
            answer(call.url.as_str(), &[], json!({"items": records(from..to), "total": lie(kind, len, from, to - from)}).to_string())
        });
        // A server that gives fewer than it is said to and tells no true total cannot be told from one that is at its end.
        let told = given == size || kind == 0 || kind == 5;
        if told {
            prop_assert_eq!(found.map(|(ids, _)| ids), Ok((0..len).collect::<Vec<_>>()));
        }
    }

    #[test]
    fn a_total_that_is_named_saves_the_last_request(len in 1_u64..60, size in 1_u64..9) {
        let mut rules = rules(Paginate::Offset(Offset { send: target("query:offset"), start: 0 }), Some(size));
        rules.ends.total = Some(AnswerAt::Body(at("total")));
        rules.ends.stop = Some(vec![StopSign::Total]);
        let found = walk(&rules, get(), |call| {
            let from = number(call, "query:offset").unwrap_or(0);
            answer(call.url.as_str(), &[], json!({"items": records(from..(from + size).min(len)), "total": len}).to_string())
        });
        let pages = u32::try_from(len.div_ceil(size)).expect("they are few");
        prop_assert_eq!(found, Ok(((0..len).collect(), pages)));
    }

    #[test]
    fn a_keyset_with_ties_brings_all_or_stops_and_says_why(
        gaps in proptest::collection::vec(0_u64..3, 0..40), size in 2_u64..7, known in any::<bool>(), inclusive in any::<bool>(), down in any::<bool>(),
    ) {
        let mut last = 10;
        let mut all: Vec<(u64, u64)> = gaps.iter().enumerate().map(|(id, gap)| { last += gap; (id as u64, last) }).collect();
        if down { all.reverse(); }
        let order = if down { KeysetOrder::Desc } else { KeysetOrder::Asc };
        let keyset = Keyset { field: at("t"), send: target("query:since"), order };
        let rules = rules(Paginate::Keyset(keyset), known.then_some(size));
        let found = walk(&rules, get(), |call| {
            let since = number(call, "query:since");
            let fits = |t: u64| since.is_none_or(|since| t == since && inclusive || if down { t < since } else { t > since });
            let page: Vec<Value> = all.iter().filter(|(_, t)| fits(*t)).take(usize::try_from(size).expect("it is small"))
                .map(|(id, t)| json!({"id": id, "t": t})).collect();
            answer(call.url.as_str(), &[], json!(page).to_string())
        });
        let has_ties = all.windows(2).any(|pair| pair[0].1 == pair[1].1);
        match found {
            Ok((ids, _)) if inclusive || !has_ties => {
                let ids: std::collections::BTreeSet<u64> = ids.into_iter().collect();
                prop_assert_eq!(ids, (0..all.len() as u64).collect());
            }
            // A server that leaves out ties at the boundary is not to be paged by such a field; the page cannot show it.
            Ok(_) => {}
            Err(why) => prop_assert!(has_ties && why.contains("a field whose values differ"), "{}", why),
        }
    }

    #[test]
    fn ranges_all_come(len in 0_u64..60, size in 1_u64..9, sized in any::<bool>(), told in any::<bool>(), unit in "(items)?") {
        let rules = rules(Paginate::Range(ItemRange { unit: unit.clone() }), sized.then_some(size));
        let found = walk(&rules, get(), |call| {
            let range = crate::job::text_of(&call.value_at(&target("header:range")).expect("it is asked for"));
            let range = range.strip_prefix("items=").unwrap_or(&range).to_owned();
            let from: u64 = range.split('-').next().and_then(|from| from.parse().ok()).expect("it is a range");
            let to = (from + size).min(len);
            let total = if told { len.to_string() } else { "*".to_owned() };
            if from >= to {
                let mut past = answer(call.url.as_str(), &[("content-range", &format!("*/{total}"))], "");
                past.status = 416;
                return past;
            }
            let said = format!("{unit} {from}-{}/{total}", to - 1);
            answer(call.url.as_str(), &[("content-range", &said)], json!(records(from..to)).to_string())
        });
        prop_assert_eq!(found.map(|(ids, _)| ids), Ok((0..len).collect::<Vec<_>>()));
    }

    #[test]
    fn cursors_of_any_kind_all_come(len in 0_u64..40, size in 1_u64..9, kind in 0_u8..4, place in "(query|header|body):c") {
        let cursor = Cursor { from: AnswerAt::Body(at("next")), send: target(&place) };
        let own = if place.starts_with("body") { post() } else { get() };
        let found = walk(&rules(Paginate::Cursor(cursor), None), own, |call| {
            let from = match call.value_at(&target(&place)) {
                None => 0,
                Some(Value::String(text)) => match serde_json::from_str(&text) {
                    Ok(Value::Number(number)) => number.as_u64().expect("it is one"),
                    Ok(Value::Array(list)) => list[0].as_u64().expect("it is one"),
                    Ok(value) => value["at"].as_u64().expect("it is one"),
                    Err(_) => text[1..].parse().expect("it is one"),
                },
                Some(Value::Number(number)) => number.as_u64().expect("it is one"),
                Some(Value::Array(list)) => list[0].as_u64().expect("it is one"),
                Some(value) => value["at"].as_u64().expect("it is one"),
            };
            let to = (from + size).min(len);
            let next = match kind {
                _ if to == len => Value::Null,
                0 => json!(to),
                1 => json!(format!("t{to}")),
                2 => json!([to, "x"]),
                _ => json!({"at": to}),
            };
            answer(call.url.as_str(), &[], json!({"items": records(from..to), "next": next}).to_string())
        });
        let pages = u32::try_from(len.div_ceil(size).max(1)).expect("they are few");
        prop_assert_eq!(found, Ok(((0..len).collect(), pages)));
    }

    #[test]
    fn a_continuation_with_inner_ones_all_comes(outer in 1_u64..8, inner in 1_u64..5, form in any::<bool>()) {
        // As MediaWiki does: the inner list of each outer page is walked to its end before the next outer page, and what a
        // request says beyond the last answer's members is taken at its word.
        let params = Continuation { path: at("continue") };
        let mut own = Call::get(address("https://w/api?action=query&continue=&list=x"));
        if form {
            let fields = vec![("list".to_owned(), "x".to_owned())];
            own = Call { url: address("https://w/api"), extra: Extra { method: Method::Post, headers: Vec::new(), body: Some(Payload::Form(fields)) } };
        }
        let place = |name: &str| format!("{}:{name}", if form { "body" } else { "query" });
        let found = walk(&rules(Paginate::Params(params), None), own, |call| {
            assert_eq!(crate::job::text_of(&call.value_at(&target(&place("list"))).expect("the own parameters are kept")), "x");
            let out = number(call, &place("gapcontinue")).unwrap_or(0);
            let at = number(call, &place("rvcontinue")).unwrap_or(0);
            let more = if at + 1 < inner {
                let mut more = json!({"continue": "gap||", "rvcontinue": at + 1});
                if out > 0 { more["gapcontinue"] = json!(out.to_string()); }
                more
            } else if out + 1 < outer {
                json!({"continue": "||", "gapcontinue": (out + 1).to_string()})
            } else {
                Value::Null
            };
            let id = out * inner + at;
            answer(call.url.as_str(), &[], json!({"items": records(id..id + 1), "continue": more}).to_string())
        });
        prop_assert_eq!(found.map(|(ids, _)| ids), Ok((0..outer * inner).collect::<Vec<_>>()));
    }

    #[test]
    fn the_cap_on_pages_wins_in_every_way_of_paging(cap in 1_u32..6, kind in 0_u8..4, stop in any::<bool>()) {
        let paginate = match kind {
            0 => Paginate::Page(PageNumber { send: target("query:page"), start: 1 }),
            1 => Paginate::Offset(Offset { send: target("query:offset"), start: 0 }),
            2 => Paginate::Cursor(Cursor { from: AnswerAt::Body(at("next")), send: target("query:c") }),
            _ => Paginate::NextUrl { path: at("url") },
        };
        let stop = stop.then(|| vec![StopSign::HasMore]);
        let ends = Ends { has_more: Some(AnswerAt::Body(at("more"))), stop, ..Ends::default() };
        let rules = StreamRules { paginate, ends, pages_max: cap, ..StreamRules::default() };
        let served = std::cell::Cell::new(0);
        let found = walk(&rules, get(), |call| {
            served.set(served.get() + 1);
            let n = served.get();
            let body = json!({"items": [{"id": n}], "next": n, "url": format!("/{n}"), "more": true});
            answer(call.url.as_str(), &[], body.to_string())
        });
        prop_assert_eq!(found.map(|(_, pages)| pages), Ok(cap));
    }
}
