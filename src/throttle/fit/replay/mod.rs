//! What level a candidate was at when it mattered: at each refusal, and where accepted requests came closest to one.
//!
//! Enters: shots, and candidates to replay them through. Leaves: the spans of the accepted shots at the highest levels, and the
//! level at each marked shot. Most of the time of a re-fit goes here: a thousand candidates by a few thousand shots. Hence what
//! is the same for all of them is counted once, several buckets drain at once, windows step over what is not at the top, and a
//! candidate is not replayed again when only refused shots are left out. Deliberately absent: what the levels say of the
//! candidate, see `weigh`.

mod bucket;
mod window;

use std::collections::HashMap;
use std::mem::Discriminant;

use super::super::evidence::{Fate, Shot};
use super::super::family::Kind;
use bucket::{BLUR, Buckets};
use window::Windows;

/// Accepted requests at the highest levels that a score looks at.
const TOP: usize = 48;
/// Spans from which these are taken at once.
const HEAP: usize = 4 * TOP;

/// The levels that a request may have met, itself included, as its arrival is known to the jitter only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    pub lo: f64,
    pub hi: f64,
    pub weight: f64,
}

/// How many accepted requests were sent so shortly before and after a shot that they may have arrived in another order.
#[derive(Clone, Copy, Debug, Default)]
struct Near {
    before: f64,
    after: f64,
}

/// A shot whose level counts however low it is: it was refused, or went to see whether it is open again.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    pub shot: Shot,
    near: Near,
    /// Its place among the shots, and among the marks that there were before any was left out.
    place: usize,
    slot: usize,
    /// Accepted shots before it.
    passed: usize,
    /// How long before it the last of them was sent, or else the first shot of all, in ms.
    since_ms: f64,
}

/// Replays of the same shots.
#[derive(Default)]
pub struct Replay {
    /// How much later a request may arrive than another one that was sent at the same time, in ms.
    late_ms: f64,
    first_ms: Option<f64>,
    marks: Vec<Mark>,
    buckets: Buckets,
    windows: Windows,
    kept: Kept,
    /// What the last replay left.
    pub levels: Levels,
}

/// What a replay leaves.
#[derive(Default)]
pub struct Levels {
    /// The spans of the accepted shots at the highest levels.
    pub accepted: Vec<Span>,
    /// The level at each mark, and the one if the request came later than others.
    pub met: Vec<(f64, f64)>,
}

impl Replay {
    /// Replays of `shots`, of which any may be as late as `late_ms`.
    pub fn of(shots: &[Shot], late_ms: f64) -> Self {
        let mut replay = Self { late_ms, ..Self::default() };
        replay.look_at(shots);
        replay.kept.slots = replay.marks.len();
        replay
    }

    /// Of `shots` from now on, which are the former ones without some that were refused.
    pub fn go_on_with(&mut self, shots: &[Shot]) {
        if self.first_ms != shots.first().map(|shot| shot.at_ms) {
            // What a bucket held at the first shot it held at another instant now.
            self.kept.places.clear();
        }
        let former = std::mem::take(&mut self.marks);
        self.look_at(shots);
        let mut former = former.iter();
        for mark in &mut self.marks {
            mark.slot = former.find(|one| one.shot.number == mark.shot.number).map_or(0, |one| one.slot);
        }
    }

    /// The marked shots, in the order of sending.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    fn look_at(&mut self, shots: &[Shot]) {
        let near = neighbours(shots, self.late_ms);
        self.first_ms = shots.first().map(|shot| shot.at_ms);
        self.buckets.look_at(shots, &near, self.late_ms);
        self.windows.look_at(shots, &near, self.late_ms);
        self.marks.clear();
        let (mut passed, mut last_ms) = (0, self.first_ms.unwrap_or_default());
        for (place, (shot, &near)) in shots.iter().zip(&near).enumerate() {
            let is_accepted = shot.fate == Fate::Accepted;
            if !is_accepted || shot.is_probe {
                let since_ms = (shot.at_ms - last_ms).max(0.0);
                let slot = self.marks.len();
                self.marks.push(Mark { shot: *shot, near, place, slot, passed, since_ms });
            }
            if is_accepted {
                passed += 1;
                last_ms = last_ms.max(shot.at_ms);
            }
        }
    }

    /// Replays the shots through a kind that nothing was sent to before them; a bucket may hold `start` then.
    pub fn run(&mut self, kind: Kind, start: Option<f64>) {
        if let Kind::Bucket { rate_per_ms } = kind {
            self.drain(&[(rate_per_ms, start)]);
        }
        let key = key(kind, start);
        if key.is_some_and(|key| self.kept.recall(key, &self.marks, &mut self.levels)) {
            return;
        }
        self.windows.run(kind, &self.marks, &mut self.levels);
        if let Some(key) = key {
            self.kept.keep(key, &self.marks, &self.levels);
        }
    }

    /// Replays those of `buckets`, each a rate and what it holds when the shots begin, that were not replayed yet.
    pub fn drain(&mut self, buckets: &[(f64, Option<f64>)]) {
        let key = |&(rate_per_ms, start): &(f64, Option<f64>)| key(Kind::Bucket { rate_per_ms }, start);
        let is_new = |bucket: &&(f64, Option<f64>)| key(bucket).is_some_and(|key| !self.kept.places.contains_key(&key));
        let buckets: Vec<(f64, Option<f64>)> = buckets.iter().filter(is_new).copied().collect();
        for some in buckets.chunks(bucket::LANES) {
            self.buckets.drain(some);
            for (lane, bucket) in some.iter().enumerate() {
                self.buckets.read(lane, *bucket, &self.marks, &mut self.levels);
                if let Some(key) = key(bucket) {
                    self.kept.keep(key, &self.marks, &self.levels);
                }
            }
        }
    }
}

