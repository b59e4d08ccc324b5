//! Proxies that other people wrote: squid for HTTP, microsocks for SOCKS5, both with a log of what went through.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tempfile::TempDir;

use crate::process::{self, Process};
use crate::tools;

/// A proxy on loopback.
pub struct Outbound {
    folder: TempDir,
    process: Process,
    port: u16,
    scheme: &'static str,
    log: &'static str,
}

impl Outbound {
    /// squid without a cache.
    pub fn squid() -> Self {
        Self::squid_from("127.0.0.1")
    }

    /// The same, whose requests come from the address `from`.
    pub fn squid_from(from: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        // Started by root it takes on another user, who is to write here.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("the folder is the test's own");
        let port = process::free_port();
        let settings = format!(
            "http_port 127.0.0.1:{port}
acl here src 127.0.0.1
http_access allow here
http_access deny all
cache deny all
tcp_outgoing_address {from}
cache_mem 8 MB
pid_filename none
access_log stdio:{folder}/access.log
cache_log {folder}/cache.log
cache_store_log none
netdb_filename none
pinger_enable off
coredump_dir {folder}
shutdown_lifetime 0 seconds
",
            folder = folder.path().display()
        );
        std::fs::write(folder.path().join("squid.conf"), settings).expect("the test's own folder can be written to");
        let mut command = Command::new(tools::program("squid"));
        command.args(["-N", "-f"]).arg(folder.path().join("squid.conf")).current_dir(folder.path());
        Self::start("squid", folder, &mut command, port, "http", "access.log")
    }

    /// microsocks, a SOCKS5 server.
    pub fn microsocks() -> Self {
        Self::microsocks_from("127.0.0.1")
    }

    /// The same, whose requests come from the address `from`.
    pub fn microsocks_from(from: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let port = process::free_port();
        let mut command = Command::new(tools::program("microsocks"));
        command.args(["-i", "127.0.0.1", "-b", from, "-p", &port.to_string()]).current_dir(folder.path());
        Self::start("microsocks", folder, &mut command, port, "socks5", "microsocks.err")
    }

    fn start(
        name: &str,
        folder: TempDir,
        command: &mut Command,
        port: u16,
        scheme: &'static str,
        log: &'static str,
    ) -> Self {
        let mut process = Process::start(name, folder.path(), command);
        process.wait_until_it_listens(port);
        Self { folder, process, port, scheme, log }
    }

    /// Its name, as limits are known by it.
    pub fn name(&self) -> String {
        let scheme = if self.scheme == "http" { String::new() } else { format!("{}://", self.scheme) };
        format!("{scheme}127.0.0.1:{}", self.port)
    }

    /// Its address, as `proxy` of a `crawl.toml` takes it.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// Stops it. The lines of its log that name the server at `port`: for squid one a request, for microsocks one a connection.
    pub fn stop(&mut self, port: u16) -> Vec<String> {
        self.process.stop();
        let log = process::read_lossy(&self.folder.path().join(self.log));
        let server = format!("127.0.0.1:{port}");
        log.lines().filter(|line| line.contains(&server)).map(str::to_owned).collect()
    }
}
