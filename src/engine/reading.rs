//! From what an answer means to what is stored: links become jobs, records become items.

use std::cell::RefCell;
use std::net::IpAddr;

use bytes::Bytes;
use serde_json::Value;
use url::{Host, Url};

use crate::clock::Timestamp;
use crate::exchange::{BodyEnd, Fetched, Outcome};
use crate::interpret::{self, DocumentKind, FeedEntry, Link, LinkKind, PageMeaning, SitemapEntry};
use crate::job::{ItemKey, Job, JobKind, LastChange, NewItem, NewJob, Origin, Priority, SourceId};
use crate::policy::cache::NamedDate;
use crate::policy::{self, Redirect, RobotsAnswer, ScopeKind, ScopeRules, ScopeVerdict};
use crate::store::{JobMove, NewResponse, NextPage, StoredBody};

use super::plan::{Plan, Save, SitePlan};
use super::report::Reading;
use super::streams::{self, Judgement};

/// Addresses that are taken from one sitemap: what sitemaps.org allows.
const SITEMAP_URLS_MAX: usize = 50_000;
/// Sitemaps that lead to sitemaps that lead to sitemaps, at most. An index may not name an index, but some do.
const SITEMAP_DEPTH_MAX: u32 = 4;
/// zstd's level for bodies. Measured on HTML: level 1 costs a third of level 3 and its frames are a tenth larger.
const ZSTD_LEVEL: i32 = 1;

/// Reads an answer, whatever its status.
pub(super) fn read(
    plan: &Plan,
    job: &Job,
    outcome: &Outcome,
    fetched: &Fetched,
    private_ok: bool,
    now: Timestamp,
) -> Reading {
    match outcome {
        Outcome::Redirected => redirected(plan, job, fetched, private_ok),
        Outcome::Served => match &fetched.body_end {
            BodyEnd::TooLarge { bytes_max } => Reading {
                change: Some(JobMove::Dead(format!("its body is larger than max_body ({bytes_max} bytes)"))),
                response: Some(response(fetched)),
                ..Reading::default()
            },
            BodyEnd::Unwanted => Reading {
                change: Some(JobMove::Skipped(match content_type(fetched) {
                    Some(content_type) => format!("{content_type} is not among the wanted types"),
                    None => "its type is not among the wanted types".to_owned(),
                })),
                response: Some(response(fetched)),
                ..Reading::default()
            },
            BodyEnd::Whole | BodyEnd::Cut { .. } => served(plan, job, fetched, private_ok, now),
        },
        Outcome::Gone | Outcome::Rejected => Reading { response: Some(response(fetched)), ..Reading::default() },
        _ => Reading::default(),
    }
}

/// What is kept of an answer that a rule for APIs has judged.
pub(super) fn judged(fetched: &Fetched, judgement: Judgement) -> Reading {
    let mut reading = Reading { response: Some(response(fetched)), ..Reading::default() };
    match judgement {
        Judgement::None | Judgement::Throttled { .. } | Judgement::Failed(_) => reading.response = None,
        Judgement::Settled(change) => reading.change = Some(change),
        Judgement::TooMuch(reason) => {
            reading.change = Some(JobMove::Dead(reason));
            reading.is_too_much = true;
        }
        Judgement::Restart(why) => {
            reading.change = Some(JobMove::Skipped(format!("{why}; its slice begins again")));
            reading.walk.restart = Some(why);
        }
        Judgement::FromStart(why, first) => {
            let note = format!("{why}; what it stands for is asked for from its first page");
            reading.response.iter_mut().for_each(|response| response.notes.push(note.clone()));
            reading.change = Some(JobMove::Done);
            reading.next_page = Some(NextPage(*first));
        }
        Judgement::Split(halves) => {
            reading.change = Some(JobMove::Skipped("it is asked for in halves".to_owned()));
            reading.slices = halves;
        }
    }
    reading
}

