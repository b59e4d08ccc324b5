//! The tests of http-tests/cache-tests against these rules: a small cache in virtual time between their client and their server.
//!
//! `tests/fixtures/cache_tests.json` holds the tests, and the list of those that come out otherwise here, with the reason of each.
//! Server and client do what `test-engine/` of the suite does, step by step: the server answers a step as the test says and finds
//! it by `Req-Num`; the client checks what it got, and what the server saw.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use url::Url;

use super::{Ask, CacheSettings, Sent, Stored, Verdict, Wish, ask, judge};
use crate::clock::Timestamp;
use crate::exchange::{BodyEnd, FetchError, Fetched, Headers, Via};
use crate::job::Method;

/// Tue, 24 Nov 2026 08:00:00.250 GMT: not a whole second, as no real instant is.
const STARTED: Timestamp = Timestamp(1_795_507_200_250);

/// How long a step that says `pause_after` waits, in ms; the number is the suite's.
const PAUSE_MS: u64 = 3_000;

/// Between a request and its answer, in ms.
const LATENCY_MS: u64 = 5;

#[derive(Deserialize)]
struct File {
    deviations: Vec<Deviation>,
    tests: Vec<Test>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deviation {
    why: String,
    ids: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "suite and name are for people")]
struct Test {
    suite: String,
    id: String,
    name: String,
    kind: Kind,
    requests: Vec<Step>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Required,
    Optimal,
}

/// Names and meanings are those of the suite's CONTRIBUTING.md.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "they are the file's")]
struct Step {
    request_method: Option<String>,
    request_headers: Vec<(String, String)>,
    query_arg: String,
    cache: String,
    pause_after: bool,
    disconnect: bool,
    magic_locations: bool,
    response_status: Option<(u16, String)>,
    response_headers: Vec<Field>,
    response_body: Option<String>,
    check_body: Option<bool>,
    expected_type: Option<Expected>,
    #[serde(deserialize_with = "status")]
    expected_status: Status,
    expected_request_headers: Vec<Value>,
    expected_response_headers: Vec<Value>,
    expected_response_headers_missing: Vec<Value>,
    expected_response_text: Option<String>,
    /// Whether a failure is one of the setup; it is a failure here all the same.
    #[serde(rename = "setup")]
    _setup: bool,
    #[serde(rename = "setup_tests")]
    _setup_tests: Vec<String>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Expected {
    Cached,
    NotCached,
    LmValidated,
    EtagValidated,
}

/// A field that the server sends; a number is a date, in seconds from the server's now.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Field {
    Checked(String, Value),
    Marked(String, Value, bool),
}

/// The status that the client must get.
#[derive(Clone, Copy, Default)]
enum Status {
    /// That of the server, or 200.
    #[default]
    Served,
    /// Any: null in the file.
    Any,
    /// This one.
    Is(u16),
}

fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Status, D::Error> {
    Option::deserialize(deserializer).map(|status| status.map_or(Status::Any, Status::Is))
}

/// What the client gets.
struct Got {
    status: u16,
    headers: Headers,
    body: Bytes,
}

impl Got {
    fn header(&self, name: &str) -> Option<String> {
        joined(&self.headers, name)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }
}

fn joined(headers: &Headers, name: &str) -> Option<String> {
    let lines: Vec<&str> = headers.get_all(&name.to_ascii_lowercase()).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// What the server saw of a request.
struct Seen {
    step: usize,
    headers: Vec<(String, String)>,
    /// What it sent and the client must have got.
    sent: BTreeMap<String, String>,
}

/// The suite's server.
struct Server<'t> {
    id: &'t str,
    steps: Vec<Step>,
    seen: Vec<Seen>,
}

