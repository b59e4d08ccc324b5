//! Reads the source and holds it against the plan of the house: who may use whom, and which library enters where.
//!
//! Tests inside the source count too: a room whose tests reach up cannot be moved either.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The rooms by floor, the lowest first. A room may use those of lower floors; those of one floor do not know each other.
const FLOORS: [&[&str]; 8] = [
    &["clock"],
    &["job"],
    &["exchange"],
    &["interpret", "policy", "stream", "throttle"],
    &["fetch", "store"],
    &["config", "engine"],
    &["practice"],
    &["cli"],
];

/// Rooms that decide and never do: no tasks, no waiting.
const PURE: [&str; 6] = ["job", "exchange", "interpret", "policy", "stream", "throttle"];

/// Libraries that have one door, and the rooms that are it. `main` is src/main.rs.
const DOORS: [(&str, &[&str]); 19] = [
    ("reqwest", &["fetch"]),
    ("rustls", &["fetch"]),
    ("sqlx", &["store"]),
    ("libsqlite3_sys", &["store"]),
    ("scraper", &["interpret"]),
    ("markup5ever", &["interpret"]),
    ("lol_html", &["interpret"]),
    ("feed_rs", &["interpret"]),
    ("quick_xml", &["interpret"]),
    ("serde_json_path", &["interpret"]),
    ("chardetng", &["interpret"]),
    ("psl", &["policy"]),
    ("sfv", &["throttle"]),
    // The user's file, and the data file of providers.
    ("toml", &["config", "throttle"]),
    ("strsim", &["config"]),
    ("axum", &["practice"]),
    ("clap", &["cli", "main"]),
    ("indicatif", &["cli"]),
    ("anyhow", &["cli", "main"]),
];

/// One file of the source with its comments and texts blanked out.
struct Source {
    path: PathBuf,
    /// The first part of its path below src/.
    room: String,
    /// Modules between the crate and the code at the top of the file: 2 for src/store/verbs.rs.
    depth: usize,
    words: Vec<Word>,
}

/// A name or a sign.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Name(String),
    /// `::`
    Path,
    Sign(char),
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn may_use(user: &str, used: &str) -> bool {
    // The program itself is above all rooms.
    let Some(user_floor) = floor_of(user) else { return true };
    user == used || floor_of(used).is_some_and(|used_floor| used_floor < user_floor)
}

