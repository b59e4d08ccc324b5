//! What a page costs: 20,000 pages of 8 KB with 20 links each, from one loopback host without limits.
//!
//! `cargo bench --bench crawl [-- PAGES RUNS]`. Server and crawler are processes of their own and share the machine; CPU time and
//! memory are the crawler's alone, from /proc, so this needs Linux. It prints each run and the medians.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on should say where and stop")]

mod child;

use std::io::BufReader;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use child::to_f64;

struct Run {
    pages_per_s: f64,
    cpu_ms_per_page: f64,
    peak_mib: f64,
    file_mib: f64,
}

fn main() {
    // Cargo passes `--bench`; numbers are ours.
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<u32>().ok());
    let pages = numbers.next().unwrap_or(20_000);
    let runs = numbers.next().unwrap_or(3);
    let web = Web::start(pages);
    println!("{pages} pages of 8 KB with 20 links, one host on loopback, no limits, 64 at once");
    let mut all: Vec<Run> = (0..runs).map(|_| crawl(&web, pages)).collect();
    for run in &all {
        print("run", run.pages_per_s, run.cpu_ms_per_page, run.peak_mib, run.file_mib);
    }
    let mut median = |pick: fn(&Run) -> f64| {
        all.sort_by(|one, other| pick(one).total_cmp(&pick(other)));
        pick(&all[all.len() / 2])
    };
    let medians = (
        median(|run| run.pages_per_s),
        median(|run| run.cpu_ms_per_page),
        median(|run| run.peak_mib),
        median(|run| run.file_mib),
    );
    print("median", medians.0, medians.1, medians.2, medians.3);
}

fn print(what: &str, pages_per_s: f64, cpu_ms_per_page: f64, peak_mib: f64, file_mib: f64) {
    println!(
        "{what:<7} {pages_per_s:>7.0} pages/s  {cpu_ms_per_page:.3} CPU-ms a page  {peak_mib:>5.0} MiB peak  {file_mib:>6.1} MiB on disk"
    );
}

fn crawl(web: &Web, pages: u32) -> Run {
    let folder = TempDir::new().unwrap();
    let toml = format!(
        "[throttle]\nmax_rate = \"none\"\nconcurrency = 32\nmax_concurrency = 64\n[site.bench]\nstart = [\"{}\"]\nsitemap = false\n",
        web.root
    );
    std::fs::write(folder.path().join("crawl.toml"), toml).unwrap();
    let crawled = child::crawl(folder.path(), |_| {});
    let done = crawled.report["sources"][0]["done"].as_u64().unwrap();
    assert_eq!(done, u64::from(pages), "pages that are done");
    Run {
        pages_per_s: f64::from(pages) * 1_000.0 / to_f64(crawled.took_ms),
        cpu_ms_per_page: crawled.cpu_ms / f64::from(pages),
        peak_mib: crawled.peak_mib,
        file_mib: to_f64(crawled.file_bytes) / 1_048_576.0,
    }
}

/// A practice web in a process of its own.
struct Web {
    child: Child,
    root: String,
}

impl Web {
    fn start(pages: u32) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_trundle"))
            .args(["practice", "--json", "--host", "bench:0:none", "--pages", &pages.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let truth: Value = serde_json::Deserializer::from_reader(stdout).into_iter().next().unwrap().unwrap();
        let root = truth["hosts"][0]["url"].as_str().unwrap().to_owned();
        Self { child, root }
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
