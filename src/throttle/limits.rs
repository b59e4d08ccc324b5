//! All limits of one host: those of the host as a whole, and those of each token or proxy that it is asked by.
//!
//! Enters: `now`, dice, which pools a host has, and what came of each request. Leaves: [`Admission`]s that name the members that a
//! request goes by, and what a store must remember. Deliberately absent: queues, and what tokens and proxies are.
//!
//! Whoever declares a pool says that a server counts for each member. So a refusal closes the member that the request went by, and the
//! others go on: a token's limit before a proxy's, a proxy's before the host's. Where [`Sharing`] finds that the members of a pool have
//! one limit together, it is that of the next pool, or of the host. The user's ceilings, Crawl-delay, the breaker and a wait of
//! the whole host hold whoever asks.
//!
//! A host without pools, as nearly all are, has its [`Scopes`] and nothing else.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::exchange::{AuthId, Outcome, Via};

use super::narrow::worse;
use super::pool::{Chosen, Member, Pool, PoolKind, PoolOf, better};
use super::scope::{Admission, Feedback, Readiness};
use super::scopes::{
    Blame, LaneOf, Permits, ScopeChange, ScopeId, ScopeMemory, Scopes, announced_at, beside, is_limit,
};
use super::sharing::{Hit, Whose};
use super::suspicion::Asked;
use super::{Hints, News, Order, Settings, Snapshot, Suspicion, Throttle};

/// The first number of the queues of routes that only members have scopes for.
const LANES_FROM: u32 = 1 << 24;

/// All limits of one host.
#[derive(Clone, Debug)]
pub struct Limits {
    whole: Scopes,
    pools: Option<Box<Pools>>,
}

#[derive(Clone, Debug)]
struct Pools {
    /// Those of tokens before that of the proxies.
    all: Vec<Pool>,
    /// The routes that members have scopes for, each with the number of its queue.
    routes: Vec<(Box<str>, ScopeId)>,
    /// The version of the members' scopes that they are taken from.
    version: u32,
}

/// The right to send one request now: permits of the host and of each member that it goes by.
#[derive(Debug)]
#[must_use = "a permit that is not given back counts as a request in flight for ever"]
pub struct Grant {
    whole: Permits,
    /// Empty without pools, which costs nothing.
    members: Vec<Leave>,
}

#[derive(Debug)]
struct Leave {
    pool: usize,
    member: usize,
    permits: Permits,
}

/// Until when a proxy rests, by its name.
pub type RestsUntil<'r> = &'r dyn Fn(&str) -> Option<Timestamp>;

/// Who is to send a request.
#[derive(Clone, Copy, Default)]
pub struct Bearing<'r> {
    /// With which credentials; none are those of no pool.
    pub auth: Option<AuthId>,
    /// Until when nothing should go through a proxy of this name; none for one that works, or when nobody knows.
    pub rests_until: Option<RestsUntil<'r>>,
}

/// Something new to tell of a limit: the name of its member, none for the host, and what is known.
#[derive(Debug)]
pub struct Told {
    /// Whose; none is the host's.
    pub name: Option<Box<str>>,
    /// How much it matters.
    pub news: News,
    /// The limit in words.
    pub words: String,
}

impl Limits {
    /// The limits of a host as they were remembered; `settings` are the user's ceilings for it as a whole.
    #[must_use]
    pub fn new(
        settings: Settings,
        snapshot: Option<&Snapshot>,
        mut memories: Vec<ScopeMemory>,
        pools: &[PoolOf],
        now: Timestamp,
    ) -> Self {
        let pools: Vec<Pool> = pools.iter().map(|of| Pool::new(of, &settings, &mut memories, now)).collect();
        // What is left are parts of the host, and members that are no more: they are no limits of it.
        memories.retain(ScopeMemory::is_part);
        let whole = Scopes::new(settings, snapshot, memories, now);
        let pools = (!pools.is_empty()).then(|| Box::new(Pools { all: pools, routes: Vec::new(), version: 0 }));
        let mut limits = Self { whole, pools };
        limits.follow_routes();
        limits
    }

    /// The limit of the host as a whole.
    #[must_use]
    pub fn host(&self) -> &Throttle {
        self.whole.host()
    }

    fn pools(&self) -> &[Pool] {
        self.pools.as_ref().map_or(&[], |pools| &pools.all)
    }

    fn pools_mut(&mut self) -> &mut [Pool] {
        self.pools.as_mut().map_or(&mut [], |pools| &mut pools.all)
    }

