//! The header `Cache-Control` of an answer.

use crate::exchange::Headers;

/// A number of seconds that is larger counts as this. Source: RFC 9111 section 1.2.2.
const DELTA_S_MAX: u64 = 1 << 31;

/// What `Cache-Control` says, as far as a private cache is concerned (RFC 9111 section 5.2.2; `s-maxage` and
/// `proxy-revalidate` are for shared ones). Names in any case, arguments as tokens or quoted, over several lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a directive that is there or not")]
pub(in crate::policy) struct CacheControl {
    /// For how many seconds the answer is fresh, at most 2^31; none when nothing is said. Of several, the shortest, which never is
    /// longer than the first one, and 0 for one that is no number (RFC 9111 section 4.2.1).
    pub(in crate::policy) max_age_s: Option<u64>,
    /// Not to be used without asking. With a list of fields too, which hardly any cache treats apart (section 5.2.2.4).
    pub(in crate::policy) no_cache: bool,
    /// Not to be kept.
    pub(in crate::policy) no_store: bool,
    /// Once stale, not to be used without asking, come what may.
    pub(super) must_revalidate: bool,
    /// To be used by those only who know what the status asks of a cache; then `no-store` is not meant for them.
    pub(super) must_understand: bool,
    /// May be kept whatever its status.
    pub(super) public: bool,
    /// Does not change while it is fresh. Source: RFC 8246.
    pub(super) immutable: bool,
    /// For how many seconds after it became stale it may stand in for an error. Source: RFC 5861 section 4.
    pub(super) stale_if_error_s: Option<u64>,
}

impl CacheControl {
    /// Reads all lines.
    #[must_use]
    pub(in crate::policy) fn of(headers: &Headers) -> Self {
        let mut control = Self::default();
        for line in headers.get_all("cache-control") {
            for directive in split(line) {
                control.read(directive);
            }
        }
        control
    }

    fn read(&mut self, directive: &str) {
        let (name, argument) = match directive.split_once('=') {
            Some((name, argument)) => (name, Some(argument)),
            None => (directive, None),
        };
        let seconds = || argument.and_then(delta_s).unwrap_or(0);
        let shortest = |known: Option<u64>| Some(known.map_or(seconds(), |known| known.min(seconds())));
        match name.trim().to_ascii_lowercase().as_str() {
            "max-age" => self.max_age_s = shortest(self.max_age_s),
            "stale-if-error" => self.stale_if_error_s = shortest(self.stale_if_error_s),
            "no-cache" => self.no_cache = true,
            "no-store" => self.no_store = true,
            "must-revalidate" => self.must_revalidate = true,
            "must-understand" => self.must_understand = true,
            "public" => self.public = true,
            "immutable" => self.immutable = true,
            _ => {}
        }
    }
}

/// Parts between commas that lie outside of quotes.
fn split(line: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    line.split(move |letter: char| {
        if escaped {
            escaped = false;
            return false;
        }
        match letter {
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        letter == ',' && !quoted
    })
    .map(str::trim)
}

/// Digits as a token or in quotes, capped at 2^31; none of anything else, spaces around them included.
fn delta_s(argument: &str) -> Option<u64> {
    let quoted = argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let digits = quoted.unwrap_or(argument);
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    // Only a number that is too long fails to parse.
    is_number.then(|| digits.parse().unwrap_or(DELTA_S_MAX).min(DELTA_S_MAX))
}

/// What `Age` says, in seconds: the first member of its first line, capped at 2^31; 0 when that is no number (RFC 9111 section
/// 5.1).
pub(super) fn age_s(headers: &Headers) -> u64 {
    let first = headers.get("age").and_then(|line| line.split(',').next());
    first.map(str::trim).filter(|member| !member.starts_with('"')).and_then(delta_s).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(lines: &[&str]) -> CacheControl {
        CacheControl::of(&Headers::from_pairs(lines.iter().map(|line| ("cache-control", line))))
    }

    #[test]
    fn max_age_is_read_from_tokens_and_quotes_and_is_0_when_it_is_no_number() {
        for (lines, max_age_s) in [
            (&[][..], None),
            (&["public"], None),
            (&["max-age=3600"], Some(3_600)),
            (&["MaX-aGe=3600"], Some(3_600)),
            (&["max-age=\"3600\""], Some(3_600)),
            (&["max-age=003600"], Some(3_600)),
            (&["foobar, max-age=3600"], Some(3_600)),
            (&["a=\"x, max-age=7200\", max-age=1"], Some(1)),
            (&["max-age=1, a=\"max-age=3600, b\""], Some(1)),
            (&["a=\"\\\", max-age=5\", max-age=7"], Some(7)),
            (&["a=\"never closed, max-age=5"], None),
            (&["max-age=2147483647"], Some(2_147_483_647)),
            (&["max-age=2147483649"], Some(2_147_483_648)),
            (&["max-age=99999999999999999999999"], Some(2_147_483_648)),
            (&["max-age=-1"], Some(0)),
            (&["max-age=+1"], Some(0)),
            (&["max-age=1.5"], Some(0)),
            (&["max-age=1a"], Some(0)),
            (&["max-age= 1"], Some(0)),
            (&["max-age='1'"], Some(0)),
            (&["max-age="], Some(0)),
            (&["max-age"], Some(0)),
            (&["max-age=1; public"], Some(0)),
            (&["max-age=1800, max-age=1"], Some(1)),
            (&["max-age=1", "max-age=1800"], Some(1)),
            (&["max-age=1800", "max-age=x"], Some(0)),
            (&["s-maxage=3600"], None),
            (&["x-max-age=3600"], None),
        ] {
            assert_eq!(control(lines).max_age_s, max_age_s, "{lines:?}");
        }
    }

    #[test]
    fn the_other_directives_are_read_in_any_case_with_and_without_arguments() {
        let all = control(&[
            "No-CaChE=\"set-cookie\" , NO-STORE",
            "must-revalidate,must-understand, public, immutable, stale-if-error=60",
        ]);
        let expected = CacheControl {
            max_age_s: None,
            no_cache: true,
            no_store: true,
            must_revalidate: true,
            must_understand: true,
            public: true,
            immutable: true,
            stale_if_error_s: Some(60),
        };
        assert_eq!(all, expected);
        assert_eq!(control(&["private, x=\"no-store, no-cache\", proxy-revalidate"]), CacheControl::default());
    }

    #[test]
    fn age_is_the_first_number_and_0_when_it_is_none() {
        for (lines, expected) in [
            (&[][..], 0),
            (&["7200"], 7_200),
            (&["7200, 0"], 7_200),
            (&["0, 7200"], 0),
            (&["0", "7200"], 0),
            (&["abc"], 0),
            (&["-7200"], 0),
            (&["7200.0"], 0),
            (&["\"7200\""], 0),
            (&["99999999999999999999999"], 2_147_483_648),
        ] {
            assert_eq!(age_s(&Headers::from_pairs(lines.iter().map(|line| ("age", line)))), expected, "{lines:?}");
        }
    }
}
