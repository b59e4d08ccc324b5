//! Streams that are cut into windows of time, since one walk through all of them would be too long, or is not allowed.

use chrono::{DateTime, SecondsFormat, TimeZone as _, Utc};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::job::{Call, Params, Target};

/// How an instant is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `2024-01-31T00:00:00Z`
    #[default]
    Rfc3339,
    /// `2024-01-31`, in UTC
    Date,
    /// Seconds since 1970.
    EpochS,
    /// Milliseconds since 1970.
    EpochMs,
}

impl Format {
    /// The least that it can tell, in ms.
    fn grain_ms(self) -> u64 {
        match self {
            Self::Date => 86_400_000,
            Self::Rfc3339 | Self::EpochS => 1_000,
            Self::EpochMs => 1,
        }
    }

    /// An instant in this form.
    #[must_use]
    pub fn write(self, at: Timestamp) -> Value {
        let time = || Utc.timestamp_millis_opt(at.0).single().unwrap_or_default();
        match self {
            Self::Rfc3339 => Value::String(time().to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            Self::Date => Value::String(time().format("%Y-%m-%d").to_string()),
            Self::EpochS => Value::from(at.0.div_euclid(1_000)),
            Self::EpochMs => Value::from(at.0),
        }
    }
}

/// How a stream is cut: windows of one length, one behind the other, from a start until now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// The start of the first.
    pub start_at: Timestamp,
    /// The length of each, in ms; at least 1,000.
    pub step_ms: u64,
    /// Where the start of a window goes.
    pub from: Target,
    /// Where its end goes; none when the API wants a start only.
    pub to: Option<Target>,
    /// How both are written.
    pub format: Format,
    /// Whether the API counts the end in: it is then sent as the last instant, or the last day, of the window.
    pub end_is_in: bool,
    /// Records that one window can give at most: one with more is walked in halves.
    pub split_at: Option<u64>,
}

/// One window: from, and up to and without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its start.
    pub since_at: Timestamp,
    /// Its end.
    pub until_at: Timestamp,
}

/// The names of a window's values in [`Params`].
const SINCE: &str = "since";
const UNTIL: &str = "until";

/// Windows at most: more are a typing error, such as a step of a second for ten years.
const WINDOWS_MAX: u64 = 1_000_000;

impl Windows {
    /// All windows that have begun by `now`, the oldest first. The ends of all but the last are fixed: the same window is the same slice
    /// tomorrow. The last one ends where it will end, though that is still to come.
    pub fn until(&self, now: Timestamp) -> impl Iterator<Item = Window> + use<> {
        let (start, step) = (self.start_at, self.step_ms.max(1_000));
        let count = now.since_ms(start).div_ceil(step).min(WINDOWS_MAX);
        (0..count).map(move |n| Window { since_at: start.plus_ms(n * step), until_at: start.plus_ms((n + 1) * step) })
    }

    /// Puts a window into a request.
    pub fn put(&self, call: &mut Call, window: &Window) {
        call.set(&self.from, &self.format.write(window.since_at));
        if let Some(to) = &self.to {
            let last_ms = if self.end_is_in { self.format.grain_ms() } else { 0 };
            call.set(to, &self.format.write(Timestamp(window.until_at.0.saturating_sub_unsigned(last_ms))));
        }
    }

    /// The halves of a window; none when it is too short to be cut: APIs that count in seconds cannot tell more.
    #[must_use]
    pub fn halves(&self, window: &Window) -> Option<[Window; 2]> {
        let least_ms = self.format.grain_ms().max(1_000);
        let half_ms = window.until_at.since_ms(window.since_at) / 2 / least_ms * least_ms;
        if half_ms == 0 {
            return None;
        }
        let middle_at = window.since_at.plus_ms(half_ms);
        Some([Window { until_at: middle_at, ..*window }, Window { since_at: middle_at, ..*window }])
    }
}

