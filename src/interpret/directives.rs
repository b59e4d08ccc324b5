//! What a page asks of robots: `<meta name=robots>` and `X-Robots-Tag`.

use crate::exchange::Headers;

/// What a page asks of robots. Requests only add up: the strictest of all that apply to us holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// Do not keep this page.
    pub noindex: bool,
    /// Do not follow its links.
    pub nofollow: bool,
}

/// Rules of `X-Robots-Tag` that have a colon themselves, so that what stands before it is no robot's name.
const WITH_VALUE: [&str; 4] = ["unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"];

impl Directives {
    /// Adds the rules of a comma-separated list.
    pub(super) fn read_list(&mut self, list: &str) {
        for rule in list.split(',') {
            self.read_rule(rule);
        }
    }

    /// Adds the rules of all `X-Robots-Tag` headers that are for everyone or for `agent`, as in
    /// `noindex`, `ourbot: noindex, nofollow` and `otherbot: none, ourbot: nofollow`.
    pub(super) fn read_headers(&mut self, headers: &Headers, agent: &str) {
        for value in headers.get_all("x-robots-tag") {
            let mut for_us = true;
            for piece in value.split(',') {
                let mut rule = piece;
                if let Some((name, rest)) = piece.split_once(':') {
                    let name = name.trim();
                    if WITH_VALUE.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                        continue;
                    }
                    for_us = name == "*" || name.eq_ignore_ascii_case("robots") || name.eq_ignore_ascii_case(agent);
                    rule = rest;
                }
                if for_us {
                    self.read_rule(rule);
                }
            }
        }
    }

    fn read_rule(&mut self, rule: &str) {
        let rule = rule.trim();
        let none = rule.eq_ignore_ascii_case("none");
        self.noindex |= none || rule.eq_ignore_ascii_case("noindex");
        self.nofollow |= none || rule.eq_ignore_ascii_case("nofollow");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[&str], noindex: bool, nofollow: bool) {
        let headers = Headers::from_pairs(values.iter().map(|value| ("X-Robots-Tag", *value)));
        let mut directives = Directives::default();
        directives.read_headers(&headers, "trundle");
        assert_eq!(directives, Directives { noindex, nofollow }, "{values:?}");
    }

    #[test]
    fn robots_headers_apply_to_everyone_or_to_us_by_name() {
        check(&[], false, false);
        check(&["noindex"], true, false);
        check(&["NoIndex , NOFOLLOW"], true, true);
        check(&["none"], true, true);
        check(&["otherbot: noindex, nofollow"], false, false);
        check(&["Trundle: noindex, nofollow"], true, true);
        check(&["otherbot: none, trundle: nofollow"], false, true);
        check(&["trundle: nofollow, otherbot: noindex"], false, true);
        check(&["unavailable_after: 25 Jun 2010 15:00:00 PST, noindex"], true, false);
        check(&["max-snippet:-1, nofollow"], false, true);
        check(&["otherbot: noindex", "nofollow"], false, true);
        check(&["noindexing, index, all"], false, false);
    }
}
