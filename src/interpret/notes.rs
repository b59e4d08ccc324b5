//! What was odd, in words, with a cap on how much of it is told.

/// Notes that one answer may leave. Our choice: enough to see what is wrong, too few to fill a store.
const NOTES_MAX: usize = 20;

/// Bytes of one note; a note may quote what a server said.
const NOTE_BYTES_MAX: usize = 500;

/// A capped list of notes; a note that is there already is not repeated.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<String>);

impl Notes {
    /// Adds a note, unless it is there already or there are too many.
    pub fn add(&mut self, note: impl Into<String>) {
        if self.0.len() >= NOTES_MAX {
            return;
        }
        let mut note = note.into();
        cut(&mut note, NOTE_BYTES_MAX);
        if !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    /// The notes, in order.
    pub fn into_vec(self) -> Vec<String> {
        self.0
    }
}

/// Cuts `text` to at most `bytes_max` bytes at a character boundary.
pub(super) fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_few_short_and_not_repeated() {
        let mut notes = Notes::default();
        for i in 0..100 {
            notes.add("the same");
            notes.add(format!("{i}{}", "é".repeat(1000)));
        }
        let notes = notes.into_vec();
        assert_eq!(notes.len(), NOTES_MAX);
        assert_eq!(notes.iter().filter(|note| *note == "the same").count(), 1);
        assert!(notes.iter().all(|note| note.len() <= NOTE_BYTES_MAX));
    }
}
