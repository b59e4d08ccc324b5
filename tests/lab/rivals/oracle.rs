//! A fixed rate just under the true one, which somebody told it: what a user reaches who knows the limit by heart.

use trundle::clock::Timestamp;

use super::super::world::{Answer, Ask, Client};
use super::{at, ms};

/// Sends evenly at 0.985 of the sustained rate, whatever comes back.
pub struct Oracle {
    start: Timestamp,
    /// The sustained rate from each of these instants on, in seconds from the start.
    rates: Vec<(f64, f64)>,
    next_ms: f64,
}

/// The margin that was enough in every case of the research.
const SHARE: f64 = 0.985;

impl Oracle {
    pub fn new(start: Timestamp, rates: Vec<(f64, f64)>) -> Self {
        Self { start, rates, next_ms: 0.0 }
    }
}

impl Client for Oracle {
    fn poll(&mut self, now: Timestamp) -> Ask {
        if ms(now) < self.next_ms {
            return Ask::NotBefore(at(self.next_ms));
        }
        let run_s = now.since_ms(self.start) as f64 / 1e3;
        let per_s = self.rates.iter().rfind(|&&(from_s, _)| from_s <= run_s).map_or(1.0, |&(_, per_s)| per_s);
        // The schedule goes on from where it was, not from a wake-up that was rounded to a millisecond.
        self.next_ms = self.next_ms.max(ms(now) - 1.0) + 1e3 / (SHARE * per_s);
        Ask::Go(0)
    }

    fn done(&mut self, _token: usize, _answer: &Answer, _now: Timestamp) {}

    fn describe(&self) -> String {
        format!("0.985 of {:.2}/s", self.rates.first().map_or(0.0, |&(_, per_s)| per_s))
    }

    fn restart(&mut self, now: Timestamp) {
        self.next_ms = self.next_ms.max(ms(now));
    }
}
