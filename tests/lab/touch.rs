//! The product as a client of the laboratory: the throttle, fed as the engine feeds it.

use trundle::clock::Timestamp;
use trundle::exchange::Outcome;
use trundle::throttle::{Admission, Feedback, Hints, Permit, Settings, Snapshot, Suspicion, Throttle, by_hints};

use std::collections::VecDeque;

use super::world::{Answer, Ask, Client};

/// When a job is tried again that got a doubtful status, in ms: the engine's first wait is 250 to 1,000.
const RETRY_MS: u64 = 600;

/// One throttle with its memory.
pub struct Touch {
    throttle: Throttle,
    permits: Vec<Option<(Permit, i64)>>,
    free: Vec<usize>,
    /// The number of the next new job.
    next_job: i64,
    /// Jobs that are to be tried again, and when.
    again: VecDeque<(Timestamp, i64)>,
    dice: fastrand::Rng,
    /// What would be in the database, if it is kept: written with each answer.
    snapshot: Option<Snapshot>,
    keeps: bool,
}

/// No ceiling of the user's is in the way of learning.
pub fn settings() -> Settings {
    Settings { rate_max_per_s: None, concurrency_max: 256, ..Settings::default() }
}

impl Touch {
    /// A throttle that knows nothing; one that `keeps` a snapshot can be restarted.
    pub fn new(now: Timestamp, seed: u64, keeps: bool) -> Self {
        Self {
            throttle: Throttle::new(settings(), None, now),
            permits: Vec::new(),
            free: Vec::new(),
            next_job: 0,
            again: VecDeque::new(),
            dice: fastrand::Rng::with_seed(seed),
            snapshot: None,
            keeps,
        }
    }

    /// The throttle itself.
    pub fn throttle(&self) -> &Throttle {
        &self.throttle
    }
}

impl Client for Touch {
    fn poll(&mut self, now: Timestamp) -> Ask {
        match self.throttle.admit(now) {
            Admission::Go(permit) => {
                let token = self.free.pop().unwrap_or_else(|| {
                    self.permits.push(None);
                    self.permits.len() - 1
                });
                let job = match self.again.front() {
                    Some(&(due_at, job)) if due_at <= now => {
                        self.again.pop_front();
                        job
                    }
                    _ => {
                        self.next_job += 1;
                        self.next_job
                    }
                };
                self.permits[token] = Some((permit, job));
                Ask::Go(token)
            }
            Admission::NotBefore(at) => Ask::NotBefore(at),
            Admission::Full => Ask::Full,
        }
    }

    fn done(&mut self, token: usize, answer: &Answer, now: Timestamp) {
        let (permit, job) = self.permits[token].take().expect("a token is answered once");
        self.free.push(token);
        let hints = Hints::read(&answer.headers, now);
        let outcome = Outcome::of_status(answer.status, answer.headers.get("retry-after").is_some());
        let outcome = by_hints(outcome, answer.status, &hints);
        let suspicion = self.throttle.judge(&permit, job, &outcome, Some(answer.status), now);
        if suspicion.is_some_and(|suspicion| suspicion != Suspicion::Plain) {
            self.again.push_back((now.plus_ms(RETRY_MS), job));
        }
        let told = suspicion.and_then(|suspicion| suspicion.feedback(&outcome, &hints));
        let feedback = told.unwrap_or_else(|| feedback(&outcome, hints));
        self.throttle.finish(permit, &feedback, now, &mut self.dice);
        if self.keeps {
            self.snapshot = Some(self.throttle.snapshot(now));
        }
    }

    fn describe(&self) -> String {
        self.throttle.describe()
    }

    fn is_settled(&self) -> Option<bool> {
        Some(self.throttle.is_settled())
    }

    fn restart(&mut self, now: Timestamp) {
        self.throttle = Throttle::new(settings(), self.snapshot.as_ref(), now);
        self.permits.clear();
        self.free.clear();
    }
}

/// What the engine tells the throttle of such an answer.
fn feedback(outcome: &Outcome, hints: Hints) -> Feedback {
    match outcome {
        Outcome::Refused => Feedback::Refused(hints),
        Outcome::Overloaded => Feedback::Overloaded,
        _ => Feedback::Answered(Hints { retry_at: None, ..hints }),
    }
}
