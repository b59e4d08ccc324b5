//! `trundle check --fetch`: one request of each API stream as a run would send it, and what its answer would lead to. Nothing is
//! stored.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, Stream};
use crate::engine::{self, Plan, Reading, Report};
use crate::fetch::HttpFetcher;
use crate::interpret::{JsonAt, Paginate};
use crate::job::{Call, NewJob, NewSlice, Payload, SourceId};
use crate::policy::{self, Verdict};
use crate::store::{JobMove, SourceRow};

use super::output::clean;
use super::{Failure, plan};

/// Records that are shown.
const SHOWN: usize = 2;

/// Characters of a record that are shown.
const RECORD_CHARS_MAX: usize = 160;

/// What came of the first request of a stream.
pub(super) struct Sample {
    /// As it was sent; none when there was none to send.
    request: Option<String>,
    status: Option<u16>,
    records: u64,
    first: Vec<Value>,
    /// Of the records that would be stored: how many there are, and how many have every key field.
    stored: usize,
    with_key: usize,
    /// The request for the next page, with how it was found.
    next: Option<String>,
    notes: Vec<String>,
    problem: Option<String>,
}

impl Sample {
    /// Whether the stream can be pulled, as far as one request can tell.
    pub(super) fn is_good(&self) -> bool {
        self.problem.is_none()
    }

    pub(super) fn as_text(&self, stream: &Stream) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(request) = &self.request {
            let status = self.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
            lines.push(format!("  fetched {}: {status}, {}", clean(request, 300), records(self.records)));
        }
        lines.extend(self.first.iter().map(|record| format!("    {}", clean(&record.to_string(), RECORD_CHARS_MAX))));
        if self.stored > 0 {
            lines.push(format!("    {}", self.key_in_words(stream)));
        }
        lines.extend(self.next.iter().map(|next| format!("    {}", clean(next, 400))));
        lines.extend(self.notes.iter().map(|note| format!("    note: {}", clean(note, 400))));
        lines.extend(self.problem.iter().map(|problem| format!("    problem: {}", clean(problem, 400))));
        lines
    }

    fn key_in_words(&self, stream: &Stream) -> String {
        let names: Vec<&str> = stream.key.iter().map(JsonAt::as_str).collect();
        let names = names.join(", ");
        match (stream.key.is_empty(), self.with_key) {
            (true, _) => {
                "no key: a record is the same when all of it is; with `key` a later version replaces it".to_owned()
            }
            (false, n) if n == self.stored => format!("the key ({names}) is in each of them"),
            (false, n) => {
                format!("the key ({names}) is in {n} of {} of them", self.stored)
            }
        }
    }

    pub(super) fn as_json(&self) -> Value {
        json!({
            "request": self.request, "status": self.status, "records": self.records, "first": self.first,
            "stored": self.stored, "with_key": self.with_key, "next": self.next, "notes": self.notes,
            "problem": self.problem,
        })
    }
}

fn records(number: u64) -> String {
    if number == 1 { "1 record".to_owned() } else { format!("{number} records") }
}

/// Asks each stream once, parents before the streams that hang on their records; by name of the stream.
pub(super) async fn take(config: &Config, rows: &[SourceRow], plan: Plan) -> Result<HashMap<String, Sample>, Failure> {
    let clock = SystemClock::new();
    let fetch = HttpFetcher::new(plan::fetch_settings(config), policy::is_public, clock.clone())
        .context("set up the HTTP client")
        .map_err(Failure::Usage)?;
    let (fetch, plan) = (Arc::new(fetch), Arc::new(plan));
    let mut samples = HashMap::new();
    // The slices that records of parents have made.
    let mut made: HashMap<SourceId, NewSlice> = HashMap::new();
    let mut left: Vec<(&Stream, SourceId)> =
        config.apis.iter().zip(rows[config.sites.len()..].iter().map(|row| row.id)).collect();
    while !left.is_empty() {
        let is_next = |(stream, _): &(&Stream, SourceId)| match &stream.keys.parent {
            Some(parent) => {
                let api = stream.name.split('.').next().unwrap_or_default();
                samples.contains_key(&format!("{api}.{}", parent.stream))
            }
            None => true,
        };
        // The configuration has refused circles.
        let Some(at) = left.iter().position(is_next) else { break };
        let (stream, id) = left.remove(at);
        let first = if stream.keys.parent.is_some() {
            made.remove(&id)
        } else {
            engine::first_slices(&plan, id, clock.now()).next()
        };
        let sample = match first {
            Some(slice) => {
                let (call, report) = engine::try_out(&fetch, &clock, &plan, slice).await;
                for slice in &report.reading.slices {
                    made.entry(slice.source).or_insert_with(|| slice.clone());
                }
                sample(stream, &plan, id, &call, report)
            }
            None => Sample { notes: vec![unasked(stream)], ..nothing() },
        };
        samples.insert(stream.name.clone(), sample);
    }
    Ok(samples)
}

