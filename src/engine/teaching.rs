//! What an outcome teaches about its host: what the throttle is told of it, what is stored, and what people are told.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::exchange::Outcome;
use crate::job::{HostId, Job, JobKind, Origin};
use crate::store::{AttemptRecord, HostLearned};
use crate::throttle::{Feedback, Hints, News, Order, Permit, Suspicion, Throttle};

/// What a status that may be a refusal is taken for; none when there is no doubt about it.
pub(super) fn suspicion(
    throttle: &mut Throttle,
    permit: &Permit,
    job: &Job,
    outcome: &Outcome,
    status: Option<u16>,
    now: Timestamp,
) -> Option<Suspicion> {
    // What a host forbids of these is settled by rules of their own.
    if matches!(job.kind, JobKind::Robots | JobKind::Sitemap) {
        return None;
    }
    throttle.judge(permit, job.id.0, outcome, status, now).filter(|&suspicion| suspicion != Suspicion::Plain)
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
        Outcome::Stopped => Feedback::Stopped,
        _ if attempt.status.is_none() => Feedback::Broken,
        // A 500 is no sign that the host would bear more.
        Outcome::Broken if hints.quota_spent.is_none() => Feedback::Broken,
        // The redirected request is to wait (same section). With other answers the field speaks of the one resource.
        Outcome::Redirected => Feedback::Answered(hints),
        _ => Feedback::Answered(Hints { retry_at: None, ..hints }),
    }
}

/// What is known about a host's limits, as it is stored with the outcome that taught it.
pub(super) fn learned(host_id: HostId, throttle: &Throttle, now: Timestamp) -> HostLearned {
    let embargo = throttle.embargo(now);
    HostLearned {
        host_id,
        not_before_at: embargo.map_or(Timestamp::EPOCH, |(at, _)| at),
        not_before_why: embargo.map(|(_, why)| why.to_owned()),
        words: throttle.learned(),
        seen_at: throttle.seen_at(),
        snapshot: Arc::new(throttle.snapshot(now)),
    }
}

/// Below this a wait is everyday life and only told with `--verbose`, in ms.
const WAIT_WORTH_TELLING_MS: u64 = 2_000;

/// Logs a change of a host's embargo as a fact that can be read alone.
pub(super) fn tell(origin: &Origin, embargo: Option<(Timestamp, &str)>, before_at: Option<Timestamp>, now: Timestamp) {
    if let Some((at, why)) = embargo
        && before_at.is_none_or(|before_at| at > before_at)
    {
        let wait_ms = at.since_ms(now);
        let wait = humantime::format_duration(std::time::Duration::from_millis(wait_ms));
        if wait_ms >= WAIT_WORTH_TELLING_MS {
            tracing::info!("{origin} waits {wait}: {why}");
        } else {
            tracing::debug!("{origin} waits {wait}: {why}");
        }
    }
}

/// Logs what a person said about a host's limit.
pub(super) fn tell_order(origin: &Origin, throttle: &Throttle, order: &Order) {
    match order {
        Order::Forget => tracing::info!("{origin}: what was learned about its limit is forgotten"),
        Order::Set(_) => tracing::info!("{origin} has a limit: {}", throttle.describe()),
    }
}

/// Logs what an answer changed in the belief about a host's limit: one line a change that matters.
pub(super) fn tell_learned(origin: &Origin, throttle: &mut Throttle) {
    match throttle.take_news() {
        Some(News::Found) => tracing::info!("{origin} has a limit: {}", throttle.describe()),
        Some(News::Changed) => tracing::info!("{origin} has another limit now: {}", throttle.describe()),
        Some(News::Renamed) => tracing::debug!("{origin} has a limit of another kind: {}", throttle.describe()),
        None => {}
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
            (Outcome::Broken, Some(500), "Broken"),
            (Outcome::Broken, None, "Broken"),
            (Outcome::Unreachable, None, "Unreachable"),
            (Outcome::Silent, None, "Silent"),
            (Outcome::Stopped, None, "Stopped"),
        ] {
            assert_eq!(taught(&outcome, status), expected, "{outcome:?} {status:?}");
        }
    }
}
