//! A robots.txt that redirects to another host: that host is asked as any other request asks it, when its throttle gives a permit.
//!
//! The job stays that of the host whose rules it is for; only its request goes elsewhere, and what comes of that is the other host's to
//! learn. While the other host is closed the job waits as a row, and asks its own host anew then.

use url::Url;

use crate::clock::Timestamp;
use crate::job::{HostId, Job, JobKind, NewJob, Origin, Priority, route_of};
use crate::store::{JobMove, Loaded};
use crate::throttle::{Admission, Bearing};

use super::super::host::is_suspect;
use super::super::reading;
use super::super::report::Reading;
use super::{Action, Dispatcher, InFlight};

/// Until a host that the store has to tell of first is asked, or one that has as many requests in flight as it takes, in ms.
const LOOK_AGAIN_MS: u64 = 1_000;

/// Until a host is looked at again that the user has paused, in ms.
const PAUSED_LOOK_MS: u64 = 60_000;

/// What became of a redirect to another host.
pub(super) enum Elsewhere {
    /// Its request is on the way.
    Sent,
    /// It is not, and this becomes of the job.
    Not(JobMove),
}

impl Dispatcher {
    /// Follows the redirect of a robots.txt from one host to another. `asked` is the request that was answered so: that of the job
    /// `loaded`, or one that it was redirected to.
    pub(super) fn ask_elsewhere(
        &mut self,
        loaded: &Loaded,
        asked: &Job,
        (from, target): (Url, Url),
        reading: &mut Reading,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) -> Elsewhere {
        let own_id = loaded.job.id.host_id();
        let private_ok = self.hosts.get(&own_id).is_some_and(|host| host.private_ok);
        let private_ok = reading::may_be_private(&loaded.job, &target, private_ok);
        if self.stopping {
            return Elsewhere::Not(JobMove::Stay);
        }
        let Some(origin) = Origin::of(&target) else { return Elsewhere::Not(JobMove::Stay) };
        let Some(&host_id) = self.by_origin.get(&origin) else {
            // Only the store knows whether that host has said when to come back: it tells of those that have work.
            reading.discovered.extend(origin.join("/robots.txt").ok().map(|url| NewJob {
                priority: Priority::FIRST,
                parent: Some(loaded.job.id),
                private_ok,
                again: true,
                ..NewJob::seed(url, JobKind::Robots, loaded.job.source)
            }));
            return Elsewhere::Not(later(&target, now.plus_ms(LOOK_AGAIN_MS)));
        };
        let Some(host) = self.hosts.get_mut(&host_id) else { return Elsewhere::Not(JobMove::Stay) };
        self.rests.wake(host_id, host, now);
        if let Some(why) = host.given_up() {
            return Elsewhere::Not(JobMove::Dead(format!("its robots.txt lies at {target}: {why}")));
        }
        if host.paused {
            return Elsewhere::Not(later(&target, now.plus_ms(PAUSED_LOOK_MS)));
        }
        // Credentials are for their own origins, and so none goes with it.
        let rests_until = |name: &str| self.proxies.rests_until(name, now);
        let by = Bearing { auth: None, rests_until: Some(&rests_until) };
        match host.limits.admit(now, route_of(&target), &by) {
            Admission::Go(grant) => {
                let via = host.limits.via(&grant);
                let mut redirects = asked.redirects.clone();
                redirects.push(from);
                let job = Job { url: target, redirects, held: None, ..asked.clone() };
                actions.push(Action::Send { job: job.clone(), private_ok, via });
                self.has_suspect_in_flight |= is_suspect(loaded);
                let job_id = job.id;
                let elsewhere = Some((host_id, Box::new(job)));
                let in_flight = InFlight { loaded: loaded.clone(), grant, members: Vec::new(), elsewhere };
                self.in_flight.insert(job_id, in_flight);
                Elsewhere::Sent
            }
            Admission::NotBefore(at) => Elsewhere::Not(later(&target, at)),
            Admission::Full => Elsewhere::Not(later(&target, now.plus_ms(LOOK_AGAIN_MS))),
        }
    }

    /// What becomes of a job whose robots.txt could not be had from the host that it lies at.
    pub(super) fn waits_for(&self, lender: HostId, embargo_at: Option<Timestamp>, now: Timestamp) -> JobMove {
        let at = embargo_at.unwrap_or(now).max(now.plus_ms(LOOK_AGAIN_MS));
        let name = self.hosts.get(&lender).map_or("another host", |host| host.origin.as_str());
        JobMove::Defer { due_at: at, reason: format!("its robots.txt lies at {name}, which is not to be asked yet") }
    }
}

fn later(target: &Url, due_at: Timestamp) -> JobMove {
    JobMove::Defer { due_at, reason: format!("its robots.txt lies at {target}, whose host is not to be asked yet") }
}
