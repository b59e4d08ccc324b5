//! One attempt: fetch, read, judge. Returns a value and writes nothing.

use std::sync::Arc;

use url::Url;

use crate::clock::{Clock, Timestamp};
use crate::exchange::{Fetch, FetchError, Fetched, Headers, Identity, Outcome, Request, Secret, Via};
use crate::job::{Call, Job, JobId, JobKind, NewSlice, Origin, SliceId, Walk};
use crate::policy::{self, ROBOTS_REDIRECTS_MAX, RobotsAnswer, RobotsDecision, Verdict};
use crate::store::{AttemptRecord, NextPage};
use crate::throttle::Hints;

use super::asking::{self, Asking, NotModified, Parts};
use super::plan::Plan;
use super::reading::{self, read};
use super::refusal;
use super::report::{Reading, Report, RobotsReading};
use super::streams::{self, Judgement};

/// Bodies above this are read on a thread of their own, in bytes: parsing takes about 4 ms a MiB, during which the thread
/// that also serves the network would stand still.
const INLINE_BYTES_MAX: usize = 256 << 10;

/// What `Accept` says for a page, as browsers do.
const ACCEPT_PAGE: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const ACCEPT_ROBOTS: &str = "text/plain,*/*;q=0.8";
const ACCEPT_XML: &str = "application/xml,text/xml,application/rss+xml,application/atom+xml,*/*;q=0.8";
const ACCEPT_JSON: &str = "application/json,*/*;q=0.8";

