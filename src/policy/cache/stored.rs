//! What is held of a page's last answer, and how a new one compares to it.

use crate::clock::Timestamp;
use crate::exchange::{Fetched, Headers};

use super::fields::{end_to_end, updated};
use super::validators::Validators;
use super::variant::{Sent, Variant};

/// Hash over what counts as a page's content: its decoded body, or the part of it that the caller compares.
pub type ContentHash = [u8; 32];

/// What is held of a page's last answer. Its body lies elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The status of the answer, 200..=599; 404 and 410 are tombstones.
    pub status: u16,
    /// Its fields without those of the connection, as later 304 changed them.
    pub headers: Headers,
    /// Which requests it answers.
    pub variant: Variant,
    /// When the request was sent whose answer last confirmed it, a 304 or a whole answer.
    pub requested_at: Timestamp,
    /// When that answer's headers had come.
    pub answered_at: Timestamp,
    /// When its body was last sent; for a tombstone, when the body was sent that was there before, or that of the tombstone.
    pub fetched_at: Timestamp,
    /// Hash of the content that a 304 confirms; for a tombstone, of what was there before. None when the body was not read whole
    /// and there is nothing to confirm.
    pub content: Option<ContentHash>,
    /// Since when the page is gone; none when it is there.
    pub gone_at: Option<Timestamp>,
}

/// What became of a page with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not there before: never seen, or gone.
    New,
    /// Its content, or where it leads, is another.
    Changed,
    /// It is as it was, or is still gone, or never was.
    Unchanged,
    /// It was there, and is gone.
    Gone,
}

impl Stored {
    /// What is held of an answer that brought its own body.
    #[must_use]
    pub(super) fn of(fetched: &Fetched, sent: &Sent<'_>, content: Option<ContentHash>) -> Self {
        let headers = end_to_end(&fetched.headers);
        Self {
            status: fetched.status,
            variant: Variant::of(&headers, sent),
            headers,
            requested_at: fetched.sent_at,
            answered_at: fetched.answered_at,
            fetched_at: fetched.finished_at,
            content,
            gone_at: None,
        }
    }

    /// The same after a 304: the body stays, the fields are updated.
    #[must_use]
    pub(super) fn confirmed(&self, by: &Fetched, sent: &Sent<'_>) -> Self {
        let headers = updated(&self.headers, &by.headers);
        Self {
            variant: Variant::of(&headers, sent),
            headers,
            requested_at: by.sent_at,
            answered_at: by.answered_at,
            ..self.clone()
        }
    }

    /// What is held of a 404 or 410, with what was there before.
    #[must_use]
    pub(super) fn tombstone(before: Option<&Self>, fetched: &Fetched, sent: &Sent<'_>) -> Self {
        let mut tombstone = Self::of(fetched, sent, None);
        tombstone.gone_at = Some(fetched.answered_at);
        if let Some(before) = before {
            tombstone.gone_at = before.gone_at.or(tombstone.gone_at);
            tombstone.fetched_at = before.fetched_at;
            tombstone.content = before.content;
        }
        tombstone
    }

    /// The validators of the answer.
    #[must_use]
    pub fn validators(&self) -> Validators {
        Validators::of(&self.headers)
    }

    /// How this answer, which brought a body, compares to the one before. Where one of the two was not read whole, validators
    /// decide.
    #[must_use]
    pub(super) fn change_from(&self, before: Option<&Self>) -> Change {
        let Some(before) = before.filter(|before| before.gone_at.is_none()) else { return Change::New };
        let is_same = match (self.content, before.content) {
            (Some(now), Some(then)) => now == then,
            _ => self.validators().agree(&before.validators()),
        };
        // A redirect is its Location; its body is a note for people.
        let leads = |stored: &Self| {
            (300..400).contains(&stored.status).then(|| stored.headers.get("location").map(str::to_owned))
        };
        match (leads(self), leads(before)) {
            (Some(now), Some(then)) if now == then => Change::Unchanged,
            (None, None) if is_same => Change::Unchanged,
            _ => Change::Changed,
        }
    }
}
