//! Where the programs and documents are that the tests need and that are not part of the project.

use std::path::{Path, PathBuf};

/// The program `name`, from the search path or where Debian keeps servers, which is not on everybody's path.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("{name} is missing: run tests/run.sh"))
}

/// Datasette, from the project's own Python environment.
pub fn datasette() -> PathBuf {
    present(root().join(".venv/bin/datasette"))
}

/// Node.js and the folder of the packages that [`server`] scripts in JavaScript use.
pub fn node() -> (PathBuf, PathBuf) {
    (program("node"), present(servers().join("npm/node_modules")))
}

/// Python with the packages that [`server`] scripts in Python use.
pub fn python() -> PathBuf {
    present(servers().join("python/bin/python"))
}

/// Kinto, from the same environment.
pub fn kinto() -> PathBuf {
    present(servers().join("python/bin/kinto"))
}

/// The folder of MediaWiki's own files.
pub fn mediawiki() -> PathBuf {
    present(servers().join("mediawiki"))
}

/// A file of `tests/real/servers`.
pub fn server(name: &str) -> PathBuf {
    present(root().join("tests/real/servers").join(name))
}

fn servers() -> PathBuf {
    std::env::var_os("TRUNDLE_TEST_SERVERS").map_or_else(|| root().join("target/test-servers"), PathBuf::from)
}

/// The folder of the HTML documentation of `name`, `python` or `postgresql`.
pub fn documentation(name: &str) -> PathBuf {
    let docs = std::env::var_os("TRUNDLE_TEST_DOCS").map_or_else(|| root().join("target/test-docs"), PathBuf::from);
    present(docs.join(name))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn present(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: run tests/run.sh", path.display());
    path
}
