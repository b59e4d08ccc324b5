//! Two APIs: pages by number with `Link` headers, and pages by opaque cursors.

use axum::http::header;
use serde_json::{Value, json};

use super::answer::{Answer, Class, Site};
use super::page::dice;
use super::truth::Truth;

/// Records on one page.
pub(super) const PAGE_SIZE: u32 = 100;

/// `/api/events?page=N`: an array, and a `Link` header (RFC 8288) with `next` and `last`.
pub(super) fn fill_events(site: &mut Site, truth: &mut Truth, records: u32, seed: u64) {
    let pages = records.div_ceil(PAGE_SIZE).max(1);
    let first = "/api/events".to_owned();
    let target = |page: u32| format!("/api/events?page={page}");
    for page in 1..=pages {
        let events: Vec<Value> = numbers(page - 1, records)
            .map(|number| {
                let mut rng = dice(seed, 4, number);
                let kind = ["loan", "return", "purchase"][rng.usize(..3)];
                json!({"id": number, "kind": kind, "book": rng.u32(..1_000), "amount": f64::from(rng.u32(..10_000)) / 100.0})
            })
            .collect();
        let mut links = Vec::new();
        if page < pages {
            links.push(format!("<{}>; rel=\"next\"", site.url(&target(page + 1))));
        }
        links.push(format!("<{}>; rel=\"last\"", site.url(&target(pages))));
        let body = Value::Array(events).to_string();
        let answer = || Answer::new(200, "application/json", body.clone()).with_header(header::LINK, &links.join(", "));
        if page == 1 {
            site.add(truth, Class::Api, &first, answer());
        }
        site.add(truth, Class::Api, &target(page), answer());
    }
    truth.records.insert(site.url(&first).to_string(), records);
}

/// `/items` and `/items?cursor=C`: an object with `items` and `next`, which is null on the last page.
pub(super) fn fill_items(site: &mut Site, truth: &mut Truth, records: u32, service_ms: u64, seed: u64) {
    let pages = records.div_ceil(PAGE_SIZE).max(1);
    let cursor = |page: u32| format!("{:016x}", dice(seed, 5, page).u64(..));
    for page in 0..pages {
        let items: Vec<Value> = numbers(page, records)
            .map(|number| {
                let mut rng = dice(seed, 6, number);
                json!({"id": format!("item-{number}"), "name": format!("Item {number}"), "stock": rng.u32(..500)})
            })
            .collect();
        let next = (page + 1 < pages).then(|| cursor(page + 1));
        let body = json!({"items": items, "next": next}).to_string();
        let target = if page == 0 { "/items".to_owned() } else { format!("/items?cursor={}", cursor(page)) };
        site.add(truth, Class::Api, &target, Answer::new(200, "application/json", body).slow(service_ms));
    }
    truth.records.insert(site.url("/items").to_string(), records);
}

/// The numbers of the records on a page, which counts from 0.
fn numbers(page: u32, records: u32) -> std::ops::Range<u32> {
    let start = page.saturating_mul(PAGE_SIZE);
    start..start.saturating_add(PAGE_SIZE).min(records)
}
