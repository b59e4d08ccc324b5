//! What was learned, for people.

use super::{Kind, Learner};

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
            words.push_str(&format!(", known to ±{} %", share((known.rate_hi / known.rate_lo - 1.0) * 0.5)));
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

/// A rate in three digits: `10.0/s`, `1.67/s`, `30.0/min`.
fn rate(per_s: f64) -> String {
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
    format!("{value:.decimals$}/{unit}")
}

/// A share in percent, with a decimal where it matters; less than a thousandth is more than anybody can know.
fn share(share: f64) -> String {
    let percent = share.max(0.001) * 100.0;
    if percent < 1.0 { format!("{percent:.1}") } else { format!("{percent:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_at_a_glance() {
        let window = Kind::FirstHit { window_ms: 60_000.0 };
        let shown = [
            size(Kind::Bucket { rate_per_ms: 0.009_998 }, 20.04),
            size(Kind::Bucket { rate_per_ms: 0.000_5 }, 0.9),
            size(window, 100.0),
            size(Kind::FirstHit { window_ms: 3_600_000.0 }, 50.0),
            size(Kind::Bucket { rate_per_ms: 0.000_002 }, 1.0),
            format!("±{} %, ±{} %, ±{} %", share(0.0), share(0.004), share(0.01)),
        ];
        insta::assert_snapshot!(shown.join("\n"), @"
        10.0/s, burst 20
        30.0/min, burst 1
        100 in 60 s (1.67/s)
        50 in 3600 s (50.0/h)
        7.20/h, burst 1
        ±0.1 %, ±0.4 %, ±1 %
        ");
    }
}
