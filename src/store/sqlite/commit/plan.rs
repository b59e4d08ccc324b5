//! What a batch changes, worked out in memory: rows to write, counters to move, and what to acknowledge. Pure.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use url::Position;

use crate::clock::Timestamp;
use crate::job::{DedupKey, HostId, JobId, JobKind, JobState, Origin, Priority, SourceId};
use crate::store::hex::hex;
use crate::store::sqlite::columns::Columns;
use crate::store::sqlite::hold_rows::{DuePage, NamedPage};
use crate::store::sqlite::scope_rows;
use crate::store::{AttemptRecord, HostLearned, JobMove, NewResponse, Rank, RobotsStep, Settlement};

use super::gather::{Found, Gathered, Role};
use super::holds::{self, Confirmed, Onward};
use super::items::MetItems;
use super::known::KnownHost;
use super::read::{Again, HostBefore, KnownPage, OpenJob, Retried};
use super::rows::{HostDelta, LearnedColumns, Plan, ResponseRow};
use super::{Part, Trouble, Unit, walks};
use crate::store::sqlite::slice_rows::{SliceIdent, SliceNow};

/// The reason of a job whose stream shows the same again and again.
const STALLED: &str = "the last three pages had only records that this walk had met before: what is sent for the next page does not \
                       move the API on; set `paginate` to where it wants its cursor or page number, or end the walk by max_pages";

/// The reason of a job whose stream goes in a circle.
const CIRCLE: &str = "its next page was fetched before: the API's cursor goes in a circle";

/// Characters of a reason or an error that are kept; what the network says is not bounded.
const REASON_CHARS_MAX: usize = 1_000;

/// What a batch meets in the file.
pub(super) struct Met<'m> {
    pub(super) jobs: &'m HashMap<JobId, OpenJob>,
    pub(super) origins: &'m HashMap<Origin, KnownHost>,
    pub(super) hosts: &'m HashMap<HostId, HostBefore>,
    pub(super) known_requests: &'m HashSet<(HostId, DedupKey)>,
    pub(super) again: &'m HashMap<(HostId, DedupKey), Again>,
    /// Pages of slices that are found and are in the file.
    pub(super) pages: &'m HashMap<(HostId, DedupKey), KnownPage>,
    /// The first pages of slices that begin again.
    pub(super) first_pages: &'m HashMap<JobId, KnownPage>,
    /// What is held of the pages of slices that have not changed.
    pub(super) confirmed: &'m HashMap<JobId, Confirmed>,
    /// Pages that are due again.
    pub(super) due: &'m [DuePage],
    /// Pages that are due sooner, since they are said to have changed.
    pub(super) named: &'m [NamedPage],
    /// Jobs that are to be done once more.
    pub(super) retried: &'m [Retried],
    /// The columns of the streams whose records are in the batch.
    pub(super) columns: &'m HashMap<SourceId, Columns>,
    /// What is known about the records of the batch.
    pub(super) items: &'m MetItems,
}

