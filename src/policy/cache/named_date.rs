//! The date of a page's last change as a sitemap or a feed names it.

use chrono::{DateTime, Days, Months, NaiveDate, NaiveDateTime};

use crate::clock::Timestamp;

/// A time as exact as it was named: an instant, or a whole day, month or year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedDate {
    /// Its beginning.
    from: Timestamp,
    /// Its end, not part of it; the same as its beginning for an instant.
    until: Timestamp,
}

impl NamedDate {
    /// An instant, as a feed names it.
    #[must_use]
    pub fn at(at: Timestamp) -> Self {
        Self { from: at, until: at }
    }

    /// The forms of a sitemap's `lastmod` (W3C Date and Time Formats): a year, a month, a day, or an instant to the minute or finer;
    /// an instant without a zone, which many write, is UTC. Also the dates of RSS (RFC 2822) and HTTP. None for anything else and
    /// for what lies before 1970.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let instant = DateTime::parse_from_rfc3339(text)
            .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M%#z"))
            .or_else(|_| DateTime::parse_from_rfc2822(text))
            .map(|instant| instant.timestamp_millis());
        let without_zone = || {
            let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%MZ"];
            let read = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
            read.map(|instant| instant.and_utc().timestamp_millis())
        };
        if let Some(ms) = instant.ok().or_else(without_zone) {
            return (ms >= 0).then(|| Self::at(Timestamp(ms)));
        }
        let is_digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let (from, until) = match text.len() {
            4 if is_digits => {
                let from = NaiveDate::parse_from_str(&format!("{text}-01-01"), "%Y-%m-%d").ok()?;
                (from, from.checked_add_months(Months::new(12))?)
            }
            7 if is_digits => {
                let from = NaiveDate::parse_from_str(&format!("{text}-01"), "%Y-%m-%d").ok()?;
                (from, from.checked_add_months(Months::new(1))?)
            }
            10 if is_digits => {
                let from = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
                (from, from.checked_add_days(Days::new(1))?)
            }
            _ => return None,
        };
        let ms = |date: NaiveDate| date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis();
        (ms(from) >= 0).then(|| Self { from: Timestamp(ms(from)), until: Timestamp(ms(until)) })
    }

    /// The latest instant up to which it says at `now` that something changed: what was seen before it is old. Of a day that is not
    /// over it is only known that the change came after its beginning, so a page seen on that day is looked at once more when it is
    /// over, and not on each reading of the sitemap until then. None for a date in the future, which is not believed.
    #[must_use]
    pub fn changed_at(self, now: Timestamp) -> Option<Timestamp> {
        [self.until, self.from].into_iter().find(|at| *at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_as_exact_as_it_was_written() {
        let mut table = Vec::new();
        for text in [
            "1994",
            "1994-11",
            "1994-12",
            "1994-11-06",
            "1994-11-06T08:49Z",
            "1994-11-06T08:49+01:00",
            "1994-11-06T08:49:37Z",
            "1994-11-06T08:49:37.123+02:00",
            "1994-11-06T08:49:37",
            "1994-11-06 08:49:37",
            "1994-11-06T08:49",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 +0100",
            "1969",
            "1969-12-31T23:59:59Z",
            "yesterday",
            "1994-13",
            "1994-11-31",
            "19941106",
            "",
        ] {
            let words = NamedDate::parse(text).map_or("none".to_owned(), |date| {
                format!("{} s + {} s", date.from.0 / 1_000, date.until.since_ms(date.from) / 1_000)
            });
            table.push(format!("{text}: {words}"));
        }
        insta::assert_snapshot!(table.join("\n"), @"
        1994: 757382400 s + 31536000 s
        1994-11: 783648000 s + 2592000 s
        1994-12: 786240000 s + 2678400 s
        1994-11-06: 784080000 s + 86400 s
        1994-11-06T08:49Z: 784111740 s + 0 s
        1994-11-06T08:49+01:00: 784108140 s + 0 s
        1994-11-06T08:49:37Z: 784111777 s + 0 s
        1994-11-06T08:49:37.123+02:00: 784104577 s + 0 s
        1994-11-06T08:49:37: 784111777 s + 0 s
        1994-11-06 08:49:37: 784111777 s + 0 s
        1994-11-06T08:49: 784111740 s + 0 s
        Sun, 06 Nov 1994 08:49:37 GMT: 784111777 s + 0 s
        Sun, 06 Nov 1994 08:49:37 +0100: 784108177 s + 0 s
        1969: none
        1969-12-31T23:59:59Z: none
        yesterday: none
        1994-13: none
        1994-11-31: none
        19941106: none
        : none
        ");
    }

    #[test]
    fn a_day_is_news_to_a_page_seen_before_it_and_once_more_when_it_is_over() {
        let day = NamedDate::parse("1994-11-06").expect("it is a day");
        let at = |hours: i64| Timestamp(day.from.0 + hours * 3_600_000);
        let is_news = |now, seen_at| day.changed_at(at(now)).is_some_and(|changed_at| changed_at > at(seen_at));
        assert!(is_news(10, -5), "seen before");
        assert!(!is_news(10, 5), "seen on that day, which goes on");
        assert!(is_news(30, 5), "the day is over");
        assert!(!is_news(40, 31), "seen after it");
        assert!(!is_news(-1, -5), "it lies in the future");
    }
}
