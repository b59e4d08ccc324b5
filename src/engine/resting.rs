//! Throttles of hosts that rest: folded up while nothing is sent, since a crawl may know a hundred thousand hosts and ask few
//! of them at a time.
//!
//! A throttle is awake while its host is served or has something in flight, and for a while after that.

use std::collections::{HashMap, VecDeque};

use crate::clock::Timestamp;
use crate::job::HostId;

use super::host::Host;

/// How often it is looked whether a host that is awake may rest, in ms; none rests sooner than that.
const LOOK_MS: u64 = 60_000;
/// Looks in a row: a crawl that starts with very many hosts must not stand still for them.
const LOOKS_MAX: usize = 1_000;

/// The hosts that are awake, by when they are looked at next.
#[derive(Default)]
pub(super) struct Rests {
    queue: VecDeque<(Timestamp, HostId)>,
}

impl Rests {
    /// A host is awake now.
    pub fn enter(&mut self, host_id: HostId, now: Timestamp) {
        self.queue.push_back((now.plus_ms(LOOK_MS), host_id));
    }

    /// The turn of a host comes.
    pub fn wake(&mut self, host_id: HostId, host: &mut Host, now: Timestamp) {
        if host.limits.wake(now) {
            self.enter(host_id, now);
        }
    }

    /// Folds the throttles of hosts that have been idle for long enough.
    pub fn look(&mut self, hosts: &mut HashMap<HostId, Host>, now: Timestamp) {
        for _ in 0..LOOKS_MAX {
            let Some((_, host_id)) = self.queue.pop_front_if(|(at, _)| *at <= now) else { return };
            if hosts.get_mut(&host_id).is_some_and(|host| !host.limits.rest(now)) {
                self.enter(host_id, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Origin;
    use crate::throttle::{Admission, Asked, Bearing, Feedback, Grant, Hints, Limits, Settings};

    const START: Timestamp = Timestamp(1_000_000);
    const WAIT_MS: u64 = 3_600_000;

    fn hosts() -> (HashMap<HostId, Host>, Rests) {
        let (mut hosts, mut rests) = (HashMap::new(), Rests::default());
        for id in 1..=3 {
            let url = format!("http://{id}.example/").parse().expect("an address");
            let origin = Origin::of(&url).expect("an origin");
            let limits = Limits::new(Settings::default(), None, Vec::new(), &[], START);
            hosts.insert(HostId(id), Host::new(origin, false, false, limits, None));
            rests.enter(HostId(id), START);
        }
        (hosts, rests)
    }

    fn resting(hosts: &HashMap<HostId, Host>) -> Vec<i64> {
        let rests = hosts.iter().filter(|(_, host)| host.limits.is_resting());
        let mut ids: Vec<i64> = rests.map(|(id, _)| i64::from(id.0)).collect();
        ids.sort_unstable();
        ids
    }

    fn limits(hosts: &mut HashMap<HostId, Host>, id: u32) -> &mut Limits {
        &mut hosts.get_mut(&HostId(id)).expect("it was inserted").limits
    }

    fn admit(limits: &mut Limits, now: Timestamp) -> Grant {
        let Admission::Go(grant) = limits.admit(now, "", &Bearing::default()) else {
            unreachable!("nothing was sent yet")
        };
        grant
    }

    fn finish(limits: &mut Limits, grant: Grant, feedback: &Feedback, now: Timestamp) {
        let asked = Asked { route: "", id: 1 };
        limits.finish(grant, asked, feedback, now, &mut fastrand::Rng::with_seed(1));
    }

    #[test]
    fn a_host_rests_when_nothing_was_sent_for_a_minute_and_wakes_with_its_embargo() {
        let (mut hosts, mut rests) = hosts();
        let mut now = START.plus_ms(30_000);
        // The first one says that its quota is used up for an hour, the second one takes its time.
        let first = admit(limits(&mut hosts, 1), now);
        let second = admit(limits(&mut hosts, 2), now);
        let spent = Feedback::Answered(Hints { retry_at: Some(now.plus_ms(WAIT_MS)), ..Hints::default() });
        finish(limits(&mut hosts, 1), first, &spent, now);
        let closed_until = limits(&mut hosts, 1).closed_until(now, "");
        assert!(closed_until >= Some(now.plus_ms(WAIT_MS)));

        rests.look(&mut hosts, START.plus_ms(59_999));
        assert_eq!(resting(&hosts), [0_i64; 0]);
        rests.look(&mut hosts, START.plus_ms(60_000));
        assert_eq!(resting(&hosts), [3]);
        now = START.plus_ms(1_000_000);
        rests.look(&mut hosts, now);
        assert_eq!(resting(&hosts), [1, 3]);

        let first = limits(&mut hosts, 1);
        assert_eq!(first.closed_until(now, ""), closed_until);
        assert!(first.wake(now) && !first.wake(now));
        assert_eq!(first.embargo_of_all(now).map(|(at, _)| at), closed_until);
        // The answer of the second one comes at last, and a minute later it rests too.
        finish(limits(&mut hosts, 2), second, &Feedback::Answered(Hints::default()), now);
        for minute in 1..=2 {
            rests.look(&mut hosts, now.plus_ms(minute * LOOK_MS));
        }
        assert_eq!(resting(&hosts), [2, 3]);
    }

    #[test]
    fn a_search_does_not_rest_behind_an_embargo() {
        let (mut hosts, mut rests) = hosts();
        let grant = admit(limits(&mut hosts, 1), START);
        let refused = Feedback::Refused(Hints { retry_at: Some(START.plus_ms(WAIT_MS)), ..Hints::default() });
        finish(limits(&mut hosts, 1), grant, &refused, START);
        for minute in 1..=59 {
            rests.look(&mut hosts, START.plus_ms(minute * LOOK_MS));
        }
        assert_eq!(resting(&hosts), [2, 3]);
        rests.look(&mut hosts, START.plus_ms(WAIT_MS + 2 * LOOK_MS));
        assert_eq!(resting(&hosts), [1, 2, 3]);
    }
}
