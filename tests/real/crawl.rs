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
        self.run_with(&["run"])
    }

    /// `trundle` with these arguments, which begin with `run`.
    pub fn run_with(&self, arguments: &[&str]) -> Run {
        let clock = SystemClock::new();
        let start = clock.now();
        let (code, process) = self.trundle("run", arguments, RUN_MS_MAX);
        Run { code, seconds: process::seconds_since(start, &clock), stderr: process.stderr() }
    }

    /// `trundle run`, started and left to the test.
    pub fn begin(&self) -> Process {
        self.start_with(&["run", "-q"])
    }

    /// The same with these arguments.
    pub fn start_with(&self, arguments: &[&str]) -> Process {
        self.start("run", arguments)
    }

    /// Records that the last pull brought and that were new or others than before.
    pub fn changed_rows(&self) -> i64 {
        #[derive(serde::Deserialize)]
        struct Row {
            rows: i64,
        }
        let query = "SELECT count(*) AS rows FROM items AS i JOIN sources AS s USING (source_id) \
                     WHERE i.updated_at >= s.pull_started_at";
        self.sql::<Row>(query)[0].rows
    }

    /// Requests that were answered 304.
    pub fn not_modified(&self) -> usize {
        #[derive(serde::Deserialize)]
        struct Row {
            requests: usize,
        }
        self.sql::<Row>("SELECT count(*) AS requests FROM attempts WHERE status = 304")[0].requests
    }

    /// Waits until the next pull of this stream, which is made every second, is due.
    pub fn wait_until_due(&self, stream: &str) {
        #[derive(serde::Deserialize)]
        struct Row {
            at: i64,
        }
        let query = format!("SELECT pull_started_at + 1000 AS at FROM sources WHERE name = '{stream}'");
        let due_at = self.sql::<Row>(&query)[0].at;
        process::let_pass(u64::try_from(due_at - SystemClock::new().now().0).unwrap_or(0));
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
