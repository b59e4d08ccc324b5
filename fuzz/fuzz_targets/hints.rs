//! The header fields of answers through every parser of limits, and through the gate of declared quotas.

#![no_main]

#[path = "../hints.rs"]
mod hints;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hints::check(data));
