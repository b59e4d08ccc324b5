//! The gate of what a server declares: quotas, counted down by our own sends until it declares anew.
//!
//! Enters: each send, and the [`Hints`] of each answer. Leaves: the earliest instant of the next send, a pace, a number at once,
//! and words for people. Deliberately absent: Retry-After, refusals without a quota behind them, and anything inferred; those
//! are the gate's and the learner's. The slower of what is declared and what is inferred holds.
//!
//! How a quota is kept. A server says what was left *when it answered*, while other requests of ours were on the way to it. So
//! what may still be sent is what it said, less the requests that are in flight: whatever order the server took them in, they are
//! charged at most once. Of two answers that overlapped, the one that says less is the later one; of two that did not, the
//! one whose request was sent after the other's answer had come. Where a quota is spent, nothing is sent before it resets, plus
//! [`GUARD_MS`].

mod known;
mod saved;
mod sliding;
mod words;

#[cfg(test)]
mod fact_tests;
#[cfg(test)]
mod server_tests;
#[cfg(test)]
mod sliding_tests;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

use super::Hints;
use known::{Known, View};
use saved::SavedQuota;

/// How long after a reset the next request goes, in ms. Discordgo's 250: the least that brought it no refusal in a thousand.
pub const GUARD_MS: u64 = 250;
/// Quotas of one scope that are kept; of more, the tightest are. Known servers declare up to seven, of which two or three
/// matter.
const KNOWN_MAX: usize = 4;
const OFFSET_UNKNOWN: i64 = i64::MIN;

/// The declared quotas of one limit scope. Takes 24 bytes while none is known, and about 140 more for one.
///
/// Feed it with the answers of its own scope only: a resource of the same host (`x-ratelimit-resource`) has quotas of its own.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Declared {
    /// Sends so far: the index of the next one.
    sent: u64,
    /// Sends that have come back in no way yet.
    in_flight: u32,
    /// Refusals of requests that were sent before this index belong to an event that is known; modulo 2^32.
    event_idx: u32,
    book: Option<Box<Book>>,
}

/// What is kept once a quota is known.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Book {
    quotas: Vec<Known>,
    /// The server's clock minus ours, in ms: the greatest that was seen of late, since `Date` and the way back only make it
    /// smaller. [`OFFSET_UNKNOWN`] before the first answer with a `Date`.
    offset_ms: i64,
}

impl Default for Book {
    fn default() -> Self {
        Self { quotas: Vec::new(), offset_ms: OFFSET_UNKNOWN }
    }
}

/// [`Declared`] as it is stored. Instants are absolute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeclaredSnapshot {
    /// The quotas, at most four.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    quotas: Vec<SavedQuota>,
}

impl DeclaredSnapshot {
    /// Whether nothing was declared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.quotas.is_empty()
    }

    /// The quotas in words, as [`Declared::words`] has them at `now`.
    #[must_use]
    pub fn words(&self, now: Timestamp) -> Vec<String> {
        Declared::restore(self, now).words(now)
    }
}

impl Declared {
    /// Counts a request that is sent now. Its index comes back with what became of it: each index goes to exactly one of
    /// [`Self::on_answer`], [`Self::on_refusal`] and [`Self::on_lost`].
    pub fn on_sent(&mut self, now: Timestamp) -> u64 {
        if let Some(book) = &mut self.book {
            book.quotas.iter_mut().for_each(|quota| quota.on_sent(now));
        }
        let idx = self.sent;
        self.sent += 1;
        self.in_flight += 1;
        idx
    }

