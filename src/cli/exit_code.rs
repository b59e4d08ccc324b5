//! What the program's exit code says; documented in the README and relied on by scripts.

use std::process::{ExitCode as ProcessCode, Termination};

/// The exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// 0: done; for a crawl: complete, and no job is dead.
    Ok,
    /// 1: an error, told on standard error.
    Error,
    /// 2: the command line or the configuration is wrong; nothing was started.
    Usage,
    /// 3: the crawl was stopped with work left; the same command goes on.
    Stopped,
    /// 4: the crawl is complete, but some jobs are dead; `trundle status` names them.
    DeadJobs,
}

impl ExitCode {
    /// The number.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Error => 1,
            Self::Usage => 2,
            Self::Stopped => 3,
            Self::DeadJobs => 4,
        }
    }
}

impl Termination for ExitCode {
    fn report(self) -> ProcessCode {
        ProcessCode::from(self.number())
    }
}
