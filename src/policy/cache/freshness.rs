//! How long an answer may be used without asking (RFC 9111 section 4.2).

use crate::clock::Timestamp;
use crate::exchange::Headers;

use super::control::{CacheControl, age_s};
use super::date::http_date;
use super::settings::DAY_MS;
use super::stored::Stored;

/// Statuses whose answers are fresh for a while though nothing is said about it. Source: RFC 9110 section 15.1, without 206, which
/// is never held as a whole page.
const HEURISTIC: [u16; 11] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];

/// Until when an answer may be used without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Freshness {
    /// Until this instant, which may have passed.
    Until {
        /// When it becomes stale.
        at: Timestamp,
        /// Whether the server said so; if not, it is a tenth of the time since its last change, at most a day.
        is_explicit: bool,
        /// Whether the server said that nothing changes before (RFC 8246).
        is_immutable: bool,
    },
    /// Never: the server forbids it, or says nothing that would allow it.
    Never,
}

impl Freshness {
    /// Whether it is fresh at `now`.
    #[must_use]
    pub fn is_fresh(self, now: Timestamp) -> bool {
        matches!(self, Self::Until { at, .. } if at > now)
    }

    /// How long the server said that it stays fresh after `now`, in ms; 0 when it did not, or that is over.
    #[must_use]
    pub fn explicit_left_ms(self, now: Timestamp) -> u64 {
        match self {
            Self::Until { at, is_explicit: true, .. } => at.since_ms(now),
            Self::Until { .. } | Self::Never => 0,
        }
    }
}

/// For how long an answer is fresh from the instant at which it was made, in ms.
enum Lifetime {
    /// The server said.
    Explicit(u64),
    /// Nobody said; it was long unchanged.
    Heuristic(u64),
    /// There is none.
    None,
}

impl Stored {
    /// Until when it may be used without asking, at most `fresh_ms_max` after it came.
    pub fn freshness(&self, fresh_ms_max: u64) -> Freshness {
        let control = CacheControl::of(&self.headers);
        if control.no_cache || !may_be_reused(&control, self.status) {
            return Freshness::Never;
        }
        let (lifetime_ms, is_explicit) = match self.lifetime(&control) {
            Lifetime::Explicit(lifetime_ms) => (lifetime_ms, true),
            Lifetime::Heuristic(lifetime_ms) => (lifetime_ms, false),
            Lifetime::None => return Freshness::Never,
        };
        let left_ms = lifetime_ms.saturating_sub(self.initial_age_ms()).min(fresh_ms_max);
        let is_immutable = control.immutable && is_explicit;
        Freshness::Until { at: self.answered_at.plus_ms(left_ms), is_explicit, is_immutable }
    }

    /// How old it is at `now`, in ms since its server made or confirmed it (RFC 9111 section 4.2.3).
    #[must_use]
    pub fn age_ms(&self, now: Timestamp) -> u64 {
        self.initial_age_ms().saturating_add(now.since_ms(self.answered_at))
    }

    /// Whether it may stand for the page though it is stale and no answer came: unless its server forbids it (RFC 9111 section
    /// 4.2.4).
    pub(super) fn may_stand_without_answer(&self) -> bool {
        let control = CacheControl::of(&self.headers);
        !control.must_revalidate && !control.no_cache && !control.no_store
    }

    /// Whether it may stand for the page at `now` though it is stale and the answer was an error: as long as its server allows it
    /// (RFC 5861 section 4).
    pub(super) fn may_stand_after_error(&self, now: Timestamp) -> bool {
        let control = CacheControl::of(&self.headers);
        let lifetime_ms = match self.lifetime(&control) {
            Lifetime::Explicit(lifetime_ms) | Lifetime::Heuristic(lifetime_ms) => lifetime_ms,
            Lifetime::None => 0,
        };
        let is_within = |error_s: u64| self.age_ms(now) <= lifetime_ms.saturating_add(error_s * 1_000);
        self.may_stand_without_answer() && control.stale_if_error_s.is_some_and(is_within)
    }

    fn lifetime(&self, control: &CacheControl) -> Lifetime {
        if let Some(max_age_s) = control.max_age_s {
            return Lifetime::Explicit(max_age_s * 1_000);
        }
        if let Some(lifetime_ms) = until_expires_ms(&self.headers, self.dated_at()) {
            return Lifetime::Explicit(lifetime_ms);
        }
        match self.tenth_unchanged_ms() {
            Some(lifetime_ms) if control.public || HEURISTIC.contains(&self.status) => Lifetime::Heuristic(lifetime_ms),
            _ => Lifetime::None,
        }
    }

