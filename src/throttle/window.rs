//! How many at once: cautious at first, then as many as the scope bears.
//!
//! Enters: what was in flight when a request was sent, and what became of it. Leaves: the number that may be in flight.
//! Deliberately absent: rates (`learner`).
//!
//! A host that caps concurrency is told from one that caps a rate by what was in flight when it refused: with a cap, more than
//! with nearly all requests just before; with a rate, about as much.

use super::{Settings, Snapshot};

/// In flight at most until the first refusal, to begin with: a first touch costs no more refusals than are in flight.
const CAUTIOUS: f64 = 4.0;
/// In so many ms of full use one more may be in flight.
const STEP_MS: f64 = 3_000.0;
/// Use after which caution ends by and by, in ms: a limit that shows itself later than that is not a narrow one.
const TRUSTED_MS: f64 = 60_000.0;
/// Requests before a refusal that it is compared with.
const RECENT: usize = 16;
/// Evidence for a cap, as the logarithm of how much better it explains the refusals than a rate does, from which on it is
/// tried: 20 to 1. Each time that it turns out wrong, twice as much is needed.
const BELIEVED: f32 = 3.0;
/// What each refusal must bring at least, lest chance adds up.
const CHANCE: f32 = 0.7;
/// Accepted requests at a cap after which one more is tried; three times as many after each failure.
const PROBE_ACCEPTED: f64 = 400.0;

/// The window of one scope.
#[derive(Clone, Debug)]
pub struct Window {
    max: f64,
    cautious: f64,
    used_ms: f64,
    accepted_at_ms: f64,
    /// In flight at most just after the scope opened again; grows with each accepted request.
    resume: f64,
    /// What was in flight with the last requests.
    recent: [u16; RECENT],
    next: u8,
    evidence: f32,
    believed: f32,
    /// The least that was in flight at a refusal which spoke for a cap.
    lowest: u16,
    cap: Option<f64>,
    at_cap: f64,
    probe_after: f64,
    is_probing: bool,
}

impl Window {
    /// A window as `snapshot` left it, within the user's ceiling.
    #[must_use]
    pub fn new(settings: &Settings, snapshot: Option<&Snapshot>) -> Self {
        let max = f64::from(settings.concurrency_max.max(1));
        let known = snapshot.filter(|memory| memory.concurrency >= 1.0);
        Self {
            max,
            cautious: known.map_or(f64::from(settings.concurrency).max(CAUTIOUS), |memory| memory.concurrency),
            used_ms: 0.0,
            accepted_at_ms: f64::NAN,
            resume: f64::INFINITY,
            recent: [0; RECENT],
            next: 0,
            evidence: 0.0,
            believed: BELIEVED,
            lowest: u16::MAX,
            cap: snapshot.map(|memory| memory.cap).filter(|&cap| cap >= 1.0),
            at_cap: 0.0,
            probe_after: PROBE_ACCEPTED,
            is_probing: false,
        }
    }

    /// Requests that may be in flight at once, at least 1.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the size is within 1..=10,000")]
    pub fn size(&self) -> u32 {
        let capped = match self.cap {
            Some(cap) => cap + f64::from(u8::from(self.is_probing)),
            None => self.cautious,
        };
        capped.min(self.max).min(self.resume).max(1.0) as u32
    }

    /// The cap on concurrency that was found.
    #[must_use]
    pub fn cap(&self) -> Option<f64> {
        self.cap
    }

    /// Writes what outlives the process.
    pub fn save(&self, snapshot: &mut Snapshot) {
        snapshot.concurrency = self.cautious;
        snapshot.cap = self.cap.unwrap_or(0.0);
    }

    /// The scope was closed and is open again.
    pub fn on_reopened(&mut self) {
        self.resume = 1.0;
    }

    /// A good answer to a request that had `in_flight` (itself included) beside it when it was sent.
    pub fn on_accepted(&mut self, in_flight: u32, now_ms: f64) {
        self.resume += 1.0;
        let gap_ms = (now_ms - self.accepted_at_ms).clamp(0.0, 1_000.0);
        self.accepted_at_ms = now_ms;
        let is_used = f64::from(in_flight) + 1.0 > self.cautious;
        if is_used && self.cap.is_none() && gap_ms > 0.0 {
            self.used_ms += gap_ms;
            let trust = (self.used_ms - TRUSTED_MS).max(0.0) / 10_000.0;
            self.cautious = (self.cautious + gap_ms / STEP_MS * (1.0 + trust)).min(self.max);
        }
        if let Some(cap) = self.cap {
            if f64::from(in_flight) > cap && self.is_probing {
                self.at_cap += 1.0;
                if self.at_cap >= 30.0 {
                    self.cap = Some(cap + 1.0);
                    (self.at_cap, self.is_probing, self.probe_after) = (0.0, false, PROBE_ACCEPTED / 4.0);
                }
            } else if f64::from(in_flight) >= cap && !self.is_probing {
                self.at_cap += 1.0;
                if self.at_cap >= self.probe_after {
                    (self.at_cap, self.is_probing) = (0.0, true);
                }
            }
        }
    }

    /// A request is sent, with so many in flight, itself included.
    pub fn on_sent(&mut self, in_flight: u32) {
        self.recent[usize::from(self.next)] = u16::try_from(in_flight).unwrap_or(u16::MAX);
        self.next = if usize::from(self.next) + 1 < RECENT { self.next + 1 } else { 0 };
    }

    /// A refusal that opened an event, of a request with so many in flight. True when a cap on concurrency is the best
    /// explanation now.
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    pub fn on_touched(&mut self, in_flight: u32) -> bool {
        let in_flight = u16::try_from(in_flight).unwrap_or(u16::MAX);
        if let Some(cap) = self.cap {
            if f64::from(in_flight) > cap {
                if self.is_probing {
                    (self.at_cap, self.is_probing) = (0.0, false);
                    self.probe_after *= 3.0;
                }
            } else {
                // Refused below the cap: it is lower than that, or no cap at all.
                self.cap = None;
                self.evidence = 0.0;
                self.believed *= 2.0;
                self.lowest = u16::MAX;
                self.cautious = f64::from(in_flight).max(1.0);
            }
            return self.cap.is_some();
        }
        let as_many = self.recent.iter().filter(|&&recent| recent >= in_flight).count();
        let share = as_many as f32 / RECENT as f32;
        let speaks = -(share + 0.03).ln() - CHANCE;
        self.evidence = (self.evidence + speaks).max(0.0);
        if speaks > 0.0 && in_flight >= 2 {
            self.lowest = self.lowest.min(in_flight);
        }
        if self.evidence >= self.believed && self.lowest < u16::MAX {
            self.cap = Some(f64::from(self.lowest - 1).max(1.0));
            self.at_cap = 0.0;
        }
        self.cap.is_some()
    }
}
