//! Datasette, which serves the rows of a SQLite file as JSON, page by page.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::process::{self, Process};
use crate::tools;

/// Datasette over one database.
pub struct Datasette {
    _folder: TempDir,
    process: Process,
    port: u16,
    name: String,
}

impl Datasette {
    /// Serves the database at `file`, with pages of up to `rows_max` rows.
    pub fn start(file: &Path, rows_max: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let port = process::free_port();
        let mut command = Command::new(tools::datasette());
        command
            .arg("serve")
            .arg(file)
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--setting", "max_returned_rows", &rows_max.to_string()])
            // For a busy machine; its own default is one second a query.
            .args(["--setting", "sql_time_limit_ms", "30000"])
            .current_dir(folder.path());
        let mut process = Process::start("datasette", folder.path(), &mut command);
        process.wait_until_it_listens(port);
        let name = file.file_stem().and_then(|stem| stem.to_str()).expect("the test named its file").to_owned();
        Self { _folder: folder, process, port, name }
    }

    /// The JSON address of a table.
    pub fn table(&self, table: &str) -> String {
        format!("http://127.0.0.1:{}{}", self.port, self.path(table))
    }

    /// The path of that address.
    pub fn path(&self, table: &str) -> String {
        format!("/{}/{table}.json", self.name)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops the server and reads its log: the request lines in order, as in `GET /rows/t.json?_size=9 HTTP/1.1`, with the status.
    pub fn stop(&mut self) -> Vec<(String, u16)> {
        self.process.stop();
        // INFO:     127.0.0.1:54588 - "GET /t/t.json?_size=2 HTTP/1.1" 200 OK
        let request = |line: &str| {
            let (_, rest) = line.split_once(" - \"")?;
            let (request, status) = rest.split_once("\" ")?;
            Some((request.to_owned(), status.split(' ').next()?.parse().ok()?))
        };
        self.process.stdout().lines().filter_map(request).collect()
    }
}
