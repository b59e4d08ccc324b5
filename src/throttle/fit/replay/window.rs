//! Windows: with one counter or two, and sliding ones.
//!
//! Enters: the shots, and windows. Leaves: what [`Feature`](super::super::super::family::Feature) would say of each, from sums
//! that are the same for all of them, stepping over most shots. Deliberately absent: why the windows are worth it.

use super::super::super::evidence::{Fate, Shot};
use super::super::super::family::{Kind, LONG_AGO_MS};
use super::{HEAP, Levels, Mark, Near, Span, keep_top};

/// Instants that lie closer to the end of a window are asked one by one whether they are beyond it, in ms: far more than what
/// an instant may be rounded by.
const EDGE_MS: f64 = 1.0;
/// Shots that are stepped over together when none of them can be high enough.
const STRETCH: usize = 16;
/// By how much a level may be rounded that is no whole number.
const ROUNDED: f64 = 1e-6;
/// More windows than these within the shots are many.
const MANY: f64 = 8.0;

/// All shots, in columns.
#[derive(Default)]
pub struct Windows {
    at_ms: Vec<f64>,
    /// When it would have been sent to come as late as it may.
    late_ms: Vec<f64>,
    is_accepted: Vec<bool>,
    count: Vec<f64>,
    near: Vec<Near>,
    passed: Sums,
    all: Sums,
    peaks: Peaks,
}

/// The highest level of each stretch that windows of one length may come to, wherever they begin.
#[derive(Default)]
struct Peaks {
    window_ms: f64,
    levels: Vec<f64>,
}

impl Peaks {
    fn find(&mut self, window_ms: f64, at_ms: &[f64], is_accepted: &[bool], sums: &Sums) {
        if self.window_ms.total_cmp(&window_ms).is_eq() {
            return;
        }
        self.window_ms = window_ms;
        self.levels.clear();
        self.levels.resize(at_ms.len().div_ceil(STRETCH), f64::NEG_INFINITY);
        let mut from = 0;
        for (place, &sent_ms) in at_ms.iter().enumerate() {
            while sent_ms - at_ms[from] >= window_ms + EDGE_MS {
                from += 1;
            }
            if is_accepted[place] {
                let peak = &mut self.levels[place / STRETCH];
                *peak = peak.max(sums.with[place] - sums.before[from]);
            }
        }
    }
}

/// Sums over the shots, of the accepted requests or of all.
#[derive(Default)]
struct Sums {
    /// Those before it.
    before: Vec<f64>,
    /// These with itself, and what may have come before it although it was sent after it. It never falls.
    with: Vec<f64>,
}

impl Sums {
    fn add(&mut self, sum: f64, with: f64) {
        self.before.push(sum);
        self.with.push(with);
    }
}

impl Windows {
    pub(super) fn look_at(&mut self, shots: &[Shot], near: &[Near], late_ms: f64) {
        *self = Self { near: near.to_vec(), ..Self::default() };
        let (mut passed, mut all, mut last_ms) = (0.0, 0.0, f64::NEG_INFINITY);
        for (shot, near) in shots.iter().zip(near) {
            let is_accepted = shot.fate == Fate::Accepted;
            let count = f64::from(shot.count);
            // Instants do not go back.
            last_ms = shot.at_ms.max(last_ms);
            self.at_ms.push(last_ms);
            self.late_ms.push(last_ms + late_ms);
            self.is_accepted.push(is_accepted);
            self.count.push(count);
            let own = if is_accepted { count } else { 0.0 };
            self.passed.add(passed, passed + own + near.after);
            self.all.add(all, all + count + near.after);
            passed += own;
            all += count;
        }
    }

    /// Replays them through a kind of window.
    pub fn run(&mut self, kind: Kind, marks: &[Mark], into: &mut Levels) {
        let span_ms = self.at_ms.last().map_or(0.0, |last_ms| last_ms - self.at_ms[0]);
        if let Kind::Fixed { window_ms, phase_ms } = kind
            && window_ms * MANY < span_ms
        {
            // Among so many whole counts there are ties, and most of them are too low.
            self.peaks.find(window_ms, &self.at_ms, &self.is_accepted, &self.passed);
            self.turn_many(window_ms, phase_ms, Look::new(self, &self.passed, marks, into));
        } else {
            let sums = if kind.counts_refused() { &self.all } else { &self.passed };
            if !self.turn(kind, Look::new(self, sums, marks, into).latest_first()) {
                self.turn(kind, Look::new(self, sums, marks, into));
            }
        }
    }

