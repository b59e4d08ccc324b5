//! Which proxy carries a request: the same one for a host, as long as it works.
//!
//! Enters: `now`, a host, and which proxy failed or worked. Leaves: the place of the proxy to use, or when it is worth asking
//! again. Deliberately absent: what a failure is, and the addresses.

use siphasher::sip::SipHasher13;
use std::hash::Hasher as _;

use crate::clock::Timestamp;

/// The rest after a first failure, in ms; it doubles with each that follows. The first of a row may be a hiccup.
const REST_MS_MIN: u64 = 1_000;
/// The longest rest, in ms: what is down for long is asked twelve times an hour.
const REST_MS_MAX: u64 = 300_000;
/// After a rest one request goes first, in ms: so long the others do as if the rest went on. A connection takes 10 s by default.
const PROBE_MS: u64 = 10_000;
/// While one is under way, it is worth looking again so soon, in ms.
const PROBE_LOOK_MS: u64 = 500;

/// Requests in a row without any word back, after which the proxy is taken for broken: one or two hosts may be silent themselves.
const SILENT_MAX: u32 = 5;

/// How one proxy does.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    /// Failures in a row; those of requests that were under way together are one.
    failures: u32,
    /// When the last of them came.
    failed_at: Timestamp,
    /// Requests in a row that it took and that nothing came of.
    silent: u32,
    /// Nothing is sent through it before this instant.
    rests_until_at: Timestamp,
    /// Whether a request is finding out how it does.
    is_probed: bool,
}

impl Health {
    fn is_open(&self, now: Timestamp) -> bool {
        self.rests_until_at <= now
    }

    /// A request that was sent at `sent_at` failed by its fault at `now`; the length of the rest in ms that begins, if one does.
    pub(super) fn failed(&mut self, sent_at: Timestamp, now: Timestamp) -> Option<u64> {
        if self.is_old_news(sent_at) {
            return None;
        }
        let doubled_ms = 1_u64.checked_shl(self.failures).map_or(u64::MAX, |factor| REST_MS_MIN.saturating_mul(factor));
        let rest_ms = doubled_ms.min(REST_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        self.failed_at = now;
        self.rests_until_at = now.plus_ms(rest_ms);
        self.is_probed = false;
        Some(rest_ms)
    }

    /// It took a request at `sent_at`, of which nothing came by `now`; the length of the rest in ms that begins, if one does.
    pub(super) fn silent(&mut self, sent_at: Timestamp, now: Timestamp) -> Option<u64> {
        self.silent += 1;
        if self.is_old_news(sent_at) || (self.silent < SILENT_MAX && !self.is_probed) {
            return None;
        }
        self.silent = 0;
        self.failed(sent_at, now)
    }

    /// Whether what came of a request says no more than the last failure did.
    fn is_old_news(&self, sent_at: Timestamp) -> bool {
        self.failures > 0 && sent_at <= self.failed_at
    }

    /// It carried a request; whether that is news.
    pub(super) fn worked(&mut self) -> bool {
        let is_news = self.failures > 0;
        *self = Self::default();
        is_news
    }
}

/// The one of `ids` that carries requests for `host` at `now`, by `all` of their healths: the first that does not rest, in an order
/// of the host's own (rendezvous hashing by `names`), so that hosts spread over the proxies and move only when theirs fails. When
/// all rest, the instant at which it is worth asking again.
pub(super) fn choose(
    ids: &[usize],
    all: &[Health],
    name_of: impl Fn(usize) -> u64,
    host: &str,
    now: Timestamp,
) -> Result<usize, Timestamp> {
    let open = ids.iter().copied().filter(|&id| all[id].is_open(now)).max_by_key(|&id| weight(name_of(id), host));
    open.ok_or_else(|| ids.iter().filter_map(|&id| rests_until(&all[id], now)).min().unwrap_or(Timestamp::NEVER))
}

/// How much a host likes the proxy with this number, beside others.
pub(super) fn weight(number: u64, host: &str) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(number, 0);
    hasher.write(host.as_bytes());
    hasher.finish()
}

