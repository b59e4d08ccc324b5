//! No limit at all, and yet one: workers with a queue before them, which grows when more comes than they can do.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::rule::{Arrival, Quota, Retune, Rule};

/// Answers everything; a request waits until one of the workers is free (M/G/c, first come first served).
#[derive(Clone, Debug)]
pub struct WorkerPool {
    workers: usize,
    /// When each busy worker is free again, the soonest first.
    free_us: BinaryHeap<Reverse<i64>>,
}

impl WorkerPool {
    /// So many workers, at least 1.
    #[must_use]
    pub fn new(workers: u32) -> Self {
        Self { workers: usize::try_from(workers.max(1)).unwrap_or(usize::MAX), free_us: BinaryHeap::new() }
    }
}

impl Rule for WorkerPool {
    fn admits(&mut self, _arrival: &Arrival) -> bool {
        true
    }

    fn charge(&mut self, arrival: &Arrival, allowed: bool) -> u64 {
        if !allowed {
            return 0;
        }
        let mut starts_us = arrival.at_us;
        if self.free_us.len() >= self.workers
            && let Some(Reverse(free_us)) = self.free_us.pop()
        {
            starts_us = starts_us.max(free_us);
        }
        self.free_us.push(Reverse(starts_us.saturating_add_unsigned(arrival.service_us)));
        starts_us.abs_diff(arrival.at_us)
    }

    fn quota(&self, _arrival: &Arrival) -> Quota {
        Quota::default()
    }

    fn retune(&mut self, change: &Retune) {
        // A pool that shrinks lets the workers of the surplus finish and go.
        self.workers = change.limit.and_then(|workers| usize::try_from(workers).ok()).unwrap_or(self.workers);
        while self.free_us.len() > self.workers {
            self.free_us.pop();
        }
    }
}
