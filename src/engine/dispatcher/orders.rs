//! What a person says about hosts while the crawl runs.

use crate::clock::Timestamp;
use crate::store::HostOrder;

use super::super::teaching;
use super::{Action, Dispatcher};

impl Dispatcher {
    /// What a person says of a limit holds at once. A host without work is met for it.
    pub(super) fn on_ordered(&mut self, inbox_id: i64, order: HostOrder, now: Timestamp, actions: &mut Vec<Action>) {
        let HostOrder { host: row, order } = order;
        let host_id = row.host_id;
        self.meet(row, now);
        let Some(host) = self.hosts.get_mut(&host_id) else { return };
        self.rests.wake(host_id, host, now);
        host.limits.obey(&order, now);
        teaching::tell_order(&host.origin, &host.limits, &order);
        let learned = Box::new(teaching::learned(host_id, &mut host.limits, now));
        self.awaited += 1;
        actions.push(Action::Obeyed(inbox_id, learned));
        self.look_at(host_id, now);
    }
}
