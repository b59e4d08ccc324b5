//! Whether the members of a pool share one limit after all: one that counts addresses does not care for tokens.
//!
//! Enters: each limit that a member hits, and each good answer. Leaves: whether that limit is the member's own, as whoever declares a
//! pool says it is, or that of all. Deliberately absent: throttles, and waits.
//!
//! A member that is refused is closed, and the next request goes by another one. While it is not known yet what the two bear, that other
//! one is fresh: nothing was asked by it as long as the first would do, and it never came to a limit. If it is refused at once all the same, while the first is still
//! closed, and the two refusals say the same of when to come back, the limit is taken for that of all, this once. Twice in a few events,
//! with nothing that speaks against it between them, and it is so until it has not been seen for a week: from then on one refusal closes
//! all. Where it is known what the members bear, they come to the ends of their windows side by side, so the same counts half, and only
//! where a wait was announced within which an answer to another member would have told them apart. So do refusals that were in flight
//! together.

use crate::clock::Timestamp;

use super::Snapshot;

/// What it takes, in halves: twice with fresh members, or four times else.
const SHARED_AT: u8 = 4;
const AT_ONCE: u8 = 2;
const TOGETHER: u8 = 1;
/// "At once" is after so small a part of what the first member was given, and no more than so many.
const AT_ONCE_PART: u32 = 16;
const AT_ONCE_MAX: u32 = 3;
/// Events without one that speaks for it, after which those before are forgotten: on its own each is a matter of chance.
const EVENTS_MAX: u8 = 8;
/// Good answers of other members within an announced wait that speak against it; one may have overtaken the refusal.
const PASSED_AGAINST: u32 = 2;
/// An announced wait from which on they do, in ms: servers round up to whole seconds, so one second may stand for none.
const TELLING_WAIT_MS: u64 = 2_000;
/// Two announcements of the same instant, or of the same length, differ by no more than this, in ms: both are rounded to seconds.
const SAME_MS: u64 = 1_500;
/// What was found is forgotten when it was not seen for so long, in ms: a week, as everywhere.
pub(super) const FORGOTTEN_MS: u64 = 7 * 24 * 3_600_000;

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
/// A limit that a member has hit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    pub(super) member: usize,
    /// The number of the request.
    pub(super) id: u64,
    pub(super) sent_at: Timestamp,
    /// When the server asked to come back.
    pub(super) announced_at: Option<Timestamp>,
    /// Whether a request was refused; else a good answer said that nothing is left.
    pub(super) is_refused: bool,
    /// Whether it was the first request of this member after a wait: it says only that the wait is not over.
    pub(super) is_canary: bool,
    /// Whether it is not known yet what the member bears.
    pub(super) is_searched: bool,
    /// The same, and it never came to a limit that is its own.
    pub(super) is_fresh: bool,
    /// Good answers that the member had since its last hit.
    pub(super) spent: u32,
}

/// Whose limit it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Whose {
    /// The member's own.
    Own,
    /// That of all. What the member that was refused first had learned before, if it is to be undone; and what was announced to it.
    All { undo: Option<(usize, Box<Snapshot>)>, announced_at: Option<Timestamp> },
}

/// What is known of one pool.
#[derive(Clone, Debug, Default)]
pub(super) struct Sharing {
    event: Option<Event>,
    halves: u8,
    /// Events since the last that speaks for it.
    since: u8,
    /// When it was last seen that all share a limit; [`Timestamp::EPOCH`] when they do not.
    seen_at: Timestamp,
    /// Whether that is news for the store.
    pub(super) has_changed: bool,
}

/// Refusals of one member, and what came of the others since.
#[derive(Clone, Debug)]
struct Event {
    hit: Hit,
    opened_at: Timestamp,
    /// What the member had learned before.
    before: Option<Box<Snapshot>>,
    /// Good answers of other members to what was sent since.
    passed: u32,
    /// Whether it was taken for the limit of all.
    is_of_all: bool,
    was_together: bool,
}

impl Sharing {
    /// Goes on from what was remembered.
    pub(super) fn remembered(seen_at: Timestamp, now: Timestamp) -> Self {
        let seen_at = if seen_at.plus_ms(FORGOTTEN_MS) < now { Timestamp::EPOCH } else { seen_at };
        Self { seen_at, ..Self::default() }
    }

    /// Whether all members share a limit.
    pub(super) fn is_shared(&self) -> bool {
        self.seen_at > Timestamp::EPOCH
    }

    /// When that was last seen.
    pub(super) fn seen_at(&self) -> Timestamp {
        self.seen_at
    }

    /// Forgets all of it: a person says so.
    pub(super) fn forget(&mut self) {
        self.has_changed |= self.is_shared();
        *self = Self { has_changed: self.has_changed, ..Self::default() };
    }

    /// A limit that is that of all was hit.
    pub(super) fn on_shared(&mut self, now: Timestamp) {
        // Once an hour is enough to know it for a week.
        if now.since_ms(self.seen_at) > 3_600_000 {
            (self.seen_at, self.has_changed) = (now, true);
        }
    }

