//! The most that was accepted within a span of each length: what a scope has shown that it lets pass.
//!
//! Enters: accepted requests. Leaves: for each length, the greatest count so far. It outlives the single requests, which are
//! soon too many to keep, and disproves every limiter that would not have let so much pass. Deliberately absent: refusals.

use serde::{Deserialize, Serialize};

/// Lengths that are watched, in ms: those of the windows that people configure.
pub const SPANS_MS: [f64; 12] = [
    1_000.0,
    2_000.0,
    5_000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    120_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
    14_400_000.0,
];
/// Marks that are kept; beyond it those are dropped that lie closer together than a share of their age.
const MARKS_MAX: usize = 192;
/// That share: a span is measured too long by no more than this.
const COARSENESS: f64 = 1.0 / 12.0;
/// Marks lie no closer together, in ms.
const MARK_GAP_MS_MIN: f64 = 20.0;

/// The greatest counts, and a coarse record of the last hours to go on from.
#[derive(Clone, Debug, Default)]
pub struct Envelope {
    most: [f64; SPANS_MS.len()],
    /// Instants, and how many requests had been accepted by then.
    marks: Vec<(f64, f64)>,
    accepted: f64,
}

/// What outlives the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SavedEnvelope(Vec<u32>);

impl Envelope {
    /// A request that was sent at `sent_ms` was accepted.
    pub fn add(&mut self, sent_ms: f64) {
        let is_late = self.marks.last().is_some_and(|&(at_ms, _)| sent_ms < at_ms + MARK_GAP_MS_MIN);
        if !is_late {
            self.measure(sent_ms);
            if self.marks.len() >= MARKS_MAX {
                self.thin(sent_ms);
            }
            self.marks.push((sent_ms, self.accepted));
        }
        self.accepted += 1.0;
    }

    /// For each length with something in it: the length in ms and the greatest count.
    pub fn counts(&self) -> impl Iterator<Item = (f64, f64)> {
        SPANS_MS.into_iter().zip(self.most).filter(|&(_, count)| count > 1.0)
    }

    /// The limit is another one: what was accepted before says nothing.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// What outlives the process.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of some hours")]
    pub fn saved(&self) -> SavedEnvelope {
        SavedEnvelope(self.most.iter().map(|&most| most as u32).collect())
    }

    /// Goes on from what was saved.
    pub fn restored(saved: &SavedEnvelope) -> Self {
        let mut envelope = Self::default();
        for (most, &saved) in envelope.most.iter_mut().zip(&saved.0) {
            *most = f64::from(saved);
        }
        envelope
    }

    /// Counts what was accepted in the spans that end at `now_ms`. A mark within the span begins it, so that it is too short
    /// rather than too long.
    fn measure(&mut self, now_ms: f64) {
        let mut index = self.marks.len();
        for (most, span_ms) in self.most.iter_mut().zip(SPANS_MS) {
            while index > 0 && self.marks[index - 1].0 >= now_ms - span_ms {
                index -= 1;
            }
            if let Some(&(_, before)) = self.marks.get(index) {
                *most = most.max(self.accepted - before);
            }
        }
    }

    fn thin(&mut self, now_ms: f64) {
        let mut kept = f64::NEG_INFINITY;
        self.marks.retain(|&(at_ms, _)| {
            let is_kept = at_ms - kept >= (now_ms - at_ms) * COARSENESS;
            if is_kept {
                kept = at_ms;
            }
            is_kept
        });
        if self.marks.len() >= MARKS_MAX {
            self.marks.drain(..MARKS_MAX / 4);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_the_most_that_passed_in_a_span_of_each_length() {
        let mut envelope = Envelope::default();
        // Two hours at one a second, and in between ten seconds at twenty a second.
        for step in 0..7_200 {
            let at_ms = 1e12 + f64::from(step) * 1_000.0;
            envelope.add(at_ms);
            if (3_000..3_010).contains(&step) {
                for extra in 1..20 {
                    envelope.add(at_ms + f64::from(extra) * 50.0);
                }
            }
        }
        for (span_ms, count) in envelope.counts() {
            let truth = (span_ms / 1_000.0).min(10.0) * 19.0 + (span_ms / 1_000.0).min(7_200.0);
            assert!(count <= truth + 1.0, "{count} in {span_ms} ms are more than there were: {truth}");
            assert!(count >= truth * 0.88 - 20.0, "{count} in {span_ms} ms, {truth} in truth");
        }
        assert_eq!(envelope.counts().count(), SPANS_MS.len());
    }

    #[test]
    fn it_stays_small_and_comes_back_from_what_was_saved() {
        let mut envelope = Envelope::default();
        for step in 0..100_000 {
            envelope.add(1e12 + f64::from(step) * 37.0);
        }
        assert!(envelope.marks.len() <= MARKS_MAX);
        let json = serde_json::to_string(&envelope.saved()).expect("it is JSON");
        let restored = Envelope::restored(&serde_json::from_str(&json).expect("and comes back"));
        assert_eq!(restored.counts().collect::<Vec<_>>(), envelope.counts().collect::<Vec<_>>());
        // A file that was written with fewer lengths is no trouble.
        assert_eq!(Envelope::restored(&SavedEnvelope(vec![7])).counts().next(), Some((1_000.0, 7.0)));
    }
}
