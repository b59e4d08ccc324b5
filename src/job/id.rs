//! Newtypes for the keys of the store.

use std::fmt;
use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

/// A host in the store: 1..=2^31-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostId(pub u32);

/// A job in the store: `host_id << 32 | seq`, so that the rows of a host lie together and in order of discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub i64);

/// A section of `crawl.toml`, numbered by the store when it first sees the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceId(pub u32);

/// One start of the program on a store; a fresh number each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub i64);

impl JobId {
    /// The id of the `seq`-th job of `host_id`.
    #[must_use]
    pub fn new(host_id: HostId, seq: u32) -> Self {
        Self((i64::from(host_id.0) << 32) | i64::from(seq))
    }

    /// The host whose job this is.
    #[must_use]
    pub fn host_id(self) -> HostId {
        HostId(u32::try_from(self.0 >> 32).expect("a job id holds a host id in its high half"))
    }

    /// The sequence number within the host.
    #[must_use]
    pub fn seq(self) -> u32 {
        u32::try_from(self.0 & 0xffff_ffff).expect("masked to 32 bits")
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// 64 bits that stand for a job's identity within its host; unique there by a constraint of the store.
/// A false "seen" among n jobs of one host has a probability of at most n^2 / 2^65: 2.7e-4 at 10^8 jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DedupKey(pub i64);

/// The secret of one store's hashes, drawn when the file is made: without it a site cannot craft colliding addresses.
#[derive(Clone)]
pub struct HashKey(pub [u8; 16]);

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(secret)")
    }
}

impl HashKey {
    /// The keyed hash (SipHash-2-4) of `parts`, each ended by a byte that occurs in no UTF-8 text, so that no two lists of
    /// parts read alike.
    #[must_use]
    pub fn dedup_key(&self, parts: &[&[u8]]) -> DedupKey {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        for part in parts {
            hasher.write(part);
            hasher.write_u8(0xff);
        }
        DedupKey(i64::from_ne_bytes(hasher.finish().to_ne_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_id_gives_back_its_host_and_its_number() {
        for (host, seq) in [(1, 0), (1, u32::MAX), (0x7fff_ffff, 7)] {
            let id = JobId::new(HostId(host), seq);
            assert_eq!((id.host_id(), id.seq()), (HostId(host), seq));
            assert!(id.0 > 0);
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let key = HashKey([7; 16]);
        assert_ne!(key.dedup_key(&[b"ab", b"c"]), key.dedup_key(&[b"a", b"bc"]));
        assert_ne!(key.dedup_key(&[b"a"]), HashKey([8; 16]).dedup_key(&[b"a"]));
    }
}