    fn members_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.pools_mut().iter_mut().flat_map(|pool| &mut pool.members)
    }

    /// Whether it is asked by tokens or proxies of a pool.
    #[must_use]
    pub fn has_pools(&self) -> bool {
        self.pools.is_some()
    }

    /// Unfolds what rests, and true if the host's own throttle did.
    pub fn wake(&mut self, now: Timestamp) -> bool {
        self.members_mut().for_each(|member| {
            member.scopes.wake(now);
        });
        self.whole.wake(now)
    }

    /// Folds the throttles if nothing has come through the host for long enough; whether it rests. Members rest with their host.
    pub fn rest(&mut self, now: Timestamp) -> bool {
        let rests = self.whole.rest(now);
        if rests {
            self.members_mut().for_each(|member| {
                member.scopes.rest(now);
            });
        }
        rests
    }

    /// Whether the throttle of the host is folded.
    #[must_use]
    pub fn is_resting(&self) -> bool {
        self.whole.is_resting()
    }

    /// What robots.txt asks for; a ceiling like the user's own.
    pub fn set_crawl_delay(&mut self, crawl_delay_ms: Option<u64>) {
        self.whole.set_crawl_delay(crawl_delay_ms);
    }

    /// A host that was given up has work again: the next probe says whether it is still down.
    pub fn ask_again(&mut self) {
        self.whole.ask_again();
    }

    /// Does what a person says about the limit of the host. What is to be forgotten is forgotten of its parts and members too.
    pub fn obey(&mut self, order: &Order, now: Timestamp) {
        self.whole.obey(order, now);
        if matches!(order, Order::Forget) {
            for pool in self.pools_mut() {
                pool.sharing.forget();
                for member in &mut pool.members {
                    member.forget(now);
                }
            }
        }
    }

    /// Changes whenever a route gets another queue.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.whole.version().wrapping_add(self.pools.as_ref().map_or(0, |pools| pools.version))
    }

    /// The queues that a host has beside the one for the rest: see [`Scopes::lanes`]. A route that only members have a scope for has
    /// a queue of its own too.
    #[must_use]
    pub fn lanes(&self) -> Vec<LaneOf> {
        let mut lanes = self.whole.lanes();
        let of_members = self.pools.iter().flat_map(|pools| &pools.routes);
        let own = of_members.filter(|(route, _)| self.whole.lane_of(route).is_none());
        lanes.extend(own.map(|(route, id)| LaneOf { id: *id, scope: None, routes: vec![route.clone()] }));
        lanes
    }

    /// Where requests of a route queue; none is the rest.
    #[must_use]
    pub fn lane_of(&self, route: &str) -> Option<ScopeId> {
        let of_members = || self.pools.as_ref()?.routes.iter().find(|(known, _)| **known == *route).map(|(_, id)| *id);
        self.whole.lane_of(route).or_else(of_members)
    }

    /// Takes in which routes members have scopes for.
    fn follow_routes(&mut self) {
        let Some(pools) = &mut self.pools else { return };
        let members = || pools.all.iter().flat_map(|pool| &pool.members);
        let version = members().fold(0, |sum: u32, member| sum.wrapping_add(member.scopes.version()));
        if version == pools.version {
            return;
        }
        let mut routes: Vec<Box<str>> =
            members().flat_map(|member| member.scopes.lanes()).flat_map(|lane| lane.routes).collect();
        routes.sort_unstable();
        routes.dedup();
        let mut next = pools.routes.iter().map(|(_, id)| id.0 + 1).max().unwrap_or(LANES_FROM);
        let known = std::mem::take(&mut pools.routes);
        pools.routes = routes
            .into_iter()
            .map(|route| {
                let same = known.iter().find(|(of, _)| *of == route);
                same.cloned().unwrap_or_else(|| {
                    next += 1;
                    (route, ScopeId(next - 1))
                })
            })
            .collect();
        pools.version = version;
    }

    /// Whether requests of other routes are to go before those of this one, if there are any.
    #[must_use]
    pub fn goes_second(&self, route: &str) -> bool {
        let by_members = || {
            let mut members = self.pools().iter().flat_map(|pool| &pool.members);
            members.any(|member| member.scopes.goes_second(route))
        };
        self.whole.goes_second(route) || by_members()
    }

    /// Whether a request has to wait while others of its host need not.
    #[must_use]
    pub fn is_held(&mut self, now: Timestamp, route: &str, auth: Option<AuthId>) -> bool {
        if self.whole.is_held(now, route) {
            return true;
        }
        // Others may go with other credentials, or with none.
        let is_closed = |pool: &mut Pool| match pool.kind {
            PoolKind::Tokens(of) => Some(of) == auth && pool.closed_until(now, route).is_some(),
            PoolKind::Proxies => pool.members.iter_mut().all(|member| member.scopes.is_held(now, route)),
        };
        self.pools_mut().iter_mut().any(is_closed)
    }

    /// Whether a request of a route may go now, whoever sends it.
    pub fn ready(&mut self, now: Timestamp, route: &str) -> Readiness {
        let mut ready = self.whole.ready(now, route);
        for are_proxies in [false, true] {
            let of_kind = self.pools_mut().iter_mut().filter(|pool| (pool.kind == PoolKind::Proxies) == are_proxies);
            let mut members = of_kind.flat_map(|pool| &mut pool.members);
            let best = members.try_fold(None, |best, member| {
                let best = better(best, member.scopes.ready(now, route));
                if best == Readiness::Now { Err(()) } else { Ok(Some(best)) }
            });
            if let Ok(Some(best)) = best {
                ready = worse(ready, best);
            }
        }
        ready
    }

    /// Asks for the right to send a request now: the host first, then for a member of each of its pools.
    pub fn admit(&mut self, now: Timestamp, route: &str, by: &Bearing<'_>) -> Admission<Grant> {
        let mut members = Vec::new();
        if let Some(pools) = &mut self.pools {
            match self.whole.ready(now, route) {
                Readiness::Now => {}
                Readiness::NotBefore(at) => return Admission::NotBefore(at),
                Readiness::Full => return Admission::Full,
            }
            let mut chosen = Vec::new();
            for (index, pool) in pools.all.iter_mut().enumerate() {
                let kind = pool.kind;
                let rests_until = |name: &str| match (kind, by.rests_until) {
                    (PoolKind::Proxies, Some(rests_until)) => rests_until(name.strip_prefix("proxy ").unwrap_or(name)),
                    _ => None,
                };
                if matches!(kind, PoolKind::Tokens(auth) if Some(auth) != by.auth) {
                    continue;
                }
                match pool.choose(now, route, rests_until) {
                    Chosen::Member(member) => chosen.push((index, member)),
                    Chosen::None(Readiness::NotBefore(at)) => return Admission::NotBefore(at),
                    Chosen::None(_) => return Admission::Full,
                }
            }
            for (pool, member) in chosen {
                // All are ready, so none refuses.
                if let Admission::Go(permits) = pools.all[pool].members[member].scopes.admit(now, route) {
                    members.push(Leave { pool, member, permits });
                }
            }
        }
        match self.whole.admit(now, route) {
            Admission::Go(whole) => Admission::Go(Grant { whole, members }),
            Admission::NotBefore(at) => Admission::NotBefore(at),
            Admission::Full => Admission::Full,
        }
    }

    /// What a request goes by.
    #[must_use]
    pub fn via(&self, grant: &Grant) -> Via {
        let mut via = Via::default();
        for Leave { pool, member, .. } in &grant.members {
            let pool = &self.pools()[*pool];
            match pool.kind {
                PoolKind::Tokens(_) => via.token = u16::try_from(*member).ok(),
                PoolKind::Proxies => {
                    let name = &pool.members[*member].name;
                    via.proxy = Some(Arc::from(name.strip_prefix("proxy ").unwrap_or(name)));
                }
            }
        }
        via
    }

    /// The place among its members of the one whose limit a refusal would be; none is the host.
    fn blamed(&self, grant: &Grant) -> Option<usize> {
        if grant.whole.host().is_canary() {
            // The host as a whole was closed, and this request is to say whether it still is.
            return None;
        }
        grant.members.iter().position(|leave| !self.pools()[leave.pool].sharing.is_shared())
    }

    /// What an answer is taken for whose status leaves a doubt whether it is a refusal: see [`Throttle::judge`].
    pub fn judge(
        &mut self,
        grant: &Grant,
        job: i64,
        outcome: &Outcome,
        status: Option<u16>,
        now: Timestamp,
    ) -> Option<Suspicion> {
        match self.blamed(grant) {
            None => self.whole.judge(&grant.whole, job, outcome, status, now),
            Some(index) => {
                let Leave { pool, member, permits } = &grant.members[index];
                let pools = self.pools.as_mut()?;
                pools.all[*pool].members[*member].scopes.judge(permits, job, outcome, status, now)
            }
        }
    }

    /// Gives permits back with what became of their request.
    pub fn finish(
        &mut self,
        grant: Grant,
        asked: Asked<'_>,
        feedback: &Feedback,
        now: Timestamp,
        dice: &mut fastrand::Rng,
    ) -> Blame {
        if grant.members.is_empty() {
            return self.whole.finish(grant.whole, asked, feedback, now, dice);
        }
        let blame = if is_limit(feedback) {
            self.on_limit(grant, asked, feedback, now, dice)
        } else {
            let blamed = self.blamed(&grant);
            let Grant { whole, members } = grant;
            let sent_at = whole.host().sent_at();
            for (index, leave) in members.into_iter().enumerate() {
                let told = if Some(index) == blamed { of_member(feedback) } else { of_bystander(feedback) };
                self.give_back(leave, sent_at, asked, &told, now, dice);
            }
            let told = if blamed.is_some() { &of_host(feedback) } else { feedback };
            self.whole.finish(whole, asked, told, now, dice)
        };
        self.follow_routes();
        blame
    }

    fn give_back(
        &mut self,
        leave: Leave,
        sent_at: Timestamp,
        asked: Asked<'_>,
        told: &Feedback,
        now: Timestamp,
        dice: &mut fastrand::Rng,
    ) -> Blame {
        let Leave { pool, member, permits } = leave;
        let pool = &mut self.pools_mut()[pool];
        if matches!(told, Feedback::Answered(_)) && !is_limit(told) {
            let members = &pool.members;
            let is_closed = |other: usize| members[other].scopes.closed_until(now, asked.route).is_some();
            pool.sharing.on_passed(member, sent_at, is_closed);
            pool.members[member].spent = pool.members[member].spent.saturating_add(1);
        }
        let member = &mut pool.members[member];
        member.has_changed = true;
        member.scopes.finish(permits, asked, told, now, dice)
    }

    /// A limit was hit, or said that it is used up: that of the first member whose own it may be, else of the host.
    fn on_limit(
        &mut self,
        grant: Grant,
        asked: Asked<'_>,
        feedback: &Feedback,
        now: Timestamp,
        dice: &mut fastrand::Rng,
    ) -> Blame {
        let is_refused = !matches!(feedback, Feedback::Answered(_));
        let Grant { whole, members } = grant;
        let sent_at = whole.host().sent_at();
        // The host as a whole was closed, and this request was to say whether it still is.
        let is_of_host = whole.host().is_canary();
        let mut feedback = feedback.clone();
        let mut blame = None;
        for leave in members {
            let (member, announced) = (leave.member, announced_at(&feedback));
            let pool = &mut self.pools_mut()[leave.pool];
            if is_of_host || blame.is_some() || pool.sharing.is_shared() {
                if is_refused && blame.is_none() && pool.sharing.is_shared() {
                    pool.sharing.on_shared(now);
                }
                self.give_back(leave, sent_at, asked, &beside(&feedback), now, dice);
                continue;
            }
            let is_canary = leave.permits.host().is_canary();
            let members = &pool.members;
            let (is_searched, is_fresh) = (!members[member].is_explored(now), !members[member].has_hits());
            let spent = members[member].spent;
            let hit = Hit {
                member,
                id: asked.id,
                sent_at,
                announced_at: announced,
                is_refused,
                is_canary,
                is_searched,
                is_fresh: is_searched && is_fresh,
                spent,
            };
            let was_closed = |other: usize| members[other].scopes.closed_until(sent_at, asked.route).is_some();
            let before = || members[member].scopes.host().snapshot(now);
            match pool.sharing.on_hit(hit, was_closed, before, now) {
                Whose::Own => {
                    pool.members[member].on_hit(&hit, now);
                    let own = self.give_back(leave, sent_at, asked, &feedback, now, dice);
                    // If another member takes another request, it tells more than the same one would.
                    blame = Some(if own == Blame::Scope && is_refused { Blame::ScopeAgain } else { own });
                }
                Whose::All { undo, announced_at } => {
                    if let Some((other, before)) = undo {
                        pool.members[other].take_back(&before, now);
                    }
                    if pool.sharing.is_shared() {
                        pool.members.iter_mut().for_each(|member| member.forget(now));
                    }
                    self.give_back(leave, sent_at, asked, &beside(&feedback), now, dice);
                    feedback = not_before(feedback, announced_at);
                }
            }
        }
        match blame {
            Some(blame) => {
                self.whole.finish(whole, asked, &beside(&feedback), now, dice);
                blame
            }
            None => self.whole.finish(whole, asked, &feedback, now, dice),
        }
    }

    /// Until when requests of a route are under an embargo whoever sends them, awake or not.
    #[must_use]
    pub fn closed_until(&self, now: Timestamp, route: &str) -> Option<Timestamp> {
        let whole = self.whole.closed_until(now, route);
        let of_kind = |are_proxies: bool| {
            let pools = self.pools().iter().filter(move |pool| (pool.kind == PoolKind::Proxies) == are_proxies);
            pools.map(|pool| pool.closed_until(now, route)).min().flatten()
        };
        whole.max(of_kind(false)).max(of_kind(true))
    }

    /// The embargo of the host as a whole.
    #[must_use]
    pub fn embargo_of_all(&self, now: Timestamp) -> Option<(Timestamp, &str)> {
        self.whole.embargo_of_all(now)
    }

    /// The longest embargo that a request of a route is under for the host, and for each member that is closed, with the name of what is
    /// closed: none for the host. Not asked of a host that rests.
    pub fn embargoes(&self, now: Timestamp, route: &str) -> impl Iterator<Item = Embargo<'_>> {
        let whole = self.whole.embargo(now, route).map(|(until_at, why)| {
            let part = self.whole.closed_by(now, route).map(str::to_owned);
            Embargo { name: part, until_at, why }
        });
        let of_member = move |member: &'_ Member| -> Option<(String, Timestamp)> {
            let (until_at, _) = member.scopes.embargo(now, route)?;
            let part = member.scopes.closed_by(now, route).map(|part| format!(" {part}")).unwrap_or_default();
            Some((format!("{}{part}", member.name), until_at))
        };
        let members = self.pools().iter().flat_map(|pool| &pool.members);
        let members = members.filter_map(move |member| {
            let (name, until_at) = of_member(member)?;
            Some(Embargo { name: Some(name), until_at, why: member.scopes.embargo(now, route)?.1 })
        });
        whole.into_iter().chain(members)
    }

    /// What is new in what is believed about the limits of the host and of its members.
    pub fn take_news(&mut self) -> Vec<Told> {
        let told = |name: Option<&str>, scopes: &mut Scopes| {
            let news = scopes.take_news()?;
            Some(Told { name: name.map(Box::from), news, words: scopes.host().describe() })
        };
        let mut all: Vec<Told> = told(None, &mut self.whole).into_iter().collect();
        all.extend(self.members_mut().filter_map(|member| told(Some(&member.name), &mut member.scopes)));
        all
    }

    /// What the server declares that was not told yet, in words: of the host, or of the part or member that is named.
    pub fn take_declared(&mut self, now: Timestamp) -> Vec<(Option<Box<str>>, String)> {
        let mut all = self.whole.take_declared(now);
        for member in self.members_mut() {
            let name = &member.name;
            all.extend(member.scopes.take_declared(now).into_iter().map(|(part, words)| {
                let part = part.map(|part| format!(" {part}")).unwrap_or_default();
                (Some(format!("{name}{part}").into()), words)
            }));
        }
        all
    }

    /// The parts and members of the host that have changed since this was last asked, for the store.
    pub fn take_changes(&mut self, now: Timestamp) -> Vec<ScopeChange> {
        let mut changes = self.whole.take_changes(now);
        for pool in self.pools_mut() {
            pool.take_changes(now, &mut changes);
        }
        changes
    }
}

