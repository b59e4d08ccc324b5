//! What is wrong with a file, for the person who wrote it.

use std::fmt;
use std::path::{Path, PathBuf};

/// Everything that is wrong with one file, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file.
    pub path: PathBuf,
    /// At least one.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Its line, from 1; none when it is about the file as a whole.
    pub line: Option<usize>,
    /// What is wrong and what is expected.
    pub text: String,
}

impl ConfigErrors {
    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        Self { path: path.to_owned(), problems: vec![Problem { line: None, text: format!("cannot be read: {error}") }] }
    }
}

impl std::error::Error for ConfigErrors {}

/// One line a problem: `crawl.toml:14: unknown key ...`.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            match problem.line {
                Some(line) => write!(f, "{}:{line}: {}", self.path.display(), problem.text)?,
                None => write!(f, "{}: {}", self.path.display(), problem.text)?,
            }
        }
        Ok(())
    }
}