impl Server<'_> {
    fn answer(&mut self, step: usize, asked: &[(String, String)], now: Timestamp) -> Result<Fetched, FetchError> {
        let config = self.steps[step].clone();
        let mut status = config.response_status.as_ref().map_or(200, |(status, _)| *status);
        if matches!(config.expected_type, Some(Expected::LmValidated | Expected::EtagValidated)) {
            let is_met = |validator: &str, condition: &str| {
                let held =
                    self.steps[step - 1].response_headers.iter().rev().find_map(|field| field.value_of(validator));
                held.is_some()
                    && held == asked.iter().find(|(name, _)| name == condition).map(|(_, value)| value.clone())
            };
            let is_304 = is_met("last-modified", "if-modified-since") || is_met("etag", "if-none-match");
            status = if is_304 { 304 } else { 999 };
        }
        let mut headers = vec![
            ("server-request-count".to_owned(), (self.seen.len() + 1).to_string()),
            ("client-request-count".to_owned(), (step + 1).to_string()),
            ("server-now".to_owned(), now.0.to_string()),
        ];
        let mut sent = BTreeMap::new();
        for field in &mut self.steps[step].response_headers {
            let (name, value, is_checked) = field.written(config.magic_locations, now);
            headers.push((name.clone(), value));
            if is_checked {
                let so_far = joined(&Headers::from_pairs(headers.iter().map(|(name, value)| (name, value))), &name);
                sent.insert(name, so_far.expect("it was just added"));
            }
        }
        for (name, value) in [("content-type", "text/plain".to_owned()), ("date", http_date(now, 0))] {
            if !headers.iter().any(|(known, _)| known == name) {
                headers.push((name.to_owned(), value));
            }
        }
        self.seen.push(Seen { step, headers: asked.to_vec(), sent });
        if config.disconnect {
            return Err(FetchError::Broken("the server closed the connection".to_owned()));
        }
        let body = config.response_body.unwrap_or_else(|| self.id.to_owned());
        let answered_at = now.plus_ms(LATENCY_MS);
        Ok(Fetched {
            url: Url::parse("http://server.test/").expect("a test address parses"),
            status,
            headers: Headers::from_pairs(headers),
            body: if matches!(status, 204 | 304) { Bytes::new() } else { Bytes::from(body) },
            body_end: BodyEnd::Whole,
            via: Via::default(),
            sent_at: now,
            answered_at,
            finished_at: answered_at,
        })
    }
}

impl Field {
    fn parts(&mut self) -> (&str, &mut Value, bool) {
        match self {
            Self::Checked(name, value) => (name, value, true),
            Self::Marked(name, value, is_checked) => (name, value, *is_checked),
        }
    }

    fn value_of(&self, wanted: &str) -> Option<String> {
        let (Self::Checked(name, value) | Self::Marked(name, value, _)) = self;
        name.eq_ignore_ascii_case(wanted).then(|| value.as_str().unwrap_or_default().to_owned())
    }

    /// As it is sent; what was worked out stays in the test, for the condition of the next step.
    fn written(&mut self, magic_locations: bool, now: Timestamp) -> (String, String, bool) {
        let (name, value, is_checked) = self.parts();
        let name = name.to_ascii_lowercase();
        if let Some(delta_s) = value.as_i64() {
            *value = Value::String(http_date(now, delta_s));
        } else if magic_locations && name == "content-location" {
            *value = Value::String("/".to_owned());
        }
        (name, value.as_str().expect("fields are texts or dates").trim().to_owned(), is_checked)
    }
}

fn http_date(now: Timestamp, delta_s: i64) -> String {
    let ms = u64::try_from(now.0 + delta_s * 1_000).expect("it is after 1970");
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(ms))
}

/// The cache between the two: what is held by address, and its body.
struct Cache {
    held: HashMap<String, (Stored, Bytes)>,
    settings: CacheSettings,
}

impl Cache {
    /// One request of the client.
    fn fetch(&mut self, server: &mut Server<'_>, step: usize, now: Timestamp) -> Got {
        let config = server.steps[step].clone();
        let fields: Vec<(String, String)> =
            config.request_headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
        let is_plain = !fields.iter().any(|(name, _)| name == "range");
        if config.request_method.is_some() || !is_plain {
            // No request for a page: it does not come here.
            return passed_on(server.answer(step, &fields, now));
        }
        let sent = Sent { method: Method::Get, credential: "", fields: &fields };
        let held = self.held.remove(&config.query_arg);
        let stored = held.as_ref().map(|(stored, _)| stored);
        // A browser's reload looks whether anything changed.
        let mut wish = if config.cache == "no-cache" { Wish::Checked } else { Wish::Found };
        loop {
            let how = ask(stored, wish, &sent, &self.settings, now);
            let headers = match &how {
                Ask::NotBefore(_) => {
                    let held = held.expect("what is fresh is held");
                    let got = reused(&held, now);
                    self.held.insert(config.query_arg, held);
                    return got;
                }
                Ask::IfChanged(headers) | Ask::InFull { headers, .. } => headers,
            };
            let mut asked = fields.clone();
            asked.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            let result = server.answer(step, &asked, now);
            let body = result.as_ref().map_or(Bytes::new(), |fetched| fetched.body.clone());
            let content = *blake3::hash(&body).as_bytes();
            let (kept, got) = match judge(stored, &how, &sent, &result, content, &self.settings) {
                Verdict::Replace { stored, .. } | Verdict::Gone { stored, .. } => {
                    (Some((stored, body)), passed_on(result))
                }
                Verdict::Unchanged { stored } => {
                    let (_, body) = held.expect("what is confirmed is held");
                    let got = Got { status: stored.status, headers: stored.headers.clone(), body: body.clone() };
                    (Some((stored, body)), got)
                }
                Verdict::Discard { .. } => (None, passed_on(result)),
                Verdict::AskInFull(_) => {
                    wish = Wish::Whole;
                    continue;
                }
                Verdict::Keep { may_stand: true } => {
                    let held = held.expect("what may stand is held");
                    let got = reused(&held, now);
                    (Some(held), got)
                }
                Verdict::Keep { may_stand: false } => (held, passed_on(result)),
            };
            if let Some(kept) = kept {
                self.held.insert(config.query_arg, kept);
            }
            return got;
        }
    }
}

