//! Reading a body piece by piece, within its caps.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::error;
use super::settings::Settings;
use crate::clock::{Clock, Timestamp};
use crate::exchange::{BodyEnd, Headers};

/// Bodies up to this many bytes need no permit.
pub(super) const SMALL_BODY_BYTES: usize = 1 << 20;

/// Decides by the headers alone whether the body is worth reading; none if it is.
pub(super) fn end_without_reading(
    status: u16,
    headers: &Headers,
    body_bytes: Option<u64>,
    types: &[String],
    body_bytes_max: u64,
) -> Option<BodyEnd> {
    // What is wanted says something about good answers only: the body of an error may tell why, or when to come back.
    if (200..300).contains(&status) && !is_wanted(headers.get("content-type"), types) {
        return Some(BodyEnd::Unwanted);
    }
    if body_bytes.is_some_and(|bytes| bytes > body_bytes_max) {
        return Some(BodyEnd::TooLarge { bytes_max: body_bytes_max });
    }
    None
}

/// Whether a content type is among `types`. One that is missing or unreadable is wanted: its body will tell.
fn is_wanted(content_type: Option<&str>, types: &[String]) -> bool {
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let Some((main, _)) = essence.split_once('/') else { return true };
    types.is_empty()
        || types.iter().any(|wanted| match wanted.strip_suffix("/*") {
            Some(wanted_main) => wanted_main.eq_ignore_ascii_case(main) || wanted_main == "*",
            None => wanted.eq_ignore_ascii_case(&essence),
        })
}

/// Reads the body of `response`, whose request went out at `sent_at`.
pub(super) async fn read(
    mut response: Response,
    settings: &Settings,
    large_bodies: &Semaphore,
    clock: &impl Clock,
    sent_at: Timestamp,
) -> (Bytes, BodyEnd) {
    let bytes_max = usize::try_from(settings.body_bytes_max).unwrap_or(usize::MAX);
    let declared = response.content_length().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0);
    let mut body = BytesMut::with_capacity(declared.min(SMALL_BODY_BYTES));

    let spent_ms = clock.now().since_ms(sent_at);
    let small = read_until(&mut response, &mut body, SMALL_BODY_BYTES.min(bytes_max), settings, spent_ms).await;
    let end = match small {
        ReadEnd::Stopped(end) => end,
        ReadEnd::LimitPassed if body.len() > bytes_max => BodyEnd::TooLarge { bytes_max: settings.body_bytes_max },
        ReadEnd::LimitPassed => {
            // The time spent in this queue is our own fault, so it does not count. It ends: each holder reads within its
            // own time-out and lets go.
            let spent_ms = clock.now().since_ms(sent_at);
            let permit =
                large_bodies.acquire().await.expect("the semaphore lives as long as the fetcher and is not closed");
            let end = match read_until(&mut response, &mut body, bytes_max, settings, spent_ms).await {
                ReadEnd::Stopped(end) => end,
                ReadEnd::LimitPassed => BodyEnd::TooLarge { bytes_max: settings.body_bytes_max },
            };
            drop(permit);
            end
        }
    };
    body.truncate(bytes_max);
    (body.freeze(), end)
}

/// Why [`read_until`] came back.
enum ReadEnd {
    /// There is no more to read.
    Stopped(BodyEnd),
    /// The body is longer than the limit.
    LimitPassed,
}

/// Appends to `body` until it is longer than `bytes_limit` or ends. `spent_ms` of the time-out are used up already.
async fn read_until(
    response: &mut Response,
    body: &mut BytesMut,
    bytes_limit: usize,
    settings: &Settings,
    spent_ms: u64,
) -> ReadEnd {
    let idle = Duration::from_millis(settings.idle_timeout_ms);
    let reading = async {
        loop {
            match timeout(idle, response.chunk()).await {
                Err(_) => return ReadEnd::Stopped(cut(format!("nothing came for {} ms", settings.idle_timeout_ms))),
                Ok(Err(cause)) => return ReadEnd::Stopped(cut(error::of_body(cause))),
                Ok(Ok(None)) => return ReadEnd::Stopped(BodyEnd::Whole),
                Ok(Ok(Some(chunk))) => {
                    body.extend_from_slice(&chunk);
                    if body.len() > bytes_limit {
                        return ReadEnd::LimitPassed;
                    }
                }
            }
        }
    };
    let left = Duration::from_millis(settings.timeout_ms.saturating_sub(spent_ms));
    match timeout(left, reading).await {
        Ok(end) => end,
        Err(_) => ReadEnd::Stopped(cut(format!("it was not whole within {} ms", settings.timeout_ms))),
    }
}

fn cut(cause: String) -> BodyEnd {
    BodyEnd::Cut { cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content_type: Option<&str>, types: &[&str], expected: bool) {
        let types: Vec<String> = types.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(is_wanted(content_type, &types), expected, "{content_type:?} of {types:?}");
    }

    #[test]
    fn a_body_is_wanted_by_its_media_type() {
        check(Some("text/html"), &[], true);
        check(Some("Text/HTML; charset=utf-8"), &["text/html"], true);
        check(Some("text/html"), &["text/*"], true);
        check(Some("image/png"), &["text/*", "application/xhtml+xml"], false);
        check(Some("textual/html"), &["text/*"], false);
        check(None, &["text/html"], true);
        check(Some("nonsense"), &["text/html"], true);
    }
}
