//! A server that answers late instead of refusing: as many requests as it can do, and no more that wait there.
//!
//! Enters: sends, and how long each answer took with how many in flight. Leaves: the earliest instant of the next send, and how
//! many at once are enough. Deliberately absent: refusals, and limits that are declared or learned from them.
//!
//! Shapers (nginx `limit_req` with delay, `mod_qos`) and overloaded servers hold back what is too much. More in flight then brings
//! no more answers, only later ones, and at its end there is a refusal. The sign is that most answers take longer than they do
//! with few in flight: not the quickest one as in TCP Vegas or BBR, since pages differ in the work that they are. Then the pace is
//! that of the answers that came, less a little, once what waits is done; and it rises again by and by, as fast as it is in doubt.

/// Answers of which the median is compared with the usual time. With a spread of the logarithm of 0.5 their median is off by 13 %.
const COMPARED: usize = 24;
/// Answers that are remembered.
const KEPT: usize = 32;
/// If the latest answers came so many times faster than all of these, the server had paused before.
const LATEST: usize = 12;
const PAUSE: f64 = 1.5;
/// So many times the usual is late: four standard deviations of that median.
const LATE_SHARE: f64 = 1.7;
/// And so much later at least, in ms: schedulers and busy machines cost some.
const LATE_MS: f64 = 30.0;
/// In flight at least with an answer that waited for others.
const IN_FLIGHT_MIN: f64 = 2.0;
/// Answers that tell the usual time at first, and how many may be in flight with them.
const FIRST: u8 = 8;
const FIRST_IN_FLIGHT_MAX: u32 = 4;
/// How much below the pace of the answers it goes, so that what waits becomes less.
const BELOW: f64 = 0.99;
/// Answers after such a pause by which it is judged.
const JUDGED: u8 = 6;
/// More than this share of the delay is left with nothing waiting: the server is slower than it was, and there is no queue.
const LEFT_SHARE: f64 = 0.7;
/// By what share the pace rises with an answer while it was found once, and by how many times less each time that it is found again.
const RISE: f64 = 0.002;
const RISE_LESS: f64 = 2.0;
const RISE_STEPS_MAX: u8 = 6;
/// Two paces are the same within this share.
const SAME_SHARE: f64 = 0.15;
/// Answers without a delay after which the pace is in doubt again.
const DOUBT_ANSWERS: u32 = 2_000;
/// So many times what the pace needs may be in flight, and one more.
const ROOM: f64 = 1.1;
/// A pace that was found is tried up to so many times that of the answers.
const HASTE_MAX: f64 = 1.5;
/// So often the same pace makes it well known, and from then on this is late, in ms.
const FOUND_WELL: u8 = 2;
const LATE_MS_WELL: f64 = 15.0;
/// Late answers are the fault of others unless the pace is above the one that was found by this, or answers come slower by that.
const ABOVE: f64 = 1.005;
const SLOWER: f64 = 0.97;

/// What is known of the queue of one server.
#[derive(Clone, Debug)]
pub struct Queue {
    /// How long an answer takes that waits for no other, in ms; NaN before that is known.
    usual_ms: f64,
    first: u8,
    took_ms: [f32; KEPT],
    came_ms: [f64; KEPT],
    in_flight: [u16; KEPT],
    next: usize,
    filled: usize,
    /// Requests a ms; infinite while nothing waits.
    pace: f64,
    due_ms: f64,
    /// The pace that was found last, and how often the same was.
    found_pace: f64,
    found: u8,
    since_found: u32,
    /// Answers to what was sent before this belong to the queue that was found.
    judged_from_ms: f64,
    /// How late answers were when it was found.
    late_ms: f64,
    judged: u8,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            usual_ms: f64::NAN,
            first: 0,
            took_ms: [0.0; KEPT],
            came_ms: [0.0; KEPT],
            in_flight: [0; KEPT],
            next: 0,
            filled: 0,
            pace: f64::INFINITY,
            due_ms: f64::NEG_INFINITY,
            found_pace: f64::INFINITY,
            found: 0,
            since_found: 0,
            judged_from_ms: f64::NEG_INFINITY,
            late_ms: 0.0,
            judged: JUDGED,
        }
    }
}

