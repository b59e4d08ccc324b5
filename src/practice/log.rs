//! The log: one line of JSON for each request, written when it arrives.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use serde::Serialize;

/// What is known about a request as soon as it is decided.
#[derive(Debug, Serialize)]
pub(super) struct Entry<'e> {
    /// When it arrived, in ms since the epoch.
    pub(super) at_ms: i64,
    /// Name of the host.
    pub(super) host: &'e str,
    /// Path and query.
    pub(super) target: &'e str,
    /// The status that it gets.
    pub(super) status: u16,
    /// How long its answer is held back, in ms.
    pub(super) wait_ms: u64,
    /// The `Retry-After` that it gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retry_after_secs: Option<u64>,
}

/// Writes on a thread of its own, and flushes whenever it has caught up, so a reader is never behind by more than what
/// is being written.
pub(super) struct Log {
    lines: Sender<Option<String>>,
    writer: JoinHandle<()>,
}

/// Where a host sends its entries.
#[derive(Clone)]
pub(super) struct LogLines(Sender<Option<String>>);

impl Log {
    /// Opens `path` for appending.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let (lines, received) = mpsc::channel();
        let writer = std::thread::Builder::new().name("practice-log".to_owned()).spawn(move || {
            if let Err(cause) = write(&received, file) {
                tracing::error!(%cause, "the practice log cannot be written; its rest is lost");
            }
        })?;
        Ok(Self { lines, writer })
    }

    pub(super) fn lines(&self) -> LogLines {
        LogLines(self.lines.clone())
    }

    /// Waits until everything that was written so far is in the file.
    pub(super) fn close(self) {
        let _ = self.lines.send(None);
        // A panic of the writer has been reported on its own thread.
        let _ = self.writer.join();
    }
}

impl LogLines {
    pub(super) fn write(&self, entry: &Entry<'_>) {
        let line = serde_json::to_string(entry).expect("numbers and text have a JSON form");
        // Fails only after the writer has given up, and it has said so.
        let _ = self.0.send(Some(line));
    }
}

fn write(lines: &Receiver<Option<String>>, file: File) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    while let Ok(Some(first)) = lines.recv() {
        writeln!(file, "{first}")?;
        while let Ok(next) = lines.try_recv() {
            let Some(line) = next else { return file.flush() };
            writeln!(file, "{line}")?;
        }
        file.flush()?;
    }
    Ok(())
}
