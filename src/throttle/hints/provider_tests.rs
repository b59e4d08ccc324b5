//! What known providers send, as their documentation shows it, and how each is read. The rows are those of the research on
//! limits, one a provider; `Date` is Tue, 24 Nov 2026 08:49:37 GMT, which is 1795510177 in the epoch.

use super::*;

const HERE: Timestamp = Timestamp(5_000_000);

/// The hints of these fields in words: resets and waits in ms from the answer.
fn read(fields: &[(&str, &str)]) -> String {
    let mut all = vec![("Date", "Tue, 24 Nov 2026 08:49:37 GMT"), ("Content-Type", "application/json")];
    all.extend_from_slice(fields);
    let hints = Hints::read(&Headers::from_pairs(all), HERE);
    let mut lines = Vec::new();
    if let Some(said) = hints.retry_after {
        let cut = if said.may_be_truncated() { ", may be cut" } else { "" };
        lines.push(format!("retry after {} ms{cut}", said.wait_ms));
    }
    for quota in &hints.quotas {
        let shown = |number: Option<u64>| number.map_or("?".to_owned(), |number| number.to_string());
        let mut line = format!("{:?} {} of {}", quota.name, shown(quota.remaining), shown(quota.limit));
        if let Some(window_ms) = quota.window_ms {
            line.push_str(&format!(" in {window_ms} ms"));
        }
        if let Some(reset_at) = quota.reset_at {
            let how = if quota.is_reset_absolute { "at" } else { "in" };
            line.push_str(&format!(", resets {how} +{} ms", reset_at.since_ms(HERE)));
        }
        if quota.unit != QuotaUnit::Requests {
            line.push_str(&format!(", {:?}", quota.unit));
        }
        if let Some(partition) = &quota.partition {
            line.push_str(&format!(", of {partition}"));
        }
        line.push_str(&format!(" ({})", quota.header));
        lines.push(line);
    }
    lines.extend(hints.resource.map(|resource| format!("resource {resource}")));
    lines.extend(hints.is_global.then(|| "global".to_owned()));
    lines.extend(hints.reason.map(|reason| format!("reason {reason}")));
    lines.extend(hints.quota_spent.map(|spent| format!("spent: {}", spent.header)));
    lines.join("\n")
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table, and what is read from it")]
fn every_known_provider_is_read_in_its_own_units() {
    let rows: &[(&str, &[(&str, &str)])] = &[
        (
            "GitHub, primary: epoch seconds and a resource",
            &[
                ("x-ratelimit-limit", "5000"),
                ("x-ratelimit-remaining", "4999"),
                ("x-ratelimit-reset", "1795513777"),
                ("x-ratelimit-used", "1"),
                ("x-ratelimit-resource", "core"),
            ],
        ),
        (
            "GitHub, GraphQL: points",
            &[
                ("x-ratelimit-limit", "5000"),
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "1795510237"),
                ("x-ratelimit-resource", "graphql"),
            ],
        ),
        ("GitHub, secondary: nothing but a wait", &[("retry-after", "60")]),
        (
            "GitLab: RateLimit-Reset is an epoch, not a wait as in the drafts",
            &[
                ("RateLimit-Limit", "60"),
                ("RateLimit-Name", "throttle_unauthenticated_web"),
                ("RateLimit-Observed", "67"),
                ("RateLimit-Remaining", "0"),
                ("RateLimit-Reset", "1795510207"),
                ("RateLimit-ResetTime", "Tue, 24 Nov 2026 08:50:07 GMT"),
                ("Retry-After", "30"),
            ],
        ),
        (
            "Reddit: a wait, and amounts with a point",
            &[("x-ratelimit-used", "3"), ("x-ratelimit-remaining", "597.0"), ("x-ratelimit-reset", "417")],
        ),
        (
            "X: epoch seconds under another spelling",
            &[
                ("x-rate-limit-limit", "900"),
                ("x-rate-limit-remaining", "898"),
                ("x-rate-limit-reset", "1795511077"),
                ("x-app-limit-24hour-limit", "10000"),
                ("x-app-limit-24hour-remaining", "9999"),
                ("x-app-limit-24hour-reset", "1795596577"),
            ],
        ),
        (
            "Discord: the wait with a fraction goes before the epoch",
            &[
                ("X-RateLimit-Limit", "5"),
                ("X-RateLimit-Remaining", "0"),
                ("X-RateLimit-Reset", "1795510241.57"),
                ("X-RateLimit-Reset-After", "64.57"),
                ("X-RateLimit-Bucket", "abcd1234"),
                ("X-RateLimit-Scope", "user"),
            ],
        ),
        ("Discord, global", &[("Retry-After", "65"), ("X-RateLimit-Global", "true"), ("X-RateLimit-Scope", "global")]),
        ("Slack: nothing but a wait", &[("Retry-After", "30")]),
        ("Shopify REST: used of all", &[("X-Shopify-Shop-Api-Call-Limit", "32/40"), ("Retry-After", "2.0")]),
        ("Stripe: a reason", &[("Stripe-Rate-Limited-Reason", "endpoint-concurrency")]),
        ("Notion: whole seconds", &[("Retry-After", "1")]),
        (
            "Jira: ISO without seconds",
            &[
                ("X-RateLimit-Limit", "350"),
                ("X-RateLimit-Remaining", "0"),
                ("X-RateLimit-Reset", "2026-11-24T08:55Z"),
                ("X-RateLimit-NearLimit", "true"),
                ("RateLimit-Reason", "jira-burst-based"),
                ("Retry-After", "323"),
            ],
        ),
        (
            "Jira, beta: the drafts under another name",
            &[
                ("Beta-RateLimit-Policy", "\"global-app-quota\";q=65000;w=3600"),
                ("Beta-RateLimit", "\"global-app-quota\";r=11000;t=600"),
            ],
        ),
        (
            "Zendesk: the account twice, and an endpoint in one value",
            &[
                ("X-Rate-Limit", "700"),
                ("X-Rate-Limit-Remaining", "699"),
                ("ratelimit-limit", "700"),
                ("ratelimit-remaining", "699"),
                ("ratelimit-reset", "41"),
                ("zendesk-ratelimit-tickets-index", "total=100; remaining=99; resets=41"),
            ],
        ),
        (
            "HubSpot: windows in milliseconds and by name, no reset",
            &[
                ("X-HubSpot-RateLimit-Daily", "250000"),
                ("X-HubSpot-RateLimit-Daily-Remaining", "249999"),
                ("X-HubSpot-RateLimit-Secondly", "10"),
                ("X-HubSpot-RateLimit-Secondly-Remaining", "9"),
                ("X-HubSpot-RateLimit-Max", "100"),
                ("X-HubSpot-RateLimit-Remaining", "99"),
                ("X-HubSpot-RateLimit-Interval-Milliseconds", "10000"),
            ],
        ),
        (
            "OpenAI: durations, two meters",
            &[
                ("x-ratelimit-limit-requests", "60"),
                ("x-ratelimit-limit-tokens", "150000"),
                ("x-ratelimit-remaining-requests", "59"),
                ("x-ratelimit-remaining-tokens", "149984"),
                ("x-ratelimit-reset-requests", "1s"),
                ("x-ratelimit-reset-tokens", "6m0s"),
                ("retry-after-ms", "20"),
                ("retry-after", "1"),
            ],
        ),
        (
            "Groq: durations with fractions",
            &[
                ("x-ratelimit-limit-requests", "1000"),
                ("x-ratelimit-remaining-requests", "999"),
                ("x-ratelimit-reset-requests", "1m26.4s"),
                ("x-ratelimit-limit-tokens", "6000"),
                ("x-ratelimit-remaining-tokens", "5900"),
                ("x-ratelimit-reset-tokens", "2m59.56s"),
            ],
        ),
        (
            "Anthropic: RFC 3339",
            &[
                ("anthropic-ratelimit-requests-limit", "50"),
                ("anthropic-ratelimit-requests-remaining", "49"),
                ("anthropic-ratelimit-requests-reset", "2026-11-24T08:50:07Z"),
                ("anthropic-ratelimit-input-tokens-limit", "40000"),
                ("anthropic-ratelimit-input-tokens-remaining", "0"),
                ("anthropic-ratelimit-input-tokens-reset", "2026-11-24T08:50:37Z"),
                ("anthropic-ratelimit-unified-status", "allowed"),
                ("anthropic-ratelimit-unified-5h-utilization", "0.42"),
                ("anthropic-ratelimit-unified-5h-reset", "1795513777"),
            ],
        ),
        ("Wikimedia: nothing but a wait", &[("retry-after", "5")]),
        (
            "Crossref: a window as a duration, and a number at once",
            &[("x-rate-limit-limit", "3"), ("x-rate-limit-interval", "1s"), ("x-concurrency-limit", "1")],
        ),
        (
            "Cloudflare API: draft 8",
            &[
                ("Ratelimit", "\"default\";r=0;t=30"),
                ("Ratelimit-Policy", "\"default\";q=1200;w=300"),
                ("Retry-After", "31"),
            ],
        ),
        ("Zoom: ISO in Retry-After", &[("Retry-After", "2026-11-24T09:00:00Z")]),
        (
            "lemlist: the text of a JavaScript date",
            &[("Retry-After", "Tue Nov 24 2026 09:50:37 GMT+0100 (Central European Standard Time)")],
        ),
        ("Salesforce: used of all behind a word", &[("Sforce-Limit-Info", "api-usage=18/5000")]),
        (
            "Trello: milliseconds by name",
            &[
                ("x-rate-limit-api-token-interval-ms", "10000"),
                ("x-rate-limit-api-token-max", "100"),
                ("x-rate-limit-api-token-remaining", "99"),
            ],
        ),
        (
            "Qualys: seconds by name, a number at once and how many run",
            &[
                ("X-RateLimit-Limit", "2000"),
                ("X-RateLimit-Window-Sec", "3600"),
                ("X-RateLimit-Remaining", "1999"),
                ("X-RateLimit-ToWait-Sec", "0"),
                ("X-Concurrency-Limit-Limit", "10"),
                ("X-Concurrency-Limit-Running", "1"),
            ],
        ),
        (
            "Docker Hub: the window behind the amount",
            &[("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "76;w=21600")],
        ),
        (
            "Kong: one period a field, and the drafts' triple for the nearest",
            &[
                ("X-RateLimit-Limit-Minute", "10"),
                ("X-RateLimit-Remaining-Minute", "9"),
                ("X-RateLimit-Limit-Hour", "500"),
                ("X-RateLimit-Remaining-Hour", "499"),
                ("RateLimit-Limit", "10"),
                ("RateLimit-Remaining", "9"),
                ("RateLimit-Reset", "23"),
            ],
        ),
        (
            "express-rate-limit, legacy",
            &[("X-RateLimit-Limit", "100"), ("X-RateLimit-Remaining", "99"), ("X-RateLimit-Reset", "1795510237")],
        ),
        (
            "express-rate-limit, draft 6",
            &[
                ("RateLimit-Policy", "100;w=60"),
                ("RateLimit-Limit", "100"),
                ("RateLimit-Remaining", "99"),
                ("RateLimit-Reset", "60"),
            ],
        ),
        (
            "express-rate-limit, draft 7",
            &[("RateLimit-Policy", "100;w=60"), ("RateLimit", "limit=100, remaining=0, reset=60")],
        ),
        (
            "express-rate-limit, draft 8",
            &[
                ("RateLimit-Policy", "\"100-in-1min\"; q=100; w=60; pk=:MTJjYTE3YjQ5YWYy:"),
                ("RateLimit", "\"100-in-1min\"; r=99; t=60"),
            ],
        ),
        (
            "draft 3: a list of policies behind the nearest limit",
            &[
                ("RateLimit-Limit", "10, 10;w=1, 50;w=60, 1000;w=3600"),
                ("RateLimit-Remaining", "9"),
                ("RateLimit-Reset", "1"),
            ],
        ),
        (
            "draft 11: two policies over two lines, units of their own",
            &[
                ("RateLimit-Policy", "\"burst\";q=100;w=60"),
                ("RateLimit-Policy", "\"bytes\";q=1048576;w=86400;qu=\"content-bytes\""),
                ("RateLimit-Policy", "\"peak\";q=5;qu=\"concurrent-requests\""),
                ("RateLimit", "\"burst\";r=0;t=12, \"peak\";r=4"),
            ],
        ),
        (
            "Flask-Limiter, slowapi",
            &[
                ("X-RateLimit-Limit", "10"),
                ("X-RateLimit-Remaining", "0"),
                ("X-RateLimit-Reset", "1795510178"),
                ("Retry-After", "0"),
            ],
        ),
        (
            "@fastify/rate-limit: a wait",
            &[
                ("x-ratelimit-limit", "3"),
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "60"),
                ("retry-after", "60"),
            ],
        ),
        (
            "tower_governor: the limit is a burst, the wait is cut to whole seconds",
            &[
                ("x-ratelimit-limit", "5"),
                ("x-ratelimit-remaining", "0"),
                ("retry-after", "0"),
                ("x-ratelimit-after", "0"),
            ],
        ),
        (
            "a server that puts new Date() into its fields",
            &[
                ("X-RateLimit-Limit", "4"),
                ("X-RateLimit-Remaining", "3"),
                ("X-RateLimit-Reset", "Tue Nov 24 2026 08:49:42 GMT+0000 (Coordinated Universal Time)"),
            ],
        ),
        (
            "epoch in milliseconds",
            &[("X-RateLimit-Limit", "1500"), ("X-RateLimit-Remaining", "1499"), ("X-RateLimit-Reset", "1795510207000")],
        ),
        ("no limit at all, as some spell it", &[("x-ratelimit-limit", "0"), ("x-ratelimit-remaining", "0")]),
        ("no limit at all, as others do", &[("x-ratelimit-limit", "-1"), ("x-ratelimit-remaining", "-1")]),
    ];
    let table: Vec<String> = rows.iter().map(|(provider, fields)| format!("# {provider}\n{}", read(fields))).collect();
    insta::assert_snapshot!(table.join("\n"), @r#"
    # GitHub, primary: epoch seconds and a resource
    "core" 4999 of 5000, resets at +3600000 ms (x-ratelimit-remaining)
    resource core
    # GitHub, GraphQL: points
    "graphql" 0 of 5000, resets at +60000 ms, Points (x-ratelimit-remaining)
    resource graphql
    spent: x-ratelimit-remaining
    # GitHub, secondary: nothing but a wait
    retry after 60000 ms
    # GitLab: RateLimit-Reset is an epoch, not a wait as in the drafts
    retry after 30000 ms
    "throttle_unauthenticated_web" 0 of 60, resets at +30000 ms (ratelimit-remaining)
    resource throttle_unauthenticated_web
    spent: ratelimit-remaining
    # Reddit: a wait, and amounts with a point
    "" 597 of 600, resets in +417000 ms (x-ratelimit-remaining)
    # X: epoch seconds under another spelling
    "" 898 of 900, resets at +900000 ms (x-rate-limit-remaining)
    "24hour" 9999 of 10000 in 86400000 ms, resets at +86400000 ms (x-app-limit-24hour-remaining)
    # Discord: the wait with a fraction goes before the epoch
    "abcd1234" 0 of 5, resets in +64570 ms (x-ratelimit-remaining)
    resource abcd1234
    spent: x-ratelimit-remaining
    # Discord, global
    retry after 65000 ms
    global
    # Slack: nothing but a wait
    retry after 30000 ms
    # Shopify REST: used of all
    retry after 2000 ms
    "" 8 of 40 (x-shopify-shop-api-call-limit)
    # Stripe: a reason
    reason endpoint-concurrency
    # Notion: whole seconds
    retry after 1000 ms, may be cut
    # Jira: ISO without seconds
    retry after 323000 ms
    "" 0 of 350, resets at +323000 ms (x-ratelimit-remaining)
    reason jira-burst-based
    spent: x-ratelimit-remaining
    # Jira, beta: the drafts under another name
    "global-app-quota" 11000 of 65000 in 3600000 ms, resets in +600000 ms (beta-ratelimit)
    # Zendesk: the account twice, and an endpoint in one value
    "" 699 of 700, resets in +41000 ms (x-rate-limit-remaining)
    "tickets-index" 99 of 100, resets in +41000 ms (zendesk-ratelimit-tickets-index)
    # HubSpot: windows in milliseconds and by name, no reset
    "daily" 249999 of 250000 in 86400000 ms (x-hubspot-ratelimit-daily-remaining)
    "secondly" 9 of 10 in 1000 ms (x-hubspot-ratelimit-secondly-remaining)
    "" 99 of 100 in 10000 ms (x-hubspot-ratelimit-remaining)
    # OpenAI: durations, two meters
    retry after 20 ms
    "requests" 59 of 60, resets in +1000 ms (x-ratelimit-remaining-requests)
    "tokens" 149984 of 150000, resets in +360000 ms, Tokens (x-ratelimit-remaining-tokens)
    # Groq: durations with fractions
    "requests" 999 of 1000, resets in +86400 ms (x-ratelimit-remaining-requests)
    "tokens" 5900 of 6000, resets in +179560 ms, Tokens (x-ratelimit-remaining-tokens)
    # Anthropic: RFC 3339
    "requests" 49 of 50, resets at +30000 ms (anthropic-ratelimit-requests-remaining)
    "input-tokens" 0 of 40000, resets at +60000 ms, Tokens (anthropic-ratelimit-input-tokens-remaining)
    spent: a rate-limit header
    # Wikimedia: nothing but a wait
    retry after 5000 ms
    # Crossref: a window as a duration, and a number at once
    "" ? of 3 in 1000 ms (x-rate-limit-limit)
    "" ? of 1, Concurrent (x-concurrency-limit)
    # Cloudflare API: draft 8
    retry after 31000 ms
    "default" 0 of 1200 in 300000 ms, resets in +30000 ms (ratelimit)
    spent: ratelimit
    # Zoom: ISO in Retry-After
    retry after 623000 ms
    # lemlist: the text of a JavaScript date
    retry after 60000 ms
    # Salesforce: used of all behind a word
    "" 4982 of 5000 (sforce-limit-info)
    # Trello: milliseconds by name
    "api-token" 99 of 100 in 10000 ms (x-rate-limit-api-token-remaining)
    # Qualys: seconds by name, a number at once and how many run
    "" 1999 of 2000 in 3600000 ms (x-ratelimit-remaining)
    "" 9 of 10, Concurrent (x-concurrency-limit-limit)
    # Docker Hub: the window behind the amount
    "" 76 of 100 in 21600000 ms (ratelimit-remaining)
    # Kong: one period a field, and the drafts' triple for the nearest
    "minute" 9 of 10 in 60000 ms, resets in +23000 ms (x-ratelimit-remaining-minute)
    "hour" 499 of 500 in 3600000 ms (x-ratelimit-remaining-hour)
    # express-rate-limit, legacy
    "" 99 of 100, resets at +60000 ms (x-ratelimit-remaining)
    # express-rate-limit, draft 6
    "" 99 of 100 in 60000 ms, resets in +60000 ms (ratelimit-remaining)
    # express-rate-limit, draft 7
    "" 0 of 100 in 60000 ms, resets in +60000 ms (ratelimit)
    spent: ratelimit
    # express-rate-limit, draft 8
    "100-in-1min" 99 of 100 in 60000 ms, resets in +60000 ms, of 12ca17b49af2 (ratelimit)
    # draft 3: a list of policies behind the nearest limit
    "" 9 of 10 in 1000 ms, resets in +1000 ms (ratelimit-remaining)
    "50;w=60" ? of 50 in 60000 ms (ratelimit)
    "1000;w=3600" ? of 1000 in 3600000 ms (ratelimit)
    # draft 11: two policies over two lines, units of their own
    "burst" 0 of 100 in 60000 ms, resets in +12000 ms (ratelimit)
    "bytes" ? of 1048576 in 86400000 ms, Bytes (ratelimit-policy)
    "peak" 4 of 5, Concurrent (ratelimit)
    spent: ratelimit
    # Flask-Limiter, slowapi
    retry after 0 ms, may be cut
    "" 0 of 10, resets at +1000 ms (x-ratelimit-remaining)
    spent: x-ratelimit-remaining
    # @fastify/rate-limit: a wait
    retry after 60000 ms
    "" 0 of 3, resets in +60000 ms (x-ratelimit-remaining)
    spent: x-ratelimit-remaining
    # tower_governor: the limit is a burst, the wait is cut to whole seconds
    retry after 0 ms, may be cut
    "" 0 of 5 (x-ratelimit-remaining)
    # a server that puts new Date() into its fields
    "" 3 of 4, resets at +5000 ms (x-ratelimit-remaining)
    # epoch in milliseconds
    "" 1499 of 1500, resets at +30000 ms (x-ratelimit-remaining)
    # no limit at all, as some spell it

    # no limit at all, as others do
    "#);
}
