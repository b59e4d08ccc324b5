//! Which scopes close together, so often that they are one.
//!
//! Enters: which scope was closed, and which was not when it could have been. Leaves: two scopes to be joined. A scope is a
//! [`ScopeId`], or none for the host.
//!
//! After one scope was closed, the next outcome of the other one tells: a refusal speaks for one limit, a good answer for two.
//! While the host is closed nothing goes at all, so a pair with the host is only tried when the narrow one closes first.

use crate::clock::Timestamp;

use super::scopes::ScopeId;

/// Times in a row that a scope must be refused right after the other one.
const TIMES: u8 = 3;

/// What is known of all pairs of a host's scopes.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairs {
    pairs: Vec<Pair>,
}

#[derive(Clone, Debug)]
struct Pair {
    /// The older one; none, the host, is the oldest.
    kept: Option<ScopeId>,
    other: ScopeId,
    times: u8,
    /// Which of them closed last, and when, until the next outcome of the other.
    open: Option<(Option<ScopeId>, Timestamp)>,
}

impl Pairs {
    /// `scope` was closed at `now`, by a refusal of a request that was sent at `sent_at`; `all` are the scopes that it could be one
    /// with.
    pub(super) fn on_event(
        &mut self,
        scope: Option<ScopeId>,
        all: impl Iterator<Item = Option<ScopeId>>,
        sent_at: Timestamp,
        now: Timestamp,
    ) {
        for one in all.filter(|&one| one != scope) {
            // Older scopes have lower numbers, and none is less than all.
            let (kept, Some(other)) = (one.min(scope), one.max(scope)) else { continue };
            let index =
                self.pairs.iter().position(|pair| (pair.kept, pair.other) == (kept, other)).unwrap_or_else(|| {
                    self.pairs.push(Pair { kept, other, times: 0, open: None });
                    self.pairs.len() - 1
                });
            let pair = &mut self.pairs[index];
            match pair.open {
                Some((by, at)) if by != scope && sent_at > at => {
                    pair.times += 1;
                    pair.open = None;
                }
                // In flight with the other's: one event of both, which tells nothing.
                Some((by, _)) if by != scope => {}
                _ if scope.is_none() => {}
                _ => pair.open = Some((scope, now)),
            }
        }
    }

    /// A request that was sent at `sent_at` and passed the scopes `ids`, beside the host, was answered.
    pub(super) fn on_passed(&mut self, ids: &[ScopeId], sent_at: Timestamp) {
        for pair in &mut self.pairs {
            let Some((by, at)) = pair.open else { continue };
            let is_of_other = if by == Some(pair.other) {
                // What passes the narrow scope too says nothing of the host alone.
                pair.kept.map_or(!ids.contains(&pair.other), |kept| ids.contains(&kept))
            } else {
                ids.contains(&pair.other)
            };
            if is_of_other && sent_at > at {
                (pair.times, pair.open) = (0, None);
            }
        }
    }

    /// Two scopes that are one: the one to take out, and what it is to be joined with.
    pub(super) fn take_joined(&mut self) -> Option<(ScopeId, Option<ScopeId>)> {
        let pair = self.pairs.iter().find(|pair| pair.times >= TIMES)?;
        Some((pair.other, pair.kept))
    }

    /// A scope is no more.
    pub(super) fn forget(&mut self, id: ScopeId) {
        self.pairs.retain(|pair| pair.other != id && pair.kept != Some(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Option<ScopeId> = Some(ScopeId(1));
    const B: Option<ScopeId> = Some(ScopeId(2));

    /// Three scopes, the host among them; `what` happens one second after the other. Which are joined.
    fn joined(what: &[(&str, Option<ScopeId>)]) -> Option<(ScopeId, Option<ScopeId>)> {
        let mut pairs = Pairs::default();
        let mut now = Timestamp(1_000);
        for (what, scope) in what {
            now = now.plus_ms(1_000);
            if *what == "refused" {
                pairs.on_event(*scope, [None, A, B].into_iter(), now, now.plus_ms(30));
            } else {
                let ids: Vec<ScopeId> = scope.iter().copied().collect();
                pairs.on_passed(&ids, now);
            }
        }
        pairs.take_joined()
    }

    #[test]
    fn three_times_in_a_row_is_what_it_takes() {
        let once = [("refused", A), ("refused", B)];
        assert_eq!(joined(&once.repeat(2)), None);
        assert_eq!(joined(&once.repeat(3)), Some((ScopeId(2), A)), "the younger one goes");
        assert_eq!(joined(&[("refused", A), ("refused", None)].repeat(3)), Some((ScopeId(1), None)));
        // A good answer of the other one between them speaks against it.
        let passed = [("refused", A), ("passed", B), ("refused", B)];
        assert_eq!(joined(&[once.repeat(2), passed.to_vec(), once.to_vec()].concat()), None);
        let passed = [("refused", A), ("passed", None), ("refused", None)];
        assert_eq!(joined(&passed.repeat(5)), None);
        // One of the same scope does not.
        let own = [("refused", A), ("passed", A), ("refused", None)];
        assert_eq!(joined(&own.repeat(3)), Some((ScopeId(1), None)));
        // While the host is closed nobody goes, so what comes after it tells nothing.
        assert_eq!(joined(&[("refused", None), ("refused", A), ("passed", None)].repeat(5)), None);
    }
}
