//! The one integration binary: what no room can show alone.
//!
//! `api_streams` pulls APIs that a test writes itself, and `api_check` looks at them; `api_faults` has APIs with bad habits, which
//! `api_walks` walks; `identity` sees who the program says it is; `architecture` holds the source against the plan of the house;
//! `scenarios` crawls simulated webs in virtual time, with crashes; `limits_lab` runs the throttle against limiters in virtual time;
//! `hints` reads what servers say of their limits; the others start the real program.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where and stop")]

mod api_aliases;
mod api_check;
mod api_faults;
mod api_nested;
mod api_server;
mod api_streams;
mod api_walks;
mod architecture;
mod cli;
mod conditional;
mod docs;
mod hints;
mod hostile;
mod identity;
mod kill;
#[path = "../lab/mod.rs"]
#[expect(dead_code, reason = "what only prints is for the bench")]
mod lab;
mod limits;
mod limits_lab;
mod process;
mod retry;
mod scenarios;
mod sim;
#[path = "../wire/mod.rs"]
mod wire;
