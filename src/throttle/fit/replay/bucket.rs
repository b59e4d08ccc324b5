//! Several buckets at once.
//!
//! Enters: the accepted shots, and rates. Leaves: what [`Feature`](super::super::super::family::Feature) would say of each, one
//! by one. Deliberately absent: why the rates are worth it.

use std::cmp::Ordering;

use super::super::super::evidence::{Fate, Shot};
use super::{Levels, Mark, Near, Span, TOP};

/// How far the level of a bucket is known at best: a server that keeps time in whole ticks may let a little more or less pass.
pub const BLUR: f64 = 0.05;
/// Buckets that drain at once: a processor does some sums in the time of one.
pub const LANES: usize = 8;
/// Accepted shots that are stepped over together when the highest level among them is too low: so many, or fewer if that
/// leaves less than so many stretches.
const STRETCH: usize = 16;
const STRETCHES: usize = 4 * TOP;
/// Stretches at the highest levels that are looked at first: with these the top is nearly full.
const FIRST: usize = 4;

/// An accepted shot.
#[derive(Clone, Copy, Debug)]
struct Drop {
    /// How long before it the last one was sent, or else the first shot of all, in ms.
    gap_ms: f64,
    count: f64,
    near: Near,
}

/// The buckets that drained last.
#[derive(Default)]
pub struct Buckets {
    late_ms: f64,
    drops: Vec<Drop>,
    stretch: usize,
    /// The level at each drop, and the highest one in each stretch.
    levels: Vec<[f64; LANES]>,
    peaks: Vec<[f64; LANES]>,
    /// Levels and places, of stretches and of drops.
    stretches: Vec<(f64, usize)>,
    highest: Vec<(f64, usize)>,
}

impl Buckets {
    pub(super) fn look_at(&mut self, shots: &[Shot], near: &[Near], late_ms: f64) {
        self.late_ms = late_ms;
        self.drops.clear();
        let mut last_ms = shots.first().map_or(0.0, |shot| shot.at_ms);
        for (shot, &near) in shots.iter().zip(near).filter(|(shot, _)| shot.fate == Fate::Accepted) {
            let gap_ms = (shot.at_ms - last_ms).max(0.0);
            self.drops.push(Drop { gap_ms, count: f64::from(shot.count), near });
            last_ms = last_ms.max(shot.at_ms);
        }
        self.stretch = (self.drops.len() / STRETCHES).clamp(STRETCH / 4, STRETCH);
    }

    /// Replays `buckets`, each a rate and what it holds at the first shot: one for each lane at most, and at least one.
    pub fn drain(&mut self, buckets: &[(f64, Option<f64>)]) {
        let Self { drops, levels, peaks, .. } = self;
        levels.clear();
        peaks.clear();
        let first_ms = drops.first().map_or(0.0, |drop| drop.gap_ms);
        let of_lane = |lane: usize| buckets[lane.min(buckets.len() - 1)];
        let rates: [f64; LANES] = std::array::from_fn(|lane| of_lane(lane).0);
        // One that is empty has nothing to drain before the first request.
        let mut held: [f64; LANES] = std::array::from_fn(|lane| of_lane(lane).1.unwrap_or(rates[lane] * first_ms));
        for stretch in drops.chunks(self.stretch) {
            let mut peak = [f64::NEG_INFINITY; LANES];
            for drop in stretch {
                let mut row = [0.0; LANES];
                for lane in 0..LANES {
                    let level = held[lane] - rates[lane] * drop.gap_ms;
                    let full = level + drop.count;
                    let hi = full + drop.near.after + BLUR;
                    row[lane] = level;
                    // Not `max`, which takes longer for the sake of what is no number.
                    peak[lane] = if hi > peak[lane] { hi } else { peak[lane] };
                    held[lane] = if full > 1.0 { full } else { 1.0 };
                }
                levels.push(row);
            }
            peaks.push(peak);
        }
    }

    /// What the bucket in a lane leaves.
    pub fn read(&mut self, lane: usize, bucket: (f64, Option<f64>), marks: &[Mark], into: &mut Levels) {
        self.find_top(lane, bucket.0, &mut into.accepted);
        self.meet(lane, bucket, marks, &mut into.met);
    }

    /// The spans at the highest levels; the first ones of those that are as high.
    fn find_top(&mut self, lane: usize, rate_per_ms: f64, into: &mut Vec<Span>) {
        let Self { late_ms, drops, stretch, levels, peaks, stretches, highest } = self;
        stretches.clear();
        stretches.extend(peaks.iter().map(|peak| peak[lane].max(1.0)).zip(0..));
        // What is below the peaks of so many stretches is not at the top.
        let mut last = (f64::NEG_INFINITY, usize::MAX);
        if stretches.len() > TOP {
            last.0 = stretches.select_nth_unstable_by(TOP - 1, highest_first).1.0;
            stretches[..TOP].select_nth_unstable_by(FIRST, highest_first);
        }
        highest.clear();
        for &(peak, index) in &*stretches {
            if peak < last.0 {
                continue;
            }
            let from = index * *stretch;
            let to = (from + *stretch).min(drops.len());
            for (place, (drop, level)) in (from..).zip(drops[from..to].iter().zip(&levels[from..to])) {
                let hi = (level[lane] + drop.count + drop.near.after + BLUR).max(1.0);
                if hi >= last.0 && highest_first(&(hi, place), &last).is_lt() {
                    highest.push((hi, place));
                }
            }
            if highest.len() >= TOP + STRETCH {
                last = *highest.select_nth_unstable_by(TOP - 1, highest_first).1;
                highest.truncate(TOP);
            }
        }
        if highest.len() > TOP {
            highest.select_nth_unstable_by(TOP - 1, highest_first);
            highest.truncate(TOP);
        }
        into.clear();
        into.extend(highest.iter().map(|&(hi, place)| {
            let (drop, level) = (&drops[place], levels[place][lane]);
            let lo = (level - rate_per_ms * *late_ms).min(level - drop.near.before) + drop.count - BLUR;
            Span { lo: lo.max(1.0).min(hi), hi, weight: 1.0 }
        }));
    }

    fn meet(&self, lane: usize, bucket: (f64, Option<f64>), marks: &[Mark], into: &mut Vec<(f64, f64)>) {
        let (rate_per_ms, start) = bucket;
        into.clear();
        into.extend(marks.iter().map(|mark| {
            let level = match mark.passed.checked_sub(1) {
                _ if mark.shot.fate == Fate::Accepted => self.levels[mark.passed][lane],
                Some(last) => (self.levels[last][lane] + self.drops[last].count).max(1.0) - rate_per_ms * mark.since_ms,
                None => start.map_or(0.0, |start| start - rate_per_ms * mark.since_ms),
            };
            (level, level - rate_per_ms * self.late_ms)
        }));
    }
}

/// The higher level first, and of equals the earlier place.
fn highest_first(one: &(f64, usize), other: &(f64, usize)) -> Ordering {
    other.0.total_cmp(&one.0).then(one.1.cmp(&other.1))
}
