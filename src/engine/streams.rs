//! API streams: the slices that they begin with, the request that a page is asked for by, and what an answer leads to.

use std::sync::Arc;

use serde_json::Value;
use url::Url;

use crate::clock::Timestamp;
use crate::exchange::{Fetched, Outcome};
use crate::interpret::{self, ErrorAction, Next, Paginate};
use crate::job::{Call, Job, JobKind, NewJob, NewSlice, Origin, Params, Priority, SourceId, later_mark, text_of};
use crate::store::{JobMove, NewResponse, NextPage, WalkNews};
use crate::stream::{RenderError, Window};

use super::aliased;
use super::children::{self, Offspring};
use super::plan::{Plan, StreamPlan};
use super::report::Reading;

/// How often a walk may begin again in one pull: a cursor that expires for the fourth time will do so for ever.
const RESTARTS_MAX: u32 = 3;

/// The request of a page, as it is sent: a first page is asked for from the mark of its slice on.
pub(super) fn call_of(stream: &StreamPlan, job: &Job) -> Call {
    let mut call = job.call();
    if let (false, Some(walk)) = (job.batch.is_empty(), &job.walk) {
        let window = Window::of(&walk.params);
        let together =
            stream.first.render_batch(&walk.params, &job.batch, stream.windows.as_ref().zip(window.as_ref()));
        // The values have made a request when the slice was found.
        call = together.unwrap_or(call);
    }
    if job.depth == 0
        && let Some((_, incremental)) = &stream.incremental
        && let Some(target) = &incremental.send
        && let Some(value) = incremental.value(job.walk.as_ref().and_then(|walk| walk.mark.as_ref()))
    {
        call.set(target, &value);
    }
    call
}

/// The slices of a stream with these values, one for each of its windows.
pub(super) fn slices_of(
    stream: &StreamPlan,
    source: SourceId,
    params: &Params,
    parent: Option<&Job>,
    now: Timestamp,
) -> Result<Vec<NewSlice>, RenderError> {
    match &stream.windows {
        None => Ok(vec![slice(stream, source, params.clone(), parent)?]),
        Some(windows) => windows.until(now).map(|window| windowed(stream, source, params, &window, parent)).collect(),
    }
}

/// The slices that a stream begins with. Values that make no request are told and left out; they must not stop the other million.
pub fn first_slices(
    plan: &Arc<Plan>,
    source: SourceId,
    now: Timestamp,
) -> impl Iterator<Item = NewSlice> + Send + use<> {
    let plan = Arc::clone(plan);
    let values = plan.stream(source).map(|stream| (stream.values)()).into_iter().flatten();
    values.flat_map(move |params| {
        let Some(stream) = plan.stream(source) else { return Vec::new() };
        slices_of(stream, source, &params, None, now).unwrap_or_else(|error| {
            let values = Value::Object(params);
            tracing::warn!("[api.{}]: {values} is left out: {error}", stream.name);
            Vec::new()
        })
    })
}

fn windowed(
    stream: &StreamPlan,
    source: SourceId,
    params: &Params,
    window: &Window,
    parent: Option<&Job>,
) -> Result<NewSlice, RenderError> {
    let mut params = params.clone();
    window.tell(&mut params);
    slice(stream, source, params, parent)
}

fn slice(stream: &StreamPlan, source: SourceId, params: Params, parent: Option<&Job>) -> Result<NewSlice, RenderError> {
    let window = Window::of(&params);
    let call = stream.first.render(&params, stream.windows.as_ref().zip(window.as_ref()))?;
    let call = stream.rules.first_call(call);
    let first = NewJob {
        extra: call.extra.into_job(),
        parent: parent.map(|job| job.id),
        ..NewJob::seed(call.url, JobKind::ApiPage, source)
    };
    Ok(NewSlice { source, params, first, is_late: stream.is_nested })
}

/// The slice of a stream whose first records came within those of another one: it begins with what follows `cursor`.
pub(super) fn continued(
    stream: &StreamPlan,
    source: SourceId,
    params: Params,
    parent: &Job,
    cursor: &Value,
) -> Result<NewSlice, RenderError> {
    let mut slice = slice(stream, source, params, Some(parent))?;
    let extra = slice.first.extra.take().map(|extra| *extra).unwrap_or_default();
    let mut call = Call { url: slice.first.url.clone(), extra };
    if let Paginate::Graphql(graphql) = &stream.rules.paginate {
        call.set(&graphql.target(), cursor);
    }
    // A cursor can expire while it waits.
    slice.first = NewJob { extra: call.extra.into_job(), priority: Priority::SOON, ..slice.first };
    Ok(slice)
}