/// What is held, with its age.
fn reused((stored, body): &(Stored, Bytes), now: Timestamp) -> Got {
    let age_s = (stored.age_ms(now) / 1_000).to_string();
    let fields = stored.headers.iter().filter(|(name, _)| *name != "age").chain([("age", age_s.as_str())]);
    Got { status: stored.status, headers: Headers::from_pairs(fields), body: body.clone() }
}

fn passed_on(result: Result<Fetched, FetchError>) -> Got {
    match result {
        Ok(fetched) => Got { status: fetched.status, headers: fetched.headers, body: fetched.body },
        // RFC 9111 section 5.2.2.2: what an intermediary says that may not use what it holds.
        Err(_) => Got { status: 504, headers: Headers::default(), body: Bytes::new() },
    }
}

/// Runs a test; what failed, if anything did.
fn run(test: &Test) -> Result<(), String> {
    let mut server = Server { id: &test.id, steps: test.requests.clone(), seen: Vec::new() };
    let settings = CacheSettings { strict_no_store: true, fresh_ms_max: u64::MAX, ..CacheSettings::default() };
    let mut cache = Cache { held: HashMap::new(), settings };
    let mut now = STARTED;
    let mut all_got = Vec::new();
    for (i, step) in test.requests.iter().enumerate() {
        let got = cache.fetch(&mut server, i, now);
        check_got(test, i, &got)?;
        all_got.push(got);
        now = now.plus_ms(LATENCY_MS + if step.pause_after { PAUSE_MS } else { 0 });
    }
    let steps_seen: BTreeSet<usize> = server.seen.iter().map(|seen| seen.step).collect();
    ensure(steps_seen.len() == server.seen.len(), || "a request was sent twice".to_owned())?;
    check_seen(test, &server.seen, &all_got)
}

fn ensure(is_right: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if is_right { Ok(()) } else { Err(what()) }
}

/// The client's checks of an answer.
fn check_got(test: &Test, i: usize, got: &Got) -> Result<(), String> {
    let (step, number) = (&test.requests[i], i as u64 + 1);
    let served = got.number("server-request-count");
    match step.expected_type {
        Some(Expected::Cached) => {
            ensure(served.is_some_and(|served| served < number), || {
                format!("answer {number} does not come from the cache")
            })?;
        }
        Some(Expected::NotCached) => {
            ensure(served == Some(number), || format!("answer {number} comes from the cache"))?;
        }
        Some(Expected::LmValidated | Expected::EtagValidated) | None => {}
    }
    let status = match (&step.expected_status, &step.response_status) {
        (Status::Is(status), _) | (Status::Served, Some((status, _))) => Some(status),
        (Status::Served, None) => Some(&200),
        (Status::Any, _) => None,
    };
    ensure(status.is_none_or(|status| *status == got.status), || {
        format!("answer {number} has the status {}", got.status)
    })?;
    for expected in &step.expected_response_headers {
        check_header(expected, got).map_err(|why| format!("answer {number}: {why}"))?;
    }
    for missing in &step.expected_response_headers_missing {
        let (name, unwanted) = match missing {
            Value::Array(pair) => (text(&pair[0]), text(&pair[1])),
            name => (text(name), ""),
        };
        let is_there = got.header(name).is_some_and(|value| value.contains(unwanted));
        ensure(!is_there, || format!("answer {number} has the field {name}"))?;
    }
    if step.check_body == Some(false) {
        return Ok(());
    }
    let body = match (&step.expected_response_text, &step.response_body) {
        (Some(body), _) | (None, Some(body)) => body,
        (None, None) if matches!(got.status, 204 | 304) => return Ok(()),
        (None, None) => &test.id,
    };
    ensure(got.body == body.as_bytes(), || format!("answer {number} has another body"))
}

