//! One process a file: a lock that the system drops when its holder dies, however it dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::store::StoreError;

/// The held lock on `<database>.lock`. The file stays when the lock is dropped: to remove it would race with the next holder.
#[derive(Debug)]
pub(super) struct LockFile {
    file: File,
}

impl LockFile {
    /// Takes the lock of the database at `path` and writes our process number into it.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let lock_path = {
            let mut name = path.as_os_str().to_owned();
            name.push(".lock");
            std::path::PathBuf::from(name)
        };
        let unusable = |why: String| StoreError::Unusable { path: path.to_owned(), why };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&lock_path).map_err(
                |error| unusable(format!("the lock file {} cannot be opened: {error}", lock_path.display())),
            )?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid = (&mut file).take(32).read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(StoreError::InUse { path: path.to_owned(), pid });
            }
            Err(TryLockError::Error(error)) => {
                return Err(unusable(format!("the lock file {} cannot be locked: {error}", lock_path.display())));
            }
        }
        // The number is for people; the lock is what counts. So a failure to write it is not one.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id()));
        Ok(Self { file })
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Said aloud: a child process that was just forked holds a copy of the file until it has started its program, and
        // closing ours would leave the lock with it.
        let _ = self.file.unlock();
    }
}
