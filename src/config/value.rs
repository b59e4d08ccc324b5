//! The kinds of value that the file can have.

use std::ops::RangeInclusive;
use std::time::Duration;

use humantime::format_duration;
use regex::Regex;
use url::Url;

use crate::exchange::Secret;
use crate::interpret::{AnswerAt, JsonAt, JsonAtError, Records};
use crate::job::Target;

use super::section::{Field, nearest};

impl<'a> Field<'a> {
    /// Any text.
    pub(super) fn text(&self) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.wrong("a text in quotes");
        }
        text
    }

    /// A text that has something in it and no `${NAME}`, which is replaced only where secrets belong.
    pub(super) fn plain_text(&self) -> Option<&'a str> {
        let text = self.text()?;
        if text.trim().is_empty() {
            self.wrong("a text that is not empty");
            return None;
        }
        if text.contains("${") {
            self.complain("has a \"${\"; the environment is read only in headers, auth and proxy");
            return None;
        }
        Some(text)
    }

    /// A place in a body.
    pub(super) fn json_at(&self) -> Option<JsonAt> {
        self.place(JsonAt::parse)
    }

    /// A place in an answer.
    pub(super) fn answer_at(&self) -> Option<AnswerAt> {
        self.place(AnswerAt::parse)
    }

    /// Where records are.
    pub(super) fn records(&self) -> Option<Records> {
        self.place(Records::parse)
    }

    fn place<T>(&self, parse: impl FnOnce(&str) -> Result<T, JsonAtError>) -> Option<T> {
        let text = self.plain_text()?;
        let place = parse(text);
        place.map_err(|error| self.complain(&format!("is {text:?}, which is not a JSON path: {}", error.why))).ok()
    }

    /// A place in a request.
    pub(super) fn target(&self) -> Option<Target> {
        let text = self.plain_text()?;
        Target::parse(text).map_err(|error| self.complain(&format!("is {text:?}, which {error}"))).ok()
    }

    /// true or false.
    pub(super) fn flag(&self) -> Option<bool> {
        let flag = self.value.as_bool();
        if flag.is_none() {
            self.wrong("true or false");
        }
        flag
    }

    /// A whole number within `range`.
    pub(super) fn count<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<u64> + Copy + PartialOrd + Into<u64>,
    {
        let number = self.value.as_integer().and_then(|number| {
            let number = u64::from_str_radix(number.as_str(), number.radix()).ok()?;
            T::try_from(number).ok().filter(|number| range.contains(number))
        });
        if number.is_none() {
            let (least, most): (u64, u64) = ((*range.start()).into(), (*range.end()).into());
            // TOML has no greater numbers, so this end of a range is no news.
            if most >= i64::MAX.unsigned_abs() {
                self.wrong(&format!("a whole number, {least} or more"));
            } else {
                self.wrong(&format!("a whole number from {least} to {most}"));
            }
        }
        number
    }

    /// A duration such as "1h 30m", in ms, within `range` (also in ms).
    pub(super) fn duration_ms(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let parsed = self.value.as_str().and_then(|text| humantime::parse_duration(text).ok());
        let ms = parsed.and_then(|duration| u64::try_from(duration.as_millis()).ok());
        let fits = ms.filter(|ms| range.contains(ms));
        if fits.is_none() {
            let words = |ms: u64| format_duration(Duration::from_millis(ms)).to_string();
            self.wrong(&format!("a duration from \"{}\" to \"{}\"", words(*range.start()), words(*range.end())));
        }
        fits
    }

    /// A size such as "32MiB", in bytes, at least 1 KiB and at most 16 GiB.
    pub(super) fn size_bytes(&self) -> Option<u64> {
        let bytes = self.value.as_str().and_then(parse_size).filter(|bytes| (1 << 10..=16 << 30).contains(bytes));
        if bytes.is_none() {
            self.wrong("a size from \"1KiB\" to \"16GiB\", such as \"32MiB\" or \"500KB\"");
        }
        bytes
    }

    /// A rate such as "10/s" or "5000/h", in requests a second; "none" for no limit.
    #[expect(clippy::option_option, reason = "the outer one is the convention of all readers: none after a complaint")]
    pub(super) fn rate_per_s(&self) -> Option<Option<f64>> {
        let rate = self
            .value
            .as_str()
            .and_then(|text| if text == "none" { Some(None) } else { Some(Some(parse_rate(text)?)) });
        if rate.is_none() {
            self.wrong("a rate such as \"10/s\", \"30/m\" or \"5000/h\", or \"none\"");
        }
        rate
    }

    /// A share from `least` to 1, as a number or as one of some words.
    pub(super) fn share(&self, words: &[(&str, f64)], least: f64) -> Option<f64> {
        if self.value.is_str() {
            return self.one_of(words, &[]);
        }
        let float = self.value.as_float().and_then(|number| number.as_str().parse::<f64>().ok());
        let whole = self.value.as_integer().and_then(|number| number.as_str().parse::<f64>().ok());
        let share = float.or(whole).filter(|share| (least..=1.0).contains(share));
        if share.is_none() {
            let list = words.iter().map(|(word, _)| format!("{word:?}")).collect::<Vec<_>>().join(", ");
            self.wrong(&format!("{list} or a number from {least} to 1"));
        }
        share
    }

    /// One of some words; `later` are those that later versions will know.
    pub(super) fn one_of<T: Copy>(&self, words: &[(&str, T)], later: &[&str]) -> Option<T> {
        let text = self.value.as_str();
        let found = words.iter().find(|(word, _)| Some(*word) == text);
        if let Some((_, meaning)) = found {
            return Some(*meaning);
        }
        if text.is_some_and(|text| later.contains(&text)) {
            self.complain(&format!("is {:?}, which is not yet supported", text.unwrap_or_default()));
            return None;
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let list = known.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ");
        match text.and_then(|text| nearest(text, &known)) {
            Some(near) => self.wrong(&format!("one of {list}; did you mean {near:?}?")),
            None => self.wrong(&format!("one of {list}")),
        }
        None
    }

    /// The texts of a list; one text alone is a list of one.
    pub(super) fn texts(&self) -> Vec<Field<'a>> {
        if self.value.is_str() {
            return vec![self.clone()];
        }
        let Some(array) = self.value.as_array() else {
            self.wrong("a list of texts, [\"...\", \"...\"]");
            return Vec::new();
        };
        array.iter().map(|value| self.part(value)).filter(|part| part.text().is_some()).collect()
    }

    /// A list of texts, as they are.
    pub(super) fn strings(&self) -> Vec<String> {
        self.texts().iter().filter_map(|part| Some(part.plain_text()?.to_owned())).collect()
    }

    /// Patterns that compile.
    pub(super) fn regexes(&self) -> Vec<Regex> {
        let compile = |part: &Field<'a>| {
            let text = part.text()?;
            match Regex::new(text) {
                Ok(regex) => Some(regex),
                Err(error) => {
                    // The library draws the pattern over several lines; its last line says what is wrong.
                    let error = error.to_string();
                    let cause = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                    part.complain(&format!("has the pattern {text:?}, which is not a regular expression: {cause}"));
                    None
                }
            }
        };
        self.texts().iter().filter_map(compile).collect()
    }

    /// An http or https address.
    pub(super) fn url(&self) -> Option<Url> {
        let text = self.plain_text()?;
        match Url::parse(text) {
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                self.complain("has a user name or a password in its address; credentials go into headers");
                None
            }
            Ok(url) if matches!(url.scheme(), "http" | "https") => Some(url),
            Ok(_) | Err(url::ParseError::RelativeUrlWithoutBase) => {
                self.wrong("an address that starts with http:// or https://");
                None
            }
            Err(error) => {
                self.complain(&format!("is {text:?}, which is not an address: {error}"));
                None
            }
        }
    }

    /// A text that may hold secrets: `${NAME}` is replaced by the environment.
    pub(super) fn secret(&self) -> Option<Secret> {
        match self.context.substitute(self.text()?) {
            Ok(value) => Some(Secret(value)),
            Err(problem) => {
                self.complain(&problem);
                None
            }
        }
    }
}

