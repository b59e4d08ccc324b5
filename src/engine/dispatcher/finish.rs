//! What becomes of a job whose request has ended, and what its host learns from it.

use crate::clock::Timestamp;
use crate::exchange::Outcome;
use crate::job::{HostId, Job, JobId, JobKind, route_of};
use crate::policy::{self, RetrySettings, RobotsAnswer, Verdict};
use crate::store::{AttemptRecord, HostLearned, JobMove, Loaded, RobotsRecord, RobotsStep, Settlement};
use crate::throttle::{Asked, Blame, Grant, Hints, Suspicion};

use super::super::asking;
use super::super::report::{Reading, Report, RobotsReading};
use super::super::teaching;
use super::elsewhere::Elsewhere;
use super::{Action, Dispatcher, InFlight, batches};

impl Dispatcher {
    pub(super) fn on_finished(&mut self, job_id: JobId, report: Report, now: Timestamp, actions: &mut Vec<Action>) {
        let InFlight { mut loaded, grant, members, elsewhere } =
            self.in_flight.remove(&job_id).expect("only a job in flight can finish");
        if self.in_flight.is_empty() {
            self.has_suspect_in_flight = false;
            for host_id in std::mem::take(&mut self.with_suspects) {
                self.look_at(host_id, now);
            }
        }
        let host_id = job_id.host_id();
        let Report { outcome, verdict, hints, mut attempt, mut reading } = report;
        // A robots.txt may lie at another host, which learns what came of the request.
        let (lender, asked) = elsewhere.map_or((None, None), |(lender, asked)| (Some(lender), Some(asked)));
        let asked = asked.as_deref().unwrap_or(&loaded.job);
        let taught = self.teach(lender.unwrap_or(host_id), grant, asked, &outcome, &attempt, hints, now);
        let Taught { suspicion, blame, embargo_at, .. } = taught;

        // A job is not to blame for a limit, nor for a host that nobody can reach.
        let stays = matches!(outcome, Outcome::Refused | Outcome::Unsent | Outcome::Stopped)
            || suspicion == Some(Suspicion::Sure)
            || (outcome == Outcome::Unreachable && taught.is_down && taught.given_up.is_none());
        let change = if outcome == Outcome::Refused && blame == Blame::Request {
            alone_refused(&loaded.job, attempt.status, taught.announced_at, &self.plan.retry, now, &mut self.dice)
        } else if let Some(lender) = lender.filter(|_| stays && outcome != Outcome::Stopped) {
            self.waits_for(lender, embargo_at, now)
        } else if stays {
            JobMove::Stay
        } else if let (Outcome::Unreachable | Outcome::Silent, Some(why)) = (&outcome, taught.given_up) {
            JobMove::Dead(why)
        } else if let Some(hop) = reading.robots_at.take() {
            match self.ask_elsewhere(&loaded, asked, hop, &mut reading, now, actions) {
                Elsewhere::Sent => JobMove::Stay,
                Elsewhere::Not(change) => change,
            }
        } else if let Some(change) = reading.change.take() {
            change
        } else {
            match verdict {
                // It may be no fault of the page: its attempts bound how often that is tried.
                Verdict::Dead(reason) if outcome == Outcome::Rejected && suspicion.is_some() => {
                    moved(policy::charge(reason, &loaded.job, &self.plan.retry, now, &mut self.dice))
                }
                verdict => moved(verdict),
            }
        };
        for member in &members {
            self.in_batches.remove(&member.job.id);
        }
        // 413: the body is too long, 414: the address is (RFC 9110 sections 15.5.14 and 15.5.15).
        let is_too_much = reading.is_too_much || matches!(attempt.status, Some(413 | 414));
        if is_too_much && !members.is_empty() && matches!(change, JobMove::Dead(_) | JobMove::Gone(_)) {
            let half = batches::half(members.len() + 1);
            self.together_max.entry(loaded.job.source).and_modify(|most| *most = half.min(*most)).or_insert(half);
        }
        let (change, members) =
            batches::settle(&self.plan, change, &loaded, members, &mut reading, now, &mut self.dice);
        attempt.retry_at = match &change {
            JobMove::Retry { due_at, .. } | JobMove::Defer { due_at, .. } => Some(*due_at),
            JobMove::Stay => embargo_at,
            _ => None,
        };

        let host = self.hosts.get_mut(&host_id).expect("a host with a job in flight is kept");
        let given_up = host.given_up().is_some();
        let robots = robots_of(&loaded.job, &change, &mut reading, stays, given_up, attempt.status);
        let robots = robots.map(|robots| step_of(host_id, robots, now));
        if reading.ask_in_full && loaded.job.kind == JobKind::Robots {
            host.forget_robots_held();
        }
        let budget = self.budgets.entry(loaded.job.source).or_default();
        if loaded.job.kind == JobKind::Page {
            budget.in_flight -= 1;
            if change == JobMove::Done {
                budget.done += 1;
            }
        }
        let is_settled = change != JobMove::Stay;
        let hold = asking::finished(&self.plan, &mut loaded.job, &change, &mut reading, now);
        let settlement = Settlement {
            hold,
            robots: robots.clone(),
            learned: Some(taught.learned),
            ..reading.into_settlement(job_id, change, attempt)
        };
        let together_max = members.iter().map(|(member, _)| member.together_max).min();
        let loaded = Loaded { together_max: together_max.unwrap_or(loaded.together_max), ..loaded };
        let of_members = batches::part(host, members);
        if !is_settled && !self.in_flight.contains_key(&job_id) {
            // A job that alone gets a doubtful status must not be the one that asks whether the host is open again.
            let front = outcome != Outcome::Unreachable && blame != Blame::ScopeAgain && suspicion.is_none();
            host.put_back(loaded, front);
        }
        if let Some(step) = robots {
            self.take_robots(host_id, step);
        }
        // First what the records came with: an id is done only when they are stored.
        self.settle(settlement, actions);
        for settlement in of_members {
            self.settle(settlement, actions);
        }
        if let Some(lender) = lender {
            self.look_at(lender, now);
        }
        self.look_at(host_id, now);
    }
}

