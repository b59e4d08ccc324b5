//! The scopes of one host that are narrower than the host, and what is known of its routes.
//!
//! Enters: what a request's route is, and what came of it. Leaves: which scopes a refusal closes, and which scopes are new or no
//! more. Bounded: [`SCOPES_MAX`] scopes, [`ROUTES_MAX`] routes of which the server told the resource, names as long as routes and
//! resources are. Deliberately absent: the host's own throttle, and the evidence against a route ([`Suspicion`]).

use crate::clock::Timestamp;

use super::pairs::Pairs;
use super::scope::{Admission, Feedback, Permit, Readiness, Throttle};
use super::scopes::{LaneOf, ScopeChange, ScopeId, ScopeMemory, beside, without_quotas};
use super::suspicion::{Asked, Repeats, Suspect, Suspicion};
use super::{Order, Settings, Snapshot};

/// Narrow scopes of a host at most: Discord and GitHub have fewer that matter at a time.
pub(super) const SCOPES_MAX: usize = 16;
/// Routes whose resource is remembered. A route beyond them waits with every resource that is closed.
const ROUTES_MAX: usize = 64;
/// Resources that one route is known to be charged to, at most.
const RESOURCES_MAX: usize = 4;
/// A scope that was not limited for so long is forgotten at the next start, in ms: a week.
const FORGOTTEN_MS: u64 = 7 * 24 * 3_600_000;

/// The narrow scopes of one host.
#[derive(Clone, Debug, Default)]
pub(super) struct Narrow {
    scopes: Vec<Scope>,
    routes: Vec<Route>,
    /// Whether ordinary answers name their resource: then an answer that names none is charged to none.
    always_declared: bool,
    /// Whether more resources than one were named, so that what is declared of one is none of the host's.
    is_split: bool,
    pub(super) suspicion: Suspicion,
    pairs: Pairs,
    /// Until when the whole host waits for what was announced to a suspect on trial, and why.
    suspended: Option<(Timestamp, String)>,
    /// Names of scopes that are no more, until the store knows.
    gone: Vec<Box<str>>,
    serial: u32,
    version: u32,
}

#[derive(Clone, Debug)]
struct Scope {
    id: ScopeId,
    name: Box<str>,
    /// Whether the server named it, rather than evidence.
    is_declared: bool,
    /// While the evidence is still being gathered, and nobody is told of it, what the host's throttle had learned.
    on_trial: Option<Box<Snapshot>>,
    throttle: Throttle,
    /// When its last limit event opened.
    event_at: Timestamp,
    refused_at: Timestamp,
    refused: u64,
    repeats: Repeats,
    /// Whether the store must be told.
    has_changed: bool,
}

/// A route that was answered.
#[derive(Clone, Debug)]
struct Route {
    name: Box<str>,
    /// The resources to which the server said it charged it.
    resources: Vec<Box<str>>,
    scopes: Vec<ScopeId>,
}

/// Whom a limit closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Targets {
    /// The whole host.
    Host,
    /// These narrow scopes.
    Narrow(Vec<ScopeId>),
}

/// A scope that was joined with another.
pub(super) struct Joined {
    pub(super) throttle: Throttle,
    /// With which; none is the host.
    pub(super) into: Option<ScopeId>,
}

/// The name of the scope of a resource. Those that evidence finds are named by their route, which begins with a slash.
fn name_of(resource: &str) -> Box<str> {
    format!("resource {resource}").into()
}

impl Narrow {
    /// Goes on from what was remembered.
    pub(super) fn remembered(settings: Settings, memories: Vec<ScopeMemory>, now: Timestamp) -> Self {
        let mut narrow = Self::default();
        for memory in memories {
            let memory = memory.with_embargo();
            let ScopeMemory { name, routes, not_before_at, refused_at, refused, snapshot, .. } = memory;
            let is_stale = refused_at.plus_ms(FORGOTTEN_MS) < now && not_before_at <= now;
            if is_stale || narrow.scopes.len() >= SCOPES_MAX {
                narrow.gone.push(name);
                continue;
            }
            let resource = name.strip_prefix("resource ").map(Box::from);
            let id = narrow.next_id();
            narrow.push(id, name, resource.is_some(), Throttle::new(settings, Some(&snapshot), now));
            let scope = narrow.scopes.last_mut().expect("it was just pushed");
            (scope.refused_at, scope.refused, scope.has_changed) = (refused_at, refused, false);
            for name in routes {
                let route = narrow.route_mut(&name);
                route.scopes.push(id);
                route.resources.extend(resource.clone());
            }
        }
        narrow
    }

