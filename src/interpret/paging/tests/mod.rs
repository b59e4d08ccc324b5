//! What one page of an API leads to, as tables: by what the answer tells, by counting, by the place that it is at.

mod counted;
mod placed;
mod told;

use serde_json::Value;

use super::{Cursor, Ends, Offset, PageNumber, Paginate};
use crate::interpret::testing::{address, answer};
use crate::interpret::{AnswerAt, ApiMeaning, JsonAt, Next, StreamRules, api_page};
use crate::job::{Call, Extra, Method, Params, Payload, Target};

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
        let meaning = api_page(&fetched, &rules, &Call::get(address(self.url)), self.page_ordinal, &Params::new());
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
        api_page(&fetched, &self.rules, &self.call, self.page_ordinal, &Params::new())
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
