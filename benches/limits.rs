//! How well limits are learned: every scenario of `tests/limits` in virtual time, against what an all-knowing client could get.
//!
//! `cargo bench --bench limits`; `-- --only TEXT --quick --trace` shows one of them at work.

#[path = "../tests/lab/mod.rs"]
#[expect(dead_code, reason = "what other benches and tests look at")]
mod lab;

use std::path::Path;

fn main() {
    let options = match lab::options::Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            std::process::exit(2);
        }
    };
    lab::table::print(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/limits"), &options);
}