    pub(super) fn version(&self) -> u32 {
        self.version.wrapping_add(self.suspicion.version())
    }

    /// The number of a scope, or of a suspect, that is new.
    pub(super) fn next_id(&mut self) -> ScopeId {
        self.serial += 1;
        ScopeId(self.serial)
    }

    fn push(&mut self, id: ScopeId, name: Box<str>, is_declared: bool, throttle: Throttle) {
        self.version += 1;
        self.scopes.push(Scope {
            id,
            name,
            is_declared,
            on_trial: None,
            throttle,
            event_at: Timestamp::EPOCH,
            refused_at: Timestamp::EPOCH,
            refused: 0,
            repeats: Repeats::default(),
            has_changed: true,
        });
    }

    fn scope_mut(&mut self, id: ScopeId) -> Option<&mut Scope> {
        self.scopes.iter_mut().find(|scope| scope.id == id)
    }

    pub(super) fn throttle_mut(&mut self, id: ScopeId) -> Option<&mut Throttle> {
        self.scope_mut(id).map(|scope| &mut scope.throttle)
    }

    /// What servers declare of these scopes and was not told yet, with their names.
    pub(super) fn take_declared(&mut self, now: Timestamp) -> impl Iterator<Item = (Box<str>, String)> {
        let told = self.scopes.iter_mut().filter(|scope| scope.on_trial.is_none());
        told.filter_map(move |scope| Some((scope.name.clone(), scope.throttle.take_declared(now)?)))
    }

    /// Does what a person says about all limits.
    pub(super) fn obey(&mut self, order: &Order, now: Timestamp) {
        for scope in &mut self.scopes {
            scope.throttle.obey(order, now);
            scope.has_changed = true;
        }
    }

    fn route(&self, name: &str) -> Option<&Route> {
        self.routes.iter().find(|route| *route.name == *name)
    }

    fn route_mut(&mut self, name: &str) -> &mut Route {
        let index = self.routes.iter().position(|route| *route.name == *name).unwrap_or_else(|| {
            self.routes.push(Route { name: name.into(), resources: Vec::new(), scopes: Vec::new() });
            self.routes.len() - 1
        });
        &mut self.routes[index]
    }

    /// The scopes of a route.
    fn scopes_of(&self, route: &str) -> impl Iterator<Item = &Scope> {
        let ids = self.route(route).map(|route| route.scopes.as_slice()).unwrap_or_default();
        self.scopes.iter().filter(move |scope| ids.contains(&scope.id))
    }

    pub(super) fn lanes(&self) -> Vec<LaneOf> {
        let of_scope = |scope: &Scope| {
            let own =
                self.routes.iter().filter(|route| !route.name.is_empty() && route.scopes.first() == Some(&scope.id));
            let routes = own.map(|route| route.name.clone()).collect();
            let name = scope.on_trial.is_none().then(|| scope.name.clone());
            LaneOf { id: scope.id, scope: name, routes }
        };
        let of_suspect =
            |suspect: &Suspect| LaneOf { id: suspect.id, scope: None, routes: vec![suspect.route.clone()] };
        let suspects = self.suspicion.queues().filter(|suspect| self.scope_of_queue(&suspect.route).is_none());
        self.scopes.iter().map(of_scope).chain(suspects.map(of_suspect)).collect()
    }

    pub(super) fn lane_of(&self, route: &str) -> Option<ScopeId> {
        if route.is_empty() {
            return None;
        }
        let suspect = || self.suspicion.queues().find(|suspect| *suspect.route == *route);
        self.scope_of_queue(route).or_else(|| suspect().map(|suspect| suspect.id))
    }

    fn scope_of_queue(&self, route: &str) -> Option<ScopeId> {
        self.route(route)?.scopes.first().copied()
    }