impl Window {
    /// The window among a slice's values.
    #[must_use]
    pub fn of(params: &Params) -> Option<Self> {
        let at = |name: &str| {
            let text = params.get(name)?.as_str()?;
            Some(Timestamp(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis()))
        };
        Some(Self { since_at: at(SINCE)?, until_at: at(UNTIL)? })
    }

    /// Adds it to a slice's values.
    pub fn tell(&self, params: &mut Params) {
        params.insert(SINCE.to_owned(), Format::Rfc3339.write(self.since_at));
        params.insert(UNTIL.to_owned(), Format::Rfc3339.write(self.until_at));
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    const DAY_MS: u64 = 86_400_000;

    fn windows(step_ms: u64, format: Format) -> Windows {
        Windows {
            start_at: Timestamp(1_704_067_200_000),
            step_ms,
            from: Target::Query("since".to_owned()),
            to: Some(Target::Query("until".to_owned())),
            format,
            end_is_in: false,
            split_at: None,
        }
    }

    fn request(windows: &Windows, window: &Window) -> String {
        let mut call = Call::get(Url::parse("http://a.org/").expect("a test address parses"));
        windows.put(&mut call, window);
        call.url.query().unwrap_or_default().replace("%3A", ":")
    }

    #[test]
    fn windows_lie_end_to_end_from_the_start_until_now() {
        let week = windows(7 * DAY_MS, Format::Date);
        let now = week.start_at.plus_ms(15 * DAY_MS);
        let requests: Vec<String> = week.until(now).map(|window| request(&week, &window)).collect();
        let expected = [
            "since=2024-01-01&until=2024-01-08",
            "since=2024-01-08&until=2024-01-15",
            "since=2024-01-15&until=2024-01-22",
        ];
        assert_eq!(requests, expected);
        assert_eq!(week.until(week.start_at).count(), 0);
        assert_eq!(windows(1, Format::Date).until(Timestamp(i64::MAX / 2)).count(), 1_000_000);
    }

    #[test]
    fn an_end_that_counts_is_the_last_day_or_second_of_its_window() {
        let day = Windows { end_is_in: true, ..windows(DAY_MS, Format::Date) };
        let window = Window { since_at: day.start_at, until_at: day.start_at.plus_ms(DAY_MS) };
        assert_eq!(request(&day, &window), "since=2024-01-01&until=2024-01-01");
        let seconds = Windows { end_is_in: true, ..windows(DAY_MS, Format::Rfc3339) };
        assert_eq!(request(&seconds, &window), "since=2024-01-01T00:00:00Z&until=2024-01-01T23:59:59Z");
    }

    #[test]
    fn an_instant_has_four_forms() {
        let at = Timestamp(1_704_067_200_000);
        let forms =
            [Format::Rfc3339, Format::Date, Format::EpochS, Format::EpochMs].map(|form| form.write(at).to_string());
        assert_eq!(forms, ["\"2024-01-01T00:00:00Z\"", "\"2024-01-01\"", "1704067200", "1704067200000"]);
    }

    #[test]
    fn a_window_is_cut_into_halves_until_it_is_too_short() {
        let windows = windows(DAY_MS, Format::Date);
        let mut window = Window { since_at: windows.start_at, until_at: windows.start_at.plus_ms(7 * DAY_MS) };
        let mut days = Vec::new();
        while let Some([first, second]) = windows.halves(&window) {
            assert_eq!(
                (first.since_at, first.until_at, second.until_at),
                (window.since_at, second.since_at, window.until_at)
            );
            days.push(second.until_at.since_ms(second.since_at) / DAY_MS);
            window = second;
        }
        assert_eq!(days, [4, 2, 1]);
    }

    #[test]
    fn a_window_is_among_the_values_of_its_slice() {
        let window = Window { since_at: Timestamp(1_704_067_200_000), until_at: Timestamp(1_704_067_261_500) };
        let mut params = Params::new();
        assert_eq!(Window::of(&params), None);
        window.tell(&mut params);
        assert_eq!(Window::of(&params), Some(window));
    }
}
