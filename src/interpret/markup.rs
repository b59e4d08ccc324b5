//! The attributes of one tag, read straight from bytes: for the few places that look at markup before its encoding is
//! known or without a parser.

/// Iterates over `(name, value)` of a tag, beginning after its name and ending at `>` or at the end of the bytes.
/// Follows "get an attribute" of the WHATWG prescan algorithm; the value of an attribute without one is empty.
pub(super) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// The attributes in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many attributes there are in `bytes`, and how many bytes they take.
    pub fn count(bytes: &'a [u8]) -> (u64, usize) {
        let mut attributes = Self::new(bytes);
        let count = attributes.by_ref().fold(0, |count, _| count + 1);
        (count, bytes.len() - attributes.rest.len())
    }

    /// Takes bytes off the front while `wanted`.
    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|&byte| !wanted(byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }
}

/// What HTML calls white space (WHATWG Infra, "ASCII whitespace").
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c)
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.take_while(|byte| is_space(byte) || byte == b'/');
        if matches!(self.rest.first(), None | Some(b'>')) {
            return None;
        }
        // A leading `=` belongs to the name.
        let whole = self.rest;
        self.rest = &self.rest[1..];
        let tail = self.take_while(|byte| !is_space(byte) && !matches!(byte, b'/' | b'>' | b'='));
        let name = &whole[..=tail.len()];
        self.take_while(is_space);
        if self.rest.first() != Some(&b'=') {
            return Some((name, b""));
        }
        self.rest = &self.rest[1..];
        self.take_while(is_space);
        let value = match self.rest.first() {
            Some(&quote @ (b'"' | b'\'')) => {
                self.rest = &self.rest[1..];
                let value = self.take_while(|byte| byte != quote);
                self.rest = self.rest.get(1..).unwrap_or_default();
                value
            }
            _ => self.take_while(|byte| !is_space(byte) && byte != b'>'),
        };
        Some((name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tag: &str, expected: &[(&str, &str)]) {
        let found: Vec<(&[u8], &[u8])> = Attributes::new(tag.as_bytes()).collect();
        let expected: Vec<(&[u8], &[u8])> = expected.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn attributes_are_read_as_browsers_do() {
        check(
            r#" a="1" b='2'c=3/ d e = "f>g" > h="no""#,
            &[("a", "1"), ("b", "2"), ("c", "3/"), ("d", ""), ("e", "f>g")],
        );
        check("=x=1", &[("=x", "1")]);
        check(r#" a="open"#, &[("a", "open")]);
        check("", &[]);
        check("a=", &[("a", "")]);
    }
}