    /// `host`, or worse, if a scope of the route is worse.
    pub(super) fn ready(&mut self, now: Timestamp, route: &str, host: Readiness) -> Readiness {
        let mut ready = host;
        if let Some((at, _)) = self.suspended(now) {
            ready = worse(ready, Readiness::NotBefore(at));
        }
        if !self.is_elsewhere(route) {
            // It may share any of the resources that are closed.
            let closed = self.scopes.iter().filter(|scope| scope.is_declared);
            for (at, _) in closed.filter_map(|scope| scope.throttle.embargo(now)) {
                ready = worse(ready, Readiness::NotBefore(at));
            }
        }
        let Some(route) = self.routes.iter().find(|known| *known.name == *route) else { return ready };
        for scope in self.scopes.iter_mut().filter(|scope| route.scopes.contains(&scope.id)) {
            ready = worse(ready, scope.throttle.ready(now));
        }
        ready
    }

    /// Until when the whole host waits with a suspect.
    pub(super) fn suspended(&self, now: Timestamp) -> Option<(Timestamp, &str)> {
        self.suspended.as_ref().filter(|(at, _)| *at > now).map(|(at, why)| (*at, why.as_str()))
    }

    /// Whether it is known which resources a route is charged to.
    fn is_elsewhere(&self, route: &str) -> bool {
        self.route(route).is_some_and(|route| self.always_declared || !route.resources.is_empty())
    }

    /// Takes from the scopes of a route, all of which are ready.
    pub(super) fn admit(&mut self, now: Timestamp, route: &str) -> Vec<(ScopeId, Permit)> {
        let ids: Vec<ScopeId> = self.route(route).map(|route| route.scopes.clone()).unwrap_or_default();
        let scopes = self.scopes.iter_mut().filter(|scope| ids.contains(&scope.id));
        scopes
            .filter_map(|scope| match scope.throttle.admit(now) {
                Admission::Go(permit) => Some((scope.id, permit)),
                Admission::NotBefore(_) | Admission::Full => None,
            })
            .collect()
    }

    /// Takes in to which resource the server says it charged a route.
    pub(super) fn learn_route(&mut self, name: &str, feedback: &Feedback) {
        let (Feedback::Answered(hints) | Feedback::Refused(hints)) = feedback else { return };
        self.always_declared |= matches!(feedback, Feedback::Answered(_)) && hints.resource.is_some();
        let is_known = self.route(name).is_some();
        let declares = self.always_declared || self.routes.iter().any(|route| !route.resources.is_empty());
        if (hints.resource.is_none() && (is_known || !declares)) || (!is_known && self.routes.len() >= ROUTES_MAX) {
            return;
        }
        let scope = hints.resource.as_deref().and_then(|resource| {
            let name = name_of(resource);
            self.scopes.iter().find(|scope| scope.name == name).map(|scope| scope.id)
        });
        let route = self.route_mut(name);
        if let Some(resource) = &hints.resource
            && !route.resources.contains(resource)
            && route.resources.len() < RESOURCES_MAX
        {
            route.resources.push(resource.clone());
            if let Some(id) = scope.filter(|id| !route.scopes.contains(id)) {
                route.scopes.push(id);
                self.version += 1;
            }
        }
    }

    /// Whether an answer, whose route is known, is the first to show that the host has more resources than one.
    pub(super) fn is_split_by(&mut self, feedback: &Feedback) -> bool {
        let is_new = !self.is_split && self.is_of_part(feedback);
        self.is_split |= is_new;
        is_new
    }

    /// Whether an answer names a resource that is not the whole host.
    pub(super) fn is_of_part(&self, feedback: &Feedback) -> bool {
        let (Feedback::Answered(hints) | Feedback::Refused(hints)) = feedback else { return false };
        hints.resource.as_ref().is_some_and(|resource| self.has_beside(resource))
    }

    /// Whether routes are known that lie beside a resource.
    fn has_beside(&self, resource: &str) -> bool {
        self.routes.iter().any(|route| {
            let is_elsewhere = !route.resources.iter().any(|known| **known == *resource);
            is_elsewhere && (self.always_declared || !route.resources.is_empty())
        })
    }

