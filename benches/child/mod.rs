//! The crawler as a child of a bench: started in a folder, and watched until it has ended. CPU time and memory are its own, from /proc, so
//! this needs Linux.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use trundle::clock::{Clock, SystemClock};

/// Ticks of /proc/PID/stat in a second: fixed to 100 for user space on all Linux systems that Rust runs on.
const TICK_MS: f64 = 10.0;

/// What a crawl took.
pub struct Crawled {
    pub took_ms: u64,
    pub cpu_ms: f64,
    /// The most memory, MiB.
    pub peak_mib: f64,
    /// Bytes of its database.
    pub file_bytes: u64,
    /// What `trundle run --json` printed in the end.
    pub report: Value,
}

/// Crawls what the `crawl.toml` in `folder` says. `look` is told the most memory so far, in MiB, again and again.
pub fn crawl(folder: &Path, mut look: impl FnMut(f64)) -> Crawled {
    let clock = SystemClock::new();
    let started_at = clock.now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_trundle"))
        .args(["run", "-q", "--json"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(File::create(folder.join("out.json")).unwrap())
        .spawn()
        .unwrap();
    let (cpu_ms, peak_mib) = watch(&child, &mut look);
    let took_ms = clock.now().since_ms(started_at);
    let status = child.wait().unwrap();
    assert!(status.success(), "the crawl ended with {status}");
    let report = serde_json::from_slice(&std::fs::read(folder.join("out.json")).unwrap()).unwrap();
    let file_bytes = std::fs::metadata(folder.join("crawl.db")).unwrap().len();
    Crawled { took_ms, cpu_ms, peak_mib, file_bytes, report }
}

/// CPU time in ms and the most memory in MiB of a child, read until it has ended.
fn watch(child: &Child, look: &mut impl FnMut(f64)) -> (f64, f64) {
    let folder = Path::new("/proc").join(child.id().to_string());
    let mut peak_mib = 0.0_f64;
    loop {
        let stat = std::fs::read_to_string(folder.join("stat")).unwrap();
        // The name of the program stands in brackets and may hold anything; fields are counted behind it.
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
        let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
        if let Some(kib) =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        {
            peak_mib = peak_mib.max(to_f64(kib) / 1_024.0);
            look(peak_mib);
        }
        // Ended, and not waited for yet: its times are final.
        if fields[0] == "Z" {
            let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
            return (to_f64(ticks) * TICK_MS, peak_mib);
        }
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "another process sends no event")]
fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

#[expect(clippy::cast_precision_loss, reason = "figures of a bench are small")]
pub fn to_f64(number: u64) -> f64 {
    number as f64
}