/// A wait that somebody was told to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embargo<'l> {
    /// What is closed; none is the host as a whole.
    pub name: Option<String>,
    /// Nothing goes before this instant.
    pub until_at: Timestamp,
    /// Why, in words.
    pub why: &'l str,
}

/// What a member is told whose limit it would be. Whether the host can be reached, and where it sends its visitors, is not its matter.
fn of_member(feedback: &Feedback) -> Feedback {
    match feedback {
        Feedback::Answered(hints) => Feedback::Answered(Hints { retry_at: None, ..hints.clone() }),
        Feedback::Unreachable(_) | Feedback::Silent(_) => Feedback::Stopped,
        other => other.clone(),
    }
}

/// What a member is told whose limit it is not.
fn of_bystander(feedback: &Feedback) -> Feedback {
    match feedback {
        Feedback::Answered(_) => Feedback::Answered(Hints::default()),
        other => of_member(other),
    }
}

/// What the host is told of an answer whose quotas are a member's.
fn of_host(feedback: &Feedback) -> Feedback {
    match feedback {
        Feedback::Answered(Hints { retry_at, server_offset_ms, .. }) => {
            Feedback::Answered(Hints { retry_at: *retry_at, server_offset_ms: *server_offset_ms, ..Hints::default() })
        }
        other => other.clone(),
    }
}

/// A refusal that asks for no shorter a wait than this.
fn not_before(feedback: Feedback, at: Option<Timestamp>) -> Feedback {
    match feedback {
        Feedback::Refused(hints) => Feedback::Refused(Hints { retry_at: hints.retry_at.max(at), ..hints }),
        other => other,
    }
}

#[cfg(test)]
mod tests;