fn served(plan: &Plan, job: &Job, fetched: &Fetched, private_ok: bool, now: Timestamp) -> Reading {
    if let Some(stream) = plan.stream(job.source) {
        return streams::page(plan, stream, job, fetched, response(fetched), now);
    }
    let Some(site) = plan.site(job.source) else { return Reading::default() };
    let kind = interpret::document_kind(fetched);
    match (job.kind, kind) {
        (_, DocumentKind::Sitemap | DocumentKind::SitemapIndex) | (JobKind::Sitemap, DocumentKind::Text) => {
            sitemap(plan, site, job, fetched, private_ok, now)
        }
        (_, DocumentKind::Feed) => feed(plan, site, job, fetched, private_ok, now),
        (JobKind::Sitemap | JobKind::Feed, _) => {
            let mut response = response(fetched);
            response.notes.push(format!("it is not a {}", job.kind));
            Reading { response: Some(response), ..Reading::default() }
        }
        (_, DocumentKind::Html) => page(plan, site, job, fetched, private_ok),
        _ => {
            let mut response = response(fetched);
            keep_body(site, fetched, &mut response);
            Reading { response: Some(response), ..Reading::default() }
        }
    }
}

fn page(plan: &Plan, site: &SitePlan, job: &Job, fetched: &Fetched, private_ok: bool) -> Reading {
    let meaning = interpret::page(fetched, &site.page);
    let PageMeaning { links, title, canonical, refresh: _, directives, charset, item, notes, links_seen } = meaning;
    let mut response = response(fetched);
    response.title = title;
    response.canonical = canonical.map(String::from);
    response.charset = charset;
    response.links = links_seen;
    response.notes.extend(notes);

    let mut reading = Reading::default();
    if directives.noindex {
        response.notes.push("noindex: neither its body nor its record is kept".to_owned());
    } else {
        keep_body(site, fetched, &mut response);
        if let Some(mut item) = item
            && item.values().any(|value| !value.is_null())
        {
            item.insert("url".to_owned(), Value::String(job.url.to_string()));
            reading.items.push(NewItem { key: ItemKey::of(job.url.as_str().as_bytes()), data: Value::Object(item) });
        }
    }
    if directives.nofollow {
        response.notes.push("nofollow: its links are not followed".to_owned());
    } else {
        reading.discovered = jobs_of_links(plan, site, job, &links, private_ok);
    }
    reading.response = Some(response);
    reading
}

fn jobs_of_links(plan: &Plan, site: &SitePlan, job: &Job, links: &[Link], private_ok: bool) -> Vec<NewJob> {
    let mut jobs = Vec::with_capacity(links.len());
    for link in links {
        if link.nofollow {
            continue;
        }
        let kind = match link.kind {
            LinkKind::Feed if site.feeds => JobKind::Feed,
            LinkKind::Feed => continue,
            LinkKind::Page | LinkKind::Canonical | LinkKind::Refresh | LinkKind::Next => JobKind::Page,
        };
        jobs.extend(job_of_link(plan, job, &link.url, kind, private_ok));
    }
    jobs
}

/// A job for an address that an answer named; none when no site's scope holds it.
fn job_of_link(plan: &Plan, job: &Job, url: &Url, kind: JobKind, private_ok: bool) -> Option<NewJob> {
    let depth = job.depth.saturating_add(1);
    let (url, source) = assign(plan, job.source, url, depth)?;
    let private_ok = may_be_private(job, &url, private_ok);
    if !private_ok && is_private_literal(&url) {
        return None;
    }
    Some(NewJob {
        url,
        extra: None,
        kind,
        source,
        depth,
        priority: Priority::NORMAL,
        parent: Some(job.id),
        redirects: Vec::new(),
        private_ok,
        again: false,
        changed: None,
    })
}

/// The site that an address belongs to, its finder's own first, with the address as that site spells it.
fn assign(plan: &Plan, own: SourceId, url: &Url, depth: u32) -> Option<(Url, SourceId)> {
    let others = plan.sites.iter().copied().filter(|&id| id != own);
    for id in std::iter::once(own).chain(others) {
        let Some(site) = plan.site(id) else { continue };
        let Ok(canonical) = policy::canonicalize(url.clone(), &site.url) else { continue };
        if site.scope.judge(&canonical, depth) == ScopeVerdict::In {
            return Some((canonical, id));
        }
    }
    None
}

/// Whether two addresses belong to one registrable domain (one host where there is none).
fn is_same_domain(one: &Url, other: &Url) -> bool {
    let scope = ScopeRules::new(ScopeKind::Domain, std::slice::from_ref(one), &[], &[], 0);
    scope.judge(other, 0) == ScopeVerdict::In
}

