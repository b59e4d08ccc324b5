//! The target that is fuzzed by hand (`fuzz/Cargo.toml` says how), over its seeds and thousands of texts made from them: all that
//! servers can say about their limits is read without a panic, and asks for waits between none and the longest allowed.

use std::path::Path;

#[path = "../../fuzz/hints.rs"]
mod target;

/// Texts made from each seed.
const MUTANTS: u32 = 2_000;
/// Changes that one of them is made with, at most.
const CHANGES_MAX: usize = 6;

fn files(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// The words of libFuzzer's dictionary: one in quotes a line.
fn words() -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/hints.dict")).unwrap();
    let quoted = text.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    quoted.map(|word| word.replace("\\x0a", "\n").replace("\\\"", "\"").into_bytes()).collect()
}

fn mutant(seeds: &[Vec<u8>], words: &[Vec<u8>], seed: &[u8], dice: &mut fastrand::Rng) -> Vec<u8> {
    let mut text = seed.to_vec();
    for _ in 0..dice.usize(1..=CHANGES_MAX) {
        let at = dice.usize(0..=text.len());
        let end = dice.usize(at..=text.len().min(at + 24));
        match dice.u32(0..6) {
            0 => drop(text.drain(at..end)),
            1 => drop(text.splice(at..end, dice.choice(words).unwrap().iter().copied())),
            2 => drop(text.splice(at..end, [dice.u8(..)])),
            3 => drop(text.splice(at..at, text[at..end].to_vec())),
            4 => drop(text.splice(at..end, dice.u64(..).to_string().into_bytes())),
            _ => {
                let other = dice.choice(seeds).unwrap();
                let from = dice.usize(0..=other.len());
                drop(text.splice(at.., other[from..].iter().copied()));
            }
        }
    }
    text
}

#[test]
fn whatever_a_server_says_of_its_limits_is_read_and_no_wait_is_longer_than_allowed() {
    let (seeds, words) = (files("seeds/hints"), words());
    assert!(seeds.len() >= 40 && words.len() >= 30, "{} seeds, {} words", seeds.len(), words.len());
    let mut dice = fastrand::Rng::with_seed(20_261_124);
    for seed in &seeds {
        target::check(seed);
        for _ in 0..MUTANTS {
            let text = mutant(&seeds, &words, seed, &mut dice);
            let what = std::panic::catch_unwind(|| target::check(&text));
            assert!(what.is_ok(), "keep this beside the seeds:\n{}", String::from_utf8_lossy(&text));
        }
    }
}
