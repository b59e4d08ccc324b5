//! What a client that knows the limiter and its state to the last digit could get, as formulas.
//!
//! All of them count requests that *arrive* in the half-open span `[from, from + T)` of the server's clock: the client may send
//! from the start of its run, which arrives half a round trip later, and what it sends in the last instants of the run arrives
//! as much later; what a server holds back counts when it is taken. The backlog is unbounded, and the limiter is rested at the
//! start. With `r` the sustained rate, `B` a burst,
//! `Q` the requests of a window, `W` its length and `J` the spread of the way to the server:
//!
//! - **bucket, GCRA** `B + rT`: what is there plus what comes. A client cannot keep the order of two arrivals closer than `J`,
//!   and a bucket of `B` forgives arrivals that are early by `(B - 1) / r`. If that is less than `J`, even sends must be
//!   `I = 1/r + J - (B - 1)/r` apart, or a late one followed by an early one is refused: `T / I + B`. For `B = 1` it is
//!   `T / (1/r + J) + 1`.
//! - **nginx** the same with `B = burst + 1`. As a shaper (`delay`) it accepts a burst only to answer it later, at its own
//!   pace: `rT + 1` answers.
//! - **staircase** `max` and one `fill` for each tick of its timer in the span.
//! - **fixed window** `Q` for each window that the span touches: on the server's clock `floor((end - p) / W) - floor((from - p)
//!   / W) + 1`; anchored at the first hit `ceil(T / W)`.
//! - **sliding log** `Q ceil(T / W)`: any window of the span holds at most `Q`, and the span is covered by so many; reached by
//!   sending `Q` at the start of each.
//! - **sliding counter** with `n` the whole windows and `x` the rest of the span: no window can end with more than `Q`, and at
//!   the share `x` of the last one `Q x` may have gone when the one before took `Q`; taking `m` less there gains `m (1 - x)`
//!   here, which is never more. `Q (n + x)` for `n >= 1`, else `Q`. Aligned to the epoch the first, partial window may take
//!   `Q` too.
//! - **concurrency** `C T / (S + L)` with `S` the mean service and `L` the mean round trip: more than `C` in flight, seen by the
//!   client, risks that all arrive before the first is done, and the end of a request is seen only when its answer has come. A
//!   client that accepts refusals can put more on the way; this is the best of those that are never refused.
//! - **workers** `c T / S`: all of them always busy. With `c` in service and enough on the way none waits long.
//! - **several** the least of them; if the longest is a window by the clock, the sum over its windows of the lesser of its `Q`
//!   and what the others allow in that time; **ban** its limiter, never touched; **noisy** its mean; **shared** what the other client
//!   leaves; **schedule** the first burst and each rate for its time.
//!
//! In a minute no client reaches all of that which must find the limit first, or find out that it has changed. [`cold`] and [`warm`]
//! are what can be reached, where that is less:
//!
//! - **cold, a ban without a word that lasts as long as the run**: the first touch ends the run. Until then the answers are the same
//!   from every silent host, so the same client sends the same `N(t)` to all of them. To get the share `g` of a run from a host that
//!   bears the rate `R`, it needs `N(t) >= R (t - (1 - g) T)`: it has come to the pace `R` by about `(1 - g) T`. On its way it passes all
//!   rates `r` between `R_lo` and `R`, and a host of rate `r` and burst `B` has let pass `N_r` when it is touched. While the client is
//!   between two of them it gains no more than `r dt`, so `(1 - g) T >= int dN / r`. If it is to have `N_r - B >= s r T` on each of
//!   them, that is `s T (1 + ln(R / R_lo))`. So none secures more than `B + r T (1 - g) / (1 + ln(R / R_lo))`: the bound of online
//!   search with a known ratio of prices (El-Yaniv 1998). One that goes slower gets more here and less from all others.
//! - **cold, a shorter ban without a word** of `D`: a limit that says nothing is found by a touch, and that costs `D`: what its
//!   limiter allows in `T - D`.
//! - **warm, a rate that rose while the client was away**: it is found only by a step beyond what is known, and that costs a refusal
//!   where nothing has risen, which is more than a thousandth of what is sent if that is less than a thousand. So it is what the
//!   limit allowed that was known.

use super::scenario::{AnchorSpec, LimiterSpec, phase_us, us};

/// The circumstances of a run.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The first instant at which a request can arrive, on the server's clock.
    pub from_us: i64,
    /// The same, counted from the start of the first run.
    pub since_start_s: f64,
    /// T.
    pub seconds: f64,
    /// J.
    pub jitter_s: f64,
    /// The mean way there and back.
    pub round_trip_s: f64,
    /// Mean service.
    pub service_s: f64,
    pub seed: u64,
}

/// The best that can be had.
#[derive(Clone, Debug)]
pub struct Best {
    /// Accepted requests.
    pub accepted: f64,
    /// The sustained rate, from each of these instants of the run on.
    pub rates: Vec<(f64, f64)>,
    /// The span in which that rate shows: the length of the window, or 0.
    pub window_s: f64,
}

