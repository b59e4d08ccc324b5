//! Not before: the embargo of a refusal, and the circuit breaker of a host that cannot be reached.
//!
//! While the gate has a reason to doubt the host, it lets one request through as a probe (a canary) and waits for what
//! becomes of it; a good answer opens the gate.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

use super::{Settings, Snapshot};

/// The longest wait after such a refusal: 15 minutes, in ms. Our choice; a server's own word is obeyed for longer.
const BACKOFF_MS_MAX: u64 = 15 * 60_000;
/// The least wait after any refusal, in ms: dice that fall to 0 must not make a hot loop.
const WAIT_MS_MIN: u64 = 50;
/// Failures to reach a host in a row that open the breaker. Five: the default of Finagle's failure accrual.
const UNREACHABLE_MAX: u32 = 5;
/// First wait of an open breaker, in ms; doubles with each failed probe up to [`BREAKER_MS_MAX`].
const BREAKER_MS_MIN: u64 = 5_000;
/// The longest wait of an open breaker: one hour, in ms.
pub(super) const BREAKER_MS_MAX: u64 = 3_600_000;
/// The same when the host takes requests and does not answer: each probe costs its job an attempt, so probes are few, and it may
/// be single addresses that hang. One minute, in ms.
pub(super) const BREAKER_SILENT_MS_MAX: u64 = 60_000;
/// Up to this share of an announced wait is added to it, so that scopes that were told the same instant come back apart.
const SPREAD: f64 = 0.01;

/// The embargo and the breaker of one scope.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Gate {
    not_before_at: Timestamp,
    why: String,
    /// The instant of the last event; what was sent by then belongs to it. No probe goes in the same millisecond, since the
    /// least wait is longer.
    event_at: Timestamp,
    /// One request at a time until a good answer comes.
    doubtful: bool,
    backoff_step: u32,
    unreachable: u32,
    breaker_step: u32,
    down_since_at: Timestamp,
    answered: bool,
    given_up: Option<String>,
}

impl Gate {
    /// A gate as `snapshot` left it; open for a new scope.
    #[must_use]
    pub fn new(snapshot: Option<&Snapshot>) -> Self {
        let memory = snapshot.cloned().unwrap_or_default();
        Self {
            not_before_at: memory.not_before_at,
            why: memory.not_before_why,
            // Nothing of an older run is in flight, so no answer to come is old news; and its clock may have been ahead of ours.
            event_at: Timestamp::EPOCH,
            doubtful: memory.backoff_step > 0 || memory.unreachable >= UNREACHABLE_MAX,
            backoff_step: memory.backoff_step,
            unreachable: memory.unreachable,
            breaker_step: memory.breaker_step,
            // A new run gives a host that was given up another chance: the time that it may be down starts anew.
            down_since_at: Timestamp::EPOCH,
            answered: memory.answered,
            given_up: None,
        }
    }

    /// The gate as it was saved at `saved_at` by a clock that may have been ahead of ours: from now, no embargo is longer than it was
    /// then.
    #[must_use]
    pub fn by_our_clock(mut self, saved_at: Timestamp, now: Timestamp) -> Self {
        if saved_at > now {
            self.not_before_at = self.not_before_at.min(now.plus_ms(self.not_before_at.since_ms(saved_at)));
        }
        self
    }

    /// Takes over from `other`, in whose place it stands from now on, which requests in flight are old news.
    pub fn go_on_from(&mut self, other: &Self) {
        self.event_at = other.event_at;
        self.given_up.clone_from(&other.given_up);
    }

    /// Writes what outlives the process.
    pub fn save(&self, snapshot: &mut Snapshot) {
        snapshot.not_before_at = self.not_before_at;
        snapshot.not_before_why.clone_from(&self.why);
        snapshot.refused_at = self.event_at;
        snapshot.backoff_step = self.backoff_step;
        snapshot.unreachable = self.unreachable;
        snapshot.breaker_step = self.breaker_step;
        snapshot.down_since_at = self.down_since_at;
        snapshot.answered = self.answered;
    }

    /// The gate without what was said of a wait that is over.
    #[must_use]
    pub fn folded(&self, now: Timestamp) -> Self {
        let why = self.closed_why(now).unwrap_or_default().to_owned();
        Self { why, ..self.clone() }
    }