/// The first page of a slice, for one that began with a cursor that came within the records of another stream; none for others.
fn from_start(stream: &StreamPlan, job: &Job) -> Option<NewJob> {
    if !stream.is_nested || job.depth > 0 {
        return None;
    }
    let plain = slice(stream, job.source, (*job.walk.as_ref()?.params).clone(), Some(job)).ok()?.first;
    (plain.extra != job.extra).then_some(NewJob { priority: Priority::SOON, ..plain })
}

/// Reads a page of records.
pub(super) fn page(
    plan: &Plan,
    stream: &StreamPlan,
    job: &Job,
    fetched: &Fetched,
    mut response: NewResponse,
    now: Timestamp,
) -> Reading {
    if stream.first.batch.as_ref().is_some_and(|batch| batch.alias.is_some()) {
        return aliased::page(plan, stream, job, fetched, response, now);
    }
    let call = call_of(stream, job);
    let no_params = Params::new();
    let params = job.walk.as_ref().map_or(&no_params, |walk| &walk.params);
    let meaning = interpret::api_page(fetched, &stream.rules, &call, job.depth, &children::included(stream, params));
    response.links = u32::try_from(meaning.records_seen).unwrap_or(u32::MAX);
    response.notes.extend(meaning.notes);
    let mut read = meaning.read;
    let walk = WalkNews { records: meaning.records_seen, merge: stream.merge, ..WalkNews::default() };
    let mut reading = Reading { walk, ..Reading::default() };
    if let Some((field, rule)) = &stream.incremental {
        let values = read.items.iter().filter_map(|item| field.find(&item.data)).filter(|value| !value.is_null());
        reading.walk.newest = values.cloned().fold(None, |newest, value| later_mark(newest, Some(value)));
        reading.walk.in_order = rule.in_order;
    }
    if let Some(at) = stream.batch.as_ref().and_then(|batch| batch.at.as_ref()) {
        reading.present = Some(read.items.iter().filter_map(|item| at.find(&item.data)).map(text_of).collect());
    }
    children::keep(stream, &mut read);
    match meaning.next {
        Next::End => {}
        Next::Go { call, off_origin } => {
            if let Some(halves) = halves(stream, job, meaning.records_seen) {
                response.notes.push("its window has more records than one may give: it is walked in halves".to_owned());
                reading.slices = halves;
            } else {
                let Call { url, extra } = *call;
                if off_origin {
                    let words = "its next page lies at another origin; no headers of the stream go there";
                    response.notes.push(format!("{words}: {url}"));
                }
                reading.next_page = Some(NextPage(NewJob {
                    extra: extra.into_job(),
                    depth: job.depth.saturating_add(1),
                    priority: Priority::SOON,
                    parent: Some(job.id),
                    private_ok: !off_origin,
                    ..NewJob::seed(url, JobKind::ApiPage, job.source)
                }));
            }
        }
        Next::Stop(problem) => reading.change = Some(JobMove::Dead(problem)),
    }
    let Offspring { slices, nested, notes } = children::offspring(plan, stream, job, params, &read, now);
    reading.slices.extend(slices);
    response.notes.extend(notes);
    reading.nested = nested;
    reading.items = read.items;
    reading.response = Some(response);
    reading
}

/// The halves of a page's window, when it has given as many records as one can.
fn halves(stream: &StreamPlan, job: &Job, records: u64) -> Option<Vec<NewSlice>> {
    let windows = stream.windows.as_ref()?;
    let walk = job.walk.as_ref()?;
    if walk.records.saturating_add(records) < windows.split_at? {
        return None;
    }
    split_window(stream, job)
}

/// The halves of a page's window; none when it has none, or when it is as short as can be.
fn split_window(stream: &StreamPlan, job: &Job) -> Option<Vec<NewSlice>> {
    let walk = job.walk.as_ref()?;
    let halves = stream.windows.as_ref()?.halves(&Window::of(&walk.params)?)?;
    let slices = halves.iter().map(|half| windowed(stream, job.source, &walk.params, half, Some(job)));
    slices.collect::<Result<_, _>>().ok()
}