/// When it is worth asking again whether it may be used; none when it may.
pub(super) fn rests_until(health: &Health, now: Timestamp) -> Option<Timestamp> {
    if health.is_open(now) {
        return None;
    }
    Some(if health.is_probed { now.plus_ms(PROBE_LOOK_MS).min(health.rests_until_at) } else { health.rests_until_at })
}

/// A request is about to go through it: the first after a rest goes alone.
pub(super) fn begin(health: &mut Health, now: Timestamp) {
    if health.failures > 0 {
        health.is_probed = true;
        health.rests_until_at = now.plus_ms(PROBE_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(all: &[Health], host: &str, now: Timestamp) -> Result<usize, Timestamp> {
        let ids: Vec<usize> = (0..all.len()).collect();
        choose(&ids, all, |id| id as u64, host, now)
    }

    #[test]
    fn the_rest_of_a_proxy_doubles_to_five_minutes_and_one_success_ends_it() {
        let mut health = Health::default();
        let mut now = Timestamp(1);
        let mut rests = Vec::new();
        for _ in 0..11 {
            begin(&mut health, now);
            let rest_ms = health.failed(now, now.plus_ms(5)).expect("it did not rest");
            // What was under way at the same time says the same again, however late.
            assert_eq!(health.failed(now, now.plus_ms(10_000)), None);
            rests.push(rest_ms / 1_000);
            now = now.plus_ms(rest_ms + 5);
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert!(health.worked());
        assert!(!health.worked());
        assert_eq!(health.failed(now, now), Some(1_000));
    }

    #[test]
    fn a_proxy_from_which_nothing_comes_back_five_times_in_a_row_rests() {
        let mut health = Health::default();
        let at = Timestamp;
        for _ in 0..2 {
            for _ in 0..4 {
                assert_eq!(health.silent(at(1), at(1)), None);
            }
            health.worked();
        }
        for _ in 0..4 {
            assert_eq!(health.silent(at(1), at(1)), None);
        }
        assert_eq!(health.silent(at(1), at(1)), Some(1_000));
        // The first request after a rest needs no others to say the same.
        begin(&mut health, at(1_001));
        assert_eq!(health.silent(at(1), at(2_000)), None);
        assert_eq!(health.silent(at(1_001), at(3_000)), Some(2_000));
    }

    #[test]
    fn a_host_keeps_its_proxy_and_only_the_hosts_of_a_failed_one_move() {
        let mut all = vec![Health::default(); 4];
        let hosts: Vec<String> = (0..200).map(|number| format!("h{number}.example.org")).collect();
        let before: Vec<usize> =
            hosts.iter().map(|host| chosen(&all, host, Timestamp(0)).expect("all are well")).collect();
        for id in 0..4 {
            let share = before.iter().filter(|&&chosen| chosen == id).count();
            assert!((25..=75).contains(&share), "proxy {id} has {share} of 200 hosts");
        }
        all[2].failed(Timestamp(0), Timestamp(0));
        for (host, &old) in hosts.iter().zip(&before) {
            let new = chosen(&all, host, Timestamp(1)).expect("three are well");
            assert!(new != 2 && (old == 2 || new == old), "{host}: {old} to {new}");
        }
        // After the rest they come back.
        assert_eq!(
            hosts.iter().map(|host| chosen(&all, host, Timestamp(1_000))).collect::<Result<Vec<_>, _>>(),
            Ok(before)
        );
    }

    #[test]
    fn when_all_rest_the_first_to_come_back_is_named_and_one_request_asks_first() {
        let mut all = vec![Health::default(); 2];
        all[0].failed(Timestamp(0), Timestamp(0));
        all[1].failed(Timestamp(0), Timestamp(500));
        assert_eq!(chosen(&all, "a.org", Timestamp(600)), Err(Timestamp(1_000)));
        assert_eq!(chosen(&all, "a.org", Timestamp(1_000)), Ok(0));
        begin(&mut all[0], Timestamp(1_000));
        assert_eq!(chosen(&all, "a.org", Timestamp(1_000)), Err(Timestamp(1_500)));
        all[0].worked();
        assert_eq!(chosen(&all, "a.org", Timestamp(1_001)), Ok(0));
    }
}
