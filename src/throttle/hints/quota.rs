//! Quotas put together from the fields that tell their parts.
//!
//! Enters: names and values. Leaves: [`Quota`]s. Deliberately absent: what follows from them (`throttle::declared`).

use crate::clock::Timestamp;

use super::moment::{Clocks, Moment, parse_amount};
use super::name::{self, FieldName, Part};
use super::structured::{Member, parse_list};
use super::text;

/// Quotas of one answer that are read, at most. Known servers send up to seven.
pub const QUOTAS_MAX: usize = 16;
/// A reset or a window further away than this is a lie or a unit that we misread: 32 days, longer than any quota that we know
/// of, in ms.
pub const RESET_MS_MAX: u64 = 32 * 24 * 3_600_000;
/// Two resets closer than this are one: servers round to whole seconds, each field on its own. In ms.
const SAME_RESET_MS: u64 = 1_500;

/// What a quota counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuotaUnit {
    /// Requests, one each.
    Requests,
    /// Bytes of answers.
    Bytes,
    /// Tokens of a language model.
    Tokens,
    /// Requests at the same time.
    Concurrent,
    /// Anything else, of which one request may cost several.
    Points,
}

/// A quota as one answer declares it. All instants are on our clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// What tells it from the other quotas of its server: `core`, `requests`, `daily`; empty for an only one. At most 64
    /// printable characters.
    pub name: Box<str>,
    /// How much there is in a window or a full bucket. Without a window it may be a burst (tower_governor).
    pub limit: Option<u64>,
    /// What was left when the server answered.
    pub remaining: Option<u64>,
    /// When some or all of it returns, not before the answer and at most 32 days after it.
    pub reset_at: Option<Timestamp>,
    /// Whether the reset was an instant on the server's clock; else it was a wait.
    pub is_reset_absolute: bool,
    /// Whether the reset was a wait finer than whole seconds.
    pub is_reset_fine: bool,
    /// How long its window is, in ms, 1..=32 days.
    pub window_ms: Option<u64>,
    /// What it counts.
    pub unit: QuotaUnit,
    /// Whose quota it is, as the server names it (`pk`); at most 64 printable characters.
    pub partition: Option<Box<str>>,
    /// The field that told what is left, or how much there is; in lower case, at most 64 characters.
    pub header: Box<str>,
}

impl Quota {
    /// Whether nothing of it is left until it resets.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.remaining == Some(0) && self.unit != QuotaUnit::Concurrent
    }
}

/// A quota while its fields come in.
#[derive(Debug)]
struct Draft<'h> {
    family: &'h str,
    name: String,
    unit: QuotaUnit,
    limit: Option<u64>,
    remaining: Option<u64>,
    used: Option<u64>,
    reset: Option<Moment>,
    reset_after: Option<Moment>,
    window_ms: Option<u64>,
    partition: Option<Box<str>>,
    /// The field that is shown, and whether it told what is left.
    header: (&'h str, bool),
}

/// The quotas of one answer, and what else the fields of its families say.
#[derive(Debug, Default)]
pub(super) struct Collector<'h> {
    drafts: Vec<Draft<'h>>,
    /// Policies of the drafts before 08, which have no names: how much in how many ms, by family.
    unnamed: Vec<(&'h str, u64, u64)>,
    /// The resource or bucket that was charged.
    pub(super) resource: Option<Box<str>>,
    /// Whether the limit reaches beyond that resource.
    pub(super) is_global: bool,
    /// Why the request was refused.
    pub(super) reason: Option<Box<str>>,
}

