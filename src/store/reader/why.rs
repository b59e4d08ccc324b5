//! Everything that is known about one address.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use url::{Position, Url};

use crate::clock::Timestamp;
use crate::job::{HashKey, HostId, JobId, JobKind, JobState, NewJob, Origin, Params, SliceKey, SourceId};
use crate::store::sqlite::sorted;
use crate::store::{RobotsRecord, StoreError};
use crate::throttle::DeclaredSnapshot;

use super::Reader;
use super::scopes::{self, ScopeReport};
use super::status::instant;

/// Pages up the chain of who named whom that are told.
const PARENTS_MAX: usize = 20;

/// Attempts that are told, the latest.
const ATTEMPTS_MAX: u32 = 20;

/// What is known about one address.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct WhyReport {
    /// Its job.
    pub job_id: JobId,
    /// The address.
    pub url: String,
    /// What its answer is read as.
    pub kind: Option<JobKind>,
    /// The section that it serves.
    pub source: String,
    /// Where it stands.
    pub state: Option<JobState>,
    /// Why it waits or was settled so.
    pub reason: Option<String>,
    /// The last status.
    pub status: Option<u16>,
    /// Failed attempts.
    pub attempt: u32,
    /// Times that the process died with it in flight.
    pub crashes: u32,
    /// Links followed from a seed.
    pub depth: u32,
    /// When it was found.
    pub found_at: Timestamp,
    /// When it may go again, while it waits.
    pub due_at: Option<Timestamp>,
    /// When it was settled.
    pub settled_at: Option<Timestamp>,
    /// Since when its request is on its way, as of the last commit.
    pub in_flight_since: Option<Timestamp>,
    /// The pages that led here: the one that named it first, then the one that named that, at most 20.
    pub named_by: Vec<String>,
    /// Its last requests, the oldest first, at most 20.
    pub attempts: Vec<AttemptRow>,
    /// What its kept answer was.
    pub response: Option<ResponseSummary>,
    /// Its host.
    pub host_id: HostId,
    /// Whether the user paused the host.
    pub host_paused: bool,
    /// Open jobs of the host that rank before it: what it waits for when nothing else holds it up. Counted to 10,000.
    pub n_ahead: Option<u64>,
    /// The longest embargo that it is under: that of its host, or of a narrower scope that it passes.
    pub not_before_at: Option<Timestamp>,
    /// Why.
    pub not_before_why: Option<String>,
    /// The narrower scope whose embargo that is, as in the view `limits`; none when it is the host's.
    pub not_before_scope: Option<String>,
    /// The pace that was learned about the host, requests a second.
    pub rate_per_s: Option<f64>,
    /// What was learned about the host's limit, in words.
    pub learned: Option<String>,
    /// When the host last gave an answer that says something about its limit.
    pub seen_at: Option<Timestamp>,
    /// The quotas that the host declared last; told in words, which depend on the time.
    #[serde(skip)]
    pub declared: DeclaredSnapshot,
    /// The limits that it passes beside that of its host.
    pub narrow: Vec<ScopeReport>,
    /// What the host's robots.txt said.
    pub robots: Option<RobotsRecord>,
}

/// One request that was sent.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct AttemptRow {
    /// When.
    pub sent_at: Timestamp,
    /// How long it took, ms.
    pub took_ms: u64,
    /// The status, if an answer came.
    pub status: Option<u16>,
    /// What came of it, in one word.
    pub outcome: String,
    /// When it was to be tried again.
    pub retry_at: Option<Timestamp>,
    /// What went wrong.
    pub error: Option<String>,
}

/// An answer, without its body.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ResponseSummary {
    /// When it had come.
    pub fetched_at: Timestamp,
    /// Its status.
    pub status: u16,
    /// `type/subtype`.
    pub content_type: Option<String>,
    /// The title of a page.
    pub title: Option<String>,
    /// Where a redirect led.
    pub redirect_to: Option<String>,
    /// What was odd, JSON array of text.
    pub notes: Option<String>,
    /// Links that were found.
    pub links: u32,
    /// Bytes of the kept body after decoding.
    pub body_bytes: Option<u64>,
}

pub(in crate::store) const JOB: &str = "
SELECT j.job_id, h.origin || j.request, j.kind, coalesce(s.name, ''), j.state, j.reason, j.status, j.attempt, j.crashes,
    j.depth, j.found_at, j.due_at, j.settled_at, i.sent_at, j.parent_id, h.paused, t.not_before_at, t.not_before_why,
    j.priority, t.rate_per_s, t.learned, t.seen_at, t.snapshot -> '$.declared'
