//! json-server, which serves the lists of a JSON file page by page, with links to the other pages.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{self, Process};
use crate::{tools, wire};

/// The lists, in its folder.
const FILE: &str = "db.json";

/// json-server with one list.
pub struct JsonServer {
    folder: TempDir,
    process: Process,
    port: u16,
}

impl JsonServer {
    /// Serves so many records at `/items`, with their numbers from 1 as `id`.
    pub fn start(records: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let items: Vec<Value> = (1..=records).map(|id| json!({ "id": id, "name": format!("Item {id}") })).collect();
        let list = json!({ "items": items }).to_string();
        std::fs::write(folder.path().join(FILE), list).expect("the test's own folder can be written to");
        let port = process::free_port();
        Self { process: start(&folder, port), folder, port }
    }

    /// Stops it, and starts it again on its port.
    pub fn restart(&mut self) {
        self.process.stop();
        self.process = start(&self.folder, self.port);
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The numbers of all its records, by one request without pages.
    pub fn keys(&self) -> BTreeSet<String> {
        let document = wire::get(self.port, "/items").json();
        document.as_array().expect("json-server gives a list").iter().map(|item| item["id"].to_string()).collect()
    }
}

fn start(folder: &TempDir, port: u16) -> Process {
    let (node, packages) = tools::node();
    let mut command = Command::new(node);
    command.env("NODE_PATH", packages).arg(tools::server("json_server.js")).arg(port.to_string());
    command.arg(folder.path().join(FILE));
    let mut process = Process::start("json-server", folder.path(), &mut command);
    process.wait_until_it_listens(port);
    process
}
