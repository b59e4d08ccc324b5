//! `continue`, as MediaWiki has it with a generator and properties: the same pages come again with other parts of their links,
//! until the batch is complete; and only then the next pages.

use serde_json::{Map, Value, json};

use super::{Api, Asked, Habit, Reply};
use crate::wire;

/// Pages of one batch.
const BATCH: usize = 5;
/// Links in one answer, over all its pages.
const LINKS: usize = 4;

/// `/api.php?action=query`: `query.pages`, and `continue` with parameters to add to those of the first request.
pub struct PartialProps {
    pub pages: usize,
}

/// The links of page N: N modulo 4 of them.
pub fn links_of(page: usize) -> Vec<String> {
    (0..page % 4).map(|link| format!("Page {page} to {link}")).collect()
}

impl Habit for PartialProps {
    fn answer(&self, asked: &Asked) -> Reply {
        if asked.query("action") != Some("query") {
            return Reply::json(&json!({ "error": { "code": "badvalue", "info": "action=query" } }));
        }
        let first = asked.number_in("gapcontinue").unwrap_or(1);
        let skipped = asked.number_in("plcontinue").unwrap_or(0);
        let batch: Vec<usize> = (first..(first + BATCH).min(self.pages + 1)).collect();
        let all: Vec<(usize, String)> =
            batch.iter().flat_map(|&page| links_of(page).into_iter().map(move |link| (page, link))).collect();
        let now = &all[skipped.min(all.len())..all.len().min(skipped + LINKS)];
        let page = |&id: &usize| {
            let mut page = json!({ "pageid": id, "title": format!("Page {id}") });
            let links: Vec<Value> =
                now.iter().filter(|(of, _)| *of == id).map(|(_, link)| json!({ "title": link })).collect();
            if !links.is_empty() {
                page["links"] = Value::Array(links);
            }
            page
        };
        let mut answer = json!({ "query": { "pages": batch.iter().map(page).collect::<Vec<_>>() } });
        let mut more = Map::new();
        let is_complete = skipped + LINKS >= all.len();
        if !is_complete {
            more.insert("plcontinue".to_owned(), json!((skipped + LINKS).to_string()));
            more.insert("continue".to_owned(), json!("||"));
            // The batch stays the same.
            if first > 1 {
                more.insert("gapcontinue".to_owned(), json!(first.to_string()));
            }
        } else if first + BATCH <= self.pages {
            more.insert("gapcontinue".to_owned(), json!((first + BATCH).to_string()));
            more.insert("continue".to_owned(), json!("gapcontinue||"));
        }
        if is_complete {
            answer["batchcomplete"] = json!(true);
        }
        if !more.is_empty() {
            answer["continue"] = Value::Object(more);
        }
        Reply::json(&answer)
    }
}

#[test]
fn the_parts_of_a_page_come_in_several_answers() {
    let api = Api::start(PartialProps { pages: 12 });
    let (mut parameters, mut links, mut answers) = (String::new(), vec![0; 13], 0);
    loop {
        let answer = wire::get(api.port(), &format!("/api.php?action=query{parameters}")).json();
        answers += 1;
        for page in answer["query"]["pages"].as_array().unwrap() {
            let id = usize::try_from(page["pageid"].as_u64().unwrap()).unwrap();
            links[id] += page["links"].as_array().map_or(0, Vec::len);
        }
        let Some(more) = answer["continue"].as_object() else { break };
        assert_eq!(more.contains_key("plcontinue"), answer.get("batchcomplete").is_none());
        parameters = more.iter().map(|(name, value)| format!("&{name}={}", value.as_str().unwrap())).collect();
    }
    let expected: Vec<usize> = (0..=12).map(|page| if page == 0 { 0 } else { links_of(page).len() }).collect();
    assert_eq!((links, answers), (expected, 5));
}
