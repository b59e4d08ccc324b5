//! The documents keep up with the code: every file, test, verb, view and exit code that they name exists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use trundle::cli::ExitCode;

use crate::process::Folder;

const README: &str = include_str!("../../README.md");
const ARCHITECTURE: &str = include_str!("../../ARCHITECTURE.md");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What stands between backticks outside of code blocks.
fn quoted(document: &str) -> Vec<&str> {
    let text = document.split("```").step_by(2);
    text.flat_map(|part| part.split('`').skip(1).step_by(2)).collect()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn every_file_that_is_named_exists() {
    for (name, document) in [("README.md", README), ("ARCHITECTURE.md", ARCHITECTURE)] {
        for word in quoted(document) {
            let is_path = [".rs", ".toml", ".md", ".sh"].iter().any(|end| word.ends_with(end)) || word.ends_with('/');
            if !is_path || word.contains(' ') {
                continue;
            }
            // A scenario may be named beside another without its folder.
            let there =
                [root().join(word), root().join("tests/scenarios").join(word), root().join("src/store").join(word)];
            // What the README's commands make.
            let is_made = ["target/", "crawl.db"].contains(&word);
            assert!(is_made || there.iter().any(|path| path.exists()), "{name} names {word}, which does not exist");
        }
    }
}

#[test]
fn every_test_that_is_named_exists() {
    let mut sources = Vec::new();
    files(&root().join("src"), &mut sources);
    files(&root().join("tests"), &mut sources);
    let rust = sources.iter().filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let code: String = rust.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let mut named = 0;
    for word in [README, ARCHITECTURE].into_iter().flat_map(quoted) {
        let name = word.split(':').next().unwrap_or(word);
        let is_fact = name.matches('_').count() >= 4 && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        if is_fact {
            named += 1;
            assert!(code.contains(&format!("fn {name}(")), "no test is called {name}");
        }
    }
    assert!(named >= 5, "{named} tests are named");
}

#[test]
fn a_test_that_is_named_after_a_file_is_in_that_file() {
    let mut named = 0;
    for document in [README, ARCHITECTURE] {
        let mut file = None;
        // Every second part is between backticks, the others are the prose around it.
        for (index, part) in document.split('`').enumerate() {
            if index % 2 == 0 {
                // A file's facts stand in brackets after it.
                let goes_on = file.is_some_and(|(_, is_open)| is_open || part.trim_start().starts_with('('));
                file = file.filter(|_| goes_on && !part.contains(')')).map(|(path, _)| (path, true));
            } else if Path::new(part).extension().is_some_and(|end| end == "rs") {
                file = Some((part, false));
            } else if let Some((path, true)) = file {
                named += 1;
                let code = std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
                assert!(code.contains(&format!("fn {part}(")), "no test in {path} is called {part}");
            }
        }
    }
    assert!(named >= 13, "{named} tests are named after files");
}

#[test]
fn every_verb_and_every_view_that_the_readme_shows_works() {
    let folder = Folder::new("[site.a]\nstart = [\"http://127.0.0.1:9/\"]\n");
    let help = folder.run(&["--help"]).stdout;
    let verbs = README.lines().filter_map(|line| line.strip_prefix("$ trundle ")?.split(' ').next());
    let verbs: BTreeSet<&str> = verbs.collect();
    assert!(verbs.len() >= 6, "{verbs:?}");
    for verb in verbs {
        assert!(help.contains(&format!("\n  {verb} ")), "the README shows `trundle {verb}`");
    }
    // A crawl's file without a crawl.
    assert_eq!(folder.run(&["add", "http://127.0.0.1:9/x"]).code, Some(0));
    let views = folder.query("SELECT name FROM sqlite_schema WHERE type = 'view'");
    let section = README.split("## Asking in SQL").nth(1).unwrap().split("\n## ").next().unwrap();
    for view in &views {
        let name = view[0].as_str().unwrap();
        assert!(section.contains(&format!("`{name}`")), "the README does not tell of the view {name}");
        folder.query(&format!("SELECT * FROM {name}"));
    }
    let shown = README.lines().filter_map(|line| line.strip_prefix("$ trundle sql \"")?.strip_suffix('"'));
    for query in shown {
        folder.query(query);
    }
}

#[test]
fn the_session_of_the_readme_is_what_the_program_says() {
    let session = README.split("## A session").nth(1).unwrap().split("```").nth(1).unwrap();
    // What a command of the session has printed.
    let said = |command: &str| {
        let parts = session.split("\n$ ").find(|part| part.starts_with(command)).unwrap().split_once('\n');
        format!("{}\n", parts.unwrap().1)
    };
    let folder = Folder::new("");
    std::fs::remove_file(folder.path("crawl.toml")).unwrap();
    assert_eq!(folder.run(&["init"]).stderr, said("trundle init"));
    std::fs::write(folder.path("crawl.toml"), said("cat crawl.toml")).unwrap();
    assert_eq!(folder.run(&["check"]).stdout, said("trundle check"));
    assert_eq!(folder.run(&["add", "http://127.0.0.1:7802/doc/1000"]).stderr, said("trundle add"));
}

#[test]
fn the_exit_codes_are_those_of_the_readme() {
    let section = README.split("## Exit codes").nth(1).unwrap().split("\n## ").next().unwrap();
    let told: Vec<u8> =
        section.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok()).collect();
    let codes = [ExitCode::Ok, ExitCode::Error, ExitCode::Usage, ExitCode::Stopped, ExitCode::DeadJobs];
    assert_eq!(told, codes.map(ExitCode::number));
}
