//! When API streams are pulled: once, on a schedule, or when a person asks for it. Pure.
//!
//! Streams that hang on each other's records make a tree and are pulled together: the pull of the root makes the slices of all.
//!
//! Enters: what the store knows of each stream, the slices that commits open and close, `now`. Leaves: [`PullOrder`]s, pulls that are
//! over, and when the next one is due. Deliberately absent: the slices themselves.

use std::collections::{BTreeMap, HashMap};

use crate::clock::Timestamp;
use crate::job::SourceId;
use crate::store::{PullState, SlicesAck};

/// When a stream is pulled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// From the beginning of one pull to that of the next, in ms; none pulls once.
    pub every_ms: Option<u64>,
    /// The same for pulls of everything, of a stream that is asked only for what is new; none never does so by itself.
    pub full_every_ms: Option<u64>,
    /// The stream whose records make its slices; its own schedule is that one's then.
    pub parent: Option<SourceId>,
    /// What its slices are made of: when that has changed, they are made again.
    pub seeds: String,
    /// Whether it is asked only for what is new.
    pub is_incremental: bool,
}

/// What a run is to do beside what is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PullWishes {
    /// Pull everything anew now.
    pub refresh: bool,
    /// End when all that is due is done, instead of waiting for the next pull.
    pub once: bool,
}

/// What is to be done about a tree of streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullOrder {
    /// The stream whose slices are to be made: the root of the tree.
    pub root: SourceId,
    /// The streams whose pull begins with it, and whether it is one of everything; empty to go on with the pull that is on.
    pub begins: Vec<(SourceId, bool)>,
    /// What the slices are made of, to be stored when all are in the file.
    pub seeds: String,
}

/// How far the pull of a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is over, or there was none yet.
    Resting,
    /// Its first slices are being made.
    Feeding,
    /// All of them are made.
    Walking,
}

struct Tree {
    stage: Stage,
    members: Vec<SourceId>,
    open: i64,
    started_at: Option<Timestamp>,
    full_at: Option<Timestamp>,
    schedule: Schedule,
    /// Whether it is to begin, or to go on, whatever the time: asked at the start of a run.
    is_due: bool,
    /// Whether the pull that is on goes on: it began in an earlier run.
    is_on: bool,
}

/// The pulls of all streams of a run.
pub(super) struct Pulls {
    trees: BTreeMap<SourceId, Tree>,
    root_of: HashMap<SourceId, SourceId>,
    wishes: PullWishes,
    /// When it was first asked what is due: a run of one turn does what was due then, and no more.
    first_asked_at: Option<Timestamp>,
}

impl Pulls {
    /// What is to be done at the start: `states` are what the store knows of the streams with these schedules.
    pub fn new(schedules: &[(SourceId, Schedule)], states: &HashMap<SourceId, PullState>, wishes: PullWishes) -> Self {
        let parents: HashMap<SourceId, SourceId> =
            schedules.iter().filter_map(|(id, schedule)| Some((*id, schedule.parent?))).collect();
        let root_of = |id: SourceId| {
            let mut root = id;
            // No circle is longer than there are streams; the configuration has none.
            for _ in 0..schedules.len() {
                root = parents.get(&root).copied().unwrap_or(root);
            }
            root
        };
        let roots: HashMap<SourceId, SourceId> = schedules.iter().map(|(id, _)| (*id, root_of(*id))).collect();
        let mut trees: BTreeMap<SourceId, Tree> = BTreeMap::new();
        for (id, schedule) in schedules {
            if roots[id] == *id {
                let state = states.get(id).cloned().unwrap_or_default();
                let is_on = state.started_at.is_some() && state.ended_at.is_none();
                let is_changed = state.started_at.is_some() && state.seeds.as_deref() != Some(schedule.seeds.as_str());
                trees.insert(
                    *id,
                    Tree {
                        stage: if is_on && !is_changed { Stage::Walking } else { Stage::Resting },
                        members: Vec::new(),
                        open: 0,
                        started_at: state.started_at,
                        full_at: state.full_started_at,
                        schedule: schedule.clone(),
                        is_due: state.started_at.is_none() || is_changed || wishes.refresh,
                        is_on: is_on || (is_changed && !wishes.refresh),
                    },
                );
            }
        }
        for (id, _) in schedules {
            if let Some(tree) = trees.get_mut(&roots[id]) {
                tree.members.push(*id);
                tree.open += states.get(id).map_or(0, |state| state.n_open);
            }
        }
        Self { trees, root_of: roots, wishes, first_asked_at: None }
    }

