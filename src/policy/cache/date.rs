//! Dates in headers.

use crate::clock::Timestamp;

/// Any of the three forms of RFC 9110 section 5.6.7, in any case of letters; none when it is no date, or when its day of the
/// week is wrong. That also settles the century of a year in two digits: the same date a hundred years on falls on another day.
#[must_use]
pub(super) fn http_date(value: &str) -> Option<Timestamp> {
    let mut text = String::with_capacity(value.len());
    for word in value.trim().split_inclusive(|letter: char| !letter.is_ascii_alphabetic()) {
        let (letters, rest) = word.split_at(word.bytes().take_while(u8::is_ascii_alphabetic).count());
        if letters.eq_ignore_ascii_case("GMT") {
            text.push_str("GMT");
        } else if let Some(first) = letters.chars().next() {
            text.push(first.to_ascii_uppercase());
            text.push_str(&letters[1..].to_ascii_lowercase());
        }
        text.push_str(rest);
    }
    httpdate::parse_http_date(&text).ok().map(Timestamp::from_system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_are_one_instant_in_any_case() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "SUN, 06 NOV 1994 08:49:37 gmt",
            " sunday, 06-nov-94 08:49:37 GMT ",
        ] {
            assert_eq!(http_date(text), Some(Timestamp(784_111_777_000)), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_of_http_is_none() {
        for text in [
            "",
            "0",
            "-1",
            "tomorrow",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 31 Feb 2027 08:49:37 GMT",
            "1994-11-06T08:49:37Z",
            "Sün, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(http_date(text), None, "{text}");
        }
    }

    #[test]
    fn two_digits_are_the_year_whose_weekday_fits() {
        assert_eq!(http_date("Monday, 18-Aug-75 02:01:18 GMT"), http_date("Mon, 18 Aug 1975 02:01:18 GMT"));
        assert!(http_date("Mon, 18 Aug 1975 02:01:18 GMT").is_some());
        // The 18th of August 2075 is a Sunday.
        assert_eq!(http_date("Sunday, 18-Aug-75 02:01:18 GMT"), None);
        assert_eq!(http_date("Thursday, 18-Aug-50 02:01:18 GMT"), http_date("Thu, 18 Aug 2050 02:01:18 GMT"));
    }
}
