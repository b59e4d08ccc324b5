//! What a record costs: 1,000,000 records of 400 bytes through an API with cursors, 500 a page, each page known only from the one
//! before it.
//!
//! `cargo bench --bench records [-- RECORDS]`. The server runs in this process and the crawler in its own; they share the machine.
//! CPU time and memory are the crawler's alone, from /proc, so this needs Linux. Memory is told as it grows: the most of it when a
//! tenth of the records was asked for, and in the end.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on should say where and stop")]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use trundle::clock::{Clock, SystemClock};

/// Records of a page.
const PAGE: u64 = 500;

/// Ticks of /proc/PID/stat in a second: fixed to 100 for user space on all Linux systems that Rust runs on.
const TICK_MS: f64 = 10.0;

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
    let clock = SystemClock::new();
    let started_at = clock.now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_trundle"))
        .args(["run", "-q", "--json"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(File::create(folder.path().join("out.json")).unwrap())
        .spawn()
        .unwrap();
    let watched = watch(&child, &asked, records / 10);
    let took_ms = clock.now().since_ms(started_at);
    let status = child.wait().unwrap();
    assert!(status.success(), "the crawl ended with {status}");
    let report: Value = serde_json::from_slice(&std::fs::read(folder.path().join("out.json")).unwrap()).unwrap();
    assert_eq!(report["sources"][0]["items"].as_u64().unwrap(), records, "records that are stored");
    let file_bytes = std::fs::metadata(folder.path().join("crawl.db")).unwrap().len();
    println!("{:>9.0} records/s", to_f64(records) * 1_000.0 / to_f64(took_ms));
    println!("{:>9.1} CPU-µs a record", watched.cpu_ms * 1_000.0 / to_f64(records));
    println!("{:>9.0} MiB peak; {:.0} MiB after a tenth of it", watched.peak_mib, watched.early_mib);
    println!("{:>9.0} bytes on disk a record", to_f64(file_bytes) / to_f64(records));
}

/// What a child took.
struct Watched {
    cpu_ms: f64,
    peak_mib: f64,
    /// The peak when this many records were asked for.
    early_mib: f64,
}

fn watch(child: &Child, asked: &AtomicU64, early: u64) -> Watched {
    let folder = Path::new("/proc").join(child.id().to_string());
    let mut watched = Watched { cpu_ms: 0.0, peak_mib: 0.0, early_mib: 0.0 };
    loop {
        let stat = std::fs::read_to_string(folder.join("stat")).unwrap();
        // The name of the program stands in brackets and may hold anything; fields are counted behind it.
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
        let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
        if let Some(kib) =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        {
            watched.peak_mib = to_f64(kib) / 1_024.0;
            if asked.load(Ordering::Relaxed) <= early {
                watched.early_mib = watched.peak_mib;
            }
        }
        // Ended, and not waited for yet: its times are final.
        if fields[0] == "Z" {
            let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
            watched.cpu_ms = to_f64(ticks) * TICK_MS;
            return watched;
        }
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "another process sends no event")]
fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

#[expect(clippy::cast_precision_loss, reason = "figures of a bench are small")]
fn to_f64(number: u64) -> f64 {
    number as f64
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