    /// What is to be done now.
    pub fn due(&mut self, now: Timestamp) -> Vec<PullOrder> {
        let mut orders = Vec::new();
        let first_asked_at = *self.first_asked_at.get_or_insert(now);
        let until_at = if self.wishes.once { first_asked_at } else { now };
        for (&root, tree) in &mut self.trees {
            if tree.stage != Stage::Resting || !(tree.is_due || tree.next_at().is_some_and(|at| at <= until_at)) {
                continue;
            }
            tree.stage = Stage::Feeding;
            let goes_on = std::mem::take(&mut tree.is_on) && tree.started_at.is_some();
            tree.is_due = false;
            let mut begins = Vec::new();
            if !goes_on {
                let is_full = !tree.schedule.is_incremental
                    || self.wishes.refresh
                    || tree.full_at.is_none()
                    || tree
                        .schedule
                        .full_every_ms
                        .is_some_and(|every_ms| tree.full_at.is_none_or(|at| at.plus_ms(every_ms) <= now));
                begins = tree.members.iter().map(|id| (*id, is_full)).collect();
                tree.started_at = Some(now);
                if is_full {
                    tree.full_at = Some(now);
                }
            }
            orders.push(PullOrder { root, begins, seeds: tree.schedule.seeds.clone() });
        }
        orders
    }

    /// All first slices of a tree are in the file.
    pub fn on_seeded(&mut self, root: SourceId) {
        if let Some(tree) = self.trees.get_mut(&root)
            && tree.stage == Stage::Feeding
        {
            tree.stage = Stage::Walking;
        }
    }

    /// A commit has opened and closed slices.
    pub fn on_ack(&mut self, slices: &HashMap<SourceId, SlicesAck>) {
        for (id, ack) in slices {
            if let Some(tree) = self.root_of.get(id).and_then(|root| self.trees.get_mut(root)) {
                tree.open += ack.opened;
            }
        }
    }

    /// The streams whose pull is over since the last call.
    pub fn ended(&mut self) -> Vec<SourceId> {
        let mut ended = Vec::new();
        for tree in self.trees.values_mut() {
            if tree.stage == Stage::Walking && tree.open <= 0 {
                tree.stage = Stage::Resting;
                ended.extend(&tree.members);
            }
        }
        ended
    }

    /// When the next pull is due; none when none will be, or when the run is to end before.
    pub fn next_at(&self) -> Option<Timestamp> {
        if self.wishes.once {
            return None;
        }
        self.trees.values().filter(|tree| tree.stage == Stage::Resting).filter_map(Tree::next_at).min()
    }

    /// Whether slices are being made, or are to be made at once.
    pub fn is_busy(&self) -> bool {
        self.trees.values().any(|tree| tree.stage == Stage::Feeding || (tree.stage == Stage::Resting && tree.is_due))
    }
}

