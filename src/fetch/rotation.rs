//! Which token of a pool is sent: the same one until it is spent, since its window begins with its first request.
//!
//! Enters: `now`, and which token has nothing left until when. Leaves: the place of the token to send. Deliberately absent: how
//! that is known (the caller reads it out of the answers), and the tokens themselves.

use crate::clock::Timestamp;

/// A pool of interchangeable tokens.
#[derive(Clone, Debug)]
pub(super) struct Rotation {
    /// Until when each has nothing left.
    spent_until_at: Vec<Timestamp>,
    /// The one that is being used up.
    current: usize,
}

impl Rotation {
    /// A pool of `count` tokens, at least one.
    pub(super) fn new(count: usize) -> Self {
        Self { spent_until_at: vec![Timestamp::EPOCH; count.max(1)], current: 0 }
    }

    /// The token for a request at `now`: the current one while it has something left, else the next that has; if none has, the
    /// one that returns first.
    pub(super) fn choose(&mut self, now: Timestamp) -> usize {
        let count = self.spent_until_at.len();
        let in_turn = || (0..count).map(|step| (self.current + step) % count);
        let with_something_left = in_turn().find(|&token| self.spent_until_at[token] <= now);
        // `min_by_key` takes the first of equals.
        let first_back = || in_turn().min_by_key(|&token| self.spent_until_at[token]);
        self.current = with_something_left.or_else(first_back).unwrap_or(0);
        self.current
    }

    /// Token `token` has nothing left until `until_at`. When all are spent, the instant at which the first returns.
    pub(super) fn spent(&mut self, token: usize, until_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
        if let Some(known_at) = self.spent_until_at.get_mut(token) {
            *known_at = (*known_at).max(until_at);
        }
        let first_at = self.spent_until_at.iter().copied().min().unwrap_or_default();
        (first_at > now).then_some(first_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_used_until_it_is_spent_and_the_first_one_back_follows_when_all_are() {
        let mut pool = Rotation::new(3);
        let at = Timestamp;
        assert_eq!([pool.choose(at(0)), pool.choose(at(1))], [0, 0]);
        assert_eq!(pool.spent(0, at(100), at(2)), None);
        assert_eq!(pool.choose(at(2)), 1);
        // Its window has come back, but the current one is not used up.
        assert_eq!(pool.choose(at(150)), 1);
        assert_eq!(pool.spent(1, at(300), at(150)), None);
        assert_eq!(pool.choose(at(150)), 2);
        assert_eq!(pool.spent(2, at(400), at(160)), None);
        assert_eq!(pool.choose(at(160)), 0);
        assert_eq!(pool.spent(0, at(500), at(170)), Some(at(300)));
        assert_eq!(pool.choose(at(170)), 1);
        // An older answer does not give back what a later one has taken.
        assert_eq!(pool.spent(1, at(200), at(180)), Some(at(300)));
        assert_eq!(pool.spent(9, at(900), at(180)), Some(at(300)));
    }
}
