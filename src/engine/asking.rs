//! How a job that was answered before is asked for again, and what is held after its answer. Pure: the rules are those of
//! [`crate::policy::cache`], and what is here brings them together with jobs, sections and settlements.
//!
//! A robots.txt has a lifetime of its own, and what is held of it lies with its host. Deliberately not asked conditionally: requests for
//! several ids, since which go together
//! is chosen each time; and streams on whose records others hang, since a 304 brings no records.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::exchange::{FetchError, Fetched, Headers, Outcome, Secret};
use crate::job::{Call, Held, Job, JobKind};
use crate::policy::cache::{self, Ask, CacheSettings, Change, ContentHash, Sent, Stored, Verdict, Wish};
use crate::store::{Hold, HoldStep, JobMove, PageChange, RobotsRecord, Settlement};

use super::plan::{Plan, Source};
use super::report::Reading;

/// A request as it is sent, but for the conditions.
pub(super) struct Parts {
    /// Its address and what is no secret.
    pub call: Call,
    /// What `Accept` says.
    pub accept: &'static str,
    /// Headers whose values may be secrets.
    pub headers: Vec<(String, Secret)>,
}

/// How one job is asked for, with what its answer is judged by.
pub(super) struct Asking {
    /// How.
    pub ask: Ask,
    stored: Option<Stored>,
    basis: [u8; 16],
    method: crate::job::Method,
    credential: String,
    fields: Vec<(String, String)>,
    settings: CacheSettings,
}

impl Asking {
    /// How `job` is asked for at `now`; none for a job that is always asked for in full and of which nothing is held.
    pub fn of(plan: &Plan, job: &Job, parts: &Parts, now: Timestamp) -> Option<Self> {
        if job.kind == JobKind::Robots {
            return Self::of_robots(plan, job, now);
        }
        if plan.batch_of(job).is_some() {
            return None;
        }
        let source = plan.sources.get(&job.source)?;
        let mut settings = plan.cache.clone();
        let (rules, has_children, mut credential) = match source {
            Source::Site(site) => {
                if let Some(recrawl) = &site.recrawl {
                    settings.fresh_ms_max = settings.fresh_ms_max.min(recrawl.max_every_ms);
                }
                (site.rules, false, String::new())
            }
            Source::Stream(stream) => (stream.rules_hash, !stream.children.is_empty(), stream.credential.clone()),
        };
        credential.push_str(&name_of(&parts.headers));
        let mut asking = Self {
            ask: Ask::NotBefore(now),
            stored: job.held.as_deref().map(stored),
            basis: basis(&parts.call, rules),
            method: parts.call.extra.method,
            credential,
            fields: fields(plan, parts),
            settings,
        };
        let held = job.held.as_deref().filter(|held| held.basis == asking.basis && !has_children);
        let wish = match (held, &job.walk) {
            (Some(held), _) if held.in_full => Wish::Whole,
            // Its cursors have expired: the pages that followed the last time are not to be had.
            (_, Some(walk)) if walk.restarts > 0 => Wish::Whole,
            _ if plan.wishes.refresh && job.kind == JobKind::ApiPage => Wish::Checked,
            _ => Wish::Due,
        };
        let usable = asking.stored.as_ref().filter(|_| held.is_some());
        asking.ask = cache::ask(usable, wish, &asking.sent(), &asking.settings, now);
        Some(asking)
    }

    /// How a robots.txt that has expired is asked for; none when nothing is held of it.
    fn of_robots(plan: &Plan, job: &Job, now: Timestamp) -> Option<Self> {
        let mut asking = Self {
            ask: Ask::NotBefore(now),
            stored: Some(stored(job.held.as_deref()?)),
            basis: [0; 16],
            method: crate::job::Method::Get,
            credential: String::new(),
            fields: Vec::new(),
            // Whoever asks knows that its lifetime is over; and without its text no page could be judged.
            settings: CacheSettings { fresh_ms_max: 0, strict_no_store: false, ..plan.cache.clone() },
        };
        asking.ask = cache::ask(asking.stored.as_ref(), Wish::Due, &asking.sent(), &asking.settings, now);
        Some(asking)
    }

