//! The hosts that wait for an instant, in the order of these instants; a host that waits costs one entry.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::Timestamp;
use crate::job::HostId;

/// A heap of hosts by the instant at which each is worth a look. Equal instants go in the order in which they were entered,
/// so that hosts take turns.
#[derive(Debug, Default)]
pub(super) struct Ready {
    heap: BinaryHeap<Reverse<(Timestamp, u64, HostId)>>,
    serial: u64,
}

impl Ready {
    /// Enters a host; the ticket tells this entry from older ones of the same host.
    pub fn enter(&mut self, host_id: HostId, at: Timestamp) -> u64 {
        self.serial += 1;
        self.heap.push(Reverse((at, self.serial, host_id)));
        self.serial
    }

    /// Takes the first entry whose instant has come, with its ticket.
    pub fn take_due(&mut self, now: Timestamp) -> Option<(HostId, u64)> {
        let Reverse((at, ticket, host_id)) = *self.heap.peek()?;
        if at > now {
            return None;
        }
        self.heap.pop();
        Some((host_id, ticket))
    }

    /// The first instant, stale entries included.
    pub fn next_at(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }
}