    /// Nothing may be sent before this instant.
    #[must_use]
    pub fn not_before_at(&self) -> Timestamp {
        self.not_before_at
    }

    /// Why nothing may be sent at `now`; none when something may.
    #[must_use]
    pub fn closed_why(&self, now: Timestamp) -> Option<&str> {
        (now < self.not_before_at).then_some(self.why.as_str())
    }

    /// Whether only a single probe may be in flight.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Refusals since the last good answer.
    #[must_use]
    pub fn backoff_step(&self) -> u32 {
        self.backoff_step
    }

    /// Whether the breaker is open: the host cannot be reached, and its jobs are not to blame.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.unreachable >= UNREACHABLE_MAX
    }

    /// Why the host was given up in this run, if it was.
    #[must_use]
    pub fn given_up(&self) -> Option<&str> {
        self.given_up.as_deref()
    }

    /// A host that was given up has work again: the next probe says whether it is still down. How long it has been counts on, so that
    /// it is given up at once when it is.
    pub fn ask_again(&mut self) {
        self.given_up = None;
    }

    /// A good answer to a request that was sent at `sent_at`.
    pub fn on_served(&mut self, sent_at: Timestamp) {
        self.on_answered();
        // An answer that was under way when the refusal came says nothing about what holds since.
        if sent_at > self.event_at {
            self.doubtful = false;
            self.backoff_step = 0;
        }
    }

    /// Any answer at all: the host can be reached.
    pub fn on_answered(&mut self) {
        if self.is_down() {
            // A refusal's own doubt outlives the outage.
            self.doubtful = self.backoff_step > 0;
        }
        self.unreachable = 0;
        self.breaker_step = 0;
        self.down_since_at = Timestamp::EPOCH;
        self.answered = true;
    }

    /// A quota is spent: wait for its reset. Not a refusal, so nothing is doubtful afterwards.
    pub fn on_quota_spent(&mut self, reset_at: Timestamp, header: &str, now: Timestamp, settings: &Settings) {
        let reset_at = reset_at.min(now.plus_ms(settings.retry_after_max_ms));
        self.close_until(reset_at, || format!("{header} said that the quota is spent"));
    }

    /// So much of a quota is spent as the user's courtesy takes of it. Not a refusal either.
    pub fn on_share_spent(&mut self, reset_at: Timestamp, header: &str, now: Timestamp, settings: &Settings) {
        let reset_at = reset_at.min(now.plus_ms(settings.retry_after_max_ms));
        self.close_until(reset_at, || format!("{header} said that our share of the quota is spent (courtesy)"));
    }

    /// A redirect asks to wait before it is followed. Not a refusal either.
    pub fn on_told_to_wait(&mut self, retry_at: Timestamp, now: Timestamp, settings: &Settings) {
        let retry_at = retry_at.min(now.plus_ms(settings.retry_after_max_ms));
        self.close_until(retry_at, || "retry-after of a redirect asked for it".to_owned());
    }

    /// Whether a refusal of a request that was sent at `sent_at` opens a new event, or belongs to one that is known: the
    /// requests that were in flight when a limit was hit are all refused, and that is one fact, not many.
    #[must_use]
    pub fn is_news(&self, sent_at: Timestamp) -> bool {
        sent_at > self.event_at
    }

    /// A refusal of a request that was sent at `sent_at`. `retry_at` is what the server said, `ask_at` when it is worth
    /// asking again if it said nothing.
    pub fn on_refused(
        &mut self,
        sent_at: Timestamp,
        retry_at: Option<(Timestamp, &'static str)>,
        ask_at: Timestamp,
        now: Timestamp,
        settings: &Settings,
        dice: &mut fastrand::Rng,
    ) {
        self.on_answered();
        let is_news = self.is_news(sent_at);
        if let Some((at, header)) = retry_at {
            let wait_ms = at.since_ms(now).min(settings.retry_after_max_ms).max(WAIT_MS_MIN);
            // Once an event: the answers of one burst say the same thing again.
            let spread_ms = if is_news { scale(wait_ms.min(100_000), SPREAD * dice.f64()) } else { 0 };
            self.close_until(now.plus_ms(wait_ms + spread_ms), || format!("{header} asked for {}", human(wait_ms)));
        } else if is_news {
            let wait_ms = ask_at.since_ms(now).clamp(WAIT_MS_MIN, BACKOFF_MS_MAX);
            self.close_until(now.plus_ms(wait_ms), || {
                format!("refused, and nothing tells for how long; asking again in {}", human(wait_ms))
            });
        }
        if is_news {
            self.event_at = now;
            self.backoff_step = self.backoff_step.saturating_add(1);
            self.doubtful = true;
        }
    }

    /// The host could not be reached with a request that was sent at `sent_at`; an open breaker waits `wait_ms_max` at most.
    /// True when this opened a new event.
    pub fn on_unreachable(
        &mut self,
        sent_at: Timestamp,
        why: &str,
        wait_ms_max: u64,
        now: Timestamp,
        settings: &Settings,
        dice: &mut fastrand::Rng,
    ) -> bool {
        // With the breaker open, what was sent before it opened is old news.
        if self.is_down() && sent_at < self.event_at {
            return false;
        }
        if self.down_since_at == Timestamp::EPOCH {
            self.down_since_at = sent_at;
        }
        self.unreachable = self.unreachable.saturating_add(1);
        let down_ms = now.since_ms(self.down_since_at);
        let down_max_ms = if self.answered { settings.down_max_ms } else { settings.down_max_unknown_ms };
        if self.is_down() {
            let ceiling_ms = (BREAKER_MS_MIN << self.breaker_step.min(20)).min(wait_ms_max);
            // Not beyond the instant at which the host would be given up: that decision needs one more probe.
            let left_ms = down_max_ms.saturating_sub(down_ms).max(WAIT_MS_MIN);
            let wait_ms = scale(ceiling_ms, 0.5 + 0.5 * dice.f64()).min(left_ms);
            self.breaker_step = self.breaker_step.saturating_add(1);
            self.event_at = now;
            self.doubtful = true;
            self.close_until(now.plus_ms(wait_ms), || {
                format!("cannot be reached ({why}); next probe in {}", human(wait_ms))
            });
            if down_ms >= down_max_ms {
                self.given_up = Some(format!("host given up after {} without an answer: {why}", human(down_ms)));
            }
        } else {
            let wait_ms = scale(WAIT_MS_MIN << self.unreachable, 0.5 + 0.5 * dice.f64());
            self.close_until(now.plus_ms(wait_ms), || format!("could not be reached ({why})"));
        }
        true
    }

    fn close_until(&mut self, at: Timestamp, why: impl FnOnce() -> String) {
        if at > self.not_before_at {
            self.not_before_at = at;
            self.why = why();
        }
    }
}

