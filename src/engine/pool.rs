//! Limits of one token of a pool, which are none of its host's while another token has something left.
//!
//! Enters: the report of a request that went out with such a token. Leaves: the report as the throttle of the host should have it.

use crate::clock::Timestamp;
use crate::exchange::{AuthId, Fetch, Outcome};
use crate::policy::Verdict;
use crate::throttle::Hints;

use super::report::Report;

/// Tells the fetcher what the answer says of the token that it was asked with. While another one has something left, its limit is
/// kept from the host: a refused job goes again at once, with that one. When all are spent, the host waits for the first.
pub(super) fn settle(fetch: &impl Fetch, auth: AuthId, token: u16, mut report: Report, now: Timestamp) -> Report {
    let is_refused = report.outcome == Outcome::Refused;
    let spent_until_at = report.hints.quota_spent.as_ref().map(|quota| quota.reset_at);
    let refused_until_at = report.hints.retry_at.filter(|_| is_refused);
    let Some(until_at) = refused_until_at.max(spent_until_at) else { return report };
    match fetch.spent(auth, token, until_at, now) {
        None => {
            report.hints = Hints::default();
            if is_refused {
                (report.outcome, report.verdict) = (Outcome::Unsent, Verdict::Hold);
            }
        }
        Some(first_at) => {
            report.hints.retry_at = report.hints.retry_at.map(|at| at.min(first_at));
            if let Some(quota) = &mut report.hints.quota_spent {
                quota.reset_at = quota.reset_at.min(first_at);
            }
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::exchange::{FetchError, Fetched, Request};
    use crate::store::AttemptRecord;
    use crate::throttle::QuotaSpent;

    /// Notes what is spent, and says when the first token returns.
    struct Pool(Option<Timestamp>, Mutex<Vec<(u16, Timestamp)>>);

    impl Fetch for Pool {
        async fn fetch(&self, _: Request) -> Result<Fetched, FetchError> {
            Err(FetchError::Stopped)
        }

        fn spent(&self, _: AuthId, token: u16, until: Timestamp, _: Timestamp) -> Option<Timestamp> {
            self.1.lock().expect("no holder of this lock panics").push((token, until));
            self.0
        }
    }

    fn report(outcome: Outcome, retry_at: Option<i64>, reset_at: Option<i64>) -> Report {
        let quota_spent = reset_at.map(|at| QuotaSpent { reset_at: Timestamp(at), header: "x-ratelimit-remaining" });
        let attempt = AttemptRecord {
            sent_at: Timestamp(1),
            took_ms: 1,
            status: None,
            outcome: "",
            body_bytes: 0,
            retry_at: None,
            error: None,
        };
        let hints = Hints { retry_at: retry_at.map(Timestamp), quota_spent, ..Hints::default() };
        Report { outcome, verdict: Verdict::Settle, hints, attempt, reading: super::super::report::Reading::default() }
    }

    #[track_caller]
    fn check(first_at: Option<i64>, report: Report, expected: &str, spent: &[(u16, i64)]) {
        let pool = Pool(first_at.map(Timestamp), Mutex::default());
        let report = settle(&pool, AuthId(0), 3, report, Timestamp(10));
        let quota_at = report.hints.quota_spent.map(|quota| quota.reset_at.0);
        let shown = format!("{:?} {:?} {quota_at:?}", report.outcome, report.hints.retry_at.map(|at| at.0));
        assert_eq!(shown, expected);
        let noted = pool.1.into_inner().expect("no holder of this lock panics");
        assert_eq!(noted, spent.iter().map(|&(token, at)| (token, Timestamp(at))).collect::<Vec<_>>());
    }

    #[test]
    fn a_limit_of_one_token_is_none_of_the_hosts_while_another_has_something_left() {
        check(None, report(Outcome::Refused, Some(90), None), "Unsent None None", &[(3, 90)]);
        check(None, report(Outcome::Refused, Some(90), Some(95)), "Unsent None None", &[(3, 95)]);
        check(None, report(Outcome::Served, None, Some(95)), "Served None None", &[(3, 95)]);
        // All are spent: the host waits for the first of them.
        check(Some(40), report(Outcome::Refused, Some(90), Some(95)), "Refused Some(40) Some(40)", &[(3, 95)]);
        check(Some(40), report(Outcome::Served, None, Some(95)), "Served None Some(40)", &[(3, 95)]);
        // Nothing says for how long, or it is about the one address.
        check(None, report(Outcome::Refused, None, None), "Refused None None", &[]);
        check(None, report(Outcome::Served, Some(90), None), "Served Some(90) None", &[]);
    }
}