/// Works out what a batch changes.
pub(super) fn plan(
    part: &Part<'_>,
    gathered: &Gathered<'_>,
    met: &Met<'_>,
    slices: HashMap<SliceIdent, SliceNow>,
) -> Result<Plan, Trouble> {
    let mut plan = Plan { slices, ..Plan::default() };
    for (&host_id, before) in met.hosts {
        let delta = HostDelta { seq: before.seq, n_open_before: before.n_open, ..HostDelta::default() };
        plan.hosts.insert(host_id, delta);
    }
    let is_stalled = |&&i: &&usize| {
        let open = met.jobs.get(&part.batch.settlements[i].job_id);
        met.items.idle.contains(&i) && open.is_some_and(|open| walks::is_stalled(&plan.slices, open))
    };
    let stalled: HashSet<Unit> = gathered.applied.iter().filter(is_stalled).map(|&i| Unit::Settlement(i)).collect();
    let circles = insert_found(&mut plan, &gathered.found, &stalled, met, part.batch.now)?;
    holds::reopen_due(&mut plan, met.due)?;
    retry(&mut plan, met.retried)?;
    let mut jobs = met.jobs.clone();
    for &i in &gathered.applied {
        let settlement = &part.batch.settlements[i];
        let unit = Unit::Settlement(i);
        let open = jobs.get_mut(&settlement.job_id).ok_or_else(|| inconsistent(settlement.job_id, "was not read"))?;
        if let Some(why) = part.bad.get(&unit) {
            let why = format!("what came of it could not be stored: {why}");
            event(&mut plan, settlement.job_id, "isolated", &why);
            // Nothing of the outcome itself is used: any part of it may be what is refused.
            let bare = Settlement::bare(settlement.job_id, JobMove::Dead(why));
            move_job(&mut plan, &bare, open, &bare.change, part.batch.now)?;
            walks::step(&mut plan, &bare, open, &bare.change, false, Onward::AsNamed, part.batch.now);
            continue;
        }
        let circle = JobMove::Dead(CIRCLE.into());
        let stall = JobMove::Dead(STALLED.into());
        let onward = holds::onward(&mut plan, settlement, open, met.confirmed)?;
        let change = if stalled.contains(&unit) {
            event(&mut plan, settlement.job_id, "stalled", STALLED);
            &stall
        } else if circles.contains(&unit) || onward == Onward::Circle {
            plan.ack.circles.push(settlement.job_id);
            event(&mut plan, settlement.job_id, "circle", CIRCLE);
            &circle
        } else {
            &settlement.change
        };
        move_job(&mut plan, settlement, open, change, part.batch.now)?;
        if let Some(why) = &settlement.walk.restart {
            walks::restart(&mut plan, settlement.job_id, open, why, met, part.batch.now)?;
        } else {
            let is_idle = met.items.idle.contains(&i);
            walks::step(&mut plan, settlement, open, change, is_idle, onward, part.batch.now);
        }
        holds::keep(&mut plan, unit, settlement, open, met.confirmed);
        keep(&mut plan, settlement);
        keep_items(&mut plan, i, settlement, open, met);
    }
    holds::move_named(&mut plan, met);
    if part.rest {
        plan.rest(part);
    }
    for (unit, why) in part.bad {
        let url = match unit {
            Unit::Found(i) => Some(&part.batch.found[*i].url),
            Unit::Slice(i) => Some(&part.batch.slices[*i].first.url),
            Unit::Settlement(_) => None,
        };
        if let Some(url) = url {
            tracing::error!("found job {url} cannot be stored and was left out: {why}");
            plan.events.push((None, None, "isolated", short(&format!("{url} was left out: {why}"))));
        }
    }
    plan.settled = part.units.iter().filter_map(|unit| settled_job(part, *unit)).collect();
    plan.new_jobs.sort_unstable_by_key(|row| row.0);
    plan.new_hosts = plan
        .hosts
        .iter()
        .filter(|(_, host)| host.n_open_before == 0 && host.counts.ready + host.counts.waiting > 0)
        .map(|(&host_id, _)| host_id)
        .collect();
    plan.ack.dropped.clone_from(&gathered.dropped);
    plan.ack.hosts.retain(|_, ack| *ack != crate::store::HostAck::default());
    Ok(plan)
}

fn settled_job(part: &Part<'_>, unit: Unit) -> Option<JobId> {
    match unit {
        Unit::Settlement(i) => Some(part.batch.settlements[i].job_id),
        Unit::Found(_) | Unit::Slice(_) => None,
    }
}

pub(super) fn inconsistent(job_id: JobId, why: &str) -> Trouble {
    Trouble::Store(crate::store::StoreError::Inconsistent {
        table: "jobs",
        row: job_id.to_string(),
        why: why.to_owned(),
    })
}

