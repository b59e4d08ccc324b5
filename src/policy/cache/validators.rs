//! What a server can be asked with whether anything changed.

use crate::exchange::Headers;

use super::date::http_date;

/// The validators of one answer, as it sent them; they belong to the exact request that it answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// `ETag`, with its quotes and `W/`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
}

impl Validators {
    /// Those of an answer; what it does not send is none, whatever an older one sent. A `Last-Modified` later than the answer's
    /// own `Date` is left out: no page can be newer than it, and the server would say for ever that nothing changed (RFC 9110
    /// section 8.8.2.1 forbids it; FreshRSS issue 1020 met it).
    #[must_use]
    pub fn of(headers: &Headers) -> Self {
        let verbatim = |name: &str| headers.get(name).filter(|value| !value.is_empty()).map(str::to_owned);
        let date = headers.get("date").and_then(http_date);
        let is_future =
            |value: &str| matches!((http_date(value), date), (Some(modified), Some(date)) if modified > date);
        Self { etag: verbatim("etag"), last_modified: verbatim("last-modified").filter(|value| !is_future(value)) }
    }

    /// Whether there is nothing to ask with.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }

    /// The headers that ask whether anything changed, names in lower case: both validators as they came (RFC 9111 section
    /// 4.3.1); a server that knows the first does not look at the second (RFC 9110 section 13.1.3).
    #[must_use]
    pub fn conditions(&self) -> Vec<(&'static str, String)> {
        let etag = self.etag.clone().map(|etag| ("if-none-match", etag));
        let last_modified = self.last_modified.clone().map(|date| ("if-modified-since", date));
        etag.into_iter().chain(last_modified).collect()
    }

    /// Whether a 304 to these speaks of the answer that they are from (RFC 9111 section 4.3.4); if not, why.
    ///
    /// Tags are compared without their `W/`: nginx calls a page weak that it compressed, and its 304 to that very tag strong (seen
    /// in 1.22.1). A `Last-Modified` before ours is another machine's of the same site, one after it is a change. Without any
    /// validator the 304 means what we sent.
    pub(super) fn confirmed_by(&self, answer: &Headers) -> Result<(), &'static str> {
        let said = Self::of(answer);
        match (&self.etag, &said.etag) {
            (Some(ours), Some(theirs)) if opaque(ours) == opaque(theirs) => return Ok(()),
            (Some(_), Some(_)) => return Err("its 304 names another ETag"),
            (None, Some(theirs)) if !theirs.starts_with("W/") => {
                return Err("its 304 names an ETag that was not asked for");
            }
            (_, None) | (None, Some(_)) => {}
        }
        let date = |validators: &Self| validators.last_modified.as_deref().and_then(http_date);
        match (date(self), date(&said)) {
            (Some(ours), Some(theirs)) if theirs > ours => Err("its 304 names a later Last-Modified"),
            _ => Ok(()),
        }
    }

    /// Whether two answers carry the same validator: then they are taken for the same content where it was not read.
    pub(super) fn agree(&self, other: &Self) -> bool {
        match (&self.etag, &other.etag) {
            (Some(one), Some(two)) => opaque(one) == opaque(two),
            (None, None) => self.last_modified.is_some() && self.last_modified == other.last_modified,
            _ => false,
        }
    }
}