impl Queue {
    /// The earliest instant of the next send.
    #[must_use]
    pub fn next_ms(&self) -> f64 {
        self.due_ms
    }

    /// A request is sent.
    pub fn on_sent(&mut self, now_ms: f64) {
        /// How late a timer may be, in ms; so much of the schedule is caught up with.
        const TIMER_MS: f64 = 5.0;
        if self.pace.is_finite() {
            let gap_ms = 1.0 / self.pace;
            self.due_ms = self.due_ms.max(now_ms - TIMER_MS.min(gap_ms)) + gap_ms;
        }
    }

    /// An answer came to a request that had so many in flight when it was sent, itself included, and so
    /// many are `left` now. How many at once are enough, if it shows that there were more.
    pub fn on_answered(&mut self, in_flight: u32, left: u32, sent_ms: f64, now_ms: f64) -> Option<f64> {
        let took_ms = (now_ms - sent_ms).max(0.0);
        if sent_ms < self.judged_from_ms {
            return None;
        }
        self.keep(in_flight, took_ms, now_ms);
        self.learn_usual(in_flight);
        if self.judged < JUDGED {
            self.judged += 1;
            if self.judged == JUDGED {
                self.judge();
            }
            return None;
        }
        if self.pace.is_finite() {
            let risen = self.pace * (1.0 + RISE / RISE_LESS.powi(i32::from(self.found.saturating_sub(1))));
            // What is not used proves nothing.
            self.pace = risen.min(self.pace.max(self.came_per_ms(KEPT) * HASTE_MAX));
            self.since_found += 1;
            if self.since_found >= DOUBT_ANSWERS {
                (self.since_found, self.found) = (0, self.found.saturating_sub(1).max(1));
            }
        }
        if self.filled < COMPARED || self.usual_ms.is_nan() {
            return None;
        }
        let median_ms = self.median_ms(COMPARED);
        let late_ms = if self.found >= FOUND_WELL { LATE_MS_WELL } else { LATE_MS };
        let is_late = median_ms > (self.usual_ms * LATE_SHARE).max(self.usual_ms + late_ms);
        (is_late && self.is_ours()).then(|| self.found(median_ms, left, now_ms))
    }

    /// Whether it may be our own requests that wait for each other.
    fn is_ours(&self) -> bool {
        if self.pace.is_infinite() {
            return self.mean_in_flight() >= IN_FLIGHT_MIN;
        }
        self.pace > self.found_pace * ABOVE || self.came_per_ms(KEPT) < self.pace * SLOWER
    }

    /// At most so many requests at once, as long as one waits for another otherwise.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number of at least 1")]
    pub fn at_once(&self) -> Option<u32> {
        self.pace.is_finite().then(|| self.enough().clamp(1.0, 1e6) as u32)
    }

    /// Most answers were late: no faster than they came, and not before those are done that wait.
    fn found(&mut self, median_ms: f64, left: u32, now_ms: f64) -> f64 {
        let (latest, all) = (self.came_per_ms(LATEST), self.came_per_ms(self.late_in_a_row(median_ms).max(LATEST)));
        let mut pace = BELOW * if latest > all * PAUSE { latest } else { all };
        if (pace / self.found_pace - 1.0).abs() <= SAME_SHARE {
            // Workers are not clocks.
            pace = self.found_pace + (pace - self.found_pace) / (f64::from(self.found) + 1.0);
            pace = pace.max(BELOW * self.found_pace);
            self.found = (self.found + 1).min(RISE_STEPS_MAX + 1);
        } else {
            self.found = 1;
        }
        self.since_found = 0;
        (self.pace, self.found_pace) = (pace, pace);
        self.late_ms = median_ms - self.usual_ms;
        self.due_ms = now_ms + ((f64::from(left) + 1.0) / pace - self.usual_ms).max(0.0);
        (self.judged_from_ms, self.judged, self.filled) = (self.due_ms, 0, 0);
        self.enough()
    }

