//! A pool: tokens or proxies that a host may be asked by, each with limits of its own.
//!
//! Enters: which members there are, `now`, and what came of the requests that went by each. Leaves: which member the next request
//! goes by. Deliberately absent: what is the host's alone, and secrets; members are known by their number or address.
//!
//! The member in use is used as long as it may. The next one takes what that one may not send now. Until it is known what a member
//! bears, the others wait for it: members that search for their limits side by side would all come to them at once, and nobody could
//! tell one limit of all from one for each.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::exchange::AuthId;

use super::scope::Readiness;
use super::scopes::{ScopeChange, ScopeMemory, Scopes};
use super::sharing::{Hit, Sharing};
use super::{Order, Settings, Snapshot};

/// Times that a member came to a limit, after which nobody waits any longer until it is known what a member bears.
const SEARCH_MAX: u32 = 3;
/// The same for the time since it first did, in ms: at the pace that it has learned by then it may not be refused for long.
const SEARCH_MS_MAX: u64 = 15_000;

/// What the members of a pool are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The tokens of these credentials.
    Tokens(AuthId),
    /// The proxies that the host may be reached by.
    Proxies,
}

/// A pool that a host may be asked by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolOf {
    /// What its members are.
    pub kind: PoolKind,
    /// What it is called: `api.gh tokens`, `proxies`.
    pub name: Arc<str>,
    /// What its members are called, never with a secret: `api.gh token 2`, `proxy 10.0.0.1:3128`. The first is used first.
    pub members: Vec<Arc<str>>,
    /// A mark of each member's secret, above 0: too short to find it out, and enough to know it again when it stands at another place of
    /// the pool, or is another one at the same. Empty where names are enough.
    pub marks: Vec<u16>,
}

/// A pool with what is known of it.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) kind: PoolKind,
    name: Arc<str>,
    pub(super) members: Vec<Member>,
    pub(super) sharing: Sharing,
    /// The member in use.
    current: usize,
}

/// A member with its limits.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: Arc<str>,
    pub(super) scopes: Scopes,
    refused: u64,
    refused_at: Timestamp,
    /// Good answers since the last limit that it hit.
    pub(super) spent: u32,
    /// Times that it came to a limit in this process, and when it first did in any.
    hits: u32,
    first_hit_at: Timestamp,
    mark: u16,
    /// Whether the store must be told.
    pub(super) has_changed: bool,
}

/// What was remembered under the name of a member: of itself, and of parts of the host that it is asked for.
type Known = (Option<ScopeMemory>, Vec<ScopeMemory>);

/// Whether a pool has a member for a request.
pub(super) enum Chosen {
    Member(usize),
    None(Readiness),
}

impl Pool {
    /// Goes on from those of `memories` that are its own, which are taken out.
    pub(super) fn new(of: &PoolOf, settings: &Settings, memories: &mut Vec<ScopeMemory>, now: Timestamp) -> Self {
        // What the user allows holds for the host as a whole, however many members ask it.
        let settings = Settings { rate_max_per_s: None, delay_ms: 0, ..*settings };
        let seen_at = memories.extract_if(.., |memory| *memory.name == *of.name).map(|memory| memory.refused_at).max();
        let mut known: Vec<Known> = of.members.iter().map(|name| known_as(name, memories)).collect();
        if !of.marks.is_empty() {
            // Those of a pool that had more members before.
            let more = of.members.len() + 1..;
            let of_number = |number| Some(known_as(&numbered(of.members.first()?, number)?, memories));
            known.extend(more.map_while(of_number).take_while(|(own, _)| own.is_some()));
        }
        let place_of = |known: &[Known], index: usize, mark: u16| {
            let marks = || known.iter().map(|(own, _)| own.as_ref().map_or(0, |own| own.snapshot.mark));
            if mark == 0 || marks().nth(index) == Some(mark) {
                return Some(index);
            }
            let is_unknown = marks().nth(index) == Some(0);
            marks().position(|known| known == mark).or(is_unknown.then_some(index))
        };
        let mut members = Vec::new();
        for (index, name) in of.members.iter().enumerate() {
            let mark = of.marks.get(index).copied().unwrap_or(0);
            let place = place_of(&known, index, mark);
            // Two of the same mark go on from the same.
            let (own, narrow) = place.map(|place| known[place].clone()).unwrap_or_default();
            let mut member = Member::remembered(name, settings, own, narrow, now);
            (member.mark, member.has_changed) = (mark, place != Some(index));
            members.push(member);
        }
        let sharing = Sharing::remembered(seen_at.unwrap_or_default(), now);
        Self { kind: of.kind, name: Arc::clone(&of.name), members, sharing, current: 0 }
    }