    /// A tenth of the time since its last change, in ms, at most a day; none when that is not said. The tenth is that of RFC 9111
    /// section 4.2.2, the cap is ours: without it a file of 28 years is not looked at for 1,022 days.
    pub(super) fn tenth_unchanged_ms(&self) -> Option<u64> {
        let modified = self.headers.get("last-modified").and_then(http_date)?;
        Some((self.dated_at().since_ms(modified) / 10).min(DAY_MS))
    }

    /// When the server made the answer; an answer without a `Date` is from the instant at which it came.
    fn dated_at(&self) -> Timestamp {
        self.headers.get("date").and_then(http_date).unwrap_or(self.answered_at)
    }

    fn initial_age_ms(&self) -> u64 {
        let apparent_ms = self.answered_at.since_ms(self.dated_at());
        let delay_ms = self.answered_at.since_ms(self.requested_at);
        apparent_ms.max(age_s(&self.headers) * 1_000 + delay_ms)
    }
}

/// Whether an answer may be used again at all without asking: it may be kept (RFC 9111 section 3), and is a whole page.
pub(super) fn may_be_reused(control: &CacheControl, status: u16) -> bool {
    !forbids_keeping(control, status) && status != 206 && (!control.must_understand || HEURISTIC.contains(&status))
}

/// Whether the server wants no copy to be kept. `no-store` beside `must-understand` is meant for those who do not know the
/// status (RFC 9111 section 5.2.2.3).
pub(super) fn forbids_keeping(control: &CacheControl, status: u16) -> bool {
    control.no_store && !(control.must_understand && HEURISTIC.contains(&status))
}

