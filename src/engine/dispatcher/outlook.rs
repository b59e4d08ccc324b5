//! What is left, and when it could go on.

use crate::clock::Timestamp;

use super::Dispatcher;

impl Dispatcher {
    /// Whether there is work left in the store for another run.
    #[must_use]
    pub fn has_work_left(&self) -> bool {
        !self.seeded || self.busy_hosts > 0 || self.pulls.is_busy()
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The instant at which the first host with work could send again.
    #[must_use]
    pub fn next_send_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.hosts.values().filter(|host| !host.is_idle()).map(|host| host.next_send_at(now)).min()
    }
}
