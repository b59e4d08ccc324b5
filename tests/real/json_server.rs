//! json-server, which serves the lists of a JSON file page by page, with links to the other pages.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{self, Process};
use crate::{tools, wire};

/// json-server with one list.
pub struct JsonServer {
    _folder: TempDir,
    _process: Process,
    port: u16,
}

impl JsonServer {
    /// Serves so many records at `/items`, with their numbers from 1 as `id`.
    pub fn start(records: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let items: Vec<Value> = (1..=records).map(|id| json!({ "id": id, "name": format!("Item {id}") })).collect();
        let file = folder.path().join("db.json");
        std::fs::write(&file, json!({ "items": items }).to_string()).expect("the test's own folder can be written to");
        let port = process::free_port();
        let (node, packages) = tools::node();
        let mut command = Command::new(node);
        command.env("NODE_PATH", packages).arg(tools::server("json_server.js")).arg(port.to_string()).arg(file);
        let mut process = Process::start("json-server", folder.path(), &mut command);
        process.wait_until_it_listens(port);
        Self { _folder: folder, _process: process, port }
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
