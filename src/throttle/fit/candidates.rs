//! Which limiters are thinkable: the kinds, windows, phases and rates that are worth a replay.

use super::super::evidence::Fate;
use super::super::family::Kind;
use super::replay::Replay;
use super::{Found, Model, PLAUSIBLE, Scored, Search};

/// Lengths of windows that people configure, in ms, with how much rarer than a minute each is.
const WINDOWS_MS: [(f64, f64); 15] = [
    (1_000.0, 0.0),
    (2_000.0, 0.4),
    (5_000.0, 0.3),
    (10_000.0, 0.1),
    (15_000.0, 0.3),
    (20_000.0, 0.4),
    (30_000.0, 0.2),
    (60_000.0, 0.0),
    (120_000.0, 0.4),
    (300_000.0, 0.1),
    (600_000.0, 0.2),
    (900_000.0, 0.1),
    (1_800_000.0, 0.3),
    (3_600_000.0, 0.0),
    (86_400_000.0, 0.1),
];
/// How much rarer than a bucket each kind is, in the unit of a cost.
const FIRST_HIT: f64 = 0.3;
const FIXED: f64 = 0.35;
/// A fixed window whose phase nothing speaks for.
const FIXED_ANYWHERE: f64 = 0.4;
const LOG: f64 = 0.4;
const LOG_ALL: f64 = 1.0;
const COUNTER: f64 = 1.6;
const COUNTER_ALL: f64 = 1.5;
/// Phases at which a counter is tried if the server does not say what time it is.
const COUNTER_PHASES: u32 = 12;
/// To this share of its window.
const COUNTER_PHASE_SHARE: f64 = 1.0 / 1_024.0;
/// And a bucket whose burst is only guessed.
const GUESSED: f64 = 0.3;
/// Windows up to this long are tried at all phases.
const SCANNED_MS_MAX: f64 = 5_000.0;
/// What a bucket may hold that was never seen full.
const BURST_GUESS: f64 = 30.0;
/// How much rarer two limits are than one.
const PAIR_RARITY: f64 = 1.0;

