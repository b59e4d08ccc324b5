//! Whether a bare status that also has another meaning is a refusal here: 403, 420, 503, 509, 529 without a word about when.
//!
//! Enters: who was accepted and who got such a status, and when each was sent. Leaves: what the status is taken for
//! ([`Suspicion`]). Deliberately absent: what a job or an address is; a job is a number that stays the same when it is tried
//! again. Not asked where the status, a header or a provider's profile tells already.
//!
//! Two kinds of proof. A job that got the status and is *accepted later* met a limit. A job that gets it *again although others
//! were accepted in between* is a forbidden page. Until there is proof, a run counts: so many jobs in a row, with nobody
//! accepted who was sent later, that chance does not explain it. A run closes the scope as a refusal would, on suspicion; if no
//! proof comes of it in time, the suspicion was wrong, and the next run must be twice as long.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::exchange::Outcome;

use super::{Feedback, Hints};

/// Accepted requests before which nothing is suspected: a scope that never served forbids, it does not limit.
const SERVED_MIN: u32 = 5;
/// The shortest run that is suspected.
const RUN_MIN: u32 = 3;
/// A run is suspected when chance makes one of its length less often than this, by the share of the status so far.
const CHANCE: f64 = 1e-4;
/// The shortest run that is suspected once the status was proved to be that of pages.
const RUN_PAGES_MIN: u32 = 12;
/// Proofs for a page after which the status is taken for what it says.
const PAGES_MIN: u32 = 2;
/// By how much one kind of proof must outweigh the other.
const OUTWEIGHS: u32 = 4;
/// Proofs that are counted; beyond, both kinds are halved, so that a change is noticed.
const PROOFS_MAX: u32 = 16;
/// How long a scope is closed on suspicion alone, in ms: twice a minute, the commonest window, and the search for its end.
const SUSPECTED_MS_MAX: u64 = 150_000;
/// Times that the length of a run doubles at most.
const WRONG_MAX: u32 = 8;
/// Jobs that are remembered for each status, to see what becomes of them.
const JOBS_MAX: usize = 64;

/// What a doubtful status is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Suspicion {
    /// For what it says; trying again is of no use.
    Plain,
    /// Not known yet: trying the job again will tell, at the price of one of its attempts.
    Open,
    /// For a refusal, on suspicion. The job pays an attempt, since it may be forbidden all the same.
    Likely,
    /// For a refusal, as was proved here before. The job is not to blame.
    Sure,
}

impl Suspicion {
    /// What the throttle is told instead of what `outcome` alone would tell it; none when it is the same.
    #[must_use]
    pub fn feedback(self, outcome: &Outcome, hints: &Hints) -> Option<Feedback> {
        match (self, outcome) {
            (Self::Likely | Self::Sure, _) => Some(Feedback::Refused(hints.clone())),
            (Self::Open, Outcome::Rejected) => Some(Feedback::Broken),
            _ => None,
        }
    }
}

/// What one status of one scope was seen to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Case {
    status: u16,
    /// Proofs for a limit.
    limits: u32,
    /// Proofs for a page.
    pages: u32,
    /// Times that a run was taken for a limit wrongly.
    wrong: u32,
    /// Answers with the status so far, but for the run.
    scattered: u32,
    /// Jobs in the run.
    #[serde(skip)]
    run: u32,
    /// When the last job of the run was sent.
    #[serde(skip)]
    run_sent_at: Timestamp,
    /// Since when the run closes the scope.
    #[serde(skip)]
    closed_at: Option<Timestamp>,
    /// Whether it does so on suspicion alone.
    #[serde(skip)]
    is_suspected: bool,
    /// Jobs that got the status, and when its answer came.
    #[serde(skip)]
    jobs: Vec<(i64, Timestamp)>,
}

/// What an answer is by its hints, where its status alone leaves a doubt: one that tells of a spent quota refuses.
#[must_use]
pub fn by_hints(outcome: Outcome, status: u16, hints: &Hints) -> Outcome {
    if hints.quota_spent.is_some() && is_doubtful(&outcome, Some(status)) { Outcome::Refused } else { outcome }
}

/// Whether such an answer may be a refusal or not.
pub(super) fn is_doubtful(outcome: &Outcome, status: Option<u16>) -> bool {
    match outcome {
        Outcome::Overloaded => true,
        Outcome::Rejected => matches!(status, Some(403 | 420)),
        _ => false,
    }
}

/// What the doubtful statuses of one scope are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Doubt {
    accepted: u32,
    #[serde(skip)]
    accepted_sent_at: Timestamp,
    cases: Vec<Case>,
}

/// What follows for what was learned on suspicion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// Nothing.
    None,
    /// A suspicion begins.
    Suspected,
    /// It was right.
    Proved,
    /// It was wrong: what was learned of it is to be forgotten.
    Refuted,
}