impl<'h> Collector<'h> {
    /// Takes in one field.
    pub(super) fn add(&mut self, header: &'h str, value: &'h str) {
        let Some(name) = name::parse(header) else { return };
        let value = value.trim();
        match name.part {
            Part::Resource => self.resource = text::printable(value),
            Part::Reason => self.reason = text::printable(value),
            Part::Scope => self.is_global |= value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("global"),
            Part::Policy => self.add_policies(&name, header, value),
            Part::Whole => self.add_whole(&name, header, value),
            Part::Limit => self.add_limit(&name, header, value),
            Part::Remaining => {
                // `76;w=21600` (Docker Hub)
                let (left, window_ms) = amount_with_window(value);
                if let Some(draft) = left.and_then(|_| self.draft(&name, header)) {
                    draft.remaining = left;
                    draft.window_ms = draft.window_ms.or(window_ms);
                    draft.header = (header, true);
                }
            }
            Part::Used => {
                let used = parse_amount(value);
                if let Some(draft) = used.and_then(|_| self.draft(&name, header)) {
                    draft.used = used;
                }
            }
            Part::Reset | Part::ResetAfter => {
                let moment = Moment::parse(value, name.is_ms);
                if let Some(draft) = moment.and_then(|_| self.draft(&name, header)) {
                    if name.part == Part::ResetAfter {
                        // No wait is how some spell that none is needed, and others that a fraction was cut off.
                        let wait = moment.filter(|moment| !matches!(moment, Moment::After { ms: 0, .. }));
                        draft.reset_after = draft.reset_after.or(wait);
                    } else {
                        draft.reset = draft.reset.or(moment);
                    }
                }
            }
            Part::Window => {
                let window_ms = match Moment::parse(value, name.is_ms) {
                    Some(Moment::After { ms, .. }) => in_range(ms),
                    _ => None,
                };
                if let Some(draft) = window_ms.and_then(|_| self.draft(&name, header)) {
                    draft.window_ms = window_ms;
                }
            }
        }
    }