/// What came of a request for the host that it was sent to.
struct Taught {
    suspicion: Option<Suspicion>,
    blame: Blame,
    announced_at: Option<Timestamp>,
    /// Until when nothing is sent to where it went.
    embargo_at: Option<Timestamp>,
    is_down: bool,
    given_up: Option<String>,
    learned: HostLearned,
}

impl Dispatcher {
    /// A host's robots.txt is known, or known to stand.
    fn take_robots(&mut self, host_id: HostId, step: RobotsStep) {
        let Some(mut host) = self.hosts.remove(&host_id) else { return };
        match step {
            RobotsStep::Said(record) => self.learn_robots(&mut host, &record),
            RobotsStep::Confirmed { headers, expires_at, .. } => host.confirm_robots(&headers, expires_at),
        }
        self.hosts.insert(host_id, host);
    }

    /// Tells the throttle of the host that a request was sent to what came of it.
    #[expect(clippy::too_many_arguments, reason = "all that an outcome is made of")]
    fn teach(
        &mut self,
        host_id: HostId,
        grant: Grant,
        job: &Job,
        outcome: &Outcome,
        attempt: &AttemptRecord,
        hints: Hints,
        now: Timestamp,
    ) -> Taught {
        let host = self.hosts.get_mut(&host_id).expect("a host with a job in flight is kept");
        let route = route_of(&job.url);
        let closed_before = teaching::closed(&host.limits, route, now);
        let announced_at = hints.retry_at.or(hints.quota_spent.as_ref().map(|quota| quota.reset_at));
        let suspicion = teaching::suspicion(&mut host.limits, &grant, job, outcome, attempt.status, now);
        let feedback = teaching::feedback(outcome, suspicion, attempt, hints);
        let asked = Asked { route, id: u64::from(job.id.seq()) };
        let blame = host.limits.finish(grant, asked, &feedback, now, &mut self.dice);
        teaching::tell(&host.origin, &host.limits, route, &closed_before, now);
        teaching::tell_learned(&host.origin, &mut host.limits, now);
        host.follow_limits(true);
        host.count_refusals(outcome, (self.plan.throttle_for)(&host.origin).down_max_ms, now);
        let whole = host.limits.host();
        let (is_down, given_up) = (whole.is_down(), whole.given_up().map(str::to_owned));
        let embargo_at = host.limits.closed_until(now, route);
        let learned = teaching::learned(host_id, &mut host.limits, now);
        Taught { suspicion, blame, announced_at, embargo_at, is_down, given_up, learned }
    }
}

/// What is known of a host's robots.txt after an outcome of its job.
fn robots_of(
    job: &Job,
    change: &JobMove,
    reading: &mut Reading,
    stays: bool,
    given_up: bool,
    status: Option<u16>,
) -> Option<RobotsReading> {
    // While the host is down or refuses, nothing is known of its robots.txt, whatever the worker concludes from its attempts.
    let read = reading.robots.take().filter(|_| !stays);
    let is_answered =
        job.kind == JobKind::Robots && !matches!(change, JobMove::Stay | JobMove::Defer { .. } | JobMove::Retry { .. });
    // However its job ended, its pages must not wait for ever; what cannot be had closes the host (RFC 9309 2.3.1.4).
    read.or_else(|| {
        (is_answered && !given_up).then(|| RobotsReading::from(RobotsAnswer::closed(status, String::new())))
    })
}

/// What is stored of it.
fn step_of(host_id: HostId, robots: RobotsReading, now: Timestamp) -> RobotsStep {
    let RobotsReading { status, body, disallow_all, lifetime_ms, headers } = robots;
    let expires_at = now.plus_ms(lifetime_ms);
    let headers = headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    match body {
        None => RobotsStep::Confirmed { host_id, headers, expires_at },
        Some(body) => {
            RobotsStep::Said(RobotsRecord { host_id, status, body, disallow_all, fetched_at: now, expires_at, headers })
        }
    }
}

/// What becomes of a job that is refused while others of its route are answered: it waits for itself. With a word about when, it
/// keeps its attempts, as ever; without one, nothing would ever end it.
fn alone_refused(
    job: &Job,
    status: Option<u16>,
    announced_at: Option<Timestamp>,
    retry: &RetrySettings,
    now: Timestamp,
    dice: &mut fastrand::Rng,
) -> JobMove {
    let status = status.map_or_else(|| "with a limit".to_owned(), |status| status.to_string());
    let reason = format!("answered {status} again and again, while others of {} are not", route_of(&job.url));
    if let Some(due_at) = announced_at {
        return JobMove::Defer { due_at, reason };
    }
    moved(policy::charge(reason, job, retry, now, dice))
}

/// What a verdict means for the job.
pub(super) fn moved(verdict: Verdict) -> JobMove {
    match verdict {
        Verdict::Settle => JobMove::Done,
        Verdict::Gone(reason) => JobMove::Gone(reason),
        Verdict::Dead(reason) => JobMove::Dead(reason),
        Verdict::RetryAt { at, reason } => JobMove::Retry { due_at: at, reason },
        Verdict::Hold => JobMove::Stay,
    }
}
