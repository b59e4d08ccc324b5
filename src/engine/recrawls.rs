//! When pages of sites are fetched again. Pure.
//!
//! Each page has a time at which it is due, in the store. Enters: what the store knows of each site, when the first page is due after a
//! commit, `now`. Leaves: [`RecrawlStep`]s, and when the next one is due. Deliberately absent: the times of single pages, which come of
//! the cache rules with each answer.

use std::collections::{BTreeMap, HashMap};

use crate::clock::Timestamp;
use crate::job::SourceId;
use crate::store::{RecrawlAck, RecrawlStep};

/// Pages that become ready in one commit, at most: there may be millions that are due.
const REOPENED_MAX: u32 = 1_000;

/// The schedule of a site: in words, and the least and the longest time from one answer to the next, in ms.
pub(super) type SiteSchedule = Option<(String, (u64, u64))>;

struct Site {
    schedule: SiteSchedule,
    /// Whether the pages still have to be brought onto it.
    is_other: bool,
    /// When the first page is due, as far as commits have told.
    due_at: Option<Timestamp>,
    /// Whether a step is on its way.
    is_asked: bool,
}

/// The schedules of all sites of a run.
pub(super) struct Recrawls {
    sites: BTreeMap<SourceId, Site>,
    /// When the run began, if it is to end with what was due then.
    once_at: Option<Timestamp>,
}

impl Recrawls {
    /// `sites` are the sites with their schedules, and what the store knows of them: the schedule in words, and when the first page is due.
    pub fn new(
        sites: impl IntoIterator<Item = (SourceId, SiteSchedule, Option<String>, Option<Timestamp>)>,
        once_at: Option<Timestamp>,
    ) -> Self {
        let sites = sites.into_iter().map(|(id, schedule, known, due_at)| {
            let is_other = schedule.as_ref().map(|(words, _)| words) != known.as_ref();
            let due_at = due_at.filter(|_| schedule.is_some());
            (id, Site { schedule, is_other, due_at, is_asked: false })
        });
        Self { sites: sites.collect(), once_at }
    }

    /// What is to be done now.
    pub fn due(&mut self, now: Timestamp) -> Vec<RecrawlStep> {
        let until = self.once_at.unwrap_or(now);
        let mut steps = Vec::new();
        for (&source, site) in &mut self.sites {
            if site.is_asked {
                continue;
            }
            if std::mem::take(&mut site.is_other) {
                let (words, between_ms) = site.schedule.clone().unzip();
                steps.push(RecrawlStep::Schedule { source, words, between_ms });
            } else if site.due_at.is_some_and(|at| at <= until) {
                steps.push(RecrawlStep::Reopen { source, until, limit: REOPENED_MAX });
            } else {
                continue;
            }
            site.is_asked = true;
        }
        steps
    }

    /// A commit has answered steps, and pages whose first is due then.
    pub fn on_ack(&mut self, acks: &HashMap<SourceId, RecrawlAck>) {
        for (id, ack) in acks {
            let Some(site) = self.sites.get_mut(id) else { continue };
            site.is_asked &= ack.reopened.is_none();
            site.due_at = match ack.reopened {
                // It was read after all else was written.
                Some(reopened) => reopened.next_at,
                None => site.due_at.into_iter().chain(ack.due_at).min(),
            };
            site.due_at = site.due_at.filter(|_| site.schedule.is_some());
        }
    }

    /// When the next page is due; none when none will be, or when the run is to end before.
    pub fn next_at(&self) -> Option<Timestamp> {
        let waiting = self.sites.values().filter(|site| !site.is_asked);
        waiting.filter_map(|site| site.due_at).filter(|&at| self.once_at.is_none_or(|once_at| at <= once_at)).min()
    }

    /// Whether a step is to be made at once, or is on its way.
    pub fn is_busy(&self) -> bool {
        self.sites.values().any(|site| site.is_asked || site.is_other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Reopened;

    const T0: Timestamp = Timestamp(1_700_000_000_000);
    const SITE: SourceId = SourceId(1);
    const HOUR_MS: u64 = 3_600_000;

    fn recrawls(known: Option<&str>, due_at: Option<Timestamp>, once: bool) -> Recrawls {
        let schedule = Some(("hourly".to_owned(), (HOUR_MS, HOUR_MS)));
        Recrawls::new([(SITE, schedule, known.map(str::to_owned), due_at)], once.then_some(T0))
    }

    fn told(recrawls: &mut Recrawls, next_at: Option<Timestamp>) {
        let reopened = Some(Reopened { pages: 1, done: 1, next_at });
        recrawls.on_ack(&HashMap::from([(SITE, RecrawlAck { due_at: None, reopened })]));
    }

    #[test]
    fn another_schedule_moves_all_pages_before_any_is_due() {
        let mut recrawls = recrawls(Some("daily"), Some(T0), false);
        let steps = recrawls.due(T0);
        assert!(
            matches!(&steps[..], [RecrawlStep::Schedule { words: Some(words), .. }] if words == "hourly"),
            "{steps:?}"
        );
        assert!(recrawls.is_busy() && recrawls.due(T0).is_empty());
        told(&mut recrawls, Some(T0.plus_ms(HOUR_MS)));
        assert!(!recrawls.is_busy() && recrawls.due(T0).is_empty());
        assert_eq!(recrawls.next_at(), Some(T0.plus_ms(HOUR_MS)));
    }

    #[test]
    fn due_pages_come_in_bounded_batches_until_none_is_left() {
        let mut recrawls = recrawls(Some("hourly"), Some(T0), false);
        for next_at in [Some(T0), Some(T0), Some(T0.plus_ms(HOUR_MS))] {
            assert_eq!(recrawls.due(T0), [RecrawlStep::Reopen { source: SITE, until: T0, limit: REOPENED_MAX }]);
            told(&mut recrawls, next_at);
        }
        assert!(recrawls.due(T0).is_empty());
        let answered = RecrawlAck { due_at: Some(T0.plus_ms(5)), reopened: None };
        recrawls.on_ack(&HashMap::from([(SITE, answered)]));
        assert_eq!(recrawls.next_at(), Some(T0.plus_ms(5)));
    }

    #[test]
    fn a_run_of_one_turn_fetches_again_what_was_due_when_it_began() {
        let mut recrawls = recrawls(Some("hourly"), Some(T0), true);
        assert_eq!(recrawls.next_at(), Some(T0));
        assert_eq!(recrawls.due(T0.plus_ms(9)).len(), 1);
        told(&mut recrawls, Some(T0.plus_ms(5)));
        assert_eq!((recrawls.next_at(), recrawls.is_busy()), (None, false));
        assert!(recrawls.due(T0.plus_ms(HOUR_MS)).is_empty());
    }

    #[test]
    fn a_site_without_a_schedule_has_nothing_due() {
        let mut recrawls = Recrawls::new([(SITE, None, None, Some(T0))], None);
        assert!(recrawls.due(T0).is_empty() && recrawls.next_at().is_none() && !recrawls.is_busy());
        let mut recrawls = Recrawls::new([(SITE, None, Some("hourly".to_owned()), Some(T0))], None);
        assert_eq!(recrawls.due(T0), [RecrawlStep::Schedule { source: SITE, words: None, between_ms: None }]);
        told(&mut recrawls, None);
        assert!(!recrawls.is_busy());
    }
}