FROM jobs AS j CROSS JOIN hosts AS h ON h.host_id = j.host_id CROSS JOIN host_state AS t ON t.host_id = j.host_id
LEFT JOIN sources AS s ON s.source_id = j.source_id LEFT JOIN inflight AS i ON i.job_id = j.job_id
WHERE j.host_id = $1 AND j.key = $2";

pub(in crate::store) const PARENTS: &str = "
WITH RECURSIVE up (job_id, n) AS (
    SELECT $1, 1
    UNION ALL
    SELECT j.parent_id, up.n + 1 FROM up CROSS JOIN jobs AS j ON j.job_id = up.job_id
    WHERE j.parent_id IS NOT NULL AND up.n < $2
)
SELECT h.origin || j.request FROM up CROSS JOIN jobs AS j ON j.job_id = up.job_id
CROSS JOIN hosts AS h ON h.host_id = j.host_id ORDER BY up.n";

pub(in crate::store) const AHEAD: &str = "
SELECT count(*) FROM (SELECT 1 FROM jobs WHERE host_id = $1 AND state = 0 AND (priority, job_id) < ($2, $3) LIMIT 10000)";

const ATTEMPTS: &str = "
SELECT sent_at, took_ms, status, outcome, retry_at, error FROM attempts WHERE job_id = $1
ORDER BY sent_at DESC, nth DESC LIMIT $2";

const RESPONSE: &str = "
SELECT fetched_at, status, content_type, title, redirect_to, notes, links, body_bytes FROM responses WHERE job_id = $1";

const ROBOTS: &str = "SELECT status, body, disallow_all, fetched_at, expires_at FROM robots WHERE host_id = $1";

/// A page of some slice by its address. No index serves it: it reads the jobs of the host, and is asked for one address at a time.
const PAGE_OF_SLICE: &str =
    "SELECT key FROM jobs WHERE host_id = $1 AND kind = 4 AND request = $2 ORDER BY job_id DESC LIMIT 1";

impl Reader {
    /// What is known about `url` (absolute and canonical; a fragment is ignored): as a page, or as a page of any API
    /// stream. None when it was never found.
    pub async fn why(&self, url: &Url) -> Result<Option<WhyReport>, StoreError> {
        let mut conn = self.conn.lock().await;
        why(&mut conn, url).await.map_err(sorted("look up the address"))
    }
}

async fn why(conn: &mut SqliteConnection, url: &Url) -> Result<Option<WhyReport>, sqlx::Error> {
    let mut url = url.clone();
    url.set_fragment(None);
    let Some(origin) = Origin::of(&url) else { return Ok(None) };
    let host = sqlx::query("SELECT host_id FROM hosts WHERE origin = $1").bind(origin.as_str().to_owned());
    let Some(row) = host.fetch_optional(&mut *conn).await? else { return Ok(None) };
    let host_id = HostId(row.try_get(0)?);
    let key: Vec<u8> = sqlx::query("SELECT hash_key FROM meta").fetch_one(&mut *conn).await?.try_get(0)?;
    let Ok(key) = <[u8; 16]>::try_from(key.as_slice()) else { return Ok(None) };
    let hash_key = HashKey(key);

    let mut candidates = vec![NewJob::seed(url.clone(), JobKind::Page, SourceId(0))];
    let apis = sqlx::query("SELECT source_id FROM sources WHERE kind = 'api'").fetch_all(&mut *conn).await?;
    for row in apis {
        candidates.push(NewJob::seed(url.clone(), JobKind::ApiPage, SourceId(row.try_get(0)?)));
    }
    // A stream that is one walk has one slice, without any values; pages of before there were slices have none.
    let whole = SliceKey::of(&Params::new());
    for candidate in &candidates {
        for slice in [None, Some(&whole)] {
            let key = candidate.dedup_key(&hash_key, slice);
            let job = sqlx::query(JOB).bind(host_id.0).bind(key.0).fetch_optional(&mut *conn).await?;
            if let Some(row) = job {
                return report(conn, host_id, &row).await.map(Some);
            }
        }
    }
    let request = &url[Position::BeforePath..Position::AfterQuery];
    let of_slice =
        sqlx::query(PAGE_OF_SLICE).bind(host_id.0).bind(request.to_owned()).fetch_optional(&mut *conn).await?;
    let Some(row) = of_slice else { return Ok(None) };
    let key: i64 = row.try_get(0)?;
    match sqlx::query(JOB).bind(host_id.0).bind(key).fetch_optional(&mut *conn).await? {
        Some(row) => report(conn, host_id, &row).await.map(Some),
        None => Ok(None),
    }
}