    /// Whom a limit closes that a request of a route has hit. A resource that is met for the first time gets its scope.
    pub(super) fn targets(&mut self, route: &str, feedback: &Feedback, settings: &Settings, now: Timestamp) -> Targets {
        let own = |narrow: &Self| {
            let ids: Vec<ScopeId> = narrow.scopes_of(route).map(|scope| scope.id).collect();
            if ids.is_empty() { Targets::Host } else { Targets::Narrow(ids) }
        };
        let (Feedback::Answered(hints) | Feedback::Refused(hints)) = feedback else { return own(self) };
        if hints.is_global {
            return Targets::Host;
        }
        let Some(resource) = &hints.resource else { return own(self) };
        // A server may name more of them than are remembered; a scope that the route does not pass would not hold it back.
        let Some(known) = self.route(route).filter(|route| route.resources.contains(resource)) else {
            return Targets::Host;
        };
        let name = name_of(resource);
        if let Some(scope) = self.scopes.iter().find(|scope| scope.name == name) {
            let is_passed = known.scopes.contains(&scope.id);
            return if is_passed { Targets::Narrow(vec![scope.id]) } else { Targets::Host };
        }
        // A resource narrows only where there is something beside it.
        if !self.has_beside(resource) || !self.make_room(now) {
            return Targets::Host;
        }
        let id = self.next_id();
        self.push(id, name, true, Throttle::new(*settings, None, now));
        for route in &mut self.routes {
            if route.resources.contains(resource) {
                route.scopes.push(id);
            }
        }
        Targets::Narrow(vec![id])
    }

    /// Whether one more refusal is about this request alone.
    pub(super) fn is_alone(&self, targets: &Targets, asked: Asked<'_>) -> bool {
        match targets {
            Targets::Host => self.suspicion.is_alone(asked),
            Targets::Narrow(ids) => {
                let mut scopes = self.scopes.iter().filter(|scope| ids.contains(&scope.id));
                scopes.all(|scope| scope.repeats.is_alone(asked.id))
            }
        }
    }

    /// Gives permits back with an outcome that is about no limit, or about none of these scopes.
    pub(super) fn give_back(
        &mut self,
        permits: Vec<(ScopeId, Permit)>,
        asked: Asked<'_>,
        feedback: &Feedback,
        now: Timestamp,
        dice: &mut fastrand::Rng,
    ) {
        let passed = matches!(feedback, Feedback::Answered(_));
        // Whether the host can be reached is the host's matter.
        let is_of_host = matches!(feedback, Feedback::Unreachable(_) | Feedback::Silent(_));
        let feedback = if is_of_host { &Feedback::Stopped } else { feedback };
        let resource = match feedback {
            Feedback::Answered(hints) => hints.resource.as_deref().map(name_of),
            _ => None,
        };
        for (id, permit) in permits {
            // One that was joined with another meanwhile is no more.
            let Some(scope) = self.scope_mut(id) else { continue };
            let is_other = resource.as_ref().is_some_and(|name| scope.is_declared && scope.name != *name);
            let told = if is_other { &without_quotas(feedback) } else { feedback };
            scope.throttle.finish(permit, told, now, dice);
            scope.has_changed = true;
            if passed {
                scope.repeats.on_passed(asked.id);
            }
        }
    }

    /// The scopes `ids` are told of a limit of theirs, the others of the permits only that it is not theirs. Whether the request
    /// was refused before.
    pub(super) fn on_limit(
        &mut self,
        ids: &[ScopeId],
        mut permits: Vec<(ScopeId, Permit)>,
        asked: Asked<'_>,
        (feedback, sent_at): (&Feedback, Timestamp),
        now: Timestamp,
        dice: &mut fastrand::Rng,
    ) -> bool {
        let is_refused = !matches!(feedback, Feedback::Answered(_));
        let mut again = false;
        for &id in ids {
            let own = permits.iter().position(|(of, _)| *of == id).map(|index| permits.swap_remove(index).1);
            let Some(scope) = self.scope_mut(id) else { continue };
            let permit = own.unwrap_or_else(|| scope.throttle.adopt(sent_at));
            scope.throttle.finish(permit, feedback, now, dice);
            scope.refused_at = now;
            scope.refused += u64::from(is_refused);
            scope.has_changed = true;
            again |= is_refused && scope.repeats.on_refused(asked.id);
            let is_event = sent_at > scope.event_at;
            if is_event {
                scope.event_at = now;
                if !scope.is_declared && scope.on_trial.is_none() {
                    self.on_event(Some(id), sent_at, now);
                }
            }
        }
        self.give_back(permits, asked, &beside(feedback), now, dice);
        again
    }

