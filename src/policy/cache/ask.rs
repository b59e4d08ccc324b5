//! How a page that is due is asked for: not yet, only if it changed, or in full.

use crate::clock::Timestamp;
use crate::job::Method;

use super::freshness::Freshness;
use super::settings::{CacheMode, CacheSettings};
use super::stored::Stored;
use super::variant::{Match, Sent};

/// What the one who asks needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The page: it was found again, and an answer that is fresh will do, also one that is so by guess.
    Found,
    /// The page: its interval is over, which knows more than a guess; only what the server said holds.
    Due,
    /// Whether it changed, though it may be fresh: somebody says so, a person, a sitemap or a feed.
    Checked,
    /// Its body, whatever is held: the rules by which it is read have changed, or a 304 could not be used.
    Whole,
}

/// How to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ask {
    /// Not at all before this instant: what is held is fresh.
    NotBefore(Timestamp),
    /// With these headers beside the request's own; a 304 then confirms what is held.
    IfChanged(Vec<(&'static str, String)>),
    /// Unconditionally.
    InFull {
        /// Why.
        why: InFull,
        /// Headers beside the request's own.
        headers: Vec<(&'static str, String)>,
    },
}

/// Why a page is fetched in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InFull {
    /// No whole page is held: nothing, a tombstone, a redirect, or a part.
    NothingHeld,
    /// What is held was not read whole: a 304 would have nothing to stand for.
    NoBody,
    /// The server gave nothing to ask with.
    NoValidators,
    /// What is held answered another credential.
    OtherCredential,
    /// What is held answered other values of the fields that it varies by.
    OtherVariant,
    /// Only a GET can be asked conditionally (RFC 9110 section 13.1.2).
    NotGet,
    /// The body last came too long ago ([`CacheSettings::force_full_ms`]).
    Forced,
    /// The caller wants the body.
    Wanted,
    /// The user wants no conditional requests.
    ByMode,
}

/// Decides how to ask for a page by what is held of it. `sent` is the request as it would go out.
pub fn ask(stored: Option<&Stored>, wish: Wish, sent: &Sent<'_>, settings: &CacheSettings, now: Timestamp) -> Ask {
    let full = |why| Ask::InFull { why, headers: Vec::new() };
    if settings.mode == CacheMode::Off {
        return full(InFull::ByMode);
    }
    if sent.method != Method::Get {
        return full(InFull::NotGet);
    }
    let Some(stored) = stored else { return full(InFull::NothingHeld) };
    let bound = stored.variant.matches(sent);
    if bound == Match::Same
        && let Freshness::Until { at, is_explicit, is_immutable } = stored.freshness(settings.fresh_ms_max)
        && at > now
        && match wish {
            Wish::Found => true,
            Wish::Due => is_explicit,
            Wish::Checked => is_immutable,
            Wish::Whole => false,
        }
    {
        return Ask::NotBefore(at);
    }
    if wish == Wish::Whole {
        return past_copies(InFull::Wanted);
    }
    if settings.mode == CacheMode::FreshOnly {
        return full(InFull::ByMode);
    }
    if !(200..300).contains(&stored.status) || stored.status == 206 {
        return full(InFull::NothingHeld);
    }
    match bound {
        Match::Same | Match::Beyond => {}
        Match::OtherCredential => return full(InFull::OtherCredential),
        Match::OtherFields => return full(InFull::OtherVariant),
    }
    if stored.content.is_none() {
        return full(InFull::NoBody);
    }
    if settings.force_full_ms > 0 && now.since_ms(stored.fetched_at) >= settings.force_full_ms {
        return past_copies(InFull::Forced);
    }
    let mut validators = stored.validators();
    if bound == Match::Beyond {
        // A date says nothing about which variant it is of; a tag names one (RFC 9111 section 4.3.1).
        validators.last_modified = None;
    }
    let mut headers = validators.conditions();
    if headers.is_empty() {
        return full(InFull::NoValidators);
    }
    if wish == Wish::Checked {
        // A copy on the way may be as fresh as ours and as old: it is to ask too (RFC 9111 section 5.2.1.1).
        headers.push(("cache-control", "max-age=0".to_owned()));
    }
    Ask::IfChanged(headers)
}

/// In full, and not from a copy on the way either (RFC 9111 section 5.2.1.4).
fn past_copies(why: InFull) -> Ask {
    Ask::InFull { why, headers: vec![("cache-control", "no-cache".to_owned())] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Headers;
    use crate::policy::cache::Variant;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const CAME: Timestamp = Timestamp(784_111_777_000);
    const HOUR_MS: u64 = 3_600_000;
    const PLAIN: Sent<'_> = Sent { method: Method::Get, credential: "", fields: &[] };

    fn stored(headers: &[(&str, &str)]) -> Stored {
        let headers = Headers::from_pairs(headers.iter().copied());
        Stored {
            status: 200,
            variant: Variant::of(&headers, &PLAIN),
            headers,
            requested_at: CAME,
            answered_at: CAME,
            fetched_at: CAME,
            content: Some([1; 32]),
            gone_at: None,
        }
    }

    /// In words, an hour after it came.
    fn asked(stored: Option<&Stored>, wish: Wish, settings: &CacheSettings) -> String {
        asked_as(stored, wish, &PLAIN, settings)
    }

    fn asked_as(stored: Option<&Stored>, wish: Wish, sent: &Sent<'_>, settings: &CacheSettings) -> String {
        let words = |headers: &[(&str, String)]| {
            headers.iter().map(|(name, value)| format!(" {name}: {value}")).collect::<String>()
        };
        match ask(stored, wish, sent, settings, CAME.plus_ms(HOUR_MS)) {
            Ask::NotBefore(at) => format!("not before {} s", at.since_ms(CAME) / 1_000),
            Ask::IfChanged(headers) => format!("if{}", words(&headers)),
            Ask::InFull { why, headers } => format!("{why:?}{}", words(&headers)),
        }
    }

    #[test]
    fn a_fresh_page_is_not_asked_for_a_stale_one_with_its_validators() {
        let (day, old) = (("cache-control", "max-age=86400"), ("cache-control", "max-age=60"));
        let immutable = ("cache-control", "max-age=86400, immutable");
        let tag = ("etag", "\"a\"");
        let mut table = Vec::new();
        for (name, stored) in [
            ("nothing", None),
            ("fresh", Some(stored(&[day, tag]))),
            ("fresh without validators", Some(stored(&[day]))),
            ("immutable", Some(stored(&[immutable, tag]))),
            ("fresh by guess", Some(stored(&[tag, ("last-modified", "Fri, 04 Nov 1994 08:49:37 GMT")]))),
            ("stale", Some(stored(&[old, tag]))),
            ("stale without validators", Some(stored(&[old]))),
            ("varies by more", Some(stored(&[day, tag, ("vary", "*")]))),
            ("gone", Some(Stored { status: 404, gone_at: Some(CAME), ..stored(&[tag]) })),
            ("not read whole", Some(Stored { content: None, ..stored(&[tag]) })),
            ("a part", Some(Stored { status: 206, ..stored(&[day, tag]) })),
            (
                "body of a month ago",
                Some(Stored { fetched_at: Timestamp(CAME.0 - 2_592_000_000), ..stored(&[old, tag]) }),
            ),
        ] {
            for wish in [Wish::Found, Wish::Due, Wish::Checked, Wish::Whole] {
                table.push(format!("{name}, {wish:?}: {}", asked(stored.as_ref(), wish, &CacheSettings::default())));
            }
        }
        insta::assert_snapshot!(table.join("\n"), @r#"
        nothing, Found: NothingHeld
        nothing, Due: NothingHeld
        nothing, Checked: NothingHeld
        nothing, Whole: NothingHeld
        fresh, Found: not before 86400 s
        fresh, Due: not before 86400 s
        fresh, Checked: if if-none-match: "a" cache-control: max-age=0
        fresh, Whole: Wanted cache-control: no-cache
        fresh without validators, Found: not before 86400 s
        fresh without validators, Due: not before 86400 s
        fresh without validators, Checked: NoValidators
        fresh without validators, Whole: Wanted cache-control: no-cache
        immutable, Found: not before 86400 s
        immutable, Due: not before 86400 s
        immutable, Checked: not before 86400 s
        immutable, Whole: Wanted cache-control: no-cache
        fresh by guess, Found: not before 17280 s
        fresh by guess, Due: if if-none-match: "a" if-modified-since: Fri, 04 Nov 1994 08:49:37 GMT
        fresh by guess, Checked: if if-none-match: "a" if-modified-since: Fri, 04 Nov 1994 08:49:37 GMT cache-control: max-age=0
        fresh by guess, Whole: Wanted cache-control: no-cache
        stale, Found: if if-none-match: "a"
        stale, Due: if if-none-match: "a"
        stale, Checked: if if-none-match: "a" cache-control: max-age=0
        stale, Whole: Wanted cache-control: no-cache
        stale without validators, Found: NoValidators
        stale without validators, Due: NoValidators
        stale without validators, Checked: NoValidators
        stale without validators, Whole: Wanted cache-control: no-cache
        varies by more, Found: if if-none-match: "a"
        varies by more, Due: if if-none-match: "a"
        varies by more, Checked: if if-none-match: "a" cache-control: max-age=0
        varies by more, Whole: Wanted cache-control: no-cache
        gone, Found: NothingHeld
        gone, Due: NothingHeld
        gone, Checked: NothingHeld
        gone, Whole: Wanted cache-control: no-cache
        not read whole, Found: NoBody
        not read whole, Due: NoBody
        not read whole, Checked: NoBody
        not read whole, Whole: Wanted cache-control: no-cache
        a part, Found: NothingHeld
        a part, Due: NothingHeld
        a part, Checked: NothingHeld
        a part, Whole: Wanted cache-control: no-cache
        body of a month ago, Found: Forced cache-control: no-cache
        body of a month ago, Due: Forced cache-control: no-cache
        body of a month ago, Checked: Forced cache-control: no-cache
        body of a month ago, Whole: Wanted cache-control: no-cache
        "#);
    }

    #[test]
    fn what_answered_another_request_is_not_asked_with() {
        let held = stored(&[("etag", "\"a\""), ("vary", "accept"), ("cache-control", "max-age=86400")]);
        let fields = [("accept".to_owned(), "text/html".to_owned())];
        let settings = CacheSettings::default();
        for (sent, expected) in [
            (Sent { fields: &fields, ..PLAIN }, "OtherVariant"),
            (Sent { credential: "gh", ..PLAIN }, "OtherCredential"),
            (Sent { method: Method::Post, ..PLAIN }, "NotGet"),
        ] {
            assert_eq!(asked_as(Some(&held), Wish::Found, &sent, &settings), expected);
        }
    }

    #[test]
    fn the_mode_decides_whether_freshness_and_conditions_count() {
        let fresh = stored(&[("cache-control", "max-age=86400"), ("etag", "\"a\"")]);
        let stale = stored(&[("cache-control", "max-age=60"), ("etag", "\"a\"")]);
        let mut table = Vec::new();
        for mode in [CacheMode::Revalidate, CacheMode::FreshOnly, CacheMode::Off] {
            let settings = CacheSettings { mode, ..CacheSettings::default() };
            let words = |stored| asked(Some(stored), Wish::Due, &settings);
            table.push(format!("{mode:?}: {}; stale: {}", words(&fresh), words(&stale)));
        }
        insta::assert_snapshot!(table.join("\n"), @r#"
        Revalidate: not before 86400 s; stale: if if-none-match: "a"
        FreshOnly: not before 86400 s; stale: ByMode
        Off: ByMode; stale: ByMode
        "#);
    }

    #[test]
    fn a_body_is_fetched_in_full_again_unless_the_user_never_wants_that() {
        let old = Stored { fetched_at: Timestamp(0), ..stored(&[("etag", "\"a\"")]) };
        for (force_full_ms, expected) in [
            (CAME.since_ms(Timestamp(0)), "Forced cache-control: no-cache"),
            (u64::MAX, "if if-none-match: \"a\""),
            (0, "if if-none-match: \"a\""),
        ] {
            let settings = CacheSettings { force_full_ms, ..CacheSettings::default() };
            assert_eq!(asked(Some(&old), Wish::Due, &settings), expected);
        }
    }

    #[test]
    fn with_vary_star_only_a_tag_is_asked_with() {
        let dated = ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT");
        let settings = CacheSettings::default();
        let both = stored(&[("etag", "\"a\""), dated, ("vary", "*")]);
        assert_eq!(asked(Some(&both), Wish::Due, &settings), "if if-none-match: \"a\"");
        assert_eq!(asked(Some(&stored(&[dated, ("vary", "*")])), Wish::Due, &settings), "NoValidators");
    }
}
