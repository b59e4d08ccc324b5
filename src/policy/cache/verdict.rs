//! What an answer means for what is held.

use crate::exchange::{BodyEnd, FetchError, Fetched, Outcome};

use super::ask::Ask;
use super::control::CacheControl;
use super::freshness::forbids_keeping;
use super::settings::CacheSettings;
use super::stored::{Change, ContentHash, Stored};
use super::variant::Sent;

/// What an answer means for what is held.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Body, fields and validators take the place of what was held, also when the content is the same: validators that are not
    /// sent any more must not be asked with again.
    Replace {
        /// What is held now.
        stored: Stored,
        /// How it compares to what was held.
        change: Change,
    },
    /// Nothing changed: the body that is held stays, its fields are updated.
    Unchanged {
        /// What is held now.
        stored: Stored,
    },
    /// The page is gone: what was held is kept under a tombstone.
    Gone {
        /// What is held now.
        stored: Stored,
        /// [`Change::Gone`], or [`Change::Unchanged`] when it was gone or never there.
        change: Change,
    },
    /// It was sent and may be read, but nothing of it may be kept, and what was held is out of date.
    Discard {
        /// How it compares to what was held.
        change: Change,
    },
    /// The server says that nothing changed, but not since what is held. Ask again with [`super::Wish::Whole`]: that is
    /// unconditional, and a 304 to it is a failure, so this comes at most once.
    AskInFull(&'static str),
    /// The attempt failed: what is held stays as it is, and the job is tried again or ends by its own rules.
    Keep {
        /// Whether what is held may stand for the page until then (RFC 9111 section 4.2.4); false when nothing is held.
        may_stand: bool,
    },
}

/// Judges the answer to a request that was asked as `ask` said. `content` is the hash of what counts as the page's content; it
/// is only looked at when the body is whole.
pub fn judge(
    stored: Option<&Stored>,
    ask: &Ask,
    sent: &Sent<'_>,
    result: &Result<Fetched, FetchError>,
    content: ContentHash,
    settings: &CacheSettings,
) -> Verdict {
    let Ok(fetched) = result else { return keep(stored, result) };
    if fetched.status == 304 {
        return not_modified(stored, ask, sent, fetched, settings);
    }
    match Outcome::of(result) {
        Outcome::Served | Outcome::Redirected => {
            let content = (fetched.body_end == BodyEnd::Whole).then_some(content);
            let now = Stored::of(fetched, sent, content);
            let change = now.change_from(stored);
            if is_forbidden(&now, settings) {
                Verdict::Discard { change }
            } else {
                Verdict::Replace { stored: now, change }
            }
        }
        Outcome::Gone => {
            let was_there = stored.is_some_and(|stored| stored.gone_at.is_none());
            let change = if was_there { Change::Gone } else { Change::Unchanged };
            Verdict::Gone { stored: Stored::tombstone(stored, fetched, sent), change }
        }
        Outcome::Refused
        | Outcome::Overloaded
        | Outcome::Rejected
        | Outcome::Broken
        | Outcome::Unreachable
        | Outcome::Silent
        | Outcome::Impossible
        | Outcome::Unsent
        | Outcome::Stopped => keep(stored, result),
    }
}

fn not_modified(
    stored: Option<&Stored>,
    ask: &Ask,
    sent: &Sent<'_>,
    fetched: &Fetched,
    settings: &CacheSettings,
) -> Verdict {
    if !matches!(ask, Ask::IfChanged(_)) {
        return Verdict::Keep { may_stand: false };
    }
    let Some(stored) = stored.filter(|stored| stored.content.is_some() && stored.gone_at.is_none()) else {
        return Verdict::AskInFull("its 304 confirms a body that is not held");
    };
    if let Err(why) = stored.validators().confirmed_by(&fetched.headers) {
        return Verdict::AskInFull(why);
    }
    let now = stored.confirmed(fetched, sent);
    if is_forbidden(&now, settings) {
        Verdict::Discard { change: Change::Unchanged }
    } else {
        Verdict::Unchanged { stored: now }
    }
}

fn keep(stored: Option<&Stored>, result: &Result<Fetched, FetchError>) -> Verdict {
    let may_stand = stored.is_some_and(|stored| match result {
        Ok(fetched) => {
            matches!(fetched.status, 500 | 502 | 503 | 504) && stored.may_stand_after_error(fetched.answered_at)
        }
        Err(_) => stored.may_stand_without_answer(),
    });
    Verdict::Keep { may_stand }
}