/// Numbers the jobs that are new. Returns the units whose next page was not.
fn insert_found(
    plan: &mut Plan,
    found: &[Found<'_>],
    stalled: &HashSet<Unit>,
    met: &Met<'_>,
    now: Timestamp,
) -> Result<HashSet<Unit>, Trouble> {
    let mut circles = HashSet::new();
    let mut in_batch = HashSet::new();
    for found in found {
        if matches!(found.role, Role::Next(_)) && stalled.contains(&found.unit) {
            continue;
        }
        let job = found.job;
        let refused = |why: &str| Trouble::RefusedUnit(found.unit, format!("{}: {why}", job.url));
        let host_id = met.origins.get(&found.origin).ok_or_else(|| refused("its host was not inserted"))?.id;
        let request = (host_id, found.key);
        let is_first = in_batch.insert(request);
        if let Role::First { slice, is_late } = found.role {
            let is_begun = walks::begin(plan, slice, now);
            if is_late && !is_begun && walks::has_first(plan, slice) {
                continue;
            }
        }
        if let Some(slice) = found.role.slice() {
            let known = met.pages.get(&request).filter(|_| is_first);
            if known.is_some() || !is_first {
                if let (Some(page), Role::Next(_)) = (known, found.role) {
                    plan.next_pages.insert(found.unit, page.job_id);
                }
                if let (Some(page), Role::First { .. }) = (known, found.role) {
                    walks::set_first(plan, slice, page.job_id);
                }
                let is_old = known.map(|page| walks::fetch_again(plan, slice, *page)).transpose()?.unwrap_or(false);
                if !is_old && matches!(found.role, Role::Next(_)) {
                    circles.insert(found.unit);
                }
                continue;
            }
        } else if met.known_requests.contains(&request) || !is_first {
            if matches!(found.role, Role::Next(_)) {
                circles.insert(found.unit);
            }
            if let Some(again) = met.again.get(&request).filter(|_| found.job.again && is_first) {
                reopen(plan, *again)?;
            }
            continue;
        }
        let host = plan.hosts.get_mut(&host_id).ok_or_else(|| refused("its host has no state"))?;
        let seq =
            u32::try_from(host.seq).map_err(|_| refused("its host has 2^32 jobs, which is the most there can be"))?;
        host.seq += 1;
        host.counts.ready += 1;
        let job_id = JobId::new(host_id, seq);
        let redirects = (!job.redirects.is_empty()).then(|| {
            let texts: Vec<&str> = job.redirects.iter().map(url::Url::as_str).collect();
            serde_json::to_string(&texts).expect("text is JSON")
        });
        plan.new_jobs.push((
            job_id.0,
            host_id.0,
            found.key.0,
            job.kind.code(),
            job.priority.0,
            job.parent.map(|parent| parent.0),
            job.source.0,
            job.depth,
            job.url[Position::BeforePath..Position::AfterQuery].to_owned(),
            redirects,
            job.extra.as_ref().map(|extra| serde_json::to_string(extra).expect("it is plain JSON")),
            found.role.slice().and_then(|slice| Some(plan.slices.get(&slice)?.id)),
            found.role.slice().and_then(|slice| Some(plan.slices.get(&slice)?.walk)),
        ));
        match found.role {
            Role::First { slice, .. } => walks::set_first(plan, slice, job_id),
            Role::Next(_) => {
                plan.next_pages.insert(found.unit, job_id);
            }
            Role::Named => {}
        }
        plan.sources.entry(job.source).or_default().found += 1;
        *plan.ack.found_by_source.entry(job.source).or_default() += 1;
        let rank = Rank { priority: job.priority, job_id };
        let ack = plan.ack.hosts.entry(host_id).or_default();
        ack.inserted += 1;
        ack.first_rank = Some(ack.first_rank.map_or(rank, |first| first.min(rank)));
    }
    Ok(circles)
}

/// Makes jobs ready that were given up; a walk that one of them ended goes on with it.
fn retry(plan: &mut Plan, retried: &[Retried]) -> Result<(), Trouble> {
    for &Retried { page, slice } in retried {
        if plan.reopened.iter().any(|(job_id, _)| *job_id == page.job_id) {
            continue;
        }
        if slice.is_some_and(|ident| !walks::go_on(plan, ident, page.walk)) {
            continue;
        }
        event(plan, page.job_id, "retry", "by hand");
        reopen_for(plan, page.job_id, page.state, page.priority, None)?;
    }
    Ok(())
}

/// Makes a settled job ready once more.
fn reopen(plan: &mut Plan, again: Again) -> Result<(), Trouble> {
    let Again { job_id, state, priority } = again;
    reopen_for(plan, job_id, state, priority, None)
}

/// The same, for this walk through its slice.
pub(super) fn reopen_for(
    plan: &mut Plan,
    job_id: JobId,
    state: JobState,
    priority: u8,
    walk: Option<u32>,
) -> Result<(), Trouble> {
    let ready = state.move_to(JobState::Ready).map_err(|illegal| inconsistent(job_id, &illegal.to_string()))?;
    let host_id = job_id.host_id();
    let host = plan.hosts.get_mut(&host_id).ok_or_else(|| inconsistent(job_id, "its host has no state"))?;
    *host.counts.of_state(state) -= 1;
    *host.counts.of_state(ready) += 1;
    plan.reopened.push((job_id, walk));
    let rank = Rank { priority: Priority(priority), job_id };
    let ack = plan.ack.hosts.entry(host_id).or_default();
    ack.inserted += 1;
    ack.first_rank = Some(ack.first_rank.map_or(rank, |first| first.min(rank)));
    Ok(())
}

/// Moves one job, and its host's and its source's counters with it.
fn move_job(
    plan: &mut Plan,
    settlement: &Settlement,
    open: &mut OpenJob,
    change: &JobMove,
    now: Timestamp,
) -> Result<(), Trouble> {
    let job_id = settlement.job_id;
    let host_id = job_id.host_id();
    let (to, due_at, reason) = match change {
        JobMove::Stay => return Ok(()),
        JobMove::Done => (JobState::Done, None, None),
        JobMove::Gone(reason) => (JobState::Gone, None, Some(reason)),
        JobMove::Dead(reason) => (JobState::Dead, None, Some(reason)),
        JobMove::Skipped(reason) => (JobState::Skipped, None, Some(reason)),
        JobMove::Defer { due_at, reason } | JobMove::Retry { due_at, reason } => {
            (JobState::Waiting, Some(*due_at), Some(reason))
        }
    };
    let to = open.state.move_to(to).map_err(|illegal| inconsistent(job_id, &illegal.to_string()))?;
    let host = plan.hosts.get_mut(&host_id).ok_or_else(|| inconsistent(job_id, "its host has no state"))?;
    *host.counts.of_state(open.state) -= 1;
    *host.counts.of_state(to) += 1;
    // The attempt that a job dies of has failed too.
    let is_failed = matches!(change, JobMove::Retry { .. });
    if is_failed || (to == JobState::Dead && settlement.attempt.is_some()) {
        open.attempt += 1;
    }
    if let Some(due_at) = due_at {
        let ack = plan.ack.hosts.entry(host_id).or_default();
        ack.first_due_at = Some(ack.first_due_at.map_or(due_at, |first| first.min(due_at)));
    }
    if to == JobState::Done && [JobKind::Page.code(), JobKind::ApiPage.code()].contains(&open.kind) {
        plan.sources.entry(open.source).or_default().pages_done += 1;
    }
    open.state = to;
    let of_response = settlement.response.as_ref().map(|response| response.status);
    let status = of_response.or(settlement.attempt.as_ref().and_then(|attempt| attempt.status));
    let settled_at = (!to.is_open()).then_some(now.0);
    let reason = reason.map(|reason| short(reason));
    plan.moves.insert(job_id, (to.code(), due_at.map(|at| at.0), open.attempt, status, settled_at, reason));
    Ok(())
}

/// Rows of what a settlement brings beside the move.
fn keep(plan: &mut Plan, settlement: &Settlement) {
    let job_id = settlement.job_id;
    if let Some(attempt) = &settlement.attempt {
        keep_attempt(plan, job_id, attempt);
    }
    if let Some(response) = &settlement.response {
        plan.responses.push(response_row(job_id, response));
        plan.bodies.extend(response.body.clone());
    }
    let pairs = |headers: &[(String, String)]| {
        (!headers.is_empty()).then(|| serde_json::to_string(headers).expect("text is JSON"))
    };
    match settlement.robots.as_ref().filter(|step| plan.hosts.contains_key(&step.host_id())) {
        Some(RobotsStep::Said(robots)) => plan.robots.push((
            robots.host_id,
            robots.status,
            robots.body.clone(),
            u8::from(robots.disallow_all),
            robots.fetched_at.0,
            robots.expires_at.0,
            pairs(&robots.headers),
        )),
        Some(RobotsStep::Confirmed { host_id, headers, expires_at }) => {
            plan.robots_confirmed.push((*host_id, expires_at.0, pairs(headers)));
        }
        None => {}
    }
    if let Some(learned) = &settlement.learned {
        plan.learn(learned);
    }
}

fn keep_items(plan: &mut Plan, i: usize, settlement: &Settlement, open: &OpenJob, met: &Met<'_>) {
    let source = open.source;
    // What is no page of a slice belongs to the pull that is on.
    let pull = open.slice.and_then(|place| plan.slices.get(&place.ident)).map(|slice| slice.pull);
    let merged = met.items.merged.get(&i);
    for (nth, item) in settlement.items.iter().enumerate() {
        let data = merged.and_then(|merged| merged.get(nth)).unwrap_or(&item.data);
        plan.items.push((source.0, hex(&item.key.0), settlement.job_id, data.to_string(), pull));
        learn_columns(plan, source, &item.data, met);
    }
    for (source, items) in &settlement.nested {
        for item in items {
            plan.items.push((source.0, hex(&item.key.0), settlement.job_id, item.data.to_string(), None));
            learn_columns(plan, *source, &item.data, met);
        }
    }
}

fn learn_columns(plan: &mut Plan, source: SourceId, data: &Value, met: &Met<'_>) {
    if let Some(known) = met.columns.get(&source)
        && !plan.columns.get(&source).unwrap_or(known).knows(data)
    {
        plan.columns.entry(source).or_insert_with(|| known.clone()).learn(data);
    }
}

fn keep_attempt(plan: &mut Plan, job_id: JobId, attempt: &AttemptRecord) {
    let count = plan.sent_times.entry((job_id, attempt.sent_at)).or_default();
    let nth = *count;
    *count += 1;
    plan.attempts.push((
        job_id.0,
        attempt.sent_at.0,
        nth,
        attempt.took_ms,
        attempt.status,
        attempt.outcome,
        attempt.body_bytes,
        attempt.retry_at.map(|at| at.0),
        attempt.error.as_deref().map(short),
    ));
    if let Some(host) = plan.hosts.get_mut(&job_id.host_id()) {
        host.counts.requests += 1;
        host.counts.bytes += i64::try_from(attempt.body_bytes).unwrap_or(i64::MAX);
        match attempt.outcome {
            "refused" => {
                host.counts.refused += 1;
                host.last_refused_at = Some(attempt.sent_at.plus_ms(attempt.took_ms).0);
            }
            "overloaded" | "broken" | "unreachable" | "silent" => host.counts.failed += 1,
            _ => {}
        }
    }
}

fn response_row(job_id: JobId, response: &NewResponse) -> ResponseRow {
    let headers: Vec<(&str, &str)> = response.headers.iter().collect();
    (
        job_id.0,
        response.fetched_at.0,
        response.status,
        response.content_type.clone(),
        response.charset,
        response.title.clone(),
        response.redirect_to.clone(),
        response.canonical.clone(),
        serde_json::to_string(&headers).expect("text is JSON"),
        (!response.notes.is_empty()).then(|| serde_json::to_string(&response.notes).expect("text is JSON")),
        response.links,
        response.body.as_ref().map(|body| hex(&body.hash)),
        response.body.as_ref().map(|body| body.len),
    )
}

impl Plan {
    fn learn(&mut self, learned: &HostLearned) {
        let host_id = learned.host_id;
        let Some(host) = self.hosts.get_mut(&host_id) else { return };
        for change in &learned.scopes {
            let row = change.memory.as_ref().map(|memory| scope_rows::row(host_id, memory, short));
            self.scopes.insert((host_id, change.name.clone()), row);
        }
        let snapshot = &learned.snapshot;
        let known = |value: f64| (value > 0.0).then_some(value);
        host.learned = Some(LearnedColumns {
            not_before_at: (learned.not_before_at > Timestamp::EPOCH).then_some(learned.not_before_at.0),
            not_before_why: learned.not_before_why.as_deref().map(short),
            rate_per_s: known(snapshot.rate_per_s),
            limit_per_s: known(snapshot.limit_per_s),
            concurrency: known(snapshot.concurrency),
            words: learned.words.as_deref().map(short),
            seen_at: learned.seen_at.map(|at| at.0),
            snapshot: serde_json::to_string(&**snapshot).expect("a snapshot is JSON"),
        });
    }

    /// What belongs to no settlement.
    fn rest(&mut self, part: &Part<'_>) {
        for learned in &part.batch.learned {
            self.learn(learned);
        }
        // A job that was sent and settled since the last batch is not in flight; one that was sent again is.
        let settled: HashMap<JobId, Option<Timestamp>> = part
            .batch
            .settlements
            .iter()
            .map(|settlement| (settlement.job_id, settlement.attempt.as_ref().map(|attempt| attempt.sent_at)))
            .collect();
        for &(job_id, sent_at) in &part.batch.sent {
            let in_flight = match settled.get(&job_id) {
                None => true,
                Some(Some(settled_at)) => sent_at > *settled_at,
                Some(None) => false,
            };
            if in_flight {
                self.sent.push((job_id, sent_at.0));
            }
        }
    }
}

pub(super) fn event(plan: &mut Plan, job_id: JobId, what: &'static str, detail: &str) {
    plan.events.push((Some(job_id.host_id()), Some(job_id), what, short(detail)));
}

pub(super) fn short(text: &str) -> String {
    text.chars().take(REASON_CHARS_MAX).collect()
}
