//! Kinto, which keeps JSON records and gives them out page by page, with the address of the next page in a header.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{self, Process};
use crate::tools;
use crate::wire::{self, Answer};

/// What a client sends for an account, which this Kinto makes of any name: `u` and `p`.
pub const AUTHORIZATION: &str = "Basic dTpw";
/// The records of the one collection.
pub const RECORDS: &str = "/v1/buckets/default/collections/items/records";
/// Records in one request, the most that is allowed here.
const BATCH: usize = 250;

/// Kinto with one collection in its memory.
pub struct Kinto {
    _folder: TempDir,
    _process: Process,
    port: u16,
}

impl Kinto {
    /// Serves so many records, `r00000` and on, each with its number as `n`.
    pub fn start(records: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let port = process::free_port();
        let kinto = Self { _process: start(&folder, port), _folder: folder, port };
        let numbers: Vec<usize> = (0..records).collect();
        for chunk in numbers.chunks(BATCH) {
            kinto.put(chunk.iter().map(|n| (format!("r{n:05}"), json!({ "n": n, "name": format!("Record {n}") }))));
        }
        kinto
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn put(&self, records: impl Iterator<Item = (String, Value)>) {
        let requests: Vec<Value> =
            records.map(|(id, data)| json!({ "path": format!("{RECORDS}/{id}"), "body": { "data": data } })).collect();
        let batch = json!({ "defaults": { "method": "PUT" }, "requests": requests });
        let answer = self.ask("POST", "/v1/batch", &batch.to_string());
        let responses = answer.json()["responses"].as_array().cloned().unwrap_or_default();
        assert_eq!(responses.len(), requests.len(), "{answer:?}");
        for response in responses {
            assert!(matches!(response["status"].as_u64(), Some(200 | 201)), "{response}");
        }
    }

    /// Writes these records with this name, whether they are there or not.
    pub fn change(&self, numbers: std::ops::Range<usize>, name: &str) {
        self.put(numbers.map(|n| (format!("r{n:05}"), json!({ "n": n, "name": name }))));
    }

    /// Deletes these records.
    pub fn delete(&self, numbers: std::ops::Range<usize>) {
        for n in numbers {
            let answer = self.ask("DELETE", &format!("{RECORDS}/r{n:05}"), "");
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }

    /// All its records by their names, by one request without pages.
    pub fn records(&self) -> BTreeMap<String, Value> {
        let answer = self.ask("GET", RECORDS, "");
        assert_eq!(answer.header("next-page"), None, "all come at once");
        let document = answer.json();
        let records = document["data"].as_array().expect("Kinto gives a list").iter();
        records.map(|record| (record["id"].as_str().expect("names are texts").to_owned(), record.clone())).collect()
    }

    /// The names of all its records, by one request without pages.
    pub fn keys(&self) -> BTreeSet<String> {
        let answer = self.ask("GET", &format!("{RECORDS}?_fields=id"), "");
        assert_eq!(answer.header("next-page"), None, "all come at once");
        let document = answer.json();
        let records = document["data"].as_array().expect("Kinto gives a list");
        records.iter().map(|record| record["id"].as_str().expect("names are texts").to_owned()).collect()
    }

    fn ask(&self, method: &str, target: &str, body: &str) -> Answer {
        let headers = [("authorization", AUTHORIZATION), ("content-type", "application/json")];
        wire::ask(self.port, method, target, &headers, body.as_bytes())
    }
}

fn start(folder: &TempDir, port: u16) -> Process {
    let settings = format!(
        "[app:main]
use = egg:kinto
kinto.project_name = rows
kinto.includes = kinto.plugins.default_bucket
kinto.storage_backend = kinto.core.storage.memory
kinto.cache_backend = kinto.core.cache.memory
kinto.permission_backend = kinto.core.permission.memory
kinto.userid_hmac_secret = the-names-of-buckets-come-of-it
kinto.batch_max_requests = {BATCH}
multiauth.policies = basicauth
[server:main]
use = egg:waitress#main
host = 127.0.0.1
port = {port}
threads = 4
[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = generic
[logger_root]
level = ERROR
handlers = console
[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = generic
[formatter_generic]
format = %(message)s
"
    );
    std::fs::write(folder.path().join("kinto.ini"), settings).expect("the test's own folder can be written to");
    let mut command = Command::new(tools::kinto());
    command.args(["start", "--ini", "kinto.ini"]).current_dir(folder.path());
    let mut process = Process::start("kinto", folder.path(), &mut command);
    process.wait_until_it_listens(port);
    process
}