    /// So many of the last answers were late: before that the server had less to do than it can.
    fn late_in_a_row(&self, median_ms: f64) -> usize {
        let is_late = |back: &usize| f64::from(self.took_ms[self.index(*back)]) > 0.5 * (self.usual_ms + median_ms);
        (0..self.filled).take_while(is_late).count()
    }

    /// Nothing waited any more: were answers as quick as usual?
    fn judge(&mut self) {
        let median_ms = self.median_ms(usize::from(JUDGED));
        if median_ms > self.usual_ms + LEFT_SHARE * self.late_ms {
            self.usual_ms = median_ms;
            (self.pace, self.due_ms, self.found) = (f64::INFINITY, f64::NEG_INFINITY, 0);
        } else {
            self.usual_ms = 0.5 * (self.usual_ms + median_ms);
        }
    }

    /// In flight, so that the pace is kept.
    fn enough(&self) -> f64 {
        (self.pace * self.usual_ms * ROOM).ceil() + 1.0
    }

    fn learn_usual(&mut self, in_flight: u32) {
        if self.first < FIRST {
            if in_flight <= FIRST_IN_FLIGHT_MAX {
                self.first += 1;
            }
            if self.first == FIRST || self.filled == KEPT {
                (self.usual_ms, self.first) = (self.median_ms(self.filled.min(usize::from(FIRST))), FIRST);
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "waits in ms are small")]
    fn keep(&mut self, in_flight: u32, took_ms: f64, now_ms: f64) {
        self.took_ms[self.next] = took_ms as f32;
        self.came_ms[self.next] = now_ms;
        self.in_flight[self.next] = u16::try_from(in_flight).unwrap_or(u16::MAX);
        self.next = (self.next + 1) % KEPT;
        self.filled = (self.filled + 1).min(KEPT);
    }

    /// Where the last answer but so many is.
    fn index(&self, back: usize) -> usize {
        (self.next + KEPT - 1 - back) % KEPT
    }

    fn median_ms(&self, count: usize) -> f64 {
        let mut last = [0.0; KEPT];
        let last = &mut last[..count.clamp(1, KEPT)];
        for (back, slot) in last.iter_mut().enumerate() {
            *slot = self.took_ms[self.index(back)];
        }
        let middle = last.len() / 2;
        f64::from(*last.select_nth_unstable_by(middle, f32::total_cmp).1)
    }

    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    fn mean_in_flight(&self) -> f64 {
        let sum: f64 = (0..COMPARED).map(|back| f64::from(self.in_flight[self.index(back)])).sum();
        sum / COMPARED as f64
    }

    /// The pace of the last answers, in requests a ms.
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    fn came_per_ms(&self, count: usize) -> f64 {
        let gaps = count.min(self.filled).max(2) - 1;
        gaps as f64 / (self.came_ms[self.index(0)] - self.came_ms[self.index(gaps)]).max(0.1)
    }
}

#[cfg(test)]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::struct_field_names,
    reason = "small counts, and units come last"
)]
mod tests {
    use super::*;

    /// A server that answers one after the other, `gap_ms` apart, at the end of a way of `way_ms` there and back.
    struct Shaper {
        gap_ms: f64,
        way_ms: f64,
        free_ms: f64,
    }

    /// What came of a crawl: answers a second, and the 95th percentile of the time to one, both in its second half.
    struct Ran {
        per_s: f64,
        p95_ms: f64,
    }