/// From `date` to what `Expires` says, in ms; none without it. What is no date has passed, and so have several lines that
/// disagree (RFC 9111 sections 4.2.1 and 5.3).
fn until_expires_ms(headers: &Headers, date: Timestamp) -> Option<u64> {
    let mut lines = headers.get_all("expires");
    let first = lines.next()?;
    let expires = http_date(first).filter(|_| lines.all(|line| line == first));
    Some(expires.map_or(0, |expires| expires.since_ms(date)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::cache::Variant;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const NOW: Timestamp = Timestamp(784_111_777_000);
    const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    const MINUTE_BEFORE: &str = "Sun, 06 Nov 1994 08:48:37 GMT";
    const HOUR_AFTER: &str = "Sun, 06 Nov 1994 09:49:37 GMT";
    const HOUR_MS: u64 = 3_600_000;

    fn stored(status: u16, headers: &[(&str, &str)]) -> Stored {
        Stored {
            status,
            headers: Headers::from_pairs(headers.iter().copied()),
            variant: Variant::default(),
            requested_at: NOW,
            answered_at: NOW,
            fetched_at: NOW,
            content: None,
            gone_at: None,
        }
    }

    /// How long an answer is fresh after it came, in words.
    fn fresh(status: u16, headers: &[(&str, &str)]) -> String {
        match stored(status, headers).freshness(u64::MAX) {
            Freshness::Until { at, is_explicit, .. } => {
                format!("{} s{}", at.since_ms(NOW) / 1_000, if is_explicit { "" } else { " by guess" })
            }
            Freshness::Never => "never".to_owned(),
        }
    }

    #[test]
    fn freshness_is_max_age_before_expires_before_a_guess() {
        let old = ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT");
        let expires = ("expires", HOUR_AFTER);
        for (headers, expected) in [
            (&[DATE][..], "never"),
            (&[DATE, expires], "3600 s"),
            (&[DATE, expires, ("cache-control", "max-age=60")], "60 s"),
            (&[DATE, expires, ("cache-control", "max-age=0")], "0 s"),
            (&[DATE, expires, ("cache-control", "max-age=no")], "0 s"),
            (&[DATE, ("expires", "0"), ("cache-control", "max-age=60")], "60 s"),
            (&[DATE, ("expires", "0"), old], "0 s"),
            (&[DATE, ("expires", "-1"), old], "0 s"),
            (&[DATE, ("expires", MINUTE_BEFORE), old], "0 s"),
            (&[DATE, expires, expires], "3600 s"),
            (&[DATE, expires, ("expires", MINUTE_BEFORE)], "0 s"),
            (&[DATE, ("expires", "Sunday, 06-Nov-94 09:49:37 GMT")], "3600 s"),
            (&[DATE, ("expires", "Sun Nov  6 09:49:37 1994")], "3600 s"),
            (&[("date", "some day"), expires], "3600 s"),
            (&[expires], "3600 s"),
            (&[DATE, old], "8640 s by guess"),
            (&[DATE, old, ("cache-control", "s-maxage=60")], "8640 s by guess"),
            (&[DATE, ("last-modified", "Sun, 06 Nov 1966 08:49:37 GMT")], "never"),
            (&[DATE, ("last-modified", "Thu, 06 Nov 1975 08:49:37 GMT")], "86400 s by guess"),
            (&[DATE, ("last-modified", HOUR_AFTER)], "0 s by guess"),
        ] {
            assert_eq!(fresh(200, headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn what_the_server_forbids_is_never_fresh() {
        for (status, control, expected) in [
            (200, "max-age=60, no-cache", "never"),
            (200, "max-age=60, no-cache=\"set-cookie\"", "never"),
            (200, "max-age=60, no-store", "never"),
            (200, "max-age=60, no-store, must-understand", "60 s"),
            (599, "max-age=60, no-store, must-understand", "never"),
            (599, "max-age=60, must-understand", "never"),
            (599, "max-age=60", "60 s"),
            (206, "max-age=60", "never"),
            (200, "max-age=60, private, must-revalidate, immutable", "60 s"),
        ] {
            assert_eq!(fresh(status, &[DATE, ("cache-control", control)]), expected, "{status} {control}");
        }
    }

    #[test]
    fn nothing_is_guessed_for_a_status_that_does_not_allow_it_unless_it_is_public() {
        let old = ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT");
        for status in [201, 202, 206, 302, 307, 403, 500, 502, 503, 504, 599] {
            assert_eq!(fresh(status, &[DATE, old]), "never", "{status}");
        }
        for status in [200, 203, 204, 301, 308, 404, 410] {
            assert_eq!(fresh(status, &[DATE, old]), "8640 s by guess", "{status}");
        }
        assert_eq!(fresh(599, &[DATE, old, ("cache-control", "public")]), "8640 s by guess");
    }

    #[test]
    fn the_time_before_an_answer_came_counts_as_its_age() {
        let hour = ("cache-control", "max-age=3600");
        let with_age = stored(200, &[DATE, hour, ("age", "600")]);
        assert_eq!((with_age.age_ms(NOW), with_age.age_ms(NOW.plus_ms(5))), (600_000, 600_005));
        assert_eq!(with_age.freshness(u64::MAX).explicit_left_ms(NOW), HOUR_MS - 600_000);
        // The request took a second, in which a copy on the way grew older.
        let slow = Stored { requested_at: Timestamp(NOW.0 - 1_000), ..with_age.clone() };
        assert_eq!(slow.age_ms(NOW), 601_000);
        let old_date = stored(200, &[("date", MINUTE_BEFORE), hour, ("age", "5")]);
        assert_eq!(old_date.age_ms(NOW), 60_000);
        let fast_date = stored(200, &[("date", HOUR_AFTER), hour]);
        assert_eq!(fast_date.age_ms(NOW), 0);
        assert!(!stored(200, &[DATE, hour, ("age", "3600")]).freshness(u64::MAX).is_fresh(NOW));
    }

    #[test]
    fn a_servers_word_keeps_us_away_no_longer_than_the_cap() {
        let year = stored(200, &[DATE, ("cache-control", "max-age=31536000")]);
        assert_eq!(year.freshness(DAY_MS).explicit_left_ms(NOW), DAY_MS);
        assert!(!year.freshness(DAY_MS).is_fresh(NOW.plus_ms(DAY_MS)));
        assert_eq!(year.freshness(DAY_MS).explicit_left_ms(NOW.plus_ms(2 * DAY_MS)), 0);
    }

    #[test]
    fn a_stale_answer_stands_in_only_where_the_server_lets_it() {
        let hour_on = NOW.plus_ms(HOUR_MS);
        for (control, without_answer, after_an_error) in [
            ("max-age=60", true, false),
            ("max-age=60, must-revalidate", false, false),
            ("max-age=60, no-cache", false, false),
            ("max-age=60, no-store", false, false),
            ("max-age=60, stale-if-error=86400", true, true),
            ("max-age=60, stale-if-error=60", true, false),
            ("max-age=60, stale-if-error=86400, must-revalidate", false, false),
            ("max-age=60, proxy-revalidate", true, false),
        ] {
            let stored = stored(200, &[DATE, ("cache-control", control)]);
            let seen = (stored.may_stand_without_answer(), stored.may_stand_after_error(hour_on));
            assert_eq!(seen, (without_answer, after_an_error), "{control}");
        }
    }
}
