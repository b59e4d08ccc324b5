//! By `Range` and `Content-Range` in units of records (RFC 9110 section 14; PostgREST, and others with `items=0-24`).

use serde_json::Value;

use super::ends::{Done, Ends};
use super::seen::{Seen, Sign};
use crate::interpret::api::Next;
use crate::interpret::notes::Notes;
use crate::job::{Call, Target};

/// 416 Range Not Satisfiable (RFC 9110 section 15.5.17): the range starts behind the last record.
pub(super) const NOT_SATISFIABLE: u16 = 416;

/// The next page starts behind the last record that `Content-Range` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemRange {
    /// The unit, `items` for `Range: items=0-24`; empty for `Range: 0-24`, as PostgREST wants it.
    pub unit: String,
}

/// What a `Content-Range` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContentRange {
    /// These records, the last included, of so many.
    Part { first: u64, last: u64, total: Option<u64> },
    /// None: `*/17`.
    Nothing,
}

impl ItemRange {
    /// Asks for the records from `first` on, `size` of them or as many as the server gives.
    pub(super) fn ask(&self, call: &mut Call, first: u64, size: Option<u32>) {
        let range = self.range(first, size);
        call.set(&target(), &Value::String(range));
    }

    fn range(&self, first: u64, size: Option<u32>) -> String {
        let last = size.map(|size| first.saturating_add(u64::from(size).saturating_sub(1)).to_string());
        let sign = if self.unit.is_empty() { "" } else { "=" };
        format!("{}{sign}{first}-{}", self.unit, last.unwrap_or_default())
    }

    pub(super) fn next(&self, seen: &Seen<'_>, ends: &Ends, notes: &mut Notes) -> Next {
        if seen.fetched.status == NOT_SATISFIABLE {
            return Next::End;
        }
        let said = seen.fetched.headers.get("content-range").map(|text| (text, parse(text)));
        let (first, last, total) = match said {
            Some((_, Some(ContentRange::Part { first, last, total }))) => (first, last, total),
            Some((_, Some(ContentRange::Nothing))) => return Next::End,
            Some((text, None)) => return Next::Stop(format!("its Content-Range cannot be read: {text:?}")),
            None if seen.records == 0 => return Next::End,
            None => {
                return Next::Stop(
                    "the answer has no Content-Range, so the server does not page by Range: if this is all that there is, \
                     set paginate = \"none\""
                        .to_owned(),
                );
            }
        };
        let asked = seen.call.value_at(&target()).and_then(|value| asked_from(value.as_str()?)).unwrap_or_default();
        if first != asked {
            return Next::Stop(format!("the records from {asked} on were asked for, and those from {first} on came"));
        }
        let next = last.saturating_add(1);
        match ends.of_counted(seen, Done { records: Some(next), pages: None, total }, notes) {
            Sign::End => Next::End,
            Sign::Torn(words) => Next::Stop(words),
            Sign::More | Sign::Open => seen.go_with(&target(), &Value::String(self.range(next, ends.size))),
        }
    }
}

fn target() -> Target {
    Target::Header("range".to_owned())
}

/// The first record of a range that was asked for.
fn asked_from(range: &str) -> Option<u64> {
    let range = range.split_once('=').map_or(range, |(_, range)| range);
    range.split_once('-')?.0.trim().parse().ok()
}

/// Reads `items 0-24/100`, `0-24/*` or `*/0`.
fn parse(text: &str) -> Option<ContentRange> {
    let range = text.trim().rsplit(' ').next()?;
    let (part, total) = range.split_once('/')?;
    if part == "*" {
        return Some(ContentRange::Nothing);
    }
    let (first, last) = part.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    (last >= first).then_some(ContentRange::Part { first, last, total })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_content_range_is_read_with_and_without_its_unit() {
        let part = |first, last, total| Some(ContentRange::Part { first, last, total });
        for (text, expected) in [
            ("items 0-24/100", part(0, 24, Some(100))),
            ("0-24/*", part(0, 24, None)),
            ("  0-0/1 ", part(0, 0, Some(1))),
            ("*/0", Some(ContentRange::Nothing)),
            ("items */*", Some(ContentRange::Nothing)),
            ("", None),
            ("items", None),
            ("24-0/100", None),
            ("0-24", None),
            ("0-x/1", None),
            ("0-24/many", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_range_is_asked_for_with_and_without_its_unit() {
        let range = |unit: &str, first, size| ItemRange { unit: unit.to_owned() }.range(first, size);
        assert_eq!(range("items", 0, Some(25)), "items=0-24");
        assert_eq!(range("", 25, Some(25)), "25-49");
        assert_eq!(range("items", 7, None), "items=7-");
    }

    proptest! {
        #[test]
        fn what_was_asked_for_is_known_again(unit in "[a-z]{0,6}", first in any::<u64>(), size in proptest::option::of(1_u32..)) {
            prop_assert_eq!(asked_from(&ItemRange { unit }.range(first, size)), Some(first));
        }

        #[test]
        fn any_content_range_is_read_without_panic(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
