//! Pages by number and by position.

use super::ends::{Done, Ends};
use super::seen::{Seen, Sign};
use crate::interpret::api::Next;
use crate::interpret::notes::Notes;
use crate::job::Target;

/// Pages with numbers: 1, 2, 3. What is added or removed meanwhile moves records from page to page, so that some are missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageNumber {
    /// Where the number goes.
    pub send: Target,
    /// The number of the first page.
    pub start: u64,
}

/// Positions of records: 0, 100, 200. Moves on by the records that came, since servers give fewer than they are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offset {
    /// Where the position goes.
    pub send: Target,
    /// The position of the first record.
    pub start: u64,
}

impl PageNumber {
    pub(super) fn next(&self, seen: &Seen<'_>, ends: &Ends, notes: &mut Notes) -> Next {
        let number =
            seen.number_at(&self.send).unwrap_or_else(|| self.start.saturating_add(u64::from(seen.page_ordinal)));
        let pages = number.saturating_sub(self.start).saturating_add(1);
        // All pages but this one were full, unless the server gives fewer than `size` always. The first page shows that.
        let records = ends.size.map(|size| u64::from(size).saturating_mul(pages - 1).saturating_add(seen.records));
        let sign = ends.of_counted(seen, Done { records, pages: Some(pages), total: None }, notes);
        if sign == Sign::More && pages == 1 && ends.counts_wrong(seen) {
            return Next::Stop(format!(
                "the first page has {} records and not the `size` of a full page, though the total says that there are more: \
                 set `size` to what the server gives, or `stop` to what ends the stream",
                seen.records
            ));
        }
        match sign {
            Sign::End => Next::End,
            Sign::Torn(words) => Next::Stop(words),
            Sign::More | Sign::Open => seen.go_with(&self.send, &seen.number_for(&self.send, number.saturating_add(1))),
        }
    }
}

impl Offset {
    pub(super) fn next(&self, seen: &Seen<'_>, ends: &Ends, notes: &mut Notes) -> Next {
        let position = match seen.number_at(&self.send) {
            Some(position) => position,
            None if seen.page_ordinal == 0 => self.start,
            None => {
                return Next::Stop(format!("the request lacks its {}, so its position is not known", self.send));
            }
        };
        let next = position.saturating_add(seen.records);
        let records = Some(next.saturating_sub(self.start));
        match ends.of_counted(seen, Done { records, pages: None, total: None }, notes) {
            Sign::End => Next::End,
            Sign::Torn(words) => Next::Stop(words),
            Sign::More | Sign::Open => seen.go_with(&self.send, &seen.number_for(&self.send, next)),
        }
    }
}