    /// An answer that is no refusal, whatever its status. A quota that it does not mention is not charged with it: servers
    /// declare what they charge (not for files, not for answers out of a cache).
    pub fn on_answer(&mut self, sent_idx: u64, hints: &Hints, now: Timestamp) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.take_in(sent_idx, hints, now);
    }

    /// A refusal. One that comes twice while a quota has something left is not that quota's: a second limit stands behind it.
    pub fn on_refusal(&mut self, sent_idx: u64, hints: &Hints, now: Timestamp) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.take_in(sent_idx, hints, now);
        let Some(book) = &mut self.book else { return };
        if known::is_since(sent_idx, self.event_idx) {
            self.event_idx = known::short(self.sent);
            for quota in &mut book.quotas {
                quota.on_refusal(now);
            }
        }
    }

    /// A request that brought no answer: the server may have charged it.
    pub fn on_lost(&mut self, _sent_idx: u64) {
        self.in_flight = self.in_flight.saturating_sub(1);
        for quota in self.book.iter_mut().flat_map(|book| &mut book.quotas) {
            quota.on_lost();
        }
    }

    /// Forgets all quotas; what is in flight stays counted.
    pub fn forget(&mut self) {
        self.book = None;
    }

    /// The earliest instant at which one more request keeps all declared quotas; it has passed when one may go now. While only
    /// an answer can tell, it is a moment from now: ask again when one has come, or then.
    #[must_use]
    pub fn next_at(&self, now: Timestamp) -> Timestamp {
        let view = self.view(now);
        self.known().map(|quota| quota.next_at(view)).max().unwrap_or(Timestamp::EPOCH)
    }

    /// The pace that spreads what is left until the reset, in requests a second, without a margin. None when nothing calls for
    /// one: windows longer than two minutes are used as fast as the server bears.
    #[must_use]
    pub fn rate(&self, now: Timestamp) -> Option<f64> {
        let view = self.view(now);
        self.known().filter_map(|quota| quota.rate(view)).min_by(f64::total_cmp)
    }

    /// How many requests at once the server allows, at least 1; none when it does not say.
    #[must_use]
    pub fn at_once(&self) -> Option<u32> {
        self.known().filter_map(Known::at_once).min()
    }

    /// Whether a declared quota is what refuses, as far as is known. False when nothing is declared, and when requests were
    /// refused while all quotas had something left.
    #[must_use]
    pub fn is_binding(&self) -> bool {
        self.known().any(Known::is_binding)
    }

    /// The quotas in words, one a text: `core 4 812 of 5 000 left, resets in 14 min`.
    #[must_use]
    pub fn words(&self, now: Timestamp) -> Vec<String> {
        let view = self.view(now);
        self.known().map(|quota| quota.describe(view)).collect()
    }

    /// The quotas in words that were not told yet; what was known before a restart is no news.
    pub fn take_news(&mut self, now: Timestamp) -> Option<String> {
        let view = self.view(now);
        let quotas = self.book.iter_mut().flat_map(|book| &mut book.quotas);
        let words: Vec<String> = quotas
            .filter_map(|quota| (!std::mem::replace(&mut quota.is_told, true)).then(|| quota.describe(view)))
            .collect();
        (!words.is_empty()).then(|| words.join("; "))
    }

    /// What outlives the process. Requests in flight count as charged: after a crash nobody will tell.
    #[must_use]
    pub fn save(&self) -> DeclaredSnapshot {
        DeclaredSnapshot { quotas: self.known().map(|quota| quota.save(self.in_flight)).collect() }
    }

    /// Goes on from what was saved. What a clock that went wrong left behind is forgotten.
    #[must_use]
    pub fn restore(snapshot: &DeclaredSnapshot, now: Timestamp) -> Self {
        let quotas: Vec<Known> =
            snapshot.quotas.iter().take(KNOWN_MAX).filter_map(|saved| Known::restore(saved, now)).collect();
        let book = (!quotas.is_empty()).then(|| Box::new(Book { quotas, ..Book::default() }));
        Self { book, ..Self::default() }
    }

    fn known(&self) -> impl Iterator<Item = &Known> {
        self.book.iter().flat_map(|book| &book.quotas)
    }

    fn view(&self, now: Timestamp) -> View {
        View { now, sent: self.sent, in_flight: self.in_flight }
    }

    fn take_in(&mut self, sent_idx: u64, hints: &Hints, now: Timestamp) {
        if hints.quotas.is_empty() && self.book.is_none() {
            return;
        }
        let view = self.view(now);
        let book = self.book.get_or_insert_default();
        let ahead_ms = book.learn_offset(hints.server_offset_ms);
        for quota in &hints.quotas {
            // An absolute reset was judged by this answer's `Date`, which has whole seconds; the best offset is nearer the truth.
            let reset_at = match quota.reset_at {
                Some(at) if quota.is_reset_absolute => Some(Timestamp(at.0.saturating_sub(ahead_ms)).max(now)),
                reset_at => reset_at,
            };
            let key = known::key_of(quota);
            if let Some(known) = book.quotas.iter_mut().find(|known| known.key == key) {
                known.update(sent_idx, quota, reset_at, view);
            } else {
                book.enter(Known::new(key, quota, reset_at, view), view);
            }
        }
        if book.quotas.is_empty() {
            self.book = None;
        }
    }
}

impl Book {
    /// Takes in the offset of one answer; by how much the best one is ahead of it, in ms.
    fn learn_offset(&mut self, seen_ms: Option<i64>) -> i64 {
        /// A clock that is so much behind the best was set anew, in ms.
        const SET_ANEW_MS: i64 = 5_000;
        let Some(seen_ms) = seen_ms else { return 0 };
        let lead_ms = self.offset_ms.saturating_sub(seen_ms);
        // It sinks slowly, since clocks drift apart.
        let best_ms = if (1..SET_ANEW_MS).contains(&lead_ms) { self.offset_ms - 1 } else { seen_ms };
        self.offset_ms = best_ms;
        best_ms - seen_ms
    }

    /// Keeps a quota that is new, in the place of the loosest if there is no room.
    fn enter(&mut self, new: Known, view: View) {
        if self.quotas.len() < KNOWN_MAX {
            self.quotas.reserve_exact(1);
            self.quotas.push(new);
            return;
        }
        let looseness = |quota: &Known| quota.looseness(view);
        let loosest = self.quotas.iter_mut().max_by(|one, other| looseness(one).total_cmp(&looseness(other)));
        if let Some(loosest) = loosest
            && looseness(loosest) > looseness(&new)
        {
            *loosest = new;
        }
    }
}