fn nothing() -> Sample {
    Sample {
        request: None,
        status: None,
        records: 0,
        first: Vec::new(),
        stored: 0,
        with_key: 0,
        next: None,
        notes: Vec::new(),
        problem: None,
    }
}

fn unasked(stream: &Stream) -> String {
    match &stream.keys.parent {
        Some(parent) => format!("not asked: the first page of {} has no record for it", parent.stream),
        None => "not asked: it has no values to be asked for".to_owned(),
    }
}

fn sample(stream: &Stream, plan: &Plan, id: SourceId, call: &Call, report: Report) -> Sample {
    let problem = problem(&report);
    let Reading { items, walk, response, next_page, .. } = report.reading;
    let key = plan.stream(id).map(|stream| stream.rules.key.as_slice()).unwrap_or_default();
    let has_key = |data: &Value| key.iter().all(|at| at.find(data).is_some_and(|value| !value.is_null()));
    let (notes, has_link) = response.map_or_else(Default::default, |response| {
        let link = response.headers.get("link").is_some_and(|link| link.contains("next"));
        (response.notes, link)
    });
    let next = match next_page {
        Some(next) => Some(format!("{} {}", how(&stream.paginate.scheme, has_link), line_of(&call_of(next.0)))),
        None if problem.is_some() || walk.records == 0 => None,
        None => Some(last(&stream.paginate.scheme)),
    };
    Sample {
        request: Some(line_of(call)),
        status: report.attempt.status,
        records: walk.records,
        stored: items.len(),
        with_key: items.iter().filter(|item| has_key(&item.data)).count(),
        first: items.into_iter().take(SHOWN).map(|item| item.data).collect(),
        next,
        notes,
        problem,
    }
}

/// Why a run could not go on with such an answer.
fn problem(report: &Report) -> Option<String> {
    match (&report.reading.change, &report.verdict) {
        (Some(JobMove::Dead(reason)), _)
        | (None, Verdict::Gone(reason) | Verdict::Dead(reason) | Verdict::RetryAt { reason, .. }) => {
            Some(reason.clone())
        }
        (Some(_), _) | (None, Verdict::Settle) => None,
        (None, Verdict::Hold) => Some(report.attempt.error.clone().unwrap_or_else(|| match report.attempt.status {
            Some(status) => format!("answered {status}: it allows no request now, and a run would wait and ask again"),
            None => "it could not be asked now, and a run would wait and ask again".to_owned(),
        })),
    }
}

/// How the next page was found, before its request.
fn how(scheme: &Paginate, has_link: bool) -> String {
    match (scheme, has_link) {
        (Paginate::Auto, true) => "auto found a Link header (paginate = \"link\"); next:".to_owned(),
        (Paginate::Auto, false) => {
            "auto found an address in the body (paginate = { type = \"next_url\" }); next:".to_owned()
        }
        _ => "next:".to_owned(),
    }
}

fn last(scheme: &Paginate) -> String {
    match scheme {
        Paginate::None => "one page is all".to_owned(),
        Paginate::Auto => {
            "auto found no sign of a next page; if there is one, `paginate` must say how to get there".to_owned()
        }
        _ => "this page is the last".to_owned(),
    }
}

fn call_of(job: NewJob) -> Call {
    Call { url: job.url, extra: job.extra.map(|extra| *extra).unwrap_or_default() }
}

/// A request in one line, without what identifies us.
fn line_of(call: &Call) -> String {
    let mut line = format!("{} {}", call.extra.method, call.url);
    match &call.extra.body {
        Some(Payload::Json(body)) => line.push_str(&format!(" {body}")),
        Some(Payload::Form(fields)) => {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
            line.push_str(&format!(" {}", fields.join("&")));
        }
        None => {}
    }
    line
}
