//! What was learned, for people.

use super::{Kind, Learner};

impl Learner {
    /// In words: `token bucket, 10.0/s, burst 20, known to ±0.1 %, from 3 refusals`.
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
        if known.is_tight {
            words.push_str(&format!(", known to ±{:.1} %", (known.rate_hi / known.rate_lo - 1.0) * 50.0));
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
    let per_s = kind.rate_per_ms(threshold) * 1_000.0;
    match kind.window_ms() {
        None => format!("{per_s:.4}/s, burst {threshold:.1}"),
        Some(window_ms) => format!("{threshold:.0} in {} s ({per_s:.3}/s)", window_ms / 1_000.0),
    }
}