/// Whether what `job` leads to may lie at a private address. That a user named a public site gives its pages no right to
/// the private net around us; what lies in that net itself, and the named site under its other names, may lead there.
pub(super) fn may_be_private(job: &Job, target: &Url, private_ok: bool) -> bool {
    let is_same_host = || job.url.host_str() == target.host_str() || is_same_domain(&job.url, target);
    private_ok && (is_private_place(&job.url) || is_same_host())
}

/// Whether an address is private by its looks: an address literal, `localhost`, or a name without a dot.
fn is_private_place(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            !name.contains('.') || name.ends_with(".localhost")
        }
        _ => is_private_literal(url),
    }
}

fn is_private_literal(url: &Url) -> bool {
    let ip = match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
        _ => return false,
    };
    !policy::is_public(ip)
}

fn redirected(plan: &Plan, job: &Job, fetched: &Fetched, private_ok: bool) -> Reading {
    let mut response = response(fetched);
    let mut reading = Reading::default();
    let location = fetched.headers.get("location").unwrap_or_default();
    let dead = |reason: String| Some(JobMove::Dead(reason));
    match policy::follow(job, &fetched.url, location, plan.redirects_max) {
        Redirect::Loop(reason) | Redirect::TooMany(reason) | Redirect::Bad(reason) => reading.change = dead(reason),
        Redirect::To(target) => {
            response.redirect_to = Some(target.to_string());
            match redirect_job(plan, job, target, fetched.status, private_ok) {
                Ok(next) if job.kind == JobKind::ApiPage => reading.next_page = Some(NextPage(next)),
                Ok(next) => reading.discovered.push(next),
                // A seed was asked for by name: that it leads nowhere is worth an exit code.
                Err(reason) if job.depth == 0 => reading.change = dead(format!("{reason}; make that address a start")),
                Err(reason) => reading.change = Some(JobMove::Skipped(reason)),
            }
        }
    }
    reading.response = Some(response);
    reading
}

/// The job that goes on where a redirect leads, at the same depth.
fn redirect_job(plan: &Plan, job: &Job, target: Url, status: u16, private_ok: bool) -> Result<NewJob, String> {
    let private_ok = may_be_private(job, &target, private_ok);
    if !private_ok && is_private_literal(&target) {
        return Err(format!("it redirects to {target}, a private address"));
    }
    let call = streams::redirected(job, status, target)?;
    let (target, extra) = (call.url, call.extra.into_job());
    let (url, source) = if job.kind == JobKind::ApiPage || job.kind == JobKind::Sitemap {
        (target, job.source)
    } else {
        if job.depth == 0 && is_same_domain(&job.url, &target) {
            // The seed's own site lives elsewhere, as http://example.org/ at https://www.example.org/.
            if let Some(site) = plan.site(job.source) {
                site.scope.widen(&target);
            }
        }
        assign(plan, job.source, &target, job.depth)
            .ok_or_else(|| format!("it redirects to {target}, which lies outside the scope"))?
    };
    let mut redirects = job.redirects.clone();
    redirects.push(job.url.clone());
    Ok(NewJob {
        url,
        extra,
        kind: job.kind,
        source,
        depth: job.depth,
        priority: Priority::SOON,
        parent: Some(job.id),
        redirects,
        private_ok,
        again: false,
        changed: None,
    })
}

fn sitemap(plan: &Plan, site: &SitePlan, job: &Job, fetched: &Fetched, private_ok: bool, now: Timestamp) -> Reading {
    let meaning = interpret::sitemap(fetched, SITEMAP_URLS_MAX);
    let mut response = response(fetched);
    response.links = u32::try_from(meaning.pages.len() + meaning.sitemaps.len()).unwrap_or(u32::MAX);
    response.notes.extend(meaning.notes);
    let mut discovered = Vec::with_capacity(meaning.pages.len());
    let changed_at = |entry: &SitemapEntry| NamedDate::parse(entry.lastmod.as_deref()?)?.changed_at(now);
    for entry in meaning.pages {
        let page = job_of_link(plan, job, &entry.url, JobKind::Page, private_ok);
        discovered.extend(page.map(|page| changed(plan, page, changed_at(&entry))));
    }
    if site.sitemap && job.depth < SITEMAP_DEPTH_MAX {
        for entry in meaning.sitemaps {
            let private_ok = may_be_private(job, &entry.url, private_ok);
            if private_ok || !is_private_literal(&entry.url) {
                let changed_at = changed_at(&entry);
                discovered.push(changed(plan, sitemap_job(job, entry.url, private_ok), changed_at));
            }
        }
    }
    Reading { response: Some(response), discovered, ..Reading::default() }
}

