//! What a server tells about its limits, in the very words of real ones, and what some of them tell that is not so.
//!
//! Sources: RFC 9110 section 10.2.3, draft-ietf-httpapi-ratelimit-headers 03 to 11, and the source of express-rate-limit,
//! @fastify/rate-limit, Flask-Limiter, tower_governor and Envoy; the others as their providers document them.

use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;

use super::rule::{Decision, Quota};

/// Headers: names in lower case.
pub type Fields = Vec<(&'static str, String)>;

/// How a server speaks of its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dialect {
    /// The status of a refusal.
    pub status: u16,
    /// What a refusal says about when to come back.
    pub retry_after: RetryAfter,
    /// What every answer says about the quota.
    pub fields: QuotaFields,
    /// Whether answers carry `Date`.
    pub date: bool,
    /// What of it is not so.
    pub lie: Lie,
}

/// Forms of Retry-After.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryAfter {
    /// None: nginx.
    #[default]
    Absent,
    /// Whole seconds, rounded up: express-rate-limit, Django REST framework.
    Ceil,
    /// Whole seconds, rounded down, 0 for less than one: tower_governor, Flask-Limiter.
    Truncated,
    /// An HTTP-date, rounded up to the second.
    Date,
    /// `retry-after-ms` beside the rounded seconds: OpenAI.
    Milliseconds,
}

/// Families of quota fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuotaFields {
    /// None.
    #[default]
    Absent,
    /// `X-RateLimit-Limit`, `-Remaining`, and `-Reset` in seconds since the epoch, rounded up: express-rate-limit, GitHub.
    Epoch,
    /// The same with milliseconds since the epoch.
    EpochMs,
    /// The same with an ISO 8601 date: Jira.
    Iso,
    /// `x-ratelimit-limit-requests` and so on, the reset a duration as Go prints it: OpenAI and its kin.
    OpenAi,
    /// `x-rate-limit-limit` and so on, the reset in seconds since the epoch: X, formerly Twitter.
    Twitter,
    /// `RateLimit-Limit` and so on as in the drafts, but the reset in seconds since the epoch, and again as a date: GitLab.
    #[serde(rename = "gitlab")]
    GitLab,
    /// The same with seconds from now, rounded up: @fastify/rate-limit, Reddit.
    Delta,
    /// draft-03 as Envoy writes it: `x-ratelimit-limit: 100, 100;w=60`, and seconds from now.
    Draft3,
    /// draft-06: `RateLimit-Limit`, `-Remaining`, `-Reset` in seconds from now, `RateLimit-Policy: 100;w=60`.
    Draft6,
    /// draft-07: `RateLimit: limit=100, remaining=50, reset=30`.
    Draft7,
    /// draft-08 and later: `RateLimit: "default";r=50;t=30`.
    Draft8,
    /// tower_governor: `x-ratelimit-limit` and `-remaining`, which count the burst, and `x-ratelimit-after` in truncated
    /// seconds with a refusal.
    Governor,
}

/// Lies that real servers tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lie {
    /// None.
    #[default]
    None,
    /// A reset that is a fifth of the truth away, as GitLab was seen to send (60 s for 300 s).
    Reset,
}

/// The headers of one answer, and what they make a faithful client wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// All of them.
    pub fields: Fields,
    /// What Retry-After asks for, from the arrival of the answer, in ms; none when it asks for nothing.
    pub retry_after_ms: Option<u64>,
}

impl Default for Dialect {
    /// Refuses with 429 and says nothing else.
    fn default() -> Self {
        Self::mute(429)
    }
}

impl Dialect {
    /// A server that refuses with `status` and says nothing.
    #[must_use]
    pub fn mute(status: u16) -> Self {
        Self { status, retry_after: RetryAfter::Absent, fields: QuotaFields::Absent, date: false, lie: Lie::None }
    }

    /// The headers of an answer that is sent at `now_us` on the server's clock, in microseconds since the epoch.
    #[must_use]
    pub fn tell(self, decision: &Decision, now_us: i64) -> Told {
        let mut told = Told::default();
        if self.date {
            told.fields.push(("date", http_date(now_us.div_euclid(SECOND))));
        }
        let mut quota = decision.quota;
        if self.lie == Lie::Reset {
            quota.reset_us /= 5;
        }
        if !decision.allowed {
            self.tell_when(decision.quota.retry_us, now_us, &mut told);
        }
        self.tell_quota(&quota, decision.allowed, now_us, &mut told.fields);
        told
    }

    fn tell_when(self, retry_us: u64, now_us: i64, told: &mut Told) {
        let seconds = match self.retry_after {
            RetryAfter::Absent => return,
            RetryAfter::Truncated => retry_us / SECOND.unsigned_abs(),
            RetryAfter::Ceil | RetryAfter::Milliseconds => ceil_s(retry_us).max(1),
            RetryAfter::Date => {
                let at_s = ceil_epoch_s(now_us, retry_us);
                told.fields.push(("retry-after", http_date(at_s)));
                told.retry_after_ms = u64::try_from((at_s - now_us.div_euclid(SECOND)) * 1_000).ok();
                return;
            }
        };
        told.fields.push(("retry-after", seconds.to_string()));
        told.retry_after_ms = (seconds > 0).then_some(seconds * 1_000);
        if self.retry_after == RetryAfter::Milliseconds {
            let ms = retry_us.div_ceil(1_000);
            told.fields.push(("retry-after-ms", ms.to_string()));
            told.retry_after_ms = Some(ms);
        }
    }