impl Mark {
    /// The levels that it may have met in a candidate of which it `met` these; `is_bucket` says of which kind.
    pub fn span(&self, (level, later): (f64, f64), is_bucket: bool) -> Span {
        let (own, blur) = (f64::from(self.shot.count), if is_bucket { BLUR } else { 0.0 });
        let lo = later.min(level - self.near.before) + own - blur;
        Span { lo, hi: level + own + self.near.after + blur, weight: 1.0 }
    }
}

/// A kind with its parameters, and what a bucket held at the first shot, as bits.
type Key = (Discriminant<Kind>, u64, u64);

/// What a replay is kept under; none if refused shots may change more than their own levels.
fn key(kind: Kind, start: Option<f64>) -> Option<Key> {
    let (one, other) = match kind {
        Kind::Bucket { rate_per_ms } => (rate_per_ms, start.unwrap_or(f64::NAN)),
        Kind::Fixed { window_ms, phase_ms } | Kind::Counter { window_ms, phase_ms: Some(phase_ms), all: false } => {
            (window_ms, phase_ms)
        }
        Kind::Log { window_ms, all: false } => (window_ms, 0.0),
        Kind::FirstHit { .. } | Kind::Log { .. } | Kind::Counter { .. } => return None,
    };
    Some((std::mem::discriminant(&kind), one.to_bits(), other.to_bits()))
}

/// Results of former replays.
#[derive(Default)]
struct Kept {
    /// Marks of each.
    slots: usize,
    /// Where its spans begin and end, and where its marks begin.
    places: HashMap<Key, (usize, usize, usize)>,
    spans: Vec<Span>,
    met: Vec<(f64, f64)>,
}

impl Kept {
    /// Whether there are any.
    fn recall(&self, key: Key, marks: &[Mark], levels: &mut Levels) -> bool {
        let Some(&(from, to, met)) = self.places.get(&key) else { return false };
        levels.accepted.clear();
        levels.accepted.extend_from_slice(&self.spans[from..to]);
        levels.met.clear();
        levels.met.extend(marks.iter().map(|mark| self.met[met + mark.slot]));
        true
    }

    fn keep(&mut self, key: Key, marks: &[Mark], levels: &Levels) {
        let (from, met) = (self.spans.len(), self.met.len());
        self.spans.extend_from_slice(&levels.accepted);
        self.met.resize(met + self.slots, (f64::NAN, f64::NAN));
        for (mark, &levels) in marks.iter().zip(&levels.met) {
            self.met[met + mark.slot] = levels;
        }
        self.places.insert(key, (from, self.spans.len(), met));
    }
}

/// Counts the accepted requests around each shot that may have overtaken it, or been overtaken.
fn neighbours(shots: &[Shot], reach_ms: f64) -> Vec<Near> {
    let (mut from, mut to) = (0, 0);
    // Accepted requests among the shots before `from`, before the present one, and before `to`.
    let (mut left, mut own, mut right) = (0.0, 0.0, 0.0);
    let counted = |shot: &Shot| if shot.fate == Fate::Accepted { f64::from(shot.count) } else { 0.0 };
    let near = shots.iter().map(|shot| {
        while shots[from].at_ms < shot.at_ms - reach_ms {
            left += counted(&shots[from]);
            from += 1;
        }
        while to < shots.len() && shots[to].at_ms <= shot.at_ms + reach_ms {
            right += counted(&shots[to]);
            to += 1;
        }
        let this = counted(shot);
        let near = Near { before: own - left, after: right - own - this };
        own += this;
        near
    });
    near.collect()
}

/// Keeps those at the highest levels; the lowest of these levels, and whether one was left out that is as high.
fn keep_top(spans: &mut Vec<Span>) -> Option<(f64, bool)> {
    let cut = spans.len().checked_sub(TOP).filter(|&cut| cut > 0)?;
    let floor = spans.select_nth_unstable_by(cut, |one, other| one.hi.total_cmp(&other.hi)).1.hi;
    let is_tied = spans.drain(..cut).any(|span| span.hi >= floor);
    Some((floor, is_tied))
}

#[cfg(test)]
mod tests {
    use super::super::super::evidence::Evidence;
    use super::super::super::family::Feature;
    use super::*;

