//! Proxies carry a crawl: everything arrives, and every request has gone through the proxy.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::crawl::Crawl;
use crate::json_server::JsonServer;
use crate::outbound::Outbound;
use crate::{alone, show};

const RECORDS: usize = 300;
const A_PAGE: usize = 25;

#[test]
fn squid_carries_a_walk() {
    let _alone = alone();
    let lines = carry(Outbound::squid());
    assert_eq!(lines.len(), RECORDS / A_PAGE, "one line a request: {lines:#?}");
}

#[test]
fn a_socks5_server_carries_a_walk() {
    let _alone = alone();
    let lines = carry(Outbound::microsocks());
    assert!((1..=RECORDS / A_PAGE).contains(&lines.len()), "a line a connection: {lines:#?}");
}

/// Walks a list by way of the proxy. What the proxy has written down of it.
fn carry(mut outbound: Outbound) -> Vec<String> {
    #[derive(Deserialize)]
    struct Row {
        id: String,
    }
    let server = JsonServer::start(RECORDS);
    let crawl = Crawl::new(&format!(
        "[http]\nproxy = \"{}\"\n[throttle]\nmax_rate = \"none\"\n\n[api.items]\nkey = \"id\"\n\
         url = \"http://127.0.0.1:{}/items?_page=1&_limit={A_PAGE}\"\n",
        outbound.url(),
        server.port()
    ));
    let run = crawl.run();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let stored = crawl.sql::<Row>("SELECT CAST(json_extract(data, '$.id') AS TEXT) AS id FROM records");
    let stored: BTreeSet<String> = stored.into_iter().map(|row| row.id).collect();
    assert_eq!(stored, server.keys());
    show(&format!("by {}: {} records, {:.1} s", outbound.url(), stored.len(), run.seconds));
    outbound.stop(server.port())
}