    /// True when it is the same in whatever order one looks.
    fn turn(&self, kind: Kind, look: Look<'_>) -> bool {
        match kind {
            Kind::Fixed { window_ms, phase_ms } => self.turn_one(window_ms, phase_ms, look),
            Kind::FirstHit { window_ms } => self.turn_first(window_ms, look),
            Kind::Counter { window_ms, phase_ms, .. } => self.turn_both(window_ms, phase_ms, look),
            Kind::Log { window_ms, .. } => self.slide(window_ms, look),
            // It has no window.
            Kind::Bucket { .. } => true,
        }
    }

    /// The number of the window that the shot at `place` lies in; none is as high as one beyond the last shot.
    fn index_at(&self, place: usize, window_ms: f64, phase_ms: f64) -> f64 {
        self.at_ms.get(place).map_or(f64::INFINITY, |at_ms| floor((at_ms - phase_ms) / window_ms))
    }

    fn turn_many(&self, window_ms: f64, phase_ms: f64, mut look: Look<'_>) {
        let index_at = |place| self.index_at(place, window_ms, phase_ms);
        let first_of = |index: f64, place: usize| {
            let sure_ms = index * window_ms + phase_ms - EDGE_MS;
            let near = self.at_ms[..place].partition_point(|&at_ms| at_ms < sure_ms);
            (near..place).find(|&place| index_at(place) >= index).unwrap_or(place)
        };
        let ahead = |index: f64, place: usize, count: f64| {
            if self.late_ms[place] >= (index + 1.0) * window_ms + phase_ms { 0.0 } else { count }
        };
        let Sums { before, with } = look.sums;
        for place in look.marks.iter().map(|mark| mark.place) {
            let index = index_at(place);
            let count = before[place] - before[first_of(index, place)];
            look.into.met.push((count, ahead(index, place, count)));
        }
        for (&peak, start) in self.peaks.levels.iter().zip((0..).step_by(STRETCH)) {
            if peak <= look.floor {
                continue;
            }
            let mut index = index_at(start);
            let mut base = before[first_of(index, start)];
            for place in start..(start + STRETCH).min(self.at_ms.len()) {
                let own = index_at(place);
                if own > index {
                    (index, base) = (own, before[place]);
                }
                if self.is_accepted[place] && with[place] - base > look.floor {
                    let count = before[place] - base;
                    look.add(place, count, || ahead(index, place, count));
                }
            }
        }
        look.finish();
    }

    fn turn_one(&self, window_ms: f64, phase_ms: f64, mut look: Look<'_>) -> bool {
        let index_at = |place| self.index_at(place, window_ms, phase_ms);
        let (mut from, mut index) = (0, index_at(0));
        while from < self.at_ms.len() {
            let edge_ms = (index + 1.0) * window_ms + phase_ms;
            let mut to = self.first_from(from + 1, |at_ms| at_ms >= edge_ms - EDGE_MS);
            let mut next = index_at(to);
            while next <= index {
                to += 1;
                next = index_at(to);
            }
            look.at_one(from, to, |late_ms, count| if late_ms >= edge_ms { 0.0 } else { count });
            (from, index) = (to, next);
        }
        look.finish()
    }

    fn turn_first(&self, window_ms: f64, mut look: Look<'_>) -> bool {
        let mut from = 0;
        while from < self.at_ms.len() {
            let start_ms = self.at_ms[from];
            let to = self.first_from(from + 1, |at_ms| at_ms - start_ms >= window_ms);
            look.at_one(from, to, |late_ms, count| if late_ms - start_ms >= window_ms { 0.0 } else { count });
            from = to;
        }
        look.finish()
    }

