//! When a page is due again.

use crate::clock::Timestamp;

use super::settings::DAY_MS;
use super::stored::{Change, Stored};

/// How often pages are looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecrawlSettings {
    /// How the interval comes about. Default [`Every::Learned`].
    pub every: Every,
    /// No page is due again sooner than this, in ms. Default one hour.
    pub min_every_ms: u64,
    /// Each page is due again within this, in ms, whatever its server says; at least `min_every_ms`. Default 30 days.
    pub max_every_ms: u64,
}

/// How the interval of a page comes about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Every {
    /// By how often it was seen to change.
    #[default]
    Learned,
    /// The user's, in ms.
    Fixed(u64),
}

impl RecrawlSettings {
    /// The least and the longest time from one answer to the next, in ms, as far as the user decides.
    #[must_use]
    pub fn between_ms(&self) -> (u64, u64) {
        let (min_ms, max_ms) = (self.min_every_ms, self.max_every_ms.max(self.min_every_ms));
        match self.every {
            Every::Learned => (min_ms, max_ms),
            Every::Fixed(every_ms) => (every_ms.clamp(min_ms, max_ms), every_ms.clamp(min_ms, max_ms)),
        }
    }
}

impl Default for RecrawlSettings {
    fn default() -> Self {
        Self { every: Every::Learned, min_every_ms: 3_600_000, max_every_ms: 30 * DAY_MS }
    }
}

/// When a page is due again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Recrawl {
    /// The learned interval, in ms: to be kept, and given back the next time.
    pub interval_ms: u64,
    /// When it is due.
    pub next_at: Timestamp,
}

/// When a page is due again after an answer at `now`.
///
/// The interval grows by half when nothing changed and is halved when something did; the first one is a
/// tenth of the time since its last change, at most a day, and a day when the server does not say. Due is the later of it and the end of the explicit freshness, within the user's bounds, and up to a tenth sooner or
/// later by dice, so that pages which were fetched together do not come back together; never before the freshness ends.
pub fn recrawl(
    interval_ms: Option<u64>,
    stored: &Stored,
    change: Change,
    settings: &RecrawlSettings,
    now: Timestamp,
    dice: &mut fastrand::Rng,
) -> Recrawl {
    let (min_ms, max_ms) = (settings.min_every_ms, settings.max_every_ms.max(settings.min_every_ms));
    let learned_ms = match (settings.every, interval_ms, change) {
        (Every::Fixed(every_ms), _, _) => every_ms,
        (Every::Learned, None, _) => stored.tenth_unchanged_ms().unwrap_or(DAY_MS),
        (Every::Learned, Some(known_ms), Change::Unchanged) => known_ms.saturating_add(known_ms / 2),
        (Every::Learned, Some(known_ms), Change::New | Change::Changed | Change::Gone) => known_ms / 2,
    };
    let interval_ms = learned_ms.clamp(min_ms, max_ms);
    let fresh_ms = stored.freshness(max_ms).explicit_left_ms(now);
    let due_ms = interval_ms.max(fresh_ms);
    let thrown_ms = due_ms - due_ms / 10 + dice.u64(0..=due_ms / 5);
    Recrawl { interval_ms, next_at: now.plus_ms(thrown_ms.clamp(min_ms.max(fresh_ms).min(max_ms), max_ms)) }
}

/// The part of a page's interval within which no date makes it due.
const DISTRUST_SHARE: u64 = 10;