fn is_forbidden(stored: &Stored, settings: &CacheSettings) -> bool {
    settings.strict_no_store && forbids_keeping(&CacheControl::of(&stored.headers), stored.status)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use url::Url;

    use super::*;
    use crate::clock::Timestamp;
    use crate::exchange::{Headers, Via};
    use crate::job::Method;
    use crate::policy::cache::{Variant, Wish, ask};

    const CAME: Timestamp = Timestamp(784_111_777_000);
    const DAY_MS: u64 = 86_400_000;
    const PLAIN: Sent<'_> = Sent { method: Method::Get, credential: "", fields: &[] };

    #[expect(clippy::unnecessary_wraps, reason = "it is what a fetch returns")]
    fn answer(status: u16, headers: &[(&str, &str)], at: Timestamp) -> Result<Fetched, FetchError> {
        let body_end = BodyEnd::Whole;
        let (url, body) = (Url::parse("http://a.org/").expect("a test address parses"), Bytes::new());
        let headers = Headers::from_pairs(headers.iter().copied());
        Ok(Fetched {
            url,
            status,
            headers,
            body,
            body_end,
            via: Via::default(),
            sent_at: at,
            answered_at: at,
            finished_at: at,
        })
    }

    fn cut(result: Result<Fetched, FetchError>, end: BodyEnd) -> Result<Fetched, FetchError> {
        result.map(|fetched| Fetched { body_end: end, ..fetched })
    }

    /// What is held after a page with the content 1 came.
    fn held(headers: &[(&str, &str)]) -> Stored {
        let ask = Ask::InFull { why: crate::policy::cache::InFull::NothingHeld, headers: Vec::new() };
        match judge(None, &ask, &PLAIN, &answer(200, headers, CAME), [1; 32], &CacheSettings::default()) {
            Verdict::Replace { stored, change: Change::New } => stored,
            other => panic!("a first answer is kept: {other:?}"),
        }
    }

    fn judged(
        stored: Option<&Stored>,
        result: &Result<Fetched, FetchError>,
        content: u8,
        settings: &CacheSettings,
    ) -> Verdict {
        let ask = ask(stored, Wish::Checked, &PLAIN, settings, CAME.plus_ms(DAY_MS));
        judge(stored, &ask, &PLAIN, result, [content; 32], settings)
    }

    fn words(verdict: &Verdict) -> String {
        match verdict {
            Verdict::Replace { stored, change } => {
                format!("replace ({change:?}), {} conditions", stored.validators().conditions().len())
            }
            Verdict::Unchanged { stored } => format!("unchanged, {} fields", stored.headers.iter().count()),
            Verdict::Gone { change, .. } => format!("gone ({change:?})"),
            Verdict::Discard { change } => format!("discard ({change:?})"),
            Verdict::AskInFull(why) => format!("ask in full: {why}"),
            Verdict::Keep { may_stand } => format!("keep, {} stand", if *may_stand { "may" } else { "may not" }),
        }
    }

    #[test]
    fn every_answer_means_one_thing_for_what_is_held() {
        let at = CAME.plus_ms(DAY_MS);
        let held = held(&[
            ("etag", "\"a\""),
            ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT"),
            ("cache-control", "max-age=60"),
        ]);
        let gone = Stored { status: 410, gone_at: Some(CAME), ..held.clone() };
        let mut table = Vec::new();
        for (name, result, content) in [
            ("200 with other content", answer(200, &[("etag", "\"b\"")], at), 2),
            ("200 with the same content", answer(200, &[], at), 1),
            ("200 too large", cut(answer(200, &[("etag", "\"b\"")], at), BodyEnd::TooLarge { bytes_max: 5 }), 2),
            (
                "200 too large, same tag",
                cut(answer(200, &[("etag", "\"a\"")], at), BodyEnd::TooLarge { bytes_max: 5 }),
                2,
            ),
            ("200 cut", cut(answer(200, &[], at), BodyEnd::Cut { cause: "reset".to_owned() }), 2),
            ("301", answer(301, &[("location", "/b")], at), 0),
            ("301 to nowhere", answer(301, &[], at), 0),
            ("304", answer(304, &[("x-new", "1")], at), 0),
            ("304 of another tag", answer(304, &[("etag", "\"b\"")], at), 0),
            ("401", answer(401, &[], at), 0),
            ("404", answer(404, &[], at), 0),
            ("410", answer(410, &[], at), 0),
            ("429", answer(429, &[], at), 0),
            ("500", answer(500, &[], at), 0),
            ("500 soon", answer(500, &[], CAME.plus_ms(61_000)), 0),
            ("403 soon", answer(403, &[], CAME.plus_ms(61_000)), 0),
            ("503", answer(503, &[], at), 0),
            ("no answer", Err(FetchError::Connect("refused".to_owned())), 0),
        ] {
            for (state, stored) in [("held", Some(&held)), ("gone", Some(&gone)), ("nothing", None)] {
                let verdict = judged(stored, &result, content, &CacheSettings::default());
                table.push(format!("{name}, {state}: {}", words(&verdict)));
            }
        }
        insta::assert_snapshot!(table.join("\n"), @"
        200 with other content, held: replace (Changed), 1 conditions
        200 with other content, gone: replace (New), 1 conditions
        200 with other content, nothing: replace (New), 1 conditions
        200 with the same content, held: replace (Unchanged), 0 conditions
        200 with the same content, gone: replace (New), 0 conditions
        200 with the same content, nothing: replace (New), 0 conditions
        200 too large, held: replace (Changed), 1 conditions
        200 too large, gone: replace (New), 1 conditions
        200 too large, nothing: replace (New), 1 conditions
        200 too large, same tag, held: replace (Unchanged), 1 conditions
        200 too large, same tag, gone: replace (New), 1 conditions
        200 too large, same tag, nothing: replace (New), 1 conditions
        200 cut, held: keep, may not stand
        200 cut, gone: keep, may not stand
        200 cut, nothing: keep, may not stand
        301, held: replace (Changed), 0 conditions
        301, gone: replace (New), 0 conditions
        301, nothing: replace (New), 0 conditions
        301 to nowhere, held: keep, may not stand
        301 to nowhere, gone: keep, may not stand
        301 to nowhere, nothing: keep, may not stand
        304, held: unchanged, 4 fields
        304, gone: keep, may not stand
        304, nothing: keep, may not stand
        304 of another tag, held: ask in full: its 304 names another ETag
        304 of another tag, gone: keep, may not stand
        304 of another tag, nothing: keep, may not stand
        401, held: keep, may not stand
        401, gone: keep, may not stand
        401, nothing: keep, may not stand
        404, held: gone (Gone)
        404, gone: gone (Unchanged)
        404, nothing: gone (Unchanged)
        410, held: gone (Gone)
        410, gone: gone (Unchanged)
        410, nothing: gone (Unchanged)
        429, held: keep, may not stand
        429, gone: keep, may not stand
        429, nothing: keep, may not stand
        500, held: keep, may not stand
        500, gone: keep, may not stand
        500, nothing: keep, may not stand
        500 soon, held: keep, may not stand
        500 soon, gone: keep, may not stand
        500 soon, nothing: keep, may not stand
        403 soon, held: keep, may not stand
        403 soon, gone: keep, may not stand
        403 soon, nothing: keep, may not stand
        503, held: keep, may not stand
        503, gone: keep, may not stand
        503, nothing: keep, may not stand
        no answer, held: keep, may stand
        no answer, gone: keep, may stand
        no answer, nothing: keep, may not stand
        ");
    }

    #[test]
    fn a_304_without_validators_keeps_the_body_and_brings_its_fields() {
        let held = held(&[
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("age", "50"),
            ("etag", "\"a\""),
            ("cache-control", "max-age=60"),
            ("content-type", "text/html"),
            ("vary", "accept"),
        ]);
        let at = CAME.plus_ms(DAY_MS);
        let brought = [
            ("cache-control", "max-age=7200"),
            ("x-new", "1"),
            ("content-type", "text/plain"),
            ("connection", "close"),
        ];
        let Verdict::Unchanged { stored } =
            judged(Some(&held), &answer(304, &brought, at), 0, &CacheSettings::default())
        else {
            panic!("a 304 without validators means what was asked with");
        };
        let fields: Vec<_> = stored.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(
            fields,
            ["etag: \"a\"", "content-type: text/html", "vary: accept", "cache-control: max-age=7200", "x-new: 1"]
        );
        assert_eq!((stored.content, stored.fetched_at, stored.answered_at), (Some([1; 32]), CAME, at));
        // Neither the old Date nor the old Age makes the confirmed answer old.
        assert_eq!(stored.freshness(DAY_MS).explicit_left_ms(at), 7_200_000);
    }

    #[test]
    fn a_304_may_bring_another_vary_and_binds_the_answer_anew() {
        let held = held(&[("etag", "\"a\"")]);
        let fields = [("accept".to_owned(), "text/html".to_owned())];
        let sent = Sent { fields: &fields, ..PLAIN };
        let conditional = Ask::IfChanged(held.validators().conditions());
        let answer = answer(304, &[("vary", "accept")], CAME.plus_ms(DAY_MS));
        let settings = CacheSettings::default();
        let Verdict::Unchanged { stored } = judge(Some(&held), &conditional, &sent, &answer, [0; 32], &settings) else {
            panic!("nothing changed");
        };
        assert_eq!(stored.variant, Variant::of(&stored.headers, &sent));
        assert_ne!(stored.variant, held.variant);
    }

    #[test]
    fn validators_that_are_not_sent_any_more_are_not_asked_with_again() {
        let held = held(&[("etag", "\"a\"")]);
        // The same content: what is held changes all the same.
        let verdict = judged(Some(&held), &answer(200, &[], CAME.plus_ms(DAY_MS)), 1, &CacheSettings::default());
        let Verdict::Replace { stored, change: Change::Unchanged } = verdict else { panic!("{verdict:?}") };
        assert!(stored.validators().is_empty());
    }

    #[test]
    fn a_304_that_cannot_be_used_is_followed_by_one_request_in_full() {
        let held = held(&[("etag", "\"a\"")]);
        let at = CAME.plus_ms(DAY_MS);
        let settings = CacheSettings::default();
        let odd = answer(304, &[("etag", "\"b\"")], at);
        assert!(matches!(judged(Some(&held), &odd, 0, &settings), Verdict::AskInFull(_)));
        let again = ask(Some(&held), Wish::Whole, &PLAIN, &settings, at);
        assert!(matches!(again, Ask::InFull { .. }));
        assert_eq!(judge(Some(&held), &again, &PLAIN, &odd, [0; 32], &settings), Verdict::Keep { may_stand: false });
    }

    #[test]
    fn a_304_for_a_body_that_was_lost_meanwhile_is_asked_in_full() {
        let conditional = Ask::IfChanged(vec![("if-none-match", "\"a\"".to_owned())]);
        let lost = Stored { content: None, ..held(&[("etag", "\"a\"")]) };
        for stored in [None, Some(&lost)] {
            let verdict =
                judge(stored, &conditional, &PLAIN, &answer(304, &[], CAME), [0; 32], &CacheSettings::default());
            assert_eq!(verdict, Verdict::AskInFull("its 304 confirms a body that is not held"));
        }
    }

    #[test]
    fn a_tombstone_remembers_since_when_and_what_was_there_and_a_page_that_comes_back_is_new() {
        let held = held(&[("etag", "\"a\"")]);
        let settings = CacheSettings::default();
        let (first, second) = (CAME.plus_ms(DAY_MS), CAME.plus_ms(2 * DAY_MS));
        let Verdict::Gone { stored, change: Change::Gone } =
            judged(Some(&held), &answer(404, &[], first), 0, &settings)
        else {
            panic!("it was there");
        };
        assert_eq!((stored.gone_at, stored.content, stored.fetched_at), (Some(first), Some([1; 32]), CAME));
        let verdict = judged(Some(&stored), &answer(410, &[], second), 0, &settings);
        let Verdict::Gone { stored, change: Change::Unchanged } = verdict else { panic!("it was gone: {verdict:?}") };
        assert_eq!((stored.gone_at, stored.status), (Some(first), 410));
        let verdict = judged(Some(&stored), &answer(200, &[], second), 1, &settings);
        let Verdict::Replace { stored, change: Change::New } = verdict else { panic!("it is back: {verdict:?}") };
        assert_eq!(stored.gone_at, None);
    }

    #[test]
    fn a_redirect_changes_with_where_it_leads() {
        let settings = CacheSettings::default();
        let held = held(&[]);
        let to = |location| answer(301, &[("location", location)], CAME);
        let Verdict::Replace { stored, change: Change::Changed } = judged(Some(&held), &to("/b"), 7, &settings) else {
            panic!("a page became a redirect");
        };
        assert_eq!(words(&judged(Some(&stored), &to("/b"), 8, &settings)), "replace (Unchanged), 0 conditions");
        assert_eq!(words(&judged(Some(&stored), &to("/c"), 7, &settings)), "replace (Changed), 0 conditions");
    }

    #[test]
    fn what_says_no_store_is_kept_with_its_validators_unless_the_user_is_strict() {
        let no_store = [("cache-control", "no-cache, no-store"), ("etag", "\"a\"")];
        let first = answer(200, &no_store, CAME);
        let strict = CacheSettings { strict_no_store: true, ..CacheSettings::default() };
        assert_eq!(judged(None, &first, 1, &strict), Verdict::Discard { change: Change::New });
        let held = held(&no_store);
        // As Kinto does it: always asked, and 304.
        assert_eq!(
            ask(Some(&held), Wish::Found, &PLAIN, &CacheSettings::default(), CAME),
            Ask::IfChanged(vec![("if-none-match", "\"a\"".to_owned())])
        );
        let unchanged = answer(304, &no_store, CAME);
        assert_eq!(words(&judged(Some(&held), &unchanged, 0, &CacheSettings::default())), "unchanged, 2 fields");
        assert_eq!(judged(Some(&held), &unchanged, 0, &strict), Verdict::Discard { change: Change::Unchanged });
    }
}
