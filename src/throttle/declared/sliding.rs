//! A quota over a window that moves: what was sent comes back one by one, each when it is as old as the window is long.
//!
//! Enters: the reports of one quota. Leaves: whether it is such a one, how long its window is, and the gap between two sends that
//! uses all of it and never spends it. Deliberately absent: what is left, and resets (`known`).
//!
//! Its reset is that of the oldest request alone. A client that spends it and waits for the reset loses what the reset was rounded
//! up by, again in each window, and gets in bursts what it could have had evenly. So it is used evenly.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

use super::known::{Amount, is_since, short};

/// So many new windows must have begun with much less than a fixed one before it is believed.
const SLID_MIN: u8 = 1;
const SLID_MAX: u8 = 4;
/// What a fixed window may lack at its beginning, as a share of its limit: requests in flight, and others.
const LACKS_SHARE: f64 = 0.25;
/// What it may lack in any case.
const LACKS_MIN: f64 = 3.0;
/// Of a window that moves so much does not come back at once, as a share of its limit.
const JUMP_SHARE: f64 = 0.5;
/// How much longer than needed the gap between two sends is: the way to the server varies.
const SLACK: f64 = 1.005;
/// How late a timer may be, in ms; so much of the schedule is caught up with.
const LATE_MS: f64 = 5.0;
/// So much of the limit is left unused, in requests: the one that is about to be let go of may still be there.
const ROOM: f64 = 0.5;
/// By how much longer one way to the server may be than another, in ms.
const WAY_MS: f64 = 5.0;

/// What is known of how a quota's window moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sliding {
    /// How often it was seen to move.
    slid: u8,
    /// How long it is, in ms; 0 before it was measured.
    window_ms: u32,
    /// Whether this window is used evenly to find out: what was spent at once comes back at once from either kind.
    is_trial: bool,
    /// When the next send is due, in ms since 1970: fractions add up.
    #[serde(skip)]
    due_ms: f64,
    #[serde(skip)]
    mark: Option<Mark>,
    /// Whether what was sent within the last window was sent evenly.
    #[serde(skip)]
    is_even: bool,
}

/// An accepted request whose end in the window is waited for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mark {
    /// When its answer came.
    at: Timestamp,
    /// Its index, modulo 2^32.
    idx: u32,
    /// Whether nothing was spent since.
    is_even: bool,
}

/// A report as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    /// The index of its request.
    pub(super) idx: u64,
    /// When it came.
    pub(super) at: Timestamp,
    pub(super) limit: Amount,
    pub(super) left: Amount,
    /// What the last report said, and how many requests may have been charged since.
    pub(super) left_before: Amount,
    pub(super) charged: u32,
    /// How long ago the last report came, in ms.
    pub(super) quiet_ms: u64,
    /// Whether its reset is another window's than the last one's.
    pub(super) is_new_window: bool,
}

impl Sliding {
    /// What was stored, without what was under way.
    pub(super) fn settled(self) -> Self {
        Self { due_ms: 0.0, mark: None, is_even: false, ..self }
    }

    /// Whether the window is known to move.
    pub(super) fn is_known(&self) -> bool {
        self.slid >= SLID_MIN
    }

    /// Whether it was tried, and did not move.
    pub(super) fn is_fixed(&self) -> bool {
        self.slid == 0 && !self.is_trial
    }

    /// Whether what is sent is spread evenly.
    pub(super) fn is_spread(&self) -> bool {
        self.is_known() || self.is_trial
    }

    /// How long the window is, in ms, if that was measured.
    pub(super) fn window_ms(&self) -> Option<u32> {
        (self.is_known() && self.window_ms > 0).then_some(self.window_ms)
    }

    /// A request is sent to a quota of `limit` in `window_ms`; 0 when that is too long to be used evenly.
    #[expect(clippy::cast_precision_loss, reason = "instants in ms are below 2^53")]
    pub(super) fn on_sent(&mut self, limit: Amount, window_ms: u32, now: Timestamp) {
        if window_ms == 0 {
            return;
        }
        let gap_ms = (f64::from(window_ms) * SLACK + LATE_MS + WAY_MS) / (f64::from(limit) - ROOM).max(1.0);
        self.due_ms = self.due_ms.max(now.0 as f64 - LATE_MS.min(gap_ms)) + gap_ms;
    }

    /// When the next send is due. Rounded up: never a fraction of a millisecond early.
    #[expect(clippy::cast_possible_truncation, reason = "instants in ms are below 2^53")]
    pub(super) fn next_at(&self) -> Timestamp {
        Timestamp(self.due_ms.ceil() as i64)
    }

    /// Begins with the first new window: it moves, or nothing is known yet and it is used evenly to find out.
    pub(super) fn seen(report: Report) -> Option<Self> {
        if !report.is_new_window {
            return None;
        }
        let mut sliding = Self::default();
        sliding.learn(report);
        sliding.is_trial = sliding.slid == 0 && report.left_before == 0;
        (sliding.slid > 0 || sliding.is_trial).then_some(sliding)
    }

    /// Takes in a report of a request that was sent after the last one had come.
    pub(super) fn learn(&mut self, report: Report) {
        let Report { limit, left, left_before, charged, .. } = report;
        let (whole, back) = (f64::from(limit), f64::from(left) + f64::from(charged));
        // What is left of a burst lets go of the first few soon; the window that is tried ends when most of it was used.
        self.is_trial &= !report.is_new_window || left_before > limit / 2;
        if report.is_new_window && back < whole - (whole * LACKS_SHARE).max(LACKS_MIN) {
            self.slid = (self.slid + 1).min(SLID_MAX);
        } else if f64::from(left) - f64::from(left_before) >= (whole * JUMP_SHARE).max(LACKS_MIN) && charged <= 2 {
            // All of it at once, although it was not left alone for long.
            let is_idle = self.window_ms > 0 && report.quiet_ms > u64::from(self.window_ms) / 2;
            self.slid = self.slid.saturating_sub(u8::from(!is_idle));
        }
        self.measure(report);
    }

    /// A window that moves has let go of a request when it holds no more than what was sent after it.
    fn measure(&mut self, Report { idx, at, limit, left, left_before, .. }: Report) {
        let mark = Mark { at, idx: short(idx), is_even: true };
        let Some(last) = &mut self.mark else {
            self.mark = Some(mark);
            return;
        };
        if left == 0 {
            // With even sends that should not be: it is longer than it was taken for.
            self.window_ms += if self.is_even { self.window_ms / 100 } else { 0 };
            (last.is_even, self.is_even) = (false, false);
        }
        let since = short(idx).wrapping_sub(last.idx);
        if !is_since(idx, last.idx) || limit.saturating_sub(left) > since {
            return;
        }
        if self.is_trial && f64::from(left.saturating_sub(left_before)) < LACKS_MIN {
            // It let go of this one, and not of all.
            (self.slid, self.is_trial) = (self.slid + 1, false);
        }
        let took_ms = Amount::try_from(at.since_ms(last.at)).unwrap_or(Amount::MAX);
        if took_ms > 0 {
            // While it was spent nobody looked, so that it is shorter than that; else a shorter one was chance.
            let known_ms = self.window_ms;
            let is_near = took_ms < known_ms && took_ms >= known_ms - known_ms / 20;
            let is_better = known_ms == 0 || (last.is_even && !is_near) || took_ms < known_ms - known_ms / 20;
            self.window_ms = if is_better { took_ms } else { known_ms };
            self.is_even = last.is_even && self.is_known();
        }
        self.mark = Some(mark);
    }
}
