//! What all readers of one file share: where its lines end, what was found wrong, and the environment.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::error::{ConfigErrors, Problem};

pub(super) struct Context<'a> {
    path: &'a Path,
    /// The offset at which each line but the first starts.
    line_starts: Vec<usize>,
    env: &'a dyn Fn(&str) -> Option<String>,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Context<'a> {
    pub(super) fn new(text: &str, path: &'a Path, env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        let line_starts = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        Self { path, line_starts, env, problems: RefCell::default() }
    }

    /// Notes a problem at the byte `offset` of the text.
    pub(super) fn report(&self, offset: usize, text: String) {
        let line = self.line_starts.partition_point(|&start| start <= offset) + 1;
        self.problems.borrow_mut().push(Problem { line: Some(line), text });
    }

    pub(super) fn has_problems(&self) -> bool {
        !self.problems.borrow().is_empty()
    }

    pub(super) fn into_errors(self) -> ConfigErrors {
        let mut problems = self.problems.into_inner();
        problems.sort();
        problems.dedup();
        ConfigErrors { path: self.path.to_owned(), problems }
    }

    /// `path` as seen from the folder of the file.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.path.parent().map_or_else(|| PathBuf::from(path), |folder| folder.join(path))
    }

    /// `text` with every `${NAME}` replaced by that variable of the environment, or what is wrong with it.
    pub(super) fn substitute(&self, text: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or("has a \"${\" without its \"}\"")?;
            let value =
                (self.env)(name).ok_or_else(|| format!("names the environment variable {name}, which is not set"))?;
            out.push_str(before);
            out.push_str(&value);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }
}