impl Doubt {
    /// Whether there is nothing worth keeping.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.cases.is_empty()
    }

    /// `job`, sent at `sent_at`, was accepted.
    pub(super) fn on_accepted(&mut self, job: i64, sent_at: Timestamp) -> Ruling {
        self.accepted = self.accepted.saturating_add(1);
        self.accepted_sent_at = self.accepted_sent_at.max(sent_at);
        let mut ruling = Ruling::None;
        for case in &mut self.cases {
            if sent_at > case.run_sent_at {
                case.end_run();
            }
            if let Some(index) =
                case.jobs.iter().position(|&(known, answered_at)| known == job && sent_at >= answered_at)
            {
                case.jobs.swap_remove(index);
                case.limits += 1;
                case.bound_proofs();
                case.wrong = 0;
                if std::mem::take(&mut case.is_suspected) {
                    ruling = Ruling::Proved;
                }
            }
        }
        ruling
    }

    /// `job`, sent at `sent_at`, got `status` and no word about when to come back. `is_told` is whether the table of statuses
    /// takes it for a sign of a limit anyway, so that nothing is done on suspicion.
    pub(super) fn on_doubtful(
        &mut self,
        job: i64,
        status: u16,
        is_told: bool,
        sent_at: Timestamp,
        now: Timestamp,
    ) -> (Suspicion, Ruling) {
        if self.accepted < SERVED_MIN {
            return (Suspicion::Plain, Ruling::None);
        }
        let index = self.cases.iter().position(|case| case.status == status).unwrap_or_else(|| {
            self.cases.push(Case { status, ..Case::default() });
            self.cases.len() - 1
        });
        let (accepted, accepted_sent_at) = (self.accepted, self.accepted_sent_at);
        let case = &mut self.cases[index];
        let known = case.jobs.iter_mut().find(|(known, _)| *known == job);
        let is_new = known.is_none();
        if let Some((_, answered_at)) = known {
            let before_at = std::mem::replace(answered_at, now);
            if accepted_sent_at > before_at {
                return case.on_page();
            }
        } else {
            if case.jobs.len() >= JOBS_MAX {
                case.jobs.remove(0);
            }
            case.jobs.push((job, now));
        }
        if sent_at < accepted_sent_at {
            // Somebody who was sent later was accepted: no run.
            case.scattered = case.scattered.saturating_add(1);
        } else if is_new {
            case.run += 1;
            case.run_sent_at = case.run_sent_at.max(sent_at);
        }
        if case.is_limit() {
            // A job that probes a closed scope in vain pays for it, so that another one goes next.
            return (if is_new { Suspicion::Sure } else { Suspicion::Likely }, Ruling::None);
        }
        if let Some(closed_at) = case.closed_at {
            if case.is_suspected && now.since_ms(closed_at) > SUSPECTED_MS_MAX {
                case.refute();
                return (Suspicion::Open, Ruling::Refuted);
            }
            return (Suspicion::Likely, Ruling::None);
        }
        if case.run >= case.needed(accepted) {
            case.closed_at = Some(now);
            case.is_suspected = !is_told;
            return (Suspicion::Likely, if is_told { Ruling::None } else { Ruling::Suspected });
        }
        (if case.is_page() { Suspicion::Plain } else { Suspicion::Open }, Ruling::None)
    }
}

impl Case {
    fn end_run(&mut self) {
        self.scattered = self.scattered.saturating_add(self.run);
        self.run = 0;
        self.closed_at = None;
    }

    /// A job got the status again although others were accepted since.
    fn on_page(&mut self) -> (Suspicion, Ruling) {
        self.pages += 1;
        self.bound_proofs();
        let ruling = if self.is_suspected { Ruling::Refuted } else { Ruling::None };
        if self.is_suspected {
            self.refute();
        }
        (if self.is_page() { Suspicion::Plain } else { Suspicion::Open }, ruling)
    }

    fn refute(&mut self) {
        self.is_suspected = false;
        self.wrong = (self.wrong + 1).min(WRONG_MAX);
        self.end_run();
    }

    fn bound_proofs(&mut self) {
        if self.limits.max(self.pages) > PROOFS_MAX {
            self.limits /= 2;
            self.pages /= 2;
        }
    }

    /// Whether each such answer is a refusal.
    fn is_limit(&self) -> bool {
        self.limits > 0 && self.limits >= self.pages * OUTWEIGHS
    }

    /// Whether such an answer alone is not worth a second try.
    fn is_page(&self) -> bool {
        self.pages >= PAGES_MIN && self.pages > self.limits * OUTWEIGHS
    }