    fn slide(&self, window_ms: f64, mut look: Look<'_>) -> bool {
        // The first place of which the request has not left the window at an instant.
        let left = |at_ms: f64, from: usize, to: usize| {
            from + self.at_ms[from..to].partition_point(|&sent_ms| at_ms - sent_ms >= window_ms)
        };
        for mark in look.marks {
            let place = mark.place;
            let count = |from: usize| look.sums.before[place] - look.sums.before[from];
            let from = left(self.at_ms[place], 0, place);
            look.into.met.push((count(from), count(left(self.late_ms[place], from, place))));
        }
        let sums = look.sums;
        let mut from = 0;
        let mut first_of = |&start_ms: &f64| {
            from = self.first_from(from, |sent_ms| start_ms - sent_ms < window_ms);
            from
        };
        let firsts: Vec<usize> = self.at_ms.iter().step_by(STRETCH).map(&mut first_of).collect();
        for (start, end) in look.stretches(0, self.at_ms.len()) {
            let mut from = firsts[start / STRETCH];
            if sums.with[end - 1] - sums.before[from] < look.floor {
                continue;
            }
            for place in start..end {
                while from < place && self.at_ms[place] - self.at_ms[from] >= window_ms {
                    from += 1;
                }
                let count = |from: usize| sums.before[place] - sums.before[from];
                if self.is_accepted[place] {
                    look.add(place, count(from), || count(left(self.late_ms[place], from, place)));
                }
            }
        }
        look.finish()
    }

    fn turn_both(&self, window_ms: f64, phase_ms: Option<f64>, mut look: Look<'_>) -> bool {
        let (mut from, mut start_ms, mut count) = (0, LONG_AGO_MS, 0.0);
        while from < self.at_ms.len() {
            let at_ms = self.at_ms[from];
            let windows = (at_ms - start_ms) / window_ms;
            let last = if windows < 2.0 { count } else { 0.0 };
            start_ms = match phase_ms {
                Some(phase_ms) => floor((at_ms - phase_ms) / window_ms) * window_ms + phase_ms,
                None if windows < 2.0 => start_ms + window_ms,
                None => at_ms,
            };
            let to = self.first_from(from + 1, |at_ms| (at_ms - start_ms) / window_ms >= 1.0);
            let share = |at_ms: f64| last * (1.0 - ((at_ms - start_ms) / window_ms).clamp(0.0, 1.0));
            let ahead = |late_ms: f64, count: f64| {
                let windows = (late_ms - start_ms) / window_ms;
                if windows < 1.0 { last * (1.0 - windows) + count } else { count * (2.0 - windows).max(0.0) }
            };
            if last > 0.0 {
                let fall = last / window_ms;
                look.at_two(from, to, share, |at_ms| last - fall * (at_ms - start_ms), ahead);
            } else {
                look.at_one(from, to, ahead);
            }
            count = look.sums.before.get(to).map_or(0.0, |sum| sum - look.sums.before[from]);
            from = to;
        }
        look.finish()
    }

    /// The first place from `from` on, of which `is_beyond` holds; it is one that holds of all after it too.
    fn first_from(&self, from: usize, is_beyond: impl Fn(f64) -> bool) -> usize {
        let (mut low, mut step) = (from, 1);
        while let Some(&at_ms) = self.at_ms.get(low + step - 1) {
            if is_beyond(at_ms) {
                let sure = low + step - 1;
                return low + self.at_ms[low..sure].partition_point(|&at_ms| !is_beyond(at_ms));
            }
            low += step;
            step *= 2;
        }
        low + self.at_ms.get(low..).map_or(0, |rest| rest.partition_point(|&at_ms| !is_beyond(at_ms)))
    }
}

/// A look at the levels of one candidate.
///
/// Of levels that only rise the latest come to stay, so that to look at them first spares most of the others. If several are as
/// high as the lowest one that stays, though, it matters which of them came first.
struct Look<'s> {
    is_latest_first: bool,
    /// A level that a span was left out at although one that stayed was no higher.
    tie: f64,
    shots: &'s Windows,
    sums: &'s Sums,
    marks: &'s [Mark],
    floor: f64,
    into: &'s mut Levels,
}

impl<'s> Look<'s> {
    fn new(shots: &'s Windows, sums: &'s Sums, marks: &'s [Mark], into: &'s mut Levels) -> Self {
        into.accepted.clear();
        into.met.clear();
        Self { is_latest_first: false, tie: f64::NAN, shots, sums, marks, floor: f64::NEG_INFINITY, into }
    }

    fn latest_first(self) -> Self {
        Self { is_latest_first: true, ..self }
    }

