//! nginx as most people run it in front of files, with a log of every request in a form that can be read back.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::process::{self, Process};
use crate::tools;

/// nginx that serves one folder of files.
pub struct Nginx {
    folder: TempDir,
    process: Process,
    port: u16,
    mount: String,
    files: PathBuf,
}

/// One line of the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// `GET`, `HEAD`, ...
    pub method: String,
    /// Path and query as they were sent.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
    /// The `Content-Type` of the answer, as it was sent.
    pub content_type: String,
    /// The `User-Agent` of the request.
    pub agent: String,
}

impl Nginx {
    /// Serves `files` below `/NAME/`: to trundle at most `per_second` requests a second and 20 at once, if it is given, and 429
    /// beyond that.
    pub fn start(name: &str, files: &Path, per_second: Option<u32>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let port = process::free_port();
        let mount = format!("/{name}/");
        let (http, server) = configuration(&mount, files, per_second);
        let process = start(folder.path(), port, &http, &server);
        Self { folder, process, port, mount, files: files.to_owned() }
    }

    /// The address of the front page.
    pub fn url(&self) -> String {
        format!("{}{}", self.origin(), self.mount)
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The file that is served at `path`, as nginx finds it. Only for paths that need no decoding, as those of these sites.
    pub fn file(&self, path: &str) -> PathBuf {
        let below = path.strip_prefix(&self.mount).unwrap_or_else(|| panic!("{path} is not below {}", self.mount));
        assert!(!below.contains(['%', '?']), "{path} is no plain path");
        let file = self.files.join(below);
        if path.ends_with('/') { file.join("index.html") } else { file }
    }

    /// Stops the server and reads its log: all requests in the order of their answers.
    pub fn stop(&mut self) -> Vec<Served> {
        self.process.stop();
        process::read_lossy(&self.folder.path().join("access.log")).lines().map(Served::parse).collect()
    }
}

impl Served {
    fn parse(line: &str) -> Self {
        let fields: Vec<&str> = line.split('\t').collect();
        let [method, path, status, content_type, agent] = fields[..] else {
            panic!("a line of the access log: {line}")
        };
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            status: status.parse().expect("a status is a number"),
            content_type: content_type.to_owned(),
            agent: agent.to_owned(),
        }
    }
}

/// Starts nginx in `folder`, with `http` and `server` in the blocks of those names; its log is `access.log` there.
///
/// One process only: a master that is killed leaves its workers behind, and a worker takes on another user, who may not be
/// allowed to read a developer's folders. The modules' temporary folders are named since the packaged ones belong to root.
pub fn start(folder: &Path, port: u16, http: &str, server: &str) -> Process {
    let configuration = format!(
        "daemon off;
master_process off;
pid nginx.pid;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path tmp;
    proxy_temp_path tmp;
    fastcgi_temp_path tmp;
    uwsgi_temp_path tmp;
    scgi_temp_path tmp;
    types {{ text/html html; text/css css; text/plain txt; application/javascript js; image/png png; image/svg+xml svg; }}
    default_type application/octet-stream;
    sendfile on;
    gzip on;
    {http}
    server {{
        listen 127.0.0.1:{port};
        {server}
    }}
}}
"
    );
    std::fs::write(folder.join("nginx.conf"), configuration).expect("the test's own folder can be written to");
    let mut command = Command::new(tools::program("nginx"));
    command.arg("-p").arg(folder).args(["-c", "nginx.conf", "-e", "stderr"]);
    let mut process = Process::start("nginx", folder, &mut command);
    process.wait_until_it_listens(port);
    process
}

/// The blocks `http` and `server`.
fn configuration(mount: &str, files: &Path, per_second: Option<u32>) -> (String, String) {
    // Requests with an empty key are not counted: Wget is to find the truth, not the limit.
    let (zone, limit) = per_second.map_or_else(Default::default, |per_second| {
        let map = r#"map $http_user_agent $counted { default ""; ~^trundle/ $binary_remote_addr; }"#;
        let zone = format!(
            "{map}\n    limit_req_zone $counted zone=clients:1m rate={per_second}r/s;\n    limit_req_status 429;"
        );
        (zone, "limit_req zone=clients burst=20 nodelay;")
    });
    let log = r"log_format fields '$request_method\t$request_uri\t$status\t$sent_http_content_type\t$http_user_agent';
    access_log access.log fields;";
    (format!("{log}\n    {zone}"), format!("location {mount} {{ {limit} alias \"{}/\"; }}", files.display()))
}