    /// How long a run must be that chance does not explain.
    fn needed(&self, accepted: u32) -> u32 {
        let least = match () {
            () if self.is_page() => RUN_PAGES_MIN,
            () if self.limits > 0 => RUN_MIN - 1,
            () => RUN_MIN,
        };
        let share = (f64::from(self.scattered) + 1.0) / (f64::from(self.scattered) + f64::from(accepted) + 2.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "above 0, and clamped")]
        let by_chance = (CHANCE.ln() / share.ln()).ceil().clamp(1.0, 1e6) as u32;
        (least << self.wrong).max(by_chance)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::throttle::{Admission, Settings, Throttle};

    /// A scope that is asked one request after the other.
    struct Scope {
        doubt: Doubt,
        now: Timestamp,
    }

    impl Scope {
        fn that_served(jobs: u32) -> Self {
            let mut scope = Self { doubt: Doubt::default(), now: Timestamp(1_000_000) };
            for job in 0..jobs {
                assert_eq!(scope.accepted(i64::from(job)), Ruling::None);
            }
            scope
        }

        fn accepted(&mut self, job: i64) -> Ruling {
            self.now = self.now.plus_ms(100);
            self.doubt.on_accepted(job, self.now)
        }

        fn forbidden(&mut self, job: i64) -> (Suspicion, Ruling) {
            self.now = self.now.plus_ms(100);
            self.doubt.on_doubtful(job, 403, false, self.now, self.now.plus_ms(50))
        }

        fn suspicions(&mut self, jobs: std::ops::Range<i64>) -> Vec<Suspicion> {
            jobs.map(|job| self.forbidden(job).0).collect()
        }
    }

    use Suspicion::{Likely, Open, Plain, Sure};

    #[test]
    fn a_scope_that_never_served_forbids() {
        assert!(Scope::that_served(4).suspicions(100..120).iter().all(|&suspicion| suspicion == Plain));
    }

    #[test]
    fn a_run_that_begins_suddenly_is_a_limit_and_is_proved_by_a_job_that_succeeds_later() {
        let mut scope = Scope::that_served(60);
        assert_eq!(scope.suspicions(100..102), [Open, Open]);
        assert_eq!(scope.forbidden(102), (Likely, Ruling::Suspected));
        scope.now = scope.now.plus_ms(30_000);
        assert_eq!(scope.forbidden(103), (Likely, Ruling::None));
        scope.now = scope.now.plus_ms(30_000);
        assert_eq!(scope.accepted(104), Ruling::None, "somebody who was not forbidden proves nothing");
        assert_eq!(scope.accepted(100), Ruling::Proved);
        assert_eq!(scope.suspicions(110..113), [Sure, Sure, Sure]);
        assert_eq!(scope.forbidden(110).0, Likely, "who probes in vain pays for it");
    }

    #[test]
    fn a_job_that_is_forbidden_again_while_others_are_served_is_a_page() {
        let mut scope = Scope::that_served(60);
        let mut seen = Vec::new();
        for job in 100..104 {
            for _ in 0..2 {
                seen.push(scope.forbidden(job).0);
                let _ = scope.accepted(1_000 + job);
            }
        }
        assert_eq!(seen, [Open, Open, Open, Plain, Plain, Plain, Plain, Plain]);
    }

    #[test]
    fn where_much_is_forbidden_a_run_must_be_longer() {
        let mut scope = Scope::that_served(10);
        for job in 0..20 {
            let _ = scope.forbidden(100 + job);
            let _ = scope.accepted(1_000 + job);
        }
        let length = scope.suspicions(200..260).iter().take_while(|&&suspicion| suspicion == Open).count();
        assert!((10..16).contains(&length), "{length}");
    }

    #[test]
    fn a_suspicion_that_nothing_proves_is_dropped_and_the_next_run_must_be_twice_as_long() {
        let mut scope = Scope::that_served(60);
        assert_eq!(scope.suspicions(100..103), [Open, Open, Likely]);
        scope.now = scope.now.plus_ms(SUSPECTED_MS_MAX);
        assert_eq!(scope.forbidden(103), (Open, Ruling::Refuted));
        assert_eq!(scope.suspicions(110..116), [Open, Open, Open, Open, Open, Likely]);
    }

    #[test]
    fn a_suspicion_is_refuted_by_a_forbidden_page_among_served_ones() {
        let mut scope = Scope::that_served(60);
        assert_eq!(scope.suspicions(100..103), [Open, Open, Likely]);
        let _ = scope.accepted(500);
        assert_eq!(scope.forbidden(101), (Open, Ruling::Refuted));
    }

