//! The names of rate-limit fields, read by their words.
//!
//! Enters: the name of a field, in lower case. Leaves: which part of which quota it carries. Providers spell these names in
//! dozens of ways, but they put them together from few words: where the family ends (`ratelimit`, `rate-limit`,
//! `concurrency-limit`), which part it is (`remaining`, `reset`, ...), and which quota of the family (`requests`, `daily`).
//! So a grammar reads them, and no table of providers grows old. Deliberately absent: values.

use super::quota::QuotaUnit;

/// Which part of a quota a field carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// How much there is: a number, `used/limit`, or all parts in one value.
    Limit,
    /// What is left.
    Remaining,
    /// What is used.
    Used,
    /// When some of it returns.
    Reset,
    /// How long until some of it returns; more exact than [`Part::Reset`] where both are sent.
    ResetAfter,
    /// How long its window is.
    Window,
    /// The policies of the family, in the form of the IETF drafts.
    Policy,
    /// The name of the resource or bucket that the answer was charged to.
    Resource,
    /// Whether the limit reaches beyond the resource.
    Scope,
    /// Why the request was refused.
    Reason,
    /// Nothing but the family: all parts in one value, or the limit alone.
    Whole,
}

/// What a name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldName<'n> {
    /// The name up to where the family ends: `x-ratelimit`, `anthropic-ratelimit`.
    pub(super) family: &'n str,
    /// Which quota of the family: `requests`, `input-tokens`; empty for its only one.
    pub(super) quota: String,
    pub(super) part: Part,
    /// Whether the name says that the value is in milliseconds.
    pub(super) is_ms: bool,
    /// What is counted.
    pub(super) unit: QuotaUnit,
    /// The window that the name tells, in ms: `minute`, `daily`, `10second`.
    pub(super) window_ms: Option<u64>,
}

/// Reads a name; none when it names no part of a limit.
pub(super) fn parse(name: &str) -> Option<FieldName<'_>> {
    if name == "stripe-rate-limited-reason" {
        return Some(FieldName::new("stripe-rate-limited", Part::Reason, QuotaUnit::Requests));
    }
    if matches!(name, "x-shopify-shop-api-call-limit" | "sforce-limit-info") {
        return Some(FieldName::new(name, Part::Whole, QuotaUnit::Requests));
    }
    let (family, rest) = split_family(name)?;
    let unit = if family.ends_with("concurrency-limit") { QuotaUnit::Concurrent } else { QuotaUnit::Requests };
    let mut field = FieldName::new(family, Part::Whole, unit);
    let mut has_part = false;
    for word in rest.split('-').filter(|word| !word.is_empty()) {
        let part = match word {
            "limit" | "max" | "maximum" | "total" | "capacity" => Part::Limit,
            "remaining" | "available" | "left" => Part::Remaining,
            "used" | "observed" | "running" | "count" => Part::Used,
            "reset" | "resets" | "resettime" | "resetat" => Part::Reset,
            "towait" => Part::ResetAfter,
            // `x-ratelimit-after` (tower_governor)
            "after" if !has_part => Part::ResetAfter,
            "interval" | "window" | "period" => Part::Window,
            "policy" => Part::Policy,
            "resource" | "bucket" | "name" => Part::Resource,
            "scope" | "global" => Part::Scope,
            "reason" => Part::Reason,
            // `reset-after`, `reset-time`, `reset-at`: the first is a wait.
            "after" if field.part == Part::Reset => {
                field.part = Part::ResetAfter;
                continue;
            }
            "time" | "at" if field.part == Part::Reset => continue,
            "ms" | "milliseconds" | "millis" => {
                field.is_ms = true;
                continue;
            }
            // Behind a window or a wait it is the unit, which is the default; else a window: `limit-second`.
            "sec" | "secs" | "seconds" if matches!(field.part, Part::Window | Part::Reset | Part::ResetAfter) => {
                continue;
            }
            _ => {
                if let Some(window_ms) = window_ms(word) {
                    field.window_ms = Some(window_ms);
                }
                match word {
                    "tokens" => field.unit = QuotaUnit::Tokens,
                    "bytes" => field.unit = QuotaUnit::Bytes,
                    "points" | "cost" | "complexity" | "credits" => field.unit = QuotaUnit::Points,
                    _ => {}
                }
                if !field.quota.is_empty() {
                    field.quota.push('-');
                }
                field.quota.push_str(word);
                continue;
            }
        };
        if has_part {
            // Two parts in one name, as nobody spells it: not understood.
            return None;
        }
        has_part = true;
        field.part = part;
    }
    // A word that is no part, as in `x-ratelimit-nearlimit`, says nothing that we know; a window alone is the limit of that
    // window (`x-hubspot-ratelimit-daily`).
    if !has_part && !field.quota.is_empty() {
        if field.window_ms.is_some() && !field.quota.contains('-') {
            field.part = Part::Limit;
        } else if !is_zendesk_style(family) {
            return None;
        }
    }
    Some(field)
}

