//! Other programs: started with their output in files, waited for with a deadline, and never left behind.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use trundle::clock::{Clock, SystemClock, Timestamp};

/// How long a server may take until it listens. Datasette needs about two seconds alone on a machine.
const READY_MS_MAX: u64 = 60_000;
/// How long a server may take to end after it was asked to.
const STOP_MS_MAX: u64 = 20_000;

/// A program that runs; killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    clock: SystemClock,
}

impl Process {
    /// Starts `command`. Its output goes to `NAME.out` and `NAME.err` in `folder`.
    pub fn start(name: &str, folder: &Path, command: &mut Command) -> Self {
        let (stdout, stderr) = (folder.join(format!("{name}.out")), folder.join(format!("{name}.err")));
        let create = |path: &Path| File::create(path).expect("the test's own folder can be written to");
        let child = command
            .stdin(Stdio::null())
            .stdout(create(&stdout))
            .stderr(create(&stderr))
            .spawn()
            .unwrap_or_else(|error| panic!("start {name}: {error}"));
        Self { name: name.to_owned(), child, stdout, stderr, clock: SystemClock::new() }
    }

    /// Waits until something listens on `port` while the program runs.
    pub fn wait_until_it_listens(&mut self, port: u16) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let deadline = self.clock.now().plus_ms(READY_MS_MAX);
        loop {
            let listens = TcpStream::connect(address).is_ok();
            if let Some(status) = self.poll() {
                panic!("{} ended with {status} before it listened:\n{}", self.name, self.stderr());
            }
            if listens {
                return;
            }
            assert!(self.clock.now() < deadline, "{} does not listen on {address}:\n{}", self.name, self.stderr());
            pause();
        }
    }

    /// Waits for the program to end by itself, at most `ms_max`.
    pub fn wait(&mut self, ms_max: u64) -> ExitStatus {
        let status = self.wait_or_kill(ms_max);
        status.unwrap_or_else(|| panic!("{} still runs after {ms_max} ms:\n{}", self.name, self.stderr()))
    }

    /// Waits for the program to end by itself; none when it had to be killed after `ms_max`.
    pub fn wait_or_kill(&mut self, ms_max: u64) -> Option<ExitStatus> {
        let deadline = self.clock.now().plus_ms(ms_max);
        loop {
            if let Some(status) = self.poll() {
                return Some(status);
            }
            if self.clock.now() >= deadline {
                self.kill();
                return None;
            }
            pause();
        }
    }

    /// Asks the program to end (SIGTERM) and waits until it has, so that its logs are whole.
    pub fn stop(&mut self) {
        // The shell's own `kill`: small images of Debian have no program of that name.
        let asked = Command::new("sh").arg("-c").arg(format!("kill -s TERM {}", self.child.id())).status();
        assert!(asked.is_ok_and(|status| status.success()), "{} had ended already:\n{}", self.name, self.stderr());
        self.wait(STOP_MS_MAX);
    }

    /// What it has written to standard output.
    pub fn stdout(&self) -> String {
        read_lossy(&self.stdout)
    }

    /// What it has written to standard error.
    pub fn stderr(&self) -> String {
        read_lossy(&self.stderr)
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.poll().is_some()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        // Both fail only for a program that has ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    fn poll(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child can be asked")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port on loopback that was free a moment ago. Should another program take it first, the server ends at once and the test
/// fails with its message.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// Lets `ms` pass, for the clocks of servers.
pub fn let_pass(ms: u64) {
    let clock = SystemClock::new();
    let end = clock.now().plus_ms(ms);
    while clock.now() < end {
        pause();
    }
}

/// Seconds since `start`, for the figures that the tests print.
pub fn seconds_since(start: Timestamp, clock: &SystemClock) -> f64 {
    Duration::from_millis(clock.now().since_ms(start)).as_secs_f64()
}

/// A file as text; what is not UTF-8 is replaced.
pub fn read_lossy(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a foreign program sends no event when it listens or ends; it is asked again"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
