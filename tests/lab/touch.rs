//! The product as a client of the laboratory: the throttle, fed as the engine feeds it.

use trundle::clock::Timestamp;
use trundle::exchange::Outcome;
use trundle::throttle::{Admission, Feedback, Hints, Permit, Settings, Snapshot, Throttle};

use super::world::{Answer, Ask, Client};

/// One throttle with its memory.
pub struct Touch {
    throttle: Throttle,
    permits: Vec<Option<Permit>>,
    free: Vec<usize>,
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
                self.permits[token] = Some(permit);
                Ask::Go(token)
            }
            Admission::NotBefore(at) => Ask::NotBefore(at),
            Admission::Full => Ask::Full,
        }
    }

    fn done(&mut self, token: usize, answer: &Answer, now: Timestamp) {
        let permit = self.permits[token].take().expect("a token is answered once");
        self.free.push(token);
        self.throttle.finish(permit, &feedback(answer, now), now, &mut self.dice);
        if self.keeps {
            self.snapshot = Some(self.throttle.snapshot(now));
        }
    }

    fn describe(&self) -> String {
        self.throttle.describe()
    }

    fn restart(&mut self, now: Timestamp) {
        self.throttle = Throttle::new(settings(), self.snapshot.as_ref(), now);
        self.permits.clear();
        self.free.clear();
    }
}

/// What the engine tells the throttle of such an answer.
fn feedback(answer: &Answer, now: Timestamp) -> Feedback {
    let hints = Hints::read(&answer.headers, now);
    match Outcome::of_status(answer.status, answer.headers.get("retry-after").is_some()) {
        Outcome::Refused => Feedback::Refused(hints),
        Outcome::Overloaded => Feedback::Overloaded,
        _ => Feedback::Answered(Hints { retry_at: None, ..hints }),
    }
}
