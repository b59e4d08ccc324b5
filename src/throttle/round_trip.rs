//! How long answers take: the least, the usual, and how much that varies.

/// Answers that are remembered.
const KEPT: usize = 48;

/// The times of the last answers.
#[derive(Clone, Debug)]
pub struct RoundTrip {
    took_ms: [f32; KEPT],
    next: usize,
    filled: usize,
    jitter_ms: f64,
}

/// What is taken for the jitter before there are enough answers, in ms.
const JITTER_MS: f64 = 2.0;

impl Default for RoundTrip {
    fn default() -> Self {
        Self { took_ms: [0.0; KEPT], next: 0, filled: 0, jitter_ms: JITTER_MS }
    }
}

impl RoundTrip {
    /// An answer took so long.
    #[expect(clippy::cast_possible_truncation, reason = "waits in ms are small")]
    pub fn add(&mut self, took_ms: f64) {
        self.took_ms[self.next] = took_ms as f32;
        self.next = (self.next + 1) % KEPT;
        self.filled = (self.filled + 1).min(KEPT);
        // Here and not for each admission, of which there are many more.
        self.jitter_ms = self.spread_ms();
    }

    /// The quickest of the last answers, in ms; 0 when there was none.
    #[must_use]
    pub fn least_ms(&self) -> f64 {
        let least = self.took_ms[..self.filled].iter().copied().fold(f32::INFINITY, f32::min);
        if least.is_finite() { f64::from(least) } else { 0.0 }
    }

    /// How much the time to the server varies, in ms: the spread of nine in ten answers, as far as it can come from the way and
    /// not from the work. At most 30 ms.
    #[must_use]
    pub fn jitter_ms(&self) -> f64 {
        self.jitter_ms
    }

    fn spread_ms(&self) -> f64 {
        if self.filled < 8 {
            return JITTER_MS;
        }
        let mut sorted = self.took_ms;
        let sorted = &mut sorted[..self.filled];
        sorted.sort_unstable_by(f32::total_cmp);
        let spread = f64::from(sorted[self.filled * 9 / 10] - sorted[0]);
        if spread > 60.0 { 5.0 } else { (spread * 1.1).min(30.0) }
    }
}

/// Sends over which a rate is measured.
const STRETCH: usize = 16;

/// How fast it goes: the rate of the last few sends.
#[derive(Clone, Debug)]
pub struct Speed {
    sent_ms: [f64; STRETCH],
    next: usize,
}

impl Default for Speed {
    fn default() -> Self {
        Self { sent_ms: [f64::NEG_INFINITY; STRETCH], next: 0 }
    }
}

impl Speed {
    /// A request is sent.
    pub fn add(&mut self, now_ms: f64) {
        self.sent_ms[self.next] = now_ms;
        self.next = (self.next + 1) % STRETCH;
    }

    /// Requests a ms over the last sends; 0 before there were so many.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    pub fn per_ms(&self) -> f64 {
        let newest = self.sent_ms[(self.next + STRETCH - 1) % STRETCH];
        (STRETCH - 1) as f64 / (newest - self.sent_ms[self.next]).max(0.5)
    }
}