    /// Shots so many ms after each other, of which some are refused, and some went to see.
    fn shots(steps: &[(u16, u8)]) -> Vec<Shot> {
        let mut evidence = Evidence::default();
        let mut at_ms = 1.7e12;
        for &(gap_ms, what) in steps {
            at_ms += f64::from(gap_ms);
            let fate = if what < 12 { Fate::Accepted } else { Fate::Refused };
            let number = evidence.send(at_ms, what % 12 == 0);
            evidence.settle(number, fate, what == 15);
        }
        evidence.known()
    }

    fn kinds() -> Vec<Kind> {
        let mut kinds: Vec<Kind> =
            [1e-4, 0.003, 0.011, 0.1, 0.9].map(|rate_per_ms| Kind::Bucket { rate_per_ms }).to_vec();
        for window_ms in [100.0, 1_000.0, 60_000.0] {
            kinds.push(Kind::FirstHit { window_ms });
            kinds.extend([true, false].map(|all| Kind::Log { window_ms, all }));
            for phase_ms in [0.0, 77.0] {
                kinds.push(Kind::Fixed { window_ms, phase_ms });
                kinds.extend([true, false].map(|all| Kind::Counter { window_ms, phase_ms: Some(phase_ms), all }));
            }
            kinds.extend([true, false].map(|all| Kind::Counter { window_ms, phase_ms: None, all }));
        }
        kinds
    }

    /// What the ledger of `kind` says, one shot after the other.
    fn one_by_one(shots: &[Shot], kind: Kind, start: Option<f64>, late_ms: f64) -> Levels {
        let mut ledger = kind.ledger(0.0);
        if let Some(level) = start {
            ledger.fill(level, shots[0].at_ms);
        }
        let is_bucket = matches!(kind, Kind::Bucket { .. });
        let mut levels = Levels::default();
        let mut floor = f64::NEG_INFINITY;
        for (shot, near) in shots.iter().zip(neighbours(shots, late_ms)) {
            let level = ledger.level(shot.at_ms);
            let later = match kind {
                // Before the first request too.
                Kind::Bucket { rate_per_ms } => level - rate_per_ms * late_ms,
                _ => ledger.clone().level(shot.at_ms + late_ms),
            };
            let met = (level, later);
            ledger.count(shot.at_ms, f64::from(shot.count), shot.fate == Fate::Accepted);
            if shot.fate != Fate::Accepted || shot.is_probe {
                levels.met.push(met);
            }
            let mark = Mark { shot: *shot, near, place: 0, slot: 0, passed: 0, since_ms: 0.0 };
            let Span { lo, hi, .. } = mark.span(met, is_bucket);
            let hi = hi.max(1.0);
            if shot.fate == Fate::Accepted && hi > floor {
                levels.accepted.push(Span { lo: lo.max(1.0).min(hi), hi, weight: 1.0 });
                if !is_bucket && levels.accepted.len() >= HEAP {
                    floor = keep_top(&mut levels.accepted).map_or(floor, |top| top.0);
                }
            }
        }
        if is_bucket {
            // A stable sort: of equals the first ones.
            levels.accepted.sort_by(|one, other| other.hi.total_cmp(&one.hi));
            levels.accepted.truncate(TOP);
        } else {
            keep_top(&mut levels.accepted);
        }
        levels
    }

    /// In which order they are kept is of no account.
    fn sorted(spans: &[Span]) -> Vec<(f64, f64)> {
        let mut pairs: Vec<(f64, f64)> = spans.iter().map(|span| (span.hi, span.lo)).collect();
        pairs.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
        pairs
    }

    fn is_near(some: &[(f64, f64)], others: &[(f64, f64)]) -> bool {
        let are_near =
            |(one, other): (&(f64, f64), &(f64, f64))| (one.0 - other.0).abs() < 1e-6 && (one.1 - other.1).abs() < 1e-6;
        some.len() == others.len() && some.iter().zip(others).all(are_near)
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_stepped_over_changes_nothing(
            steps in proptest::collection::vec((0_u16..600, 0_u8..16), 1..1_500),
            haste in 1_u16..60,
            start in proptest::option::of(0.0_f64..40.0),
            late_ms in 0.0_f64..50.0,
        ) {
            let steps: Vec<(u16, u8)> = steps.iter().map(|&(gap_ms, what)| (gap_ms / haste, what)).collect();
            let all = shots(&steps);
            let some: Vec<Shot> =
                all.iter().filter(|shot| shot.fate == Fate::Accepted || shot.number % 3 == 1).copied().collect();
            let mut replay = Replay::of(&all, late_ms);
            for shots in [all, some] {
                if shots.is_empty() {
                    continue;
                }
                replay.go_on_with(&shots);
                for kind in kinds() {
                    let start = start.filter(|_| matches!(kind, Kind::Bucket { .. }));
                    replay.run(kind, start);
                    let truth = one_by_one(&shots, kind, start, late_ms);
                    proptest::prop_assert!(is_near(&replay.levels.met, &truth.met), "{kind:?}");
                    proptest::prop_assert!(is_near(&sorted(&replay.levels.accepted), &sorted(&truth.accepted)), "{kind:?}");
                }
            }
        }
    }
}
