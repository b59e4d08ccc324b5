//! How far below a limit to stay: what the user's `courtesy` leaves of it for us.
//!
//! Enters: the limits that are known, sends and refusals. Leaves: the earliest instant of the next send. Deliberately absent:
//! finding the limits (`learner`), which has to touch them, courtesy or not.
//!
//! It keeps ledgers of its own: of a bucket one that drains at the share of its rate, of a window one that is full at the share of
//! its threshold. The learner's ledgers go on counting beside it.

use super::family::{Feature, Kind, Ledger};

/// A limit that is known, with what the learner has counted towards it.
pub(super) type Part<'l> = (Kind, f64, &'l Ledger);

/// What we take of the limits of one scope.
#[derive(Clone, Debug)]
pub struct Courtesy {
    share: f64,
    parts: Vec<Shared>,
}

/// Our part of one limit.
#[derive(Clone, Debug)]
struct Shared {
    /// The limit itself.
    kind: Kind,
    threshold: f64,
    ledger: Ledger,
}

impl Courtesy {
    /// Takes the `share` of every limit, above 0; 1 takes what the learner allows.
    pub fn new(share: f64) -> Self {
        Self { share, parts: Vec::new() }
    }

    /// The share.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// Whether nothing is left to others on purpose.
    pub fn is_idle(&self) -> bool {
        self.share >= 1.0
    }

    /// Takes over the limits that are known now; none while they are searched.
    pub fn follow<'l>(&mut self, limits: impl Iterator<Item = Part<'l>>, now_ms: f64) {
        let mut count = 0;
        for (index, (kind, threshold, counted)) in limits.enumerate() {
            count = index + 1;
            match self.parts.get_mut(index) {
                Some(part) if part.kind == kind && part.threshold.total_cmp(&threshold).is_eq() => {}
                Some(part) => *part = Shared::new(kind, threshold, counted, self.share, Some(&part.ledger), now_ms),
                None => self.parts.push(Shared::new(kind, threshold, counted, self.share, None, now_ms)),
            }
        }
        self.parts.truncate(count);
    }

    /// The earliest instant of the next send.
    pub fn next_ms(&mut self, now_ms: f64) -> f64 {
        let share = self.share;
        let next = self.parts.iter_mut().map(|part| {
            let most = (part.threshold * share).max(1.0);
            part.ledger.falls_to(most - 1.0, now_ms)
        });
        next.fold(f64::NEG_INFINITY, f64::max)
    }

    /// A request is sent.
    pub fn on_sent(&mut self, now_ms: f64) {
        for part in &mut self.parts {
            part.ledger.count(now_ms, 1.0, true);
        }
    }

    /// A request that was sent at `sent_ms` was refused.
    pub fn on_refused(&mut self, sent_ms: f64) {
        for part in &mut self.parts {
            part.ledger.refund(sent_ms);
        }
    }

    /// Whether our share of a quota is spent, of which the server says that `remaining` is left of `limit`.
    pub fn is_spent(&self, limit: u64, remaining: u64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "a quota of 2^53 is none")]
        let (limit, remaining) = (limit as f64, remaining as f64);
        !self.is_idle() && limit >= 1.0 && remaining <= limit * (1.0 - self.share)
    }
}

impl Shared {
    /// Goes on from `before` if that was a bucket too; a new one begins full, so that a change of mind is no burst.
    fn new(kind: Kind, threshold: f64, counted: &Ledger, share: f64, before: Option<&Ledger>, now_ms: f64) -> Self {
        let ledger = match (kind, before) {
            (Kind::Bucket { rate_per_ms }, Some(Ledger::Bucket(bucket))) => {
                let mut ledger = Ledger::Bucket(bucket.clone());
                ledger.set_rate(rate_per_ms * share, now_ms);
                ledger
            }
            (Kind::Bucket { rate_per_ms }, _) => {
                let mut ledger = Kind::Bucket { rate_per_ms: rate_per_ms * share }.ledger(0.0);
                ledger.fill((threshold * share).max(1.0), now_ms);
                ledger
            }
            // A window counts the same, whoever asks.
            _ => counted.clone(),
        };
        Self { kind, threshold, ledger }
    }
}