/// When a page is due that a sitemap or a feed names with the date of its last change, [`NamedDate::changed_at`]: since that instant when
/// it is later than the page's last answer, else when it was due anyway.
///
/// Many servers say of every page that it changed just now. So it is not due within `min_every` of its last answer; nor, when its interval
/// is longer than a day, as no first one is, within a tenth of that. Each look that finds it unchanged makes it longer, so what such a
/// server says costs less and less, and what an honest one says of a page that seldom changes still comes in time.
///
/// [`NamedDate::changed_at`]: super::NamedDate::changed_at
#[must_use]
pub fn due_when_named(
    next_at: Timestamp,
    answered_at: Timestamp,
    interval_ms: Option<u64>,
    changed_at: Timestamp,
    min_every_ms: u64,
) -> Timestamp {
    if changed_at <= answered_at {
        return next_at;
    }
    let seen_unchanged_ms = interval_ms.filter(|&interval_ms| interval_ms > DAY_MS).unwrap_or(0);
    let least_ms = min_every_ms.max(seen_unchanged_ms / DISTRUST_SHARE);
    next_at.min(changed_at.max(answered_at.plus_ms(least_ms)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::exchange::Headers;
    use crate::policy::cache::Variant;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const NOW: Timestamp = Timestamp(784_111_777_000);
    const HOUR_MS: u64 = 3_600_000;

    fn stored(headers: &[(&str, &str)]) -> Stored {
        Stored {
            status: 200,
            headers: Headers::from_pairs(headers.iter().copied()),
            variant: Variant::default(),
            requested_at: NOW,
            answered_at: NOW,
            fetched_at: NOW,
            content: Some([1; 32]),
            gone_at: None,
        }
    }

    fn interval_ms(known_ms: Option<u64>, headers: &[(&str, &str)], change: Change, settings: &RecrawlSettings) -> u64 {
        recrawl(known_ms, &stored(headers), change, settings, NOW, &mut fastrand::Rng::with_seed(1)).interval_ms
    }

    #[test]
    fn the_interval_grows_by_half_while_nothing_changes_and_is_halved_by_a_change() {
        let settings = RecrawlSettings::default();
        let learned = |known_ms, change| interval_ms(Some(known_ms), &[], change, &settings);
        assert_eq!(learned(10 * HOUR_MS, Change::Unchanged), 15 * HOUR_MS);
        for change in [Change::Changed, Change::Gone, Change::New] {
            assert_eq!(learned(10 * HOUR_MS, change), 5 * HOUR_MS, "{change:?}");
        }
        assert_eq!(learned(25 * DAY_MS, Change::Unchanged), 30 * DAY_MS);
        assert_eq!(learned(HOUR_MS, Change::Changed), HOUR_MS);
        assert_eq!(learned(u64::MAX, Change::Unchanged), 30 * DAY_MS);
    }

    #[test]
    fn the_first_interval_is_a_tenth_of_what_it_was_unchanged_or_a_day() {
        let settings = RecrawlSettings::default();
        for (last_modified, expected_ms) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", HOUR_MS),
            ("Sat, 05 Nov 1994 08:49:37 GMT", 8_640_000),
            ("Fri, 06 Nov 1992 08:49:37 GMT", DAY_MS),
            ("long ago", DAY_MS),
        ] {
            let headers = [("last-modified", last_modified)];
            assert_eq!(interval_ms(None, &headers, Change::New, &settings), expected_ms, "{last_modified}");
        }
        let fixed = RecrawlSettings { every: Every::Fixed(6 * HOUR_MS), ..settings };
        assert_eq!(interval_ms(Some(DAY_MS), &[], Change::Changed, &fixed), 6 * HOUR_MS);
    }

    proptest! {
        #[test]
        fn a_page_is_due_within_the_bounds_and_not_before_its_freshness_ends(
            known_ms in proptest::option::of(0..100 * DAY_MS),
            max_age_s in 0_u64..10_000_000,
            min_every_ms in 1..2 * DAY_MS,
            max_every_ms in 1..60 * DAY_MS,
            changed in any::<bool>(),
            seed in any::<u64>(),
        ) {
            let control = format!("max-age={max_age_s}");
            let settings = RecrawlSettings { every: Every::Learned, min_every_ms, max_every_ms };
            let change = if changed { Change::Changed } else { Change::Unchanged };
            let stored = stored(&[("cache-control", &control)]);
            let recrawl = recrawl(known_ms, &stored, change, &settings, NOW, &mut fastrand::Rng::with_seed(seed));
            let wait_ms = recrawl.next_at.since_ms(NOW);
            let max_ms = max_every_ms.max(min_every_ms);
            prop_assert!(wait_ms >= min_every_ms && wait_ms <= max_ms);
            prop_assert!(wait_ms >= (max_age_s * 1_000).min(max_ms));
            let due_ms = recrawl.interval_ms.max((max_age_s * 1_000).min(max_ms));
            prop_assert!(wait_ms.abs_diff(due_ms) <= due_ms / 10 + 1);
        }
    }

    #[test]
    fn pages_that_were_fetched_together_do_not_come_back_together() {
        let mut dice = fastrand::Rng::with_seed(7);
        let stored = stored(&[]);
        let waits: Vec<u64> = (0..1_000)
            .map(|_| {
                let settings = RecrawlSettings::default();
                let recrawl = recrawl(Some(10 * HOUR_MS), &stored, Change::Unchanged, &settings, NOW, &mut dice);
                recrawl.next_at.since_ms(NOW)
            })
            .collect();
        let (first, last) = (waits.iter().min().expect("not empty"), waits.iter().max().expect("not empty"));
        let base_ms = 15 * HOUR_MS;
        assert!((base_ms * 90 / 100..base_ms * 91 / 100).contains(first), "{first}");
        assert!((base_ms * 109 / 100..=base_ms * 110 / 100).contains(last), "{last}");
    }

    #[test]
    fn a_page_that_a_sitemap_names_as_changed_is_due_since_then_but_not_soon_after_its_last_answer() {
        let due = NOW.plus_ms(DAY_MS);
        let ago = |ms: u64| Timestamp(NOW.0 - i64::try_from(ms).expect("it fits"));
        let since =
            |answered_at, interval_ms, changed_at| due_when_named(due, answered_at, interval_ms, changed_at, HOUR_MS);
        let day_ago = ago(DAY_MS);
        assert_eq!(since(day_ago, Some(DAY_MS), ago(60_000)), ago(60_000));
        assert_eq!(since(day_ago, None, ago(60_000)), ago(60_000));
        assert_eq!(since(day_ago, Some(DAY_MS), ago(DAY_MS)), due, "it was answered after that");
        assert_eq!(since(day_ago, Some(15 * DAY_MS), ago(60_000)), day_ago.plus_ms(36 * HOUR_MS));
        assert_eq!(since(ago(600_000), Some(DAY_MS), NOW), NOW.plus_ms(HOUR_MS - 600_000));
        let sooner = NOW.plus_ms(60_000);
        assert_eq!(due_when_named(sooner, ago(600_000), None, NOW, HOUR_MS), sooner);
    }

    #[test]
    fn a_server_that_says_always_now_is_believed_less_and_less() {
        let settings = RecrawlSettings::default();
        let mut dice = fastrand::Rng::with_seed(3);
        let (mut now, mut known_ms, mut looks) = (NOW, None, 0);
        let end = NOW.plus_ms(60 * DAY_MS);
        while now < end {
            let next = recrawl(
                known_ms,
                &Stored { answered_at: now, ..stored(&[]) },
                Change::Unchanged,
                &settings,
                now,
                &mut dice,
            );
            known_ms = Some(next.interval_ms);
            looks += 1;
            // Its sitemap is read every hour.
            now = (1..=60 * 24)
                .map(|hours| now.plus_ms(hours * HOUR_MS))
                .find(|&at| due_when_named(next.next_at, now, known_ms, at, HOUR_MS) <= at)
                .expect("it is due some day");
        }
        assert!((20..45).contains(&looks), "{looks} looks in 60 days, where every hour would be 1,440");
    }
}