    /// The draft that a field belongs to; none when there are too many.
    fn draft(&mut self, name: &FieldName<'h>, header: &'h str) -> Option<&mut Draft<'h>> {
        let at = self.drafts.iter().position(|draft| draft.family == name.family && draft.name == name.quota);
        let at = match at {
            Some(at) => at,
            None if self.drafts.len() == QUOTAS_MAX => return None,
            None => {
                self.drafts.push(Draft {
                    family: name.family,
                    name: name.quota.clone(),
                    unit: name.unit,
                    limit: None,
                    remaining: None,
                    used: None,
                    reset: None,
                    reset_after: None,
                    window_ms: name.window_ms.and_then(in_range),
                    partition: None,
                    header: (header, false),
                });
                self.drafts.len() - 1
            }
        };
        self.drafts.get_mut(at)
    }

    /// `100`, or `100, 10;w=1, 50;w=60` (drafts 03 to 06), or `100;w=21600`.
    fn add_limit(&mut self, name: &FieldName<'h>, header: &'h str, value: &'h str) {
        let (limit, window_ms) = amount_with_window(value);
        if limit.is_none() {
            return;
        }
        if let Some(draft) = self.draft(name, header) {
            draft.limit = limit;
            draft.window_ms = draft.window_ms.or(window_ms);
        }
        if value.contains(',') {
            self.add_policies(name, header, value);
        }
    }

    /// `RateLimit-Policy` in the form of any draft.
    fn add_policies(&mut self, name: &FieldName<'h>, header: &'h str, value: &'h str) {
        for member in parse_list(value) {
            let window_ms = member.window_s.and_then(|window_s| in_range(window_s.saturating_mul(1_000)));
            if member.name.is_some() {
                let quota = member.quota;
                if let Some(draft) = quota.and_then(|_| self.member_draft(name, header, &member)) {
                    draft.limit = quota;
                    draft.window_ms = window_ms;
                }
            } else if let (Some(quota), Some(window_ms)) = (member.number, window_ms)
                && self.unnamed.len() < QUOTAS_MAX
            {
                self.unnamed.push((name.family, quota, window_ms));
            }
        }
    }

    /// A field that has no more than the family in its name.
    fn add_whole(&mut self, name: &FieldName<'h>, header: &'h str, value: &'h str) {
        // Dispatch on what comes first: a key, an amount, or the name of a member.
        let is_pairs = value.split_once('=').is_some_and(|(key, _)| !key.contains([';', '"']));
        if is_pairs {
            self.add_pairs(name, header, value);
        } else if let Some((used, limit)) = used_of(value) {
            if let Some(draft) = self.draft(name, header) {
                (draft.used, draft.limit, draft.header) = (Some(used), Some(limit), (header, true));
            }
        } else if parse_amount(value).is_some() {
            self.add_limit(name, header, value);
        } else {
            for member in parse_list(value) {
                let (remaining, reset_s) = (member.remaining, member.reset_s);
                let left = remaining.filter(|_| member.name.is_some());
                if let Some(draft) = left.and_then(|_| self.member_draft(name, header, &member)) {
                    draft.remaining = remaining;
                    draft.reset =
                        reset_s.map(|reset_s| Moment::After { ms: reset_s.saturating_mul(1_000), is_whole_s: true });
                    draft.header = (header, true);
                }
            }
        }
    }

    /// `limit=100, remaining=50, reset=30` (draft 07), `total=100; remaining=99; resets=41` (Zendesk), `api-usage=18/5000`
    /// (Salesforce).
    fn add_pairs(&mut self, name: &FieldName<'h>, header: &'h str, value: &'h str) {
        for (key, value) in value.split([',', ';']).take(QUOTAS_MAX).filter_map(|pair| pair.split_once('=')) {
            let (key, value) = (key.trim(), value.trim());
            let used = used_of(value);
            let Some(draft) = self.draft(name, header) else { return };
            if let Some((used, limit)) = used {
                (draft.used, draft.limit, draft.header) = (Some(used), Some(limit), (header, true));
                continue;
            }
            if key.eq_ignore_ascii_case("limit") || key.eq_ignore_ascii_case("total") {
                draft.limit = parse_amount(value);
            } else if key.eq_ignore_ascii_case("remaining") {
                draft.remaining = parse_amount(value);
                draft.header = (header, true);
            } else if key.eq_ignore_ascii_case("reset") || key.eq_ignore_ascii_case("resets") {
                draft.reset = Moment::parse(value, false);
            }
        }
    }

    /// The draft of a member that has a name of its own, made if there is none. `RateLimit` and `RateLimit-Policy` tell
    /// halves of it.
    fn member_draft(&mut self, name: &FieldName<'h>, header: &'h str, member: &Member) -> Option<&mut Draft<'h>> {
        let own = member.name.as_deref().unwrap_or_default();
        let unit = match member.unit.as_deref() {
            None => None,
            Some("requests") => Some(QuotaUnit::Requests),
            Some("content-bytes") => Some(QuotaUnit::Bytes),
            Some("concurrent-requests") => Some(QuotaUnit::Concurrent),
            Some(_) => Some(QuotaUnit::Points),
        };
        let named = FieldName { quota: own.to_owned(), ..name.clone() };
        let draft = self.draft(&named, header)?;
        draft.unit = unit.unwrap_or(draft.unit);
        draft.partition = draft.partition.take().or_else(|| member.partition.clone());
        Some(draft)
    }

    /// The quotas, each once.
    pub(super) fn finish(&mut self, clocks: Clocks) -> Vec<Quota> {
        self.settle_unnamed();
        let mut quotas: Vec<Quota> = Vec::with_capacity(self.drafts.len());
        for draft in std::mem::take(&mut self.drafts) {
            let Some(quota) = draft.finish(clocks, self.resource.as_deref()) else { continue };
            // Servers say the same in two families (`X-RateLimit-` and `RateLimit-`), or halves of it.
            if !quotas.iter_mut().any(|known| known.absorb(&quota)) {
                quotas.push(quota);
            }
        }
        quotas
    }

    /// Gives the policies without names to the quotas without names; those of other amounts are quotas of their own.
    fn settle_unnamed(&mut self) {
        let policies = std::mem::take(&mut self.unnamed);
        for &(family, quota, window_ms) in &policies {
            let mut ours = self.drafts.iter_mut().filter(|draft| draft.family == family && draft.name.is_empty());
            let only = policies.len() == 1;
            if let Some(draft) = ours.find(|draft| draft.limit == Some(quota) || (only && draft.limit.is_none())) {
                if draft.window_ms.is_none() {
                    (draft.limit, draft.window_ms) = (Some(quota), Some(window_ms));
                }
                continue;
            }
            let unit = QuotaUnit::Requests;
            let seconds = window_ms / 1_000;
            let name = FieldName {
                family,
                quota: format!("{quota};w={seconds}"),
                part: Part::Policy,
                is_ms: false,
                unit,
                window_ms: Some(window_ms),
            };
            if let Some(draft) = self.draft(&name, family) {
                draft.limit = Some(quota);
            }
        }
    }
}