/// The job with what is said of its last change, if its section has a schedule.
fn changed(plan: &Plan, mut found: NewJob, changed_at: Option<Timestamp>) -> NewJob {
    let recrawl = plan.site(found.source).and_then(|site| site.recrawl.as_ref());
    found.changed = recrawl.zip(changed_at).map(|(recrawl, at)| LastChange { at, least_wait_ms: recrawl.min_every_ms });
    found
}

/// Sitemaps may lie outside the scope of the pages that they list: `/sitemap.xml` for a site below `/docs/`.
fn sitemap_job(job: &Job, url: Url, private_ok: bool) -> NewJob {
    NewJob {
        depth: if job.kind == JobKind::Sitemap { job.depth + 1 } else { 0 },
        parent: Some(job.id),
        private_ok,
        ..NewJob::seed(url, JobKind::Sitemap, job.source)
    }
}

/// The sitemaps that a robots.txt names.
pub(super) fn sitemaps_of_robots(plan: &Plan, job: &Job, answer: &RobotsAnswer) -> Vec<NewJob> {
    let Some(site) = plan.site(job.source).filter(|site| site.sitemap) else { return Vec::new() };
    let robots = policy::Robots::parse(&answer.body, &plan.agent);
    // The host whose rules these are, wherever its robots.txt lies.
    let own_url = job.redirects.first().unwrap_or(&job.url);
    let urls = robots.sitemaps().iter().filter_map(|text| own_url.join(text).ok());
    // A robots.txt is public text: what it names gets no right to private addresses beyond its own host.
    let own = Origin::of(own_url);
    urls.filter_map(|url| policy::canonicalize(url, &site.url).ok())
        .filter(|url| Origin::of(url) == own || !is_private_literal(url))
        .map(|url| {
            let private_ok = Origin::of(&url) == own;
            sitemap_job(job, url, private_ok)
        })
        .collect()
}

fn feed(plan: &Plan, site: &SitePlan, job: &Job, fetched: &Fetched, private_ok: bool, now: Timestamp) -> Reading {
    let meaning = interpret::feed(fetched);
    let mut response = response(fetched);
    response.title = meaning.title;
    response.links = u32::try_from(meaning.entries.len()).unwrap_or(u32::MAX);
    response.notes.extend(meaning.notes);
    let discovered = if site.feeds {
        let named = |entry: &FeedEntry| {
            let page = job_of_link(plan, job, &entry.url, JobKind::Page, private_ok)?;
            Some(changed(plan, page, entry.changed_at.filter(|at| *at <= now)))
        };
        meaning.entries.iter().filter_map(named).collect()
    } else {
        Vec::new()
    };
    Reading { response: Some(response), discovered, ..Reading::default() }
}

fn content_type(fetched: &Fetched) -> Option<String> {
    let value = fetched.headers.get("content-type")?.split(';').next()?.trim().to_ascii_lowercase();
    (!value.is_empty()).then_some(value)
}

fn response(fetched: &Fetched) -> NewResponse {
    NewResponse {
        fetched_at: fetched.finished_at,
        status: fetched.status,
        content_type: content_type(fetched),
        charset: None,
        title: None,
        redirect_to: None,
        canonical: None,
        headers: fetched.headers.clone(),
        notes: Vec::new(),
        links: 0,
        body: None,
    }
}

fn keep_body(site: &SitePlan, fetched: &Fetched, response: &mut NewResponse) {
    match site.save {
        Save::Body => response.body = stored_body(&fetched.body),
        Save::Headers => {}
        Save::Nothing => response.headers = crate::exchange::Headers::default(),
    }
}

/// Compresses and hashes a body; none for an empty one.
fn stored_body(body: &[u8]) -> Option<StoredBody> {
    thread_local! {
        // A context holds a window of several hundred KiB, which is worth keeping from page to page.
        static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> =
            RefCell::new(zstd::bulk::Compressor::new(ZSTD_LEVEL).ok());
    }
    if body.is_empty() {
        return None;
    }
    let zstd = COMPRESSOR.with_borrow_mut(|compressor| compressor.as_mut()?.compress(body).ok())?;
    Some(StoredBody {
        hash: *blake3::hash(body).as_bytes(),
        len: u64::try_from(body.len()).unwrap_or(u64::MAX),
        zstd: Bytes::from(zstd),
    })
}