impl Search<'_> {
    /// Only the model so far, with its parameters measured anew.
    pub(super) fn run_near(&mut self, known: &Model) {
        if known.ban_ms > 0.0 {
            self.leave_out_probes();
        }
        match known.kind {
            Kind::Bucket { rate_per_ms } => {
                let mut best = (f64::INFINITY, rate_per_ms);
                for (reach, steps) in [(0.02, 16), (0.001_2, 8)] {
                    let off = |step: i32| reach * f64::from(step) / f64::from(steps);
                    let rates: Vec<f64> = (-steps..=steps).map(|step| best.1 * (1.0 + off(step))).collect();
                    self.drain(&rates);
                    for rate in rates {
                        let cost = self.try_bucket(rate, known.ban_ms, 0.0);
                        if cost < best.0 {
                            best = (cost, rate);
                        }
                    }
                }
            }
            Kind::Fixed { window_ms, phase_ms } => {
                for step in -2..=2 {
                    let phase_ms = (phase_ms + f64::from(step) * window_ms / 256.0).rem_euclid(window_ms);
                    self.try_kind(Kind::Fixed { window_ms, phase_ms }, known.ban_ms, FIXED);
                }
            }
            Kind::Counter { window_ms, phase_ms: Some(phase_ms), all: false } => {
                let cost = self.try_kind(known.kind, known.ban_ms, COUNTER);
                if self.context.clock_ms.is_nan() {
                    self.refine_counter((window_ms, phase_ms), window_ms / 128.0, (cost, known.ban_ms, COUNTER));
                }
            }
            kind => {
                self.try_kind(kind, known.ban_ms, LOG);
            }
        }
    }

    /// All kinds, each of them rarer by `prior`.
    pub(super) fn run(&mut self, ban_ms: f64, prior: f64) {
        for (window_ms, rarity) in self.windows() {
            if window_ms <= SCANNED_MS_MAX {
                self.scan_phases(window_ms, ban_ms, prior + FIXED + rarity);
            }
            for phase_ms in self.phases(window_ms) {
                self.try_kind(Kind::Fixed { window_ms, phase_ms }, ban_ms, prior + FIXED + rarity);
            }
            if window_ms > SCANNED_MS_MAX {
                self.try_counters(window_ms, ban_ms, prior + 2.0 * rarity);
            }
            self.try_kind(Kind::FirstHit { window_ms }, ban_ms, prior + FIRST_HIT + rarity);
            self.try_kind(Kind::Log { window_ms, all: false }, ban_ms, prior + LOG + rarity);
            self.try_kind(Kind::Log { window_ms, all: true }, ban_ms, prior + LOG_ALL + rarity);
        }
        self.try_buckets(ban_ms, prior);
    }

    /// Sliding counters of one length, which begin with the first request, on the server's clock, or, if that never said what
    /// time it is, anywhere.
    fn try_counters(&mut self, window_ms: f64, ban_ms: f64, prior: f64) {
        let mut phases = vec![None];
        if self.context.clock_ms.is_finite() {
            phases.push(Some((-self.context.clock_ms).rem_euclid(window_ms)));
        } else {
            phases.extend(
                (0..COUNTER_PHASES).map(|index| Some(window_ms * f64::from(index) / f64::from(COUNTER_PHASES))),
            );
        }
        let mut best = (f64::INFINITY, None);
        for phase_ms in phases {
            self.try_kind(Kind::Counter { window_ms, phase_ms, all: true }, ban_ms, prior + COUNTER_ALL);
            let cost = self.try_kind(Kind::Counter { window_ms, phase_ms, all: false }, ban_ms, prior + COUNTER);
            if cost < best.0 {
                best = (cost, phase_ms);
            }
        }
        if let (cost, Some(phase_ms)) = best
            && self.context.clock_ms.is_nan()
        {
            let step_ms = window_ms / f64::from(COUNTER_PHASES);
            self.refine_counter((window_ms, phase_ms), step_ms / 2.0, (cost, ban_ms, prior + COUNTER));
        }
    }

    /// Looks for a better phase of a counter around one, in ever smaller steps: a share of a window that is worth less than a
    /// request is small.
    fn refine_counter(&mut self, (window_ms, centre_ms): (f64, f64), step_ms: f64, costs: (f64, f64, f64)) {
        let (mut least, ban_ms, prior) = costs;
        let (mut centre_ms, mut step_ms) = (centre_ms, step_ms);
        while step_ms > window_ms * COUNTER_PHASE_SHARE && least <= self.least + PLAUSIBLE + COUNTER {
            for phase_ms in [centre_ms - step_ms, centre_ms + step_ms] {
                let phase_ms = phase_ms.rem_euclid(window_ms);
                let cost =
                    self.try_kind(Kind::Counter { window_ms, phase_ms: Some(phase_ms), all: false }, ban_ms, prior);
                if cost < least {
                    (least, centre_ms) = (cost, phase_ms);
                }
            }
            step_ms /= 2.0;
        }
    }

    /// If the limit that was known explains only some of the refusals, perhaps another one explains the rest.
    pub(super) fn try_pairs(&mut self) {
        let Some(known) = self.context.base else { return };
        let best = self.found.iter().map(|found| found.scored.cost).fold(f64::INFINITY, f64::min);
        let (kind, threshold) = (known.kind, known.threshold);
        let levels = self.ledger(kind).levels(&self.shots);
        let below = (threshold * 0.1).max(1.5);
        let is_explained = |level: f64| level + 1.0 > threshold - below;
        let all = std::mem::take(&mut self.shots);
        let (mut explained, mut left) = (Vec::new(), Vec::new());
        for (shot, level) in all.iter().zip(levels) {
            if shot.fate == Fate::Accepted || is_explained(level) {
                explained.push(*shot);
            }
            if shot.fate == Fate::Accepted || !is_explained(level) {
                left.push(*shot);
            }
        }
        if left.iter().filter(|shot| shot.fate == Fate::Refused && !shot.is_echo).count() >= 2 {
            let singles = std::mem::take(&mut self.found);
            let least = std::mem::replace(&mut self.least, f64::INFINITY);
            let replay = std::mem::replace(&mut self.replay, Replay::of(&explained, self.context.jitter_ms));
            self.shots = explained;
            let own = self.try_kind(kind, 0.0, PAIR_RARITY);
            self.replay = Replay::of(&left, self.context.jitter_ms);
            self.shots = left;
            self.found.clear();
            self.least = f64::INFINITY;
            self.try_seconds(kind);
            let halves = std::mem::replace(&mut self.found, singles);
            self.replay = replay;
            self.least = least;
            self.found.extend(halves.iter().filter(|half| own + half.scored.cost < best).map(|half| {
                let second = Some((half.scored.model.kind, half.scored.model.threshold));
                let model = Model { kind, threshold, ban_ms: 0.0, second };
                let (rate, cost, misfit) = (model.rate_per_ms(), own + half.scored.cost, own + half.scored.misfit);
                Found { scored: Scored { model, cost, misfit }, lo: rate, hi: rate }
            }));
        }
        self.shots = all;
    }

    /// What a second limit beside one of `kind` may be: a longer window.
    fn try_seconds(&mut self, kind: Kind) {
        for (window_ms, rarity) in self.windows() {
            if kind.window_ms().is_some_and(|known_ms| window_ms < known_ms * 3.0) {
                continue;
            }
            for index in 0..24 {
                let phase_ms = window_ms * f64::from(index) / 24.0;
                self.try_kind(Kind::Fixed { window_ms, phase_ms }, 0.0, FIXED_ANYWHERE + rarity);
            }
            for phase_ms in self.phases(window_ms) {
                self.try_kind(Kind::Fixed { window_ms, phase_ms }, 0.0, FIXED + rarity);
            }
            self.try_kind(Kind::FirstHit { window_ms }, 0.0, FIRST_HIT + rarity);
            self.try_kind(Kind::Log { window_ms, all: false }, 0.0, LOG + rarity);
        }
    }

    /// The usual lengths of windows, and those that announced waits imply.
    fn windows(&self) -> Vec<(f64, f64)> {
        let mut windows = WINDOWS_MS.to_vec();
        for pair in self.closures.windows(2) {
            let implied_ms = ((pair[1].told_ms - pair[0].opened_ms) / 1_000.0).round() * 1_000.0;
            if implied_ms >= 1_000.0 && windows.iter().all(|(known_ms, _)| (known_ms - implied_ms).abs() > 1_500.0) {
                windows.push((implied_ms, 0.8));
            }
        }
        windows.truncate(WINDOWS_MS.len() + 4);
        windows
    }

    /// Tries all phases of a short window, which probes after a refusal are too coarse to find.
    fn scan_phases(&mut self, window_ms: f64, ban_ms: f64, prior: f64) {
        let mut best = (f64::INFINITY, 0.0);
        let (mut centre, mut step) = (0.0, window_ms / 16.0);
        for round in 0..3 {
            let reach = if round == 0 { -8..8 } else { -3..4 };
            for index in reach {
                let phase_ms = (centre + f64::from(index) * step).rem_euclid(window_ms);
                let cost = self.try_kind(Kind::Fixed { window_ms, phase_ms }, ban_ms, prior);
                if cost < best.0 {
                    best = (cost, phase_ms);
                }
            }
            (centre, step) = (best.1, step / 4.0);
        }
    }

    /// Where windows of this length may begin: on the round instants of the server's clock, where it opened again, and where
    /// it said that it would.
    fn phases(&self, window_ms: f64) -> Vec<f64> {
        let mut phases: Vec<f64> = Vec::new();
        let mut add = |at_ms: f64| {
            let phase_ms = at_ms.rem_euclid(window_ms);
            let is_new = |known: &f64| {
                let apart = (known - phase_ms).abs();
                apart.min(window_ms - apart) > window_ms * 0.004
            };
            if phase_ms.is_finite() && phases.len() < 3 && phases.iter().all(is_new) {
                phases.push(phase_ms);
            }
        };
        add(-self.context.clock_ms);
        if let Some(Kind::Fixed { window_ms: known_ms, phase_ms }) = self.context.known.map(|model| model.kind)
            && (known_ms - window_ms).abs() < 1.0
        {
            add(phase_ms);
        }
        for closure in self.closures.iter().rev() {
            add(closure.told_ms);
            // The edge lies before the probe that passed; to take it for later costs nothing while windows are spent early.
            add(closure.opened_ms);
        }
        phases
    }

    fn try_buckets(&mut self, ban_ms: f64, prior: f64) {
        let first_ms = self.shots.first().map_or(0.0, |shot| shot.at_ms);
        let span_ms = (self.shots.last().map_or(0.0, |shot| shot.at_ms) - first_ms).max(100.0);
        let count: f64 = self.accepted_count();
        let mean = (count / span_ms).max(1e-7);
        let mut rates: Vec<f64> = Vec::new();
        let mut rate = mean / 200.0;
        while rate < (self.busy_per_ms * 2.0).max(mean * 2.0) {
            rates.push(rate);
            rate *= 1.12;
        }
        // Between two refusals of a bucket that was empty at both, what was accepted is what dripped in.
        rates.extend(self.rates_between_refusals());
        // Of a bucket that holds nothing, the shortest gaps that passed are the rate.
        let mut gaps: Vec<f64> = self
            .shots
            .windows(2)
            .filter(|pair| pair[1].fate == Fate::Accepted && pair[1].count == 1 && pair[1].at_ms > pair[0].at_ms)
            .map(|pair| pair[1].at_ms - pair[0].at_ms)
            .collect();
        gaps.sort_unstable_by(f64::total_cmp);
        rates.extend([0, 1, 3, 8].iter().filter_map(|&index| gaps.get(index)).flat_map(|gap| [1.0 / gap, 1.02 / gap]));
        if let Some(Kind::Bucket { rate_per_ms }) = self.context.known.map(|model| model.kind) {
            rates.push(rate_per_ms);
        }
        self.drain(&rates);
        let mut tried: Vec<(f64, f64)> =
            rates.iter().map(|&rate| (self.try_bucket(rate, ban_ms, prior), rate)).collect();
        for (best, reach, steps) in [(4, 0.12, 12), (3, 0.012, 10), (2, 0.0012, 8)] {
            tried.sort_by(|a, b| a.0.total_cmp(&b.0));
            // Several rates far from each other may explain a few refusals equally well; none of them may hide the others.
            let mut centres: Vec<f64> = Vec::new();
            for &(_, rate) in &tried {
                let is_apart = centres.iter().all(|centre| (rate / centre - 1.0).abs() > reach * 2.0);
                if is_apart && centres.len() < best {
                    centres.push(rate);
                }
            }
            let steps =
                || (-steps..=steps).filter(|&step| step != 0).map(|step| reach * f64::from(step) / f64::from(steps));
            let rates: Vec<f64> =
                centres.iter().flat_map(|centre| steps().map(move |off| centre * (1.0 + off))).collect();
            self.drain(&rates);
            tried.extend(rates.iter().map(|&rate| (self.try_bucket(rate, ban_ms, prior), rate)));
        }
    }

    /// Replays the buckets of these rates, all at once, before they are tried.
    fn drain(&mut self, rates: &[f64]) {
        let guess = self.guess().map(Some);
        let start = self.start_level.filter(|_| self.is_cut);
        let buckets =
            rates.iter().flat_map(|&rate| std::iter::once(start).chain(guess).map(move |start| (rate, start)));
        self.replay.drain(&buckets.collect::<Vec<_>>());
    }

    /// What a bucket may hold besides what is known of it.
    fn guess(&self) -> Option<f64> {
        let is_unsure = self.is_cut && !self.context.is_settled;
        self.context.burst.filter(|&burst| is_unsure && burst < BURST_GUESS).map(|_| BURST_GUESS)
    }

    /// A bucket whose past is missing was empty at the first shot; how much it holds is not known then.
    fn try_bucket(&mut self, rate_per_ms: f64, ban_ms: f64, prior: f64) -> f64 {
        let kind = Kind::Bucket { rate_per_ms };
        let cost = self.try_kind(kind, ban_ms, prior);
        let Some(guess) = self.guess() else { return cost };
        let known = (self.start_level, self.burst);
        (self.start_level, self.burst) = (Some(guess), Some(guess));
        let other = self.try_kind(kind, ban_ms, prior + GUESSED);
        (self.start_level, self.burst) = known;
        cost.min(other)
    }

    fn rates_between_refusals(&self) -> Vec<f64> {
        let mut rates = Vec::new();
        let touches: Vec<f64> = self.closures.iter().map(|closure| closure.touched_ms).collect();
        for (index, &from_ms) in touches.iter().enumerate() {
            for &to_ms in touches[index + 1..].iter().rev().take(3) {
                let count: f64 = self
                    .shots
                    .iter()
                    .filter(|shot| shot.fate == Fate::Accepted && shot.at_ms > from_ms && shot.at_ms < to_ms)
                    .map(|shot| f64::from(shot.count))
                    .sum();
                if count >= 3.0 {
                    rates.extend([-0.5, 0.0, 0.5].map(|more| (count + more) / (to_ms - from_ms)));
                }
            }
        }
        rates.truncate(36);
        rates
    }

    fn accepted_count(&self) -> f64 {
        self.shots.iter().filter(|shot| shot.fate == Fate::Accepted).map(|shot| f64::from(shot.count)).sum()
    }
}