/// `32MiB` in bytes.
fn parse_size(text: &str) -> Option<u64> {
    let end = text.find(|letter: char| !letter.is_ascii_digit())?;
    let factor = match text[end..].trim() {
        "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    text[..end].parse::<u64>().ok()?.checked_mul(factor)
}

/// A rate such as `10/s`, `30/m`, `5000/h` or `100/d` in requests a second, from one a day to 100,000 a second.
#[must_use]
pub fn parse_rate(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once('/')?;
    let secs = match unit.trim() {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    let rate_per_s = number.trim().parse::<f64>().ok()? / secs;
    (1.0 / 86_400.0..=100_000.0).contains(&rate_per_s).then_some(rate_per_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        for (text, expected) in [
            ("32MiB", Some(33_554_432)),
            ("500 KB", Some(500_000)),
            ("1GiB", Some(1 << 30)),
            ("7B", Some(7)),
            ("32", None),
            ("MiB", None),
            ("1.5MiB", None),
            ("32mb", None),
            ("-1KB", None),
            ("99999999999999999999B", None),
            ("99999999999GiB", None),
        ] {
            assert_eq!(parse_size(text), expected, "{text}");
        }
    }

    #[test]
    fn rates_are_a_number_by_a_unit() {
        for (text, expected) in [
            ("10/s", Some(10.0)),
            ("30/m", Some(0.5)),
            ("5400 / h", Some(1.5)),
            ("0.5/s", Some(0.5)),
            ("1/d", Some(1.0 / 86_400.0)),
            ("0/s", None),
            ("-1/s", None),
            ("inf/s", None),
            ("NaN/s", None),
            ("10", None),
            ("10/week", None),
        ] {
            assert_eq!(parse_rate(text), expected, "{text}");
        }
    }
}
