//! The one integration binary: what no room can show alone.
//!
//! `architecture` holds the source against the plan of the house; `scenarios` crawls simulated webs in virtual time, with
//! crashes; the others start the real program.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where and stop")]

mod architecture;
mod cli;
mod docs;
mod hostile;
mod kill;
mod limits;
mod process;
mod scenarios;
mod sim;