/// A tag without its mark of weakness: what weak comparison compares (RFC 9110 section 8.8.3.2).
fn opaque(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATE: &str = "Mon, 07 Nov 1994 08:49:37 GMT";

    fn validators(pairs: &[(&str, &str)]) -> Validators {
        Validators::of(&Headers::from_pairs(pairs.iter().copied()))
    }

    #[test]
    fn both_validators_go_back_as_they_came() {
        for (etag, last_modified) in [
            ("\"a\"", EARLY),
            ("W/\"a,b\"", "Sunday, 06-Nov-94 08:49:37 GMT"),
            ("unquoted", "some day"),
            ("w/\"x\"", "0"),
        ] {
            let asked = validators(&[("ETag", etag), ("Last-Modified", last_modified), ("Date", LATE)]).conditions();
            assert_eq!(
                asked,
                [("if-none-match", etag.to_owned()), ("if-modified-since", last_modified.to_owned())],
                "{etag}"
            );
        }
    }

    #[test]
    fn no_date_is_invented() {
        assert_eq!(validators(&[("Date", EARLY), ("Expires", LATE)]).conditions(), []);
        assert_eq!(validators(&[("ETag", "\"a\"")]).conditions(), [("if-none-match", "\"a\"".to_owned())]);
        assert!(validators(&[("ETag", ""), ("Last-Modified", " ")]).is_empty());
    }

    #[test]
    fn a_last_modified_in_the_future_is_no_validator() {
        assert!(validators(&[("Last-Modified", LATE), ("Date", EARLY)]).is_empty());
        assert!(!validators(&[("Last-Modified", EARLY), ("Date", EARLY)]).is_empty());
        assert!(!validators(&[("Last-Modified", LATE)]).is_empty());
    }

    #[test]
    fn a_304_confirms_what_carries_the_same_validator_or_none() {
        let mut table = Vec::new();
        for ours in [&[("etag", "\"a\"")][..], &[("etag", "W/\"a\"")], &[("last-modified", EARLY)]] {
            for theirs in [
                &[][..],
                &[("etag", "\"a\"")],
                &[("etag", "W/\"a\"")],
                &[("etag", "\"b\"")],
                &[("etag", "W/\"b\"")],
                &[("last-modified", EARLY)],
                &[("last-modified", LATE)],
                &[("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT")],
                &[("etag", "\"a\""), ("last-modified", LATE)],
            ] {
                let answer = Headers::from_pairs(theirs.iter().copied());
                let meaning = match validators(ours).confirmed_by(&answer) {
                    Ok(()) => "unchanged",
                    Err(why) => why,
                };
                let words =
                    |pairs: &[(&str, &str)]| pairs.iter().map(|(_, value)| *value).collect::<Vec<_>>().join(" + ");
                table.push(format!("{} | {} | {meaning}", words(ours), words(theirs)));
            }
        }
        insta::assert_snapshot!(table.join("\n"), @r#"
        "a" |  | unchanged
        "a" | "a" | unchanged
        "a" | W/"a" | unchanged
        "a" | "b" | its 304 names another ETag
        "a" | W/"b" | its 304 names another ETag
        "a" | Sun, 06 Nov 1994 08:49:37 GMT | unchanged
        "a" | Mon, 07 Nov 1994 08:49:37 GMT | unchanged
        "a" | Sat, 05 Nov 1994 08:49:37 GMT | unchanged
        "a" | "a" + Mon, 07 Nov 1994 08:49:37 GMT | unchanged
        W/"a" |  | unchanged
        W/"a" | "a" | unchanged
        W/"a" | W/"a" | unchanged
        W/"a" | "b" | its 304 names another ETag
        W/"a" | W/"b" | its 304 names another ETag
        W/"a" | Sun, 06 Nov 1994 08:49:37 GMT | unchanged
        W/"a" | Mon, 07 Nov 1994 08:49:37 GMT | unchanged
        W/"a" | Sat, 05 Nov 1994 08:49:37 GMT | unchanged
        W/"a" | "a" + Mon, 07 Nov 1994 08:49:37 GMT | unchanged
        Sun, 06 Nov 1994 08:49:37 GMT |  | unchanged
        Sun, 06 Nov 1994 08:49:37 GMT | "a" | its 304 names an ETag that was not asked for
        Sun, 06 Nov 1994 08:49:37 GMT | W/"a" | unchanged
        Sun, 06 Nov 1994 08:49:37 GMT | "b" | its 304 names an ETag that was not asked for
        Sun, 06 Nov 1994 08:49:37 GMT | W/"b" | unchanged
        Sun, 06 Nov 1994 08:49:37 GMT | Sun, 06 Nov 1994 08:49:37 GMT | unchanged
        Sun, 06 Nov 1994 08:49:37 GMT | Mon, 07 Nov 1994 08:49:37 GMT | its 304 names a later Last-Modified
        Sun, 06 Nov 1994 08:49:37 GMT | Sat, 05 Nov 1994 08:49:37 GMT | unchanged
        Sun, 06 Nov 1994 08:49:37 GMT | "a" + Mon, 07 Nov 1994 08:49:37 GMT | its 304 names an ETag that was not asked for
        "#);
    }
}
