//! What a settlement weighs until it is committed.

use crate::store::Settlement;

/// Bytes that a settlement holds until it is committed.
#[must_use]
pub fn weight_bytes(settlement: &Settlement) -> usize {
    let body =
        settlement.response.as_ref().and_then(|response| response.body.as_ref()).map_or(0, |body| body.zstd.len());
    // A job costs its address and about as much again; a record is taken for a kilobyte of JSON.
    let jobs: usize = settlement.discovered.iter().map(|job| 200 + job.url.as_str().len()).sum();
    let slices: usize = settlement.slices.iter().map(|slice| 400 + slice.first.url.as_str().len()).sum();
    body + jobs + slices + settlement.n_items() * 1_000
}