    /// A scope that evidence found, or the host, was closed by the refusal of a request that was sent at `sent_at`.
    pub(super) fn on_event(&mut self, scope: Option<ScopeId>, sent_at: Timestamp, now: Timestamp) {
        let is_found = |scope: &&Scope| !scope.is_declared && scope.on_trial.is_none();
        let found = self.scopes.iter().filter(is_found).map(|scope| Some(scope.id));
        self.pairs.on_event(scope, std::iter::once(None).chain(found), sent_at, now);
    }

    /// A request of a route that was sent at `sent_at` got a good answer.
    pub(super) fn on_passed(&mut self, asked: Asked<'_>, sent_at: Timestamp, dice: &mut fastrand::Rng) {
        self.suspicion.on_passed(asked, sent_at, dice);
        let route = self.routes.iter().find(|route| *route.name == *asked.route);
        let ids = route.map(|route| route.scopes.as_slice()).unwrap_or_default();
        self.pairs.on_passed(ids, sent_at);
    }

    /// Makes room for one more scope, at the cost of one that is idle. Whether there is.
    fn make_room(&mut self, now: Timestamp) -> bool {
        if self.scopes.len() < SCOPES_MAX {
            return true;
        }
        let is_idle = |scope: &&Scope| scope.throttle.in_flight() == 0 && scope.throttle.embargo(now).is_none();
        let Some(id) = self.scopes.iter().filter(is_idle).min_by_key(|scope| scope.refused_at).map(|scope| scope.id)
        else {
            return false;
        };
        self.remove(id, None);
        true
    }

    /// Gives the route of a suspect a scope of its own that goes on from what was `learned`. Whether it could.
    pub(super) fn set_apart(
        &mut self,
        suspect: &Suspect,
        settings: Settings,
        learned: &Snapshot,
        now: Timestamp,
    ) -> bool {
        let Suspect { id, route, events, .. } = suspect;
        if self.route(route).is_some_and(|route| !route.scopes.is_empty()) || !self.make_room(now) {
            return false;
        }
        let mut throttle = Throttle::new(settings, Some(&learned.without_guess()), now);
        throttle.forget_declared();
        self.push(*id, route.clone(), false, throttle);
        let scope = self.scopes.last_mut().expect("it was just pushed");
        (scope.event_at, scope.refused_at, scope.refused) = (now, now, u64::from(*events));
        scope.on_trial = suspect.is_on_trial().then(|| Box::new(learned.clone()));
        self.route_mut(route).scopes.push(*id);
        true
    }

    /// A suspect is convicted: if it has its scope already, that is what it seemed to be. Whether it has.
    pub(super) fn confirm(&mut self, id: ScopeId) -> bool {
        let Some(scope) = self.scope_mut(id) else { return false };
        (scope.on_trial, scope.has_changed) = (None, true);
        self.suspended = None;
        self.version += 1;
        true
    }

    /// The whole host waits for what was announced to a suspect on trial.
    pub(super) fn suspend_with(&mut self, ids: &[ScopeId], now: Timestamp) {
        let on_trial = self.scopes.iter().filter(|scope| scope.on_trial.is_some() && ids.contains(&scope.id));
        let closed = on_trial.filter_map(|scope| scope.throttle.embargo(now));
        if let Some((at, why)) = closed.max_by_key(|(at, _)| *at)
            && self.suspended(now).is_none_or(|(known_at, _)| known_at < at)
        {
            self.suspended = Some((at, why.to_owned()));
        }
    }

    /// Whether one of these scopes is on trial.
    pub(super) fn are_on_trial(&self, ids: &[ScopeId]) -> bool {
        self.scopes.iter().any(|scope| scope.on_trial.is_some() && ids.contains(&scope.id))
    }

