//! What is believed of a limit, as far as a change of it is worth a line in the log.
//!
//! Enters: what a throttle believes after an answer. Leaves: whether that is news. Deliberately absent: the words.

/// A rate is news when it is off by this share from the one that was told: several times what a measurement wanders.
const NEWS_SHARE: f64 = 0.1;

/// A limit that is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Belief {
    /// The name of its kind.
    pub kind: &'static str,
    /// What it grants in the long run, in requests a second; for a cap on concurrency, the requests at once.
    pub size: f64,
}

/// How much a change of belief matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum News {
    /// A limit was found where none was known.
    Found,
    /// The limit that was known is another one now.
    Changed,
    /// It grants as much as before, and only looks like another kind.
    Renamed,
}

impl Belief {
    /// What is new about it for somebody who was told `told`.
    #[must_use]
    pub fn news(&self, told: Option<&Self>) -> Option<News> {
        let Some(told) = told else { return Some(News::Found) };
        if (self.size - told.size).abs() > told.size * NEWS_SHARE {
            Some(News::Changed)
        } else {
            (self.kind != told.kind).then_some(News::Renamed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_that_wanders_is_no_news() {
        let bucket = |size: f64| Belief { kind: "token bucket", size };
        let told = bucket(10.0);
        assert_eq!(told.news(None), Some(News::Found));
        assert_eq!(bucket(10.9).news(Some(&told)), None);
        assert_eq!(bucket(11.1).news(Some(&told)), Some(News::Changed));
        assert_eq!(bucket(5.0).news(Some(&told)), Some(News::Changed));
        assert_eq!(Belief { kind: "fixed window", size: 10.0 }.news(Some(&told)), Some(News::Renamed));
    }
}