/// What a user's rule, or else the rules for all APIs, make of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Nothing: it is judged as any answer is.
    None,
    /// It is a limit.
    Throttled {
        /// Not before this instant, when the rule says so.
        retry_at: Option<Timestamp>,
    },
    /// It failed, and may be tried again.
    Failed(String),
    /// This becomes of the job.
    Settled(JobMove),
    /// The slice begins again, and why.
    Restart(String),
    /// The slice goes on with this first page instead of the cursor that it began with, and why.
    FromStart(String, Box<NewJob>),
    /// Its window is walked in halves.
    Split(Vec<NewSlice>),
    /// It is too much at once, and no window that could be halved; its ids can, if it has several.
    TooMuch(String),
}

/// Judges an answer to a page of a stream.
pub(super) fn judge(stream: &StreamPlan, job: &Job, fetched: &Fetched, outcome: &Outcome, now: Timestamp) -> Judgement {
    let status = fetched.status;
    let Some(rule) = interpret::error_rule(fetched, &stream.errors) else {
        return by_default(stream, job, fetched, outcome);
    };
    let said = format!("answered {status}, which a rule of `errors` takes for");
    match rule.action {
        ErrorAction::Retry => Judgement::Failed(format!("{said} a failure")),
        ErrorAction::Throttle { wait_ms } => Judgement::Throttled { retry_at: wait_ms.map(|ms| now.plus_ms(ms)) },
        ErrorAction::Skip => Judgement::Settled(JobMove::Gone(format!("{said} nothing to be had"))),
        ErrorAction::Stop => Judgement::Settled(JobMove::Done),
        ErrorAction::Restart => restart(stream, job, format!("{said} an expired cursor")),
        ErrorAction::Split => match split_window(stream, job) {
            Some(halves) => Judgement::Split(halves),
            None => Judgement::TooMuch(format!("{said} too much at once, and it cannot be split further")),
        },
        ErrorAction::Fail => Judgement::Settled(JobMove::Dead(format!("{said} an error"))),
    }
}

/// The rules for all APIs.
fn by_default(stream: &StreamPlan, job: &Job, fetched: &Fetched, outcome: &Outcome) -> Judgement {
    // What a record leads to may be gone meanwhile; a stream that is asked for by name is not.
    let is_of_record = stream.schedule.parent.is_some();
    match (outcome, fetched.status) {
        // A cursor that the server does not know any more.
        (Outcome::Rejected | Outcome::Gone, 400 | 404 | 410 | 422)
            if stream.rules.paginate.has_cursor() && (job.depth > 0 || from_start(stream, job).is_some()) =>
        {
            restart(stream, job, format!("answered {} to a cursor: it has expired", fetched.status))
        }
        (Outcome::Rejected, 403) | (Outcome::Served, 200) if interpret::speaks_of_a_limit(fetched) => {
            Judgement::Throttled { retry_at: None }
        }
        (Outcome::Gone, status) if is_of_record => {
            Judgement::Settled(JobMove::Gone(format!("answered {status}: what its record leads to is not there")))
        }
        (Outcome::Rejected, 451) => {
            Judgement::Settled(JobMove::Skipped("answered 451 (unavailable for legal reasons)".to_owned()))
        }
        // RFC 9110 section 15.5.17: there is nothing behind the last record.
        (Outcome::Rejected, 416) => Judgement::Settled(JobMove::Done),
        _ => Judgement::None,
    }
}

fn restart(stream: &StreamPlan, job: &Job, why: String) -> Judgement {
    if let Some(first) = from_start(stream, job) {
        return Judgement::FromStart(why, Box::new(first));
    }
    match &job.walk {
        // A first page has no cursor: it is as good as a new one, and tried again as such.
        Some(_) if job.depth == 0 => Judgement::Failed(why),
        Some(walk) if walk.restarts < RESTARTS_MAX => Judgement::Restart(why),
        Some(_) => {
            Judgement::Settled(JobMove::Dead(format!("{why}; the slice began again {RESTARTS_MAX} times already")))
        }
        None => Judgement::None,
    }
}

/// Where a redirect of a page leads; the error says why it is not followed. RFC 9110 section 15.4: 307 and 308 keep method and body,
/// the others ask by GET; what a body or a header of ours holds goes to no other origin.
pub(super) fn redirected(job: &Job, status: u16, target: Url) -> Result<Call, String> {
    let Some(extra) = &job.extra else { return Ok(Call::get(target)) };
    if Origin::of(&target) != Origin::of(&job.url) {
        return Err(format!("it redirects to another origin, {target}, where its body and headers do not go"));
    }
    let mut call = Call { url: target, extra: (**extra).clone() };
    if !matches!(status, 307 | 308) {
        (call.extra.method, call.extra.body) = Default::default();
    }
    Ok(call)
}