impl<'n> FieldName<'n> {
    fn new(family: &'n str, part: Part, unit: QuotaUnit) -> Self {
        Self { family, quota: String::new(), part, is_ms: false, unit, window_ms: None }
    }
}

/// `zendesk-ratelimit-tickets-index` carries all parts in one value.
fn is_zendesk_style(family: &str) -> bool {
    !family.starts_with("x-") && family.ends_with("-ratelimit")
}

/// Where the family ends: behind `ratelimit`, `rate-limit`, `concurrency-limit`, or the first of two `limit`s.
fn split_family(name: &str) -> Option<(&str, &str)> {
    let ends = |marker: &str| {
        name.match_indices(marker).map(|(at, _)| (at, at + marker.len())).find(|&(start, end)| {
            let bytes = name.as_bytes();
            (start == 0 || bytes[start - 1] == b'-') && (end == name.len() || bytes[end] == b'-')
        })
    };
    if let Some((_, end)) = ends("ratelimit").or_else(|| ends("rate-limit")).or_else(|| ends("concurrency-limit")) {
        return Some((&name[..end], &name[end..]));
    }
    // `x-app-limit-24hour-remaining`
    let (start, end) = ends("limit")?;
    let rest = &name[end..];
    let is_quota = ["-limit", "-remaining", "-reset"].iter().any(|part| rest.ends_with(part));
    (start > 0 && is_quota).then(|| (&name[..end], rest))
}

