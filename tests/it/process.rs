//! The real program as a child: never left behind, waited for with a deadline; and the practice web with its log.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use trundle::clock::{Clock, SystemClock, Timestamp};
use trundle::store::Reader;

/// How long anything may take that takes no time, ms.
pub const SOON_MS: u64 = 60_000;

/// A folder with a `crawl.toml`, in which the program is run.
pub struct Folder {
    temp: TempDir,
}

/// A child of ours.
pub struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    pub started_at: Timestamp,
}

/// What came of a child that has ended.
#[derive(Debug)]
pub struct Ended {
    /// None when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub fn clock() -> SystemClock {
    SystemClock::new()
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Asks again until there is an answer, since another process sends no event; panics with `what` when it takes too long.
pub fn wait_for<T>(what: &str, ms_max: u64, mut ask: impl FnMut() -> Option<T>) -> T {
    let clock = clock();
    let deadline = clock.now().plus_ms(ms_max);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(clock.now() < deadline, "{what}: not within {ms_max} ms");
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "another process sends no event")]
fn pause() {
    std::thread::sleep(Duration::from_millis(2));
}

impl Folder {
    pub fn new(crawl_toml: &str) -> Self {
        let temp = TempDir::new().unwrap();
        std::fs::write(temp.path().join("crawl.toml"), crawl_toml).unwrap();
        Self { temp }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// Starts `trundle` with these arguments.
    pub fn start(&self, args: &[&str]) -> Running {
        let unique = format!("{}-{}", clock().now().0, fastrand::Rng::new().u32(..));
        let (stdout, stderr) = (self.path(&format!("{unique}.out")), self.path(&format!("{unique}.err")));
        let started_at = clock().now();
        let child = Command::new(env!("CARGO_BIN_EXE_trundle"))
            .args(args)
            .current_dir(self.temp.path())
            // The environment of whoever runs the tests must not change what is tested.
            .env_remove("RUST_LOG")
            .env("no_proxy", "127.0.0.1,localhost")
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        Running { child, stdout, stderr, started_at }
    }

    /// Runs `trundle` to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        self.start(args).wait(SOON_MS)
    }

    /// Reads the database, as any reader beside the crawl would.
    pub fn query(&self, sql: &str) -> Vec<Vec<Value>> {
        query(&self.path("crawl.db"), sql)
    }
}

pub fn query(db: &Path, sql: &str) -> Vec<Vec<Value>> {
    block_on(async {
        let reader = Reader::open(db).await.unwrap();
        reader.query(sql, 1_000_000).await.unwrap().rows
    })
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn wait(&mut self, ms_max: u64) -> Ended {
        let status = wait_for("the program ends", ms_max, || self.child.try_wait().unwrap());
        let read = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        Ended { code: status.code(), stdout: read(&self.stdout), stderr: read(&self.stderr) }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        // Fails only for a program that has ended.
        drop(self.child.kill());
        self.child.wait().unwrap();
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        let sent = Command::new("kill").args(["-s", "INT", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// The most memory that it ever had, in MiB, while it still runs (Linux). None when that cannot be told.
    pub fn peak_mib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A practice web in a process of its own.
pub struct Web {
    child: Child,
    /// Roots of the hosts in the order in which they were asked for, with `/` behind.
    pub roots: Vec<String>,
    log: PathBuf,
    _folder: TempDir,
}

/// One line of its log.
#[derive(Clone, Debug)]
pub struct LogLine {
    pub at: Timestamp,
    pub host: String,
    pub target: String,
    pub status: u64,
    pub retry_after_s: Option<u64>,
}

/// Reads a log that grows.
pub struct LogReader {
    file: BufReader<File>,
    part: String,
    pub lines: Vec<LogLine>,
}

impl Web {
    /// Starts `trundle practice` with these arguments and waits until its ports are open.
    pub fn start(args: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let log = folder.path().join("requests.jsonl");
        File::create(&log).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_trundle"))
            .args(["practice", "--json", "--log"])
            .arg(&log)
            .args(args)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let truth: Value =
            serde_json::Deserializer::from_reader(BufReader::new(stdout)).into_iter().next().unwrap().unwrap();
        let roots = truth["hosts"].as_array().unwrap().iter().map(|host| host["url"].as_str().unwrap().to_owned());
        Self { child, roots: roots.collect(), log, _folder: folder }
    }

    pub fn log(&self) -> LogReader {
        LogReader { file: BufReader::new(File::open(&self.log).unwrap()), part: String::new(), lines: Vec::new() }
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl LogReader {
    /// Reads what has been written since; the number of lines so far.
    pub fn read(&mut self) -> usize {
        while self.file.read_line(&mut self.part).unwrap() > 0 {
            if !self.part.ends_with('\n') {
                break;
            }
            let line: Value = serde_json::from_str(&self.part).unwrap();
            self.part.clear();
            self.lines.push(LogLine {
                at: Timestamp(line["at_ms"].as_i64().unwrap()),
                host: line["host"].as_str().unwrap().to_owned(),
                target: line["target"].as_str().unwrap().to_owned(),
                status: line["status"].as_u64().unwrap(),
                retry_after_s: line["retry_after_secs"].as_u64(),
            });
        }
        self.lines.len()
    }

    /// Forgets what came before.
    pub fn skip_to_end(&mut self) {
        self.file.seek(SeekFrom::End(0)).unwrap();
        self.part.clear();
        self.lines.clear();
    }
}

/// Requests that were sent inside a wait that their host had announced to the client: `(line, announced until)`. An answer takes
/// a moment to come, so requests within `grace_ms` of the announcement were already on their way.
pub fn violations(lines: &[LogLine], grace_ms: u64) -> Vec<(LogLine, Timestamp)> {
    let mut until: std::collections::HashMap<&str, (Timestamp, Timestamp)> = std::collections::HashMap::new();
    let mut wrong = Vec::new();
    for line in lines {
        if let Some(&(told_at, end)) = until.get(line.host.as_str())
            && line.at < end
            && line.at.since_ms(told_at) > grace_ms
        {
            wrong.push((line.clone(), end));
        }
        if let Some(wait_s) = line.retry_after_s {
            let end = line.at.plus_ms(wait_s * 1_000);
            let known = until.entry(&line.host).or_insert((line.at, end));
            // The first word of an event counts for the grace; later ones lengthen the wait.
            if line.at >= known.1 {
                known.0 = line.at;
            }
            known.1 = known.1.max(end);
        }
    }
    wrong
}