    /// Takes out a scope whose trial is over without a conviction, with what the host's throttle had learned before.
    pub(super) fn take_acquitted(&mut self) -> Option<(Joined, Box<Snapshot>)> {
        let is_over = |scope: &&Scope| scope.on_trial.is_some() && !self.suspicion.is_on_trial(scope.id);
        let id = self.scopes.iter().find(is_over).map(|scope| scope.id)?;
        let scope = self.remove(id, None)?;
        Some((Joined { throttle: scope.throttle, into: None }, scope.on_trial?))
    }

    /// Takes out one of two scopes that always close together.
    pub(super) fn take_one_of_a_pair(&mut self) -> Option<Joined> {
        let (gone, into) = self.pairs.take_joined()?;
        let scope = self.remove(gone, into)?;
        if into.is_none() {
            self.suspicion.acquit(scope.name);
        }
        Some(Joined { throttle: scope.throttle, into })
    }

    /// Takes a scope out; its routes go `into` another one, or to the host.
    fn remove(&mut self, id: ScopeId, into: Option<ScopeId>) -> Option<Scope> {
        let index = self.scopes.iter().position(|scope| scope.id == id)?;
        let scope = self.scopes.remove(index);
        for route in &mut self.routes {
            if let Some(place) = route.scopes.iter().position(|&of| of == id) {
                route.scopes.remove(place);
                route.scopes.extend(into.filter(|into| !route.scopes.contains(into)));
            }
        }
        self.routes.retain(|route| !route.scopes.is_empty() || !route.resources.is_empty());
        if let Some(kept) = into.and_then(|id| self.scope_mut(id)) {
            kept.has_changed = true;
        }
        self.pairs.forget(id);
        if scope.on_trial.is_none() {
            self.gone.push(scope.name.clone());
        }
        self.version += 1;
        Some(scope)
    }

    pub(super) fn embargo(&self, now: Timestamp, route: &str) -> Option<(Timestamp, &str)> {
        let own = self.scopes_of(route).filter_map(|scope| scope.throttle.embargo(now));
        own.chain(self.suspended(now)).max_by_key(|(at, _)| *at)
    }

    pub(super) fn closed_by(&self, now: Timestamp, route: &str) -> Option<(Timestamp, &str)> {
        let closed = self.scopes_of(route).filter_map(|scope| Some((scope.throttle.embargo(now)?.0, &*scope.name)));
        closed.max_by_key(|(at, _)| *at)
    }

    pub(super) fn take_changes(&mut self, now: Timestamp) -> Vec<ScopeChange> {
        let gone = std::mem::take(&mut self.gone).into_iter().map(|name| ScopeChange { name, memory: None });
        let mut changes: Vec<ScopeChange> = gone.collect();
        let routes = &self.routes;
        for scope in self.scopes.iter_mut().filter(|scope| scope.has_changed && scope.on_trial.is_none()) {
            scope.has_changed = false;
            let embargo = scope.throttle.embargo(now);
            let own = routes.iter().filter(|route| route.scopes.contains(&scope.id));
            let memory = ScopeMemory {
                name: scope.name.clone(),
                routes: own.map(|route| route.name.clone()).collect(),
                not_before_at: embargo.map_or(Timestamp::EPOCH, |(at, _)| at),
                not_before_why: embargo.map(|(_, why)| why.to_owned()),
                refused_at: scope.refused_at,
                refused: scope.refused,
                words: scope.throttle.learned(),
                snapshot: scope.throttle.snapshot(now),
            };
            changes.push(ScopeChange { name: scope.name.clone(), memory: Some(memory) });
        }
        changes
    }
}

/// The later of two answers: both scopes must agree.
pub(super) fn worse(one: Readiness, other: Readiness) -> Readiness {
    match (one, other) {
        (Readiness::NotBefore(one), Readiness::NotBefore(other)) => Readiness::NotBefore(one.max(other)),
        (Readiness::NotBefore(at), _) | (_, Readiness::NotBefore(at)) => Readiness::NotBefore(at),
        (Readiness::Full, _) | (_, Readiness::Full) => Readiness::Full,
        (Readiness::Now, Readiness::Now) => Readiness::Now,
    }
}