    #[test]
    fn one_that_was_accepted_although_it_was_sent_later_ends_a_run() {
        let mut scope = Scope::that_served(60);
        for job in 100..120 {
            let sent_at = scope.now;
            let _ = scope.accepted(1_000 + job);
            let (suspicion, _) = scope.doubt.on_doubtful(job, 403, false, sent_at, scope.now);
            assert_eq!(suspicion, Open, "{job}");
        }
    }

    #[test]
    fn what_was_seen_outlives_the_process() {
        let mut scope = Scope::that_served(60);
        let _ = scope.suspicions(100..103);
        let _ = scope.accepted(100);
        let text = serde_json::to_string(&scope.doubt).expect("it is plain data");
        assert!(text.len() < 200, "{text}");
        scope.doubt = serde_json::from_str(&text).expect("what was written can be read");
        assert_eq!(scope.forbidden(200).0, Sure);
    }

    #[test]
    fn a_403_that_tells_of_a_spent_quota_refuses() {
        let spent = |header| super::super::QuotaSpent { reset_at: Timestamp(9), header };
        let hints = Hints { quota_spent: Some(spent("x-ratelimit-remaining")), ..Hints::default() };
        for (status, outcome, expected) in [
            (403, Outcome::Rejected, Outcome::Refused),
            (420, Outcome::Rejected, Outcome::Refused),
            (503, Outcome::Overloaded, Outcome::Refused),
            (401, Outcome::Rejected, Outcome::Rejected),
            (200, Outcome::Served, Outcome::Served),
        ] {
            assert_eq!(by_hints(outcome.clone(), status, &hints), expected, "{status}");
            assert_eq!(by_hints(outcome.clone(), status, &Hints::default()), outcome, "{status}");
        }
    }

    /// Crawls `wanted` jobs of which some are forbidden for ever, two in a row at most; how long it took in ms, and how often
    /// each forbidden one was tried.
    fn crawl(is_forbidden: &dyn Fn(i64) -> bool, wanted: i64) -> (u64, HashMap<i64, u32>) {
        let settings = Settings { rate_max_per_s: Some(50.0), ..Settings::default() };
        let start = Timestamp(1_000_000);
        let mut throttle = Throttle::new(settings, None, start);
        let mut dice = fastrand::Rng::with_seed(1);
        let mut now = start;
        let (mut next, mut again, mut tries) = (0, Vec::new(), HashMap::new());
        while next < wanted || !again.is_empty() {
            match throttle.admit(now) {
                Admission::Go(permit) => {
                    let due = again.iter().position(|&(due_at, _)| due_at <= now || next >= wanted);
                    let job = due.map_or(next, |index| again.swap_remove(index).1);
                    next += i64::from(due.is_none());
                    let forbids = is_forbidden(job);
                    let (outcome, status) = if forbids { (Outcome::Rejected, 403) } else { (Outcome::Served, 200) };
                    let suspicion = throttle.judge(&permit, job, &outcome, Some(status), now);
                    assert!(!matches!(suspicion, Some(Likely | Sure)), "job {job} was taken for a refusal");
                    let count = tries.entry(job).or_insert(0);
                    *count += 1;
                    if suspicion == Some(Open) && *count < 5 {
                        again.push((now.plus_ms(600), job));
                    }
                    let hints = Hints::default();
                    let told = suspicion.and_then(|suspicion| suspicion.feedback(&outcome, &hints));
                    throttle.finish(permit, &told.unwrap_or(Feedback::Answered(hints)), now, &mut dice);
                    assert_eq!(throttle.embargo(now), None);
                }
                Admission::NotBefore(at) => now = at,
                Admission::Full => unreachable!("answers come at once"),
            }
        }
        tries.retain(|&job, _| is_forbidden(job));
        (now.since_ms(start), tries)
    }

    proptest::proptest! {
        #[test]
        fn scattered_forbidden_pages_neither_slow_a_host_nor_are_tried_without_end(
            pattern in proptest::collection::vec(proptest::bool::weighted(0.3), 8..200),
        ) {
            let forbids = |job: i64| {
                let at = |job: i64| pattern[usize::try_from(job).expect("jobs count up") % pattern.len()];
                // The first are served, and never are three in a row forbidden.
                job >= 10 && job % 3 != 0 && at(job)
            };
            let (free_ms, _) = crawl(&|_| false, 600);
            let (took_ms, tries) = crawl(&forbids, 600);
            let repeats: u32 = tries.values().map(|count| count - 1).sum();
            proptest::prop_assert!(tries.values().all(|&count| count <= 5));
            // Two proofs settle it; until then each of a few is tried again.
            proptest::prop_assert!(repeats <= 60, "{} repeats", repeats);
            proptest::prop_assert!(took_ms <= free_ms + u64::from(repeats) * 21 + 3_000, "{} ms, {} ms", took_ms, free_ms);
        }
    }
}