async fn report(conn: &mut SqliteConnection, host_id: HostId, row: &SqliteRow) -> Result<WhyReport, sqlx::Error> {
    let job_id = JobId(row.try_get(0)?);
    let state = JobState::from_code(row.try_get(4)?);
    let named_by = match row.try_get::<Option<i64>, _>(14)? {
        None => Vec::new(),
        Some(parent) => {
            let rows = sqlx::query(PARENTS)
                .bind(parent)
                .bind(i64::try_from(PARENTS_MAX).unwrap_or(i64::MAX))
                .fetch_all(&mut *conn)
                .await?;
            rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?
        }
    };
    let n_ahead = if state == Some(JobState::Ready) {
        let ahead = sqlx::query(AHEAD).bind(host_id.0).bind(row.try_get::<i64, _>(18)?).bind(job_id.0);
        Some(ahead.fetch_one(&mut *conn).await?.try_get::<i64, _>(0)?.unsigned_abs())
    } else {
        None
    };
    let mut attempts = sqlx::query(ATTEMPTS)
        .bind(job_id.0)
        .bind(ATTEMPTS_MAX)
        .fetch_all(&mut *conn)
        .await?
        .iter()
        .map(attempt)
        .collect::<Result<Vec<_>, _>>()?;
    attempts.reverse();
    let response = sqlx::query(RESPONSE).bind(job_id.0).fetch_optional(&mut *conn).await?;
    let (mut not_before_at, mut not_before_why, mut not_before_scope) = (instant(row, 16)?, row.try_get(17)?, None);
    let narrow = scopes::of_job(conn, host_id, job_id).await?;
    if let Some(scope) = narrow.first()
        && scope.not_before_at > not_before_at
    {
        (not_before_at, not_before_why) = (scope.not_before_at, scope.not_before_why.clone());
        not_before_scope = Some(scope.scope.clone());
    }
    let robots = sqlx::query(ROBOTS).bind(host_id.0).fetch_optional(&mut *conn).await?;
    Ok(WhyReport {
        job_id,
        url: row.try_get(1)?,
        kind: JobKind::from_code(row.try_get(2)?),
        source: row.try_get(3)?,
        state,
        reason: row.try_get(5)?,
        status: row.try_get(6)?,
        attempt: row.try_get(7)?,
        crashes: row.try_get(8)?,
        depth: row.try_get(9)?,
        found_at: Timestamp(row.try_get(10)?),
        due_at: instant(row, 11)?,
        settled_at: instant(row, 12)?,
        in_flight_since: instant(row, 13)?,
        named_by,
        attempts,
        response: response.as_ref().map(summary).transpose()?,
        host_id,
        host_paused: row.try_get(15)?,
        n_ahead,
        not_before_at,
        not_before_why,
        not_before_scope,
        rate_per_s: row.try_get(19)?,
        learned: row.try_get(20)?,
        seen_at: instant(row, 21)?,
        declared: scopes::declared(row, 22)?,
        narrow,
        robots: robots.as_ref().map(|row| robots_record(host_id, row)).transpose()?,
    })
}

fn attempt(row: &SqliteRow) -> Result<AttemptRow, sqlx::Error> {
    Ok(AttemptRow {
        sent_at: Timestamp(row.try_get(0)?),
        took_ms: row.try_get::<i64, _>(1)?.unsigned_abs(),
        status: row.try_get(2)?,
        outcome: row.try_get(3)?,
        retry_at: instant(row, 4)?,
        error: row.try_get(5)?,
    })
}

fn summary(row: &SqliteRow) -> Result<ResponseSummary, sqlx::Error> {
    Ok(ResponseSummary {
        fetched_at: Timestamp(row.try_get(0)?),
        status: row.try_get(1)?,
        content_type: row.try_get(2)?,
        title: row.try_get(3)?,
        redirect_to: row.try_get(4)?,
        notes: row.try_get(5)?,
        links: row.try_get(6)?,
        body_bytes: row.try_get::<Option<i64>, _>(7)?.map(i64::unsigned_abs),
    })
}

fn robots_record(host_id: HostId, row: &SqliteRow) -> Result<RobotsRecord, sqlx::Error> {
    Ok(RobotsRecord {
        host_id,
        status: row.try_get(0)?,
        body: row.try_get(1)?,
        disallow_all: row.try_get(2)?,
        fetched_at: Timestamp(row.try_get(3)?),
        expires_at: Timestamp(row.try_get(4)?),
        headers: Vec::new(),
    })
}
