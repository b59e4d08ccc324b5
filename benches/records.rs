//! What a record costs: 1,000,000 records of 400 bytes through an API with cursors, 500 a page, each page known only from the one
//! before it.
//!
//! `cargo bench --bench records [-- RECORDS]`. The server runs in this process and the crawler in its own; they share the machine.
//! CPU time and memory are the crawler's alone, from /proc, so this needs Linux. Memory is told as it grows: the most of it when a
//! tenth of the records was asked for, and in the end.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on should say where and stop")]

mod child;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use child::to_f64;

/// Records of a page.
const PAGE: u64 = 500;

fn main() {
    // Cargo passes `--bench`; the number is ours.
    let records = std::env::args().skip(1).find_map(|argument| argument.parse::<u64>().ok()).unwrap_or(1_000_000);
    let asked = Arc::new(AtomicU64::new(0));
    let root = serve(records, &asked);
    let folder = TempDir::new().unwrap();
    let toml = format!(
        "[throttle]\nmax_rate = \"none\"\n[api.bench]\nurl = \"{root}/records\"\nkey = \"id\"\n\
         paginate = {{ type = \"cursor\", path = \"next\", send = \"query:after\" }}\n"
    );
    std::fs::write(folder.path().join("crawl.toml"), toml).unwrap();
    println!("{records} records of 400 bytes, {PAGE} a page by cursor, one host on loopback, no limits");
    let mut early_mib = 0.0;
    let crawled = child::crawl(folder.path(), |peak_mib| {
        if asked.load(Ordering::Relaxed) <= records / 10 {
            early_mib = peak_mib;
        }
    });
    assert_eq!(crawled.report["sources"][0]["items"].as_u64().unwrap(), records, "records that are stored");
    println!("{:>9.0} records/s", to_f64(records) * 1_000.0 / to_f64(crawled.took_ms));
    println!("{:>9.1} CPU-µs a record", crawled.cpu_ms * 1_000.0 / to_f64(records));
    println!("{:>9.0} MiB peak; {early_mib:.0} MiB after a tenth of it", crawled.peak_mib);
    println!("{:>9.0} bytes on disk a record", to_f64(crawled.file_bytes) / to_f64(records));
}

/// Starts an API with so many records; `asked` is how many it was asked for so far.
fn serve(records: u64, asked: &Arc<AtomicU64>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let root = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::clone(asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let asked = Arc::clone(&asked);
            std::thread::spawn(move || answer_all(stream, records, &asked));
        }
    });
    root
}

fn answer_all(stream: TcpStream, records: u64, asked: &AtomicU64) {
    stream.set_nodelay(true).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    while let Some(request) = lines.next() {
        if lines.by_ref().find(String::is_empty).is_none() {
            return;
        }
        let after = request.split(['=', ' ']).nth(2).and_then(|after| after.parse().ok()).unwrap_or(0);
        let body = page(after, records);
        asked.fetch_max(after + PAGE, Ordering::Relaxed);
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        // The crawler may hang up at any time.
        if writer.write_all(&[head.as_bytes(), body.as_bytes()].concat()).is_err() {
            return;
        }
    }
}

fn page(after: u64, records: u64) -> String {
    let last = (after + PAGE).min(records);
    let items: Vec<Value> = (after + 1..=last).map(record).collect();
    json!({"items": items, "next": (last < records).then(|| last.to_string())}).to_string()
}

/// A record such as issue trackers have.
fn record(id: u64) -> Value {
    json!({
        "id": id, "number": id % 10_000, "title": format!("The {id}th thing that somebody has found to be wrong"),
        "state": if id.is_multiple_of(3) { "closed" } else { "open" }, "locked": false, "score": to_f64(id % 1_000) / 8.0,
        "user": {"login": format!("user{}", id % 997), "id": id % 997, "site_admin": false},
        "labels": ["bug", "help wanted"], "assignee": null, "comments": id % 17,
        "created_at": "2024-01-31T12:00:00Z", "updated_at": "2024-02-29T12:00:00Z",
        "url": format!("https://api.example.org/repos/some/where/issues/{id}"),
    })
}