impl Draft<'_> {
    fn finish(self, clocks: Clocks, resource: Option<&str>) -> Option<Quota> {
        let limit = self.limit.or_else(|| Some(self.used?.saturating_add(self.remaining?)));
        let remaining = self.remaining.or_else(|| Some(limit?.saturating_sub(self.used?)));
        if limit.is_none() && remaining.is_none() {
            return None;
        }
        let moment = self.reset_after.or(self.reset);
        let wait_ms = moment.and_then(|moment| moment.wait_ms(clocks)).filter(|&wait_ms| wait_ms <= RESET_MS_MAX);
        if limit == Some(0) && remaining.is_none_or(|remaining| remaining == 0) && wait_ms.is_none() {
            // Nothing of nothing, for ever: how some servers spell that there is no limit.
            return None;
        }
        let name = text::printable(&self.name);
        let name = name.or_else(|| Some(resource?.into())).unwrap_or_default();
        let unit = match self.unit {
            // GitHub's GraphQL counts points (its documentation of rate limits for GraphQL).
            QuotaUnit::Requests if name.eq_ignore_ascii_case("graphql") => QuotaUnit::Points,
            unit => unit,
        };
        Some(Quota {
            name,
            limit,
            remaining,
            reset_at: wait_ms.map(|wait_ms| clocks.answered_at.plus_ms(wait_ms)),
            is_reset_absolute: wait_ms.is_some() && moment.is_some_and(Moment::is_absolute),
            is_reset_fine: wait_ms.is_some_and(|wait_ms| wait_ms % 1_000 != 0)
                && !moment.is_some_and(Moment::is_absolute),
            window_ms: self.window_ms,
            unit,
            partition: self.partition,
            header: text::printable(self.header.0).unwrap_or_default(),
        })
    }
}

impl Quota {
    /// Takes in `other` if it says the same, or halves of the same.
    fn absorb(&mut self, other: &Self) -> bool {
        let same_reset = match (self.reset_at, other.reset_at) {
            (Some(one), Some(two)) => one.since_ms(two).max(two.since_ms(one)) <= SAME_RESET_MS,
            _ => true,
        };
        let same = |one: Option<u64>, two: Option<u64>| one.is_none() || two.is_none() || one == two;
        let is_same = self.unit == other.unit
            && self.remaining == other.remaining
            && self.limit == other.limit
            && self.partition == other.partition
            && same_reset
            && same(self.window_ms, other.window_ms)
            && (self.name.is_empty() || other.name.is_empty() || self.name == other.name);
        if is_same {
            if self.reset_at.is_none() {
                (self.reset_at, self.is_reset_absolute) = (other.reset_at, other.is_reset_absolute);
                self.is_reset_fine = other.is_reset_fine;
            }
            self.window_ms = self.window_ms.or(other.window_ms);
            if self.name.is_empty() {
                self.name.clone_from(&other.name);
            }
        }
        is_same
    }
}

/// A window that can be one.
fn in_range(window_ms: u64) -> Option<u64> {
    (1..=RESET_MS_MAX).contains(&window_ms).then_some(window_ms)
}

/// The first amount of a value, with the window that stands behind it.
fn amount_with_window(value: &str) -> (Option<u64>, Option<u64>) {
    // The plain number is by far the most frequent.
    if let Some(number) = parse_amount(value) {
        return (Some(number), None);
    }
    let first = value.split(',').next().unwrap_or_default();
    let mut parts = first.split(';');
    let amount = parts.next().and_then(parse_amount);
    let window_s = parts.filter_map(|part| part.trim().strip_prefix("w=")).find_map(parse_amount);
    (amount, window_s.and_then(|window_s| in_range(window_s.saturating_mul(1_000))))
}

/// `32/40`: used, and how much there is.
fn used_of(value: &str) -> Option<(u64, u64)> {
    let (used, limit) = value.split_once('/')?;
    Some((parse_amount(used)?, parse_amount(limit)?))
}