#[test]
fn rooms_use_only_the_floors_below_them() {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for source in sources() {
        for used in rooms_used(&source) {
            seen.insert((source.room.clone(), used.clone()));
            if !may_use(&source.room, &used) {
                wrong.push(format!("{}: {} may not use {used}", source.path.display(), source.room));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // If the reader of paths went blind, this test would be content with anything.
    assert!(seen.contains(&("engine".into(), "store".into())) && seen.contains(&("store".into(), "throttle".into())));
}

#[test]
fn each_library_has_one_door() {
    let mut wrong = Vec::new();
    let mut used: BTreeMap<&str, usize> = BTreeMap::new();
    for source in sources() {
        for (library, rooms) in DOORS {
            if names_library(&source.words, library) {
                *used.entry(library).or_default() += 1;
                if !rooms.contains(&source.room.as_str()) {
                    wrong.push(format!("{}: {library} enters only through {rooms:?}", source.path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(used.contains_key("sqlx") && used.contains_key("lol_html"), "{used:?}");
}

#[test]
fn pure_rooms_neither_wait_nor_start_tasks() {
    for source in sources().iter().filter(|source| PURE.contains(&source.room.as_str())) {
        for forbidden in ["async", "await", "tokio"] {
            let found = source.words.iter().any(|word| *word == Word::Name(forbidden.to_owned()));
            assert!(!found, "{}: {forbidden} in a pure room", source.path.display());
        }
    }
}

#[test]
fn every_room_has_its_place() {
    let lib = sources().into_iter().find(|source| source.path.ends_with("src/lib.rs")).expect("the library has a root");
    let names = lib.words.windows(2).filter_map(|pair| match pair {
        [Word::Name(keyword), Word::Name(name)] if keyword == "mod" => Some(name.clone()),
        _ => None,
    });
    let placed: BTreeSet<String> = FLOORS.iter().flat_map(|rooms| rooms.iter().map(|&room| room.to_owned())).collect();
    assert_eq!(names.collect::<BTreeSet<_>>(), placed, "a new room must be placed in FLOORS");
}

#[test]
fn a_file_answers_one_question() {
    // Files of tests are lists and may be longer.
    for source in sources().iter().filter(|source| !source.path.to_string_lossy().contains("tests")) {
        let lines = std::fs::read_to_string(&source.path).expect("the source can be read").lines().count();
        assert!(lines <= 600, "{} has {lines} lines: it answers more than one question", source.path.display());
    }
}

#[track_caller]
fn check(text: &str, depth: usize, expected: &[&str]) {
    let source = Source { path: PathBuf::from("test.rs"), room: "store".to_owned(), depth, words: words(text) };
    let expected: BTreeSet<String> = expected.iter().map(|&room| room.to_owned()).collect();
    assert_eq!(rooms_used(&source), expected, "{text}");
}

#[test]
fn paths_are_read_as_the_compiler_reads_them() {
    check("use crate::job::{Job, JobId}; use crate::clock;", 1, &["job", "clock"]);
    check("use crate::{clock::Clock, job::{self, Job}, policy};", 1, &["clock", "job", "policy"]);
    check("fn f() -> crate::engine::Plan { super::x() }", 2, &["engine"]);
    check(
        "// crate::cli\n/* crate::cli /* nested */ crate::cli */ let s = \"crate::cli\"; let r = r#\"crate::cli\"#;",
        1,
        &[],
    );
    check("let c = '\"'; use crate::policy; let l: &'static str = \"\";", 1, &["policy"]);
    check("use super::super::policy::Robots;", 2, &["policy"]);
    check("mod tests { use super::super::gate::Gate; }", 2, &[]);
    check("mod tests { use super::super::super::cli::Args; }", 2, &["cli"]);
    check("use trundle::cli::Args;", 1, &["cli"]);
}

/// Every room that the words of a file name, by `crate::`, by `trundle::`, or by a `super::` that leaves its own room.
fn rooms_used(source: &Source) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let mut open_modules: Vec<usize> = Vec::new();
    let mut braces = 0_usize;
    let words = &source.words;
    let mut at = 0;
    while at < words.len() {
        match &words[at] {
            Word::Sign('{') => {
                let opens_module = at >= 2 && words[at - 2] == Word::Name("mod".to_owned());
                braces += 1;
                if opens_module {
                    open_modules.push(braces);
                }
            }
            Word::Sign('}') => {
                if open_modules.last() == Some(&braces) {
                    open_modules.pop();
                }
                braces = braces.saturating_sub(1);
            }
            Word::Name(name) if matches!(name.as_str(), "crate" | "trundle") && starts_path(words, at) => {
                heads(&words[at + 1..], &mut used);
            }
            Word::Name(name) if name == "super" && starts_path(words, at) => {
                let mut ups = 1;
                while words.get(at + 1) == Some(&Word::Path)
                    && words.get(at + 2) == Some(&Word::Name("super".to_owned()))
                {
                    ups += 1;
                    at += 2;
                }
                if ups >= source.depth + open_modules.len() {
                    heads(&words[at + 1..], &mut used);
                }
            }
            _ => {}
        }
        at += 1;
    }
    used
}

fn starts_path(words: &[Word], at: usize) -> bool {
    at == 0 || words[at - 1] != Word::Path
}

/// The first names of `::name` or `::{name::.., name}`.
fn heads(words: &[Word], used: &mut BTreeSet<String>) {
    match words {
        [Word::Path, Word::Name(name), ..] => {
            used.insert(name.clone());
        }
        [Word::Path, Word::Sign('{'), rest @ ..] => {
            let mut depth = 1;
            let mut is_head = true;
            for word in rest {
                match word {
                    Word::Sign('{') => depth += 1,
                    Word::Sign('}') => depth -= 1,
                    Word::Sign(',') if depth == 1 => {
                        is_head = true;
                        continue;
                    }
                    Word::Name(name) if is_head && depth == 1 => {
                        used.insert(name.clone());
                    }
                    _ => {}
                }
                is_head = false;
                if depth == 0 {
                    break;
                }
            }
        }
        _ => {}
    }
}

fn names_library(words: &[Word], library: &str) -> bool {
    words.iter().enumerate().any(|(at, word)| {
        *word == Word::Name(library.to_owned())
            && starts_path(words, at)
            && (words.get(at + 1) == Some(&Word::Path)
                || (at > 0 && matches!(&words[at - 1], Word::Name(name) if name == "use" || name == "crate")))
    })
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the source is there") {
            let path = entry.expect("the source can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files.into_iter().map(|path| source(&root, path)).collect()
}

fn source(root: &Path, path: PathBuf) -> Source {
    let below = path.strip_prefix(root).expect("it was found there");
    let parts: Vec<String> =
        below.with_extension("").components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    let depth = if parts.last().is_some_and(|last| last == "mod") { parts.len() - 1 } else { parts.len() };
    let words = words(&std::fs::read_to_string(&path).expect("the source can be read"));
    Source { room: parts[0].clone(), depth, words, path }
}

/// Splits Rust into names and signs; comments, texts and numbers are left out.
fn words(text: &str) -> Vec<Word> {
    let chars: Vec<char> = text.chars().collect();
    let mut words = Vec::new();
    let mut at = 0;
    let get = |at: usize| chars.get(at).copied().unwrap_or('\0');
    while at < chars.len() {
        let c = chars[at];
        if c == '/' && get(at + 1) == '/' {
            while at < chars.len() && chars[at] != '\n' {
                at += 1;
            }
        } else if c == '/' && get(at + 1) == '*' {
            let mut depth = 0;
            loop {
                if get(at) == '/' && get(at + 1) == '*' {
                    depth += 1;
                    at += 2;
                } else if get(at) == '*' && get(at + 1) == '/' {
                    depth -= 1;
                    at += 2;
                } else {
                    at += 1;
                }
                if depth == 0 || at >= chars.len() {
                    break;
                }
            }
        } else if c == '"' {
            at = end_of_text(&chars, at + 1);
        } else if c == '\'' {
            // A lifetime has no closing quote right behind its first character.
            at = if get(at + 1) == '\\' {
                let mut end = at + 3;
                while end < chars.len() && chars[end] != '\'' {
                    end += 1;
                }
                end + 1
            } else if get(at + 2) == '\'' {
                at + 3
            } else {
                at + 1
            };
        } else if c.is_alphabetic() || c == '_' {
            let start = at;
            while get(at).is_alphanumeric() || get(at) == '_' {
                at += 1;
            }
            let name: String = chars[start..at].iter().collect();
            let is_raw = matches!(name.as_str(), "r" | "br" | "cr");
            if is_raw && matches!(get(at), '"' | '#') && raw_opens(&chars, at) {
                at = end_of_raw(&chars, at);
            } else {
                words.push(Word::Name(name));
            }
        } else if c == ':' && get(at + 1) == ':' {
            words.push(Word::Path);
            at += 2;
        } else {
            if !c.is_whitespace() {
                words.push(Word::Sign(c));
            }
            at += 1;
        }
    }
    words
}

fn end_of_text(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn raw_opens(chars: &[char], at: usize) -> bool {
    chars[at..].iter().find(|&&c| c != '#') == Some(&'"')
}

fn end_of_raw(chars: &[char], at: usize) -> usize {
    let hashes = chars[at..].iter().take_while(|&&c| c == '#').count();
    let mut end = at + hashes + 1;
    while end < chars.len() {
        if chars[end] == '"' && chars[end + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes {
            return end + 1 + hashes;
        }
        end += 1;
    }
    end
}