/// `ms` times `factor` (0..=2), rounded down.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "waits are far below 2^53 ms"
)]
fn scale(ms: u64, factor: f64) -> u64 {
    (ms as f64 * factor) as u64
}

/// `2m 5s`, `350ms`: short, for people.
fn human(ms: u64) -> String {
    let rounded_ms = if ms >= 10_000 { ms / 1_000 * 1_000 } else { ms };
    humantime::format_duration(std::time::Duration::from_millis(rounded_ms)).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::{Admission, Feedback, Hints, Throttle};
    use super::*;
    use crate::exchange::Headers;

    fn dice() -> fastrand::Rng {
        fastrand::Rng::with_seed(7)
    }

    #[test]
    fn a_refusal_without_a_hint_closes_until_it_is_worth_asking_again() {
        let settings = Settings::default();
        let now = Timestamp(1_000_000);
        for (ask_ms, wait_ms) in [(0, WAIT_MS_MIN), (400, 400), (86_400_000, BACKOFF_MS_MAX)] {
            let mut gate = Gate::new(None);
            assert!(gate.is_news(now));
            gate.on_refused(now, None, now.plus_ms(ask_ms), now, &settings, &mut dice());
            assert_eq!(gate.not_before_at().since_ms(now), wait_ms);
            assert!(gate.is_doubtful());
        }
    }

    #[test]
    fn a_burst_of_refusals_in_flight_is_one_event() {
        let settings = Settings::default();
        let mut gate = Gate::new(None);
        let now = Timestamp(1_000);
        assert!(gate.is_news(Timestamp(990)));
        gate.on_refused(Timestamp(990), None, now.plus_ms(700), now, &settings, &mut dice());
        let closed_until = gate.not_before_at();
        for sent_at in 991..999 {
            assert!(!gate.is_news(Timestamp(sent_at)));
            let later = Timestamp(1_005);
            gate.on_refused(Timestamp(sent_at), None, later.plus_ms(700), later, &settings, &mut dice());
        }
        assert_eq!(gate.not_before_at(), closed_until);
        assert_eq!(gate.backoff_step, 1);
    }

    #[test]
    fn a_later_word_of_the_same_burst_may_only_lengthen_the_wait() {
        let settings = Settings::default();
        let mut gate = Gate::new(None);
        let now = Timestamp(1_000);
        gate.on_refused(now, Some((now.plus_ms(5_000), "retry-after")), now, now, &settings, &mut dice());
        gate.on_refused(Timestamp(999), Some((now.plus_ms(9_000), "retry-after")), now, now, &settings, &mut dice());
        assert!(gate.not_before_at() >= now.plus_ms(9_000));
        gate.on_refused(Timestamp(999), Some((now.plus_ms(1_000), "retry-after")), now, now, &settings, &mut dice());
        assert!(gate.not_before_at() >= now.plus_ms(9_000));
    }

    #[test]
    fn the_wait_that_a_server_asks_for_is_never_cut_short_below_the_cap() {
        let settings = Settings::default();
        let now = Timestamp(1_000);
        for wait_ms in [1, 999, 2_000, 3_600_000, settings.retry_after_max_ms] {
            let mut gate = Gate::new(None);
            gate.on_refused(now, Some((now.plus_ms(wait_ms), "retry-after")), now, now, &settings, &mut dice());
            assert!(gate.not_before_at() >= now.plus_ms(wait_ms));
            assert!(gate.not_before_at() <= now.plus_ms(wait_ms + 1_000));
        }
        let mut gate = Gate::new(None);
        gate.on_refused(now, Some((Timestamp::NEVER, "retry-after")), now, now, &settings, &mut dice());
        assert!(gate.not_before_at() <= now.plus_ms(settings.retry_after_max_ms + 1_000));
    }

    #[test]
    fn five_failures_in_a_row_open_the_breaker_and_one_answer_closes_it() {
        let settings = Settings::default();
        let mut gate = Gate::new(None);
        let mut now = Timestamp(1_000);
        for failure in 1..=5 {
            assert!(!gate.is_down());
            gate.on_unreachable(now, "refused", BREAKER_MS_MAX, now, &settings, &mut dice());
            assert_eq!(gate.is_down(), failure == 5);
            now = gate.not_before_at();
        }
        assert!(gate.is_doubtful());
        gate.on_served(now);
        assert!(!gate.is_down() && !gate.is_doubtful());
    }

    #[test]
    fn a_host_that_never_answered_is_given_up_sooner_than_one_that_did() {
        let settings = Settings::default();
        let give_up_ms = |answered: bool| {
            let mut gate = Gate::new(None);
            let start = Timestamp(1_000);
            let mut now = start;
            if answered {
                gate.on_served(now);
            }
            while gate.given_up().is_none() {
                gate.on_unreachable(now, "refused", BREAKER_MS_MAX, now, &settings, &mut dice());
                now = gate.not_before_at();
            }
            now.since_ms(start)
        };
        assert!((settings.down_max_unknown_ms..settings.down_max_unknown_ms + 130_000).contains(&give_up_ms(false)));
        assert!(give_up_ms(true) >= settings.down_max_ms);
    }

    #[test]
    fn a_host_that_was_given_up_and_has_work_again_is_asked_once() {
        let settings = Settings::default();
        let mut gate = Gate::new(None);
        let mut now = Timestamp(1_000);
        let fail = |gate: &mut Gate, now: &mut Timestamp| {
            gate.on_unreachable(*now, "refused", BREAKER_MS_MAX, *now, &settings, &mut dice());
            *now = gate.not_before_at();
        };
        while gate.given_up().is_none() {
            fail(&mut gate, &mut now);
        }
        gate.ask_again();
        assert!(gate.given_up().is_none() && gate.is_doubtful(), "one probe");
        now = now.plus_ms(3_600_000);
        fail(&mut gate, &mut now);
        assert!(gate.given_up().is_some());
        gate.ask_again();
        gate.on_served(now);
        assert!(gate.given_up().is_none() && !gate.is_down());
    }

    #[test]
    fn an_embargo_outlives_the_process() {
        let settings = Settings::default();
        let now = Timestamp(1_000);
        let mut gate = Gate::new(None);
        gate.on_refused(now, Some((now.plus_ms(60_000), "retry-after")), now, now, &settings, &mut dice());
        let mut snapshot = Snapshot::default();
        gate.save(&mut snapshot);
        let text = serde_json::to_string(&snapshot).expect("a snapshot is plain data");
        let gate = Gate::new(Some(&serde_json::from_str(&text).expect("what was written can be read")));
        assert!(gate.not_before_at() >= now.plus_ms(60_000));
        assert!(gate.is_doubtful());
        assert_eq!(gate.closed_why(now), Some("retry-after asked for 1m"));
    }

    #[test]
    fn a_clock_that_went_back_between_two_runs_makes_no_refusal_old() {
        let settings = Settings::default();
        let now = Timestamp(1_000_000);
        // The last run was refused an hour from now, by a clock that was wrong.
        let snapshot = Snapshot { backoff_step: 3, refused_at: now.plus_ms(3_600_000), ..Snapshot::default() };
        let mut gate = Gate::new(Some(&snapshot));
        assert!(gate.is_news(now));
        gate.on_refused(now, None, now.plus_ms(500), now, &settings, &mut dice());
        assert!(gate.not_before_at() > now);
        let mut gate = Gate::new(Some(&snapshot));
        gate.on_served(now);
        assert!(!gate.is_doubtful());
    }

    #[test]
    fn an_embargo_that_a_clock_ahead_of_ours_saved_holds_no_longer_than_its_own_length() {
        let settings = Settings { rate_max_per_s: None, ..Settings::default() };
        let (now, theirs) = (Timestamp(1_000_000), Timestamp(1_000_000 + 40 * 86_400_000));
        let mut dice = dice();
        let mut throttle = Throttle::new(settings, None, theirs);
        let Admission::Go(permit) = throttle.admit(theirs) else { panic!("a new scope admits") };
        let quota = [("retry-after", "60"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "60")];
        let hints = Hints::read(&Headers::from_pairs(quota), theirs);
        throttle.finish(permit, &Feedback::Refused(hints), theirs, &mut dice);
        let snapshot = throttle.snapshot(theirs);
        for (at, most_ms) in [(now, 61_000), (theirs, 61_000), (theirs.plus_ms(30_000), 31_000)] {
            let mut again = Throttle::new(settings, Some(&snapshot), at);
            let Admission::NotBefore(until) = again.admit(at) else { panic!("the embargo outlives the process") };
            let wait_ms = until.since_ms(at);
            assert!((most_ms - 1_000..=most_ms).contains(&wait_ms), "{wait_ms} of {most_ms}");
        }
        // What a clock that was behind ours saved has passed sooner, and that is all that can be known.
        assert!(matches!(
            Throttle::new(settings, Some(&snapshot), theirs.plus_ms(90_000)).admit(theirs.plus_ms(90_000)),
            Admission::Go(_)
        ));
    }

    #[test]
    fn what_was_sent_in_the_millisecond_of_a_refusal_belongs_to_it() {
        let settings = Settings::default();
        let mut gate = Gate::new(None);
        let now = Timestamp(1_000);
        assert!(gate.is_news(now));
        gate.on_refused(now, None, now.plus_ms(500), now, &settings, &mut dice());
        assert!(!gate.is_news(now));
        gate.on_refused(now, None, now.plus_ms(500), now.plus_ms(5), &settings, &mut dice());
        gate.on_served(now);
        assert!(gate.is_doubtful());
    }

    #[test]
    fn a_hint_that_has_passed_is_no_leave_to_ask_at_once() {
        let settings = Settings::default();
        let mut gate = Gate::new(None);
        let now = Timestamp(10_000);
        gate.on_refused(Timestamp(5_000), Some((Timestamp(9_000), "retry-after")), now, now, &settings, &mut dice());
        assert!(gate.not_before_at() >= now.plus_ms(WAIT_MS_MIN));
    }

    #[test]
    fn an_outage_that_ends_does_not_end_the_doubt_of_a_refusal() {
        let snapshot = Snapshot { backoff_step: 2, unreachable: UNREACHABLE_MAX, ..Snapshot::default() };
        let mut gate = Gate::new(Some(&snapshot));
        gate.on_answered();
        assert!(!gate.is_down() && gate.is_doubtful());
    }
}