/// Makes one attempt at `job`, by way of `via`.
pub(super) async fn work<F: Fetch, C: Clock>(
    fetch: Arc<F>,
    clock: C,
    plan: Arc<Plan>,
    job: Job,
    private_ok: bool,
    via: Via,
) -> (JobId, Report) {
    let sent_at = clock.now();
    let result = fetch_job(&*fetch, &plan, &job, private_ok, &via, sent_at).await;
    let job_id = job.id;
    let is_large = result.as_ref().is_ok_and(|fetched| fetched.body.len() > INLINE_BYTES_MAX);
    let now = clock.now();
    let report = if is_large {
        let reading = tokio::task::spawn_blocking(move || digest(&plan, &job, &result, private_ok, sent_at, now)).await;
        match reading {
            Ok(report) => report,
            // The reader panicked: carry the panic to where panics are handled.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    } else {
        digest(&plan, &job, &result, private_ok, sent_at, now)
    };
    (job_id, report)
}

/// Makes the request of a slice's first page, and of where it is redirected to, as a run would; for a look at an API. Returns the
/// last request and what came of it.
pub async fn try_out<F: Fetch, C: Clock>(
    fetch: &Arc<F>,
    clock: &C,
    plan: &Arc<Plan>,
    slice: NewSlice,
) -> (Call, Report) {
    let walk = Walk {
        slice: SliceId(0),
        number: 1,
        restarts: 0,
        params: Arc::new(slice.params),
        mark: None,
        records: 0,
        started_at: clock.now(),
    };
    let mut new = slice.first;
    loop {
        let job = Job {
            id: JobId(0),
            url: new.url,
            extra: new.extra,
            kind: new.kind,
            source: new.source,
            depth: new.depth,
            priority: new.priority,
            attempt: 0,
            redirects: new.redirects,
            walk: Some(Box::new(walk.clone())),
            batch: Arc::default(),
            held: None,
        };
        let call = plan.stream(job.source).map_or_else(|| job.call(), |stream| streams::call_of(stream, &job));
        let (_, mut report) =
            work(Arc::clone(fetch), clock.clone(), Arc::clone(plan), job, new.private_ok, Via::default()).await;
        match report.reading.next_page.take() {
            // The plan's cap on redirects ends this.
            Some(NextPage(target)) if report.outcome == Outcome::Redirected => new = target,
            next_page => {
                report.reading.next_page = next_page;
                return (call, report);
            }
        }
    }
}

/// Sends the request of a job: one hop, but for robots.txt, whose redirects within its host belong to the one question (RFC 9309
/// section 2.3.1.2).
async fn fetch_job<F: Fetch>(
    fetch: &F,
    plan: &Plan,
    job: &Job,
    private_ok: bool,
    via: &Via,
    now: Timestamp,
) -> Result<Fetched, FetchError> {
    let mut result = fetch.fetch(request(plan, job, private_ok, via, now)).await;
    if job.kind != JobKind::Robots {
        return result;
    }
    // What is held is of the first address.
    let mut hop = Job { held: None, ..job.clone() };
    for _ in 0..ROBOTS_REDIRECTS_MAX {
        let RobotsDecision::Follow(location) = policy::robots_from_answer(&Outcome::of(&result), &result, false) else {
            break;
        };
        let policy::Redirect::To(target) = policy::follow(&hop, &hop.url, &location, ROBOTS_REDIRECTS_MAX) else {
            break;
        };
        if Origin::of(&target) != Origin::of(&hop.url) {
            // It has a throttle of its own, which the dispatcher knows.
            break;
        }
        let previous = std::mem::replace(&mut hop.url, target);
        hop.redirects.push(previous);
        let private_ok = reading::may_be_private(job, &hop.url, private_ok);
        // Where it leads elsewhere, the way was not chosen for it.
        let is_same = Origin::of(&hop.url) == Origin::of(&job.url);
        let via = if is_same { via } else { &Via::default() };
        result = fetch.fetch(request(plan, &hop, private_ok, via, now)).await;
    }
    result
}

fn request(plan: &Plan, job: &Job, private_ok: bool, via: &Via, now: Timestamp) -> Request {
    let mut parts = parts(plan, job);
    // Nothing is held of most jobs.
    if let Some(asking) = job.held.as_ref().and_then(|_| Asking::of(plan, job, &parts, now)) {
        parts.headers.extend(asking.headers());
    }
    let types = match plan.site(job.source) {
        Some(site) if job.kind == JobKind::Page => Arc::clone(&site.types),
        _ => Arc::from([]),
    };
    let Parts { call: Call { url, extra }, accept, headers } = parts;
    let stream = plan.stream(job.source).filter(|_| job.kind == JobKind::ApiPage);
    let identity = plan.auth_of(job).map(|auth| Identity { auth, token: via.token });
    let compress = stream.and_then(|stream| stream.compress);
    let proxy = via.proxy.clone();
    Request { url, extra: extra.into_job(), headers, identity, compress, proxy, accept, types, private_ok }
}

/// The headers by which a job is asked for only if it changed, in a request that leaves at `now`; for a simulation, which has no network.
#[must_use]
pub fn conditions(plan: &Plan, job: &Job, now: Timestamp) -> Vec<(String, String)> {
    let asking = job.held.as_ref().and_then(|_| Asking::of(plan, job, &parts(plan, job), now));
    asking.iter().flat_map(Asking::headers).map(|(name, value)| (name, value.0)).collect()
}

/// The request of a job without conditions.
pub(super) fn parts(plan: &Plan, job: &Job) -> Parts {
    let mut headers: Vec<(String, Secret)> = Vec::new();
    let mut call = None;
    let accept = match job.kind {
        JobKind::Page => ACCEPT_PAGE,
        JobKind::Robots => ACCEPT_ROBOTS,
        JobKind::Sitemap | JobKind::Feed => ACCEPT_XML,
        JobKind::ApiPage => {
            // Credentials go to the origin that they were given for and to no other, wherever a next link points.
            if let Some(stream) = plan.stream(job.source) {
                if Origin::of(&job.url).is_some_and(|origin| origin == stream.origin) {
                    headers.clone_from(&stream.headers);
                }
                call = Some(streams::call_of(stream, job));
            }
            ACCEPT_JSON
        }
    };
    Parts { call: call.unwrap_or_else(|| job.call()), accept, headers }
}

/// The pure half of a worker: everything after the answer has come. `private_ok` is whether the job may lead to private
/// addresses, `sent_at` and `now` are when its request left and when its answer had come. The same arguments give the same
/// report, since the dice are seeded by the job and the instant; so a simulation needs no network and no tasks.
#[must_use]
pub fn digest(
    plan: &Plan,
    job: &Job,
    result: &Result<Fetched, FetchError>,
    private_ok: bool,
    sent_at: Timestamp,
    now: Timestamp,
) -> Report {
    let mut outcome = Outcome::of(result);
    let mut hints = Hints::default();
    if let Ok(fetched) = result {
        hints = Hints::read(&fetched.headers, fetched.answered_at);
        outcome = refusal::recognise(plan, fetched, outcome, &mut hints);
    }
    let judgement = match (plan.stream(job.source), result) {
        (Some(stream), Ok(fetched)) if job.kind == JobKind::ApiPage => {
            streams::judge(stream, job, fetched, &outcome, now)
        }
        _ => Judgement::None,
    };
    let mut dice = fastrand::Rng::with_seed(job.id.0.unsigned_abs() ^ now.0.unsigned_abs().rotate_left(32));
    let asking = Asking::of(plan, job, &parts(plan, job), sent_at);
    if let (Some(asking), Ok(Fetched { status: 304, url, .. }), Judgement::None) = (&asking, result, &judgement)
        // Where a robots.txt redirects, it is asked without conditions.
        && (job.kind != JobKind::Robots || *url == job.url)
    {
        return not_modified(plan, job, asking, result, hints, sent_at, now, &mut dice);
    }
    match &judgement {
        Judgement::Throttled { retry_at } => {
            outcome = Outcome::Refused;
            hints.retry_at = hints.retry_at.max(*retry_at);
        }
        Judgement::Failed(_) => outcome = Outcome::Broken,
        Judgement::None
        | Judgement::Settled(_)
        | Judgement::Restart(_)
        | Judgement::FromStart(..)
        | Judgement::Split(_)
        | Judgement::TooMuch(_) => {}
    }
    let mut verdict = policy::judge(&outcome, result, job, &plan.retry, now, &mut dice);
    if let (Outcome::Unreachable, Err(error)) = (&outcome, result) {
        // The dispatcher, who knows whether the whole host is down, may overrule this.
        verdict = policy::charge(error.to_string(), job, &plan.retry, now, &mut dice);
    }
    if let Judgement::Failed(why) = &judgement {
        verdict = policy::charge(why.clone(), job, &plan.retry, now, &mut dice);
    }
    let attempt = attempt_record(&outcome, result, &verdict, sent_at, now);
    let mut reading = if job.kind == JobKind::Robots {
        read_robots(plan, job, &outcome, result, &verdict)
    } else {
        match result {
            Ok(fetched) => match judgement {
                Judgement::None => {
                    let mut reading = read(plan, job, &outcome, fetched, private_ok, now);
                    if let Some(asking) = &asking {
                        asking::after(plan, job, asking, result, &mut reading, now, &mut dice);
                    }
                    reading
                }
                judgement => reading::judged(fetched, judgement),
            },
            Err(_) => Reading::default(),
        }
    };
    if reading.robots.is_some() {
        // A host without robots.txt has answered the question all the same.
        reading.change = reading.change.or(match verdict {
            Verdict::Gone(_) => Some(crate::store::JobMove::Done),
            Verdict::Dead(_) if outcome == Outcome::Rejected => Some(crate::store::JobMove::Done),
            _ => None,
        });
    }
    Report { outcome, verdict, hints, attempt, reading }
}

/// The report of a 304.
#[expect(clippy::too_many_arguments, reason = "all that a report is made of")]
fn not_modified(
    plan: &Plan,
    job: &Job,
    asking: &Asking,
    result: &Result<Fetched, FetchError>,
    hints: Hints,
    sent_at: Timestamp,
    now: Timestamp,
    dice: &mut fastrand::Rng,
) -> Report {
    let mut reading = Reading::default();
    let mut why_in_full = None;
    let (outcome, verdict) = match asking::not_modified(plan, job, asking, result, now, dice) {
        NotModified::Stands(hold) => {
            reading.hold = Some(hold);
            (Outcome::Served, Verdict::Settle)
        }
        NotModified::RulesStand(headers) => {
            reading.robots = Some(RobotsReading::confirmed(304, &headers));
            (Outcome::Served, Verdict::Settle)
        }
        NotModified::InFull(why) => {
            reading.change = Some(crate::store::JobMove::Stay);
            reading.ask_in_full = true;
            why_in_full = Some(format!("{why}: it is asked for in full"));
            (Outcome::Served, Verdict::Settle)
        }
        NotModified::Unasked => {
            let reason = "answered 304 (not modified) to a request without conditions".to_owned();
            (Outcome::Rejected, policy::charge(reason, job, &plan.retry, now, dice))
        }
    };
    let mut attempt = attempt_record(&outcome, result, &verdict, sent_at, now);
    attempt.error = attempt.error.or(why_in_full);
    Report { outcome, verdict, hints, attempt, reading }
}

fn read_robots(
    plan: &Plan,
    job: &Job,
    outcome: &Outcome,
    result: &Result<Fetched, FetchError>,
    verdict: &Verdict,
) -> Reading {
    let attempts_used_up = matches!(verdict, Verdict::Dead(_));
    let answer = match policy::robots_from_answer(outcome, result, attempts_used_up) {
        RobotsDecision::Known(answer) => answer,
        RobotsDecision::Follow(location)
            if let Some(hop) = result.as_ref().ok().and_then(|fetched| hop_elsewhere(job, fetched, &location)) =>
        {
            return Reading { robots_at: Some(hop), ..Reading::default() };
        }
        // More redirects than are followed: the file counts as absent.
        RobotsDecision::Follow(_) => RobotsAnswer::absent(result.as_ref().ok().map(|fetched| fetched.status)),
        RobotsDecision::Defer(_) => return Reading::default(),
    };
    let discovered = reading::sitemaps_of_robots(plan, job, &answer);
    let mut answer = RobotsReading::from(answer);
    if !job.redirects.is_empty() || result.as_ref().is_ok_and(|fetched| fetched.url != job.url) {
        // They belong to the address that it redirects to.
        answer.headers = Headers::default();
    }
    Reading { discovered, robots: Some(answer), ..Reading::default() }
}

/// Where a robots.txt redirects from and to, if that is another host.
fn hop_elsewhere(job: &Job, fetched: &Fetched, location: &str) -> Option<(Url, Url)> {
    match policy::follow(job, &fetched.url, location, ROBOTS_REDIRECTS_MAX) {
        policy::Redirect::To(target) if Origin::of(&target) != Origin::of(&fetched.url) => {
            Some((fetched.url.clone(), target))
        }
        _ => None,
    }
}

fn attempt_record(
    outcome: &Outcome,
    result: &Result<Fetched, FetchError>,
    verdict: &Verdict,
    sent_at: Timestamp,
    now: Timestamp,
) -> AttemptRecord {
    let word = match outcome {
        Outcome::Served => "served",
        Outcome::Redirected => "redirected",
        Outcome::Refused => "refused",
        Outcome::Overloaded => "overloaded",
        Outcome::Gone => "gone",
        Outcome::Rejected => "rejected",
        Outcome::Broken => "broken",
        Outcome::Unreachable => "unreachable",
        Outcome::Silent => "silent",
        Outcome::Impossible => "impossible",
        Outcome::Unsent => "unsent",
        Outcome::Stopped => "stopped",
    };
    let error = match (result, verdict) {
        (Err(error), _) => Some(error.to_string()),
        (Ok(_), Verdict::Gone(reason) | Verdict::Dead(reason) | Verdict::RetryAt { reason, .. }) => {
            Some(reason.clone())
        }
        (Ok(_), Verdict::Settle | Verdict::Hold) => None,
    };
    AttemptRecord {
        sent_at,
        took_ms: now.since_ms(sent_at),
        status: result.as_ref().ok().map(|fetched| fetched.status),
        outcome: word,
        body_bytes: result.as_ref().map_or(0, |fetched| u64::try_from(fetched.body.len()).unwrap_or(u64::MAX)),
        retry_at: None,
        error,
    }
}

/// The report of a worker that was stopped.
pub(super) fn stopped(job: &Job, now: Timestamp) -> Report {
    let result = Err(FetchError::Stopped);
    Report {
        outcome: Outcome::Stopped,
        verdict: Verdict::Hold,
        hints: Hints::default(),
        attempt: attempt_record(&Outcome::Stopped, &result, &Verdict::Hold, now, now),
        reading: Reading { change: None, ..Reading::default() },
    }
    .checked(job)
}

/// The report of a worker that panicked: the answer is beyond us, and the job must not come back for ever.
pub(super) fn panicked(job: &Job, now: Timestamp) -> Report {
    let reason = "reading the answer failed inside trundle; please report the address".to_owned();
    let result = Err(FetchError::Broken(reason.clone()));
    let verdict = Verdict::Dead(reason);
    Report {
        outcome: Outcome::Broken,
        attempt: attempt_record(&Outcome::Broken, &result, &verdict, now, now),
        verdict,
        hints: Hints::default(),
        reading: Reading::default(),
    }
    .checked(job)
}

impl Report {
    /// A stopped or failed worker brings nothing that was read.
    fn checked(self, job: &Job) -> Self {
        debug_assert!(self.reading.discovered.is_empty(), "job {} read something without an answer", job.id);
        self
    }
}