    fn tell_quota(self, quota: &Quota, allowed: bool, now_us: i64, fields: &mut Fields) {
        let Quota { limit, remaining, .. } = *quota;
        let (delta_s, window_s) = (ceil_s(quota.reset_us), ceil_s(quota.window_us));
        let mut legacy = |reset: String| {
            fields.push(("x-ratelimit-limit", limit.to_string()));
            fields.push(("x-ratelimit-remaining", remaining.to_string()));
            fields.push(("x-ratelimit-reset", reset));
        };
        match self.fields {
            QuotaFields::Absent => {}
            QuotaFields::Epoch => legacy(ceil_epoch_s(now_us, quota.reset_us).to_string()),
            QuotaFields::EpochMs => legacy((now_us.saturating_add_unsigned(quota.reset_us) / 1_000).to_string()),
            QuotaFields::Iso => {
                let at = chrono::DateTime::from_timestamp(ceil_epoch_s(now_us, quota.reset_us), 0).unwrap_or_default();
                legacy(at.format("%Y-%m-%dT%H:%M:%SZ").to_string());
            }
            QuotaFields::Delta => legacy(delta_s.to_string()),
            QuotaFields::OpenAi => {
                fields.push(("x-ratelimit-limit-requests", limit.to_string()));
                fields.push(("x-ratelimit-remaining-requests", remaining.to_string()));
                fields.push(("x-ratelimit-reset-requests", go_duration(quota.reset_us)));
            }
            QuotaFields::Twitter => {
                fields.push(("x-rate-limit-limit", limit.to_string()));
                fields.push(("x-rate-limit-remaining", remaining.to_string()));
                fields.push(("x-rate-limit-reset", ceil_epoch_s(now_us, quota.reset_us).to_string()));
            }
            QuotaFields::GitLab => {
                let reset_s = ceil_epoch_s(now_us, quota.reset_us);
                fields.push(("ratelimit-limit", limit.to_string()));
                fields.push(("ratelimit-observed", limit.saturating_sub(remaining).to_string()));
                fields.push(("ratelimit-remaining", remaining.to_string()));
                fields.push(("ratelimit-reset", reset_s.to_string()));
                fields.push(("ratelimit-resettime", http_date(reset_s)));
            }
            QuotaFields::Draft3 => {
                fields.push(("x-ratelimit-limit", format!("{limit}, {limit};w={window_s}")));
                fields.push(("x-ratelimit-remaining", remaining.to_string()));
                fields.push(("x-ratelimit-reset", delta_s.to_string()));
            }
            QuotaFields::Draft6 => {
                fields.push(("ratelimit-policy", format!("{limit};w={window_s}")));
                fields.push(("ratelimit-limit", limit.to_string()));
                fields.push(("ratelimit-remaining", remaining.to_string()));
                fields.push(("ratelimit-reset", delta_s.to_string()));
            }
            QuotaFields::Draft7 => {
                fields.push(("ratelimit-policy", format!("{limit};w={window_s}")));
                fields.push(("ratelimit", format!("limit={limit}, remaining={remaining}, reset={delta_s}")));
            }
            QuotaFields::Draft8 => {
                fields.push(("ratelimit-policy", format!("\"default\"; q={limit}; w={window_s}")));
                fields.push(("ratelimit", format!("\"default\"; r={remaining}; t={delta_s}")));
            }
            QuotaFields::Governor => {
                fields.push(("x-ratelimit-limit", limit.to_string()));
                fields.push(("x-ratelimit-remaining", remaining.to_string()));
                if !allowed {
                    fields.push(("x-ratelimit-after", (quota.retry_us / SECOND.unsigned_abs()).to_string()));
                }
            }
        }
    }
}

/// Microseconds in a second.
const SECOND: i64 = 1_000_000;

fn ceil_s(us: u64) -> u64 {
    us.div_ceil(SECOND.unsigned_abs())
}

/// The second since the epoch in which something is `wait_us` from now, rounded up.
fn ceil_epoch_s(now_us: i64, wait_us: u64) -> i64 {
    now_us.saturating_add_unsigned(wait_us).saturating_add(SECOND - 1).div_euclid(SECOND)
}

fn http_date(epoch_s: i64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(u64::try_from(epoch_s).unwrap_or(0)))
}

/// `1m26.4s`, `20ms`: as Go's `time.Duration` prints itself, to the millisecond.
fn go_duration(us: u64) -> String {
    let ms = us.div_ceil(1_000);
    if ms < 1_000 {
        return format!("{ms}ms");
    }
    let mut text = String::new();
    let (hours, minutes, rest_ms) = (ms / 3_600_000, ms / 60_000 % 60, ms % 60_000);
    if hours > 0 {
        text.push_str(&format!("{hours}h"));
    }
    if hours > 0 || minutes > 0 {
        text.push_str(&format!("{minutes}m"));
    }
    let thousandths = format!("{:03}", rest_ms % 1_000);
    let thousandths = thousandths.trim_end_matches('0');
    let point = if thousandths.is_empty() { "" } else { "." };
    text.push_str(&format!("{}{point}{thousandths}s", rest_ms / 1_000));
    text
}