    /// The member that the next request of a route goes by. `rests_until` is until when a member cannot be used, whatever its limits.
    pub(super) fn choose(
        &mut self,
        now: Timestamp,
        route: &str,
        rests_until: impl Fn(&str) -> Option<Timestamp>,
    ) -> Chosen {
        let count = self.members.len();
        let (mut best, mut is_searched) = (None, false);
        for index in (self.current..count).chain(0..self.current) {
            let member = &mut self.members[index];
            if let Some(at) = rests_until(&member.name) {
                best = Some(better(best, Readiness::NotBefore(at)));
                continue;
            }
            if is_searched && !member.is_explored(now) {
                continue;
            }
            let ready = member.scopes.ready(now, route);
            if ready == Readiness::Now {
                if self.members[self.current].scopes.closed_until(now, route).is_some() {
                    self.current = index;
                }
                return Chosen::Member(index);
            }
            is_searched |= !member.is_explored(now) && member.scopes.closed_until(now, route).is_none();
            best = Some(better(best, ready));
        }
        Chosen::None(best.unwrap_or(Readiness::Full))
    }

    /// Until when no member may send anything of a route, awake or not.
    pub(super) fn closed_until(&self, now: Timestamp, route: &str) -> Option<Timestamp> {
        self.members.iter().map(|member| member.scopes.closed_until(now, route)).min().flatten()
    }

    /// The narrow scopes and the members that have changed, for the store.
    pub(super) fn take_changes(&mut self, now: Timestamp, changes: &mut Vec<ScopeChange>) {
        for member in &mut self.members {
            for mut change in member.scopes.take_changes(now) {
                change.name = format!("{} {}", member.name, change.name).into();
                if let Some(memory) = &mut change.memory {
                    memory.name = change.name.clone();
                }
                changes.push(change);
            }
            if std::mem::take(&mut member.has_changed) {
                changes.push(member.memory(now));
            }
        }
        if std::mem::take(&mut self.sharing.has_changed) {
            let name: Box<str> = (*self.name).into();
            let memory = self.sharing.is_shared().then(|| ScopeMemory {
                name: name.clone(),
                routes: Vec::new(),
                not_before_at: Timestamp::EPOCH,
                not_before_why: None,
                refused_at: self.sharing.seen_at(),
                refused: 0,
                words: Some("all of them share one limit".to_owned()),
                snapshot: Snapshot { seen_at: self.sharing.seen_at(), ..Snapshot::default() },
            });
            changes.push(ScopeChange { name, memory });
        }
    }
}

impl Member {
    fn remembered(
        name: &Arc<str>,
        settings: Settings,
        own: Option<ScopeMemory>,
        narrow: Vec<ScopeMemory>,
        now: Timestamp,
    ) -> Self {
        let own = own.map(ScopeMemory::with_embargo);
        let scopes = Scopes::new(settings, own.as_ref().map(|own| &own.snapshot), narrow, now);
        let (refused, refused_at) = own.map_or((0, Timestamp::EPOCH), |own| (own.refused, own.refused_at));
        let name = Arc::clone(name);
        Self {
            name,
            scopes,
            refused,
            refused_at,
            spent: 0,
            hits: 0,
            first_hit_at: refused_at,
            mark: 0,
            has_changed: false,
        }
    }

