//! What an outcome teaches about its host: what the throttle is told of it, what is stored, and what people are told.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::exchange::Outcome;
use crate::job::{HostId, Job, JobKind, Origin};
use crate::store::{AttemptRecord, HostLearned};
use crate::throttle::{Embargo, Feedback, Grant, Hints, Limits, News, Order, Suspicion, Told};

/// What a status that may be a refusal is taken for; none when there is no doubt about it.
pub(super) fn suspicion(
    limits: &mut Limits,
    grant: &Grant,
    job: &Job,
    outcome: &Outcome,
    status: Option<u16>,
    now: Timestamp,
) -> Option<Suspicion> {
    // What a host forbids of these is settled by rules of their own.
    if matches!(job.kind, JobKind::Robots | JobKind::Sitemap) {
        return None;
    }
    limits.judge(grant, job.id.0, outcome, status, now).filter(|&suspicion| suspicion != Suspicion::Plain)
}

/// What the throttle is told of an attempt.
pub(super) fn feedback(
    outcome: &Outcome,
    suspicion: Option<Suspicion>,
    attempt: &AttemptRecord,
    hints: Hints,
) -> Feedback {
    if let Some(feedback) = suspicion.and_then(|suspicion| suspicion.feedback(outcome, &hints)) {
        return feedback;
    }
    match outcome {
        Outcome::Refused => Feedback::Refused(hints),
        // A 500 that says when to come back speaks of the host (RFC 9110 section 10.2.3); its job is charged all the same.
        Outcome::Broken if hints.retry_at.is_some() => Feedback::Refused(hints),
        Outcome::Overloaded => Feedback::Overloaded,
        Outcome::Unreachable => Feedback::Unreachable(attempt.error.clone().unwrap_or_default()),
        Outcome::Silent => Feedback::Silent(attempt.error.clone().unwrap_or_default()),
        Outcome::Unsent | Outcome::Stopped => Feedback::Stopped,
        _ if attempt.status.is_none() => Feedback::Broken,
        // A 500 is no sign that the host would bear more, but its limit has counted it.
        Outcome::Broken if hints.quota_spent.is_none() => Feedback::Failed,
        // The redirected request is to wait (same section). With other answers the field speaks of the one resource.
        Outcome::Redirected => Feedback::Answered(hints),
        _ => Feedback::Answered(Hints { retry_at: None, ..hints }),
    }
}

/// What is known about a host's limits, as it is stored with the outcome that taught it.
pub(super) fn learned(host_id: HostId, limits: &mut Limits, now: Timestamp) -> HostLearned {
    let changed = limits.take_changes(now);
    let embargo = limits.embargo_of_all(now);
    let whole = limits.host();
    HostLearned {
        host_id,
        not_before_at: embargo.map_or(Timestamp::EPOCH, |(at, _)| at),
        not_before_why: embargo.map(|(_, why)| why.to_owned()),
        words: whole.learned(),
        seen_at: whole.seen_at(),
        snapshot: Arc::new(whole.snapshot(now)),
        scopes: changed,
    }
}

/// Below this a wait is everyday life and only told with `--verbose`, in ms.
const WAIT_WORTH_TELLING_MS: u64 = 2_000;

/// What of a host is closed to a route, with the end of each wait: to be compared with what is after an answer.
pub(super) fn closed(limits: &Limits, route: &str, now: Timestamp) -> Vec<(Option<String>, Timestamp)> {
    limits.embargoes(now, route).map(|embargo| (embargo.name, embargo.until_at)).collect()
}

/// Logs changes of the embargoes that a route is under as facts that can be read alone.
pub(super) fn tell(
    origin: &Origin,
    limits: &Limits,
    route: &str,
    before: &[(Option<String>, Timestamp)],
    now: Timestamp,
) {
    for Embargo { name, until_at, why } in limits.embargoes(now, route) {
        let is_known = |(of, at): &(Option<String>, Timestamp)| *of == name && *at >= until_at;
        if before.iter().any(is_known) {
            continue;
        }
        let wait_ms = until_at.since_ms(now);
        let wait = humantime::format_duration(std::time::Duration::from_millis(wait_ms));
        let name = name.map(|name| format!(" {name}")).unwrap_or_default();
        if wait_ms >= WAIT_WORTH_TELLING_MS {
            tracing::info!("{origin}{name} waits {wait}: {why}");
        } else {
            tracing::debug!("{origin}{name} waits {wait}: {why}");
        }
    }
}

/// Logs what a person said about a host's limit.
pub(super) fn tell_order(origin: &Origin, limits: &Limits, order: &Order) {
    match order {
        Order::Forget => tracing::info!("{origin}: what was learned about its limit is forgotten"),
        Order::Set(_) => tracing::info!("{origin} has a limit: {}", limits.host().describe()),
    }
}

/// Logs what an answer changed in the belief about a host's limit, and what the host declares for the first time: one line a change
/// that matters.
pub(super) fn tell_learned(origin: &Origin, limits: &mut Limits, now: Timestamp) {
    let named = |name: Option<Box<str>>| name.map(|name| format!(" {name}")).unwrap_or_default();
    for (name, words) in limits.take_declared(now) {
        tracing::info!("{origin}{} declares: {words}", named(name));
    }
    for Told { name, news, words } in limits.take_news() {
        let name = named(name);
        match news {
            News::Found => tracing::info!("{origin}{name} has a limit: {words}"),
            News::Changed => tracing::info!("{origin}{name} has another limit now: {words}"),
            News::Renamed => tracing::debug!("{origin}{name} has a limit of another kind: {words}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The feedback of an attempt without hints, by its first word.
    fn taught(outcome: &Outcome, status: Option<u16>) -> String {
        let attempt = AttemptRecord {
            sent_at: Timestamp(1),
            took_ms: 1,
            status,
            outcome: "",
            body_bytes: 0,
            retry_at: None,
            error: Some("why".to_owned()),
        };
        let feedback = format!("{:?}", feedback(outcome, None, &attempt, Hints::default()));
        feedback.split(['(', ' ']).next().unwrap_or_default().to_owned()
    }

    #[test]
    fn every_outcome_teaches_one_thing() {
        for (outcome, status, expected) in [
            (Outcome::Served, Some(200), "Answered"),
            (Outcome::Redirected, Some(301), "Answered"),
            (Outcome::Gone, Some(404), "Answered"),
            (Outcome::Rejected, Some(401), "Answered"),
            (Outcome::Refused, Some(429), "Refused"),
            (Outcome::Overloaded, Some(503), "Overloaded"),
            (Outcome::Broken, Some(500), "Failed"),
            (Outcome::Broken, None, "Broken"),
            (Outcome::Unreachable, None, "Unreachable"),
            (Outcome::Silent, None, "Silent"),
            (Outcome::Unsent, None, "Stopped"),
            (Outcome::Stopped, None, "Stopped"),
        ] {
            assert_eq!(taught(&outcome, status), expected, "{outcome:?} {status:?}");
        }
    }
}
