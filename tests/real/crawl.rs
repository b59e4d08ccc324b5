//! trundle as a user runs it: a folder with a `crawl.toml`, the command line, and SQL for what came of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::de::DeserializeOwned;
use tempfile::TempDir;
use trundle::clock::{Clock, SystemClock};

use crate::process::{self, Process};

/// How long a crawl may take. Each of these takes seconds; the rest is for a busy machine.
const RUN_MS_MAX: u64 = 300_000;
/// How long a look at the database may take.
const SQL_MS_MAX: u64 = 60_000;

/// A crawl in a folder of its own.
pub struct Crawl {
    folder: TempDir,
    env: Vec<(&'static str, PathBuf)>,
}

/// What a run came to.
pub struct Run {
    /// The exit code.
    pub code: i32,
    /// How long it took.
    pub seconds: f64,
    /// What it said.
    pub stderr: String,
}

impl Crawl {
    /// A folder with this `crawl.toml`.
    pub fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        std::fs::write(folder.path().join("crawl.toml"), config).expect("the test's own folder can be written to");
        Self { folder, env: Vec::new() }
    }

    /// The same with a path in its environment.
    pub fn with_env(mut self, name: &'static str, path: &Path) -> Self {
        self.env.push((name, path.to_owned()));
        self
    }

    /// Writes a file beside its `crawl.toml`.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("the test's own folder can be written to");
    }

    /// `trundle run`
    pub fn run(&self) -> Run {
        let clock = SystemClock::new();
        let start = clock.now();
        let (code, process) = self.trundle("run", &["run"], RUN_MS_MAX);
        Run { code, seconds: process::seconds_since(start, &clock), stderr: process.stderr() }
    }

    /// `trundle run`, started and left to the test.
    pub fn begin(&self) -> Process {
        self.start("run", &["run", "-q"])
    }

    /// `trundle run`, killed when it takes longer than `ms_max`: the exit code, and what it said. No code when it was killed.
    pub fn run_or_kill(&self, ms_max: u64) -> (Option<i32>, String) {
        let mut process = self.start("run", &["run"]);
        let status = process.wait_or_kill(ms_max);
        (status.and_then(|status| status.code()), process.stderr())
    }

    /// `trundle sql --json QUERY`: its rows.
    pub fn sql<R: DeserializeOwned>(&self, query: &str) -> Vec<R> {
        let (code, process) = self.trundle("sql", &["sql", "--json", query], SQL_MS_MAX);
        assert_eq!(code, 0, "trundle sql {query:?}:\n{}", process.stderr());
        serde_json::from_str(&process.stdout())
            .unwrap_or_else(|error| panic!("the output of trundle sql {query:?}: {error}"))
    }

    fn trundle(&self, name: &str, arguments: &[&str], ms_max: u64) -> (i32, Process) {
        let mut process = self.start(name, arguments);
        let status = process.wait(ms_max);
        let code = status.code().unwrap_or_else(|| panic!("trundle {name} ended with {status}:\n{}", process.stderr()));
        (code, process)
    }

    fn start(&self, name: &str, arguments: &[&str]) -> Process {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_trundle"));
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path());
        // A proxy of this machine is not part of the test.
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, path)| (name, path)));
        Process::start(name, self.folder.path(), &mut command)
    }
}