    fn sent(&self) -> Sent<'_> {
        Sent { method: self.method, credential: &self.credential, fields: &self.fields }
    }

    /// Headers beside the request's own.
    pub fn headers(&self) -> impl Iterator<Item = (String, Secret)> + use<'_> {
        let headers = match &self.ask {
            Ask::NotBefore(_) => &[],
            Ask::IfChanged(headers) | Ask::InFull { headers, .. } => headers.as_slice(),
        };
        headers.iter().map(|(name, value)| ((*name).to_owned(), Secret(value.clone())))
    }

    fn judge(&self, result: &Result<Fetched, FetchError>, content: ContentHash) -> Verdict {
        cache::judge(self.stored.as_ref(), &self.ask, &self.sent(), result, content, &self.settings)
    }

    /// What is held of `stored`, and when the page is due again.
    fn hold(
        &self,
        plan: &Plan,
        job: &Job,
        stored: Stored,
        change: Change,
        now: Timestamp,
        dice: &mut fastrand::Rng,
    ) -> Hold {
        let was_there = job.held.as_ref().is_some_and(|held| held.first_at.is_some());
        let known_ms = job.held.as_ref().and_then(|held| held.interval_ms);
        let recrawl = plan.site(job.source).and_then(|site| site.recrawl.as_ref());
        let recrawl = recrawl.map(|settings| cache::recrawl(known_ms, &stored, change, settings, now, dice));
        Hold {
            stored,
            basis: self.basis,
            change: match change {
                Change::New if was_there => PageChange::Back,
                Change::New => PageChange::New,
                Change::Changed => PageChange::Changed,
                Change::Gone => PageChange::Gone,
                Change::Unchanged => PageChange::Unchanged,
            },
            interval_ms: recrawl.map(|recrawl| recrawl.interval_ms),
            next_at: recrawl.map(|recrawl| recrawl.next_at),
        }
    }
}

