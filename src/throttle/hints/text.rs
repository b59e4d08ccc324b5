//! Words of a server that are kept or shown: short and printable, whatever was sent.

/// The longest word that is kept, in characters.
pub(super) const CHARS_MAX: usize = 64;

/// What is printable ASCII of `text`, at most [`CHARS_MAX`] characters; none when nothing is left.
pub(super) fn printable(text: &str) -> Option<Box<str>> {
    // Spaces within stay: Discord and Jira send words, some servers send phrases.
    let kept: String = text.trim().chars().filter(|letter| matches!(letter, ' '..='~')).take(CHARS_MAX).collect();
    let kept = kept.trim();
    (!kept.is_empty()).then(|| kept.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_printable_letters_stay_and_only_so_many() {
        assert_eq!(printable(" core ").as_deref(), Some("core"));
        assert_eq!(printable("a\u{1b}[31mb\u{0}é").as_deref(), Some("a[31mb"));
        assert_eq!(printable("\u{7f}\t "), None);
        assert_eq!(printable(&"x".repeat(500)).map(|text| text.len()), Some(CHARS_MAX));
    }
}