    /// A window in which the level is the count alone; `ahead` says what it is at a later instant.
    fn at_one(&mut self, from: usize, to: usize, ahead: impl Fn(f64, f64) -> f64) {
        self.meet(to, |_| 0.0, &ahead, from);
        let base = self.sums.before[from];
        if self.is_latest_first {
            for place in (from..to).rev() {
                if self.sums.with[place] - base < self.floor {
                    break;
                }
                if self.shots.is_accepted[place] {
                    let level = self.sums.before[place] - base;
                    self.add(place, level, || ahead(self.shots.late_ms[place], level));
                }
            }
            return;
        }
        let mut place = from;
        while place < to {
            let floor = self.floor + base;
            if self.sums.with[to - 1] <= floor {
                return;
            }
            place += self.sums.with[place..to].partition_point(|&with| with <= floor);
            let floor = self.floor;
            while place < to && floor.total_cmp(&self.floor).is_eq() {
                if self.shots.is_accepted[place] {
                    let level = self.sums.before[place] - base;
                    self.add(place, level, || ahead(self.shots.late_ms[place], level));
                }
                place += 1;
            }
        }
    }

    /// A window in which `share` is added to the count; `rough` is the same, rounded elsewhere and sooner.
    fn at_two(
        &mut self,
        from: usize,
        to: usize,
        share: impl Fn(f64) -> f64,
        rough: impl Fn(f64) -> f64,
        ahead: impl Fn(f64, f64) -> f64,
    ) {
        self.meet(to, &share, &ahead, from);
        let base = self.sums.before[from];
        for (start, end) in self.stretches(from, to) {
            let mut most = f64::NEG_INFINITY;
            for (&at_ms, with) in self.shots.at_ms[start..end].iter().zip(&self.sums.with[start..end]) {
                let hi = rough(at_ms) + (with - base);
                most = if hi > most { hi } else { most };
            }
            if most + ROUNDED < self.floor {
                continue;
            }
            for place in start..end {
                if self.shots.is_accepted[place] {
                    let count = self.sums.before[place] - base;
                    let level = share(self.shots.at_ms[place]) + count;
                    self.add(place, level, || ahead(self.shots.late_ms[place], count));
                }
            }
        }
    }

    /// Where stretches of shots begin and end, in the order of the look.
    fn stretches(&self, from: usize, to: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let count = (to - from).div_ceil(STRETCH);
        let is_latest_first = self.is_latest_first;
        (0..count).map(move |index| {
            let start = from + STRETCH * if is_latest_first { count - 1 - index } else { index };
            (start, (start + STRETCH).min(to))
        })
    }

    /// An accepted shot that may be at the top.
    fn add(&mut self, place: usize, level: f64, later: impl FnOnce() -> f64) {
        let (own, Near { before, after }) = (self.shots.count[place], self.shots.near[place]);
        let hi = (level + own + after).max(1.0);
        if hi > self.floor {
            let lo = later().min(level - before) + own;
            self.into.accepted.push(Span { lo: lo.max(1.0).min(hi), hi, weight: 1.0 });
            if self.into.accepted.len() >= HEAP {
                self.keep_top();
            }
        } else if hi >= self.floor {
            self.tie = hi;
        }
    }

    fn keep_top(&mut self) {
        let Some(top) = keep_top(&mut self.into.accepted) else { return };
        self.floor = top.0;
        if top.1 {
            self.tie = top.0;
        }
    }

    /// The marks before `to`, in the window that begins at `from`.
    fn meet(&mut self, to: usize, share: impl Fn(f64) -> f64, ahead: impl Fn(f64, f64) -> f64, from: usize) {
        while let Some(place) = self.marks.get(self.into.met.len()).map(|mark| mark.place).filter(|&place| place < to) {
            let count = self.sums.before[place] - self.sums.before[from];
            let level = share(self.shots.at_ms[place]) + count;
            self.into.met.push((level, ahead(self.shots.late_ms[place], count)));
        }
    }

    /// Whether it is the same in whatever order one looks.
    fn finish(mut self) -> bool {
        self.keep_top();
        self.tie.total_cmp(&self.floor).is_ne()
    }
}

/// As the method of that name, which takes longer where the processor that this is built for has no such instruction.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "numbers of windows")]
fn floor(number: f64) -> f64 {
    let whole = number as i64 as f64;
    if whole > number { whole - 1.0 } else { whole }
}