    /// A member got a good answer to a request that was sent at `sent_at`. `is_closed` is whether the member of the last event still is.
    pub(super) fn on_passed(&mut self, member: usize, sent_at: Timestamp, is_closed: impl FnOnce(usize) -> bool) {
        let Some(event) = self.event.as_mut().filter(|event| event.hit.member != member && !event.is_of_all) else {
            return;
        };
        if sent_at < event.opened_at {
            return;
        }
        event.passed = event.passed.saturating_add(1);
        if event.passed == PASSED_AGAINST && is_telling(event) && is_closed(event.hit.member) {
            self.halves = 0;
        }
    }

    /// A member has hit a limit. `was_closed` is whether another one was when this request was sent, `before` what this member has
    /// learned.
    pub(super) fn on_hit(
        &mut self,
        hit: Hit,
        was_closed: impl FnOnce(usize) -> bool,
        before: impl FnOnce() -> Snapshot,
        now: Timestamp,
    ) -> Whose {
        let Some(event) = &mut self.event else { return self.open(hit, before, now) };
        // The next request goes by another member in the same millisecond.
        let is_next = hit.sent_at == event.opened_at && hit.member != event.hit.member && !event.is_of_all;
        if hit.sent_at <= event.opened_at && !is_next {
            if event.is_of_all {
                return Whose::All { undo: None, announced_at: event.hit.announced_at };
            }
            let is_first =
                event.hit.member != hit.member && hit.is_refused && !event.was_together && !event.hit.is_canary;
            if is_first && (is_telling(event) || (event.hit.is_searched && hit.is_fresh)) {
                event.was_together = true;
                self.speaks_for(TOGETHER, now);
            }
            return self.or_all();
        }
        let is_at_once = event.hit.member != hit.member
            && !event.is_of_all
            && hit.is_refused
            && !hit.is_canary
            && !event.hit.is_canary
            && event.passed <= (event.hit.spent / AT_ONCE_PART).min(AT_ONCE_MAX)
            && says_the_same(event, &hit, now)
            && was_closed(event.hit.member);
        if is_at_once && event.hit.is_searched && hit.is_fresh {
            let undo = event.before.take().map(|before| (event.hit.member, before));
            let announced_at = event.hit.announced_at;
            (event.is_of_all, event.opened_at) = (true, now);
            // Of one request that is refused whoever asks, nothing follows for others.
            if event.hit.id != hit.id {
                self.speaks_for(AT_ONCE, now);
            }
            return Whose::All { undo, announced_at };
        }
        if is_at_once && event.passed == 0 && is_telling(event) && event.hit.id != hit.id {
            self.speaks_for(TOGETHER, now);
        }
        self.open(hit, before, now)
    }

    /// Nothing but what is known already.
    fn or_all(&self) -> Whose {
        if self.is_shared() { Whose::All { undo: None, announced_at: None } } else { Whose::Own }
    }

    fn open(&mut self, hit: Hit, before: impl FnOnce() -> Snapshot, now: Timestamp) -> Whose {
        self.since = self.since.saturating_add(1);
        if self.since > EVENTS_MAX {
            self.halves = 0;
        }
        // What a canary's member had learned was undone or settled when it was closed.
        let before = (!hit.is_canary).then(|| Box::new(before()));
        self.event = Some(Event { hit, opened_at: now, before, passed: 0, is_of_all: false, was_together: false });
        self.or_all()
    }

    fn speaks_for(&mut self, halves: u8, now: Timestamp) {
        self.since = 0;
        self.halves += halves;
        if self.halves >= SHARED_AT {
            (self.halves, self.seen_at, self.has_changed) = (0, now, true);
        }
    }
}

/// Whether the wait was announced, and is long enough for an answer within it to tell something.
fn is_telling(event: &Event) -> bool {
    event.hit.announced_at.is_some_and(|at| at.since_ms(event.opened_at) >= TELLING_WAIT_MS)
}

