//! Header fields as the cache rules read them: lists over several lines, what is kept, what a 304 brings anew.

use crate::exchange::Headers;

/// Fields that concern one connection and are never kept. Source: RFC 9110 section 7.6.1, RFC 9111 section 3.1.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields that describe the body we hold and were used to read it; a 304 does not change them (RFC 9111 section 3.2). The body is
/// kept decoded and was parsed as its Content-Type said, and scripts that answer 304 often send the type that their runtime has
/// by default.
const OF_THE_BODY: [&str; 4] = ["content-encoding", "content-length", "content-range", "content-type"];

/// Fields of the single answer: those of an older one say nothing about a newer one. A stored `Age` would make every later
/// confirmation old, and so would a stored `Date` (RFC 9110 section 6.6.1: an answer without it has the instant of its arrival).
const OF_THE_ANSWER: [&str; 2] = ["age", "date"];

/// Members of the list `name`, over all its lines; empty ones are left out (RFC 9110 section 5.6.1).
pub(super) fn members<'h>(headers: &'h Headers, name: &str) -> impl Iterator<Item = &'h str> {
    headers.get_all(name).flat_map(|line| line.split(',')).map(str::trim).filter(|member| !member.is_empty())
}

/// The fields that are kept: all but those of the connection, which `Connection` may name more of.
pub(super) fn end_to_end(headers: &Headers) -> Headers {
    let named: Vec<String> = members(headers, "connection").map(str::to_ascii_lowercase).collect();
    let is_kept = |name: &str| !HOP_BY_HOP.contains(&name) && !named.iter().any(|known| known == name);
    Headers::from_pairs(headers.iter().filter(|(name, _)| is_kept(name)))
}

/// The stored fields after a 304: each field that it carries replaces all stored lines of that name or is added, but for those
/// that belong to the body (RFC 9111 sections 3.2 and 4.3.4).
pub(super) fn updated(stored: &Headers, by: &Headers) -> Headers {
    let by = end_to_end(by);
    let brought: Vec<(&str, &str)> = by.iter().filter(|(name, _)| !OF_THE_BODY.contains(name)).collect();
    let is_replaced = |name: &str| OF_THE_ANSWER.contains(&name) || brought.iter().any(|(known, _)| *known == name);
    Headers::from_pairs(stored.iter().filter(|(name, _)| !is_replaced(name)).chain(brought.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(headers: &Headers) -> Vec<String> {
        headers.iter().map(|(name, value)| format!("{name}: {value}")).collect()
    }

    #[test]
    fn a_list_goes_over_several_lines_and_empty_members_are_none() {
        let headers = Headers::from_pairs([("Vary", ", Accept ,"), ("Vary", ""), ("Vary", "Cookie,*")]);
        assert_eq!(members(&headers, "vary").collect::<Vec<_>>(), ["Accept", "Cookie", "*"]);
    }

    #[test]
    fn what_is_the_connections_is_not_kept() {
        let headers = Headers::from_pairs([
            ("Connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
            ("Content-Encoding", "gzip"),
        ]);
        assert_eq!(lines(&end_to_end(&headers)), ["set-cookie: a=1", "set-cookie: b=2", "content-encoding: gzip"]);
    }

    #[test]
    fn a_304_replaces_all_lines_of_a_name_and_adds_new_ones_but_leaves_those_of_the_body() {
        let stored = Headers::from_pairs([
            ("date", "old"),
            ("age", "7200"),
            ("content-type", "application/rss+xml"),
            ("content-length", "36"),
            ("content-encoding", "gzip"),
            ("x-note", "one"),
            ("x-note", "two"),
            ("link", "</a>"),
        ]);
        let by = Headers::from_pairs([
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("content-type", "text/html"),
            ("content-length", "0"),
            ("content-encoding", "br"),
            ("content-range", "bytes 0-1/2"),
            ("x-note", "three"),
            ("cache-control", "max-age=60"),
        ]);
        assert_eq!(
            lines(&updated(&stored, &by)),
            [
                "content-type: application/rss+xml",
                "content-length: 36",
                "content-encoding: gzip",
                "link: </a>",
                "x-note: three",
                "cache-control: max-age=60",
            ]
        );
    }
}