impl Best {
    /// The sustained rate at the start.
    pub fn per_s(&self) -> f64 {
        self.rates.first().map_or(0.0, |&(_, per_s)| per_s)
    }

    fn steady(accepted: f64, per_s: f64, window_s: f64) -> Self {
        Self { accepted: accepted.floor(), rates: vec![(0.0, per_s)], window_s }
    }
}

/// The optimum of `limiter` in `span`.
pub fn best(limiter: &LimiterSpec, span: &Span) -> Best {
    let t = span.seconds;
    match *limiter {
        LimiterSpec::Bucket { per_s, burst } => bucket(per_s, burst, span),
        LimiterSpec::Gcra { per_s, burst } => bucket(per_s, burst.into(), span),
        LimiterSpec::Nginx { per_s, burst: 1.., delay: Some(_) } => Best::steady(per_s * t + 1.0, per_s, 0.0),
        LimiterSpec::Nginx { per_s, burst, .. } => bucket(per_s, f64::from(burst) + 1.0, span),
        LimiterSpec::Staircase { fill, every_s, max } => {
            let (every_us, phase_us) = (us(every_s), phase_us(span.seed, us(every_s)));
            let ticks =
                (span.from_us + us(t) - phase_us).div_euclid(every_us) - (span.from_us - phase_us).div_euclid(every_us);
            Best::steady(f64::from(max) + f64::from(fill) * ticks as f64, f64::from(fill) / every_s, every_s)
        }
        LimiterSpec::Window { limit, seconds, anchor: AnchorSpec::Epoch, phase_s } => {
            let from_us = span.from_us - us(phase_s);
            // The last instant of the span, not the first one after it.
            let last_us = from_us + us(t) - 1;
            let windows = last_us.div_euclid(us(seconds)) - from_us.div_euclid(us(seconds)) + 1;
            Best::steady(f64::from(limit) * windows as f64, f64::from(limit) / seconds, seconds)
        }
        LimiterSpec::Window { limit, seconds, .. } | LimiterSpec::Log { limit, seconds, .. } => {
            Best::steady(f64::from(limit) * (t / seconds).ceil(), f64::from(limit) / seconds, seconds)
        }
        LimiterSpec::Counter { limit, seconds, anchor, .. } => {
            let q = f64::from(limit);
            // The partial first window of an epoch-aligned counter, as time in which nothing else is lost.
            let head_s = match anchor {
                AnchorSpec::Epoch => seconds - span.from_us.rem_euclid(us(seconds)) as f64 / 1e6,
                AnchorSpec::FirstHit => seconds,
            };
            Best::steady(q + q * (t - head_s).max(0.0) / seconds, q / seconds, seconds)
        }
        LimiterSpec::Concurrency { limit } => {
            let per_s = f64::from(limit) / (span.service_s + span.round_trip_s);
            Best::steady(per_s * t, per_s, 0.0)
        }
        LimiterSpec::Workers { limit } => {
            let per_s = f64::from(limit) / span.service_s;
            Best::steady(per_s * t, per_s, 0.0)
        }
        LimiterSpec::All { ref limiters, .. } => all(limiters, span),
        LimiterSpec::Ban { ref limiter, .. } | LimiterSpec::Noisy { ref limiter, .. } => best(limiter, span),
        LimiterSpec::Shared { ref limiter, per_s, from_s, until_s } => {
            let alone = best(limiter, span);
            let (from_s, until_s) = (from_s - span.since_start_s, until_s - span.since_start_s);
            let shared_s = (until_s.min(t) - from_s.max(0.0)).max(0.0);
            let mut rates = alone.rates.clone();
            if shared_s > 0.0 {
                rates = vec![(from_s.max(0.0), alone.per_s() - per_s), (until_s.min(t), alone.per_s())];
                if from_s > 0.0 {
                    rates.insert(0, (0.0, alone.per_s()));
                }
            }
            Best { accepted: (alone.accepted - per_s * shared_s).floor(), rates, window_s: alone.window_s }
        }
        LimiterSpec::Schedule { ref limiter, ref changes } => {
            let burst = best(limiter, &Span { seconds: 1e-6, ..*span }).accepted;
            let rate = |limiter: &LimiterSpec| best(limiter, span).per_s();
            let mut tuned = (**limiter).clone();
            let mut rates = vec![(0.0, rate(&tuned))];
            for change in changes {
                tuned.retune(change.per_s, change.limit);
                let at_s = change.at_s - span.since_start_s;
                if at_s <= 0.0 {
                    rates.clear();
                }
                if at_s < t {
                    rates.push((at_s.max(0.0), rate(&tuned)));
                }
            }
            let ends = rates.iter().skip(1).map(|&(at_s, _)| at_s).chain([t]);
            let sum: f64 = rates.iter().zip(ends).map(|(&(at_s, per_s), end_s)| per_s * (end_s - at_s)).sum();
            Best { accepted: (burst + sum).floor(), rates, window_s: best(limiter, span).window_s }
        }
    }
}

