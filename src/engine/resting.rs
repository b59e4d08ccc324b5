//! Throttles of hosts that rest: folded up while nothing is sent, since a crawl may know a hundred thousand hosts and ask few
//! of them at a time.
//!
//! A throttle is awake while its host is served or has something in flight, and for a while after that.

use std::collections::{HashMap, VecDeque};
use std::ops::{Deref, DerefMut};

use crate::clock::Timestamp;
use crate::job::HostId;
use crate::throttle::{Feedback, Permit, Resting, Throttle};

use super::host::Host;

/// How often it is looked whether a host that is awake may rest, in ms; none rests sooner than that.
const LOOK_MS: u64 = 60_000;
/// Looks in a row: a crawl that starts with very many hosts must not stand still for them.
const LOOKS_MAX: usize = 1_000;

/// The throttle of a host, or what is kept of it.
pub(super) struct Slot {
    state: State,
    used_at: Timestamp,
}

enum State {
    Awake(Box<Throttle>),
    Resting(Resting),
}

impl Slot {
    pub fn new(throttle: Throttle, now: Timestamp) -> Self {
        Self { state: State::Awake(Box::new(throttle)), used_at: now }
    }

    /// Unfolds it if it rests, and true then.
    fn wake(&mut self, now: Timestamp) -> bool {
        let State::Resting(resting) = &self.state else { return false };
        *self = Self::new(resting.unfold(now), now);
        true
    }

    /// See [`Throttle::finish`].
    pub fn finish(&mut self, permit: Permit, feedback: &Feedback, now: Timestamp, dice: &mut fastrand::Rng) {
        Throttle::finish(self, permit, feedback, now, dice);
        self.used_at = now;
    }

    /// Folds it if it has been idle for long enough; whether it rests.
    fn rest(&mut self, now: Timestamp) -> bool {
        if let State::Awake(throttle) = &self.state
            && now.since_ms(self.used_at) >= throttle.rests_after_ms()
            && let Some(resting) = throttle.fold(now)
        {
            self.state = State::Resting(resting);
        }
        matches!(self.state, State::Resting(_))
    }

    /// Until when the host is closed, awake or not.
    pub fn closed_until(&self, now: Timestamp) -> Option<Timestamp> {
        let embargo_at = |throttle: &Throttle| throttle.embargo(now).map(|(at, _)| at);
        match &self.state {
            State::Awake(throttle) => embargo_at(throttle),
            State::Resting(resting) => embargo_at(&resting.unfold(now)),
        }
    }
}

impl Deref for Slot {
    type Target = Throttle;

    fn deref(&self) -> &Throttle {
        match &self.state {
            State::Awake(throttle) => throttle,
            State::Resting(_) => {
                unreachable!("a host wakes when its turn comes, and rests with nothing in flight only")
            }
        }
    }
}

impl DerefMut for Slot {
    fn deref_mut(&mut self) -> &mut Throttle {
        match &mut self.state {
            State::Awake(throttle) => throttle,
            State::Resting(_) => {
                unreachable!("a host wakes when its turn comes, and rests with nothing in flight only")
            }
        }
    }
}

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
        if host.throttle.wake(now) {
            self.enter(host_id, now);
        }
    }

    /// Folds the throttles of hosts that have been idle for long enough.
    pub fn look(&mut self, hosts: &mut HashMap<HostId, Host>, now: Timestamp) {
        for _ in 0..LOOKS_MAX {
            let Some((_, host_id)) = self.queue.pop_front_if(|(at, _)| *at <= now) else { return };
            if hosts.get_mut(&host_id).is_some_and(|host| !host.throttle.rest(now)) {
                self.enter(host_id, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Origin;
    use crate::throttle::{Admission, Hints, Settings};

    const START: Timestamp = Timestamp(1_000_000);

    fn hosts() -> (HashMap<HostId, Host>, Rests) {
        let (mut hosts, mut rests) = (HashMap::new(), Rests::default());
        for id in 1..=3 {
            let url = format!("http://{id}.example/").parse().expect("an address");
            let origin = Origin::of(&url).expect("an origin");
            let throttle = Throttle::new(Settings::default(), None, START);
            hosts.insert(HostId(id), Host::new(origin, false, false, throttle, None, START));
            rests.enter(HostId(id), START);
        }
        (hosts, rests)
    }

    fn resting(hosts: &HashMap<HostId, Host>) -> Vec<i64> {
        let rests = hosts.iter().filter(|(_, host)| matches!(host.throttle.state, State::Resting(_)));
        let mut ids: Vec<i64> = rests.map(|(id, _)| i64::from(id.0)).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn a_host_rests_when_nothing_was_sent_for_a_minute_and_wakes_with_its_embargo() {
        let (mut hosts, mut rests) = hosts();
        let mut dice = fastrand::Rng::with_seed(1);
        let mut now = START.plus_ms(30_000);
        // One has been refused for ten minutes, another has a request in flight.
        let mut permits = Vec::new();
        for id in [1, 2] {
            let host = hosts.get_mut(&HostId(id)).expect("it was inserted");
            let Admission::Go(permit) = host.throttle.admit(now) else { unreachable!("nothing was sent yet") };
            permits.push(permit);
        }
        let host = hosts.get_mut(&HostId(1)).expect("it was inserted");
        let refused = Feedback::Refused(Hints { retry_at: Some(now.plus_ms(3_600_000)), ..Hints::default() });
        host.throttle.finish(permits.remove(0), &refused, now, &mut dice);
        let closed_until = host.throttle.closed_until(now);

        rests.look(&mut hosts, START.plus_ms(59_999));
        assert_eq!(resting(&hosts), [0_i64; 0]);
        rests.look(&mut hosts, START.plus_ms(60_000));
        assert_eq!(resting(&hosts), [3]);
        now = START.plus_ms(1_000_000);
        rests.look(&mut hosts, now);
        assert_eq!(resting(&hosts), [1, 3]);

        let host = hosts.get_mut(&HostId(1)).expect("it was inserted");
        assert_eq!(host.throttle.closed_until(now), closed_until);
        assert!(host.throttle.wake(now) && !host.throttle.wake(now));
        assert_eq!(host.throttle.embargo(now).map(|(at, _)| at), closed_until);
        // Its answer comes at last, and a minute later the other one rests too.
        let host = hosts.get_mut(&HostId(2)).expect("it was inserted");
        host.throttle.finish(permits.remove(0), &Feedback::Answered(Hints::default()), now, &mut dice);
        for minute in 1..=2 {
            rests.look(&mut hosts, now.plus_ms(minute * LOOK_MS));
        }
        assert_eq!(resting(&hosts), [2, 3]);
    }
}