impl Tree {
    fn next_at(&self) -> Option<Timestamp> {
        Some(self.started_at?.plus_ms(self.schedule.every_ms?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp(1_700_000_000_000);
    const ROOT: SourceId = SourceId(1);
    const CHILD: SourceId = SourceId(2);
    const HOUR_MS: u64 = 3_600_000;

    fn schedules(root: Schedule) -> Vec<(SourceId, Schedule)> {
        vec![(ROOT, root), (CHILD, Schedule { parent: Some(ROOT), ..Schedule::default() })]
    }

    fn hourly() -> Schedule {
        Schedule { every_ms: Some(HOUR_MS), seeds: "s".to_owned(), ..Schedule::default() }
    }

    fn acks(opened: &[(SourceId, i64)]) -> HashMap<SourceId, SlicesAck> {
        opened.iter().map(|(id, opened)| (*id, SlicesAck { opened: *opened })).collect()
    }

    /// The orders, each as the root and the streams that begin.
    fn begins(pulls: &mut Pulls, now: Timestamp) -> Vec<Vec<(SourceId, bool)>> {
        pulls.due(now).into_iter().map(|order| order.begins).collect()
    }

    #[test]
    fn a_tree_is_pulled_together_and_over_when_its_last_slice_is() {
        let mut pulls = Pulls::new(&schedules(hourly()), &HashMap::new(), PullWishes::default());
        assert!(pulls.is_busy());
        assert_eq!(begins(&mut pulls, T0), [vec![(ROOT, true), (CHILD, true)]]);
        assert_eq!(begins(&mut pulls, T0), Vec::<Vec<_>>::new(), "it is not begun twice");
        pulls.on_ack(&acks(&[(ROOT, 1)]));
        assert!(pulls.ended().is_empty(), "its slices are still being made");
        pulls.on_seeded(ROOT);
        assert!(pulls.ended().is_empty());
        pulls.on_ack(&acks(&[(ROOT, -1), (CHILD, 2)]));
        assert!(pulls.ended().is_empty(), "slices of its child are open");
        pulls.on_ack(&acks(&[(CHILD, -2)]));
        assert_eq!(pulls.ended(), [ROOT, CHILD]);
        assert_eq!(pulls.next_at(), Some(T0.plus_ms(HOUR_MS)));
        assert!(begins(&mut pulls, T0.plus_ms(HOUR_MS - 1)).is_empty());
        assert_eq!(begins(&mut pulls, T0.plus_ms(HOUR_MS)).len(), 1);
    }

    #[test]
    fn a_pull_without_slices_is_over_at_once() {
        let mut pulls = Pulls::new(&schedules(hourly()), &HashMap::new(), PullWishes::default());
        assert_eq!(pulls.due(T0).len(), 1);
        assert!(pulls.ended().is_empty(), "nobody knows yet that it has none");
        pulls.on_seeded(ROOT);
        assert_eq!(pulls.ended(), [ROOT, CHILD]);
    }

    fn state(started_at: Timestamp, ended: bool, seeds: &str, n_open: i64) -> HashMap<SourceId, PullState> {
        let state = PullState {
            started_at: Some(started_at),
            ended_at: ended.then_some(started_at),
            full_started_at: Some(started_at),
            seeds: Some(seeds.to_owned()),
            n_open,
        };
        HashMap::from([(ROOT, state)])
    }

    #[test]
    fn a_run_goes_on_with_the_pull_that_is_on() {
        let wishes = PullWishes::default();
        let mut pulls = Pulls::new(&schedules(hourly()), &state(T0, false, "s", 3), wishes);
        assert!(pulls.due(T0.plus_ms(2 * HOUR_MS)).is_empty(), "its slices are made");
        pulls.on_ack(&acks(&[(ROOT, -3)]));
        assert_eq!(pulls.ended(), [ROOT, CHILD]);
        assert_eq!(pulls.due(T0.plus_ms(2 * HOUR_MS)).len(), 1, "and then the next one is overdue");

        let mut interrupted = Pulls::new(&schedules(hourly()), &state(T0, false, "", 3), wishes);
        assert_eq!(begins(&mut interrupted, T0), [vec![]], "its slices were not all made: no new pull");
        let mut changed = Pulls::new(&schedules(hourly()), &state(T0, true, "other", 0), wishes);
        assert_eq!(begins(&mut changed, T0), [vec![]], "other values are added to the pull that was");
    }

    #[test]
    fn a_stream_without_a_schedule_is_pulled_once_or_when_asked() {
        let once = || Schedule { seeds: "s".to_owned(), ..Schedule::default() };
        let done = state(T0, true, "s", 0);
        let mut pulls = Pulls::new(&schedules(once()), &done, PullWishes::default());
        assert!(!pulls.is_busy() && pulls.due(Timestamp::NEVER).is_empty() && pulls.next_at().is_none());
        let mut pulls = Pulls::new(&schedules(once()), &done, PullWishes { refresh: true, once: false });
        assert_eq!(begins(&mut pulls, T0), [vec![(ROOT, true), (CHILD, true)]]);
    }

    #[test]
    fn a_stream_that_is_asked_for_what_is_new_is_pulled_whole_now_and_then() {
        let schedule = Schedule { full_every_ms: Some(10 * HOUR_MS), is_incremental: true, ..hourly() };
        let mut pulls = Pulls::new(&schedules(schedule), &HashMap::new(), PullWishes::default());
        let full: Vec<u64> = (0..25)
            .filter(|hour| {
                let order = pulls.due(T0.plus_ms(hour * HOUR_MS)).pop().expect("one is due each hour");
                pulls.on_seeded(ROOT);
                assert_eq!(pulls.ended().len(), 2);
                order.begins[0].1
            })
            .collect();
        assert_eq!(full, [0, 10, 20]);
    }

    #[test]
    fn a_run_of_one_turn_waits_for_no_pull_and_makes_none_twice() {
        let wishes = PullWishes { once: true, refresh: false };
        let mut pulls = Pulls::new(&schedules(hourly()), &state(T0, true, "s", 0), wishes);
        assert_eq!(pulls.next_at(), None);
        let late = T0.plus_ms(HOUR_MS);
        assert_eq!(begins(&mut pulls, late), [vec![(ROOT, true), (CHILD, true)]]);
        pulls.on_seeded(ROOT);
        assert_eq!(pulls.ended(), [ROOT, CHILD]);
        assert_eq!(
            begins(&mut pulls, late.plus_ms(2 * HOUR_MS)),
            Vec::<Vec<_>>::new(),
            "it took longer than its schedule"
        );
    }
}
