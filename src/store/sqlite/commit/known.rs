//! What is known to be in the file: exact, bounded, and changed only after a COMMIT.

use std::collections::HashMap;

use lru::LruCache;

use crate::job::{DedupKey, HostId, Origin, SourceId};
use crate::store::sqlite::columns::Columns;

/// A host that is in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownHost {
    pub(super) id: HostId,
    pub(super) private_ok: bool,
}

/// What a transaction found or made to be in the file.
pub(super) struct Learned {
    pub(super) jobs: Vec<(HostId, DedupKey)>,
    pub(super) origins: HashMap<Origin, KnownHost>,
    /// The columns of the streams that got new ones.
    pub(super) columns: HashMap<SourceId, Columns>,
}

/// The most recently met jobs and hosts, and the columns of streams. A miss says nothing; a hit is exact, since none of them is ever
/// removed.
#[derive(Debug)]
pub(in crate::store::sqlite) struct Known {
    jobs: LruCache<(HostId, DedupKey), ()>,
    jobs_max: usize,
    origins: LruCache<Origin, KnownHost>,
    origins_max: usize,
    /// As many as there are streams.
    pub(super) columns: HashMap<SourceId, Columns>,
}

impl Known {
    pub(in crate::store::sqlite) fn new(jobs_max: usize, origins_max: usize) -> Self {
        // Unbounded, and cut by hand: a bounded one takes all its memory at once.
        let (jobs, origins) = (LruCache::unbounded(), LruCache::unbounded());
        Self { jobs, jobs_max, origins, origins_max, columns: HashMap::new() }
    }

    pub(super) fn has_job(&mut self, host_id: HostId, key: DedupKey) -> bool {
        self.jobs.get(&(host_id, key)).is_some()
    }

    pub(super) fn host(&mut self, origin: &Origin) -> Option<KnownHost> {
        self.origins.get(origin).copied()
    }

    pub(super) fn remember(&mut self, learned: Learned) {
        for job in learned.jobs {
            self.jobs.put(job, ());
        }
        while self.jobs.len() > self.jobs_max {
            self.jobs.pop_lru();
        }
        for (origin, host) in learned.origins {
            self.origins.put(origin, host);
        }
        while self.origins.len() > self.origins_max {
            self.origins.pop_lru();
        }
        for (source, mut columns) in learned.columns {
            columns.all_stored();
            self.columns.insert(source, columns);
        }
    }
}