    /// It has hit a limit of its own.
    pub(super) fn on_hit(&mut self, hit: &Hit, now: Timestamp) {
        self.hits += u32::from(hit.sent_at > self.refused_at && !hit.is_canary);
        if self.first_hit_at == Timestamp::EPOCH {
            self.first_hit_at = now;
        }
        self.refused += u64::from(hit.is_refused);
        (self.refused_at, self.spent) = (now, 0);
    }

    /// Its last refusals were about another limit: goes back to what was known before.
    pub(super) fn take_back(&mut self, before: &Snapshot, now: Timestamp) {
        self.scopes.take_back(before, now);
        (self.hits, self.first_hit_at) = (0, Timestamp::EPOCH);
        self.has_changed = true;
    }

    /// Forgets what was learned, but for a wait that is not over.
    pub(super) fn forget(&mut self, now: Timestamp) {
        self.scopes.obey(&Order::Forget, now);
        self.has_changed = true;
    }

    /// Whether it came to a limit of its own in this process: it may be at it again at once.
    pub(super) fn has_hits(&self) -> bool {
        self.hits > 0
    }

    /// Whether it is known what it bears, or enough was paid for not knowing it.
    pub(super) fn is_explored(&self, now: Timestamp) -> bool {
        let is_old = self.first_hit_at > Timestamp::EPOCH && now.since_ms(self.first_hit_at) >= SEARCH_MS_MAX;
        is_old || self.hits >= SEARCH_MAX || self.scopes.host().is_explored()
    }

    fn memory(&self, now: Timestamp) -> ScopeChange {
        let name: Box<str> = (*self.name).into();
        let whole = self.scopes.host();
        let embargo = self.scopes.embargo_of_all(now);
        let memory = ScopeMemory {
            name: name.clone(),
            routes: Vec::new(),
            not_before_at: embargo.map_or(Timestamp::EPOCH, |(at, _)| at),
            not_before_why: embargo.map(|(_, why)| why.to_owned()),
            refused_at: self.refused_at,
            refused: self.refused,
            words: whole.learned(),
            snapshot: Snapshot { mark: self.mark, ..whole.snapshot(now) },
        };
        ScopeChange { name, memory: Some(memory) }
    }
}

/// Takes out what was remembered under a name.
fn known_as(name: &str, memories: &mut Vec<ScopeMemory>) -> Known {
    let (mut own, mut narrow) = (None, Vec::new());
    for memory in memories.extract_if(.., |memory| within(&memory.name, name).is_some()) {
        match within(&memory.name, name) {
            Some(rest) if !rest.is_empty() => narrow.push(ScopeMemory { name: rest.into(), ..memory }),
            _ => own = Some(memory),
        }
    }
    (own, narrow)
}

/// The name of the member with another number.
fn numbered(name: &str, number: usize) -> Option<String> {
    let (head, _) = name.rsplit_once(' ')?;
    Some(format!("{head} {number}"))
}

/// What a name says beyond that of a member: the narrow scope of it, or nothing.
fn within<'n>(name: &'n str, member: &str) -> Option<&'n str> {
    let rest = name.strip_prefix(member)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(' ') }
}

/// The one that comes first: any member will do.
pub(super) fn better(one: Option<Readiness>, other: Readiness) -> Readiness {
    match (one, other) {
        (Some(Readiness::Now), _) | (_, Readiness::Now) => Readiness::Now,
        (Some(Readiness::NotBefore(one)), Readiness::NotBefore(other)) => Readiness::NotBefore(one.min(other)),
        (Some(Readiness::NotBefore(at)), Readiness::Full) | (_, Readiness::NotBefore(at)) => Readiness::NotBefore(at),
        (Some(Readiness::Full) | None, Readiness::Full) => Readiness::Full,
    }
}
