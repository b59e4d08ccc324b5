//! The files of a crawl, and the images of them that a crash leaves behind.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

/// What a power cut may tear: disks write whole sectors of so many bytes.
const SECTOR: u64 = 512;

/// A folder with `crawl.db` and its log.
pub struct Disk {
    folder: TempDir,
}

/// The files as they were when the last commit had returned.
pub struct Mark {
    db: Vec<u8>,
    wal_bytes: u64,
}

impl Disk {
    pub fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    pub fn db(&self) -> PathBuf {
        self.folder.path().join("crawl.db")
    }

    fn wal(&self) -> PathBuf {
        self.folder.path().join("crawl.db-wal")
    }

    /// What kill -9 leaves: all that was written. The shared-memory file is made anew by whoever opens the image first.
    pub fn image(&self) -> Self {
        let image = Self::new();
        fs::copy(self.db(), image.db()).unwrap();
        if self.wal().exists() {
            fs::copy(self.wal(), image.wal()).unwrap();
        }
        image
    }

    pub fn mark(&self) -> Mark {
        Mark { db: fs::read(self.db()).unwrap(), wal_bytes: fs::metadata(self.wal()).map_or(0, |meta| meta.len()) }
    }

    /// What a power cut leaves: all up to `mark`, which was synced, and of what was written to the log since then some
    /// sectors but not others, in no order.
    pub fn torn_image(&self, mark: &Mark, dice: &mut fastrand::Rng) -> Self {
        let image = Self::new();
        fs::write(image.db(), &mark.db).unwrap();
        let mut wal = fs::read(self.wal()).unwrap_or_default();
        let written = wal.len() as u64;
        assert!(written >= mark.wal_bytes, "the log was cut between the mark and the crash; choose another instant");
        let end = dice.u64(mark.wal_bytes..=written).next_multiple_of(SECTOR).min(written);
        wal.truncate(usize::try_from(end).unwrap());
        let mut at = mark.wal_bytes.next_multiple_of(SECTOR);
        while at < end {
            let sector = &mut wal[usize::try_from(at).unwrap()..usize::try_from((at + SECTOR).min(end)).unwrap()];
            match dice.u8(0..16) {
                0 => sector.fill(0),
                1 => dice.fill(sector),
                _ => {}
            }
            at += SECTOR;
        }
        fs::write(image.wal(), wal).unwrap();
        image
    }
}