/// The span that a word names, in ms: `minute`, `daily`, `24hour`, `10second`, `5h`. Months and years are of no fixed length.
fn window_ms(word: &str) -> Option<u64> {
    let end = word.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(word.len());
    let count = if end == 0 { 1 } else { word[..end].parse::<u32>().ok().filter(|&count| count > 0)? };
    let unit_ms: u64 = match &word[end..] {
        "second" | "seconds" | "secondly" | "sec" => 1_000,
        "minute" | "minutes" | "minutely" | "min" => 60_000,
        "hour" | "hours" | "hourly" => 3_600_000,
        "day" | "days" | "daily" => 86_400_000,
        // One letter means a span only behind a number.
        "s" if end > 0 => 1_000,
        "m" if end > 0 => 60_000,
        "h" if end > 0 => 3_600_000,
        "d" if end > 0 => 86_400_000,
        _ => return None,
    };
    unit_ms.checked_mul(u64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `family | quota | part unit window ms?`
    fn read(name: &str) -> String {
        let Some(field) = parse(name) else { return format!("{name}: -") };
        let mut words = format!("{name}: {} | {} | {:?}", field.family, field.quota, field.part);
        if field.unit != QuotaUnit::Requests {
            words.push_str(&format!(" {:?}", field.unit));
        }
        if let Some(window_ms) = field.window_ms {
            words.push_str(&format!(" {window_ms} ms"));
        }
        if field.is_ms {
            words.push_str(" in ms");
        }
        words
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table, and what is read from it")]
    fn names_are_read_by_their_words() {
        let names = [
            "ratelimit",
            "ratelimit-policy",
            "ratelimit-limit",
            "ratelimit-remaining",
            "ratelimit-reset",
            "ratelimit-resettime",
            "ratelimit-observed",
            "ratelimit-name",
            "ratelimit-reason",
            "beta-ratelimit",
            "x-ratelimit-used",
            "x-ratelimit-resource",
            "x-ratelimit-bucket",
            "x-ratelimit-reset-after",
            "x-ratelimit-after",
            "x-ratelimit-global",
            "x-ratelimit-scope",
            "x-ratelimit-nearlimit",
            "x-ratelimit-limit-minute",
            "x-ratelimit-remaining-requests",
            "x-ratelimit-reset-tokens",
            "x-ratelimit-window-sec",
            "x-ratelimit-towait-sec",
            "x-rate-limit",
            "x-rate-limit-limit",
            "x-rate-limit-interval",
            "x-rate-limit-api-token-interval-ms",
            "x-rate-limit-api-token-max",
            "x-concurrency-limit",
            "x-concurrency-limit-limit",
            "x-concurrency-limit-running",
            "x-app-limit-24hour-remaining",
            "anthropic-ratelimit-input-tokens-remaining",
            "anthropic-ratelimit-unified-status",
            "x-hubspot-ratelimit-daily",
            "x-hubspot-ratelimit-daily-remaining",
            "x-hubspot-ratelimit-interval-milliseconds",
            "x-hubspot-ratelimit-max",
            "zendesk-ratelimit-tickets-index",
            "x-shopify-shop-api-call-limit",
            "sforce-limit-info",
            "stripe-rate-limited-reason",
            "x-ratelimit-limit-remaining",
            "content-limit",
            "x-page-limit",
            "prelimit-remaining",
            "ratelimiter-limit",
            "limit",
        ];
        let table: Vec<String> = names.into_iter().map(read).collect();
        insta::assert_snapshot!(table.join("\n"), @r#"
        ratelimit: ratelimit |  | Whole
        ratelimit-policy: ratelimit |  | Policy
        ratelimit-limit: ratelimit |  | Limit
        ratelimit-remaining: ratelimit |  | Remaining
        ratelimit-reset: ratelimit |  | Reset
        ratelimit-resettime: ratelimit |  | Reset
        ratelimit-observed: ratelimit |  | Used
        ratelimit-name: ratelimit |  | Resource
        ratelimit-reason: ratelimit |  | Reason
        beta-ratelimit: beta-ratelimit |  | Whole
        x-ratelimit-used: x-ratelimit |  | Used
        x-ratelimit-resource: x-ratelimit |  | Resource
        x-ratelimit-bucket: x-ratelimit |  | Resource
        x-ratelimit-reset-after: x-ratelimit |  | ResetAfter
        x-ratelimit-after: x-ratelimit |  | ResetAfter
        x-ratelimit-global: x-ratelimit |  | Scope
        x-ratelimit-scope: x-ratelimit |  | Scope
        x-ratelimit-nearlimit: -
        x-ratelimit-limit-minute: x-ratelimit | minute | Limit 60000 ms
        x-ratelimit-remaining-requests: x-ratelimit | requests | Remaining
        x-ratelimit-reset-tokens: x-ratelimit | tokens | Reset Tokens
        x-ratelimit-window-sec: x-ratelimit |  | Window
        x-ratelimit-towait-sec: x-ratelimit |  | ResetAfter
        x-rate-limit: x-rate-limit |  | Whole
        x-rate-limit-limit: x-rate-limit |  | Limit
        x-rate-limit-interval: x-rate-limit |  | Window
        x-rate-limit-api-token-interval-ms: x-rate-limit | api-token | Window in ms
        x-rate-limit-api-token-max: x-rate-limit | api-token | Limit
        x-concurrency-limit: x-concurrency-limit |  | Whole Concurrent
        x-concurrency-limit-limit: x-concurrency-limit |  | Limit Concurrent
        x-concurrency-limit-running: x-concurrency-limit |  | Used Concurrent
        x-app-limit-24hour-remaining: x-app-limit | 24hour | Remaining 86400000 ms
        anthropic-ratelimit-input-tokens-remaining: anthropic-ratelimit | input-tokens | Remaining Tokens
        anthropic-ratelimit-unified-status: anthropic-ratelimit | unified-status | Whole
        x-hubspot-ratelimit-daily: x-hubspot-ratelimit | daily | Limit 86400000 ms
        x-hubspot-ratelimit-daily-remaining: x-hubspot-ratelimit | daily | Remaining 86400000 ms
        x-hubspot-ratelimit-interval-milliseconds: x-hubspot-ratelimit |  | Window in ms
        x-hubspot-ratelimit-max: x-hubspot-ratelimit |  | Limit
        zendesk-ratelimit-tickets-index: zendesk-ratelimit | tickets-index | Whole
        x-shopify-shop-api-call-limit: x-shopify-shop-api-call-limit |  | Whole
        sforce-limit-info: sforce-limit-info |  | Whole
        stripe-rate-limited-reason: stripe-rate-limited |  | Reason
        x-ratelimit-limit-remaining: -
        content-limit: -
        x-page-limit: -
        prelimit-remaining: -
        ratelimiter-limit: -
        limit: -
        "#);
    }
}