/// What a 304 means.
pub(super) enum NotModified {
    /// What is held stands.
    Stands(Box<HoldStep>),
    /// What a robots.txt said stands, with these fields.
    RulesStand(Headers),
    /// It cannot be used, and why: the job is asked for in full.
    InFull(&'static str),
    /// It answers a request without conditions.
    Unasked,
}

/// Judges a 304.
pub(super) fn not_modified(
    plan: &Plan,
    job: &Job,
    asking: &Asking,
    result: &Result<Fetched, FetchError>,
    now: Timestamp,
    dice: &mut fastrand::Rng,
) -> NotModified {
    match asking.judge(result, [0; 32]) {
        Verdict::Unchanged { stored } if job.kind == JobKind::Robots => NotModified::RulesStand(stored.headers),
        Verdict::Unchanged { stored } => {
            let hold = asking.hold(plan, job, stored, Change::Unchanged, now, dice);
            NotModified::Stands(Box::new(HoldStep::Confirm(hold)))
        }
        Verdict::Discard { change } => match &asking.stored {
            Some(stored) => NotModified::Stands(forget(asking.hold(plan, job, stored.clone(), change, now, dice))),
            None => NotModified::Unasked,
        },
        Verdict::AskInFull(why) => NotModified::InFull(why),
        Verdict::Replace { .. } | Verdict::Gone { .. } | Verdict::Keep { .. } => NotModified::Unasked,
    }
}

/// Adds to a reading what is held after an answer that is no 304, and takes out of it what is not to be kept.
pub(super) fn after(
    plan: &Plan,
    job: &Job,
    asking: &Asking,
    result: &Result<Fetched, FetchError>,
    reading: &mut Reading,
    now: Timestamp,
    dice: &mut fastrand::Rng,
) {
    let Ok(fetched) = result else { return };
    if job.kind == JobKind::ApiPage && (Outcome::of(result) != Outcome::Served || reading.change.is_some()) {
        return;
    }
    let body = reading.response.as_ref().and_then(|response| response.body.as_ref());
    let content = body.map_or_else(|| *blake3::hash(&fetched.body).as_bytes(), |body| body.hash);
    let was_there = job.held.as_ref().is_some_and(|held| held.first_at.is_some());
    reading.hold = match asking.judge(result, content) {
        Verdict::Replace { stored, change } => {
            let mut hold = asking.hold(plan, job, stored, change, now, dice);
            if !reading.slices.is_empty() {
                // A 304 would not make its slices again.
                hold.basis = [0; 16];
            }
            Some(Box::new(HoldStep::Replace(hold)))
        }
        Verdict::Gone { stored, change } => {
            if was_there {
                // Under the tombstone lies what was there.
                reading.response = None;
            }
            Some(Box::new(HoldStep::Gone(asking.hold(plan, job, stored, change, now, dice))))
        }
        Verdict::Discard { change } => {
            if let Some(response) = &mut reading.response {
                response.body = None;
                response.title = None;
            }
            let of_answer = Stored {
                status: fetched.status,
                headers: Headers::default(),
                variant: cache::Variant::default(),
                requested_at: fetched.sent_at,
                answered_at: fetched.answered_at,
                fetched_at: fetched.finished_at,
                content: None,
                gone_at: None,
            };
            Some(forget(asking.hold(plan, job, of_answer, change, now, dice)))
        }
        Verdict::Keep { .. } => {
            if was_there {
                reading.response = None;
            }
            None
        }
        Verdict::Unchanged { .. } | Verdict::AskInFull(_) => None,
    };
}

fn forget(mut hold: Hold) -> Box<HoldStep> {
    hold.stored.content = None;
    hold.stored.variant = cache::Variant::default();
    Box::new(HoldStep::Forget(hold))
}

/// What is held after the request of a job has ended, and it has moved so. One whose 304 could not be used is asked for in full from now
/// on.
pub(super) fn finished(
    plan: &Plan,
    job: &mut Job,
    change: &JobMove,
    reading: &mut Reading,
    now: Timestamp,
) -> Option<Box<HoldStep>> {
    if std::mem::take(&mut reading.ask_in_full)
        && let Some(held) = &mut job.held
    {
        Arc::make_mut(held).in_full = true;
    }
    settled(plan, job, change, reading.hold.take(), now)
}

/// What is held after the job has moved so: a page that failed stays as it was and is looked at again later.
pub(super) fn settled(
    plan: &Plan,
    job: &Job,
    change: &JobMove,
    hold: Option<Box<HoldStep>>,
    now: Timestamp,
) -> Option<Box<HoldStep>> {
    match change {
        JobMove::Stay | JobMove::Defer { .. } | JobMove::Retry { .. } => None,
        JobMove::Done | JobMove::Gone(_) => hold,
        JobMove::Dead(_) | JobMove::Skipped(_) => hold.or_else(|| {
            let recrawl = plan.site(job.source)?.recrawl.as_ref()?;
            let (min_ms, max_ms) = recrawl.between_ms();
            let interval_ms = job.held.as_ref()?.interval_ms.unwrap_or(min_ms);
            Some(Box::new(HoldStep::Later(now.plus_ms(interval_ms.clamp(min_ms, max_ms)))))
        }),
    }
}

/// The settlement of a job whose page is fresh by what its server said: it is not asked at all.
pub(super) fn fresh(
    plan: &Plan,
    job: &Job,
    parts: &Parts,
    now: Timestamp,
    dice: &mut fastrand::Rng,
) -> Option<Settlement> {
    job.held.as_ref()?;
    let asking = Asking::of(plan, job, parts, now)?;
    let (Ask::NotBefore(at), Some(stored)) = (&asking.ask, &asking.stored) else { return None };
    let mut hold = asking.hold(plan, job, stored.clone(), Change::Unchanged, now, dice);
    // Nothing was learned of how often it changes.
    hold.interval_ms = job.held.as_ref().and_then(|held| held.interval_ms);
    hold.next_at = hold.next_at.map(|_| *at);
    Some(Settlement { hold: Some(Box::new(HoldStep::Confirm(hold))), ..Settlement::bare(job.id, JobMove::Done) })
}

/// What is held of a robots.txt; none when there is nothing to ask with.
pub(super) fn held_of_robots(record: &RobotsRecord) -> Option<Arc<Held>> {
    let status = record.status.filter(|_| !record.disallow_all && !record.headers.is_empty())?;
    Some(Arc::new(Held {
        status,
        headers: record.headers.clone(),
        variant: serde_json::to_string(&cache::Variant::default()).expect("text is JSON"),
        basis: [0; 16],
        requested_at: record.fetched_at,
        answered_at: record.fetched_at,
        fetched_at: record.fetched_at,
        content: Some(*blake3::hash(record.body.as_bytes()).as_bytes()),
        first_at: Some(record.fetched_at),
        gone_at: None,
        interval_ms: None,
        in_full: false,
    }))
}

fn stored(held: &Held) -> Stored {
    Stored {
        status: held.status,
        headers: Headers::from_pairs(held.headers.iter().map(|(name, value)| (name, value))),
        // What a person broke by hand is as good as another credential's: nothing is asked with it.
        variant: serde_json::from_str(&held.variant).unwrap_or_default(),
        requested_at: held.requested_at,
        answered_at: held.answered_at,
        fetched_at: held.fetched_at,
        content: held.content,
        gone_at: held.gone_at,
    }
}

fn basis(call: &Call, rules: [u8; 16]) -> [u8; 16] {
    let mut hash = blake3::Hasher::new();
    hash.update(call.url.as_str().as_bytes()).update(&[0xff]);
    hash.update(serde_json::to_string(&call.extra).expect("it is plain JSON").as_bytes())
        .update(&[0xff])
        .update(&rules);
    let mut basis = [0; 16];
    basis.copy_from_slice(&hash.finalize().as_bytes()[..16]);
    basis
}

/// A name for the headers that may hold a credential.
fn name_of(headers: &[(String, Secret)]) -> String {
    if headers.is_empty() {
        return String::new();
    }
    let parts = headers.iter().flat_map(|(name, value)| [name.as_str(), value.0.as_str()]);
    format!("headers {}", credential_mark(parts))
}

/// A mark of secrets: 16 bits of a hash over them. Enough to notice that they are others, too few to find them out.
pub fn credential_mark<'s>(secrets: impl IntoIterator<Item = &'s str>) -> String {
    let mut hash = blake3::Hasher::new();
    for secret in secrets {
        hash.update(secret.as_bytes()).update(&[0xff]);
    }
    let hash = hash.finalize();
    format!("{:02x}{:02x}", hash.as_bytes()[0], hash.as_bytes()[1])
}

/// What is sent in the fields that an answer may vary by; none of it is a secret.
fn fields(plan: &Plan, parts: &Parts) -> Vec<(String, String)> {
    let mut fields = plan.sent_fields.clone();
    fields.push(("accept".to_owned(), parts.accept.to_owned()));
    fields.extend(parts.call.extra.headers.iter().cloned());
    fields
}