/// Whether a limit that both share would have said this: the same end, or a wait of the same length from each refusal on, or nothing.
fn says_the_same(event: &Event, hit: &Hit, now: Timestamp) -> bool {
    match (event.hit.announced_at, hit.announced_at) {
        (None, None) => true,
        (Some(one), Some(other)) => {
            let lengths = (one.since_ms(event.opened_at), other.since_ms(now));
            one.0.abs_diff(other.0) <= SAME_MS || lengths.0.abs_diff(lengths.1) <= SAME_MS
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp(1_000_000_000);

    /// Refusals as `(member, request, sent after ms, answered after ms, wait in s)`; which of them were taken for the limit of all, and
    /// whether it is known to be by then.
    fn of_all(sharing: &mut Sharing, hits: &[(usize, u64, u64, u64, Option<u64>)]) -> Vec<bool> {
        let hit = |&(member, id, sent_ms, back_ms, wait_s): &(usize, u64, u64, u64, Option<u64>)| {
            let now = T0.plus_ms(back_ms);
            let announced_at = wait_s.map(|wait_s| now.plus_ms(wait_s * 1_000));
            let sent_at = T0.plus_ms(sent_ms);
            let hit = Hit {
                member,
                id,
                sent_at,
                announced_at,
                is_refused: true,
                is_canary: false,
                is_searched: true,
                is_fresh: true,
                spent: 20,
            };
            sharing.on_hit(hit, |_| true, Snapshot::default, now) != Whose::Own
        };
        hits.iter().map(hit).collect()
    }

    #[test]
    fn a_member_that_is_refused_at_once_after_another_shares_its_limit_and_twice_that_is_known() {
        let mut sharing = Sharing::default();
        let once = [(0, 1, 0, 10, Some(60)), (1, 2, 11, 20, Some(60)), (1, 3, 12, 21, Some(60))];
        // What was in flight with the second says the same.
        assert_eq!(of_all(&mut sharing, &once), [false, true, true]);
        assert!(!sharing.is_shared());
        let again = [(0, 4, 60_030, 60_040, None), (1, 5, 60_041, 60_050, None)];
        assert_eq!(of_all(&mut sharing, &again), [false, true]);
        assert!(sharing.is_shared() && sharing.has_changed);
    }

    #[test]
    fn a_member_that_got_something_first_has_come_to_its_own_limit() {
        let mut sharing = Sharing::default();
        assert_eq!(of_all(&mut sharing, &[(0, 1, 0, 10, Some(60))]), [false]);
        sharing.on_passed(1, T0.plus_ms(11), |_| true);
        sharing.on_passed(1, T0.plus_ms(12), |_| true);
        assert_eq!(of_all(&mut sharing, &[(1, 3, 30, 40, Some(60)), (2, 4, 41, 50, Some(60))]), [false, true]);
    }

    #[test]
    fn answers_within_an_announced_wait_speak_against_it() {
        let mut sharing = Sharing::default();
        assert_eq!(of_all(&mut sharing, &[(0, 1, 0, 10, Some(60)), (1, 2, 11, 20, Some(60))]), [false, true]);
        assert_eq!(of_all(&mut sharing, &[(0, 3, 61_000, 61_010, Some(60))]), [false]);
        sharing.on_passed(1, T0.plus_ms(61_011), |_| true);
        sharing.on_passed(1, T0.plus_ms(61_012), |_| true);
        assert_eq!(
            of_all(&mut sharing, &[(0, 5, 122_000, 122_010, Some(60)), (1, 6, 122_011, 122_020, Some(60))]),
            [false, true]
        );
        assert!(!sharing.is_shared());
    }

    #[test]
    fn what_is_announced_otherwise_is_another_limit() {
        for wait_s in [Some(25), None] {
            let mut sharing = Sharing::default();
            assert_eq!(of_all(&mut sharing, &[(0, 1, 0, 10, Some(60)), (1, 2, 11, 20, wait_s)]), [false, false]);
        }
        // The same end, as of a window.
        let mut sharing = Sharing::default();
        assert_eq!(of_all(&mut sharing, &[(0, 1, 0, 10, Some(60)), (1, 2, 25_000, 25_010, Some(35))]), [false, true]);
    }

    #[test]
    fn one_request_that_is_refused_whoever_asks_does_not_make_a_limit_shared() {
        let mut sharing = Sharing::default();
        for round in 0..5 {
            let at = round * 100_000;
            let hits = [(0, 7, at, at + 10, Some(60)), (1, 7, at + 11, at + 20, Some(60))];
            assert_eq!(of_all(&mut sharing, &hits), [false, true]);
        }
        assert!(!sharing.is_shared());
    }

    #[test]
    fn what_happens_together_is_half_of_it_and_chance_is_forgotten() {
        let together = |sharing: &mut Sharing, round: u64| {
            let at = round * 100_000;
            of_all(sharing, &[(0, round, at, at + 10, Some(60)), (1, 100 + round, at + 5, at + 15, Some(60))])
        };
        let mut sharing = Sharing::default();
        for round in 1..=4 {
            assert!(!sharing.is_shared());
            assert_eq!(together(&mut sharing, round), [false, round == 4]);
        }
        assert!(sharing.is_shared());
        let mut sharing = Sharing::default();
        for round in 0..40 {
            let at = round * 1_000_000;
            assert_eq!(together(&mut sharing, round * 10), [false, false]);
            let alone: Vec<_> = (1..=9).map(|n| (0, n, at + n * 10_000, at + n * 10_000 + 5, Some(5))).collect();
            of_all(&mut sharing, &alone);
        }
        assert!(!sharing.is_shared());
    }

    #[test]
    fn what_was_found_is_remembered_for_a_week() {
        assert!(Sharing::remembered(T0, T0.plus_ms(FORGOTTEN_MS)).is_shared());
        assert!(!Sharing::remembered(T0, T0.plus_ms(FORGOTTEN_MS + 1)).is_shared());
    }
}
