//! The usual loop: a few workers that obey Retry-After each for itself, and back off with full jitter where there is none.

use trundle::clock::Timestamp;

use super::super::world::{Answer, Ask, Client};
use super::{full_jitter_ms, retry_after_ms};

/// Four workers.
pub struct Workers {
    workers: Vec<Worker>,
    dice: fastrand::Rng,
}

#[derive(Clone, Default)]
struct Worker {
    busy: bool,
    ready_at: Timestamp,
    refused: u32,
}

/// First wait without a word, and the longest, ms: what retry libraries come with.
const BACKOFF_MS: u64 = 1_000;
const BACKOFF_MS_MAX: u64 = 60_000;

impl Workers {
    pub fn new(seed: u64) -> Self {
        Self { workers: vec![Worker::default(); 4], dice: fastrand::Rng::with_seed(seed) }
    }
}

impl Client for Workers {
    fn poll(&mut self, now: Timestamp) -> Ask {
        let idle = self.workers.iter_mut().enumerate().filter(|(_, worker)| !worker.busy);
        let Some((token, worker)) = idle.min_by_key(|(_, worker)| worker.ready_at) else { return Ask::Full };
        if worker.ready_at > now {
            return Ask::NotBefore(worker.ready_at);
        }
        worker.busy = true;
        Ask::Go(token)
    }

    fn done(&mut self, token: usize, answer: &Answer, now: Timestamp) {
        let worker = &mut self.workers[token];
        worker.busy = false;
        if answer.status == 200 {
            worker.refused = 0;
            return;
        }
        let wait_ms = retry_after_ms(answer)
            .unwrap_or_else(|| full_jitter_ms(BACKOFF_MS, BACKOFF_MS_MAX, worker.refused, &mut self.dice));
        worker.refused += 1;
        worker.ready_at = now.plus_ms(wait_ms);
    }

    fn describe(&self) -> String {
        "4 workers".to_owned()
    }

    fn restart(&mut self, _now: Timestamp) {
        self.workers.fill(Worker::default());
    }
}
