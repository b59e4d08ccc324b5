//! After a practice crawl: what was stored, held against what the practice web knows about itself.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::practice::Truth;
use crate::store::Reader;

/// What differs, in words; empty when the crawl is perfect.
pub(super) async fn differences(reader: &Reader, truth: &Truth) -> anyhow::Result<Vec<String>> {
    let mut differences = Vec::new();
    let stored = addresses(
        reader,
        "SELECT url FROM pages WHERE status = 200 AND content_type IN ('text/html', 'application/xhtml+xml')",
    )
    .await?;
    let mut compare = |what: &str, found: &BTreeSet<String>, expected: &BTreeSet<String>| {
        for url in expected.difference(found).take(5) {
            differences.push(format!("{what} is missing: {url}"));
        }
        for url in found.difference(expected).take(5) {
            differences.push(format!("{what} should not be there: {url}"));
        }
    };
    compare("page", &stored, &truth.pages);
    let gone = addresses(reader, "SELECT url FROM all_jobs WHERE state_code = 3 AND kind = 'page'").await?;
    compare("broken link", &gone, &truth.gone);
    let dead = addresses(reader, "SELECT url FROM failures").await?;
    for url in truth.dead.difference(&dead) {
        differences.push(format!("should be dead, since it always answers 500: {url}"));
    }
    // Besides, the addresses of the redirect loop are dead.
    for url in dead.difference(&truth.dead).filter(|url| !truth.redirects.contains(*url)) {
        differences.push(format!("dead without need: {url}"));
    }
    let fetched = addresses(reader, "SELECT url FROM all_jobs WHERE state_code = 2").await?;
    for url in truth.disallowed.iter().chain(&truth.nofollowed).filter(|url| fetched.contains(*url)) {
        differences.push(format!("must not be fetched: {url}"));
    }
    let records: u64 = truth.records.values().map(|&records| u64::from(records)).sum();
    let answer = reader
        .query(
            "SELECT count(*) FROM records JOIN sources ON sources.name = records.source WHERE sources.kind = 'api'",
            1,
        )
        .await?;
    let stored = answer.rows.first().and_then(|row| row.first()).and_then(Value::as_u64).unwrap_or_default();
    if stored != records {
        differences.push(format!("{stored} API records are stored; there are {records}"));
    }
    Ok(differences)
}

async fn addresses(reader: &Reader, sql: &str) -> anyhow::Result<BTreeSet<String>> {
    let answer = reader.query(sql, 10_000_000).await?;
    Ok(answer.rows.iter().filter_map(|row| row.first()?.as_str().map(str::to_owned)).collect())
}