/// The share of a run that is to be reached on every row, g.
const COLD_SHARE: f64 = 0.75;
/// The rates between which a silent host's may be, R_lo and R: those of the rows of `tests/limits` without headers.
const SILENT_PER_S: (f64, f64) = (10.0 / 60.0, 80.0);
/// Below this one refusal is more than may be refused in a warm minute.
const WARM_REFUSED_ONE_IN: f64 = 1_000.0;

/// What can be reached of [`best`] by a client that knows nothing of `limiter`; `is_mute` when no answer tells of it.
pub fn cold(limiter: &LimiterSpec, span: &Span, is_mute: bool) -> f64 {
    let all = best(limiter, span).accepted;
    match limiter {
        LimiterSpec::Ban { seconds, limiter, .. } if is_mute && *seconds < span.seconds => {
            best(limiter, &Span { seconds: span.seconds - seconds, ..*span }).accepted.min(all)
        }
        LimiterSpec::Ban { limiter, .. } if is_mute => {
            let (lowest, highest) = SILENT_PER_S;
            let burst = best(limiter, &Span { seconds: 1e-6, ..*span }).accepted;
            let per_s = best(limiter, span).per_s();
            let searched_s = span.seconds * (1.0 - COLD_SHARE) / (1.0 + (highest / lowest).ln());
            (burst + per_s * searched_s).floor().min(all)
        }
        _ => all,
    }
}

/// What can be reached of [`best`] by a client that knows `limiter` as it was `known_s` after the start of the first run.
pub fn warm(limiter: &LimiterSpec, span: &Span, known_s: f64) -> f64 {
    let all = best(limiter, span).accepted;
    let LimiterSpec::Schedule { limiter, changes } = limiter else { return all };
    let mut known = (**limiter).clone();
    for change in changes.iter().filter(|change| change.at_s <= known_s) {
        known.retune(change.per_s, change.limit);
    }
    let known = best(&known, span).accepted;
    if known < WARM_REFUSED_ONE_IN { known.min(all) } else { all }
}

/// What all of `limiters` together allow.
fn all(limiters: &[LimiterSpec], span: &Span) -> Best {
    let bests: Vec<Best> = limiters.iter().map(|limiter| best(limiter, span)).collect();
    let binding = bests.iter().min_by(|one, other| one.per_s().total_cmp(&other.per_s()));
    let (per_s, window_s) = binding.map_or((0.0, 0.0), |best| (best.per_s(), best.window_s));
    let longest_s = bests.iter().map(|best| best.window_s).fold(0.0, f64::max);
    let is_longest = |limiter: &LimiterSpec| match *limiter {
        LimiterSpec::Window { anchor: AnchorSpec::Epoch, seconds, .. } => seconds >= longest_s,
        _ => false,
    };
    let Some(longest) = limiters.iter().position(is_longest) else {
        return Best::steady(bests.iter().map(|best| best.accepted).fold(f64::INFINITY, f64::min), per_s, window_s);
    };
    let LimiterSpec::Window { limit, seconds, phase_s, .. } = limiters[longest] else { unreachable!("it is a window") };
    let others: Vec<LimiterSpec> = limiters[..longest].iter().chain(&limiters[longest + 1..]).cloned().collect();
    if others.is_empty() {
        return bests[longest].clone();
    }
    // One window after the other, each with what the others allow within it.
    let (mut from_us, end_us) = (span.from_us, span.from_us + us(span.seconds));
    let mut accepted = 0.0;
    while from_us < end_us {
        let next_us = from_us + us(seconds) - (from_us - us(phase_s)).rem_euclid(us(seconds));
        let piece_s = (next_us.min(end_us) - from_us) as f64 / 1e6;
        accepted += all(&others, &Span { from_us, seconds: piece_s, ..*span }).accepted.min(limit.into());
        from_us = next_us;
    }
    Best::steady(accepted, per_s, window_s)
}

fn bucket(per_s: f64, burst: f64, span: &Span) -> Best {
    let lost_s = (span.jitter_s - (burst - 1.0) / per_s).max(0.0);
    let per_s = 1.0 / (1.0 / per_s + lost_s);
    Best::steady(burst + per_s * span.seconds, per_s, 0.0)
}

impl LimiterSpec {
    /// The same limiter with other numbers, as [`trundle::practice::limiter::Retune`] changes the real one.
    fn retune(&mut self, new_per_s: Option<f64>, new_limit: Option<u32>) {
        match self {
            Self::Bucket { per_s, .. } | Self::Gcra { per_s, .. } | Self::Nginx { per_s, .. } => {
                *per_s = new_per_s.unwrap_or(*per_s);
            }
            Self::Window { limit, .. }
            | Self::Log { limit, .. }
            | Self::Counter { limit, .. }
            | Self::Concurrency { limit }
            | Self::Workers { limit }
            | Self::Staircase { fill: limit, .. } => *limit = new_limit.unwrap_or(*limit),
            Self::All { limiters, .. } => limiters.iter_mut().for_each(|limiter| limiter.retune(new_per_s, new_limit)),
            Self::Ban { limiter, .. }
            | Self::Noisy { limiter, .. }
            | Self::Shared { limiter, .. }
            | Self::Schedule { limiter, .. } => limiter.retune(new_per_s, new_limit),
        }
    }
}