    /// Sends as much as the queue lets, and `at_once` at most, for `seconds`; `answer_ms` tells when what is sent at an instant is
    /// answered.
    fn run(queue: &mut Queue, at_once: usize, seconds: f64, mut answer_ms: impl FnMut(f64) -> f64) -> Ran {
        let mut under_way: Vec<(f64, f64, u32)> = Vec::new();
        let (mut now_ms, mut took) = (0.0, Vec::new());
        while now_ms < seconds * 1_000.0 {
            let room = queue.at_once().map_or(at_once, |enough| at_once.min(enough as usize));
            let due_ms = if under_way.len() < room { queue.next_ms().max(now_ms) } else { f64::INFINITY };
            let first = under_way.iter().map(|&(ends_ms, ..)| ends_ms).enumerate();
            let first = first.min_by(|one, other| one.1.total_cmp(&other.1));
            match first {
                Some((index, ends_ms)) if ends_ms <= due_ms => {
                    now_ms = ends_ms;
                    let (_, sent_ms, in_flight) = under_way.swap_remove(index);
                    queue.on_answered(in_flight, under_way.len() as u32, sent_ms, now_ms);
                    if now_ms > seconds * 500.0 {
                        took.push(now_ms - sent_ms);
                    }
                }
                _ => {
                    now_ms = due_ms;
                    queue.on_sent(now_ms);
                    under_way.push((answer_ms(now_ms), now_ms, under_way.len() as u32 + 1));
                }
            }
        }
        took.sort_unstable_by(f64::total_cmp);
        Ran { per_s: took.len() as f64 / (seconds * 0.5), p95_ms: took[took.len() * 95 / 100] }
    }

    impl Shaper {
        fn answer_ms(&mut self, sent_ms: f64) -> f64 {
            let comes_ms = sent_ms + self.way_ms / 2.0;
            self.free_ms = comes_ms.max(self.free_ms + self.gap_ms);
            self.free_ms + self.way_ms / 2.0
        }
    }

    #[test]
    fn a_shapers_queue_is_kept_short_at_nearly_its_full_rate() {
        for (gap_ms, way_ms, at_once) in [(100.0, 20.0, 16), (50.0, 2.0, 8), (50.0, 300.0, 40)] {
            let mut shaper = Shaper { gap_ms, way_ms, free_ms: 0.0 };
            let mut queue = Queue::default();
            // The first requests come one by one, as with any host.
            for number in 0..8 {
                let sent_ms = f64::from(number) * 400.0 - 10_000.0;
                queue.on_sent(sent_ms);
                queue.on_answered(1, 0, sent_ms, sent_ms + way_ms);
            }
            let Ran { per_s, p95_ms } = run(&mut queue, at_once, 600.0, |sent_ms| shaper.answer_ms(sent_ms));
            let best_per_s = 1_000.0 / gap_ms;
            assert!(per_s >= 0.98 * best_per_s, "{per_s}/s of {best_per_s}/s");
            assert!(p95_ms <= (2.0 * way_ms).max(way_ms + 30.0), "{p95_ms} ms on a way of {way_ms} ms");
        }
    }

    #[test]
    fn answers_that_vary_are_no_queue() {
        let mut dice = fastrand::Rng::with_seed(3);
        let mut queue = Queue::default();
        // 40 to 360 ms, whatever is in flight.
        run(&mut queue, 12, 600.0, |sent_ms| sent_ms + 40.0 + 320.0 * dice.f64());
        assert_eq!(queue.at_once(), None);
    }

    #[test]
    fn a_server_that_became_slower_is_no_queue() {
        let mut queue = Queue::default();
        run(&mut queue, 4, 60.0, |sent_ms| sent_ms + 50.0);
        let Ran { per_s, .. } = run(&mut queue, 4, 600.0, |sent_ms| sent_ms + 200.0);
        assert_eq!(queue.at_once(), None);
        assert!(per_s >= 19.8, "{per_s}/s");
    }
}
