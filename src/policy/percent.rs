//! One spelling for percent-encoded text (RFC 3986 section 6.2.2).

/// Whether `byte` means itself wherever it stands, so that its encoded form is the same thing (RFC 3986 section 2.3).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether `byte` may stand unencoded in a path or a query: unreserved, sub-delims, `:@/` and `?` (RFC 3986 appendix A).
fn is_allowed(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@' | b'/' | b'?'
        )
}

/// The byte that `hex` (two digits) stands for, and whether its digits are in upper case.
fn decode(hex: Option<&[u8]>) -> Option<(u8, bool)> {
    let &[high, low] = hex? else { return None };
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some((digit(high)? << 4 | digit(low)?, !high.is_ascii_lowercase() && !low.is_ascii_lowercase()))
}

/// Whether [`push_normal`] would leave `text` as it is. Does not allocate.
pub(super) fn is_normal(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'%' {
            match decode(bytes.get(at + 1..at + 3)) {
                Some((decoded, true)) if !is_unreserved(decoded) => at += 3,
                _ => return false,
            }
        } else if is_allowed(byte) {
            at += 1;
        } else {
            return false;
        }
    }
    true
}

/// Appends `text` in its one spelling: digits in upper case, unreserved characters decoded, everything that may not stand
/// in an address encoded. A `%` without two digits becomes `%25`, or decoding its neighbours could give it a new meaning.
pub(super) fn push_normal(out: &mut String, text: &str) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if let (b'%', Some((decoded, _))) = (byte, decode(bytes.get(at + 1..at + 3))) {
            if is_unreserved(decoded) {
                out.push(char::from(decoded));
            } else {
                push_encoded(out, decoded);
            }
            at += 3;
        } else {
            if is_allowed(byte) {
                out.push(char::from(byte));
            } else {
                push_encoded(out, byte);
            }
            at += 1;
        }
    }
}

/// Appends `%XX`.
pub(super) fn push_encoded(out: &mut String, byte: u8) {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    out.push('%');
    out.push(DIGITS[usize::from(byte >> 4)]);
    out.push(DIGITS[usize::from(byte & 0xf)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_has_one_spelling() {
        for (text, expected) in [
            ("/a-b._~", "/a-b._~"),
            ("/%61%2D%7e", "/a-~"),
            ("/%c3%a9%2f", "/%C3%A9%2F"),
            ("/é|[]", "/%C3%A9%7C%5B%5D"),
            ("/100%", "/100%25"),
            ("/%zz%4", "/%25zz%254"),
            ("/%%36%31", "/%2561"),
            ("/a+b%2B%20", "/a+b%2B%20"),
        ] {
            let mut out = String::new();
            push_normal(&mut out, text);
            assert_eq!(out, expected);
            assert!(is_normal(&out));
            assert_eq!(is_normal(text), text == expected, "{text}");
        }
    }
}
