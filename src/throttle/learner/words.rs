//! What was learned, for people.
//!
//! A claim of accuracy must hold in nearly all cases, whatever the limiter is; `tests/it/limits_lab.rs` holds it against the true
//! rates of the laboratory. So it is wider than what the replay finds plausible, and where a limit leaves refusals unexplained there
//! is none.

use super::admit::STRICT;
use super::{Kind, Known, Learner};

/// Accuracies that are told, in percent. Nothing finer than one is: the words have three digits, and limits wander.
const TOLD_PERCENT: [u32; 7] = [1, 2, 3, 5, 7, 10, 15];
/// The finest of them for a limit that shuts out, whose refusals tell less of its rate. Measured: off by up to 2.5 % in the laboratory.
const TOLD_PERCENT_BAN: u32 = 3;
/// The finest for a bucket that bears nothing early: whatever jitter it meets looks like a lower rate. Off by up to 5.6 % there.
const TOLD_PERCENT_STRICT: u32 = 7;
/// A limit that leaves more unexplained than this may be of another kind, and its rate off by anything. Measured on the rows of the
/// laboratory: 0.8 at most where the rate was right, more than 1.5 in most runs where it was off by more than was
/// claimed.
const UNEXPLAINED_MAX: f32 = 1.2;

impl Learner {
    /// In words: `token bucket, 10.0/s, burst 20, known to ±1 %, from 3 refusals`.
    pub fn describe(&self) -> String {
        let Some(known) = &self.known else { return "no limit met".to_owned() };
        let model = known.model;
        let mut words = format!("{}, {}", model.kind.name(), size(model.kind, model.threshold));
        if let Some((kind, threshold)) = model.second {
            words.push_str(&format!(" and {}, {}", kind.name(), size(kind, threshold)));
        }
        if model.ban_ms > 0.0 {
            words.push_str(&format!(", shuts out for {:.0} s", model.ban_ms / 1_000.0));
        }
        if self.said == Some(model) {
            words.push_str(if self.is_old { ", said by hand, too old to be sure" } else { ", said by hand" });
            return words;
        }
        if known.is_tight {
            match sure_percent(known) {
                Some(percent) => words.push_str(&format!(", known to ±{percent} %")),
                None => words.push_str(", known roughly"),
            }
        } else if self.is_old {
            words.push_str(", too old to be sure");
        } else {
            words.push_str(", not sure yet");
        }
        let plural = if self.touches == 1 { "" } else { "s" };
        words.push_str(&format!(", from {} refusal{plural}", self.touches));
        words
    }
}

/// `10.0/s, burst 20` of a bucket, `100 in 60 s (1.67/s)` of a window.
fn size(kind: Kind, threshold: f64) -> String {
    let granted = rate(kind.rate_per_ms(threshold) * 1_000.0);
    match kind.window_ms() {
        None => format!("{granted}, burst {:.0}", threshold.max(1.0)),
        Some(window_ms) => format!("{threshold:.0} in {} s ({granted})", window_ms / 1_000.0),
    }
}

/// To how many percent its rate is known as it is told; none when that cannot be said.
#[expect(
    clippy::cast_possible_truncation,
    reason = "seven digits are kept of them, and the words must be the same after a rest"
)]
fn sure_percent(known: &Known) -> Option<u32> {
    let bounds = [known.rate_lo as f32, known.rate_hi as f32].map(f64::from);
    if known.misfit as f32 > UNEXPLAINED_MAX {
        return None;
    }
    let told = told_per_s(known.model.rate_per_ms() * 1_000.0);
    let off = bounds.map(|bound| (bound * 1e5 / told - 100.0).abs()).into_iter().fold(0.0, f64::max);
    let is_strict = matches!(known.model.kind, Kind::Bucket { .. }) && known.model.threshold < STRICT;
    let least = match () {
        () if is_strict => TOLD_PERCENT_STRICT,
        () if known.model.ban_ms > 0.0 => TOLD_PERCENT_BAN,
        () => 0,
    };
    TOLD_PERCENT.into_iter().find(|&percent| percent >= least && off <= f64::from(percent))
}

/// A rate as three digits have it, in requests a second.
fn told_per_s(per_s: f64) -> f64 {
    let (value, unit, decimals) = in_words(per_s);
    let seconds = match unit {
        "s" => 1.0,
        "min" => 60.0,
        _ => 3_600.0,
    };
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale / seconds
}

/// A rate in three digits: `10.0/s`, `1.67/s`, `30.0/min`.
fn rate(per_s: f64) -> String {
    let (value, unit, decimals) = in_words(per_s);
    format!("{value:.*}/{unit}", usize::try_from(decimals).unwrap_or_default())
}

/// A rate in its unit, and the decimals that are told.
fn in_words(per_s: f64) -> (f64, &'static str, i32) {
    let (value, unit) = match per_s {
        0.999_5.. => (per_s, "s"),
        _ if per_s * 60.0 >= 1.0 => (per_s * 60.0, "min"),
        _ => (per_s * 3_600.0, "h"),
    };
    let decimals = match value {
        99.95.. => 0,
        9.995.. => 1,
        _ => 2,
    };
    (value, unit, decimals)
}

#[cfg(test)]
mod tests {
    use super::super::super::fit::Model;
    use super::*;

    #[test]
    fn an_accuracy_covers_what_is_plausible_as_it_is_told_and_none_is_claimed_where_refusals_stay_unexplained() {
        let known = |rate_per_ms: f64, share: f64, misfit: f64, ban_ms: f64| Known {
            model: Model { kind: Kind::Bucket { rate_per_ms }, threshold: 20.0, ban_ms, second: None },
            rate_lo: rate_per_ms * (1.0 - share),
            rate_hi: rate_per_ms * (1.0 + share),
            is_tight: true,
            misfit,
            rivals: Vec::new(),
        };
        let cases = [
            (known(0.01, 0.0, 0.0, 0.0), Some(1)),
            (known(0.01, 0.012, 0.0, 0.0), Some(2)),
            // 1.005/s is told as 1.00/s or 1.01/s.
            (known(0.001_005, 0.007, 0.0, 0.0), Some(2)),
            (known(0.01, 0.0, 0.0, 60_000.0), Some(3)),
            (known(0.01, 0.0, 9.0, 0.0), None),
            (known(0.01, 0.3, 0.0, 0.0), None),
        ];
        for (known, percent) in cases {
            assert_eq!(sure_percent(&known), percent, "{known:?}");
        }
    }

    #[test]
    fn sizes_are_read_at_a_glance() {
        let window = Kind::FirstHit { window_ms: 60_000.0 };
        let shown = [
            size(Kind::Bucket { rate_per_ms: 0.009_998 }, 20.04),
            size(Kind::Bucket { rate_per_ms: 0.000_5 }, 0.9),
            size(window, 100.0),
            size(Kind::FirstHit { window_ms: 3_600_000.0 }, 50.0),
            size(Kind::Bucket { rate_per_ms: 0.000_002 }, 1.0),
        ];
        insta::assert_snapshot!(shown.join("\n"), @"
        10.0/s, burst 20
        30.0/min, burst 1
        100 in 60 s (1.67/s)
        50 in 3600 s (50.0/h)
        7.20/h, burst 1
        ");
    }
}
