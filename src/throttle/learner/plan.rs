//! When to ask again after a refusal that did not say it.

use super::{Feature, Kind, Learner};
use crate::throttle::fit::RATE_SLACK;

/// Times for which a refusal commonly shuts out, in ms: fail2ban, mod_evasive and the rules of CDNs offer these.
const BANS_MS: [f64; 9] =
    [10_000.0, 30_000.0, 60_000.0, 120_000.0, 300_000.0, 600_000.0, 900_000.0, 1_800_000.0, 3_600_000.0];
/// A closed spell that is shorter is none of these, in ms.
const BAN_MS_MIN: f64 = 8_000.0;

impl Learner {
    /// When to ask again: where the plausible models expect it to open, else at instants that common limiters would choose.
    pub(super) fn plan(&mut self, now_ms: f64) -> f64 {
        let least_ms = now_ms + self.round_trip.least_ms().clamp(50.0, 1_000.0);
        let generic_ms = self.generic(now_ms);
        // A model that counts canaries too expects with each that is refused that the next one will pass, and would hammer for ever.
        let patient_ms = now_ms + (least_ms - now_ms) * f64::from(1 << self.polls.min(16));
        let Some(known) = self.known.clone() else { return generic_ms.max(least_ms) };
        let refused_ms = self.evidence.closures().back().map_or(now_ms, |closure| closure.refused_ms);
        let (ban_ends_ms, is_agreed) = self.ban_ends(refused_ms).unzip();
        let mut soonest = f64::INFINITY;
        for rival in known.rivals.iter().filter(|rival| rival.cost <= known.rivals[0].cost + RATE_SLACK) {
            let opens = rival.model.parts().map(|(kind, threshold)| {
                if let Kind::Bucket { rate_per_ms } = kind {
                    return now_ms + (1.15 / rate_per_ms) * f64::from(1 << self.polls.min(16));
                }
                let mut ledger = kind.ledger(0.0);
                ledger.replay(&self.evidence.counted());
                let guard_ms = 20.0 + kind.window_ms().unwrap_or(0.0) * 0.002 + self.round_trip.jitter_ms();
                ledger.falls_to((threshold - 1.0).max(0.0), self.touched_ms) + guard_ms
            });
            let ban_ends_ms = ban_ends_ms.filter(|_| rival.model.ban_ms > 0.0);
            let at_ms = opens.chain(ban_ends_ms).fold(f64::NEG_INFINITY, f64::max);
            // A model that expected it to be open by the last refusal was wrong.
            if at_ms > refused_ms + 1.0 {
                let counts = rival.model.parts().any(|(kind, _)| kind.counts_refused());
                soonest = soonest.min(at_ms.max(if counts { patient_ms } else { least_ms }));
            }
        }
        if let Some(at_ms) = ban_ends_ms.filter(|_| is_agreed == Some(true)) {
            soonest = soonest.min(at_ms.max(least_ms));
        }
        if known.is_tight && self.polls == 0 && soonest.is_finite() {
            soonest
        } else {
            soonest.min(generic_ms).max(least_ms)
        }
    }

    /// When it opens if each refusal closes it for the same time, whatever the level: at the shortest of the usual lengths that
    /// all closed spells so far allow, else after the shortest of them. None when they do not agree, or only few seconds show.
    /// And whether they agree on a time from the first refusal on; where each refusal starts it anew they agree from the last one.
    fn ban_ends(&self, refused_ms: f64) -> Option<(f64, bool)> {
        let closures = self.evidence.closures();
        let done = || closures.iter().filter(|closure| closure.opened_ms.is_finite());
        let most_ms = done().map(|closure| closure.opened_ms - closure.touched_ms).fold(f64::INFINITY, f64::min);
        let least_ms = done().map(|closure| closure.refused_ms - closure.touched_ms).fold(0.0, f64::max);
        let least_ms = least_ms.max(refused_ms - self.touched_ms);
        let is_agreed = least_ms < most_ms;
        let (from_ms, least_ms, most_ms) = if is_agreed {
            (self.touched_ms, least_ms, most_ms)
        } else {
            let most_ms = done().map(|closure| closure.opened_ms - closure.refused_ms).fold(f64::INFINITY, f64::min);
            (refused_ms, closures.iter().map(|closure| closure.gap_ms).fold(0.0, f64::max), most_ms)
        };
        if most_ms.is_infinite() || most_ms < BAN_MS_MIN || least_ms >= most_ms {
            return None;
        }
        let guard_ms = |ban_ms: f64| 20.0 + ban_ms * 0.002 + self.round_trip.jitter_ms();
        let usual = BANS_MS.into_iter().map(|ban_ms| ban_ms + guard_ms(ban_ms));
        let ban_ms = usual.into_iter().find(|&ban_ms| ban_ms > least_ms + 1.0).filter(|&ban_ms| ban_ms < most_ms);
        Some((from_ms + ban_ms.unwrap_or(most_ms), is_agreed))
    }

    /// Instants at which common limiters open: soon, at the next round second, ten seconds, minute, a minute after the first
    /// request, then at ever rounder ones.
    pub(super) fn generic(&self, now_ms: f64) -> f64 {
        let clock_ms = if self.clock_ms.is_finite() { self.clock_ms } else { 0.0 };
        let after = |wait_ms: f64, round_ms: f64| {
            let at_ms = ((now_ms + wait_ms + clock_ms) / round_ms).ceil() * round_ms - clock_ms;
            at_ms + 30.0 + self.round_trip.jitter_ms()
        };
        match self.polls {
            0 => {
                let pace = self.known.as_ref().filter(|known| known.is_tight).map(|known| known.model.rate_per_ms());
                now_ms + (2.0 / pace.unwrap_or(self.pace)).clamp(100.0, 1_000.0)
            }
            1 => after(500.0, 1_000.0),
            2 => after(2_500.0, 10_000.0),
            3 | 4 => after(10_000.0, 60_000.0),
            5 => after(60_000.0, 60_000.0),
            6 => after(120_000.0, 300_000.0),
            7 => after(300_000.0, 900_000.0),
            _ => after(900_000.0, 900_000.0),
        }
    }
}