fn text(value: &Value) -> &str {
    value.as_str().expect("it is a text")
}

/// A name; a name and a value; or a name, `=` and another name, or `>` and a number.
fn check_header(expected: &Value, got: &Got) -> Result<(), String> {
    let parts = expected.as_array().map_or(std::slice::from_ref(expected), Vec::as_slice);
    let name = text(&parts[0]);
    let value = got.header(name).ok_or_else(|| format!("{name} is missing"))?;
    let is_right = match &parts[1..] {
        [] => true,
        [Value::Number(delta_s)] => {
            let server_now = got.header("server-now").and_then(|ms| ms.parse().ok()).map(Timestamp);
            let date = server_now.zip(delta_s.as_i64()).map(|(now, delta_s)| http_date(now, delta_s));
            date.as_deref() == Some(value.as_str())
        }
        [wanted] => value == text(wanted),
        [operator, other] if operator == "=" => got.header(text(other)).as_deref() == Some(value.as_str()),
        [operator, least] if operator == ">" => value.parse::<i64>().ok() > least.as_i64(),
        _ => false,
    };
    ensure(is_right, || format!("{name} is {value:?}"))
}

/// The client's checks of what the server saw.
fn check_seen(test: &Test, seen: &[Seen], all_got: &[Got]) -> Result<(), String> {
    let mut at = 0;
    for (i, (step, got)) in test.requests.iter().zip(all_got).enumerate() {
        if step.expected_type == Some(Expected::Cached) {
            continue;
        }
        let (number, request) = (i + 1, seen.get(at));
        at += 1;
        let condition = match step.expected_type {
            Some(Expected::NotCached) => {
                ensure(request.is_some_and(|request| request.step == i), || format!("request {number} was not sent"))?;
                None
            }
            Some(Expected::EtagValidated) => Some(Value::from("if-none-match")),
            Some(Expected::LmValidated) => Some(Value::from("if-modified-since")),
            Some(Expected::Cached) | None => None,
        };
        for expected in condition.iter().chain(&step.expected_request_headers) {
            let (name, value) = match expected {
                Value::Array(pair) => (text(&pair[0]), Some(text(&pair[1]))),
                name => (text(name), None),
            };
            let mut sent = request.into_iter().flat_map(|request| &request.headers);
            let found = sent.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, sent)| sent.as_str());
            let is_right = found.is_some() && value.is_none_or(|value| found == Some(value));
            ensure(is_right, || format!("request {number} has {name} {found:?}"))?;
        }
        for (name, value) in request.into_iter().flat_map(|request| &request.sent).filter(|(name, _)| *name != "date") {
            let received = got.header(name);
            ensure(received.as_ref() == Some(value), || {
                format!("answer {number} has {name} {received:?}, sent was {value:?}")
            })?;
        }
    }
    Ok(())
}

#[test]
fn every_test_of_the_suite_passes_but_for_those_that_are_listed_with_a_reason() {
    let text = include_str!("../../../tests/fixtures/cache_tests.json");
    let file: File = serde_json::from_str(text).expect("the file is as this test reads it");
    let failed: BTreeMap<&str, (Kind, String)> =
        file.tests.iter().filter_map(|test| Some((test.id.as_str(), (test.kind, run(test).err()?)))).collect();
    let mut listed = BTreeSet::new();
    for deviation in &file.deviations {
        assert!(deviation.why.len() > 20, "a deviation has a reason: {:?}", deviation.ids);
        for id in &deviation.ids {
            assert!(listed.insert(id.as_str()), "{id} is listed twice");
        }
    }
    let mut wrong = Vec::new();
    for (id, (kind, why)) in failed.iter().filter(|(id, _)| !listed.contains(*id)) {
        wrong.push(format!("{id} ({kind:?}) fails and is not listed: {why}"));
    }
    for id in listed.iter().filter(|id| !failed.contains_key(*id)) {
        wrong.push(format!("{id} is listed and passes, or is no test of the file"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What is not in the file cannot fail.
    let count = |kind| {
        let all = file.tests.iter().filter(|test| test.kind == kind).count();
        (all, failed.values().filter(|(of, _)| *of == kind).count())
    };
    assert_eq!([count(Kind::Required), count(Kind::Optimal)], [(137, 7), (77, 28)], "all, and those that deviate");
}
