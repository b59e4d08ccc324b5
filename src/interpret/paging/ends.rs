//! What ends a stream, beside the sign that its way of paging has itself.

use super::seen::{Seen, Sign, as_count, truth_of};
use crate::interpret::answer_at::AnswerAt;
use crate::interpret::notes::Notes;

/// What tells the last page.
///
/// Where the user names no signs in `stop`, the surest that there is decides:
/// - `has_more`, where it is told: no ends the stream, yes leads on, and yes on an empty page of a counted stream stops it
///   aloud, since one of the two is wrong.
/// - An empty page ends a counted stream.
/// - A short page does, where `size` is known, unless a total says that records are left: servers give fewer than they are
///   asked for.
/// - A total does where `size` is not known. Where it is, a full page leads on whatever the total says: many totals are
///   capped, estimated, or the count of the page. One request more is the price.
///
/// Counted are pages by number, offset, range and keyset. The others end where their address or cursor does, and
/// beside that only by `has_more` and by what `stop` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Records of a full page, as the server gives them, before any filter; none when it is not known.
    pub size: Option<u32>,
    /// Where the answer says how many records there are.
    pub total: Option<AnswerAt>,
    /// Where the answer says how many pages there are.
    pub total_pages: Option<AnswerAt>,
    /// Where the answer says whether there is more; where nothing is, it says no.
    pub has_more: Option<AnswerAt>,
    /// The signs of which each ends the stream, and no other does; none for what is told above.
    pub stop: Option<Vec<StopSign>>,
}

/// A sign of the last page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSign {
    /// It has no records.
    Empty,
    /// It has fewer than `size`.
    Short,
    /// As many records, or pages, came as there are said to be.
    Total,
    /// The answer says that there is no more.
    HasMore,
}

/// How far a counted stream has come with this page.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    /// Records up to the end of this page; none when pages are counted and their size is not known.
    pub records: Option<u64>,
    /// Pages with this one; none when records are counted.
    pub pages: Option<u64>,
    /// What the protocol itself says of the number of records (`Content-Range`); none where only `total` can.
    pub total: Option<u64>,
}

impl Ends {
    /// What the signs say of a stream that is led on by its answers.
    pub(super) fn of_led(&self, seen: &Seen<'_>, notes: &mut Notes) -> Sign {
        let has_more = self.has_more(seen, notes);
        let ends = |sign: &StopSign| match sign {
            StopSign::Empty => seen.records == 0,
            StopSign::Short => self.is_short(seen) == Some(true),
            StopSign::HasMore => has_more == Some(false),
            StopSign::Total => false,
        };
        let is_end = match &self.stop {
            Some(named) => named.iter().any(ends),
            None => has_more == Some(false),
        };
        match (is_end, has_more) {
            (true, _) => Sign::End,
            (false, Some(true)) => Sign::More,
            _ => Sign::Open,
        }
    }

    /// What the signs say of a counted stream.
    pub(super) fn of_counted(&self, seen: &Seen<'_>, done: Done, notes: &mut Notes) -> Sign {
        let has_more = self.has_more(seen, notes);
        let (empty, short) = (seen.records == 0, self.is_short(seen));
        let total = self.total(seen, done);
        if let Some(named) = &self.stop {
            let names = |sign| named.contains(&sign);
            let ends = empty && names(StopSign::Empty)
                || short == Some(true) && names(StopSign::Short)
                || matches!(total, Total::Reached | Total::Passed(_)) && names(StopSign::Total)
                || has_more == Some(false) && names(StopSign::HasMore);
            let leads_on =
                total == Total::Left && names(StopSign::Total) || has_more == Some(true) && names(StopSign::HasMore);
            return if ends || empty && !leads_on { Sign::End } else { Sign::More };
        }
        if let Some(has_more) = has_more {
            return match (has_more, empty) {
                (false, _) => Sign::End,
                (true, false) => Sign::More,
                (true, true) => Sign::Torn(
                    "the page has no records, yet `has_more` says that there is more: name the one to believe, \
                     stop = [\"empty\"] or stop = [\"has_more\"]"
                        .to_owned(),
                ),
            };
        }
        if empty {
            if total == Total::Left {
                notes.add("the last page is empty, though fewer records came than the total says");
            }
            return Sign::End;
        }
        match (total, short) {
            (Total::Reached, Some(true) | None) | (Total::Unknown, Some(true)) => Sign::End,
            (Total::Passed(total), _) => {
                notes.add(format!("more records came than the total says ({total})"));
                Sign::More
            }
            _ => Sign::More,
        }
    }

    fn is_short(&self, seen: &Seen<'_>) -> Option<bool> {
        self.size.map(|size| seen.records < u64::from(size))
    }

    fn has_more(&self, seen: &Seen<'_>, notes: &mut Notes) -> Option<bool> {
        let at = self.has_more.as_ref()?;
        let value = at.value(seen.fetched, seen.document);
        // Some APIs leave out a flag that is false; some users mistype its name.
        if value.is_none() {
            notes.add(format!("nothing is at `has_more` ({at}): taken for a no"));
        }
        Some(truth_of(value.as_ref()))
    }

    /// Whether `total` is held against a count by pages of `size`, and this page shows that such a count goes wrong.
    pub(super) fn counts_wrong(&self, seen: &Seen<'_>) -> bool {
        self.stop.is_none() && self.has_more.is_none() && self.total.is_some() && self.is_short(seen) == Some(true)
    }

    /// What the totals say.
    fn total(&self, seen: &Seen<'_>, done: Done) -> Total {
        let count = |at: &Option<AnswerAt>| as_count(&at.as_ref()?.value(seen.fetched, seen.document)?);
        let records = count(&self.total).or(done.total);
        match (done.pages.zip(count(&self.total_pages)), done.records.zip(records)) {
            (Some((done, total)), _) if done < total => Total::Left,
            (Some(_), _) => Total::Reached,
            (None, Some((done, total))) if done < total => Total::Left,
            (None, Some((done, total))) if done == total => Total::Reached,
            (None, Some((_, total))) => Total::Passed(total),
            (None, None) => Total::Unknown,
        }
    }
}

/// What a total says of the records, or pages, that came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Total {
    Unknown,
    Left,
    Reached,
    /// More came than this, so it is wrong.
    Passed(u64),
}
