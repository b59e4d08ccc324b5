//! A quota in words, for people.

use crate::throttle::hints::QuotaUnit;

use super::known::{Known, View, to_amount};

impl Known {
    /// `core 4 812 of 5 000 left, resets in 14 min`
    pub(super) fn describe(&self, view: View) -> String {
        let mut words = if self.name.is_empty() { String::new() } else { format!("{} ", self.name) };
        let unit = match self.unit {
            QuotaUnit::Requests => "",
            QuotaUnit::Bytes => " bytes",
            QuotaUnit::Tokens => " tokens",
            QuotaUnit::Points => " points",
            QuotaUnit::Concurrent => " at once",
        };
        let limit = self.limit.map(|limit| format!("{}{unit}", grouped(limit)));
        let is_over = self.is_over(view.now);
        let left = self.remaining.filter(|_| !is_over && self.unit != QuotaUnit::Concurrent);
        match (left, limit) {
            (Some(_), limit) => {
                let in_flight = f64::from(view.in_flight) * self.cost();
                let left = to_amount((self.left(view.now) - in_flight).floor());
                let of = limit.map_or_else(|| unit.to_owned(), |limit| format!(" of {limit}"));
                words.push_str(&format!("{}{of} left", grouped(left)));
            }
            (None, Some(limit)) => words.push_str(&limit),
            (None, None) => words.push_str("unknown"),
        }
        if let Some(rate_per_s) = self.bucket_rate() {
            words.push_str(&format!(", refills {rate_per_s:.1}/s"));
        } else if let Some(at) = self.reset_at().filter(|_| left.is_some()) {
            words.push_str(&format!(", resets in {}", span(at.since_ms(view.now))));
        } else if self.span_ms > 0 && (left.is_none() || self.is_span_declared) && self.unit != QuotaUnit::Concurrent {
            // What was not declared is the longest time to a reset that was seen.
            let about = if self.is_span_declared { "" } else { "about " };
            words.push_str(&format!(" in {about}{}", span(u64::from(self.span_ms))));
        }
        if self.unit != QuotaUnit::Concurrent && !self.is_binding() {
            words.push_str(", but another limit refuses");
        }
        words
    }
}

/// `4 812`
fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

/// `14 min`: one unit, rounded up, so that it never tells people to come too early.
fn span(ms: u64) -> String {
    let (unit_ms, unit) = match ms {
        0..=999 => (1, "ms"),
        1_000..=119_999 => (1_000, "s"),
        120_000..=7_199_999 => (60_000, "min"),
        7_200_000..=172_799_999 => (3_600_000, "h"),
        _ => (86_400_000, "d"),
    };
    format!("{} {unit}", ms.div_ceil(unit_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_spans_are_short() {
        for (number, words) in [(0, "0"), (999, "999"), (1_000, "1 000"), (4_294_967_295, "4 294 967 295")] {
            assert_eq!(grouped(number), words);
        }
        for (ms, words) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (59_001, "60 s"),
            (840_000, "14 min"),
            (7_200_001, "3 h"),
            (200_000_000, "3 d"),
        ] {
            assert_eq!(span(ms), words);
        }
    }
}
